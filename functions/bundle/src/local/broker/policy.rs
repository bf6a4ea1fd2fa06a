//! What Knative's MTChannelBasedBroker does after an attempt: success, another attempt, the dead letter sink, or loss.

use std::time::Duration;

use axum::http::StatusCode;
use bytes::Bytes;
use store::broker::{DeliveryFailure, DeliveryProgress, DeliveryState};

use crate::local::manifests::{BackoffPolicy, Delivery, Destination, Format};

/// How long an attempt may take where the manifests do not say: no Service may take longer.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(600);
/// No wait is longer, however often the delay was doubled: one week, as the longest that a manifest may ask for.
const WAIT_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Bytes of an answer that a dead letter carries: what 1024 characters of base64 hold.
pub(super) const ERROR_DATA_BYTES_MAX: usize = 768;

/// How a Trigger delivers.
#[derive(Debug, Clone)]
pub(super) struct Policy {
    /// Attempts after the first.
    retry: u32,
    backoff: Option<(BackoffPolicy, Duration)>,
    pub(super) timeout: Duration,
    pub(super) dead_letter_sink: Option<Destination>,
    pub(super) format: Option<Format>,
}

/// What follows an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// Another attempt after this time.
    Again(Duration),
    /// Nothing.
    End(DeliveryState),
}

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) failure: DeliveryFailure,
    pub(super) retry: bool,
}

impl Failed {
    /// By an answer that has this status.
    pub(super) fn answered(dest: String, status: StatusCode, body: &Bytes) -> Self {
        Self {
            failure: DeliveryFailure {
                dest,
                code: status.as_u16(),
                data: body.slice(..body.len().min(ERROR_DATA_BYTES_MAX)),
            },
            retry: is_retryable(status),
        }
    }

    /// Without an answer.
    pub(super) fn unanswered(dest: String, why: &str) -> Self {
        let text = Bytes::from(format!("dispatch error: {why}"));
        Self::answered(dest, StatusCode::INTERNAL_SERVER_ERROR, &text)
    }
}

/// Whether an answer is worth another attempt: the server failed, or said that it may be otherwise later.
pub(in crate::local) fn is_retryable(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status.as_u16(), 404 | 408 | 409 | 429)
}

impl Policy {
    /// A Trigger's delivery replaces its Broker's as a whole, but for the dead letter sink, which falls back to the
    /// Broker's. A Broker that says nothing has what Knative gives it (`config-br-defaults`).
    pub(super) fn of(trigger: Option<&Delivery>, broker: Option<&Delivery>) -> Self {
        let defaults = Delivery {
            retry: Some(10),
            backoff_policy: Some(BackoffPolicy::Exponential),
            backoff_delay: Some(Duration::from_millis(200)),
            ..Delivery::default()
        };
        let broker = broker.unwrap_or(&defaults);
        let chosen = trigger.unwrap_or(broker);
        let sink = chosen
            .dead_letter_sink
            .as_ref()
            .or(broker.dead_letter_sink.as_ref());
        Self {
            retry: chosen.retry.unwrap_or(0),
            backoff: chosen.backoff_policy.zip(chosen.backoff_delay),
            timeout: chosen.timeout.unwrap_or(TIMEOUT_DEFAULT),
            dead_letter_sink: sink.cloned(),
            // Honoured on a Trigger alone.
            format: trigger.and_then(|delivery| delivery.format),
        }
    }

    /// The wait before the `retry`-th retry, counted from 1. The cluster's client counts attempts from 0: its first linear
    /// wait is none, its first exponential one the delay itself. `Retry-After` is not looked at, as with the default flags.
    pub(super) fn wait_before(&self, retry: u32) -> Duration {
        let earlier = retry.saturating_sub(1);
        let (delay, factor) = match self.backoff {
            None => return Duration::ZERO,
            Some((BackoffPolicy::Linear, delay)) => (delay, Some(earlier)),
            Some((BackoffPolicy::Exponential, delay)) => (delay, 2_u32.checked_pow(earlier)),
        };
        let wait = factor.and_then(|factor| delay.checked_mul(factor));
        wait.map_or(WAIT_MAX, |wait| wait.min(WAIT_MAX))
    }

    /// Whether another attempt is left after `attempts`.
    pub(super) fn allows(&self, attempts: u32) -> bool {
        attempts <= self.retry
    }

    /// Counts an attempt and says what follows it.
    pub(super) fn after(
        &self,
        progress: &mut DeliveryProgress,
        outcome: Result<(), Failed>,
    ) -> Next {
        let dead_lettering = progress.dead_lettering;
        let attempts = if dead_lettering {
            &mut progress.dead_letter_attempts
        } else {
            &mut progress.attempts
        };
        *attempts = attempts.saturating_add(1);
        let attempts = *attempts;
        let Failed { failure, retry } = match outcome {
            Ok(()) if dead_lettering => return Next::End(DeliveryState::DeadLettered),
            Ok(()) => return Next::End(DeliveryState::Delivered),
            Err(failed) => failed,
        };
        // A dead letter tells why the subscriber did not take the event, not why its sink did not.
        if !dead_lettering {
            progress.failure = Some(failure);
        }
        if retry && self.allows(attempts) {
            Next::Again(self.wait_before(attempts))
        } else if !dead_lettering && self.dead_letter_sink.is_some() {
            progress.dead_lettering = true;
            Next::Again(Duration::ZERO)
        } else {
            Next::End(DeliveryState::Lost)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::local::manifests::{Place, Target};

    fn rows<T: serde::de::DeserializeOwned>(file: &str) -> Option<T> {
        let path = testkit::conformance(file)?;
        let text = std::fs::read_to_string(path).expect("a file");
        Some(serde_saphyr::from_str(&text).expect("the published rows"))
    }

    fn policy(delivery: &Delivery) -> Policy {
        Policy::of(Some(delivery), None)
    }

    fn destination(target: Target) -> Destination {
        let place = Place {
            file: "".into(),
            line: 0,
            column: 0,
        };
        Destination { target, place }
    }

    fn failed(status: StatusCode) -> Result<(), Failed> {
        Err(Failed::answered(
            "http://s/".to_owned(),
            status,
            &Bytes::from_static(b"why"),
        ))
    }

    #[derive(Deserialize)]
    struct StatusRows {
        tests: Vec<StatusRow>,
    }

    #[derive(Deserialize)]
    struct StatusRow {
        status: serde_json::Value,
        retry: bool,
        completed: bool,
    }

    #[test]
    fn statuses_mean_what_was_published() {
        let Some(rows) = rows::<StatusRows>("knative/delivery-status-codes.yaml") else {
            return;
        };
        assert!(rows.tests.len() > 20);
        for row in rows.tests {
            let outcome = match row.status.as_u64() {
                Some(code) => {
                    let status = StatusCode::from_u16(u16::try_from(code).expect("a status"))
                        .expect("a status");
                    if status.is_success() {
                        Ok(())
                    } else {
                        failed(status)
                    }
                }
                None => Err(Failed::unanswered("http://s/".to_owned(), "it timed out")),
            };
            let policy = policy(&Delivery {
                retry: Some(1),
                ..Delivery::default()
            });
            let mut progress = DeliveryProgress::default();
            let next = policy.after(&mut progress, outcome);
            assert_eq!(
                next == Next::End(DeliveryState::Delivered),
                row.completed,
                "{:?}",
                row.status
            );
            assert_eq!(
                next == Next::Again(Duration::ZERO),
                row.retry,
                "{:?}",
                row.status
            );
        }
    }

    #[derive(Deserialize)]
    struct BackoffRows {
        from_reading_the_code: Vec<BackoffRow>,
    }

    #[derive(Deserialize)]
    struct BackoffRow {
        broker: String,
        policy: String,
        delay: String,
        waits_ms: Vec<u64>,
    }

    #[test]
    fn waits_grow_as_published() {
        let Some(rows) = rows::<BackoffRows>("knative/backoff.yaml") else {
            return;
        };
        let rows = rows
            .from_reading_the_code
            .into_iter()
            .filter(|row| row.broker == "MTChannelBased");
        let mut seen = 0;
        for row in rows {
            assert_eq!(row.delay, "PT1S");
            let policy = policy(&Delivery {
                retry: Some(10),
                backoff_policy: Some(match row.policy.as_str() {
                    "linear" => BackoffPolicy::Linear,
                    _ => BackoffPolicy::Exponential,
                }),
                backoff_delay: Some(Duration::from_secs(1)),
                ..Delivery::default()
            });
            let waits = (1..=4).map(|retry| policy.wait_before(retry).as_millis());
            assert!(
                waits.eq(row.waits_ms.into_iter().map(u128::from)),
                "{}",
                row.policy
            );
            seen += 1;
        }
        assert_eq!(seen, 2);
    }

    #[test]
    fn a_wait_never_overflows_and_is_none_without_a_delay() {
        let forever = policy(&Delivery {
            backoff_policy: Some(BackoffPolicy::Exponential),
            backoff_delay: Some(Duration::from_secs(3600)),
            ..Delivery::default()
        });
        assert_eq!(forever.wait_before(1000), WAIT_MAX);
        assert_eq!(forever.wait_before(33), WAIT_MAX);
        assert_eq!(policy(&Delivery::default()).wait_before(5), Duration::ZERO);
    }

    #[test]
    fn a_broker_that_says_nothing_has_the_clusters_defaults() {
        let policy = Policy::of(None, None);
        assert!(policy.allows(10) && !policy.allows(11));
        assert_eq!(policy.wait_before(1), Duration::from_millis(200));
        assert_eq!(policy.wait_before(10), Duration::from_millis(102_400));
    }

    #[test]
    fn a_triggers_delivery_replaces_its_brokers_but_for_the_dead_letter_sink() {
        let sink = |name: &str| {
            let url = url::Url::parse(&format!("http://{name}/")).expect("a URL");
            Some(destination(Target::Url(url)))
        };
        let broker = Delivery {
            retry: Some(3),
            dead_letter_sink: sink("broker"),
            ..Delivery::default()
        };
        let trigger = Delivery {
            timeout: Some(Duration::from_secs(1)),
            ..Delivery::default()
        };
        let both = Policy::of(Some(&trigger), Some(&broker));
        assert!(!both.allows(1), "retry is not taken from the Broker");
        assert_eq!(both.dead_letter_sink, sink("broker"));
        let own = Delivery {
            dead_letter_sink: sink("trigger"),
            ..trigger
        };
        assert_eq!(
            Policy::of(Some(&own), Some(&broker)).dead_letter_sink,
            sink("trigger")
        );
        assert!(Policy::of(None, Some(&broker)).allows(3));
    }

    #[test]
    fn after_the_last_attempt_it_is_the_dead_letter_sinks_turn_with_as_many() {
        let mut policy = policy(&Delivery {
            retry: Some(1),
            ..Delivery::default()
        });
        let mut progress = DeliveryProgress::default();
        let down = || failed(StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(
            policy.after(&mut progress, down()),
            Next::Again(Duration::ZERO)
        );
        assert_eq!(
            policy.after(&mut progress.clone(), down()),
            Next::End(DeliveryState::Lost),
            "there is no sink"
        );
        policy.dead_letter_sink = Some(destination(Target::Broker {
            name: "b".to_owned(),
        }));
        assert_eq!(
            policy.after(&mut progress, failed(StatusCode::BAD_REQUEST)),
            Next::Again(Duration::ZERO)
        );
        assert!(progress.dead_lettering);
        let code =
            |progress: &DeliveryProgress| progress.failure.as_ref().map(|failure| failure.code);
        assert_eq!(code(&progress), Some(400));
        assert_eq!(
            policy.after(&mut progress, down()),
            Next::Again(Duration::ZERO)
        );
        assert_eq!(
            code(&progress),
            Some(400),
            "the sink's failure is not the subscriber's"
        );
        assert_eq!(
            policy.after(&mut progress.clone(), Ok(())),
            Next::End(DeliveryState::DeadLettered)
        );
        assert_eq!(
            policy.after(&mut progress, down()),
            Next::End(DeliveryState::Lost)
        );
        assert_eq!((progress.attempts, progress.dead_letter_attempts), (2, 2));
    }
}
