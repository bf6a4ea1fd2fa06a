//! Somebody who adds jobs.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::{JobId, TaskPolicy, TenantId};
use queue::NewJob;
use sqlx::postgres::PgPool;
use tokio::time::Instant;

use crate::task::{Act, FUNCTION};

/// Adds jobs, and remembers which were acknowledged.
#[derive(Clone)]
pub struct Feeder {
    pub(crate) rows: PgPool,
    pub(crate) tenant: TenantId,
    pub(crate) acknowledged: Acknowledged,
}

/// The jobs whose adding was acknowledged.
pub(crate) type Acknowledged = Arc<Mutex<BTreeSet<i64>>>;

impl Feeder {
    pub(crate) async fn add(&self, tenant: TenantId, act: Act, attempts_max: Option<i32>) -> JobId {
        let payload = serde_json::to_value(act).expect("plain data");
        let job = NewJob {
            // An attempt that is killed counts; here many are.
            attempts_max: attempts_max.or(Some(TaskPolicy::DEFAULT.attempts_max * 20)),
            ..NewJob::new(tenant, FUNCTION.name, &payload)
        };
        // What was added without an answer is added again: both are jobs, and both must end.
        let added = database::answered(|| async {
            queue::enqueue(&mut *self.rows.acquire().await?, &job).await
        });
        let id = added.await.expect("it is added").job();
        self.acknowledged
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id.0);
        id
    }

    /// Adds so many jobs a second for so long.
    pub async fn feed(&self, rate: u32, time: Duration, act: Act) {
        let end = Instant::now() + time;
        let mut beat = tokio::time::interval(Duration::from_secs(1) / rate);
        while Instant::now() < end {
            beat.tick().await;
            self.add(self.tenant, act, None).await;
        }
    }
}
