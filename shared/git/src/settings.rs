//! What an operator may say of fetches.

use std::{io, path::Path, path::PathBuf, time::Duration};

use egress::TenantEgress;
use serde::Deserialize;

use crate::fetch::{FetchLimits, Fetcher, LocalRoots, TEMP_PREFIX};

/// Settings of every function that fetches.
#[derive(Clone, Debug, Deserialize)]
pub struct FetchSettings {
    /// `GIT_LOCAL_ROOTS`: folders, joined by colons, below which a tenant may name a repository of this machine; none unless
    /// given.
    pub git_local_roots: Option<String>,
    /// `FETCH_TIME_MAX_SECS`: how long one fetch may take.
    pub fetch_time_max_secs: Option<u64>,
    /// `FETCH_DOWNLOAD_BYTES_MAX`: how much a provider may send for one commit.
    pub fetch_download_bytes_max: Option<u64>,
    /// `SCRATCH_DIR`: where repositories are kept while they are read. Made if it is missing.
    #[serde(default = "scratch_dir")]
    pub scratch_dir: PathBuf,
}

fn scratch_dir() -> PathBuf {
    "/tmp".into()
}

impl Default for FetchSettings {
    fn default() -> Self {
        Self {
            git_local_roots: None,
            fetch_time_max_secs: None,
            fetch_download_bytes_max: None,
            scratch_dir: scratch_dir(),
        }
    }
}

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FetchSettingsError {
    /// One of the folders of repositories.
    #[error("a folder of it cannot be used")]
    Roots(#[source] io::Error),
    /// The scratch folder.
    #[error("the folder cannot be used")]
    Scratch(#[source] io::Error),
    /// The time.
    #[error("a fetch must fit into an attempt, which may take {} s", .0.as_secs())]
    Time(Duration),
}

impl FetchSettingsError {
    /// The setting that is wrong.
    #[must_use]
    pub fn setting(&self) -> &'static str {
        match self {
            Self::Roots(_) => "GIT_LOCAL_ROOTS",
            Self::Scratch(_) => "SCRATCH_DIR",
            Self::Time(_) => "FETCH_TIME_MAX_SECS",
        }
    }
}

impl FetchSettings {
    /// What fetches in attempts that may take so long. Clears the scratch folder of what killed processes left there.
    pub fn fetcher(
        &self,
        egress: TenantEgress,
        attempt_max: Duration,
    ) -> Result<Fetcher, FetchSettingsError> {
        let usual = FetchLimits::default();
        let time_max = self
            .fetch_time_max_secs
            .map_or(usual.time_max.min(attempt_max / 2), Duration::from_secs);
        if time_max.is_zero() || time_max >= attempt_max {
            return Err(FetchSettingsError::Time(attempt_max));
        }
        let roots = self.git_local_roots.as_deref().unwrap_or_default();
        let roots = std::env::split_paths(roots).filter(|root| !root.as_os_str().is_empty());
        let local_roots = LocalRoots::new(roots).map_err(FetchSettingsError::Roots)?;
        clear(&self.scratch_dir, attempt_max).map_err(FetchSettingsError::Scratch)?;
        Ok(Fetcher {
            egress,
            local_roots,
            temp_folder: self.scratch_dir.clone(),
            limits: FetchLimits {
                time_max,
                download_bytes_max: self
                    .fetch_download_bytes_max
                    .unwrap_or(usual.download_bytes_max),
                ..usual
            },
        })
    }
}

/// Removes temporary repositories that nobody can be using: what is younger than a few attempts may be another process's.
fn clear(folder: &Path, attempt_max: Duration) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let ours = entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(TEMP_PREFIX.as_bytes());
        if !ours || !entry.file_type()?.is_dir() {
            continue;
        }
        let unused = entry
            .metadata()
            .and_then(|data| data.modified())
            .is_ok_and(|at| at.elapsed().is_ok_and(|age| age > 5 * attempt_max));
        if unused && let Err(error) = std::fs::remove_dir_all(entry.path()) {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "{} was left by an earlier process and cannot be removed",
                entry.path().display()
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_killed_process_left_is_cleared() {
        let folder = tempfile::tempdir().expect("a folder");
        let make = |name: &str, age: u64| {
            let path = folder.path().join(name);
            std::fs::create_dir(&path).expect("a folder");
            std::fs::write(path.join("pack"), "x").expect("a file");
            let at = std::time::SystemTime::now() - Duration::from_secs(age);
            let handle = std::fs::File::open(&path).expect("a folder");
            handle.set_modified(at).expect("a time");
        };
        make("switchyard-fetch-old", 3600);
        make("switchyard-fetch-new", 60);
        make("else-old", 3600);
        clear(folder.path(), Duration::from_secs(120)).expect("it can be cleared");
        let mut left: Vec<_> = std::fs::read_dir(folder.path())
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["else-old", "switchyard-fetch-new"]);
    }

    #[test]
    fn a_fetch_that_outlasts_its_attempt_is_no_setting() {
        let settings = FetchSettings {
            fetch_time_max_secs: Some(120),
            ..FetchSettings::default()
        };
        let egress = TenantEgress::new(egress::Guard::default(), Vec::new()).expect("a client");
        let refused = settings.fetcher(egress, Duration::from_secs(120));
        assert_eq!(
            refused.expect_err("too long").setting(),
            "FETCH_TIME_MAX_SECS"
        );
    }
}
