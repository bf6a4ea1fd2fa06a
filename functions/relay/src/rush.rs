//! Whether so much is written that a relay is told of it as soon as it has asked to be.
//!
//! A notification costs its writer: transactions that notify commit one after the other, all over the server. Being told once
//! is worth it, being told hundreds of times a second is not; then looking by the clock costs everybody less.

use std::time::Duration;

use tokio::time::Instant;

/// How often a relay looks meanwhile, and so how late it may be.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Who is told within this time after it asked was told too soon.
const SOON: Duration = Duration::from_millis(5);
/// That often in a row.
const TIMES: u32 = 3;
/// How long it then does not ask; each time twice as long as the time before.
const TIME_MIN: Duration = Duration::from_millis(100);
const TIME_MAX: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(crate) struct Rush {
    times: u32,
    time: Duration,
    until: Option<Instant>,
}

impl Rush {
    pub(crate) fn is_on(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// It was told, so long after it had asked.
    pub(crate) fn woken(&mut self, asked: Instant, now: Instant) {
        if now.duration_since(asked) > SOON {
            self.slept();
            return;
        }
        self.times = self.times.saturating_add(1);
        if self.times >= TIMES {
            self.time = (self.time * 2).clamp(TIME_MIN, TIME_MAX);
            self.until = Some(now + self.time);
        }
    }

    /// Nobody told for a while.
    pub(crate) fn slept(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_told_at_once_again_and_again_stops_asking_for_a_while() {
        let mut rush = Rush::default();
        let start = Instant::now();
        let soon = start + SOON;
        rush.woken(start, soon);
        rush.woken(start, soon);
        assert!(!rush.is_on(soon));
        rush.woken(start, soon);
        assert!(rush.is_on(soon));
        assert!(!rush.is_on(soon + TIME_MIN));
        rush.woken(start, soon);
        assert!(rush.is_on(soon + TIME_MIN));
        for _ in 0..8 {
            rush.woken(start, soon);
        }
        assert!(!rush.is_on(soon + TIME_MAX));
    }

    #[test]
    fn a_wait_ends_it() {
        let mut rush = Rush::default();
        let start = Instant::now();
        for _ in 0..TIMES {
            rush.woken(start, start);
        }
        rush.woken(start, start + SOON * 2);
        assert!(!rush.is_on(start + SOON * 2));
        rush.woken(start, start);
        assert!(!rush.is_on(start));
    }
}
