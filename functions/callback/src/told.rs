//! The body of a callback, and what of it counts.
//!
//! ```json
//! {"status": "success", "result": {"any": "JSON"}}
//! {"status": "error", "error": "no such town", "retry": false}
//! {"status": "progress", "progress": {"done": 3, "of": 10, "message": "halfway"}, "log": ["a line"], "log_from": 1}
//! {"status": "cancelled"}
//! ```
//!
//! Every field may be missing. Without `status` it is a success, with `X-Job-Error` an error. `log` may come with any of
//! them. `retry: false` says that another try cannot help. What an OpenFaaS gateway posts is the function's answer as it
//! was, with its status in `X-Function-Status`.

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use queue::executors::{Said, ToldLines};
use serde::Deserialize;
use serde_json::Value;

const JOB_ERROR: HeaderName = HeaderName::from_static("x-job-error");
const FUNCTION_STATUS: HeaderName = HeaderName::from_static("x-function-status");

/// The longest log line, in bytes; what is longer is cut and says so.
const LINE_BYTES_MAX: usize = 16 * 1024;
/// Log lines in one callback.
const LINES_MAX: usize = 1000;
/// The number of a line, at most: what every reader of JSON can hold.
const NUMBER_MAX: i64 = 1 << 53;
/// How much of an error is kept, in bytes.
const ERROR_BYTES_MAX: usize = 8 * 1024;
/// How large a progress may be, in bytes of JSON.
const PROGRESS_BYTES_MAX: usize = 4 * 1024;

/// What a function says when it says that it failed and not why.
const NO_ERROR_GIVEN: &str = "the function failed and did not say why";

/// A callback, understood.
#[derive(Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) said: Said,
    pub(crate) log: ToldLines,
}

/// Why a body is not understood. Nothing of it was taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadTold {
    #[error("the body is not JSON by its content-type; send application/json")]
    NotJson,
    #[error(
        "the body cannot be read: {0}; it is {{\"status\": \"success\" | \"error\" | \"progress\" | \"cancelled\", …}}"
    )]
    Unreadable(String),
    #[error("there are {0} log lines; send at most {LINES_MAX} at a time")]
    TooManyLines(usize),
    #[error("lines are numbered from 1 to {NUMBER_MAX}: log_from is {0}")]
    BadNumber(i64),
    #[error("the progress is larger than {PROGRESS_BYTES_MAX} bytes")]
    LargeProgress,
}

#[derive(Debug, Default, Deserialize)]
struct Message {
    status: Option<Status>,
    error: Option<Value>,
    message: Option<Value>,
    result: Option<Value>,
    progress: Option<serde_json::Map<String, Value>>,
    log: Option<Log>,
    log_from: Option<i64>,
    retry: Option<bool>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Success,
    Error,
    Progress,
    Cancelled,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Log {
    Text(String),
    Lines(Vec<String>),
}

impl Told {
    pub(crate) fn read(headers: &HeaderMap, body: &[u8]) -> Result<Self, BadTold> {
        if let Some(status) = function_status(headers) {
            return Ok(Self::of_openfaas(headers, status, body));
        }
        let message: Message = if body.trim_ascii().is_empty() {
            Message::default()
        } else {
            if !may_be_json(headers) {
                return Err(BadTold::NotJson);
            }
            serde_json::from_slice(body).map_err(|error| BadTold::Unreadable(error.to_string()))?
        };
        let log = log(message.log, message.log_from)?;
        let why = [message.error, message.message]
            .into_iter()
            .flatten()
            .find_map(text);
        let status = match message.status {
            // Upstream's functions say it here; what they call the status otherwise does not count.
            _ if says_error(headers) => Status::Error,
            None => Status::Success,
            Some(status) => status,
        };
        let said = match status {
            Status::Success => Said::Success(message.result),
            Status::Error => Said::Error {
                error: why.unwrap_or_else(|| NO_ERROR_GIVEN.to_owned()),
                retry: message.retry.unwrap_or(true),
            },
            Status::Cancelled => Said::Cancelled,
            Status::Progress => {
                let mut progress = message.progress;
                if let Some(why) = why {
                    progress
                        .get_or_insert_default()
                        .entry("message")
                        .or_insert(Value::String(why));
                }
                let progress = progress.map(Value::Object);
                if progress
                    .as_ref()
                    .is_some_and(|progress| progress.to_string().len() > PROGRESS_BYTES_MAX)
                {
                    return Err(BadTold::LargeProgress);
                }
                Said::Progress(progress)
            }
        };
        Ok(Self { said, log })
    }

    /// The answer of a function that a gateway called: its status means what it means when we call.
    fn of_openfaas(headers: &HeaderMap, status: u16, body: &[u8]) -> Self {
        let answer = (!body.is_empty()).then(|| {
            serde_json::from_slice(body)
                .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(body).into_owned()))
        });
        let said = if (200..300).contains(&status) && !says_error(headers) {
            Said::Success(answer)
        } else {
            let why = answer.and_then(|answer| {
                let field = ["error", "message"]
                    .iter()
                    .find_map(|name| answer.get(name).cloned());
                text(field.unwrap_or(answer))
            });
            let error = match why {
                Some(why) => format!("the function answered {status}: {why}"),
                None => format!("the function answered {status}"),
            };
            let again = matches!(status, 200..300 | 408 | 425 | 429 | 500..);
            Said::Error {
                error: cut(&error, ERROR_BYTES_MAX),
                retry: again,
            }
        };
        Self {
            said,
            log: ToldLines::default(),
        }
    }
}

/// Upstream asks for `true`; whoever sends anything else but `false` does not mean a success.
fn says_error(headers: &HeaderMap) -> bool {
    headers
        .get(JOB_ERROR)
        .is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"false"))
}

/// What cannot be read as a status is a failure of the gateway's own.
fn function_status(headers: &HeaderMap) -> Option<u16> {
    let text = headers.get(FUNCTION_STATUS)?.to_str().unwrap_or_default();
    let bad_gateway = StatusCode::BAD_GATEWAY.as_u16();
    Some(text.trim().parse().unwrap_or(bad_gateway))
}

fn may_be_json(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_none_or(|value| {
        let kind = value.to_str().unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let kind = kind.to_ascii_lowercase();
        kind == "application/json" || kind.ends_with("+json")
    })
}

fn text(value: Value) -> Option<String> {
    let text = match value {
        Value::Null => return None,
        Value::String(text) => text,
        other => other.to_string(),
    };
    (!text.trim().is_empty()).then(|| cut(&text, ERROR_BYTES_MAX))
}

fn log(log: Option<Log>, first: Option<i64>) -> Result<ToldLines, BadTold> {
    if let Some(first) = first
        && !(1..=NUMBER_MAX).contains(&first)
    {
        return Err(BadTold::BadNumber(first));
    }
    let lines = match log {
        None => Vec::new(),
        Some(Log::Text(text)) => text.lines().map(str::to_owned).collect(),
        // Each is one line, whatever it holds, so that the numbers are the function's.
        Some(Log::Lines(lines)) => lines
            .into_iter()
            .map(|line| line.replace(['\n', '\r'], " "))
            .collect(),
    };
    if lines.len() > LINES_MAX {
        return Err(BadTold::TooManyLines(lines.len()));
    }
    Ok(ToldLines {
        // A NUL becomes a longer character where it is stored.
        lines: lines
            .into_iter()
            .map(|line| cut(&line.replace('\0', "\u{fffd}"), LINE_BYTES_MAX))
            .collect(),
        first,
    })
}

fn cut(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(bytes_max);
    format!("{}… [{} bytes cut]", &text[..end], text.len() - end)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use serde_json::json;

    use super::*;

    fn read(headers: &[(&'static str, &str)], body: &str) -> Result<Told, BadTold> {
        let headers = headers
            .iter()
            .map(|(name, value)| {
                let value = HeaderValue::from_str(value).expect("a value");
                (HeaderName::from_static(name), value)
            })
            .collect();
        Told::read(&headers, body.as_bytes())
    }

    fn said(headers: &[(&'static str, &str)], body: &str) -> Said {
        read(headers, body).expect("it is understood").said
    }

    fn error(text: &str, retry: bool) -> Said {
        Said::Error {
            error: text.to_owned(),
            retry,
        }
    }

    #[test]
    fn header_and_body_each_can_say_error() {
        assert_eq!(said(&[], ""), Said::Success(None));
        assert_eq!(said(&[], "{}"), Said::Success(None));
        assert_eq!(said(&[], r#"{"status":"success"}"#), Said::Success(None));
        assert_eq!(
            said(&[], r#"{"result":[1]}"#),
            Said::Success(Some(json!([1])))
        );
        let header = [("x-job-error", "true")];
        assert_eq!(
            said(&header, r#"{"status":"error","error":"HTTP 500"}"#),
            error("HTTP 500", true)
        );
        assert_eq!(
            said(&header, r#"{"message":"no disk"}"#),
            error("no disk", true)
        );
        assert_eq!(
            said(&header, r#"{"status":"success"}"#),
            error(NO_ERROR_GIVEN, true)
        );
        assert_eq!(
            said(&[], r#"{"status":"error","error":null,"message":"m"}"#),
            error("m", true)
        );
        assert_eq!(
            said(
                &[],
                r#"{"status":"error","error":{"code":7},"retry":false}"#
            ),
            error(r#"{"code":7}"#, false)
        );
        assert_eq!(said(&[("x-job-error", "false")], "{}"), Said::Success(None));
    }

    #[test]
    fn a_status_that_nobody_knows_is_no_success() {
        for body in [
            r#"{"status":"running"}"#,
            r#"{"status":"Success"}"#,
            r#"{"status":5}"#,
            "[]",
            "nonsense",
            r#"{"status":"success""#,
        ] {
            assert!(
                matches!(read(&[], body), Err(BadTold::Unreadable(_))),
                "{body}"
            );
        }
        let form = [("content-type", "application/x-www-form-urlencoded")];
        assert_eq!(read(&form, "status=success"), Err(BadTold::NotJson));
        let json = [("content-type", "application/json; charset=utf-8")];
        assert!(read(&json, "{}").is_ok());
    }

    #[test]
    fn progress_and_lines_have_limits() {
        let told = read(
            &[],
            r#"{"status":"progress","message":"half","progress":{"done":1},"log":["a","b\nc"],"log_from":3}"#,
        )
        .expect("it is understood");
        assert_eq!(
            told,
            Told {
                said: Said::Progress(Some(json!({"done": 1, "message": "half"}))),
                log: ToldLines {
                    lines: vec!["a".to_owned(), "b c".to_owned()],
                    first: Some(3),
                },
            }
        );
        let many = json!({"status": "progress", "log": vec!["x"; LINES_MAX + 1]}).to_string();
        assert_eq!(read(&[], &many), Err(BadTold::TooManyLines(LINES_MAX + 1)));
        let large = json!({"status": "progress", "progress": {"message": "x".repeat(5000)}});
        assert_eq!(read(&[], &large.to_string()), Err(BadTold::LargeProgress));
        for number in [0, -1, i64::MAX, i64::MIN] {
            let body = json!({"status": "progress", "log": "a", "log_from": number});
            assert_eq!(
                read(&[], &body.to_string()),
                Err(BadTold::BadNumber(number))
            );
        }
        let long = json!({"log": "\0".repeat(20_000)}).to_string();
        let told = read(&[], &long).expect("it is understood");
        assert!(told.log.lines[0].len() <= 17_000, "it fits its column");
    }

    #[test]
    fn what_a_gateway_posts_is_the_functions_answer() {
        let of = |status: &str, body: &str| {
            said(
                &[
                    ("x-function-status", status),
                    ("content-type", "text/plain"),
                ],
                body,
            )
        };
        assert_eq!(of("200", "hello"), Said::Success(Some(json!("hello"))));
        assert_eq!(
            of("204", r#"{"status":"error"}"#),
            Said::Success(Some(json!({"status": "error"}))),
            "its body is its own"
        );
        assert_eq!(
            of("500", "boom"),
            error("the function answered 500: boom", true)
        );
        assert_eq!(
            of("404", r#"{"error":"no such town"}"#),
            error("the function answered 404: no such town", false)
        );
        assert_eq!(of("", ""), error("the function answered 502", true));
        let header = [("x-function-status", "200"), ("x-job-error", "true")];
        assert_eq!(
            said(&header, "no"),
            error("the function answered 200: no", true)
        );
    }
}
