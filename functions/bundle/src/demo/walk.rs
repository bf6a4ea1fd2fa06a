//! The steps that the demo shows.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use database::{Connect, TenantDb};
use host::Env;
use model::{
    DatabaseRole, EventId, GitTrigger, Glob, Host, JobId, JobState, SourceKind, TriggerId,
    WorkloadId,
};
use serde_json::{Map, Value, json};
use store::ensure;
use store::people::Token;
use store::trail::{self, Arrived, Decided, DecidedOutcome};
use url::Url;

use super::git::Git;
use super::loopback;
use super::repository::{DemoRepository, hook_script};
use crate::cli::{Paint, Running, line, secret_file};

/// How long each step that waits may take.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How many lines of a failed job's log are shown.
const LINES_SHOWN: i64 = 20;

/// The repository's name, as the trigger's filter knows it.
const REPOSITORY: &str = "demo/site";
/// The site that the push deploys, and the one that it does not, because it follows another branch.
const SITE: &str = "hello";
const RELEASE: &str = "hello-release";

/// One demo.
pub(crate) struct Walk<'a> {
    running: &'a Running,
    env: &'a Env,
    paint: Paint,
}

/// What the push meets.
struct Made {
    repository: DemoRepository,
    trigger: TriggerId,
    site: WorkloadId,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(running: &'a Running, env: &'a Env, paint: Paint) -> Self {
        Self {
            running,
            env,
            paint,
        }
    }

    /// Shows a push from the commit to the page. Fails when the page is not the one that was pushed.
    pub(crate) async fn run(&self) -> anyhow::Result<()> {
        let db = TenantDb::new(&Connect {
            url: self.running.urls.tenant_url.clone(),
            role: DatabaseRole::Tenant,
            connections_max: 2,
            acquire_timeout: Duration::from_secs(10),
        })?;
        let result = self.walk(&db).await;
        db.close().await;
        result
    }

    async fn walk(&self, db: &TenantDb) -> anyhow::Result<()> {
        let page = |path: String| Some(self.running.page(&path));
        let start = Instant::now();

        let made = self
            .make(db)
            .await
            .context("could not make what the demo needs")?;
        let what = "made a repository, a workload and a trigger";
        self.tell(start, what, page(format!("/workloads/{}", made.site)));

        let step = Instant::now();
        // New in each demo, so that an old page is not taken for the new one.
        let marker = Token::generate().expose()[..10].to_owned();
        let commit = made.repository.commit(&marker).await?;
        self.tell(step, &format!("git commit {}", &commit[..7]), None);

        let step = Instant::now();
        let pushed = Instant::now();
        let said = made.repository.push().await?;
        self.tell(step, "git push", None);
        for text in said.err.lines().filter(|text| !text.trim().is_empty()) {
            line(format_args!(
                "           {}",
                self.paint.quiet(text.trim_end())
            ));
        }

        let step = Instant::now();
        let arrived = self.arrival(db, made.trigger, &commit).await?;
        let delivery = page(format!("/deliveries/{}", arrived.delivery));
        self.tell(
            step,
            "the delivery was taken and its event stored",
            delivery,
        );

        let step = Instant::now();
        let decided = self
            .decisions(db, made.trigger, &commit, arrived.event)
            .await?;
        self.tell(
            step,
            "the event was dispatched",
            page(format!("/events/{}", arrived.event)),
        );
        for decision in &decided {
            line(format_args!(
                "           {}",
                self.paint.quiet(decision_text(decision))
            ));
        }
        let job = decided.iter().find_map(|decision| match decision.outcome {
            DecidedOutcome::Job(job) if decision.workload == made.site => Some(job),
            DecidedOutcome::Job(_) | DecidedOutcome::Unmatched { .. } => None,
        });
        let Some(job) = job else {
            bail!("the push of main should have started a deploy of {SITE}, and did not");
        };

        let step = Instant::now();
        self.end_of(db, job).await?;
        self.tell(
            step,
            &format!("job {job} deployed the site"),
            page(format!("/jobs/{job}")),
        );

        let step = Instant::now();
        let url = format!("http://{SITE}.localhost:{}/", self.running.port);
        self.check_page(&url, &marker).await?;
        self.tell(step, "the page is the one that was pushed", Some(url));

        let took = pushed.elapsed().as_millis();
        line("");
        line(
            self.paint
                .good(format_args!("From `git push` to the live page: {took} ms")),
        );
        line("");
        Ok(())
    }

    fn tell(&self, since: Instant, what: &str, page: Option<String>) {
        let took = self
            .paint
            .quiet(format_args!("{:>6} ms", since.elapsed().as_millis()));
        match page {
            Some(page) => line(format_args!("{took}  {what:<46}  {page}")),
            None => line(format_args!("{took}  {what}")),
        }
    }

    /// A repository with a hook, two workloads, a trigger, and a binding for each workload.
    async fn make(&self, db: &TenantDb) -> anyhow::Result<Made> {
        let folder = self.running.data.path().join(super::FOLDER);
        let repository = DemoRepository::make(Git::new(self.env), folder.clone()).await?;
        let secret_path = folder.join("secret");
        let secret = secret_file(&secret_path, || Token::generate().expose().into())?;
        let tenant = self.running.tenant;

        let mut tx = db.begin(tenant).await?;
        let mut workload = async |name: &str, branch: &str| -> anyhow::Result<WorkloadId> {
            let path = repository.bare();
            let source = json!({"kind": "local", "path": path});
            let config = map([("source", source), ("branch", json!(branch))]);
            let host: Host = name.parse()?;
            Ok(ensure::workload(&mut tx, tenant, name, SourceKind::Static, &config, &host).await?)
        };
        let site = workload(SITE, "main").await?;
        let release = workload(RELEASE, "release").await?;
        let filter = GitTrigger {
            repository: Some(Glob::try_from(REPOSITORY.to_owned())?),
            ..GitTrigger::default()
        };
        let keyring = &self.running.keyring;
        let trigger =
            ensure::git_trigger(&mut tx, tenant, keyring, "demo pushes", &filter, &secret).await?;
        for (position, (workload, branch)) in (0..).zip([(site, "main"), (release, "release")]) {
            let filter = map([("branches", json!([branch]))]);
            ensure::binding(&mut tx, tenant, trigger, workload, &filter, position).await?;
        }
        tx.commit().await?;

        let program = std::env::current_exe().context("this program's file is not known")?;
        let secret_path = secret_path.display().to_string();
        repository.set_hook(&hook_script(
            &program,
            &[
                "hook-gitea",
                "--url",
                &self.running.gitea_webhook(trigger),
                "--secret-file",
                &secret_path,
                "--repository",
                REPOSITORY,
                "--pusher",
                "demo",
            ],
        ))?;
        Ok(Made {
            repository,
            trigger,
            site,
        })
    }

    async fn arrival(
        &self,
        db: &TenantDb,
        trigger: TriggerId,
        commit: &str,
    ) -> anyhow::Result<Arrived> {
        let tenant = self.running.tenant;
        until(
            "the push did not arrive: what the hook said above tells why",
            async || {
                let mut tx = db.begin(tenant).await?;
                let arrived = trail::arrived(&mut tx, tenant, trigger, commit).await?;
                tx.commit().await?;
                Ok(arrived)
            },
        )
        .await
    }

    async fn decisions(
        &self,
        db: &TenantDb,
        trigger: TriggerId,
        commit: &str,
        event: EventId,
    ) -> anyhow::Result<Vec<Decided>> {
        let tenant = self.running.tenant;
        until(
            "the event was not dispatched: start again with RUST_LOG=info to see what the relay and the broker do",
            async || {
                let mut tx = db.begin(tenant).await?;
                let arrived = trail::arrived(&mut tx, tenant, trigger, commit).await?;
                let decided = match arrived.filter(|arrived| arrived.dispatched) {
                    Some(_) => Some(trail::decisions(&mut tx, tenant, event).await?),
                    None => None,
                };
                tx.commit().await?;
                Ok(decided)
            },
        )
        .await
    }

    async fn end_of(&self, db: &TenantDb, job: JobId) -> anyhow::Result<()> {
        let tenant = self.running.tenant;
        let mut last = None;
        let ended = until("the job did not end", async || {
            let mut tx = db.begin(tenant).await?;
            let progress = trail::job(&mut tx, tenant, job).await?;
            tx.commit().await?;
            last.clone_from(&progress);
            Ok(progress.filter(|progress| progress.state.is_final()))
        })
        .await;
        match ended {
            Ok(progress) if progress.state == JobState::Succeeded => return Ok(()),
            Ok(_) | Err(_) => {}
        }
        let mut tx = db.begin(tenant).await?;
        let lines = trail::last_lines(&mut tx, tenant, job, LINES_SHOWN).await?;
        tx.commit().await?;
        let (state, attempts, reason) = match last {
            Some(last) => (last.state.as_str(), last.attempts, last.reason),
            None => ("not to be found", 0, None),
        };
        let mut text = format!(
            "job {job} should have deployed the site within {} s, and is {state} after {attempts} tries",
            WAIT_MAX.as_secs()
        );
        if let Some(reason) = reason {
            text.push_str(&format!("\n  reason: {reason}"));
        }
        for line in lines {
            text.push_str(&format!("\n  log: {line}"));
        }
        bail!(text)
    }

    /// Dials this machine with the site's host name, as a browser would.
    async fn check_page(&self, url: &str, marker: &str) -> anyhow::Result<()> {
        const SHOWN_CHARS: usize = 400;
        let answer = loopback::get(&Url::parse(url)?).await?;
        let text = String::from_utf8_lossy(&answer.body);
        if answer.status.is_success() && text.contains(marker) {
            return Ok(());
        }
        let came: String = text.chars().take(SHOWN_CHARS).collect();
        bail!(
            "{url} should have answered 200 with a page that says {marker:?}; it answered {} with:\n{came}",
            answer.status
        )
    }
}

/// Looks again and again until something is there.
async fn until<T>(
    why_not: &str,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if started.elapsed() > WAIT_MAX {
            bail!("{why_not} ({} s were waited)", WAIT_MAX.as_secs());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn decision_text(decision: &Decided) -> String {
    let name = &decision.workload_name;
    match &decision.outcome {
        DecidedOutcome::Job(job) => format!("{name}: matched, job {job}"),
        DecidedOutcome::Unmatched {
            clause,
            expected,
            actual,
        } => {
            format!("{name}: did not match, {clause}: asks for {expected}, the push says {actual}")
        }
    }
}

fn map<const N: usize>(entries: [(&str, Value); N]) -> Map<String, Value> {
    entries
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}
