//! Why a page cannot be shown.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use queue::RuleError;

/// What went wrong. The frame around the routes makes a page of it.
#[derive(Clone, Debug)]
pub(super) enum Problem {
    /// There is no such thing, or it is not the reader's to know of.
    NotFound,
    /// The role does not allow it, or it did not come from a page of ours.
    Forbidden,
    /// Nobody is signed in.
    SignedOut,
    /// A form that no page of ours sends.
    Unreadable,
    /// Something stands against it; says what, and who wanted that.
    Refused(String),
    /// The database does not answer now.
    Unavailable,
    /// An error of ours. It is in the log.
    Internal,
}

impl Problem {
    /// Tells the log what happened; the reader is told a fixed text.
    pub(super) fn internal(error: impl Into<anyhow::Error>) -> Self {
        tracing::error!("a page failed: {:#}", error.into());
        Self::Internal
    }

    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::SignedOut => StatusCode::UNAUTHORIZED,
            Self::Unreadable => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Refused(_) => StatusCode::CONFLICT,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        if database::is_passing(&error) {
            tracing::warn!("the database does not answer: {error}");
            Self::Unavailable
        } else if database::is_about_a_value(&error) {
            tracing::debug!("a value is refused: {error}");
            Self::Unreadable
        } else {
            Self::internal(error)
        }
    }
}

impl From<RuleError> for Problem {
    fn from(error: RuleError) -> Self {
        match error {
            RuleError::Wrong(text) | RuleError::Refused(text) => Self::Refused(text),
            RuleError::Missing(_) => Self::NotFound,
            RuleError::Database(error) => error.into(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}
