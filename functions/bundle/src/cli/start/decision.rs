//! The decision on a plan: shown to the person, asked of them, and passed on. Somebody else may decide meanwhile.

use std::io::{BufRead as _, IsTerminal as _};
use std::time::Duration;

use anyhow::{Context as _, bail};
use model::{JobId, Waiting};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::{StartArgs, plan};
use crate::cli::follow::Told;
use crate::cli::output::{Paint, line, note};
use crate::cli::reach::{Client, Output, Passing};

/// How often a decision is passed on to an API that does not answer, and what is waited in between.
const TRIES: u32 = 30;
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What is decided on a job's plan, and by whom.
pub(super) struct Decision<'a> {
    client: &'a Client,
    job: JobId,
    /// Whether nobody is to be asked.
    approve: bool,
    output: Output,
    paint: Paint,
    /// The claim whose plan was shown: a stream that is taken up anew says again what it said.
    shown: Option<i64>,
    asked: Option<Asked>,
}

/// A person at the terminal who has not answered yet.
struct Asked {
    sha256: String,
    answer: JoinHandle<std::io::Result<String>>,
}

/// What is to become of which plan.
pub(super) struct Answer {
    sha256: String,
    verb: &'static str,
}

impl<'a> Decision<'a> {
    /// On the plan of the job that these arguments started.
    pub(super) fn new(client: &'a Client, job: JobId, args: &StartArgs, paint: Paint) -> Self {
        Self {
            client,
            job,
            approve: args.terraform.approve,
            output: args.reach.output,
            paint,
            shown: None,
            asked: None,
        }
    }

    /// Whether a plan was shown.
    pub(super) fn has_shown(&self) -> bool {
        self.shown.is_some()
    }

    /// Hears how the job is. Where it waits for an approval the plan is shown, and it is approved, asked about, or left to others.
    pub(super) async fn hear(&mut self, told: &Told) -> anyhow::Result<()> {
        if told.waits_for != Some(Waiting::Approval) {
            if self.asked.take().is_some() {
                note("somebody else decided");
            }
            return Ok(());
        }
        if self.shown.replace(told.epoch) == Some(told.epoch) {
            return Ok(());
        }
        let job = self.job;
        let mut runs = self.client.get(&format!("jobs/{job}/runs")).await?;
        let run = runs["items"][0].take();
        let Some(sha256) = plan::sha256(&run) else {
            bail!(
                "job {job} waits for an approval of something that is no plan: decide on its page"
            );
        };
        match self.output {
            Output::Text => {
                for text in plan::lines(&run["report"]["plan"], self.paint) {
                    line(text);
                }
            }
            Output::Json => line(json!({ "plan": run["report"]["plan"], "sha256": sha256 })),
        }
        if self.approve {
            let approved = Answer {
                sha256: sha256.to_owned(),
                verb: "approve",
            };
            self.pass_on(&approved).await?;
        } else if self.output == Output::Text && std::io::stdin().is_terminal() {
            note("Apply this plan? Only \"yes\" does; anything else rejects it.");
            self.asked = Some(Asked {
                sha256: sha256.to_owned(),
                answer: tokio::task::spawn_blocking(read_line),
            });
        } else {
            let page = self.client.page(&format!("/jobs/{job}"));
            let at = page.map_or_else(|| "on its page".to_owned(), |url| format!("at {url}"));
            note(format_args!(
                "job {job} waits until somebody approves its plan, {at}; with --approve nobody is asked"
            ));
        }
        Ok(())
    }

    /// Waits for what the person says who was asked, if anybody was. Only a whole word counts.
    pub(super) async fn answered(&mut self) -> anyhow::Result<Answer> {
        let Some(asked) = &mut self.asked else {
            return std::future::pending().await;
        };
        let text = (&mut asked.answer).await;
        let sha256 = std::mem::take(&mut asked.sha256);
        self.asked = None;
        let text = text.context("the answer could not be read")??;
        let verb = if text.trim() == "yes" {
            "approve"
        } else {
            "reject"
        };
        Ok(Answer { sha256, verb })
    }

    /// Tells the API.
    pub(super) async fn pass_on(&self, answer: &Answer) -> anyhow::Result<()> {
        let path = format!("jobs/{}/{}", self.job, answer.verb);
        let body = json!({ "plan": answer.sha256 });
        let mut tries = 0;
        let refused = loop {
            tries += 1;
            match self.client.post(&path, &body).await {
                Ok(_) => return Ok(()),
                Err(error) if error.is::<Passing>() && tries < TRIES => sleep(AGAIN_AFTER).await,
                Err(error) => break error,
            }
        };
        // Somebody may have decided before, or a try of ours that was not answered. Else it would wait for ever.
        let now: Value = self.client.get(&format!("jobs/{}", self.job)).await?;
        if now["waits_for"] == "approval" {
            return Err(refused.context("the decision was not taken"));
        }
        note(format_args!("{refused:#}"));
        Ok(())
    }
}

fn read_line() -> std::io::Result<String> {
    let mut text = String::new();
    std::io::stdin().lock().read_line(&mut text).map(|_| text)
}
