//! The errors of S3 stores, with hints. All of them are retried.

use std::error::Error;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::address::Address;
use crate::sinks::SinkError;

/// What a store answered, or why there is no answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct S3Error {
    /// The store's error code, for example `NoSuchBucket`.
    code: String,
    /// 0 if there was no answer.
    status: u16,
    /// The message of the store or the connection.
    message: String,
    /// The bucket's region according to the store.
    region: Option<String>,
    kind: ErrorKind,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ErrorKind {
    #[default]
    Answer,
    NoCredentials,
    NoAnswer,
    TimedOut,
    NotStored,
}

impl S3Error {
    pub(super) fn of<E: ProvideErrorMetadata + Error + 'static>(error: &SdkError<E>) -> Self {
        let response = error.raw_response();
        Self {
            code: error.code().unwrap_or_default().to_owned(),
            status: response.map_or(0, |response| response.status().as_u16()),
            message: message_of(error),
            region: response.and_then(|response| response.headers().get("x-amz-bucket-region")).map(str::to_owned),
            kind: kind_of(error),
        }
    }

    /// The store answered that it succeeded, and did not.
    pub(super) fn not_stored(message: &str) -> Self {
        Self { message: message.to_owned(), kind: ErrorKind::NotStored, ..Self::default() }
    }

    /// Whether the store refuses the request because it has no checksum, as buckets with Object Lock do.
    pub(super) fn needs_checksum(&self) -> bool {
        self.code == "InvalidRequest" && self.message.to_lowercase().contains("checksum")
    }

    /// Whether the object or its upload does not exist.
    pub(super) fn is_absent(&self) -> bool {
        matches!((self.code.as_str(), self.status), ("NoSuchKey" | "NoSuchUpload" | "NotFound", _) | ("", 404))
    }

    pub(super) fn is_bucket_missing(&self) -> bool {
        self.code == "NoSuchBucket"
    }

    /// Whether an object exists already and must not be overwritten.
    pub(super) fn is_precondition(&self) -> bool {
        self.code == "PreconditionFailed" || self.status == 412
    }

    /// Whether the store does not offer the call as it was made.
    pub(super) fn is_unknown_call(&self) -> bool {
        matches!(self.code.as_str(), "NotImplemented" | "InvalidArgument") || self.status == 501
    }

    /// Whether the store does not offer the call, or does not permit it.
    pub(super) fn is_not_offered(&self) -> bool {
        matches!(self.code.as_str(), "NotImplemented" | "MethodNotAllowed" | "AccessDenied") || self.status == 501
    }

    /// Whether the credentials do not permit the call. The answer to a HEAD has no code.
    pub(super) fn is_denied(&self) -> bool {
        self.code == "AccessDenied" || self.status == 403
    }

    /// The sink's error. `doing` completes "cannot ..."; `address` is where the request went.
    pub(super) fn into_error(self, doing: &str, address: &Address) -> SinkError {
        let code = match (self.code.as_str(), self.status) {
            ("", 0) => String::new(),
            ("", status) => format!(": the store answers {status}"),
            (code, _) => format!(": {code}"),
        };
        let reason = if self.message.is_empty() { String::new() } else { format!(": {}", self.message) };
        let is_connection = matches!(self.kind, ErrorKind::NoAnswer | ErrorKind::TimedOut);
        let place = address.get().filter(|_| is_connection).map(|address| format!(" at {address}")).unwrap_or_default();
        // Whatever a request was for, it is one error, and is said once.
        let bucket = doing.split_once("s3://").and_then(|(_, address)| address.split('/').next());
        let message = match bucket.filter(|_| self.is_bucket_missing()) {
            Some(bucket) => format!("cannot use the bucket {bucket}{code}{reason}"),
            None => format!("cannot {doing}{place}{code}{reason}"),
        };
        transient(message, self.hint())
    }

    fn hint(&self) -> String {
        match self.kind {
            ErrorKind::NoCredentials => NO_CREDENTIALS.to_owned(),
            ErrorKind::NoAnswer => NO_ANSWER.to_owned(),
            ErrorKind::TimedOut => TIMED_OUT.to_owned(),
            ErrorKind::NotStored => NOT_STORED.to_owned(),
            ErrorKind::Answer => self.hint_of_answer(),
        }
    }

    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>
    fn hint_of_answer(&self) -> String {
        let hint = match (self.code.as_str(), self.status) {
            ("NoSuchBucket", _) => "create the bucket, or fix `bucket`",
            ("InvalidAccessKeyId", _) => "fix `auth.access_key_id`: the store does not know this key",
            ("SignatureDoesNotMatch", _) => {
                "fix `auth.secret_access_key`: it does not match the access key id (some stores also report this when `region` is wrong)"
            }
            ("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired", _) => {
                "renew the credentials: the session token has expired or is invalid"
            }
            ("RequestTimeTooSkewed" | "RequestExpired", _) => {
                "set this host's clock: it differs from the store's by several minutes"
            }
            ("PermanentRedirect" | "AuthorizationHeaderMalformed" | "TemporaryRedirect" | "InvalidRegion", _)
            | (_, 301 | 307) => {
                return self.hint_of_region();
            }
            ("AccessControlListNotSupported", _) => "remove `acl`: the bucket has no access control lists",
            ("InvalidRequest", _) if self.needs_checksum() => {
                "set `checksum: crc32`: the bucket accepts objects with a checksum only"
            }
            ("InvalidStorageClass", _) => "fix `storage_class`: the store does not have this one",
            ("BadDigest" | "InvalidDigest" | "XAmzContentChecksumMismatch" | "XAmzContentSHA256Mismatch", _) => {
                "set `checksum: when_required` if the store does not support the checksum"
            }
            ("NotImplemented" | "MethodNotAllowed", _) => {
                "remove `acl`, `storage_class`, `tags` or `server_side_encryption`, or set `checksum: when_required`: the store does not support one of them"
            }
            ("QuotaExceeded" | "XMinioStorageFull" | "InsufficientCapacity", _) | (_, 507) => {
                "free space in the store or raise its quota"
            }
            (code, _) if code.starts_with("KMS") => {
                "fix `ssekms_key_id`, and grant the credentials kms:GenerateDataKey and kms:Decrypt on the key"
            }
            ("AccessDenied" | "AllAccessDisabled" | "AccountProblem" | "Forbidden", _) | (_, 401 | 403) => {
                ACCESS_DENIED
            }
            ("SlowDown" | "ServiceUnavailable" | "InternalError" | "RequestTimeout" | "Throttling", _)
            | (_, 429 | 500..) => {
                "if the store stays overloaded, lower `request.concurrency`, or write fewer and larger objects: a larger `batch`, a coarser `key_prefix`"
            }
            _ => "check the store and the settings of this sink",
        };
        hint.to_owned()
    }

    fn hint_of_region(&self) -> String {
        match &self.region {
            Some(region) => format!("set `region: {region}`: the bucket is in that region"),
            None => "set `region` to the bucket's region (and `endpoint`, if the store has one per region)".to_owned(),
        }
    }
}

const NO_CREDENTIALS: &str = "set `auth.access_key_id` and `auth.secret_access_key`, or `auth.profile`, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run on a host with a role";
const NO_ANSWER: &str = "start the store, or fix `endpoint`, `region`, the network or the proxy";
const TIMED_OUT: &str = "on a slow network raise `request.timeout_secs` or lower `request.concurrency`";
const NOT_STORED: &str = "fix `endpoint`: something between auditflow and the store, or in its place, answers requests that it does not serve";
const ACCESS_DENIED: &str = "grant the credentials s3:PutObject, s3:GetObject, s3:DeleteObject and s3:AbortMultipartUpload on the objects, s3:ListBucket and s3:ListBucketMultipartUploads on the bucket (docs/s3.md has the policy)";

/// An error that is retried.
pub(super) fn transient(message: String, hint: impl Into<String>) -> SinkError {
    SinkError::Transient { message, hint: hint.into() }
}

fn kind_of<E: ProvideErrorMetadata + Error + 'static>(error: &SdkError<E>) -> ErrorKind {
    match error {
        SdkError::TimeoutError(_) => ErrorKind::TimedOut,
        SdkError::DispatchFailure(failure) if failure.is_timeout() => ErrorKind::TimedOut,
        SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_) if lacks_credentials(error) => {
            ErrorKind::NoCredentials
        }
        SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => ErrorKind::NoAnswer,
        _ => ErrorKind::Answer,
    }
}

/// The store's message, or the cause of a missing answer.
fn message_of<E: ProvideErrorMetadata + Error + 'static>(error: &SdkError<E>) -> String {
    match error {
        SdkError::ServiceError(_) => error.message().unwrap_or_default().to_owned(),
        _ => causes(error),
    }
}

fn lacks_credentials(error: &dyn Error) -> bool {
    let text = causes(error).to_lowercase();
    text.contains("credential") || text.contains("identity")
}

/// The causes of an error, outermost first, each once.
fn causes(error: &dyn Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !texts.iter().any(|known| known.contains(&text)) {
            texts.push(text);
        }
        next = cause.source();
    }
    if texts.is_empty() { error.to_string() } else { texts.join(": ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(code: &str, status: u16) -> (String, String) {
        let error =
            S3Error { code: code.to_owned(), status, message: "the store's message".to_owned(), ..S3Error::default() };
        let SinkError::Transient { message, hint } = error.into_error("put s3://bucket/key", &Address::default())
        else {
            panic!("{code} is retried");
        };
        (message, hint)
    }

    #[test]
    fn every_hint_says_what_to_do() {
        for (code, status, word) in [
            ("NoSuchBucket", 404, "create the bucket"),
            ("AccessDenied", 403, "s3:PutObject"),
            ("", 403, "s3:PutObject"),
            ("InvalidAccessKeyId", 403, "access_key_id"),
            ("SignatureDoesNotMatch", 403, "secret_access_key"),
            ("ExpiredToken", 400, "renew"),
            ("RequestTimeTooSkewed", 403, "clock"),
            ("PermanentRedirect", 301, "`region`"),
            ("AuthorizationHeaderMalformed", 400, "`region`"),
            ("SlowDown", 503, "request.concurrency"),
            ("InternalError", 500, "request.concurrency"),
            ("KMS.DisabledException", 400, "ssekms_key_id"),
            ("XMinioStorageFull", 507, "quota"),
            ("SomethingNew", 400, "check the store"),
            ("InvalidRequest", 400, "check the store"),
        ] {
            let (message, hint) = said(code, status);
            assert!(hint.contains(word), "{code}: {hint}");
            let place = if code == "NoSuchBucket" { "the bucket bucket" } else { "s3://bucket/key" };
            assert!(message.contains(place) && message.contains("the store's message"), "{message}");
        }
    }

    #[test]
    fn the_region_that_the_store_names_is_passed_on() {
        let region = Some("eu-west-1".to_owned());
        let error = S3Error { code: "PermanentRedirect".to_owned(), status: 301, region, ..S3Error::default() };
        assert!(error.hint().contains("`region: eu-west-1`"));
    }

    #[test]
    fn a_bucket_that_needs_a_checksum_is_recognized() {
        let message = "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters";
        let (code, message) = ("InvalidRequest".to_owned(), message.to_owned());
        let error = S3Error { code, status: 400, message, ..S3Error::default() };
        assert!(error.needs_checksum() && error.hint().contains("`checksum: crc32`"));
    }

    #[test]
    fn no_answer_and_no_credentials_are_distinguished() {
        let of = |kind| S3Error { kind, ..S3Error::default() }.hint();
        assert!(of(ErrorKind::NoAnswer).contains("endpoint"));
        assert!(of(ErrorKind::NoCredentials).contains("AWS_ACCESS_KEY_ID"));
        assert!(of(ErrorKind::TimedOut).contains("timeout_secs"));
    }
}
