//! A real runner against the real callback endpoint: what it makes arrives in a folder and in a bucket, and is what it was.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::process::Stdio;
use std::time::Duration;

use artifacts::Artifacts;
use database::{Connect, SystemDb};
use host::{Ctx, Env, Resources};
use model::run::Then;
use model::{DatabaseRole, TenantId};
use queue::runs::{Begun, NewRun};
use queue::{Hold, NewJob, Queue};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use sqlx::PgPool;
use store::{CallbackToken, Keyring, run_spec_slot};
use tempfile::{NamedTempFile, TempDir};
use testkit::{S3, TestDb};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const RUNNER: &str = env!("CARGO_BIN_EXE_runner-under-test");

/// The callback endpoint on a port of this machine, and a tenant.
struct World {
    ctx: Ctx,
    url: String,
    queue: Queue,
    rows: PgPool,
    keyring: Keyring,
    tenant: TenantId,
    folder: TempDir,
    stop: CancellationToken,
    _key: NamedTempFile,
    _db: TestDb,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn world(change: impl FnOnce(Env) -> Env) -> World {
    let db = testkit::database().await;
    let rows = db.pool(None).await;
    let folder = TempDir::new().unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let key = Keyring::generate();
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), key.expose_secret()).unwrap();
    let env = Env::default()
        .with("DATABASE_URL", db.owner_url())
        .with("BLOBS_URL", folder.path().join("blobs").to_str().unwrap())
        .with("MASTER_KEY_FILE", file.path().to_str().unwrap());
    let resources = Resources::new().unwrap();
    let mounted = callback::FUNCTION.mount(&change(env), &resources).unwrap();
    let listener = host::listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}/callback", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let serving = host::serve(
        listener,
        mounted.router,
        host::ServeLimits::default(),
        stop.clone(),
    );
    #[expect(clippy::disallowed_methods, reason = "ends with the test")]
    tokio::spawn(serving);
    let system = SystemDb::new(&Connect {
        url: db.owner_url().into(),
        role: DatabaseRole::System,
        connections_max: 4,
        acquire_timeout: Duration::from_secs(20),
    })
    .unwrap();
    let tenant: Uuid = sqlx::query_scalar(
        "insert into switchyard.tenants (name) values ('acme') returning database_id",
    )
    .fetch_one(&rows)
    .await
    .unwrap();
    World {
        ctx: mounted.ctx,
        url,
        queue: Queue::new(system),
        rows,
        keyring: Keyring::from_base64(&key).unwrap(),
        tenant: tenant.into(),
        folder,
        stop,
        _key: file,
        _db: db,
    }
}

impl World {
    /// A job that somebody holds.
    async fn claimed(&self) -> Hold {
        let payload = json!({});
        let job = NewJob::new(self.tenant, "lab", &payload);
        self.queue.add(&job).await.unwrap();
        let lease = Duration::from_secs(60);
        let claimed = self
            .queue
            .claim(Uuid::new_v4(), &["lab".to_owned()], 1, lease)
            .await
            .unwrap();
        claimed.first().unwrap().hold
    }

    /// Runs this to its end in a real runner; returns the job's state and result.
    async fn run(&self, hold: Hold, spec: &Value) -> (String, Option<Value>) {
        let slot = run_spec_slot(self.tenant, hold.job, hold.epoch);
        let sealed = self.keyring.seal_packed(slot, spec.to_string().as_bytes());
        let run = NewRun {
            phase: "test",
            launcher: "local",
            spec: &sealed,
            handle: &json!({"local": {}}),
            steps: &["make".to_owned()],
            start_within: Duration::from_secs(60),
            lease: Duration::from_secs(30),
            time: Duration::from_secs(600),
            then: Then::Finish,
            retry: false,
        };
        let begun = self.queue.begin_run(hold, &run).await.unwrap();
        assert_eq!(begun, Begun::Waiting);
        let token = CallbackToken {
            tenant: self.tenant,
            job: hold.job,
            epoch: hold.epoch,
            until: self.ctx.now() + Duration::from_secs(600),
        };
        let mark = self.folder.path().display().to_string();
        let mut runner = tokio::process::Command::new(RUNNER)
            .args(["runner", "--mark", &mark])
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("CALLBACK_URL", &self.url)
            .env("RUN_TOKEN", token.sign(&self.keyring))
            .env("RUN_DATA", self.folder.path())
            .env("RUN_NAME", format!("{}-{}", hold.job, hold.epoch))
            .env("SWITCHYARD_RUN", &mark)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(120), runner.wait()).await;
        let ended = ended.unwrap().unwrap();
        assert!(ended.success(), "{ended}: {:?}", self.log(hold).await);
        sqlx::query_as("select state::text, result from switchyard.jobs_archive where id = $1")
            .bind(hold.job.0)
            .fetch_one(&self.rows)
            .await
            .unwrap()
    }

    async fn log(&self, hold: Hold) -> Vec<String> {
        sqlx::query_scalar("select line from switchyard.job_logs where job_id = $1 order by seq")
            .bind(hold.job.0)
            .fetch_all(&self.rows)
            .await
            .unwrap()
    }

    /// Name, id and SHA-256 of what a job left, by name.
    async fn left(&self, hold: Hold) -> Vec<(String, Uuid, String, bool)> {
        sqlx::query_as(
            "select name, id, encode(sha256, 'hex'), sealed from switchyard.artifacts
             where job_id = $1 order by name",
        )
        .bind(hold.job.0)
        .fetch_all(&self.rows)
        .await
        .unwrap()
    }
}

/// A run that makes 10 MiB that are not all the same, a small file in a folder, and a secret one.
fn spec() -> Value {
    json!({
        "phase": "test",
        "steps": [{
            "name": "make",
            "run": {"local": {"argv": ["sh", "-c", "seq 1500000 | head -c 10485767 > big.bin; mkdir -p node_files/r1; \
                echo hostname r1 > 'node_files/r1/a b.cfg'; echo secret > plan; echo made"]}},
        }],
        "limits": {"time_secs": 60, "log_bytes": 1_000_000, "artifact_bytes": 100_000_000, "artifacts": 10},
        "heartbeat_ms": 200,
        "artifacts": [
            {"pattern": "big.bin", "required": true},
            {"pattern": "node_files/**"},
            {"pattern": "plan", "sealed": true},
        ],
    })
}

/// Of what `seq` says there.
fn big() -> Vec<u8> {
    let mut all: Vec<u8> = (1..=1_500_000)
        .flat_map(|n: u32| format!("{n}\n").into_bytes())
        .collect();
    all.truncate(10_485_767);
    all
}

async fn arrives(world: &World, presigned: bool) {
    let hold = world.claimed().await;
    let artifacts = Artifacts::of(&world.ctx).unwrap();
    let mut spec = spec();
    if presigned {
        let place = artifacts
            .presigned(world.tenant, hold, "big.bin", Duration::from_secs(600))
            .await
            .unwrap();
        spec["artifacts"][0]["presigned"] = json!(place.unwrap());
    }
    let (state, result) = world.run(hold, &spec).await;
    assert_eq!(state, "succeeded", "{result:?}");
    assert!(world.log(hold).await.contains(&"made".to_owned()));
    let left = world.left(hold).await;
    let names: Vec<_> = left
        .iter()
        .map(|(name, _, _, sealed)| (name.as_str(), *sealed))
        .collect();
    assert_eq!(
        names,
        [
            ("big.bin", false),
            ("node_files/r1/a b.cfg", false),
            ("plan", true)
        ]
    );
    let said = result.unwrap()["artifacts"].clone();
    let expected = [big(), b"hostname r1\n".to_vec(), b"secret\n".to_vec()];
    for ((name, id, sha256, _), expected) in left.iter().zip(expected) {
        assert_eq!(said[name], json!(sha256), "{name}");
        let artifact = world.ctx.store().artifact(world.tenant, *id).await.unwrap();
        let there = artifacts
            .bytes(world.tenant, &artifact.unwrap())
            .await
            .unwrap();
        assert!(there == expected, "{name} is not what was made");
    }

    // Another run reads what this one left.
    let (_, id, sha256, _) = &left[0];
    let next = world.claimed().await;
    let mut reads = json!({
        "phase": "test",
        "steps": [{"name": "make", "run": {"local": {"argv": ["sh", "-c", "wc -c < given"]}}}],
        "limits": {"time_secs": 60, "log_bytes": 1_000_000, "artifact_bytes": 1, "artifacts": 1},
        "heartbeat_ms": 200,
    });
    reads["files"] =
        json!([{"path": "given", "content": {"artifact": {"id": id, "sha256": sha256}}}]);
    let (state, result) = world.run(next, &reads).await;
    assert_eq!(state, "succeeded", "{result:?}");
    assert!(world.log(next).await.contains(&"10485767".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_makes_arrives_in_a_folder_and_is_read_by_the_next() {
    let world = world(|env| env).await;
    arrives(&world, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_makes_arrives_in_a_bucket_by_parts_and_by_url() {
    let Some(s3) = S3::start() else { return };
    let world = world(|env| {
        let settings = s3.settings();
        settings
            .into_iter()
            .fold(env.with("BLOBS_URL", s3.url()), |env, (name, value)| {
                env.with(name, value)
            })
    })
    .await;
    arrives(&world, false).await;
    arrives(&world, true).await;
}
