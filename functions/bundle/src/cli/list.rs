//! `switchyard list`.

use host::{Function, Kind};
use serde::Serialize;

use super::arguments::ListArgs;
use super::output::line;
use crate::functions::FUNCTIONS;
use crate::local::manifests::{Manifests, Target};

mod vendors;

/// A function as it is listed.
#[derive(Serialize)]
struct Row {
    name: &'static str,
    kind: &'static str,
    role: &'static str,
    reached_by: Vec<String>,
}

/// Lists the functions, and what in the manifests reaches them.
pub(crate) fn list(args: &ListArgs) -> anyhow::Result<()> {
    if args.vendors {
        return vendors::list(args.json);
    }
    let manifests = Manifests::find(args.manifests.as_deref())?;
    let rows: Vec<Row> = FUNCTIONS
        .iter()
        .map(|function| row(function, &manifests))
        .collect();
    if args.json {
        line(serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    let width = |cell: fn(&Row) -> &str, head: &str| {
        let cells = rows.iter().map(|row| cell(row).len());
        cells.chain([head.len()]).max().unwrap_or_default()
    };
    let (names, kinds) = (
        width(|row| row.name, "FUNCTION"),
        width(|row| row.kind, "KIND"),
    );
    let roles = width(|row| row.role, "ROLE");
    let show = |name: &str, kind: &str, role: &str, reached_by: &str| {
        line(format_args!(
            "{name:names$}  {kind:kinds$}  {role:roles$}  {reached_by}"
        ));
    };
    show("FUNCTION", "KIND", "ROLE", "REACHED BY");
    for row in &rows {
        show(row.name, row.kind, row.role, &row.reached_by.join("; "));
    }
    Ok(())
}

fn row(function: &Function, manifests: &Manifests) -> Row {
    let here =
        |target: &Target| matches!(target, Target::Service { name, .. } if name == function.name);
    let services = manifests
        .services
        .iter()
        .filter(|service| service.name == function.name)
        .filter_map(|service| match (service.cluster_local, function.kind) {
            (false, _) => Some("requests from outside".to_owned()),
            (true, Kind::Service) => Some("requests from inside the cluster".to_owned()),
            // What a Trigger or a clock sends.
            (true, _) => None,
        });
    let triggers = manifests
        .triggers
        .iter()
        .filter(|trigger| here(&trigger.subscriber.target))
        .map(|trigger| {
            let mut text = format!("broker {}", trigger.broker);
            for (name, value) in &trigger.attributes {
                text.push_str(&format!(" {name}={value}"));
            }
            text
        });
    let clocks = manifests
        .ping_sources
        .iter()
        .filter(|source| here(&source.sink.target))
        .map(|source| format!("clock {}", source.name));
    let sources = manifests
        .container_sources
        .iter()
        .filter(|source| source.container.function == function.name)
        .map(|source| format!("always runs, as {}", source.name));
    Row {
        name: function.name,
        kind: match function.kind {
            Kind::Service => "service",
            Kind::Subscriber => "subscriber",
            Kind::Task(_) => "task",
            Kind::Reconciler => "reconciler",
            Kind::Relay => "relay",
        },
        role: function.role.as_str(),
        reached_by: services
            .chain(triggers)
            .chain(clocks)
            .chain(sources)
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_function_is_reached_by_something() -> anyhow::Result<()> {
        let manifests = Manifests::embedded()?;
        for function in FUNCTIONS {
            let row = row(function, &manifests);
            assert!(
                !row.reached_by.is_empty(),
                "{} is reached by nothing",
                row.name
            );
        }
        Ok(())
    }
}
