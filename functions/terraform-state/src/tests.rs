use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};

use axum::http::Method;
use database::{Connect, SystemDb};
use host::{Env, Resources};
use model::JobId;
use model::run::{RunEnd, RunOver, RunReport, Then};
use queue::runs::NewRun;
use queue::{Hold, NewJob, Queue};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use sqlx::PgPool;
use store::people::{create_sign_in_link, ensure_member, open_session};
use store::{Keyring, StateToken, Store};
use tempfile::{NamedTempFile, TempDir};
use testkit::TestDb;
use tower::ServiceExt as _;
use uuid::Uuid;

use super::*;

/// The function, served on a port, and a tenant.
struct World {
    router: Router,
    ctx: Ctx,
    address: SocketAddr,
    queue: Queue,
    store: Store,
    rows: PgPool,
    tenant: model::TenantId,
    keyring: Keyring,
    _key: NamedTempFile,
    _db: TestDb,
}

async fn world() -> World {
    let db = testkit::database().await;
    let rows = db.pool(None).await;
    let key = Keyring::generate();
    let mut file = NamedTempFile::new().expect("a file");
    file.write_all(key.expose_secret().as_bytes())
        .expect("a file");
    let env = Env::default()
        .with("DATABASE_URL", db.owner_url())
        .with("DATABASE_ACQUIRE_TIMEOUT_SECS", "20")
        .with("MASTER_KEY_FILE", file.path().to_str().expect("a path"));
    let resources = Resources::new().expect("an HTTP client");
    let mounted = FUNCTION.mount(&env, &resources).expect("good settings");
    let system = SystemDb::new(&Connect {
        url: db.owner_url().into(),
        role: DatabaseRole::System,
        connections_max: 4,
        acquire_timeout: Duration::from_secs(20),
    })
    .expect("a URL");
    let tenant: Uuid = sqlx::query_scalar(
        "insert into switchyard.tenants (name) values ('acme') returning database_id",
    )
    .fetch_one(&rows)
    .await
    .expect("a tenant");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    let router = mounted.router.clone();
    mounted.ctx.spawn(async move {
        axum::serve(listener, router).await.expect("it serves");
    });
    World {
        router: mounted.router,
        ctx: mounted.ctx,
        address,
        queue: Queue::new(system.clone()),
        store: Store::new(system),
        rows,
        tenant: tenant.into(),
        keyring: Keyring::from_base64(&key).expect("a key"),
        _key: file,
        _db: db,
    }
}

impl World {
    /// A job whose run lives.
    async fn run(&self) -> Hold {
        let payload = json!({});
        let job = NewJob::new(self.tenant, "task-terraform", &payload);
        self.queue.add(&job).await.expect("a job");
        let claimed = self
            .queue
            .claim(
                Uuid::new_v4(),
                &["task-terraform".to_owned()],
                1,
                Duration::from_secs(60),
            )
            .await
            .expect("an answer");
        let hold = claimed.first().expect("a job is ready").hold;
        let run = NewRun {
            phase: "apply",
            launcher: "local",
            spec: b"sealed",
            handle: &json!({}),
            steps: &["apply".to_owned()],
            start_within: Duration::from_secs(60),
            lease: Duration::from_secs(60),
            time: Duration::from_secs(600),
            then: Then::Finish,
            retry: false,
        };
        self.queue.begin_run(hold, &run).await.expect("an answer");
        hold
    }

    async fn end(&self, hold: Hold) {
        let over = RunOver {
            end: RunEnd::Failed,
            reason: None,
            report: RunReport::default(),
        };
        self.queue
            .end_run(self.tenant, hold, &over)
            .await
            .expect("an answer");
    }

    fn password(&self, hold: Hold, read_only: bool) -> String {
        StateToken {
            tenant: self.tenant,
            job: hold.job,
            epoch: hold.epoch,
            state: "net".to_owned(),
            read_only,
        }
        .sign(&self.keyring)
    }

    /// A person of the tenant and the token that their terraform sends.
    async fn person(&self, role: model::Role) -> String {
        let mut conn = self.rows.acquire().await.expect("a connection");
        let (_, person) = ensure_member(&mut conn, "acme", role.as_str(), role)
            .await
            .expect("a person");
        let link = create_sign_in_link(&mut conn, person)
            .await
            .expect("a link");
        // Sessions are opened in the tenant's role; this connection is the owner's.
        let tenants = database::TenantDb::new(&Connect {
            url: self._db.owner_url().into(),
            role: DatabaseRole::Tenant,
            connections_max: 1,
            acquire_timeout: Duration::from_secs(20),
        })
        .expect("a URL");
        let session = open_session(&tenants, &link).await.expect("an answer");
        session.expect("a session").expose().to_owned()
    }

    async fn ask(
        &self,
        method: &str,
        path: &str,
        user: &str,
        password: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> (u16, Value) {
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).expect("a method"))
            .uri(path)
            .header(
                "authorization",
                format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))),
            );
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body)).expect("a request");
        let response = self
            .router
            .clone()
            .oneshot(request)
            .await
            .expect("an answer");
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), STATE_BYTES_MAX)
            .await
            .expect("a body");
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    fn path(&self) -> String {
        format!("/{}/net", self.tenant.uuid())
    }

    async fn post(&self, password: &str, lock: Option<&str>, state: &Value) -> (u16, Value) {
        let path = match lock {
            Some(lock) => format!("{}?ID={lock}", self.path()),
            None => self.path(),
        };
        self.ask("POST", &path, "run", password, &[], state.to_string())
            .await
    }

    async fn get(&self, password: &str) -> (u16, Value) {
        self.ask("GET", &self.path(), "run", password, &[], String::new())
            .await
    }

    async fn lock(&self, password: &str, id: &str) -> (u16, Value) {
        let body = json!({"ID": id, "Operation": "OperationTypeApply", "Who": format!("me@{id}")});
        self.ask("LOCK", &self.path(), "run", password, &[], body.to_string())
            .await
    }

    async fn deeds(&self) -> Vec<String> {
        sqlx::query_scalar("select deed from switchyard.audit order by id")
            .fetch_all(&self.rows)
            .await
            .expect("an answer")
    }
}

fn state(serial: u64, value: &str) -> Value {
    json!({
        "version": 4, "terraform_version": "1.11.4", "serial": serial, "lineage": "l",
        "outputs": {"it": {"value": value, "type": "string"}}, "resources": [],
    })
}

#[tokio::test]
async fn a_state_is_kept_in_versions_and_read_back_by_its_run_alone() {
    let world = world().await;
    let hold = world.run().await;
    let password = world.password(hold, false);
    assert_eq!(world.get(&password).await.0, 404);
    assert_eq!(world.lock(&password, "one").await.0, 200);
    // A lost answer makes terraform's client ask again.
    assert_eq!(world.lock(&password, "one").await.0, 200);
    assert_eq!(
        world.post(&password, Some("one"), &state(1, "a")).await.0,
        200
    );
    assert_eq!(
        world.post(&password, Some("one"), &state(1, "a")).await.0,
        200
    );
    assert_eq!(
        world.post(&password, Some("one"), &state(2, "b")).await.0,
        200
    );
    assert_eq!(world.get(&password).await, (200, state(2, "b")));
    let kept: Vec<(i64, i64)> =
        sqlx::query_as("select number, serial from switchyard.terraform_versions order by number")
            .fetch_all(&world.rows)
            .await
            .expect("an answer");
    assert_eq!(kept, [(1, 1), (2, 2)]);
    let plain: bool = sqlx::query_scalar(
        "select bool_or(position('lineage'::bytea in sealed) > 0) from switchyard.terraform_versions",
    )
    .fetch_one(&world.rows)
    .await
    .expect("an answer");
    assert!(!plain, "it is sealed");
    // What its plan was made from is known.
    let moved = world
        .store
        .terraform_state_moved(world.tenant, hold.job, hold.epoch)
        .await;
    assert_eq!(moved.expect("an answer"), Some(false));
    assert_eq!(
        world.post(&password, Some("one"), &state(3, "c")).await.0,
        200
    );
    let moved = world
        .store
        .terraform_state_moved(world.tenant, hold.job, hold.epoch)
        .await;
    assert_eq!(moved.expect("an answer"), Some(true));
}

#[tokio::test]
async fn one_holds_the_lock_and_the_others_are_told_who() {
    let world = world().await;
    let (first, second) = (world.run().await, world.run().await);
    let (first, second) = (world.password(first, false), world.password(second, false));
    assert_eq!(world.lock(&first, "one").await.0, 200);
    let (status, holder) = world.lock(&second, "two").await;
    assert_eq!(
        (status, &holder["ID"], &holder["Who"]),
        (423, &json!("one"), &json!("me@one"))
    );
    assert_eq!(world.post(&second, None, &state(1, "x")).await.0, 423);
    let unlock = |password: String, id: &str| {
        let body = json!({"ID": id}).to_string();
        let path = world.path();
        let world = &world;
        async move {
            world
                .ask("UNLOCK", &path, "run", &password, &[], body)
                .await
                .0
        }
    };
    assert_eq!(unlock(second.clone(), "two").await, 409);
    assert_eq!(unlock(first.clone(), "one").await, 200);
    assert_eq!(unlock(first.clone(), "one").await, 200);
    assert_eq!(world.lock(&second, "two").await.0, 200);
    // Sent under the lock that another one followed: kept, and the current one stays.
    let (status, _) = world.post(&first, Some("one"), &state(1, "late")).await;
    assert_eq!(status, 409);
    assert_eq!(world.get(&second).await.0, 404);
}

#[tokio::test]
async fn an_admin_takes_a_lock_by_force_and_that_is_on_record() {
    let world = world().await;
    let (first, second) = (world.run().await, world.run().await);
    let (first, second) = (world.password(first, false), world.password(second, false));
    let admin = world.person(model::Role::Admin).await;
    assert_eq!(world.lock(&first, "one").await.0, 200);
    // What `terraform force-unlock` sends to an http backend: nothing.
    let force = |user: &'static str, password: String| {
        let world = &world;
        let path = match user {
            "token" => "/acme/net".to_owned(),
            _ => world.path(),
        };
        async move {
            let nothing = String::new();
            world
                .ask("UNLOCK", &path, user, &password, &[], nothing)
                .await
                .0
        }
    };
    assert_eq!(force("run", second.clone()).await, 403);
    assert_eq!(force("run", first).await, 403);
    assert_eq!(world.lock(&second, "two").await.0, 423);
    assert_eq!(world.deeds().await, Vec::<String>::new());
    assert_eq!(force("token", admin.clone()).await, 200);
    assert_eq!(world.deeds().await, ["force_unlock_state"]);
    assert_eq!(world.lock(&second, "two").await.0, 200);
    assert_eq!(force("token", admin.clone()).await, 200);
    // Nobody holds it any more: nothing was taken.
    assert_eq!(force("token", admin).await, 200);
    assert_eq!(world.deeds().await.len(), 2);
}

#[tokio::test]
async fn what_a_run_sends_after_its_end_is_kept_and_does_not_count() {
    let world = world().await;
    let hold = world.run().await;
    let password = world.password(hold, false);
    assert_eq!(world.lock(&password, "one").await.0, 200);
    assert_eq!(
        world.post(&password, Some("one"), &state(1, "a")).await.0,
        200
    );
    world.end(hold).await;
    let (status, said) = world.post(&password, Some("one"), &state(2, "b")).await;
    assert_eq!(status, 409);
    assert!(
        said["error"]
            .as_str()
            .expect("a text")
            .contains("version 2"),
        "{said}"
    );
    assert_eq!(world.get(&password).await.0, 403);
    assert_eq!(world.lock(&password, "two").await.0, 403);
    // The lock was taken from it by whoever came next, which was its own state.
    assert_eq!(
        world.deeds().await,
        ["release_state_lock", "quarantine_state"]
    );
    let next = world.run().await;
    let next = world.password(next, false);
    assert_eq!(world.get(&next).await, (200, state(1, "a")));
    assert_eq!(world.lock(&next, "three").await.0, 200);
}

#[tokio::test]
async fn a_sweep_takes_locks_from_runs_that_are_over_and_from_no_other() {
    let world = world().await;
    let (dead, live) = (world.run().await, world.run().await);
    assert_eq!(world.lock(&world.password(dead, false), "one").await.0, 200);
    let free = || async {
        let freed = world.store.free_ended_terraform_locks(100).await;
        freed.expect("an answer")
    };
    assert_eq!(free().await, 0);
    world.end(dead).await;
    assert_eq!(free().await, 1);
    assert_eq!(world.deeds().await, ["release_state_lock"]);
    assert_eq!(world.lock(&world.password(live, false), "two").await.0, 200);
    assert_eq!(free().await, 0);
}

#[tokio::test]
async fn credentials_are_good_for_one_state_and_one_run() {
    let world = world().await;
    let hold = world.run().await;
    let password = world.password(hold, false);
    let other_state = format!("/{}/other", world.tenant.uuid());
    let other_tenant = format!("/{}/net", Uuid::new_v4());
    for path in [other_state, other_tenant] {
        let (status, _) = world
            .ask("GET", &path, "run", &password, &[], String::new())
            .await;
        assert_eq!(status, 403, "{path}");
    }
    assert_eq!(world.get("nonsense").await.0, 401);
    let reading = world.password(hold, true);
    assert_eq!(world.get(&reading).await.0, 404);
    assert_eq!(world.lock(&reading, "one").await.0, 403);
    assert_eq!(world.post(&reading, None, &state(1, "x")).await.0, 403);
    let elsewhere = Hold {
        job: JobId(hold.job.0 + 1000),
        epoch: 1,
    };
    assert_eq!(world.get(&world.password(elsewhere, false)).await.0, 403);
    let path = world.path();
    let bare = Request::get(path).body(Body::empty()).expect("a request");
    let bare = world.router.clone().oneshot(bare).await.expect("an answer");
    assert_eq!(bare.status(), 401);
    assert!(bare.headers().contains_key(WWW_AUTHENTICATE));
}

#[tokio::test]
async fn a_person_needs_to_be_an_admin_and_reading_is_on_record() {
    let world = world().await;
    let hold = world.run().await;
    let password = world.password(hold, false);
    assert_eq!(world.post(&password, None, &state(1, "a")).await.0, 200);
    let admin = world.person(model::Role::Admin).await;
    let operator = world.person(model::Role::Operator).await;
    let get = |token: String, path: &'static str| {
        let world = &world;
        async move {
            world
                .ask("GET", path, "token", &token, &[], String::new())
                .await
                .0
        }
    };
    assert_eq!(get(operator.clone(), "/acme/net").await, 403);
    assert_eq!(get(admin.clone(), "/acme/net").await, 200);
    assert_eq!(get(admin.clone(), "/others/net").await, 401);
    assert_eq!(get("nonsense".to_owned(), "/acme/net").await, 401);
    assert_eq!(get(admin, "/acme/-rf").await, 400);
    assert_eq!(world.deeds().await, ["read_state"]);
}

#[tokio::test]
async fn what_is_no_state_is_refused_and_nothing_is_kept() {
    let world = world().await;
    let hold = world.run().await;
    let password = world.password(hold, false);
    let path = world.path();
    let post = |headers: &'static [(&'static str, &'static str)], body: String| {
        let (world, path, password) = (&world, &path, &password);
        async move {
            world
                .ask("POST", path, "run", password, headers, body)
                .await
                .0
        }
    };
    for body in [
        "",
        "{}",
        "[]",
        "{\"version\":3,\"serial\":1,\"lineage\":\"l\"}",
        "{\"version\":4,\"serial\":-1,\"lineage\":\"l\"}",
    ] {
        assert_eq!(post(&[], body.to_owned()).await, 400, "{body}");
    }
    let good = state(1, "a").to_string();
    assert_eq!(post(&[("content-md5", "AAAA")], good.clone()).await, 400);
    let huge = format!("{good}{}", " ".repeat(STATE_BYTES_MAX));
    assert_eq!(post(&[], huge).await, 413);
    assert_eq!(
        world
            .ask("PATCH", &path, "run", &password, &[], String::new())
            .await
            .0,
        405
    );
    assert_eq!(
        world
            .ask("LOCK", &path, "run", &password, &[], "{}".to_owned())
            .await
            .0,
        400
    );
    let kept: i64 = sqlx::query_scalar("select count(*) from switchyard.terraform_versions")
        .fetch_one(&world.rows)
        .await
        .expect("an answer");
    assert_eq!(kept, 0);
}

/// Terraform with our backend.
fn terraform(world: &World, folder: &Path, password: &str, arguments: &[&str]) -> Option<Output> {
    let address = format!("http://{}{}", world.address, world.path());
    Command::new("terraform")
        .args(arguments)
        .current_dir(folder)
        .env("TF_CLI_CONFIG_FILE", "/dev/null")
        .env("CHECKPOINT_DISABLE", "1")
        .env("TF_IN_AUTOMATION", "1")
        .env("TF_INPUT", "0")
        .env("TF_HTTP_ADDRESS", &address)
        .env("TF_HTTP_LOCK_ADDRESS", &address)
        .env("TF_HTTP_UNLOCK_ADDRESS", &address)
        .env("TF_HTTP_USERNAME", "run")
        .env("TF_HTTP_PASSWORD", password)
        .output()
        .ok()
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let main = "terraform {\n  backend \"http\" {}\n}\n\
        variable \"it\" {\n  default = \"a\"\n}\n\
        resource \"terraform_data\" \"one\" {\n  input = var.it\n}\n";
    std::fs::write(folder.path().join("main.tf"), main).expect("a file");
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn terraform_itself_locks_writes_and_is_refused() {
    let world = world().await;
    let hold = world.run().await;
    let (password, folder) = (world.password(hold, false), folder());
    let run = |password: &str, arguments: &[&str]| {
        tokio::task::block_in_place(|| terraform(&world, folder.path(), password, arguments))
    };
    let Some(init) = run(&password, &["init", "-no-color"]) else {
        #[expect(clippy::disallowed_methods, reason = "a test has no settings")]
        let ci = std::env::var_os("CI").is_some();
        assert!(!ci, "terraform is not on the PATH");
        eprintln!("skipped: terraform is not on the PATH");
        return;
    };
    let text = |output: &Output| {
        format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    };
    assert!(init.status.success(), "{}", text(&init));
    let apply = ["apply", "-no-color", "-auto-approve"];
    let applied = run(&password, &apply).expect("terraform runs");
    assert!(applied.status.success(), "{}", text(&applied));
    let (status, state) = world.get(&password).await;
    assert_eq!(
        (status, &state["resources"][0]["name"]),
        (200, &json!("one"))
    );
    let lock: Option<String> =
        sqlx::query_scalar("select lock_id from switchyard.terraform_states")
            .fetch_one(&world.rows)
            .await
            .expect("an answer");
    assert_eq!(lock, None, "it was given back");

    // Another one holds the lock: terraform names it.
    let other = world.run().await;
    let holder = "1b4ae8f5-0000-4000-8000-000000000000";
    assert_eq!(
        world.lock(&world.password(other, false), holder).await.0,
        200
    );
    let refused = run(&password, &apply).expect("terraform runs");
    assert!(!refused.status.success());
    let said = text(&refused);
    assert!(
        said.contains("Error acquiring the state lock") && said.contains(holder),
        "{said}"
    );

    // Its run ends; so do its credentials, and its lock is free.
    world.end(hold).await;
    world.end(other).await;
    let over = run(&password, &apply).expect("terraform runs");
    assert!(!over.status.success());
    let again = world.run().await;
    let changed = ["apply", "-no-color", "-auto-approve", "-var", "it=b"];
    let applied = run(&world.password(again, false), &changed).expect("terraform runs");
    assert!(applied.status.success(), "{}", text(&applied));
    world.ctx.stop(Duration::ZERO).await;
}
