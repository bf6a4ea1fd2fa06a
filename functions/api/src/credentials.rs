//! What other systems let us in with: listed without their secrets, made, written anew, looked at, removed.

use axum::extract::Path;
use axum::response::IntoResponse;
use database::TenantTx;
use http::StatusCode;
use model::Role;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value};
use store::credentials::{
    self, CREDENTIALS_MAX, Credential, CredentialConfig, CredentialKind, NewCredential, Removed,
    Rotation,
};
use url::Url;
use uuid::Uuid;

use crate::asked::{Asked, Given};
use crate::declared::{All, all, made, removed};
use crate::problem::Problem;
use crate::{Answer, named};

/// How long a secret may be, in bytes: cloud registries hand out tokens of some kilobytes.
const SECRET_BYTES_MAX: usize = 8 * 1024;
const NAME_CHARS_MAX: usize = 63;
const USERNAME_CHARS_MAX: usize = 255;

/// A credential as it is made.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct New {
    name: String,
    #[serde(default)]
    kind: CredentialKind,
    /// Of the cloud's own where it is left out.
    host: Option<String>,
    #[serde(default)]
    username: String,
    /// What a look at it needs besides.
    #[serde(default)]
    config: Map<String, Value>,
    secret: SecretString,
}

/// A secret written over another.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rotated {
    #[serde(default)]
    username: String,
    secret: SecretString,
}

pub(crate) fn wrong(field: &str, problem: impl std::fmt::Display) -> Problem {
    Problem::BadBody(format!("{field}: {problem}"))
}

/// A name for people.
pub(crate) fn check_name(name: &str) -> Result<(), Problem> {
    let chars = name.chars().count();
    if (1..=NAME_CHARS_MAX).contains(&chars) && !name.chars().any(char::is_control) {
        return Ok(());
    }
    Err(wrong(
        "name",
        format!("it has 1 to {NAME_CHARS_MAX} characters"),
    ))
}

fn check_secret(username: &str, secret: &SecretString) -> Result<(), Problem> {
    let bytes = secret.expose_secret().len();
    if bytes == 0 || bytes > SECRET_BYTES_MAX {
        return Err(wrong(
            "secret",
            format!("it has 1 to {SECRET_BYTES_MAX} bytes"),
        ));
    }
    if username.chars().count() > USERNAME_CHARS_MAX || username.contains(':') {
        let problem = format!("it has at most {USERNAME_CHARS_MAX} characters, and no colon");
        return Err(wrong("username", problem));
    }
    Ok(())
}

/// Host, with a port unless it is 443, as a URL has it.
fn host(text: &str) -> Result<String, Problem> {
    let url = Url::parse(&format!("https://{text}/")).ok();
    let host = url.filter(|url| url.path() == "/" && url.username().is_empty());
    let host = host.filter(|url| url.query().is_none() && url.fragment().is_none());
    host.map(|url| url.authority().to_owned()).ok_or_else(|| {
        wrong(
            "host",
            "it is a host, such as ghcr.io or git.example.com:8443",
        )
    })
}

pub(crate) async fn list(asked: Asked) -> Answer<All<Credential>> {
    all(&asked, |tx| Box::pin(credentials::list(tx))).await
}

/// The tenant's credential of this id. There are few.
async fn known(tx: &mut TenantTx, id: Uuid) -> Result<Credential, Problem> {
    let all = credentials::list(tx).await?;
    let found = all.into_iter().find(|credential| credential.id == id);
    found.ok_or(Problem::NotFound)
}

pub(crate) async fn create(
    asked: Asked,
    Given(new): Given<New>,
) -> Result<impl IntoResponse, Problem> {
    let by = asked.may(Role::Admin)?;
    check_name(&new.name)?;
    check_secret(&new.username, &new.secret)?;
    let config = CredentialConfig::read(new.kind, &Value::Object(new.config))
        .map_err(|error| Problem::BadBody(error.to_string()))?;
    config
        .check_secret(&new.secret)
        .map_err(|error| Problem::BadBody(error.to_string()))?;
    let given = new.host.or_else(|| config.host());
    let given = given.ok_or_else(|| wrong("host", "it is missing: say whom the secret is for"))?;
    let host = host(&given)?;
    let keyring = asked.ctx().keyring().map_err(Problem::internal)?;
    let mut tx = asked.begin().await?;
    let new_one = NewCredential {
        name: &new.name,
        kind: new.kind,
        host: &host,
        username: &new.username,
        config: config.to_value(),
        secret: &new.secret,
    };
    let id = credentials::create(&mut tx, asked.tenant(), keyring, by, new_one).await?;
    let id = id.ok_or_else(|| {
        Problem::Conflict(format!(
            "there is another credential with the name {:?}, or there are {CREDENTIALS_MAX} already",
            new.name
        ))
    })?;
    let shown = known(&mut tx, id).await?;
    tx.commit().await?;
    made("credentials", id, shown)
}

pub(crate) async fn rotate(
    Path(id): Path<String>,
    asked: Asked,
    Given(rotated): Given<Rotated>,
) -> Result<StatusCode, Problem> {
    let by = asked.may(Role::Admin)?;
    let id: Uuid = named(&id)?;
    check_secret(&rotated.username, &rotated.secret)?;
    let keyring = asked.ctx().keyring().map_err(Problem::internal)?;
    let mut tx = asked.begin().await?;
    known(&mut tx, id)
        .await?
        .check_secret(&rotated.secret)
        .map_err(|error| Problem::BadBody(error.to_string()))?;
    let new = Rotation {
        username: &rotated.username,
        secret: &rotated.secret,
    };
    let done = credentials::rotate(&mut tx, asked.tenant(), keyring, id, by, new).await?;
    tx.commit().await?;
    removed(done)
}

/// Has it looked at, whether it still opens what it is for.
pub(crate) async fn check(Path(id): Path<String>, asked: Asked) -> Result<StatusCode, Problem> {
    asked.may(Role::Operator)?;
    let id: Uuid = named(&id)?;
    let mut tx = asked.begin().await?;
    let done = credentials::check_soon(&mut tx, id).await?;
    tx.commit().await?;
    done.then_some(StatusCode::ACCEPTED)
        .ok_or(Problem::NotFound)
}

pub(crate) async fn remove(Path(id): Path<String>, asked: Asked) -> Result<StatusCode, Problem> {
    let by = asked.may(Role::Admin)?;
    let id: Uuid = named(&id)?;
    let mut tx = asked.begin().await?;
    let outcome = credentials::remove(&mut tx, id, by).await?;
    tx.commit().await?;
    match outcome {
        Removed::Done => Ok(StatusCode::NO_CONTENT),
        Removed::Absent => Err(Problem::NotFound),
        Removed::InUse => Err(Problem::Conflict(
            "a workspace or a watched trigger needs it; end that first, or write another secret over it"
                .to_owned(),
        )),
    }
}
