//! What streams of server-sent events have in common: how long they live, when they show that they do, and when it is looked at
//! whether their reader may still read.

use std::time::Duration;

use tokio::time::Instant;

/// A comment this often keeps proxies from closing the connection.
const SILENT_MAX: Duration = Duration::from_secs(15);
/// Whether somebody may still read is looked at this often, however much is sent meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// A stream ends by itself before a cluster cuts it (600 s), and its reader comes back.
const LIFE_MAX: Duration = Duration::from_secs(570);

/// The clock of one stream.
#[derive(Debug)]
pub struct Pulse {
    sent: Instant,
    looked: Instant,
    until: Instant,
}

impl Pulse {
    /// How long a reader waits before it comes back, in milliseconds.
    pub const RETRY_MS: u32 = 1_000;
    /// Between two looks while the database does not answer.
    pub const TROUBLED: Duration = Duration::from_secs(3);

    /// That of a stream which begins now, for a reader who was just let in.
    #[must_use]
    pub fn begin() -> Self {
        let now = Instant::now();
        Self {
            sent: now,
            looked: now,
            until: now + LIFE_MAX,
        }
    }

    /// Whether the stream has lived long enough.
    #[must_use]
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Something is sent.
    pub fn sent(&mut self) {
        self.sent = Instant::now();
    }

    /// Whether nothing was sent for so long that the reader, or what is between, might take it for dead.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.sent.elapsed() >= SILENT_MAX
    }

    /// Whether it is time to look if the reader may still read. Said once each time.
    pub fn is_time_to_look(&mut self) -> bool {
        let is_time = self.looked.elapsed() >= LOOK_EVERY;
        if is_time {
            self.looked = Instant::now();
        }
        is_time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_reader_is_looked_at_however_much_is_sent() {
        let mut pulse = Pulse::begin();
        let mut looks = 0;
        for _ in 0..60 {
            tokio::time::advance(Duration::from_secs(1)).await;
            pulse.sent();
            assert!(!pulse.is_silent());
            looks += usize::from(pulse.is_time_to_look());
        }
        assert_eq!(looks, 4);
        tokio::time::advance(SILENT_MAX).await;
        assert!(pulse.is_silent() && !pulse.is_over());
        tokio::time::advance(LIFE_MAX).await;
        assert!(pulse.is_over());
    }
}
