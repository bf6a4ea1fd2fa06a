//! Whom people want told of what is observed: endpoints, rules, and what became of the messages.

use std::sync::Arc;

use axum::extract::Path;
use axum::response::IntoResponse;
use axum::{Extension, Json};
use egress::Guard;
use http::StatusCode;
use model::Role;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use store::declared::{
    self, EndpointWanted, NotificationRuleWanted, OVERLAP_HOURS_DEFAULT, save_notification_rule,
};
use store::notifications::{self as messages, Attempt, Endpoint, Notification, NotificationRule};
use url::Url;
use uuid::Uuid;

use crate::asked::{Asked, Given, Piece};
use crate::declared::{All, admits, all, author, made, one, removed};
use crate::log_rules::At;
use crate::problem::Problem;
use crate::{Answer, answer, named, rows};

/// An endpoint with its secret, which is shown this once.
#[derive(Serialize)]
pub(crate) struct WithSecret {
    #[serde(flatten)]
    endpoint: Endpoint,
    secret: String,
}

impl WithSecret {
    fn new(found: Option<Endpoint>, secret: &SecretString) -> Result<Self, Problem> {
        Ok(Self {
            endpoint: found.ok_or(Problem::NotFound)?,
            secret: secret.expose_secret().to_owned(),
        })
    }
}

/// An endpoint as who asks may see it: the path of its URL may be all that lets a sender in, and is an admin's to read.
fn shown(asked: &Asked, mut endpoint: Endpoint) -> Endpoint {
    if !asked.is_admin() {
        endpoint.url = match Url::parse(&endpoint.url) {
            Ok(url) => format!("{}/…", url.origin().ascii_serialization()),
            Err(_) => "…".to_owned(),
        };
    }
    endpoint
}

pub(crate) async fn endpoints(asked: Asked) -> Answer<All<Endpoint>> {
    let (headers, Json(All { items })) =
        all(&asked, |tx| Box::pin(messages::endpoints(tx, None))).await?;
    let items = items.into_iter().map(|it| shown(&asked, it)).collect();
    Ok((headers, Json(All { items })))
}

pub(crate) async fn endpoint(Path(id): Path<String>, asked: Asked) -> Answer<Endpoint> {
    let (headers, Json(endpoint)) = one(&asked, &id, |tx, id| {
        Box::pin(messages::endpoints(tx, Some(id)))
    })
    .await?;
    Ok((headers, Json(shown(&asked, endpoint))))
}

pub(crate) async fn create_endpoint(
    Extension(guard): Extension<Arc<Guard>>,
    asked: Asked,
    Given(wanted): Given<EndpointWanted>,
) -> Result<impl IntoResponse, Problem> {
    let by = author(&asked, asked.may(Role::Admin)?);
    let keyring = asked.ctx().keyring().map_err(Problem::internal)?;
    let mut tx = asked.begin().await?;
    let (id, secret) =
        declared::create_endpoint(&mut tx, by, keyring, &wanted, &admits(&guard)).await?;
    let found = messages::endpoints(&mut tx, Some(id)).await?.pop();
    tx.commit().await?;
    made(
        "notification-endpoints",
        id,
        WithSecret::new(found, &secret)?,
    )
}

pub(crate) async fn change_endpoint(
    Path(id): Path<String>,
    Extension(guard): Extension<Arc<Guard>>,
    asked: Asked,
    Given(wanted): Given<EndpointWanted>,
) -> Answer<Endpoint> {
    let by = author(&asked, asked.may(Role::Admin)?);
    let id: Uuid = named(&id)?;
    let mut tx = asked.begin().await?;
    declared::change_endpoint(&mut tx, by, id, &wanted, &admits(&guard)).await?;
    let found = messages::endpoints(&mut tx, Some(id)).await?.pop();
    tx.commit().await?;
    answer(found.ok_or(Problem::NotFound)?)
}

pub(crate) async fn remove_endpoint(
    Path(id): Path<String>,
    asked: Asked,
) -> Result<StatusCode, Problem> {
    let by = author(&asked, asked.may(Role::Admin)?);
    let id: Uuid = named(&id)?;
    let mut tx = asked.begin().await?;
    let done = declared::remove_endpoint(&mut tx, by, id).await?;
    tx.commit().await?;
    removed(done)
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
    let by = author(&asked, asked.may(Role::Admin)?);
    let id: Uuid = named(&id)?;
    let keyring = asked.ctx().keyring().map_err(Problem::internal)?;
    let hours = rotation.overlap_hours;
    let mut tx = asked.begin().await?;
    let secret = declared::renew_secret(&mut tx, by, keyring, id, hours).await?;
    let found = messages::endpoints(&mut tx, Some(id)).await?.pop();
    tx.commit().await?;
    answer(WithSecret::new(found, &secret)?)
}

/// Has a message sent that tells of nothing but itself.
pub(crate) async fn test_endpoint(
    Path(id): Path<String>,
    asked: Asked,
) -> Result<impl IntoResponse, Problem> {
    let by = author(&asked, asked.may(Role::Admin)?);
    let id: Uuid = named(&id)?;
    let mut tx = asked.begin().await?;
    let notification = declared::test_endpoint(&mut tx, by, id, asked.ctx().now()).await?;
    tx.commit().await?;
    Ok((StatusCode::ACCEPTED, answer(Again { notification })?))
}

pub(crate) async fn rules(asked: Asked) -> Answer<All<NotificationRule>> {
    all(&asked, |tx| Box::pin(messages::rules(tx, None))).await
}

pub(crate) async fn rule(Path(id): Path<String>, asked: Asked) -> Answer<NotificationRule> {
    one(&asked, &id, |tx, id| {
        Box::pin(messages::rules(tx, Some(id)))
    })
    .await
}

pub(crate) async fn create_rule(
    asked: Asked,
    Given(wanted): Given<NotificationRuleWanted>,
) -> Result<impl IntoResponse, Problem> {
    let by = author(&asked, asked.may(Role::Admin)?);
    let mut tx = asked.begin().await?;
    let rule = save_notification_rule(&mut tx, by, None, wanted).await?;
    tx.commit().await?;
    made("notification-rules", rule.id, rule)
}

pub(crate) async fn change_rule(
    Path(id): Path<String>,
    asked: Asked,
    Given(wanted): Given<NotificationRuleWanted>,
) -> Answer<NotificationRule> {
    let by = author(&asked, asked.may(Role::Admin)?);
    let id: Uuid = named(&id)?;
    let mut tx = asked.begin().await?;
    let rule = save_notification_rule(&mut tx, by, Some(id), wanted).await?;
    tx.commit().await?;
    answer(rule)
}

pub(crate) async fn remove_rule(
    Path(id): Path<String>,
    asked: Asked,
) -> Result<StatusCode, Problem> {
    let by = author(&asked, asked.may(Role::Admin)?);
    let id: Uuid = named(&id)?;
    let mut tx = asked.begin().await?;
    let done = declared::remove_notification_rule(&mut tx, by, id).await?;
    tx.commit().await?;
    removed(done)
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

/// A message that is to be sent.
#[derive(Debug, Serialize)]
pub(crate) struct Again {
    notification: Uuid,
}

pub(crate) async fn redeliver(
    Path(id): Path<String>,
    asked: Asked,
) -> Result<impl IntoResponse, Problem> {
    let by = author(&asked, asked.may(Role::Operator)?);
    let id: Uuid = named(&id)?;
    let mut tx = asked.begin().await?;
    let again = declared::redeliver(&mut tx, by, id).await?;
    tx.commit().await?;
    let notification = again.ok_or(Problem::NotFound)?;
    Ok((StatusCode::ACCEPTED, answer(Again { notification })?))
}
