//! What a broker's answer means.

use std::time::Duration;

use http::{HeaderMap, StatusCode};

/// The longest time that a broker may ask to be left alone.
const AFTER_MAX: Duration = Duration::from_secs(300);
/// The longest wait before a row is tried again.
const BACKOFF_MAX: Duration = Duration::from_secs(60);
const BACKOFF_MIN: Duration = Duration::from_millis(500);

/// What became of a post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is the broker's now.
    Taken,
    /// It may be taken later.
    Later {
        /// What went wrong.
        error: String,
        /// When the broker said when.
        after: Option<Duration>,
        /// Whether there was no answer in time: it may have been taken.
        timed_out: bool,
    },
    /// It never will be.
    Refused(String),
}

/// Reads a status as Knative's senders do (`pkg/kncloudevents/retries.go`): 404, 408, 409, 429 and everything from 500 may
/// pass, all else from 300 will not.
pub(crate) fn of(
    status: StatusCode,
    headers: &HeaderMap,
    body: &str,
    now: chrono::DateTime<chrono::Utc>,
) -> Answer {
    let said = if body.is_empty() {
        status.to_string()
    } else {
        format!("{status}: {body}")
    };
    match status.as_u16() {
        200..=299 => Answer::Taken,
        404 | 408 | 409 | 429 | 500.. => Answer::Later {
            error: said,
            after: retry_after(status, headers, now),
            timed_out: false,
        },
        _ => Answer::Refused(said),
    }
}

/// `Retry-After` of a 429 or 503.
fn retry_after(
    status: StatusCode,
    headers: &HeaderMap,
    now: chrono::DateTime<chrono::Utc>,
) -> Option<Duration> {
    if !matches!(status.as_u16(), 429 | 503) {
        return None;
    }
    Some(egress::retry_after(headers, Some(now.into()))?.min(AFTER_MAX))
}

/// The wait before a row is tried again that failed so many times.
pub(crate) fn backoff(attempts: i32) -> Duration {
    let doublings = u32::try_from(attempts.clamp(0, 16)).unwrap_or_default();
    (BACKOFF_MIN * 2_u32.pow(doublings)).min(BACKOFF_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, retry_after: Option<&str>) -> Answer {
        let mut headers = HeaderMap::new();
        if let Some(text) = retry_after {
            headers.insert(
                "retry-after",
                text.parse().expect("the test's header is good"),
            );
        }
        let now = "2026-11-21T12:00:00Z"
            .parse()
            .expect("the test's time is good");
        of(
            StatusCode::from_u16(status).expect("a status"),
            &headers,
            "",
            now,
        )
    }

    #[test]
    fn statuses_are_read_as_knative_reads_them() {
        for status in [200, 202, 204] {
            assert_eq!(answer(status, None), Answer::Taken, "{status}");
        }
        for status in [404, 408, 409, 429, 500, 502, 503, 504] {
            assert!(
                matches!(answer(status, None), Answer::Later { .. }),
                "{status}"
            );
        }
        for status in [301, 400, 401, 403, 405, 413, 415, 422] {
            assert!(
                matches!(answer(status, None), Answer::Refused(_)),
                "{status}"
            );
        }
    }

    #[test]
    fn retry_after_is_honoured_as_seconds_and_as_a_date_and_bounded() {
        let after = |text| match answer(429, Some(text)) {
            Answer::Later { after, .. } => after,
            other => panic!("{other:?}"),
        };
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(
            after("Sat, 21 Nov 2026 12:00:09 GMT"),
            Some(Duration::from_secs(9))
        );
        assert_eq!(after("99999999"), Some(AFTER_MAX));
        assert_eq!(after("soon"), None);
    }
}
