//! Work that takes longer than a request: what a runner is told, and what it says back.
//!
//! A task that needs such work makes a [`RunSpec`] and lets its job wait for a *runner*, a process that fetches the spec
//! from the callback endpoint, takes the steps, and reports. A runner holds no credentials but the token of its claim.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The longest line of a log, in bytes; what is longer is cut, and a marker says how much was left out.
pub const LOG_LINE_BYTES_MAX: usize = 16 * 1024;
/// Lines that one batch may carry.
pub const LOG_BATCH_LINES_MAX: usize = 2_000;
/// Bytes of lines that one batch may carry; a batch of one line may always be sent.
pub const LOG_BATCH_BYTES_MAX: usize = 512 * 1024;
/// The size of every part of an artifact but the last, in bytes.
pub const ARTIFACT_PART_BYTES: usize = 4 * 1024 * 1024;
/// The largest report of how a run is going or ended, in bytes of JSON.
pub const REPORT_BYTES_MAX: usize = 768 * 1024;

/// What one runner does: everything it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSpec {
    /// What the run is for, as its task names it: `plan`, `apply`, `create` ….
    pub phase: String,
    /// Taken one after the other; after a failure only those that say [`Step::always`].
    pub steps: Vec<Step>,
    /// Put into the run's folder before the first step.
    #[serde(default)]
    pub files: Vec<RunFile>,
    /// For every step. Names that change how programs are loaded or what tools do are refused where they come from people.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// What must not be seen. Each value is replaced by `***` in everything that the runner sends.
    #[serde(default)]
    pub secrets: Vec<RunSecret>,
    /// What is kept when the steps are over.
    #[serde(default)]
    pub artifacts: Vec<ArtifactPattern>,
    /// The bounds.
    pub limits: RunLimits,
    /// How often the runner shows that it lives, in milliseconds.
    pub heartbeat_ms: u64,
    /// What becomes of the job when the steps went well.
    #[serde(default)]
    pub then: Then,
    /// Whether another try may help when a step failed or the runner was lost before it reported.
    #[serde(default)]
    pub retry: bool,
}

/// What becomes of a job whose run went well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// It succeeded; the report is its result.
    #[default]
    Finish,
    /// Where the report says that there are changes, a person decides within this time; else as [`Then::Finish`]. Once approved the
    /// task is called again for the same job and sees this run.
    Approve {
        /// Seconds until a plan that nobody read counts as rejected.
        within_secs: u64,
    },
}

/// One program, run to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// For people: `init`, `plan` ….
    pub name: String,
    /// What is run.
    pub run: Program,
    /// The folder below the run's own in which it is run; empty for the run's own.
    #[serde(default)]
    pub folder: String,
    /// Besides the run's.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Exit codes that are not failures. 0 always is one.
    #[serde(default)]
    pub ok_codes: Vec<i32>,
    /// How it is asked to stop.
    #[serde(default)]
    pub stop: StopLadder,
    /// How its output is read.
    #[serde(default)]
    pub output: Output,
    /// Also run after a step failed (not after a cancel).
    #[serde(default)]
    pub always: bool,
}

/// What a step runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Program {
    /// A program on the runner's machine.
    Local {
        /// The program, found on the runner's PATH, and its arguments. No shell.
        argv: Vec<String>,
        /// Where it comes from, for who has to install it: shown when it is not there.
        #[serde(default)]
        install: Option<String>,
    },
    /// A program on another machine, over SSH.
    Ssh(SshProgram),
    /// A job of netlab's own API on another machine.
    NetlabApi(NetlabApi),
}

/// A program on another machine. It runs in a process group of its own, which is gone before the step is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SshProgram {
    /// The address, checked against the operator's rules by who made the spec: no name is resolved.
    pub address: std::net::SocketAddr,
    /// Whom to be there.
    pub user: String,
    /// The private key in OpenSSH's format; the name of a secret of the run.
    pub key_secret: String,
    /// Public keys that the host may have, as in `known_hosts` without the host: `ssh-ed25519 AAAA…`. At least one.
    pub host_keys: Vec<String>,
    /// The program and its arguments, quoted for the remote shell by the runner.
    pub argv: Vec<String>,
    /// The folder there.
    #[serde(default)]
    pub folder: Option<String>,
    /// Files of the run's folder that are put there first: local name → remote path.
    #[serde(default)]
    pub upload: BTreeMap<String, String>,
    /// Files that are fetched afterwards: remote path → local name.
    #[serde(default)]
    pub download: BTreeMap<String, String>,
}

/// What netlab's own API on another machine is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetlabApi {
    /// Where it listens: `https://host:port`.
    pub url: String,
    /// The address, checked against the operator's rules by who made the spec: no name is resolved.
    pub address: std::net::SocketAddr,
    /// Whom to be there.
    pub user: String,
    /// The password; the name of a secret of the run.
    pub password_secret: String,
    /// Certificates in PEM that are trusted besides the system's.
    #[serde(default)]
    pub authorities: String,
    /// What.
    pub order: NetlabOrder,
}

/// A job of netlab's API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetlabOrder {
    /// What to do.
    pub action: NetlabAction,
    /// The lab's folder there.
    pub folder: String,
    /// The topology's path in that folder; for what begins a lab.
    #[serde(default)]
    pub topology: Option<String>,
    /// The archive in that folder that the configurations are put into; for [`NetlabAction::Collect`].
    #[serde(default)]
    pub collected: Option<String>,
}

/// What netlab's API can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetlabAction {
    /// Makes the files of a lab.
    Create,
    /// Starts it.
    Up,
    /// Stops it and takes its files away.
    Down,
    /// Fetches the configurations of its devices.
    Collect,
    /// Says which labs run there.
    Status,
}

impl NetlabAction {
    /// As the API calls it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Up => "up",
            Self::Down => "down",
            Self::Collect => "collect",
            Self::Status => "status",
        }
    }
}

/// How a step is asked to stop: `first` to the program itself, once; after the grace SIGTERM to its whole group; then SIGKILL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopLadder {
    /// The first signal.
    pub first: Signal,
    /// For how long nothing else is sent, in milliseconds.
    pub grace_ms: u64,
    /// Between SIGTERM and SIGKILL to the group, in milliseconds.
    pub term_ms: u64,
}

impl Default for StopLadder {
    fn default() -> Self {
        Self {
            first: Signal::Term,
            grace_ms: 10_000,
            term_ms: 1_000,
        }
    }
}

/// A signal that asks a program to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// SIGINT.
    Int,
    /// SIGTERM.
    Term,
}

/// How a step's output is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// Line by line, into the log.
    #[default]
    Lines,
    /// Terraform's machine-readable UI: its messages go into the log, what they say of resources, outputs and problems into the report.
    Terraform,
    /// `terraform show -json` of a plan: nothing goes into the log, the masked plan into the report.
    TerraformPlan,
}

/// A file in the run's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunFile {
    /// Below the run's folder; for an archive the folder it is unpacked into.
    pub path: String,
    /// What is in it.
    pub content: FileContent,
    /// Whether it may be run.
    #[serde(default)]
    pub executable: bool,
}

/// What a file consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FileContent {
    /// This text.
    Text(String),
    /// An artifact, by its id, fetched from the callback endpoint and compared with its SHA-256 (hex).
    Artifact {
        /// Which.
        id: uuid::Uuid,
        /// What it must be.
        sha256: String,
    },
    /// A tar archive (plain), kept as an artifact: unpacked, or refused as a whole when an entry would leave its folder.
    Archive {
        /// Which.
        id: uuid::Uuid,
        /// What it must be.
        sha256: String,
    },
}

/// A value that must not be seen.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSecret {
    /// What other parts of the spec call it by.
    pub name: String,
    /// The value.
    pub value: String,
    /// Set as this environment variable for every step.
    #[serde(default)]
    pub variable: Option<String>,
    /// Written to this file below the run's folder, readable by its owner alone.
    #[serde(default)]
    pub file: Option<String>,
}

impl std::fmt::Debug for RunSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunSecret")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Which files are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactPattern {
    /// A glob over paths below the run's folder.
    pub pattern: String,
    /// What it is called when the pattern is one file; else each is called by its path.
    #[serde(default)]
    pub name: Option<String>,
    /// Its type; guessed from the name otherwise.
    #[serde(default)]
    pub media_type: Option<String>,
    /// Encrypted at rest, and downloaded only by who may, on record: plans and states.
    #[serde(default)]
    pub sealed: bool,
    /// The run fails when no file matches.
    #[serde(default)]
    pub required: bool,
    /// All files that match are put into one plain tar archive of this name, in a fixed order and with fixed times and owners, so
    /// that the same files give the same bytes.
    #[serde(default)]
    pub archive: Option<String>,
    /// Where each file is sent instead of to the callback endpoint.
    #[serde(default)]
    pub presigned: Option<Presigned>,
}

/// A place in a bucket that may be written once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Presigned {
    /// Where the file is PUT.
    pub url: String,
    /// The path of the blob, told back when it is there.
    pub blob: String,
}

/// The bounds of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunLimits {
    /// How long the whole run may take, in seconds; then it is stopped as by a cancel, and failed.
    pub time_secs: u64,
    /// Bytes of log that are kept; of the rest only the number is told.
    pub log_bytes: u64,
    /// Bytes of one artifact.
    pub artifact_bytes: u64,
    /// Files that may be kept.
    pub artifacts: u32,
    /// Bytes of address space of each process; none: as the machine allows.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// Bytes of one file that a process may write; none: as the machine allows.
    #[serde(default)]
    pub file_bytes: Option<u64>,
}

impl Default for RunLimits {
    fn default() -> Self {
        Self {
            time_secs: 3_600,
            log_bytes: 256 * 1024 * 1024,
            artifact_bytes: 1024 * 1024 * 1024,
            artifacts: 1_000,
            memory_bytes: None,
            file_bytes: None,
        }
    }
}

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Not begun.
    Waiting,
    /// Begun.
    Running,
    /// Ended with a code that is no failure.
    Succeeded,
    /// Ended otherwise, or never started.
    Failed,
    /// Stopped because the run was.
    Stopped,
    /// Left out, because one before it failed.
    Skipped,
}

impl StepState {
    /// The name in the database and on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::Skipped => "skipped",
        }
    }
}

impl std::str::FromStr for StepState {
    type Err = UnknownRunState;

    fn from_str(text: &str) -> Result<Self, UnknownRunState> {
        [
            Self::Waiting,
            Self::Running,
            Self::Succeeded,
            Self::Failed,
            Self::Stopped,
            Self::Skipped,
        ]
        .into_iter()
        .find(|state| state.as_str() == text)
        .ok_or_else(|| UnknownRunState(text.to_owned()))
    }
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Its runner was told to start and has not been heard of.
    Launching,
    /// Its runner was heard of.
    Running,
    /// All steps did what they were for.
    Succeeded,
    /// One did not.
    Failed,
    /// It was stopped.
    Cancelled,
    /// Its runner was not heard of any more.
    Lost,
}

impl RunState {
    /// The name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Launching => "launching",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
        }
    }
}

impl std::str::FromStr for RunState {
    type Err = UnknownRunState;

    fn from_str(text: &str) -> Result<Self, UnknownRunState> {
        [
            Self::Launching,
            Self::Running,
            Self::Succeeded,
            Self::Failed,
            Self::Cancelled,
            Self::Lost,
        ]
        .into_iter()
        .find(|state| state.as_str() == text)
        .ok_or_else(|| UnknownRunState(text.to_owned()))
    }
}

/// A text that names no state of a run or of a step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no state of a run or of a step")]
pub struct UnknownRunState(String);

/// News of one step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepNews {
    /// Its place in the spec, from 0.
    pub step: u32,
    /// How far it is.
    pub state: StepState,
    /// Its exit code, when it ended by itself.
    #[serde(default)]
    pub exit_code: Option<i32>,
    /// Why, where that needs words.
    #[serde(default)]
    pub why: Option<String>,
}

/// What a runner sends while it works (`POST /run/news`). Empty news are a heartbeat.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunNews {
    /// The number of the first line, as the runner counts from 1.
    #[serde(default)]
    pub first: u64,
    /// Stream (`stdout`, `stderr`, `task`) and text of each line.
    #[serde(default)]
    pub lines: Vec<(crate::LogStream, String)>,
    /// Steps that have come further.
    #[serde(default)]
    pub steps: Vec<StepNews>,
    /// How the run is going, replacing what was said before.
    #[serde(default)]
    pub report: Option<RunReport>,
}

/// The answer to news.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewsTaken {
    /// Lines up to this number are there: what was sent before is dropped, what is missing is sent again.
    pub lines: u64,
    /// Somebody asked the run to stop.
    pub cancel: bool,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunEnd {
    /// All steps did.
    Succeeded,
    /// One failed, or it could not begin.
    Failed,
    /// It was stopped because somebody asked, and nothing of it runs any more.
    Cancelled,
}

impl RunEnd {
    /// The name in the database and on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The last thing a runner says (`POST /run/end`), again and again until it is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunOver {
    /// How it ended.
    pub end: RunEnd,
    /// Why, unless it simply succeeded.
    #[serde(default)]
    pub reason: Option<String>,
    /// What it has to say.
    pub report: RunReport,
}

/// What a run has to say, for people and for its task. Everything in it is masked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// Exit codes of the steps that ended, by name.
    #[serde(default)]
    pub exit_codes: BTreeMap<String, i32>,
    /// Whether a plan has changes.
    #[serde(default)]
    pub changes: bool,
    /// What terraform said, where a step was one of its.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terraform: Option<serde_json::Value>,
    /// The masked plan, where one was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<serde_json::Value>,
    /// SHA-256 (hex) of artifacts that were kept, by name.
    #[serde(default)]
    pub artifacts: BTreeMap<String, String>,
    /// Lines that were not kept because the log was full.
    #[serde(default)]
    pub lines_dropped: u64,
}
