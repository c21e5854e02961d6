//! What a sink records before it touches an output, so that an unfinished batch can be rolled back.
//!
//! The journal stores a record as opaque JSON (its format is 1); the sinks write and read the fields. Each kind of output is
//! a variant of its own, so that code which handles records is checked by the compiler for every kind.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One output that a batch is about to touch, recorded before it is touched.
///
/// If one output is recorded twice in a batch, a rollback lies between the two records and the later record holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RollbackRecord {
    /// A local file that the `file` sink appends to or creates.
    File(FileRecord),
    /// The sink's dead letter file.
    DeadLetter(FileRecord),
    /// An object that the `s3` sink puts.
    S3Object(S3ObjectRecord),
    /// A Kafka record that the broker rejects permanently. It has no effect on the target; the sink reads it back after a
    /// crash, so that the same events go to the dead letter.
    KafkaRejection(KafkaRejection),
}

/// A local file and its state before the batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// The absolute path. Bytes that are not UTF-8 are replaced.
    pub path: PathBuf,
    /// The file before the batch.
    pub before: FileBefore,
}

/// The state of a file before a batch touched it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileBefore {
    /// The file existed.
    Existing {
        /// Its length in bytes.
        length: u64,
        /// A hash of its last bytes, empty for an empty file. It shows whether the file was replaced since.
        tail_hash: String,
    },
    /// The file did not exist.
    Absent {
        /// The topmost directory that did not exist either.
        first_new_directory: Option<PathBuf>,
    },
}

/// An object in an S3 bucket. Its key contains this journal's sequence numbers, so it did not exist before the batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct S3ObjectRecord {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// Where the bucket is: the sink's configuration may have changed since.
    pub location: S3Location,
    /// Whether the object is uploaded in parts.
    pub multipart: bool,
    /// Whether the object is the manifest of the batch.
    pub manifest: bool,
    /// Whether the object is put for a table. Only the table's log says whether it belongs to it.
    pub table: bool,
    /// The token of the process that puts the object. If set, an object without this token belongs to somebody else and is
    /// left alone.
    pub token: Option<String>,
}

/// Where a bucket is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct S3Location {
    /// The URL of the store; `None` for AWS.
    pub endpoint: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// Whether the bucket is part of the URL's path instead of the host name.
    pub force_path_style: bool,
}

/// A record that a Kafka broker rejects permanently.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KafkaRejection {
    /// The event's id, 32 hexadecimal digits.
    pub event_id: String,
    /// The event's version; 0 if it has none.
    pub version: u64,
    /// The reason, as it goes to the dead letter.
    pub reason: String,
}

impl fmt::Display for RollbackRecord {
    /// Names the output, for log lines. Different outputs have different names.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => write!(f, "{}", file.path.display()),
            Self::DeadLetter(file) => write!(f, "dead letter {}", file.path.display()),
            Self::S3Object(object) => write!(f, "s3://{}/{}", object.bucket, object.key),
            Self::KafkaRejection(rejection) => {
                write!(f, "kafka record {} version {}", rejection.event_id, rejection.version)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_form_is_stable() {
        let file = FileRecord {
            path: "/audit/a.ndjson".into(),
            before: FileBefore::Existing { length: 7, tail_hash: "ab".to_owned() },
        };
        let new =
            FileRecord { before: FileBefore::Absent { first_new_directory: Some("/audit".into()) }, ..file.clone() };
        let object = S3ObjectRecord {
            bucket: "lake".to_owned(),
            key: "a/b".to_owned(),
            location: S3Location { endpoint: None, region: None, force_path_style: false },
            multipart: true,
            manifest: false,
            table: false,
            token: None,
        };
        let rejection = KafkaRejection { event_id: "00".to_owned(), version: 3, reason: "too large".to_owned() };
        for (record, json) in [
            (
                RollbackRecord::File(file),
                r#"{"type":"file","path":"/audit/a.ndjson","before":{"existing":{"length":7,"tail_hash":"ab"}}}"#,
            ),
            (
                RollbackRecord::DeadLetter(new),
                r#"{"type":"dead_letter","path":"/audit/a.ndjson","before":{"absent":{"first_new_directory":"/audit"}}}"#,
            ),
            (
                RollbackRecord::S3Object(object),
                r#"{"type":"s3_object","bucket":"lake","key":"a/b","location":{"endpoint":null,"region":null,"force_path_style":false},"multipart":true,"manifest":false,"table":false,"token":null}"#,
            ),
            (
                RollbackRecord::KafkaRejection(rejection),
                r#"{"type":"kafka_rejection","event_id":"00","version":3,"reason":"too large"}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&record).expect("JSON"), json);
            assert_eq!(serde_json::from_str::<RollbackRecord>(json).expect("a record"), record);
        }
    }
}
