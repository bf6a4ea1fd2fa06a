//! A tenant's triggers: listed, shown, made with what they start, changed, switched, given secrets, asked by hand, removed.

use axum::Json;
use axum::extract::Path;
use axum::response::IntoResponse;
use chrono::Duration;
use database::TenantTx;
use http::header::{CACHE_CONTROL, LOCATION};
use http::{HeaderName, StatusCode};
use model::{BindingId, EventId, Role, Scheme, TriggerId, TriggerKind};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use store::pages::{self, TriggerListed, TriggerShown};
use store::people::Token;
use store::triggers::{
    self, Clock, NAME_CHARS_MAX, NewSecrets, SaveError, Saved, SecretsShown, TriggerWanted,
};

use crate::asked::{Asked, Given, Piece};
use crate::bindings::{NewBinding, make};
use crate::problem::Problem;
use crate::{Answer, answer, named};

/// How long a secret that a person brings may be, in bytes.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 16..=512;
/// How long the secrets before stay good unless it is said: a day, in which senders can be told.
const OVERLAP_HOURS: u32 = 24;

impl From<SaveError> for Problem {
    fn from(error: SaveError) -> Self {
        match error {
            SaveError::Wrong(_) => Self::BadBody(error.to_string()),
            SaveError::Conflict(text) => Self::Conflict(text),
            SaveError::Missing(_) => Self::NotFound,
            SaveError::Database(error) => error.into(),
        }
    }
}

/// A trigger as it comes. `config` may have keys that are not known here; they are kept, and come back.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    name: String,
    kind: TriggerKind,
    #[serde(default)]
    config: Map<String, Value>,
    condition: Option<Value>,
    scheme: Option<Scheme>,
    #[serde(default = "on")]
    enabled: bool,
}

const fn on() -> bool {
    true
}

impl From<Wanted> for TriggerWanted {
    fn from(wanted: Wanted) -> Self {
        Self {
            name: wanted.name,
            kind: wanted.kind,
            config: wanted.config,
            condition: wanted.condition,
            scheme: wanted.scheme,
            enabled: wanted.enabled,
        }
    }
}

/// A trigger with what is bound to it, all of it or nothing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct New {
    name: String,
    kind: TriggerKind,
    #[serde(default)]
    config: Map<String, Value>,
    condition: Option<Value>,
    scheme: Option<Scheme>,
    #[serde(default = "on")]
    enabled: bool,
    /// What senders sign with; one is made, and shown once, where senders sign and none is given.
    secret: Option<SecretString>,
    /// Whether the URL gets a secret in its path, which is made and shown once.
    #[serde(default)]
    path_secret: bool,
    #[serde(default)]
    bindings: Vec<NewBinding>,
}

/// A trigger as it is shown. Its secrets never are.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    #[serde(flatten)]
    trigger: TriggerShown,
    secrets: SecretsShown,
    /// Of a trigger of kind `schedule`.
    #[serde(skip_serializing_if = "Option::is_none")]
    clock: Option<Clock>,
}

/// A trigger that was made or given secrets: those that were made here stand in this answer and nowhere else.
#[derive(Debug, Serialize)]
pub(crate) struct Revealed {
    #[serde(flatten)]
    shown: Shown,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_secret: Option<String>,
    warnings: Vec<String>,
}

/// A trigger that was changed.
#[derive(Debug, Serialize)]
pub(crate) struct Changed {
    #[serde(flatten)]
    shown: Shown,
    warnings: Vec<String>,
}

async fn shown(tx: &mut TenantTx, id: TriggerId) -> Result<Shown, Problem> {
    let found = pages::trigger_shown(tx, id).await?;
    let secrets = triggers::secrets(tx, id).await?;
    let (trigger, secrets) = found.zip(secrets).ok_or(Problem::NotFound)?;
    Ok(Shown {
        trigger,
        secrets,
        clock: triggers::clock_of(tx, id).await?,
    })
}

pub(crate) async fn kinds(asked: Asked) -> Answer<Piece<::triggers::KindDescription>> {
    asked.nothing_more()?;
    answer(Piece {
        items: ::triggers::kinds(),
        next: None,
    })
}

pub(crate) async fn list(mut asked: Asked) -> Answer<Piece<TriggerListed>> {
    let (after, limit) = asked.piece::<String>()?;
    let mut tx = asked.begin().await?;
    let rows = pages::trigger_list(&mut tx, after.as_deref(), limit).await?;
    tx.commit().await?;
    answer(asked.list(rows, limit, |row| row.name.clone())?)
}

pub(crate) async fn show(Path(id): Path<String>, asked: Asked) -> Answer<Shown> {
    asked.nothing_more()?;
    let id: TriggerId = named(&id)?;
    let mut tx = asked.begin().await?;
    let mut found = shown(&mut tx, id).await?;
    tx.commit().await?;
    for binding in &mut found.trigger.bindings {
        asked.hide(binding);
    }
    answer(found)
}

/// A secret that somebody brings, if it is long enough to be one.
fn brought(secret: Option<SecretString>) -> Result<Option<SecretString>, Problem> {
    let Some(secret) = secret else {
        return Ok(None);
    };
    let bytes = secret.expose_secret().len();
    if !SECRET_BYTES.contains(&bytes) || secret.expose_secret().contains(char::is_control) {
        return Err(Problem::BadBody(format!(
            "secret: {} to {} bytes without control characters are expected; leave it out to have one made",
            SECRET_BYTES.start(),
            SECRET_BYTES.end()
        )));
    }
    Ok(Some(secret))
}

/// A secret for a path, and what is kept of it.
fn path_secret() -> Result<(String, [u8; 32]), Problem> {
    let token = Token::generate();
    let hash = token.hash().try_into();
    let hash = hash.map_err(|_| {
        Problem::internal(std::io::Error::other(
            "a SHA-256 has another length than 32 bytes",
        ))
    })?;
    Ok((token.expose().to_owned(), hash))
}

pub(crate) async fn create(
    asked: Asked,
    Given(new): Given<New>,
) -> Result<impl IntoResponse, Problem> {
    let by = asked.may(Role::Admin)?;
    let wanted = TriggerWanted {
        name: new.name,
        kind: new.kind,
        config: new.config,
        condition: new.condition,
        scheme: new.scheme,
        enabled: new.enabled,
    };
    let given = brought(new.secret)?;
    if !wanted.kind.takes_webhooks() && (given.is_some() || new.path_secret) {
        return Err(Problem::BadBody(format!(
            "secret: a trigger of kind {} has no senders",
            wanted.kind
        )));
    }
    let mut tx = asked.begin().await?;
    let Saved { id, mut warnings } = triggers::create(&mut tx, asked.tenant(), &wanted, by).await?;
    let path = new.path_secret.then(path_secret).transpose()?;
    let by_path = matches!(wanted.scheme, Some(Scheme::Path { .. }));
    // Who calls without a path that is secret has to sign.
    let made = (wanted.kind.takes_webhooks() && given.is_none() && path.is_none() && !by_path)
        .then(Token::generate);
    let secret = given.or_else(|| made.as_ref().map(|token| token.expose().into()));
    if secret.is_some() || path.is_some() {
        let keyring = asked.ctx().keyring().map_err(Problem::internal)?;
        let new = NewSecrets {
            secret: secret.as_ref(),
            path_sha256: path.as_ref().map(|(_, hash)| *hash),
            overlap: Duration::zero(),
        };
        triggers::rotate(&mut tx, asked.tenant(), keyring, id, new, by).await?;
    }
    for (place, binding) in new.bindings.into_iter().enumerate() {
        let made = make(&mut tx, asked.tenant(), id, binding, by).await;
        let saved = made.map_err(|problem| match problem {
            Problem::BadBody(text) => Problem::BadBody(format!("bindings[{place}]: {text}")),
            Problem::NotFound => {
                Problem::BadBody(format!("bindings[{place}]: there is no such workload"))
            }
            problem => problem,
        })?;
        warnings.extend(saved.warnings);
    }
    let shown = shown(&mut tx, id).await?;
    tx.commit().await?;
    let revealed = Revealed {
        shown,
        secret: made.map(|token| token.expose().to_owned()),
        path_secret: path.map(|(secret, _)| secret),
        warnings,
    };
    let place = [(LOCATION, format!("/triggers/{id}"))];
    Ok((StatusCode::CREATED, place, answer(revealed)?))
}

pub(crate) async fn change(
    Path(id): Path<String>,
    asked: Asked,
    Given(wanted): Given<Wanted>,
) -> Answer<Changed> {
    let by = asked.may(Role::Admin)?;
    let id: TriggerId = named(&id)?;
    let mut tx = asked.begin().await?;
    let saved = triggers::change(&mut tx, id, &wanted.into(), by).await?;
    let shown = shown(&mut tx, id).await?;
    tx.commit().await?;
    answer(Changed {
        shown,
        warnings: saved.warnings,
    })
}

async fn switch(id: &str, asked: &Asked, enabled: bool) -> Answer<Shown> {
    let by = asked.may(Role::Admin)?;
    let id: TriggerId = named(id)?;
    let mut tx = asked.begin().await?;
    triggers::switch(&mut tx, id, enabled, by).await?;
    let shown = shown(&mut tx, id).await?;
    tx.commit().await?;
    answer(shown)
}

pub(crate) async fn enable(Path(id): Path<String>, asked: Asked) -> Answer<Shown> {
    switch(&id, &asked, true).await
}

pub(crate) async fn disable(Path(id): Path<String>, asked: Asked) -> Answer<Shown> {
    switch(&id, &asked, false).await
}

pub(crate) async fn remove(
    Path(id): Path<String>,
    mut asked: Asked,
) -> Result<StatusCode, Problem> {
    let with_bindings = asked.parsed::<bool>("with_bindings")?.unwrap_or(false);
    let by = asked.may(Role::Admin)?;
    let id: TriggerId = named(&id)?;
    let mut tx = asked.begin().await?;
    triggers::remove(&mut tx, id, with_bindings, by).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// New secrets for a trigger.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rotation {
    /// What senders are to sign with; one is made, and shown once, where none is given.
    secret: Option<SecretString>,
    /// Whether it is the secret in the path of the URL that is replaced instead.
    #[serde(default)]
    path: bool,
    /// How long the one before stays good; 0 for not at all.
    overlap_hours: Option<u32>,
}

/// A secret that was made, shown this once; nothing when it was brought.
#[derive(Debug, Serialize)]
pub(crate) struct Rotated {
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_secret: Option<String>,
    secrets: SecretsShown,
}

pub(crate) async fn rotate(
    Path(id): Path<String>,
    asked: Asked,
    Given(rotation): Given<Rotation>,
) -> Answer<Rotated> {
    let by = asked.may(Role::Admin)?;
    let id: TriggerId = named(&id)?;
    let given = brought(rotation.secret)?;
    if rotation.path && given.is_some() {
        return Err(Problem::BadBody(
            "secret: the one of a path is made here, and none can be brought".to_owned(),
        ));
    }
    let path = rotation.path.then(path_secret).transpose()?;
    let made = (!rotation.path && given.is_none()).then(Token::generate);
    let secret = given.or_else(|| made.as_ref().map(|token| token.expose().into()));
    let keyring = asked.ctx().keyring().map_err(Problem::internal)?;
    let new = NewSecrets {
        secret: secret.as_ref(),
        path_sha256: path.as_ref().map(|(_, hash)| *hash),
        overlap: Duration::hours(rotation.overlap_hours.unwrap_or(OVERLAP_HOURS).into()),
    };
    let mut tx = asked.begin().await?;
    triggers::rotate(&mut tx, asked.tenant(), keyring, id, new, by).await?;
    let secrets = triggers::secrets(&mut tx, id).await?;
    tx.commit().await?;
    answer(Rotated {
        secret: made.map(|token| token.expose().to_owned()),
        path_secret: path.map(|(secret, _)| secret),
        secrets: secrets.ok_or(Problem::NotFound)?,
    })
}

pub(crate) async fn drop_old_secret(
    Path(id): Path<String>,
    asked: Asked,
) -> Result<StatusCode, Problem> {
    let by = asked.may(Role::Admin)?;
    let id: TriggerId = named(&id)?;
    let mut tx = asked.begin().await?;
    triggers::drop_old_secret(&mut tx, id, by).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A run by hand.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Run {
    /// For payloads that are made from them: `event.data.inputs`.
    #[serde(default)]
    inputs: Map<String, Value>,
    /// The only binding that is asked.
    binding: Option<BindingId>,
}

/// An event that was made. Its decisions come with it, once they are made.
#[derive(Debug, Serialize)]
pub(crate) struct Started {
    event: EventId,
}

pub(crate) async fn run(
    Path(id): Path<String>,
    asked: Asked,
    Given(run): Given<Run>,
) -> Result<impl IntoResponse, Problem> {
    let by = asked.may(Role::Operator)?;
    let id: TriggerId = named(&id)?;
    let mut tx = asked.begin().await?;
    let event = triggers::run(&mut tx, asked.tenant(), id, run.binding, run.inputs, by).await?;
    tx.commit().await?;
    let headers: [(HeaderName, String); 2] = [
        (LOCATION, format!("/events/{event}")),
        (CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((StatusCode::ACCEPTED, headers, Json(Started { event })))
}

const _: () = assert!(NAME_CHARS_MAX == 63, "openapi.json says so");
