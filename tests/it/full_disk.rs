//! File systems that are full, as they are when they are: below what runs leave behind, and below the folders that they run in.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use model::JobId;
use serde_json::{Value, json};

use crate::harness::{turn, until};
use crate::outside;
use crate::runs::World;

/// How long a run may take, on a busy machine.
const WITHIN: Duration = Duration::from_secs(60);
/// How long after there is space again a run may go on as if nothing had been.
const RESUMED: Duration = Duration::from_secs(30);

/// What a file system of memory is given out by, in bytes.
const PAGE: usize = 4096;

/// A small file system of its own, gone with its test.
struct Disk(PathBuf);

impl Disk {
    /// Of a mebibyte, in a folder. None where that is not ours to make.
    fn new(folder: PathBuf) -> Option<Self> {
        std::fs::create_dir_all(&folder).expect("our folder");
        let made = mount(
            &["-t", "tmpfs", "-o", "size=1m,mode=0755", "tmpfs"],
            &folder,
        );
        if !made {
            outside::skipped("file systems cannot be mounted here");
        }
        made.then_some(Self(folder))
    }

    /// Gives it room.
    fn grow(&self) {
        assert!(mount(&["-o", "remount,size=64m"], &self.0));
    }

    /// Leaves so many bytes of it, in whole pages.
    fn fill(&self, left: usize) {
        let mut filler = std::fs::File::create(self.filler()).expect("our file");
        let mut pages: usize = 0;
        while filler.write_all(&[b'x'; PAGE]).is_ok() {
            pages += 1;
        }
        let kept = pages.saturating_sub(left.div_ceil(PAGE)) * PAGE;
        filler
            .set_len(u64::try_from(kept).expect("it is small"))
            .expect("a file can be made smaller");
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Whoever still looks into it keeps it until then.
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

fn mount(options: &[&str], folder: &Path) -> bool {
    let done = Command::new("mount").args(options).arg(folder).output();
    done.is_ok_and(|done| done.status.success())
}

impl World {
    /// With a small file system below one of its folders.
    async fn on_a_disk(folder: &str) -> Option<(Self, Disk)> {
        let mut world = Self::new().await;
        world.kill();
        let disk = Disk::new(world.folder().join(folder))?;
        world.start().await;
        Some((world, disk))
    }

    async fn until_logged(&self, job: JobId, like: &str) {
        until(like, WITHIN, async || {
            let said: bool = sqlx::query_scalar(
                "select exists (select from switchyard.job_logs where job_id = $1 and line like $2)",
            )
            .bind(job.0)
            .bind(like)
            .fetch_one(self.rows())
            .await
            .expect("the log can be read");
            said.then_some(())
        })
        .await;
    }

    async fn state(&self, job: JobId, within: Duration) -> (String, String) {
        let ended = self.ended(job, within).await;
        (ended.state, ended.reason.unwrap_or_default())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_leaves_behind_waits_for_space_and_nothing_else_does() {
    let _turn = turn().await;
    let Some((world, disk)) = World::on_a_disk("blobs").await else {
        return;
    };
    let keeps = json!({
        "artifacts": [{"pattern": "big", "required": true}],
        "limits": {"time_secs": 600, "log_bytes": 10_000_000, "artifact_bytes": 10_000_000, "artifacts": 10},
    });
    let script = "head -c 3000000 /dev/urandom > big; sha256sum big; echo made";
    let job = world.add(script, keeps).await;
    world.until_said(job, "made").await;
    // It says what is in the way, and that it goes on trying.
    world.until_logged(job, "%\"big\" is not kept yet%").await;
    // Who keeps nothing does not need it.
    let other = world.add("echo fine", json!({})).await;
    assert_eq!(world.state(other, WITHIN).await.0, "succeeded");
    let page = reqwest::get(world.page("/sign-in")).await;
    assert_eq!(page.expect("an answer").status().as_u16(), 200);
    assert_eq!(world.runs(job).await, ["running"]);

    disk.grow();
    let ended = world.state(job, RESUMED).await;
    assert_eq!(ended.0, "succeeded", "{ended:?}");
    let kept: (i64, String) = sqlx::query_as(
        "select bytes, encode(sha256, 'hex') from switchyard.artifacts where job_id = $1",
    )
    .bind(job.0)
    .fetch_one(world.rows())
    .await
    .expect("it is there");
    let lines = world.lines(job).await;
    assert_eq!(kept.0, 3_000_000);
    assert!(lines[0].starts_with(&kept.1), "{lines:?} {kept:?}");
    assert_eq!(world.runs(job).await, ["succeeded"], "it was run once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_folder_is_full_ends_and_says_so() {
    let _turn = turn().await;
    let Some((world, disk)) = World::on_a_disk("runs").await else {
        return;
    };
    // A program that fills it is told, and what it says arrives.
    let script = "head -c 3000000 /dev/zero > big || echo full; echo more";
    let job = world.add(script, json!({})).await;
    assert_eq!(world.state(job, WITHIN).await.0, "succeeded");
    assert_eq!(world.lines(job).await, ["full", "more"]);
    world.until_logged(job, "%No space left on device%").await;

    // What a run brings along does not fit.
    disk.fill(100_000);
    let brings: Value = json!({"files": [{"path": "f", "content": {"text": "x".repeat(500_000)}}]});
    let job = world.add("echo never", brings.clone()).await;
    let ended = world.state(job, WITHIN).await;
    assert_eq!(ended.0, "dead", "{ended:?}");
    assert!(ended.1.contains("No space left on device"), "{ended:?}");
    assert_eq!(world.lines(job).await, Vec::<String>::new());

    // Not even a folder fits, or one does and no byte into it: either way it has an end at once.
    std::fs::remove_file(disk.filler()).expect("our file");
    disk.fill(0);
    let job = world.add("echo fine", json!({})).await;
    let ended = world.state(job, WITHIN).await;
    let good = ended.0 == "succeeded" || ended.1.contains("No space left on device");
    assert!(good, "{ended:?}");

    std::fs::remove_file(disk.filler()).expect("our file");
    let job = world.add("wc -c < f", brings).await;
    assert_eq!(world.state(job, RESUMED).await.0, "succeeded");
    assert_eq!(world.lines(job).await, ["500000"]);
}
