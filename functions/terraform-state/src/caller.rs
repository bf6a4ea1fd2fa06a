//! Who asks: a run by its own password, or a person by theirs.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use host::{Ctx, Keys};
use model::{JobId, Role, TenantId};
use store::StateToken;
use store::people::Token;

use crate::{Refusal, keyring, patient};

/// The user name of runs.
const RUN: &str = "run";
/// The user name of people.
const PERSON: &str = "token";

/// Somebody who may work with the state that was named.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) tenant: TenantId,
    pub(crate) by: String,
    /// Job and epoch of a run.
    pub(crate) run: Option<(JobId, i64)>,
    pub(crate) read_only: bool,
}

/// Before anything else of the request is looked at.
pub(crate) async fn known(
    ctx: &Ctx,
    keys: &Keys,
    tenant: &str,
    state: &str,
    headers: &HeaderMap,
) -> Result<Known, Refusal> {
    let (user, password) = basic(headers).ok_or(Refusal::Unauthorized(
        "send Basic authentication: the user token, and a token of the API as its password",
    ))?;
    match user.as_str() {
        RUN => run(ctx, keys, tenant, state, &password),
        PERSON => person(ctx, tenant, &password).await,
        _ => Err(Refusal::Unauthorized("the user is neither run nor token")),
    }
}

fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let (scheme, encoded) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("basic").then_some(())?;
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

fn run(
    ctx: &Ctx,
    keys: &Keys,
    tenant: &str,
    state: &str,
    password: &str,
) -> Result<Known, Refusal> {
    let mut keyrings = vec![keyring(ctx)?];
    keyrings.extend(keys.previous.as_deref());
    let token = StateToken::verify(password, &keyrings).map_err(|_| {
        Refusal::Unauthorized("the password is not the one of a run of this installation")
    })?;
    if token.tenant.uuid().to_string() != tenant || token.state != state {
        return Err(Refusal::Forbidden(
            "these credentials are for another state".to_owned(),
        ));
    }
    Ok(Known {
        tenant: token.tenant,
        by: format!("job {}", token.job),
        run: Some((token.job, token.epoch)),
        read_only: token.read_only,
    })
}

/// A state holds every secret that terraform was given or has made: it takes an admin.
async fn person(ctx: &Ctx, tenant: &str, password: &str) -> Result<Known, Refusal> {
    let token = Token::presented(password);
    let member = patient(|| ctx.store().state_person(&token, tenant))
        .await?
        // As for a tenant that is not there.
        .ok_or(Refusal::Unauthorized(
            "the token is over, or not one of a member of this tenant",
        ))?;
    if member.role < Role::Admin {
        return Err(Refusal::Forbidden(format!(
            "you are {} here, and a whole state, with every secret in it, takes {}; start a run instead, or ask an admin",
            member.role.as_str(),
            Role::Admin.as_str()
        )));
    }
    Ok(Known {
        tenant: member.tenant,
        by: member.name.chars().take(200).collect(),
        run: None,
        read_only: false,
    })
}
