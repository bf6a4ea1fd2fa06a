//! What is deployed: the list, one workload, deploying and rolling back by hand.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use database::TenantTx;
use host::Ctx;
use maud::Markup;
use model::{WorkloadAction, WorkloadId};
use serde::Deserialize;
use serde_json::Value;
use store::pages::{self, Revision, WorkloadDetail};
use store::setup::start_workload_job;

use super::problem::Problem;
use super::session::{Posted, Signed};
use super::{FIRST_COMMAND, rows};
use crate::views::model::{BindingRow, RevisionRow, RollbackPage, WorkloadPage};
use crate::views::workload::{rollback as rollback_view, workload, workloads};

const REVISIONS_MAX: usize = 20;
const JOBS_MAX: usize = 10;

pub(super) async fn list(State(ctx): State<Ctx>, signed: Signed) -> Result<Markup, Problem> {
    let mut tx = signed.begin(&ctx).await?;
    let found = pages::workloads(&mut tx, None, pages::ROWS_MAX).await?;
    tx.commit().await?;
    let rows: Vec<_> = found
        .iter()
        .map(|workload| rows::workload(&signed.visitor, workload))
        .collect();
    Ok(workloads(&signed.reader(), &rows, FIRST_COMMAND))
}

pub(super) async fn page(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Markup, Problem> {
    let mut tx = signed.begin(&ctx).await?;
    let view = read(&mut tx, &signed, rows::id(&id)?).await?;
    tx.commit().await?;
    Ok(workload(&signed.reader(), &view.ok_or(Problem::NotFound)?))
}

pub(super) async fn read(
    tx: &mut TenantTx,
    signed: &Signed,
    id: WorkloadId,
) -> Result<Option<WorkloadPage>, Problem> {
    let Some(found) = pages::workload(tx, id).await? else {
        return Ok(None);
    };
    let revisions = pages::revisions(tx, id, None, REVISIONS_MAX).await?;
    let bindings = pages::bindings(tx, id).await?;
    let jobs = pages::workload_jobs(tx, id, None, JOBS_MAX).await?;
    let jobs = rows::jobs(tx, &jobs).await?;
    let href = rows::workload_href(id);
    Ok(Some(WorkloadPage {
        row: rows::workload(&signed.visitor, &found.workload),
        source: source(&found.config),
        revisions: revisions
            .iter()
            .map(|revision| revision_row(revision, &found, signed))
            .collect(),
        bindings: bindings
            .into_iter()
            .map(|binding| BindingRow {
                name: format!("{} → {}", binding.trigger.name, found.workload.name),
                trigger: binding.trigger.name,
                trigger_kind: binding.kind,
                filter: rows::filter(&binding.filter),
                enabled: binding.enabled,
            })
            .collect(),
        jobs,
        deploy_href: signed.may_operate().then(|| format!("{href}/deploy")),
        live_href: format!("/live{href}"),
    }))
}

fn revision_row(revision: &Revision, of: &WorkloadDetail, signed: &Signed) -> RevisionRow {
    let live = of.workload.live.as_ref().map(|live| live.id) == Some(revision.id);
    RevisionRow {
        number: i64::from(revision.number),
        commit: revision.commit.clone(),
        asked: revision
            .asked_commit
            .clone()
            .filter(|asked| *asked != revision.commit),
        message: None,
        deployed_at: revision.created_at,
        job: Some(revision.job.0),
        live,
        rollback_href: (!live && signed.may_operate()).then(|| {
            let href = rows::workload_href(of.workload.id);
            format!("{href}/rollback?to={}", revision.number)
        }),
    }
}

/// Where a workload comes from, in one line; kinds differ, so what is there is told.
fn source(config: &Value) -> Option<String> {
    let source = config.get("source")?;
    let text =
        |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let address = match (text(source, "base_url"), text(source, "repository")) {
        (Some(base), Some(repository)) => {
            Some(format!("{}/{repository}", base.trim_end_matches('/')))
        }
        _ => text(source, "path"),
    };
    let parts: Vec<_> = [address, text(config, "branch"), text(config, "folder")]
        .into_iter()
        .flatten()
        .filter(|part| !part.is_empty())
        .collect();
    (!parts.is_empty()).then(|| parts.join(" · "))
}

#[derive(Deserialize)]
pub(super) struct Deploy {}

pub(super) async fn deploy(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Posted(Deploy {}): Posted<Deploy>,
) -> Result<Response, Problem> {
    let mut tx = signed.begin(&ctx).await?;
    let found = pages::workload(&mut tx, rows::id(&id)?)
        .await?
        .ok_or(Problem::NotFound)?;
    signed.operate()?;
    start(tx, &signed, &found, WorkloadAction::Deploy { asked: None }).await
}

#[derive(Deserialize)]
pub(super) struct To {
    #[serde(default)]
    to: String,
}

/// The question before a rollback.
pub(super) async fn ask_rollback(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Query(To { to }): Query<To>,
) -> Result<Markup, Problem> {
    let mut tx = signed.begin(&ctx).await?;
    let (found, revision) = target(&mut tx, &id, &to).await?;
    tx.commit().await?;
    signed.operate()?;
    let href = rows::workload_href(found.workload.id);
    let view = RollbackPage {
        from: found.workload.live.as_ref().map(rows::live_revision),
        to: revision_row(&revision, &found, &signed),
        action: format!("{href}/rollback?to={}", revision.number),
        workload: crate::views::model::Link {
            name: found.workload.name,
            href,
        },
    };
    Ok(rollback_view(&signed.reader(), &view))
}

#[derive(Deserialize)]
pub(super) struct Rollback {}

pub(super) async fn rollback(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Query(To { to }): Query<To>,
    Posted(Rollback {}): Posted<Rollback>,
) -> Result<Response, Problem> {
    let mut tx = signed.begin(&ctx).await?;
    let (found, revision) = target(&mut tx, &id, &to).await?;
    signed.operate()?;
    let action = WorkloadAction::Rollback {
        revision: revision.id,
    };
    start(tx, &signed, &found, action).await
}

async fn target(
    tx: &mut TenantTx,
    id: &str,
    to: &str,
) -> Result<(WorkloadDetail, Revision), Problem> {
    let id = rows::id(id)?;
    let number = to.parse().map_err(|_| Problem::NotFound)?;
    let found = pages::workload(tx, id).await?.ok_or(Problem::NotFound)?;
    let revision = pages::revision_numbered(tx, id, number)
        .await?
        .ok_or(Problem::NotFound)?;
    Ok((found, revision))
}

/// Adds the job and goes to its page.
async fn start(
    mut tx: TenantTx,
    signed: &Signed,
    found: &WorkloadDetail,
    action: WorkloadAction,
) -> Result<Response, Problem> {
    let workload = &found.workload;
    let job =
        start_workload_job(&mut tx, workload.id, workload.source, action, signed.name()).await?;
    tx.commit().await?;
    tracing::info!(job.id = %job, workload.id = %workload.id, tenant.id = %signed.tenant, "started by hand");
    Ok(Redirect::to(&format!("/jobs/{job}")).into_response())
}
