//! What came in from outside.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use database::TenantTx;
use host::Ctx;
use http::{HeaderValue, header};
use maud::Markup;
use model::DeliveryId;
use serde::Deserialize;
use serde_json::Value;
use store::pages::{self, DeliveryDetail, DeliveryFilter};

use super::problem::Problem;
use super::session::Signed;
use super::{FIRST_COMMAND, rows};
use crate::views::delivery::{deliveries, delivery};
use crate::views::model::{Body, DeliveryList, DeliveryPage, EventRow, HeaderRow, Verdict};

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
    before: Option<String>,
}

pub(super) async fn list(
    State(ctx): State<Ctx>,
    signed: Signed,
    query: Result<Query<ListQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Markup, Problem> {
    let Query(query) = query.map_err(|_| Problem::NotFound)?;
    let mut tx = signed.begin(&ctx).await?;
    let view = read_list(&mut tx, &query).await?;
    tx.commit().await?;
    Ok(deliveries(&signed.reader(), &view))
}

pub(super) async fn read_list(
    tx: &mut TenantTx,
    query: &ListQuery,
) -> Result<DeliveryList, Problem> {
    let triggers = pages::triggers(tx).await?;
    let verdict = (!query.verdict.is_empty())
        .then(|| query.verdict.parse().map_err(|_| Problem::NotFound))
        .transpose()?;
    let trigger = (!query.trigger.is_empty())
        .then(|| {
            triggers
                .iter()
                .find(|trigger| trigger.name == query.trigger)
                .ok_or(Problem::NotFound)
        })
        .transpose()?;
    let before: Option<DeliveryId> = query.before.as_deref().map(rows::id).transpose()?;
    let filter = DeliveryFilter {
        verdict,
        trigger: trigger.map(|trigger| trigger.id),
    };
    // One more than is shown says whether there is another page.
    let mut found = pages::deliveries(tx, filter, before, ROWS + 1).await?;
    let more = found.len() > ROWS;
    found.truncate(ROWS);
    let filters = |before: Option<String>| {
        rows::with_query(
            "/deliveries",
            &[
                ("verdict", verdict.map(|verdict| verdict.as_str())),
                ("trigger", trigger.map(|trigger| trigger.name.as_str())),
                ("before", before.as_deref()),
            ],
        )
    };
    let older_href = found
        .last()
        .filter(|_| more)
        .map(|last| filters(Some(last.id.to_string())));
    let live_href = before.is_none().then(|| {
        rows::with_query(
            "/live/deliveries",
            &[
                ("verdict", verdict.map(|verdict| verdict.as_str())),
                ("trigger", trigger.map(|trigger| trigger.name.as_str())),
            ],
        )
    });
    Ok(DeliveryList {
        verdict: verdict.map(rows::verdict),
        trigger: trigger.map(|trigger| trigger.name.clone()),
        newer_href: before.is_some().then(|| filters(None)),
        older_href,
        rows: found.into_iter().map(rows::delivery).collect(),
        triggers: triggers.into_iter().map(|trigger| trigger.name).collect(),
        first_command: FIRST_COMMAND.to_owned(),
        live_href,
    })
}

pub(super) async fn page(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Markup, Problem> {
    let found = find(&ctx, &signed, &id).await?;
    let body = open(&ctx, &signed, &found)?;
    Ok(delivery(&signed.reader(), &shown(found, &body)))
}

async fn find(ctx: &Ctx, signed: &Signed, id: &str) -> Result<DeliveryDetail, Problem> {
    let mut tx = signed.begin(ctx).await?;
    let found = pages::delivery(&mut tx, rows::id(id)?).await?;
    tx.commit().await?;
    found.ok_or(Problem::NotFound)
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
    let found = find(&ctx, &signed, &id).await?;
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
