//! What the database refuses of what people ask of the queue.

/// Why something that a person asked of the queue was not done.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// What was asked makes no sense; says what would.
    #[error("{0}")]
    Wrong(String),
    /// Something stands against it; says what, and who wanted that.
    #[error("{0}")]
    Refused(String),
    /// There is no such thing.
    #[error("{0}")]
    Missing(String),
    /// The database does not answer.
    #[error("the database did not do it")]
    Database(#[source] sqlx::Error),
}

impl From<sqlx::Error> for RuleError {
    fn from(error: sqlx::Error) -> Self {
        let sqlx::Error::Database(told) = &error else {
            return Self::Database(error);
        };
        let hint = told
            .try_downcast_ref::<sqlx::postgres::PgDatabaseError>()
            .and_then(|told| told.hint());
        let text = match hint {
            Some(hint) => format!("{}. {hint}", told.message()),
            None => told.message().to_owned(),
        };
        // invalid_parameter_value; object_in_use, object_not_in_prerequisite_state, program_limit_exceeded; no_data_found
        match told.code().as_deref() {
            Some("22023") => Self::Wrong(text),
            Some("55006" | "55000" | "54000") => Self::Refused(text),
            Some("P0002") => Self::Missing(text),
            _ => Self::Database(error),
        }
    }
}
