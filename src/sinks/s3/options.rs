//! Smaller settings of an `s3` sink: storage, credentials, requests.

use std::num::NonZeroUsize;
use std::time::Duration;

use aws_sdk_s3::types::ChecksumAlgorithm;
use serde::Deserialize;

use crate::diagnostic::SettingDiagnostic;
use crate::secret::Secret;
use crate::units::Span;

/// The storage class of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StorageClass {
    /// The default class.
    Standard,
    /// Fewer copies.
    ReducedRedundancy,
    /// S3 chooses by usage.
    IntelligentTiering,
    /// Cheaper to store, more expensive to read.
    StandardIa,
    /// One zone, fast.
    ExpressOnezone,
    /// One zone, rarely read.
    OnezoneIa,
    /// Archive, immediate access.
    GlacierIr,
    /// Archive, access after minutes or hours.
    Glacier,
    /// Archive, access after many hours.
    DeepArchive,
}

impl StorageClass {
    pub(super) fn sdk(self) -> aws_sdk_s3::types::StorageClass {
        use aws_sdk_s3::types::StorageClass as Sdk;
        match self {
            Self::Standard => Sdk::Standard,
            Self::ReducedRedundancy => Sdk::ReducedRedundancy,
            Self::IntelligentTiering => Sdk::IntelligentTiering,
            Self::StandardIa => Sdk::StandardIa,
            Self::ExpressOnezone => Sdk::ExpressOnezone,
            Self::OnezoneIa => Sdk::OnezoneIa,
            Self::GlacierIr => Sdk::GlacierIr,
            Self::Glacier => Sdk::Glacier,
            Self::DeepArchive => Sdk::DeepArchive,
        }
    }
}

/// The format of a table over the objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TableFormat {
    /// Delta Lake, protocol 1/2.
    Delta,
}

/// A canned access control list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Acl {
    /// Only the owner.
    Private,
    /// Everyone can read.
    PublicRead,
    /// Everyone can read and write.
    PublicReadWrite,
    /// EC2 can read.
    AwsExecRead,
    /// Everyone with an AWS account can read.
    AuthenticatedRead,
    /// The bucket's owner can read.
    BucketOwnerRead,
    /// The bucket's owner has full control.
    BucketOwnerFullControl,
}

impl Acl {
    pub(super) const fn is_public(self) -> bool {
        matches!(self, Self::PublicRead | Self::PublicReadWrite | Self::AuthenticatedRead)
    }

    pub(super) fn sdk(self) -> aws_sdk_s3::types::ObjectCannedAcl {
        use aws_sdk_s3::types::ObjectCannedAcl as Sdk;
        match self {
            Self::Private => Sdk::Private,
            Self::PublicRead => Sdk::PublicRead,
            Self::PublicReadWrite => Sdk::PublicReadWrite,
            Self::AwsExecRead => Sdk::AwsExecRead,
            Self::AuthenticatedRead => Sdk::AuthenticatedRead,
            Self::BucketOwnerRead => Sdk::BucketOwnerRead,
            Self::BucketOwnerFullControl => Sdk::BucketOwnerFullControl,
        }
    }
}

/// How the store encrypts objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
pub enum ServerSideEncryption {
    /// With keys of S3.
    #[serde(rename = "AES256")]
    Aes256,
    /// With a key in KMS.
    #[serde(rename = "aws:kms")]
    AwsKms,
    /// Twice, with a key in KMS.
    #[serde(rename = "aws:kms:dsse")]
    AwsKmsDsse,
}

impl ServerSideEncryption {
    pub(super) const fn takes_key(self) -> bool {
        matches!(self, Self::AwsKms | Self::AwsKmsDsse)
    }

    pub(super) fn sdk(self) -> aws_sdk_s3::types::ServerSideEncryption {
        use aws_sdk_s3::types::ServerSideEncryption as Sdk;
        match self {
            Self::Aes256 => Sdk::Aes256,
            Self::AwsKms => Sdk::AwsKms,
            Self::AwsKmsDsse => Sdk::AwsKmsDsse,
        }
    }
}

/// The checksum of the bytes, in addition to the signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Checksum {
    /// CRC32 on AWS; none with `endpoint`, because several stores reject it.
    #[default]
    Auto,
    /// Only if the protocol requires one.
    WhenRequired,
    /// CRC32
    Crc32,
    /// CRC32C
    Crc32c,
    /// SHA-256
    Sha256,
}

impl Checksum {
    /// The algorithm that is configured by name.
    pub(super) const fn algorithm(self) -> Option<ChecksumAlgorithm> {
        match self {
            Self::Auto | Self::WhenRequired => None,
            Self::Crc32 => Some(ChecksumAlgorithm::Crc32),
            Self::Crc32c => Some(ChecksumAlgorithm::Crc32C),
            Self::Sha256 => Some(ChecksumAlgorithm::Sha256),
        }
    }

    /// Whether the SDK adds checksums only if required.
    pub(super) const fn only_when_required(self, has_endpoint: bool) -> bool {
        match self {
            Self::Auto => has_endpoint,
            Self::WhenRequired => true,
            Self::Crc32 | Self::Crc32c | Self::Sha256 => false,
        }
    }
}

/// `auth:` of an `s3` sink.
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuthOptions {
    /// The access key's id.
    pub access_key_id: Option<Secret>,
    /// The access key.
    pub secret_access_key: Option<Secret>,
    /// The session token of temporary credentials.
    pub session_token: Option<Secret>,
    /// A profile of the shared AWS config files.
    pub profile: Option<String>,
    /// The ARN of a role to assume.
    pub assume_role: Option<String>,
    /// With `assume_role`: the external id that the role requires.
    pub external_id: Option<String>,
    /// With `assume_role`: the session's name. Default: `auditflow`.
    pub session_name: Option<String>,
    /// With `assume_role`: the region of STS. Default: the bucket's region.
    pub region: Option<String>,
}

impl AuthOptions {
    pub(super) fn problems(&self) -> Vec<SettingDiagnostic> {
        let keyed = self.access_key_id.is_some() || self.secret_access_key.is_some();
        let with_role = self.assume_role.is_some();
        let (missing, unneeded) =
            ("access_key_id and secret_access_key are required together", "it has no effect without `assume_role`");
        let add = "add it, as a \"${VARIABLE}\" or {file: path}";
        let role = "add `assume_role`, or remove it";
        let wrong = [
            (keyed && self.access_key_id.is_none(), "auth.access_key_id", missing, add),
            (keyed && self.secret_access_key.is_none(), "auth.secret_access_key", missing, add),
            (
                !keyed && self.session_token.is_some(),
                "auth.session_token",
                "a session token has no effect without an access key",
                "add `access_key_id` and `secret_access_key`",
            ),
            (
                keyed && self.profile.is_some(),
                "auth.profile",
                "credentials come either from `auth` or from a profile",
                "remove `profile` or the access key",
            ),
            (!with_role && self.external_id.is_some(), "auth.external_id", unneeded, role),
            (!with_role && self.session_name.is_some(), "auth.session_name", unneeded, role),
            (!with_role && self.region.is_some(), "auth.region", unneeded, role),
        ];
        wrong
            .iter()
            .filter(|(is_wrong, ..)| *is_wrong)
            .map(|(_, key, message, hint)| problem(key, *message, *hint))
            .collect()
    }

    pub(super) fn secrets_mut(&mut self) -> Vec<&mut Secret> {
        [&mut self.access_key_id, &mut self.secret_access_key, &mut self.session_token]
            .into_iter()
            .filter_map(Option::as_mut)
            .collect()
    }
}

/// `request:` of an `s3` sink.
#[derive(Clone, Copy, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RequestOptions {
    /// The number of concurrent requests. Default: 8.
    pub concurrency: Option<NonZeroUsize>,
    /// Timeout of one request; then the batch is retried. Default: 60 s.
    pub timeout_secs: Option<Span>,
}

impl RequestOptions {
    pub(super) fn problems(&self) -> Option<SettingDiagnostic> {
        self.timeout_secs.filter(|span| span.0.is_zero())?;
        Some(problem("request.timeout_secs", "a timeout of 0 fails every request", "set a duration such as 60s"))
    }

    pub(super) fn concurrency(&self) -> usize {
        self.concurrency.map_or(8, NonZeroUsize::get)
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout_secs.map_or(Duration::from_secs(60), |span| span.0)
    }
}

/// The headers of each object.
#[derive(Clone, Debug)]
pub(super) struct Headers {
    pub(super) content_type: String,
    pub(super) content_encoding: Option<String>,
    pub(super) storage_class: Option<StorageClass>,
    pub(super) acl: Option<Acl>,
    pub(super) server_side_encryption: Option<ServerSideEncryption>,
    pub(super) ssekms_key_id: Option<String>,
    pub(super) tagging: Option<String>,
    pub(super) checksum: Option<ChecksumAlgorithm>,
    pub(super) if_none_match: bool,
}

impl Headers {
    /// The headers of a manifest, which is small and read often.
    pub(super) fn of_manifest(&self) -> Self {
        Self {
            content_type: "application/json".to_owned(),
            content_encoding: None,
            storage_class: None,
            ..self.clone()
        }
    }
}

pub(super) fn problem(key: &str, message: impl Into<String>, hint: impl Into<String>) -> SettingDiagnostic {
    SettingDiagnostic { key: key.to_owned(), message: message.into(), hint: hint.into() }
}
