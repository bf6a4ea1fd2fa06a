//! What a tenant's admin does to triggers: makes and changes them, gives them secrets, switches them, takes them away; and
//! what an operator asks of one by hand.

use ::triggers::{
    BindingDraft, Fault, Found, Target, TriggerDraft, Why, check_binding, check_trigger, joined,
};
mod secrets;

use chrono::{DateTime, Utc};
use database::TenantTx;
use model::webhook::ManualRequested;
use model::{BindingId, EventId, Scheme, TenantId, TriggerId, TriggerKind};
use queue::schedules::{self, Declaration, Missed};
use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

pub use secrets::{NewSecrets, OVERLAP_MAX, SecretsShown, drop_old_secret, rotate, secrets};

use crate::bindings::{BindingRow, bound};
use crate::dispatch::object;
use crate::events::{AddedEvent, add_event};

/// Triggers of one tenant, at most.
pub const TRIGGERS_MAX: i64 = 1_000;
/// How long the name of a trigger may be, in characters.
pub const NAME_CHARS_MAX: usize = 63;
/// How large the inputs of a run by hand may be, in bytes of JSON.
const INPUTS_BYTES_MAX: usize = 16 * 1024;
/// unique_violation.
const TAKEN: &str = "23505";

/// Why a trigger or binding was not saved. Nothing was.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// What is wrong with it, each with its place.
    #[error("{}", joined(.0))]
    Wrong(Vec<Fault>),
    /// Something stands against it.
    #[error("{0}")]
    Conflict(String),
    /// The tenant has no such thing.
    #[error("there is no such {0}")]
    Missing(&'static str),
    /// The database did not answer.
    #[error("the database did not answer")]
    Database(#[from] sqlx::Error),
}

impl SaveError {
    pub(crate) fn wrong(place: &str, why: impl std::fmt::Display) -> Self {
        Self::Wrong(vec![Fault::said(place, why)])
    }
}

/// A trigger as somebody wants it.
#[derive(Debug, Clone)]
pub struct TriggerWanted {
    /// What people call it.
    pub name: String,
    /// What makes it fire; of one that is there it cannot be changed.
    pub kind: TriggerKind,
    /// The kind's filter.
    pub config: Map<String, Value>,
    /// What must be true beside it.
    pub condition: Option<Value>,
    /// How its senders prove who they are; without one, as the vendor does whose URL they call.
    pub scheme: Option<Scheme>,
    /// Whether it is switched on.
    pub enabled: bool,
}

impl TriggerWanted {
    fn draft(&self) -> TriggerDraft<'_> {
        TriggerDraft {
            kind: self.kind,
            config: &self.config,
            condition: self.condition.as_ref(),
        }
    }

    fn check(&self) -> Result<Vec<String>, SaveError> {
        let Found {
            mut wrong,
            warnings,
        } = check_trigger(self.draft());
        let characters = self.name.chars().count();
        if !(1..=NAME_CHARS_MAX).contains(&characters)
            || self.name.trim() != self.name
            || self.name.contains(char::is_control)
        {
            wrong.push(Fault {
                place: "name".to_owned(),
                why: Why::Name {
                    most: NAME_CHARS_MAX,
                },
            });
        }
        if self.scheme.is_some() && !self.kind.takes_webhooks() {
            wrong.push(Fault {
                place: "scheme".to_owned(),
                why: Why::NoSenders(self.kind),
            });
        }
        if wrong.is_empty() {
            Ok(warnings)
        } else {
            Err(SaveError::Wrong(wrong))
        }
    }

    fn scheme(&self) -> Result<Option<Value>, sqlx::Error> {
        self.scheme
            .as_ref()
            .map(serde_json::to_value)
            .transpose()
            .map_err(|error| sqlx::Error::Encode(error.into()))
    }
}

/// What was saved, and what is odd about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Saved<Id> {
    /// What.
    pub id: Id,
    /// What is kept and not looked at.
    pub warnings: Vec<String>,
}

/// Makes a trigger.
///
/// # Errors
/// When something is wrong with it, its name is taken, there are too many, or the database does not answer.
pub async fn create(
    tx: &mut TenantTx,
    tenant: TenantId,
    wanted: &TriggerWanted,
    by: &str,
) -> Result<Saved<TriggerId>, SaveError> {
    let warnings = wanted.check()?;
    let count = sqlx::query_scalar!(
        r#"
        select count(*) as "count!" from (
            select from switchyard.triggers
            where database_id = switchyard.current_tenant() and removed_at is null
            limit $1
        ) t
        "#,
        TRIGGERS_MAX
    )
    .fetch_one(&mut **tx)
    .await?;
    if count >= TRIGGERS_MAX {
        return Err(SaveError::Conflict(format!(
            "a tenant has at most {TRIGGERS_MAX} triggers; remove one that is over"
        )));
    }
    let id = TriggerId::from(Uuid::now_v7());
    sqlx::query!(
        r#"
        insert into switchyard.triggers (id, database_id, name, kind, config, condition, scheme, enabled)
        values ($1, $2, $3, $4, $5, $6, $7, $8)
        "#,
        id.uuid(),
        tenant.uuid(),
        wanted.name,
        wanted.kind.as_str(),
        Value::Object(wanted.config.clone()),
        wanted.condition,
        wanted.scheme()?,
        wanted.enabled
    )
    .execute(&mut **tx)
    .await
    .map_err(|error| taken(error, &wanted.name))?;
    clock(tx, id, wanted, by).await?;
    note(tx, id, "trigger_create", by, json!({ "name": wanted.name })).await?;
    Ok(Saved { id, warnings })
}

/// Puts a deed on record.
pub(crate) async fn note(
    tx: &mut TenantTx,
    id: TriggerId,
    deed: &str,
    by: &str,
    data: Value,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "select switchyard.note_own_trigger_deed($1, $2, $3, $4)",
        id.uuid(),
        deed,
        by,
        data
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn taken(error: sqlx::Error, name: &str) -> SaveError {
    let code = error.as_database_error().and_then(|error| error.code());
    if code.as_deref() == Some(TAKEN) {
        SaveError::Conflict(format!(
            "there is another trigger with the name {name:?}; take another name"
        ))
    } else {
        error.into()
    }
}

/// The schedule of a trigger of kind `schedule`, as its config says.
async fn clock(
    tx: &mut TenantTx,
    id: TriggerId,
    wanted: &TriggerWanted,
    by: &str,
) -> Result<(), SaveError> {
    if wanted.kind != TriggerKind::Schedule {
        return Ok(());
    }
    let part = |name: &str| wanted.config.get(name).cloned();
    let mut info = Map::from_iter([("rule".to_owned(), part("rule").unwrap_or_default())]);
    for name in ["start", "end"] {
        if let Some(edge) = part(name) {
            info.insert(name.to_owned(), edge);
        }
    }
    let text = |name: &str| part(name).and_then(|it| it.as_str().map(str::to_owned));
    let missed = match text("missed") {
        Some(missed) => missed
            .parse::<Missed>()
            .map_err(|error| SaveError::wrong("config.missed", error))?,
        None => Missed::default(),
    };
    let declaration = Declaration {
        name: "trigger".to_owned(),
        task: "trigger".to_owned(),
        schedule_info: Value::Object(info),
        time_zone: text("time_zone"),
        payload: Value::Object(Map::new()),
        queue: None,
        priority: 0,
        attempts_max: None,
        key: None,
        missed,
        jitter_secs: 0,
    };
    let plan = declaration
        .plan(schedules::now(tx).await?)
        .map_err(|wrong| {
            let said =
                |it: &schedules::WrongField| Fault::said(&format!("config.{}", it.field), &it.why);
            SaveError::Wrong(wrong.iter().map(said).collect())
        })?;
    let plan = if wanted.enabled { Some(plan) } else { None };
    sqlx::query!(
        "select switchyard.set_own_trigger_schedule($1, $2, $3, $4::text::switchyard.missed, $5, $6, $7, $8)",
        id.uuid(),
        declaration.schedule_info,
        declaration.time_zone.as_deref() as _,
        missed.as_str(),
        wanted.enabled,
        plan.as_ref().and_then(|plan| plan.next) as _,
        &plan.map(|plan| plan.later).unwrap_or_default(),
        by
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Changes a trigger, all of it but its kind and secrets. What was bound to it must still be right.
///
/// # Errors
/// When something is wrong with it, a binding of it would be no longer right, its name is taken, there is no such trigger, or
/// the database does not answer.
pub async fn change(
    tx: &mut TenantTx,
    id: TriggerId,
    wanted: &TriggerWanted,
    by: &str,
) -> Result<Saved<TriggerId>, SaveError> {
    let kind = kind_of(tx, id).await?;
    if kind != wanted.kind {
        return Err(SaveError::wrong(
            "kind",
            format!("it is {kind}, and that cannot be changed; make another trigger"),
        ));
    }
    let warnings = wanted.check()?;
    let broken = broken(wanted.draft(), &bound(tx, id).await?);
    if !broken.is_empty() {
        return Err(SaveError::Wrong(broken));
    }
    sqlx::query!(
        r#"
        update switchyard.triggers
        set name = $2, config = $3, condition = $4, scheme = $5, enabled = $6, updated_at = now()
        where database_id = switchyard.current_tenant() and id = $1
        "#,
        id.uuid(),
        wanted.name,
        Value::Object(wanted.config.clone()),
        wanted.condition as _,
        wanted.scheme()? as _,
        wanted.enabled
    )
    .execute(&mut **tx)
    .await
    .map_err(|error| taken(error, &wanted.name))?;
    clock(tx, id, wanted, by).await?;
    let config =
        json!({ "name": wanted.name, "config": wanted.config, "condition": wanted.condition });
    note(tx, id, "trigger_change", by, config).await?;
    Ok(Saved { id, warnings })
}

/// What would be wrong with bindings if their trigger were this one.
fn broken(trigger: TriggerDraft<'_>, bindings: &[BindingRow]) -> Vec<Fault> {
    bindings
        .iter()
        .flat_map(|row| {
            let found = check_binding(
                trigger,
                BindingDraft {
                    filter: &row.binding.filter,
                    condition: row.binding.condition.as_ref(),
                    target: &row.binding.target,
                    workload_config: row.workload_config.as_ref(),
                },
            );
            let name = format!("binding {} ({})", row.binding.id, row.starts);
            found
                .wrong
                .into_iter()
                .map(move |wrong| wrong.within(&name))
        })
        .collect()
}

/// The kind of a trigger that is there; it stays as it is until the transaction ends.
async fn kind_of(tx: &mut TenantTx, id: TriggerId) -> Result<TriggerKind, SaveError> {
    let kind = sqlx::query_scalar!(
        r#"
        select kind from switchyard.triggers
        where database_id = switchyard.current_tenant() and id = $1 and removed_at is null
        for no key update
        "#,
        id.uuid()
    )
    .fetch_optional(&mut **tx)
    .await?
    .ok_or(SaveError::Missing("trigger"))?;
    kind.parse().map_err(|error: model::UnknownKind| {
        SaveError::Conflict(format!("{error}; a newer version made it"))
    })
}

/// A trigger as it is, ready to be changed in part.
///
/// # Errors
/// When there is no such trigger, or the database does not answer.
pub async fn wanted_now(tx: &mut TenantTx, id: TriggerId) -> Result<TriggerWanted, SaveError> {
    let kind = kind_of(tx, id).await?;
    let row = sqlx::query!(
        r#"
        select name, config, condition, scheme, enabled
        from switchyard.triggers
        where database_id = switchyard.current_tenant() and id = $1
        "#,
        id.uuid()
    )
    .fetch_one(&mut **tx)
    .await?;
    let scheme = row.scheme.map(serde_json::from_value).transpose();
    Ok(TriggerWanted {
        name: row.name,
        kind,
        config: object(row.config)?,
        condition: row.condition,
        scheme: scheme.map_err(|error| sqlx::Error::Decode(error.into()))?,
        enabled: row.enabled,
    })
}

/// Switches a trigger on or off. What comes in through one that is off is stored, and starts nothing.
///
/// # Errors
/// When there is no such trigger, or the database does not answer.
pub async fn switch(
    tx: &mut TenantTx,
    id: TriggerId,
    enabled: bool,
    by: &str,
) -> Result<(), SaveError> {
    let mut wanted = wanted_now(tx, id).await?;
    wanted.enabled = enabled;
    sqlx::query!(
        r#"
        update switchyard.triggers set enabled = $2, updated_at = now()
        where database_id = switchyard.current_tenant() and id = $1
        "#,
        id.uuid(),
        enabled
    )
    .execute(&mut **tx)
    .await?;
    clock(tx, id, &wanted, by).await?;
    Ok(note(tx, id, "trigger_switch", by, json!({ "enabled": enabled })).await?)
}

/// Takes a trigger away with its secrets and its schedule. What it once started stays told. One that something is bound to is
/// taken away only `with_bindings`.
///
/// # Errors
/// When there is no such trigger, something is bound to it, or the database does not answer.
pub async fn remove(
    tx: &mut TenantTx,
    id: TriggerId,
    with_bindings: bool,
    by: &str,
) -> Result<(), SaveError> {
    let kind = kind_of(tx, id).await?;
    let bound = bound(tx, id).await?;
    if !bound.is_empty() && !with_bindings {
        let named: Vec<_> = bound
            .iter()
            .take(5)
            .map(|row| row.starts.as_str())
            .collect();
        return Err(SaveError::Conflict(format!(
            "it starts {}: remove its bindings first, or ask for both",
            named.join(", ")
        )));
    }
    if kind == TriggerKind::Schedule {
        sqlx::query!(
            "select switchyard.set_own_trigger_schedule($1, null, null, 'last', false, null, '{}', null)",
            id.uuid()
        )
        .execute(&mut **tx)
        .await?;
    }
    sqlx::query!(
        r#"
        with unbound as (
            update switchyard.bindings set enabled = false, removed_at = now(), updated_at = now()
            where database_id = switchyard.current_tenant() and trigger_id = $1 and removed_at is null
        )
        update switchyard.triggers
        set enabled = false, secret = null, secret_previous = null, path_sha256 = null, path_sha256_previous = null,
            secret_previous_until = null, removed_at = now(), updated_at = now()
        where database_id = switchyard.current_tenant() and id = $1
        "#,
        id.uuid()
    )
    .execute(&mut **tx)
    .await?;
    Ok(note(tx, id, "trigger_remove", by, json!({})).await?)
}

/// When a trigger of kind `schedule` fires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Clock {
    /// Its next tick; nothing when it is off, over, or has a problem.
    pub next_at: Option<DateTime<Utc>>,
    /// The ticks after it, as far as they are computed.
    pub later: Vec<DateTime<Utc>>,
    /// Why no tick can be computed.
    pub problem: Option<String>,
    /// When it fired last.
    pub last_fired_at: Option<DateTime<Utc>>,
    /// Ticks that nobody fired, at least.
    pub missed_count: i64,
}

/// When a trigger of kind `schedule` fires. Nothing for any other.
///
/// # Errors
/// When the database does not answer.
pub async fn clock_of(tx: &mut TenantTx, id: TriggerId) -> Result<Option<Clock>, sqlx::Error> {
    sqlx::query_as!(
        Clock,
        r#"
        select next_at, later as "later!", problem, last_fired_at, missed_count as "missed_count!"
        from switchyard.own_trigger_schedule($1)
        "#,
        id.uuid()
    )
    .fetch_optional(&mut **tx)
    .await
}

/// Asks for what a trigger starts, by hand: an event, through which every binding, or one, decides.
///
/// # Errors
/// When there is no such trigger or binding, the inputs are too large, or the database does not answer.
pub async fn run(
    tx: &mut TenantTx,
    tenant: TenantId,
    id: TriggerId,
    only: Option<BindingId>,
    inputs: Map<String, Value>,
    by: &str,
) -> Result<EventId, SaveError> {
    kind_of(tx, id).await?;
    if let Some(only) = only
        && !bound(tx, id)
            .await?
            .iter()
            .any(|row| row.binding.id == only)
    {
        return Err(SaveError::Missing("binding"));
    }
    let bytes = serde_json::to_string(&inputs).map_or(usize::MAX, |text| text.len());
    if bytes > INPUTS_BYTES_MAX {
        return Err(SaveError::wrong(
            "inputs",
            format!("{INPUTS_BYTES_MAX} bytes of JSON are the most"),
        ));
    }
    let event = EventId::from(Uuid::now_v7());
    let asked = ManualRequested {
        vendor: None,
        actor: Some(by.to_owned()),
        inputs,
    };
    let data = serde_json::to_string(&asked).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let added = AddedEvent {
        subject: Some(id.to_string()),
        only_binding: only,
        ..AddedEvent::new(
            event,
            tenant,
            id,
            ::events::EventType::ManualRequested.as_str(),
            "/switchyard/people",
            data,
        )
    };
    add_event(tx, &added).await?;
    note(tx, id, "trigger_run", by, json!({ "event": event })).await?;
    Ok(event)
}

/// What a binding's target is called, for people.
pub(crate) fn called(target: &Target, workload: Option<&str>) -> String {
    match target {
        Target::Workload { id, .. } => workload.map_or_else(|| id.to_string(), str::to_owned),
        Target::Task { task, .. } => task.clone(),
    }
}
