//! Shards: a pipeline in several journals. A shard is a journal; a source belongs to exactly one of them, whatever process runs
//! it.
//!
//! ```text
//! source --rate_limit_group, else vendor and account, else vendor and name--> SHA-256 --first 8 bytes mod N--> shard
//! ```
//!
//! Sources of one account share the vendor's budget of requests, so they are in one shard.

use std::fmt;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// The most shards of a pipeline.
pub const MOST_SHARDS: u16 = 1_024;

/// The number of shards of a pipeline: 1 to [`MOST_SHARDS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u64")]
pub struct ShardCount(u16);

impl ShardCount {
    /// The number.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u64> for ShardCount {
    type Error = String;

    fn try_from(count: u64) -> Result<Self, String> {
        match u16::try_from(count) {
            Ok(count @ 1..=MOST_SHARDS) => Ok(Self(count)),
            _ => Err(format!("{count} shards: a pipeline has 1 to {MOST_SHARDS}")),
        }
    }
}

impl fmt::Display for ShardCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a source's shard is made of.
#[derive(Clone, Copy, Debug)]
pub struct ShardKey<'a> {
    /// Its vendor.
    pub vendor: &'a str,
    /// Its name.
    pub source: &'a str,
    /// The account that its settings name: the `tenant` of its events.
    pub account: Option<&'a str>,
    /// Its `rate_limit_group`.
    pub rate_limit_group: Option<&'a str>,
}

impl ShardKey<'_> {
    /// The shard, 0 to `count - 1`. This never changes from one version to the next: the source's journal is there.
    #[must_use]
    pub fn shard(self, count: ShardCount) -> u16 {
        let parts = match self {
            Self { rate_limit_group: Some(group), .. } => ["rate_limit_group", group, ""],
            Self { vendor, account: Some(account), .. } => ["account", vendor, account],
            Self { vendor, source, .. } => ["source", vendor, source],
        };
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        let hash: [u8; 32] = hash.finalize().into();
        let first = u64::from_be_bytes(std::array::from_fn(|index| hash[index]));
        u16::try_from(first % u64::from(count.0)).expect("less than the number of shards")
    }
}

/// Which shards a process runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ShardSelection {
    /// All of them.
    #[default]
    All,
    /// These.
    Listed(ShardList),
    /// Those of one process of several.
    Process(ProcessShare),
}

impl ShardSelection {
    /// The numbers of the selected shards, in order.
    ///
    /// # Errors
    /// The pipeline has no such shard or, without `shards`, none at all.
    pub fn of(&self, count: Option<ShardCount>) -> Result<Vec<u16>, String> {
        let Some(count) = count else {
            let option = match self {
                Self::All => return Ok(Vec::new()),
                Self::Listed(_) => "--shard",
                Self::Process(_) => "--process",
            };
            return Err(format!(
                "{option} needs a pipeline with shards: add a line such as `shards: 12` to the pipeline file, or run without {option}"
            ));
        };
        match self {
            Self::All => Ok((0..count.0).collect()),
            Self::Listed(ShardList(numbers)) => match numbers.iter().find(|number| **number >= count.0) {
                Some(number) => {
                    Err(format!("there is no shard {number}: `shards: {count}` has the shards 0 to {}", count.0 - 1))
                }
                None => Ok(numbers.clone()),
            },
            Self::Process(share) if share.processes > count.0 => Err(format!(
                "{} processes for {count} shards: some would run nothing; use at most {count} processes",
                share.processes
            )),
            Self::Process(share) => Ok((0..count.0).filter(|shard| shard % share.processes == share.process).collect()),
        }
    }
}

/// Numbers of shards, in order, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardList(Vec<u16>);

impl ShardList {
    /// Reads numbers and ranges, such as `0,3-5`.
    ///
    /// # Errors
    /// It is something else.
    pub fn parse(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            let number = text.trim().parse::<u16>().ok().filter(|number| *number < MOST_SHARDS);
            number.ok_or_else(|| {
                format!("`{text}` is not the number of a shard; write numbers and ranges from 0 on, such as 0,3-5")
            })
        };
        let mut numbers = Vec::new();
        for part in text.split(',') {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let (from, to) = (number(from)?, number(to)?);
            if from > to {
                return Err(format!("the range `{part}` is empty; write the smaller number first"));
            }
            numbers.extend(from..=to);
        }
        numbers.sort_unstable();
        numbers.dedup();
        Ok(Self(numbers))
    }
}

/// One process of several, which share the shards: it runs those whose number modulo `processes` is `process`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessShare {
    /// Which one, from 0 on.
    pub process: u16,
    /// How many there are.
    pub processes: u16,
}

impl ProcessShare {
    /// Reads `I/M`, where `I` may be a name that ends in `-I`, as those of the pods of a Kubernetes StatefulSet.
    ///
    /// # Errors
    /// It is something else, or there is no process `I`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parsed = text.rsplit_once('/').and_then(|(name, processes)| {
            let process = name.rsplit_once('-').map_or(name, |(_, ordinal)| ordinal);
            Some(Self { process: process.parse().ok()?, processes: processes.parse().ok()? })
        });
        match parsed {
            Some(Self { process, processes }) if process >= processes => Err(format!(
                "there is no process {process} of {processes}: they are counted from 0. After a change of the number of processes start all of them anew, with the new number and each where its shards are"
            )),
            Some(share) => Ok(share),
            None => Err(format!("`{text}` is not the share of a process, such as 0/3 or auditflow-0/3")),
        }
    }
}

impl fmt::Display for ProcessShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.process, self.processes)
    }
}

/// The option with which `auditflow state` changes the journal of a pipeline, after a space: its shard's, if the name says that
/// it is that of a shard, such as `acme-shard-3`.
#[must_use]
pub fn state_option(pipeline: &str) -> String {
    let number = pipeline.rsplit_once("-shard-").and_then(|(_, number)| number.parse::<u16>().ok());
    number.map_or_else(String::new, |number| format!(" --shard {number}"))
}

/// Numbers as people write them: `0, 3-5`.
#[must_use]
pub fn ranges(numbers: &[u16]) -> String {
    let mut parts: Vec<(u16, u16)> = Vec::new();
    for number in numbers.iter().copied() {
        match parts.last_mut() {
            Some((_, to)) if *to + 1 == number => *to = number,
            _ => parts.push((number, number)),
        }
    }
    let shown = parts.iter().map(|(from, to)| if from == to { from.to_string() } else { format!("{from}-{to}") });
    shown.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(count: u64) -> ShardCount {
        ShardCount::try_from(count).expect("a count")
    }

    fn key(source: &str) -> ShardKey<'_> {
        ShardKey { vendor: "clumio", source, account: None, rate_limit_group: None }
    }

    #[test]
    fn the_shard_of_a_source_never_changes() {
        // The first 8 bytes of SHA-256 of "source\0clumio\0acme\0" and so on. Never change these numbers: journals are there.
        let by_name = key("acme");
        let by_account = ShardKey { account: Some("org-1"), ..by_name };
        let by_group = ShardKey { rate_limit_group: Some("shared"), ..by_account };
        let shards =
            [by_name, by_account, by_group].map(|key| [1, 4, 12, 1_024].map(|number| key.shard(count(number))));
        assert_eq!(shards, [[0, 2, 6, 474], [0, 2, 2, 678], [0, 3, 11, 495]]);
    }

    #[test]
    fn sources_of_one_account_or_group_share_a_shard_and_vendors_do_not_matter_for_groups() {
        let of = |vendor, source, account, rate_limit_group| {
            ShardKey { vendor, source, account, rate_limit_group }.shard(count(1_024))
        };
        assert_eq!(of("merge", "a", Some("acme"), None), of("merge", "b", Some("acme"), None));
        assert_ne!(of("merge", "a", Some("acme"), None), of("clumio", "a", Some("acme"), None));
        assert_eq!(of("merge", "a", Some("acme"), Some("g")), of("clumio", "b", None, Some("g")));
    }

    #[test]
    fn sources_spread_evenly() {
        let names: Vec<_> = (0..10_000).map(|index| format!("tenant_{index}")).collect();
        let mut of_shard = [0; 16];
        names.iter().for_each(|name| of_shard[usize::from(key(name).shard(count(16)))] += 1);
        // 625 each; three standard deviations are 73.
        assert!(of_shard.iter().all(|number| (525..725).contains(number)), "{of_shard:?}");
    }

    #[test]
    fn a_selection_is_a_list_or_the_share_of_a_process() {
        let listed = |text| ShardSelection::Listed(ShardList::parse(text).expect("a list"));
        let share = |text| ShardSelection::Process(ProcessShare::parse(text).expect("a share"));
        let of = |selection: ShardSelection, number| selection.of(Some(count(number)));
        assert_eq!(of(ShardSelection::All, 3), Ok(vec![0, 1, 2]));
        assert_eq!(of(listed("5,0,3-4,3"), 6), Ok(vec![0, 3, 4, 5]));
        assert_eq!(of(share("auditflow-acme-1/3"), 8), Ok(vec![1, 4, 7]));
        assert_eq!(of(share("0/1"), 2), Ok(vec![0, 1]));
        assert!(of(listed("6"), 6).expect_err("too large").contains("0 to 5"));
        assert!(of(share("0/4"), 3).expect_err("too many").contains("at most 3"));
        assert!(listed("0").of(None).expect_err("no shards").contains("shards: 12"));
        assert_eq!(ShardSelection::All.of(None), Ok(Vec::new()));
        for text in ["", "a", "3-1", "-1", "1024", "1,,2"] {
            ShardList::parse(text).expect_err(text);
        }
        for text in ["", "1", "3/3", "a/b", "1/0", "0/-1", "auditflow/3"] {
            ProcessShare::parse(text).expect_err(text);
        }
        assert_eq!(ranges(&[0, 3, 4, 5, 7]), "0, 3-5, 7");
    }

    #[test]
    fn the_name_of_a_shard_says_its_option() {
        assert_eq!(state_option("acme-shard-12"), " --shard 12");
        assert_eq!((state_option("acme"), state_option("acme-shard-x")), (String::new(), String::new()));
    }

    #[test]
    fn a_pipeline_has_a_bounded_number_of_shards() {
        assert!(ShardCount::try_from(0).is_err() && ShardCount::try_from(1_025).is_err());
        assert_eq!(count(1_024).get(), 1_024);
    }
}
