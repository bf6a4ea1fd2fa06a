//! What one process counts of its own work, in the words of Prometheus (OpenMetrics text).
//!
//! A process counts what it did itself, from zero at its start, as Prometheus expects it; the sum over all processes is what
//! the installation did. What only the database knows (depths, ages, who is there) is measured by `cron-metrics` and told by
//! it alone. Labels are words of ours and names of tasks, of which [`TASKS_MAX`] are told apart; never ids.

mod labels;
mod scrape;

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use model::run::StepState;
use model::{Broker, JobState};
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use queue::measure::PriorityClass;
use tokio::sync::Semaphore;

use self::labels::{
    Delivered, From, OUTCOMES, Pool, RepairKind, Sink, Stream, Task, TaskOutcome, TaskPriority,
    TaskRun, TaskStep, TaskStop, ToBroker, Version, outcome, step, step_outcome,
};
pub use self::labels::{Repair, RunOutcome, Stopped, Streamed};
pub(crate) use self::scrape::answer;

/// Tasks that have series of their own; what comes after is counted together as [`OTHER_TASK`].
pub const TASKS_MAX: usize = 200;
/// The label of tasks that are not told apart.
pub const OTHER_TASK: &str = "_other";

/// Bounds of how long jobs were ready before they were started, in seconds.
const LATENCY_SECS: [f64; 12] = [
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0,
];
/// Bounds of how long attempts took, in seconds.
const DURATION_SECS: [f64; 10] = [
    1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0,
];

type Latency = Family<Task, Histogram, fn() -> Histogram>;
type Took = Family<TaskRun, Histogram, fn() -> Histogram>;
type StepTook = Family<TaskStep, Histogram, fn() -> Histogram>;
type Ratio = Gauge<f64, AtomicU64>;

/// The counters of a process. Cheap to clone; all clones count together.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    tasks: Mutex<HashSet<String>>,
    pools: Mutex<Vec<Slots>>,
    started: Family<TaskPriority, Counter>,
    finished: Family<TaskOutcome, Counter>,
    latency: Latency,
    took: Took,
    step_took: StepTook,
    stop_requests: Family<Task, Counter>,
    stops: Family<TaskStop, Counter>,
    repairs: Family<RepairKind, Counter>,
    publish_failures: Family<ToBroker, Counter>,
    received: Family<From, Counter>,
    delivered: Family<Delivered, Counter>,
    dead_lettered: Family<Sink, Counter>,
    sse_clients: Family<Stream, Gauge<i64, AtomicI64>>,
    store_failures: Counter,
    slots: Family<Pool, Gauge<i64, AtomicI64>>,
    slots_used: Family<Pool, Gauge<i64, AtomicI64>>,
    busy: Family<Pool, Ratio>,
}

/// The slots of one worker, read when somebody asks.
#[derive(Debug)]
struct Slots {
    pool: &'static str,
    free: Arc<Semaphore>,
    total: usize,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Counters at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("switchyard");
        let build = Family::<Version, Gauge>::default();
        build
            .get_or_create(&Version {
                version: env!("CARGO_PKG_VERSION"),
            })
            .set(1);
        registry.register("build_info", "The version that runs", build);
        let mut inner = Inner {
            registry,
            tasks: Mutex::default(),
            pools: Mutex::default(),
            started: Family::default(),
            finished: Family::default(),
            latency: Family::new_with_constructor(|| Histogram::new(LATENCY_SECS)),
            took: Family::new_with_constructor(|| Histogram::new(DURATION_SECS)),
            step_took: Family::new_with_constructor(|| Histogram::new(DURATION_SECS)),
            stop_requests: Family::default(),
            stops: Family::default(),
            repairs: Family::default(),
            publish_failures: Family::default(),
            received: Family::default(),
            delivered: Family::default(),
            dead_lettered: Family::default(),
            sse_clients: Family::default(),
            store_failures: Counter::default(),
            slots: Family::default(),
            slots_used: Family::default(),
            busy: Family::default(),
        };
        inner.register();
        let metrics = Self(Arc::new(inner));
        metrics.begin_at_zero();
        metrics
    }

    /// A task that this process may work on: its series begin at zero, so that the first job is an increase.
    pub fn know_task(&self, task: &str) {
        self.task(task);
    }

    /// An attempt at a job was started, after it had been ready for so long.
    pub fn started(&self, task: &str, priority: PriorityClass, waited: Duration) {
        let task = self.task(task);
        self.0
            .latency
            .get_or_create(&Task { task: task.clone() })
            .observe(waited.as_secs_f64());
        self.0
            .started
            .get_or_create(&TaskPriority {
                task,
                priority: priority.as_str(),
            })
            .inc();
    }

    /// An attempt at a job came to its end.
    pub fn ran(&self, task: &str, outcome: RunOutcome, took: Duration) {
        self.0
            .took
            .get_or_create(&TaskRun {
                task: self.task(task),
                outcome,
            })
            .observe(took.as_secs_f64());
    }

    /// A step of a run ended after so long. Steps that have not ended or never began are not counted; of names, those are told
    /// apart that tasks of ours give.
    pub fn step_ended(&self, task: &str, name: &str, state: StepState, took: Duration) {
        if let Some(outcome) = step_outcome(state) {
            self.0
                .step_took
                .get_or_create(&TaskStep {
                    task: self.task(task),
                    step: step(name),
                    outcome,
                })
                .observe(took.as_secs_f64());
        }
    }

    /// The store of artifacts did not do what it should.
    pub fn store_failed(&self) {
        self.0.store_failures.inc();
    }

    /// A job reached a final state. States that are not final are not counted.
    pub fn finished(&self, task: &str, state: JobState) {
        if let Some(outcome) = outcome(state) {
            self.0
                .finished
                .get_or_create(&TaskOutcome {
                    task: self.task(task),
                    outcome,
                })
                .inc();
        }
    }

    /// A job that is worked on was asked to stop.
    pub fn stop_requested(&self, task: &str) {
        self.0
            .stop_requests
            .get_or_create(&Task {
                task: self.task(task),
            })
            .inc();
    }

    /// A request to stop came to something.
    pub fn stopped(&self, task: &str, result: Stopped) {
        self.0
            .stops
            .get_or_create(&TaskStop {
                task: self.task(task),
                result,
            })
            .inc();
    }

    /// So many things were made right again.
    pub fn repaired(&self, kind: Repair, count: u64) {
        self.0
            .repairs
            .get_or_create(&RepairKind { kind })
            .inc_by(count);
    }

    /// A broker did not take an event.
    pub fn publish_failed(&self, broker: Broker) {
        self.0
            .publish_failures
            .get_or_create(&ToBroker {
                broker: broker.as_str(),
            })
            .inc();
    }

    /// An event came to this function, whatever became of it.
    pub fn received(&self, function: &'static str) {
        self.0
            .received
            .get_or_create(&From { source: function })
            .inc();
    }

    /// An event was sent and answered so; `None` when there was no answer. Sinks are brokers and Triggers: words of the
    /// manifests.
    pub fn delivered(&self, sink: &str, status: Option<StatusCode>) {
        self.0
            .delivered
            .get_or_create(&Delivered {
                sink: sink.to_owned(),
                code: egress::code_class(status),
            })
            .inc();
    }

    /// An event was given up: nobody will send it again by themselves.
    pub fn dead_lettered(&self, sink: &str) {
        self.0
            .dead_lettered
            .get_or_create(&Sink {
                sink: sink.to_owned(),
            })
            .inc();
    }

    /// A sink that this process sends to: its series begin at zero.
    pub fn know_sink(&self, sink: &str) {
        for code in egress::CODE_CLASSES {
            begin(
                &self.0.delivered,
                &Delivered {
                    sink: sink.to_owned(),
                    code,
                },
            );
        }
        begin(
            &self.0.dead_lettered,
            &Sink {
                sink: sink.to_owned(),
            },
        );
    }

    /// Somebody listens to a stream, until this is dropped.
    #[must_use]
    pub fn sse_client(&self, stream: Streamed) -> SseClient {
        let clients = self.0.sse_clients.get_or_create(&Stream { stream }).clone();
        clients.inc();
        SseClient(clients)
    }

    /// A function whose events are counted: its series begins at zero.
    pub(crate) fn know_function(&self, function: &'static str) {
        begin(&self.0.received, &From { source: function });
    }

    /// A worker that has not begun yet: its slots are free.
    pub(crate) fn know_pool(&self, pool: &'static str, total: usize) {
        let total = u32::try_from(total).unwrap_or(u32::MAX);
        let pool = Pool { pool };
        self.0.slots.get_or_create(&pool).set(total.into());
        begin(&self.0.slots_used, &pool);
        begin(&self.0.busy, &pool);
    }

    /// Tells from now on how busy a worker is: the share of its slots that is taken.
    pub(crate) fn watch_slots(&self, pool: &'static str, free: Arc<Semaphore>, total: usize) {
        let mut pools = self.0.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.push(Slots { pool, free, total });
    }

    /// All of it as OpenMetrics text, without the mark of the end, so that others may go on.
    ///
    /// # Errors
    /// Never in practice: a `String` takes what is written to it.
    pub fn encode(&self, text: &mut String) -> fmt::Result {
        self.read_slots();
        text::encode_registry(text, &self.0.registry)
    }

    fn read_slots(&self) {
        let pools = self.0.pools.lock().unwrap_or_else(PoisonError::into_inner);
        for slots in pools.iter() {
            let total = slots.total.max(1);
            let used = total.saturating_sub(slots.free.available_permits());
            let (used, total) = (
                u32::try_from(used).unwrap_or(u32::MAX),
                u32::try_from(total).unwrap_or(u32::MAX),
            );
            let pool = Pool { pool: slots.pool };
            self.0.slots.get_or_create(&pool).set(total.into());
            self.0.slots_used.get_or_create(&pool).set(used.into());
            self.0
                .busy
                .get_or_create(&pool)
                .set(f64::from(used) / f64::from(total));
        }
    }

    /// The label of a task.
    fn task(&self, task: &str) -> String {
        let mut known = self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(task) {
            return task.to_owned();
        }
        let label = if known.len() < TASKS_MAX {
            task
        } else {
            OTHER_TASK
        };
        if known.insert(label.to_owned()) {
            self.0.begin_task(label);
        }
        label.to_owned()
    }

    fn begin_at_zero(&self) {
        for stream in Streamed::ALL {
            begin(&self.0.sse_clients, &Stream { stream: *stream });
        }
        for kind in Repair::ALL {
            begin(&self.0.repairs, &RepairKind { kind: *kind });
        }
        for broker in Broker::ALL {
            begin(
                &self.0.publish_failures,
                &ToBroker {
                    broker: broker.as_str(),
                },
            );
        }
    }
}

impl Inner {
    fn register(&mut self) {
        let Self {
            registry,
            tasks: _,
            pools: _,
            started,
            finished,
            latency,
            took,
            step_took,
            stop_requests,
            stops,
            repairs,
            publish_failures,
            received,
            delivered,
            dead_lettered,
            sse_clients,
            store_failures,
            slots,
            slots_used,
            busy,
        } = self;
        registry.register(
            "tasks_started",
            "Attempts at jobs that began",
            started.clone(),
        );
        registry.register(
            "tasks_finished",
            "Jobs that reached a final state, by whom it was told: the relay of `observed`",
            finished.clone(),
        );
        registry.register(
            "task_queue_latency_seconds",
            "How long jobs were ready before an attempt began",
            latency.clone(),
        );
        registry.register(
            "task_run_duration_seconds",
            "How long attempts took",
            took.clone(),
        );
        registry.register(
            "task_step_duration_seconds",
            "How long steps of runs took, by whom it was told: the callback endpoint",
            step_took.clone(),
        );
        registry.register(
            "artifact_store_failures",
            "Times that the store of artifacts did not take or give what it should",
            store_failures.clone(),
        );
        registry.register(
            "task_cancellations_requested",
            "Requests to stop a job that is worked on",
            stop_requests.clone(),
        );
        registry.register(
            "task_cancellations_applied",
            "What requests to stop came to",
            stops.clone(),
        );
        registry.register("task_repairs", "What was made right again", repairs.clone());
        registry.register(
            "task_publish_failures",
            "Events that a broker did not take; they are sent again unless it refused them",
            publish_failures.clone(),
        );
        registry.register(
            "events_received",
            "Events that came to a function",
            received.clone(),
        );
        registry.register(
            "events_delivered",
            "Events that were sent, by the class of the answer",
            delivered.clone(),
        );
        registry.register(
            "events_dead_lettered",
            "Events that were given up",
            dead_lettered.clone(),
        );
        egress::register(registry);
        registry.register(
            "sse_clients",
            "Who listens to a stream",
            sse_clients.clone(),
        );
        registry.register(
            "worker_slots",
            "Jobs that this process works on at a time",
            slots.clone(),
        );
        registry.register(
            "worker_slots_used",
            "Jobs that this process works on",
            slots_used.clone(),
        );
        registry.register(
            "worker_busy_ratio",
            "Which part of this process's slots is taken",
            busy.clone(),
        );
    }

    fn begin_task(&self, task: &str) {
        let task = || task.to_owned();
        for priority in PriorityClass::ALL {
            begin(
                &self.started,
                &TaskPriority {
                    task: task(),
                    priority: priority.as_str(),
                },
            );
        }
        for outcome in OUTCOMES.into_iter().filter_map(outcome) {
            begin(
                &self.finished,
                &TaskOutcome {
                    task: task(),
                    outcome,
                },
            );
        }
        for outcome in RunOutcome::ALL {
            begin(
                &self.took,
                &TaskRun {
                    task: task(),
                    outcome: *outcome,
                },
            );
        }
        for result in Stopped::ALL {
            begin(
                &self.stops,
                &TaskStop {
                    task: task(),
                    result: *result,
                },
            );
        }
        begin(&self.latency, &Task { task: task() });
        begin(&self.stop_requests, &Task { task: task() });
    }
}

/// A series is there from its first mention on.
fn begin<S, M, C>(family: &Family<S, M, C>, labels: &S)
where
    S: Clone + Eq + std::hash::Hash,
    C: prometheus_client::metrics::family::MetricConstructor<M>,
{
    drop(family.get_or_create(labels));
}

/// Somebody who listens to a stream.
#[derive(Debug)]
pub struct SseClient(Gauge<i64, AtomicI64>);

impl Drop for SseClient {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(metrics: &Metrics) -> String {
        let mut text = String::new();
        metrics.encode(&mut text).expect("a string takes all");
        text
    }

    #[test]
    fn a_known_task_has_all_its_series_before_its_first_job() {
        let metrics = Metrics::new();
        metrics.know_task("task-a");
        let text = text(&metrics);
        for line in [
            r#"switchyard_tasks_started_total{task="task-a",priority="low"} 0"#,
            r#"switchyard_tasks_finished_total{task="task-a",outcome="failed"} 0"#,
            r#"switchyard_task_cancellations_applied_total{task="task-a",result="noop"} 0"#,
            r#"switchyard_task_run_duration_seconds_count{task="task-a",outcome="put_back"} 0"#,
            r#"switchyard_task_queue_latency_seconds_bucket{le="0.05",task="task-a"} 0"#,
            r#"switchyard_task_repairs_total{kind="lease_expired"} 0"#,
            r#"switchyard_task_publish_failures_total{broker="work"} 0"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn tasks_beyond_the_bound_are_counted_together() {
        let metrics = Metrics::new();
        for number in 0..TASKS_MAX + 50 {
            metrics.finished(&format!("task-{number}"), JobState::Succeeded);
        }
        let text = text(&metrics);
        let series = text
            .lines()
            .filter(|line| line.starts_with("switchyard_tasks_finished_total{"))
            .count();
        assert_eq!(series, (TASKS_MAX + 1) * OUTCOMES.len());
        let other = r#"switchyard_tasks_finished_total{task="_other",outcome="succeeded"} 50"#;
        assert!(text.contains(other), "{text}");
    }

    #[test]
    fn a_worker_tells_how_busy_it_is_now() {
        let metrics = Metrics::new();
        let free = Arc::new(Semaphore::new(4));
        metrics.watch_slots("task-a", Arc::clone(&free), 4);
        let _taken = free.try_acquire_many(3).expect("there are four");
        let text = text(&metrics);
        assert!(text.contains(r#"switchyard_worker_slots_used{pool="task-a"} 3"#));
        assert!(text.contains(r#"switchyard_worker_busy_ratio{pool="task-a"} 0.75"#));
    }

    #[test]
    fn who_leaves_a_stream_is_no_longer_counted() {
        let metrics = Metrics::new();
        let (one, two) = (
            metrics.sse_client(Streamed::Portal),
            metrics.sse_client(Streamed::Portal),
        );
        drop(one);
        assert!(text(&metrics).contains(r#"switchyard_sse_clients{stream="portal"} 1"#));
        drop(two);
        assert!(text(&metrics).contains(r#"switchyard_sse_clients{stream="portal"} 0"#));
    }
}
