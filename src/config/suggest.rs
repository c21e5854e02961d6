//! Suggestions for misspelled words.

/// The longest list of allowed words that is printed beside a suggestion.
const SHORT_LIST: usize = 6;

/// The known word that is most similar to `word`, if one is similar enough.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
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
    fn a_hint_lists_allowed_words_if_few_or_none_is_similar() {
        assert_eq!(hint("jsn", &["text", "json"]), "did you mean `json`? allowed here: `text`, `json`");
        assert_eq!(hint("zzz", &["text", "json"]), "allowed here: `text`, `json`");
        let many = ["one", "two", "three", "four", "five", "six", "seven"];
        assert_eq!(hint("thre", &many), "did you mean `three`?");
    }
}
