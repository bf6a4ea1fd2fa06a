//! What people are told of: notifications with their deliveries, and rules on lines of logs.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use chrono::{DateTime, Utc};
use host::Ctx;
use maud::Markup;
use serde::Deserialize;
use store::log_rules::{self, RecordedFilter};
use store::notifications;
use uuid::Uuid;

use super::problem::Problem;
use super::rows;
use super::session::{Posted, Signed};
use crate::views::told::{
    LogRulesPage, NotificationsPage, log_rules as log_rules_view, message,
    notifications as notifications_view,
};

/// Messages that are listed at a time.
const MESSAGES: i64 = 50;
/// Lines that are listed.
const RECORDED: i64 = 50;

/// Which part of the list.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Before {
    at: Option<DateTime<Utc>>,
    id: Option<Uuid>,
}

pub(super) async fn list(
    State(ctx): State<Ctx>,
    signed: Signed,
    Query(before): Query<Before>,
) -> Result<Markup, Problem> {
    let mut tx = signed.begin(&ctx).await?;
    let endpoints = notifications::endpoints(&mut tx, None).await?;
    let rules = notifications::rules(&mut tx, None).await?;
    let messages =
        notifications::notifications(&mut tx, None, before.at.zip(before.id), MESSAGES).await?;
    tx.commit().await?;
    let is_full = i64::try_from(messages.len()).is_ok_and(|found| found == MESSAGES);
    let older_href = messages.last().filter(|_| is_full).map(|last| {
        let at = last.created_at.format("%Y-%m-%dT%H:%M:%S%.6fZ");
        format!("/notifications?at={at}&id={}", last.id)
    });
    let view = NotificationsPage {
        endpoints,
        rules,
        messages,
        older_href,
    };
    Ok(notifications_view(&signed.reader(), &view))
}

pub(super) async fn show(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Markup, Problem> {
    let mut tx = signed.begin(&ctx).await?;
    let found = notifications::notification(&mut tx, rows::id(&id)?).await?;
    tx.commit().await?;
    let (row, body, attempts) = found.ok_or(Problem::NotFound)?;
    Ok(message(&signed.reader(), &row, &body, &attempts))
}

#[derive(Deserialize)]
pub(super) struct Again {}

/// Sends a message once more, as a message of its own.
pub(super) async fn redeliver(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Posted(Again {}): Posted<Again>,
) -> Result<Response, Problem> {
    let mut tx = signed.begin(&ctx).await?;
    let id = rows::id(&id)?;
    notifications::notification(&mut tx, id)
        .await?
        .ok_or(Problem::NotFound)?;
    signed.operate()?;
    let again = notifications::redeliver(&mut tx, id).await?;
    tx.commit().await?;
    let again = again.ok_or(Problem::NotFound)?;
    Ok(Redirect::to(&format!("/notifications/{again}")).into_response())
}

pub(super) async fn lines(State(ctx): State<Ctx>, signed: Signed) -> Result<Markup, Problem> {
    let mut tx = signed.begin(&ctx).await?;
    let mut rules = Vec::new();
    for rule in log_rules::list(&mut tx, None).await? {
        let counts = log_rules::counts(&mut tx, rule.id).await?;
        rules.push((rule, counts));
    }
    let recorded = log_rules::recorded(&mut tx, RecordedFilter::default(), None, RECORDED).await?;
    tx.commit().await?;
    Ok(log_rules_view(
        &signed.reader(),
        &LogRulesPage { rules, recorded },
    ))
}
