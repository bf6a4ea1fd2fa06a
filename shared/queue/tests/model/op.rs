//! What may happen to the queue, in a form that shrinks: an operation names what it works on by a number that is taken
//! modulo what there is when its turn comes.

use model::{KeyMode, Waiting};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};

pub(crate) const TENANTS: usize = 2;
pub(crate) const TASKS: usize = 3;
pub(crate) const QUEUES: usize = 2;
pub(crate) const KEYS: usize = 2;
pub(crate) const WORKERS: usize = 3;
/// How many old numbers a late event may carry.
pub(crate) const RESERVED: usize = 4;

/// One of the things there are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pick {
    /// One to which the operation should apply, if there is one; else any, the finished and the stale included.
    pub(crate) apt: bool,
    pub(crate) index: u16,
}

impl Pick {
    pub(crate) fn of<T: Copy>(self, things: &[T]) -> Option<T> {
        (!things.is_empty()).then(|| things[usize::from(self.index) % things.len()])
    }
}

/// A time, as seen from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    LongAgo,
    Now,
    InAnHour,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seq {
    /// The next number.
    Fresh,
    /// That of an event which was accepted before all others.
    Late(usize),
}

#[derive(Debug, Clone)]
pub(crate) struct New {
    pub(crate) tenant: usize,
    pub(crate) task: usize,
    pub(crate) queue: Option<usize>,
    pub(crate) key: Option<(usize, KeyMode)>,
    pub(crate) seq: Seq,
    pub(crate) priority: i32,
    pub(crate) when: When,
    pub(crate) attempts_max: i32,
    pub(crate) payload: i32,
    /// Whether it comes from an event. What does is never refused with an error.
    pub(crate) from_event: bool,
}

/// What the caller of a claim remembers of the one before: who was served last, and how many jobs in a row it got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) after: After,
    pub(crate) used: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// Nobody: the queue begins anywhere.
    Nobody,
    Tenant(usize),
    /// A tenant that has no jobs and comes after all others.
    Stranger,
}

/// What a rule is about. Of a tenant and a task each may be missing, not both; a queue is a tenant's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Scope {
    pub(crate) tenant: Option<usize>,
    pub(crate) task: Option<usize>,
    pub(crate) queue: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PauseKind {
    Pause,
    Drain,
}

/// What may be in flight, and how many may start: a rate that is as good as none, after a burst.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) in_flight_max: Option<u8>,
    pub(crate) burst: Option<u8>,
}

/// How a worker says that a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Succeeded,
    Dead,
    Cancelled,
}

/// What a called function says of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    Progress,
    Success,
    Error { retry: bool },
    Cancelled,
}

impl Said {
    /// As the database has it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Progress => "progress",
            Self::Success => "success",
            Self::Error { .. } => "error",
            Self::Cancelled => "cancelled",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delay {
    /// The task's backoff.
    Backoff,
    None,
    Hour,
}

/// A person acts in the name of the job's tenant, or of another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OnJob {
    pub(crate) job: Pick,
    pub(crate) foreign: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Op {
    Add(New),
    /// Adds in a transaction that stays open until `Close`.
    AddOpen(New),
    Close {
        commit: bool,
    },
    Claim {
        worker: usize,
        /// One bit for each task.
        tasks: u8,
        limit: i32,
        /// Whose turn the worker takes it to be.
        turn: Turn,
    },
    Beat(Pick),
    Finish(Vec<(Pick, End)>),
    Retry(Pick, Delay),
    Snooze(Pick, Delay),
    Release(Vec<Pick>),
    Wait(Pick, Waiting),
    /// By whoever was called, perhaps before the job waits for it, or long after.
    Callback {
        hold: Pick,
        said: Said,
        /// In the name of another tenant.
        foreign: bool,
    },
    Log(Pick),
    Decide(OnJob, bool),
    Cancel(OnJob),
    Settle(OnJob, End),
    Replay(OnJob),
    Purge(OnJob),
    /// The lease or deadline of a job ends.
    Lapse(Pick),
    /// The time of an attempt ends, and its lease with it.
    Overrun(Pick),
    Reap {
        /// Also looks where nothing is expected.
        all: bool,
    },
    /// The time comes at which a job is due.
    ComeDue(Pick, When),
    MakeDue {
        all: bool,
    },
    Pause(PauseKind, Scope),
    Resume(Scope),
    /// Of a tenant, a task or both: the scope has no queue.
    Limit(Scope, Limit),
    LaneCap {
        tenant: usize,
        task: usize,
        cap: Option<u8>,
    },
    Weight(usize, u8),
    /// Long enough for what is done at most every other second to a lane.
    TimePasses,
    /// Takes a job back by hand.
    Repair {
        job: Pick,
        /// As uncounted, also what is queued or dead; else as if the lease were over.
        requeue: bool,
    },
}

fn pick() -> impl Strategy<Value = Pick> {
    (proptest::bool::weighted(0.8), any::<u16>()).prop_map(|(apt, index)| Pick { apt, index })
}

fn on_job() -> impl Strategy<Value = OnJob> {
    (pick(), proptest::bool::weighted(0.1)).prop_map(|(job, foreign)| OnJob { job, foreign })
}

fn key() -> impl Strategy<Value = (usize, KeyMode)> {
    (
        0..KEYS,
        prop_oneof![
            3 => Just(KeyMode::Replace),
            1 => Just(KeyMode::Preserve),
            1 => Just(KeyMode::Ignore),
        ],
    )
}

fn new() -> impl Strategy<Value = New> {
    (
        (0..TENANTS, 0..TASKS, option::weighted(0.4, 0..QUEUES)),
        option::weighted(0.5, key()),
        prop_oneof![4 => Just(Seq::Fresh), 1 => (0..RESERVED).prop_map(Seq::Late)],
        prop_oneof![2 => Just(0), 1 => -1..=1],
        prop_oneof![4 => Just(When::Now), 2 => Just(When::LongAgo), 1 => Just(When::InAnHour)],
        1..=3,
        any::<i16>().prop_map(i32::from),
        any::<bool>(),
    )
        .prop_map(
            |(
                (tenant, task, queue),
                key,
                seq,
                priority,
                when,
                attempts_max,
                payload,
                from_event,
            )| New {
                tenant,
                task,
                queue,
                key,
                seq,
                priority,
                when,
                attempts_max,
                payload,
                from_event,
            },
        )
}

/// What an open transaction adds: without a key, whose lock would make everybody wait for it.
fn new_open() -> impl Strategy<Value = New> {
    new().prop_map(|new| New {
        key: None,
        seq: Seq::Fresh,
        ..new
    })
}

fn turn() -> impl Strategy<Value = Turn> {
    let after = prop_oneof![
        4 => (0..TENANTS).prop_map(After::Tenant),
        1 => Just(After::Stranger),
        1 => Just(After::Nobody),
    ];
    (after, 1..=3).prop_map(|(after, used)| Turn { after, used })
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        3 => Just(End::Succeeded),
        2 => Just(End::Dead),
        1 => Just(End::Cancelled),
    ]
}

fn said() -> impl Strategy<Value = Said> {
    prop_oneof![
        1 => Just(Said::Progress),
        3 => Just(Said::Success),
        2 => any::<bool>().prop_map(|retry| Said::Error { retry }),
        1 => Just(Said::Cancelled),
    ]
}

fn delay() -> impl Strategy<Value = Delay> {
    prop_oneof![Just(Delay::Backoff), Just(Delay::None), Just(Delay::Hour)]
}

fn waiting() -> impl Strategy<Value = Waiting> {
    prop_oneof![
        1 => Just(Waiting::Runner),
        1 => Just(Waiting::Callback),
        2 => Just(Waiting::Approval),
    ]
}

fn settled() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Succeeded), Just(End::Dead)]
}

fn scope() -> impl Strategy<Value = Scope> {
    let scope = |tenant, task, queue| Scope {
        tenant,
        task,
        queue,
    };
    prop_oneof![
        (0..TASKS).prop_map(move |task| scope(None, Some(task), None)),
        (0..TENANTS).prop_map(move |tenant| scope(Some(tenant), None, None)),
        (0..TENANTS, 0..TASKS).prop_map(move |(tenant, task)| scope(
            Some(tenant),
            Some(task),
            None
        )),
        (0..TENANTS, 0..QUEUES).prop_map(move |(tenant, queue)| scope(
            Some(tenant),
            None,
            Some(queue)
        )),
    ]
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        16 => new().prop_map(Op::Add),
        3 => new_open().prop_map(Op::AddOpen),
        2 => proptest::bool::weighted(0.8).prop_map(|commit| Op::Close { commit }),
        14 => (0..WORKERS, 1..1_u8 << TASKS, 1..=4, turn())
            .prop_map(|(worker, tasks, limit, turn)| Op::Claim { worker, tasks, limit, turn }),
        2 => pick().prop_map(Op::Beat),
        5 => vec((pick(), end()), 1..=3).prop_map(Op::Finish),
        5 => (pick(), delay()).prop_map(|(hold, delay)| Op::Retry(hold, delay)),
        2 => (pick(), delay()).prop_map(|(hold, delay)| Op::Snooze(hold, delay)),
        2 => vec(pick(), 1..=3).prop_map(Op::Release),
        5 => (pick(), waiting()).prop_map(|(hold, waiting)| Op::Wait(hold, waiting)),
        6 => (pick(), said(), proptest::bool::weighted(0.1))
            .prop_map(|(hold, said, foreign)| Op::Callback { hold, said, foreign }),
        1 => pick().prop_map(Op::Log),
        4 => (on_job(), any::<bool>()).prop_map(|(job, yes)| Op::Decide(job, yes)),
        4 => on_job().prop_map(Op::Cancel),
        2 => (on_job(), settled()).prop_map(|(job, end)| Op::Settle(job, end)),
        2 => on_job().prop_map(Op::Replay),
        1 => on_job().prop_map(Op::Purge),
        3 => pick().prop_map(Op::Lapse),
        1 => pick().prop_map(Op::Overrun),
        3 => any::<bool>().prop_map(|all| Op::Reap { all }),
        4 => (pick(), prop_oneof![Just(When::Now), Just(When::LongAgo)])
            .prop_map(|(job, when)| Op::ComeDue(job, when)),
        1 => any::<bool>().prop_map(|all| Op::MakeDue { all }),
        1 => (prop_oneof![2 => Just(PauseKind::Pause), 1 => Just(PauseKind::Drain)], scope())
            .prop_map(|(kind, scope)| Op::Pause(kind, scope)),
        2 => scope().prop_map(Op::Resume),
        2 => (scope(), option::of(1..=3_u8), option::weighted(0.3, 1..=4_u8)).prop_map(
            |(scope, in_flight_max, burst)| {
                Op::Limit(Scope { queue: None, ..scope }, Limit { in_flight_max, burst })
            }
        ),
        1 => (0..TENANTS, 0..TASKS, option::of(1..=2_u8))
            .prop_map(|(tenant, task, cap)| Op::LaneCap { tenant, task, cap }),
        3 => Just(Op::TimePasses),
        1 => (0..TENANTS, prop_oneof![Just(1), Just(3)])
            .prop_map(|(tenant, weight)| Op::Weight(tenant, weight)),
        2 => (pick(), any::<bool>()).prop_map(|(job, requeue)| Op::Repair { job, requeue }),
    ]
}
