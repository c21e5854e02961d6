//! The errors of stores, as sentences that say what to mend. All are retried without loss.

use std::error::Error;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::sinks::SinkError;

/// What a store answered, or why it did not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct S3Error {
    /// The store's own word, for example `NoSuchBucket`.
    code: String,
    /// 0 if there was no answer.
    status: u16,
    /// What the store or the connection says in prose.
    message: String,
    /// The region that the store says the bucket is in.
    region: Option<String>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Answer,
    NoCredentials,
    NoAnswer,
    TimedOut,
}

impl S3Error {
    pub(super) fn of<E: ProvideErrorMetadata + Error + 'static>(error: &SdkError<E>) -> Self {
        let response = error.raw_response();
        Self {
            code: error.code().unwrap_or_default().to_owned(),
            status: response.map_or(0, |response| response.status().as_u16()),
            message: prose(error),
            region: response.and_then(|response| response.headers().get("x-amz-bucket-region")).map(str::to_owned),
            kind: kind_of(error),
        }
    }

    /// Whether the object, its upload or its bucket is not there.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self.code.as_str(), "NoSuchKey" | "NoSuchUpload" | "NotFound")
    }

    pub(super) fn is_bucket_missing(&self) -> bool {
        self.code == "NoSuchBucket"
    }

    /// Whether an object is there already, and was not to be written over.
    pub(super) fn is_precondition(&self) -> bool {
        self.code == "PreconditionFailed" || self.status == 412
    }

    /// Whether the store does not offer the call, or not to us.
    pub(super) fn is_not_offered(&self) -> bool {
        matches!(self.code.as_str(), "NotImplemented" | "MethodNotAllowed" | "AccessDenied") || self.status == 501
    }

    /// As an error of the sink. `doing` completes "cannot ...".
    pub(super) fn into_error(self, doing: &str) -> SinkError {
        let code = match (self.code.as_str(), self.status) {
            ("", 0) => String::new(),
            ("", status) => format!(": the store answers {status}"),
            (code, _) => format!(": {code}"),
        };
        let reason = if self.message.is_empty() { String::new() } else { format!(": {}", self.message) };
        let message = format!("cannot {doing}{code}{reason}");
        transient(message, self.hint())
    }

    fn hint(&self) -> String {
        match self.kind {
            Kind::NoCredentials => NO_CREDENTIALS.to_owned(),
            Kind::NoAnswer => NO_ANSWER.to_owned(),
            Kind::TimedOut => TIMED_OUT.to_owned(),
            Kind::Answer => self.hint_of_answer(),
        }
    }

    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>
    fn hint_of_answer(&self) -> String {
        let hint = match (self.code.as_str(), self.status) {
            ("NoSuchBucket", _) => "create the bucket, or mend `bucket`. auditflow goes on by itself once it is there",
            ("InvalidAccessKeyId", _) => "mend `auth.access_key_id`: the store does not know this key",
            ("SignatureDoesNotMatch", _) => {
                "mend `auth.secret_access_key`: it does not belong to this key's id (some stores also say so when `region` is wrong)"
            }
            ("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired", _) => {
                "renew the credentials: their session token has expired or is wrong"
            }
            ("RequestTimeTooSkewed" | "RequestExpired", _) => {
                "set this machine's clock: the store's is more than minutes away"
            }
            ("PermanentRedirect" | "AuthorizationHeaderMalformed" | "TemporaryRedirect" | "InvalidRegion", _)
            | (_, 301 | 307) => {
                return self.hint_of_region();
            }
            ("AccessControlListNotSupported", _) => "take `acl` out: the bucket has no access control lists",
            ("InvalidStorageClass", _) => "mend `storage_class`: the store does not have this one",
            ("BadDigest" | "InvalidDigest" | "XAmzContentChecksumMismatch" | "XAmzContentSHA256Mismatch", _) => {
                "set `checksum: when_required`, if the store does not know the checksum that was sent"
            }
            ("NotImplemented" | "MethodNotAllowed", _) => {
                "the store does not offer this: take out `acl`, `storage_class`, `tags` or `server_side_encryption`, or set `checksum: when_required`"
            }
            ("QuotaExceeded" | "XMinioStorageFull" | "InsufficientCapacity", _) | (_, 507) => {
                "the store is full: make room or raise its quota. auditflow goes on by itself"
            }
            (code, _) if code.starts_with("KMS") => {
                "mend `ssekms_key_id`, and allow the credentials kms:GenerateDataKey and kms:Decrypt on the key"
            }
            ("AccessDenied" | "AllAccessDisabled" | "AccountProblem" | "Forbidden", _) | (_, 401 | 403) => {
                ACCESS_DENIED
            }
            ("SlowDown" | "ServiceUnavailable" | "InternalError" | "RequestTimeout" | "Throttling", _)
            | (_, 429 | 500..) => {
                "the store is busy; auditflow tries again by itself. If it stays so, lower `request.concurrency`, or write fewer and larger objects: a larger `batch`, a coarser `key_prefix`"
            }
            _ => "nothing is lost; auditflow tries again by itself",
        };
        hint.to_owned()
    }

    fn hint_of_region(&self) -> String {
        match &self.region {
            Some(region) => format!("set `region: {region}`: the bucket is there"),
            None => {
                "set `region` to the bucket's region (and `endpoint`, if the store has one for each region)".to_owned()
            }
        }
    }
}

const NO_CREDENTIALS: &str = "give `auth.access_key_id` and `auth.secret_access_key`, or `auth.profile`, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where a role is attached";
const NO_ANSWER: &str =
    "start the store, or mend `endpoint` or `region`, the network or its proxy. auditflow goes on by itself";
const TIMED_OUT: &str = "nothing is lost; auditflow tries again by itself. On a slow line raise `request.timeout_secs`, or lower `request.concurrency`";
const ACCESS_DENIED: &str = "allow the credentials s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload on the objects and s3:ListBucketMultipartUploads on the bucket (docs/s3.md has the policy)";

/// A fault that may pass, or that somebody may mend outside.
pub(super) fn transient(message: String, hint: impl Into<String>) -> SinkError {
    SinkError::Transient { message, hint: hint.into() }
}

fn kind_of<E: ProvideErrorMetadata + Error + 'static>(error: &SdkError<E>) -> Kind {
    match error {
        SdkError::TimeoutError(_) => Kind::TimedOut,
        SdkError::DispatchFailure(failure) if failure.is_timeout() => Kind::TimedOut,
        SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_) if lacks_credentials(error) => {
            Kind::NoCredentials
        }
        SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => Kind::NoAnswer,
        _ => Kind::Answer,
    }
}

/// What the store says, or what kept its answer away.
fn prose<E: ProvideErrorMetadata + Error + 'static>(error: &SdkError<E>) -> String {
    match error {
        SdkError::ServiceError(_) => error.message().unwrap_or_default().to_owned(),
        _ => causes(error),
    }
}

fn lacks_credentials(error: &dyn Error) -> bool {
    let text = causes(error).to_lowercase();
    text.contains("credential") || text.contains("identity")
}

/// What lies behind an error, from the outside in, each thing once.
fn causes(error: &dyn Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !texts.iter().any(|said| said.contains(&text)) {
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
        let fault =
            S3Error { code: code.to_owned(), status, message: "what the store says".to_owned(), ..S3Error::default() };
        let SinkError::Transient { message, hint } = fault.into_error("put s3://bucket/key") else {
            panic!("{code} may be mended outside");
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
            ("SlowDown", 503, "by itself"),
            ("InternalError", 500, "by itself"),
            ("KMS.DisabledException", 400, "ssekms_key_id"),
            ("XMinioStorageFull", 507, "full"),
            ("SomethingNew", 400, "nothing is lost"),
        ] {
            let (message, hint) = said(code, status);
            assert!(hint.contains(word), "{code}: {hint}");
            assert!(message.contains("s3://bucket/key") && message.contains("what the store says"), "{message}");
        }
    }

    #[test]
    fn the_region_that_the_store_names_is_passed_on() {
        let region = Some("eu-west-1".to_owned());
        let fault = S3Error { code: "PermanentRedirect".to_owned(), status: 301, region, ..S3Error::default() };
        assert!(fault.hint().contains("`region: eu-west-1`"));
    }

    #[test]
    fn no_answer_and_no_credentials_are_told_apart() {
        let of = |kind| S3Error { kind, ..S3Error::default() }.hint();
        assert!(of(Kind::NoAnswer).contains("endpoint"));
        assert!(of(Kind::NoCredentials).contains("AWS_ACCESS_KEY_ID"));
        assert!(of(Kind::TimedOut).contains("timeout_secs"));
    }
}
