//! Why a runner's call is not taken, and what it is answered.

use std::error::Error;
use std::fmt::Display;

use artifacts::ArtifactError;
use axum::http::{HeaderValue, StatusCode};
use host::BodyError;
use serde_json::{Value, json};
use store::artifacts::Refused;

use crate::{COME_AGAIN_SECS, Refusal, TOO_OFTEN_SECS};

/// Why a runner's call is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunRefusal {
    #[error("{0}")]
    Unauthorized(&'static str),
    #[error("the run is over, or its job went on without it")]
    Stale,
    #[error("there is no such run")]
    Unknown,
    #[error("there is no such artifact among those that the run was told of")]
    NotNamed,
    #[error("{0}")]
    TooLarge(String),
    #[error("news come too often: put more into each")]
    TooOften,
    #[error("the body did not come to its end")]
    Broken,
    #[error("the body is not what is sent here: {0}")]
    NotJson(String),
    #[error("{0}")]
    Wrong(String),
    #[error("part {part} is not there: send it")]
    Missing { part: u32 },
    #[error("the bytes of this artifact are not in the store any more")]
    Lost,
    #[error("the database does not answer; say it again in a while")]
    DatabaseAway,
    #[error(
        "the store of artifacts does not take or give what it should ({0}); say it again in a while"
    )]
    StoreAway(String),
    #[error("there is too much to do at the moment; say it again in a while")]
    Busy,
    #[error("an error of ours; it was recorded")]
    Internal,
}

impl RunRefusal {
    /// An error of ours; it is logged here.
    pub(super) fn internal(error: impl Error + 'static) -> Self {
        tracing::error!(
            error = &error as &dyn Error,
            "a runner's call could not be answered"
        );
        Self::Internal
    }

    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::Stale => StatusCode::CONFLICT,
            Self::Unknown | Self::NotNamed => StatusCode::NOT_FOUND,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooOften => StatusCode::TOO_MANY_REQUESTS,
            Self::Broken | Self::NotJson(_) => StatusCode::BAD_REQUEST,
            Self::Wrong(_) | Self::Missing { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Lost => StatusCode::GONE,
            Self::DatabaseAway | Self::StoreAway(_) | Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(super) fn come_again(&self) -> Option<HeaderValue> {
        match self.status() {
            StatusCode::SERVICE_UNAVAILABLE => Some(COME_AGAIN_SECS),
            StatusCode::TOO_MANY_REQUESTS => Some(TOO_OFTEN_SECS),
            _ => None,
        }
    }

    pub(super) fn body(&self) -> Value {
        let error = self.to_string();
        match self {
            Self::Stale => json!({ "outcome": "stale", "error": error }),
            Self::Unknown => json!({ "outcome": "unknown", "error": error }),
            Self::Missing { part } => json!({ "missing": part, "error": error }),
            _ => json!({ "error": error }),
        }
    }
}

impl From<Refusal> for RunRefusal {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unauthorized(why) => Self::Unauthorized(why),
            Refusal::Body(error) => error.into(),
            Refusal::TooOften => Self::TooOften,
            Refusal::Bad(bad) => Self::NotJson(bad.to_string()),
            Refusal::Away => Self::DatabaseAway,
            Refusal::Internal => Self::Internal,
        }
    }
}

impl From<BodyError> for RunRefusal {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge { .. } => Self::TooLarge(error.to_string()),
            BodyError::Broken => Self::Broken,
        }
    }
}

impl From<sqlx::Error> for RunRefusal {
    fn from(error: sqlx::Error) -> Self {
        if database::is_passing(&error) {
            return Self::DatabaseAway;
        }
        match error.as_database_error() {
            // A value that a column does not take.
            Some(told) if told.is_check_violation() => {
                Self::Wrong(format!("a value is refused: {}", told.message()))
            }
            _ => Self::internal(error),
        }
    }
}

impl From<ArtifactError> for RunRefusal {
    fn from(error: ArtifactError) -> Self {
        let told = |error: &dyn Display| error.to_string();
        match error {
            ArtifactError::Refused(Refused::Stale) => Self::Stale,
            ArtifactError::Refused(Refused::Unknown) => Self::Unknown,
            ArtifactError::Refused(Refused::TooLarge | Refused::Full | Refused::TooMany)
            | ArtifactError::SealedTooLarge => Self::TooLarge(told(&error)),
            // Its parts are to be cleared: they are sent again, all of them.
            ArtifactError::Refused(Refused::Gone) => Self::Missing { part: 0 },
            ArtifactError::MissingPart { part } => Self::Missing { part },
            ArtifactError::Name(_)
            | ArtifactError::Refused(Refused::Differs)
            | ArtifactError::PartSize { .. }
            | ArtifactError::TooManyParts { .. }
            | ArtifactError::NotSent
            | ArtifactError::ElsewhereSent { .. }
            | ArtifactError::Differs { .. } => Self::Wrong(told(&error)),
            ArtifactError::Lost { .. } => Self::Lost,
            ArtifactError::Broken => Self::Broken,
            ArtifactError::Store(error) => {
                let cause = innermost(&error);
                tracing::error!(
                    error = &error as &dyn Error,
                    "the store of artifacts does not do what it should"
                );
                Self::StoreAway(cause)
            }
            ArtifactError::Database(error) => error.into(),
            error @ (ArtifactError::Sealed(_) | ArtifactError::Path(_)) => Self::internal(error),
        }
    }
}

/// What it comes down to, for who looks at the job: `No space left on device`. The whole chain names places, and is for the
/// operator.
fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string().chars().take(200).collect()
}
