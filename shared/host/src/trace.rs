//! Trace context: one span per request, and the W3C `traceparent` that goes from delivery to event to job.

use std::fmt;
use std::str::FromStr;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::Ctx;

/// A `traceparent` of version 00 (W3C Trace Context §3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traceparent(String);

/// A text that is no `traceparent` of version 00.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent of version 00")]
pub struct NotATraceparent;

impl Traceparent {
    /// The start of a new trace, sampled.
    #[must_use]
    pub fn start() -> Self {
        let trace = Uuid::new_v4().simple().to_string();
        let span = Uuid::new_v4().simple().to_string();
        Self(format!("00-{trace}-{}-01", &span[..16]))
    }

    /// What the request's header says, or the start of a new trace.
    #[must_use]
    pub fn of(headers: &axum::http::HeaderMap) -> Self {
        headers
            .get("traceparent")
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(Self::start)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Traceparent {
    type Err = NotATraceparent;

    fn from_str(text: &str) -> Result<Self, NotATraceparent> {
        let hex = |part: &str, length| {
            part.len() == length
                && part
                    .bytes()
                    .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        let parts: Vec<&str> = text.split('-').collect();
        let [version, trace, span, flags] = parts[..] else {
            return Err(NotATraceparent);
        };
        let zeros = |part: &str| part.bytes().all(|b| b == b'0');
        if version == "00"
            && hex(trace, 32)
            && hex(span, 16)
            && hex(flags, 2)
            && !zeros(trace)
            && !zeros(span)
        {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotATraceparent)
        }
    }
}

/// Gives each request its span. Paths may hold secrets and are not recorded; the function's name says where it went.
pub(crate) async fn span(State(ctx): State<Ctx>, request: Request, next: Next) -> Response {
    let span = tracing::debug_span!(
        "request",
        function = ctx.function(),
        http.method = %request.method(),
        traceparent = request
            .headers()
            .get("ce-traceparent")
            .or_else(|| request.headers().get("traceparent"))
            .and_then(|value| value.to_str().ok()),
    );
    next.run(request).instrument(span).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_checked() {
        assert!(Traceparent::start().as_str().parse::<Traceparent>().is_ok());
        for bad in [
            "",
            "00-0-0-00",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        ] {
            assert!(bad.parse::<Traceparent>().is_err(), "{bad}");
        }
    }
}
