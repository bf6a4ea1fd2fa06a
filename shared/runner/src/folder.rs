//! A run's folder: made for it, filled as its spec says, given to the user that its programs run as, and removed.

use std::fs::{DirBuilder, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, lchown,
};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, bail};
use exec::{UnpackLimits, User, unpack};
use model::run::{FileContent, RunFile, RunSpec};

use crate::callback::{Callback, segment};
use crate::settings::{RunAs, Settings};

/// Others pass through, and do not look.
const PASSAGE: u32 = 0o711;
/// The run's user, and nobody else.
const OWN: u32 = 0o700;

/// A run's folder. Removed by [`Folder::remove`]; what is left of one that was not is removed with the next run that gets its name.
#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
    user: Option<User>,
}

impl Folder {
    /// Makes it, always at the same path for the same run.
    pub(crate) fn make(settings: &Settings) -> anyhow::Result<Self> {
        let runs = settings.data.join("runs");
        let root = runs.join(&settings.name);
        let user = match settings.run_as {
            RunAs::Same => None,
            RunAs::User(user) => Some(user),
        };
        let folder = Self { root, user };
        folder.make_anew(&runs).with_context(|| {
            format!("the run's folder {} cannot be made", folder.root.display())
        })?;
        folder.can_be_reached()?;
        Ok(folder)
    }

    fn make_anew(&self, runs: &Path) -> std::io::Result<()> {
        let make = |path: &Path, mode| DirBuilder::new().recursive(true).mode(mode).create(path);
        // Whatever mask this process was given.
        let make_passage = |path: &Path| {
            make(path, PASSAGE)?;
            let mode = path.metadata()?.permissions().mode();
            if mode & PASSAGE == PASSAGE {
                return Ok(());
            }
            std::fs::set_permissions(path, Permissions::from_mode(mode | PASSAGE))
        };
        make_passage(runs)?;
        for name in ["work", "home", "tmp", "fetched", "made"] {
            match std::fs::remove_dir_all(self.root.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        make_passage(&self.root)?;
        for name in ["work", "home", "tmp"] {
            let path = self.root.join(name);
            make(&path, OWN)?;
            self.give(&path)?;
        }
        make(&self.root.join("fetched"), OWN)?;
        make(&self.root.join("made"), OWN)
    }

    /// A program that may not pass on the way to its folder would say nothing that helps.
    fn can_be_reached(&self) -> anyhow::Result<()> {
        let Some(user) = self.user else {
            return Ok(());
        };
        for folder in self.root.ancestors() {
            let about = folder.metadata()?;
            let passes = about.mode() & 0o001 != 0 || about.uid() == user.uid;
            if !passes {
                bail!(
                    "the user {} that runs get may not pass {}: allow it (chmod o+x), or set RUN_DATA to another folder",
                    user.uid,
                    folder.display()
                );
            }
        }
        Ok(())
    }

    /// Where programs run and what is kept lies.
    pub(crate) fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    /// `HOME`.
    pub(crate) fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    /// `TMPDIR`.
    pub(crate) fn temporary(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// For what we make of the run's files.
    pub(crate) fn made(&self) -> PathBuf {
        self.root.join("made")
    }

    /// Who its files belong to.
    pub(crate) fn user(&self) -> Option<User> {
        self.user
    }

    /// A step's own folder below the run's.
    pub(crate) fn of_step(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.below(name)?;
        if !path.is_dir() {
            bail!("the folder {name:?} of the step is not there");
        }
        Ok(path)
    }

    /// Puts files and secrets where the spec says.
    pub(crate) async fn fill(&self, spec: &RunSpec, callback: &Callback) -> anyhow::Result<()> {
        for (n, file) in spec.files.iter().enumerate() {
            self.put(n, file, callback).await.with_context(|| {
                format!(
                    "the file {:?} could not be put into the run's folder",
                    file.path
                )
            })?;
        }
        for secret in &spec.secrets {
            let Some(path) = &secret.file else {
                continue;
            };
            self.write(path, secret.value.as_bytes(), 0o600)
                .with_context(|| {
                    format!(
                        "the secret {:?} could not be put into its file",
                        secret.name
                    )
                })?;
        }
        let work = self.work();
        if self.user.is_some() {
            self.give_all(&work)
                .context("the run's files could not be given to its user")?;
        }
        Ok(())
    }

    async fn put(&self, n: usize, file: &RunFile, callback: &Callback) -> anyhow::Result<()> {
        let mode = if file.executable { 0o755 } else { 0o644 };
        match &file.content {
            FileContent::Text(text) => self.write(&file.path, text.as_bytes(), mode),
            FileContent::Artifact { id, sha256 } => {
                let fetched = self.fetch(n, *id, sha256, callback).await?;
                let to = self.below(&file.path)?;
                make_parents(&to)?;
                std::fs::rename(&fetched, &to)?;
                Ok(std::fs::set_permissions(&to, Permissions::from_mode(mode))?)
            }
            FileContent::Archive { id, sha256 } => {
                let fetched = self.fetch(n, *id, sha256, callback).await?;
                let to = if file.path.is_empty() {
                    self.work()
                } else {
                    self.below(&file.path)?
                };
                DirBuilder::new().recursive(true).mode(0o755).create(&to)?;
                let archive = File::open(&fetched)?;
                tokio::task::spawn_blocking(move || unpack(archive, &to, UnpackLimits::default()))
                    .await??;
                Ok(std::fs::remove_file(&fetched)?)
            }
        }
    }

    async fn fetch(
        &self,
        n: usize,
        id: impl ToString,
        sha256: &str,
        callback: &Callback,
    ) -> anyhow::Result<PathBuf> {
        let to = self.root.join("fetched").join(n.to_string());
        let path = format!("run/artifacts/{}", segment(&id.to_string()));
        match callback.fetch(&path, &to).await? {
            Ok(found) if found == sha256 => Ok(to),
            Ok(found) => bail!(
                "it has the SHA-256 {found}, not {sha256}: it was changed since the run began"
            ),
            Err(answer) => bail!("it could not be fetched: {}", answer.text()),
        }
    }

    fn write(&self, path: &str, content: &[u8], mode: u32) -> anyhow::Result<()> {
        let to = self.below(path)?;
        make_parents(&to)?;
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&to)?;
        Ok(file.write_all(content)?)
    }

    /// A path below the run's folder, and nowhere else.
    fn below(&self, path: &str) -> anyhow::Result<PathBuf> {
        let mut to = self.work();
        for component in Path::new(path).components() {
            match component {
                Component::Normal(name) => to.push(name),
                Component::CurDir => {}
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                    bail!("{path:?} is no path below the run's folder");
                }
            }
        }
        Ok(to)
    }

    fn give(&self, path: &Path) -> std::io::Result<()> {
        match self.user {
            Some(user) => lchown(path, Some(user.uid), Some(user.gid)),
            None => Ok(()),
        }
    }

    fn give_all(&self, folder: &Path) -> std::io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            self.give(&entry.path())?;
            if entry.file_type()?.is_dir() {
                self.give_all(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Removes everything. Nothing of the run may run any more.
    pub(crate) async fn remove(self) {
        let root = self.root.clone();
        let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(&root)).await;
        if let Ok(Err(error)) = removed {
            tracing::warn!(
                "the run's folder {} could not be removed: {error}",
                self.root.display()
            );
        }
    }
}

fn make_parents(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(parent) => DirBuilder::new().recursive(true).mode(0o755).create(parent),
        None => Ok(()),
    }
}
