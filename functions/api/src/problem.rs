//! What can go wrong, as problem documents (RFC 9457).

use std::error::Error;

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::json;

/// When to ask again after a 503, in seconds.
const RETRY_AFTER_SECS: HeaderValue = HeaderValue::from_static("5");

/// Every problem there is. What a person has to know is in the detail; what only we have to know is in the log.
#[derive(Debug)]
pub(crate) enum Problem {
    /// Nobody is signed in with this token.
    Unauthorized,
    /// There is no such thing, or it is another tenant's.
    NotFound,
    /// Who asks may not do this, for this reason.
    Forbidden(String),
    /// This is not done to this.
    MethodNotAllowed,
    /// Something stands against it.
    Conflict(String),
    /// The body is larger than any that is needed.
    TooLarge,
    /// A file is larger than it may be.
    TooMuch(String),
    /// The body is not said to be JSON.
    NotJson,
    /// The body says what cannot be.
    BadBody(String),
    /// The cursor is not one that this list gave to this tenant.
    BadCursor,
    /// The query says what cannot be.
    BadQuery(String),
    /// The database does not answer.
    Unavailable,
    /// Another function does not answer.
    Unreached,
    /// The store of files does not answer, or takes nothing.
    StoreAway,
    /// An error of ours.
    Internal,
}

impl Problem {
    /// An error of ours; it is logged here.
    pub(crate) fn internal(error: impl Error + 'static) -> Self {
        tracing::error!(
            error = &error as &dyn Error,
            "a request could not be answered"
        );
        Self::Internal
    }

    /// Another function does not answer; it is logged here.
    pub(crate) fn unreached(error: impl Error + 'static) -> Self {
        tracing::warn!(error = &error as &dyn Error, "a function does not answer");
        Self::Unreached
    }

    /// The store of files does not do what it should; it is logged here.
    pub(crate) fn store_away(error: impl Error + 'static) -> Self {
        tracing::error!(
            error = &error as &dyn Error,
            "the store of files does not do what it should"
        );
        Self::StoreAway
    }

    /// The last word of its type.
    pub(crate) const fn slug(&self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::NotFound => "not-found",
            Self::Forbidden(_) => "forbidden",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::Conflict(_) => "conflict",
            Self::TooLarge | Self::TooMuch(_) => "too-large",
            Self::NotJson => "not-json",
            Self::BadBody(_) => "bad-body",
            Self::BadCursor => "bad-cursor",
            Self::BadQuery(_) => "bad-query",
            Self::Unavailable => "unavailable",
            Self::Unreached => "unreached",
            Self::StoreAway => "store-unavailable",
            Self::Internal => "internal",
        }
    }

    const fn status(&self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::TooLarge | Self::TooMuch(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BadCursor => StatusCode::BAD_REQUEST,
            Self::BadQuery(_) | Self::BadBody(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Unavailable | Self::Unreached | Self::StoreAway => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    const fn title(&self) -> &'static str {
        match self {
            Self::Unauthorized => "nobody is signed in",
            Self::NotFound => "there is no such thing",
            Self::Forbidden(_) => "this is not yours to do",
            Self::MethodNotAllowed => "this is not done here",
            Self::Conflict(_) => "something stands against it",
            Self::TooLarge | Self::TooMuch(_) => "the body is too large",
            Self::NotJson => "the body is not JSON",
            Self::BadBody(_) => "the body is wrong",
            Self::BadCursor => "the cursor is not one of this list",
            Self::BadQuery(_) => "the query is wrong",
            Self::Unavailable => "the database does not answer",
            Self::Unreached => "another function does not answer",
            Self::StoreAway => "the store of files does not answer",
            Self::Internal => "an error of ours",
        }
    }

    fn detail(self) -> String {
        match self {
            Self::Unauthorized => {
                "send a session's token as Authorization: Bearer, or sign in at the portal"
            }
            Self::NotFound => {
                "nothing with this name is in this tenant, or there is no such tenant"
            }
            Self::MethodNotAllowed => "GET /openapi.json says what each path takes",
            Self::TooLarge => "a body has at most 256 KiB",
            Self::NotJson => "send it as Content-Type: application/json",
            Self::BadCursor => {
                "take next from an answer of this list, as it is, or begin without one"
            }
            Self::BadQuery(detail)
            | Self::Forbidden(detail)
            | Self::Conflict(detail)
            | Self::TooMuch(detail)
            | Self::BadBody(detail) => return detail,
            Self::Unavailable => "ask again in a while",
            Self::Unreached => {
                "whether it did what was asked is not known: look, and ask again in a while"
            }
            Self::StoreAway => "nothing was kept or lost; ask again in a while",
            Self::Internal => "it was recorded",
        }
        .to_owned()
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        if database::is_passing(&error) {
            tracing::warn!(error = &error as &dyn Error, "the database does not answer");
            Self::Unavailable
        } else if database::is_about_a_value(&error)
            && let Some(told) = error.as_database_error()
        {
            Self::BadBody(format!("a value is refused: {}", told.message()))
        } else {
            Self::internal(error)
        }
    }
}

impl From<queue::RuleError> for Problem {
    fn from(error: queue::RuleError) -> Self {
        match error {
            queue::RuleError::Wrong(text) => Self::BadBody(text),
            queue::RuleError::Refused(text) => Self::Conflict(text),
            queue::RuleError::Missing(_) => Self::NotFound,
            queue::RuleError::Database(error) => error.into(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let retry = matches!(self, Self::Unavailable | Self::Unreached | Self::StoreAway);
        let sign_in = matches!(self, Self::Unauthorized);
        let document = json!({
            "type": format!("urn:switchyard:problem:{}", self.slug()),
            "title": self.title(),
            "status": status.as_u16(),
            "detail": self.detail(),
        });
        let mut response = (status, document.to_string()).into_response();
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/problem+json");
        headers.insert(CONTENT_TYPE, json);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if retry {
            headers.insert(RETRY_AFTER, RETRY_AFTER_SECS);
        }
        if sign_in {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
