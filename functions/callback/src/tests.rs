use std::io::Write as _;

use chrono::{DateTime, TimeDelta, Utc};
use database::{Connect, SystemDb};
use futures::future::join_all;
use host::{Env, Resources};
use model::{CancelOutcome, FinishReport, JobId, TenantId, Waiting};
use queue::{NewJob, Queue, Wait};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use store::Keyring;
use tempfile::{NamedTempFile, TempDir};
use testkit::TestDb;
use tower::ServiceExt as _;
use uuid::Uuid;

use super::*;

pub(crate) const TASK: &str = "hello";
const LEASE: Duration = Duration::from_secs(60);

/// The function, served, and a tenant with jobs.
pub(crate) struct World {
    pub(crate) router: Router,
    pub(crate) ctx: Ctx,
    pub(crate) queue: Queue,
    pub(crate) rows: PgPool,
    pub(crate) tenant: TenantId,
    pub(crate) keyring: Keyring,
    pub(crate) previous: Keyring,
    /// Where artifacts are, unless they are in a bucket.
    pub(crate) folder: TempDir,
    // They go away when the test is over.
    _keys: [NamedTempFile; 2],
    _db: TestDb,
}

fn key_file() -> (Keyring, NamedTempFile) {
    let key = Keyring::generate();
    let mut file = NamedTempFile::new().expect("a file");
    file.write_all(key.expose_secret().as_bytes())
        .expect("a file");
    (Keyring::from_base64(&key).expect("a key"), file)
}

pub(crate) fn env(database_url: String, blobs: &str, [key, previous]: [&NamedTempFile; 2]) -> Env {
    let path = |file: &NamedTempFile| file.path().to_str().expect("a path").to_owned();
    Env::default()
        .with("DATABASE_URL", database_url)
        .with("DATABASE_ACQUIRE_TIMEOUT_SECS", "20")
        .with("BLOBS_URL", blobs)
        .with("MASTER_KEY_FILE", path(key))
        .with("PREVIOUS_MASTER_KEY_FILE", path(previous))
}

pub(crate) async fn world() -> World {
    world_with(|env| env).await
}

/// The same with other settings.
pub(crate) async fn world_with(change: impl FnOnce(Env) -> Env) -> World {
    let folder = tempfile::tempdir().expect("a folder");
    let blobs = folder.path().join("blobs");
    let blobs = blobs.to_str().expect("a path");
    let db = testkit::database().await;
    let rows = db.pool(None).await;
    let ((keyring, key), (previous, previous_key)) = (key_file(), key_file());
    let resources = Resources::new().expect("an HTTP client");
    let mounted = FUNCTION
        .mount(
            &change(env(db.owner_url(), blobs, [&key, &previous_key])),
            &resources,
        )
        .expect("good settings");
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
    sqlx::query("insert into switchyard.tasks (name, executor, callback_deadline) values ($1, 'http', '60 seconds')")
        .bind(TASK)
        .execute(&rows)
        .await
        .expect("a task");
    World {
        router: mounted.router,
        ctx: mounted.ctx,
        queue: Queue::new(system),
        rows,
        tenant: tenant.into(),
        keyring,
        previous,
        folder,
        _keys: [key, previous_key],
        _db: db,
    }
}

impl World {
    /// A job that was claimed: its function has been called.
    pub(crate) async fn called(&self) -> Hold {
        let payload = json!({});
        let job = NewJob::new(self.tenant, TASK, &payload);
        self.queue.add(&job).await.expect("a job");
        self.claimed().await
    }

    pub(crate) async fn claimed(&self) -> Hold {
        let claimed = self
            .queue
            .claim(Uuid::new_v4(), &[TASK.to_owned()], 1, LEASE)
            .await
            .expect("an answer");
        claimed.first().expect("a job is ready").hold
    }

    /// The same, after the function has said 202.
    async fn waiting(&self) -> Hold {
        let hold = self.called().await;
        assert_eq!(
            self.wait(hold).await,
            FinishReport::Applied(JobState::Waiting)
        );
        hold
    }

    async fn wait(&self, hold: Hold) -> FinishReport {
        let wait = Wait {
            waiting: Waiting::Callback,
            deadline: Duration::from_secs(60),
            runner: None,
        };
        self.queue.wait(hold, &wait).await.expect("an answer")
    }

    pub(crate) fn token(&self, hold: Hold) -> String {
        self.token_until(hold, self.ctx.now() + TimeDelta::minutes(5))
            .sign(&self.keyring)
    }

    pub(crate) fn token_until(&self, hold: Hold, until: DateTime<Utc>) -> CallbackToken {
        CallbackToken {
            tenant: self.tenant,
            job: hold.job,
            epoch: hold.epoch,
            until,
        }
    }

    /// What a function that echoes its headers says.
    async fn says(&self, hold: Hold, body: &Value) -> (u16, Value) {
        self.post(
            &[
                ("x-job-id", &hold.job.to_string()),
                ("x-worker-id", &self.token(hold)),
                ("content-type", "application/json"),
            ],
            body.to_string(),
        )
        .await
    }

    /// Status and outcome of it.
    async fn outcome(&self, hold: Hold, body: &Value) -> (u16, String) {
        let (status, answer) = self.says(hold, body).await;
        let outcome = answer["outcome"].as_str().unwrap_or_default();
        (status, outcome.to_owned())
    }

    async fn post(&self, headers: &[(&str, &str)], body: impl Into<Body>) -> (u16, Value) {
        self.post_to("/callback", headers, body).await
    }

    async fn post_to(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> (u16, Value) {
        let mut request = Request::post(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).expect("a request");
        let answer = self.router.clone().oneshot(request).await;
        let answer = answer.expect("an answer");
        let status = answer.status().as_u16();
        let body = axum::body::to_bytes(answer.into_body(), 65536)
            .await
            .expect("a body");
        let body = serde_json::from_slice(&body).expect("every answer is JSON");
        (status, body)
    }

    pub(crate) async fn row(&self, job: JobId) -> (JobState, Option<String>, Option<Value>) {
        let (state, reason, result): (String, Option<String>, Option<Value>) = sqlx::query_as(
            "select state::text, last_error, progress from switchyard.jobs where id = $1
             union all
             select state::text, reason, result from switchyard.jobs_archive where id = $1",
        )
        .bind(job.0)
        .fetch_one(&self.rows)
        .await
        .expect("there is one row of a job");
        (state.parse().expect("a state"), reason, result)
    }

    async fn state(&self, job: JobId) -> JobState {
        self.row(job).await.0
    }

    async fn number(&self, sql: String) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_one(&self.rows)
            .await
            .expect("a number")
    }

    async fn events(&self, job: JobId, kind: &str) -> i64 {
        self.number(format!(
            "select count(*) from switchyard.job_events where job_id = {job} and kind = '{kind}'"
        ))
        .await
    }

    /// Moves a job's deadline and the end of its attempt, in seconds from now.
    async fn deadline(&self, job: JobId, lease_secs: i64, attempt_secs: i64) {
        sqlx::query(
            "update switchyard.jobs set lease_until = now() + make_interval(secs => $2),
                attempt_until = now() + make_interval(secs => $3) where id = $1",
        )
        .bind(job.0)
        .bind(lease_secs as f64)
        .bind(attempt_secs as f64)
        .execute(&self.rows)
        .await
        .expect("a job");
    }

    async fn deadline_secs(&self, job: JobId) -> i64 {
        self.number(format!(
            "select round(extract(epoch from lease_until - now()))::bigint from switchyard.jobs where id = {job}"
        ))
        .await
    }

    async fn log(&self, job: JobId) -> Vec<(i64, String)> {
        sqlx::query_as("select seq, line from switchyard.job_logs where job_id = $1 order by seq")
            .bind(job.0)
            .fetch_all(&self.rows)
            .await
            .expect("lines")
    }
}

fn pair(status: u16, outcome: &str) -> (u16, String) {
    (status, outcome.to_owned())
}

#[tokio::test]
async fn the_first_end_counts_and_every_later_one_is_told_so() {
    let world = world().await;
    let hold = world.waiting().await;
    let success = json!({"status": "success", "result": {"town": "Ulm"}});
    let (status, answer) = world.says(hold, &success).await;
    assert_eq!(
        (status, answer),
        (
            200,
            json!({"outcome": "applied", "jobId": hold.job.0, "state": "succeeded"})
        )
    );
    let ended = (JobState::Succeeded, None, Some(json!({"town": "Ulm"})));
    assert_eq!(world.row(hold.job).await, ended);
    assert_eq!(world.outcome(hold, &success).await, pair(200, "duplicate"));
    for late in [
        json!({"status": "error", "error": "no"}),
        json!({"status": "error", "retry": false}),
        json!({"status": "cancelled"}),
        json!({"status": "progress", "progress": {"done": 1}, "log": ["late"]}),
    ] {
        let (status, answer) = world.says(hold, &late).await;
        assert_eq!(
            (status, &answer["outcome"]),
            (409, &json!("stale")),
            "{late}"
        );
        assert_eq!(answer["state"], "succeeded", "it says what the job is");
    }
    assert_eq!(world.row(hold.job).await, ended);
    assert_eq!(world.log(hold.job).await, []);
}

#[tokio::test]
async fn ten_at_once_count_once() {
    let world = world().await;
    let hold = world.waiting().await;
    let success = json!({"status": "success"});
    let said = join_all((0..10).map(|_| world.outcome(hold, &success))).await;
    let count = |outcome| {
        said.iter()
            .filter(|said| **said == pair(200, outcome))
            .count()
    };
    assert_eq!((count("applied"), count("duplicate")), (1, 9), "{said:?}");
    let outcomes = format!(
        "select count(*) from switchyard.jobs_archive where id = {}",
        hold.job
    );
    assert_eq!(world.number(outcomes).await, 1);
}

#[tokio::test]
async fn of_two_ends_at_once_one_counts_and_the_other_is_a_conflict() {
    let world = world().await;
    let hold = world.waiting().await;
    let ends = [
        json!({"status": "success"}),
        json!({"status": "error", "error": "no", "retry": false}),
    ];
    let said = join_all((0..10).map(|n| world.outcome(hold, &ends[n % 2]))).await;
    let applied = said
        .iter()
        .position(|said| said.1 == "applied")
        .expect("one counts");
    for (n, said) in said.iter().enumerate() {
        let expected = match n {
            _ if n == applied => pair(200, "applied"),
            _ if n % 2 == applied % 2 => pair(200, "duplicate"),
            _ => pair(409, "stale"),
        };
        assert_eq!(*said, expected, "number {n}; {applied} counted");
    }
    let state = [JobState::Succeeded, JobState::Dead][applied % 2];
    assert_eq!(world.state(hold.job).await, state);
}

#[tokio::test]
async fn an_error_is_tried_again_and_its_repeat_is_known() {
    let world = world().await;
    let hold = world.waiting().await;
    let error = json!({"status": "error", "error": "no disk"});
    let (status, answer) = world.says(hold, &error).await;
    assert_eq!((status, &answer["state"]), (200, &json!("queued")));
    let (state, reason, _) = world.row(hold.job).await;
    assert_eq!(
        (state, reason.as_deref()),
        (JobState::Queued, Some("no disk"))
    );
    assert_eq!(world.outcome(hold, &error).await, pair(200, "duplicate"));
    let success = json!({"status": "success"});
    assert_eq!(world.outcome(hold, &success).await, pair(409, "stale"));

    let due = format!(
        "update switchyard.jobs set run_at = now() - interval '1 s' where id = {} returning id",
        hold.job
    );
    world.number(due).await;
    let again = world.claimed().await;
    assert_eq!((again.job, again.epoch), (hold.job, hold.epoch + 1));
    assert_eq!(
        world.outcome(hold, &success).await,
        pair(409, "stale"),
        "the old claim has nothing to say"
    );
    assert_eq!(world.outcome(hold, &error).await, pair(200, "duplicate"));
    assert_eq!(world.state(hold.job).await, JobState::Running);
    assert_eq!(world.outcome(again, &success).await, pair(200, "applied"));
}

#[tokio::test]
async fn an_error_that_no_try_can_help_is_final_and_stays_so() {
    let world = world().await;
    let hold = world.waiting().await;
    let error = json!({"status": "error", "error": "no such town", "retry": false});
    assert_eq!(world.outcome(hold, &error).await, pair(200, "applied"));
    let ended = (JobState::Dead, Some("no such town".to_owned()), None);
    assert_eq!(world.row(hold.job).await, ended);
    let success = json!({"status": "success"});
    assert_eq!(world.outcome(hold, &success).await, pair(409, "stale"));
    assert_eq!(world.row(hold.job).await, ended);
}

#[tokio::test]
async fn a_callback_before_the_wait_counts() {
    let world = world().await;
    let hold = world.called().await;
    assert_eq!(
        world.outcome(hold, &json!({"status": "success"})).await,
        pair(200, "applied")
    );
    assert_eq!(world.wait(hold).await, FinishReport::Stale);
    assert_eq!(world.state(hold.job).await, JobState::Succeeded);
}

#[tokio::test]
async fn what_was_taken_back_at_its_deadline_hears_no_late_callback() {
    let world = world().await;
    let hold = world.waiting().await;
    world.deadline(hold.job, -1, 60).await;
    assert_eq!(world.queue.reap(10).await.expect("an answer"), 1);
    assert_eq!(world.state(hold.job).await, JobState::Queued);
    let success = json!({"status": "success"});
    assert_eq!(world.outcome(hold, &success).await, pair(409, "stale"));
    assert_eq!(world.state(hold.job).await, JobState::Queued);
    assert_eq!(
        world.events(hold.job, "stale_write").await,
        1,
        "it is recorded"
    );
}

#[tokio::test]
async fn progress_renews_the_deadline_up_to_the_end_of_the_attempt() {
    let world = world().await;
    let hold = world.waiting().await;
    let progress = json!({"status": "progress", "progress": {"done": 3, "of": 10}});
    world.deadline(hold.job, 5, 3600).await;
    assert_eq!(world.outcome(hold, &progress).await, pair(200, "applied"));
    assert!((55..=60).contains(&world.deadline_secs(hold.job).await));
    assert_eq!(
        world.row(hold.job).await.2,
        Some(json!({"done": 3, "of": 10}))
    );
    world.deadline(hold.job, 5, 20).await;
    world.outcome(hold, &progress).await;
    assert!((15..=20).contains(&world.deadline_secs(hold.job).await));
    // Nor does it ever bring the deadline nearer.
    world.deadline(hold.job, 500, 20).await;
    world.outcome(hold, &progress).await;
    assert!(world.deadline_secs(hold.job).await > 490);
    // Without one, it is a sign of life that leaves the last one.
    world.outcome(hold, &json!({"status": "progress"})).await;
    assert!(world.row(hold.job).await.2.is_some());
}

#[tokio::test]
async fn lines_keep_their_order_and_repeats_are_dropped() {
    let world = world().await;
    let hold = world.called().await;
    let own = ["called".to_owned()];
    let stream = model::LogStream::Task;
    assert!(
        world
            .queue
            .append_lines(hold, stream, &own)
            .await
            .expect("an answer")
    );
    let said =
        |from: i64, lines: &[&str]| json!({"status": "progress", "log": lines, "log_from": from});
    world.says(hold, &said(1, &["one", "two"])).await;
    world.says(hold, &said(1, &["one", "two"])).await;
    world.wait(hold).await;
    world.says(hold, &said(2, &["two", "three"])).await;
    world
        .says(hold, &json!({"status": "progress", "log": "free\ntext"}))
        .await;
    world
        .says(hold, &json!({"log": ["last"], "log_from": 4}))
        .await;
    let lines: Vec<(i64, String)> = ["called", "one", "two", "three", "free", "text", "last"]
        .iter()
        .zip(1..)
        .map(|(line, seq)| (seq, (*line).to_owned()))
        .collect();
    assert_eq!(world.log(hold.job).await, lines);
}

#[tokio::test]
async fn a_function_that_never_stops_talking_fills_nothing_and_may_still_end() {
    let world = world().await;
    let hold = world.waiting().await;
    let line = "a".repeat(16 * 1024);
    // About 1 MiB each.
    for n in 0..20 {
        let said = json!({"status": "progress", "log": vec![&line; 60], "log_from": n * 60 + 1});
        assert_eq!(world.outcome(hold, &said).await, pair(200, "applied"));
    }
    let kept: (i64, i64, i64) = sqlx::query_as(
        "select count(*), sum(length(line))::bigint, count(*) filter (where line like '%is not kept%')
         from switchyard.job_logs where job_id = $1",
    )
    .bind(hold.job.0)
    .fetch_one(&world.rows)
    .await
    .expect("numbers");
    assert!(
        kept.0 > 1000 && kept.1 <= 16 << 20 && kept.2 == 1,
        "{kept:?}"
    );
    // Nor does it take the place of others by how often it talks.
    let progress = json!({"status": "progress"});
    let at_once = join_all((0..600).map(|_| world.says(hold, &progress))).await;
    let slowed = at_once.iter().filter(|(status, _)| *status == 429).count();
    assert!(slowed > 0, "it is told to wait");
    let other = world.waiting().await;
    let success = json!({"status": "success"});
    assert_eq!(world.outcome(other, &success).await, pair(200, "applied"));
    let mut end = world.outcome(hold, &success).await;
    while end.0 == 429 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        end = world.outcome(hold, &success).await;
    }
    assert_eq!(end, pair(200, "applied"));
}

#[tokio::test]
async fn a_function_learns_that_its_job_was_cancelled_and_may_confirm_it() {
    let world = world().await;
    let hold = world.waiting().await;
    let cancel = world.queue.cancel(world.tenant, hold.job, "Ann").await;
    assert_eq!(cancel.expect("an answer"), Some(CancelOutcome::Requested));
    world.deadline(hold.job, 5, 3600).await;
    let (status, answer) = world.says(hold, &json!({"status": "progress"})).await;
    assert_eq!((status, &answer["cancel"]), (200, &json!(true)));
    assert!(
        world.deadline_secs(hold.job).await <= 5,
        "it is not renewed"
    );
    let confirmed = json!({"status": "cancelled"});
    assert_eq!(world.outcome(hold, &confirmed).await, pair(200, "applied"));
    assert_eq!(world.state(hold.job).await, JobState::Cancelled);
    assert_eq!(
        world.outcome(hold, &confirmed).await,
        pair(200, "duplicate")
    );
}

#[tokio::test]
async fn a_job_that_ends_although_it_was_cancelled_keeps_its_outcome() {
    let world = world().await;
    let hold = world.waiting().await;
    world
        .queue
        .cancel(world.tenant, hold.job, "Ann")
        .await
        .expect("an answer");
    assert_eq!(
        world.outcome(hold, &json!({"status": "success"})).await,
        pair(200, "applied")
    );
    assert_eq!(world.state(hold.job).await, JobState::Succeeded);
    assert_eq!(world.events(hold.job, "cancel_too_late").await, 1);
}

#[tokio::test]
async fn a_cancelled_job_whose_function_says_nothing_is_cancelled_unconfirmed() {
    let world = world().await;
    let hold = world.waiting().await;
    world
        .queue
        .cancel(world.tenant, hold.job, "Ann")
        .await
        .expect("an answer");
    world.deadline(hold.job, -1, 60).await;
    world.queue.reap(10).await.expect("an answer");
    let (state, reason, _) = world.row(hold.job).await;
    assert_eq!(state, JobState::Cancelled);
    assert!(reason.is_some_and(|reason| reason.contains("not confirmed")));
}

#[tokio::test]
async fn a_function_that_stopped_unasked_has_failed() {
    let world = world().await;
    let hold = world.waiting().await;
    let (status, answer) = world.says(hold, &json!({"status": "cancelled"})).await;
    assert_eq!((status, &answer["state"]), (200, &json!("queued")));
}

#[tokio::test]
async fn nothing_is_believed_without_the_token_of_the_call() {
    let world = world().await;
    let (hold, other) = (world.waiting().await, world.waiting().await);
    let job = hold.job.to_string();
    let token = world.token(hold);
    let over = world
        .token_until(hold, world.ctx.now() - TimeDelta::seconds(1))
        .sign(&world.keyring);
    let foreign = world
        .token_until(hold, world.ctx.now() + TimeDelta::minutes(5))
        .sign(&key_file().0);
    let success = r#"{"status":"success"}"#;
    for headers in [
        vec![("x-job-id", job.as_str())],
        vec![("x-job-id", &job), ("x-worker-id", "worker-0")],
        vec![("x-job-id", &job), ("x-worker-id", &over)],
        vec![("x-job-id", &job), ("x-worker-id", &foreign)],
        vec![("x-job-id", &job), ("x-worker-id", &world.token(other))],
        vec![("x-job-id", &job), ("x-worker-id", &token[1..])],
    ] {
        let (status, answer) = world.post(&headers, success).await;
        assert_eq!(status, 401, "{headers:?}: {answer}");
        assert!(answer["error"].is_string());
    }
    let in_query = format!("/callback?x-worker-id={token}&token={token}");
    let (status, _) = world
        .post_to(&in_query, &[("x-job-id", &job)], success)
        .await;
    assert_eq!(status, 401, "a token in the query is none");
    // Whose token is bad is not listened to: the body is not read.
    let body = Body::from_stream(futures::stream::once(async {
        Err::<axum::body::Bytes, _>(std::io::Error::other("it was read"))
    }));
    let (status, _) = world
        .post(&[("x-job-id", &job), ("x-worker-id", "x")], body)
        .await;
    assert_eq!(status, 401);
    assert_eq!(world.state(hold.job).await, JobState::Waiting);

    let tenant = Uuid::new_v4().to_string();
    let headers = [("x-worker-id", token.as_str()), ("x-database-id", &tenant)];
    let (status, answer) = world.post(&headers, success).await;
    assert_eq!((status, &answer["outcome"]), (404, &json!("unknown")));
    assert_eq!(world.state(hold.job).await, JobState::Waiting);
}

#[tokio::test]
async fn a_token_of_the_key_before_still_counts() {
    let world = world().await;
    let hold = world.waiting().await;
    let token = world
        .token_until(hold, world.ctx.now() + TimeDelta::minutes(5))
        .sign(&world.previous);
    let (status, answer) = world.post(&[("x-worker-id", &token)], "").await;
    assert_eq!((status, &answer["outcome"]), (200, &json!("applied")));
}

#[tokio::test]
async fn upstreams_functions_are_understood() {
    let world = world().await;
    let health = world.post(&[], "").await;
    assert_eq!(health, (200, json!({"status": "ok"})));

    let tenant = world.tenant.uuid().to_string();
    for (error, body, state) in [
        (None, r#"{"status":"success"}"#, JobState::Succeeded),
        (
            Some("true"),
            r#"{"status":"error","error":"HTTP 500"}"#,
            JobState::Queued,
        ),
        (None, "", JobState::Succeeded),
    ] {
        let hold = world.waiting().await;
        let (job, token) = (hold.job.to_string(), world.token(hold));
        let mut headers = vec![
            ("Content-Type", "application/json"),
            ("X-Worker-Id", token.as_str()),
            ("X-Job-Id", &job),
            ("X-Database-Id", &tenant),
        ];
        headers.extend(error.map(|error| ("X-Job-Error", error)));
        let (status, answer) = world.post(&headers, body).await;
        assert_eq!((status, &answer["outcome"]), (200, &json!("applied")));
        assert_eq!(world.state(hold.job).await, state);
    }
}

#[tokio::test]
async fn an_openfaas_gateway_answers_for_a_function_that_echoes_nothing() {
    let world = world().await;
    for (function_status, body, state) in [
        ("200", "plain text", JobState::Succeeded),
        ("500", "boom", JobState::Queued),
        ("404", "gone", JobState::Dead),
    ] {
        let hold = world.waiting().await;
        let token = world.token(hold);
        let headers = [
            ("x-call-id", token.as_str()),
            ("x-function-status", function_status),
            ("content-type", "text/plain"),
        ];
        let (status, answer) = world.post(&headers, body).await;
        assert_eq!((status, &answer["outcome"]), (200, &json!("applied")));
        assert_eq!(world.state(hold.job).await, state);
    }
}

#[tokio::test]
async fn a_body_that_is_not_understood_changes_nothing() {
    let world = world().await;
    let hold = world.waiting().await;
    let token = world.token(hold);
    let large = format!("{{\"result\":\"{}\"}}", "x".repeat(BODY_BYTES_MAX));
    for (kind, body, expected) in [
        ("application/json", large.as_str(), 413),
        ("application/json", "{", 400),
        ("application/json", r#"{"status":"running"}"#, 400),
        ("text/plain", "done", 415),
    ] {
        let headers = [("x-worker-id", token.as_str()), ("content-type", kind)];
        let (status, answer) = world.post(&headers, body.to_owned()).await;
        assert_eq!(status, expected, "{answer}");
    }
    assert_eq!(world.state(hold.job).await, JobState::Waiting);
    // What a database cannot store is stored all the same.
    let nul = json!({"status": "error", "error": "a\u{0}b", "log": ["c\u{0}"]});
    assert_eq!(world.outcome(hold, &nul).await, pair(200, "applied"));
}

#[tokio::test]
async fn a_job_that_never_was_is_unknown() {
    let world = world().await;
    let hold = Hold {
        job: JobId(4_000_000),
        epoch: 1,
    };
    assert_eq!(
        world.outcome(hold, &json!({"status": "success"})).await,
        pair(404, "unknown")
    );
}

#[tokio::test]
async fn without_history_a_repeat_is_still_known() {
    let world = world().await;
    sqlx::query("update switchyard.tasks set history = 'none' where name = $1")
        .bind(TASK)
        .execute(&world.rows)
        .await
        .expect("a task");
    let hold = world.waiting().await;
    let success = json!({"status": "success"});
    assert_eq!(world.outcome(hold, &success).await, pair(200, "applied"));
    assert_eq!(world.outcome(hold, &success).await, pair(200, "duplicate"));
    let error = json!({"status": "error"});
    assert_eq!(world.outcome(hold, &error).await, pair(409, "stale"));
}

#[tokio::test(start_paused = true)]
async fn while_the_database_is_away_a_function_is_asked_to_come_again() {
    let ((keyring, key), (_, previous)) = (key_file(), key_file());
    let resources = Resources::new().expect("an HTTP client");
    // Nobody listens on port 1.
    let nowhere = "postgres://nobody@127.0.0.1:1/none".to_owned();
    let folder = tempfile::tempdir().expect("a folder");
    let blobs = folder.path().to_str().expect("a path");
    let acquire = Duration::from_secs(3);
    let env = env(nowhere, blobs, [&key, &previous]).with(
        "DATABASE_ACQUIRE_TIMEOUT_SECS",
        acquire.as_secs().to_string(),
    );
    let mounted = FUNCTION.mount(&env, &resources).expect("good settings");
    let token = CallbackToken {
        tenant: Uuid::nil().into(),
        job: JobId(1),
        epoch: 1,
        until: mounted.ctx.now() + TimeDelta::minutes(5),
    };
    let empty = "0".repeat(64);
    let whole = json!({"bytes": 0, "sha256": empty, "parts": 0}).to_string();
    let over = json!({"end": "succeeded", "report": {}}).to_string();
    for (method, path, body) in [
        ("POST", "/callback", ""),
        ("GET", "/run", ""),
        ("POST", "/run/news", "{}"),
        ("POST", "/run/end", &over),
        ("GET", "/run/artifacts/x/parts", ""),
        ("PUT", "/run/artifacts/x/parts/0", "x"),
        ("POST", "/run/artifacts/x", &whole),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("x-worker-id", token.sign(&keyring))
            .body(Body::from(body.to_owned()))
            .expect("a request");
        let begun = tokio::time::Instant::now();
        let answer = mounted.router.clone().oneshot(request).await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert_eq!(answer.headers()["retry-after"], "2", "{path}");
        let took = begun.elapsed();
        assert!(took <= TRY_FOR + acquire, "{path}: {took:?}");
    }
}
