//! Declaring, changing and removing a schedule: what is written becomes a declaration, or comes back with what is wrong
//! beside each field and nothing stored.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use chrono::{DateTime, Offset as _, Utc};
use database::TenantTx;
use host::Ctx;
use http::StatusCode;
use maud::Markup;
use queue::lanes;
use queue::schedules::{
    self, Declaration, Declared, Field, Rule, SCHEDULES_MAX, Schedule, ScheduleId, WrongRule,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::problem::Problem;
use super::queues::said;
use super::schedules::{Nothing, named};
use super::session::{Posted, Signed};
use crate::views::model::{
    FormProblem, Preview, RuleAs, ScheduleForm, ScheduleFormPage, WrongField,
};
use crate::views::schedule_form::{preview as preview_view, schedule_form};

/// Ticks that are shown before a schedule is saved.
const TICKS: usize = 5;
/// Tasks that are offered.
const TASKS: i64 = 100;

/// The fields as they follow each other in the form.
const FIELDS: [Field; 12] = [
    Field::Name,
    Field::Task,
    Field::Queue,
    Field::Key,
    Field::Priority,
    Field::AttemptsMax,
    Field::Payload,
    Field::Rule,
    Field::Start,
    Field::End,
    Field::TimeZone,
    Field::JitterSecs,
];

/// Which button was pressed.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Deed {
    #[default]
    Save,
    Check,
    /// Write the rule in fields.
    Fields,
    /// Write the rule as JSON.
    Json,
}

/// A form as it is sent.
#[derive(Debug, Deserialize)]
pub(super) struct Sent {
    #[serde(default, rename = "do")]
    deed: Deed,
    #[serde(flatten)]
    form: ScheduleForm,
}

pub(super) async fn new(State(ctx): State<Ctx>, signed: Signed) -> Result<Markup, Problem> {
    signed.administer()?;
    let form = ScheduleForm {
        payload: "{}".to_owned(),
        ..ScheduleForm::default()
    };
    let mut tx = signed.begin(&ctx).await?;
    let view = page(&mut tx, None, form, Vec::new()).await?;
    tx.commit().await?;
    Ok(schedule_form(&signed.reader(), &view))
}

pub(super) async fn edit(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Markup, Problem> {
    signed.administer()?;
    let mut tx = signed.begin(&ctx).await?;
    let found = find(&mut tx, &id).await?;
    let view = page(&mut tx, Some(&found), written(&found), Vec::new()).await?;
    tx.commit().await?;
    Ok(schedule_form(&signed.reader(), &view))
}

pub(super) async fn create(
    State(ctx): State<Ctx>,
    signed: Signed,
    Posted(sent): Posted<Sent>,
) -> Result<Response, Problem> {
    signed.administer()?;
    answer(&ctx, &signed, None, sent).await
}

pub(super) async fn change(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Posted(sent): Posted<Sent>,
) -> Result<Response, Problem> {
    signed.administer()?;
    answer(&ctx, &signed, Some(&id), sent).await
}

/// When it would tick: the part of the form that follows what is written.
pub(super) async fn preview(
    State(ctx): State<Ctx>,
    signed: Signed,
    Posted(sent): Posted<Sent>,
) -> Result<Markup, Problem> {
    signed.administer()?;
    let mut tx = signed.begin(&ctx).await?;
    let now = schedules::now(&mut tx).await?;
    tx.commit().await?;
    Ok(preview_view(&signed.reader(), &look_ahead(&sent.form, now)))
}

pub(super) async fn remove(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Posted(Nothing {}): Posted<Nothing>,
) -> Result<Response, Problem> {
    signed.administer()?;
    let id = named(&id)?;
    let mut tx = signed.begin(&ctx).await?;
    let removed = schedules::remove(&mut tx, id).await?;
    tx.commit().await?;
    if !removed {
        return Err(Problem::NotFound);
    }
    tracing::info!(schedule.id = %id, tenant.id = %signed.tenant, "removed a schedule");
    Ok(Redirect::to("/schedules").into_response())
}

async fn find(tx: &mut TenantTx, id: &str) -> Result<Schedule, Problem> {
    schedules::find(tx, named(id)?)
        .await?
        .ok_or(Problem::NotFound)
}

async fn page(
    tx: &mut TenantTx,
    changes: Option<&Schedule>,
    form: ScheduleForm,
    wrong: Vec<WrongField>,
) -> Result<ScheduleFormPage, Problem> {
    let now = schedules::now(tx).await?;
    let tasks = lanes::tasks(tx, None, TASKS).await?;
    Ok(ScheduleFormPage {
        changes: changes.map(|schedule| {
            let name = schedule.name.as_ref().unwrap_or(&schedule.task);
            (schedule.id, name.clone())
        }),
        preview: look_ahead(&form, now),
        form,
        wrong,
        tasks: tasks.into_iter().map(|lane| lane.task).collect(),
    })
}

/// Saves what is right; everything else comes back as a page.
async fn answer(
    ctx: &Ctx,
    signed: &Signed,
    id: Option<&str>,
    Sent { deed, mut form }: Sent,
) -> Result<Response, Problem> {
    let mut tx = signed.begin(ctx).await?;
    let changes = match id {
        Some(id) => Some(find(&mut tx, id).await?),
        None => None,
    };
    let mut wrong = match deed {
        Deed::Save | Deed::Check => Vec::new(),
        Deed::Fields => in_fields(&mut form),
        Deed::Json => {
            as_json(&mut form);
            Vec::new()
        }
    };
    if matches!(deed, Deed::Save | Deed::Check) {
        let read = read(&form, changes.as_ref());
        wrong = wrong_fields(&read, &form, schedules::now(&mut tx).await?);
        if deed == Deed::Save && wrong.is_empty() {
            let saved = save(&mut tx, signed, changes.as_ref(), &read.declaration).await?;
            match saved {
                Ok(id) => {
                    tx.commit().await?;
                    tracing::info!(schedule.id = %id, tenant.id = %signed.tenant, "saved a schedule");
                    return Ok(Redirect::to(&format!("/schedules/{id}")).into_response());
                }
                Err(problem) => {
                    wrong.push(WrongField {
                        field: Field::Name,
                        problem,
                    });
                    // What was refused has ended its transaction.
                    drop(tx);
                    tx = signed.begin(ctx).await?;
                }
            }
        }
    }
    let status = if wrong.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::UNPROCESSABLE_ENTITY
    };
    let view = page(&mut tx, changes.as_ref(), form, wrong).await?;
    tx.commit().await?;
    Ok((status, schedule_form(&signed.reader(), &view)).into_response())
}

async fn save(
    tx: &mut TenantTx,
    signed: &Signed,
    changes: Option<&Schedule>,
    declaration: &Declaration,
) -> Result<Result<ScheduleId, FormProblem>, Problem> {
    let plan = declaration
        .plan(schedules::now(tx).await?)
        .map_err(|_| Problem::internal(anyhow::anyhow!("what was right is wrong now")))?;
    let schedule = declaration.with(&plan);
    let declared = match changes {
        None => schedules::declare(tx, &schedule, signed.name()).await?,
        Some(found) => schedules::change(tx, found.id, &schedule)
            .await?
            .ok_or(Problem::NotFound)?,
    };
    Ok(match declared {
        Declared::Done(id) => Ok(id),
        Declared::Taken => Err(FormProblem::Taken {
            name: declaration.name.clone(),
        }),
        Declared::TooMany => Err(FormProblem::TooMany {
            most: SCHEDULES_MAX,
        }),
    })
}

/// What was written as a declaration, and what could not be read of it.
struct Read {
    declaration: Declaration,
    unread: Vec<WrongField>,
}

fn read(form: &ScheduleForm, changes: Option<&Schedule>) -> Read {
    let mut unread = Vec::new();
    let mut or_wrong = |field, problem| unread.push(WrongField { field, problem });
    let schedule_info = info_of(form, changes).unwrap_or_else(|problem| {
        or_wrong(Field::Rule, problem);
        Value::Null
    });
    let payload = json_of(&form.payload).unwrap_or_else(|problem| {
        or_wrong(Field::Payload, problem);
        Value::Null
    });
    let mut number = |field, text: &str| match said(text).map(str::parse::<i32>) {
        None => None,
        Some(Ok(number)) => Some(number),
        Some(Err(_)) => {
            or_wrong(field, FormProblem::NoNumber);
            None
        }
    };
    let priority = number(Field::Priority, &form.priority);
    let attempts_max = number(Field::AttemptsMax, &form.attempts_max);
    let jitter_secs = match number(Field::JitterSecs, &form.jitter_secs).map(u32::try_from) {
        None => 0,
        Some(Ok(secs)) => secs,
        Some(Err(_)) => {
            or_wrong(Field::JitterSecs, FormProblem::NoNumber);
            0
        }
    };
    let text = |text: &str| said(text).map(str::to_owned);
    Read {
        declaration: Declaration {
            name: form.name.trim().to_owned(),
            task: form.task.trim().to_owned(),
            schedule_info,
            time_zone: text(&form.time_zone),
            payload,
            queue: text(&form.queue),
            priority: priority.unwrap_or_default(),
            attempts_max,
            key: text(&form.key),
            missed: form.missed,
            jitter_secs,
        },
        unread,
    }
}

/// All that is wrong, in the order of the form: at each field what kept it from being read, else what the queue does not
/// take.
fn wrong_fields(read: &Read, form: &ScheduleForm, now: DateTime<Utc>) -> Vec<WrongField> {
    let mut wrong = read.unread.clone();
    for refused in read.declaration.plan(now).err().into_iter().flatten() {
        let field = match (form.rule_as, refused.field) {
            // There it is all one text.
            (RuleAs::Json, Field::Start | Field::End) => Field::Rule,
            (_, field) => field,
        };
        if !wrong.iter().any(|known| known.field == field) {
            wrong.push(WrongField {
                field,
                problem: FormProblem::Value(refused.why),
            });
        }
    }
    wrong.sort_by_key(|wrong| FIELDS.iter().position(|field| *field == wrong.field));
    wrong
}

fn json_of(text: &str) -> Result<Value, FormProblem> {
    serde_json::from_str(text).map_err(|error| FormProblem::NoJson {
        line: error.line(),
        column: error.column(),
    })
}

/// The rule as it is stored. One that was not touched stays as it is, letter for letter, so that its ticks do too.
fn info_of(form: &ScheduleForm, changes: Option<&Schedule>) -> Result<Value, FormProblem> {
    let fields = match form.rule_as {
        RuleAs::Json => return json_of(&form.rule_json),
        RuleAs::Fields => RuleFields::written(form),
    };
    let stored = changes.map(|schedule| &schedule.schedule_info);
    Ok(stored
        .filter(|info| RuleFields::of(info).as_ref() == Some(&fields))
        .cloned()
        .unwrap_or_else(|| fields.info()))
}

/// What of a rule can be written in fields: a text, and when it starts and ends.
#[derive(Debug, PartialEq, Eq)]
struct RuleFields {
    rule: String,
    start: String,
    end: String,
}

impl RuleFields {
    fn written(form: &ScheduleForm) -> Self {
        let text = |text: &str| text.trim().to_owned();
        Self {
            rule: text(&form.rule),
            start: text(&form.start),
            end: text(&form.end),
        }
    }

    /// Of a rule that has nothing else; what has more can only be written as JSON, or something of it would be lost.
    fn of(info: &Value) -> Option<Self> {
        let known = ["rule", "start", "end"];
        let text = |name: &str| match info.get(name) {
            None | Some(Value::Null) => Some(String::new()),
            Some(Value::String(text)) => Some(text.clone()),
            Some(_) => None,
        };
        match info {
            Value::String(rule) => Some(Self {
                rule: rule.clone(),
                start: String::new(),
                end: String::new(),
            }),
            Value::Object(fields) if fields.keys().all(|name| known.contains(&name.as_str())) => {
                Some(Self {
                    rule: text("rule").filter(|rule| !rule.is_empty())?,
                    start: text("start")?,
                    end: text("end")?,
                })
            }
            _ => None,
        }
    }

    fn info(&self) -> Value {
        if self.rule.is_empty() {
            // No rule, rather than an object without one.
            return json!("");
        }
        let parts = [
            ("rule", &self.rule),
            ("start", &self.start),
            ("end", &self.end),
        ];
        let parts = parts.into_iter().filter(|(_, text)| !text.is_empty());
        Value::Object(Map::from_iter(
            parts.map(|(name, text)| (name.to_owned(), json!(text))),
        ))
    }
}

/// Goes over to JSON with what is written in fields; again, and nothing changes.
fn as_json(form: &mut ScheduleForm) {
    if form.rule_as == RuleAs::Fields {
        form.rule_json = format!("{:#}", RuleFields::written(form).info());
        form.rule_as = RuleAs::Json;
    }
}

/// Goes over to fields, if they can hold what is written as JSON; else it stays, and says so.
fn in_fields(form: &mut ScheduleForm) -> Vec<WrongField> {
    if form.rule_as == RuleAs::Fields {
        return Vec::new();
    }
    let fields = json_of(&form.rule_json)
        .and_then(|info| RuleFields::of(&info).ok_or(FormProblem::OnlyJson));
    match fields {
        Ok(RuleFields { rule, start, end }) => {
            (form.rule, form.start, form.end) = (rule, start, end);
            form.rule_as = RuleAs::Fields;
            Vec::new()
        }
        Err(problem) => vec![WrongField {
            field: Field::Rule,
            problem,
        }],
    }
}

/// A schedule's form as it is before anything is changed.
fn written(schedule: &Schedule) -> ScheduleForm {
    let fields = RuleFields::of(&schedule.schedule_info);
    let rule_as = if fields.is_some() {
        RuleAs::Fields
    } else {
        RuleAs::Json
    };
    let RuleFields { rule, start, end } = fields.unwrap_or(RuleFields {
        rule: String::new(),
        start: String::new(),
        end: String::new(),
    });
    let number = |number: i64| {
        if number == 0 {
            String::new()
        } else {
            number.to_string()
        }
    };
    ScheduleForm {
        name: schedule.name.clone().unwrap_or_default(),
        task: schedule.task.clone(),
        rule_as,
        rule,
        start,
        end,
        rule_json: format!("{:#}", schedule.schedule_info),
        time_zone: schedule.time_zone.clone().unwrap_or_default(),
        missed: schedule.missed,
        jitter_secs: number(schedule.jitter_secs as i64),
        payload: format!("{:#}", schedule.payload),
        queue: schedule.queue.clone().unwrap_or_default(),
        key: schedule.key.clone().unwrap_or_default(),
        priority: number(schedule.priority.into()),
        attempts_max: schedule
            .attempts_max
            .map(|most| most.to_string())
            .unwrap_or_default(),
    }
}

/// When what is written would tick, whatever else is wrong.
fn look_ahead(form: &ScheduleForm, now: DateTime<Utc>) -> Preview {
    let is_empty = match form.rule_as {
        RuleAs::Fields => form.rule.trim().is_empty(),
        RuleAs::Json => form.rule_json.trim().is_empty(),
    };
    if is_empty {
        return Preview::Empty;
    }
    let Read {
        declaration,
        unread,
    } = read(form, None);
    if let Some(wrong) = unread.into_iter().find(|wrong| wrong.field == Field::Rule) {
        return Preview::Wrong(wrong.problem);
    }
    declaration
        .rule()
        .and_then(|rule| ticks(&rule, now))
        .unwrap_or_else(|wrong| Preview::Wrong(FormProblem::of(wrong)))
}

fn ticks(rule: &Rule, now: DateTime<Utc>) -> Result<Preview, WrongRule> {
    let zone = rule.zone();
    let ticks: Vec<_> = rule
        .after(now)
        .take(TICKS)
        .map(|tick| {
            let there = tick.with_timezone(&zone);
            there.with_timezone(&there.offset().fix())
        })
        .collect();
    if ticks.is_empty() {
        return Err(WrongRule::Never);
    }
    Ok(Preview::Ticks {
        zone: zone.to_string(),
        ticks,
        shortest: rule.shortest_interval(now),
    })
}

#[cfg(test)]
mod tests {
    use queue::schedules::{Field, Rule};
    use serde_json::json;

    use super::{FormProblem, RuleAs, RuleFields, ScheduleForm, as_json, in_fields, json_of};
    use crate::i18n::Language;

    #[test]
    fn what_a_hint_says_can_be_written_is_taken() {
        for language in Language::ALL {
            for hint in [language.t("hint-rule"), language.t("hint-edge")] {
                let mut instants = 0;
                for word in hint.split([' ', ';']).filter(|word| word.starts_with("20")) {
                    let word = word.trim_end_matches('.');
                    let rule = json!({"rule": "@daily", "start": word, "end": word});
                    assert!(Rule::parse(&rule, None).is_ok(), "{word:?} of {hint:?}");
                    instants += 1;
                }
                assert_eq!(instants, 1, "{hint:?}");
            }
        }
    }

    #[test]
    fn what_fields_cannot_hold_stays_as_json() {
        for info in [
            json!({"hour": 9}),
            json!({"rule": {"hour": 9, "recurs": true}}),
            json!({"rule": "0 0 * * *", "tz": "Europe/Paris"}),
            json!({"rule": "0 0 * * *", "start": 1_700_000_000_000_i64}),
            json!(1_700_000_000_000_i64),
        ] {
            let mut form = ScheduleForm {
                rule_as: RuleAs::Json,
                rule_json: format!("{info:#}"),
                ..ScheduleForm::default()
            };
            let wrong = in_fields(&mut form);
            assert_eq!(wrong.len(), 1, "{info}");
            assert_eq!(
                (wrong[0].field, &wrong[0].problem),
                (Field::Rule, &FormProblem::OnlyJson)
            );
            assert_eq!(form.rule_as, RuleAs::Json);
            assert_eq!(json_of(&form.rule_json), Ok(info));
        }
    }

    #[test]
    fn a_text_goes_from_fields_to_json_and_back() {
        let mut form = ScheduleForm {
            rule: "0 9 * * 1".into(),
            end: "2027-01-01T00:00".into(),
            ..ScheduleForm::default()
        };
        let before = form.clone();
        as_json(&mut form);
        assert_eq!(
            json_of(&form.rule_json),
            Ok(json!({"rule": "0 9 * * 1", "end": "2027-01-01T00:00"}))
        );
        form.rule = String::new();
        assert!(in_fields(&mut form).is_empty());
        assert_eq!(RuleFields::written(&form), RuleFields::written(&before));
    }
}
