//! Suggestions for misspelled words.

/// The longest list of allowed words that is printed beside a suggestion.
const SHORT_LIST: usize = 6;

/// Words that other programs use, with what is meant here: the first that is allowed where the word stands.
const SYNONYMS: &[(&[&str], &[&str])] = &[
    (&["endpoint", "url", "uri", "host", "address", "api_url", "server", "endpoint_url"], &["base_url", "endpoint"]),
    (
        &["token", "api_token", "access_token", "api_key", "key", "secret", "bearer_token", "password", "credentials"],
        &["api_token", "access_token", "api_key", "api_key_secret", "key_field"],
    ),
    (
        &["since", "start", "start_time", "start_date", "from", "lookback", "backfill", "backfill_since", "begin"],
        &["backfill_start_time", "start"],
    ),
    (&["until", "end", "stop", "end_date", "to"], &["end_time"]),
    (
        &["scrape_interval_secs", "scrape_interval", "interval", "interval_secs", "poll_interval_secs", "frequency"],
        &["poll_interval"],
    ),
    (&["per_page", "limit", "batch_size", "page_limit"], &["page_size", "batch"]),
    (&["throttle", "requests_per_second", "rate", "rate_limit_num"], &["rate_limit"]),
    (&["request_timeout_secs", "timeout_secs", "request_timeout"], &["timeout"]),
    (&["user", "username", "login"], &["email", "username"]),
    (&["org", "org_id", "organization", "account", "account_id"], &["organization_id", "tenant"]),
    (&["source", "input", "from", "sources"], &["inputs"]),
    (&["filter", "when", "expression", "where"], &["condition"]),
    (&["topic_name", "topic_template"], &["topic"]),
    (&["brokers", "servers", "hosts", "bootstrap"], &["bootstrap_servers"]),
    (&["key", "partition_key", "message_key"], &["key_field"]),
    (&["bucket_name"], &["bucket"]),
    (&["prefix", "path", "key"], &["key_prefix"]),
    (&["file", "filename", "file_path", "directory", "dir", "output"], &["path"]),
    (&["compress", "compression_type"], &["compression"]),
    (&["format", "serializer", "output_format"], &["encoding"]),
    (&["delivery_guarantee", "guarantee", "semantics", "transactional"], &["delivery"]),
    (&["rotation", "max_file_size"], &["rotate"]),
    (&["state_dir", "storage", "database", "checkpoint_dir"], &["data_dir"]),
    (&["logging", "log_level"], &["log"]),
];

/// Words of other programs for what does not exist here, with what to do instead.
const NOTES: &[(&str, &str)] = &[
    ("buffer", "remove it: the journal on disk is the buffer of all sinks; `journal.max_size` bounds it"),
    ("codec", "remove it: events are JSON; `encoding: {schema: ...}` chooses their schema, `compression` packs them"),
    ("acknowledgements", "remove it: a position moves only after the target has stored the events"),
    ("healthcheck", "remove it: `run` checks every source and sink at the start; `--skip-check` leaves that out"),
    ("request", "remove it: sinks retry without limit; `batch` says how much is written at once"),
    ("schedule", "remove it: a source polls every `poll_interval`; for a timer use `run --once`"),
    ("checkpoint", "remove it: the journal in `data_dir` keeps what was read and delivered"),
];

fn synonym<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let meant = SYNONYMS.iter().filter(|(words, _)| words.contains(&word)).flat_map(|(_, meant)| *meant);
    meant.into_iter().find_map(|meant| known.iter().find(|known| *known == meant && **known != word).copied())
}

/// The known word that is most similar to `word`, if one is similar enough, or that says the same.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let known: Vec<&str> = known.into_iter().collect();
    if let Some(meant) = synonym(&word, &known) {
        return Some(meant);
    }
    let scored = known.into_iter().filter_map(|candidate| {
        let distance = strsim::damerau_levenshtein(&word, &candidate.to_lowercase());
        let likeness = strsim::jaro_winkler(&word, &candidate.to_lowercase());
        let near = distance <= (candidate.chars().count() / 3).max(1) || likeness >= 0.9;
        near.then_some((distance, candidate))
    });
    scored.min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

/// A hint for a word that is not among `known`: the nearest one, and the list of all if it is short.
pub(crate) fn hint(word: &str, known: &[&str]) -> String {
    let note = NOTES.iter().find(|(noted, _)| *noted == word && !known.contains(noted));
    if let Some((_, note)) = note {
        return (*note).to_owned();
    }
    let list = || known.iter().map(|known| format!("`{known}`")).collect::<Vec<_>>().join(", ");
    match nearest(word, known.iter().copied()) {
        _ if known.is_empty() => "remove it; no settings are allowed here".into(),
        Some(near) if known.len() > SHORT_LIST => format!("did you mean `{near}`?"),
        Some(near) if known.len() > 1 => format!("did you mean `{near}`? allowed here: {}", list()),
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("allowed here: {}", list()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelled_words_are_matched() {
        let known = ["region", "api_token", "base_url", "poll_interval"];
        for (word, meant) in [
            ("regoin", Some("region")),
            ("Region", Some("region")),
            ("api_tokn", Some("api_token")),
            ("apitoken", Some("api_token")),
            ("poll_intervall", Some("poll_interval")),
            ("color", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
    }

    #[test]
    fn words_of_other_programs_are_understood() {
        let clumio = ["access_token", "base_url", "region", "backfill_start_time", "poll_interval"];
        for (word, meant) in [
            ("endpoint", "base_url"),
            ("token", "access_token"),
            ("since", "backfill_start_time"),
            ("scrape_interval_secs", "poll_interval"),
        ] {
            assert_eq!(nearest(word, clumio), Some(meant), "{word}");
        }
        assert_eq!(nearest("token", ["api_key", "base_url"]), Some("api_key"));
        assert_eq!(nearest("topic_name", ["topic", "key_field"]), Some("topic"));
        assert!(hint("buffer", &["batch", "path"]).contains("journal.max_size"));
        assert!(hint("codec", &["encoding", "path"]).contains("`encoding"));
    }

    #[test]
    fn a_hint_lists_allowed_words_if_few_or_none_is_similar() {
        assert_eq!(hint("jsn", &["text", "json"]), "did you mean `json`? allowed here: `text`, `json`");
        assert_eq!(hint("zzz", &["text", "json"]), "allowed here: `text`, `json`");
        let many = ["one", "two", "three", "four", "five", "six", "seven"];
        assert_eq!(hint("thre", &many), "did you mean `three`?");
    }
}
