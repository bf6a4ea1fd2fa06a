//! The newest measurement in the words of Prometheus.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::AtomicU64;

use chrono::{DateTime, Utc};
use host::metrics::OTHER_TASK;
use model::Broker;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use queue::measure::{Counted, Measured, PriorityClass, Snapshot, Workers};

use crate::diagnosis::{age, exposition_rows, number, pools};

type Number = Gauge<f64, AtomicU64>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Task {
    task: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TaskPriority {
    task: String,
    priority: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Pool {
    pool: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ToBroker {
    broker: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Table {
    table: &'static str,
}

/// OpenMetrics text without the mark of the end.
pub(crate) fn text(measured: &Measured) -> Result<String, fmt::Error> {
    let mut told = Told {
        registry: Registry::with_prefix("switchyard"),
        now: measured.now,
        tasks: measured
            .snapshot
            .tasks
            .iter()
            .map(|task| task.name.clone())
            .chain([OTHER_TASK.to_owned()])
            .collect(),
    };
    told.measurement(measured);
    told.queue(&measured.snapshot);
    told.held(&measured.snapshot);
    told.workers(&measured.snapshot);
    told.publishing(&measured.snapshot);
    told.database(&measured.snapshot);
    let mut text = String::new();
    text::encode_registry(&mut text, &told.registry)?;
    Ok(text)
}

struct Told {
    registry: Registry,
    now: DateTime<Utc>,
    /// The labels that there are: known tasks, and one for all others.
    tasks: Vec<String>,
}

impl Told {
    fn measurement(&mut self, measured: &Measured) {
        self.number(
            "measured_timestamp_seconds",
            "When what the database knows was measured",
            measured.taken_at.timestamp_micros() as f64 / 1e6,
        );
        self.number(
            "measure_duration_seconds",
            "How long measuring took",
            measured.snapshot.took_secs,
        );
        self.number(
            "measure_sampled",
            "Whether depths are estimates from a part of the rows",
            if measured.snapshot.sampled { 1.0 } else { 0.0 },
        );
        let added = Counter::<u64>::default();
        added.inc_by(u64::try_from(measured.snapshot.added).unwrap_or_default());
        self.registry.register(
            "tasks_enqueued",
            "Jobs that were added, by the database's own count: exact over all replicas and restarts; those whose transaction \
             was rolled back are among them",
            added,
        );
    }

    fn queue(&mut self, snapshot: &Snapshot) {
        for (name, help, state) in [
            (
                "task_queue_depth",
                "Jobs that are queued and whose time has come",
                Counted::Ready,
            ),
            (
                "task_queue_later",
                "Jobs that are queued for later",
                Counted::Later,
            ),
        ] {
            let mut counts: HashMap<(&str, PriorityClass), f64> = HashMap::new();
            for count in snapshot.counts.iter().filter(|count| count.state == state) {
                let task = self.label(count.task.as_deref());
                *counts.entry((task, count.priority)).or_default() += count.count;
            }
            let family = Family::<TaskPriority, Number>::default();
            for task in &self.tasks {
                for priority in PriorityClass::ALL {
                    let count = counts.get(&(task, priority)).copied().unwrap_or_default();
                    let labels = TaskPriority {
                        task: task.clone(),
                        priority: priority.as_str(),
                    };
                    family.get_or_create(&labels).set(count);
                }
            }
            self.registry.register(name, help, family);
        }
        let since: Vec<_> = snapshot
            .heads
            .iter()
            .map(|head| {
                (
                    head.task.as_deref(),
                    age(self.now, Some(head.oldest_ready_at)),
                )
            })
            .collect();
        self.by_task(
            "task_queue_oldest_age_seconds",
            "How long the ready job waits that has waited longest; 0 when there is none. What is paused does not count",
            &since,
            f64::max,
        );
        self.number(
            "jobs_overdue_age_seconds",
            "How long ago a job's time has come that nobody has made ready",
            age(self.now, snapshot.overdue_since),
        );
        self.number(
            "unserved_tasks",
            "Tasks with ready jobs that nobody of ours works on; 20 at the most",
            snapshot.unserved.len() as f64,
        );
        let approvals: Vec<_> = snapshot
            .counts
            .iter()
            .filter(|count| count.state == Counted::Approval)
            .map(|count| (count.task.as_deref(), count.count))
            .collect();
        self.by_task(
            "tasks_awaiting_approval",
            "Jobs that wait for a person's yes or no",
            &approvals,
            |all, more| all + more,
        );
    }

    fn held(&mut self, snapshot: &Snapshot) {
        let running: Vec<_> = snapshot
            .held
            .iter()
            .map(|held| (held.task.as_deref(), number(held.running)))
            .collect();
        self.by_task(
            "tasks_running",
            "Jobs that run, are being cancelled, or wait on work outside",
            &running,
            |all, more| all + more,
        );
        let ages: Vec<_> = snapshot
            .held
            .iter()
            .map(|held| (held.task.as_deref(), age(self.now, held.oldest_started_at)))
            .collect();
        self.by_task(
            "task_running_oldest_age_seconds",
            "How long the attempt lasts that has lasted longest; 0 when there is none",
            &ages,
            f64::max,
        );
        self.number(
            "stuck_runs",
            "Jobs whose lease was over for 60 s and that nobody has taken back",
            number(snapshot.stuck),
        );
        self.number(
            "task_cancel_pending_oldest_age_seconds",
            "How long the job waits to be stopped that has waited longest; 0 when there is none",
            age(self.now, snapshot.oldest_cancel_at),
        );
        self.number(
            "terraform_state_lock_age_seconds",
            "How long the lock of a state of terraform is held that is held longest; 0 when nobody holds one",
            age(self.now, snapshot.oldest_state_lock_at),
        );
    }

    fn workers(&mut self, snapshot: &Snapshot) {
        let ready = Family::<Pool, Number>::default();
        let alive = Family::<Pool, Number>::default();
        let seen = Family::<Pool, Number>::default();
        let busy = Family::<Pool, Number>::default();
        for (name, count) in pools(snapshot) {
            let pool = Pool { pool: name };
            ready.get_or_create(&pool).set(count);
            alive.get_or_create(&pool).set(0.0);
            busy.get_or_create(&pool).set(0.0);
        }
        for workers in &snapshot.workers {
            let pool = Pool {
                pool: workers.function.clone(),
            };
            alive.get_or_create(&pool).set(number(workers.alive));
            seen.get_or_create(&pool)
                .set(workers.seen_at.timestamp_micros() as f64 / 1e6);
            busy.get_or_create(&pool).set(busy_ratio(workers));
        }
        self.registry.register(
            "task_pool_queue_depth",
            "Ready jobs that a function's workers could take",
            ready,
        );
        self.registry.register(
            "task_workers_alive",
            "Processes of a function that were seen within 60 s",
            alive,
        );
        self.registry.register(
            "task_worker_last_heartbeat_timestamp_seconds",
            "When a process of a function was last seen",
            seen,
        );
        self.registry.register(
            "task_worker_busy_ratio",
            "Which part of the slots of a function's processes is taken",
            busy,
        );
    }

    fn publishing(&mut self, snapshot: &Snapshot) {
        let pending = Family::<ToBroker, Number>::default();
        let oldest = Family::<ToBroker, Number>::default();
        let refused = Family::<ToBroker, Number>::default();
        let hears = Family::<ToBroker, Number>::default();
        for publishing in &snapshot.brokers {
            let broker = ToBroker {
                broker: Broker::as_str(publishing.broker),
            };
            pending
                .get_or_create(&broker)
                .set(number(publishing.pending));
            oldest
                .get_or_create(&broker)
                .set(age(self.now, publishing.oldest_at));
            refused
                .get_or_create(&broker)
                .set(number(publishing.refused));
            if let Some(heard) = publishing.hears {
                hears
                    .get_or_create(&broker)
                    .set(if heard { 1.0 } else { 0.0 });
            }
        }
        self.registry.register(
            "outbox_pending",
            "Rows that wait to be published; counting stops at 10001",
            pending,
        );
        self.registry.register(
            "outbox_oldest_age_seconds",
            "How long the next row waits to be published",
            oldest,
        );
        self.registry.register(
            "outbox_refused",
            "Rows that a broker refused for good; counting stops at 10001",
            refused,
        );
        self.registry.register(
            "relay_hears",
            "Whether notifications reach a relay; without them it looks by the clock",
            hears,
        );
    }

    fn database(&mut self, snapshot: &Snapshot) {
        self.number(
            "database_oldest_snapshot_age_seconds",
            "How long the oldest snapshot has kept dead rows, to the tick; 0 when nobody holds one",
            snapshot.oldest_snapshot_secs.unwrap_or_default(),
        );
        let rows = Family::<Table, Number>::default();
        for (table, count) in exposition_rows(snapshot) {
            rows.get_or_create(&Table { table }).set(number(count));
        }
        self.registry.register(
            "default_partition_rows",
            "Rows that no day's partition took; counting stops at 10001",
            rows,
        );
    }

    fn number(&mut self, name: &str, help: &str, value: f64) {
        let gauge = Number::default();
        gauge.set(value);
        self.registry.register(name, help, gauge);
    }

    /// A number for each task, 0 where there is none; several for one label become one.
    fn by_task(
        &mut self,
        name: &str,
        help: &str,
        values: &[(Option<&str>, f64)],
        join: impl Fn(f64, f64) -> f64,
    ) {
        let family = Family::<Task, Number>::default();
        for label in &self.tasks {
            let value = values
                .iter()
                .filter(|(task, _)| self.label(*task) == label)
                .map(|(_, value)| *value)
                .fold(0.0, &join);
            family
                .get_or_create(&Task {
                    task: label.clone(),
                })
                .set(value);
        }
        self.registry.register(name, help, family);
    }

    fn label(&self, task: Option<&str>) -> &str {
        task.and_then(|task| self.tasks.iter().find(|known| *known == task))
            .map_or(OTHER_TASK, String::as_str)
    }
}

/// Which part of the slots is taken; none are without workers.
pub(crate) fn busy_ratio(workers: &Workers) -> f64 {
    if workers.slots > 0 {
        number(workers.used) / number(workers.slots)
    } else {
        0.0
    }
}
