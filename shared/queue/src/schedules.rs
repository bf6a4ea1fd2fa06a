//! Jobs by the clock: when a schedule ticks, what fires it, and what people do to it.
//!
//! A schedule's next tick is computed once and stored, with some after it. Any number of schedulers may look for what is
//! due ([`Queue::due_schedules`]) and fire it ([`Queue::fire_schedule`]): the row's version and the key of its ticks let
//! one of them through. What has come is told by the database's clock alone.
//!
//! ```text
//! declared ─▶ planned ─ its tick comes ─▶ fired ─▶ planned …  until the rule is over
//!                │ paused ⇄ resumed                 └ refused: the queue did not take the job; it shows on the tick
//! ```

mod declaration;
mod missed;
mod own;
mod rule;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::Queue;

pub use declaration::{Declaration, Field, WrongField, WrongValue};
pub use missed::{CATCH_UP_MAX, FRESH, Firing, LATER, Missed, Plan, UnknownMissed};
pub use model::ScheduleId;
pub use own::{
    Declared, NewSchedule, SCHEDULES_MAX, Schedule, Tick, TickOutcome, change, declare, find, list,
    now, pause, remove, resume, run, ticks,
};
pub use rule::{Rule, WrongRule, zones};

/// A schedule that somebody should look at.
#[derive(Debug, Clone)]
pub struct DueSchedule {
    /// Which.
    pub id: ScheduleId,
    /// Which state of its row this is.
    version: i64,
    schedule_info: Value,
    time_zone: Option<String>,
    missed: Missed,
    next_at: Option<DateTime<Utc>>,
    due: bool,
    /// The present, or where ticks to come begin.
    now: DateTime<Utc>,
}

/// What should be done about a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// Its ticks have come.
    Fire(Firing),
    /// Its ticks are to be computed.
    Plan(Plan),
    /// No ticks can be computed.
    Refuse(WrongRule),
}

impl DueSchedule {
    /// What should be done, by the database's clock when it was asked.
    #[must_use]
    pub fn what(&self) -> Due {
        let rule = match Rule::parse(&self.schedule_info, self.time_zone.as_deref()) {
            Ok(rule) => rule,
            Err(error) => return Due::Refuse(error),
        };
        match self.next_at {
            Some(next) if self.due => Due::Fire(Firing::of(&rule, next, self.now, self.missed)),
            Some(next) => Due::Plan(Plan::from(&rule, next)),
            None => Due::Plan(Plan::after(&rule, self.now)),
        }
    }
}

/// What became of the ticks that were fired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fired {
    /// Those that made a job.
    pub fired: i32,
    /// Those whose job the queue did not take.
    pub refused: i32,
}

impl Queue {
    /// Up to `limit` schedules whose tick has come, the oldest first, and as many that have no ticks computed.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn due_schedules(&self, limit: i32) -> Result<Vec<DueSchedule>, sqlx::Error> {
        let rows = sqlx::query!(
            r#"
            select id as "id!", version as "version!", schedule_info as "schedule_info!", time_zone,
                missed::text as "missed!", next_at, due as "due!", at as "at!"
            from switchyard.due_schedules($1)
            "#,
            limit
        )
        .fetch_all(&mut *self.db.acquire().await?)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(DueSchedule {
                    id: ScheduleId(row.id),
                    version: row.version,
                    schedule_info: row.schedule_info,
                    time_zone: row.time_zone,
                    missed: missed_of(&row.missed)?,
                    next_at: row.next_at,
                    due: row.due,
                    now: row.at,
                })
            })
            .collect()
    }

    /// Fires ticks and moves on, in one statement. Nothing when the schedule has changed since it was looked at, or
    /// somebody else is firing it.
    ///
    /// # Errors
    /// When the database does not answer; then nothing was fired, or the next look finds it fired.
    pub async fn fire_schedule(
        &self,
        due: &DueSchedule,
        firing: &Firing,
    ) -> Result<Option<Fired>, sqlx::Error> {
        let row = sqlx::query!(
            r#"
            select fired as "fired!", refused as "refused!"
            from switchyard.fire_schedule($1, $2, $3, $4, $5, $6)
            "#,
            due.id.0,
            due.version,
            &firing.ticks,
            firing.missed,
            firing.plan.next,
            &firing.plan.later,
        )
        .fetch_optional(&mut *self.db.acquire().await?)
        .await?;
        Ok(row.map(|row| Fired {
            fired: row.fired,
            refused: row.refused,
        }))
    }

    /// Records ticks that were computed, or why none can be. False when the schedule has changed since it was looked at.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn plan_schedule(
        &self,
        due: &DueSchedule,
        plan: Result<&Plan, &WrongRule>,
    ) -> Result<bool, sqlx::Error> {
        let (next, later) = match plan {
            Ok(plan) => (plan.next, plan.later.as_slice()),
            Err(_) => (None, [].as_slice()),
        };
        sqlx::query_scalar!(
            r#"select switchyard.plan_schedule($1, $2, $3, $4, $5) as "planned!""#,
            due.id.0,
            due.version,
            next,
            later,
            plan.err().map(ToString::to_string),
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }
}

fn missed_of(text: &str) -> Result<Missed, sqlx::Error> {
    text.parse()
        .map_err(|error| sqlx::Error::Decode(Box::new(error)))
}
