//! A run from its first word to its last.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use anyhow::Context as _;
use exec::lines::line_of;
use exec::{Place, Redactor, Stop};
use http::StatusCode;
use model::run::{
    Program, RunEnd, RunOver, RunReport, RunSpec, SshProgram, Step, StepNews, StepState,
};
use rustix::process::DumpableBehavior;
use secrecy::ExposeSecret as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::callback::{Answer, Callback};
use crate::folder::Folder;
use crate::journal::Journal;
use crate::keep::keep;
use crate::settings::Settings;
use crate::steps::{Elsewhere, Shared, bounded};

/// How long a run waits before its first step to hear whether it is wanted at all.
const FIRST_WORD_MAX: Duration = Duration::from_secs(5);
/// How long one try to say the last word may take …
const LAST_WORD_MAX: Duration = Duration::from_secs(30);
/// … and for how long it is tried: then its token is over.
const LAST_WORD_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a runner that has nothing left but its last word stays when it is asked to leave.
const LEAVE_AFTER: Duration = Duration::from_secs(10);
/// The longest reason, in bytes.
const REASON_BYTES_MAX: usize = 4 * 1024;

/// How a runner ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Its last word was taken, or had been.
    Told,
    /// The run is over without it, or somebody else's; nothing of it runs any more.
    Over,
}

/// Does the run that these settings are for, from asking what it is to its last word.
///
/// # Errors
/// When the callback endpoint cannot be understood, or this process cannot be what a runner must be.
pub async fn run(settings: Settings, elsewhere: Elsewhere<'_>) -> anyhow::Result<Exit> {
    // Its programs may end without having waited for what they started: that is left to us, so that we can end it.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .context("this process cannot take over what programs leave behind")?;
    // Its programs may have our user, and must not find the token in our environment or our memory.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .context("this process cannot be hidden from its programs")?;
    let stop = Stop::default();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let callback = Callback::new(
        settings.callback.clone(),
        settings.callback_file.clone(),
        settings.token.clone(),
    )?;
    let answer = tokio::select! {
        answer = callback.get("run") => answer?,
        // Nothing has begun.
        _ = terminate.recv() => return Ok(Exit::Over),
        () = tokio::time::sleep(LAST_WORD_FOR) => anyhow::bail!("nobody told what to do"),
    };
    if answer.is_over() {
        tracing::warn!("the run is over before it began: {}", answer.text());
        return Ok(Exit::Over);
    }
    if answer.status != StatusCode::OK {
        anyhow::bail!("what to do was not told: {}", answer.text());
    }
    let spec: RunSpec = answer.json()?;
    let journal = Journal::new(spec.limits.log_bytes);
    let heartbeat = Duration::from_millis(spec.heartbeat_ms.max(1));
    let signals = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("asked to stop by a signal");
        stop.asked.cancel();
    };
    let answers = async {
        tokio::select! {
            () = journal.cancelled.cancelled() => stop.asked.cancel(),
            () = journal.over.cancelled() => {}
        }
        journal.over.cancelled().await;
        stop.at_once.cancel();
        stop.asked.cancel();
    };
    let mut round_about = std::pin::pin!(async {
        tokio::join!(journal.tell(&callback, heartbeat), signals, answers);
        std::future::pending::<Infallible>().await
    });
    let work = async {
        // A run that was cancelled before it began does not begin.
        journal.beat(FIRST_WORD_MAX).await;
        if journal.cancelled.is_cancelled() {
            stop.asked.cancel();
        }
        let run = Run {
            settings: &settings,
            spec: &spec,
            callback: &callback,
            journal: &journal,
            stop: &stop,
            elsewhere,
        };
        run.to_its_end().await
    };
    let over = tokio::select! {
        over = work => over,
        never = &mut round_about => match never {},
    };
    // Nothing of the run runs any more; what is left is to say so.
    let mut leave = signal(SignalKind::terminate())?;
    let leave = async {
        tokio::select! {
            _ = leave.recv() => tokio::time::sleep(LEAVE_AFTER).await,
            () = tokio::time::sleep(LAST_WORD_FOR) => {}
        }
    };
    let last_word = async {
        tokio::select! {
            () = journal.flushed() => {}
            never = round_about => match never {},
        }
        if journal.over.is_cancelled() {
            return Ok(Exit::Over);
        }
        let over = said(over, journal.cancelled.is_cancelled());
        ended(&callback.post("run/end", &over, LAST_WORD_MAX).await?)
    };
    tokio::select! {
        exit = last_word => exit,
        () = leave => anyhow::bail!("nobody took the run's last word"),
    }
}

fn ended(answer: &Answer) -> anyhow::Result<Exit> {
    tracing::info!("the last word was answered: {}", answer.text());
    match answer.status {
        StatusCode::OK => Ok(Exit::Told),
        _ if answer.is_over() => Ok(Exit::Over),
        _ => anyhow::bail!("the last word was refused: {}", answer.text()),
    }
}

/// How the steps came to their end.
enum Ending {
    Succeeded,
    Failed(String),
    /// Asked to stop before they were done; nothing of them runs.
    Stopped,
}

struct Over {
    ending: Ending,
    report: RunReport,
}

/// What is said of it, which also depends on who asked.
fn said(over: Over, cancelled: bool) -> RunOver {
    let (end, reason) = match over.ending {
        Ending::Succeeded => (RunEnd::Succeeded, None),
        Ending::Failed(why) => (RunEnd::Failed, Some(why)),
        Ending::Stopped if cancelled => (RunEnd::Cancelled, None),
        Ending::Stopped => (
            RunEnd::Failed,
            Some("the runner was asked to leave".to_owned()),
        ),
    };
    RunOver {
        end,
        reason,
        report: bounded(over.report),
    }
}

struct Run<'a> {
    settings: &'a Settings,
    spec: &'a RunSpec,
    callback: &'a Callback,
    journal: &'a Journal,
    stop: &'a Stop,
    elsewhere: Elsewhere<'a>,
}

impl Run<'_> {
    async fn to_its_end(&self) -> Over {
        let mut report = RunReport::default();
        let mut hidden: Vec<String> = vec![self.settings.token.expose_secret().to_owned()];
        hidden.extend(self.spec.secrets.iter().map(|secret| secret.value.clone()));
        let mut ending = match self.in_its_folder(&mut hidden, &mut report).await {
            Ok(ending) => ending,
            Err(error) => Ending::Failed(format!("{error:#}")),
        };
        report.lines_dropped = self.journal.dropped();
        if let Ending::Failed(why) = &mut ending {
            *why = match redactor(&hidden) {
                Ok(redactor) => cut(&redactor.text(why)),
                Err(_) => "the run failed, and why cannot be shown".to_owned(),
            };
            self.journal.say(why).await;
        }
        Over { ending, report }
    }

    async fn in_its_folder(
        &self,
        hidden: &mut Vec<String>,
        report: &mut RunReport,
    ) -> anyhow::Result<Ending> {
        if self.stop.asked.is_cancelled() {
            self.skip(0);
            return Ok(Ending::Stopped);
        }
        let folder = Folder::make(self.settings)?;
        let filled = tokio::select! {
            filled = folder.fill(self.spec, self.callback) => filled,
            () = self.stop.asked.cancelled() => {
                self.skip(0);
                folder.remove().await;
                return Ok(Ending::Stopped);
            }
        };
        let ended = match filled {
            Ok(()) => self.steps_in_time(&folder, hidden, report).await,
            Err(error) => {
                self.skip(0);
                Err(error)
            }
        };
        let ended = match ended {
            Ok(ending) => {
                let succeeded = matches!(ending, Ending::Succeeded);
                let (kept, problems) = keep(
                    &folder,
                    &self.spec.artifacts,
                    &self.spec.limits,
                    succeeded,
                    self.callback,
                    self.journal,
                )
                .await;
                report.artifacts = kept;
                let problems = problems.join("; ");
                if problems.is_empty() {
                    Ok(ending)
                } else if succeeded {
                    Ok(Ending::Failed(problems))
                } else {
                    let redactor = redactor(hidden)?;
                    self.journal.say(&redactor.text(&problems)).await;
                    Ok(ending)
                }
            }
            Err(error) => Err(error),
        };
        folder.remove().await;
        ended
    }

    /// Takes the steps, and no longer than they may.
    async fn steps_in_time(
        &self,
        folder: &Folder,
        hidden: &mut Vec<String>,
        report: &mut RunReport,
    ) -> anyhow::Result<Ending> {
        let secs = self.spec.limits.time_secs;
        let time_over = CancellationToken::new();
        let clock = async {
            tokio::time::sleep(Duration::from_secs(secs)).await;
            time_over.cancel();
            self.stop.asked.cancel();
            std::future::pending::<Infallible>().await
        };
        let ending = tokio::select! {
            ending = self.steps(folder, hidden, report) => ending?,
            never = clock => match never {},
        };
        Ok(match ending {
            Ending::Stopped
                if time_over.is_cancelled() && !self.journal.cancelled.is_cancelled() =>
            {
                Ending::Failed(format!("the run took longer than {secs} s and was stopped"))
            }
            ending => ending,
        })
    }

    async fn steps(
        &self,
        folder: &Folder,
        hidden: &mut Vec<String>,
        report: &mut RunReport,
    ) -> anyhow::Result<Ending> {
        let place = self.place(folder);
        let mut environment = self.spec.environment.clone();
        for secret in &self.spec.secrets {
            if let Some(variable) = &secret.variable {
                environment.insert(variable.clone(), secret.value.clone());
            }
        }
        let secrets = self.spec.secrets.iter();
        let secrets: BTreeMap<&str, &str> = secrets
            .map(|secret| (secret.name.as_str(), secret.value.as_str()))
            .collect();
        let shared = Shared {
            folder,
            place: &place,
            files: &self.spec.files,
            environment: &environment,
            secrets: &secrets,
            journal: self.journal,
            stop: self.stop,
            elsewhere: self.elsewhere,
        };
        let mut redactor = redactor(hidden)?;
        let mut ending = Ending::Succeeded;
        for (n, step) in self.spec.steps.iter().enumerate() {
            if self.stop.asked.is_cancelled() && !matches!(ending, Ending::Failed(_)) {
                self.skip(n);
                return Ok(Ending::Stopped);
            }
            let left_out = matches!(ending, Ending::Failed(_))
                && (!step.always || self.stop.asked.is_cancelled());
            if left_out {
                self.tell(n, StepState::Skipped, None, None);
                continue;
            }
            self.tell(n, StepState::Running, None, None);
            self.journal.say(&redactor.text(&title(step))).await;
            let done = match shared.run(n, step, &redactor, report).await {
                Ok(done) => done,
                Err(error) => {
                    let why = cut(&redactor.text(&format!("{error:#}")));
                    self.tell(n, StepState::Failed, None, Some(why.clone()));
                    ending = Ending::Failed(format!("{}: {why}", step.name));
                    continue;
                }
            };
            report.exit_codes.insert(step.name.clone(), done.code);
            if !done.secrets.is_empty() {
                hidden.extend(done.secrets);
                redactor = self::redactor(hidden)?;
            }
            if done.code == 0 || step.ok_codes.contains(&done.code) {
                self.tell(n, StepState::Succeeded, Some(done.code), None);
            } else if self.stop.asked.is_cancelled() {
                self.tell(n, StepState::Stopped, Some(done.code), None);
                self.skip(n + 1);
                return Ok(Ending::Stopped);
            } else {
                let last_word = done
                    .last_word
                    .map_or_else(String::new, |word| format!(": {word}"));
                let why = format!("ended with exit code {}{last_word}", done.code);
                self.tell(n, StepState::Failed, Some(done.code), Some(why.clone()));
                if !matches!(ending, Ending::Failed(_)) {
                    ending = Ending::Failed(format!("{} {why}", step.name));
                }
            }
        }
        Ok(ending)
    }

    fn place(&self, folder: &Folder) -> Place {
        let limits = &self.spec.limits;
        Place {
            mark: self.settings.mark.clone(),
            user: folder.user(),
            path: self.settings.path.clone(),
            home: folder.home(),
            temporary: folder.temporary(),
            writable: vec![folder.work(), folder.home(), folder.temporary()],
            memory_bytes: limits.memory_bytes,
            file_bytes: limits.file_bytes,
            shim: Place::own_shim(),
        }
    }

    fn skip(&self, from: usize) {
        for n in from..self.spec.steps.len() {
            self.tell(n, StepState::Skipped, None, None);
        }
    }

    fn tell(&self, n: usize, state: StepState, exit_code: Option<i32>, why: Option<String>) {
        self.journal.step(StepNews {
            step: u32::try_from(n).unwrap_or(u32::MAX),
            state,
            exit_code,
            why,
        });
    }
}

/// What a step does, as the log says it.
fn title(step: &Step) -> String {
    let what = match &step.run {
        Program::Local { argv, .. } | Program::Ssh(SshProgram { argv, .. }) => argv.join(" "),
        Program::NetlabApi(api) => format!("{} by {}", api.order.action.as_str(), api.url),
    };
    line_of(&format!("{}: {what}", step.name))
}

fn redactor(hidden: &[String]) -> anyhow::Result<Redactor> {
    Redactor::new(hidden.iter().map(String::as_str))
        .context("the run's secrets are too many to keep them out of its log")
}

fn cut(text: &str) -> String {
    let end = text.floor_char_boundary(REASON_BYTES_MAX);
    text[..end].to_owned()
}
