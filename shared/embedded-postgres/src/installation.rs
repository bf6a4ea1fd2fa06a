use crate::Account;
use postgresql_embedded::{PostgreSQL, Settings, VersionReq};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

const MAJOR_MIN: u32 = 15;

/// Where packages put servers that are not on PATH, each in a `<name with a version>/bin` of its own.
const USUAL_PLACES: &[&str] = &[
    "/usr/lib/postgresql",
    "/opt/homebrew/opt",
    "/usr/local/opt",
    "/usr/local",
    "/usr",
    "/Applications/Postgres.app/Contents/Versions",
];

const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(300);

/// A folder with the programs of one PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    bin_dir: PathBuf,
    version: Version,
}

/// Ordered by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    major: u32,
    minor: u32,
}

impl Installation {
    /// The first on `path` (the value of `PATH`), else the newest in the usual places, which is at least version 15,
    /// is of the given major version if there is one, and can be reached by the account.
    pub fn find(path: &str, account: &Account, major: Option<u32>) -> Option<Self> {
        let fits = |candidate: &Self| match major {
            Some(major) => candidate.version.major == major,
            None => candidate.version.major >= MAJOR_MIN,
        };
        let on_path = path
            .split(':')
            .filter(|folder| folder.starts_with('/'))
            .map(PathBuf::from);
        on_path
            .filter_map(|folder| Self::probe(&folder, account))
            .find(fits)
            .or_else(|| {
                usual_folders()
                    .iter()
                    .filter_map(|folder| Self::probe(folder, account))
                    .filter(fits)
                    .max_by_key(|candidate| candidate.version)
            })
    }

    /// A program of this installation.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin_dir.join(name)
    }

    /// `<major>.<minor>`.
    pub fn version(&self) -> String {
        format!("{}.{}", self.version.major, self.version.minor)
    }

    /// Downloads a server into `folder`, or finds the one that was downloaded before.
    pub(crate) async fn download(
        folder: &Path,
        account: &Account,
        major: Option<u32>,
    ) -> Result<Self, postgresql_embedded::Error> {
        let requirement = match major {
            Some(major) => format!("={major}"),
            None => format!(">={MAJOR_MIN}"),
        };
        // `setup` also initialises, as whoever we are, unless the data folder looks initialised. Only the download is
        // wanted, so it gets to see a folder that does.
        let decoy = folder.join("not-a-data-folder");
        std::fs::create_dir_all(&decoy)?;
        std::fs::write(decoy.join("postgresql.conf"), "")?;
        // In full, because `Settings::default` leaves two temporary folders behind.
        let mut postgresql = PostgreSQL::new(Settings {
            releases_url: "https://github.com/theseus-rs/postgresql-binaries".to_owned(),
            version: VersionReq::parse(&requirement)
                .expect("a comparison and a whole number are a requirement"),
            installation_dir: folder.to_owned(),
            password_file: decoy.join("password"),
            data_dir: decoy,
            host: "127.0.0.1".to_owned(),
            port: 0,
            username: "postgres".to_owned(),
            password: String::new(),
            temporary: false,
            timeout: Some(DOWNLOAD_TIMEOUT),
            configuration: HashMap::new(),
            trust_installation_dir: false,
            socket_dir: None,
        });
        tokio::time::timeout(DOWNLOAD_TIMEOUT, postgresql.setup())
            .await
            .map_err(|_elapsed| {
                let message = format!("not downloaded after {} s", DOWNLOAD_TIMEOUT.as_secs());
                std::io::Error::new(std::io::ErrorKind::TimedOut, message)
            })??;
        let bin_dir = postgresql.settings().binary_dir();
        Self::probe(&bin_dir, account).ok_or_else(|| {
            let message = format!("the programs in {} do not run", bin_dir.display());
            std::io::Error::other(message).into()
        })
    }

    /// What is in `folder`, when both programs are there, run, and can be reached by the account.
    fn probe(folder: &Path, account: &Account) -> Option<Self> {
        // Links are followed, because the folder that a link in `/usr/local/bin` leads to is the one that matters.
        let postgres = folder.join("postgres").canonicalize().ok()?;
        let bin_dir = postgres.parent()?.to_owned();
        if !bin_dir.join("initdb").exists() || account.blocked_by(&bin_dir).ok()?.is_some() {
            return None;
        }
        let output = account.command(&postgres).arg("--version").output().ok()?;
        let version = parse_version(std::str::from_utf8(&output.stdout).ok()?)?;
        Some(Self { bin_dir, version })
    }
}

/// `postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)`, `postgres (PostgreSQL) 18beta1`.
fn parse_version(text: &str) -> Option<Version> {
    let number = text.trim().strip_prefix("postgres (PostgreSQL) ")?;
    let number = number.split_whitespace().next()?;
    let (major, minor) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| {
        let end = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        text[..end].parse().ok()
    };
    Some(Version {
        major: digits(major)?,
        minor: digits(minor)?,
    })
}

fn usual_folders() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for parent in USUAL_PLACES {
        let Ok(entries) = std::fs::read_dir(parent) else {
            continue;
        };
        folders.extend(entries.flatten().map(|entry| entry.path().join("bin")));
    }
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_packages_and_of_betas_are_read() {
        let version = |text| parse_version(text).map(|v| (v.major, v.minor));
        assert_eq!(
            version("postgres (PostgreSQL) 15.13 (Debian 15.13-0)\n"),
            Some((15, 13))
        );
        assert_eq!(version("postgres (PostgreSQL) 18beta1\n"), Some((18, 0)));
        assert_eq!(version("something else 15.1"), None);
    }

    #[test]
    fn the_newer_of_two_versions_is_the_greater() {
        let old = Version {
            major: 15,
            minor: 13,
        };
        let new = Version {
            major: 17,
            minor: 2,
        };
        assert!(new > old);
    }

    #[test]
    fn a_major_version_that_is_not_there_is_not_found() -> Result<(), crate::StartError> {
        let account = Account::for_server()?;
        assert_eq!(Installation::find("/nowhere", &account, Some(7)), None);
        Ok(())
    }
}
