//! One step: its program is run, what it says goes into the log and the report.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use exec::lines::{Line, line_of};
use exec::{Ended, PIECES_MAX, Piece, Place, Program as Local, Reading, Redactor, Stop};
use futures::future::BoxFuture;
use model::LogStream;
use model::run::{
    FileContent, LOG_LINE_BYTES_MAX, NetlabApi, Output, Program, REPORT_BYTES_MAX, RunFile,
    RunReport, SshProgram, Step, StopLadder,
};
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::folder::Folder;
use crate::journal::Journal;

/// The longest line of terraform's UI that is read as one, in bytes.
const UI_LINE_BYTES_MAX: usize = 256 * 1024;
/// Between two reports while a step goes on.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// The longest last word of a program that becomes part of why a run failed, in bytes.
const LAST_WORD_BYTES_MAX: usize = 300;

/// A program on another machine, with all that is needed to run it.
#[derive(Debug)]
pub struct Remote<'a> {
    /// What is run and where.
    pub program: &'a SshProgram,
    /// The private key.
    pub key: &'a str,
    /// For the program.
    pub environment: &'a BTreeMap<String, String>,
    /// The run's folder: where uploads are and downloads go.
    pub folder: &'a Path,
    /// What the program is found by there; no other step of any run has it.
    pub mark: &'a str,
    /// How it is asked to stop.
    pub ladder: StopLadder,
    /// When.
    pub stop: &'a Stop,
    /// Keeps secrets out of lines.
    pub redactor: &'a Redactor,
    /// Where its output goes; while nobody takes that, the program waits.
    pub lines: &'a mpsc::Sender<Piece>,
}

/// Runs programs on other machines. Like [`exec::run`] it returns when nothing of the program is left there.
pub trait Executes: std::fmt::Debug + Send + Sync {
    /// Runs one.
    ///
    /// # Errors
    /// When it could not be run, or it is not known that it has ended.
    fn execute<'a>(&'a self, remote: Remote<'a>) -> BoxFuture<'a, anyhow::Result<Ended>>;
}

/// A job of netlab's own API on another machine, with all that is needed to have it done.
#[derive(Debug)]
pub struct Ordered<'a> {
    /// What is ordered and where.
    pub api: &'a NetlabApi,
    /// The password.
    pub password: &'a str,
    /// How long the end of what cannot be stopped is waited for.
    pub ladder: StopLadder,
    /// When it is to stop.
    pub stop: &'a Stop,
    /// Keeps secrets out of lines.
    pub redactor: &'a Redactor,
    /// Where its log goes.
    pub lines: &'a mpsc::Sender<Piece>,
}

/// Has jobs done by netlab's own API.
pub trait Orders: std::fmt::Debug + Send + Sync {
    /// Has one done, and returns when it has ended.
    ///
    /// # Errors
    /// When it could not be begun, or it is not known that it has ended.
    fn order<'a>(&'a self, ordered: Ordered<'a>) -> BoxFuture<'a, anyhow::Result<Ended>>;
}

/// What a runner can do on other machines; by itself nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Elsewhere<'a> {
    /// Programs, over SSH.
    pub ssh: Option<&'a dyn Executes>,
    /// Jobs of netlab's API.
    pub netlab: Option<&'a dyn Orders>,
}

/// What all steps of a run share.
pub(crate) struct Shared<'a> {
    pub(crate) folder: &'a Folder,
    pub(crate) place: &'a Place,
    pub(crate) files: &'a [RunFile],
    pub(crate) environment: &'a BTreeMap<String, String>,
    /// Values of secrets by their names.
    pub(crate) secrets: &'a BTreeMap<&'a str, &'a str>,
    pub(crate) journal: &'a Journal,
    pub(crate) stop: &'a Stop,
    pub(crate) elsewhere: Elsewhere<'a>,
}

/// How a step ended.
pub(crate) struct Done {
    pub(crate) code: i32,
    /// Why it failed, where its program said something last.
    pub(crate) last_word: Option<String>,
    /// What it is known to hide from now on.
    pub(crate) secrets: Vec<String>,
}

impl Shared<'_> {
    pub(crate) async fn run(
        &self,
        n: usize,
        step: &Step,
        redactor: &Redactor,
        report: &mut RunReport,
    ) -> anyhow::Result<Done> {
        let folder = self.folder.of_step(&step.folder)?;
        let mut environment = self.environment.clone();
        environment.extend(step.environment.clone());
        let (lines, pieces) = mpsc::channel(PIECES_MAX);
        let running = async {
            let ended = self
                .program(n, step, &environment, &folder, redactor, &lines)
                .await;
            drop(lines);
            ended
        };
        let mut told = Told {
            journal: self.journal,
            redactor,
            ui: (step.output == Output::Terraform).then(terraform::Ui::default),
            report: report.clone(),
            last_word: None,
        };
        let (ended, ()) = tokio::join!(running, told.take(pieces));
        told.settle();
        *report = told.report;
        // Terraform ends its errors with advice; why it failed it says first.
        let problem = told.ui.as_ref().and_then(terraform::Ui::problem);
        let last_word = match problem {
            Some(problem) => {
                let problem = redactor.text(&problem);
                let end = problem.floor_char_boundary(LAST_WORD_BYTES_MAX);
                Some(problem[..end].to_owned())
            }
            None => told.last_word,
        };
        let ended = ended?;
        let mut secrets = Vec::new();
        if step.output == Output::TerraformPlan && ended.code == 0 {
            let plan = ended.output.as_deref().ok_or_else(|| {
                anyhow::anyhow!(
                    "the plan has more than {} bytes of JSON",
                    terraform::PLAN_BYTES_MAX
                )
            })?;
            let (masked, changes) = terraform::masked_plan(plan)?;
            secrets = terraform::sensitive_values(plan, &self.variables(step)?)?;
            report.plan = Some(redactor.value(serde_json::to_value(masked)?));
            report.changes = changes;
        }
        Ok(Done {
            code: ended.code,
            last_word,
            secrets,
        })
    }

    /// The variables that terraform is given in a step's folder.
    fn variables(&self, step: &Step) -> anyhow::Result<Map<String, Value>> {
        let path = Path::new(&step.folder).join(terraform::VARIABLES_FILE);
        let given = self.files.iter().find(|file| Path::new(&file.path) == path);
        match given.map(|file| &file.content) {
            Some(FileContent::Text(text)) => serde_json::from_str(text)
                .context("the variables that terraform is given are no JSON"),
            Some(FileContent::Artifact { .. } | FileContent::Archive { .. }) | None => {
                Ok(Map::new())
            }
        }
    }

    async fn program(
        &self,
        n: usize,
        step: &Step,
        environment: &BTreeMap<String, String>,
        folder: &Path,
        redactor: &Redactor,
        lines: &mpsc::Sender<Piece>,
    ) -> anyhow::Result<Ended> {
        match &step.run {
            Program::Local { argv, install } => {
                let program = Local {
                    argv,
                    install: install.as_deref(),
                    environment,
                    folder,
                    stop: step.stop,
                };
                let reading = match step.output {
                    Output::Lines => Reading::Lines(LOG_LINE_BYTES_MAX),
                    Output::Terraform => Reading::Lines(UI_LINE_BYTES_MAX),
                    Output::TerraformPlan => Reading::Whole(terraform::PLAN_BYTES_MAX),
                };
                let ended =
                    exec::run(self.place, &program, reading, redactor, lines, self.stop).await?;
                Ok(ended)
            }
            Program::Ssh(program) => {
                let ssh = self.elsewhere.ssh.with_context(unable)?;
                ssh.execute(Remote {
                    program,
                    key: self.secret(&program.key_secret)?,
                    environment: &step.environment,
                    folder,
                    mark: &format!("{}-{n}", self.place.mark),
                    ladder: step.stop,
                    stop: self.stop,
                    redactor,
                    lines,
                })
                .await
            }
            Program::NetlabApi(api) => {
                let netlab = self.elsewhere.netlab.with_context(unable)?;
                netlab
                    .order(Ordered {
                        api,
                        password: self.secret(&api.password_secret)?,
                        ladder: step.stop,
                        stop: self.stop,
                        redactor,
                        lines,
                    })
                    .await
            }
        }
    }

    /// A secret to sign in with.
    fn secret(&self, name: &str) -> anyhow::Result<&str> {
        let found = self.secrets.get(name).copied();
        found.with_context(|| format!("the run has no secret {name:?} to sign in with"))
    }
}

fn unable() -> &'static str {
    "this runner was built without what does this on other machines"
}

/// Takes what a program says and tells it on.
struct Told<'a> {
    journal: &'a Journal,
    redactor: &'a Redactor,
    ui: Option<terraform::Ui>,
    report: RunReport,
    last_word: Option<String>,
}

impl Told<'_> {
    async fn take(&mut self, mut pieces: mpsc::Receiver<Piece>) {
        let mut reported = Instant::now();
        let mut news = false;
        loop {
            let piece = tokio::select! {
                piece = pieces.recv() => piece,
                () = tokio::time::sleep_until(reported + REPORT_EVERY), if news => {
                    self.settle();
                    self.journal.report(bounded(self.report.clone()));
                    reported = Instant::now();
                    news = false;
                    continue;
                }
            };
            let Some(piece) = piece else {
                return;
            };
            // What terraform says also goes into the report.
            if self.ui.is_none() && self.journal.is_full(piece.lines.len()) {
                continue;
            }
            for line in piece.lines {
                self.line(piece.stream, &line).await;
            }
            news |= self.ui.is_some();
        }
    }

    async fn line(&mut self, stream: LogStream, line: &Line) {
        let text = match (&mut self.ui, stream) {
            (Some(ui), LogStream::Stdout) => match understood(ui, line) {
                // What it says in several lines may hide what is only seen over them.
                Some(text) => self.redactor.text(&text).into_owned(),
                None => return,
            },
            _ => line.shown(self.redactor),
        };
        for line in text.split('\n') {
            self.journal.line(stream, line_of(line)).await;
            if !line.trim().is_empty() {
                let end = line.floor_char_boundary(LAST_WORD_BYTES_MAX);
                self.last_word = Some(line[..end].trim().to_owned());
            }
        }
    }

    fn settle(&mut self) {
        if let Some(ui) = &self.ui {
            self.report.terraform = Some(self.redactor.value(ui.report()));
        }
    }
}

/// What terraform's UI says with a line. Of a message that cannot be read nothing is shown: only terraform knows what in it is
/// sensitive.
fn understood(ui: &mut terraform::Ui, line: &Line) -> Option<String> {
    let Some(bytes) = line.whole() else {
        return Some(format!(
            "a message of more than {UI_LINE_BYTES_MAX} bytes is left out"
        ));
    };
    let line = String::from_utf8_lossy(bytes);
    let text = ui.feed(&line)?;
    if text == line && line.trim_start().starts_with('{') {
        return Some("a message that broke off, or is not known, is left out".to_owned());
    }
    Some(text)
}

/// The report that may be sent. A plan that is too large for it is said to be; the plan itself is kept as an artifact.
pub(crate) fn bounded(mut report: RunReport) -> RunReport {
    let size =
        |report: &RunReport| serde_json::to_vec(report).map_or(usize::MAX, |json| json.len());
    let bytes = size(&report);
    if bytes <= REPORT_BYTES_MAX {
        return report;
    }
    let left_out = serde_json::json!({
        "left_out": format!("a report of {bytes} bytes is more than {REPORT_BYTES_MAX}; what was left out here is in the artifacts")
    });
    if report.terraform.is_some() && report.plan.is_some() {
        report.terraform = Some(left_out.clone());
    }
    if size(&report) > REPORT_BYTES_MAX && report.plan.is_some() {
        report.plan = Some(left_out.clone());
    }
    if size(&report) > REPORT_BYTES_MAX {
        report.terraform = report.terraform.map(|_| left_out);
    }
    if size(&report) > REPORT_BYTES_MAX {
        report.artifacts.clear();
        report.exit_codes.clear();
    }
    report
}
