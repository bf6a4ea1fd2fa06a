//! Whom people want told of what is observed: endpoints, rules, and what became of the messages.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::Path;
use axum::response::IntoResponse;
use egress::Guard;
use http::StatusCode;
use http::header::LOCATION;
use model::{Condition, Role, Severity};
use outgoing::{Secret, Wanted};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use store::notifications::{
    self as messages, Attempt, ENDPOINTS_MAX, Endpoint, Notification, NotificationRule, RULES_MAX,
    WantedEndpoint, Written,
};
use triggers::cel::Compiled;
use url::Url;
use uuid::Uuid;

use crate::asked::{Asked, Given, Piece};
use crate::credentials::{All, check_name, wrong};
use crate::log_rules::At;
use crate::problem::Problem;
use crate::{Answer, answer, named, rows};

const URL_CHARS_MAX: usize = 2_048;
const TYPES_MAX: usize = 50;
const TEXT_CHARS_MAX: usize = 500;
/// For how long messages are signed with the secret before, too, in hours.
const OVERLAP_HOURS_DEFAULT: u64 = 24;
const OVERLAP_HOURS_MAX: u64 = 24 * 30;

/// An endpoint as it is set.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Set {
    name: String,
    url: Url,
    #[serde(default = "standard")]
    format: String,
    #[serde(default = "yes")]
    enabled: bool,
}

fn standard() -> String {
    "standard".to_owned()
}

const fn yes() -> bool {
    true
}

impl Set {
    fn check(&self, guard: &Guard) -> Result<WantedEndpoint<'_>, Problem> {
        check_name(&self.name)?;
        let format: Result<outgoing::Format, _> = self.format.parse();
        format.map_err(|error| wrong("format", error))?;
        guard
            .check_url(&self.url)
            .map_err(|denied| wrong("url", denied))?;
        if self.url.as_str().chars().count() > URL_CHARS_MAX {
            return Err(wrong(
                "url",
                format!("it has at most {URL_CHARS_MAX} characters"),
            ));
        }
        Ok(WantedEndpoint {
            name: &self.name,
            url: self.url.as_str(),
            format: &self.format,
            enabled: self.enabled,
        })
    }
}

/// An endpoint with its secret, which is shown this once.
#[derive(Serialize)]
pub(crate) struct WithSecret {
    #[serde(flatten)]
    endpoint: Endpoint,
    secret: String,
}

fn done(written: Written, what: &str, max: i64) -> Result<Uuid, Problem> {
    match written {
        Written::Done(id) => Ok(id),
        Written::Absent => Err(Problem::NotFound),
        Written::Taken => Err(Problem::Conflict(format!("another {what} has this name"))),
        Written::TooMany => Err(Problem::Conflict(format!(
            "a tenant has at most {max} of these"
        ))),
        Written::NoEndpoint => Err(wrong("endpoint", "there is none of this id")),
    }
}

pub(crate) async fn endpoints(asked: Asked) -> Answer<All<Endpoint>> {
    asked.nothing_more()?;
    let mut tx = asked.begin().await?;
    let items = messages::endpoints(&mut tx, None).await?;
    tx.commit().await?;
    answer(All { items })
}

pub(crate) async fn endpoint(Path(id): Path<String>, asked: Asked) -> Answer<Endpoint> {
    asked.nothing_more()?;
    let id: Uuid = named(&id)?;
    let mut tx = asked.begin().await?;
    let found = messages::endpoints(&mut tx, Some(id)).await?.pop();
    tx.commit().await?;
    answer(found.ok_or(Problem::NotFound)?)
}

pub(crate) async fn create_endpoint(
    Extension(guard): Extension<Arc<Guard>>,
    asked: Asked,
    Given(set): Given<Set>,
) -> Result<impl IntoResponse, Problem> {
    asked.may(Role::Admin)?;
    let wanted = set.check(&guard)?;
    let keyring = asked.ctx().keyring().map_err(Problem::internal)?;
    let secret = Secret::generate();
    let mut tx = asked.begin().await?;
    let written =
        messages::create_endpoint(&mut tx, asked.tenant(), keyring, &wanted, &secret).await?;
    let id = done(written, "endpoint", ENDPOINTS_MAX)?;
    let found = messages::endpoints(&mut tx, Some(id)).await?.pop();
    tx.commit().await?;
    let place = [(LOCATION, format!("/notification-endpoints/{id}"))];
    let shown = with_secret(found, &secret)?;
    Ok((StatusCode::CREATED, place, shown))
}

fn with_secret(found: Option<Endpoint>, secret: &SecretString) -> Answer<WithSecret> {
    answer(WithSecret {
        endpoint: found.ok_or(Problem::NotFound)?,
        secret: secret.expose_secret().to_owned(),
    })
}

pub(crate) async fn change_endpoint(
    Path(id): Path<String>,
    Extension(guard): Extension<Arc<Guard>>,
    asked: Asked,
    Given(set): Given<Set>,
) -> Answer<Endpoint> {
    asked.may(Role::Admin)?;
    let id: Uuid = named(&id)?;
    let wanted = set.check(&guard)?;
    let mut tx = asked.begin().await?;
    let written = messages::change_endpoint(&mut tx, id, &wanted).await?;
    done(written, "endpoint", ENDPOINTS_MAX)?;
    let found = messages::endpoints(&mut tx, Some(id)).await?.pop();
    tx.commit().await?;
    answer(found.ok_or(Problem::NotFound)?)
}

pub(crate) async fn remove_endpoint(
    Path(id): Path<String>,
    asked: Asked,
) -> Result<StatusCode, Problem> {
    asked.may(Role::Admin)?;
    let id: Uuid = named(&id)?;
    let mut tx = asked.begin().await?;
    let removed = messages::remove_endpoint(&mut tx, id).await?;
    tx.commit().await?;
    removed
        .then_some(StatusCode::NO_CONTENT)
        .ok_or(Problem::NotFound)
}

/// How a secret is changed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rotation {
    /// For how long messages are signed with the one before, too, in hours; 0 ends it now.
    #[serde(default = "overlap")]
    overlap_hours: u64,
}

const fn overlap() -> u64 {
    OVERLAP_HOURS_DEFAULT
}

pub(crate) async fn rotate(
    Path(id): Path<String>,
    asked: Asked,
    Given(rotation): Given<Rotation>,
) -> Answer<WithSecret> {
    asked.may(Role::Admin)?;
    let id: Uuid = named(&id)?;
    if rotation.overlap_hours > OVERLAP_HOURS_MAX {
        let problem = format!("it is 0 to {OVERLAP_HOURS_MAX}");
        return Err(wrong("overlap_hours", problem));
    }
    let keyring = asked.ctx().keyring().map_err(Problem::internal)?;
    let overlap = Duration::from_secs(rotation.overlap_hours * 3_600);
    let secret = Secret::generate();
    let mut tx = asked.begin().await?;
    messages::rotate_secret(&mut tx, asked.tenant(), keyring, id, &secret, overlap).await?;
    let found = messages::endpoints(&mut tx, Some(id)).await?.pop();
    tx.commit().await?;
    with_secret(found, &secret)
}

/// A rule as it is set.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetRule {
    endpoint: Uuid,
    name: String,
    /// `*` at the end stands for whatever follows; all unless given.
    #[serde(default = "all")]
    types: Vec<String>,
    severity: Option<Severity>,
    source: Option<String>,
    contains: Option<String>,
    condition: Option<Condition>,
    #[serde(default = "yes")]
    enabled: bool,
}

fn all() -> Vec<String> {
    vec!["*".to_owned()]
}

impl SetRule {
    fn checked(self, id: Uuid) -> Result<NotificationRule, Problem> {
        check_name(&self.name)?;
        if self.types.is_empty() || self.types.len() > TYPES_MAX {
            return Err(wrong("types", format!("there are 1 to {TYPES_MAX}")));
        }
        for (field, text) in [("source", &self.source), ("contains", &self.contains)] {
            let fits = |text: &String| (1..=TEXT_CHARS_MAX).contains(&text.chars().count());
            if !text.as_ref().is_none_or(fits) {
                return Err(wrong(
                    field,
                    format!("it has 1 to {TEXT_CHARS_MAX} characters"),
                ));
            }
        }
        let severity = self.severity.map(Severity::as_str);
        Wanted::new(
            &self.types,
            severity,
            self.source.as_deref(),
            self.contains.as_deref(),
        )
        .map_err(|error| Problem::BadBody(error.to_string()))?;
        if let Some(condition) = &self.condition {
            Compiled::new(condition).map_err(|error| wrong("condition", error))?;
        }
        let condition = self.condition.map(serde_json::to_value).transpose();
        Ok(NotificationRule {
            id,
            endpoint: self.endpoint,
            name: self.name,
            types: self.types,
            severity: severity.map(str::to_owned),
            source: self.source,
            contains: self.contains,
            condition: condition.map_err(Problem::internal)?,
            enabled: self.enabled,
        })
    }
}

pub(crate) async fn rules(asked: Asked) -> Answer<All<NotificationRule>> {
    asked.nothing_more()?;
    let mut tx = asked.begin().await?;
    let items = messages::rules(&mut tx, None).await?;
    tx.commit().await?;
    answer(All { items })
}

pub(crate) async fn rule(Path(id): Path<String>, asked: Asked) -> Answer<NotificationRule> {
    asked.nothing_more()?;
    let id: Uuid = named(&id)?;
    let mut tx = asked.begin().await?;
    let found = messages::rules(&mut tx, Some(id)).await?.pop();
    tx.commit().await?;
    answer(found.ok_or(Problem::NotFound)?)
}

pub(crate) async fn create_rule(
    asked: Asked,
    Given(set): Given<SetRule>,
) -> Result<impl IntoResponse, Problem> {
    asked.may(Role::Admin)?;
    let rule = set.checked(asked.ctx().new_id())?;
    let mut tx = asked.begin().await?;
    let written = messages::write_rule(&mut tx, asked.tenant(), &rule, true).await?;
    let id = done(written, "rule", RULES_MAX)?;
    tx.commit().await?;
    let place = [(LOCATION, format!("/notification-rules/{id}"))];
    Ok((StatusCode::CREATED, place, answer(rule)?))
}

pub(crate) async fn change_rule(
    Path(id): Path<String>,
    asked: Asked,
    Given(set): Given<SetRule>,
) -> Answer<NotificationRule> {
    asked.may(Role::Admin)?;
    let rule = set.checked(named(&id)?)?;
    let mut tx = asked.begin().await?;
    let written = messages::write_rule(&mut tx, asked.tenant(), &rule, false).await?;
    done(written, "rule", RULES_MAX)?;
    tx.commit().await?;
    answer(rule)
}

pub(crate) async fn remove_rule(
    Path(id): Path<String>,
    asked: Asked,
) -> Result<StatusCode, Problem> {
    asked.may(Role::Admin)?;
    let id: Uuid = named(&id)?;
    let mut tx = asked.begin().await?;
    let removed = messages::remove_rule(&mut tx, id).await?;
    tx.commit().await?;
    removed
        .then_some(StatusCode::NO_CONTENT)
        .ok_or(Problem::NotFound)
}

pub(crate) async fn list(mut asked: Asked) -> Answer<Piece<Notification>> {
    let endpoint = asked.parsed::<Uuid>("endpoint")?;
    let (before, limit) = asked.piece::<At>()?;
    let mut tx = asked.begin().await?;
    let before = before.map(|place| (place.0, place.1));
    let found = messages::notifications(&mut tx, endpoint, before, rows(limit)).await?;
    tx.commit().await?;
    answer(asked.list(found, limit, |row| At(row.created_at, row.id).to_string())?)
}

/// A message with what was sent and how each attempt ended.
#[derive(Debug, Serialize)]
pub(crate) struct Detail {
    #[serde(flatten)]
    notification: Notification,
    body: String,
    log: Vec<Attempt>,
}

pub(crate) async fn show(Path(id): Path<String>, asked: Asked) -> Answer<Detail> {
    asked.nothing_more()?;
    let id: Uuid = named(&id)?;
    let mut tx = asked.begin().await?;
    let found = messages::notification(&mut tx, id).await?;
    tx.commit().await?;
    let (notification, body, log) = found.ok_or(Problem::NotFound)?;
    answer(Detail {
        notification,
        body,
        log,
    })
}

/// A message that is sent once more.
#[derive(Debug, Serialize)]
pub(crate) struct Again {
    notification: Uuid,
}

pub(crate) async fn redeliver(
    Path(id): Path<String>,
    asked: Asked,
) -> Result<impl IntoResponse, Problem> {
    asked.may(Role::Operator)?;
    let id: Uuid = named(&id)?;
    let mut tx = asked.begin().await?;
    let again = messages::redeliver(&mut tx, id).await?;
    tx.commit().await?;
    let notification = again.ok_or(Problem::NotFound)?;
    Ok((StatusCode::ACCEPTED, answer(Again { notification })?))
}
