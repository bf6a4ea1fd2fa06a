//! Where a configuration comes from, and what of it has to be known before terraform sees it.

use std::collections::BTreeMap;
use std::io::Read as _;

use anyhow::{Context as _, anyhow};
use artifacts::{Artifacts, Given};
use git::{Archive, ArchiveAsk, Branch, CommitId, Folder, Login, Source, Wanted};
use host::{Ctx, Job, TaskError};
use model::run::{FileContent, RunFile};
use runs::terraform::Payload;
use serde_json::Value;
use store::workspaces::StoredWorkspace;
use uuid::Uuid;

use crate::backend::{self, Backend};
use crate::settings::Worker;

/// The folder of a run that the configuration is in.
pub(crate) const FOLDER: &str = "config";
/// What a workspace's files are kept as, so that an apply has the same as its plan.
pub(crate) const SOURCE: &str = "source.tar";
/// Terraform's files at the top of a configuration that are looked through, in bytes.
const LOOKED_THROUGH_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A configuration that terraform can be run in.
#[derive(Debug)]
pub(crate) struct Configuration {
    /// Its files, below [`FOLDER`].
    pub(crate) files: Vec<RunFile>,
    /// Where terraform is run, below the run's folder.
    pub(crate) folder: String,
    /// Whether it says itself where its state is.
    pub(crate) backend: Backend,
}

/// The folder that terraform is run in.
pub(crate) fn folder(payload: &Payload) -> String {
    match payload.source.folder.as_str() {
        "" => FOLDER.to_owned(),
        folder => format!("{FOLDER}/{folder}"),
    }
}

/// The configuration that a payload names.
pub(crate) async fn of(
    ctx: &Ctx,
    worker: &Worker,
    job: &Job<Value>,
    payload: &Payload,
) -> Result<Configuration, TaskError> {
    match (&payload.source.inline, &payload.source.workspace) {
        (Some(_), _) => Ok(inline(payload)),
        (None, Some(workspace)) => of_workspace(ctx, worker, job, payload, workspace).await,
        (None, None) => Err(TaskError::fail(anyhow!(
            "source: say one of workspace and inline"
        ))),
    }
}

/// The files of the payload; none when it has none.
pub(crate) fn inline(payload: &Payload) -> Configuration {
    let given = payload.source.inline.clone().unwrap_or_default().files;
    let top = given
        .iter()
        .filter(|(path, _)| !path.contains('/'))
        .map(|(path, text)| (path.clone(), text.clone().into_bytes()))
        .collect();
    Configuration {
        backend: backend::of(&top),
        files: given
            .into_iter()
            .map(|(path, text)| RunFile {
                path: format!("{FOLDER}/{path}"),
                content: FileContent::Text(text),
                executable: false,
            })
            .collect(),
        folder: folder(payload),
    }
}

/// A configuration whose files are kept as an artifact.
pub(crate) fn kept(payload: &Payload, id: Uuid, sha256: String, backend: Backend) -> Configuration {
    Configuration {
        files: vec![RunFile {
            path: FOLDER.to_owned(),
            content: FileContent::Archive { id, sha256 },
            executable: false,
        }],
        folder: folder(payload),
        backend,
    }
}

async fn of_workspace(
    ctx: &Ctx,
    worker: &Worker,
    job: &Job<Value>,
    payload: &Payload,
    name: &str,
) -> Result<Configuration, TaskError> {
    let keyring = ctx.keyring().map_err(TaskError::fail)?;
    let workspace = ctx
        .store()
        .workspace(keyring, job.tenant, name)
        .await
        .context("the workspace cannot be read")
        .map_err(TaskError::retry)?
        .ok_or_else(|| TaskError::fail(anyhow!("there is no workspace {name:?}")))?;
    let archive = fetched(worker, job, payload, &workspace).await?;
    job.log
        .line(format!(
            "{} files of {} at {}",
            archive.files, workspace.name, archive.commit
        ))
        .await;
    for warning in archive.warnings.lines() {
        job.log.line(warning).await;
    }
    let top = top_files(&archive.tar, &payload.source.folder)
        .context("the files of the workspace cannot be looked through")
        .map_err(TaskError::fail)?;
    if top.is_empty() {
        return Err(TaskError::fail(anyhow!(
            "the folder {:?} of the workspace {} has no .tf or .tf.json at {}",
            payload.source.folder,
            workspace.name,
            archive.commit
        )));
    }
    let given = Given {
        name: SOURCE,
        media_type: Some("application/x-tar"),
        sealed: false,
    };
    let stored = Artifacts::of(ctx)
        .map_err(TaskError::fail)?
        .add_bytes(job.tenant, job.hold, given, archive.tar.to_vec())
        .await
        .context("the files of the workspace cannot be kept for the run")
        .map_err(TaskError::retry)?;
    Ok(kept(payload, stored.id, stored.sha256, backend::of(&top)))
}

async fn fetched(
    worker: &Worker,
    job: &Job<Value>,
    payload: &Payload,
    workspace: &StoredWorkspace,
) -> Result<Archive, TaskError> {
    // They were checked when they were saved, and are checked again where they are used.
    let source = Source::try_from(workspace.repository.clone()).map_err(TaskError::fail)?;
    let folder = Folder::try_from(workspace.folder.clone()).map_err(TaskError::fail)?;
    let wanted = match &payload.source.commit {
        Some(commit) => {
            Wanted::Commit(CommitId::try_from(commit.clone()).map_err(TaskError::fail)?)
        }
        None => {
            let branch = payload.source.branch.as_ref().unwrap_or(&workspace.branch);
            Wanted::Head(Branch::try_from(branch.clone()).map_err(TaskError::fail)?)
        }
    };
    let login = login(&source, workspace).map_err(TaskError::fail)?;
    let ask = ArchiveAsk {
        source: &source,
        wanted: &wanted,
        login: login.as_ref(),
        folder: &folder,
        bytes_max: git::ARCHIVE_BYTES_MAX,
    };
    worker
        .fetcher
        .archive(ask, job.cancelled())
        .await
        .map_err(|error| {
            if error.may_pass() {
                TaskError::retry(error)
            } else {
                TaskError::fail(error)
            }
        })
}

fn login(source: &Source, workspace: &StoredWorkspace) -> anyhow::Result<Option<Login>> {
    let Some(login) = workspace
        .login
        .as_ref()
        .map_err(|error| anyhow!("{error}"))?
    else {
        return Ok(None);
    };
    match source {
        // It was for this host when it was saved; it goes nowhere else.
        Source::Remote(url) if url.authority() == login.host => Ok(Some(Login {
            username: login.username.clone(),
            secret: login.secret.clone(),
        })),
        Source::Remote(_) | Source::Local(_) => {
            anyhow::bail!("the credential of the workspace is for {}", login.host)
        }
    }
}

/// Terraform's files at the top of a folder of an archive.
pub(crate) fn top_files(tar: &[u8], folder: &str) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut left = LOOKED_THROUGH_BYTES_MAX;
    for entry in tar::Archive::new(tar).entries()? {
        let mut entry = entry?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let name = match folder {
            "" => Some(path.as_str()),
            folder => path
                .strip_prefix(folder)
                .and_then(|rest| rest.strip_prefix('/')),
        };
        let Some(name) = name.filter(|name| !name.contains('/')) else {
            continue;
        };
        if !(name.ends_with(".tf") || name.ends_with(".tf.json")) {
            continue;
        }
        let name = name.to_owned();
        let mut text = Vec::new();
        entry.by_ref().take(left).read_to_end(&mut text)?;
        left -= text.len() as u64;
        files.insert(name, text);
    }
    Ok(files)
}
