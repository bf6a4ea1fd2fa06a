//! A database with a tenant in it, and what must be true of it at any time.

use std::time::Duration;

use database::{Connect, SystemDb};
use model::{DatabaseRole, JobId, JobState, TenantId};
use queue::{Added, ClaimedJob, Hold, NewJob, Queue};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use testkit::TestDb;
use uuid::Uuid;

/// Long enough never to be over by itself.
pub(crate) const LEASE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

pub(crate) struct World {
    pub(crate) db: TestDb,
    pub(crate) queue: Queue,
    /// Sees and changes everything: what tests use to look and to move the clock.
    pub(crate) owner: PgPool,
    pub(crate) tenant: TenantId,
    pub(crate) worker: Uuid,
}

impl World {
    pub(crate) async fn new() -> Self {
        let db = testkit::database().await;
        let owner = db.pool(None).await;
        let system = SystemDb::new(&Connect {
            url: db.owner_url().into(),
            role: DatabaseRole::System,
            connections_max: 16,
            acquire_timeout: Duration::from_secs(20),
        })
        .unwrap();
        let tenant = new_tenant(&owner).await;
        Self {
            db,
            queue: Queue::new(system),
            owner,
            tenant,
            worker: Uuid::new_v4(),
        }
    }

    pub(crate) async fn tenant(&self) -> TenantId {
        new_tenant(&self.owner).await
    }

    pub(crate) async fn add(&self, job: &NewJob<'_>) -> JobId {
        match self.queue.add(job).await.unwrap() {
            Added::Added(job) => job,
            other => panic!("{other:?}"),
        }
    }

    /// Adds many plain jobs of a task at once.
    pub(crate) async fn add_many(&self, tenant: TenantId, task: &str, count: i32) {
        sqlx::query(
            "select count(a.job_id) from generate_series(1, $3) n,
                lateral switchyard.add_job($1, $2, jsonb_build_object('n', n)) a",
        )
        .bind(tenant.uuid())
        .bind(task)
        .bind(count)
        .execute(&self.owner)
        .await
        .unwrap();
    }

    pub(crate) async fn claim(&self, task: &str, limit: i32) -> Vec<ClaimedJob> {
        self.queue
            .claim(self.worker, &[task.to_owned()], limit, LEASE)
            .await
            .unwrap()
    }

    /// Has nothing found in the lane of a task until it rests.
    pub(crate) async fn rest(&self, task: &str) {
        let active =
            format!("select count(*) from switchyard.lanes where task = '{task}' and active");
        for calls in 0..3 {
            assert_eq!(self.number(&active).await, 1, "after {calls} calls");
            self.execute(
                "update switchyard.lanes
                 set turned_at = turned_at - interval '3 s', idle_at = idle_at - interval '3 s',
                    idle_known_at = idle_known_at - interval '3 s'",
            )
            .await;
            assert!(self.claim(task, 1).await.is_empty());
        }
        assert_eq!(self.number(&active).await, 0);
    }

    pub(crate) async fn claim_one(&self, task: &str) -> Hold {
        let claimed = self.claim(task, 1).await;
        assert_eq!(claimed.len(), 1, "one job of {task} is ready");
        claimed[0].hold
    }

    pub(crate) async fn execute(&self, sql: impl Into<String>) -> u64 {
        sqlx::query(AssertSqlSafe(sql.into()))
            .execute(&self.owner)
            .await
            .unwrap()
            .rows_affected()
    }

    pub(crate) async fn number(&self, sql: impl Into<String>) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(sql.into()))
            .fetch_one(&self.owner)
            .await
            .unwrap()
    }

    pub(crate) async fn state(&self, job: JobId) -> Option<JobState> {
        let state: Option<String> = sqlx::query_scalar(
            "select state::text from switchyard.jobs where id = $1
             union all select state::text from switchyard.jobs_archive where id = $1",
        )
        .bind(job.0)
        .fetch_optional(&self.owner)
        .await
        .unwrap();
        state.map(|state| state.parse().unwrap())
    }

    /// Ends the lease or deadline of a job.
    pub(crate) async fn end_lease(&self, job: JobId) {
        self.execute(format!(
            "update switchyard.jobs set lease_until = clock_timestamp() - interval '1 s' where id = {job} and state <> 'queued'"
        ))
        .await;
    }

    /// Lets the time of a job come.
    pub(crate) async fn come_due(&self, job: JobId) {
        self.execute(format!(
            "update switchyard.jobs set run_at = now() - interval '1 s' where id = {job} and not due"
        ))
        .await;
    }

    /// All rows of a tenant, but for the notes on refused writes: what nothing changed is the same.
    pub(crate) async fn rows(&self, tenant: TenantId) -> Value {
        let mut all = serde_json::Map::new();
        for table in [
            "jobs",
            "lanes",
            "shares",
            "job_keys",
            "jobs_archive",
            "job_events",
            "job_logs",
            "outbox",
        ] {
            let but = if table == "job_events" {
                "and kind not in ('stale_write', 'cancel_too_late')"
            } else {
                ""
            };
            let rows: Value = sqlx::query_scalar(AssertSqlSafe(format!(
                "select coalesce(jsonb_agg(to_jsonb(t) order by to_jsonb(t)::text), '[]')
                 from switchyard.{table} t where database_id = $1 {but}"
            )))
            .bind(tenant.uuid())
            .fetch_one(&self.owner)
            .await
            .unwrap();
            all.insert(table.to_owned(), rows);
        }
        Value::Object(all)
    }

    /// Fails unless every lane's count is the truth and no lane sleeps over ready work.
    pub(crate) async fn check(&self) {
        let wrong: Vec<Value> = sqlx::query_scalar(
            "with truth as (
                select l.id,
                    (select count(*) from switchyard.jobs j where j.lane_id = l.id and l.cap is not null and (
                        j.state in ('running', 'cancelling')
                        or j.state = 'waiting' and (j.waiting <> 'approval' or l.queue_name is not null)
                        or j.state = 'queued' and not j.due and j.id = l.holder
                    )) as in_flight,
                    exists (select from switchyard.jobs j where j.lane_id = l.id and j.state = 'queued' and j.due) as ready,
                    -- Ready jobs that a claim would not find, for it looks from the fronts on.
                    (select count(*) from switchyard.jobs j
                        where j.lane_id = l.id and j.state = 'queued' and j.due and l.priorities is not null
                          and not coalesce(
                              j.run_at >= l.fronts[array_position(l.priorities, j.priority)], false
                          )) as hidden,
                    (select count(*) from switchyard.jobs j
                        where j.lane_id = l.id and j.id = l.holder and j.state = 'queued') as holders
                from switchyard.lanes l
            )
            select to_jsonb(l) || to_jsonb(t) || jsonb_build_object('counted', l.in_flight)
            from switchyard.lanes l
            join truth t on t.id = l.id
            where l.in_flight <> t.in_flight
               or t.ready and not l.active
               or t.hidden > 0
               or (l.holder is not null) <> (t.holders = 1)
               or l.queue_name is not null and (l.cap is distinct from 1 or t.in_flight > 1)",
        )
        .fetch_all(&self.owner)
        .await
        .unwrap();
        assert!(wrong.is_empty(), "lanes that are wrong: {wrong:#?}");
        let live_and_archived = self
            .number("select count(*) from switchyard.jobs join switchyard.jobs_archive using (id)")
            .await;
        assert_eq!(
            live_and_archived, 0,
            "a job is live or archived, never both"
        );
    }
}

async fn new_tenant(owner: &PgPool) -> TenantId {
    let id = Uuid::new_v4();
    sqlx::query("insert into switchyard.tenants (database_id, name) values ($1, $2)")
        .bind(id)
        .bind(id.to_string())
        .execute(owner)
        .await
        .unwrap();
    id.into()
}

/// The payload of jobs about which nothing else matters.
pub(crate) fn nothing() -> &'static Value {
    static NOTHING: std::sync::LazyLock<Value> = std::sync::LazyLock::new(|| json!({}));
    &NOTHING
}

/// Numbers from a seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }
}
