//! Settings of a function that takes deliveries.

use std::collections::BTreeMap;
use std::time::Duration;

use host::{Env, SettingsError};
use model::Vendor;
use serde::Deserialize;

use crate::{SENDERS, SHAPES};

/// How long an equal body is a repeat unless it is said: senders that get no answer come again within minutes.
const WINDOW: Duration = Duration::from_secs(60 * 60);
/// How long a window may be, in minutes: a day. What is repeated later is meant.
const WINDOW_MINUTES_MAX: u64 = 24 * 60;
/// How many rejected requests of a trigger and hour can be stored.
const SAMPLED_MAX: u32 = 1000;

#[derive(Debug, Deserialize)]
struct Settings {
    /// How many rejected requests of a trigger are stored in an hour, without their bodies; all are counted.
    #[serde(default = "rejections_sampled")]
    rejections_sampled: u32,
    /// For how many minutes an equal body without an id is a repeat, by sender, where that is not an hour:
    /// `docker_hub=30,harbor=0`.
    #[serde(default)]
    duplicate_window_minutes: String,
}

const fn rejections_sampled() -> u32 {
    10
}

/// How deliveries are taken.
#[derive(Debug, Clone)]
pub struct Taking {
    pub(crate) rejections_sampled: u32,
    windows: BTreeMap<&'static str, Duration>,
}

impl Default for Taking {
    fn default() -> Self {
        Self {
            rejections_sampled: rejections_sampled(),
            windows: BTreeMap::new(),
        }
    }
}

impl Taking {
    /// Reads `REJECTIONS_SAMPLED` and `DUPLICATE_WINDOW_MINUTES`.
    ///
    /// # Errors
    /// When one is no such setting.
    pub fn of(env: &Env) -> Result<Self, SettingsError> {
        let settings: Settings = env.parse()?;
        if settings.rejections_sampled > SAMPLED_MAX {
            let problem = format!("at most {SAMPLED_MAX} of a trigger and hour are stored");
            return Err(SettingsError::wrong("REJECTIONS_SAMPLED", problem));
        }
        let parts = settings.duplicate_window_minutes.split(',').map(str::trim);
        let windows = parts.filter(|part| !part.is_empty()).map(|part| {
            window(part).ok_or_else(|| {
                let problem = format!(
                    "{part:?} is not a sender and 0 to {WINDOW_MINUTES_MAX} minutes, such as docker_hub=30"
                );
                SettingsError::wrong("DUPLICATE_WINDOW_MINUTES", problem)
            })
        });
        Ok(Self {
            rejections_sampled: settings.rejections_sampled,
            windows: windows.collect::<Result<_, _>>()?,
        })
    }

    /// For how long two equal bodies of a sender are one delivery that came twice, where it gives its deliveries no name.
    /// Never where its bodies carry no id, time or digest: those of Quay and of a plain job are equal whenever the same tag or
    /// branch is pushed, and those of JFrog and Nexus when a tag comes back to an image that it named before.
    pub(crate) fn window(&self, vendor: Option<Vendor>) -> Option<Duration> {
        if vendor.is_some_and(|vendor| !tells_itself(vendor)) {
            return None;
        }
        let set = vendor.and_then(|vendor| self.windows.get(vendor.as_str()).copied());
        Some(set.unwrap_or(WINDOW)).filter(|window| !window.is_zero())
    }
}

fn window(part: &str) -> Option<(&'static str, Duration)> {
    let (name, minutes) = part.split_once('=')?;
    let by_header = SENDERS.iter().map(|sender| sender.vendor);
    let by_shape = SHAPES.iter().map(|shape| shape.vendor);
    let vendor = by_header
        .chain(by_shape)
        .chain([Vendor::CdEvents])
        .find(|vendor| vendor.as_str() == name && tells_itself(*vendor))?;
    let minutes: u64 = minutes.parse().ok()?;
    (minutes <= WINDOW_MINUTES_MAX).then(|| (vendor.as_str(), Duration::from_secs(minutes * 60)))
}

/// Whether a sender's bodies carry something that tells two deliveries apart.
const fn tells_itself(vendor: Vendor) -> bool {
    match vendor {
        Vendor::Quay | Vendor::Generic | Vendor::Jfrog | Vendor::Nexus | Vendor::Poll => false,
        Vendor::Github
        | Vendor::Gitea
        | Vendor::Forgejo
        | Vendor::Gogs
        | Vendor::Gitlab
        | Vendor::Bitbucket
        | Vendor::BitbucketDataCenter
        | Vendor::AzureDevops
        | Vendor::DockerHub
        | Vendor::Harbor
        | Vendor::Acr
        | Vendor::Ecr
        | Vendor::ArtifactRegistry
        | Vendor::Distribution
        | Vendor::CloudEvents
        | Vendor::CdEvents => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(minutes: &str) -> Result<Taking, SettingsError> {
        Taking::of(&Env::default().with("DUPLICATE_WINDOW_MINUTES", minutes))
    }

    #[test]
    fn equal_bodies_are_repeats_for_an_hour_unless_it_is_said() {
        let taking = of("docker_hub=30, harbor=0").expect("good settings");
        let minutes = |vendor| taking.window(vendor).map(|window| window.as_secs() / 60);
        assert_eq!(minutes(Some(Vendor::DockerHub)), Some(30));
        assert_eq!(minutes(Some(Vendor::Harbor)), None);
        assert_eq!(minutes(Some(Vendor::Github)), Some(60));
        assert_eq!(minutes(None), Some(60));
        for off in [Vendor::Quay, Vendor::Generic, Vendor::Jfrog, Vendor::Nexus] {
            assert_eq!(minutes(Some(off)), None, "{off}");
        }
    }

    #[test]
    fn a_setting_that_says_nothing_stops_the_start() {
        for bad in [
            "quay=30",
            "nobody=30",
            "harbor",
            "harbor=x",
            "harbor=1441",
            "harbor=-1",
        ] {
            let error = of(bad).expect_err("it is refused").to_string();
            assert!(error.contains("DUPLICATE_WINDOW_MINUTES"), "{bad}: {error}");
        }
        let many = Env::default().with("REJECTIONS_SAMPLED", "1001");
        assert!(Taking::of(&many).is_err());
    }
}
