//! Workspaces: what runs are started from, and looking at their repositories now.

use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use host::{Ctx, Ticker};
use maud::Markup;
use serde::Deserialize;
use store::workspaces::{self, Template, TemplateKind, Workspace};
use url::form_urlencoded;
use uuid::Uuid;

use super::problem::Problem;
use super::rows;
use super::session::{Posted, Signed};
use super::watches::credential_name;
use crate::views::model::{TemplateRow, WorkspacePage, WorkspaceRow};
use crate::views::runs::workspace;

/// A workspace as lists show it.
pub(super) fn row(workspace: &Workspace) -> WorkspaceRow {
    WorkspaceRow {
        id: workspace.id,
        name: workspace.name.clone(),
        url: workspace.repository.clone(),
        commit: workspace.commit.clone(),
        synced_at: workspace.looked_at.or(workspace.synced_at),
        error: workspace.problem.clone(),
    }
}

/// The task that a template is run by, if one of ours does.
const fn task(kind: TemplateKind) -> &'static str {
    match kind {
        TemplateKind::Terraform => "task-terraform",
        TemplateKind::Netlab => "task-netlab",
        TemplateKind::Containerlab => "task-clabernetes",
    }
}

fn template(workspace: Uuid, template: Template) -> TemplateRow {
    let task = task(template.kind);
    let mut query = form_urlencoded::Serializer::new(String::new());
    query
        .append_pair("kind", task)
        .append_pair("workspace", &workspace.to_string());
    match template.kind {
        TemplateKind::Terraform => query.append_pair("folder", &template.path),
        TemplateKind::Netlab | TemplateKind::Containerlab => {
            let (folder, topology) = template
                .path
                .rsplit_once('/')
                .unwrap_or(("", &template.path));
            query
                .append_pair("folder", folder)
                .append_pair("topology", topology)
        }
    };
    TemplateRow {
        start_href: runs::kind(task).map(|_| format!("/runs/new?{}", query.finish())),
        path: template.path,
        kind: template.kind.as_str().to_owned(),
        summary: template.title.or(template.summary),
    }
}

pub(super) async fn page(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Markup, Problem> {
    let id = rows::id::<Uuid>(&id)?;
    let mut tx = signed.begin(&ctx).await?;
    let found = workspaces::get(&mut tx, id)
        .await?
        .ok_or(Problem::NotFound)?;
    let templates = workspaces::templates(&mut tx, id).await?;
    let credential = credential_name(&mut tx, found.credential).await?;
    tx.commit().await?;
    let view = WorkspacePage {
        row: row(&found),
        branch: found.branch,
        folder: found.folder,
        credential,
        templates: templates.into_iter().map(|one| template(id, one)).collect(),
        may_operate: signed.may_operate(),
    };
    Ok(workspace(&signed.reader(), &view))
}

/// How long a person waits for a look to end before the page is shown without what it finds.
const SYNC_WAIT: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
pub(super) struct Sync {}

/// Lets whoever reads workspaces come to this one first, now, and shows what it found, or that it is still at it.
pub(super) async fn sync(
    State(ctx): State<Ctx>,
    Extension(reader): Extension<Ticker>,
    signed: Signed,
    Path(id): Path<String>,
    Posted(Sync {}): Posted<Sync>,
) -> Result<Response, Problem> {
    let id = rows::id::<Uuid>(&id)?;
    let mut tx = signed.begin(&ctx).await?;
    workspaces::get(&mut tx, id)
        .await?
        .ok_or(Problem::NotFound)?;
    signed.operate()?;
    workspaces::sync_soon(&mut tx, id)
        .await?
        .ok_or(Problem::NotFound)?;
    tx.commit().await?;
    reader.tick(&ctx, SYNC_WAIT).await;
    Ok(Redirect::to(&format!("/workspaces/{id}")).into_response())
}
