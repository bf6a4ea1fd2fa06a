//! What was done, as those who did it wrote it down, compared with what is on record.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use model::JobId;
use serde::{Deserialize, Serialize};

/// One thing that a process did for a job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Effect {
    /// The job.
    pub job: i64,
    /// Under which claim.
    pub epoch: i64,
    /// By which process.
    pub pid: u32,
    /// When, in microseconds of the machine's clock, which all processes share.
    pub at: u64,
    /// What.
    pub what: What,
}

/// Kinds of effects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// An attempt began.
    Began,
    /// It did something.
    Did,
    /// It had done everything.
    Ended,
}

/// Microseconds of the machine's clock.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    })
}

impl Effect {
    pub(crate) fn now(job: JobId, epoch: i64, what: What) -> Self {
        Self {
            job: job.0,
            epoch,
            pid: std::process::id(),
            at: now(),
            what,
        }
    }
}

/// The file that everything is written to.
#[derive(Debug, Clone)]
pub struct Ledger {
    /// Where it is.
    pub path: PathBuf,
}

impl Ledger {
    /// Everything so far, in the order of the file.
    ///
    /// # Panics
    /// When a line is none.
    #[must_use]
    pub fn effects(&self) -> Vec<Effect> {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .map(|line| serde_json::from_str(line).expect("a line of the ledger"))
            .collect()
    }
}

/// What is on record of a job that has ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The job.
    pub job: i64,
    /// How it ended.
    pub state: String,
    /// The last claim.
    pub epoch: i64,
    /// Tries that counted.
    pub attempts: i32,
}

/// Everything that is compared.
#[derive(Debug, Clone, Default)]
pub struct Books {
    /// Jobs whose adding was acknowledged.
    pub acknowledged: BTreeSet<i64>,
    /// Jobs that have not ended.
    pub open: Vec<i64>,
    /// Jobs that have ended, once for each time.
    pub outcomes: Vec<Outcome>,
    /// What was done.
    pub effects: Vec<Effect>,
}

impl Books {
    /// Everything in which what was done, what is on record and what was acknowledged do not fit together. `succeed`: all
    /// jobs are of a kind that succeeds.
    #[must_use]
    pub fn findings(&self, succeed: bool) -> Vec<String> {
        let mut findings = Vec::new();
        for job in &self.open {
            findings.push(format!("job {job} has not ended"));
        }
        let mut ended: BTreeMap<i64, &Outcome> = BTreeMap::new();
        for outcome in &self.outcomes {
            if ended.insert(outcome.job, outcome).is_some() {
                findings.push(format!("job {} has a second outcome", outcome.job));
            }
            if succeed && outcome.state != "succeeded" {
                findings.push(format!("job {} is {}", outcome.job, outcome.state));
            }
        }
        for job in &self.acknowledged {
            if !ended.contains_key(job) && !self.open.contains(job) {
                findings.push(format!("job {job} was acknowledged and is lost"));
            }
        }
        let mut by_job: BTreeMap<i64, Vec<&Effect>> = BTreeMap::new();
        for effect in &self.effects {
            by_job.entry(effect.job).or_default().push(effect);
        }
        for (job, effects) in by_job {
            self.follow(job, &effects, ended.get(&job).copied(), &mut findings);
        }
        for outcome in ended.values().filter(|it| it.state == "succeeded") {
            let done = self.effects.iter().any(|effect| {
                (effect.job, effect.epoch, effect.what) == (outcome.job, outcome.epoch, What::Ended)
            });
            if !done {
                findings.push(format!(
                    "job {} is on record as done under claim {}, and was not",
                    outcome.job, outcome.epoch
                ));
            }
        }
        findings
    }

    /// Within one job: nobody acts once somebody else has begun, and nobody acts under two names.
    fn follow(
        &self,
        job: i64,
        effects: &[&Effect],
        outcome: Option<&Outcome>,
        findings: &mut Vec<String>,
    ) {
        let mut newest = 0;
        let mut ordered = effects.to_vec();
        ordered.sort_by_key(|effect| effect.at);
        for effect in ordered {
            if effect.epoch < newest {
                findings.push(format!(
                    "job {job}: process {} went on under claim {} after claim {newest} had begun",
                    effect.pid, effect.epoch
                ));
                return;
            }
            if effect.what == What::Began && effect.epoch == newest {
                findings.push(format!("job {job}: claim {newest} began twice"));
            }
            newest = effect.epoch;
        }
        if let Some(outcome) = outcome
            && outcome.epoch < newest
        {
            findings.push(format!(
                "job {job} ended under claim {}, and was begun again under claim {newest}",
                outcome.epoch
            ));
        }
    }

    /// How many attempts were begun beyond the first of each job.
    #[must_use]
    pub fn repeated(&self) -> usize {
        let begun = self.effects.iter().filter(|it| it.what == What::Began);
        let jobs: BTreeSet<i64> = self.effects.iter().map(|it| it.job).collect();
        begun.count() - jobs.len()
    }

    /// The claims that a process had begun before `at` and not ended by then.
    #[must_use]
    pub fn unfinished(&self, pid: u32, at: u64) -> Vec<(i64, i64)> {
        let of = |what| {
            self.effects
                .iter()
                .filter(move |it| it.pid == pid && it.at <= at && it.what == what)
                .map(|it| (it.job, it.epoch))
        };
        let ended: BTreeSet<(i64, i64)> = of(What::Ended).collect();
        of(What::Began)
            .filter(|claim| !ended.contains(claim))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effect(job: i64, epoch: i64, at: u64, what: What) -> Effect {
        let pid = u32::try_from(epoch).expect("small");
        Effect {
            job,
            epoch,
            pid,
            at,
            what,
        }
    }

    /// Two jobs; the second was taken over.
    fn good() -> Books {
        let outcome = |job, epoch| Outcome {
            job,
            state: "succeeded".to_owned(),
            epoch,
            attempts: 1,
        };
        Books {
            acknowledged: BTreeSet::from([1, 2]),
            open: Vec::new(),
            outcomes: vec![outcome(1, 1), outcome(2, 2)],
            effects: vec![
                effect(1, 1, 1, What::Began),
                effect(1, 1, 2, What::Ended),
                effect(2, 1, 1, What::Began),
                effect(2, 1, 2, What::Did),
                effect(2, 2, 3, What::Began),
                effect(2, 2, 4, What::Ended),
            ],
        }
    }

    #[track_caller]
    fn found(books: &Books, words: &str) {
        let findings = books.findings(true);
        assert!(
            findings.len() == 1 && findings[0].contains(words),
            "{findings:?}"
        );
    }

    #[test]
    fn good_books_balance() {
        assert_eq!(good().findings(true), [""; 0]);
        assert_eq!(good().repeated(), 1);
        assert_eq!(good().unfinished(1, 2), [(2, 1)]);
    }

    #[test]
    fn whatever_is_planted_is_found() {
        let mut books = good();
        books.acknowledged.insert(3);
        found(&books, "acknowledged and is lost");

        let mut books = good();
        books.open.push(3);
        found(&books, "has not ended");

        let mut books = good();
        books.outcomes.push(books.outcomes[0].clone());
        found(&books, "second outcome");

        let mut books = good();
        books.outcomes[0].state = "dead".to_owned();
        found(&books, "job 1 is dead");

        let mut books = good();
        books.effects.push(effect(2, 1, 5, What::Did));
        found(&books, "went on under claim 1 after claim 2 had begun");

        let mut books = good();
        books.effects.push(effect(1, 1, 5, What::Began));
        found(&books, "began twice");

        let mut books = good();
        books.effects.push(effect(1, 2, 5, What::Began));
        found(&books, "begun again under claim 2");

        let mut books = good();
        books
            .effects
            .retain(|it| it.what != What::Ended || it.job != 1);
        found(&books, "on record as done under claim 1, and was not");
    }
}
