//! Work outside that a runner does: begun by who holds the job, heard of and ended by what the runner says.

use std::time::Duration;

pub use model::run::RunState;
use model::run::{NewsTaken, RunNews, RunOver, RunReport, StepState, Then};
use model::{JobId, JobState, LogStream, TenantId};

use crate::executors::Heard;
use crate::hold::{report, storable, storable_json};
use crate::{Hold, Queue};

/// A run that is to begin.
#[derive(Debug, Clone)]
pub struct NewRun<'a> {
    /// What it is for, as its task names it.
    pub phase: &'a str,
    /// Who starts the runner: `local` or `kubernetes`.
    pub launcher: &'a str,
    /// What the runner fetches, sealed.
    pub spec: &'a [u8],
    /// By what the runner can be found and stopped, chosen before it is started.
    pub handle: &'a serde_json::Value,
    /// Names of the steps.
    pub steps: &'a [String],
    /// How long the runner may take to its first sign of life.
    pub start_within: Duration,
    /// For how long each sign of life is good.
    pub lease: Duration,
    /// How long the run may take.
    pub time: Duration,
    /// What becomes of the job when it went well.
    pub then: Then,
    /// Whether another try may help when it did not.
    pub retry: bool,
}

/// Whether a run may be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// Its job waits for it: start it.
    Waiting,
    /// Its job was asked to stop, and has: start nothing.
    Cancelled,
    /// Somebody else holds the job: start nothing.
    Stale,
}

/// What a runner is told that asks what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpecFound {
    /// This, sealed.
    Held(Vec<u8>),
    /// The run is over, or its job went on without it.
    Over,
    /// There is no such run.
    Unknown,
}

/// What became of a runner's news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewsHeard {
    /// They count.
    Taken(NewsTaken),
    /// The run is over, or its job went on without it: the runner stops everything and leaves.
    Stale,
    /// There is no such run.
    Unknown,
}

/// The newest run of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct LastRun {
    /// Of the claim that began it.
    pub epoch: i64,
    /// What it was for.
    pub phase: String,
    /// How far it came.
    pub state: RunState,
    /// By what the runner could be found; its launcher's name first.
    pub launcher: String,
    /// What it said last.
    pub report: RunReport,
    /// Why it ended as it did, where that was said.
    pub reason: Option<String>,
}

/// A run whose runner nobody has heard of yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Launching {
    /// Whose.
    pub tenant: TenantId,
    /// Of which claim of which job.
    pub hold: Hold,
    /// By what its runner is found.
    pub handle: serde_json::Value,
}

/// A step that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedStep {
    /// The task whose job it was.
    pub task: String,
    /// What it is called.
    pub name: String,
    /// How it ended.
    pub state: StepState,
    /// How long it took.
    pub took: Duration,
}

impl Queue {
    /// Lets a job that is held wait for a runner. Only then is the runner started.
    ///
    /// # Errors
    /// When the database does not answer, or refuses: the claim has a run already, or a name is too long.
    pub async fn begin_run(&self, hold: Hold, run: &NewRun<'_>) -> Result<Begun, sqlx::Error> {
        let approve_within = match run.then {
            Then::Finish => None,
            Then::Approve { within_secs } => Some(Duration::from_secs(within_secs).as_secs_f64()),
        };
        let state = sqlx::query_scalar!(
            r#"
            select switchyard.begin_run(
                $1, $2, $3, $4, $5, $6, $7, make_interval(secs => $8), make_interval(secs => $9),
                make_interval(secs => $10), make_interval(secs => $11), $12
            )::text
            "#,
            hold.job.0,
            hold.epoch,
            run.phase,
            run.launcher,
            run.spec,
            run.handle,
            run.steps,
            run.start_within.as_secs_f64(),
            run.lease.as_secs_f64(),
            run.time.as_secs_f64(),
            approve_within,
            run.retry,
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await?;
        Ok(match report(state)? {
            model::FinishReport::Stale => Begun::Stale,
            model::FinishReport::Applied(JobState::Waiting) => Begun::Waiting,
            model::FinishReport::Applied(_) => Begun::Cancelled,
        })
    }

    /// What a run's runner is to do.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn run_spec(&self, tenant: TenantId, hold: Hold) -> Result<SpecFound, sqlx::Error> {
        let row = sqlx::query!(
            r#"
            select r.spec, (j.id is not null and r.ended_at is null) as "live!"
            from switchyard.runs r
            left join switchyard.jobs j
                on j.id = r.job_id and j.epoch = r.epoch and j.waiting = 'runner' and j.state in ('waiting', 'cancelling')
            where r.database_id = $1 and r.job_id = $2 and r.epoch = $3
            "#,
            tenant.uuid(),
            hold.job.0,
            hold.epoch,
        )
        .fetch_optional(&mut *self.db.acquire().await?)
        .await?;
        Ok(match row {
            None => SpecFound::Unknown,
            Some(row) if row.live => SpecFound::Held(row.spec),
            Some(_) => SpecFound::Over,
        })
    }

    /// Runs of a task, by one launcher, whose runners nobody has heard of yet: the first 1000.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn launching_runs(
        &self,
        task: &str,
        launcher: &str,
    ) -> Result<Vec<Launching>, sqlx::Error> {
        let rows = sqlx::query!(
            r#"
            select r.database_id, r.job_id, r.epoch, j.runner as "runner!"
            from switchyard.runs r
            join switchyard.jobs j on j.id = r.job_id and j.epoch = r.epoch
            where r.ended_at is null and r.started_at is null and r.launcher = $2
              and j.task = $1 and j.waiting = 'runner' and j.state in ('waiting', 'cancelling') and j.runner is not null
            order by r.job_id
            limit 1000
            "#,
            task,
            launcher,
        )
        .fetch_all(&mut *self.db.acquire().await?)
        .await?;
        let launching = rows.into_iter().map(|row| Launching {
            tenant: row.database_id.into(),
            hold: Hold {
                job: JobId(row.job_id),
                epoch: row.epoch,
            },
            handle: row.runner,
        });
        Ok(launching.collect())
    }

    /// Takes a runner's news, which are a sign of life in any case.
    ///
    /// # Errors
    /// When the database does not answer, or refuses a line that is too long; nothing was taken then, and the same may be said again.
    pub async fn run_news(
        &self,
        tenant: TenantId,
        hold: Hold,
        news: &RunNews,
    ) -> Result<NewsHeard, sqlx::Error> {
        let (streams, lines): (Vec<String>, Vec<String>) = news
            .lines
            .iter()
            .map(|(stream, text)| (LogStream::as_str(*stream).to_owned(), storable(text)))
            .unzip();
        let steps: Vec<i32> = news
            .steps
            .iter()
            .map(|step| i32::try_from(step.step).unwrap_or(i32::MAX))
            .collect();
        let states: Vec<String> = news
            .steps
            .iter()
            .map(|step| step.state.as_str().to_owned())
            .collect();
        let codes: Vec<Option<i32>> = news.steps.iter().map(|step| step.exit_code).collect();
        let whys: Vec<Option<String>> = news
            .steps
            .iter()
            .map(|step| step.why.as_deref().map(storable))
            .collect();
        let said = news.report.as_ref().map(json).transpose()?;
        let row = sqlx::query!(
            r#"
            select outcome as "outcome!", lines as "lines!", cancel as "cancel!"
            from switchyard.run_news($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
            "#,
            tenant.uuid(),
            hold.job.0,
            hold.epoch,
            i64::try_from(news.first).unwrap_or(i64::MAX),
            &streams,
            &lines,
            &steps,
            &states,
            codes.as_slice() as &[Option<i32>],
            whys.as_slice() as &[Option<String>],
            said,
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await?;
        match row.outcome.as_str() {
            "taken" => Ok(NewsHeard::Taken(NewsTaken {
                lines: u64::try_from(row.lines).unwrap_or_default(),
                cancel: row.cancel,
            })),
            "stale" => Ok(NewsHeard::Stale),
            "unknown" => Ok(NewsHeard::Unknown),
            outcome => Err(odd("run_news", outcome)),
        }
    }

    /// Those of a run's steps that have ended just now, for who counts them: a step whose news come again much later is not among
    /// them.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn steps_ended(
        &self,
        tenant: TenantId,
        hold: Hold,
        steps: &[i32],
    ) -> Result<Vec<EndedStep>, sqlx::Error> {
        let rows = sqlx::query!(
            r#"
            select j.task, s.name, s.state, extract(epoch from s.ended_at - s.started_at)::float8 as "took!"
            from switchyard.run_steps s
            join switchyard.jobs j on j.database_id = s.database_id and j.id = s.job_id
            where s.database_id = $1 and s.job_id = $2 and s.epoch = $3 and s.step = any ($4)
              and s.ended_at > clock_timestamp() - interval '2 seconds' and s.started_at is not null
            "#,
            tenant.uuid(),
            hold.job.0,
            hold.epoch,
            steps
        )
        .fetch_all(&mut *self.db.acquire().await?)
        .await?;
        Ok(rows
            .into_iter()
            .filter_map(|row| {
                let state = [StepState::Succeeded, StepState::Failed, StepState::Stopped]
                    .into_iter()
                    .find(|state| state.as_str() == row.state)?;
                Some(EndedStep {
                    task: row.task,
                    name: row.name,
                    state,
                    took: Duration::try_from_secs_f64(row.took).unwrap_or_default(),
                })
            })
            .collect())
    }

    /// Takes what a runner says of its end. Said twice it counts once; of two ends the first counts.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn end_run(
        &self,
        tenant: TenantId,
        hold: Hold,
        over: &RunOver,
    ) -> Result<Heard, sqlx::Error> {
        let row = sqlx::query!(
            r#"
            select outcome as "outcome!", state::text as state
            from switchyard.end_run($1, $2, $3, $4, $5, $6, $7)
            "#,
            tenant.uuid(),
            hold.job.0,
            hold.epoch,
            over.end.as_str(),
            over.reason.as_deref().map(storable),
            json(&over.report)?,
            over.report.changes,
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await?;
        let state = row
            .state
            .map(|state| state.parse::<JobState>())
            .transpose()
            .map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
        match (row.outcome.as_str(), state) {
            ("applied", Some(state)) => Ok(Heard::Applied {
                state,
                cancel: false,
            }),
            ("duplicate", state) => Ok(Heard::Duplicate(state)),
            ("stale", state) => Ok(Heard::Stale(state)),
            ("unknown", _) => Ok(Heard::Unknown),
            (outcome, _) => Err(odd("end_run", outcome)),
        }
    }

    /// Ends a run whose runner is gone without its last word, with nothing of it left: says who started it and has looked. Its job
    /// is tried again or is dead, or cancelled where it was asked to stop. Returns what the job is now; nothing where the run was
    /// over.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn lose_runner(
        &self,
        tenant: TenantId,
        hold: Hold,
        why: &str,
    ) -> Result<Option<JobState>, sqlx::Error> {
        let state = sqlx::query_scalar!(
            "select switchyard.lose_runner($1, $2, $3, $4)::text",
            tenant.uuid(),
            hold.job.0,
            hold.epoch,
            storable(why),
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await?;
        state
            .map(|state| state.parse::<JobState>())
            .transpose()
            .map_err(|error| sqlx::Error::Decode(Box::new(error)))
    }

    /// The newest run of a job, if it had any: what a task that is called again goes on from.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn last_run(
        &self,
        tenant: TenantId,
        job: JobId,
    ) -> Result<Option<LastRun>, sqlx::Error> {
        let Some(row) = sqlx::query!(
            r#"
            select epoch, phase, state, launcher, report, reason from switchyard.runs
            where database_id = $1 and job_id = $2
            order by epoch desc
            limit 1
            "#,
            tenant.uuid(),
            job.0,
        )
        .fetch_optional(&mut *self.db.acquire().await?)
        .await?
        else {
            return Ok(None);
        };
        let said = row
            .report
            .map(serde_json::from_value::<RunReport>)
            .transpose()
            .map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
        Ok(Some(LastRun {
            epoch: row.epoch,
            phase: row.phase,
            state: row
                .state
                .parse()
                .map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
            launcher: row.launcher,
            report: said.unwrap_or_default(),
            reason: row.reason,
        }))
    }
}

fn json(report: &RunReport) -> Result<serde_json::Value, sqlx::Error> {
    serde_json::to_value(report)
        .map(storable_json)
        .map_err(|error| sqlx::Error::Encode(Box::new(error)))
}

fn odd(what: &str, answered: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("{what} answered {answered:?}").into())
}
