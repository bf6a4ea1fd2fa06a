//! One order, from its start to an end that is known.

use std::collections::BTreeSet;
use std::time::Duration;

use exec::lines::Splitter;
use exec::{Ended, Piece, Redactor, Stop};
use model::LogStream;
use model::run::{NetlabAction, NetlabOrder};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::client::{Api, ApiError, RemoteJob};

/// How often a job is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long nobody may answer while a job goes on.
const AWAY_MAX: Duration = Duration::from_secs(15 * 60);
/// How often a start is tried whose answer is lost.
const STARTS_MAX: u32 = 3;
/// The exit code of what was stopped, as of one that SIGINT ended.
const STOPPED: i32 = 130;

/// What is done, and how it is stopped.
#[derive(Debug)]
pub struct Order<'a> {
    /// What.
    pub order: &'a NetlabOrder,
    /// How long the end of what cannot be stopped is waited for.
    pub grace: Duration,
    /// When.
    pub stop: &'a Stop,
    /// Keeps secrets out of lines.
    pub redactor: &'a Redactor,
    /// Where lines go.
    pub lines: &'a mpsc::Sender<Piece>,
}

/// Has an order done, and returns when it has ended.
///
/// # Errors
/// When it could not be begun, or its end is not known.
pub async fn done(api: &Api, order: &Order<'_>) -> Result<Ended, ApiError> {
    if order.stop.asked.is_cancelled() {
        return Ok(ended(STOPPED));
    }
    if order.order.action == NetlabAction::Status {
        return order.status(api).await;
    }
    let job = order.begin(api).await?;
    order.to_its_end(api, &job.id).await
}

fn ended(code: i32) -> Ended {
    Ended {
        code,
        signal: None,
        output: Some(Vec::new()),
    }
}

impl Order<'_> {
    /// Starts the job, once: an answer that is lost is looked for among the jobs that were not there before.
    async fn begin(&self, api: &Api) -> Result<RemoteJob, ApiError> {
        let before = api.jobs().await?;
        let busy = before.iter().filter(|job| job.ended().is_none()).count();
        if busy > 0 {
            let text = format!("netlab's API does one job at a time, and has {busy} before this");
            self.say(LogStream::Task, &text).await;
        }
        let known: BTreeSet<String> = before.into_iter().map(|job| job.id).collect();
        let mut tries = 0;
        loop {
            tries += 1;
            let lost = match api.start(self.order).await {
                Err(error) if error.is_passing() => error,
                started => return started,
            };
            let mut new: Vec<RemoteJob> = api.jobs().await?;
            new.retain(|job| !known.contains(&job.id));
            let of_others = new.len();
            new.retain(|job| {
                job.action == self.order.action.as_str()
                    && job
                        .workdir
                        .as_ref()
                        .is_none_or(|at| *at == self.order.folder)
            });
            match (new.pop(), new.is_empty()) {
                (Some(job), true) => return Ok(job),
                (None, _) if of_others == 0 && tries < STARTS_MAX => {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                (None, _) if of_others == 0 => return Err(lost),
                _ => return Err(ApiError::Unknown(api.host())),
            }
        }
    }

    async fn to_its_end(&self, api: &Api, id: &str) -> Result<Ended, ApiError> {
        let text = format!("netlab's API took it as {id}; its log comes when it has ended");
        self.say(LogStream::Task, &text).await;
        let mut heard = Instant::now();
        let mut asked = None;
        let mut answered = false;
        let end = loop {
            if self.stop.asked.is_cancelled() && !answered {
                asked.get_or_insert_with(Instant::now);
                match api.cancel(id).await {
                    Ok(true) => answered = true,
                    Ok(false) => {
                        answered = true;
                        let text =
                            "netlab's API cannot stop what it has begun: its end is waited for";
                        self.say(LogStream::Task, text).await;
                    }
                    // What became of the job is looked at below, and it is asked again.
                    Err(error) if error.is_passing() || matches!(error, ApiError::NotFound(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            if self.stop.at_once.is_cancelled()
                || asked.is_some_and(|asked| asked.elapsed() > self.grace)
            {
                return Err(ApiError::GoesOn(api.host()));
            }
            match api.job(id).await {
                Ok(job) => {
                    heard = Instant::now();
                    if let Some(end) = job.ended() {
                        break end;
                    }
                }
                Err(ApiError::NotFound(host)) => return Err(ApiError::Forgotten(host)),
                Err(error) if error.is_passing() && heard.elapsed() < AWAY_MAX => {}
                Err(error) => return Err(error),
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = self.stop.asked.cancelled(), if asked.is_none() => {}
                () = self.stop.at_once.cancelled() => {}
            }
        };
        let log = self.log(api, id).await?;
        self.say(LogStream::Stdout, log.trim_end()).await;
        let end = end.and_then(|()| {
            // What went wrong may have been forgotten over a request of somebody else.
            let last = labs::netlab::errors(&log).pop();
            last.map_or(Ok(()), |last| {
                Err(format!("netlab reported errors, and last: {}", last.what))
            })
        });
        match end {
            Ok(()) => {
                if self.order.action == NetlabAction::Collect {
                    let text = format!(
                        "the configurations are in {}/{} on {}: its API hands out no files",
                        self.order.folder,
                        self.order.collected.as_deref().unwrap_or_default(),
                        api.host()
                    );
                    self.say(LogStream::Task, &text).await;
                }
                Ok(ended(0))
            }
            Err(why) => {
                self.say(LogStream::Stderr, &why).await;
                Ok(ended(if asked.is_some() { STOPPED } else { 1 }))
            }
        }
    }

    async fn log(&self, api: &Api, id: &str) -> Result<String, ApiError> {
        let since = Instant::now();
        loop {
            match api.log(id).await {
                Err(error)
                    if error.is_passing()
                        && since.elapsed() < AWAY_MAX
                        && !self.stop.at_once.is_cancelled() =>
                {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                log => return log,
            }
        }
    }

    /// Asks for the labs of the host once no job goes on there.
    async fn status(&self, api: &Api) -> Result<Ended, ApiError> {
        let mut told = false;
        while api.jobs().await?.iter().any(|job| job.ended().is_none()) {
            if !told {
                told = true;
                let text =
                    "a job goes on there, and the labs can be asked for only when it has ended";
                self.say(LogStream::Task, text).await;
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = self.stop.asked.cancelled() => return Ok(ended(STOPPED)),
            }
        }
        let status = api.status().await?;
        let text = serde_json::to_string_pretty(&status).unwrap_or_else(|_| status.to_string());
        self.say(LogStream::Stdout, &text).await;
        Ok(ended(i32::from(status.get("error").is_some())))
    }

    async fn say(&self, stream: LogStream, text: &str) {
        let mut splitter = Splitter::for_log(self.redactor);
        let mut left = text.as_bytes();
        let mut lines = Vec::new();
        while !left.is_empty() {
            let (taken, line) = splitter.take(left);
            left = &left[taken..];
            lines.extend(line);
        }
        lines.extend(splitter.rest());
        if self.lines.send(Piece { stream, lines }).await.is_err() {
            tracing::debug!("nobody takes the run's lines any more");
        }
    }
}
