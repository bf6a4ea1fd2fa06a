//! One attempt at a job of somebody else's function: one call.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use chrono::SecondsFormat;
use egress::{BodyError, ClusterEgress, Integration, TenantEgress, read_capped};
use host::{Ctx, Env, Job, Outcome, SettingsError, TaskError};
use http::{HeaderMap, Method, StatusCode};
use model::{LogStream, Waiting};
use queue::executors::{Call, CompletesBy};
use queue::{Hold, Wait};
use serde::de::IgnoredAny;
use store::CallbackToken;
use tokio::time::Instant;

use crate::answer::{self, Verdict};
use crate::circuit::{Admission, Circuits};
use crate::request::Told;
use crate::settings::{self, Places};
use crate::target::{Target, Whose};
use crate::{MARGIN, POLICY};

/// How large an answer may be, in bytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// How long after an attempt's time a callback is still listened to: clocks of machines differ, and a late one is told that
/// it is late rather than that it is nobody's.
const TOKEN_MARGIN: Duration = Duration::from_secs(15 * 60);
/// How long a call is still waited for when the process has to leave; after ten seconds the frame drops the attempt.
const LEAVE_WAIT: Duration = Duration::from_secs(8);

/// What all calls of a process share. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    places: Places,
    tenant_egress: TenantEgress,
    circuits: Circuits,
}

impl Caller {
    pub(crate) fn new(env: &Env) -> Result<Self, SettingsError> {
        let (places, tenant_egress) = settings::read(env)?;
        Ok(Self {
            places,
            tenant_egress,
            circuits: Circuits::default(),
        })
    }

    /// The tasks whose functions are others', without those that no call would reach now.
    pub(crate) async fn tasks(self, ctx: Ctx) -> Result<Vec<String>, sqlx::Error> {
        let now = Instant::now();
        let mut places = ctx.queue().external_tasks().await?;
        places.retain(|place| {
            // Which way it is called does not matter to whether somebody is there; where a tenant decides it is not known.
            [CompletesBy::Response, CompletesBy::Callback]
                .into_iter()
                .filter_map(|by| Target::of(place, None, by, &self.places).ok())
                .all(|target| !self.circuits.is_open(&target.name(), now))
        });
        Ok(places.into_iter().map(|place| place.task).collect())
    }
}

/// How an exchange ended.
enum Exchange {
    Answered {
        status: StatusCode,
        headers: HeaderMap,
        body: Bytes,
    },
    /// More than is taken of an answer. The work was done, and would be done again in vain.
    TooLarge,
    /// The guard refused.
    Denied(String),
    /// Nobody answered, or not to the end.
    Broken(anyhow::Error),
    /// Not in time.
    TimedOut,
}

pub(crate) async fn run(
    ctx: Ctx,
    caller: Caller,
    job: Job<IgnoredAny>,
) -> Result<Outcome, TaskError> {
    let hold = job.hold;
    let call = database::answered(|| ctx.queue().call(hold))
        .await
        .context("what to call could not be read")
        .map_err(TaskError::retry)?;
    let Some(call) = call else {
        // The task changed hands after the claim: the job goes back, uncounted, to whoever has it now.
        return Err(TaskError::Stopped);
    };
    let target = Target::of(
        &call.place,
        call.tenant_url.as_deref(),
        call.completes_by,
        &caller.places,
    )
    .map_err(TaskError::fail)?;
    let name = target.name();
    let circuit = target.circuit(job.tenant);
    let pass = match caller.circuits.admit(&circuit, Instant::now()) {
        Admission::Go(pass) => pass,
        Admission::Open { left } => return Ok(put_off_until(&ctx, &name, hold, left)),
        Admission::Tried { wait } => {
            return Ok(Outcome::Snooze {
                delay: wait,
                reason: format!("circuit of {name} is open: one call finds out whether it is back"),
            });
        }
    };

    let headers = headers(&ctx, &caller, &job, &call, &target).map_err(TaskError::fail)?;
    let body = Bytes::from(call.payload.get().to_owned());
    let time = call
        .time_left
        .min(POLICY.attempt_time_max)
        .saturating_sub(MARGIN)
        .max(Duration::from_secs(1));
    let exchange = exchange(&ctx, &caller.tenant_egress, &target, headers, body, time);
    let mut exchange = std::pin::pin!(exchange);
    let ended = tokio::select! {
        biased;
        ended = &mut exchange => ended,
        () = job.cancelled().cancelled() => {
            if !ctx.stopping().is_cancelled() {
                // It hears that its caller has gone. Whether it stopped, only it could say: the job waits for that as for
                // any callback, and at the deadline is cancelled without it.
                return wait(&ctx, hold, call.callback_deadline).await;
            }
            match tokio::time::timeout(LEAVE_WAIT, &mut exchange).await {
                Ok(ended) => ended,
                Err(_) => return match call.completes_by {
                    // It tells its end to whoever is there then.
                    CompletesBy::Callback => wait(&ctx, hold, call.callback_deadline).await,
                    CompletesBy::Response => Err(TaskError::Stopped),
                },
            }
        }
    };

    let absent = match &ended {
        Exchange::Answered { status, .. } => answer::is_absent(*status),
        Exchange::TooLarge => false,
        // It is not called, so nothing was learnt of it.
        Exchange::Denied(_) => false,
        Exchange::Broken(_) | Exchange::TimedOut => true,
    };
    let verdict = match ended {
        Exchange::Answered {
            status,
            headers,
            body,
        } => answer::verdict(call.completes_by, status, &headers, &body, ctx.now()),
        Exchange::TooLarge => Verdict::Never(format!(
            "the function answered more than {ANSWER_BYTES_MAX} bytes"
        )),
        Exchange::Denied(why) => Verdict::Never(why),
        Exchange::Broken(error) => {
            Verdict::Again(format!("the function did not answer: {error:#}"))
        }
        Exchange::TimedOut => Verdict::Again(format!(
            "the function did not answer within {} s; what takes longer answers 202 and calls back",
            time.as_secs()
        )),
    };
    if absent && !matches!(verdict, Verdict::PutOff { .. }) {
        pass.failed(Instant::now());
    } else {
        pass.answered();
    }
    match verdict {
        Verdict::Done(None) => Ok(Outcome::Done),
        Verdict::Done(Some(result)) => Ok(Outcome::DoneWith(result)),
        Verdict::Later => wait(&ctx, hold, call.callback_deadline).await,
        Verdict::PutOff { delay, reason } => Ok(Outcome::Snooze { delay, reason }),
        Verdict::Again(text) => {
            say(&ctx, hold, &name, &text).await;
            Err(TaskError::retry(anyhow!(text)))
        }
        Verdict::Never(text) => {
            say(&ctx, hold, &name, &text).await;
            Err(TaskError::fail(anyhow!(text)))
        }
    }
}

/// A job that meets an open circuit. Those that meet it together do not come back together.
pub(crate) fn put_off_until(ctx: &Ctx, name: &str, hold: Hold, left: Duration) -> Outcome {
    let spread = u32::try_from(hold.job.0.rem_euclid(16)).unwrap_or_default();
    let delay = left + left * spread / 64;
    let until = chrono::TimeDelta::from_std(left)
        .ok()
        .and_then(|left| ctx.now().checked_add_signed(left))
        .unwrap_or_else(|| ctx.now());
    Outcome::Snooze {
        delay,
        reason: format!(
            "circuit of {name} open until {}",
            until.to_rfc3339_opts(SecondsFormat::Secs, true)
        ),
    }
}

fn headers(
    ctx: &Ctx,
    caller: &Caller,
    job: &Job<IgnoredAny>,
    call: &Call,
    target: &Target,
) -> anyhow::Result<HeaderMap> {
    let good_for = call.attempt_time_max.max(call.callback_deadline) + TOKEN_MARGIN;
    let token = CallbackToken {
        tenant: job.tenant,
        job: job.id(),
        epoch: job.hold.epoch,
        until: chrono::TimeDelta::from_std(good_for)
            .ok()
            .and_then(|good_for| ctx.now().checked_add_signed(good_for))
            .context("the task's times are longer than there are dates for")?,
    };
    Ok(Told {
        job: job.id(),
        epoch: job.hold.epoch,
        attempt: job.attempt,
        tenant: job.tenant,
        token: &token.sign(ctx.keyring()?),
        callback: &caller.places.callback,
        actor: call.actor.as_deref(),
        traceparent: job.traceparent.as_deref(),
        openfaas: target.openfaas,
    }
    .headers())
}

async fn exchange(
    ctx: &Ctx,
    tenant_egress: &TenantEgress,
    target: &Target,
    headers: HeaderMap,
    body: Bytes,
    time: Duration,
) -> Exchange {
    let sent = match target.whose {
        Whose::Operator => post(ctx.http(), target, headers, body, time).await,
        Whose::Tenant => {
            match tenant_egress.request(Integration::Function, Method::POST, &target.url) {
                Ok(request) => {
                    let request = request.headers(headers).body(body).timeout(time);
                    request.send().await
                }
                Err(denied) => return Exchange::Denied(denied.to_string()),
            }
        }
    };
    let response = match sent {
        Ok(response) => response,
        Err(error) => {
            if let Some(denied) = egress::denied(&error) {
                return Exchange::Denied(denied.to_string());
            }
            return broken(error);
        }
    };
    let (status, headers) = (response.status(), response.headers().clone());
    match read_capped(response, ANSWER_BYTES_MAX).await {
        Ok(body) => Exchange::Answered {
            status,
            headers,
            body,
        },
        Err(BodyError::TooLarge { .. }) => Exchange::TooLarge,
        Err(BodyError::Broken(error)) => broken(error),
    }
}

async fn post(
    http: &ClusterEgress,
    target: &Target,
    headers: HeaderMap,
    body: Bytes,
    time: Duration,
) -> Result<reqwest::Response, reqwest::Error> {
    let answer = http.post(&target.url, headers, body, time);
    egress::counted(Integration::Function, answer).await
}

fn broken(error: reqwest::Error) -> Exchange {
    if error.is_timeout() && !error.is_connect() {
        return Exchange::TimedOut;
    }
    // Its URL may hold a secret in its query, and is told without it.
    Exchange::Broken(anyhow::Error::new(error.without_url()))
}

/// Lets the job wait for a callback. One that came first has ended the job: then there is nothing to wait for.
async fn wait(ctx: &Ctx, hold: Hold, deadline: Duration) -> Result<Outcome, TaskError> {
    let wait = Wait {
        waiting: Waiting::Callback,
        deadline,
        runner: None,
    };
    database::answered(|| ctx.queue().wait(hold, &wait))
        .await
        .context("that a callback follows could not be recorded")
        .map_err(TaskError::retry)?;
    Ok(Outcome::Recorded)
}

/// Tells people which call it was. Numbered behind what the function itself may have sent for the log.
async fn say(ctx: &Ctx, hold: Hold, name: &str, text: &str) {
    let line = [format!("POST {name}: {text}")];
    if let Err(error) = ctx.queue().append_lines(hold, LogStream::Task, &line).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "a log line could not be written"
        );
    }
}
