//! What the two rows on latency share: samples on an idle system, one after the other, each with a commit beside it.

use std::time::Duration;

use rand::Rng as _;
use sqlx::PgConnection;

use crate::ground::{Ground, commit};
use crate::stats::Samples;

/// Samples, and those before them that are not counted.
pub const SAMPLES: usize = 300;
pub const WARM: usize = 20;
/// The pauses are random, so that no timer of the system is met at the same phase each time.
const PAUSE_MS: std::ops::Range<u64> = 60..260;

/// Commits between the samples: the unit that the bars are given in.
pub struct Beside {
    connection: PgConnection,
    commits: Vec<Duration>,
}

impl Beside {
    /// On a connection of its own.
    pub async fn new(ground: &Ground) -> anyhow::Result<Self> {
        Ok(Self {
            connection: ground.connection().await?,
            commits: Vec::with_capacity(SAMPLES),
        })
    }

    /// Waits, times a commit, and waits again: what is sampled next finds an idle system.
    pub async fn pause(&mut self) -> anyhow::Result<()> {
        tokio::time::sleep(pause()).await;
        self.commits.push(commit(&mut self.connection).await?);
        tokio::time::sleep(pause()).await;
        Ok(())
    }

    /// The times of the commits.
    pub fn commits(self) -> anyhow::Result<Samples> {
        Samples::new(self.commits)
    }
}

fn pause() -> Duration {
    Duration::from_millis(rand::rng().random_range(PAUSE_MS))
}
