//! Many sessions at once do whatever comes to their mind. Nobody can say what must come of it in which order, but some
//! things hold at every moment, and others when all is over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use futures::future::join_all;
use model::{JobState, Waiting};
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::case::{add_job, callback_job, code_of};
use crate::op::{
    After, Delay, End, Limit, OnJob, Op, PauseKind, Pick, Scope, Seq, TASKS, TENANTS, Turn,
};
use crate::reference::{Hold, ensure};
use crate::world::{World, Wrong, queue_name, task_name};

/// Rounds in which all that is left must come to an end.
const DRAIN_ROUNDS_MAX: usize = 400;

/// What all sessions know together.
#[derive(Default)]
struct Known {
    /// Each claim, in whatever order.
    claims: Vec<Hold>,
    /// Jobs that somebody was told are there, whose, and the numbers of those with a key.
    jobs: BTreeMap<i64, usize>,
    /// How a job ended, by whoever was told that it was he who ended it.
    ends: Vec<(i64, JobState)>,
    purged: BTreeSet<i64>,
}

pub(crate) struct Crowd<'a> {
    world: &'a World,
    known: Mutex<Known>,
    reserved: Vec<i64>,
}

impl<'a> Crowd<'a> {
    pub(crate) async fn new(world: &'a World) -> Result<Self, Wrong> {
        let reserved = world.empty().await?;
        // All that ended stays to be seen.
        world
            .execute("update switchyard.tasks set history = 'full' where name like 'model-%'")
            .await?;
        Ok(Self {
            world,
            known: Mutex::default(),
            reserved,
        })
    }

    /// Plays each list of operations in a session of its own, looks at what holds at every moment meanwhile, and at the rest
    /// afterwards.
    pub(crate) async fn play(self, sessions: &[Vec<Op>]) -> Result<(), Wrong> {
        let over = AtomicBool::new(false);
        let workers = async {
            let played = join_all(sessions.iter().map(|ops| self.session(ops))).await;
            over.store(true, Ordering::Release);
            played.into_iter().collect::<Result<Vec<()>, Wrong>>()
        };
        let watch = async {
            while !over.load(Ordering::Acquire) {
                self.world.check_counters().await?;
            }
            Ok::<(), Wrong>(())
        };
        let (workers, watch) = futures::join!(workers, watch);
        workers?;
        watch?;
        self.world.check_counters().await?;
        self.check().await?;
        self.drain().await?;
        self.check().await
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn session(&self, ops: &[Op]) -> Result<(), Wrong> {
        let mut session = self.world.parallel_session().await?;
        let worker = Uuid::new_v4();
        for op in ops {
            match self.act(&mut session, worker, op).await {
                Err(Wrong::Refused(error)) if is_expected(&error, op) => {}
                other => other.map_err(|wrong| wrong.during(&format!("{op:?}")))?,
            }
        }
        Ok(())
    }

    /// Of the holds there were, one of the last, for most others are over.
    fn hold(&self, pick: Pick) -> Option<Hold> {
        let known = self.known();
        let from = if pick.apt {
            known.claims.len().saturating_sub(16)
        } else {
            0
        };
        pick.of(&known.claims[from..])
    }

    fn job(&self, pick: Pick) -> Option<(usize, i64)> {
        let known = self.known();
        let all: Vec<(usize, i64)> = known
            .jobs
            .iter()
            .map(|(id, tenant)| (*tenant, *id))
            .collect();
        let from = if pick.apt {
            all.len().saturating_sub(24)
        } else {
            0
        };
        pick.of(&all[from..])
    }

    fn on(&self, on: OnJob) -> Option<(Uuid, i64)> {
        let (tenant, id) = self.job(on.job)?;
        let tenant = (tenant + usize::from(on.foreign)) % TENANTS;
        Some((self.world.tenants[tenant], id))
    }

    fn ended(&self, id: i64, state: Option<String>) {
        let state: Option<JobState> =
            state.map(|state| state.parse().expect("the database has no other states"));
        if let Some(state) = state.filter(|state| state.is_final()) {
            self.known().ends.push((id, state));
        }
    }

    async fn act(&self, session: &mut PgConnection, worker: Uuid, op: &Op) -> Result<(), Wrong> {
        match op {
            Op::Add(new) | Op::AddOpen(new) => {
                let seq = match new.seq {
                    Seq::Fresh => None,
                    Seq::Late(index) => Some(self.reserved[index % self.reserved.len()]),
                };
                let (id, _) = add_job(session, self.world, new, seq).await?;
                self.known().jobs.insert(id, new.tenant);
            }
            Op::Claim {
                tasks, limit, turn, ..
            } => {
                let tasks: Vec<usize> = (0..TASKS).filter(|task| tasks >> task & 1 == 1).collect();
                self.claim(session, worker, &tasks, *limit, *turn).await?;
            }
            Op::Beat(pick) => {
                if let Some(hold) = self.hold(*pick) {
                    sqlx::query(
                        "select switchyard.heartbeat_jobs(array[$1::bigint], array[$2::bigint], interval '1 hour')",
                    )
                    .bind(hold.job)
                    .bind(hold.epoch)
                    .execute(session)
                    .await?;
                }
            }
            Op::Finish(ends) => self.finish(session, ends).await?,
            Op::Retry(pick, delay) => {
                if let Some(hold) = self.hold(*pick) {
                    let state = sqlx::query_scalar(
                        "select switchyard.retry_job($1, $2, 'broken', make_interval(secs => $3))::text",
                    )
                    .bind(hold.job)
                    .bind(hold.epoch)
                    .bind(delay.secs())
                    .fetch_one(session)
                    .await?;
                    self.ended(hold.job, state);
                }
            }
            Op::Snooze(pick, delay) => {
                if let Some(hold) = self.hold(*pick) {
                    let secs = if *delay == Delay::None { 0.0 } else { 3600.0 };
                    let state = sqlx::query_scalar(
                        "select switchyard.snooze_job($1, $2, make_interval(secs => $3), 'busy')::text",
                    )
                    .bind(hold.job)
                    .bind(hold.epoch)
                    .bind(secs)
                    .fetch_one(session)
                    .await?;
                    self.ended(hold.job, state);
                }
            }
            Op::Release(picks) => {
                let holds: Vec<Hold> = picks.iter().filter_map(|pick| self.hold(*pick)).collect();
                let ids: Vec<i64> = holds.iter().map(|hold| hold.job).collect();
                let epochs: Vec<i64> = holds.iter().map(|hold| hold.epoch).collect();
                sqlx::query("select switchyard.release_jobs($1, $2)")
                    .bind(&ids)
                    .bind(&epochs)
                    .execute(session)
                    .await?;
            }
            Op::Wait(pick, waiting) => {
                if let Some(hold) = self.hold(*pick) {
                    let state = sqlx::query_scalar(
                        "select switchyard.wait_job($1, $2, $3::text::switchyard.waiting, interval '1 hour', $4)::text",
                    )
                    .bind(hold.job)
                    .bind(hold.epoch)
                    .bind(waiting.as_str())
                    .bind((*waiting == Waiting::Runner).then(|| json!("pod")))
                    .fetch_one(session)
                    .await?;
                    self.ended(hold.job, state);
                }
            }
            Op::Callback {
                hold,
                said,
                foreign,
            } => {
                let hold = self.hold(*hold);
                // Who added it may not have been told yet.
                let own = hold.and_then(|hold| self.known().jobs.get(&hold.job).copied());
                if let (Some(hold), Some(own)) = (hold, own) {
                    let tenant = self.world.tenants[(own + usize::from(*foreign)) % TENANTS];
                    let (outcome, state, _) = callback_job(session, tenant, hold, *said).await?;
                    if outcome == "applied" {
                        self.ended(hold.job, state);
                    }
                }
            }
            Op::Log(pick) => {
                if let Some(hold) = self.hold(*pick) {
                    sqlx::query(
                        "select switchyard.append_log($1, $2, array[1::bigint], array['task'], array['a line'])",
                    )
                    .bind(hold.job)
                    .bind(hold.epoch)
                    .execute(session)
                    .await?;
                }
            }
            Op::Decide(on, approved) => {
                if let Some((tenant, id)) = self.on(*on) {
                    let decided: bool =
                        sqlx::query_scalar("select switchyard.decide_job($1, $2, $3, 'a person')")
                            .bind(tenant)
                            .bind(id)
                            .bind(approved)
                            .fetch_one(session)
                            .await?;
                    if decided && !approved {
                        self.known().ends.push((id, JobState::Dead));
                    }
                }
            }
            Op::Cancel(on) => {
                if let Some((tenant, id)) = self.on(*on) {
                    let answer: Option<String> =
                        sqlx::query_scalar("select switchyard.cancel_job($1, $2, 'a person')")
                            .bind(tenant)
                            .bind(id)
                            .fetch_one(session)
                            .await?;
                    if answer.as_deref() == Some("cancelled") {
                        self.known().ends.push((id, JobState::Cancelled));
                    }
                }
            }
            Op::Settle(on, end) => {
                if let Some((tenant, id)) = self.on(*on) {
                    let settled: bool = sqlx::query_scalar(
                        "select switchyard.settle_job($1, $2, $3::text::switchyard.job_state, 'a person')",
                    )
                    .bind(tenant)
                    .bind(id)
                    .bind(end.state().as_str())
                    .fetch_one(session)
                    .await?;
                    if settled {
                        self.known().ends.push((id, end.state()));
                    }
                }
            }
            Op::Replay(on) => {
                if let Some((tenant, id)) = self.on(*on) {
                    let replayed: Option<i64> =
                        sqlx::query_scalar("select switchyard.replay_job($1, $2, 'a person')")
                            .bind(tenant)
                            .bind(id)
                            .fetch_one(session)
                            .await?;
                    if let Some(new) = replayed {
                        let tenant = self.world.tenant_of(tenant)?;
                        self.known().jobs.insert(new, tenant);
                    }
                }
            }
            Op::Purge(on) => {
                if let Some((tenant, id)) = self.on(*on) {
                    let purged: bool = sqlx::query_scalar("select switchyard.purge_job($1, $2)")
                        .bind(tenant)
                        .bind(id)
                        .fetch_one(session)
                        .await?;
                    if purged {
                        self.known().purged.insert(id);
                    }
                }
            }
            Op::Lapse(pick) | Op::Overrun(pick) => {
                if let Some((_, id)) = self.job(*pick) {
                    self.world
                        .execute(&format!(
                            "update switchyard.jobs set lease_until = clock_timestamp() - interval '1 second'
                             where id = {id} and lease_until is not null"
                        ))
                        .await?;
                }
            }
            Op::Reap { all } => {
                sqlx::query("select switchyard.reap_jobs(3, $1)")
                    .bind(all)
                    .execute(session)
                    .await?;
            }
            Op::ComeDue(pick, _) => {
                if let Some((_, id)) = self.job(*pick) {
                    self.world
                        .execute(&format!(
                            "update switchyard.jobs set run_at = now() where id = {id} and state = 'queued' and not due"
                        ))
                        .await?;
                }
            }
            Op::MakeDue { all } => {
                sqlx::query("select switchyard.make_due(10, $1)")
                    .bind(all)
                    .execute(session)
                    .await?;
            }
            Op::Pause(kind, scope) => {
                let kind = match kind {
                    PauseKind::Pause => "pause",
                    PauseKind::Drain => "drain",
                };
                self.rule(
                    session,
                    &format!(
                        "select switchyard.pause('{kind}', $1, $2, $3, 'a person', null)::text"
                    ),
                    *scope,
                )
                .await?;
            }
            Op::Resume(scope) => {
                self.rule(
                    session,
                    "select switchyard.resume(null, $1, $2, $3, 'a person', null)::text",
                    *scope,
                )
                .await?;
            }
            Op::Limit(scope, Limit { in_flight_max, .. }) => {
                let max = in_flight_max.map_or("null".to_owned(), |max| max.to_string());
                self.rule(
                    session,
                    &format!(
                        "select switchyard.set_limit($1, $2, {max}, null, null, 'a person')::text where $3::text is null"
                    ),
                    *scope,
                )
                .await?;
            }
            Op::LaneCap { tenant, task, cap } => {
                let cap = cap.map_or("null".to_owned(), |cap| cap.to_string());
                let scope = Scope {
                    tenant: Some(*tenant),
                    task: Some(*task),
                    queue: None,
                };
                self.rule(
                    session,
                    &format!(
                        "select switchyard.set_lane_cap($1, $2, {cap}, 'a person')::text where $3::text is null"
                    ),
                    scope,
                )
                .await?;
            }
            Op::Repair { job, requeue } => {
                if let Some((_, id)) = self.job(*job) {
                    let deed = if *requeue { "requeue" } else { "reap" };
                    let rows: Vec<(String, Option<String>)> = sqlx::query_as(
                        "select did, note from switchyard.repair_jobs($1, null, array[$2::bigint], null, null, 10, false, 'a person', null)",
                    )
                    .bind(deed)
                    .bind(id)
                    .fetch_all(session)
                    .await?;
                    for (did, note) in rows {
                        match did.as_str() {
                            "dead" | "cancelled" | "superseded" => self.ended(id, Some(did)),
                            "replayed" => {
                                let new = note
                                    .as_deref()
                                    .and_then(|note| note.strip_prefix("as job "))
                                    .and_then(|id| id.parse().ok())
                                    .ok_or_else(|| format!("replayed as {note:?}"))?;
                                let tenant = self.known().jobs[&id];
                                self.known().jobs.insert(new, tenant);
                            }
                            _ => {}
                        }
                    }
                }
            }
            Op::Weight(..) | Op::Close { .. } | Op::TimePasses => {}
        }
        Ok(())
    }

    async fn rule(&self, session: &mut PgConnection, sql: &str, scope: Scope) -> Result<(), Wrong> {
        sqlx::query(sqlx::AssertSqlSafe(sql.to_owned()))
            .bind(scope.tenant.map(|tenant| self.world.tenants[tenant]))
            .bind(scope.task.map(task_name))
            .bind(scope.queue.map(queue_name))
            .execute(session)
            .await?;
        Ok(())
    }

    async fn claim(
        &self,
        session: &mut PgConnection,
        worker: Uuid,
        tasks: &[usize],
        limit: i32,
        turn: Turn,
    ) -> Result<usize, Wrong> {
        let names: Vec<String> = tasks.iter().map(|task| task_name(*task)).collect();
        let after = match turn.after {
            After::Nobody => None,
            After::Tenant(tenant) => Some(self.world.tenants[tenant]),
            After::Stranger => Some(Uuid::max()),
        };
        let claimed: Vec<(i64, i64)> = sqlx::query_as(
            "select id, epoch from switchyard.claim_jobs(
                p_worker => $1, p_tasks => $2, p_limit => $3, p_lease => interval '1 hour', p_after => $4, p_used => $5
            )",
        )
        .bind(worker)
        .bind(&names)
        .bind(limit)
        .bind(after)
        .bind(turn.used)
        .fetch_all(session)
        .await?;
        let count = claimed.len();
        self.known()
            .claims
            .extend(claimed.into_iter().map(|(job, epoch)| Hold { job, epoch }));
        Ok(count)
    }

    async fn finish(&self, session: &mut PgConnection, ends: &[(Pick, End)]) -> Result<(), Wrong> {
        let mut batch: BTreeMap<Hold, End> = BTreeMap::new();
        for (pick, end) in ends {
            if let Some(hold) = self.hold(*pick) {
                batch.insert(hold, *end);
            }
        }
        self.finish_all(session, &batch).await
    }

    async fn finish_all(
        &self,
        session: &mut PgConnection,
        batch: &BTreeMap<Hold, End>,
    ) -> Result<(), Wrong> {
        let ids: Vec<i64> = batch.keys().map(|hold| hold.job).collect();
        let epochs: Vec<i64> = batch.keys().map(|hold| hold.epoch).collect();
        let states: Vec<&str> = batch.values().map(|end| end.state().as_str()).collect();
        let answer: Vec<(i64, Option<String>)> = sqlx::query_as(
            "select job_id, applied::text from switchyard.finish_jobs(
                $1, $2, $3::text[]::switchyard.job_state[],
                array_fill(null::text, array[cardinality($1)]), array_fill(null::jsonb, array[cardinality($1)])
            )",
        )
        .bind(&ids)
        .bind(&epochs)
        .bind(&states)
        .fetch_all(session)
        .await?;
        for (id, applied) in answer {
            self.ended(id, applied);
        }
        Ok(())
    }

    /// What must be true once nobody is at work.
    async fn check(&self) -> Result<(), Wrong> {
        let look = self.world.look().await?;
        let known = self.known();
        let claims: BTreeSet<Hold> = known.claims.iter().copied().collect();
        ensure!(
            claims.len() == known.claims.len(),
            "a job was claimed twice with the same epoch"
        );
        let lost: Vec<&i64> = known
            .jobs
            .keys()
            .filter(|id| !look.jobs.contains_key(id) && !known.purged.contains(id))
            .collect();
        ensure!(lost.is_empty(), "jobs that are lost: {lost:?}");
        let unknown: Vec<&i64> = look
            .jobs
            .keys()
            .filter(|id| !known.jobs.contains_key(id))
            .collect();
        ensure!(unknown.is_empty(), "jobs that nobody added: {unknown:?}");
        let mut ends: BTreeMap<i64, JobState> = BTreeMap::new();
        for (id, state) in &known.ends {
            let before = ends.insert(*id, *state);
            ensure!(
                before.is_none(),
                "job {id} ended twice: {before:?} and {state}"
            );
            let shown = look.jobs.get(id).map(|row| row.state());
            ensure!(
                shown == Some(*state) || known.purged.contains(id),
                "job {id} ended as {state}, and is {shown:?}"
            );
        }
        for row in look.jobs.values() {
            let claimed = claims
                .range(
                    Hold {
                        job: row.id,
                        epoch: i64::MIN,
                    }..=Hold {
                        job: row.id,
                        epoch: i64::MAX,
                    },
                )
                .map(|hold| hold.epoch);
            let epochs: Vec<i64> = claimed.collect();
            let expected: Vec<i64> = (1..=row.epoch).collect();
            ensure!(
                epochs == expected,
                "job {} has the epoch {}, its claims had {epochs:?}",
                row.id,
                row.epoch
            );
            ensure!(
                i64::from(row.attempts) <= row.epoch,
                "job {} has more attempts than claims",
                row.id
            );
            // Newest wins: what gave way did so to one that is at least as new.
            let newest = row
                .key
                .clone()
                .map(|key| (self.world.tenant_of(row.database_id), key));
            if let Some((tenant, key)) = newest {
                let high_water = look.high_water.get(&(tenant?, key)).copied();
                let refused = look.notes.contains(&(row.id, "refused".to_owned()));
                ensure!(
                    high_water >= Some(row.seq) || refused,
                    "job {} is newer than the newest of its key",
                    row.id
                );
                let gave_way = row.state() == JobState::Superseded && Some(row.seq) == high_water;
                let same = look.jobs.values().any(|other| {
                    other.id != row.id && other.key == row.key && other.seq == row.seq
                });
                ensure!(
                    !gave_way || same,
                    "job {} was the newest of its key and gave way",
                    row.id
                );
            }
        }
        Ok(())
    }

    /// Lets all that is left come to an end.
    async fn drain(&self) -> Result<(), Wrong> {
        let mut session = self.world.parallel_session().await?;
        let worker = Uuid::new_v4();
        let tasks: Vec<usize> = (0..TASKS).collect();
        self.world
            .execute(
                "select switchyard.resume(kind, database_id, task, queue_name, 'a person', null) from switchyard.pauses;
                 select switchyard.set_limit(database_id, task, null, null, null, 'a person') from switchyard.limits;
                 select switchyard.set_lane_cap(database_id, task, null, 'a person')
                 from switchyard.lanes where queue_name is null and cap is not null;",
            )
            .await?;
        let mut empty_claims = 0;
        for round in 0..DRAIN_ROUNDS_MAX {
            self.world
                .execute(
                    "update switchyard.jobs set run_at = now() where state = 'queued' and not due;
                     select switchyard.make_due(1000, true);
                     update switchyard.lanes
                     set turned_at = turned_at - interval '3 seconds', idle_at = idle_at - interval '3 seconds',
                        idle_known_at = idle_known_at - interval '3 seconds'
                     where turned_at > '-infinity';",
                )
                .await?;
            self.world.check_counters().await?;
            let left: Vec<(i64, i64, String, Option<String>, Uuid)> = sqlx::query_as(
                "select id, epoch, state::text, waiting::text, database_id from switchyard.jobs order by id",
            )
            .fetch_all(&self.world.owner)
            .await?;
            if left.is_empty() {
                let ended = self.known().jobs.keys().copied().collect();
                return self.world.check_told_once(&ended).await;
            }
            let mut batch = BTreeMap::new();
            for (job, epoch, state, waiting, tenant) in &left {
                if waiting.as_deref() == Some("approval") {
                    sqlx::query("select switchyard.decide_job($1, $2, true, 'a person')")
                        .bind(tenant)
                        .bind(job)
                        .execute(&mut session)
                        .await?;
                } else if state != JobState::Queued.as_str() {
                    let hold = Hold {
                        job: *job,
                        epoch: *epoch,
                    };
                    batch.insert(hold, End::Succeeded);
                }
            }
            self.finish_all(&mut session, &batch).await?;
            let turn = Turn {
                after: After::Tenant(round % TENANTS),
                used: 1,
            };
            let claimed = self.claim(&mut session, worker, &tasks, 20, turn).await?;
            let idle = claimed == 0 && batch.is_empty();
            empty_claims = if idle { empty_claims + 1 } else { 0 };
            ensure!(
                empty_claims < 8,
                "nothing can be claimed, but jobs are not at their end: {left:?}"
            );
        }
        Err(Wrong::Different(format!(
            "after {DRAIN_ROUNDS_MAX} rounds jobs are left"
        )))
    }
}

/// A refusal that is an answer: nobody asked to cancel, nothing is added here, a rule did not get its lock.
fn is_expected(error: &sqlx::Error, op: &Op) -> bool {
    match code_of(error).as_deref() {
        Some("23514") => matches!(op, Op::Finish(_)),
        Some("55006") => matches!(
            op,
            Op::Add(_) | Op::AddOpen(_) | Op::Replay(_) | Op::Repair { .. }
        ),
        Some("55P03") => matches!(
            op,
            Op::Pause(..) | Op::Resume(_) | Op::Limit(..) | Op::LaneCap { .. }
        ),
        _ => false,
    }
}
