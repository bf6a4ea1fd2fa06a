//! What only the database can say of the queue, measured once a tick and read by whoever asks.

use chrono::{DateTime, Utc};
use model::Broker;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Queue;

/// Priorities in three classes: there are four thousand million of them, and nobody wants as many series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PriorityClass {
    /// Before the usual ones: below zero.
    High,
    /// Zero.
    Normal,
    /// After the usual ones: above zero.
    Low,
}

impl PriorityClass {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// The class of a job's priority.
    #[must_use]
    pub const fn of(priority: i32) -> Self {
        if priority < 0 {
            Self::High
        } else if priority > 0 {
            Self::Low
        } else {
            Self::Normal
        }
    }

    /// Its name, as a label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }
}

/// What a live job is counted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    /// Queued, and its time has come.
    Ready,
    /// Queued for later: a retry, a snooze, or asked for so.
    Later,
    /// Worked on.
    Running,
    /// Waits for a runner or a callback.
    Waiting,
    /// Waits for a person.
    Approval,
    /// Asked to stop.
    Cancelling,
}

/// A task that this installation knows.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Known {
    /// Its name.
    pub name: String,
    /// The function whose workers take its jobs; nothing when none of ours does.
    pub pool: Option<String>,
}

/// How many live jobs there are of one sort. A task that this installation does not know has no name: anybody may add jobs
/// of any.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Count {
    /// Of which task.
    pub task: Option<String>,
    /// In which state.
    pub state: Counted,
    /// Of which priority.
    pub priority: PriorityClass,
    /// How many; an estimate where [`Snapshot::sampled`] says so.
    pub count: f64,
}

/// Where the ready jobs of a task begin.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Head {
    /// The task.
    pub task: Option<String>,
    /// Since when the one waits that has waited longest. What is paused does not count.
    pub oldest_ready_at: DateTime<Utc>,
}

/// A task that nobody of ours works on.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Unserved {
    /// The task, which need not be one that this installation knows.
    pub task: String,
    /// Since when its oldest ready job waits.
    pub oldest_ready_at: DateTime<Utc>,
}

/// What is held of a task.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Held {
    /// The task.
    pub task: Option<String>,
    /// Jobs that run, are being cancelled, or wait on work outside.
    pub running: i64,
    /// When the attempt began that has lasted longest.
    pub oldest_started_at: Option<DateTime<Utc>>,
}

/// Who works for a function.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Workers {
    /// The function.
    pub function: String,
    /// Processes that were seen within the last 60 s.
    pub alive: i64,
    /// When the last one was seen.
    pub seen_at: DateTime<Utc>,
    /// On how many jobs they work at a time.
    pub slots: i64,
    /// On how many they do.
    pub used: i64,
}

/// What waits to be published to a broker, and whether its relay hears of it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Publishing {
    /// The broker.
    pub broker: Broker,
    /// Rows that wait; counting stops at 10 001.
    pub pending: i64,
    /// When the first of them happened.
    pub oldest_at: Option<DateTime<Utc>>,
    /// Rows that the broker refused for good; counting stops at 10 001.
    pub refused: i64,
    /// Whether notifications reach its relay; nothing before its first test.
    pub hears: Option<bool>,
    /// Since when that is so.
    pub hears_since: Option<DateTime<Utc>>,
    /// When it was last tried.
    pub tested_at: Option<DateTime<Utc>>,
}

/// Rows in default partitions, which a day's partition that is made in time keeps empty; counting stops at 10 001.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct DefaultRows {
    /// Of finished jobs.
    pub jobs_archive: i64,
    /// Of what happened to jobs.
    pub job_events: i64,
    /// Of logs.
    pub job_logs: i64,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Snapshot {
    /// The tasks that this installation knows; at most 200.
    pub tasks: Vec<Known>,
    /// Whether counts are estimates from a part of the rows.
    pub sampled: bool,
    /// Live jobs.
    pub counts: Vec<Count>,
    /// Where ready jobs begin.
    pub heads: Vec<Head>,
    /// Ready jobs of tasks that nobody of ours works on; at most 20 tasks.
    pub unserved: Vec<Unserved>,
    /// What is held.
    pub held: Vec<Held>,
    /// Jobs whose lease was over for 60 s and that nobody has taken back.
    pub stuck: i64,
    /// Since when the job waits that has waited longest to be stopped.
    pub oldest_cancel_at: Option<DateTime<Utc>>,
    /// Since when the lock of a state of terraform is held that is held longest.
    #[serde(default)]
    pub oldest_state_lock_at: Option<DateTime<Utc>>,
    /// Since when a job's time has come that nobody has made ready.
    pub overdue_since: Option<DateTime<Utc>>,
    /// Jobs that were ever added, those of transactions that were rolled back included.
    pub added: i64,
    /// Who works.
    pub workers: Vec<Workers>,
    /// What waits to be published.
    pub brokers: Vec<Publishing>,
    /// How long the oldest snapshot has kept dead rows from being cleared away; nothing when nobody holds one.
    pub oldest_snapshot_secs: Option<f64>,
    /// Rows that no partition of a day took.
    pub default_partition_rows: DefaultRows,
    /// How long measuring took.
    pub took_secs: f64,
}

/// The newest measurement.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// When it was taken, by the database's clock.
    pub taken_at: DateTime<Utc>,
    /// What the database's clock says now.
    pub now: DateTime<Utc>,
    /// What was found.
    pub snapshot: Snapshot,
}

/// What a worker says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presence<'a> {
    /// Who it is to the queue.
    pub worker: Uuid,
    /// The function.
    pub function: &'a str,
    /// On how many jobs it works at a time.
    pub slots: i32,
    /// On how many it does.
    pub used: i32,
}

impl Queue {
    /// Measures. False when somebody else was at it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn measure(&self) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar!(r#"select switchyard.measure() as "measured!""#)
            .fetch_one(&mut *self.db.acquire().await?)
            .await
    }

    /// The newest measurement; nothing before the first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn measured(&self) -> Result<Option<Measured>, sqlx::Error> {
        let row = sqlx::query!(
            r#"select taken_at, clock_timestamp() as "now!", data from switchyard.measurement"#
        )
        .fetch_optional(&mut *self.db.acquire().await?)
        .await?;
        row.map(|row| {
            Ok(Measured {
                taken_at: row.taken_at,
                now: row.now,
                snapshot: serde_json::from_value(row.data)
                    .map_err(|error| sqlx::Error::Decode(error.into()))?,
            })
        })
        .transpose()
    }

    /// A worker is there.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn see_worker(&self, presence: Presence<'_>) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "select switchyard.see_worker($1, $2, $3, $4)",
            presence.worker,
            presence.function,
            presence.slots,
            presence.used
        )
        .execute(&mut *self.db.acquire().await?)
        .await
        .map(drop)
    }

    /// A worker leaves.
    ///
    /// # Errors
    /// When the database does not answer; then it is forgotten within the hour.
    pub async fn forget_worker(&self, worker: Uuid) -> Result<(), sqlx::Error> {
        sqlx::query!("select switchyard.forget_worker($1)", worker)
            .execute(&mut *self.db.acquire().await?)
            .await
            .map(drop)
    }

    /// How many jobs a process of each function works on at a time, as those said that are there.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn slots(&self) -> Result<Vec<(String, i32)>, sqlx::Error> {
        let rows = sqlx::query!(
            r#"
            select function, min(slots) as "slots!"
            from switchyard.workers
            group by function
            "#
        )
        .fetch_all(&mut *self.db.acquire().await?)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| (row.function, row.slots))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_priority_has_one_class() {
        assert_eq!(PriorityClass::of(i32::MIN), PriorityClass::High);
        assert_eq!(PriorityClass::of(0), PriorityClass::Normal);
        assert_eq!(PriorityClass::of(i32::MAX), PriorityClass::Low);
    }
}
