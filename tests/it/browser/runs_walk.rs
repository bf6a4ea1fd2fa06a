//! Somebody watches a plan come, reads it, approves it, sees resources change and the outputs; then stops another run and sees
//! in three stages that it has stopped. The test plays the runner, so that each moment can be looked at.

use std::time::Duration;

use database::{Connect, SystemDb};
use model::run::{RunEnd, RunNews, RunOver, RunReport, StepNews, StepState, Then};
use model::{DatabaseRole, LogStream, TenantId};
use queue::runs::{Begun, NewRun};
use queue::{Hold, Queue};
use serde_json::{Value, json};
use uuid::Uuid;

use super::driver::Browser;
use super::{SIGHT_MAX, quiet, sees};
use crate::harness::{Installation, turn, until};

/// What a reader of a language looks for.
struct Words {
    language: &'static str,
    create: &'static str,
    sensitive: &'static str,
    approved: &'static str,
    changing: &'static str,
    succeeded: &'static str,
    not_heard: &'static str,
    not_applied: &'static str,
    applied: &'static str,
}

const LANGUAGES: [Words; 2] = [
    Words {
        language: "en",
        create: "will be created",
        sensitive: "sensitive",
        approved: "Approved by",
        changing: "Changing",
        succeeded: "Succeeded",
        not_heard: "Not heard yet",
        not_applied: "Not applied yet",
        applied: "Applied: nothing of it runs any more",
    },
    Words {
        language: "ru",
        create: "будет создан",
        sensitive: "скрыто",
        approved: "Одобрен",
        changing: "Изменяется",
        succeeded: "Выполнено",
        not_heard: "Ещё не услышана",
        not_applied: "Ещё не выполнена",
        applied: "Выполнена: ничего больше не работает",
    },
];

const SHA256: &str = "5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9";

/// The runner of the jobs that nobody else works on.
struct Runner {
    queue: Queue,
    tenant: TenantId,
}

impl Runner {
    async fn new(it: &Installation) -> Self {
        let db = SystemDb::new(&Connect {
            url: it.database_url().into(),
            role: DatabaseRole::System,
            connections_max: 2,
            acquire_timeout: Duration::from_secs(20),
        });
        let queue = Queue::new(db.expect("a URL"));
        let tenant = queue.tenant_named("default").await.expect("an answer");
        Self {
            tenant: tenant.expect("the first tenant"),
            queue,
        }
    }

    /// Takes the job as its task would, and begins its run.
    async fn begin(&self, job: i64, phase: &str, steps: &[&str], then: Then) -> Hold {
        let tasks = ["nobodys".to_owned()];
        let hold = until("a claim", SIGHT_MAX, || async {
            let lease = Duration::from_secs(60);
            let claimed = self.queue.claim(Uuid::new_v4(), &tasks, 10, lease).await;
            let claimed = claimed.expect("a claim");
            claimed
                .into_iter()
                .map(|job| job.hold)
                .find(|hold| hold.job.0 == job)
        })
        .await;
        let steps: Vec<_> = steps.iter().map(|&step| step.to_owned()).collect();
        let begun = self
            .queue
            .begin_run(
                hold,
                &NewRun {
                    phase,
                    launcher: "local",
                    spec: b"sealed",
                    handle: &json!({}),
                    steps: &steps,
                    start_within: Duration::from_secs(60),
                    lease: Duration::from_secs(60),
                    time: Duration::from_secs(600),
                    then,
                    retry: false,
                },
            )
            .await;
        assert_eq!(begun.expect("a run"), Begun::Waiting);
        hold
    }

    async fn news(&self, hold: Hold, steps: &[(u32, StepState)], terraform: Option<Value>) {
        let step = |&(step, state): &(u32, StepState)| StepNews {
            step,
            state,
            exit_code: None,
            why: None,
        };
        let news = RunNews {
            steps: steps.iter().map(step).collect(),
            report: terraform.map(|terraform| RunReport {
                terraform: Some(terraform),
                ..RunReport::default()
            }),
            ..RunNews::default()
        };
        let heard = self.queue.run_news(self.tenant, hold, &news).await;
        heard.expect("an answer");
    }

    async fn says(&self, hold: Hold, first: u64, text: &str) {
        let news = RunNews {
            first,
            lines: vec![(LogStream::Stdout, text.to_owned())],
            ..RunNews::default()
        };
        let heard = self.queue.run_news(self.tenant, hold, &news).await;
        heard.expect("an answer");
    }

    async fn end(&self, hold: Hold, end: RunEnd, report: RunReport) {
        let over = RunOver {
            end,
            reason: None,
            report,
        };
        let heard = self.queue.end_run(self.tenant, hold, &over).await;
        heard.expect("an answer");
    }
}

fn plan() -> RunReport {
    let plan = json!({
        "version": "1.11.4",
        "changes": {"add": 1, "change": 0, "import": 0, "remove": 0},
        "complete": true,
        "resources": [{
            "address": "terraform_data.slow", "provider": "terraform.io/builtin/terraform", "actions": ["create"],
            "attributes": [
                {"path": "input", "after": {"value": "seen"}},
                {"path": "password", "after": "sensitive"},
                {"path": "output", "after": "unknown"},
            ],
        }],
    });
    RunReport {
        changes: true,
        plan: Some(plan),
        artifacts: [("plan".to_owned(), SHA256.to_owned())].into(),
        ..RunReport::default()
    }
}

fn resource(state: &str, output: &str) -> Value {
    json!({"resources": [
        {"address": "terraform_data.slow", "action": "create", "state": state, "elapsed_secs": 3.0, "output": output},
    ]})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_read_approved_and_applied_and_another_run_is_stopped_in_every_language() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let _turn = turn().await;
    let mut it = Installation::new().await;
    browser.go(&it.sign_in_link().await).await;
    browser.click("form[action='/sign-in'] button").await;
    let runner = Runner::new(&it).await;
    for words in LANGUAGES {
        approves(&browser, &it, &runner, &words).await;
        stops(&browser, &it, &runner, &words).await;
    }
}

async fn approves(browser: &Browser, it: &Installation, runner: &Runner, words: &Words) {
    browser
        .go(&it.portal(&format!("/runs?lang={}", words.language)))
        .await;
    let job = it.idle_job();
    let approve = Then::Approve { within_secs: 3_600 };
    let hold = runner
        .begin(job, "plan", &["init", "plan", "show"], approve)
        .await;
    // The list is live: the run comes without a reload.
    browser.click(&format!("#runs a[href='/jobs/{job}']")).await;
    sees(browser, "#job-run", "init").await;
    browser.script("window.stayed = true").await;
    runner
        .news(
            hold,
            &[(0, StepState::Succeeded), (1, StepState::Running)],
            None,
        )
        .await;
    runner
        .says(hold, 1, "Terraform will perform the following actions")
        .await;
    sees(browser, ".log-lines", "will perform").await;
    runner.end(hold, RunEnd::Succeeded, plan()).await;
    sees(browser, "#job-plan", "terraform_data.slow").await;
    for text in [words.create, words.sensitive, "\"seen\""] {
        sees(browser, "#job-plan", text).await;
    }
    quiet(browser).await;

    browser
        .click("#job-plan form[action$='/approve'] button")
        .await;
    sees(browser, "#job-plan", words.approved).await;
    browser.script("window.stayed = true").await;
    let hold = runner.begin(job, "apply", &["apply"], Then::Finish).await;
    runner
        .news(
            hold,
            &[(0, StepState::Running)],
            Some(resource("running", "half way")),
        )
        .await;
    sees(browser, "#job-run .resources", words.changing).await;
    sees(browser, "#job-run .resources", "half way").await;
    let mut done = resource("done", "all of it");
    done["outputs"] = json!({
        "greeting": {"sensitive": false, "value": "hello from terraform"},
        "token": {"sensitive": true},
    });
    let report = RunReport {
        terraform: Some(done),
        ..RunReport::default()
    };
    runner.end(hold, RunEnd::Succeeded, report).await;
    sees(browser, "#job-run dl.facts", "hello from terraform").await;
    sees(browser, "#job-run dl.facts", words.sensitive).await;
    sees(browser, "#job-status h1", words.succeeded).await;
    let stayed = browser.script("return window.stayed === true").await;
    assert_eq!(stayed, true, "the page changed without being loaded again");
    quiet(browser).await;
}

async fn stops(browser: &Browser, it: &Installation, runner: &Runner, words: &Words) {
    let job = it.idle_job();
    let hold = runner.begin(job, "apply", &["apply"], Then::Finish).await;
    runner.news(hold, &[(0, StepState::Running)], None).await;
    browser.go(&it.portal(&format!("/jobs/{job}"))).await;
    browser
        .click("#job-status form[action$='/cancel'] button")
        .await;
    sees(browser, ".stop li:nth-child(2)", words.not_heard).await;
    runner.news(hold, &[], None).await;
    sees(browser, ".stop li:nth-child(3)", words.not_applied).await;
    let report = RunReport::default();
    runner.end(hold, RunEnd::Cancelled, report).await;
    sees(browser, ".stop li:nth-child(3)", words.applied).await;
    let times = browser
        .script("return document.querySelectorAll('.stop li time').length")
        .await;
    assert_eq!(times, 3, "each stage has its time");
    quiet(browser).await;
}
