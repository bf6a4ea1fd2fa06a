//! Terraform's runs through everything as it is shipped, with the real terraform: planned, decided on, applied, looked at for
//! drift, destroyed, refused, cancelled, lost.

use std::time::{Duration, Instant};

use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Api, Installation, turn, until};
use crate::outside::terraform_is_there;

/// How long anything may take, on a busy machine.
const WITHIN: Duration = Duration::from_secs(120);
/// A lease, a tick and what it takes to record it.
const NOTICED: Duration = Duration::from_secs(30 + 15 + 45);

/// What is planned: a resource that follows a file outside, one with a secret, and one whose provisioner takes its time.
const MAIN: &str = r#"
variable "watched" {
  type = string
}
variable "password" {
  type      = string
  sensitive = true
}
variable "phrase" {
  type      = string
  default   = ""
  sensitive = true
}
variable "wait" {
  type    = string
  default = "0"
}
resource "terraform_data" "follower" {
  triggers_replace = filesha256(var.watched)
  input            = "first"
  provisioner "local-exec" {
    command = "echo configured by hand"
  }
}
resource "terraform_data" "secret" {
  input = var.password
}
resource "terraform_data" "slow" {
  count      = var.wait == "0" ? 0 : 1
  depends_on = [terraform_data.follower]
  provisioner "local-exec" {
    command = "echo it begins; sleep ${var.wait}"
  }
}
output "follower" {
  value = terraform_data.follower.output
}
output "password" {
  value     = var.password
  sensitive = true
}
"#;
const SECRET: &str = "correct horse battery";

/// An installation, and an admin of its tenant.
struct World {
    it: Installation,
    admin: Api,
}

impl World {
    async fn new() -> Self {
        let it = Installation::new().await;
        std::fs::write(it.folder().join("watched"), "one").expect("our folder");
        let admin = it.admin().await;
        Self { it, admin }
    }

    async fn api(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        self.admin.send(method, path, body).await
    }

    /// Asks the state backend as an admin's own terraform would.
    async fn backend(&self, method: &str, query: &str, body: Option<Value>) -> (u16, Value) {
        let state = format!("net{query}");
        self.admin.backend(method, &state, body).await
    }

    fn payload(&self, action: &str, variables: &Value) -> Value {
        let watched = self.it.folder().join("watched");
        let mut all = json!({"watched": watched, "password": SECRET, "phrase": SECRET});
        for (name, value) in variables.as_object().expect("an object") {
            all[name] = value.clone();
        }
        json!({
            "action": action,
            "state": "net",
            "source": {"inline": {"files": {"main.tf": MAIN}}},
            "variables": all,
            "stop_grace_secs": 10,
        })
    }

    async fn add(&self, action: &str, variables: &Value) -> i64 {
        let job = json!({"task": "task-terraform", "payload": self.payload(action, variables)});
        let (status, made) = self.api(Method::POST, "/jobs", Some(job)).await;
        assert_eq!(status, 201, "{made}");
        made["job"].as_i64().expect("a number")
    }

    /// State and reason of a job that has ended.
    async fn ended(&self, job: i64, within: Duration) -> (String, String) {
        until("the end of the job", within, async || {
            sqlx::query_as::<_, (String, Option<String>)>(
                "select state::text, reason from switchyard.jobs_archive where id = $1",
            )
            .bind(job)
            .fetch_optional(self.it.rows())
            .await
            .expect("the archive can be read")
        })
        .await
        .into_parts()
    }

    /// Cancels a job and says how long its end took.
    async fn cancelled(&self, job: i64) -> Duration {
        let asked = Instant::now();
        let path = format!("/jobs/{job}/cancel");
        assert_eq!(self.api(Method::POST, &path, None).await.0, 202);
        let ended = self.ended(job, WITHIN).await;
        let took = asked.elapsed();
        assert_eq!(ended.0, "cancelled", "{ended:?}\n{}", self.log(job).await);
        took
    }

    async fn log(&self, job: i64) -> String {
        let lines: Vec<String> = sqlx::query_scalar(
            "select line from switchyard.job_logs where job_id = $1 order by epoch, seq",
        )
        .bind(job)
        .fetch_all(self.it.rows())
        .await
        .expect("the log can be read");
        lines.join("\n")
    }

    async fn until_said(&self, job: i64, text: &str) {
        until(text, WITHIN, async || {
            self.log(job).await.contains(text).then_some(())
        })
        .await;
    }

    /// What the newest run of a job reports.
    async fn report(&self, job: i64) -> Value {
        sqlx::query_scalar(
            "select report from switchyard.runs where job_id = $1 order by epoch desc limit 1",
        )
        .bind(job)
        .fetch_one(self.it.rows())
        .await
        .expect("the run can be read")
    }

    /// Phase and state of each run of a job.
    async fn runs(&self, job: i64) -> Vec<(String, String)> {
        sqlx::query_as("select phase, state from switchyard.runs where job_id = $1 order by epoch")
            .bind(job)
            .fetch_all(self.it.rows())
            .await
            .expect("the runs can be read")
    }

    /// The SHA-256 of the plan that a job waits with.
    async fn plan(&self, job: i64) -> String {
        until("a plan to decide on", WITHIN, async || {
            let ended: Option<(String, Option<String>)> = sqlx::query_as(
                "select state::text, reason from switchyard.jobs_archive where id = $1",
            )
            .bind(job)
            .fetch_optional(self.it.rows())
            .await
            .expect("the archive can be read");
            if let Some(ended) = ended {
                panic!("it ended instead: {ended:?}\n{}", self.log(job).await);
            }
            let waiting: Option<String> = sqlx::query_scalar(
                "select waiting::text from switchyard.jobs where id = $1 and waiting is not null",
            )
            .bind(job)
            .fetch_optional(self.it.rows())
            .await
            .expect("the job can be read");
            (waiting.as_deref() == Some("approval")).then_some(())
        })
        .await;
        let report = self.report(job).await;
        report["artifacts"]["plan"]
            .as_str()
            .expect("a plan")
            .to_owned()
    }

    async fn decide(&self, job: i64, how: &str, plan: &str) -> (u16, String) {
        let path = format!("/jobs/{job}/{how}");
        let (status, said) = self
            .api(Method::POST, &path, Some(json!({ "plan": plan })))
            .await;
        let word = said["outcome"].as_str().or(said["detail"].as_str());
        let word = word.unwrap_or_default();
        let word = word.split(':').next().unwrap_or_default();
        (status, word.to_owned())
    }

    /// A job that was planned, approved and has come to its end.
    async fn applied(&self, action: &str) -> i64 {
        let job = self.add(action, &json!({})).await;
        let plan = self.plan(job).await;
        assert_eq!(
            self.decide(job, "approve", &plan).await,
            (200, "approved".to_owned())
        );
        let ended = self.ended(job, WITHIN).await;
        assert_eq!(ended.0, "succeeded", "{ended:?}\n{}", self.log(job).await);
        job
    }

    /// Whether a look for drift found some, and the exit code that said so.
    async fn drifted(&self) -> (bool, i64) {
        let job = self.add("drift", &json!({})).await;
        let ended = self.ended(job, WITHIN).await;
        assert_eq!(ended.0, "succeeded", "{ended:?}\n{}", self.log(job).await);
        let report = self.report(job).await;
        let code = report["exit_codes"]["drift"].as_i64().expect("a code");
        (report["changes"].as_bool().expect("it is said"), code)
    }

    /// The lock, the number of versions and the current one of the state.
    async fn state(&self) -> (Option<String>, i64, Option<i64>) {
        sqlx::query_as("select lock_id, versions, current from switchyard.terraform_states")
            .fetch_one(self.it.rows())
            .await
            .expect("the state can be read")
    }

    async fn deeds(&self, deed: &str) -> i64 {
        sqlx::query_scalar("select count(*) from switchyard.audit where deed = $1")
            .bind(deed)
            .fetch_one(self.it.rows())
            .await
            .expect("the audit can be read")
    }

    /// A job whose apply is in its slow provisioner.
    async fn in_mid_apply(&self) -> i64 {
        let job = self.add("plan", &json!({"wait": "60"})).await;
        let plan = self.plan(job).await;
        assert_eq!(self.decide(job, "approve", &plan).await.0, 200);
        self.until_said(job, "(local-exec): it begins").await;
        job
    }
}

/// Two columns as they are used.
trait IntoParts {
    fn into_parts(self) -> (String, String);
}

impl IntoParts for (String, Option<String>) {
    fn into_parts(self) -> (String, String) {
        (self.0, self.1.unwrap_or_default())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_approved_applied_watched_for_drift_and_destroyed() {
    let _turn = turn().await;
    if !terraform_is_there() {
        return;
    }
    let world = World::new().await;

    let job = world.add("plan", &json!({})).await;
    let plan = world.plan(job).await;
    let report = world.report(job).await;
    assert_eq!(report["plan"]["changes"]["add"], 2, "{report}");
    assert!(!report.to_string().contains(SECRET), "{report}");
    // Of the variables that it was given, those are shown that are not marked.
    let (_, shown) = world.api(Method::GET, &format!("/jobs/{job}"), None).await;
    let watched = world.it.folder().join("watched");
    assert_eq!(
        shown["payload"]["variables"],
        json!({"watched": watched, "password": "***", "phrase": "***"})
    );
    assert!(!shown.to_string().contains(SECRET), "{shown}");
    let other = "0".repeat(64);
    assert_eq!(
        world.decide(job, "approve", &other).await,
        (409, "other_plan".to_owned())
    );
    assert_eq!(
        world.decide(job, "approve", &plan).await,
        (200, "approved".to_owned())
    );
    let ended = world.ended(job, WITHIN).await;
    assert_eq!(ended.0, "succeeded", "{ended:?}\n{}", world.log(job).await);
    assert_eq!(
        world.decide(job, "approve", &plan).await,
        (409, "decided".to_owned())
    );
    let of_runs = [("plan", "succeeded"), ("apply", "succeeded")];
    let of_runs = of_runs.map(|(phase, state)| (phase.to_owned(), state.to_owned()));
    assert_eq!(world.runs(job).await, of_runs);
    let report = world.report(job).await;
    assert_eq!(report["terraform"]["applied"]["add"], 2, "{report}");
    assert_eq!(report["terraform"]["outputs"]["follower"]["value"], "first");
    assert_eq!(
        report["terraform"]["outputs"]["password"]["sensitive"],
        true
    );
    assert!(!report.to_string().contains(SECRET), "{report}");
    let log = world.log(job).await;
    assert!(log.contains("(local-exec): configured by hand"), "{log}");
    assert!(!log.contains(SECRET), "{log}");

    // What people see of the state.
    let (status, states) = world.api(Method::GET, "/terraform-states", None).await;
    assert_eq!((status, &states["items"][0]["name"]), (200, &json!("net")));
    assert_eq!(states["items"][0]["lock"], Value::Null);
    let id = states["items"][0]["id"].as_str().expect("an id").to_owned();
    let (_, shown) = world
        .api(Method::GET, &format!("/terraform-states/{id}"), None)
        .await;
    assert_eq!(shown["state"]["outputs"]["password"]["value"], "sensitive");
    assert!(!shown.to_string().contains(SECRET), "{shown}");
    let (_, _, current) = world.state().await;
    let good = current.expect("a version");

    // Nothing was touched; then the file was; then the state was, through the backend.
    assert_eq!(world.drifted().await, (false, 0));
    let watched = world.it.folder().join("watched");
    std::fs::write(&watched, "two").expect("our folder");
    assert_eq!(world.drifted().await, (true, 2));
    std::fs::write(&watched, "one").expect("our folder");
    assert_eq!(world.drifted().await, (false, 0));
    let (status, mut state) = world.backend("GET", "", None).await;
    assert_eq!(status, 200);
    let resources = state["resources"].as_array_mut().expect("resources");
    resources.retain(|resource| resource["name"] != "secret");
    state["serial"] = json!(state["serial"].as_i64().expect("a number") + 1);
    assert_eq!(world.backend("POST", "", Some(state)).await.0, 200);
    assert_eq!(world.drifted().await, (true, 2));
    let path = format!("/terraform-states/{id}/versions/{}/diff", good + 1);
    let (status, different) = world.api(Method::GET, &path, None).await;
    assert_eq!(
        (status, &different["instances"][0]["action"]),
        (200, &json!("delete"))
    );
    assert!(!different.to_string().contains(SECRET), "{different}");
    let path = format!("/terraform-states/{id}/versions/{good}/promote");
    assert_eq!(world.api(Method::POST, &path, None).await.0, 200);
    assert_eq!(world.drifted().await, (false, 0));

    let job = world.applied("destroy").await;
    let report = world.report(job).await;
    assert_eq!(report["terraform"]["applied"]["remove"], 2, "{report}");
    let (_, state) = world.backend("GET", "", None).await;
    assert_eq!(state["resources"], json!([]));
    assert_eq!(world.state().await.0, None, "nobody holds the lock");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_is_no_longer_true_cannot_be_approved() {
    let _turn = turn().await;
    if !terraform_is_there() {
        return;
    }
    let world = World::new().await;

    // A newer plan of the same state takes the place of one that waits.
    let first = world.add("plan", &json!({})).await;
    let plan = world.plan(first).await;
    let second = world.add("plan", &json!({})).await;
    assert_eq!(world.ended(first, WITHIN).await.0, "superseded");
    assert_eq!(
        world.decide(first, "approve", &plan).await,
        (409, "superseded".to_owned())
    );
    let plan = world.plan(second).await;
    assert_eq!(
        world.decide(second, "reject", &plan).await,
        (200, "rejected".to_owned())
    );
    assert_eq!(world.ended(second, WITHIN).await.0, "dead");

    // Somebody else changed the state since.
    world.applied("apply").await;
    let job = world
        .add("plan", &json!({"password": "another long secret"}))
        .await;
    let plan = world.plan(job).await;
    let (_, mut state) = world.backend("GET", "", None).await;
    state["serial"] = json!(state["serial"].as_i64().expect("a number") + 1);
    assert_eq!(world.backend("POST", "", Some(state)).await.0, 200);
    assert_eq!(
        world.decide(job, "approve", &plan).await,
        (409, "moved".to_owned())
    );

    // A lock that somebody holds refuses a run, and is taken away by hand alone.
    let lock = json!({"ID": "1b4ae8f5-0000-4000-8000-000000000000", "Who": "ann@desk",
        "Created": "2026-01-01T00:00:00Z"});
    assert_eq!(world.backend("LOCK", "", Some(lock.clone())).await.0, 200);
    let refused = world.add("plan", &json!({})).await;
    let ended = world.ended(refused, WITHIN).await;
    assert_eq!(ended.0, "dead", "{ended:?}");
    assert!(
        ended.1.contains("Error acquiring the state lock"),
        "{}",
        ended.1
    );
    let log = world.log(refused).await;
    assert!(
        log.contains("Error acquiring the state lock") && log.contains("1b4ae8f5-0000-4000-8000"),
        "{log}"
    );
    let (_, states) = world.api(Method::GET, "/terraform-states", None).await;
    assert_eq!(states["items"][0]["lock"]["by"], "Ann");
    let id = states["items"][0]["id"].as_str().expect("an id");
    let path = format!("/terraform-states/{id}/unlock");
    let wrong = json!({"lock": "another"});
    assert_eq!(world.api(Method::POST, &path, Some(wrong)).await.0, 409);
    let right = json!({"lock": lock["ID"], "why": "Ann has left"});
    assert_eq!(world.api(Method::POST, &path, Some(right)).await.0, 200);
    assert_eq!(world.deeds("force_unlock_state").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_apply_saves_what_it_did_before_it_is_said_to_be_cancelled() {
    let _turn = turn().await;
    if !terraform_is_there() {
        return;
    }
    let world = World::new().await;
    let job = world.in_mid_apply().await;
    let processes = world.it.processes(job).await;
    assert!(!processes.find().is_empty());
    let took = world.cancelled(job).await;
    assert!(took <= Duration::from_secs(10 + 2), "it took {took:?}");
    let programs = processes
        .find()
        .into_iter()
        .filter(|found| !found.is_runner);
    assert_eq!(
        programs.count(),
        0,
        "nothing of it but the runner that said so"
    );

    let (lock, _, current) = world.state().await;
    assert_eq!(lock, None);
    let current = current.expect("what it did was saved");
    let (_, state) = world.backend("GET", "", None).await;
    let saved: Vec<_> = state["resources"]
        .as_array()
        .expect("resources")
        .iter()
        .filter_map(|resource| resource["name"].as_str())
        .collect();
    assert!(saved.contains(&"follower"), "{saved:?}");
    let in_order: bool = sqlx::query_scalar(
        "select v.created_at < e.at from switchyard.terraform_versions v, switchyard.job_events e
         where v.number = $1 and e.job_id = $2 and e.kind = 'cancelled'",
    )
    .bind(current)
    .bind(job)
    .fetch_one(world.it.rows())
    .await
    .expect("both are on record");
    assert!(in_order, "saved first, recorded as cancelled afterwards");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terraform_that_has_to_be_killed_keeps_no_lock() {
    let _turn = turn().await;
    if !terraform_is_there() {
        return;
    }
    let world = World::new().await;
    let job = world.in_mid_apply().await;
    let processes = world.it.processes(job).await;
    // It hears of nothing any more.
    for program in processes.find().iter().filter(|found| !found.is_runner) {
        program.signal(Signal::STOP);
    }
    let took = world.cancelled(job).await;
    let grace = Duration::from_secs(10);
    assert!(
        (grace..=grace + Duration::from_secs(2)).contains(&took),
        "it took {took:?}"
    );
    let left = processes.find();
    assert!(left.iter().all(|found| found.is_runner), "{left:?}");
    until("the lock to be free", NOTICED, async || {
        world.state().await.0.is_none().then_some(())
    })
    .await;
    assert_eq!(world.deeds("release_state_lock").await, 1);
    // And the next run gets it.
    let next = world.add("plan", &json!({})).await;
    world.plan(next).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_whose_runner_was_killed_is_not_begun_again() {
    let _turn = turn().await;
    if !terraform_is_there() {
        return;
    }
    let world = World::new().await;
    let job = world.in_mid_apply().await;
    let (held, versions, _) = world.state().await;
    assert!(held.is_some());
    let processes = world.it.processes(job).await;
    for runner in processes.find().iter().filter(|found| found.is_runner) {
        runner.signal(Signal::KILL);
    }
    let ended = world.ended(job, NOTICED).await;
    assert_eq!(ended.0, "dead");
    assert!(ended.1.contains("not begun twice"), "{}", ended.1);
    let of_runs = [("plan", "succeeded"), ("apply", "lost")];
    let of_runs = of_runs.map(|(phase, state)| (phase.to_owned(), state.to_owned()));
    assert_eq!(world.runs(job).await, of_runs);
    until("the lock to be free", NOTICED, async || {
        world.state().await.0.is_none().then_some(())
    })
    .await;
    assert_eq!(world.deeds("release_state_lock").await, 1);
    assert_eq!(
        world.state().await.1,
        versions,
        "what was saved is what is there"
    );

    // A plan shows what is left to do.
    let next = world.add("plan", &json!({})).await;
    world.plan(next).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_is_larger_than_may_be_kept_says_so_and_leaves_nothing() {
    let _turn = turn().await;
    if !terraform_is_there() {
        return;
    }
    let world = World::new().await;
    let quota = async |bytes: Option<i64>| {
        sqlx::query(
            "select switchyard.set_artifact_quota(database_id, null, $1, 'an operator') from switchyard.tenants",
        )
        .bind(bytes)
        .execute(world.it.rows())
        .await
        .expect("a quota");
    };
    quota(Some(1_000)).await;
    let job = world.add("plan", &json!({})).await;
    let (state, reason) = world.ended(job, WITHIN).await;
    assert_eq!(state, "dead", "{reason}");
    assert!(
        reason.starts_with("\"plan\" could not be kept: 413 ") && !reason.contains('{'),
        "{reason}"
    );
    let left: i64 = sqlx::query_scalar(
        "select (select count(*) from switchyard.artifacts) + (select count(*) from switchyard.artifact_uploads)
             + (select count(*) from switchyard.terraform_states where lock_id is not null)",
    )
    .fetch_one(world.it.rows())
    .await
    .expect("a number");
    assert_eq!(
        left, 0,
        "nothing of it is kept or on its way, no lock is held"
    );

    quota(None).await;
    let job = world.add("plan", &json!({})).await;
    world.plan(job).await;
}
