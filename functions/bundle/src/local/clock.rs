//! The clocks of the PingSources.
//!
//! A tick that was missed, because nothing ran or the machine slept, is not made up for; one that nobody takes after a few
//! retries is lost. Reconcilers, which they drive, do everything at their next tick.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use events::{AttributeError, Message};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::broker::{Sink, Sinks, is_retryable};
use super::manifests::PingSource;

/// The type of a tick on every cluster.
const TYPE: &str = "dev.knative.sources.ping";
/// Tries after the first.
const RETRIES: u32 = 5;
/// Before the first of them; it doubles each time.
const RETRY_DELAY: Duration = Duration::from_millis(50);
/// How long a sink may take; no Service may take longer.
const TIMEOUT: Duration = Duration::from_secs(600);
/// Ticks of one source that may be under way at once. A cluster sets no limit.
const OVERLAP_MAX: usize = 4;
/// The longest sleep in one piece, after which the clock is read again: it may have been set, or the machine asleep.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// Where the present comes from.
pub(super) type Now = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// The machine's clock.
pub(super) fn machine() -> Now {
    #[expect(
        clippy::disallowed_methods,
        reason = "the runtime's only look at the machine's clock"
    )]
    Arc::new(Utc::now)
}

/// One PingSource and what it sends to.
pub(super) struct Clock {
    pub(super) source: PingSource,
    pub(super) namespace: String,
    pub(super) sink: Sink,
    pub(super) sinks: Arc<Sinks>,
    pub(super) now: Now,
}

impl Clock {
    /// Ticks until asked to stop.
    pub(super) async fn run(self, stop: CancellationToken) {
        let clock = Arc::new(self);
        let places = Arc::new(Semaphore::new(OVERLAP_MAX));
        let sends = TaskTracker::new();
        let ticking = async {
            while next_tick(&clock.source, &clock.now).await {
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                    tracing::warn!(
                        source = clock.source.name,
                        "a tick is left out: {OVERLAP_MAX} earlier ones are still under way"
                    );
                    continue;
                };
                let clock = Arc::clone(&clock);
                sends.spawn(async move {
                    clock.send().await;
                    drop(place);
                });
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = ticking => {}
        }
        sends.close();
        sends.wait().await;
    }

    async fn send(&self) {
        let name = &self.source.name;
        let message = match tick(&self.source, &self.namespace, (self.now)()) {
            Ok(message) => message,
            Err(error) => {
                return tracing::error!(source = name, "a tick cannot be an event: {error}");
            }
        };
        let (headers, body) = events::encode_binary(&message);
        let mut retry = 0;
        loop {
            let posted = self
                .sinks
                .post(&self.sink, headers.clone(), body.clone(), TIMEOUT)
                .await;
            let why = match posted {
                Ok(answer) if answer.status.is_success() => return,
                Ok(answer) if !is_retryable(answer.status) => {
                    return tracing::warn!(source = name, "a tick was refused: {}", answer.status);
                }
                Ok(answer) => answer.status.to_string(),
                Err(why) => why,
            };
            if retry == RETRIES {
                return tracing::warn!(
                    source = name,
                    "a tick is lost after {RETRIES} retries: {why}"
                );
            }
            tokio::time::sleep(RETRY_DELAY * 2_u32.pow(retry)).await;
            retry += 1;
        }
    }
}

/// Sleeps until the next tick; false when there is none.
async fn next_tick(source: &PingSource, now: &Now) -> bool {
    let Some(at) = source.schedule.next_after(now()) else {
        return false;
    };
    loop {
        let Ok(left) = (at - now()).to_std() else {
            return true;
        };
        if left.is_zero() {
            return true;
        }
        tokio::time::sleep(left.min(SLEEP_MAX)).await;
    }
}

/// The event of one tick.
fn tick(
    source: &PingSource,
    namespace: &str,
    now: DateTime<Utc>,
) -> Result<Message, AttributeError> {
    let name = &source.name;
    let from = format!("/apis/v1/namespaces/{namespace}/pingsources/{name}");
    let mut message = Message::new(Uuid::new_v4().to_string(), from, TYPE)?.with_time_at(now);
    if let Some(data) = &source.data {
        let content_type = source.content_type.as_deref().unwrap_or("text/plain");
        message = message.with_data(content_type, data.clone())?;
    }
    for (name, value) in &source.extensions {
        message = message.with_extension(name.as_str(), value.as_str())?;
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::local::manifests::Manifests;

    fn source(schedule: &str, timezone: &str) -> PingSource {
        let text = format!(
            "apiVersion: sources.knative.dev/v1\n\
             kind: PingSource\n\
             metadata: {{name: p}}\n\
             spec:\n  schedule: \"{schedule}\"\n  timezone: {timezone}\n  contentType: application/json\n  \
             data: '{{\"a\": 1}}'\n  ceOverrides: {{extensions: {{shard: a}}}}\n  sink: {{uri: \"http://x/\"}}\n"
        );
        let manifests =
            Manifests::parse("test", &[("triggers/p.yaml", &text)]).expect("a PingSource");
        manifests.ping_sources.into_iter().next().expect("one")
    }

    /// A clock that starts there and goes with tokio's.
    fn from(text: &str) -> Now {
        let start: DateTime<Utc> = text.parse().expect("an instant");
        let begun = Instant::now();
        Arc::new(move || start + begun.elapsed())
    }

    /// The first ticks after an instant.
    async fn ticks(schedule: &str, start: &str, count: usize) -> Vec<String> {
        let source = source(schedule, "Europe/Paris");
        let now = from(start);
        let mut seen = Vec::new();
        for _ in 0..count {
            assert!(next_tick(&source, &now).await);
            seen.push(now().format("%d %H:%M:%S").to_string());
        }
        seen
    }

    #[tokio::test(start_paused = true)]
    async fn ticks_come_when_they_are_due_and_once_each() {
        let seen = ticks("*/15 * * * * *", "2026-06-01T12:00:01Z", 3).await;
        assert_eq!(seen, ["01 12:00:15", "01 12:00:30", "01 12:00:45"]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_hour_that_summer_time_skips_does_not_move_the_next_day() {
        // On 29 March 2026 02:00 becomes 03:00 in Paris, which is 01:00 UTC.
        let seen = ticks("0 12 * * *", "2026-03-28T00:00:00Z", 3).await;
        assert_eq!(seen, ["28 11:00:00", "29 10:00:00", "30 10:00:00"]);
        let hourly = ticks("0 * * * *", "2026-03-28T23:30:00Z", 4).await;
        assert_eq!(
            hourly,
            ["29 00:00:00", "29 01:00:00", "29 02:00:00", "29 03:00:00"]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_hour_that_winter_time_repeats_has_one_daily_tick_and_two_hourly_ones() {
        // On 25 October 2026 03:00 becomes 02:00 in Paris, which is 01:00 UTC.
        let daily = ticks("30 2 * * *", "2026-10-24T12:00:00Z", 2).await;
        assert_eq!(daily, ["25 00:30:00", "26 01:30:00"]);
        let hourly = ticks("0 * * * *", "2026-10-24T23:30:00Z", 4).await;
        assert_eq!(
            hourly,
            ["25 00:00:00", "25 01:00:00", "25 02:00:00", "25 03:00:00"]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn ticks_of_a_time_when_the_machine_slept_are_not_made_up_for() {
        let source = source("* * * * *", "UTC");
        let start: DateTime<Utc> = "2026-06-01T12:00:30Z".parse().expect("an instant");
        let begun = Instant::now();
        // Ten seconds in, an hour is lost at once.
        let now: Now = Arc::new(move || {
            let gone = begun.elapsed();
            let slept = if gone > Duration::from_secs(10) {
                Duration::from_secs(3600)
            } else {
                Duration::ZERO
            };
            start + gone + slept
        });
        let mut seen = Vec::new();
        for _ in 0..2 {
            assert!(next_tick(&source, &now).await);
            seen.push(now().format("%H:%M:%S").to_string());
        }
        assert_eq!(seen, ["13:01:00", "13:02:00"]);
    }

    #[test]
    fn a_tick_is_the_event_that_a_cluster_sends() {
        let at = "2026-06-01T12:00:00Z".parse().expect("an instant");
        let message = tick(&source("* * * * *", "UTC"), "ns", at).expect("an event");
        assert_eq!(message.ty(), "dev.knative.sources.ping");
        assert_eq!(message.source(), "/apis/v1/namespaces/ns/pingsources/p");
        assert_eq!(
            message.time().map(events::Time::as_str),
            Some("2026-06-01T12:00:00Z")
        );
        assert_eq!(message.datacontenttype(), Some("application/json"));
        assert_eq!(message.extension("shard"), Some(&"a".into()));
        assert!(Uuid::parse_str(message.id()).is_ok() && message.subject().is_none());
    }
}
