//! When a message is tried again.

use std::time::Duration;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// The time from each attempt to the next, as Standard Webhooks advises: ten attempts in a little over three days.
/// <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#retry-schedule>
pub const RETRIES: [Duration; 9] = [
    Duration::from_secs(5),
    Duration::from_secs(5 * MINUTE),
    Duration::from_secs(30 * MINUTE),
    Duration::from_secs(2 * HOUR),
    Duration::from_secs(5 * HOUR),
    Duration::from_secs(10 * HOUR),
    Duration::from_secs(14 * HOUR),
    Duration::from_secs(20 * HOUR),
    Duration::from_secs(24 * HOUR),
];

/// The longest time that a receiver may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * HOUR);

/// How long after the attempt of this number, from 1, the next one is; nothing when it was the last. Messages that failed
/// together come back apart: `spread` is a number of the message's own.
#[must_use]
pub fn next_attempt(attempt: u32, asked: Option<Duration>, spread: u8) -> Option<Duration> {
    let index = usize::try_from(attempt.checked_sub(1)?).ok()?;
    let usual = *RETRIES.get(index)?;
    // Up to a tenth later.
    let usual = usual + usual * u32::from(spread) / 2560;
    Some(usual.max(asked.unwrap_or_default().min(RETRY_AFTER_MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_attempts_take_a_little_over_three_days() {
        let waits: Vec<_> = (1..=10)
            .map(|attempt| next_attempt(attempt, None, 0))
            .collect();
        assert_eq!(waits[0], Some(Duration::from_secs(5)));
        assert_eq!(waits[9], None);
        let all: Duration = waits.into_iter().flatten().sum();
        assert_eq!(all.as_secs() / HOUR, 75);
        assert_eq!(next_attempt(0, None, 0), None);
    }

    #[test]
    fn a_receiver_may_ask_for_later_and_not_for_sooner_or_never() {
        let ask = |secs| next_attempt(1, Some(Duration::from_secs(secs)), 0);
        assert_eq!(ask(1), Some(Duration::from_secs(5)));
        assert_eq!(ask(120), Some(Duration::from_secs(120)));
        assert_eq!(ask(u64::MAX), Some(RETRY_AFTER_MAX));
        assert!(next_attempt(2, None, 255) > next_attempt(2, None, 0));
    }
}
