//! The smaller settings of an `s3` sink: how objects are kept, who we are, how requests are made.

use std::num::NonZeroUsize;
use std::time::Duration;

use aws_sdk_s3::types::ChecksumAlgorithm;
use serde::Deserialize;

use super::config::problem;
use crate::diagnostic::SettingDiagnostic;
use crate::secret::Secret;
use crate::units::Span;

/// How objects are kept and paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StorageClass {
    /// The usual one.
    Standard,
    /// Fewer copies.
    ReducedRedundancy,
    /// S3 chooses by use.
    IntelligentTiering,
    /// Cheaper to keep, dearer to read.
    StandardIa,
    /// One zone, fast.
    ExpressOnezone,
    /// One zone, seldom read.
    OnezoneIa,
    /// Archive, read at once.
    GlacierIr,
    /// Archive, read after minutes or hours.
    Glacier,
    /// Archive, read after many hours.
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

/// A canned access control list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Acl {
    /// The owner alone.
    Private,
    /// Everybody reads.
    PublicRead,
    /// Everybody reads and writes.
    PublicReadWrite,
    /// EC2 may read.
    AwsExecRead,
    /// Everybody with an AWS account reads.
    AuthenticatedRead,
    /// The bucket's owner may read.
    BucketOwnerRead,
    /// The bucket's owner may do everything.
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

/// Which checksum goes with the bytes, beside the signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Checksum {
    /// CRC32 on AWS; none with `endpoint`, since several stores refuse it.
    #[default]
    Auto,
    /// Only where the protocol demands one.
    WhenRequired,
    /// CRC32
    Crc32,
    /// CRC32C
    Crc32c,
    /// SHA-256
    Sha256,
}

impl Checksum {
    /// The algorithm that was asked for by name.
    pub(super) const fn algorithm(self) -> Option<ChecksumAlgorithm> {
        match self {
            Self::Auto | Self::WhenRequired => None,
            Self::Crc32 => Some(ChecksumAlgorithm::Crc32),
            Self::Crc32c => Some(ChecksumAlgorithm::Crc32C),
            Self::Sha256 => Some(ChecksumAlgorithm::Sha256),
        }
    }

    /// Whether the SDK adds checksums only where it must.
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
    /// With temporary credentials.
    pub session_token: Option<Secret>,
    /// A profile of the shared AWS config files.
    pub profile: Option<String>,
    /// The ARN of a role to take on.
    pub assume_role: Option<String>,
    /// With `assume_role`: the external id that the role asks for.
    pub external_id: Option<String>,
    /// With `assume_role`: the session's name, `auditflow` if not given.
    pub session_name: Option<String>,
    /// With `assume_role`: the region of STS, the bucket's if not given.
    pub region: Option<String>,
}

impl AuthOptions {
    pub(super) fn problems(&self) -> Vec<SettingDiagnostic> {
        let keyed = self.access_key_id.is_some() || self.secret_access_key.is_some();
        let with_role = self.assume_role.is_some();
        let (missing, unneeded) = ("a key's id and the key go together", "it does nothing without `assume_role`");
        let add = "add it, as a \"${VARIABLE}\" or {file: path}";
        let role = "add `assume_role`, or take it out";
        let wrong = [
            (keyed && self.access_key_id.is_none(), "auth.access_key_id", missing, add),
            (keyed && self.secret_access_key.is_none(), "auth.secret_access_key", missing, add),
            (
                !keyed && self.session_token.is_some(),
                "auth.session_token",
                "a session token does nothing without its key",
                "add `access_key_id` and `secret_access_key`",
            ),
            (
                keyed && self.profile.is_some(),
                "auth.profile",
                "credentials come either from here or from a profile",
                "take `profile` or the key out",
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
    /// How many requests are under way at once, 8 if not given.
    pub concurrency: Option<NonZeroUsize>,
    /// How long one may take before the batch is tried again, 60 s if not given.
    pub timeout_secs: Option<Span>,
}

impl RequestOptions {
    pub(super) fn problems(&self) -> Option<SettingDiagnostic> {
        self.timeout_secs.filter(|span| span.0.is_zero())?;
        Some(problem("request.timeout_secs", "no request is done in no time", "write a time such as 60s"))
    }

    pub(super) fn concurrency(&self) -> usize {
        self.concurrency.map_or(8, NonZeroUsize::get)
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout_secs.map_or(Duration::from_secs(60), |span| span.0)
    }
}
