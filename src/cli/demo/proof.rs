//! The demo's proof: compares the delivered files with the simulator's records, per vendor.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use crate::format::{count, counted};
use crate::simulator::proof::{self, Delivered, Verdict};
use crate::simulator::{FaultName, RunningSimulator, VendorName};
use crate::sinks::marker;

/// The result of the comparison.
#[derive(Debug)]
pub(super) struct Proof {
    verdicts: Vec<(VendorName, Verdict)>,
    /// One of the delivered files, to show to the user.
    pub(super) example: Option<PathBuf>,
}

impl Proof {
    /// Whether no event is lost, duplicated or unexpected.
    pub(super) fn is_perfect(&self) -> bool {
        self.verdicts.iter().all(|(_, verdict)| verdict.is_perfect())
    }

    /// A table with one row per vendor.
    pub(super) fn table(&self) -> String {
        let mut table =
            format!("{:<14}{:>14}{:>14}{:>8}{:>8}\n", "vendor", "at the vendor", "delivered", "lost", "twice");
        for (vendor, verdict) in &self.verdicts {
            table += &format!(
                "{:<14}{:>14}{:>14}{:>8}{:>8}\n",
                vendor.as_str(),
                count(verdict.expected as u64),
                count((verdict.delivered + verdict.unexpected.len() + verdict.duplicated.len()) as u64),
                verdict.lost.len(),
                verdict.duplicated.len() + verdict.unexpected.len(),
            );
        }
        table
    }
}

/// Reads all files below `events`, but not the marker beside them, and compares them with the simulator's records.
pub(super) fn compare(events: &Path, simulator: &RunningSimulator) -> Result<Proof, String> {
    let mut by_vendor: BTreeMap<String, Vec<Delivered>> = BTreeMap::new();
    let mut files = Vec::new();
    collect_files(events, &mut files)?;
    for file in &files {
        read_file(file, &mut by_vendor)?;
    }
    let mut verdicts = Vec::new();
    for vendor in VendorName::ALL {
        let expected = simulator.control().truth(vendor).map_err(|reason| reason.to_string())?;
        let delivered = by_vendor.remove(vendor.as_str()).unwrap_or_default();
        verdicts.push((vendor, proof::compare(expected.iter().map(|record| record.raw.as_str()), &delivered)));
    }
    Ok(Proof { verdicts, example: files.into_iter().next() })
}

/// What this run and the runs before it got through.
pub(super) fn survived(simulator: &RunningSimulator, kills: u64) -> Result<String, String> {
    let (mut refused, mut failed, mut damaged, mut late) = (0, 0, 0, 0);
    for vendor in VendorName::ALL {
        let requests = simulator.control().requests(vendor).map_err(|reason| reason.to_string())?;
        let statuses =
            |range: std::ops::Range<u16>| requests.by_status.range(range).map(|(_, count)| count).sum::<u64>();
        refused += statuses(429..430);
        failed += statuses(500..600);
        let fault = |fault: FaultName| requests.faults.get(fault.as_str()).copied().unwrap_or(0);
        damaged += fault(FaultName::CutBody) + fault(FaultName::Html200);
        let truth = simulator.control().truth(vendor).map_err(|reason| reason.to_string())?;
        late += truth.iter().filter(|record| record.visible_at > record.timestamp).count();
    }
    Ok(format!(
        "It got through {} with 429, {}, and {} that broke off or were no JSON in this run; {} came late at the vendors; {} so far.\n",
        counted(refused, "answer"),
        counted(failed, "server error"),
        counted(damaged, "answer"),
        counted(late as u64, "event"),
        counted(kills, "kill"),
    ))
}

fn collect_files(directory: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let entries = fs::read_dir(directory).map_err(|reason| format!("cannot read {}: {reason}", directory.display()))?;
    for entry in entries {
        let path = entry.map_err(|reason| format!("cannot read {}: {reason}", directory.display()))?.path();
        if path.ends_with(marker::DIRECTORY) {
            continue;
        }
        if path.is_dir() {
            collect_files(&path, files)?;
        } else {
            files.push(path);
        }
    }
    files.sort();
    Ok(())
}

fn read_file(path: &Path, by_vendor: &mut BTreeMap<String, Vec<Delivered>>) -> Result<(), String> {
    let unreadable = |reason: String| format!("cannot read {}: {reason}", path.display());
    let file = fs::File::open(path).map_err(|reason| unreadable(reason.to_string()))?;
    for line in BufReader::new(file).lines() {
        let line = line.map_err(|reason| unreadable(reason.to_string()))?;
        let event = Delivered::from_line(&line).map_err(|reason| unreadable(reason.to_string()))?;
        by_vendor.entry(event.vendor.clone()).or_default().push(event);
    }
    Ok(())
}
