//! What the answer to a call means.
//!
//! | answer | the task is done by its response | the task is done by a callback |
//! | --- | --- | --- |
//! | 202 | a callback follows | a callback follows |
//! | another 2xx | done, its body is the result | a callback follows |
//! | 429 or 503 with `Retry-After` | put off for so long, uncounted | the same |
//! | 408, 425, 429, 5xx | tried again | the same |
//! | another 4xx, 3xx | failed for good | the same |
//! | `X-Job-Error` on a 2xx | tried again | the same |

use std::time::Duration;

use chrono::{DateTime, Utc};
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderName, StatusCode};
use queue::executors::CompletesBy;
use serde_json::Value;

const JOB_ERROR: HeaderName = HeaderName::from_static("x-job-error");
/// However long a function asks to be left alone, it is asked again after this time.
const ASKED_MAX: Duration = Duration::from_secs(3600);
/// And however short, not before.
const ASKED_MIN: Duration = Duration::from_secs(1);
/// How much of an answer is told to people, in bytes.
const SHOWN_BYTES_MAX: usize = 2048;

/// What an answer means for its job.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    /// The job did what it was for.
    Done(Option<Value>),
    /// A callback will tell.
    Later,
    /// Not now, and that costs no attempt.
    PutOff { delay: Duration, reason: String },
    /// Trying again may help.
    Again(String),
    /// Trying again cannot help.
    Never(String),
}

/// Reads an answer.
pub(crate) fn verdict(
    completes_by: CompletesBy,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    now: DateTime<Utc>,
) -> Verdict {
    if status.is_success() {
        if says_error(headers) {
            return Verdict::Again(said(body).unwrap_or_else(|| {
                format!("the function answered {status} with X-Job-Error and did not say why")
            }));
        }
        return match completes_by {
            _ if status == StatusCode::ACCEPTED => Verdict::Later,
            CompletesBy::Callback => Verdict::Later,
            CompletesBy::Response => Verdict::Done(result(headers, body)),
        };
    }
    let told = match said(body) {
        Some(said) => format!("the function answered {status}: {said}"),
        None => format!("the function answered {status}"),
    };
    let busy = matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    );
    match egress::retry_after(headers, Some(now.into())) {
        // What calls itself an error counts as an attempt.
        Some(delay) if busy && !says_error(headers) => Verdict::PutOff {
            delay: delay.clamp(ASKED_MIN, ASKED_MAX),
            reason: told,
        },
        _ if busy || status.is_server_error() => Verdict::Again(told),
        _ if matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY) => {
            Verdict::Again(told)
        }
        _ if status.is_redirection() => {
            let location = headers
                .get(LOCATION)
                .and_then(|value| value.to_str().ok())
                .map(|to| format!(" to {}", shown(to)))
                .unwrap_or_default();
            Verdict::Never(format!(
                "the function answered {status}{location}; redirects are not followed: give the task the URL itself"
            ))
        }
        _ => Verdict::Never(told),
    }
}

/// Whether an answer says that its target is not there, rather than that it failed.
pub(crate) const fn is_absent(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    )
}

fn says_error(headers: &HeaderMap) -> bool {
    headers
        .get(JOB_ERROR)
        .is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"false"))
}

/// What a function has to say: JSON as it is, text as a string, nothing for nothing.
fn result(headers: &HeaderMap, body: &[u8]) -> Option<Value> {
    if body.is_empty() {
        return None;
    }
    let is_json = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_none_or(|kind| {
            let kind = kind.split(';').next().unwrap_or_default().trim();
            kind.ends_with("/json") || kind.ends_with("+json")
        });
    let json = is_json.then(|| serde_json::from_slice(body).ok()).flatten();
    Some(json.unwrap_or_else(|| Value::String(String::from_utf8_lossy(body).into_owned())))
}

/// Why, in the words of the function: `error` or `message` of its JSON, or else its text.
fn said(body: &[u8]) -> Option<String> {
    let json: Option<Value> = serde_json::from_slice(body).ok();
    let field = json.as_ref().and_then(|json| {
        ["error", "message"]
            .iter()
            .filter_map(|name| json.get(name))
            .find(|value| !value.is_null())
            .map(|value| match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            })
    });
    let text = field.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    let text = shown(text.trim());
    (!text.is_empty()).then_some(text)
}

fn shown(text: &str) -> String {
    if text.len() <= SHOWN_BYTES_MAX {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(SHOWN_BYTES_MAX)])
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use serde_json::json;

    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-11-21T12:00:00Z".parse().expect("a time")
    }

    fn of(by: CompletesBy, status: u16, headers: &[(&'static str, &str)], body: &str) -> Verdict {
        let headers = headers
            .iter()
            .map(|(name, value)| {
                let value = HeaderValue::from_str(value).expect("a value");
                (HeaderName::from_static(name), value)
            })
            .collect();
        let status = StatusCode::from_u16(status).expect("a status");
        verdict(by, status, &headers, body.as_bytes(), now())
    }

    #[test]
    fn every_status_means_what_the_table_says() {
        use CompletesBy::{Callback, Response};
        for by in [Response, Callback] {
            for status in 200..600 {
                let verdict = of(by, status, &[], "");
                let as_said = match status {
                    202 => verdict == Verdict::Later,
                    200..300 if by == Response => verdict == Verdict::Done(None),
                    200..300 => verdict == Verdict::Later,
                    408 | 425 | 429 | 500.. => matches!(verdict, Verdict::Again(_)),
                    _ => matches!(verdict, Verdict::Never(_)),
                };
                assert!(as_said, "{status} {by:?}: {verdict:?}");
            }
        }
    }

    #[test]
    fn an_error_header_is_an_error_whatever_the_status() {
        for by in [CompletesBy::Response, CompletesBy::Callback] {
            for status in 200..600 {
                for more in [&[][..], &[("retry-after", "5")]] {
                    let mut headers = vec![("x-job-error", "true")];
                    headers.extend_from_slice(more);
                    let verdict = of(by, status, &headers, r#"{"message":"no disk"}"#);
                    let (Verdict::Again(text) | Verdict::Never(text)) = &verdict else {
                        panic!("{status} {by:?}: {verdict:?}");
                    };
                    let redirected = (300..400).contains(&status);
                    assert!(redirected || text.contains("no disk"), "{text}");
                }
            }
        }
        let verdict = of(CompletesBy::Response, 200, &[("x-job-error", "False")], "");
        assert_eq!(verdict, Verdict::Done(None));
    }

    #[test]
    fn who_asks_for_time_is_given_it_and_it_costs_no_attempt() {
        let delay = |status, after: &str| match of(
            CompletesBy::Response,
            status,
            &[("retry-after", after)],
            "",
        ) {
            Verdict::PutOff { delay, .. } => Some(delay.as_secs()),
            _ => None,
        };
        assert_eq!(delay(429, "7"), Some(7));
        assert_eq!(delay(503, "7"), Some(7));
        assert_eq!(delay(503, "Sat, 21 Nov 2026 12:00:30 GMT"), Some(30));
        assert_eq!(delay(503, "Sat, 21 Nov 2026 11:00:00 GMT"), Some(1), "over");
        assert_eq!(delay(503, "0"), Some(1));
        assert_eq!(delay(503, "99999999999"), Some(3600));
        assert_eq!(delay(503, "soon"), None);
        assert_eq!(delay(503, "-5"), None);
        assert_eq!(delay(500, "7"), None, "a failure is no wish for time");
    }

    #[test]
    fn the_body_of_a_success_is_the_result() {
        let result = |kind: &'static str, body: &str| match of(
            CompletesBy::Response,
            200,
            &[("content-type", kind)],
            body,
        ) {
            Verdict::Done(result) => result,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            result("application/json", r#"{"a":1}"#),
            Some(json!({"a": 1}))
        );
        assert_eq!(
            result("application/json; charset=utf-8", "[]"),
            Some(json!([]))
        );
        assert_eq!(
            result("application/json", "{broken"),
            Some(json!("{broken"))
        );
        assert_eq!(
            result("text/plain", "5"),
            Some(json!("5")),
            "text stays text"
        );
        assert_eq!(result("text/plain", ""), None);
    }

    #[test]
    fn a_refusal_is_told_in_the_functions_words() {
        let text = |body: &str| match of(CompletesBy::Response, 400, &[], body) {
            Verdict::Never(text) => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            text(r#"{"error":"no such town"}"#),
            "the function answered 400 Bad Request: no such town"
        );
        assert_eq!(
            text("  plain words\n"),
            "the function answered 400 Bad Request: plain words"
        );
        assert_eq!(text(""), "the function answered 400 Bad Request");
        assert!(text(&"é".repeat(100_000)).len() < 2200);
    }
}
