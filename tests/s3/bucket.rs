//! A bucket as its readers see it, and the checks of its contents.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::path::Path;

use auditflow::simulator::proof::Delivered;
use auditflow::sinks::manifest::sha256_hex;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, RequestChecksumCalculation};
use aws_sdk_s3::types::{BucketVersioningStatus, ObjectVersion, VersioningConfiguration};
use serde_json::Value;

use crate::common::TestPipeline;

/// A bucket in a store.
pub struct Bucket {
    pub name: String,
    endpoint: String,
    access_key_id: String,
    secret_access_key: String,
    client: Client,
    runtime: tokio::runtime::Runtime,
}

impl Bucket {
    /// A bucket with a new name. It does not exist yet.
    pub fn with_new_name(endpoint: &str, access_key_id: &str, secret_access_key: &str) -> Self {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .endpoint_url(endpoint)
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new(access_key_id, secret_access_key, None, None, "test"))
            .force_path_style(true)
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .build();
        Self {
            name: format!("audit-{:x}", fastrand::u64(..)),
            endpoint: endpoint.to_owned(),
            access_key_id: access_key_id.to_owned(),
            secret_access_key: secret_access_key.to_owned(),
            client: Client::from_conf(config),
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
        }
    }

    pub fn create(&self) {
        self.runtime.block_on(self.client.create_bucket().bucket(&self.name).send()).unwrap();
    }

    /// The sink of a pipeline file, with `more` settings.
    pub fn sink(&self, more: &str) -> String {
        self.sink_through(&self.endpoint, &self.secret_access_key, more)
    }

    pub fn sink_through(&self, endpoint: &str, secret: &str, more: &str) -> String {
        format!(
            "sinks:\n  lake: {{type: s3, inputs: [events], bucket: {}, endpoint: \"{endpoint}\", auth: {{access_key_id: \"{}\", secret_access_key: \"{secret}\"}}, {more}}}\n",
            self.name, self.access_key_id
        )
    }

    /// Endpoint, credentials and name, for other programs.
    pub fn address(&self) -> [&str; 4] {
        [&self.endpoint, &self.access_key_id, &self.secret_access_key, &self.name]
    }

    /// Every object but markers, by key.
    pub fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        self.runtime.block_on(async {
            let mut pages = self.client.list_objects_v2().bucket(&self.name).into_paginator().send();
            let mut objects = BTreeMap::new();
            while let Some(page) = pages.next().await {
                for object in page.unwrap().contents() {
                    let key = object.key().unwrap();
                    if key.contains("_auditflow/") {
                        continue;
                    }
                    let got = self.client.get_object().bucket(&self.name).key(key).send().await.unwrap();
                    objects.insert(key.to_owned(), got.body.collect().await.unwrap().to_vec());
                }
            }
            objects
        })
    }

    /// From now on the bucket keeps every version of an object.
    pub fn keep_versions(&self) {
        let status = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        let put = self.client.put_bucket_versioning().bucket(&self.name).versioning_configuration(status);
        self.runtime.block_on(put.send()).unwrap();
    }

    /// Nothing was deleted, and nothing was put a second time in the same bytes: each key has one version per ETag.
    pub fn assert_put_once(&self) {
        let (mut puts, mut deletes, mut keys) = (0, 0, BTreeSet::new());
        self.runtime.block_on(async {
            let mut list = self.client.list_object_versions().bucket(&self.name);
            loop {
                let page = list.send().await.unwrap();
                deletes += page.delete_markers().len();
                puts += page.versions().len();
                let version = |version: &ObjectVersion| (version.key.clone(), version.e_tag.clone());
                keys.extend(page.versions().iter().map(version));
                if page.next_key_marker().is_none() {
                    break;
                }
                list = self.client.list_object_versions().bucket(&self.name);
                list = list.set_key_marker(page.next_key_marker).set_version_id_marker(page.next_version_id_marker);
            }
        });
        eprintln!("{puts} puts, {} of them second puts of the same bytes, {deletes} deletes", puts - keys.len());
        assert_eq!((puts - keys.len(), deletes), (0, 0));
    }

    /// Whether the bucket has no objects, or does not exist.
    pub fn is_empty(&self) -> bool {
        let listed = self.client.list_objects_v2().bucket(&self.name).max_keys(1).send();
        self.runtime.block_on(listed).map_or(true, |page| page.contents().is_empty())
    }

    /// Keys of unfinished multipart uploads that begin with `key`. Some servers list only the uploads of one complete key.
    pub fn unfinished_uploads(&self, key: &str) -> Vec<String> {
        let listed = self.client.list_multipart_uploads().bucket(&self.name).prefix(key).send();
        let listed = self.runtime.block_on(listed).unwrap();
        listed.uploads().iter().map(|upload| upload.key().unwrap().to_owned()).collect()
    }

    /// An object's content type, content encoding and ETag.
    pub fn head(&self, key: &str) -> (String, String, String) {
        let head = self.runtime.block_on(self.client.head_object().bucket(&self.name).key(key).send()).unwrap();
        let text = |field: Option<&str>| field.unwrap_or_default().to_owned();
        (text(head.content_type()), text(head.content_encoding()), text(head.e_tag()))
    }

    /// Every record of the simulator is in the bucket once, and the manifests prove it.
    pub fn assert_exact(&self, pipeline: &TestPipeline) -> BTreeMap<String, Vec<u8>> {
        let objects = self.objects();
        assert_manifests_complete(&objects);
        pipeline.assert_all_delivered_once(events(&objects));
        pipeline.assert_no_secret_anywhere();
        assert_eq!(pipeline.text_count(&self.secret_access_key), 0, "the secret access key is in the log");
        objects
    }
}

/// Writes the objects below a directory.
pub fn copy_to(directory: &Path, objects: &BTreeMap<String, Vec<u8>>) {
    for (key, bytes) in objects {
        let file = directory.join(key);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }
}

fn is_manifest(key: &str) -> bool {
    key.contains("_manifests/")
}

/// Every event of the bucket, by vendor.
pub fn events(objects: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<Delivered>> {
    let mut by_vendor: BTreeMap<String, Vec<Delivered>> = BTreeMap::new();
    for (key, bytes) in objects.iter().filter(|(key, _)| !is_manifest(key)) {
        for event in events_of(key, bytes) {
            by_vendor.entry(event.vendor.clone()).or_default().push(event);
        }
    }
    by_vendor
}

fn events_of(key: &str, bytes: &[u8]) -> Vec<Delivered> {
    if key.ends_with(".parquet") {
        return rows(bytes);
    }
    let event = |line: &str| Delivered::from_line(line).unwrap_or_else(|reason| panic!("{key}: {reason}: {line}"));
    text(key, bytes).lines().map(event).collect()
}

#[cfg(feature = "parquet")]
fn rows(bytes: &[u8]) -> Vec<Delivered> {
    use arrow_array::Array as _;
    use arrow_array::cast::AsArray as _;
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
    let builder = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let mut events = Vec::new();
    for batch in builder.build().unwrap() {
        let batch = batch.unwrap();
        if batch.column_by_name("class_uid").is_some() {
            events.extend((0..batch.num_rows()).map(|row| ocsf_event(&batch, row)));
            continue;
        }
        let text = |name: &str, row: usize| batch[name].as_string::<i32>().value(row).to_owned();
        let versions = batch["version"].as_primitive::<arrow_array::types::Int64Type>();
        for row in 0..batch.num_rows() {
            let version = if versions.is_null(row) { 0 } else { u64::try_from(versions.value(row)).unwrap() };
            events.push(Delivered { vendor: text("vendor", row), id: text("id", row), version, raw: text("raw", row) });
        }
    }
    events
}

/// The test's sources have the names of their vendors.
#[cfg(feature = "parquet")]
fn ocsf_event(batch: &arrow_array::RecordBatch, row: usize) -> Delivered {
    use arrow_array::Array as _;
    use arrow_array::cast::AsArray as _;
    let metadata = batch["metadata"].as_struct();
    let text = |name: &str| metadata.column_by_name(name).unwrap().as_string::<i32>().value(row).to_owned();
    let unmapped: Value = serde_json::from_str(batch["unmapped"].as_string::<i32>().value(row)).unwrap();
    let raw = batch["raw_data"].as_string::<i32>();
    let raw = if raw.is_null(row) { unmapped["raw_data"].as_str().unwrap() } else { raw.value(row) };
    let version = unmapped["version"].as_u64().unwrap_or(0);
    Delivered { vendor: text("log_name"), id: text("uid"), version, raw: raw.to_owned() }
}

#[cfg(not(feature = "parquet"))]
fn rows(_bytes: &[u8]) -> Vec<Delivered> {
    panic!("this build has no Parquet")
}

fn text(key: &str, bytes: &[u8]) -> String {
    let mut text = String::new();
    match key.rsplit('.').next().unwrap() {
        "gz" => flate2::read::GzDecoder::new(bytes).read_to_string(&mut text).unwrap(),
        "zst" => zstd::Decoder::new(bytes).unwrap().read_to_string(&mut text).unwrap(),
        _ => return String::from_utf8(bytes.to_vec()).unwrap(),
    };
    text
}

/// The manifests form one chain, their ranges are consecutive in each generation, and every object is listed in exactly one of
/// them, with its size, hash and number of rows.
pub fn assert_manifests_complete(objects: &BTreeMap<String, Vec<u8>>) {
    let mut by_previous: BTreeMap<String, (String, Value)> = BTreeMap::new();
    for (key, bytes) in objects.iter().filter(|(key, _)| is_manifest(key)) {
        let manifest: Value = serde_json::from_slice(bytes).unwrap();
        let previous = manifest["previous"].as_str().unwrap_or_default().to_owned();
        let other = by_previous.insert(previous, (sha256_hex(bytes), manifest));
        assert!(other.is_none(), "{key} and another manifest have the same previous one");
    }
    let (mut hash, mut last, mut listed) = (String::new(), 0, BTreeSet::new());
    let (all, mut rows, mut generation) = (by_previous.len(), 0, 0);
    while let Some((its_hash, manifest)) = by_previous.remove(&hash) {
        hash = its_hash;
        let its_generation = manifest["generation"].as_u64().unwrap_or(0);
        if its_generation > generation {
            (generation, last) = (its_generation, 0);
        }
        assert!(its_generation == generation && manifest["first"].as_u64().unwrap() > last, "{manifest}");
        last = manifest["last"].as_u64().unwrap();
        rows += manifest["rows"].as_u64().unwrap();
        for object in manifest["objects"].as_array().unwrap() {
            let key = object["key"].as_str().unwrap();
            assert!(listed.insert(key.to_owned()), "{key} is listed twice");
            let bytes = objects.get(key).unwrap_or_else(|| panic!("{key} is listed but does not exist"));
            assert_eq!(object["sha256"], sha256_hex(bytes), "{key}");
            assert_eq!(object["size"], bytes.len(), "{key}");
        }
    }
    assert!(by_previous.is_empty(), "the chain is broken: {} of {all} manifests are not connected", by_previous.len());
    let existing: BTreeSet<_> = objects.keys().filter(|key| !is_manifest(key)).cloned().collect();
    assert_eq!(existing, listed, "objects that no manifest lists");
    let delivered: usize = events(objects).values().map(Vec::len).sum();
    assert_eq!(delivered as u64, rows);
    eprintln!("{all} manifests list {} objects with {rows} events", listed.len());
}
