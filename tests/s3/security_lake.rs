//! `security_lake`: objects as Amazon Security Lake takes them from custom sources: one OCSF class each, below the location of
//! its source and by the role of its source, which may put and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type};
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::Response;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use crate::bucket::Bucket;
use crate::proxy::{Action, Proxy};
use crate::{FAULTS, common, run_duration, store, test_pipeline};

/// The setting, the OCSF class and the source.
const SOURCES: [(&str, i32, &str); 5] = [
    ("account_change", 3_001, store::ROLES[0]),
    ("authentication", 3_002, store::ROLES[1]),
    ("user_access", 3_005, store::ROLES[2]),
    ("group_management", 3_006, store::ROLES[3]),
    ("api_activity", 6_003, store::ROLES[4]),
];

/// The settings of the sink; each source with `more`, in which `NAME` is its name.
pub fn settings(more: &str) -> String {
    let source = |(setting, _, name)| format!("{setting}: {{name: {name}{}}}", more.replace("NAME", name));
    let sources = SOURCES.map(source).join(", ");
    format!(
        "region: us-east-1, format: parquet, encoding: {{schema: ocsf, ocsf_version: 1.3.0}}, security_lake: {{account_id: external_acme, sources: {{{sources}}}}}"
    )
}

/// Kills the program `kills` times. At the end everything is delivered.
pub fn deliver_under_kills(bucket: &Bucket, kills: usize) {
    let seed = common::seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let pipeline = test_pipeline(seed, 2_000, FAULTS);
    let file = pipeline.write_pipeline(&bucket.sink(&format!("{}, batch: {{max_events: 150}}", settings(""))));
    for _ in (0..3 * kills).take_while(|kill| *kill < kills || pipeline.interrupted_batches() == 0) {
        pipeline.run_and_kill(&file, run_duration(&mut random));
    }
    assert!(pipeline.interrupted_batches() > 0, "no kill interrupted a batch: the test is inconclusive");
    pipeline.wait_until_quiet();
    pipeline.run_once(&file);
    assert_layout(&bucket.assert_exact(&pipeline));
    pipeline.assert_counters_add_up(&["lake"]);
}

/// Each object is below the location of its class and the day of its events, sorted by time; each batch has one per class and day.
pub fn assert_layout(objects: &BTreeMap<String, Vec<u8>>) {
    let mut classes = BTreeSet::new();
    for (key, bytes) in objects {
        if key.starts_with("ext/_manifests/") {
            let manifest: Value = serde_json::from_slice(bytes).unwrap();
            let keys = manifest["objects"].as_array().unwrap().iter().map(|object| object["key"].as_str().unwrap());
            let directories: Vec<_> = keys.map(|key| key.rsplit_once('/').unwrap().0).collect();
            assert_eq!(directories.len(), directories.iter().collect::<BTreeSet<_>>().len(), "{directories:?}");
            continue;
        }
        let (_, class, _) = SOURCES.iter().find(|(.., name)| key.starts_with(&format!("ext/{name}/"))).unwrap();
        let day = key.split("/region=us-east-1/accountId=external_acme/eventDay=").nth(1).unwrap();
        let day = day.split_once('/').unwrap().0;
        let bytes = axum::body::Bytes::copy_from_slice(bytes);
        let mut last = 0;
        for batch in ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap() {
            let batch = batch.unwrap();
            let (uids, times) = (batch["class_uid"].as_primitive::<Int32Type>(), &batch["time"]);
            assert!(uids.values().iter().all(|uid| uid == class), "{key}");
            for time in times.as_primitive::<Int64Type>().values() {
                let at = auditflow::time::Timestamp::from_secs(time.div_euclid(1_000)).to_string();
                assert_eq!(at.split('T').next().unwrap().replace('-', ""), day, "{key}");
                assert!(*time >= last, "{key} is not sorted");
                last = *time;
            }
        }
        classes.insert(*class);
    }
    assert!(classes.len() >= 3, "{classes:?}");
}

/// Every source is written by its role. A role may not read or delete; still each event is there once after an error.
pub fn each_source_is_written_by_its_role(target: &str, bucket: &Bucket) {
    let sts = Sts::start();
    let wrong: Arc<Mutex<Vec<String>>> = Arc::default();
    let (noted, mut left) = (Arc::clone(&wrong), 2);
    let proxy = Proxy::before(target, move |request| {
        let Some((_, rest)) = request.split_once("/ext/") else { return Action::Pass };
        let source = rest.split('/').next().unwrap();
        if store::ROLES.contains(&source) != request.ends_with(&format!(" by {source}")) {
            noted.lock().unwrap().push(request.to_owned());
        }
        if rest.starts_with("_manifests/") && request.starts_with("PUT") && left > 0 {
            left -= 1;
            return Action::Reply(503, "SlowDown");
        }
        let may = request.starts_with("PUT") || request.starts_with("POST") || !store::ROLES.contains(&source);
        if may { Action::Pass } else { Action::Reply(403, "AccessDenied") }
    });
    let pipeline = test_pipeline(common::seed(), 200, &[]);
    let settings = settings(", assume_role: \"arn:aws:iam::111122223333:role/NAME\", external_id: id-of-NAME");
    let file = pipeline.write_pipeline(&bucket.sink_through(&proxy.endpoint, store::SECRET_ACCESS_KEY, &settings));
    pipeline.wait_until_quiet();
    for arguments in [&["check"][..], &["run", "--once"]] {
        let mut command = pipeline.program(arguments);
        let child = command.arg(&file).env("AWS_ENDPOINT_URL_STS", &sts.endpoint).spawn().unwrap();
        let status = common::wait(child, Duration::from_secs(120), || pipeline.log_tail());
        assert!(status.success(), "{arguments:?} ended with {status}:\n{}", pipeline.log_tail());
    }
    assert_eq!(*wrong.lock().unwrap(), Vec::<String>::new());
    assert_eq!(sts.assumed.lock().unwrap().clone(), BTreeSet::from(store::ROLES.map(str::to_owned)));
    assert!(pipeline.event_count("sink_retrying") > 0, "nothing was put again");
    assert_layout(&bucket.assert_exact(&pipeline));
}

/// Gives temporary credentials to who knows the external id of a role: the access key id is the name of the role.
struct Sts {
    endpoint: String,
    assumed: Arc<Mutex<BTreeSet<String>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Sts {
    fn start() -> Self {
        let assumed: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let noted = Arc::clone(&assumed);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let router = axum::Router::new().fallback(move |request| assume_role(Arc::clone(&noted), request));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(async move {
            axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), router).await.unwrap();
        });
        Self { endpoint, assumed, _runtime: runtime }
    }
}

async fn assume_role(assumed: Arc<Mutex<BTreeSet<String>>>, request: Request) -> Response<Body> {
    let body = to_bytes(request.into_body(), usize::MAX).await.unwrap();
    let form: BTreeMap<String, String> = url::form_urlencoded::parse(&body).into_owned().collect();
    let name = form["RoleArn"].rsplit_once('/').unwrap().1;
    if form.get("ExternalId") != Some(&format!("id-of-{name}")) {
        return store::error(403, "AccessDenied");
    }
    assumed.lock().unwrap().insert(name.to_owned());
    let credentials = format!(
        "<AccessKeyId>{name}</AccessKeyId><SecretAccessKey>{}</SecretAccessKey><SessionToken>token</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>",
        store::SECRET_ACCESS_KEY
    );
    let text = format!(
        "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><Credentials>{credentials}</Credentials></AssumeRoleResult></AssumeRoleResponse>"
    );
    Response::builder().header("content-type", "text/xml").body(Body::from(text)).unwrap()
}
