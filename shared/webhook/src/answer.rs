//! What a sender is answered.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use model::DeliveryId;
use serde::Serialize;
use tokio::time::Instant;

use crate::endpoint::{BODY_BYTES_MAX, BODY_TIMEOUT};
use crate::inbox::InboxError;

/// When to try again after a 503.
const RETRY_AFTER_SECS: HeaderValue = HeaderValue::from_static("5");

/// How long after it came a request is refused, at the earliest: finding out takes half a millisecond.
const REFUSED_AFTER: Duration = Duration::from_millis(5);

/// Why a request ends early.
pub(crate) enum Refusal {
    Answer(Answer),
    Inbox(InboxError),
}

impl Refusal {
    /// What the sender is told; what failed is for the log.
    pub(crate) fn answer(self) -> Answer {
        match self {
            Self::Answer(answer) => answer,
            Self::Inbox(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a delivery could not be stored"
                );
                Answer::from(error)
            }
        }
    }
}

impl From<Answer> for Refusal {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}

impl From<InboxError> for Refusal {
    fn from(error: InboxError) -> Self {
        Self::Inbox(error)
    }
}

/// An answer to a sender: what a person reads in the sender's list of deliveries.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    retry: bool,
    body: AnswerBody,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum AnswerBody {
    Told {
        #[serde(skip_serializing_if = "Option::is_none")]
        delivery: Option<DeliveryId>,
        verdict: &'static str,
        events: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// RFC 9457.
    Problem {
        title: &'static str,
        status: u16,
        detail: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        delivery: Option<DeliveryId>,
    },
}

impl Answer {
    pub(crate) fn taken(verdict: &'static str, events: usize, reason: Option<String>) -> Self {
        Self {
            status: StatusCode::ACCEPTED,
            retry: false,
            body: AnswerBody::Told {
                delivery: None,
                verdict,
                events,
                reason,
            },
        }
    }

    pub(crate) fn problem(
        status: StatusCode,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            status,
            retry: false,
            body: AnswerBody::Problem {
                title,
                status: status.as_u16(),
                detail: detail.into(),
                delivery: None,
            },
        }
    }

    pub(crate) fn about(mut self, id: DeliveryId) -> Self {
        match &mut self.body {
            AnswerBody::Told { delivery, .. } | AnswerBody::Problem { delivery, .. } => {
                *delivery = Some(id);
            }
        }
        self
    }

    pub(crate) fn duplicate(first: DeliveryId) -> Self {
        let reason = "it was delivered before, and nothing new starts".to_owned();
        let taken = Self::taken("duplicate", 0, Some(reason)).about(first);
        Self {
            status: StatusCode::OK,
            ..taken
        }
    }

    pub(crate) fn conflict(first: DeliveryId) -> Self {
        let detail = "another delivery with this id and another body was here before, and nothing new starts";
        Self::problem(StatusCode::CONFLICT, "the delivery's id is taken", detail).about(first)
    }

    /// Whatever was not proved is told the same, and at the same time after it was all there at `came`: by then it is long
    /// known, so that the time does not tell which triggers there are.
    pub(crate) async fn unauthorized(came: Instant) -> Self {
        tokio::time::sleep_until(came + REFUSED_AFTER).await;
        let detail = "there is no such trigger, or the signature was not made with its secret over this body: compare the \
                      hook's URL and secret with the trigger's";
        Self::problem(
            StatusCode::UNAUTHORIZED,
            "the delivery is not verified",
            detail,
        )
    }

    /// The trigger changed while the delivery was held against it, more than once.
    pub(crate) fn changing() -> Self {
        Self {
            retry: true,
            ..Self::problem(
                StatusCode::SERVICE_UNAVAILABLE,
                "the delivery was not stored",
                "its trigger is being changed: send it again in a while",
            )
        }
    }

    pub(crate) fn too_large() -> Self {
        let detail = format!("a body may have {BODY_BYTES_MAX} bytes");
        Self::problem(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body is too large",
            detail,
        )
    }

    pub(crate) fn too_slow() -> Self {
        let detail = format!("a body must arrive within {} s", BODY_TIMEOUT.as_secs());
        Self::problem(
            StatusCode::REQUEST_TIMEOUT,
            "the body took too long",
            detail,
        )
    }

    /// The function that reads it did not answer, and whether it has it is not known.
    pub(crate) fn unreached() -> Self {
        Self {
            retry: true,
            ..Self::problem(
                StatusCode::SERVICE_UNAVAILABLE,
                "the delivery was not taken",
                "the function that reads it does not answer now: send it again in a while",
            )
        }
    }

    pub(crate) fn cut_off() -> Self {
        Self::problem(
            StatusCode::BAD_REQUEST,
            "the body ended early",
            "send it again",
        )
    }
}

impl From<InboxError> for Answer {
    /// What failed is for the log.
    fn from(error: InboxError) -> Self {
        let title = "the delivery was not stored";
        match error {
            InboxError::Unavailable(_) => Self {
                retry: true,
                ..Self::problem(
                    StatusCode::SERVICE_UNAVAILABLE,
                    title,
                    "send it again in a while",
                )
            },
            InboxError::Failed(_) => {
                Self::problem(StatusCode::INTERNAL_SERVER_ERROR, title, "the log says why")
            }
        }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let content_type = match self.body {
            AnswerBody::Told { .. } => "application/json",
            AnswerBody::Problem { .. } => "application/problem+json",
        };
        let json = serde_json::to_vec(&self.body).expect("texts and numbers are always JSON");
        let mut response = (self.status, json).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if self.retry {
            headers.insert(RETRY_AFTER, RETRY_AFTER_SECS);
        }
        response
    }
}
