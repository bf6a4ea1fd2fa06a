//! A tenant's schedules: read, declared, changed, paused and resumed, run by hand, removed.

use std::time::Duration;

use axum::Json;
use axum::extract::Path;
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use http::StatusCode;
use http::header::LOCATION;
use model::{JobId, Role, ScheduleId};
use queue::schedules::{
    self, Declared, Missed, NewSchedule, Plan, Rule, SCHEDULES_MAX, Schedule, Tick, WrongRule,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::asked::{Asked, Given, Piece};
use crate::problem::Problem;
use crate::{Answer, answer, named};

/// Ticks that come with a schedule, the newest.
const TICKS_MAX: usize = 20;
/// The longest jitter.
const JITTER_MAX: Duration = Duration::from_secs(24 * 3600);

/// What people declare.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Declaration {
    name: String,
    task: String,
    /// A text of five or six fields, an object of fields, or an instant.
    rule: Value,
    start: Option<Value>,
    end: Option<Value>,
    time_zone: Option<String>,
    #[serde(default = "nothing")]
    payload: Value,
    queue: Option<String>,
    #[serde(default)]
    priority: i32,
    attempts_max: Option<i32>,
    key: Option<String>,
    #[serde(default)]
    missed: Missed,
    #[serde(default)]
    jitter_secs: u32,
}

fn nothing() -> Value {
    json!({})
}

impl Declaration {
    /// What is stored: as node-schedule has it.
    fn schedule_info(&self) -> Value {
        let mut info = serde_json::Map::from_iter([("rule".to_owned(), self.rule.clone())]);
        for (name, edge) in [("start", &self.start), ("end", &self.end)] {
            if let Some(edge) = edge {
                info.insert(name.to_owned(), edge.clone());
            }
        }
        Value::Object(info)
    }

    fn check(&self) -> Result<(), Problem> {
        let texts = [
            ("name", Some(&self.name), 200),
            ("task", Some(&self.task), 126),
            ("queue", self.queue.as_ref(), 126),
            ("key", self.key.as_ref(), 512),
        ];
        for (name, text, max) in texts {
            let length = text.map(|text| text.chars().count());
            if length.is_some_and(|length| !(1..=max).contains(&length)) {
                return Err(wrong(name, format!("write 1 to {max} characters")));
            }
        }
        if self.attempts_max.is_some_and(|tries| tries < 1) {
            return Err(wrong("attempts_max", "one try is the least"));
        }
        if self.jitter() > JITTER_MAX {
            let most = JITTER_MAX.as_secs();
            return Err(wrong("jitter_secs", format!("{most}, a day, is the most")));
        }
        Ok(())
    }

    fn jitter(&self) -> Duration {
        Duration::from_secs(self.jitter_secs.into())
    }

    /// The schedule, with its ticks from `now`. One that would never tick is a mistake.
    fn planned(&self, now: DateTime<Utc>) -> Result<(Value, Plan), Problem> {
        self.check()?;
        let info = self.schedule_info();
        let planned = Rule::parse(&info, self.time_zone.as_deref()).and_then(|rule| {
            let plan = Plan::after(&rule, now);
            plan.next.is_some().then_some(plan).ok_or(WrongRule::Never)
        });
        let plan = planned.map_err(|error| wrong("rule", error))?;
        Ok((info, plan))
    }

    fn schedule<'a>(&'a self, schedule_info: &'a Value, plan: &'a Plan) -> NewSchedule<'a> {
        NewSchedule {
            name: &self.name,
            task: &self.task,
            schedule_info,
            time_zone: self.time_zone.as_deref(),
            payload: &self.payload,
            queue_name: self.queue.as_deref(),
            priority: self.priority,
            attempts_max: self.attempts_max,
            key: self.key.as_deref(),
            missed: self.missed,
            jitter: self.jitter(),
            plan,
        }
    }

    fn declared(&self, declared: Declared) -> Result<ScheduleId, Problem> {
        match declared {
            Declared::Done(id) => Ok(id),
            Declared::Taken => Err(Problem::Conflict(format!(
                "there is another schedule with the name {:?}, or with its key; take another, or change that one",
                self.name
            ))),
            Declared::TooMany => Err(Problem::Conflict(format!(
                "a tenant has at most {SCHEDULES_MAX} schedules; remove one that is over"
            ))),
        }
    }
}

fn wrong(field: &str, problem: impl std::fmt::Display) -> Problem {
    Problem::BadBody(format!("{field}: {problem}"))
}

/// A schedule as it is shown: the parts of its rule by themselves, as they are declared.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    rule: Value,
    start: Option<Value>,
    end: Option<Value>,
    #[serde(flatten)]
    schedule: Schedule,
}

impl From<Schedule> for Shown {
    fn from(mut schedule: Schedule) -> Self {
        let mut info = schedule.schedule_info.take();
        let mut part = |name: &str| {
            let found = info.get_mut(name).map(Value::take);
            found.filter(|value| !value.is_null())
        };
        let (rule, start, end, zone) = (part("rule"), part("start"), part("end"), part("tz"));
        if let (None, Some(Value::String(zone))) = (&schedule.time_zone, zone) {
            schedule.time_zone = Some(zone);
        }
        Self {
            rule: rule.unwrap_or(info),
            start,
            end,
            schedule,
        }
    }
}

/// A schedule with what became of its newest ticks.
#[derive(Debug, Serialize)]
pub(crate) struct Detail {
    #[serde(flatten)]
    shown: Shown,
    /// The shortest time between two of its next ticks, in seconds.
    shortest_interval_secs: Option<i64>,
    ticks: Vec<Tick>,
}

pub(crate) async fn list(mut asked: Asked) -> Answer<Piece<Shown>> {
    let (before, limit) = asked.piece::<ScheduleId>()?;
    let mut tx = asked.begin().await?;
    let rows = schedules::list(&mut tx, before, limit).await?;
    tx.commit().await?;
    let rows = rows.into_iter().map(Shown::from).collect();
    answer(asked.list(rows, limit, |row| row.schedule.id.to_string())?)
}

pub(crate) async fn show(Path(id): Path<String>, asked: Asked) -> Answer<Detail> {
    asked.nothing_more()?;
    let id: ScheduleId = named(&id)?;
    let mut tx = asked.begin().await?;
    let found = schedules::find(&mut tx, id).await?;
    let ticks = schedules::ticks(&mut tx, id, None, TICKS_MAX).await?;
    let now = schedules::now(&mut tx).await?;
    tx.commit().await?;
    let found = found.ok_or(Problem::NotFound)?;
    let rule = Rule::parse(&found.schedule_info, found.time_zone.as_deref());
    let shortest = rule.ok().and_then(|rule| rule.shortest_interval(now));
    answer(Detail {
        shown: found.into(),
        shortest_interval_secs: shortest.map(|time| time.num_seconds()),
        ticks,
    })
}

pub(crate) async fn declare(
    asked: Asked,
    Given(declaration): Given<Declaration>,
) -> Result<impl IntoResponse, Problem> {
    let by = asked.may(Role::Admin)?;
    let mut tx = asked.begin().await?;
    let (info, plan) = declaration.planned(schedules::now(&mut tx).await?)?;
    let schedule = declaration.schedule(&info, &plan);
    let declared = schedules::declare(&mut tx, &schedule, by).await?;
    let id = declaration.declared(declared)?;
    let found = schedules::find(&mut tx, id).await?;
    tx.commit().await?;
    let shown = Shown::from(found.ok_or(Problem::NotFound)?);
    let place = [(LOCATION, format!("/schedules/{id}"))];
    Ok((StatusCode::CREATED, place, answer(shown)?))
}

pub(crate) async fn change(
    Path(id): Path<String>,
    asked: Asked,
    Given(declaration): Given<Declaration>,
) -> Answer<Shown> {
    asked.may(Role::Admin)?;
    let id: ScheduleId = named(&id)?;
    let mut tx = asked.begin().await?;
    let (info, plan) = declaration.planned(schedules::now(&mut tx).await?)?;
    let schedule = declaration.schedule(&info, &plan);
    let changed = schedules::change(&mut tx, id, &schedule).await?;
    declaration.declared(changed.ok_or(Problem::NotFound)?)?;
    let found = schedules::find(&mut tx, id).await?;
    tx.commit().await?;
    answer(found.ok_or(Problem::NotFound)?.into())
}

pub(crate) async fn remove(Path(id): Path<String>, asked: Asked) -> Result<StatusCode, Problem> {
    asked.may(Role::Admin)?;
    let id: ScheduleId = named(&id)?;
    let mut tx = asked.begin().await?;
    let removed = schedules::remove(&mut tx, id).await?;
    tx.commit().await?;
    removed
        .then_some(StatusCode::NO_CONTENT)
        .ok_or(Problem::NotFound)
}

/// Why a schedule is paused.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pause {
    why: Option<String>,
}

pub(crate) async fn pause(
    Path(id): Path<String>,
    asked: Asked,
    Given(pause): Given<Pause>,
) -> Answer<Shown> {
    let by = asked.may(Role::Operator)?;
    let id: ScheduleId = named(&id)?;
    if pause
        .why
        .as_ref()
        .is_some_and(|why| why.chars().count() > 2000)
    {
        return Err(wrong("why", "2000 characters are the most"));
    }
    let mut tx = asked.begin().await?;
    let paused = schedules::pause(&mut tx, id, by, pause.why.as_deref()).await?;
    let found = schedules::find(&mut tx, id).await?.filter(|_| paused);
    tx.commit().await?;
    answer(found.ok_or(Problem::NotFound)?.into())
}

pub(crate) async fn resume(Path(id): Path<String>, asked: Asked) -> Answer<Shown> {
    asked.may(Role::Operator)?;
    let id: ScheduleId = named(&id)?;
    let mut tx = asked.begin().await?;
    let found = schedules::find(&mut tx, id).await?;
    let found = found.ok_or(Problem::NotFound)?;
    let rule = Rule::parse(&found.schedule_info, found.time_zone.as_deref())
        .map_err(|error| Problem::Conflict(format!("it cannot go on: {error}")))?;
    let plan = Plan::after(&rule, schedules::now(&mut tx).await?);
    let resumed = schedules::resume(&mut tx, id, &plan).await?;
    let found = schedules::find(&mut tx, id).await?.filter(|_| resumed);
    tx.commit().await?;
    answer(found.ok_or(Problem::NotFound)?.into())
}

/// A job that was added.
#[derive(Debug, Serialize)]
pub(crate) struct Started {
    job: JobId,
}

pub(crate) async fn run(
    Path(id): Path<String>,
    asked: Asked,
) -> Result<impl IntoResponse, Problem> {
    let by = asked.may(Role::Operator)?;
    let id: ScheduleId = named(&id)?;
    let mut tx = asked.begin().await?;
    let job = schedules::run(&mut tx, id, by)
        .await
        .map_err(queue::RuleError::from)?;
    tx.commit().await?;
    let started = Started {
        job: job.ok_or(Problem::NotFound)?,
    };
    Ok((StatusCode::ACCEPTED, Json(started)))
}
