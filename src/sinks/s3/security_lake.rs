//! Custom sources of Amazon Security Lake: where the events of each OCSF class go, and as whom.
//!
//! ```text
//! ext/<source of the class>/region=<region>/accountId=<account>/eventDay=YYYYMMDD/   as the role of the source
//! ext/_manifests/, ext/_auditflow/                                                   with the sink's own credentials
//! ```

use std::time::Duration;

use serde::Deserialize;

use super::options::problem;
use crate::diagnostic::SettingDiagnostic;
use crate::sinks::BatchOptions;

/// Where all custom sources are.
pub(super) const ROOT: &str = "ext/";

/// The longest name of a custom source.
const MAX_NAME: usize = 20;

/// The limits of Security Lake: an object every 5 minutes to every day.
const INTERVALS: std::ops::RangeInclusive<Duration> = Duration::from_secs(5 * 60)..=Duration::from_secs(24 * 3_600);

/// `security_lake:` of an `s3` sink.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecurityLakeOptions {
    /// The account in the keys (`accountId=`): the 12 digits of an AWS account, or `external` (default) or `external_<id>`.
    #[serde(default = "external")]
    pub account_id: String,
    /// The custom source of each OCSF class.
    pub sources: CustomSources,
}

fn external() -> String {
    "external".to_owned()
}

/// The custom sources by OCSF class. Every class is required: no event is without a place.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomSources {
    /// 3001 Account Change.
    pub account_change: CustomSource,
    /// 3002 Authentication.
    pub authentication: CustomSource,
    /// 3005 User Access Management.
    pub user_access: CustomSource,
    /// 3006 Group Management.
    pub group_management: CustomSource,
    /// 6003 API Activity.
    pub api_activity: CustomSource,
}

/// A custom source.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomSource {
    /// Its name in Security Lake, at most 20 characters.
    pub name: String,
    /// The ARN of its role (`AmazonSecurityLake-Provider-<name>-<region>`). Default: the sink's own credentials.
    pub assume_role: Option<String>,
    /// The external id that the role requires.
    pub external_id: Option<String>,
}

impl CustomSource {
    /// Where its objects are.
    pub(super) fn prefix(&self) -> String {
        format!("{ROOT}{}/", self.name)
    }
}

impl CustomSources {
    /// The name of the setting, the OCSF class and the source.
    pub(super) fn all(&self) -> [(&'static str, u32, &CustomSource); 5] {
        [
            ("account_change", 3_001, &self.account_change),
            ("authentication", 3_002, &self.authentication),
            ("user_access", 3_005, &self.user_access),
            ("group_management", 3_006, &self.group_management),
            ("api_activity", 6_003, &self.api_activity),
        ]
    }
}

impl SecurityLakeOptions {
    /// The key prefix of each class.
    pub(super) fn prefixes(&self, region: &str) -> Vec<(u32, String)> {
        let tail = format!("region={region}/accountId={}/eventDay=%Y%m%d/", self.account_id);
        self.sources.all().iter().map(|(_, class, source)| (*class, format!("{}{tail}", source.prefix()))).collect()
    }

    /// What is wrong with these settings.
    pub(super) fn problems(&self) -> Vec<SettingDiagnostic> {
        let mut problems = Vec::new();
        if !is_account(&self.account_id) {
            let hint = "set 12 digits in quotes, `external`, or `external_` and an id of letters, digits, `-` and `_`";
            let message = "this is neither an AWS account nor an external one";
            problems.push(problem("security_lake.account_id", message, hint));
        }
        let all = self.sources.all();
        for (index, (setting, _, source)) in all.iter().enumerate() {
            let key = |name: &str| format!("security_lake.sources.{setting}.{name}");
            if !is_name(&source.name) {
                let hint = "set 1 to 20 letters, digits, `-` and `_`, a letter or digit first";
                problems.push(problem(&key("name"), "this cannot be the name of a custom source", hint));
            }
            if all[..index].iter().any(|(.., other)| other.name == source.name) {
                let message = "another class has the same source, and Security Lake takes one class per source";
                problems.push(problem(&key("name"), message, "create a custom source per class, and set its name"));
            }
            if source.external_id.is_some() && source.assume_role.is_none() {
                let message = "it has no effect without `assume_role`";
                problems.push(problem(&key("external_id"), message, "add `assume_role`, or remove it"));
            }
        }
        problems
    }
}

/// What is wrong with the interval of the objects.
pub(super) fn batch_problem(batch: &BatchOptions) -> Option<SettingDiagnostic> {
    if INTERVALS.contains(&batch.timeout) {
        return None;
    }
    let message = "Security Lake takes an object every 5 minutes to every day";
    Some(problem("batch.timeout_secs", message, "set a duration between 5m and 24h"))
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME && is_plain(name) && name.starts_with(|first: char| first.is_ascii_alphanumeric())
}

fn is_account(id: &str) -> bool {
    let is_aws = id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_digit());
    let of_others = id.strip_prefix("external_").is_some_and(|id| !id.is_empty() && id.len() <= 64 && is_plain(id));
    is_aws || of_others || id == "external"
}
