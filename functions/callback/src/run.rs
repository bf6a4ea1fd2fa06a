//! What runners ask and say: their spec, news, artifacts, their end. All of it beside `/callback`, with the same token in
//! `x-worker-id` and nowhere else.
//!
//! | call | answers |
//! | --- | --- |
//! | `GET /run` | 200 the spec |
//! | `POST /run/news` | 200 up to which line it is known, and whether to stop |
//! | `GET /run/artifacts/{id}` | 200, 206 the bytes of an artifact that the spec names |
//! | `PUT /run/artifacts/{name}/parts/{n}` | 204 |
//! | `GET /run/artifacts/{name}/parts?bytes=&sealed=` | 200 the parts that are there; 413 where so much would not be taken |
//! | `POST /run/artifacts/{name}` | 200 its id; 422 when it is not what was announced |
//! | `POST /run/end` | 200 `applied` or `duplicate` |
//!
//! And each: 401 without a good token, 409 `stale` when the run is over or its job went on without it, 404 `unknown`, 413 beyond a
//! limit, 503 while the database or the store of artifacts is away. What was not answered 2xx may be said again.

mod files;
mod refusal;

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Extension, Router, body::Body};
use database::Unanswered;
use host::{Ctx, Keys};
use model::run::{
    LOG_BATCH_BYTES_MAX, LOG_BATCH_LINES_MAX, LOG_LINE_BYTES_MAX, REPORT_BYTES_MAX, RunNews,
    RunOver, RunReport, StepNews, StepState,
};
use model::{LogStream, TenantId};
use queue::Hold;
use queue::runs::{NewsHeard, SpecFound};
use serde::de::DeserializeOwned;
use store::run_spec_slot;
use zeroize::Zeroizing;

use self::refusal::RunRefusal;
use crate::pace::Pace;
use crate::{TRY_FOR, WORKER_ID, said, verified};

/// How large news may be, in bytes of JSON: twice the lines of a batch, as escapes are longer than what they stand for.
const NEWS_BYTES_MAX: usize = 2 * 1024 * 1024;
/// How large a runner's last word may be, in bytes of JSON.
const END_BYTES_MAX: usize = 1024 * 1024;
/// The number that a line of a run can have, at most; no log comes near it.
const LINES_EVER_MAX: u64 = 1 << 48;
/// Steps that news may tell of.
const STEPS_MAX: usize = 1_000;

/// What the calls of all runners share.
pub(crate) struct Runs {
    keys: Keys,
    pace: Pace,
    together: files::Together,
}

pub(crate) fn routes(keys: Keys) -> Router<Ctx> {
    let runs = Runs {
        keys,
        pace: Pace::default(),
        together: files::Together::default(),
    };
    Router::new()
        .route("/run", get(spec))
        .route("/run/news", post(news))
        .route("/run/end", post(end))
        .route(
            "/run/artifacts/{name}",
            get(files::read).post(files::complete),
        )
        .route("/run/artifacts/{name}/parts", get(files::parts))
        .route("/run/artifacts/{name}/parts/{part}", put(files::put_part))
        .layer(Extension(Arc::new(runs)))
}

/// Whose run it is that calls.
#[derive(Debug, Clone, Copy)]
struct Caller {
    tenant: TenantId,
    hold: Hold,
}

impl Runs {
    /// Who calls, before anything else of the request is looked at.
    fn caller(&self, ctx: &Ctx, headers: &HeaderMap) -> Result<Caller, RunRefusal> {
        // What a gateway gives back of its caller's is not enough here: a runner knows its token.
        if !headers.contains_key(WORKER_ID) {
            return Err(RunRefusal::Unauthorized(
                "x-worker-id is missing: a run's token is sent in this header and nowhere else",
            ));
        }
        let token = verified(ctx, &self.keys, headers)?;
        Ok(Caller {
            tenant: token.tenant,
            hold: Hold {
                job: token.job,
                epoch: token.epoch,
            },
        })
    }

    /// The spec of a run that is not over, as JSON.
    async fn opened(&self, ctx: &Ctx, caller: Caller) -> Result<Zeroizing<Vec<u8>>, RunRefusal> {
        let found = answered(|| ctx.queue().run_spec(caller.tenant, caller.hold)).await?;
        let sealed = match found {
            SpecFound::Held(sealed) => sealed,
            SpecFound::Over => return Err(RunRefusal::Stale),
            SpecFound::Unknown => return Err(RunRefusal::Unknown),
        };
        let slot = run_spec_slot(caller.tenant, caller.hold.job, caller.hold.epoch);
        let keyring = ctx.keyring().map_err(RunRefusal::internal)?;
        // Sealed by who was started before the key was changed.
        let opened = match (keyring.open(slot, &sealed), &self.keys.previous) {
            (Err(_), Some(previous)) => previous.open(slot, &sealed),
            (opened, _) => opened,
        };
        opened.map_err(RunRefusal::internal)
    }
}

/// Asks the database until it answers, for as long as a request is held.
async fn answered<T, F>(ask: impl Fn() -> F) -> Result<T, RunRefusal>
where
    F: Future<Output = Result<T, sqlx::Error>>,
{
    let answer = database::answered_within(TRY_FOR, ask).await;
    answer.map_err(|why| match why {
        Unanswered::Away => RunRefusal::DatabaseAway,
        Unanswered::Failed(error) => error.into(),
    })
}

type Called = Result<Response, RunRefusal>;

async fn spec(
    State(ctx): State<Ctx>,
    Extension(runs): Extension<Arc<Runs>>,
    request: Request<Body>,
) -> Called {
    let caller = runs.caller(&ctx, request.headers())?;
    let spec = runs.opened(&ctx, caller).await?;
    let headers = [
        (axum::http::header::CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, spec.to_vec()).into_response())
}

async fn news(
    State(ctx): State<Ctx>,
    Extension(runs): Extension<Arc<Runs>>,
    request: Request<Body>,
) -> Called {
    let caller = runs.caller(&ctx, request.headers())?;
    if !runs.pace.may(caller.hold, ctx.now()) {
        return Err(RunRefusal::TooOften);
    }
    let news: RunNews = json(request.into_body(), NEWS_BYTES_MAX).await?;
    check(&news)?;
    let heard = answered(|| ctx.queue().run_news(caller.tenant, caller.hold, &news)).await?;
    match heard {
        NewsHeard::Taken(taken) => {
            count_steps(&ctx, caller, &news).await;
            Ok(axum::Json(taken).into_response())
        }
        NewsHeard::Stale => Err(RunRefusal::Stale),
        NewsHeard::Unknown => Err(RunRefusal::Unknown),
    }
}

/// Counts how long steps took that have ended. A heartbeat costs nothing more; what cannot be counted is no runner's trouble.
async fn count_steps(ctx: &Ctx, caller: Caller, news: &RunNews) {
    let ended = |step: &&StepNews| !matches!(step.state, StepState::Waiting | StepState::Running);
    let ended: Vec<i32> = news
        .steps
        .iter()
        .filter(ended)
        .filter_map(|step| i32::try_from(step.step).ok())
        .collect();
    if ended.is_empty() {
        return;
    }
    match ctx
        .queue()
        .steps_ended(caller.tenant, caller.hold, &ended)
        .await
    {
        Ok(steps) => {
            for step in steps {
                ctx.metrics()
                    .step_ended(&step.task, &step.name, step.state, step.took);
            }
        }
        Err(error) => tracing::debug!(
            error = &error as &dyn std::error::Error,
            "steps that ended are not counted"
        ),
    }
}

async fn end(
    State(ctx): State<Ctx>,
    Extension(runs): Extension<Arc<Runs>>,
    request: Request<Body>,
) -> Called {
    let caller = runs.caller(&ctx, request.headers())?;
    let over: RunOver = json(request.into_body(), END_BYTES_MAX).await?;
    check_report(&over.report)?;
    let heard = answered(|| ctx.queue().end_run(caller.tenant, caller.hold, &over)).await?;
    tracing::info!(
        job.id = caller.hold.job.0,
        job.epoch = caller.hold.epoch,
        run.end = over.end.as_str(),
        ?heard,
        "a runner said how its run ended"
    );
    Ok(said(caller.hold.job.0, heard))
}

async fn json<T: DeserializeOwned>(body: Body, bytes_max: usize) -> Result<T, RunRefusal> {
    let bytes = host::read_body(body, bytes_max).await?;
    serde_json::from_slice(&bytes).map_err(|error| RunRefusal::NotJson(error.to_string()))
}

/// What would be refused by the database is told before, in words.
fn check(news: &RunNews) -> Result<(), RunRefusal> {
    let too_large = |what: String| Err(RunRefusal::TooLarge(what));
    if news.lines.len() > LOG_BATCH_LINES_MAX {
        return too_large(format!("news carry {LOG_BATCH_LINES_MAX} lines at most"));
    }
    let is_long = |(_, line): &(LogStream, String)| line.len() > LOG_LINE_BYTES_MAX;
    if let Some(at) = news.lines.iter().position(is_long) {
        let place = news.first.saturating_add(at as u64);
        return too_large(format!(
            "line {place} is longer than {LOG_LINE_BYTES_MAX} bytes: cut it and say so"
        ));
    }
    let bytes: usize = news.lines.iter().map(|(_, line)| line.len()).sum();
    if news.lines.len() > 1 && bytes > LOG_BATCH_BYTES_MAX {
        return too_large(format!(
            "news carry {LOG_BATCH_BYTES_MAX} bytes of lines at most"
        ));
    }
    if news.steps.len() > STEPS_MAX {
        return too_large(format!("news tell of {STEPS_MAX} steps at most"));
    }
    if !(1..=LINES_EVER_MAX).contains(&news.first) && !news.lines.is_empty() {
        return Err(RunRefusal::Wrong(format!(
            "first is the number of the first line, from 1 to {LINES_EVER_MAX}"
        )));
    }
    news.report.as_ref().map_or(Ok(()), check_report)
}

fn check_report(report: &RunReport) -> Result<(), RunRefusal> {
    let bytes = serde_json::to_vec(report)
        .map_err(RunRefusal::internal)?
        .len();
    if bytes > REPORT_BYTES_MAX {
        return Err(RunRefusal::TooLarge(format!(
            "a report has {REPORT_BYTES_MAX} bytes at most, this one {bytes}"
        )));
    }
    Ok(())
}

impl IntoResponse for RunRefusal {
    fn into_response(self) -> Response {
        let status = self.status();
        // A runner that comes too late or too often is nobody's trouble.
        if status.is_server_error() || status == StatusCode::UNAUTHORIZED {
            tracing::warn!(
                http.status = status.as_u16(),
                "a runner's call was not taken: {self}"
            );
        } else {
            tracing::info!(
                http.status = status.as_u16(),
                "a runner's call was not taken: {self}"
            );
        }
        let mut response = (status, axum::Json(self.body())).into_response();
        if let Some(again) = self.come_again() {
            let headers = response.headers_mut();
            headers.insert(axum::http::header::RETRY_AFTER, again);
        }
        response
    }
}

#[cfg(test)]
mod tests;
