//! One attempt at a message.

use std::time::Duration;

use chrono::{DateTime, Utc};
use egress::{Integration, TenantEgress};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use outgoing::{Secret, headers, next_attempt};
use store::notifications::{DueNotification, Ended, EndedAttempt};
use tokio::time::Instant;
use url::Url;

/// How long a receiver may take. Standard Webhooks advises 15 to 30 s.
pub(crate) const SEND_MAX: Duration = Duration::from_secs(15);
/// How much of an answer is kept, in bytes.
const EXCERPT_BYTES_MAX: usize = 500;

/// Why a message was not taken.
enum Refused {
    /// Nothing that comes with time changes this: no attempt is made again.
    Never(String),
    /// Nobody answered.
    Silent(String),
}

struct Answer {
    status: StatusCode,
    retry_after: Option<Duration>,
    excerpt: String,
}

/// Sends a message, and says how that ended.
pub(crate) async fn send(
    egress: &TenantEgress,
    due: &DueNotification,
    now: DateTime<Utc>,
) -> EndedAttempt {
    let begun = Instant::now();
    let answer = tokio::time::timeout(SEND_MAX, exchange(egress, due, now)).await;
    let answer = answer.unwrap_or_else(|_| {
        let problem = format!("no answer within {} s", SEND_MAX.as_secs());
        Err(Refused::Silent(problem))
    });
    let took = begun.elapsed();
    let attempt = u32::try_from(due.attempt).unwrap_or(u32::MAX);
    let spread = due.id.as_bytes()[15];
    let again = |asked| next_attempt(attempt, asked, spread).map_or(Ended::Failed, Ended::Again);
    match answer {
        Ok(answer) => EndedAttempt {
            ended: match answer.status {
                status if status.is_success() => Ended::Delivered,
                // Its receiver wants no more.
                StatusCode::GONE => Ended::Gone,
                // Also a redirect: where it leads was not checked by who saved the URL.
                _ => again(answer.retry_after),
            },
            status: Some(answer.status.as_u16()),
            excerpt: Some(answer.excerpt).filter(|excerpt| !excerpt.is_empty()),
            problem: None,
            took,
        },
        Err(refused) => {
            let (ended, problem) = match refused {
                Refused::Never(problem) => (Ended::Failed, problem),
                Refused::Silent(problem) => (again(None), problem),
            };
            EndedAttempt {
                ended,
                status: None,
                excerpt: None,
                problem: Some(problem),
                took,
            }
        }
    }
}

async fn exchange(
    egress: &TenantEgress,
    due: &DueNotification,
    now: DateTime<Utc>,
) -> Result<Answer, Refused> {
    let url = Url::parse(&due.url).map_err(|error| Refused::Never(error.to_string()))?;
    let secrets = due.secrets.iter().map(Secret::read);
    let secrets = secrets
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Refused::Never(error.to_string()))?;
    if secrets.is_empty() {
        let problem = "the endpoint's secret cannot be opened; give it another";
        return Err(Refused::Never(problem.to_owned()));
    }
    let mut sent = HeaderMap::new();
    sent.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    for (name, value) in headers(&secrets, &due.message_id, now.timestamp(), &due.body) {
        let value = value
            .parse()
            .map_err(|_| Refused::Never(format!("{name} is no header")))?;
        sent.insert(HeaderName::from_static(name), value);
    }
    // What the guard refuses may be allowed tomorrow, by the operator or by another address: it is tried again.
    let request = egress
        .request(Integration::Notification, Method::POST, &url)
        .map_err(|denied| Refused::Silent(denied.to_string()))?;
    let mut response = request
        .headers(sent)
        .body(due.body.clone())
        .send()
        .await
        .map_err(|error| {
            Refused::Silent(egress::denied(&error).map_or_else(
                || format!("nobody answers: {}", egress::cause(&error)),
                ToString::to_string,
            ))
        })?;
    let status = response.status();
    let asked = egress::retry_after(response.headers(), Some(now.into()));
    let mut body = Vec::new();
    // What breaks off after the status has said enough.
    while body.len() < EXCERPT_BYTES_MAX
        && let Ok(Some(chunk)) = response.chunk().await
    {
        body.extend_from_slice(&chunk);
    }
    body.truncate(EXCERPT_BYTES_MAX);
    let text = String::from_utf8_lossy(&body);
    let shown = |c: &char| !c.is_control() || *c == '\n';
    Ok(Answer {
        status,
        retry_after: asked,
        excerpt: text.chars().filter(shown).collect(),
    })
}
