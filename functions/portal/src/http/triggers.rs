//! Why things start: the list of triggers, and one with its bindings; switched, run, and given secrets.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use chrono::Duration;
use database::TenantTx;
use host::Ctx;
use maud::Markup;
use model::{BindingId, Scheme, TriggerId, TriggerKind};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value};
use store::bindings;
use store::pages::{self, BindingShown, DeliveryFilter, TriggerShown};
use store::triggers::{self, NewSecrets, OVERLAP_MAX, SaveError};
use webhook::{PathHash, new_path_secret};

use super::problem::Problem;
use super::queues::said;
use super::rows::{self, with_query};
use super::session::{Posted, Signed};
use super::watches;
use crate::views::model::{
    BoundRow, CauseRow, Health, Link, Shown, Target, TriggerPage, TriggerRow, TriggersPage,
};
use crate::views::triggers::{trigger as view_of, triggers as list_view};

/// Rows of a page: each asks how its senders do.
const ROWS: usize = 30;
/// Deliveries on a trigger's page.
const DELIVERIES: usize = 10;
/// Ticks that are shown of a clock.
const TICKS: usize = 5;
/// How much of a binding's own filter is shown in a row, in characters.
const FILTER_CHARS_MAX: usize = 160;

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct After {
    after: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Nothing {}

impl From<SaveError> for Problem {
    fn from(error: SaveError) -> Self {
        match error {
            SaveError::Wrong(_) | SaveError::Conflict(_) => Self::Refused(error.to_string()),
            SaveError::Missing(_) => Self::NotFound,
            SaveError::Database(error) => error.into(),
        }
    }
}

pub(super) async fn list(
    State(ctx): State<Ctx>,
    signed: Signed,
    Query(After { after }): Query<After>,
) -> Result<Markup, Problem> {
    let mut tx = signed.begin(&ctx).await?;
    // One more than is shown says whether there is another page.
    let mut found = pages::trigger_list(&mut tx, after.as_deref(), ROWS + 1).await?;
    let more = found.len() > ROWS;
    found.truncate(ROWS);
    let last = found.last().filter(|_| more).map(|last| last.name.clone());
    let mut rows = Vec::new();
    for row in found {
        let kind = kind(&row.kind)?;
        rows.push(TriggerRow {
            id: row.id,
            health: health(&mut tx, row.id, kind).await?,
            name: row.name,
            kind,
            enabled: row.enabled,
            targets: row.targets,
        });
    }
    tx.commit().await?;
    let view = TriggersPage {
        rows,
        next_href: last.map(|last| with_query("/triggers", &[("after", Some(&last))])),
        is_first: after.is_none(),
        may_edit: signed.may_administer(),
    };
    Ok(list_view(&signed.reader(), &view))
}

/// The database's CHECK admits no other.
pub(super) fn kind(name: &str) -> Result<TriggerKind, Problem> {
    name.parse::<TriggerKind>().map_err(Problem::internal)
}

async fn health(
    tx: &mut TenantTx,
    id: TriggerId,
    kind: TriggerKind,
) -> Result<Option<Health>, Problem> {
    if !kind.takes_webhooks() {
        return Ok(None);
    }
    let found = pages::trigger_health(tx, id).await?;
    Ok(found.map(|found| Health {
        verified_at: found.last_verified_at,
        rejected_today: found.rejected_today,
        causes: found
            .rejections
            .into_iter()
            .map(|why| CauseRow {
                count: why.count,
                cause: why.cause,
                reason: why.reason,
            })
            .collect(),
        silent_days: found.silent_days,
        previous_used_at: found.previous_secret_at,
    }))
}

pub(super) async fn page(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Markup, Problem> {
    let mut tx = signed.begin(&ctx).await?;
    let view = read(&mut tx, &signed, rows::id(&id)?).await?;
    tx.commit().await?;
    Ok(view_of(&signed.reader(), &view))
}

/// One trigger with everything around it.
pub(super) async fn read(
    tx: &mut TenantTx,
    signed: &Signed,
    id: TriggerId,
) -> Result<TriggerPage, Problem> {
    let found = pages::trigger_shown(tx, id).await?;
    let found = found.ok_or(Problem::NotFound)?;
    let kind = kind(&found.kind)?;
    let secrets = triggers::secrets(tx, id).await?.ok_or(Problem::NotFound)?;
    let filter = DeliveryFilter {
        trigger: Some(id),
        ..DeliveryFilter::default()
    };
    let deliveries = if kind.takes_webhooks() {
        pages::deliveries(tx, filter, None, DELIVERIES).await?
    } else {
        Vec::new()
    };
    let mut warnings = Vec::new();
    let mut next = Vec::new();
    if let Some(clock) = triggers::clock_of(tx, id).await? {
        next = clock
            .next_at
            .into_iter()
            .chain(clock.later)
            .take(TICKS)
            .collect();
        warnings.extend(clock.problem);
    }
    let by_path = matches!(scheme(&found), Some(Scheme::Path {}));
    let url = kind.takes_webhooks().then(|| {
        let url = signed.visitor.hook_url(id);
        if by_path { format!("{url}/…") } else { url }
    });
    Ok(TriggerPage {
        health: health(tx, id, kind).await?,
        bindings: found.bindings.iter().enumerate().map(bound).collect(),
        config: format!("{:#}", found.config),
        condition: found.condition.as_ref().map(expression),
        scheme: found.scheme.as_ref().map(Value::to_string),
        has_previous: secrets.has_secret_previous || secrets.has_path_previous,
        previous_until: secrets.previous_until,
        deliveries: deliveries.into_iter().map(rows::delivery).collect(),
        watch: watches::panel(tx, id, kind).await?,
        may_operate: signed.may_operate(),
        may_edit: signed.may_administer(),
        id,
        name: found.name,
        kind,
        enabled: found.enabled,
        url,
        shown: None,
        next,
        warnings,
    })
}

fn scheme(found: &TriggerShown) -> Option<Scheme> {
    let scheme = found.scheme.clone()?;
    serde_json::from_value(scheme).ok()
}

/// A condition's expression; one in a language that a newer version wrote as it is stored.
pub(super) fn expression(condition: &Value) -> String {
    let text = condition.get("expression").and_then(Value::as_str);
    text.map_or_else(|| condition.to_string(), str::to_owned)
}

fn bound((index, binding): (usize, &BindingShown)) -> BoundRow {
    let own = binding.filter.as_object().filter(|own| !own.is_empty());
    let own =
        own.map(|_| rows::filter(&binding.filter).unwrap_or_else(|| binding.filter.to_string()));
    BoundRow {
        id: binding.id,
        number: index + 1,
        enabled: binding.enabled,
        target: target(binding),
        filter: own.map(|own| own.chars().take(FILTER_CHARS_MAX).collect()),
        condition: binding.condition.as_ref().map(expression),
    }
}

/// What a binding starts.
pub(super) fn target(binding: &BindingShown) -> Target {
    match &binding.workload {
        Some(workload) => Target::Workload(Link {
            name: workload.named.name.clone(),
            href: rows::workload_href(workload.named.id),
        }),
        None => Target::Task(binding.task.clone().unwrap_or_default()),
    }
}

fn back(id: TriggerId) -> Response {
    Redirect::to(&format!("/triggers/{id}")).into_response()
}

pub(super) async fn enable(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Posted(Nothing {}): Posted<Nothing>,
) -> Result<Response, Problem> {
    switched(&ctx, &signed, &id, true).await
}

pub(super) async fn disable(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Posted(Nothing {}): Posted<Nothing>,
) -> Result<Response, Problem> {
    switched(&ctx, &signed, &id, false).await
}

async fn switched(ctx: &Ctx, signed: &Signed, id: &str, on: bool) -> Result<Response, Problem> {
    signed.administer()?;
    let id: TriggerId = rows::id(id)?;
    let mut tx = signed.begin(ctx).await?;
    triggers::switch(&mut tx, id, on, signed.name()).await?;
    tx.commit().await?;
    tracing::info!(trigger.id = %id, tenant.id = %signed.tenant, on, "switched a trigger");
    Ok(back(id))
}

pub(super) async fn remove(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Posted(Nothing {}): Posted<Nothing>,
) -> Result<Response, Problem> {
    signed.administer()?;
    let id: TriggerId = rows::id(&id)?;
    let mut tx = signed.begin(&ctx).await?;
    // The page has said so, with what it starts in sight.
    triggers::remove(&mut tx, id, true, signed.name()).await?;
    tx.commit().await?;
    tracing::info!(trigger.id = %id, tenant.id = %signed.tenant, "removed a trigger");
    Ok(Redirect::to("/triggers").into_response())
}

pub(super) async fn run(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Posted(Nothing {}): Posted<Nothing>,
) -> Result<Response, Problem> {
    signed.operate()?;
    let id: TriggerId = rows::id(&id)?;
    let mut tx = signed.begin(&ctx).await?;
    let event = triggers::run(&mut tx, signed.tenant, id, None, Map::new(), signed.name()).await?;
    tx.commit().await?;
    tracing::info!(event.id = %event, trigger.id = %id, tenant.id = %signed.tenant, "run by hand");
    Ok(Redirect::to(&rows::event_href(event)).into_response())
}

#[derive(Deserialize)]
pub(super) struct NewSecret {
    #[serde(default)]
    secret: String,
}

/// A new secret, shown on the page that answers and never again.
pub(super) async fn renew(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Posted(NewSecret { secret }): Posted<NewSecret>,
) -> Result<Response, Problem> {
    signed.administer()?;
    let id: TriggerId = rows::id(&id)?;
    let own = said(&secret).map(SecretString::from);
    let mut tx = signed.begin(&ctx).await?;
    let found = pages::trigger_shown(&mut tx, id).await?;
    let scheme = scheme(&found.ok_or(Problem::NotFound)?);
    let shown = give_secret(
        &ctx,
        &signed,
        &mut tx,
        id,
        scheme.as_ref(),
        own,
        OVERLAP_MAX,
    )
    .await?;
    let mut view = read(&mut tx, &signed, id).await?;
    tx.commit().await?;
    tracing::info!(trigger.id = %id, tenant.id = %signed.tenant, "gave a trigger a new secret");
    view.shown = shown;
    Ok(view_of(&signed.reader(), &view).into_response())
}

/// Gives a trigger a secret of the kind that its scheme asks for; none where it asks for none.
pub(super) async fn give_secret(
    ctx: &Ctx,
    signed: &Signed,
    tx: &mut TenantTx,
    id: TriggerId,
    scheme: Option<&Scheme>,
    own: Option<SecretString>,
    overlap: Duration,
) -> Result<Option<Shown>, Problem> {
    let keyring = ctx.keyring().map_err(Problem::internal)?;
    let made = new_path_secret();
    let (secret, path, shown) = match scheme {
        Some(Scheme::Path {}) => {
            let url = format!("{}/{}", signed.visitor.hook_url(id), made.expose_secret());
            (None, Some(PathHash::of(&made).0), Shown::Url(url))
        }
        Some(Scheme::Oidc(_) | Scheme::None(_)) => return Ok(None),
        Some(Scheme::Standard(standard)) if !standard.public_keys.is_empty() => return Ok(None),
        Some(Scheme::Standard(_)) => {
            // Theirs are base64 of the usual alphabet.
            let text = made.expose_secret().replace('-', "+").replace('_', "/");
            let secret = own.unwrap_or_else(|| format!("whsec_{text}").into());
            let shown = Shown::Secret(secret.expose_secret().to_owned());
            (Some(secret), None, shown)
        }
        Some(Scheme::Hmac(_) | Scheme::Token(_) | Scheme::Basic(_)) | None => {
            let secret = own.unwrap_or(made);
            let shown = Shown::Secret(secret.expose_secret().to_owned());
            (Some(secret), None, shown)
        }
    };
    let new = NewSecrets {
        secret: secret.as_ref(),
        path_sha256: path,
        overlap,
    };
    triggers::rotate(tx, signed.tenant, keyring, id, new, signed.name()).await?;
    Ok(Some(shown))
}

pub(super) async fn drop_secret(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Posted(Nothing {}): Posted<Nothing>,
) -> Result<Response, Problem> {
    signed.administer()?;
    let id: TriggerId = rows::id(&id)?;
    let mut tx = signed.begin(&ctx).await?;
    triggers::drop_old_secret(&mut tx, id, signed.name()).await?;
    tx.commit().await?;
    Ok(back(id))
}

pub(super) async fn remove_binding(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Posted(Nothing {}): Posted<Nothing>,
) -> Result<Response, Problem> {
    signed.administer()?;
    let id: BindingId = rows::id(&id)?;
    let mut tx = signed.begin(&ctx).await?;
    let trigger = pages::trigger_of_binding(&mut tx, id).await?;
    let trigger = trigger.ok_or(Problem::NotFound)?;
    bindings::remove(&mut tx, id, signed.name()).await?;
    tx.commit().await?;
    Ok(back(trigger))
}

/// Lets a binding be asked one place earlier.
pub(super) async fn raise_binding(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Posted(Nothing {}): Posted<Nothing>,
) -> Result<Response, Problem> {
    signed.administer()?;
    let id: BindingId = rows::id(&id)?;
    let mut tx = signed.begin(&ctx).await?;
    let trigger = pages::trigger_of_binding(&mut tx, id).await?;
    let trigger = trigger.ok_or(Problem::NotFound)?;
    let found = pages::trigger_shown(&mut tx, trigger).await?;
    let found = found.ok_or(Problem::NotFound)?;
    let mut order: Vec<BindingId> = found.bindings.iter().map(|binding| binding.id).collect();
    if let Some(at) = order
        .iter()
        .position(|other| *other == id)
        .filter(|at| *at > 0)
    {
        order.swap(at - 1, at);
        bindings::order(&mut tx, trigger, &order, signed.name()).await?;
    }
    tx.commit().await?;
    Ok(back(trigger))
}
