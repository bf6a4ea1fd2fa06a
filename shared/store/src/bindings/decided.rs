//! What a binding made of events.

use chrono::{DateTime, Utc};
use database::TenantTx;
use model::{BindingId, Check, EventId, JobId};
use serde::Serialize;
use serde_json::Value;
use sqlx::types::Json;

/// What a binding made of an event.
#[derive(Debug, Clone, Serialize)]
pub struct Decided {
    /// The event.
    pub event: EventId,
    /// Its type.
    #[serde(rename = "type")]
    pub ty: String,
    /// What it is about.
    pub subject: Option<String>,
    /// Whether all clauses held.
    pub matched: bool,
    /// Those that held, in the order they were tried.
    pub held: Vec<Check>,
    /// The clause that failed.
    pub clause: Option<String>,
    /// What it asks for.
    pub expected: Option<String>,
    /// What the event says.
    pub actual: Option<String>,
    /// The job that came of it.
    pub job: Option<JobId>,
    /// `added`, `superseded` or `kept`.
    pub job_outcome: Option<String>,
    /// When.
    pub decided_at: DateTime<Utc>,
}

/// The decisions of a binding, newest first, those before an instant.
///
/// # Errors
/// When the database does not answer.
pub async fn decisions(
    tx: &mut TenantTx,
    id: BindingId,
    before: Option<DateTime<Utc>>,
    limit: i64,
) -> Result<Vec<Decided>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        select d.event_id, e.type as ty, e.subject, d.matched, d.held as "held!: Json<Vec<Value>>", d.clause, d.expected,
            d.actual, d.job_id, d.job_outcome, d.decided_at
        from switchyard.decisions d
        join switchyard.events e on e.database_id = d.database_id and e.id = d.event_id
        where d.database_id = switchyard.current_tenant() and d.binding_id = $1
          and d.decided_at < coalesce($2::timestamptz, 'infinity')
        order by d.decided_at desc
        limit $3
        "#,
        id.uuid(),
        before as _,
        limit
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Decided {
            event: row.event_id.into(),
            ty: row.ty,
            subject: row.subject,
            matched: row.matched,
            // A newer version may have written a clause that is not known here.
            held: row
                .held
                .0
                .into_iter()
                .filter_map(|it| serde_json::from_value(it).ok())
                .collect(),
            clause: row.clause,
            expected: row.expected,
            actual: row.actual,
            job: row.job_id.map(JobId),
            job_outcome: row.job_outcome,
            decided_at: row.decided_at,
        })
        .collect())
}
