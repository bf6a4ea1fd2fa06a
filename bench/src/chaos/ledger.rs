//! What was done, as the workers themselves wrote it down.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;

/// A mark of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// When, in ms since 1970.
    pub at: u128,
    /// Which process.
    pub process: u32,
    /// Which job.
    pub job: i64,
    /// By which claim.
    pub epoch: i64,
    /// What: `begin`, `step`, `stopped`, `end`.
    pub what: String,
}

/// The file that all workers of a cast append to.
#[derive(Debug, Clone)]
pub struct Ledger(PathBuf);

impl Ledger {
    /// In this folder.
    pub fn new(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("ledger");
        std::fs::write(&path, "")?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// All marks, in the order in which they were written.
    pub fn marks(&self) -> anyhow::Result<Vec<Mark>> {
        std::fs::read_to_string(&self.0)?
            .lines()
            .map(|line| {
                let mut words = line.split(' ');
                let mut word = || words.next().context("a mark has five words");
                Ok(Mark {
                    at: word()?.parse()?,
                    process: word()?.parse()?,
                    job: word()?.parse()?,
                    epoch: word()?.parse()?,
                    what: word()?.to_owned(),
                })
            })
            .collect()
    }

    /// The jobs that a process has begun and not ended.
    pub fn in_hand(&self, process: u32) -> anyhow::Result<BTreeSet<(i64, i64)>> {
        let mut open = BTreeSet::new();
        for mark in self.marks()? {
            if mark.process == process {
                match &*mark.what {
                    "begin" => open.insert((mark.job, mark.epoch)),
                    "end" | "stopped" => open.remove(&(mark.job, mark.epoch)),
                    _ => false,
                };
            }
        }
        Ok(open)
    }

    /// How often each job was begun.
    pub fn begun(&self) -> anyhow::Result<BTreeMap<i64, usize>> {
        let mut begun = BTreeMap::new();
        for mark in self.marks()?.iter().filter(|mark| mark.what == "begin") {
            *begun.entry(mark.job).or_default() += 1;
        }
        Ok(begun)
    }
}

/// The present as marks have it.
pub fn now() -> anyhow::Result<u128> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())
}
