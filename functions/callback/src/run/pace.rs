//! How often one run may send news: a runner that went wild does not take the place of the others.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use queue::Hold;

/// News of one run in a second, in the long run; more than its log can take.
const PER_SEC: f64 = 200.0;
/// At once, after a pause.
const AT_ONCE: f64 = 400.0;
/// Runs that are remembered; those that were quiet for a while are forgotten first.
const RUNS_MAX: usize = 10_000;

/// When runs sent news lately.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    runs: Mutex<HashMap<(i64, i64), Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: DateTime<Utc>,
}

impl Bucket {
    fn filled(self, now: DateTime<Utc>) -> f64 {
        let since = (now - self.at).as_seconds_f64().max(0.0);
        since.mul_add(PER_SEC, self.left).min(AT_ONCE)
    }
}

impl Pace {
    /// Whether a run may send news now; that it does is remembered.
    pub(crate) fn may(&self, hold: Hold, now: DateTime<Utc>) -> bool {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        if runs.len() >= RUNS_MAX {
            runs.retain(|_, bucket| bucket.filled(now) < AT_ONCE);
            if runs.len() >= RUNS_MAX {
                runs.clear();
            }
        }
        let bucket = runs.entry((hold.job.0, hold.epoch)).or_insert(Bucket {
            left: AT_ONCE,
            at: now,
        });
        let left = bucket.filled(now);
        let may = left >= 1.0;
        *bucket = Bucket {
            left: if may { left - 1.0 } else { left },
            at: now,
        };
        may
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use model::JobId;

    use super::*;

    #[test]
    fn a_run_that_sends_without_end_is_slowed_down_and_no_other() {
        let pace = Pace::default();
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
        let run = |job| Hold {
            job: JobId(job),
            epoch: 1,
        };
        let sent = (0..1_000).filter(|_| pace.may(run(1), now)).count();
        assert_eq!(sent, 400);
        assert!(pace.may(run(2), now));
        let later = now + TimeDelta::milliseconds(100);
        let sent = (0..1_000).filter(|_| pace.may(run(1), later)).count();
        assert_eq!(sent, 20);
    }
}
