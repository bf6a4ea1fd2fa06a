//! `switchyard list --vendors`.

use serde::Serialize;
use webhook::{Tested, Vendor, With};

use crate::cli::output::line;

/// What the vendors' functions say of themselves, in the order of the functions.
const VENDORS: &[&[Tested]] = &[
    webhook_azure::Azure::TESTED,
    webhook_bitbucket::Bitbucket::TESTED,
    webhook_cloudevents::CloudEvents::TESTED,
    webhook_generic::Generic::TESTED,
    webhook_gitea::Gitea::TESTED,
    webhook_github::Github::TESTED,
    webhook_gitlab::Gitlab::TESTED,
    webhook_registry::Registry::TESTED,
];

/// An event as it is listed.
#[derive(Serialize)]
struct Row {
    vendor: &'static str,
    event: &'static str,
    becomes: Vec<&'static str>,
    tested_with: &'static str,
    source: &'static str,
}

/// Lists the events of each vendor.
pub(super) fn list(json: bool) -> anyhow::Result<()> {
    let rows = rows();
    if json {
        line(serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    let width = |cell: fn(&Row) -> &str, head: &str| {
        let cells = rows.iter().map(|row| cell(row).len());
        cells.chain([head.len()]).max().unwrap_or_default()
    };
    let vendors = width(|row| row.vendor, "VENDOR");
    let events = width(|row| row.event, "EVENT");
    let kinds = width(|row| row.tested_with, "TESTED WITH");
    let show = |vendor: &str, event: &str, with: &str, source: &str, becomes: &str| {
        line(format_args!(
            "{vendor:vendors$}  {event:events$}  {with:kinds$}  {source}\n{:vendors$}  {becomes}",
            ""
        ));
    };
    show("VENDOR", "EVENT", "TESTED WITH", "SOURCE", "BECOMES");
    for row in &rows {
        let becomes = if row.becomes.is_empty() {
            "nothing: it tries the hook".to_owned()
        } else {
            row.becomes.join(", ")
        };
        show(row.vendor, row.event, row.tested_with, row.source, &becomes);
    }
    Ok(())
}

fn rows() -> Vec<Row> {
    VENDORS
        .iter()
        .copied()
        .flatten()
        .map(|tested| Row {
            vendor: tested.vendor.as_str(),
            event: tested.event,
            becomes: tested.becomes.iter().map(|it| it.as_str()).collect(),
            tested_with: match tested.with {
                With::Recorded(_) => "recorded payloads",
                With::Documented(_) => "documented shape",
            },
            source: tested.with.address(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_is_listed_once_with_where_its_shape_is_from() {
        let mut seen = std::collections::BTreeSet::new();
        for row in rows() {
            assert!(seen.insert((row.vendor, row.event)), "{} twice", row.event);
            let ours = row.source.starts_with("docs/");
            assert!(ours || row.source.starts_with("https://"), "{}", row.event);
        }
    }
}
