//! Whether all is well, and if not, why. The bounds are those of `monitoring/alerts.yaml`.

use chrono::{DateTime, Utc};
use queue::measure::{Counted, Measured, Snapshot, Workers};
use serde::Serialize;

/// Four ticks.
const MEASURED_SECS: f64 = 60.0;
/// How long a ready job may wait.
const READY_SECS: f64 = 300.0;
/// How long a worker may be silent while there is work for it.
const HEARTBEAT_SECS: f64 = 120.0;
/// How long an attempt may last.
const RUNNING_SECS: f64 = 4.0 * 3600.0;
/// How long a request to stop may go unheeded.
const CANCEL_SECS: f64 = 120.0;
/// How long a job's time may have come without anybody making it ready.
const OVERDUE_SECS: f64 = 60.0;
/// How long an event may wait to be published.
const OUTBOX_SECS: f64 = 300.0;
/// How long a snapshot may keep dead rows.
const SNAPSHOT_SECS: f64 = 300.0;

/// What `GET /diag` says.
#[derive(Debug, Serialize)]
pub(crate) struct Diagnosis {
    status: Status,
    /// When what it is drawn from was measured.
    measured_at: Option<DateTime<Utc>>,
    findings: Vec<Finding>,
    /// How busy each function's workers are.
    workers: Vec<Busy>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Ok,
    Degraded,
    /// There is nothing to tell it from.
    Unknown,
}

/// Something that is not well.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Finding {
    code: Code,
    /// Which one: a task, a function, a broker, a table.
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<String>,
    /// What was measured, and from where on it is not well: seconds or a number.
    value: f64,
    bound: f64,
    /// What to do about it.
    advice: &'static str,
}

/// What can be not well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Code {
    DatabaseUnavailable,
    NotMeasured,
    MeasurementOld,
    QueueStalled,
    NoWorkers,
    HeartbeatStale,
    NoExecutor,
    JobsOverdue,
    RunningTooLong,
    StuckRuns,
    CancelNotApplied,
    OutboxStalled,
    OutboxRefused,
    NotificationsSwallowed,
    OldSnapshot,
    DefaultPartitionRows,
}

impl Code {
    const fn advice(self) -> &'static str {
        match self {
            Self::DatabaseUnavailable => {
                "the database does not answer: see whether it runs and DATABASE_URL is right"
            }
            Self::NotMeasured | Self::MeasurementOld => {
                "cron-metrics gets no ticks, or cannot measure: see its log and its PingSource"
            }
            Self::QueueStalled => {
                "ready jobs wait: each job's page says why; see the relay of work and the task's function"
            }
            Self::NoWorkers => {
                "there are ready jobs and no worker: see the relay of work, the task's Trigger and its Service"
            }
            Self::HeartbeatStale => {
                "workers fell silent while there is work: see their log and their connection to the database"
            }
            Self::NoExecutor => {
                "nobody of ours works on this task: give it an executor, or see whether its worker runs"
            }
            Self::JobsOverdue => {
                "nobody makes jobs ready whose time has come: see the relay of work and cron-reap"
            }
            Self::RunningTooLong => "an attempt lasts very long: see its job, cancel it if need be",
            Self::StuckRuns => {
                "leases are over and nobody takes the jobs back: see the relay of work and cron-reap"
            }
            Self::CancelNotApplied => "a job does not stop: its page says what was tried",
            Self::OutboxStalled => "events are not published: see the relay's log and the broker",
            Self::OutboxRefused => {
                "a broker refused events for good; they stay in the outbox with the reason"
            }
            Self::NotificationsSwallowed => {
                "notifications do not reach the relay, which looks by the clock: give it a DATABASE_URL without a pooler \
                 in transaction mode"
            }
            Self::OldSnapshot => {
                "a transaction, a replication slot or a prepared transaction keeps dead rows from being cleared away: end it"
            }
            Self::DefaultPartitionRows => {
                "rows are in no day's partition: see cron-reap; retention does not drop them"
            }
        }
    }
}

#[derive(Debug, Serialize)]
struct Busy {
    function: String,
    alive: i64,
    slots: i64,
    used: i64,
    /// Which part of the slots is taken.
    busy_ratio: f64,
    seen_at: DateTime<Utc>,
}

impl Diagnosis {
    /// From a measurement.
    pub(crate) fn of(measured: &Measured) -> Self {
        let findings = findings(measured);
        Self {
            status: if findings.is_empty() {
                Status::Ok
            } else {
                Status::Degraded
            },
            measured_at: Some(measured.taken_at),
            findings,
            workers: measured.snapshot.workers.iter().map(Busy::of).collect(),
        }
    }

    /// Before the first measurement.
    pub(crate) fn not_measured() -> Self {
        Self::unknown(Code::NotMeasured)
    }

    /// Without a database.
    pub(crate) fn no_database() -> Self {
        Self::unknown(Code::DatabaseUnavailable)
    }

    fn unknown(code: Code) -> Self {
        Self {
            status: Status::Unknown,
            measured_at: None,
            findings: vec![Finding {
                code,
                of: None,
                value: 1.0,
                bound: 0.0,
                advice: code.advice(),
            }],
            workers: Vec::new(),
        }
    }
}

impl Busy {
    fn of(workers: &Workers) -> Self {
        Self {
            function: workers.function.clone(),
            alive: workers.alive,
            slots: workers.slots,
            used: workers.used,
            busy_ratio: crate::exposition::busy_ratio(workers),
            seen_at: workers.seen_at,
        }
    }
}

/// How many seconds before `now` something was; 0 for what was not, and for what a clock says is yet to come.
pub(crate) fn age(now: DateTime<Utc>, since: Option<DateTime<Utc>>) -> f64 {
    since.map_or(0.0, |since| (now - since).as_seconds_f64().max(0.0))
}

fn findings(measured: &Measured) -> Vec<Finding> {
    let Measured {
        taken_at,
        now,
        snapshot,
    } = measured;
    let mut found = Findings::default();
    found.over(
        Code::MeasurementOld,
        None,
        age(*now, Some(*taken_at)),
        MEASURED_SECS,
    );
    for head in &snapshot.heads {
        // A task without a name is told of below, if nobody works on it.
        if let Some(task) = &head.task {
            let waits = age(*now, Some(head.oldest_ready_at));
            found.over(Code::QueueStalled, Some(task), waits, READY_SECS);
        }
    }
    for task in &snapshot.unserved {
        let waits = age(*now, Some(task.oldest_ready_at));
        found.over(Code::NoExecutor, Some(&task.task), waits, READY_SECS);
    }
    silent_workers(&mut found, *now, snapshot);
    found.over(
        Code::JobsOverdue,
        None,
        age(*now, snapshot.overdue_since),
        OVERDUE_SECS,
    );
    for held in &snapshot.held {
        let lasts = age(*now, held.oldest_started_at);
        found.over(
            Code::RunningTooLong,
            held.task.as_ref(),
            lasts,
            RUNNING_SECS,
        );
    }
    found.over(Code::StuckRuns, None, number(snapshot.stuck), 0.0);
    found.over(
        Code::CancelNotApplied,
        None,
        age(*now, snapshot.oldest_cancel_at),
        CANCEL_SECS,
    );
    for publishing in &snapshot.brokers {
        let broker = publishing.broker.as_str().to_owned();
        let waits = age(*now, publishing.oldest_at);
        found.over(Code::OutboxStalled, Some(&broker), waits, OUTBOX_SECS);
        let refused = number(publishing.refused);
        found.over(Code::OutboxRefused, Some(&broker), refused, 0.0);
        if publishing.hears == Some(false) {
            found.over(Code::NotificationsSwallowed, Some(&broker), 1.0, 0.0);
        }
    }
    found.over(
        Code::OldSnapshot,
        None,
        snapshot.oldest_snapshot_secs.unwrap_or_default(),
        SNAPSHOT_SECS,
    );
    for (table, rows) in exposition_rows(snapshot) {
        found.over(
            Code::DefaultPartitionRows,
            Some(&table.to_owned()),
            number(rows),
            0.0,
        );
    }
    found.0
}

/// Functions that have work and no sign of life. One that is scaled to zero without work is as it should be.
fn silent_workers(found: &mut Findings, now: DateTime<Utc>, snapshot: &Snapshot) {
    for (pool, ready) in pools(snapshot) {
        if ready <= 0.0 {
            continue;
        }
        let waits = snapshot
            .heads
            .iter()
            .filter(|head| {
                snapshot.tasks.iter().any(|task| {
                    task.pool.as_ref() == Some(&pool) && Some(&task.name) == head.task.as_ref()
                })
            })
            .map(|head| age(now, Some(head.oldest_ready_at)))
            .fold(0.0, f64::max);
        match snapshot.workers.iter().find(|it| it.function == pool) {
            Some(workers) => {
                let silent = age(now, Some(workers.seen_at)).min(waits);
                found.over(Code::HeartbeatStale, Some(&pool), silent, HEARTBEAT_SECS);
            }
            None => found.over(Code::NoWorkers, Some(&pool), waits, HEARTBEAT_SECS),
        }
    }
}

/// The functions that work on known tasks, and how many jobs are ready for each.
pub(crate) fn pools(snapshot: &Snapshot) -> Vec<(String, f64)> {
    let mut pools: Vec<(String, f64)> = Vec::new();
    for task in &snapshot.tasks {
        let Some(pool) = &task.pool else { continue };
        let ready: f64 = snapshot
            .counts
            .iter()
            .filter(|count| {
                count.state == Counted::Ready && count.task.as_ref() == Some(&task.name)
            })
            .map(|count| count.count)
            .sum();
        match pools.iter_mut().find(|(name, _)| name == pool) {
            Some((_, all)) => *all += ready,
            None => pools.push((pool.clone(), ready)),
        }
    }
    pools
}

/// Rows in default partitions, by table.
pub(crate) fn exposition_rows(snapshot: &Snapshot) -> [(&'static str, i64); 3] {
    let rows = &snapshot.default_partition_rows;
    [
        ("jobs_archive", rows.jobs_archive),
        ("job_events", rows.job_events),
        ("job_logs", rows.job_logs),
    ]
}

/// A count as Prometheus has numbers.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts this large are estimates anyway"
)]
pub(crate) const fn number(count: i64) -> f64 {
    count as f64
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn over(&mut self, code: Code, of: Option<&String>, value: f64, bound: f64) {
        if value > bound {
            self.0.push(Finding {
                code,
                of: of.cloned(),
                value,
                bound,
                advice: code.advice(),
            });
        }
    }
}
