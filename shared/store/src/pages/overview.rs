//! The numbers of the first page.

use database::TenantTx;
use serde::Serialize;

use super::{COUNT_MAX, Count};

/// How much there is of what.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Overview {
    /// Deliveries of the last 24 hours.
    pub deliveries: Count,
    /// Of those, the ones that were rejected, malformed or conflicting.
    pub refused: Count,
    /// Jobs that run or are asked to stop.
    pub running: Count,
    /// Jobs that are queued or wait.
    pub waiting: Count,
    /// Jobs that failed for good in the last 24 hours.
    pub dead: Count,
}

/// Counts what there is, each up to [`COUNT_MAX`].
///
/// # Errors
/// When the database does not answer.
pub async fn overview(tx: &mut TenantTx) -> Result<Overview, sqlx::Error> {
    let row = sqlx::query_file!("src/pages/sql/overview.sql", COUNT_MAX + 1)
        .fetch_one(&mut **tx)
        .await?;
    Ok(Overview {
        deliveries: Count::of(row.deliveries),
        refused: Count::of(row.refused),
        running: Count::of(row.running),
        waiting: Count::of(row.queued + row.waiting),
        dead: Count::of(row.dead),
    })
}
