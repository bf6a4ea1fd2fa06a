//! Rules on what logs say, and the log of events.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use chrono::{DateTime, Utc};
use database::TenantTx;
use host::Ctx;
use maud::Markup;
use model::{Severity, TriggerId, WorkloadId};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use store::log_rules::{self as rules, LogRule, Override, Recorded, RecordedFilter};
use store::triggers::SaveError;
use store::{declared, pages};
use uuid::Uuid;

use super::declared_form::{Admitted, Subject, author, show, take, workloads, written};
use super::problem::Problem;
use super::queues::said;
use super::rows::{self, with_query};
use super::session::{Posted, Signed};
use super::trigger_form::Sent;
use super::triggers::Nothing;
use crate::views::log_rules::{event_log as log_view, log_rule, log_rules};
use crate::views::model::{
    CountRow, Declared, DeclaredForm, EventLogPage, Link, LogRulePage, LogRuleRow, LogRulesPage,
    OverrideRow, RecordedRow,
};

/// Rows of the log of events on its page.
const ROWS: usize = 50;
/// And on a rule's.
const LATEST: usize = 10;
/// Triggers whose names are known beside rules.
const TRIGGERS: usize = 200;

/// What of a rule is somebody's to write.
const KEYS: [&str; 9] = [
    "workload",
    "name",
    "pattern",
    "severity",
    "streams",
    "cooldown_secs",
    "trigger",
    "enabled",
    "overrides",
];

/// A rule that is to be.
const NEW: Declared = Declared::LogRule { is_there: false };

/// Names of what rules point at.
struct Names {
    workloads: HashMap<WorkloadId, String>,
    triggers: HashMap<TriggerId, String>,
}

impl Names {
    async fn read(tx: &mut TenantTx) -> Result<Self, Problem> {
        let workloads = pages::workloads(tx, None, TRIGGERS).await?;
        let triggers = pages::trigger_list(tx, None, TRIGGERS).await?;
        Ok(Self {
            workloads: workloads.into_iter().map(|it| (it.id, it.name)).collect(),
            triggers: triggers.into_iter().map(|it| (it.id, it.name)).collect(),
        })
    }

    fn workload(&self, id: WorkloadId) -> Link {
        let name = self.workloads.get(&id).cloned();
        Link {
            name: name.unwrap_or_else(|| id.to_string()),
            href: rows::workload_href(id),
        }
    }

    fn trigger(&self, id: TriggerId) -> Link {
        let name = self.triggers.get(&id).cloned();
        Link {
            name: name.unwrap_or_else(|| id.to_string()),
            href: format!("/triggers/{id}"),
        }
    }

    fn row(&self, rule: &LogRule) -> Result<LogRuleRow, Problem> {
        Ok(LogRuleRow {
            id: rule.id,
            name: rule.name.clone(),
            pattern: rule.pattern.clone(),
            severity: severity(&rule.severity)?,
            workload: rule.workload.map(|id| self.workload(id)),
            trigger: rule.trigger.map(|id| self.trigger(id)),
            enabled: rule.enabled,
        })
    }

    fn recorded(&self, row: Recorded, rules: &[LogRule]) -> Result<RecordedRow, Problem> {
        let rule = row
            .rule
            .and_then(|id| rules.iter().find(|rule| rule.id == id));
        let has_data = row.data.as_object().is_some_and(|data| !data.is_empty());
        Ok(RecordedRow {
            at: row.at,
            severity: severity(&row.severity)?,
            source: row.source,
            message: row.message,
            rule: rule.map(|rule| Link {
                name: rule.name.clone(),
                href: format!("/log-rules/{}", rule.id),
            }),
            workload: row.workload.map(|id| self.workload(id)),
            job: row.job,
            data: has_data.then(|| format!("{:#}", row.data)),
        })
    }
}

/// The database's CHECK admits no other.
fn severity(text: &str) -> Result<Severity, Problem> {
    serde_json::from_value(text.into()).map_err(Problem::internal)
}

pub(super) async fn list(State(ctx): State<Ctx>, signed: Signed) -> Result<Markup, Problem> {
    let mut tx = signed.begin(&ctx).await?;
    let names = Names::read(&mut tx).await?;
    let found = rules::list(&mut tx, None).await?;
    tx.commit().await?;
    let rows: Result<_, Problem> = found.iter().map(|rule| names.row(rule)).collect();
    let view = LogRulesPage {
        rows: rows?,
        may_edit: signed.may_administer(),
    };
    Ok(log_rules(&signed.reader(), &view))
}

async fn found(tx: &mut TenantTx, id: &str) -> Result<LogRule, Problem> {
    let id: Uuid = rows::id(id)?;
    let found = rules::list(tx, Some(id)).await?.pop();
    found.ok_or(Problem::NotFound)
}

pub(super) async fn page(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Markup, Problem> {
    let mut tx = signed.begin(&ctx).await?;
    let rule = found(&mut tx, &id).await?;
    let names = Names::read(&mut tx).await?;
    let counts = rules::counts(&mut tx, rule.id).await?;
    let filter = RecordedFilter {
        rule: Some(rule.id),
        ..RecordedFilter::default()
    };
    let latest = rules::recorded(&mut tx, filter, None, limit(LATEST)).await?;
    let workloads = workloads(&mut tx).await?;
    tx.commit().await?;
    let own = std::slice::from_ref(&rule);
    let recorded: Result<_, Problem> = latest
        .into_iter()
        .map(|row| names.recorded(row, own))
        .collect();
    let view = LogRulePage {
        row: names.row(&rule)?,
        cooldown_secs: rule.cooldown_secs,
        overrides: rule
            .overrides
            .iter()
            .map(|own| OverrideRow {
                workload_id: own.workload.to_string(),
                workload: names.workload(own.workload),
                enabled: own.enabled,
                severity: own.severity.clone(),
                cooldown_secs: own.cooldown_secs,
            })
            .collect(),
        streams: rule.streams,
        workloads,
        counts: counts
            .into_iter()
            .map(|row| CountRow {
                workload: row.workload.map(|id| names.workload(id)),
                matched: row.matched,
                told: row.told,
                cooled: row.cooled,
                dropped: row.dropped,
                fired: row.fired,
                matched_at: row.matched_at,
            })
            .collect(),
        recorded: recorded?,
        may_edit: signed.may_administer(),
    };
    Ok(log_rule(&signed.reader(), &view))
}

fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

pub(super) async fn new(State(ctx): State<Ctx>, signed: Signed) -> Result<Markup, Problem> {
    signed.administer()?;
    let begin = json!({ "severity": "error", "cooldown_secs": 60 });
    let begin = begin.as_object().cloned().unwrap_or_default();
    show(&ctx, &signed, &Subject::new(NEW), &begin).await
}

pub(super) async fn create(
    State(ctx): State<Ctx>,
    Extension(guard): Admitted,
    signed: Signed,
    Posted(sent): Posted<Sent<DeclaredForm>>,
) -> Result<Response, Problem> {
    signed.administer()?;
    take(&ctx, &signed, &guard, &Subject::new(NEW), sent).await
}

/// A rule that is there stays with its workload.
fn subject(rule: &LogRule) -> Subject {
    Subject {
        changes: Some((rule.id, rule.name.clone())),
        fixed: Map::from_iter([("workload".to_owned(), json!(rule.workload))]),
        ..Subject::new(Declared::LogRule { is_there: true })
    }
}

pub(super) async fn edit(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Markup, Problem> {
    signed.administer()?;
    let mut tx = signed.begin(&ctx).await?;
    let rule = found(&mut tx, &id).await?;
    tx.commit().await?;
    let mut config = written(&rule, &KEYS);
    config.remove("workload");
    show(&ctx, &signed, &subject(&rule), &config).await
}

pub(super) async fn change(
    State(ctx): State<Ctx>,
    Extension(guard): Admitted,
    signed: Signed,
    Path(id): Path<String>,
    Posted(sent): Posted<Sent<DeclaredForm>>,
) -> Result<Response, Problem> {
    signed.administer()?;
    let mut tx = signed.begin(&ctx).await?;
    let rule = found(&mut tx, &id).await?;
    tx.commit().await?;
    take(&ctx, &signed, &guard, &subject(&rule), sent).await
}

pub(super) async fn remove(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Posted(Nothing {}): Posted<Nothing>,
) -> Result<Response, Problem> {
    signed.administer()?;
    let mut tx = signed.begin(&ctx).await?;
    let removed = declared::remove_log_rule(&mut tx, author(&signed), rows::id(&id)?).await?;
    tx.commit().await?;
    removed
        .then(|| Redirect::to("/log-rules").into_response())
        .ok_or(Problem::NotFound)
}

/// What of a rule is to be otherwise for a workload; or no longer.
#[derive(Deserialize)]
pub(super) struct Otherwise {
    #[serde(rename = "do")]
    deed: String,
    workload: WorkloadId,
    #[serde(default)]
    enabled: String,
    #[serde(default)]
    severity: String,
    #[serde(default)]
    cooldown_secs: String,
}

pub(super) async fn set_override(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Posted(asked): Posted<Otherwise>,
) -> Result<Response, Problem> {
    signed.administer()?;
    let mut tx = signed.begin(&ctx).await?;
    let mut rule = found(&mut tx, &id).await?;
    rule.overrides.retain(|own| own.workload != asked.workload);
    if asked.deed != "remove" {
        let secs = said(&asked.cooldown_secs).map(str::parse).transpose();
        let secs = secs.map_err(|_| {
            Problem::Refused("cooldown_secs: a whole number is expected".to_owned())
        })?;
        rule.overrides.push(Override {
            workload: asked.workload,
            enabled: !asked.enabled.is_empty(),
            severity: said(&asked.severity).map(str::to_owned),
            cooldown_secs: secs,
        });
    }
    let wanted = serde_json::from_value(Value::Object(written(&rule, &KEYS)));
    let wanted = wanted.map_err(Problem::internal)?;
    let saved = declared::save_log_rule(&mut tx, author(&signed), Some(rule.id), wanted).await;
    saved.map_err(|error: SaveError| Problem::from(error))?;
    tx.commit().await?;
    Ok(Redirect::to(&format!("/log-rules/{}#overrides", rule.id)).into_response())
}

/// A place in a list by time, as an address has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct At(pub(super) DateTime<Utc>, pub(super) Uuid);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.0.timestamp_micros(), self.1.simple())
    }
}

impl FromStr for At {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let read = || {
            let (micros, id) = text.split_once('_')?;
            let at = DateTime::from_timestamp_micros(micros.parse().ok()?)?;
            Some(Self(at, id.parse().ok()?))
        };
        read().ok_or(Problem::NotFound)
    }
}

/// What the log of events is asked for. A value that is none of ours is no page of ours.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct LogQuery {
    #[serde(default)]
    rule: String,
    #[serde(default)]
    workload: String,
    #[serde(default)]
    severity: String,
    before: Option<String>,
}

impl LogQuery {
    fn href(&self, before: Option<&str>) -> String {
        with_query(
            "/event-log",
            &[
                ("severity", said(&self.severity)),
                ("rule", said(&self.rule)),
                ("workload", said(&self.workload)),
                ("before", before),
            ],
        )
    }
}

pub(super) async fn event_log(
    State(ctx): State<Ctx>,
    signed: Signed,
    Query(query): Query<LogQuery>,
) -> Result<Markup, Problem> {
    let severity = said(&query.severity).map(|text| serde_json::from_value(text.into()));
    let filter = RecordedFilter {
        rule: said(&query.rule).map(rows::id).transpose()?,
        workload: said(&query.workload).map(rows::id).transpose()?,
        severity: severity.transpose().map_err(|_| Problem::NotFound)?,
    };
    let before: Option<At> = query.before.as_deref().map(str::parse).transpose()?;
    let mut tx = signed.begin(&ctx).await?;
    // One more than is shown says whether there is another page.
    let place = before.map(|At(at, id)| (at, id));
    let mut found = rules::recorded(&mut tx, filter, place, limit(ROWS + 1)).await?;
    let all = rules::list(&mut tx, None).await?;
    let names = Names::read(&mut tx).await?;
    let workloads = workloads(&mut tx).await?;
    tx.commit().await?;
    let more = found.len() > ROWS;
    found.truncate(ROWS);
    let last = found.last().filter(|_| more);
    let next_href = last.map(|last| query.href(Some(&At(last.at, last.id).to_string())));
    let rows: Result<_, Problem> = found
        .into_iter()
        .map(|row| names.recorded(row, &all))
        .collect();
    let view = EventLogPage {
        rows: rows?,
        rules: all
            .into_iter()
            .map(|rule| (rule.id.to_string(), rule.name))
            .collect(),
        rule: filter.rule.map(|id| id.to_string()).unwrap_or_default(),
        workloads,
        workload: filter.workload.map(|id| id.to_string()).unwrap_or_default(),
        severity: filter
            .severity
            .map(|it| it.as_str().to_owned())
            .unwrap_or_default(),
        first_href: query.href(None),
        is_first: before.is_none(),
        next_href,
    };
    Ok(log_view(&signed.reader(), &view))
}
