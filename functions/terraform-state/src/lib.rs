//! Keeps terraform's states: what its `http` backend reads, writes, locks and unlocks.
//!
//! `/{tenant}/{state}` with Basic authentication. A run of ours is `run` with a password that is good for one state and dies
//! with the run; a person is `token` with a token of the API, and an admin of the tenant, because a state has every secret in
//! it. Each version is kept, sealed. The answers are those that terraform understands:
//!
//! | method | answer |
//! | --- | --- |
//! | `GET` | 200 with the state; 404 when there is none |
//! | `LOCK` | 200; 423 with the holder's lock |
//! | `UNLOCK` | 200, also when nobody holds it; 409 with the holder's lock |
//! | `UNLOCK` without a lock | `terraform force-unlock`: 200, on record; only for a person |
//! | `POST ?ID=<lock>` | 200; 423 with the holder's lock when it was sent without one |
//! | `DELETE` | 200: there is no current version any more, the history stays; 423 with the holder's lock |
//!
//! A state that a run sends which is over, or under a lock that is not held any more, is answered 409 and **kept**, quarantined:
//! the current one stays, and a person can make the other one count. Everything else that such a run asks for is 403. While the
//! database is away a request is held for [`TRY_FOR`], then 503.

mod caller;

use std::collections::HashMap;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use database::Unanswered;
use host::{BodyError, Ctx, Function, Keys, Kind};
use md5::Md5;
use model::DatabaseRole;
use sha2::{Digest as _, Sha256};
use store::terraform::{
    Caller, LockAnswer, LockInfo, NewVersion, Read, STATE_BYTES_MAX, Written, is_state_name,
};
use terraform::StateHead;

use crate::caller::Known;

/// The function.
pub const FUNCTION: Function = Function {
    name: env!("CARGO_PKG_NAME"),
    role: DatabaseRole::System,
    kind: Kind::Service,
    routes: |env| {
        let keys = Keys::read(env)?;
        let handler = move |State(ctx): State<Ctx>,
                            Path((tenant, state)): Path<(String, String)>,
                            request: Request<Body>| {
            let keys = keys.clone();
            async move {
                match answer(&ctx, &keys, &tenant, &state, request).await {
                    Ok(response) => response,
                    Err(refusal) => refused(&refusal),
                }
            }
        };
        Ok(Router::new()
            .route("/{tenant}/{state}", any(handler))
            .into())
    },
};

/// How large a lock may be, in bytes.
const LOCK_BYTES_MAX: usize = 64 * 1024;
/// How long a request is held while the database does not answer.
const TRY_FOR: Duration = Duration::from_secs(10);
/// When to come again after that, in seconds.
const COME_AGAIN_SECS: HeaderValue = HeaderValue::from_static("2");
const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");

/// Why a request is not done.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("{0}")]
    Unauthorized(&'static str),
    #[error("{0}")]
    Forbidden(String),
    #[error("the run that these credentials were for is over")]
    Ended,
    #[error(
        "a state's name has 1 to 100 letters, digits, dots, dashes and underscores, a letter or digit first"
    )]
    BadName,
    #[error("{0}")]
    Bad(String),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error("the state is locked by {} ({})", .0.who, .0.id)]
    Locked(Box<LockInfo>),
    #[error("it is another lock that is held, by {} ({})", .0.who, .0.id)]
    OtherLock(Box<LockInfo>),
    #[error(
        "the state was not taken because {why}; it is kept as version {version}, which an admin can make the current one"
    )]
    Quarantined { version: i64, why: String },
    #[error("the tenant has 1000 states: remove those that nobody needs")]
    Full,
    #[error("the method is none of GET, POST, DELETE, LOCK, UNLOCK")]
    Method,
    #[error("the database does not answer; ask again in a while")]
    Away,
    #[error("an error of ours; it was recorded")]
    Internal,
}

async fn answer(
    ctx: &Ctx,
    keys: &Keys,
    tenant: &str,
    state: &str,
    request: Request<Body>,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let known = caller::known(ctx, keys, tenant, state, &parts.headers).await?;
    if !is_state_name(state) {
        return Err(Refusal::BadName);
    }
    let caller = Caller {
        tenant: known.tenant,
        state,
        by: &known.by,
        run: known.run,
    };
    let id = Query::<HashMap<String, String>>::try_from_uri(&parts.uri)
        .ok()
        .and_then(|Query(mut query)| query.remove("ID"));
    match parts.method.as_str() {
        "GET" => read(ctx, &caller).await,
        "LOCK" => {
            writes(&known)?;
            lock(ctx, &caller, body).await
        }
        "UNLOCK" => {
            writes(&known)?;
            unlock(ctx, &caller, body).await
        }
        "POST" => {
            writes(&known)?;
            write(ctx, &caller, id.as_deref(), &parts.headers, body).await
        }
        "DELETE" => {
            writes(&known)?;
            clear(ctx, &caller).await
        }
        _ => Err(Refusal::Method),
    }
}

fn writes(known: &Known) -> Result<(), Refusal> {
    if known.read_only {
        return Err(Refusal::Forbidden(
            "this run may read the state and nothing more".to_owned(),
        ));
    }
    Ok(())
}

async fn read(ctx: &Ctx, caller: &Caller<'_>) -> Result<Response, Refusal> {
    let keyring = keyring(ctx)?;
    let found = patient(|| ctx.store().read_terraform_state(keyring, caller)).await?;
    match found {
        Read::Ended => Err(Refusal::Ended),
        Read::Broken(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                terraform.state = caller.state,
                "a state cannot be opened"
            );
            Err(Refusal::Internal)
        }
        Read::None => Ok(StatusCode::NOT_FOUND.into_response()),
        Read::Found(version, state) => {
            if caller.run.is_none() {
                // A person has now every secret in it: on record before they get it.
                patient(|| ctx.store().note_terraform_read(caller, version)).await?;
            }
            let headers = [
                (CONTENT_TYPE, "application/json"),
                (CACHE_CONTROL, "no-store"),
            ];
            Ok((headers, state.to_vec()).into_response())
        }
    }
}

async fn lock(ctx: &Ctx, caller: &Caller<'_>, body: Body) -> Result<Response, Refusal> {
    let info = lock_info(&host::read_body(body, LOCK_BYTES_MAX).await?)?;
    let answer = patient(|| ctx.store().lock_terraform_state(caller, &info)).await?;
    match answer {
        LockAnswer::Done => {
            tracing::info!(
                terraform.state = caller.state,
                terraform.lock = info.id,
                by = caller.by,
                "a state is locked"
            );
            Ok(axum::Json(info).into_response())
        }
        LockAnswer::Held(holder) => Err(Refusal::Locked(holder)),
        LockAnswer::Ended => Err(Refusal::Ended),
        LockAnswer::Full => Err(Refusal::Full),
    }
}

async fn unlock(ctx: &Ctx, caller: &Caller<'_>, body: Body) -> Result<Response, Refusal> {
    let body = host::read_body(body, LOCK_BYTES_MAX).await?;
    if body.is_empty() {
        return force_unlock(ctx, caller).await;
    }
    let info = lock_info(&body)?;
    let answer = patient(|| ctx.store().unlock_terraform_state(caller, &info.id)).await?;
    match answer {
        LockAnswer::Done => Ok(StatusCode::OK.into_response()),
        LockAnswer::Held(holder) => Err(Refusal::OtherLock(holder)),
        LockAnswer::Ended => Err(Refusal::Ended),
        LockAnswer::Full => Err(Refusal::Full),
    }
}

/// Terraform's client remembers the lock that it took, and `force-unlock` took none: it sends nothing.
/// <https://github.com/hashicorp/terraform/blob/main/internal/backend/remote-state/http/client.go>
async fn force_unlock(ctx: &Ctx, caller: &Caller<'_>) -> Result<Response, Refusal> {
    if caller.run.is_some() {
        return Err(Refusal::Forbidden(
            "a run gives back the lock that it took, and names it; an admin may take away another one".to_owned(),
        ));
    }
    let held = patient(|| ctx.store().force_unlock_terraform_state(caller)).await?;
    tracing::info!(
        terraform.state = caller.state,
        held,
        by = caller.by,
        "a state was unlocked by force"
    );
    Ok(StatusCode::OK.into_response())
}

async fn write(
    ctx: &Ctx,
    caller: &Caller<'_>,
    lock_id: Option<&str>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let body = host::read_body(body, STATE_BYTES_MAX).await?;
    if let Some(told) = headers.get(CONTENT_MD5)
        && told.as_bytes() != STANDARD.encode(Md5::digest(&body)).as_bytes()
    {
        return Err(Refusal::Bad(
            "the state is not the one that was sent: Content-MD5 differs".to_owned(),
        ));
    }
    let head = StateHead::read(&body).map_err(|error| Refusal::Bad(error.to_string()))?;
    let serial = i64::try_from(head.serial)
        .map_err(|_| Refusal::Bad("the state's serial is out of range".to_owned()))?;
    let new = NewVersion {
        lock_id,
        serial,
        lineage: &head.lineage,
        terraform_version: head.terraform_version.as_deref(),
        sha256: Sha256::digest(&body).into(),
        state: &body,
    };
    let keyring = keyring(ctx)?;
    let written = patient(|| ctx.store().write_terraform_state(keyring, caller, &new)).await?;
    match written {
        Written::Stored(version) => {
            tracing::info!(
                terraform.state = caller.state,
                terraform.version = version,
                by = caller.by,
                "a state was written"
            );
            Ok(StatusCode::OK.into_response())
        }
        Written::Quarantined(version, why) => Err(Refusal::Quarantined { version, why }),
        Written::Held(holder) => Err(Refusal::Locked(holder)),
        Written::Full => Err(Refusal::Full),
    }
}

async fn clear(ctx: &Ctx, caller: &Caller<'_>) -> Result<Response, Refusal> {
    let answer = patient(|| ctx.store().clear_terraform_state(caller)).await?;
    match answer {
        LockAnswer::Done => Ok(StatusCode::OK.into_response()),
        LockAnswer::Held(holder) => Err(Refusal::Locked(holder)),
        LockAnswer::Ended => Err(Refusal::Ended),
        LockAnswer::Full => Err(Refusal::Full),
    }
}

fn keyring(ctx: &Ctx) -> Result<&store::Keyring, Refusal> {
    ctx.keyring().map_err(|error| {
        tracing::error!("{error}");
        Refusal::Internal
    })
}

fn lock_info(body: &[u8]) -> Result<LockInfo, Refusal> {
    serde_json::from_slice::<LockInfo>(body)
        .map_err(|error| {
            Refusal::Bad(format!("the lock is not one that terraform sends: {error}"))
        })?
        .bounded()
        .ok_or_else(|| Refusal::Bad("the lock's ID has 1 to 100 bytes".to_owned()))
}

/// Asks the database until it answers, for as long as a request may be held. Whatever is asked here may be asked twice.
async fn patient<T, F, Fut>(ask: F) -> Result<T, Refusal>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<T, sqlx::Error>>,
{
    let answer = database::answered_within(TRY_FOR, ask).await;
    answer.map_err(|why| match why {
        Unanswered::Away => Refusal::Away,
        Unanswered::Failed(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "a state could not be worked with"
            );
            Refusal::Internal
        }
    })
}

fn refused(refusal: &Refusal) -> Response {
    let status = match refusal {
        Refusal::Unauthorized(_) => StatusCode::UNAUTHORIZED,
        Refusal::Forbidden(_) | Refusal::Ended | Refusal::Full => StatusCode::FORBIDDEN,
        Refusal::BadName | Refusal::Bad(_) | Refusal::Body(BodyError::Broken) => {
            StatusCode::BAD_REQUEST
        }
        Refusal::Body(BodyError::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::Locked(_) => StatusCode::LOCKED,
        Refusal::OtherLock(_) | Refusal::Quarantined { .. } => StatusCode::CONFLICT,
        Refusal::Method => StatusCode::METHOD_NOT_ALLOWED,
        Refusal::Away => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    };
    tracing::warn!(
        http.status = status.as_u16(),
        "a request for a state was refused: {refusal}"
    );
    // Terraform reads the holder's lock from the body and tells its user.
    let mut response = match refusal {
        Refusal::Locked(holder) | Refusal::OtherLock(holder) => {
            (status, axum::Json(holder)).into_response()
        }
        _ => {
            let body = serde_json::json!({ "error": refusal.to_string() });
            (status, axum::Json(body)).into_response()
        }
    };
    let headers = response.headers_mut();
    match refusal {
        Refusal::Away => {
            headers.insert(RETRY_AFTER, COME_AGAIN_SECS);
        }
        Refusal::Unauthorized(_) => {
            let basic = HeaderValue::from_static("Basic realm=\"terraform states\"");
            headers.insert(WWW_AUTHENTICATE, basic);
        }
        _ => {}
    }
    response
}

#[cfg(test)]
mod tests;
