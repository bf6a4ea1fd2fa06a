//! The queue as its table of states describes it, in memory and for one caller at a time. It knows nothing of how the
//! database does it; what the description leaves open (who of several is claimed, the clock) it takes from the database
//! and checks that it was allowed.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use model::{JobState, KeyMode, Waiting};
use uuid::Uuid;

use crate::op::{End, Limit, New, PauseKind, Said, Scope, Seq, When};

/// Fails the case with a message unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(From::from(format!($($message)+)));
        }
    };
}
pub(crate) use ensure;

/// The right to write to a job, as a worker remembers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hold {
    pub(crate) job: i64,
    pub(crate) epoch: i64,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Job {
    pub(crate) tenant: usize,
    pub(crate) task: usize,
    pub(crate) queue: Option<usize>,
    pub(crate) key: Option<usize>,
    pub(crate) seq: i64,
    pub(crate) state: JobState,
    pub(crate) priority: i32,
    pub(crate) attempts: i32,
    pub(crate) attempts_max: i32,
    pub(crate) epoch: i64,
    pub(crate) payload: i32,
    pub(crate) worker: Option<Uuid>,
    pub(crate) waiting: Option<Waiting>,
    pub(crate) runner: bool,
    pub(crate) replay_of: Option<i64>,
    pub(crate) replayed_as: Option<i64>,
    pub(crate) from_event: bool,
    /// Queued, and its time has not come.
    pub(crate) later: bool,
    /// Its lease or deadline is over.
    pub(crate) lapsed: bool,
    /// The time of its attempt is over.
    pub(crate) overrun: bool,
    /// In a named queue: it has begun and is queued again, so it is the next of its queue.
    pub(crate) begun: bool,
    /// As the database last showed it; what a lane is ordered by.
    pub(crate) run_at: DateTime<Utc>,
}

impl Job {
    /// Somebody works on it, here or outside, or decides on it.
    pub(crate) fn is_worked_on(&self) -> bool {
        match self.state {
            JobState::Running | JobState::Waiting | JobState::Cancelling => true,
            JobState::Queued
            | JobState::Succeeded
            | JobState::Dead
            | JobState::Cancelled
            | JobState::Superseded => false,
        }
    }

    pub(crate) fn waits_for_approval(&self) -> bool {
        self.state == JobState::Waiting && self.waiting == Some(Waiting::Approval)
    }

    /// It takes a place of what has a cap. What waits for a person does not.
    fn is_in_flight(&self) -> bool {
        self.is_worked_on() && !self.waits_for_approval()
    }

    /// No other job of its named queue may start.
    fn occupies_queue(&self) -> bool {
        self.is_worked_on() || self.begun
    }

    fn order(&self, id: i64) -> (i32, DateTime<Utc>, i64) {
        (self.priority, self.run_at, id)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    New,
    Superseded,
    Kept(i64),
    /// It is dead, because nothing is added where it belongs.
    Refused,
    /// The same, and nothing was written.
    Error,
}

/// What is answered to a callback: what became of it, what the job is now, and whether somebody asked it to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) outcome: &'static str,
    pub(crate) state: Option<JobState>,
    pub(crate) cancel: bool,
}

/// What a claim may have gone by that only the database knows.
pub(crate) struct Seen<'a> {
    /// The queued jobs that are marked as due.
    pub(crate) ready: BTreeSet<i64>,
    /// Whether somebody else has the lane of a job in hand.
    pub(crate) is_busy: &'a dyn Fn(&Job) -> bool,
}

/// A limit as it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    in_flight_max: Option<usize>,
    /// How many more may start. More come so seldom that none does.
    tokens: Option<usize>,
}

#[derive(Debug, Default)]
pub(crate) struct Reference {
    pub(crate) live: BTreeMap<i64, Job>,
    pub(crate) ended: BTreeMap<i64, Job>,
    pub(crate) purged: BTreeSet<i64>,
    pub(crate) high_water: BTreeMap<(usize, usize), i64>,
    /// What must be written down about each job, by kind.
    pub(crate) notes: BTreeSet<(i64, &'static str)>,
    /// Every hold that a claim ever gave.
    pub(crate) holds: Vec<Hold>,
    /// How a function said that its work ended, and of whose job.
    said: BTreeMap<Hold, (usize, &'static str)>,
    pub(crate) pauses: BTreeSet<(PauseKind, Scope)>,
    limits: BTreeMap<Scope, Standing>,
    /// Of a tenant's jobs of a task that are in no named queue.
    lane_caps: BTreeMap<(usize, usize), usize>,
}

impl Reference {
    /// The job of a hold, unless the hold is over.
    pub(crate) fn held(&self, hold: Hold) -> Option<&Job> {
        self.live
            .get(&hold.job)
            .filter(|job| job.epoch == hold.epoch && job.is_worked_on())
            .filter(|job| job.waiting != Some(Waiting::Approval))
    }

    /// Jobs, live or ended, for which the condition holds.
    pub(crate) fn jobs(&self, is_apt: impl Fn(&Job) -> bool) -> Vec<i64> {
        self.live
            .iter()
            .chain(&self.ended)
            .filter(|(_, job)| is_apt(job))
            .map(|(id, _)| *id)
            .collect()
    }

    /// Live or ended.
    pub(crate) fn job(&self, id: i64) -> Option<&Job> {
        self.live.get(&id).or_else(|| self.ended.get(&id))
    }

    fn job_mut(&mut self, id: i64) -> &mut Job {
        self.live.get_mut(&id).expect("the caller found it live")
    }

    fn note(&mut self, id: i64, kind: &'static str) {
        self.notes.insert((id, kind));
    }

    /// Writes down that a hold which was over was used, if the job can still tell.
    fn note_stale(&mut self, hold: Hold) {
        if self.live.contains_key(&hold.job) {
            self.note(hold.job, "stale_write");
        }
    }

    fn end(&mut self, id: i64, state: JobState) -> JobState {
        let mut job = self.live.remove(&id).expect("the caller found it live");
        if state == JobState::Superseded {
            self.note(id, "superseded");
        }
        job.state = state;
        job.later = false;
        self.ended.insert(id, job);
        state
    }

    fn pending(&self, tenant: usize, key: usize) -> Option<i64> {
        self.live
            .iter()
            .find(|(_, job)| {
                job.tenant == tenant && job.key == Some(key) && job.state == JobState::Queued
            })
            .map(|(id, _)| *id)
    }

    /// Adds a job; `id` and `seq` are those that the database gave it.
    pub(crate) fn add(
        &mut self,
        new: &New,
        id: i64,
        seq: i64,
        replay_of: Option<i64>,
    ) -> Result<Outcome, String> {
        let key = new.key.map(|(key, _)| key);
        let mut late = false;
        let refused = self.is_ruled_out(PauseKind::Drain, new.tenant, new.task, new.queue);
        if refused && (!new.from_event || replay_of.is_some()) {
            return Ok(Outcome::Error);
        }
        if let Some((key, mode)) = new.key.filter(|_| !refused) {
            let high_water = self.high_water.entry((new.tenant, key)).or_insert(seq);
            late = *high_water > seq;
            *high_water = seq.max(*high_water);
            if !late {
                match (self.pending(new.tenant, key), mode) {
                    (Some(old), KeyMode::Ignore) => return Ok(Outcome::Kept(old)),
                    (Some(old), KeyMode::Preserve) => {
                        let job = self.job_mut(old);
                        job.payload = new.payload;
                        job.seq = seq;
                        return Ok(Outcome::Kept(old));
                    }
                    (Some(old), KeyMode::Replace) => {
                        self.end(old, JobState::Superseded);
                    }
                    (None, _) => {}
                }
                let undecided = self
                    .live
                    .iter()
                    .find(|(_, job)| {
                        job.tenant == new.tenant && job.key == Some(key) && job.waits_for_approval()
                    })
                    .map(|(id, _)| *id);
                if let Some(undecided) = undecided {
                    self.end(undecided, JobState::Superseded);
                }
            }
        }
        let newest = self
            .live
            .keys()
            .chain(self.ended.keys())
            .chain(&self.purged);
        // What an open transaction added has a smaller id, but none has it twice.
        ensure!(
            !newest.copied().any(|other| other == id),
            "id {id} is used twice"
        );
        let job = Job {
            tenant: new.tenant,
            task: new.task,
            queue: new.queue,
            key,
            seq,
            state: JobState::Queued,
            priority: new.priority,
            attempts: 0,
            attempts_max: new.attempts_max,
            epoch: 0,
            payload: new.payload,
            worker: None,
            waiting: None,
            runner: false,
            replay_of,
            replayed_as: None,
            from_event: new.from_event,
            later: new.when == When::InAnHour,
            lapsed: false,
            overrun: false,
            begun: false,
            run_at: DateTime::UNIX_EPOCH,
        };
        self.live.insert(id, job);
        if refused {
            self.note(id, "refused");
            self.end(id, JobState::Dead);
            return Ok(Outcome::Refused);
        }
        if late {
            self.end(id, JobState::Superseded);
            return Ok(Outcome::Superseded);
        }
        Ok(Outcome::New)
    }

    /// Adds a job without a key that was added before, whatever is drained now.
    pub(crate) fn add_earlier(&mut self, new: &New, id: i64, refused: bool) -> Result<(), String> {
        let pauses = std::mem::take(&mut self.pauses);
        if refused {
            let scope = Scope {
                tenant: Some(new.tenant),
                task: None,
                queue: None,
            };
            self.pauses.insert((PauseKind::Drain, scope));
        }
        let added = self.add(new, id, 0, None);
        self.pauses = pauses;
        added.map(drop)
    }

    /// Whether a pause or a drain concerns such jobs.
    fn is_ruled_out(
        &self,
        kind: PauseKind,
        tenant: usize,
        task: usize,
        queue: Option<usize>,
    ) -> bool {
        self.pauses.iter().any(|(other, scope)| {
            *other == kind
                && scope.tenant.is_none_or(|of| of == tenant)
                && scope.task.is_none_or(|of| of == task)
                && (scope.queue.is_none() || scope.queue == queue)
        })
    }

    /// Whether a job may start as far as its key is concerned.
    fn key_is_free(&self, job: &Job) -> bool {
        job.key.is_none()
            || !self.live.values().any(|other| {
                other.tenant == job.tenant && other.key == job.key && other.is_worked_on()
            })
    }

    /// Whether caps, limits and pauses let it start.
    fn may_start(&self, job: &Job) -> bool {
        let lane = (job.tenant, job.task);
        !self.is_ruled_out(PauseKind::Pause, job.tenant, job.task, job.queue)
            && self
                .limits
                .iter()
                .filter(|(scope, _)| concerns(**scope, job))
                .all(|(scope, limit)| {
                    limit.tokens != Some(0)
                        && limit
                            .in_flight_max
                            .is_none_or(|max| self.in_flight(*scope) < max)
                })
            && (job.queue.is_some()
                || self
                    .lane_caps
                    .get(&lane)
                    .is_none_or(|max| self.in_lane(lane) < *max))
    }

    fn in_flight(&self, scope: Scope) -> usize {
        self.live
            .values()
            .filter(|job| concerns(scope, job) && job.is_in_flight())
            .count()
    }

    fn in_lane(&self, (tenant, task): (usize, usize)) -> usize {
        self.live
            .values()
            .filter(|job| job.queue.is_none() && (job.tenant, job.task) == (tenant, task))
            .filter(|job| job.is_in_flight())
            .count()
    }

    pub(crate) fn pause(&mut self, kind: PauseKind, scope: Scope) {
        self.pauses.insert((kind, scope));
    }

    /// How many pauses and drains it ended.
    pub(crate) fn resume(&mut self, scope: Scope) -> usize {
        let before = self.pauses.len();
        self.pauses.retain(|(_, other)| *other != scope);
        before - self.pauses.len()
    }

    /// Whether there is a limit now.
    pub(crate) fn set_limit(&mut self, scope: Scope, limit: Limit) -> bool {
        if limit.in_flight_max.is_none() && limit.burst.is_none() {
            self.limits.remove(&scope);
            return false;
        }
        let before = self.limits.get(&scope).and_then(|limit| limit.tokens);
        let standing = Standing {
            in_flight_max: limit.in_flight_max.map(usize::from),
            // A bucket that is new is full.
            tokens: limit
                .burst
                .map(usize::from)
                .map(|burst| before.unwrap_or(burst).min(burst)),
        };
        self.limits.insert(scope, standing);
        true
    }

    pub(crate) fn set_lane_cap(&mut self, tenant: usize, task: usize, cap: Option<u8>) {
        match cap {
            Some(cap) => self.lane_caps.insert((tenant, task), usize::from(cap)),
            None => self.lane_caps.remove(&(tenant, task)),
        };
    }

    /// The scopes of all limits, and the lanes with a cap.
    pub(crate) fn ruled(&self) -> (Vec<Scope>, Vec<(usize, usize)>) {
        (
            self.limits.keys().copied().collect(),
            self.lane_caps.keys().copied().collect(),
        )
    }

    /// Jobs of these tasks that a claim may take first. `ready` are those that the database has marked as due.
    pub(crate) fn claimable(&self, tasks: &[usize], ready: &BTreeSet<i64>) -> BTreeSet<i64> {
        self.live
            .iter()
            .filter(|(id, job)| {
                job.state == JobState::Queued
                    && ready.contains(id)
                    && tasks.contains(&job.task)
                    && self.key_is_free(job)
                    && self.may_start(job)
                    && self.is_next_of_queue(**id, job, ready)
            })
            .map(|(id, _)| *id)
            .collect()
    }

    /// A named queue has one job at a time: first the one that has begun, else in order.
    fn is_next_of_queue(&self, id: i64, job: &Job, ready: &BTreeSet<i64>) -> bool {
        job.queue.is_none()
            || !self.live.iter().any(|(other_id, other)| {
                *other_id != id
                    && other.tenant == job.tenant
                    && other.queue == job.queue
                    && (other.occupies_queue()
                        || !job.begun
                            && ready.contains(other_id)
                            && other.order(*other_id) < job.order(id))
            })
    }

    /// Takes over what a claim took, if it was allowed to take it and left nothing behind that it could have taken.
    pub(crate) fn claim(
        &mut self,
        worker: Uuid,
        tasks: &[usize],
        limit: usize,
        claimed: &[Hold],
        seen: &Seen<'_>,
    ) -> Result<(), String> {
        let Seen { ready, is_busy } = seen;
        let claimable = self.claimable(tasks, ready);
        let ids: BTreeSet<i64> = claimed.iter().map(|hold| hold.job).collect();
        ensure!(
            ids.len() == claimed.len(),
            "a job was claimed twice: {claimed:?}"
        );
        ensure!(
            ids.len() <= limit,
            "{} jobs were claimed, not {limit}",
            ids.len()
        );
        let not_allowed: Vec<_> = ids.difference(&claimable).collect();
        ensure!(
            not_allowed.is_empty(),
            "claimed although they were not claimable: {not_allowed:?}, claimable were {claimable:?}"
        );
        for hold in claimed {
            let job = &self.live[&hold.job];
            let passed_over = claimable.iter().find(|id| {
                let other = &self.live[id];
                !ids.contains(id)
                    && job.queue.is_none()
                    && other.queue.is_none()
                    && (other.tenant, other.task) == (job.tenant, job.task)
                    && other.order(**id) < job.order(hold.job)
            });
            ensure!(
                passed_over.is_none(),
                "job {} was claimed before {passed_over:?} of its lane",
                hold.job
            );
        }
        let free = claimable
            .iter()
            .filter(|id| !is_busy(&self.live[id]))
            .count();
        // How many a claim takes at once is its affair.
        ensure!(
            free == 0 || !ids.is_empty(),
            "nothing was claimed of {claimable:?}"
        );
        for hold in claimed {
            let job = self.job_mut(hold.job);
            job.state = JobState::Running;
            job.epoch += 1;
            job.attempts += 1;
            job.worker = Some(worker);
            job.lapsed = false;
            job.overrun = false;
            job.begun = false;
            ensure!(
                hold.epoch == job.epoch,
                "job {} was claimed with epoch {}, not {}",
                hold.job,
                hold.epoch,
                job.epoch
            );
            self.holds.push(*hold);
        }
        let claimed: Vec<&Job> = ids.iter().map(|id| &self.live[id]).collect();
        for (scope, limit) in &self.limits {
            let started = claimed.iter().filter(|job| concerns(*scope, job)).count();
            let in_flight = self.in_flight(*scope);
            ensure!(
                started == 0 || limit.in_flight_max.is_none_or(|max| in_flight <= max),
                "{in_flight} jobs are in flight where {scope:?} has {limit:?}"
            );
            ensure!(
                limit.tokens.is_none_or(|tokens| started <= tokens),
                "{started} jobs were started where {scope:?} has {limit:?}"
            );
        }
        for (lane, max) in &self.lane_caps {
            let started = claimed
                .iter()
                .any(|job| job.queue.is_none() && (job.tenant, job.task) == *lane);
            let in_flight = self.in_lane(*lane);
            ensure!(
                !started || in_flight <= *max,
                "{in_flight} jobs are in flight in the lane {lane:?} with a cap of {max}"
            );
        }
        let jobs: Vec<Job> = claimed.into_iter().cloned().collect();
        for (scope, limit) in &mut self.limits {
            let started = jobs.iter().filter(|job| concerns(*scope, job)).count();
            limit.tokens = limit.tokens.map(|tokens| tokens - started);
        }
        Ok(())
    }

    /// Whether the hold is renewed, and whether the worker is told to stop.
    pub(crate) fn beat(&mut self, hold: Hold) -> (bool, bool) {
        let Some(job) = self
            .live
            .get_mut(&hold.job)
            .filter(|job| job.epoch == hold.epoch && !job.lapsed)
            .filter(|job| matches!(job.state, JobState::Running | JobState::Cancelling))
        else {
            return (false, false);
        };
        job.lapsed = job.overrun;
        (true, job.state == JobState::Cancelling)
    }

    /// What is recorded for each, or nothing at all when one is said to be cancelled whom nobody asked to stop.
    pub(crate) fn finish(&mut self, ends: &[(Hold, End)]) -> Option<BTreeMap<Hold, JobState>> {
        let unasked = ends.iter().any(|(hold, end)| {
            *end == End::Cancelled
                && self
                    .held(*hold)
                    .is_some_and(|job| job.state != JobState::Cancelling)
        });
        if unasked {
            return None;
        }
        let mut recorded = BTreeMap::new();
        for (hold, end) in ends {
            let Some(job) = self.held(*hold) else {
                self.note_stale(*hold);
                continue;
            };
            if job.state == JobState::Cancelling {
                self.note(
                    hold.job,
                    match end {
                        End::Cancelled => "cancelled",
                        End::Succeeded | End::Dead => "cancel_too_late",
                    },
                );
            }
            recorded.insert(*hold, self.end(hold.job, end.state()));
        }
        Some(recorded)
    }

    /// Back to `queued`, unless it was asked to stop or a newer job has its key.
    fn put_back(&mut self, id: i64, later: bool, attempt_counts: bool) -> JobState {
        let job = &self.live[&id];
        if job.state == JobState::Cancelling {
            self.note(id, "cancelled");
            return self.end(id, JobState::Cancelled);
        }
        let newer = job.key.and_then(|key| self.pending(job.tenant, key));
        if newer.is_some() {
            return self.end(id, JobState::Superseded);
        }
        let job = self.job_mut(id);
        job.state = JobState::Queued;
        job.attempts -= i32::from(!attempt_counts);
        job.later = later;
        job.worker = None;
        job.waiting = None;
        job.runner = false;
        job.lapsed = false;
        job.overrun = false;
        job.begun = job.queue.is_some();
        JobState::Queued
    }

    pub(crate) fn retry(&mut self, hold: Hold, later: bool) -> Option<JobState> {
        let Some(job) = self.held(hold) else {
            self.note_stale(hold);
            return None;
        };
        if job.state != JobState::Cancelling && job.attempts >= job.attempts_max {
            return Some(self.end(hold.job, JobState::Dead));
        }
        let state = self.put_back(hold.job, later, true);
        if state == JobState::Queued {
            self.note(hold.job, "retry_planned");
        }
        Some(state)
    }

    pub(crate) fn snooze(&mut self, hold: Hold, later: bool) -> Option<JobState> {
        if self.held(hold).is_none() {
            self.note_stale(hold);
            return None;
        }
        let state = self.put_back(hold.job, later, false);
        if state == JobState::Queued {
            self.note(hold.job, "snoozed");
        }
        Some(state)
    }

    /// Which of them were still held by a worker.
    pub(crate) fn release(&mut self, holds: &[Hold]) -> usize {
        let mut released = 0;
        for hold in holds {
            let is_held = self
                .held(*hold)
                .is_some_and(|job| matches!(job.state, JobState::Running | JobState::Cancelling));
            if is_held {
                self.note(hold.job, "released");
                self.put_back(hold.job, false, false);
                released += 1;
            }
        }
        released
    }

    pub(crate) fn wait(&mut self, hold: Hold, waiting: Waiting) -> Option<JobState> {
        let Some(job) = self.held(hold) else {
            self.note_stale(hold);
            return None;
        };
        if waiting == Waiting::Approval {
            // What would wait for a person gives way to a newer job with its key, and ends when it was asked to stop.
            let newer = job.key.and_then(|key| self.pending(job.tenant, key));
            if job.state == JobState::Cancelling || newer.is_some() {
                return Some(self.put_back(hold.job, false, true));
            }
        }
        let job = self.job_mut(hold.job);
        if job.state == JobState::Running {
            job.state = JobState::Waiting;
        }
        job.waiting = Some(waiting);
        job.runner |= waiting == Waiting::Runner;
        job.lapsed = false;
        let state = job.state;
        self.note(hold.job, "waits");
        Some(state)
    }

    /// Whose job it was that was held; of one that nobody remembers, anybody's.
    pub(crate) fn tenant_of(&self, hold: Hold) -> usize {
        self.job(hold.job)
            .map(|job| job.tenant)
            .or_else(|| self.said.get(&hold).map(|(tenant, _)| *tenant))
            .unwrap_or_default()
    }

    /// What a function says in a tenant's name, under a hold that may long be over.
    pub(crate) fn callback(&mut self, tenant: usize, hold: Hold, said: Said) -> Heard {
        let heard = |outcome, state| Heard {
            outcome,
            state,
            cancel: false,
        };
        let Some(job) = self.held(hold).filter(|job| job.tenant == tenant) else {
            let live = self.of_tenant(tenant, hold.job).map(|job| job.state);
            let ended = self
                .ended
                .get(&hold.job)
                .filter(|job| job.tenant == tenant && self.is_kept(job));
            let before = self.said.get(&hold).filter(|(of, _)| *of == tenant);
            let before = before.map(|(_, word)| *word);
            let state = live.or(ended.map(|job| job.state));
            if state.is_none() && before.is_none() {
                return heard("unknown", None);
            }
            // Unless the function said it, the worker did.
            let by_worker = ended
                .filter(|job| job.epoch == hold.epoch)
                .is_some_and(|job| {
                    matches!(
                        (job.state, said),
                        (JobState::Succeeded, Said::Success)
                            | (JobState::Dead, Said::Error { .. })
                            | (JobState::Cancelled, Said::Cancelled)
                    )
                });
            if before == Some(said.word()) || before.is_none() && by_worker {
                return heard("duplicate", state);
            }
            if live.is_some() {
                self.note_stale(hold);
            }
            return heard("stale", state);
        };
        let asked_to_stop = job.state == JobState::Cancelling;
        let end = match said {
            Said::Progress => {
                let job = self.job_mut(hold.job);
                let state = job.state;
                if state == JobState::Waiting && job.waiting == Some(Waiting::Callback) {
                    // A sign of life renews what is over, up to the end of the attempt.
                    job.lapsed &= job.overrun;
                }
                return Heard {
                    cancel: asked_to_stop,
                    ..heard("applied", Some(state))
                };
            }
            Said::Success => Some(End::Succeeded),
            Said::Error { retry: false } => Some(End::Dead),
            Said::Cancelled if asked_to_stop => Some(End::Cancelled),
            // Who stops unasked has failed.
            Said::Error { retry: true } | Said::Cancelled => None,
        };
        self.note(hold.job, "called_back");
        self.said.insert(hold, (tenant, said.word()));
        let state = match end {
            Some(end) => self
                .finish(&[(hold, end)])
                .and_then(|ended| ended.get(&hold).copied()),
            None => self.retry(hold, true),
        };
        heard("applied", state)
    }

    fn of_tenant(&self, tenant: usize, id: i64) -> Option<&Job> {
        self.live.get(&id).filter(|job| job.tenant == tenant)
    }

    pub(crate) fn decide(&mut self, tenant: usize, id: i64, approved: bool) -> bool {
        if !self
            .of_tenant(tenant, id)
            .is_some_and(Job::waits_for_approval)
        {
            return false;
        }
        if approved {
            self.note(id, "approved");
            self.put_back(id, false, false);
        } else {
            self.note(id, "rejected");
            self.end(id, JobState::Dead);
        }
        true
    }

    pub(crate) fn cancel(&mut self, tenant: usize, id: i64) -> Option<&'static str> {
        if self
            .ended
            .get(&id)
            .is_some_and(|job| job.tenant == tenant && self.is_kept(job))
        {
            self.note(id, "cancel_too_late");
            return Some("too_late");
        }
        let job = self.of_tenant(tenant, id)?;
        if job.state == JobState::Cancelling {
            return Some("already_requested");
        }
        let at_once = job.state == JobState::Queued || job.waits_for_approval();
        self.note(id, "cancel_requested");
        if at_once {
            self.note(id, "cancelled");
            self.end(id, JobState::Cancelled);
            Some("cancelled")
        } else {
            self.job_mut(id).state = JobState::Cancelling;
            Some("requested")
        }
    }

    pub(crate) fn settle(&mut self, tenant: usize, id: i64, end: End) -> bool {
        let can = self
            .of_tenant(tenant, id)
            .is_some_and(|job| matches!(job.state, JobState::Queued | JobState::Waiting));
        if can {
            self.note(id, "by_hand");
            self.end(id, end.state());
        }
        can
    }

    /// What a replay of the job adds; nothing unless it is dead and the tenant's.
    pub(crate) fn replayed(&self, tenant: usize, id: i64) -> Option<New> {
        let job = self
            .ended
            .get(&id)
            .filter(|job| job.tenant == tenant && job.state == JobState::Dead)?;
        Some(New {
            tenant,
            task: job.task,
            queue: job.queue,
            key: job.key.map(|key| (key, KeyMode::Replace)),
            seq: Seq::Fresh,
            priority: job.priority,
            when: When::Now,
            attempts_max: job.attempts_max,
            payload: job.payload,
            from_event: job.from_event,
        })
    }

    pub(crate) fn purge(&mut self, tenant: usize, id: i64) -> bool {
        let can = self
            .ended
            .get(&id)
            .is_some_and(|job| job.tenant == tenant && job.state == JobState::Dead);
        if can {
            self.ended.remove(&id);
            self.purged.insert(id);
        }
        can
    }

    /// What a worker that went away, a callback that does not come or a person who does not decide leads to.
    pub(crate) fn reap(&mut self) -> usize {
        let late: Vec<i64> = self
            .live
            .iter()
            .filter(|(_, job)| job.is_worked_on() && job.lapsed)
            // Work outside with a handle is stopped by it first.
            .filter(|(_, job)| !(job.state == JobState::Cancelling && job.runner))
            .map(|(id, _)| *id)
            .collect();
        for id in &late {
            let job = &self.live[id];
            let (undecided, used_up) = (
                job.waits_for_approval(),
                job.state != JobState::Cancelling && job.attempts >= job.attempts_max,
            );
            self.note(*id, "lease_over");
            if undecided || used_up {
                self.end(*id, JobState::Dead);
            } else {
                self.put_back(*id, false, true);
            }
        }
        late.len()
    }

    /// What is done to a live job that is taken back by hand. `is_due` as it is marked.
    pub(crate) fn repair(&mut self, id: i64, requeue: bool, is_due: bool) -> &'static str {
        let job = &self.live[&id];
        let did = match job.state {
            JobState::Queued if !is_due && requeue => "made_ready",
            JobState::Queued => "skipped",
            _ if job.waits_for_approval() => "skipped",
            JobState::Cancelling if job.runner => "skipped",
            JobState::Cancelling => "cancelled",
            _ if !requeue && job.attempts >= job.attempts_max => "dead",
            _ => "requeued",
        };
        if did == "skipped" {
            return did;
        }
        self.note(id, "by_hand");
        match did {
            "made_ready" => self.job_mut(id).later = false,
            "dead" => {
                self.end(id, JobState::Dead);
            }
            _ => {
                if self.put_back(id, false, !requeue) == JobState::Superseded {
                    return "superseded";
                }
            }
        }
        did
    }

    /// The third task keeps only what did not succeed.
    pub(crate) fn is_kept(&self, job: &Job) -> bool {
        job.task != FORGETFUL || job.state != JobState::Succeeded
    }
}

/// The task of which only failures are kept.
pub(crate) const FORGETFUL: usize = 2;

fn concerns(scope: Scope, job: &Job) -> bool {
    scope.tenant.is_none_or(|tenant| tenant == job.tenant)
        && scope.task.is_none_or(|task| task == job.task)
}

impl End {
    pub(crate) const fn state(self) -> JobState {
        match self {
            Self::Succeeded => JobState::Succeeded,
            Self::Dead => JobState::Dead,
            Self::Cancelled => JobState::Cancelled,
        }
    }
}
