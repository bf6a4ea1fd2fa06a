//! The database that the model is compared with, and what of it is looked at after every operation.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use model::JobState;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection, PgPool};
use std::str::FromStr as _;
use testkit::TestDb;
use uuid::Uuid;

use crate::op::{RESERVED, TASKS, TENANTS};
use crate::reference::{FORGETFUL, ensure};

/// Why a case failed.
#[derive(Debug)]
pub(crate) enum Wrong {
    /// The database refused what it should have done.
    Refused(sqlx::Error),
    /// It did what it should not have.
    Different(String),
}

impl From<sqlx::Error> for Wrong {
    fn from(error: sqlx::Error) -> Self {
        Self::Refused(error)
    }
}

impl From<String> for Wrong {
    fn from(message: String) -> Self {
        Self::Different(message)
    }
}

/// A migrated database for all cases of a test. A case begins by emptying it.
pub(crate) struct World {
    options: PgConnectOptions,
    /// Sees and changes everything: looks, and moves the clock.
    pub(crate) owner: PgPool,
    /// With the queue's own role. Sessions are kept for the next case, for it is in new ones that planning takes long.
    pub(crate) system: PgPool,
    pub(crate) tenants: [Uuid; TENANTS],
    _db: Option<TestDb>,
}

/// A wait for a lock that lasts longer than this is one for a transaction that the test itself has left open.
const LOCK_TIMEOUT: &str = "150ms";
/// A parallel session really waits; longer than this is a wait for ever.
const PATIENCE: &str = "20s";

impl World {
    /// `SWITCHYARD_MODEL_URL` names a migrated database to use instead of a new one: one with a planted fault, to see that
    /// it is found.
    #[expect(
        clippy::disallowed_methods,
        reason = "a test has no Env to read settings from"
    )]
    pub(crate) async fn new() -> Self {
        let (db, options) = match std::env::var("SWITCHYARD_MODEL_URL") {
            Ok(url) => (None, PgConnectOptions::from_str(&url).unwrap()),
            Err(_) => {
                let db = testkit::database().await;
                let options = db.connect_options(None);
                (Some(db), options)
            }
        };
        let owner = PgPoolOptions::new()
            .max_connections(2)
            .connect_with(options.clone())
            .await
            .unwrap();
        // Always the same, for turns go by the order of ids.
        let tenants = std::array::from_fn(|tenant| Uuid::from_u128(tenant as u128 + 1));
        for tenant in tenants {
            sqlx::query(
                "insert into switchyard.tenants (database_id, name) values ($1, $1::text) on conflict do nothing",
            )
                .bind(tenant)
                .execute(&owner)
                .await
                .unwrap();
        }
        let system = PgPoolOptions::new()
            .max_connections(2)
            .connect_with(as_system(&options, LOCK_TIMEOUT))
            .await
            .unwrap();
        let world = Self {
            options,
            owner,
            system,
            tenants,
            _db: db,
        };
        world
            .execute("delete from switchyard.tasks where name like 'model-%'")
            .await
            .unwrap();
        for task in 0..TASKS {
            let history = if task == FORGETFUL {
                "failures"
            } else {
                "full"
            };
            world
                .execute(&format!(
                    "insert into switchyard.tasks (name, history, executor) values ('{}', '{history}', 'builtin')",
                    task_name(task)
                ))
                .await
                .unwrap();
        }
        world
    }

    /// A session of its own, with the queue's own role, for a transaction that stays open.
    pub(crate) async fn session(&self) -> Result<PgConnection, sqlx::Error> {
        as_system(&self.options, LOCK_TIMEOUT).connect().await
    }

    /// The same, for one that others really run beside.
    pub(crate) async fn parallel_session(&self) -> Result<PgConnection, sqlx::Error> {
        as_system(&self.options, PATIENCE).connect().await
    }

    pub(crate) async fn execute(&self, sql: &str) -> Result<u64, sqlx::Error> {
        Ok(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .execute(&self.owner)
            .await?
            .rows_affected())
    }

    /// Removes what a case has left, and reserves the numbers that late events carry.
    pub(crate) async fn empty(&self) -> Result<Vec<i64>, sqlx::Error> {
        self.execute(
            "delete from switchyard.pauses;
             delete from switchyard.audit;
             delete from switchyard.limits;
             delete from switchyard.jobs;
             delete from switchyard.lanes;
             update switchyard.shares set weight = 1;
             delete from switchyard.job_keys;
             delete from switchyard.jobs_archive;
             delete from switchyard.job_events;
             delete from switchyard.job_logs;
             delete from switchyard.outbox;",
        )
        .await?;
        sqlx::query_scalar("select nextval('switchyard.accepted') from generate_series(1, $1)")
            .bind(i32::try_from(RESERVED).expect("few"))
            .fetch_all(&self.owner)
            .await
    }

    pub(crate) fn tenant_of(&self, id: Uuid) -> Result<usize, String> {
        self.tenants
            .iter()
            .position(|tenant| *tenant == id)
            .ok_or_else(|| format!("a row of another tenant: {id}"))
    }

    pub(crate) async fn look(&self) -> Result<Look, Wrong> {
        let jobs: Vec<JobRow> = sqlx::query_as(
            "select id, database_id, task, queue_name, key, seq, state::text as state, due, priority, run_at, attempts,
                attempts_max, epoch, (payload ->> 'n')::integer as payload, worker, waiting::text as waiting,
                runner is not null as runner, replay_of, coalesce(lease_until < clock_timestamp(), false) as lapsed,
                lease_until <= attempt_until as within_attempt,
                (state = 'queued') = (lease_until is null) and (state = 'queued' or not due) as is_found
             from switchyard.jobs
             union all
             select id, database_id, task, queue_name, key, seq, state::text, false, priority, run_at, attempts,
                attempts_max, epoch, (payload ->> 'n')::integer, null, null, false, replay_of, false, null, true
             from switchyard.jobs_archive",
        )
        .fetch_all(&self.owner)
        .await?;
        let notes: Vec<(i64, String)> =
            sqlx::query_as("select distinct job_id, kind from switchyard.job_events")
                .fetch_all(&self.owner)
                .await?;
        let keys: Vec<(Uuid, String, i64)> =
            sqlx::query_as("select database_id, key, high_water from switchyard.job_keys")
                .fetch_all(&self.owner)
                .await?;
        let mut look = Look {
            notes: notes.into_iter().collect(),
            ..Look::default()
        };
        for row in jobs {
            let id = row.id;
            ensure_once(look.jobs.insert(id, row).is_none(), id)?;
        }
        for (tenant, key, high_water) in keys {
            look.high_water
                .insert((self.tenant_of(tenant)?, key), high_water);
        }
        Ok(look)
    }

    /// Fails unless what lanes and limits count and remember is true of the jobs. One statement, so that it holds of every
    /// moment, also while others are at work.
    pub(crate) async fn check_counters(&self) -> Result<(), Wrong> {
        let wrong: Vec<serde_json::Value> = sqlx::query_scalar(include_str!("counters.sql"))
            .fetch_all(&self.owner)
            .await?;
        ensure!(wrong.is_empty(), "not true of the jobs: {wrong:#?}");
        Ok(())
    }

    /// Fails unless each job that ended was told about exactly once.
    pub(crate) async fn check_told_once(&self, ended: &BTreeSet<i64>) -> Result<(), Wrong> {
        // As the relay does before it looks.
        self.execute("select switchyard.unpack_outbox(100000)")
            .await?;
        let told: Vec<(String, i64)> = sqlx::query_as(
            "with told as (
                select ce_type as type, ce_subject as subject from switchyard.outbox where batch is null
                union all
                select b ->> 'type', b ->> 'subject' from switchyard.outbox, jsonb_array_elements(batch) b
            )
            select subject, count(*) from told
            where type in ('dev.switchyard.job.finished.v1', 'dev.switchyard.job.cancelled.v1')
            group by subject",
        )
        .fetch_all(&self.owner)
        .await?;
        let twice: Vec<_> = told.iter().filter(|(_, count)| *count != 1).collect();
        ensure!(twice.is_empty(), "ends that were told twice: {twice:?}");
        let told: BTreeSet<String> = told.into_iter().map(|(subject, _)| subject).collect();
        let ended: BTreeSet<String> = ended.iter().map(i64::to_string).collect();
        ensure!(
            told == ended,
            "ends that were not told: {:?}; told without an end: {:?}",
            ended.difference(&told).collect::<Vec<_>>(),
            told.difference(&ended).collect::<Vec<_>>()
        );
        Ok(())
    }
}

fn as_system(options: &PgConnectOptions, lock_timeout: &str) -> PgConnectOptions {
    options.clone().options([
        ("role", "switchyard_system"),
        ("lock_timeout", lock_timeout),
    ])
}

fn ensure_once(is_first: bool, id: i64) -> Result<(), String> {
    ensure!(is_first, "job {id} is there twice, live or in the archive");
    Ok(())
}

pub(crate) fn task_name(task: usize) -> String {
    format!("model-{task}")
}

pub(crate) fn queue_name(queue: usize) -> String {
    format!("queue-{queue}")
}

pub(crate) fn key_name(key: usize) -> String {
    format!("key-{key}")
}

/// All that is to be seen of the jobs.
#[derive(Debug, Default)]
pub(crate) struct Look {
    pub(crate) jobs: BTreeMap<i64, JobRow>,
    pub(crate) notes: BTreeSet<(i64, String)>,
    pub(crate) high_water: BTreeMap<(usize, String), i64>,
}

impl Look {
    /// Queued jobs that are marked as due.
    pub(crate) fn ready(&self) -> BTreeSet<i64> {
        self.jobs
            .values()
            .filter(|row| row.due)
            .map(|row| row.id)
            .collect()
    }
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct JobRow {
    pub(crate) id: i64,
    pub(crate) database_id: Uuid,
    pub(crate) task: String,
    pub(crate) queue_name: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) seq: i64,
    state: String,
    pub(crate) due: bool,
    pub(crate) priority: i32,
    pub(crate) run_at: DateTime<Utc>,
    pub(crate) attempts: i32,
    pub(crate) attempts_max: i32,
    pub(crate) epoch: i64,
    pub(crate) payload: i32,
    pub(crate) worker: Option<Uuid>,
    pub(crate) waiting: Option<String>,
    pub(crate) runner: bool,
    pub(crate) replay_of: Option<i64>,
    pub(crate) lapsed: bool,
    /// Null when it has no lease or no attempt.
    pub(crate) within_attempt: Option<bool>,
    /// Whether the indexes find it: only what is queued has no lease, and only what is queued may be due.
    pub(crate) is_found: bool,
}

impl JobRow {
    pub(crate) fn state(&self) -> JobState {
        self.state
            .parse()
            .expect("the database has no other states")
    }
}
