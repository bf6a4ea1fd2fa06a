//! What runs cost: a runner's million lines on their way into the log, beside the same lines inserted in equal batches by raw
//! SQL; the memory that the runner takes meanwhile; and a runner that does nothing, beside a bare process.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use host::Resources;
use launch::{Launcher as _, Local, RunId, Settings};
use model::run::{LOG_BATCH_LINES_MAX, RunSpec, Then};
use queue::runs::{Begun, NewRun};
use queue::{NewJob, Queue};
use secrecy::SecretString;
use serde_json::json;
use store::{CallbackToken, Keyring, run_spec_slot};
use tokio::process::{Child, Command};
use uuid::Uuid;

use super::served::Served;
use crate::ground::Ground;
use crate::jobs;
use crate::machine::memory_mib;
use crate::report::Figure;
use crate::stats::{Samples, listed, median, ms};

/// Lines of one run, and of the baseline.
const LINES: usize = 1_000_000;
/// Pairs of measurements, one side after the other.
const PAIRS: usize = 3;
/// Runs that do nothing.
const STARTS: usize = 30;
/// After so many lines a runner has what it needs.
const SETTLED: i64 = 20_000;
const LOOK_EVERY: Duration = Duration::from_millis(50);
const LEASE: Duration = Duration::from_secs(30);
const TIME: Duration = Duration::from_secs(900);

/// Measures it.
pub async fn measure(ground: &Ground) -> anyhow::Result<Vec<Figure>> {
    let runs = Runs::new(ground).await?;
    sqlx::raw_sql("create table bench.logs (like switchyard.job_logs including all)")
        .execute(&mut ground.connection().await?)
        .await?;
    let (mut ours, mut raw, mut ratios, mut grown) = (vec![], vec![], vec![], vec![]);
    for _ in 0..PAIRS {
        let (a, memory) = runs.lines().await?;
        let b = inserted(ground).await?;
        ours.push(a);
        raw.push(b);
        ratios.push(a / b);
        grown.push(memory);
    }
    let (started, bare) = runs.starts().await?;
    runs.callback.stop().await?;
    let most = grown.iter().copied().fold(0.0, f64::max);
    let over = started.p50().saturating_sub(bare.p50());
    Ok(vec![
        Figure::at_least("runs", "lines of a run into the log, over raw SQL in equal batches", median(&ratios)?, 0.5)
            .showing(format!("{:.0}/s", median(&ours)?), format!("{:.0}/s", median(&raw)?))
            .noting(format!(
                "{LINES} lines of `seq` through a real runner, the callback endpoint in this process and run_news, from the \
                 runner's start to its last word; beside it {LOG_BATCH_LINES_MAX} lines a statement from one connection into a \
                 table like it; {PAIRS} pairs, ratios {}; all lines were counted",
                listed(&ratios)
            )),
        Figure::at_most("runs", "memory that a runner takes more over 1 M lines, MiB", most, 32.0)
            .showing(format!("{most:.1} MiB"), "-")
            .noting(format!(
                "resident set at its largest, less what it was after {SETTLED} lines; of {}",
                listed(&grown)
            )),
        Figure::at_most("runs", "a runner around `true`, to its last word, beside the bare process, seconds", over.as_secs_f64(), 1.0)
            .showing(ms(started.p50()), ms(bare.p50()))
            .noting(format!(
                "medians of {STARTS}: process, spec, folder, first sign of life, one step held by its shim, last word, folder \
                 removed; slowest {}",
                ms(started.percentile(100.0))
            )),
    ])
}

/// What runs need.
struct Runs<'a> {
    ground: &'a Ground,
    queue: Queue,
    keyring: Keyring,
    callback: Served,
    local: Local,
    task: String,
    program: PathBuf,
}

impl<'a> Runs<'a> {
    async fn new(ground: &'a Ground) -> anyhow::Result<Self> {
        let blobs = ground.env().with("BLOBS_URL", ground.blobs_url());
        let mounted = callback::FUNCTION.mount(&blobs, &Resources::new()?)?;
        let callback = Served::start(mounted.router).await?;
        let env = ground
            .env()
            .with("RUNNER", "local")
            .with("RUN_DATA", ground.run_data().display().to_string())
            .with("CALLBACK_URL", format!("http://{}/callback", callback.addr));
        let settings = Settings::read(&env)?;
        let key = SecretString::from(std::fs::read_to_string(ground.master_key_file())?);
        Ok(Self {
            queue: ground.queue()?,
            keyring: Keyring::from_base64(&key)?,
            local: Local::new(&env, &settings)?,
            task: jobs::tasks(ground, "runs", 1).await?.remove(0),
            program: std::env::current_exe()?.with_file_name("switchyard"),
            callback,
            ground,
        })
    }

    /// Starts a runner for a job that waits for it.
    async fn start(&self, argv: &[&str]) -> anyhow::Result<(Child, RunId)> {
        let tenant = self.ground.tenant;
        let mut owner = self.ground.connection().await?;
        queue::enqueue(&mut owner, &NewJob::new(tenant, &self.task, &json!({}))).await?;
        let claimed = self
            .queue
            .claim(Uuid::new_v4(), std::slice::from_ref(&self.task), 1, LEASE)
            .await?;
        let hold = claimed.first().context("the job was not claimed")?.hold;
        let id = RunId {
            tenant,
            job: hold.job,
            epoch: hold.epoch,
        };
        let spec: RunSpec = serde_json::from_value(json!({
            "phase": "bench",
            "steps": [{"name": "one", "run": {"local": {"argv": argv}}}],
            "limits": {"time_secs": TIME.as_secs(), "log_bytes": 1_u64 << 40, "artifact_bytes": 1, "artifacts": 1},
            "heartbeat_ms": 5_000,
        }))?;
        let slot = run_spec_slot(tenant, hold.job, hold.epoch);
        let begun = self
            .queue
            .begin_run(
                hold,
                &NewRun {
                    phase: "bench",
                    launcher: "local",
                    spec: &self.keyring.seal_packed(slot, &serde_json::to_vec(&spec)?),
                    handle: &self.local.handle(id),
                    steps: &["one".to_owned()],
                    start_within: LEASE,
                    lease: LEASE,
                    time: TIME,
                    then: Then::Finish,
                    retry: false,
                },
            )
            .await?;
        anyhow::ensure!(begun == Begun::Waiting, "{begun:?}");
        let token = CallbackToken {
            tenant,
            job: hold.job,
            epoch: hold.epoch,
            until: (SystemTime::now() + TIME * 2).into(),
        };
        let child = Command::new(&self.program)
            .arg("runner")
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env(
                "CALLBACK_URL",
                format!("http://{}/callback", self.callback.addr),
            )
            .env("RUN_TOKEN", token.sign(&self.keyring))
            .env("RUN_DATA", self.ground.run_data())
            .env("RUN_NAME", id.to_string())
            .env("RUST_LOG", "error")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        Ok((child, id))
    }

    /// Lines a second, and by how many MiB the runner grew.
    async fn lines(&self) -> anyhow::Result<(f64, f64)> {
        let from = Instant::now();
        let count = LINES.to_string();
        let (mut child, id) = self.start(&["seq", &count]).await?;
        let pid = child.id().context("the runner ended at once")?;
        let mut settled = None;
        let mut most = 0.0_f64;
        let ended = loop {
            tokio::select! {
                ended = child.wait() => break ended?,
                () = tokio::time::sleep(LOOK_EVERY) => {
                    let told = "select coalesce(max(told), 0) from switchyard.runs where ended_at is null";
                    let Ok(now) = memory_mib(pid, "VmRSS") else { continue };
                    most = most.max(now);
                    if settled.is_none() && self.ground.count(told).await? >= SETTLED {
                        settled = Some(now);
                    }
                }
            }
        };
        let took = from.elapsed();
        anyhow::ensure!(ended.success(), "the runner ended with {ended}");
        let kept: i64 = sqlx::query_scalar(
            "select count(*) from switchyard.job_logs where job_id = $1 and stream = 'stdout'",
        )
        .bind(id.job.0)
        .fetch_one(&mut self.ground.connection().await?)
        .await?;
        anyhow::ensure!(kept == i64::try_from(LINES)?, "{kept} lines are there");
        let grown = settled.map_or(most, |settled| (most - settled).max(0.0));
        Ok((LINES as f64 / took.as_secs_f64(), grown))
    }

    /// How long a runner takes that does nothing, and how long a process does.
    async fn starts(&self) -> anyhow::Result<(Samples, Samples)> {
        let (mut runners, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..STARTS {
            let from = Instant::now();
            let (mut child, _) = self.start(&["true"]).await?;
            anyhow::ensure!(child.wait().await?.success(), "the runner failed");
            runners.push(from.elapsed());
            let from = Instant::now();
            Command::new("true").env_clear().status().await?;
            bare.push(from.elapsed());
        }
        Ok((Samples::new(runners)?, Samples::new(bare)?))
    }
}

/// The same lines in equal batches by raw SQL, lines a second.
async fn inserted(ground: &Ground) -> anyhow::Result<f64> {
    let mut connection = ground.connection().await?;
    let lines: Vec<String> = (1..=LINES).map(|n| n.to_string()).collect();
    let from = Instant::now();
    for (n, batch) in lines.chunks(LOG_BATCH_LINES_MAX).enumerate() {
        let before = i64::try_from(n * LOG_BATCH_LINES_MAX)?;
        sqlx::query(
            "insert into bench.logs (database_id, job_id, epoch, seq, stream, line)
             select $1, 1, 1, $2 + l.n, 'stdout', l.line
             from unnest($3::text[]) with ordinality as l (line, n)",
        )
        .bind(ground.tenant.uuid())
        .bind(before)
        .bind(batch)
        .execute(&mut connection)
        .await?;
    }
    let took = from.elapsed();
    sqlx::raw_sql("truncate bench.logs")
        .execute(&mut connection)
        .await?;
    Ok(LINES as f64 / took.as_secs_f64())
}
