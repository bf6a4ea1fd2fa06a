//! Rules on what logs say, a try of one on a pasted text, what became of its matches, and the log of events.

use std::fmt;
use std::str::FromStr;

use axum::extract::Path;
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use http::StatusCode;
use log_rules::{Pattern, Trial};
use model::{Role, Severity, WorkloadId};
use serde::Deserialize;
use store::declared::{LogRuleWanted, remove_log_rule, save_log_rule};
use store::log_rules::{self as rules, LogRule, Recorded, RecordedFilter, RuleCounts};
use uuid::Uuid;

use crate::asked::{Asked, Given, Piece};
use crate::credentials::wrong;
use crate::declared::{All, all, author, made, one, removed};
use crate::problem::Problem;
use crate::{Answer, answer, named, rows};

pub(crate) async fn list(asked: Asked) -> Answer<All<LogRule>> {
    all(&asked, |tx| Box::pin(rules::list(tx, None))).await
}

pub(crate) async fn show(Path(id): Path<String>, asked: Asked) -> Answer<LogRule> {
    one(&asked, &id, |tx, id| Box::pin(rules::list(tx, Some(id)))).await
}

pub(crate) async fn create(
    asked: Asked,
    Given(wanted): Given<LogRuleWanted>,
) -> Result<impl IntoResponse, Problem> {
    let by = author(&asked, asked.may(Role::Admin)?);
    let mut tx = asked.begin().await?;
    let id = save_log_rule(&mut tx, by, None, wanted).await?;
    let found = rules::list(&mut tx, Some(id)).await?.pop();
    tx.commit().await?;
    made("log-rules", id, found.ok_or(Problem::NotFound)?)
}

pub(crate) async fn change(
    Path(id): Path<String>,
    asked: Asked,
    Given(wanted): Given<LogRuleWanted>,
) -> Answer<LogRule> {
    let by = author(&asked, asked.may(Role::Admin)?);
    let id: Uuid = named(&id)?;
    let mut tx = asked.begin().await?;
    save_log_rule(&mut tx, by, Some(id), wanted).await?;
    let found = rules::list(&mut tx, Some(id)).await?.pop();
    tx.commit().await?;
    answer(found.ok_or(Problem::NotFound)?)
}

pub(crate) async fn remove(Path(id): Path<String>, asked: Asked) -> Result<StatusCode, Problem> {
    let by = author(&asked, asked.may(Role::Admin)?);
    let id: Uuid = named(&id)?;
    let mut tx = asked.begin().await?;
    let done = remove_log_rule(&mut tx, by, id).await?;
    tx.commit().await?;
    removed(done)
}

pub(crate) async fn stats(Path(id): Path<String>, asked: Asked) -> Answer<All<RuleCounts>> {
    asked.nothing_more()?;
    let id: Uuid = named(&id)?;
    let mut tx = asked.begin().await?;
    let found = rules::list(&mut tx, Some(id)).await?.pop();
    let items = rules::counts(&mut tx, id).await?;
    tx.commit().await?;
    found.ok_or(Problem::NotFound)?;
    answer(All { items })
}

/// A pattern and a text to try it on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tried {
    pattern: String,
    text: String,
}

pub(crate) async fn test(asked: Asked, Given(tried): Given<Tried>) -> Answer<Trial> {
    // It changes nothing; whoever may read logs may try.
    asked.nothing_more()?;
    let pattern: Pattern = tried
        .pattern
        .parse()
        .map_err(|error| wrong("pattern", error))?;
    answer(Trial::of(&pattern, &tried.text))
}

/// How bad it is at least.
struct Least(Severity);

impl FromStr for Least {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        serde_json::from_value(text.into()).map(Self)
    }
}

/// A place in a list by time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At(pub(crate) DateTime<Utc>, pub(crate) Uuid);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0.timestamp_micros(), self.1)
    }
}

impl FromStr for At {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "no place";
        let (micros, id) = text.split_once('/').ok_or(wrong)?;
        let micros = micros.parse().map_err(|_| wrong)?;
        let at = DateTime::from_timestamp_micros(micros).ok_or(wrong)?;
        Ok(Self(at, id.parse().map_err(|_| wrong)?))
    }
}

pub(crate) async fn event_log(mut asked: Asked) -> Answer<Piece<Recorded>> {
    let filter = RecordedFilter {
        rule: asked.parsed::<Uuid>("rule")?,
        workload: asked.parsed::<WorkloadId>("workload")?,
        severity: asked.parsed::<Least>("severity")?.map(|least| least.0),
    };
    let (before, limit) = asked.piece::<At>()?;
    let mut tx = asked.begin().await?;
    let before = before.map(|place| (place.0, place.1));
    let found = rules::recorded(&mut tx, filter, before, rows(limit)).await?;
    tx.commit().await?;
    answer(asked.list(found, limit, |row| At(row.at, row.id).to_string())?)
}
