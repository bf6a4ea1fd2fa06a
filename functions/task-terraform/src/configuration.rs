//! Where a configuration comes from, and what of it has to be known before terraform sees it.

use std::collections::BTreeMap;
use std::io::Read as _;

use anyhow::{Context as _, anyhow};
use checkout::Fetched;
use host::{Ctx, Job, TaskError};
use model::run::{FileContent, RunFile};
use runs::InWorkspace;
use runs::terraform::Payload;
use serde_json::Value;
use uuid::Uuid;

use crate::backend::{self, Backend};
use crate::settings::Worker;

/// The folder of a run that the configuration is in.
pub(crate) const FOLDER: &str = "config";
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
    match (&payload.source.inline, payload.source.place()) {
        (Some(_), _) => Ok(inline(payload)),
        (None, Some(place)) => of_workspace(ctx, worker, job, payload, &place).await,
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
    place: &InWorkspace<'_>,
) -> Result<Configuration, TaskError> {
    // All of the workspace: a module may lie beside the folder that terraform is run in.
    let Fetched { workspace, archive } =
        checkout::fetch(ctx, &worker.fetcher, job, place, "").await?;
    let top = top_files(&archive.tar, place.folder)
        .context("the files of the workspace cannot be looked through")
        .map_err(TaskError::fail)?;
    if top.is_empty() {
        return Err(TaskError::fail(anyhow!(
            "the folder {:?} of the workspace {workspace} has no .tf or .tf.json at {}",
            place.folder,
            archive.commit
        )));
    }
    let stored = checkout::keep(ctx, job, &archive).await?;
    Ok(kept(payload, stored.id, stored.sha256, backend::of(&top)))
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
