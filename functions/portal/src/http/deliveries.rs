//! What came in from outside.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use chrono::{DateTime, NaiveDate, Utc};
use database::TenantTx;
use host::Ctx;
use http::{HeaderValue, header};
use maud::Markup;
use model::{BindingId, DeliveryId, TriggerId};
use serde::Deserialize;
use serde_json::{Value, json};
use store::pages::{self, DeliveryDetail, DeliverySearch};
use store::replays::{DeliveryDeed, note_deed, repeat};

use super::problem::Problem;
use super::queues::said;
use super::session::{Posted, Signed};
use super::triggers::target;
use super::{FIRST_COMMAND, rows};
use crate::i18n::Language;
use crate::views::delivery::{deliveries, delivery};
use crate::views::model::{Body, DeliveryList, DeliveryPage, EventRow, HeaderRow, Target, Verdict};

/// Rows of a page.
const ROWS: usize = 50;

/// How much of a body is shown, in bytes; the download has all of it.
const SHOWN_BYTES_MAX: usize = 64 * 1024;

/// What stands for a header's value that is not shown.
const MASKS: [char; 3] = ['*', '•', '…'];

/// What a list is asked for. A value that is none of ours is no page of ours.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct ListQuery {
    #[serde(default)]
    verdict: String,
    #[serde(default)]
    trigger: String,
    #[serde(default)]
    vendor: String,
    #[serde(default)]
    event: String,
    /// A day, or an instant.
    #[serde(default)]
    since: String,
    before: Option<String>,
}

impl ListQuery {
    /// What is looked for.
    pub(super) async fn search(&self, tx: &mut TenantTx) -> Result<DeliverySearch, Problem> {
        let text = |text: &str| said(text).map(str::to_owned);
        let verdict = said(&self.verdict).map(str::parse).transpose();
        let trigger = match said(&self.trigger) {
            Some(name) => {
                let triggers = pages::triggers(tx).await?;
                let found = triggers.into_iter().find(|trigger| trigger.name == name);
                Some(found.ok_or(Problem::NotFound)?.id)
            }
            None => None,
        };
        Ok(DeliverySearch {
            verdict: verdict.map_err(|_| Problem::NotFound)?,
            trigger,
            vendor: text(&self.vendor),
            event: text(&self.event),
            since: said(&self.since).map(instant).transpose()?,
            until: None,
        })
    }

    fn pairs(&self) -> [(&'static str, Option<&str>); 5] {
        [
            ("verdict", said(&self.verdict)),
            ("trigger", said(&self.trigger)),
            ("vendor", said(&self.vendor)),
            ("event", said(&self.event)),
            ("since", said(&self.since)),
        ]
    }

    /// The same at another address.
    pub(super) fn href(&self, path: &str, before: Option<&str>) -> String {
        let pairs: Vec<_> = self
            .pairs()
            .into_iter()
            .chain([("before", before)])
            .collect();
        rows::with_query(path, &pairs)
    }

    /// What is filtered for, each as it stands in an address.
    pub(super) fn said(&self) -> Vec<String> {
        let pairs = self.pairs().into_iter();
        pairs
            .filter_map(|(name, value)| Some(format!("{name}={}", value?)))
            .collect()
    }
}

/// An instant, or a day as the clocks of UTC have it.
fn instant(text: &str) -> Result<DateTime<Utc>, Problem> {
    let day = || {
        let day: NaiveDate = text.parse().ok()?;
        Some(day.and_hms_opt(0, 0, 0)?.and_utc())
    };
    text.parse().ok().or_else(day).ok_or(Problem::NotFound)
}

pub(super) async fn list(
    State(ctx): State<Ctx>,
    signed: Signed,
    query: Result<Query<ListQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Markup, Problem> {
    let Query(query) = query.map_err(|_| Problem::NotFound)?;
    let mut tx = signed.begin(&ctx).await?;
    let mut view = read_list(&mut tx, &query).await?;
    tx.commit().await?;
    if signed.may_operate() && !view.rows.is_empty() {
        view.replay_href = Some(query.href("/deliveries/replay", None));
    }
    Ok(deliveries(&signed.reader(), &view))
}

pub(super) async fn read_list(
    tx: &mut TenantTx,
    query: &ListQuery,
) -> Result<DeliveryList, Problem> {
    let triggers = pages::triggers(tx).await?;
    let search = query.search(tx).await?;
    let before: Option<DeliveryId> = query.before.as_deref().map(rows::id).transpose()?;
    let found = pages::find_deliveries(tx, &search, before, ROWS).await?;
    let next = found.next.map(|id| id.to_string());
    let live_href = before
        .is_none()
        .then(|| query.href("/live/deliveries", None));
    Ok(DeliveryList {
        verdict: search.verdict.map(rows::verdict),
        trigger: said(&query.trigger).map(str::to_owned),
        vendor: search.vendor.unwrap_or_default(),
        event: search.event.unwrap_or_default(),
        since: said(&query.since).unwrap_or_default().to_owned(),
        newer_href: before.is_some().then(|| query.href("/deliveries", None)),
        older_href: next.map(|next| query.href("/deliveries", Some(&next))),
        rows: found.deliveries.into_iter().map(rows::delivery).collect(),
        triggers: triggers.into_iter().map(|trigger| trigger.name).collect(),
        first_command: FIRST_COMMAND.to_owned(),
        live_href,
        replay_href: None,
    })
}

pub(super) async fn page(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Markup, Problem> {
    let mut tx = signed.begin(&ctx).await?;
    let found = pages::delivery(&mut tx, rows::id(&id)?).await?;
    let found = found.ok_or(Problem::NotFound)?;
    let bindings = if signed.may_operate() {
        bindings(&mut tx, signed.visitor.language, found.delivery.trigger.id).await?
    } else {
        Vec::new()
    };
    let may_read = signed.may_operate();
    if may_read && found.body_kept {
        let deed = DeliveryDeed::ReadBody;
        note_deed(&mut tx, found.delivery.id, deed, signed.name(), json!({})).await?;
    }
    tx.commit().await?;
    let body = if may_read {
        open(&ctx, &signed, &found)?
    } else {
        Vec::new()
    };
    let mut view = shown(found, &body);
    view.bindings = bindings;
    view.may_operate = may_read;
    Ok(delivery(&signed.reader(), &view))
}

/// The bindings of a trigger, for who hands something to one of them.
pub(super) async fn bindings(
    tx: &mut TenantTx,
    language: Language,
    trigger: TriggerId,
) -> Result<Vec<(BindingId, String)>, Problem> {
    let found = pages::trigger_shown(tx, trigger).await?;
    let bindings = found.map(|found| found.bindings).unwrap_or_default();
    let named = bindings.iter().enumerate().map(|(index, binding)| {
        let number = language.with("binding-number", &[("n", (index + 1).into())]);
        let starts = match target(binding) {
            Target::Workload(link) => link.name,
            Target::Task(task) => task,
        };
        (binding.id, format!("{number} → {starts}"))
    });
    Ok(named.collect())
}

#[derive(Deserialize)]
pub(super) struct ToWhom {
    binding: String,
}

/// Hands its events to one binding again, and goes to the first of the new ones.
pub(super) async fn replay(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
    Posted(ToWhom { binding }): Posted<ToWhom>,
) -> Result<Response, Problem> {
    signed.operate()?;
    let (id, binding) = (rows::id(&id)?, rows::id(&binding)?);
    let mut tx = signed.begin(&ctx).await?;
    if pages::delivery(&mut tx, id).await?.is_none() {
        return Err(Problem::NotFound);
    }
    let events = repeat(&mut tx, id, Some(binding), ctx.new_id(), signed.name())
        .await
        .map_err(|error| match error.as_database_error() {
            Some(told) if told.is_foreign_key_violation() => Problem::NotFound,
            _ => error.into(),
        })?;
    let first = events.first().ok_or(Problem::NotFound)?;
    tx.commit().await?;
    tracing::info!(delivery.id = %id, event.id = %first, tenant.id = %signed.tenant, "replayed");
    Ok(Redirect::to(&rows::event_href(*first)).into_response())
}

fn open(ctx: &Ctx, signed: &Signed, found: &DeliveryDetail) -> Result<Vec<u8>, Problem> {
    let keyring = ctx.keyring().map_err(Problem::internal)?;
    let body = found
        .body(keyring, signed.tenant)
        .map_err(Problem::internal)?;
    Ok(body.map_or_else(Vec::new, |body| body.to_vec()))
}

/// The body as it came, as a download: a browser never renders what a stranger sent.
pub(super) async fn body(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    signed.operate()?;
    let mut tx = signed.begin(&ctx).await?;
    let found = pages::delivery(&mut tx, rows::id(&id)?).await?;
    let found = found.ok_or(Problem::NotFound)?;
    let deed = DeliveryDeed::ReadBody;
    note_deed(&mut tx, found.delivery.id, deed, signed.name(), json!({})).await?;
    tx.commit().await?;
    let body = open(&ctx, &signed, &found)?;
    let name = format!("attachment; filename=\"{}.bin\"", found.delivery.id);
    let name = HeaderValue::try_from(name).map_err(Problem::internal)?;
    Ok((
        [
            (
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/octet-stream"),
            ),
            (header::CONTENT_DISPOSITION, name),
        ],
        body,
    )
        .into_response())
}

fn shown(found: DeliveryDetail, body: &[u8]) -> DeliveryPage {
    let events = found
        .delivery
        .events
        .iter()
        .map(|event| EventRow {
            id: event.id.uuid(),
            kind: rows::event_kind(&event.ty),
            subject: event.about.clone().or_else(|| event.subject.clone()),
            became: rows::became(event),
        })
        .collect();
    let headers = found
        .headers
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            HeaderRow {
                name: name.clone(),
                masked: !value.is_empty() && value.chars().all(|c| MASKS.contains(&c)),
                value,
            }
        })
        .collect();
    let row = rows::delivery(found.delivery.clone());
    let trigger = found.delivery.trigger.id;
    let later = found
        .later
        .iter()
        .map(|later| (later.id, later.received_at, rows::verdict(later.verdict)))
        .collect();
    DeliveryPage {
        status: answered(row.verdict),
        row,
        vendor_id: found.key,
        reason: found.delivery.reason,
        repeats: found.repeats,
        headers,
        body: shown_body(
            body,
            u64::try_from(found.body_bytes).unwrap_or_default(),
            format!("{}/body", rows::delivery_href(found.delivery.id)),
        ),
        events,
        trigger,
        bindings: Vec::new(),
        may_operate: false,
        later,
        redelivery_of: found.redelivery_of.or(found.first),
        body_kept: found.body_kept,
    }
}

/// The status that the endpoint answers for each verdict.
const fn answered(verdict: Verdict) -> u16 {
    match verdict {
        Verdict::Accepted | Verdict::Ignored | Verdict::Ping => 202,
        Verdict::Duplicate => 200,
        Verdict::Malformed => 400,
        Verdict::Rejected => 401,
        Verdict::Conflict => 409,
    }
}

fn shown_body(body: &[u8], bytes: u64, raw_href: String) -> Body {
    let text = String::from_utf8_lossy(body);
    let cut = |text: &str| text[..text.floor_char_boundary(SHOWN_BYTES_MAX)].to_owned();
    let pretty = serde_json::from_slice::<Value>(body)
        .ok()
        .and_then(|value| serde_json::to_string_pretty(&value).ok());
    Body {
        truncated: text.len() > SHOWN_BYTES_MAX
            || pretty
                .as_ref()
                .is_some_and(|pretty| pretty.len() > SHOWN_BYTES_MAX),
        pretty: pretty.map(|pretty| cut(&pretty)),
        raw: cut(&text),
        bytes,
        raw_href,
    }
}

#[cfg(test)]
mod tests {
    use super::{SHOWN_BYTES_MAX, shown_body};

    #[test]
    fn a_long_body_is_cut_between_characters() {
        let body = "я".repeat(SHOWN_BYTES_MAX);
        let shown = shown_body(body.as_bytes(), body.len() as u64, String::new());
        assert!(shown.truncated && shown.pretty.is_none());
        assert_eq!(shown.raw.len(), SHOWN_BYTES_MAX);
    }

    #[test]
    fn json_is_laid_out_and_kept_as_it_came() {
        let shown = shown_body(br#"{"a":1}"#, 7, String::new());
        assert_eq!(shown.pretty.as_deref(), Some("{\n  \"a\": 1\n}"));
        assert_eq!(shown.raw, r#"{"a":1}"#);
        assert!(!shown.truncated);
    }
}
