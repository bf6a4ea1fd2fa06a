//! Waits between tries.

use std::time::Duration;

use rand::Rng as _;

/// The first wait is up to this long.
const FIRST: Duration = Duration::from_millis(10);
/// No wait is longer.
const LONGEST: Duration = Duration::from_millis(200);

/// Waits that double, with full jitter: those who failed together do not come back together.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) const fn new() -> Self {
        Self { next: FIRST }
    }

    /// How long to wait now.
    fn step(&mut self) -> Duration {
        let most = self.next;
        self.next = (most * 2).min(LONGEST);
        most.mul_f64(rand::rng().random_range(0.0..=1.0))
    }

    pub(crate) async fn wait(&mut self) {
        tokio::time::sleep(self.step()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut backoff = Backoff::new();
        for most_ms in [10, 20, 40, 80, 160, 200, 200] {
            let wait = backoff.step();
            assert!(wait <= Duration::from_millis(most_ms), "{wait:?}");
        }
    }
}
