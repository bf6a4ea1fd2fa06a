//! Somebody pushes to a workspace and sees the plan come, reads it, approves it, sees resources change and the outputs; then
//! stops what another push led to and sees in three stages that it has stopped. Git, terraform and the runner are real.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt as _;
use reqwest::Method;
use rustix::process::Signal;
use serde_json::json;
use tokio::time::timeout;

use super::driver::Browser;
use super::{SIGHT_MAX, quiet, sees};
use crate::harness::{Api, GitServer, Installation, Repository, turn, until};
use crate::outside::terraform_is_there;

/// What a reader of a language looks for.
struct Words {
    language: &'static str,
    planned: &'static str,
    create: &'static str,
    replace: &'static str,
    sensitive: &'static str,
    approved: &'static str,
    changing: &'static str,
    done: &'static str,
    succeeded: &'static str,
    not_applied: &'static str,
    applied: &'static str,
}

const LANGUAGES: [Words; 2] = [
    Words {
        language: "en",
        planned: "1 to add",
        create: "will be created",
        replace: "will be destroyed, then created",
        sensitive: "sensitive",
        approved: "Approved by",
        changing: "Changing",
        done: "Done",
        succeeded: "Succeeded",
        not_applied: "Not applied yet",
        applied: "Applied: nothing of it runs any more",
    },
    Words {
        language: "ru",
        planned: "добавить: 1",
        create: "будет создан",
        replace: "будет удалён и создан заново",
        sensitive: "скрыто",
        approved: "Одобрен",
        changing: "Изменяется",
        done: "Готов",
        succeeded: "Выполнено",
        not_applied: "Ещё не выполнена",
        applied: "Выполнена: ничего больше не работает",
    },
];

/// How long all of it may take, on a busy machine.
const WALK_MAX: Duration = Duration::from_secs(240);
const SECRET: &str = "correct horse battery";

/// What is applied: it takes until `gate` is there, and follows `version`.
fn configuration(version: u32, gate: &str) -> String {
    format!(
        r#"resource "terraform_data" "slow" {{
  input            = {{ text = "seen", password = sensitive("{SECRET}") }}
  triggers_replace = {version}
  provisioner "local-exec" {{
    command = "echo half way; until [ -e '{gate}' ]; do sleep 0.1; done; echo all of it"
  }}
}}
output "greeting" {{
  value = "hello from terraform"
}}
output "token" {{
  value     = "{SECRET}"
  sensitive = true
}}
"#
    )
}

/// An installation that is told of pushes to a workspace's repository, and plans what was pushed.
struct World {
    it: Installation,
    api: Api,
    server: GitServer,
    repository: Repository,
    _repositories: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let repositories = tempfile::tempdir().expect("a folder");
        let repository = Repository::new(&repositories.path().join("acme"), "acme/infra");
        repository.commit("what is to come");
        let server = GitServer::serve(repositories.path()).await;
        let it = Installation::with(&[
            format!("EGRESS_ALLOW={}", server.authority()),
            format!("EGRESS_CA_FILE={}", server.certificate().display()),
        ])
        .await;
        let api = it.admin().await;
        let world = Self {
            it,
            api,
            server,
            repository,
            _repositories: repositories,
        };
        world.watch().await;
        world
    }

    /// Makes the workspace, and for each language a binding that plans what is pushed to a folder of that name.
    async fn watch(&self) {
        let url = self.server.url(&self.repository);
        let workspace = json!({"name": "infra", "repository": url});
        self.api.make("/workspaces", workspace).await;
        let bindings = LANGUAGES.map(|words| {
            let folder = words.language;
            json!({
                "filter": {"paths": [format!("{folder}/**")]},
                "task": "task-terraform",
                "payload": {
                    "action": "plan",
                    "state": format!("of-{folder}"),
                    "source": {"workspace": "infra", "folder": folder, "commit": "{{ event.data.after }}"},
                },
            })
        });
        let trigger = json!({
            "name": "pushes", "kind": "git", "config": {"repository": self.repository.name},
            "bindings": bindings,
        });
        let made = self.api.make("/triggers", trigger).await;
        let id = made["id"].as_str().expect("an id");
        let secret = made["secret"].as_str().expect("it is shown once");
        let hook = self.it.portal(&format!("/webhook-gitea/{id}"));
        self.repository.tell_as_gitea(&hook, secret);
    }

    /// The job that came after this one. There is one alone: the other folder's binding starts nothing.
    async fn next_job(&self, after: i64) -> i64 {
        let jobs = until("the push's job", SIGHT_MAX, async || {
            let jobs: Vec<i64> =
                sqlx::query_scalar("select id from switchyard.jobs where id > $1 order by id")
                    .bind(after)
                    .fetch_all(self.it.rows())
                    .await
                    .expect("the jobs can be read");
            (!jobs.is_empty()).then_some(jobs)
        })
        .await;
        assert_eq!(jobs.len(), 1, "{jobs:?}");
        jobs[0]
    }

    async fn last_job(&self) -> i64 {
        sqlx::query_scalar(
            "select coalesce(max(id), 0) from (select id from switchyard.jobs
             union all select id from switchyard.jobs_archive) jobs",
        )
        .fetch_one(self.it.rows())
        .await
        .expect("the jobs can be read")
    }

    /// Waits for the run of a job; one that ended without says why.
    async fn begun(&self, job: i64) {
        until("a run of the push's job", SIGHT_MAX, async || {
            let ended: Option<Option<String>> =
                sqlx::query_scalar("select reason from switchyard.jobs_archive where id = $1")
                    .bind(job)
                    .fetch_optional(self.it.rows())
                    .await
                    .expect("the archive can be read");
            assert_eq!(ended, None, "it ended without a run");
            sqlx::query_scalar::<_, i64>("select epoch from switchyard.runs where job_id = $1")
                .bind(job)
                .fetch_optional(self.it.rows())
                .await
                .expect("the run can be read")
        })
        .await;
    }

    /// Jobs, runs and the end of the log, for whoever looks why the walk ended early.
    async fn known(&self) -> String {
        let lines: Vec<String> = sqlx::query_scalar(
            "select concat_ws(' ', 'job', id, task, state, waiting, last_error) from switchyard.jobs
             union all
             select concat_ws(' ', 'ended job', id, task, state, reason) from switchyard.jobs_archive
             union all
             select concat_ws(' ', 'run of', job_id, phase, state, reason) from switchyard.runs
             union all
             select concat_ws(' ', 'event', type, data) from switchyard.events
             union all
             (select line from switchyard.job_logs order by job_id desc, epoch desc, seq desc limit 40)",
        )
        .fetch_all(self.it.rows())
        .await
        .expect("the rows can be read");
        lines.join("\n")
    }

    /// Sends a signal to what a run's runner has started.
    async fn signal(&self, job: i64, signal: Signal) {
        let processes = self.it.processes(job).await.find();
        for program in processes.iter().filter(|found| !found.is_runner) {
            program.signal(signal);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_planned_read_approved_and_applied_and_another_run_is_stopped_in_every_language()
{
    if !terraform_is_there() {
        return;
    }
    let Some(browser) = Browser::start().await else {
        return;
    };
    let _turn = turn().await;
    let mut world = World::new().await;
    browser.go(&world.it.sign_in_link().await).await;
    browser.click("form[action='/sign-in'] button").await;
    let walk = async {
        for words in LANGUAGES {
            approves(&browser, &world, &words).await;
            stops(&browser, &world, &words).await;
        }
    };
    let walked = AssertUnwindSafe(timeout(WALK_MAX, walk))
        .catch_unwind()
        .await;
    if !matches!(walked, Ok(Ok(()))) {
        let known = world.known().await;
        panic!(
            "the page shows:\n{}\n\nand what is known is:\n{known}",
            browser.text("main").await
        );
    }
}

/// Pushes a version of the configuration; its plan comes, is read and is approved. Returns the job, whose apply is half way.
async fn half_way(
    browser: &Browser,
    world: &World,
    words: &Words,
    version: u32,
    gate: &str,
) -> i64 {
    browser
        .go(&world.it.portal(&format!("/runs?lang={}", words.language)))
        .await;
    let before = world.last_job().await;
    let folder = world.it.folder();
    let work = folder.join(format!("work-{}-{version}", words.language));
    let clone = world.server.clone_of(&world.repository, &work);
    let path = format!("{}/main.tf", words.language);
    let commit = clone.push_file(&path, &configuration(version, gate));
    let job = world.next_job(before).await;
    world.begun(job).await;
    // The list is live: the run comes without a reload.
    browser.click(&format!("#runs a[href='/jobs/{job}']")).await;
    sees(browser, "#job-plan", "terraform_data.slow").await;
    sees(browser, "#job-plan .panel-head", words.planned).await;
    sees(browser, "section[aria-labelledby='payload']", &commit).await;
    let act = if version == 1 {
        words.create
    } else {
        words.replace
    };
    sees(browser, "#job-plan", act).await;
    browser
        .click("#job-plan form[action$='/approve'] button")
        .await;
    sees(browser, "#job-plan", words.approved).await;
    browser.script("window.stayed = true").await;
    sees(browser, "#job-run .resources", words.changing).await;
    sees(browser, "#job-run .resources", "half way").await;
    job
}

async fn approves(browser: &Browser, world: &World, words: &Words) {
    let gate = world.it.folder().join(format!("gate-{}", words.language));
    let gate = gate.to_str().expect("our folders are text");
    half_way(browser, world, words, 1, gate).await;
    // The whole of the plan is still there to be read, and what is secret is not.
    for text in [words.create, words.sensitive, "\"seen\""] {
        sees(browser, "#job-plan", text).await;
    }
    std::fs::write(gate, "").expect("our folder");
    sees(browser, "#job-run .resources", words.done).await;
    sees(browser, "#job-run dl.facts", "hello from terraform").await;
    sees(browser, "#job-run dl.facts", words.sensitive).await;
    sees(browser, "#job-status h1", words.succeeded).await;
    sees(browser, ".log-lines", "all of it").await;
    let stayed = browser.script("return window.stayed === true").await;
    assert_eq!(stayed, true, "the page changed without being loaded again");
    let page = browser.text("main").await;
    assert!(!page.contains(SECRET), "{page}");
    quiet(browser).await;
}

async fn stops(browser: &Browser, world: &World, words: &Words) {
    let job = half_way(browser, world, words, 2, "/nowhere").await;
    // Whoever is told to stop is held, so that each stage can be looked at.
    world.signal(job, Signal::STOP).await;
    browser
        .click("#job-status form[action$='/cancel'] button")
        .await;
    sees_times(browser, 2).await;
    sees(browser, ".stop li:nth-child(3)", words.not_applied).await;
    world.signal(job, Signal::CONT).await;
    sees(browser, ".stop li:nth-child(3)", words.applied).await;
    sees_times(browser, 3).await;
    quiet(browser).await;
    let (status, states) = world.api.send(Method::GET, "/terraform-states", None).await;
    let mut states = states["items"].as_array().expect("a list").iter();
    assert!(
        status == 200 && states.all(|state| state["lock"].is_null()),
        "the lock is free"
    );
}

/// Waits until so many stages have their time.
async fn sees_times(browser: &Browser, count: u64) {
    until(&format!("{count} stages"), SIGHT_MAX, || async {
        let script = "return document.querySelectorAll('.stop li time').length";
        (browser.script(script).await.as_u64() == Some(count)).then_some(())
    })
    .await;
}
