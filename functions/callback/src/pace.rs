//! How often one call of a function, or one run, may say something: who went wild does not take the place of the others.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use queue::Hold;

/// What one may say in a second, in the long run; more than its log can take.
const PER_SEC: f64 = 200.0;
/// At once, after a pause.
const AT_ONCE: f64 = 400.0;
/// Those that are remembered; who was quiet for a while is forgotten first.
const HOLDS_MAX: usize = 10_000;

/// Who said something lately.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    holds: Mutex<HashMap<(i64, i64), Bucket>>,
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
    /// Whether they may say something now; that they do is remembered.
    pub(crate) fn may(&self, hold: Hold, now: DateTime<Utc>) -> bool {
        let mut holds = self.holds.lock().unwrap_or_else(PoisonError::into_inner);
        if holds.len() >= HOLDS_MAX {
            holds.retain(|_, bucket| bucket.filled(now) < AT_ONCE);
            if holds.len() >= HOLDS_MAX {
                holds.clear();
            }
        }
        let bucket = holds.entry((hold.job.0, hold.epoch)).or_insert(Bucket {
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
    fn who_talks_without_end_is_slowed_down_and_nobody_else() {
        let pace = Pace::default();
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
        let hold = |job| Hold {
            job: JobId(job),
            epoch: 1,
        };
        let sent = (0..1_000).filter(|_| pace.may(hold(1), now)).count();
        assert_eq!(sent, 400);
        assert!(pace.may(hold(2), now));
        let later = now + TimeDelta::milliseconds(100);
        let sent = (0..1_000).filter(|_| pace.may(hold(1), later)).count();
        assert_eq!(sent, 20);
    }
}
