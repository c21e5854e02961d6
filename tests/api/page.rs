//! The status page in headless Chromium: what a reader sees of a pipeline with healthy sources, one in doubt, one with a gap,
//! one that fails, and a stuck sink.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use auditflow::event::EventId;
use auditflow::journal::{
    AfterPage, BlockBuilder, CollectJournal, Completion, CoverageState, JournalOptions, LatenessCounts, NewWindow,
    PageCommit, RequestCounts, SeenKey, SourceId, SourceRegistration, SqliteJournal, WindowKind,
};
use auditflow::simulator::VendorName;
use auditflow::time::{TimeRange, Timestamp};
use auditflow::units::ByteSize;
use auditflow::vendors::NormalizerConfig;

use crate::common::{self, TestPipeline};
use crate::{Running, test_pipeline};

/// A directory that gets screenshots, if it is set.
const SCREENSHOTS_VARIABLE: &str = "AUDITFLOW_TEST_SCREENSHOTS";

const HOUR: Duration = Duration::from_secs(3_600);

/// A journal as a few days of work leave it.
struct Past<'p> {
    pipeline: &'p TestPipeline,
    journal: SqliteJournal,
    now: Timestamp,
    events: usize,
}

impl Past<'_> {
    async fn source(&self, vendor: VendorName) -> SourceId {
        let name = vendor.as_str().to_owned();
        let registration = SourceRegistration {
            name: name.clone(),
            vendor: name,
            normalizer_config: NormalizerConfig::default(),
            now: self.now - HOUR * 240,
        };
        self.journal.open_source(registration).await.unwrap().id
    }

    /// A window of so many hours ago, complete at its end, with records of the vendor.
    async fn window(
        &mut self,
        source: SourceId,
        vendor: VendorName,
        hours_ago: (u32, u32),
        state: CoverageState,
        count: usize,
    ) {
        let (from, to) = (self.now - HOUR * hours_ago.0, self.now - HOUR * hours_ago.1);
        let covers = TimeRange::new(from, to);
        let window = NewWindow { kind: WindowKind::Backfill, covers, fetch_range: covers, kept: TimeRange::ALL };
        let id = self.journal.add_windows(source, vec![window]).await.unwrap()[0];
        let truth = self.pipeline.simulator.control().truth(vendor).unwrap();
        let mut block = BlockBuilder::new(to, 0);
        for record in truth.iter().take(count) {
            self.events += 1;
            let key = EventId::of_key("past", None, &self.events.to_string());
            block.push(&record.raw, SeenKey { id: key, version: 0, timestamp: Some(to - HOUR / 2), content: 0 }, 0);
        }
        let reasons =
            if state == CoverageState::InDoubt { vec!["total".to_owned(), "end".to_owned()] } else { Vec::new() };
        let then = AfterPage::Complete(Completion { state, reasons, ..Completion::covered(covers, to) });
        let (block, lateness) = (block.finish().unwrap(), LatenessCounts::default());
        let page = PageCommit {
            window: id,
            block,
            requests: RequestCounts::succeeded(1),
            lateness,
            evidence: Vec::new(),
            then,
        };
        self.journal.commit_page(page).await.unwrap();
    }

    async fn days(&mut self) {
        use CoverageState::{Covered, InDoubt};
        let clumio = self.source(VendorName::Clumio).await;
        self.window(clumio, VendorName::Clumio, (240, 48), Covered, 10).await;
        let merge = self.source(VendorName::Merge).await;
        self.window(merge, VendorName::Merge, (240, 72), Covered, 10).await;
        self.window(merge, VendorName::Merge, (72, 60), InDoubt, 10).await;
        self.window(merge, VendorName::Merge, (60, 48), Covered, 10).await;
        let confluence = self.source(VendorName::Confluence).await;
        self.window(confluence, VendorName::Confluence, (240, 190), Covered, 10).await;
        self.window(confluence, VendorName::Confluence, (120, 48), Covered, 10).await;
        for hour in (0..48_u32).rev() {
            let busy = usize::from(self.now.since(Timestamp::from_secs(0)).as_secs() / 3_600 % 24 > 7) + 1;
            let count = busy * 4 + (hour as usize * 7) % 11;
            self.window(confluence, VendorName::Confluence, (hour + 1, hour), Covered, count).await;
            if hour > 1 {
                self.window(merge, VendorName::Merge, (hour + 1, hour), Covered, count / 2).await;
            }
            if hour > 5 {
                self.window(clumio, VendorName::Clumio, (hour + 1, hour), Covered, count / 3).await;
            }
        }
    }
}

fn write_pipeline(pipeline: &TestPipeline, now: Timestamp) -> PathBuf {
    let common = "poll_interval: 500ms, delay: 1s, overlap: 120s";
    let start = (now - HOUR * 240).with_digits(0);
    let text = format!(
        "api: {{address: \"127.0.0.1:0\"}}
data_dir: {directory}/data
sources:
  akuity: {{type: akuity, base_url: \"${{SIMULATOR}}\", organization_id: \"${{AKUITY_ORGANIZATION_ID}}\", api_key_id: \"${{AKUITY_API_KEY_ID}}\", api_key_secret: \"${{AKUITY_API_KEY_SECRET}}\", {common}, backfill_start_time: earliest, rate_limit: 1000/s}}
  captivateiq: {{type: captivateiq, base_url: \"${{SIMULATOR}}/ciq/v1\", api_token: \"${{CAPTIVATEIQ_API_TOKEN}}\", {common}, backfill_start_time: earliest, rate_limit: 1000/s}}
  clumio: {{type: clumio, base_url: \"${{SIMULATOR}}\", access_token: \"${{CLUMIO_ACCESS_TOKEN}}\", {common}, backfill_start_time: {start}}}
  confluence: {{type: confluence, base_url: \"${{SIMULATOR}}/ex/confluence/${{CONFLUENCE_CLOUD_ID}}\", cloud_id: \"${{CONFLUENCE_CLOUD_ID}}\", email: \"${{CONFLUENCE_EMAIL}}\", api_token: \"${{CONFLUENCE_API_TOKEN}}\", {common}, backfill_start_time: {start}, rate_limit: 1/h}}
  merge: {{type: merge, base_url: \"${{SIMULATOR}}/api\", api_key: \"${{MERGE_API_KEY}}\", {common}, backfill_start_time: {start}, rate_limit: 1000/s}}
transforms:
  events: {{type: normalize, inputs: [akuity, captivateiq, clumio, confluence, merge]}}
sinks:
  archive: {{type: file, inputs: [events], path: \"{directory}/archive/{{{{ vendor }}}}.ndjson\"}}
  lake: {{type: file, inputs: [events], path: \"{directory}/lake/{{{{ vendor }}}}.ndjson\"}}
",
        directory = pipeline.directory.path().display()
    );
    let file = pipeline.path("acme-audit.yaml");
    fs::write(&file, text).unwrap();
    // A file where the sink needs a directory.
    fs::write(pipeline.path("lake"), "").unwrap();
    file
}

fn chromium(arguments: &[&str], url: &str, profile: &Path) -> String {
    let mut command = Command::new("chromium");
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]);
    command.arg(format!("--user-data-dir={}", profile.display()));
    let output = command.args(arguments).arg(url).output().expect("chromium starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What a reader sees: the text without markup, white space as one space.
fn seen(dom: &str) -> String {
    let outside = dom.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text));
    outside.collect::<Vec<_>>().join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Screenshots for people, wide and as narrow as a phone, light and dark.
fn take_screenshots(url: &str, profile: &Path) {
    let Ok(directory) = std::env::var(SCREENSHOTS_VARIABLE) else { return };
    for (name, size) in [("wide", "1200,2100"), ("phone", "360,4200")] {
        for (scheme, number) in [("dark", 0), ("light", 1)] {
            let file = format!("--screenshot={directory}/{name}-{scheme}.png");
            let scheme = format!("--blink-settings=preferredColorScheme={number}");
            chromium(&[&file, &format!("--window-size={size}"), &scheme], url, profile);
        }
    }
}

#[test]
#[ignore = "needs Chromium (Debian's package chromium)"]
fn a_browser_shows_what_is_wrong_and_asks_nobody_else() {
    let pipeline = test_pipeline();
    let now = pipeline.simulator.control().now().floor_to(Duration::from_secs(1));
    let options = JournalOptions { data_dir: pipeline.path("data"), max_size: ByteSize(1 << 30) };
    let journal = SqliteJournal::open(&options).unwrap();
    let mut past = Past { pipeline: &pipeline, journal, now, events: 0 };
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(past.days());
    drop(past);

    let file = write_pipeline(&pipeline, now);
    let running = Running::start(&pipeline, &file, &[("CLUMIO_ACCESS_TOKEN", "a-token-that-the-vendor-refuses")]);
    let url = format!("http://{}/", running.address);
    common::until("the page shows both errors", || {
        let page = running.get("/").body;
        page.contains("401") && page.contains("1 sink cannot deliver")
    });
    common::until("the healthy sources are read", || running.get("/").body.matches("</span> live").count() >= 2);
    let profile = pipeline.path("profile");
    take_screenshots(&url, &profile);
    let dom = chromium(&["--dump-dom"], &url, &profile);
    let seen = seen(&dom);
    for text in [
        "2 sources and 1 sink need attention.",
        "Perhaps: 12h of 1 source is in doubt; it was read, but may lack records.",
        "1 source: a gap that is still to be read.",
        "1 source cannot collect.",
        "1 sink cannot deliver.",
        "acme-audit running (process ",
        "In doubt",
        "total, end; no recheck is left: auditflow coverage FILE says what you can do",
        "Gap",
    ] {
        assert!(seen.contains(text), "`{text}` is not in:\n{seen}");
    }
    for source in ["akuity", "captivateiq", "clumio", "confluence", "merge", "archive", "lake"] {
        assert!(dom.contains(&format!("<bdi>{source}</bdi>")), "{source}");
    }
    assert!(dom.contains("aria-label=\"Time since "), "{dom}");
    for secret in pipeline.simulator.credentials().secrets() {
        assert!(!dom.contains(secret));
    }
    assert!(!dom.contains("://") && !dom.contains("<script") && !dom.contains(" style="), "{dom}");
}

#[test]
fn the_page_loads_nothing_from_elsewhere() {
    let pipeline = test_pipeline();
    let file = crate::with_api(&pipeline, "127.0.0.1:0");
    let running = Running::start(&pipeline, &file, &[]);
    let page = running.get("/");
    assert_eq!(page.status, 200);
    for header in [
        "content-type: text/html; charset=utf-8",
        "x-content-type-options: nosniff",
        "content-security-policy: default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; ",
        "referrer-policy: no-referrer",
        "cache-control: no-store",
    ] {
        assert!(page.head.contains(header), "{header}: {}", page.head);
    }
    let style = running.get("/style.css");
    assert!(style.status == 200 && style.head.contains("content-type: text/css"), "{}", style.head);
    for text in [&page.body, &style.body] {
        assert!(!text.contains("://") && !text.contains("@import") && !text.contains("<script"), "{text}");
    }
    assert!(running.get("/?page=7").status == 200 && running.get("/?page=%3Cscript%3E").status == 200);
}
