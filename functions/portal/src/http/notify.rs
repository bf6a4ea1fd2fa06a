//! Whom people want told of what is observed: endpoints, rules, and what became of the messages.

use std::collections::HashMap;

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use database::TenantTx;
use host::Ctx;
use maud::Markup;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::{Map, Value};
use store::declared::{self, OVERLAP_HOURS_DEFAULT};
use store::notifications::{self as messages, Attempt, Endpoint, Notification, NotificationRule};
use url::Url;
use uuid::Uuid;

use super::declared_form::{Admitted, Subject, author, show, take, written};
use super::log_rules::At;
use super::problem::Problem;
use super::queues::said;
use super::rows::{self, with_query};
use super::session::{Posted, Signed};
use super::trigger_form::Sent;
use super::triggers::Nothing;
use crate::views::model::{
    Declared, DeclaredForm, EndpointPage, EndpointRow, EndpointState, Link, MessagePage,
    MessageRow, MessageState, MessagesPage, NotificationRuleRow, NotifyPage, SendRow,
};
use crate::views::notify::{endpoint, message, messages as messages_view, notify};

/// Rows of a page.
const ROWS: usize = 50;
/// Messages on an endpoint's page.
const LATEST: usize = 10;

const ENDPOINT_KEYS: [&str; 4] = ["name", "url", "format", "enabled"];
const RULE_KEYS: [&str; 8] = [
    "endpoint",
    "name",
    "types",
    "severity",
    "source",
    "contains",
    "condition",
    "enabled",
];

/// Endpoints by their ids.
struct Names(HashMap<Uuid, String>);

impl Names {
    fn of(endpoints: &[Endpoint]) -> Self {
        let named = endpoints.iter().map(|one| (one.id, one.name.clone()));
        Self(named.collect())
    }

    fn link(&self, id: Uuid) -> Link {
        let name = self.0.get(&id).cloned();
        Link {
            name: name.unwrap_or_else(|| id.to_string()),
            href: format!("/notification-endpoints/{id}"),
        }
    }

    fn rule(&self, rule: &NotificationRule) -> NotificationRuleRow {
        let part = |name: &str, value: &Option<String>| {
            let value = value.as_ref()?;
            Some(format!("{name} = {value}"))
        };
        let condition = rule.condition.as_ref().map(super::triggers::expression);
        let wants = [
            Some(rule.types.join(", ")),
            rule.severity
                .as_ref()
                .map(|least| format!("severity ≥ {least}")),
            part("source", &rule.source),
            part("contains", &rule.contains),
            condition,
        ];
        NotificationRuleRow {
            id: rule.id,
            name: rule.name.clone(),
            endpoint: self.link(rule.endpoint),
            wants: wants.into_iter().flatten().collect(),
            enabled: rule.enabled,
        }
    }

    fn message(&self, found: &Notification) -> MessageRow {
        MessageRow {
            id: found.id,
            created_at: found.created_at,
            endpoint: self.link(found.endpoint),
            event: rows::event_kind(&found.event_type),
            state: match found.state.as_str() {
                "delivered" => MessageState::Delivered,
                "failed" => MessageState::Failed,
                _ => MessageState::Pending,
            },
            attempts: found.attempts,
            next_at: found.next_at,
        }
    }
}

fn endpoint_row(found: &Endpoint) -> EndpointRow {
    let state = match (&found.disabled_why, found.enabled, found.failing_since) {
        (Some(why), false, _) => EndpointState::GivenUp(found.disabled_at, why.clone()),
        (None, false, _) => EndpointState::Off,
        (_, true, Some(since)) => EndpointState::Failing(since),
        (_, true, None) => EndpointState::Well,
    };
    let url = Url::parse(&found.url).ok();
    let host = url.and_then(|url| Some(url.host_str()?.to_owned()));
    EndpointRow {
        id: found.id,
        name: found.name.clone(),
        host: host.unwrap_or_default(),
        format: found.format.clone(),
        state,
        delivered_at: found.delivered_at,
    }
}

pub(super) async fn list(State(ctx): State<Ctx>, signed: Signed) -> Result<Markup, Problem> {
    let mut tx = signed.begin(&ctx).await?;
    let endpoints = messages::endpoints(&mut tx, None).await?;
    let rules = messages::rules(&mut tx, None).await?;
    tx.commit().await?;
    let names = Names::of(&endpoints);
    let view = NotifyPage {
        endpoints: endpoints.iter().map(endpoint_row).collect(),
        rules: rules.iter().map(|rule| names.rule(rule)).collect(),
        may_edit: signed.may_administer(),
    };
    Ok(notify(&signed.reader(), &view))
}

/// One endpoint with everything around it.
pub(super) async fn endpoint_page(
    tx: &mut TenantTx,
    signed: &Signed,
    id: Uuid,
) -> Result<EndpointPage, Problem> {
    let all = messages::endpoints(tx, Some(id)).await?;
    let names = Names::of(&all);
    let found = all.into_iter().next().ok_or(Problem::NotFound)?;
    let rules = messages::rules(tx, None).await?;
    let latest = i64::try_from(LATEST).unwrap_or(i64::MAX);
    let latest = messages::notifications(tx, Some(id), None, latest).await?;
    Ok(EndpointPage {
        row: endpoint_row(&found),
        previous_until: found
            .secret_previous_until
            .filter(|until| *until > signed.visitor.now),
        shown: None,
        rules: rules
            .iter()
            .filter(|rule| rule.endpoint == id)
            .map(|rule| names.rule(rule))
            .collect(),
        messages: latest.iter().map(|found| names.message(found)).collect(),
        may_edit: signed.may_administer(),
    })
}

pub(super) async fn show_endpoint(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Markup, Problem> {
    let mut tx = signed.begin(&ctx).await?;
    let view = endpoint_page(&mut tx, &signed, rows::id(&id)?).await?;
    tx.commit().await?;
    Ok(endpoint(&signed.reader(), &view))
}

async fn endpoint_subject(
    ctx: &Ctx,
    signed: &Signed,
    id: &str,
) -> Result<(Subject, Map<String, Value>), Problem> {
    signed.administer()?;
    let mut tx = signed.begin(ctx).await?;
    let found = messages::endpoints(&mut tx, Some(rows::id(id)?))
        .await?
        .pop();
    tx.commit().await?;
    let found = found.ok_or(Problem::NotFound)?;
    let subject = Subject {
        changes: Some((found.id, found.name.clone())),
        ..Subject::new(Declared::Endpoint)
    };
    Ok((subject, written(&found, &ENDPOINT_KEYS)))
}

pub(super) async fn new_endpoint(
    State(ctx): State<Ctx>,
    signed: Signed,
) -> Result<Markup, Problem> {
    signed.administer()?;
    let subject = Subject::new(Declared::Endpoint);
    show(&ctx, &signed, &subject, &Map::new()).await
}

pub(super) async fn create_endpoint(
    State(ctx): State<Ctx>,
    Extension(guard): Admitted,
    signed: Signed,
    Posted(sent): Posted<Sent<DeclaredForm>>,
) -> Result<Response, Problem> {
    signed.administer()?;
    let subject = Subject::new(Declared::Endpoint);
    take(&ctx, &signed, &guard, &subject, sent).await
}

pub(super) async fn edit_endpoint(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Markup, Problem> {
    let (subject, config) = endpoint_subject(&ctx, &signed, &id).await?;
    show(&ctx, &signed, &subject, &config).await
}

pub(super) async fn change_endpoint(
    State(ctx): State<Ctx>,
    Extension(guard): Admitted,
    signed: Signed,
    Path(id): Path<String>,
    Posted(sent): Posted<Sent<DeclaredForm>>,
) -> Result<Response, Problem> {
    let (subject, _) = endpoint_subject(&ctx, &signed, &id).await?;
    take(&ctx, &signed, &guard, &subject, sent).await
}

async fn switched(ctx: &Ctx, signed: &Signed, id: &str, on: bool) -> Result<Response, Problem> {
    signed.administer()?;
    let id = rows::id(id)?;
    let mut tx = signed.begin(ctx).await?;
    declared::switch_endpoint(&mut tx, author(signed), id, on).await?;
    tx.commit().await?;
    Ok(Redirect::to(&format!("/notification-endpoints/{id}")).into_response())
}

pub(super) async fn enable_endpoint(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Posted(Nothing {}): Posted<Nothing>,
) -> Result<Response, Problem> {
    switched(&ctx, &signed, &id, true).await
}

pub(super) async fn disable_endpoint(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Posted(Nothing {}): Posted<Nothing>,
) -> Result<Response, Problem> {
    switched(&ctx, &signed, &id, false).await
}

/// A message that tells of nothing but itself; its page says what becomes of it.
pub(super) async fn test_endpoint(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Posted(Nothing {}): Posted<Nothing>,
) -> Result<Response, Problem> {
    signed.administer()?;
    let id = rows::id(&id)?;
    let mut tx = signed.begin(&ctx).await?;
    let sent = declared::test_endpoint(&mut tx, author(&signed), id, ctx.now()).await?;
    tx.commit().await?;
    Ok(Redirect::to(&format!("/notifications/{sent}")).into_response())
}

/// A new secret, shown on the page that answers and never again.
pub(super) async fn renew_secret(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Posted(Nothing {}): Posted<Nothing>,
) -> Result<Response, Problem> {
    signed.administer()?;
    let id = rows::id(&id)?;
    let keyring = ctx.keyring().map_err(Problem::internal)?;
    let mut tx = signed.begin(&ctx).await?;
    let by = author(&signed);
    let made = declared::renew_secret(&mut tx, by, keyring, id, OVERLAP_HOURS_DEFAULT).await?;
    let mut view = endpoint_page(&mut tx, &signed, id).await?;
    tx.commit().await?;
    view.shown = Some(made.expose_secret().to_owned());
    Ok(endpoint(&signed.reader(), &view).into_response())
}

pub(super) async fn remove_endpoint(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Posted(Nothing {}): Posted<Nothing>,
) -> Result<Response, Problem> {
    signed.administer()?;
    let mut tx = signed.begin(&ctx).await?;
    let done = declared::remove_endpoint(&mut tx, author(&signed), rows::id(&id)?).await?;
    tx.commit().await?;
    gone(done)
}

fn gone(done: bool) -> Result<Response, Problem> {
    done.then(|| Redirect::to("/notification-endpoints").into_response())
        .ok_or(Problem::NotFound)
}

#[derive(Deserialize)]
pub(super) struct To {
    endpoint: Option<Uuid>,
}

/// A rule of the only endpoint, or of the one that it is asked for, tells that one.
pub(super) async fn new_rule(
    State(ctx): State<Ctx>,
    signed: Signed,
    Query(To { endpoint }): Query<To>,
) -> Result<Markup, Problem> {
    signed.administer()?;
    let mut config = Map::new();
    config.insert("types".to_owned(), Value::from(vec!["*"]));
    if let Some(endpoint) = endpoint {
        config.insert("endpoint".to_owned(), endpoint.to_string().into());
    }
    let subject = Subject::new(Declared::NotificationRule);
    show(&ctx, &signed, &subject, &config).await
}

pub(super) async fn create_rule(
    State(ctx): State<Ctx>,
    Extension(guard): Admitted,
    signed: Signed,
    Posted(sent): Posted<Sent<DeclaredForm>>,
) -> Result<Response, Problem> {
    signed.administer()?;
    let subject = Subject::new(Declared::NotificationRule);
    take(&ctx, &signed, &guard, &subject, sent).await
}

async fn rule_subject(
    ctx: &Ctx,
    signed: &Signed,
    id: &str,
) -> Result<(Subject, Map<String, Value>), Problem> {
    signed.administer()?;
    let mut tx = signed.begin(ctx).await?;
    let found = messages::rules(&mut tx, Some(rows::id(id)?)).await?.pop();
    tx.commit().await?;
    let found = found.ok_or(Problem::NotFound)?;
    let subject = Subject {
        changes: Some((found.id, found.name.clone())),
        ..Subject::new(Declared::NotificationRule)
    };
    Ok((subject, written(&found, &RULE_KEYS)))
}

pub(super) async fn edit_rule(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Markup, Problem> {
    let (subject, config) = rule_subject(&ctx, &signed, &id).await?;
    show(&ctx, &signed, &subject, &config).await
}

pub(super) async fn change_rule(
    State(ctx): State<Ctx>,
    Extension(guard): Admitted,
    signed: Signed,
    Path(id): Path<String>,
    Posted(sent): Posted<Sent<DeclaredForm>>,
) -> Result<Response, Problem> {
    let (subject, _) = rule_subject(&ctx, &signed, &id).await?;
    take(&ctx, &signed, &guard, &subject, sent).await
}

pub(super) async fn remove_rule(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Posted(Nothing {}): Posted<Nothing>,
) -> Result<Response, Problem> {
    signed.administer()?;
    let mut tx = signed.begin(&ctx).await?;
    let by = author(&signed);
    let done = declared::remove_notification_rule(&mut tx, by, rows::id(&id)?).await?;
    tx.commit().await?;
    gone(done)
}

/// What the list of messages is asked for.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct MessagesQuery {
    #[serde(default)]
    endpoint: String,
    before: Option<String>,
}

pub(super) async fn messages_page(
    State(ctx): State<Ctx>,
    signed: Signed,
    Query(query): Query<MessagesQuery>,
) -> Result<Markup, Problem> {
    let only: Option<Uuid> = said(&query.endpoint).map(rows::id).transpose()?;
    let before: Option<At> = query.before.as_deref().map(str::parse).transpose()?;
    let mut tx = signed.begin(&ctx).await?;
    let endpoints = messages::endpoints(&mut tx, None).await?;
    // One more than is shown says whether there is another page.
    let limit = i64::try_from(ROWS + 1).unwrap_or(i64::MAX);
    let place = before.map(|At(at, id)| (at, id));
    let mut found = messages::notifications(&mut tx, only, place, limit).await?;
    tx.commit().await?;
    let more = found.len() > ROWS;
    found.truncate(ROWS);
    let href = |before: Option<String>| {
        let endpoint = said(&query.endpoint);
        let pairs = [("endpoint", endpoint), ("before", before.as_deref())];
        with_query("/notifications", &pairs)
    };
    let last = found.last().filter(|_| more);
    let next_href = last.map(|last| href(Some(At(last.created_at, last.id).to_string())));
    let names = Names::of(&endpoints);
    let view = MessagesPage {
        rows: found.iter().map(|found| names.message(found)).collect(),
        endpoints: endpoints
            .into_iter()
            .map(|one| (one.id.to_string(), one.name))
            .collect(),
        endpoint: only.map(|id| id.to_string()).unwrap_or_default(),
        first_href: href(None),
        is_first: before.is_none(),
        next_href,
    };
    Ok(messages_view(&signed.reader(), &view))
}

pub(super) async fn show_message(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Markup, Problem> {
    let mut tx = signed.begin(&ctx).await?;
    let found = messages::notification(&mut tx, rows::id(&id)?).await?;
    let (found, body, attempts) = found.ok_or(Problem::NotFound)?;
    let endpoints = messages::endpoints(&mut tx, Some(found.endpoint)).await?;
    let rule = match found.rule {
        Some(rule) => messages::rules(&mut tx, Some(rule)).await?.pop(),
        None => None,
    };
    tx.commit().await?;
    let view = MessagePage {
        row: Names::of(&endpoints).message(&found),
        message_id: found.message_id,
        event_id: found.event_id,
        rule: rule.map(|rule| rule.name),
        repeats: found.redelivery_of,
        body: rows::pretty(&body).unwrap_or(body),
        attempts: attempts.into_iter().map(send).collect(),
        may_operate: signed.may_operate(),
    };
    Ok(message(&signed.reader(), &view))
}

fn send(attempt: Attempt) -> SendRow {
    let said = attempt.problem.or(attempt.excerpt);
    SendRow {
        number: attempt.number,
        at: attempt.at,
        status: attempt.status,
        said: said.filter(|said| !said.is_empty()),
        took_ms: attempt.took_ms,
    }
}

pub(super) async fn redeliver(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Posted(Nothing {}): Posted<Nothing>,
) -> Result<Response, Problem> {
    signed.operate()?;
    let mut tx = signed.begin(&ctx).await?;
    let again = declared::redeliver(&mut tx, author(&signed), rows::id(&id)?).await?;
    tx.commit().await?;
    let again = again.ok_or(Problem::NotFound)?;
    Ok(Redirect::to(&format!("/notifications/{again}")).into_response())
}
