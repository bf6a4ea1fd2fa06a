//! Takes in what other people's functions say of the jobs they were called for: how far they are, log lines, how it ended.
//!
//! `POST /callback` with the two headers of the call, `x-job-id` and `x-worker-id`, which is a signed token of the claim: it
//! is verified before the body is read. The body is JSON ([`told`]); an empty one is a success, `X-Job-Error` an error
//! whatever the body says. The first end counts; the answer says whether this one did:
//!
//! | answer | status | means |
//! | --- | --- | --- |
//! | `applied` | 200 | it counted |
//! | `duplicate` | 200 | the same had been said before |
//! | `stale` | 409 | too late: the job is somebody else's, or ended in another way |
//! | `unknown` | 404 | the tenant has no such job |
//!
//! Without a token it is 401, who says too much is told to wait (429), and with neither header it is a health check. While the database is away the request is held for
//! [`TRY_FOR`], then 503: saying it again is always safe.
//!
//! Runners of ours, which do what takes longer than a request, speak at the paths beside it ([`run`]).

mod pace;
mod room;
mod run;
mod told;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use database::Unanswered;
use host::{BodyError, Ctx, Function, Keys, Kind};
use model::{DatabaseRole, JobState};
use queue::Hold;
use queue::executors::Heard;
use serde::Serialize;
use store::CallbackToken;

use crate::pace::Pace;
use crate::room::Rooms;
use crate::told::{BadTold, Told};

/// The function.
pub const FUNCTION: Function = Function {
    name: env!("CARGO_PKG_NAME"),
    role: DatabaseRole::System,
    kind: Kind::Service,
    routes: |env| {
        let keys = Keys::read(env)?;
        // What runs leave behind is kept there.
        env.require("BLOBS_URL")?;
        let runs = run::routes(keys.clone());
        let calls = Arc::new(Calls {
            keys,
            pace: Pace::default(),
            rooms: Rooms::default(),
        });
        let handler = move |State(ctx): State<Ctx>, request: Request<Body>| {
            let calls = Arc::clone(&calls);
            async move { answer(&ctx, &calls, request).await }
        };
        Ok(Router::new()
            .route("/callback", post(handler))
            .merge(runs)
            .into())
    },
};

/// What all callbacks share.
struct Calls {
    keys: Keys,
    pace: Pace,
    rooms: Rooms,
}

/// How large a body may be, in bytes.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// How long a request is held while the database does not answer.
const TRY_FOR: Duration = Duration::from_secs(10);
/// When who says too much may say more, in seconds.
const TOO_OFTEN_SECS: HeaderValue = HeaderValue::from_static("1");
/// When to come again after that, in seconds.
const COME_AGAIN_SECS: HeaderValue = HeaderValue::from_static("2");

const JOB_ID: HeaderName = HeaderName::from_static("x-job-id");
const WORKER_ID: HeaderName = HeaderName::from_static("x-worker-id");
const DATABASE_ID: HeaderName = HeaderName::from_static("x-database-id");
/// What an OpenFaaS gateway gives back of its caller's, whatever its function does.
const CALL_ID: HeaderName = HeaderName::from_static("x-call-id");

/// Why a callback is not taken.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("{0}")]
    Unauthorized(&'static str),
    #[error("this call says too much at once; say it again in a while")]
    TooOften,
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error("{0}")]
    Bad(BadTold),
    #[error("the database does not answer; say it again in a while")]
    Away,
    #[error("an error of ours; it was recorded")]
    Internal,
}

/// What is answered to a callback that was understood.
#[derive(Debug, Serialize)]
struct Answer {
    outcome: &'static str,
    #[serde(rename = "jobId")]
    job: i64,
    /// What the job is now, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<JobState>,
    /// Somebody asked the job to stop: the function may stop and say `cancelled`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cancel: bool,
}

async fn answer(ctx: &Ctx, calls: &Calls, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    if ![JOB_ID, WORKER_ID, CALL_ID]
        .iter()
        .any(|name| parts.headers.contains_key(name))
    {
        return (
            [(CONTENT_TYPE, "application/json")],
            r#"{"status":"ok"}"#.to_owned(),
        )
            .into_response();
    }
    match taken(ctx, calls, &parts.headers, body).await {
        Ok(response) => response,
        Err(refusal) => refused(&refusal),
    }
}

async fn taken(
    ctx: &Ctx,
    calls: &Calls,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let token = verified(ctx, &calls.keys, headers)?;
    if let Some(database_id) = headers.get(DATABASE_ID)
        && database_id.as_bytes() != token.tenant.uuid().to_string().as_bytes()
    {
        // As for a job that the named tenant does not have.
        return Ok(said(token.job.0, Heard::Unknown));
    }
    let hold = Hold {
        job: token.job,
        epoch: token.epoch,
    };
    if !calls.pace.may(hold, ctx.now()) {
        return Err(Refusal::TooOften);
    }
    let body = host::read_body(body, BODY_BYTES_MAX).await?;
    let told = Told::read(headers, &body).map_err(Refusal::Bad)?;
    let log = calls.rooms.kept(hold, told.log);
    // Asked again the same thing counts once, so that nobody needs to know whether an answer was lost.
    let hearing = database::answered_within(TRY_FOR, || {
        ctx.queue().callback(token.tenant, hold, &told.said, &log)
    });
    let heard = hearing.await.map_err(|why| match why {
        Unanswered::Away => Refusal::Away,
        Unanswered::Failed(error) => {
            tracing::error!(
                job.id = hold.job.0,
                error = &error as &dyn std::error::Error,
                "a callback could not be recorded"
            );
            Refusal::Internal
        }
    })?;
    tracing::info!(
        job.id = hold.job.0,
        job.epoch = hold.epoch,
        ?heard,
        "a function called back"
    );
    Ok(said(hold.job.0, heard))
}

/// Who calls, before anything else of the request is looked at.
fn verified(ctx: &Ctx, keys: &Keys, headers: &HeaderMap) -> Result<CallbackToken, Refusal> {
    let keyring = ctx.keyring().map_err(|error| {
        tracing::error!("{error}");
        Refusal::Internal
    })?;
    let text = headers
        .get(WORKER_ID)
        .or_else(|| headers.get(CALL_ID))
        .ok_or(Refusal::Unauthorized(
            "x-worker-id is missing: send back the one that came with the call",
        ))?
        .to_str()
        .map_err(|_| Refusal::Unauthorized("x-worker-id is not the one of a call"))?;
    let mut keyrings = vec![keyring];
    keyrings.extend(keys.previous.as_deref());
    let token = CallbackToken::verify(text, &keyrings, ctx.now()).map_err(|bad| match bad {
        store::BadToken::Forged => {
            Refusal::Unauthorized("x-worker-id is not the one of a call by this installation")
        }
        store::BadToken::Over => Refusal::Unauthorized(
            "x-worker-id is over: the job's time for this attempt ended some while ago",
        ),
    })?;
    // A function that sends another job's id has mixed up its calls.
    match headers.get(JOB_ID) {
        Some(job) if job.as_bytes() != token.job.0.to_string().as_bytes() => Err(
            Refusal::Unauthorized("x-worker-id is of another call than x-job-id"),
        ),
        Some(_) | None => Ok(token),
    }
}

fn said(job: i64, heard: Heard) -> Response {
    let answer = |outcome, state| Answer {
        outcome,
        job,
        state,
        cancel: false,
    };
    let (status, answer) = match heard {
        Heard::Applied { state, cancel } => (
            StatusCode::OK,
            Answer {
                cancel,
                ..answer("applied", Some(state))
            },
        ),
        Heard::Duplicate(state) => (StatusCode::OK, answer("duplicate", state)),
        Heard::Stale(state) => (StatusCode::CONFLICT, answer("stale", state)),
        Heard::Unknown => (StatusCode::NOT_FOUND, answer("unknown", None)),
    };
    (status, axum::Json(answer)).into_response()
}

fn refused(refusal: &Refusal) -> Response {
    let status = match refusal {
        Refusal::Unauthorized(_) => StatusCode::UNAUTHORIZED,
        Refusal::TooOften => StatusCode::TOO_MANY_REQUESTS,
        Refusal::Body(BodyError::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::Body(BodyError::Broken) => StatusCode::BAD_REQUEST,
        Refusal::Bad(BadTold::NotJson) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Refusal::Bad(_) => StatusCode::BAD_REQUEST,
        Refusal::Away => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    };
    tracing::warn!(
        http.status = status.as_u16(),
        "a callback was not taken: {refusal}"
    );
    let body = serde_json::json!({ "error": refusal.to_string() });
    let mut response = (status, axum::Json(body)).into_response();
    let again = match refusal {
        Refusal::Away => Some(COME_AGAIN_SECS),
        Refusal::TooOften => Some(TOO_OFTEN_SECS),
        _ => None,
    };
    if let Some(again) = again {
        response.headers_mut().insert(RETRY_AFTER, again);
    }
    response
}

#[cfg(test)]
mod tests;
