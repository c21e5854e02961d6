//! The status page over the journal of the reports' tests.

use super::*;

const HOSTILE: &str = "<script>alert(1)</script> \"quoted\" 'too' & \u{202e}\u{2066}\u{0}\u{1b}[31m";

/// The page without its markup, white space as one space.
fn seen(html: &str) -> String {
    let outside = html.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text));
    let text = outside.collect::<Vec<_>>().join(" ");
    let text = ["&#38;&", "&#39;'", "&#34;\"", "&#60;<", "&#62;>"]
        .iter()
        .fold(text, |text, code| text.replace(&code[..5], &code[5..]));
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn assert_says(html: &str, expected: &[&str]) {
    let seen = seen(html);
    for text in expected {
        assert!(seen.contains(text), "`{text}` is not in:\n{seen}");
    }
}

#[tokio::test]
async fn it_says_what_is_wrong_what_to_do_and_how_fresh_everything_is() {
    let (pipeline, observation) = observed().await;
    let html = page::html(&ActiveConfig::new(pipeline), &observation, 1);
    assert_says(
        &html,
        &[
            "▲ 1 source and 2 sinks need attention.",
            "1 source: not read up to now. 2 sources: a gap that is still to be read. 1 source: not started yet. \
             2 events rejected by a target: in the dead letter.",
            "Only after an error or a crash: screen may then repeat a batch",
            "archive 30 events wait, the oldest for 23h14m → auditflow check FILE reaches the target;",
            "1 source cannot collect. 1 sink cannot deliver. 50 events not delivered, the oldest for 23h14m.",
            "acme_merge for 2h6m merge cannot be reached: error sending request: client error (Connect): dns error: \
             failed to lookup address → check the network and base_url",
            "lake for 14m7s cannot write lake/acme_merge/Ada Example.ndjson: No space left on device (os error 28) → \
             free space on the disk",
            "63 events in 48 hours; at most 38 in an hour.",
            "Gap 2026-03-01 10:00:00 to 2026-03-01 11:30:00 (1h30m): not read yet; planned",
            "Newest event 21h44m ago 2026-03-01 11:30:00 Since then 21h43m empty, 17s not read",
            "Oldest undelivered 23h14m",
            "Last delivery 4m7s ago 2026-03-02 09:10:00",
            "No longer in the file: old_source",
        ],
    );
    assert!(html.contains("aria-label=\"Time since 2026-03-01 00:00:00: 1d7h covered, 1h30m not read\""), "{html}");
}

#[tokio::test]
async fn a_quiet_vendor_is_distinguished_from_one_that_was_not_read() {
    let (pipeline, observation) = observed().await;
    let report = StatusReport::new(&pipeline, &observation);
    let since = |name: &str| {
        report.sources.iter().find(|source| source.name == name).and_then(|source| source.since_newest_event)
    };
    let quiet = since("acme_confluence").expect("has run");
    let unread = since("acme_merge").expect("has run");
    assert!(quiet.empty_seconds > 70_000.0 && quiet.not_read_seconds < 60.0, "{quiet:?}");
    assert!(unread.not_read_seconds > 7_000.0, "{unread:?}");
    assert_eq!(since("a_source_with_a_name_that_is_far_too_long_for_a_table"), None);
}

#[tokio::test]
async fn what_others_wrote_is_shown_as_text() {
    let (mut pipeline, mut observation) = observed().await;
    pipeline.name = HOSTILE.to_owned();
    pipeline.sinks[0].name = HOSTILE.to_owned();
    let journal = observation.journal.as_mut().expect("has run");
    let error = last_error(HOSTILE, HOSTILE, "2026-03-02T09:00:00Z");
    journal.stats.sources.iter_mut().for_each(|source| source.last_error.clone_from(&error));
    let html = page::html(&ActiveConfig::new(pipeline.clone()), &observation, 1);
    for markup in ["<script", "</script", "\"quoted\"", "'too'", "\u{202e}", "\u{2066}", "\u{1b}", "\0"] {
        assert!(!html.contains(markup), "{markup:?} in {html}");
    }
    assert!(
        html.matches("&#60;script&#62;alert(1)&#60;/script&#62; &#34;quoted&#34; &#39;too&#39; &#38; ").count() > 5
    );
    assert!(!html.contains("://"), "no address of another machine: {html}");
}

#[tokio::test]
async fn a_healthy_pipeline_is_said_to_be_healthy() {
    let (pipeline, mut observation) = observed().await;
    let sources: Vec<_> = pipeline.sources.into_iter().filter(|source| source.name == "acme_confluence").collect();
    let pipeline = ValidatedPipeline { sources, sinks: Vec::new(), ..pipeline };
    let position = observation.positions["acme_confluence"];
    let journal = observation.journal.as_mut().expect("has run");
    let coverage = &mut journal.sources[position].state.coverage;
    *coverage = vec![TimeRange::new(coverage[0].from, now())];
    let html = page::html(&ActiveConfig::new(pipeline), &observation, 1);
    assert_says(&html, &["✓ Nothing needs attention: nothing is missing, nothing is twice, nothing is stuck."]);
    assert_says(&html, &["<title>acme: healthy"].map(|title| &title[7..]));
}

#[test]
fn before_the_first_run_it_says_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let pipeline = pipeline(directory.path());
    let observation = observe(&pipeline, now(), false).expect("a missing journal is not an error");
    assert_says(
        &page::html(&ActiveConfig::new(pipeline), &observation, 1),
        &["starting", "4 sources: not started yet.", "0 events in 48 hours"],
    );
}

#[tokio::test]
async fn many_sources_are_shown_in_parts_those_that_need_attention_first() {
    let (pipeline, observation) = observed().await;
    let copies = |index: usize| {
        let mut source = pipeline.sources[3].clone();
        source.name = format!("idle_{index}");
        source
    };
    let sources = (0..250).map(copies).chain([pipeline.sources[1].clone()]).collect();
    let pipeline = ValidatedPipeline { sources, ..pipeline.clone() };
    let first = page::html(&ActiveConfig::new(pipeline.clone()), &observation, 1);
    assert_says(&first, &["Sources 1 to 100 of 251, those that need attention first."]);
    let (failing, idle) = (first.find("<bdi>acme_merge</bdi> <span"), first.find("<bdi>idle_0</bdi>"));
    assert!(failing.expect("is shown") < idle.expect("is shown"));
    assert!(first.contains("<a href=\"?page=2#sources\">") && !first.contains("previous"));
    for number in [3, 4, usize::MAX] {
        let last = page::html(&ActiveConfig::new(pipeline.clone()), &observation, number);
        assert_says(&last, &["Sources 201 to 251 of 251"]);
        assert!(last.contains("<bdi>idle_249</bdi>") && !last.contains("next"));
    }
}

#[tokio::test]
async fn it_never_says_healthy_where_something_needs_attention() {
    let (pipeline, mut sound) = observed().await;
    let title = |observation: &Observation, reload_succeeded: bool| {
        let config = ActiveConfig { reload_succeeded, ..ActiveConfig::new(pipeline.clone()) };
        let html = page::html(&config, observation, 1);
        let title = html.split("<title>").nth(1).and_then(|rest| rest.split("</title>").next()).expect("a title");
        (title.contains("healthy"), html.contains("Nothing needs attention"), html.contains("cannot be applied"))
    };
    let journal = sound.journal.as_mut().expect("has run");
    journal.stats.sources.iter_mut().for_each(|source| (source.last_error, source.normalize_error_at) = (None, None));
    journal.stats.sinks.iter_mut().for_each(|sink| sink.last_error = None);
    for source in &mut journal.sources {
        source.state.in_doubt.clear();
    }
    assert!(title(&sound, false).2 && !title(&sound, false).0 && !title(&sound, false).1);
    let journal = sound.journal.as_mut().expect("has run");
    let source = &mut journal.stats.sources[0];
    (source.normalize_errors, source.normalize_error_at) = (37, Some(now()));
    let (is_healthy, needs_nothing, _) = title(&sound, true);
    assert!(!is_healthy && !needs_nothing);
}
