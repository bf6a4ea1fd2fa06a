//! How far a job is, as its holder tells.

use serde::{Deserialize, Serialize};

use crate::{Hold, Queue};

/// Bytes of a message that are kept.
const MESSAGE_BYTES_MAX: usize = 1000;

/// How far a job is; what is not known is left out. Told again it is replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// How much is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<i64>,
    /// How much there is to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<i64>,
    /// What is being done; cut at a thousand bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Queue {
    /// Tells how far a job is. False when the hold is over: then nothing was written.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn set_progress(
        &self,
        hold: Hold,
        mut progress: Progress,
    ) -> Result<bool, sqlx::Error> {
        if let Some(message) = &mut progress.message {
            // A NUL cannot be stored.
            *message = message.replace('\0', "\u{fffd}");
            message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
        }
        let progress = serde_json::to_value(progress).expect("numbers and a text are JSON");
        sqlx::query_scalar!(
            r#"select switchyard.set_progress($1, $2, $3) as "held!""#,
            hold.job.0,
            hold.epoch,
            progress
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }
}
