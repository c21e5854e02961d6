//! The settings of an `s3` sink and their validation.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::delta::layout;
use super::objects::MAX_NAME_BYTES;
use super::options::{
    Acl, AuthOptions, Checksum, Headers, RequestOptions, ServerSideEncryption, StorageClass, TableFormat, problem,
};
use super::prefixes::Prefixes;
use super::security_lake::{self, SecurityLakeOptions};
use super::state::StoredState;
use super::writer::{Format, ObjectCompression, ObjectOptions};
use crate::diagnostic::SettingDiagnostic;
use crate::event::Event;
use crate::event::native::RawForm;
use crate::event::ocsf::columns;
use crate::journal::S3Location;
use crate::secret::Secret;
use crate::sinks::BatchOptions;
use crate::sinks::encoding::{EncodingOptions, Schema};
use crate::sinks::table_state::TableState;
use crate::sinks::template::{Template, TemplateError};
use crate::units::PlainText;

/// The longest key that S3 accepts, in bytes.
const MAX_KEY_BYTES: usize = 1_024;

/// The settings of an `s3` sink.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct S3Config {
    /// The bucket.
    pub bucket: String,
    /// The bucket's region, for example `eu-central-1`. Default: the region from the environment
    /// (`AWS_REGION`, the profile, the host); with `endpoint`: `us-east-1`.
    pub region: Option<String>,
    /// The URL of a store other than AWS: `https://minio.example.com:9000`.
    pub endpoint: Option<String>,
    /// Whether the bucket's name is part of the path instead of the host name. Default: true with `endpoint`.
    pub force_path_style: Option<bool>,
    /// The start of keys: event fields in double braces, parts of the event's time (UTC) as strftime letters. A `/` is added
    /// at the end if it is missing.
    #[serde(default = "default_key_prefix")]
    pub key_prefix: String,
    /// `ndjson` (default) or `parquet`.
    #[serde(default)]
    pub format: Format,
    /// `delta`: the objects are a Delta table, whose log is below `_delta_log/` in the directory before the first `=` of
    /// `key_prefix`. Needs `format: parquet`. Default: none.
    pub table: Option<TableFormat>,
    /// The objects are those of custom sources of Amazon Security Lake, one per OCSF class, below `ext/` in its bucket. Needs
    /// `format: parquet` and `encoding: {schema: ocsf, ocsf_version: 1.3.0}`. Default: none.
    pub security_lake: Option<SecurityLakeOptions>,
    /// How an event is encoded. `format: parquet` has the native schema, with `security_lake` OCSF.
    #[serde(default)]
    pub encoding: EncodingOptions,
    /// ndjson: `gzip` (default), `zstd` or `none`. parquet: `zstd` (default), `snappy` or `none`.
    pub compression: Option<ObjectCompression>,
    /// parquet: whether the event's id and the actor's e-mail address have Bloom filters, so that a query for one of them skips
    /// the objects that do not have it. Default: false.
    #[serde(default)]
    pub bloom_filters: bool,
    /// Whether each batch ends with a manifest object that lists all objects of the batch. Default: true.
    #[serde(default = "yes")]
    pub manifest: bool,
    /// The prefix of manifests. Default: `_manifests/` in the directory at the start of `key_prefix`.
    pub manifest_prefix: Option<String>,
    /// The storage class of the objects with events, for example `STANDARD_IA`. Default: the bucket's default.
    pub storage_class: Option<StorageClass>,
    /// A canned access control list, for buckets with access control lists: `bucket-owner-full-control`.
    pub acl: Option<Acl>,
    /// `AES256`, `aws:kms` or `aws:kms:dsse`. Default: the bucket's default.
    pub server_side_encryption: Option<ServerSideEncryption>,
    /// With `aws:kms`: the key's id or ARN. Default: the account's key.
    pub ssekms_key_id: Option<String>,
    /// Tags of each object, at most 10.
    #[serde(default)]
    pub tags: BTreeMap<String, PlainText>,
    /// The content type. Default: `application/x-ndjson` or `application/vnd.apache.parquet`.
    pub content_type: Option<String>,
    /// The content encoding, for example `gzip`. Default: none, so that a downloaded `x.ndjson.gz` is what its name says: HTTP
    /// clients decompress what has an encoding.
    pub content_encoding: Option<String>,
    /// AWS credentials. Default: the standard AWS credential chain.
    #[serde(default)]
    pub auth: AuthOptions,
    /// `auto` (default), `when_required`, `crc32`, `crc32c` or `sha256`.
    #[serde(default)]
    pub checksum: Checksum,
    /// Whether existing objects are never overwritten. Exactly-once delivery does not need it.
    #[serde(default)]
    pub if_none_match: bool,
    /// Concurrency and timeout of requests.
    #[serde(default)]
    pub request: RequestOptions,
}

fn default_key_prefix() -> String {
    "event_vendor={{ vendor }}/event_date=%Y-%m-%d/".to_owned()
}

const fn yes() -> bool {
    true
}

impl S3Config {
    /// Every setting that parses but is invalid. Uses neither network nor disk.
    #[must_use]
    pub fn check(&self) -> Vec<SettingDiagnostic> {
        let mut problems = Vec::new();
        problems.extend(bucket_problem(&self.bucket));
        problems.extend(self.endpoint.as_deref().and_then(endpoint_problem));
        problems.extend(self.prefix_problem());
        problems.extend(self.manifest_prefix_problem());
        problems.extend(self.format_problems());
        problems.extend(self.table_problems());
        problems.extend(self.security_lake_problems());
        problems.extend(self.kms_problem());
        problems.extend(tag_problem(&self.tags));
        problems.extend(self.auth.problems());
        problems.extend(self.request.problems());
        problems
    }

    fn prefix_problem(&self) -> Option<SettingDiagnostic> {
        let template = match Template::parse(&self.key_prefix) {
            Ok(template) => template,
            Err(error) => return Some(of_template(&self.key_prefix, &error)),
        };
        if let Some(message) = path_problem(&self.key_prefix) {
            return Some(problem(
                "key_prefix",
                message,
                "set one such as event_vendor={{ vendor }}/event_date=%Y-%m-%d/",
            ));
        }
        if template.longest() + MAX_NAME_BYTES > MAX_KEY_BYTES {
            let message = format!("keys can become longer than the {MAX_KEY_BYTES} bytes that S3 accepts");
            return Some(problem("key_prefix", message, "use fewer fields"));
        }
        None
    }

    fn manifest_prefix_problem(&self) -> Option<SettingDiagnostic> {
        let prefix = self.manifest_prefix.as_deref()?;
        if !self.manifest {
            let message = "no manifests are written, so the prefix has no effect";
            return Some(problem("manifest_prefix", message, "remove it, or set `manifest: true`"));
        }
        if prefix.contains("{{") || prefix.contains('%') {
            let message = "a manifest lists many events: its prefix cannot contain a field of one event";
            return Some(problem("manifest_prefix", message, "set a fixed string such as audit/_manifests/"));
        }
        let message = path_problem(prefix)?;
        Some(problem("manifest_prefix", message, "set a fixed string such as audit/_manifests/"))
    }

    fn format_problems(&self) -> Vec<SettingDiagnostic> {
        let mut problems = Vec::new();
        if self.format == Format::Parquet && !cfg!(feature = "parquet") {
            let hint = "set `format: ndjson`, or build auditflow with the feature `parquet`";
            problems.push(problem("format", "this auditflow was built without Parquet", hint));
        }
        if let Some(compression) = self.compression.filter(|compression| !self.format.takes(*compression)) {
            let message = format!("{} has no compression `{}`", self.format.as_str(), compression.as_str());
            problems.push(problem("compression", message, self.format.compression_hint()));
        }
        if self.format == Format::Parquet && self.encoding.schema != Schema::Native && self.security_lake.is_none() {
            let message = "parquet files have the native schema, or OCSF with `security_lake`";
            problems.push(problem("encoding.schema", message, "remove `encoding.schema`, or set `format: ndjson`"));
        }
        if self.format != Format::Parquet && self.bloom_filters {
            let message = "only parquet files have Bloom filters";
            problems.push(problem("bloom_filters", message, "remove it, or set `format: parquet`"));
        }
        if self.format == Format::Parquet && self.content_encoding.as_deref().is_some_and(|text| !text.is_empty()) {
            let message = "parquet files are compressed internally: readers would try to decompress the whole file";
            problems.push(problem("content_encoding", message, "remove it"));
        }
        problems
    }

    fn security_lake_problems(&self) -> Vec<SettingDiagnostic> {
        let Some(lake) = &self.security_lake else { return Vec::new() };
        let is_ocsf = self.encoding.schema == Schema::Ocsf;
        let is_newer = is_ocsf && self.encoding.ocsf_version != columns::VERSION;
        let wrong = [
            (self.format != Format::Parquet, "format", "Security Lake takes Parquet only", "set `format: parquet`"),
            (
                !is_ocsf,
                "encoding.schema",
                "Security Lake takes OCSF only",
                "set `encoding: {schema: ocsf, ocsf_version: 1.3.0}`",
            ),
            (
                is_newer,
                "encoding.ocsf_version",
                "Security Lake takes OCSF 1.3.0 and earlier",
                "set `ocsf_version: 1.3.0`",
            ),
            (
                self.if_none_match,
                "if_none_match",
                "after a lost answer the sink must read what it has put, and the roles of Security Lake may only put",
                "remove `if_none_match`: exactly-once delivery does not need it",
            ),
            (self.table.is_some(), "table", "Security Lake has tables of its own", "remove `table`"),
            (
                self.key_prefix != default_key_prefix(),
                "key_prefix",
                "`security_lake` says where objects go, so the prefix has no effect",
                "remove `key_prefix`",
            ),
            (
                self.region.is_none(),
                "region",
                "keys contain the region of the bucket",
                "set `region` to the bucket's region",
            ),
        ];
        let wrong = wrong.into_iter().filter(|(is_wrong, ..)| *is_wrong);
        wrong.map(|(_, key, message, hint)| problem(key, message, hint)).chain(lake.problems()).collect()
    }

    /// The table, from what the journal keeps for this sink.
    #[must_use]
    pub fn table_state(&self, state: &str) -> Option<TableState> {
        self.table.and_then(|_| StoredState::decode(state).table)
    }

    /// The hash of the newest manifest, from what the journal keeps for this sink.
    #[must_use]
    pub fn newest_manifest(&self, state: &str) -> Option<String> {
        StoredState::decode(state).manifest
    }

    /// What is wrong with the limits of a batch.
    #[must_use]
    pub fn batch_problem(&self, batch: &BatchOptions) -> Option<SettingDiagnostic> {
        self.security_lake.as_ref().and_then(|_| security_lake::batch_problem(batch))
    }

    fn table_problems(&self) -> Vec<SettingDiagnostic> {
        if self.table.is_none() || self.security_lake.is_some() {
            return Vec::new();
        }
        if self.format != Format::Parquet {
            let message = "a Delta table consists of Parquet files";
            return vec![problem("table", message, "set `format: parquet`, or remove `table`")];
        }
        let Ok(prefix) = self.prefix_template() else { return Vec::new() };
        let mut problems = Vec::new();
        if let Some(reason) = layout::prefix_problem(&prefix, self.with_raw()) {
            let hint = "set one such as audit/event_vendor={{ vendor }}/event_date=%Y-%m-%d/";
            problems.push(problem("key_prefix", format!("this cannot be the prefix of a Delta table: {reason}"), hint));
        }
        let below = self.manifests(&prefix).zip(layout::root_of(&prefix));
        let below = below.and_then(|(manifests, root)| Some(manifests.strip_prefix(&root)?.to_owned()));
        if below.is_some_and(|name| !name.starts_with('_')) {
            let message = "`VACUUM` deletes what lies in the table's directory, unless its name starts with `_`";
            problems.push(problem(
                "manifest_prefix",
                message,
                "remove it, or set one outside of the table's directory",
            ));
        }
        problems
    }

    /// Whether the objects have the vendors' records.
    pub(super) fn with_raw(&self) -> bool {
        self.encoding.raw != RawForm::Drop
    }

    fn kms_problem(&self) -> Option<SettingDiagnostic> {
        let by_kms = self.server_side_encryption.is_some_and(ServerSideEncryption::takes_key);
        if self.ssekms_key_id.is_none() || by_kms {
            return None;
        }
        let hint = "add `server_side_encryption: aws:kms`, or remove the key";
        Some(problem("ssekms_key_id", "a KMS key has no effect without KMS encryption", hint))
    }

    /// Settings that work but are probably a mistake.
    #[must_use]
    pub fn warnings(&self) -> Vec<SettingDiagnostic> {
        let template = Template::parse(&self.key_prefix);
        let mut warnings = template
            .map(|template| self.encoding.schema.partition_warnings("key_prefix", &template))
            .unwrap_or_default();
        if self.acl.is_some_and(Acl::is_public) {
            let message = "everyone on the internet can read the audit trail";
            warnings.push(problem("acl", message, "remove `acl`"));
        }
        let plain = self.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://"));
        if plain && !self.endpoint.as_deref().is_some_and(is_local) {
            let message = "events are sent unencrypted over the network";
            warnings.push(problem("endpoint", message, "use https:// if the store offers it"));
        }
        warnings
    }

    /// Every secret of the sink, so that relative file paths can be resolved.
    pub fn secrets_mut(&mut self) -> Vec<&mut Secret> {
        self.auth.secrets_mut()
    }

    /// The template of the key prefix, with a slash at the end.
    ///
    /// # Errors
    /// What is wrong with the template.
    pub(super) fn prefix_template(&self) -> Result<Template, Vec<SettingDiagnostic>> {
        Template::parse(&self.directory()).map_err(|error| vec![of_template(&self.key_prefix, &error)])
    }

    /// Where an event would be put: the bucket and the prefix of its object.
    #[must_use]
    pub fn example(&self, event: &Event<'_>) -> Vec<(&'static str, String)> {
        let Ok(mut prefixes) = self.prefixes() else { return Vec::new() };
        vec![("bucket", self.bucket.clone()), ("prefix", prefixes.render(event).0.to_owned())]
    }

    /// Where events go.
    ///
    /// # Errors
    /// What is wrong with the template.
    pub(super) fn prefixes(&self) -> Result<Prefixes, Vec<SettingDiagnostic>> {
        let Some(lake) = &self.security_lake else { return Ok(Prefixes::of_all(self.prefix_template()?)) };
        let parsed = |(class, text): (u32, String)| match Template::parse(&text) {
            Ok(template) => Ok((class, template)),
            Err(error) => Err(vec![of_template(&text, &error)]),
        };
        let of_classes = lake.prefixes(self.region.as_deref().unwrap_or_default()).into_iter().map(parsed);
        Ok(Prefixes::of_classes(of_classes.collect::<Result<Vec<_>, _>>()?))
    }

    /// The key prefix with a slash at the end; with `security_lake` the directory of all sources.
    fn directory(&self) -> String {
        if self.security_lake.is_some() { security_lake::ROOT.to_owned() } else { with_slash(&self.key_prefix) }
    }

    /// The prefix of the manifests; `None` without manifests.
    pub(super) fn manifests(&self, prefix: &Template) -> Option<String> {
        if !self.manifest {
            return None;
        }
        let given = self.manifest_prefix.as_deref().map(with_slash);
        Some(given.unwrap_or_else(|| {
            let fixed = prefix.fixed_start();
            let directory = fixed.rfind('/').map_or("", |end| &fixed[..=end]);
            format!("{directory}_manifests/")
        }))
    }

    /// Where the bucket is.
    pub(super) fn location(&self) -> S3Location {
        S3Location {
            endpoint: self.endpoint.as_deref().map(joinable),
            region: self.region.clone(),
            force_path_style: self.force_path_style.unwrap_or(self.endpoint.is_some()),
        }
    }

    pub(super) fn object_options(&self) -> ObjectOptions {
        ObjectOptions {
            format: self.format,
            compression: self.format.compression(self.compression),
            encoding: self.encoding,
            bloom_filters: self.bloom_filters,
        }
    }

    pub(super) fn headers(&self) -> Headers {
        Headers {
            content_type: self.content_type.clone().unwrap_or_else(|| self.format.content_type().to_owned()),
            content_encoding: self.content_encoding.clone().filter(|text| !text.is_empty()),
            storage_class: self.storage_class,
            acl: self.acl,
            server_side_encryption: self.server_side_encryption,
            ssekms_key_id: self.ssekms_key_id.clone(),
            tagging: encoded_tags(&self.tags),
            checksum: self.checksum.algorithm(),
            // What a table has must not be overwritten, by whomever.
            if_none_match: self.if_none_match || self.table.is_some(),
        }
    }

    /// A string that changes whenever a changed configuration puts different bytes, or puts them elsewhere.
    pub(super) fn fingerprint(&self, prefix: &Template) -> String {
        let lake = self.security_lake.as_ref().map(|lake| lake.prefixes(self.region.as_deref().unwrap_or_default()));
        format!(
            "s3 {} bucket={} prefix={} manifests={:?} table={:?} security_lake={lake:?} {:?}",
            self.endpoint.as_deref().unwrap_or("aws"),
            self.bucket,
            prefix.canonical(),
            self.manifests(prefix),
            self.table,
            self.object_options(),
        )
    }
}

/// The client appends the bucket to the path of an endpoint, without a slash of its own.
fn joinable(endpoint: &str) -> String {
    let has_path = url::Url::parse(endpoint).is_ok_and(|url| url.path() != "/");
    if has_path { with_slash(endpoint) } else { endpoint.to_owned() }
}

fn with_slash(prefix: &str) -> String {
    if prefix.is_empty() || prefix.ends_with('/') { prefix.to_owned() } else { format!("{prefix}/") }
}

/// The tags in the form of a request: `team=security&env=prod`.
fn encoded_tags(tags: &BTreeMap<String, PlainText>) -> Option<String> {
    let encoded =
        |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    let pairs: Vec<_> =
        tags.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value.as_str()))).collect();
    (!pairs.is_empty()).then(|| pairs.join("&"))
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>, as far as all stores agree.
fn bucket_problem(bucket: &str) -> Option<SettingDiagnostic> {
    if bucket.contains("://") || bucket.contains('/') {
        let hint = "set only the bucket's name; the rest belongs in `key_prefix`";
        return Some(problem("bucket", format!("`{bucket}` is not a bucket's name"), hint));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':');
    if bucket.len() < 3 || !bucket.bytes().all(allowed) {
        let hint = "a bucket's name has at least 3 lower-case letters, digits, dots and hyphens";
        return Some(problem("bucket", format!("`{bucket}` cannot be a bucket's name"), hint));
    }
    None
}

fn endpoint_problem(endpoint: &str) -> Option<SettingDiagnostic> {
    let hint = "set one such as https://minio.example.com:9000";
    let url = match url::Url::parse(endpoint) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => url,
        _ => return Some(problem("endpoint", format!("`{endpoint}` is not an http:// or https:// address"), hint)),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Some(problem("endpoint", "an endpoint cannot contain credentials", "set them in `auth`"));
    }
    None
}

fn is_local(endpoint: &str) -> bool {
    let url = url::Url::parse(endpoint).ok();
    let host = url.as_ref().and_then(url::Url::host_str).unwrap_or_default();
    host == "localhost" || host.starts_with("127.") || host == "[::1]"
}

/// What is wrong with a prefix: readers of the bucket would see empty directories, or could not copy it to a disk.
fn path_problem(prefix: &str) -> Option<String> {
    let wrong = prefix.starts_with('/')
        || prefix.contains("//")
        || prefix.chars().any(char::is_control)
        || prefix.split('/').any(|part| matches!(part, "." | ".."));
    wrong.then(|| format!("`{prefix}` has an empty part, a part of only dots, or starts with a slash"))
}

fn tag_problem(tags: &BTreeMap<String, PlainText>) -> Option<SettingDiagnostic> {
    if tags.len() > 10 {
        return Some(problem("tags", "an object can have at most 10 tags", "remove some"));
    }
    let long = |(name, value): (&String, &PlainText)| {
        name.is_empty() || name.chars().count() > 128 || value.as_str().chars().count() > 256
    };
    let (name, _) = tags.iter().find(|tag| long(*tag))?;
    let message = format!("the tag `{name}` is empty or too long");
    Some(problem("tags", message, "a name has 1 to 128 characters, a value at most 256"))
}

fn of_template(text: &str, error: &TemplateError) -> SettingDiagnostic {
    problem("key_prefix", format!("`{text}`, column {}: {}", error.column, error.message), error.hint.clone())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::clock::SystemClock;
    use crate::sinks::Sink as _;

    fn config(more: Value) -> S3Config {
        let mut settings = json!({"bucket": "audit"});
        let Value::Object(more) = more else { panic!("settings") };
        settings.as_object_mut().expect("a map").extend(more);
        serde_json::from_value(settings).expect("a config")
    }

    #[expect(clippy::needless_pass_by_value, reason = "callers write json!() in place")]
    fn problem_of(more: Value) -> (String, String) {
        let mut problems = config(more.clone()).check();
        assert_eq!(problems.len(), 1, "{more}: {problems:?}");
        let problem = problems.remove(0);
        assert!(!problem.hint.is_empty(), "{problem:?}");
        (problem.key, format!("{} | {}", problem.message, problem.hint))
    }

    #[test]
    fn what_cannot_be_right_is_named_with_its_place_and_the_way_out() {
        for (settings, key, word) in [
            (json!({"bucket": "s3://audit/x"}), "bucket", "key_prefix"),
            (json!({"bucket": "a b"}), "bucket", "hyphens"),
            (json!({"endpoint": "minio:9000"}), "endpoint", "https://"),
            (json!({"endpoint": "http://me:secret@minio:9000"}), "endpoint", "auth"),
            (json!({"key_prefix": "{{ vendr }}/"}), "key_prefix", "did you mean `vendor`?"),
            (json!({"key_prefix": "/audit/"}), "key_prefix", "slash"),
            (json!({"key_prefix": "audit//x/"}), "key_prefix", "empty part"),
            (json!({"key_prefix": "{{ actor.id }}".repeat(13)}), "key_prefix", "fewer fields"),
            (json!({"manifest_prefix": "audit/%Y/"}), "manifest_prefix", "fixed string"),
            (json!({"manifest": false, "manifest_prefix": "audit/"}), "manifest_prefix", "remove it"),
            (json!({"compression": "snappy"}), "compression", "gzip, zstd or none"),
            (json!({"format": "parquet", "compression": "gzip"}), "compression", "zstd, snappy or none"),
            (json!({"format": "parquet", "encoding": {"schema": "ocsf"}}), "encoding.schema", "ndjson"),
            (json!({"bloom_filters": true}), "bloom_filters", "parquet"),
            (json!({"format": "parquet", "content_encoding": "zstd"}), "content_encoding", "remove it"),
            (json!({"ssekms_key_id": "alias/x"}), "ssekms_key_id", "aws:kms"),
            (json!({"tags": {"": "x"}}), "tags", "1 to 128"),
            (json!({"auth": {"access_key_id": "x"}}), "auth.secret_access_key", "add it"),
            (json!({"auth": {"secret_access_key": "x"}}), "auth.access_key_id", "add it"),
            (json!({"auth": {"session_token": "x"}}), "auth.session_token", "access_key_id"),
            (json!({"auth": {"external_id": "x"}}), "auth.external_id", "assume_role"),
            (
                json!({"auth": {"access_key_id": "x", "secret_access_key": "y", "profile": "z"}}),
                "auth.profile",
                "remove `profile`",
            ),
            (json!({"request": {"timeout_secs": 0}}), "request.timeout_secs", "60s"),
        ] {
            let (found, text) = problem_of(settings);
            assert_eq!(found, key, "{text}");
            assert!(text.contains(word), "{text}");
        }
    }

    fn security_lake(more: Value) -> Value {
        let source = |name: &str| json!({"name": name, "assume_role": "arn:aws:iam::111122223333:role/x"});
        let mut settings = json!({
            "region": "eu-central-1", "format": "parquet", "encoding": {"schema": "ocsf", "ocsf_version": "1.3.0"},
            "security_lake": {"account_id": "external_acme", "sources": {
                "account_change": source("acme_account"), "authentication": source("acme_login"),
                "user_access": source("acme_access"), "group_management": source("acme_group"),
                "api_activity": source("acme_api"),
            }},
        });
        let Value::Object(more) = more else { panic!("settings") };
        for (pointer, value) in more {
            let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
            settings.pointer_mut(parent).expect("a map")[name] = value;
        }
        settings
    }

    #[test]
    fn what_security_lake_does_not_take_is_named() {
        assert_eq!(config(security_lake(json!({}))).check(), []);
        let api = |more: Value| json!({"/security_lake/sources/api_activity": more});
        for (more, key, word) in [
            (json!({"/format": "ndjson"}), "format", "parquet"),
            (json!({"/encoding": {}}), "encoding.schema", "schema: ocsf"),
            (json!({"/encoding/ocsf_version": "1.8.0"}), "encoding.ocsf_version", "1.3.0"),
            (json!({"/table": "delta"}), "table", "remove"),
            (json!({"/if_none_match": true}), "if_none_match", "remove"),
            (json!({"/key_prefix": "x/"}), "key_prefix", "remove"),
            (json!({"/region": null}), "region", "bucket's region"),
            (json!({"/security_lake/account_id": "1111"}), "security_lake.account_id", "12 digits"),
            (json!({"/security_lake/account_id": "external_a/b"}), "security_lake.account_id", "external_"),
            (api(json!({"name": "a_name_of_21_letters_"})), "security_lake.sources.api_activity.name", "20 letters"),
            (api(json!({"name": "_x"})), "security_lake.sources.api_activity.name", "20 letters"),
            (api(json!({"name": "acme_login"})), "security_lake.sources.api_activity.name", "one class per source"),
            (
                api(json!({"name": "x", "external_id": "y"})),
                "security_lake.sources.api_activity.external_id",
                "assume_role",
            ),
        ] {
            let (found, text) = problem_of(security_lake(more));
            assert_eq!(found, key, "{text}");
            assert!(text.contains(word), "{text}");
        }
        for (secs, is_right) in [(299, false), (300, true), (7_200, true), (86_400, true), (86_401, false)] {
            let timeout = std::time::Duration::from_secs(secs);
            let batch = BatchOptions { max_events: 1, max_bytes: 1, timeout };
            assert_eq!(config(security_lake(json!({}))).batch_problem(&batch).is_none(), is_right, "{secs}");
            assert_eq!(config(json!({})).batch_problem(&batch), None);
        }
        let mut missing = security_lake(json!({}));
        missing["security_lake"]["sources"].as_object_mut().expect("a map").remove("user_access");
        missing["bucket"] = "audit".into();
        let error = serde_json::from_value::<S3Config>(missing).expect_err("a class without a source").to_string();
        assert!(error.contains("user_access"), "{error}");
    }

    #[test]
    fn events_go_to_the_source_of_their_class() {
        let lake = config(security_lake(json!({})));
        let event = crate::sinks::testing::event("{}", "2026-01-02T23:59:59.999Z");
        let [_, (_, prefix)] = lake.example(&event).try_into().expect("two parts");
        assert_eq!(prefix, "ext/acme_api/region=eu-central-1/accountId=external_acme/eventDay=20260102/");
        let clock: crate::clock::SharedClock = Arc::new(SystemClock);
        let print = |config: &S3Config| config.build(&clock, "p", "s").expect("a sink").fingerprint().to_owned();
        let other = config(security_lake(json!({"/security_lake/account_id": "111122223333"})));
        assert_ne!(print(&lake), print(&other));
        let role = "/security_lake/sources/api_activity/assume_role";
        let other = config(security_lake(json!({role: "arn:aws:iam::111122223333:role/y"})));
        assert_eq!(print(&lake), print(&other), "a role does not change what is put where");
    }

    #[test]
    fn what_is_probably_not_meant_is_warned_of() {
        let keys = |more: Value| config(more).warnings().into_iter().map(|problem| problem.key).collect::<Vec<_>>();
        assert_eq!(keys(json!({"acl": "public-read"})), ["acl"]);
        assert_eq!(keys(json!({"endpoint": "http://minio.example.com:9000"})), ["endpoint"]);
        assert_eq!(keys(json!({"endpoint": "http://127.0.0.1:9000"})), Vec::<String>::new());
        assert_eq!(keys(json!({})), Vec::<String>::new(), "the default prefix");
        assert_eq!(
            keys(json!({"storage_class": "STANDARD_IA", "server_side_encryption": "aws:kms"})),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_partition_with_the_name_of_a_column_is_warned_of() {
        let warnings = |prefix: &str, schema: &str| {
            let warnings = config(json!({"key_prefix": prefix, "encoding": {"schema": schema}})).warnings();
            warnings.iter().map(|found| format!("{} {} {}", found.key, found.message, found.hint)).collect::<Vec<_>>()
        };
        let native = warnings("audit/vendor={{ vendor }}/Action={{ action }}/date=%F/", "native");
        assert_eq!(native.len(), 2, "{native:?}");
        assert!(native[0].contains("key_prefix") && native[0].contains("`vendor=`"), "{native:?}");
        assert!(native[0].contains("write `event_vendor=`") && native[1].contains("`Action=`"), "{native:?}");
        assert_eq!(warnings("{{ vendor }}=x/event_vendor={{ vendor }}/", "native"), [""; 0]);
        assert_eq!(warnings("vendor={{ vendor }}/time=%F/", "ocsf").len(), 1);
        assert_eq!(warnings("vendor={{ vendor }}/event=%F/", "ecs").len(), 1);
    }

    #[test]
    fn the_fingerprint_tells_configs_apart_that_put_other_bytes_or_elsewhere() {
        let print = |more: Value| {
            let clock: crate::clock::SharedClock = Arc::new(SystemClock);
            config(more).build(&clock, "p", "s").expect("a sink").fingerprint().to_owned()
        };
        let differing = [
            json!({}),
            json!({"bucket": "other"}),
            json!({"endpoint": "https://minio:9000"}),
            json!({"key_prefix": "x/"}),
            json!({"format": "parquet"}),
            json!({"format": "parquet", "compression": "snappy"}),
            json!({"format": "parquet", "bloom_filters": true}),
            json!({"compression": "zstd"}),
            json!({"encoding": {"schema": "ecs"}}),
            json!({"encoding": {"raw": "drop"}}),
            json!({"manifest": false}),
            json!({"manifest_prefix": "m/"}),
        ];
        let prints: std::collections::BTreeSet<_> = differing.iter().map(|more| print(more.clone())).collect();
        assert_eq!(prints.len(), differing.len());
        assert_eq!(
            print(json!({"key_prefix": "{{vendor}}/%F"})),
            print(json!({"key_prefix": "{{ vendor }}/%Y-%m-%d/"}))
        );
    }

    #[test]
    fn manifests_go_beside_the_directory_that_keys_begin_with() {
        let manifests = |prefix: &str, more: Value| {
            let template = Template::parse(prefix).expect("a template");
            config(more).manifests(&template)
        };
        assert_eq!(manifests("audit/event_vendor={{ vendor }}/", json!({})).as_deref(), Some("audit/_manifests/"));
        assert_eq!(manifests("{{ vendor }}/", json!({})).as_deref(), Some("_manifests/"));
        assert_eq!(manifests("a/", json!({"manifest_prefix": "b/m"})).as_deref(), Some("b/m/"));
        assert_eq!(manifests("a/", json!({"manifest": false})), None);
    }

    #[test]
    fn what_goes_with_an_object_follows_its_format() {
        let of = |more: Value| {
            let headers = config(more).headers();
            (headers.content_type, headers.content_encoding)
        };
        assert_eq!(of(json!({})), ("application/x-ndjson".to_owned(), None));
        assert_eq!(of(json!({"content_encoding": "gzip"})).1.as_deref(), Some("gzip"));
        assert_eq!(of(json!({"content_encoding": ""})).1, None);
        assert_eq!(of(json!({"format": "parquet"})), ("application/vnd.apache.parquet".to_owned(), None));
        let tags = config(json!({"tags": {"team": "security & audit", "cost": 7}})).headers().tagging;
        assert_eq!(tags.as_deref(), Some("cost=7&team=security%20%26%20audit"));
    }

    #[test]
    fn an_endpoint_with_a_path_ends_with_a_slash() {
        for (endpoint, expected) in [
            ("https://host:9000", "https://host:9000"),
            ("https://host/", "https://host/"),
            ("https://host/gateway", "https://host/gateway/"),
            ("https://host/gateway/", "https://host/gateway/"),
        ] {
            assert_eq!(config(json!({"endpoint": endpoint})).location().endpoint.as_deref(), Some(expected));
        }
    }

    #[test]
    fn no_secret_is_shown() {
        let auth =
            json!({"auth": {"access_key_id": "the-id", "secret_access_key": "the-key", "session_token": "the-token"}});
        let config = config(auth);
        let clock: crate::clock::SharedClock = Arc::new(SystemClock);
        let shown = format!("{config:?} {:?}", config.build(&clock, "p", "s").expect("a sink"));
        assert!(!shown.contains("the-id") && !shown.contains("the-key") && !shown.contains("the-token"), "{shown}");
    }
}
