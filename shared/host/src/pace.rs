//! How many jobs to claim ahead of free slots, and how long to wait before the next look: by how long jobs take and how
//! long the database does.

use std::time::Duration;

/// What is claimed ahead should get a slot within about this time; a job that takes longer is never claimed ahead.
const AHEAD: Duration = Duration::from_millis(100);
/// The most that is claimed in one statement.
const BATCH_MAX: usize = 100;
/// A claim that takes longer says that the database has enough to do: the next one asks for half as much.
const CLAIM_SLOW: Duration = Duration::from_millis(250);
/// Before another look when a claim came back empty: doubled each time from the shortest to the longest.
const LOOK_MIN: Duration = Duration::from_millis(20);
const LOOK_MAX: Duration = Duration::from_millis(500);
/// Looks of a drain that has nothing to do before it leaves. Another claim may hold a lane for a moment, and where work came
/// a moment ago there may be more.
const LOOKS_IDLE: u32 = 2;
const LOOKS_AFTER_WORK: u32 = 3;

/// What a worker has learnt of its jobs and its database.
#[derive(Debug)]
pub(crate) struct Pace {
    /// How long a job takes; nothing is known at first.
    took: Option<Duration>,
    /// The most that the next claim asks for.
    batch: usize,
}

impl Pace {
    pub(crate) const fn new() -> Self {
        Self {
            took: None,
            batch: BATCH_MAX,
        }
    }

    /// A job took so long. What is slower than thought is believed sooner than what is quicker: too many claimed ahead are
    /// in the way of other workers, too few only cost statements.
    pub(crate) fn job_took(&mut self, took: Duration) {
        self.took = Some(match self.took {
            None => took,
            Some(before) if took > before => (before + took) / 2,
            Some(before) => (before * 7 + took) / 8,
        });
    }

    /// A claim took so long.
    pub(crate) fn claim_took(&mut self, took: Duration) {
        self.batch = if took > CLAIM_SLOW {
            (self.batch / 2).max(1)
        } else {
            (self.batch + self.batch.div_ceil(4)).min(BATCH_MAX)
        };
    }

    /// A claim failed: the next one asks for as little as there is.
    pub(crate) fn claim_failed(&mut self) {
        self.batch = 1;
    }

    /// How many jobs may be held beyond those that run.
    fn ahead(&self, slots: usize) -> usize {
        match self.took {
            Some(took) if took < AHEAD => {
                let rounds = AHEAD.as_micros() / took.as_micros().max(1);
                usize::try_from(rounds)
                    .unwrap_or(usize::MAX)
                    .saturating_mul(slots)
                    .min(BATCH_MAX)
            }
            _ => 0,
        }
    }

    /// How many to claim while `held` are held; 0 until there is room enough to be worth a statement.
    pub(crate) fn room(&self, slots: usize, held: usize) -> usize {
        let ahead = self.ahead(slots);
        let free = (slots + ahead).saturating_sub(held);
        if held >= slots && free * 2 < ahead {
            return 0;
        }
        free.min(self.batch)
    }
}

/// How long a drain that found nothing waits for the next look.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    empty: u32,
    worked: bool,
}

impl Looks {
    /// There was something.
    pub(crate) fn found(&mut self) {
        self.empty = 0;
        self.worked = true;
    }

    /// There was nothing. Nothing is left to wait for when the drain has no jobs and has looked often enough.
    pub(crate) fn nothing(&mut self, holds_jobs: bool) -> Option<Duration> {
        self.empty += 1;
        let enough = if self.worked {
            LOOKS_AFTER_WORK
        } else {
            LOOKS_IDLE
        };
        if !holds_jobs && self.empty >= enough {
            return None;
        }
        Some((LOOK_MIN * 2_u32.pow((self.empty - 1).min(10))).min(LOOK_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn slow_jobs_are_claimed_one_for_each_free_slot() {
        let mut pace = Pace::new();
        assert_eq!(pace.room(4, 1), 3, "nothing is known yet");
        pace.job_took(MS * 500);
        assert_eq!(pace.room(4, 1), 3);
        assert_eq!(pace.room(4, 4), 0);
    }

    #[test]
    fn quick_jobs_are_claimed_ahead_and_slow_ones_end_that() {
        let mut pace = Pace::new();
        pace.job_took(MS * 10);
        assert_eq!(pace.room(4, 0), 44, "ten rounds ahead");
        assert_eq!(pace.room(4, 40), 0, "not worth a statement");
        assert_eq!(pace.room(4, 24), 20);
        pace.job_took(MS * 500);
        assert_eq!(pace.room(4, 4), 0, "one slow job is enough");
        for _ in 0..40 {
            pace.job_took(MS);
        }
        assert!(pace.room(4, 4) > 40, "and many quick ones to forget it");
    }

    #[test]
    fn a_slow_database_is_asked_for_less_and_a_quick_one_for_more_again() {
        let mut pace = Pace::new();
        pace.job_took(MS);
        assert_eq!(pace.room(50, 0), BATCH_MAX);
        pace.claim_took(MS * 300);
        pace.claim_took(MS * 300);
        assert_eq!(pace.room(50, 0), BATCH_MAX / 4);
        pace.claim_failed();
        assert_eq!(pace.room(50, 0), 1);
        for _ in 0..30 {
            pace.claim_took(MS);
        }
        assert_eq!(pace.room(50, 0), BATCH_MAX);
    }

    #[test]
    fn a_drain_looks_again_soon_and_then_less_often_and_leaves_when_it_holds_nothing() {
        let mut looks = Looks::default();
        assert_eq!(looks.nothing(false), Some(LOOK_MIN));
        assert_eq!(looks.nothing(false), None);
        looks.found();
        assert_eq!(looks.nothing(false), Some(LOOK_MIN));
        assert_eq!(looks.nothing(false), Some(LOOK_MIN * 2));
        assert_eq!(looks.nothing(false), None);
        let waits: Vec<_> = (0..20).filter_map(|_| looks.nothing(true)).collect();
        assert_eq!(waits.len(), 20, "while it holds a job it stays");
        assert_eq!(waits.last(), Some(&LOOK_MAX));
    }
}
