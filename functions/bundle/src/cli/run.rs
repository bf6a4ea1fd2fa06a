//! Starts everything on this machine, lets somebody work with it, and puts it all down again.

use std::collections::BTreeMap;

use anyhow::Context as _;
use host::Env;
use model::{PersonId, Role, TenantId, TriggerId};
use queue::JobsSchema;
use store::Keyring;
use store::people::{Token, create_sign_in_link, ensure_member};

use super::arguments::RunArgs;
use super::data_dir::DataDir;
use super::database::Database;
use super::operate::TENANT;
use super::output::{Paint, line};
use super::port;
use super::prepare::prepare;
use super::progress::Progress;
use super::signals::Signals;
use crate::functions::FUNCTIONS;
use crate::local::manifests::Manifests;
use crate::local::{Databases, Runtime, RuntimeOptions};

/// Who the sign-in link is for.
const PERSON: &str = "Local admin";

/// What is to be started.
pub(crate) struct Started<'a> {
    /// The process's environment.
    pub(crate) env: &'a Env,
    /// What was asked for.
    pub(crate) args: RunArgs,
    /// The data folder's name, where none was asked for.
    pub(crate) data_name: &'static str,
    /// Settings for functions beside those in their manifests, which may depend on the data folder.
    pub(crate) settings: fn(&DataDir) -> anyhow::Result<BTreeMap<String, String>>,
}

/// Everything, running.
pub(crate) struct Running {
    runtime: Runtime,
    /// Where its data is.
    pub(crate) data: DataDir,
    /// How to get into the database.
    pub(crate) urls: Databases,
    database_shown: String,
    /// Opens and seals secrets.
    pub(crate) keyring: Keyring,
    /// The tenant that is there from the start.
    pub(crate) tenant: TenantId,
    /// The port of everything.
    pub(crate) port: u16,
    link: Token,
}

impl Started<'_> {
    /// Starts everything, does `work` with it, and puts it down whatever came of that. A signal interrupts the start.
    pub(crate) async fn run(
        self,
        work: impl AsyncFnOnce(&Running, &mut Signals) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        host::raise_open_files();
        let mut signals = Signals::new()?;
        // What can be wrong without anything running is looked at first.
        let manifests = Manifests::find(self.args.manifests.as_deref())?;
        let jobs_schema = self.args.jobs_schema.chosen(self.env)?;
        let data = DataDir::open(self.args.data_dir.as_deref(), self.data_name, self.env)?;
        let progress = Progress::new();
        let opening = Database::open(&data, self.env, &progress);
        let database = signals.unless_asked(opening).await?;
        let starting = self.start(manifests, data, &database, jobs_schema.as_ref(), &progress);
        let result = match signals.unless_asked(starting).await {
            Ok(running) => {
                let result = work(&running, &mut signals).await;
                signals.patient(running.runtime.stop()).await;
                result
            }
            Err(error) => Err(error),
        };
        let closed = signals.patient(database.close()).await;
        result.and(closed)
    }

    async fn start(
        self,
        manifests: Manifests,
        data: DataDir,
        database: &Database,
        jobs_schema: Option<&JobsSchema>,
        progress: &Progress,
    ) -> anyhow::Result<Running> {
        // After the database: a second run on the same folder is told about the folder, not about the port.
        port::check(self.args.port)?;
        let keyring = data.keyring()?;
        let preparing = prepare(&database.urls.owner_url, jobs_schema);
        let mut owner = progress
            .step("preparing the database", preparing)
            .await?
            .owner;
        let (tenant, person) = ensure_member(&mut owner, TENANT, PERSON, Role::Admin)
            .await
            .context("could not make the first person")?;
        let mut settings = (self.settings)(&data)?;
        settings.extend(self.args.settings);
        let starting = Runtime::start(RuntimeOptions {
            manifests,
            functions: FUNCTIONS.to_vec(),
            databases: database.urls.clone(),
            master_key_file: data.master_key_file(),
            blobs_url: data.blobs().display().to_string(),
            run_data: data.path().to_owned(),
            port: self.args.port,
            isolate: self.args.isolate,
            settings,
            executable: None,
        });
        let runtime = progress
            .step("starting the functions", starting)
            .await
            .context("the functions cannot be started")?;
        data.served_at(&format!("http://localhost:{}/", runtime.gateway().port()))?;
        let link = link(&mut owner, person).await?;
        Ok(Running {
            port: runtime.gateway().port(),
            runtime,
            data,
            urls: database.urls.clone(),
            database_shown: database.shown.clone(),
            keyring,
            tenant,
            link,
        })
    }
}

async fn link(owner: &mut sqlx::PgConnection, person: PersonId) -> anyhow::Result<Token> {
    create_sign_in_link(owner, person)
        .await
        .context("could not make a sign-in link")
}

impl Running {
    /// A page of the portal: `page` begins with a slash.
    pub(crate) fn page(&self, page: &str) -> String {
        format!("http://localhost:{}{page}", self.port)
    }

    /// Where a vendor sends the deliveries of a trigger. `trigger` may be a word that stands for one.
    pub(crate) fn webhook(&self, vendor: &str, trigger: &str) -> String {
        self.page(&format!("/webhook-{vendor}/{trigger}"))
    }

    /// Where Gitea would send the deliveries of a trigger.
    pub(crate) fn gitea_webhook(&self, trigger: TriggerId) -> String {
        self.webhook("gitea", &trigger.to_string())
    }

    /// Tells on standard output what is there and how to get in.
    pub(crate) fn summarise(&self, paint: Paint) {
        let row = |name: &str, value: String, more: &str| {
            let name = format!("{name:<10}");
            line(format_args!(
                "  {} {value}{}",
                paint.quiet(name),
                paint.quiet(more)
            ));
        };
        let version = env!("CARGO_PKG_VERSION");
        line("");
        line(paint.bold(format_args!("Switchyard {version} is running")));
        line("");
        row("Portal", paint.bold(self.page("/")), "");
        let sign_in = format!("/sign-in?token={}", self.link.expose());
        row(
            "Sign in",
            self.page(&sign_in),
            "  (works once, for 15 minutes)",
        );
        row("Webhooks", self.webhook("<vendor>", "<trigger>"), "");
        row("Data", self.data.path().display().to_string(), "");
        row("Database", self.database_shown.clone(), "");
        line("");
    }
}
