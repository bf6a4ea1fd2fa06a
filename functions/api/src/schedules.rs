//! A tenant's schedules: read, declared, changed, paused and resumed, run by hand, removed.

use axum::Json;
use axum::extract::Path;
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use http::StatusCode;
use http::header::LOCATION;
use model::{JobId, Role, ScheduleId};
use queue::schedules::{
    self, Declaration, Declared, Missed, Plan, Rule, SCHEDULES_MAX, Schedule, Tick,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::asked::{Asked, Given, Piece};
use crate::problem::Problem;
use crate::{Answer, answer, named};

/// Ticks that come with a schedule, the newest.
const TICKS_MAX: usize = 20;

/// What people declare, as it comes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
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

impl From<Wanted> for Declaration {
    /// The rule is stored as node-schedule has it.
    fn from(wanted: Wanted) -> Self {
        let mut info = serde_json::Map::from_iter([("rule".to_owned(), wanted.rule)]);
        for (name, edge) in [("start", wanted.start), ("end", wanted.end)] {
            if let Some(edge) = edge {
                info.insert(name.to_owned(), edge);
            }
        }
        Self {
            name: wanted.name,
            task: wanted.task,
            schedule_info: Value::Object(info),
            time_zone: wanted.time_zone,
            payload: wanted.payload,
            queue: wanted.queue,
            priority: wanted.priority,
            attempts_max: wanted.attempts_max,
            key: wanted.key,
            missed: wanted.missed,
            jitter_secs: wanted.jitter_secs,
        }
    }
}

/// The ticks of what is declared, unless something is wrong with it.
fn planned(declaration: &Declaration, now: DateTime<Utc>) -> Result<Plan, Problem> {
    declaration.plan(now).map_err(|wrong| {
        let wrong: Vec<_> = wrong.iter().map(ToString::to_string).collect();
        Problem::BadBody(wrong.join("; "))
    })
}

fn done(declaration: &Declaration, declared: Declared) -> Result<ScheduleId, Problem> {
    match declared {
        Declared::Done(id) => Ok(id),
        Declared::Taken => Err(Problem::Conflict(format!(
            "there is another schedule with the name {:?}, or with its key; take another, or change that one",
            declaration.name
        ))),
        Declared::TooMany => Err(Problem::Conflict(format!(
            "a tenant has at most {SCHEDULES_MAX} schedules; remove one that is over"
        ))),
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

impl Shown {
    fn of(asked: &Asked, mut schedule: Schedule) -> Self {
        schedule.payload = asked.payload(&schedule.task, schedule.payload);
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
    let rows = rows.into_iter().map(|row| Shown::of(&asked, row)).collect();
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
        shown: Shown::of(&asked, found),
        shortest_interval_secs: shortest.map(|time| time.num_seconds()),
        ticks,
    })
}

pub(crate) async fn declare(
    asked: Asked,
    Given(wanted): Given<Wanted>,
) -> Result<impl IntoResponse, Problem> {
    let by = asked.may(Role::Admin)?;
    let declaration = Declaration::from(wanted);
    let mut tx = asked.begin().await?;
    let plan = planned(&declaration, schedules::now(&mut tx).await?)?;
    let declared = schedules::declare(&mut tx, &declaration.with(&plan), by).await?;
    let id = done(&declaration, declared)?;
    let found = schedules::find(&mut tx, id).await?;
    tx.commit().await?;
    let shown = Shown::of(&asked, found.ok_or(Problem::NotFound)?);
    let place = [(LOCATION, format!("/schedules/{id}"))];
    Ok((StatusCode::CREATED, place, answer(shown)?))
}

pub(crate) async fn change(
    Path(id): Path<String>,
    asked: Asked,
    Given(wanted): Given<Wanted>,
) -> Answer<Shown> {
    asked.may(Role::Admin)?;
    let id: ScheduleId = named(&id)?;
    let declaration = Declaration::from(wanted);
    let mut tx = asked.begin().await?;
    let plan = planned(&declaration, schedules::now(&mut tx).await?)?;
    let changed = schedules::change(&mut tx, id, &declaration.with(&plan)).await?;
    done(&declaration, changed.ok_or(Problem::NotFound)?)?;
    let found = schedules::find(&mut tx, id).await?;
    tx.commit().await?;
    answer(Shown::of(&asked, found.ok_or(Problem::NotFound)?))
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
    answer(Shown::of(&asked, found.ok_or(Problem::NotFound)?))
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
    answer(Shown::of(&asked, found.ok_or(Problem::NotFound)?))
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
