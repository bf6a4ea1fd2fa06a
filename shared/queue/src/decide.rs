//! What a person decides of a job that waits for it.

use model::JobId;
use sqlx::PgConnection;

/// What came of a decision, and why not where nothing did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decided {
    /// The job goes on.
    Approved,
    /// The job is dead.
    Rejected,
    /// A newer job with its key took its place.
    Superseded,
    /// Its time was over.
    Expired,
    /// Somebody decided before.
    Before,
    /// It does not wait for a decision.
    NotWaiting,
    /// What waits is not what was named.
    OtherPlan,
    /// The state is not any more what the plan was made from.
    Moved,
    /// It comes from people who may not ask for approvals.
    Untrusted,
    /// There is no such job.
    Absent,
}

/// Approves or rejects a job of the transaction's tenant, on record. `plan` is the SHA-256 (hex) of what was read.
///
/// # Errors
/// When the database does not answer.
pub async fn decide_own(
    conn: &mut PgConnection,
    job: JobId,
    approve: bool,
    plan: &str,
    by: &str,
) -> Result<Decided, sqlx::Error> {
    let outcome = sqlx::query_scalar!(
        "select switchyard.decide_own_job($1, $2, $3, $4)",
        job.0,
        approve,
        plan,
        by
    )
    .fetch_one(conn)
    .await?;
    Ok(match outcome.as_deref() {
        None => Decided::Absent,
        Some("approved") => Decided::Approved,
        Some("rejected") => Decided::Rejected,
        Some("superseded") => Decided::Superseded,
        Some("expired") => Decided::Expired,
        Some("decided") => Decided::Before,
        Some("not_waiting") => Decided::NotWaiting,
        Some("other_plan") => Decided::OtherPlan,
        Some("moved") => Decided::Moved,
        Some("untrusted") => Decided::Untrusted,
        Some(other) => {
            return Err(sqlx::Error::Decode(
                format!("decide_own_job answered {other:?}").into(),
            ));
        }
    })
}
