//! Fetches one commit of a repository: over https from a provider, or from an allowed folder of this machine.
//!
//! One commit deep, no tags, no submodules, no checkout: objects go into a temporary folder, and files are read out
//! of them by [`tree`]. No program is started and no configuration but our own is read, so hooks, filters
//! and credential helpers have nobody to run them.

use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use egress::TenantEgress;
use gix::{
    ObjectId,
    protocol::transport::{
        Protocol,
        client::{Account, TransportWithoutIO, blocking_io::http::Transport},
    },
    remote::{
        Direction,
        fetch::{Shallow, Tags},
    },
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tokio::{runtime::Handle, time::Instant};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    error::{FetchError, git},
    transport::{GuardedHttp, Progress, Wire},
    tree::{self, File, Taking, TreeLimits},
    warnings::Warnings,
    words::{Branch, CommitId, Folder, LocalPath},
};

/// The user that a token is sent with. GitHub, Gitea, Forgejo and GitLab look at the token only.
const TOKEN_USER: &str = "x-access-token";

/// What the name of a temporary repository's folder starts with.
pub(crate) const TEMP_PREFIX: &str = "switchyard-fetch-";

/// How much a fetch may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchLimits {
    /// How long all of it may take.
    pub time_max: Duration,
    /// How many bytes the provider may send: the whole commit, of which the folder is a part.
    pub download_bytes_max: u64,
    /// How many files the folder may hold.
    pub files_max: usize,
    /// How many bytes one file may have.
    pub file_bytes_max: u64,
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self {
            time_max: Duration::from_secs(60),
            download_bytes_max: 512 * 1024 * 1024,
            files_max: 10_000,
            file_bytes_max: 64 * 1024 * 1024,
        }
    }
}

/// Which commit is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The one that the branch is at when the fetch starts.
    Head(Branch),
    /// This one and no other: a pinned plan, a promotion.
    Commit(CommitId),
}

/// The files of one commit.
#[derive(Debug)]
pub struct Checkout {
    /// The commit that was found.
    pub commit: CommitId,
    /// The regular files below the folder, by their paths there.
    pub files: BTreeMap<String, File>,
    /// What was left out.
    pub warnings: Warnings,
}

/// Where a repository is. As text its address, or its absolute path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Source {
    /// At a provider, over https.
    Remote(Url),
    /// On this machine, inside a folder that the operator allows.
    Local(LocalPath),
}

/// Whom a provider lets in.
#[derive(Clone, Debug)]
pub struct Login {
    /// Empty where the token is all.
    pub username: String,
    /// The token or password.
    pub secret: SecretString,
}

impl Login {
    /// A token by itself.
    #[must_use]
    pub fn token(secret: SecretString) -> Self {
        Self {
            username: String::new(),
            secret,
        }
    }

    /// The user that is sent with it.
    #[must_use]
    pub fn user(&self) -> &str {
        if self.username.is_empty() {
            TOKEN_USER
        } else {
            &self.username
        }
    }
}

/// One fetch.
#[derive(Clone, Copy, Debug)]
pub struct FetchAsk<'a> {
    /// Where from.
    pub source: &'a Source,
    /// Which commit.
    pub wanted: &'a Wanted,
    /// Who asks.
    pub login: Option<&'a Login>,
    /// Which folder of it.
    pub folder: &'a Folder,
    /// What of the folder.
    pub taking: Taking,
}

/// The folders below which local repositories may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalRoots(Vec<PathBuf>);

impl LocalRoots {
    /// Takes the folders as they really are, links resolved. One that does not exist is an error.
    pub fn new(roots: impl IntoIterator<Item = PathBuf>) -> std::io::Result<Self> {
        let roots = roots.into_iter().map(std::fs::canonicalize);
        roots.collect::<Result<_, _>>().map(Self)
    }

    /// Whether a path, links resolved, is inside one of the folders.
    fn contain(&self, path: &Path) -> bool {
        std::fs::canonicalize(path)
            .is_ok_and(|path| self.0.iter().any(|root| path.starts_with(root)))
    }
}

/// Fetches repositories. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Fetcher {
    /// The client for providers.
    pub egress: TenantEgress,
    /// Where local repositories may be; nowhere unless the operator says so.
    pub local_roots: LocalRoots,
    /// Where objects are kept while they are read.
    pub temp_folder: PathBuf,
    /// How much a fetch may take.
    pub limits: FetchLimits,
}

impl Fetcher {
    /// Fetches a commit and reads its files. Leaves nothing behind, also when it fails or is cancelled.
    pub async fn fetch(
        &self,
        ask: FetchAsk<'_>,
        cancel: &CancellationToken,
    ) -> Result<Checkout, FetchError> {
        // A child, so that dropping this future also ends the thread below.
        let cancel = cancel.child_token();
        let _dropped = cancel.clone().drop_guard();
        let stop = Arc::new(Stop {
            interrupt: AtomicBool::new(false),
            cancel,
            deadline: Instant::now() + self.limits.time_max,
            limit: self.limits.time_max,
        });
        let fetch = Fetch {
            fetcher: self.clone(),
            source: ask.source.clone(),
            wanted: ask.wanted.clone(),
            login: ask.login.cloned(),
            folder: ask.folder.clone(),
            taking: ask.taking,
            stop: Arc::clone(&stop),
            runtime: Handle::current(),
        };
        // gix blocks, so it has a thread of its own; we watch the clock and raise its flag.
        let mut thread = tokio::task::spawn_blocking(move || fetch.run());
        let interrupt = Interrupt(&stop.interrupt);
        let joined = tokio::select! {
            joined = &mut thread => joined,
            () = stop.due() => {
                drop(interrupt);
                thread.await
            }
        };
        match joined {
            // However gix words its interruption, this is why.
            Ok(Err(error)) => Err(stop.check().err().unwrap_or(error)),
            Ok(Ok(checkout)) => Ok(checkout),
            Err(panic) => Err(FetchError::Git {
                step: "finish the fetch",
                source: panic.into(),
            }),
        }
    }
}

/// Raises gix's flag when it is dropped: on time, or with the future that waits.
struct Interrupt<'a>(&'a AtomicBool);

impl Drop for Interrupt<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// When a fetch has to end.
struct Stop {
    interrupt: AtomicBool,
    cancel: CancellationToken,
    deadline: Instant,
    limit: Duration,
}

impl Stop {
    async fn due(&self) {
        tokio::select! {
            () = self.cancel.cancelled() => {}
            () = tokio::time::sleep_until(self.deadline) => {}
        }
    }

    fn check(&self) -> Result<(), FetchError> {
        if self.cancel.is_cancelled() {
            Err(FetchError::Cancelled)
        } else if Instant::now() >= self.deadline {
            Err(FetchError::TimedOut { limit: self.limit })
        } else {
            Ok(())
        }
    }
}

struct Fetch {
    fetcher: Fetcher,
    source: Source,
    wanted: Wanted,
    login: Option<Login>,
    folder: Folder,
    taking: Taking,
    stop: Arc<Stop>,
    runtime: Handle,
}

impl Fetch {
    fn run(&self) -> Result<Checkout, FetchError> {
        match &self.source {
            Source::Local(path) => self.local(path),
            Source::Remote(url) => self.remote(url),
        }
    }

    fn local(&self, path: &LocalPath) -> Result<Checkout, FetchError> {
        let repository = self.open_local(path.as_path())?;
        let commit = match &self.wanted {
            Wanted::Head(branch) => local_head(&repository, branch)?,
            Wanted::Commit(commit) => commit.to_object_id(),
        };
        if !repository.has_object(commit) {
            return Err(no_commit(commit));
        }
        self.read(&repository, commit)
    }

    /// Opens a repository that is inside an allowed folder with all that it refers to.
    fn open_local(&self, path: &Path) -> Result<gix::Repository, FetchError> {
        let roots = &self.fetcher.local_roots;
        let missing =
            |source: Box<dyn std::error::Error + Send + Sync>| FetchError::NoLocalRepository {
                path: path.to_owned(),
                source,
            };
        let real = match std::fs::canonicalize(path) {
            // Whether a path outside exists is nobody's business.
            Ok(real) if roots.0.iter().any(|root| real.starts_with(root)) => real,
            Err(error) if roots.0.iter().any(|root| path.starts_with(root)) => {
                return Err(missing(error.into()));
            }
            Ok(_) | Err(_) => return Err(not_allowed(path)),
        };
        let repository = self
            .options()
            .open(real)
            .map_err(|error| missing(error.into()))?;
        let repository = repository.to_thread_local();
        let objects = repository.objects.store_ref();
        let alternates = objects
            .alternate_db_paths()
            .map_err(|error| missing(error.into()))?;
        let own = [
            repository.git_dir(),
            repository.common_dir(),
            objects.path(),
        ];
        let all = own
            .into_iter()
            .chain(alternates.iter().map(PathBuf::as_path));
        for place in all {
            if !roots.contain(place) {
                return Err(not_allowed(place));
            }
        }
        Ok(repository)
    }

    fn remote(&self, url: &Url) -> Result<Checkout, FetchError> {
        let folder = tempfile::Builder::new()
            .prefix(TEMP_PREFIX)
            .tempdir_in(&self.fetcher.temp_folder)
            .map_err(|source| FetchError::Machine {
                step: "make a temporary folder for the repository",
                source,
            })?;
        let repository = gix::ThreadSafeRepository::init_opts(
            folder.path(),
            gix::create::Kind::Bare,
            gix::create::Options::default(),
            self.options(),
        )
        .map_err(git("prepare a temporary repository"))?
        .to_thread_local();
        let wire = Arc::new(Wire {
            egress: self.fetcher.egress.clone(),
            runtime: self.runtime.clone(),
            cancel: self.stop.cancel.clone(),
            deadline: self.stop.deadline,
            limit: self.stop.limit,
            bytes_max: self.fetcher.limits.download_bytes_max,
            progress: Progress::default().into(),
        });
        let commit = self
            .receive(&repository, url, &wire)
            // What the wire saw is the cause of what gix then says.
            .map_err(|error| wire.take_failure().unwrap_or(error))?;
        self.read(&repository, commit)
    }

    /// Asks the provider which commit is wanted and brings exactly that one.
    fn receive(
        &self,
        repository: &gix::Repository,
        url: &Url,
        wire: &Arc<Wire>,
    ) -> Result<ObjectId, FetchError> {
        let git_url = gix::url::parse(url.as_str()).map_err(git("read the repository's URL"))?;
        let mut transport = Transport::new_http(
            GuardedHttp(Arc::clone(wire)),
            git_url.clone(),
            Protocol::V2,
            false,
        );
        if let Some(login) = &self.login {
            let account = Account {
                username: login.user().to_owned(),
                password: login.secret.expose_secret().to_owned(),
                oauth_refresh_token: None,
            };
            transport
                .set_identity(account)
                .map_err(git("use the credential"))?;
        }
        let wanted = match &self.wanted {
            Wanted::Head(branch) => branch.reference(),
            Wanted::Commit(commit) => commit.to_string(),
        };
        let remote = repository
            .remote_at_without_url_rewrite(git_url)
            .and_then(|remote| {
                remote
                    .with_fetch_tags(Tags::None)
                    .with_refspecs([wanted.as_str()], Direction::Fetch)
            })
            .map_err(git("name the branch"))?;
        let prepared = remote
            .to_connection_with_transport(transport)
            // Without this gix would ask the helpers of whoever runs us, or a terminal.
            .with_credentials(|_| Ok(None))
            .prepare_fetch(
                gix::progress::Discard,
                gix::remote::ref_map::Options::default(),
            )
            .map_err(|error| self.not_git_or(url, error))?;
        let found = prepared.ref_map().mappings.first();
        let commit = found
            .and_then(|mapping| mapping.remote.as_id())
            .map(ToOwned::to_owned);
        let commit = commit.ok_or_else(|| self.not_there())?;
        prepared
            .with_shallow(Shallow::DepthAtRemote(NonZeroU32::MIN))
            .receive(gix::progress::Discard, &self.stop.interrupt)
            .map_err(|error| self.not_received(commit, error))?;
        if !repository.has_object(commit) {
            return Err(no_commit(commit));
        }
        Ok(commit)
    }

    /// Without a failure on the wire, a first exchange that fails was answered with something that is not Git's.
    fn not_git_or(&self, url: &Url, error: gix::Error) -> FetchError {
        match self.stop.check() {
            Err(stopped) => stopped,
            Ok(()) => FetchError::NotGit {
                url: url.to_string(),
                source: Some(error.into()),
            },
        }
    }

    /// What Git's own failure to receive a pack means.
    fn not_received(&self, commit: ObjectId, error: gix::Error) -> FetchError {
        if error.classify().is_resource_exhausted() {
            return FetchError::TooLarge {
                what: "a file of the commit".to_owned(),
                bytes_max: self.fetcher.limits.file_bytes_max,
            };
        }
        // A server that does not have a commit, or keeps it to itself, says so in words: the protocol has no code for
        // it, see https://git-scm.com/docs/gitprotocol-v2#_fetch.
        let first: &dyn std::error::Error = &error;
        let mut causes = std::iter::successors(Some(first), |error| error.source());
        let refused = causes.any(|error| error.to_string().contains("not our ref"));
        // A branch that was forced elsewhere between the two exchanges is there again at the next attempt.
        if refused && matches!(self.wanted, Wanted::Commit(_)) {
            return no_commit(commit);
        }
        git("receive the commit")(error)
    }

    fn read(&self, repository: &gix::Repository, commit: ObjectId) -> Result<Checkout, FetchError> {
        let limits = &self.fetcher.limits;
        let limits = TreeLimits {
            files_max: limits.files_max,
            file_bytes_max: limits.file_bytes_max,
            taking: self.taking,
        };
        let go_on = || self.stop.check();
        let (files, warnings) = tree::read(repository, commit, &self.folder, limits, &go_on)?;
        Ok(Checkout {
            commit: commit.into(),
            files,
            warnings,
        })
    }

    fn options(&self) -> gix::open::Options {
        gix::open::Options::isolated().config_overrides([
            // A small pack can unfold into one huge object.
            format!(
                "gitoxide.objects.allocLimit={}",
                self.fetcher.limits.file_bytes_max
            ),
            // A replaced object would be taken under the hash of another.
            "core.useReplaceRefs=false".to_owned(),
            // Other jobs run beside this one.
            "pack.threads=1".to_owned(),
        ])
    }

    fn not_there(&self) -> FetchError {
        match &self.wanted {
            Wanted::Head(branch) => no_branch(branch),
            Wanted::Commit(commit) => no_commit(commit.to_object_id()),
        }
    }
}

fn local_head(repository: &gix::Repository, branch: &Branch) -> Result<ObjectId, FetchError> {
    let reference = repository
        .try_find_reference(branch.reference().as_str())
        .map_err(git("read the branch"))?;
    let mut reference = reference.ok_or_else(|| no_branch(branch))?;
    let id = reference.peel_to_id().map_err(git("read the branch"))?;
    Ok(id.detach())
}

fn no_branch(branch: &Branch) -> FetchError {
    FetchError::NoBranch {
        branch: branch.to_string(),
    }
}

fn no_commit(commit: ObjectId) -> FetchError {
    FetchError::NoCommit {
        commit: commit.to_string(),
    }
}

fn not_allowed(path: &Path) -> FetchError {
    FetchError::NotAllowed {
        path: path.to_owned(),
    }
}

#[cfg(test)]
mod tests;
