//! Events as axum sees them: what a function receives, and the only things it may answer.

use std::error::Error;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use cloudevents::Event;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use http_body::Body as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use crate::decode::{DecodeError, Decoded, Limits, decode, mode_of};
use crate::encode::encode_binary;
use crate::media_type::Mode;
use crate::message::Message;

/// Reads one event, never more of the body than it may have.
///
/// # Errors
/// When it is none, or a batch. How long the body may take is the server's to limit.
pub async fn receive(request: Request, limits: &Limits) -> Result<Message, DecodeError> {
    // Before the body is read: a batch may be larger than what is wanted here.
    if mode_of(request.headers())? == Mode::Batch {
        return Err(DecodeError::BatchNotAccepted);
    }
    match receive_any(request, limits).await? {
        Decoded::One(message) => Ok(*message),
        Decoded::Batch(_) => Err(DecodeError::BatchNotAccepted),
    }
}

/// Reads one event or a batch, never more of the body than it may have.
///
/// # Errors
/// When it is neither.
pub async fn receive_any(request: Request, limits: &Limits) -> Result<Decoded, DecodeError> {
    let (parts, body) = request.into_parts();
    let bytes_max = match mode_of(&parts.headers)? {
        Mode::Batch => limits.batch_bytes_max,
        Mode::Binary | Mode::Structured | Mode::UnknownFormat => limits.event_bytes_max,
    };
    let body = read(body, bytes_max).await?;
    decode(&parts.headers, body, limits)
}

async fn read(body: Body, bytes_max: usize) -> Result<Bytes, DecodeError> {
    // What says that it is too long need not be read.
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(DecodeError::TooLarge { bytes_max });
    }
    match Limited::new(body, bytes_max).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(DecodeError::TooLarge { bytes_max }),
        Err(error) => Err(DecodeError::Body(error)),
    }
}

/// The one event of a request, within the default [`Limits`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received(pub Message);

impl<S: Send + Sync> FromRequest<S> for Received {
    type Rejection = DecodeError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, DecodeError> {
        receive(request, &Limits::default()).await.map(Self)
    }
}

/// What a subscriber answers when it has taken an event.
///
/// A broker takes a 2xx with any other body than an event for a failure, delivers again and dead-letters; so there is
/// nothing else to answer with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Taken: 202 without a body.
    Ack,
    /// Taken, and this goes to the broker: 200 with the event in binary mode. An event that no message can hold is 500,
    /// so that the broker shows why and tries again.
    Event(Box<Event>),
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        match self {
            Self::Ack => StatusCode::ACCEPTED.into_response(),
            Self::Event(event) => match Message::try_from(*event) {
                Ok(message) => message.into_response(),
                Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, &error),
            },
        }
    }
}

/// 200 with the event in binary mode.
impl IntoResponse for Message {
    fn into_response(self) -> Response {
        let (headers, body) = encode_binary(&self);
        let mut response = Response::new(Body::from(body));
        *response.headers_mut() = headers;
        response
    }
}

impl IntoResponse for DecodeError {
    fn into_response(self) -> Response {
        refusal(self.status(), &self)
    }
}

/// The error and its causes in a line of text, which is what a broker keeps with a dead letter.
fn refusal(status: StatusCode, error: &dyn Error) -> Response {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    (status, [(CONTENT_TYPE, plain)], text).into_response()
}
