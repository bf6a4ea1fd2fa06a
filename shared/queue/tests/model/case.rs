//! One case: operations played on the database and on the reference, which must agree after each.

use std::collections::BTreeSet;

use model::{JobState, KeyMode, Waiting};
use serde_json::json;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgDatabaseError;
use sqlx::{Connection as _, PgConnection, Postgres};
use uuid::Uuid;

use crate::op::{
    After, Delay, End, Limit, New, OnJob, Op, PauseKind, Pick, Said, Scope, Seq, TASKS, TENANTS,
    Turn, WORKERS, When,
};
use crate::reference::{Hold, Job, Outcome, Reference, Seen, ensure};
use crate::world::{Look, World, Wrong, key_name, queue_name, task_name};

/// What a release and a reap take at once here; more than there ever is.
const ALL: i32 = 1000;
/// Claims in a row of which one must find something if there is something.
const CLAIMS_MAX: usize = 8;
/// Rounds in which all that is left must come to an end.
const DRAIN_ROUNDS_MAX: usize = 200;

/// A job that an open transaction has added: what it is, its id, and whether it was refused.
type Uncommitted = (New, i64, bool);

pub(crate) struct Case<'a> {
    world: &'a World,
    session: PoolConnection<Postgres>,
    workers: [Uuid; WORKERS],
    reserved: Vec<i64>,
    reference: Reference,
    /// As it was after the operation before.
    look: Look,
    /// A transaction of its own, and what it has added.
    open: Option<(PgConnection, Vec<Uncommitted>)>,
}

impl<'a> Case<'a> {
    pub(crate) async fn new(world: &'a World) -> Result<Self, Wrong> {
        Ok(Self {
            session: world.system.acquire().await?,
            workers: std::array::from_fn(|_| Uuid::new_v4()),
            reserved: world.empty().await?,
            reference: Reference::default(),
            look: Look::default(),
            open: None,
            world,
        })
    }

    /// Plays all operations, then lets everything come to its end.
    pub(crate) async fn play(mut self, ops: &[Op]) -> Result<(), Wrong> {
        for (number, op) in ops.iter().enumerate() {
            self.step(op)
                .await
                .map_err(|wrong| wrong.during(&format!("operation {number}, {op:?}")))?;
        }
        self.drain()
            .await
            .map_err(|wrong| wrong.during("bringing all to an end"))
    }

    async fn step(&mut self, op: &Op) -> Result<(), Wrong> {
        loop {
            match self.act(op).await {
                // It waits for what the open transaction holds: let that end first.
                Err(Wrong::Refused(error)) if is_lock_timeout(&error) && self.open.is_some() => {
                    self.close(true).await?;
                    // What it added is there from now on.
                    self.compare().await?;
                }
                other => {
                    other?;
                    break;
                }
            }
        }
        self.compare().await
    }

    async fn act(&mut self, op: &Op) -> Result<(), Wrong> {
        match op {
            Op::Add(new) => self.add(new).await,
            Op::AddOpen(new) => self.add_open(new).await,
            Op::Close { commit } => self.close(*commit).await,
            Op::Claim {
                worker,
                tasks,
                limit,
                turn,
            } => {
                let tasks: Vec<usize> = (0..TASKS).filter(|task| tasks >> task & 1 == 1).collect();
                self.claim(*worker, &tasks, *limit, *turn).await.map(drop)
            }
            Op::Beat(pick) => self.beat(*pick).await,
            Op::Finish(ends) => self.finish(ends).await,
            Op::Retry(pick, delay) => self.retry(*pick, *delay).await,
            Op::Snooze(pick, delay) => self.snooze(*pick, *delay).await,
            Op::Release(picks) => self.release(picks).await,
            Op::Wait(pick, waiting) => self.wait(*pick, *waiting).await,
            Op::Callback {
                hold,
                said,
                foreign,
            } => self.callback(*hold, *said, *foreign).await,
            Op::Log(pick) => self.log(*pick).await,
            Op::Decide(on, approved) => self.decide(*on, *approved).await,
            Op::Cancel(on) => self.cancel(*on).await,
            Op::Settle(on, end) => self.settle(*on, *end).await,
            Op::Replay(on) => self.replay(*on).await,
            Op::Purge(on) => self.purge(*on).await,
            Op::Lapse(pick) => self.lapse(*pick, false).await,
            Op::Overrun(pick) => self.lapse(*pick, true).await,
            Op::Reap { all } => self.reap(*all).await,
            Op::ComeDue(pick, when) => self.come_due(*pick, *when).await,
            Op::MakeDue { all } => self.make_due(*all).await,
            Op::Pause(kind, scope) => self.pause(*kind, *scope).await,
            Op::Resume(scope) => self.resume(*scope).await,
            Op::Limit(scope, limit) => self.set_limit(*scope, *limit).await,
            Op::LaneCap { tenant, task, cap } => self.set_lane_cap(*tenant, *task, *cap).await,
            Op::TimePasses => self.let_time_pass().await,
            Op::Weight(tenant, weight) => self.set_weight(*tenant, *weight).await,
            Op::Repair { job, requeue } => self.repair(*job, *requeue).await,
        }
    }

    async fn add(&mut self, new: &New) -> Result<(), Wrong> {
        let seq = match new.seq {
            Seq::Fresh => None,
            Seq::Late(index) => Some(self.reserved[index % self.reserved.len()]),
        };
        let answer = add_job(&mut self.session, self.world, new, seq).await;
        if let Err(error) = &answer
            && code_of(error).as_deref() == Some(DRAINING)
        {
            // Nothing was written, so that no number matters.
            let expected = self.reference.add(new, 0, 0, None)?;
            ensure_eq("the refusal of add_job", &Outcome::Error, &expected)?;
            return Ok(());
        }
        let (id, outcome) = answer?;
        let seq = match seq {
            Some(seq) => seq,
            None => self.last_seq().await?,
        };
        let expected = match self.reference.add(new, id, seq, None)? {
            Outcome::New => (id, "added"),
            Outcome::Superseded => (id, "superseded"),
            Outcome::Kept(old) => (old, "kept"),
            Outcome::Refused => (id, "refused"),
            Outcome::Error => (id, "an error"),
        };
        ensure_eq("add_job", &(id, outcome.as_str()), &expected)?;
        Ok(())
    }

    /// The number that was given last.
    async fn last_seq(&mut self) -> Result<i64, Wrong> {
        Ok(
            sqlx::query_scalar("select last_value from switchyard.accepted")
                .fetch_one(&self.world.owner)
                .await?,
        )
    }

    async fn add_open(&mut self, new: &New) -> Result<(), Wrong> {
        if self.open.is_none() {
            let mut session = self.world.session().await?;
            sqlx::raw_sql("begin").execute(&mut session).await?;
            self.open = Some((session, Vec::new()));
        }
        let Some((session, added)) = &mut self.open else {
            return Ok(());
        };
        // Whether something is drained is asked now, not when the transaction ends.
        let answer = add_job(session, self.world, new, None).await;
        if let Err(error) = &answer
            && code_of(error).as_deref() == Some(DRAINING)
        {
            return self.close(false).await;
        }
        let (id, outcome) = answer?;
        added.push((new.clone(), id, outcome == "refused"));
        Ok(())
    }

    async fn close(&mut self, commit: bool) -> Result<(), Wrong> {
        let Some((mut session, added)) = self.open.take() else {
            return Ok(());
        };
        let end = if commit { "commit" } else { "rollback" };
        sqlx::raw_sql(end).execute(&mut session).await?;
        session.close().await?;
        if commit {
            for (new, id, refused) in added {
                self.reference.add_earlier(&new, id, refused)?;
            }
        }
        Ok(())
    }

    async fn claim(
        &mut self,
        worker: usize,
        tasks: &[usize],
        limit: i32,
        turn: Turn,
    ) -> Result<usize, Wrong> {
        let after = match turn.after {
            After::Nobody => None,
            After::Tenant(tenant) => Some(self.world.tenants[tenant]),
            After::Stranger => Some(Uuid::max()),
        };
        let names: Vec<String> = tasks.iter().map(|task| task_name(*task)).collect();
        let worker = self.workers[worker];
        // A claim may find nothing although there is something, but not for long.
        for patience in (0..CLAIMS_MAX).rev() {
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
            .fetch_all(&mut *self.session)
            .await?;
            let claimed: Vec<Hold> = claimed
                .into_iter()
                .map(|(job, epoch)| Hold { job, epoch })
                .collect();
            // What was made due by the claim itself counts as well.
            let mut ready = self.world.look().await?.ready();
            ready.extend(claimed.iter().map(|hold| hold.job));
            let open = self.open.as_ref().map_or(&[][..], |(_, added)| added);
            let is_busy = |job: &Job| {
                open.iter().any(|(new, _, _)| {
                    new.tenant == job.tenant
                        && new.queue == job.queue
                        && (new.queue.is_some() || new.task == job.task)
                })
            };
            let seen = Seen {
                ready,
                is_busy: &is_busy,
            };
            if !claimed.is_empty() || patience == 0 {
                let limit = usize::try_from(limit).expect("a limit is positive");
                self.reference
                    .claim(worker, tasks, limit, &claimed, &seen)?;
                return Ok(claimed.len());
            }
            if self.reference.claimable(tasks, &seen.ready).is_empty() {
                break;
            }
            self.let_time_pass().await?;
        }
        Ok(0)
    }

    /// Three seconds, for what is done at most so often to a lane.
    async fn let_time_pass(&mut self) -> Result<(), Wrong> {
        // What the open transaction has in hand stays as it is: nobody would turn it either.
        self.world
            .execute(
                "update switchyard.lanes
                 set turned_at = turned_at - interval '3 seconds', idle_at = idle_at - interval '3 seconds',
                    idle_known_at = idle_known_at - interval '3 seconds'
                 where id in (
                    select id from switchyard.lanes where turned_at > '-infinity' for no key update skip locked
                 )",
            )
            .await?;
        Ok(())
    }

    fn hold(&self, pick: Pick) -> Option<Hold> {
        let held: Vec<Hold> = self
            .reference
            .holds
            .iter()
            .copied()
            .filter(|hold| self.reference.held(*hold).is_some())
            .collect();
        // Of those that are over, the more dangerous: somebody else may have the job.
        let over: Vec<Hold> = self
            .reference
            .holds
            .iter()
            .copied()
            .filter(|hold| {
                self.reference
                    .live
                    .get(&hold.job)
                    .is_some_and(|job| job.epoch != hold.epoch)
            })
            .collect();
        pick.of(if pick.apt { &held } else { &over })
            .or_else(|| pick.of(&self.reference.holds))
    }

    /// A job for which the condition holds, or any, and the tenant in whose name somebody acts.
    fn job(&self, on: OnJob, is_apt: impl Fn(&Job) -> bool) -> Option<(usize, i64)> {
        let apt = self.reference.jobs(is_apt);
        let id = match on.job.of(&apt) {
            Some(id) if on.job.apt => id,
            _ => on.job.of(&self.reference.jobs(|_| true))?,
        };
        let own = self.reference.job(id)?.tenant;
        Some(((own + usize::from(on.foreign)) % TENANTS, id))
    }

    async fn beat(&mut self, pick: Pick) -> Result<(), Wrong> {
        let Some(hold) = self.hold(pick) else {
            return Ok(());
        };
        let answer: (bool, bool) = sqlx::query_as(
            "select held, cancel from switchyard.heartbeat_jobs(array[$1::bigint], array[$2::bigint], interval '1 hour')",
        )
        .bind(hold.job)
        .bind(hold.epoch)
        .fetch_one(&mut *self.session)
        .await?;
        ensure_eq("heartbeat_jobs", &answer, &self.reference.beat(hold))?;
        Ok(())
    }

    async fn finish(&mut self, ends: &[(Pick, End)]) -> Result<(), Wrong> {
        let mut batch: Vec<(Hold, End)> = Vec::new();
        for (pick, end) in ends {
            if let Some(hold) = self.hold(*pick)
                // Of two holds of one job either may be looked at first.
                && batch.iter().all(|(other, _)| other.job != hold.job)
            {
                batch.push((hold, *end));
            }
        }
        let ids: Vec<i64> = batch.iter().map(|(hold, _)| hold.job).collect();
        let epochs: Vec<i64> = batch.iter().map(|(hold, _)| hold.epoch).collect();
        let states: Vec<&str> = batch.iter().map(|(_, end)| end.state().as_str()).collect();
        let answer: Result<Vec<(i64, Option<String>)>, sqlx::Error> = sqlx::query_as(
            "select job_id, applied::text from switchyard.finish_jobs(
                $1, $2, $3::text[]::switchyard.job_state[],
                array_fill(null::text, array[cardinality($1)]), array_fill(null::jsonb, array[cardinality($1)])
            )",
        )
        .bind(&ids)
        .bind(&epochs)
        .bind(&states)
        .fetch_all(&mut *self.session)
        .await;
        if let Err(error) = &answer
            && is_lock_timeout(error)
        {
            answer?;
            return Ok(());
        }
        match (answer, self.reference.finish(&batch)) {
            (Err(error), None) => {
                let code = error.as_database_error().and_then(|error| error.code());
                ensure_eq(
                    "the refusal of finish_jobs",
                    &code.as_deref(),
                    &Some("23514"),
                )?;
            }
            (Err(error), Some(_)) => return Err(error.into()),
            (Ok(answer), None) => {
                return Err(
                    format!("finish_jobs took a cancel that nobody asked for: {answer:?}").into(),
                );
            }
            (Ok(answer), Some(recorded)) => {
                let answer: BTreeSet<(i64, String)> = answer
                    .into_iter()
                    .filter_map(|(id, applied)| applied.map(|applied| (id, applied)))
                    .collect();
                let recorded = recorded
                    .into_iter()
                    .map(|(hold, state)| (hold.job, state.to_string()))
                    .collect();
                ensure_eq("finish_jobs", &answer, &recorded)?;
            }
        }
        Ok(())
    }

    async fn retry(&mut self, pick: Pick, delay: Delay) -> Result<(), Wrong> {
        let Some(hold) = self.hold(pick) else {
            return Ok(());
        };
        let answer: Option<String> = sqlx::query_scalar(
            "select switchyard.retry_job($1, $2, 'broken', make_interval(secs => $3))::text",
        )
        .bind(hold.job)
        .bind(hold.epoch)
        .bind(delay.secs())
        .fetch_one(&mut *self.session)
        .await?;
        let expected = self.reference.retry(hold, delay != Delay::None);
        ensure_eq(
            "retry_job",
            &answer,
            &expected.map(|state| state.to_string()),
        )?;
        if delay == Delay::Backoff && expected == Some(JobState::Queued) {
            self.make_backoff_last(hold.job).await?;
        }
        Ok(())
    }

    /// The backoff of a job that has just failed is random and short.
    async fn make_backoff_last(&self, job: i64) -> Result<(), Wrong> {
        let moved = self
            .world
            .execute(&format!(
                "update switchyard.jobs set run_at = now() + interval '1 hour'
                 where id = {job} and run_at > now() - interval '1 minute' and run_at < now() + interval '5 seconds'"
            ))
            .await?;
        ensure_eq("jobs with a backoff of seconds", &moved, &1)?;
        Ok(())
    }

    async fn callback(&mut self, pick: Pick, said: Said, foreign: bool) -> Result<(), Wrong> {
        let Some(hold) = self.hold(pick) else {
            return Ok(());
        };
        let tenant = (self.reference.tenant_of(hold) + usize::from(foreign)) % TENANTS;
        let answer: (String, Option<String>, bool) =
            callback_job(&mut self.session, self.world.tenants[tenant], hold, said).await?;
        let expected = self.reference.callback(tenant, hold, said);
        ensure_eq(
            "callback_job",
            &answer,
            &(
                expected.outcome.to_owned(),
                expected.state.map(|state| state.to_string()),
                expected.cancel,
            ),
        )?;
        if expected.outcome == "applied" && expected.state == Some(JobState::Queued) {
            self.make_backoff_last(hold.job).await?;
        }
        Ok(())
    }

    async fn snooze(&mut self, pick: Pick, delay: Delay) -> Result<(), Wrong> {
        let Some(hold) = self.hold(pick) else {
            return Ok(());
        };
        // A snooze has no backoff.
        let delay = if delay == Delay::Backoff {
            Delay::Hour
        } else {
            delay
        };
        let answer: Option<String> = sqlx::query_scalar(
            "select switchyard.snooze_job($1, $2, make_interval(secs => $3), 'busy')::text",
        )
        .bind(hold.job)
        .bind(hold.epoch)
        .bind(delay.secs())
        .fetch_one(&mut *self.session)
        .await?;
        let expected = self.reference.snooze(hold, delay != Delay::None);
        ensure_eq(
            "snooze_job",
            &answer,
            &expected.map(|state| state.to_string()),
        )?;
        Ok(())
    }

    async fn release(&mut self, picks: &[Pick]) -> Result<(), Wrong> {
        let mut holds: Vec<Hold> = picks.iter().filter_map(|pick| self.hold(*pick)).collect();
        holds.sort_unstable();
        holds.dedup();
        let ids: Vec<i64> = holds.iter().map(|hold| hold.job).collect();
        let epochs: Vec<i64> = holds.iter().map(|hold| hold.epoch).collect();
        let answer: i32 = sqlx::query_scalar("select switchyard.release_jobs($1, $2)")
            .bind(&ids)
            .bind(&epochs)
            .fetch_one(&mut *self.session)
            .await?;
        let expected = self.reference.release(&holds);
        ensure_eq(
            "release_jobs",
            &usize::try_from(answer).ok(),
            &Some(expected),
        )?;
        Ok(())
    }

    async fn wait(&mut self, pick: Pick, waiting: Waiting) -> Result<(), Wrong> {
        let Some(hold) = self.hold(pick) else {
            return Ok(());
        };
        let answer: Option<String> = sqlx::query_scalar(
            "select switchyard.wait_job($1, $2, $3::text::switchyard.waiting, interval '1 hour', $4)::text",
        )
        .bind(hold.job)
        .bind(hold.epoch)
        .bind(waiting.as_str())
        .bind((waiting == Waiting::Runner).then(|| json!("pod")))
        .fetch_one(&mut *self.session)
        .await?;
        let expected = self.reference.wait(hold, waiting);
        ensure_eq(
            "wait_job",
            &answer,
            &expected.map(|state| state.to_string()),
        )?;
        Ok(())
    }

    async fn log(&mut self, pick: Pick) -> Result<(), Wrong> {
        let Some(hold) = self.hold(pick) else {
            return Ok(());
        };
        let answer: bool = sqlx::query_scalar(
            "select switchyard.append_log($1, $2, array[1::bigint], array['task'], array['a line'])",
        )
        .bind(hold.job)
        .bind(hold.epoch)
        .fetch_one(&mut *self.session)
        .await?;
        let expected = self
            .reference
            .live
            .get(&hold.job)
            .is_some_and(|job| job.epoch == hold.epoch && job.is_worked_on());
        ensure_eq("append_log", &answer, &expected)?;
        Ok(())
    }

    async fn decide(&mut self, on: OnJob, approved: bool) -> Result<(), Wrong> {
        let Some((tenant, id)) = self.job(on, Job::waits_for_approval) else {
            return Ok(());
        };
        let answer: bool =
            sqlx::query_scalar("select switchyard.decide_job($1, $2, $3, 'a person')")
                .bind(self.world.tenants[tenant])
                .bind(id)
                .bind(approved)
                .fetch_one(&mut *self.session)
                .await?;
        let expected = self.reference.decide(tenant, id, approved);
        ensure_eq("decide_job", &answer, &expected)?;
        Ok(())
    }

    async fn cancel(&mut self, on: OnJob) -> Result<(), Wrong> {
        let Some((tenant, id)) = self.job(on, |job| !job.state.is_final()) else {
            return Ok(());
        };
        let answer: Option<String> =
            sqlx::query_scalar("select switchyard.cancel_job($1, $2, 'a person')")
                .bind(self.world.tenants[tenant])
                .bind(id)
                .fetch_one(&mut *self.session)
                .await?;
        let expected = self.reference.cancel(tenant, id);
        ensure_eq("cancel_job", &answer.as_deref(), &expected)?;
        Ok(())
    }

    async fn settle(&mut self, on: OnJob, end: End) -> Result<(), Wrong> {
        let apt = |job: &Job| matches!(job.state, JobState::Queued | JobState::Waiting);
        let Some((tenant, id)) = self.job(on, apt) else {
            return Ok(());
        };
        let answer: bool = sqlx::query_scalar(
            "select switchyard.settle_job($1, $2, $3::text::switchyard.job_state, 'a person')",
        )
        .bind(self.world.tenants[tenant])
        .bind(id)
        .bind(end.state().as_str())
        .fetch_one(&mut *self.session)
        .await?;
        let expected = self.reference.settle(tenant, id, end);
        ensure_eq("settle_job", &answer, &expected)?;
        Ok(())
    }

    async fn replay(&mut self, on: OnJob) -> Result<(), Wrong> {
        let Some((tenant, id)) = self.job(on, |job| job.state == JobState::Dead) else {
            return Ok(());
        };
        let answer: Result<Option<i64>, sqlx::Error> =
            sqlx::query_scalar("select switchyard.replay_job($1, $2, 'a person')")
                .bind(self.world.tenants[tenant])
                .bind(id)
                .fetch_one(&mut *self.session)
                .await;
        let replayed = self.reference.replayed(tenant, id);
        let before = self.reference.job(id).and_then(|job| job.replayed_as);
        match (answer, replayed, before) {
            (Ok(None), None, _) => {}
            (Ok(Some(again)), Some(_), Some(before)) if again == before => {}
            (Ok(Some(new_id)), Some(new), None) => {
                let seq = self.last_seq().await?;
                let added = self.reference.add(&new, new_id, seq, Some(id))?;
                ensure_eq("replay_job", &added, &Outcome::New)?;
                self.reference
                    .ended
                    .get_mut(&id)
                    .expect("it is dead")
                    .replayed_as = Some(new_id);
            }
            (Err(error), Some(new), None) if code_of(&error).as_deref() == Some(DRAINING) => {
                let added = self.reference.add(&new, 0, 0, Some(id))?;
                ensure_eq("the refusal of replay_job", &added, &Outcome::Error)?;
            }
            (Err(error), _, _) => return Err(error.into()),
            (Ok(answer), expected, before) => {
                return Err(format!(
                    "replay_job answered {answer:?}, expected was {expected:?} or {before:?}"
                )
                .into());
            }
        }
        Ok(())
    }

    async fn purge(&mut self, on: OnJob) -> Result<(), Wrong> {
        let Some((tenant, id)) = self.job(on, |job| job.state == JobState::Dead) else {
            return Ok(());
        };
        let answer: bool = sqlx::query_scalar("select switchyard.purge_job($1, $2)")
            .bind(self.world.tenants[tenant])
            .bind(id)
            .fetch_one(&mut *self.session)
            .await?;
        let expected = self.reference.purge(tenant, id);
        ensure_eq("purge_job", &answer, &expected)?;
        Ok(())
    }

    async fn lapse(&mut self, pick: Pick, overrun: bool) -> Result<(), Wrong> {
        let worked_on = self.reference.jobs(Job::is_worked_on);
        let Some(id) = pick.of(&worked_on) else {
            return Ok(());
        };
        let attempt = if overrun {
            ", attempt_until = clock_timestamp() - interval '1 second'"
        } else {
            ""
        };
        self.world
            .execute(&format!(
                "update switchyard.jobs
                 set lease_until = least(clock_timestamp() - interval '1 second', attempt_until) {attempt}
                 where id = {id}"
            ))
            .await?;
        let job = self.reference.live.get_mut(&id).expect("it is worked on");
        job.lapsed = true;
        job.overrun |= overrun;
        Ok(())
    }

    async fn reap(&mut self, all: bool) -> Result<(), Wrong> {
        let answer: i32 = sqlx::query_scalar("select switchyard.reap_jobs($1, $2)")
            .bind(ALL)
            .bind(all)
            .fetch_one(&mut *self.session)
            .await?;
        let expected = self.reference.reap();
        ensure_eq("reap_jobs", &usize::try_from(answer).ok(), &Some(expected))?;
        Ok(())
    }

    async fn come_due(&mut self, pick: Pick, when: When) -> Result<(), Wrong> {
        let later = self.reference.jobs(|job| job.later);
        let Some(id) = pick.of(&later) else {
            return Ok(());
        };
        self.reference
            .live
            .get_mut(&id)
            .expect("what is due later is live")
            .later = false;
        // What is due from when on was remembered as this, if that is how it is.
        let remembered = match when {
            When::LongAgo => "select setval('switchyard.later_from', 0);",
            When::Now | When::InAnHour => "",
        };
        self.world
            .execute(&format!(
                "update switchyard.jobs set run_at = now() + interval '{}' where id = {id}; {remembered}",
                when.interval()
            ))
            .await?;
        Ok(())
    }

    async fn make_due(&mut self, all: bool) -> Result<(), Wrong> {
        sqlx::query("select switchyard.make_due($1, $2)")
            .bind(ALL)
            .bind(all)
            .execute(&mut *self.session)
            .await?;
        let ready = self.world.look().await?.ready();
        let asleep: Vec<i64> = self
            .reference
            .jobs(|job| job.state == JobState::Queued && !job.later)
            .into_iter()
            .filter(|id| !ready.contains(id))
            .collect();
        ensure!(
            asleep.is_empty(),
            "jobs whose time has come are not ready: {asleep:?}"
        );
        Ok(())
    }

    async fn pause(&mut self, kind: PauseKind, scope: Scope) -> Result<(), Wrong> {
        let kind_name = match kind {
            PauseKind::Pause => "pause",
            PauseKind::Drain => "drain",
        };
        sqlx::query("select switchyard.pause($1::text::switchyard.pause_kind, $2, $3, $4, 'a person', null)")
            .bind(kind_name)
            .bind(scope.tenant.map(|tenant| self.world.tenants[tenant]))
            .bind(scope.task.map(task_name))
            .bind(scope.queue.map(queue_name))
            .execute(&mut *self.session)
            .await?;
        self.reference.pause(kind, scope);
        Ok(())
    }

    async fn resume(&mut self, scope: Scope) -> Result<(), Wrong> {
        let answer: i32 =
            sqlx::query_scalar("select switchyard.resume(null, $1, $2, $3, 'a person', null)")
                .bind(scope.tenant.map(|tenant| self.world.tenants[tenant]))
                .bind(scope.task.map(task_name))
                .bind(scope.queue.map(queue_name))
                .fetch_one(&mut *self.session)
                .await?;
        let expected = self.reference.resume(scope);
        ensure_eq("resume", &usize::try_from(answer).ok(), &Some(expected))?;
        Ok(())
    }

    async fn set_limit(&mut self, scope: Scope, limit: Limit) -> Result<(), Wrong> {
        if scope.tenant.is_none() && scope.task.is_none() {
            return Ok(());
        }
        let answer: bool =
            sqlx::query_scalar("select switchyard.set_limit($1, $2, $3, $4, $5, 'a person')")
                .bind(scope.tenant.map(|tenant| self.world.tenants[tenant]))
                .bind(scope.task.map(task_name))
                .bind(limit.in_flight_max.map(i32::from))
                // One in a day or so.
                .bind(limit.burst.map(|_| 0.000_01_f64))
                .bind(limit.burst.map(i32::from))
                .fetch_one(&mut *self.session)
                .await?;
        let expected = self.reference.set_limit(scope, limit);
        ensure_eq("set_limit", &answer, &expected)?;
        Ok(())
    }

    async fn set_lane_cap(
        &mut self,
        tenant: usize,
        task: usize,
        cap: Option<u8>,
    ) -> Result<(), Wrong> {
        sqlx::query("select switchyard.set_lane_cap($1, $2, $3, 'a person')")
            .bind(self.world.tenants[tenant])
            .bind(task_name(task))
            .bind(cap.map(i32::from))
            .execute(&mut *self.session)
            .await?;
        self.reference.set_lane_cap(tenant, task, cap);
        Ok(())
    }

    /// The reference has no order among tenants: whatever they weigh, somebody is served.
    async fn set_weight(&mut self, tenant: usize, weight: u8) -> Result<(), Wrong> {
        sqlx::query("select switchyard.set_weight($1, $2, 'a person')")
            .bind(self.world.tenants[tenant])
            .bind(f64::from(weight))
            .execute(&mut *self.session)
            .await?;
        Ok(())
    }

    async fn repair(&mut self, pick: Pick, requeue: bool) -> Result<(), Wrong> {
        let live = self.reference.jobs(|job| !job.state.is_final());
        let Some(id) = pick.of(&live) else {
            return Ok(());
        };
        let answer: String = sqlx::query_scalar(
            "select did from switchyard.repair_jobs($1, null, array[$2::bigint], null, null, 10, false, 'a person', null)",
        )
        .bind(if requeue { "requeue" } else { "reap" })
        .bind(id)
        .fetch_one(&mut *self.session)
        .await?;
        let expected = self
            .reference
            .repair(id, requeue, self.look.ready().contains(&id));
        ensure_eq("repair_jobs", &answer.as_str(), &expected)?;
        Ok(())
    }

    /// Fails unless the database shows what the reference says.
    async fn compare(&mut self) -> Result<(), Wrong> {
        let look = self.world.look().await?;
        for (id, row) in &look.jobs {
            let Some(job) = self.reference.job(*id) else {
                return Err(format!("a job that nobody added: {row:?}").into());
            };
            let shown = Job {
                tenant: self.world.tenant_of(row.database_id)?,
                task: (0..TASKS)
                    .find(|task| task_name(*task) == row.task)
                    .unwrap_or(usize::MAX),
                queue: index_of(row.queue_name.as_deref(), queue_name),
                key: index_of(row.key.as_deref(), key_name),
                // Without a key nothing is newer or older.
                seq: if row.key.is_some() { row.seq } else { job.seq },
                state: row.state(),
                priority: row.priority,
                attempts: row.attempts,
                attempts_max: row.attempts_max,
                epoch: row.epoch,
                payload: row.payload,
                worker: job.worker,
                waiting: job.waiting,
                runner: job.runner,
                replay_of: row.replay_of,
                replayed_as: job.replayed_as,
                from_event: job.from_event,
                later: job.later,
                lapsed: job.lapsed,
                overrun: job.overrun,
                begun: job.begun,
                run_at: job.run_at,
            };
            ensure_eq(&format!("job {id}"), &shown, job)?;
            if !job.state.is_final() {
                let shown = (row.worker, row.waiting.as_deref(), row.runner, row.lapsed);
                let waiting = job.waiting.map(Waiting::as_str);
                let expected = (job.worker, waiting, job.runner, job.lapsed);
                if job.state == JobState::Running {
                    ensure_eq(&format!("the hold on job {id}"), &shown, &expected)?;
                    ensure_eq(
                        "a lease ends with its attempt",
                        &row.within_attempt,
                        &Some(true),
                    )?;
                } else {
                    ensure!(
                        job.state != JobState::Queued || row.worker.is_none(),
                        "job {id} is queued and still somebody's"
                    );
                    // Who held it before it waited is of no interest.
                    ensure_eq(
                        &format!("what job {id} waits for"),
                        &(shown.1, shown.2, shown.3),
                        &(expected.1, expected.2, expected.3),
                    )?;
                }
                ensure!(row.is_found, "no index finds job {id}");
                ensure!(
                    !row.due || !job.later,
                    "job {id} is ready, although its time has not come"
                );
            }
            let before = self
                .look
                .jobs
                .get(id)
                .map_or(JobState::Queued, |row| row.state());
            ensure!(
                before == job.state || before.can_become(job.state),
                "job {id} went from {before} to {}",
                job.state
            );
        }
        let missing: Vec<_> = self
            .reference
            .live
            .iter()
            .chain(&self.reference.ended)
            .filter(|(id, job)| self.reference.is_kept(job) && !look.jobs.contains_key(id))
            .collect();
        ensure!(missing.is_empty(), "jobs that are lost: {missing:?}");
        let notes: BTreeSet<(i64, &str)> = look
            .notes
            .iter()
            .map(|(id, kind)| (*id, kind.as_str()))
            .filter(|(_, kind)| KINDS.contains(kind))
            .collect();
        ensure!(
            notes == self.reference.notes,
            "noted without reason: {:?}; not noted: {:?}",
            notes.difference(&self.reference.notes).collect::<Vec<_>>(),
            self.reference.notes.difference(&notes).collect::<Vec<_>>()
        );
        let high_water = self
            .reference
            .high_water
            .iter()
            .map(|((tenant, key), seq)| ((*tenant, key_name(*key)), *seq))
            .collect();
        ensure_eq("the newest of each key", &look.high_water, &high_water)?;
        for (id, row) in &look.jobs {
            if let Some(job) = self.reference.live.get_mut(id) {
                job.run_at = row.run_at;
            }
        }
        self.look = look;
        self.world.check_counters().await
    }

    /// Lets everything that is left come to an end: nothing may be stuck.
    async fn drain(&mut self) -> Result<(), Wrong> {
        self.close(true).await?;
        let pauses: Vec<Scope> = self
            .reference
            .pauses
            .iter()
            .map(|(_, scope)| *scope)
            .collect();
        for scope in pauses {
            self.resume(scope).await?;
        }
        let (limits, lanes) = self.reference.ruled();
        for scope in limits {
            let none = Limit {
                in_flight_max: None,
                burst: None,
            };
            self.set_limit(scope, none).await?;
        }
        for (tenant, task) in lanes {
            self.set_lane_cap(tenant, task, None).await?;
        }
        self.compare().await?;
        let all_tasks: Vec<usize> = (0..TASKS).collect();
        let turn = Turn {
            after: After::Stranger,
            used: 0,
        };
        for _ in 0..DRAIN_ROUNDS_MAX {
            let Some(id) = self.reference.live.keys().next().copied() else {
                return self.check_ends().await;
            };
            let any = Pick {
                apt: true,
                index: 0,
            };
            let on = OnJob {
                job: any,
                foreign: false,
            };
            while !self.reference.jobs(|job| job.later).is_empty() {
                self.come_due(any, When::Now).await?;
            }
            self.make_due(true).await?;
            if !self.reference.jobs(Job::waits_for_approval).is_empty() {
                self.decide(on, true).await?;
            }
            let held: Vec<Hold> = self
                .reference
                .holds
                .iter()
                .copied()
                .filter(|hold| self.reference.held(*hold).is_some())
                .collect();
            if held.is_empty() {
                self.compare().await?;
                let claimed = self.claim(0, &all_tasks, 3, turn).await?;
                ensure!(
                    claimed > 0,
                    "nothing can be claimed, but job {id} is not at its end"
                );
            } else {
                self.finish(&[(any, End::Succeeded)]).await?;
            }
            self.compare().await?;
        }
        Err(format!(
            "after {DRAIN_ROUNDS_MAX} rounds jobs are left: {:?}",
            self.reference.live
        )
        .into())
    }

    async fn check_ends(&mut self) -> Result<(), Wrong> {
        let ended = self
            .reference
            .ended
            .keys()
            .chain(&self.reference.purged)
            .copied()
            .collect();
        self.world.check_told_once(&ended).await
    }
}

/// The kinds of notes that the reference knows.
const KINDS: &[&str] = &[
    "approved",
    "by_hand",
    "called_back",
    "cancel_requested",
    "cancel_too_late",
    "cancelled",
    "lease_over",
    "refused",
    "rejected",
    "released",
    "retry_planned",
    "snoozed",
    "stale_write",
    "superseded",
    "waits",
];

pub(crate) async fn add_job(
    session: &mut PgConnection,
    world: &World,
    new: &New,
    seq: Option<i64>,
) -> Result<(i64, String), sqlx::Error> {
    // As everybody adds what has nothing special about it, except that it is tried as often as the model says.
    let is_plain = new.queue.is_none()
        && new.key.is_none()
        && new.priority == 0
        && matches!(new.when, When::Now)
        && !new.from_event
        && seq.is_none();
    if is_plain {
        let added: Option<i64> = sqlx::query_scalar(
            "insert into switchyard.plain_jobs (database_id, task, payload) values ($1, $2, $3) returning id",
        )
        .bind(world.tenants[new.tenant])
        .bind(task_name(new.task))
        .bind(json!({ "n": new.payload }))
        .fetch_optional(&mut *session)
        .await?;
        if let Some(id) = added {
            sqlx::query("update switchyard.jobs set attempts_max = $2 where id = $1")
                .bind(id)
                .bind(new.attempts_max)
                .execute(&mut *session)
                .await?;
            return Ok((id, "added".to_owned()));
        }
    }
    sqlx::query_as(
        "select job_id, outcome from switchyard.add_job(
            p_database_id => $1, p_task => $2, p_payload => $3, p_queue_name => $4, p_key => $5,
            p_key_mode => $6::text::switchyard.key_mode, p_seq => $7, p_priority => $8,
            p_run_at => now() + $9::text::interval, p_attempts_max => $10, p_event_id => $11
        )",
    )
    .bind(world.tenants[new.tenant])
    .bind(task_name(new.task))
    .bind(json!({ "n": new.payload }))
    .bind(new.queue.map(queue_name))
    .bind(new.key.map(|(key, _)| key_name(key)))
    .bind(new.key.map_or(KeyMode::Replace, |(_, mode)| mode).as_str())
    .bind(seq)
    .bind(new.priority)
    .bind(new.when.interval())
    .bind(new.attempts_max)
    .bind(new.from_event.then(Uuid::new_v4))
    .fetch_one(session)
    .await
}

pub(crate) async fn callback_job(
    session: &mut PgConnection,
    tenant: Uuid,
    hold: Hold,
    said: Said,
) -> Result<(String, Option<String>, bool), sqlx::Error> {
    sqlx::query_as(
        "select outcome, state::text, cancel
         from switchyard.callback_job($1, $2, $3, $4, 'broken', $5, null, null, array['a line'], null)",
    )
    .bind(tenant)
    .bind(hold.job)
    .bind(hold.epoch)
    .bind(said.word())
    .bind(said != Said::Error { retry: false })
    .fetch_one(session)
    .await
}

fn index_of(name: Option<&str>, name_of: fn(usize) -> String) -> Option<usize> {
    name.map(|name| {
        (0..16)
            .find(|index| name_of(*index) == name)
            .unwrap_or(usize::MAX)
    })
}

fn ensure_eq<T: PartialEq + std::fmt::Debug>(
    what: &str,
    shown: &T,
    expected: &T,
) -> Result<(), String> {
    ensure!(
        shown == expected,
        "{what}: the database says {shown:?}, expected was {expected:?}"
    );
    Ok(())
}

/// `object_in_use`: nothing is added there.
const DRAINING: &str = "55006";

pub(crate) fn code_of(error: &sqlx::Error) -> Option<String> {
    let code = error.as_database_error()?.code()?;
    Some(code.into_owned())
}

fn is_lock_timeout(error: &sqlx::Error) -> bool {
    code_of(error).as_deref() == Some("55P03")
}

impl Wrong {
    pub(crate) fn during(self, what: &str) -> Self {
        Self::Different(match self {
            Self::Refused(error) => {
                let refused = error
                    .as_database_error()
                    .and_then(|error| error.try_downcast_ref::<PgDatabaseError>());
                let detail = refused
                    .and_then(PgDatabaseError::detail)
                    .unwrap_or_default();
                let place = refused
                    .and_then(PgDatabaseError::r#where)
                    .unwrap_or_default();
                format!("{what}: {error}\n{detail}\n{place}")
            }
            Self::Different(message) => format!("{what}: {message}"),
        })
    }
}

impl Delay {
    pub(crate) const fn secs(self) -> Option<f64> {
        match self {
            Self::Backoff => None,
            Self::None => Some(0.0),
            Self::Hour => Some(3600.0),
        }
    }
}

impl When {
    pub(crate) const fn interval(self) -> &'static str {
        match self {
            Self::LongAgo => "-1 hour",
            Self::Now => "0",
            Self::InAnHour => "1 hour",
        }
    }
}
