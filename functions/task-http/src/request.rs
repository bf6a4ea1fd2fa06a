//! What a function is told besides its payload.

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use model::{JobId, TenantId};
use url::Url;

const JOB_ID: HeaderName = HeaderName::from_static("x-job-id");
const WORKER_ID: HeaderName = HeaderName::from_static("x-worker-id");
const DATABASE_ID: HeaderName = HeaderName::from_static("x-database-id");
const CALLBACK_URL: HeaderName = HeaderName::from_static("x-callback-url");
const CURRENT_USER_ID: HeaderName = HeaderName::from_static("x-current-user-id");
const EPOCH: HeaderName = HeaderName::from_static("x-job-epoch");
const ATTEMPT: HeaderName = HeaderName::from_static("x-job-attempt");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// An OpenFaaS gateway makes one up unless it is given, and tells it in its callback.
const CALL_ID: HeaderName = HeaderName::from_static("x-call-id");

/// One call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told<'a> {
    pub(crate) job: JobId,
    pub(crate) epoch: i64,
    pub(crate) attempt: i32,
    pub(crate) tenant: TenantId,
    /// The signed token of the claim.
    pub(crate) token: &'a str,
    pub(crate) callback: &'a Url,
    pub(crate) actor: Option<&'a str>,
    pub(crate) traceparent: Option<&'a str>,
    pub(crate) openfaas: bool,
}

impl Told<'_> {
    /// As headers. A text that no header can hold is left out.
    pub(crate) fn headers(&self) -> HeaderMap {
        let json = HeaderValue::from_static("application/json");
        let mut token = HeaderValue::from_str(self.token).ok();
        if let Some(token) = &mut token {
            token.set_sensitive(true);
        }
        // Other than `from_str` this takes any UTF-8 without control characters, as names of people are.
        let text = |text: &str| HeaderValue::from_bytes(text.as_bytes()).ok();
        let given = [
            (CONTENT_TYPE, Some(json.clone())),
            (ACCEPT, Some(json)),
            (JOB_ID, Some(HeaderValue::from(self.job.0))),
            (WORKER_ID, token.clone()),
            (DATABASE_ID, text(&self.tenant.uuid().to_string())),
            (CALLBACK_URL, text(self.callback.as_str())),
            (CURRENT_USER_ID, self.actor.and_then(text)),
            (EPOCH, Some(HeaderValue::from(self.epoch))),
            (ATTEMPT, Some(HeaderValue::from(self.attempt))),
            // The same for every attempt: who remembers it does the work once.
            (IDEMPOTENCY_KEY, Some(HeaderValue::from(self.job.0))),
            (TRACEPARENT, self.traceparent.and_then(text)),
            (CALL_ID, token.filter(|_| self.openfaas)),
        ];
        given
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_carries_all_that_a_function_needs_to_answer_for_it() {
        let callback = Url::parse("http://callback.test/callback").expect("a URL");
        let told = Told {
            job: JobId(42),
            epoch: 3,
            attempt: 2,
            tenant: uuid::Uuid::nil().into(),
            token: "a-token",
            callback: &callback,
            actor: Some("Zoë"),
            traceparent: None,
            openfaas: false,
        };
        let headers = told.headers();
        let lines: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
            .collect();
        let mut lines = lines;
        lines.sort();
        assert_eq!(
            lines,
            [
                "accept: application/json",
                "content-type: application/json",
                "idempotency-key: 42",
                "x-callback-url: http://callback.test/callback",
                "x-current-user-id: Zoë",
                "x-database-id: 00000000-0000-0000-0000-000000000000",
                "x-job-attempt: 2",
                "x-job-epoch: 3",
                "x-job-id: 42",
                "x-worker-id: a-token",
            ]
        );
        assert!(headers["x-worker-id"].is_sensitive(), "it is never logged");
        let evil = Told {
            actor: Some("a\r\nx-job-id: 1"),
            openfaas: true,
            ..told
        };
        assert!(!evil.headers().contains_key("x-current-user-id"));
        assert_eq!(evil.headers()["x-call-id"], "a-token");
    }
}
