//! One look at one workspace.

use std::time::Duration;

use git::{
    Branch, Case, FetchAsk, FetchError, Fetcher, Folder, Login, Name, Named, RefsError, Source,
    Taking, Wanted,
};
use store::workspaces::{StoredWorkspace, Template};
use tokio_util::sync::CancellationToken;

use crate::templates;

/// How long a server may take to say where the branch is.
const REFS_MAX: Duration = Duration::from_secs(20);
/// What templates and READMEs may have together, in bytes; other files are not read.
const BYTES_MAX: u64 = 32 * 1024 * 1024;
/// The longest name that is looked at, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// Why a look failed, for the workspace's people.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) problem: String,
    /// When the other side wants to be asked again.
    pub(crate) wait: Option<Duration>,
}

impl From<String> for Failure {
    fn from(problem: String) -> Self {
        Self {
            problem,
            wait: None,
        }
    }
}

impl From<RefsError> for Failure {
    fn from(error: RefsError) -> Self {
        Self {
            wait: error.wait(),
            problem: error.to_string(),
        }
    }
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        Self::from(described(&error))
    }
}

/// An error with what caused it, in one line.
fn described(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut words: Vec<String> = causes.map(ToString::to_string).collect();
    words.dedup();
    words.join(": ")
}

/// What a look found.
#[derive(Debug)]
pub(crate) enum Synced {
    /// The branch is where it was.
    Same,
    /// It is somewhere else.
    Read {
        commit: String,
        templates: Vec<Template>,
        warnings: Vec<String>,
    },
}

/// Looks where the branch is, and reads what it has there if that is somewhere else than the last time.
pub(crate) async fn sync(
    fetcher: &Fetcher,
    workspace: &StoredWorkspace,
) -> Result<Synced, Failure> {
    // They were checked when they were saved, and are checked again where they are used.
    let word = |error: git::WordError| Failure::from(error.to_string());
    let source = Source::try_from(workspace.repository.clone()).map_err(word)?;
    let branch = Branch::try_from(workspace.branch.clone()).map_err(word)?;
    let folder = Folder::try_from(workspace.folder.clone()).map_err(word)?;
    let login = login(&source, workspace)?;
    if let Source::Remote(url) = &source {
        let refs = git::refs(&fetcher.egress, url, login.as_ref(), REFS_MAX).await?;
        let there = refs.get(&branch.reference()).ok_or_else(|| {
            Failure::from(format!(
                "{source} has no branch `{branch}`: push it, or configure another"
            ))
        })?;
        if workspace.commit.as_deref() == Some(&there.id) {
            return Ok(Synced::Same);
        }
    }
    let ask = FetchAsk {
        source: &source,
        wanted: &Wanted::Head(branch),
        login: login.as_ref(),
        folder: &folder,
        taking: Taking {
            what: "what templates are made of",
            bytes_max: BYTES_MAX,
            name,
            case: Case::Told,
        },
    };
    let checkout = fetcher.fetch(ask, &CancellationToken::new()).await?;
    if workspace.commit.as_deref() == Some(checkout.commit.as_str()) {
        return Ok(Synced::Same);
    }
    let mut warnings = checkout.warnings;
    let templates = templates::found(&checkout.files, &mut warnings);
    Ok(Synced::Read {
        commit: checkout.commit.to_string(),
        templates,
        warnings: warnings.lines().collect(),
    })
}

fn login(source: &Source, workspace: &StoredWorkspace) -> Result<Option<Login>, Failure> {
    let Some(login) = workspace
        .login
        .as_ref()
        .map_err(|error| Failure::from(error.to_string()))?
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
            Err(format!("the credential is for {}", login.host).into())
        }
    }
}

/// Folders, and files that say what a folder is.
fn name(named: Named<'_>) -> Name {
    let plain = named.name.len() <= NAME_BYTES_MAX && !named.name.chars().any(char::is_control);
    let taken = if named.is_folder {
        // What tools keep for themselves: `.terraform`, `.github`.
        !named.name.starts_with('.')
    } else {
        templates::counts(named.name)
    };
    if plain && taken {
        Name::Taken
    } else {
        Name::Ignored
    }
}
