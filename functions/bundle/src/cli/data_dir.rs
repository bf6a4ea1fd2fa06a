//! The folder that holds everything which must survive: the database, the master key, files.

use std::fs::{DirBuilder, File, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use host::Env;
use secrecy::{ExposeSecret as _, SecretString};
use store::Keyring;

use super::failure::WrongSetting;

/// Where a service of the machine keeps its data.
const OF_ROOT: &str = "/var/lib";

/// The file in it that holds the key under which secrets are sealed.
pub(crate) const MASTER_KEY_FILE: &str = "master-key";

/// A folder that exists.
#[derive(Debug, Clone)]
pub(crate) struct DataDir(PathBuf);

impl DataDir {
    /// The folder that was asked for, else `name` in the place where this account's data belongs. Made when missing:
    /// others may pass through, as the database server's account must, but not look.
    pub(crate) fn open(given: Option<&Path>, name: &str, env: &Env) -> anyhow::Result<Self> {
        let path = Self::named(given, name, env)?;
        if path.exists() && !path.is_dir() {
            anyhow::bail!(
                "{} is a file; --data-dir must name a folder, which is made if it is not there",
                path.display()
            );
        }
        let made = || -> std::io::Result<PathBuf> {
            if !path.is_dir() {
                DirBuilder::new()
                    .recursive(true)
                    .mode(0o755)
                    .create(&path)?;
                std::fs::set_permissions(&path, Permissions::from_mode(0o711))?;
            }
            path.canonicalize()
        };
        made().map(Self).with_context(|| {
            format!(
                "the data folder {} cannot be used: check its permissions, or choose another with --data-dir",
                path.display()
            )
        })
    }

    /// Where that folder is, whether or not it is there.
    pub(crate) fn named(given: Option<&Path>, name: &str, env: &Env) -> anyhow::Result<PathBuf> {
        Ok(match given {
            Some(path) => path.to_owned(),
            None => home(env, rustix::process::geteuid().is_root())?.join(name),
        })
    }

    /// The file in it that says at which address everything is served.
    pub(crate) const ADDRESS_FILE: &str = "address";

    /// Writes down where everything is served, for commands that are given beside it.
    pub(crate) fn served_at(&self, address: &str) -> anyhow::Result<()> {
        let path = self.0.join(Self::ADDRESS_FILE);
        let draft = path.with_extension("new");
        std::fs::write(&draft, format!("{address}\n"))
            .and_then(|()| std::fs::rename(&draft, &path))
            .with_context(|| format!("could not write {}", path.display()))
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Where files are stored.
    pub(crate) fn blobs(&self) -> PathBuf {
        self.0.join("blobs")
    }

    /// Where the key is under which secrets are sealed.
    pub(crate) fn master_key_file(&self) -> PathBuf {
        self.0.join(MASTER_KEY_FILE)
    }

    /// Reads the key, or makes one, once.
    pub(crate) fn keyring(&self) -> anyhow::Result<Keyring> {
        let path = self.master_key_file();
        let text = secret_file(&path, Keyring::generate)?;
        Keyring::from_base64(&text).with_context(|| {
            format!(
                "{} does not hold the master key: put it back from a copy; what was sealed with it cannot be opened \
                 without it",
                path.display()
            )
        })
    }
}

/// Reads a secret from a file that only its owner may read; where there is none, writes one that is made now.
pub(crate) fn secret_file(
    path: &Path,
    make: impl FnOnce() -> SecretString,
) -> anyhow::Result<SecretString> {
    match std::fs::read_to_string(path) {
        Ok(text) => return Ok(text.trim().to_owned().into()),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => {
            return Err(error).with_context(|| format!("could not read {}", path.display()));
        }
    }
    let secret = make();
    // Written aside and then named: a crash half-way must not leave half a secret.
    let draft = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?;
        writeln!(file, "{}", secret.expose_secret())?;
        file.sync_all()?;
        std::fs::rename(&draft, path)
    };
    write().with_context(|| format!("could not write {}", path.display()))?;
    Ok(secret)
}

fn home(env: &Env, root: bool) -> Result<PathBuf, WrongSetting> {
    if root {
        return Ok(OF_ROOT.into());
    }
    let absolute = |name: &str| {
        let path = env.get(name).map(PathBuf::from);
        // The XDG specification: a relative path is to be ignored.
        path.filter(|path| path.is_absolute())
    };
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .ok_or_else(|| {
            WrongSetting(
                "neither HOME nor XDG_DATA_HOME is set: name the folder for the data with --data-dir"
                    .to_owned(),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(values: &[(&str, &str)]) -> Env {
        let owned = values
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        owned.collect()
    }

    #[test]
    fn data_is_where_the_account_keeps_its_data() {
        let at = |values: &[(&str, &str)], root| home(&env(values), root).ok();
        let person = [("HOME", "/home/a")];
        assert_eq!(at(&person, false), Some("/home/a/.local/share".into()));
        let moved = [("HOME", "/home/a"), ("XDG_DATA_HOME", "/data")];
        assert_eq!(at(&moved, false), Some("/data".into()));
        let relative = [("HOME", "/home/a"), ("XDG_DATA_HOME", "data")];
        assert_eq!(at(&relative, false), Some("/home/a/.local/share".into()));
        assert_eq!(at(&moved, true), Some("/var/lib".into()));
        let error = home(&env(&[]), false).expect_err("there is no home");
        assert!(error.to_string().contains("--data-dir"), "{error}");
    }

    #[test]
    fn the_master_key_is_made_once_and_read_by_its_owner_alone() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let data = DataDir::open(Some(&folder.path().join("a/b")), "x", &Env::default())?;
        data.keyring()?;
        let first = std::fs::read_to_string(data.master_key_file())?;
        data.keyring()?;
        assert_eq!(std::fs::read_to_string(data.master_key_file())?, first);
        let mode = std::fs::metadata(data.master_key_file())?
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        Ok(())
    }

    #[test]
    fn a_master_key_that_is_none_is_named() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let data = DataDir::open(Some(folder.path()), "x", &Env::default())?;
        std::fs::write(data.master_key_file(), "no key")?;
        let error = data.keyring().expect_err("it is no key");
        assert!(error.to_string().contains("master-key"), "{error}");
        Ok(())
    }
}
