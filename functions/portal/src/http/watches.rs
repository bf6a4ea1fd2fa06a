//! What of a trigger is looked at by the clock besides what its hooks tell, and what lets us in there.

use axum::Extension;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use database::TenantTx;
use host::Ctx;
use maud::Markup;
use model::{TriggerId, TriggerKind};
use serde_json::{Map, Value};
use store::credentials::{self, Credential};
use store::watched::{self, Watching};
use store::{declared, pages};
use uuid::Uuid;

use super::declared_form::{Admitted, Subject, author, show, take, written};
use super::problem::Problem;
use super::rows;
use super::session::{Posted, Signed};
use super::trigger_form::Sent;
use super::triggers::{Nothing, kind};
use crate::views::model::{CredentialRow, Declared, DeclaredForm, SeenRow, WatchPanel, WatchShown};
use crate::views::notify::credentials as credentials_view;

const KEYS: [&str; 6] = [
    "url",
    "repository",
    "credential",
    "interval_secs",
    "report_first",
    "names",
];

/// What a trigger's page says of it; nothing where its kind has no place to look at.
pub(super) async fn panel(
    tx: &mut TenantTx,
    trigger: TriggerId,
    kind: TriggerKind,
) -> Result<Option<WatchPanel>, Problem> {
    if !matches!(kind, TriggerKind::Git | TriggerKind::Registry) {
        return Ok(None);
    }
    let watch = match watched::watching(tx, trigger).await? {
        Some(found) => Some(shown(tx, found).await?),
        None => None,
    };
    Ok(Some(WatchPanel { trigger, watch }))
}

/// What people call a credential.
pub(super) async fn credential_name(
    tx: &mut TenantTx,
    id: Option<Uuid>,
) -> Result<Option<String>, Problem> {
    let Some(id) = id else {
        return Ok(None);
    };
    let all = credentials::list(tx).await?;
    Ok(all.into_iter().find(|one| one.id == id).map(|one| one.name))
}

async fn shown(tx: &mut TenantTx, found: Watching) -> Result<WatchShown, Problem> {
    let credential = credential_name(tx, found.credential).await?;
    let place = if found.repository.is_empty() {
        found.url
    } else {
        format!("{}/{}", found.url, found.repository)
    };
    Ok(WatchShown {
        place,
        credential,
        interval_secs: found.interval_secs,
        names: found.names,
        looked_at: found.looked_at,
        next_at: found.next_at,
        problem: found.problem.map(|problem| (problem, found.failures)),
        found: found.found_by_looking,
        seen: found
            .seen
            .into_iter()
            .map(|row| SeenRow {
                by_look: row.told_by == "look",
                name: row.name,
                state: row.state,
                at: row.at,
                silent_at: row.silent_at,
            })
            .collect(),
    })
}

async fn subject(
    ctx: &Ctx,
    signed: &Signed,
    id: &str,
) -> Result<(Subject, Map<String, Value>), Problem> {
    signed.administer()?;
    let id: TriggerId = rows::id(id)?;
    let mut tx = signed.begin(ctx).await?;
    let found = pages::trigger_shown(&mut tx, id).await?;
    let watching = watched::watching(&mut tx, id).await?;
    tx.commit().await?;
    let found = found.ok_or(Problem::NotFound)?;
    let kind = kind(&found.kind)?;
    if !matches!(kind, TriggerKind::Git | TriggerKind::Registry) {
        return Err(Problem::NotFound);
    }
    let subject = Subject {
        trigger: Some((id, found.name)),
        fixed: Map::from_iter([("kind".to_owned(), Value::from(kind.as_str()))]),
        ..Subject::new(Declared::Watch(kind))
    };
    let config = match watching {
        Some(watching) => {
            let mut config = written(&watching, &KEYS);
            if watching.repository.is_empty() {
                config.remove("repository");
            }
            if !watching.report_first {
                config.remove("report_first");
            }
            config
        }
        None => Map::from_iter([("interval_secs".to_owned(), Value::from(300))]),
    };
    Ok((subject, config))
}

pub(super) async fn edit(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Markup, Problem> {
    let (subject, config) = subject(&ctx, &signed, &id).await?;
    show(&ctx, &signed, &subject, &config).await
}

pub(super) async fn set(
    State(ctx): State<Ctx>,
    Extension(guard): Admitted,
    signed: Signed,
    Path(id): Path<String>,
    Posted(sent): Posted<Sent<DeclaredForm>>,
) -> Result<Response, Problem> {
    let (subject, _) = subject(&ctx, &signed, &id).await?;
    take(&ctx, &signed, &guard, &subject, sent).await
}

fn back(id: TriggerId, done: bool) -> Result<Response, Problem> {
    done.then(|| Redirect::to(&format!("/triggers/{id}#watch")).into_response())
        .ok_or(Problem::NotFound)
}

pub(super) async fn end(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Posted(Nothing {}): Posted<Nothing>,
) -> Result<Response, Problem> {
    signed.administer()?;
    let id: TriggerId = rows::id(&id)?;
    let mut tx = signed.begin(&ctx).await?;
    let done = declared::end_watch(&mut tx, author(&signed), id).await?;
    tx.commit().await?;
    back(id, done)
}

pub(super) async fn look(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Posted(Nothing {}): Posted<Nothing>,
) -> Result<Response, Problem> {
    signed.operate()?;
    let id: TriggerId = rows::id(&id)?;
    let mut tx = signed.begin(&ctx).await?;
    let done = declared::look_soon(&mut tx, author(&signed), id).await?;
    tx.commit().await?;
    back(id, done)
}

pub(super) async fn list_credentials(
    State(ctx): State<Ctx>,
    signed: Signed,
) -> Result<Markup, Problem> {
    let mut tx = signed.begin(&ctx).await?;
    let found = credentials::list(&mut tx).await?;
    tx.commit().await?;
    let rows: Result<Vec<_>, Problem> = found.into_iter().map(credential).collect();
    Ok(credentials_view(&signed.reader(), &rows?))
}

fn credential(found: Credential) -> Result<CredentialRow, Problem> {
    // The database's CHECK admits no other.
    let state = serde_json::from_value(found.state.into()).map_err(Problem::internal)?;
    Ok(CredentialRow {
        name: found.name,
        kind: found.kind,
        host: found.host,
        username: found.username,
        state,
        problem: found.problem,
        checked_at: found.checked_at,
        ends_at: found.ends_at,
        uses: found.uses,
    })
}
