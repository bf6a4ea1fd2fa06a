//! The list of runs, workspaces, and the form that starts a run.

use maud::Markup;
use serde_json::json;

use super::{ago, id, job_rows};
use crate::payload_form::{fields, split};
use crate::views::model::*;
use crate::views::runs::{RunsPage, run_form, runs, workspace};
use crate::views::topology::topology;

fn workspaces() -> Vec<WorkspaceRow> {
    vec![
        WorkspaceRow {
            id: id(1),
            name: "infrastructure".into(),
            url: "https://git.example.org/acme/infrastructure.git".into(),
            commit: Some(super::COMMIT.into()),
            synced_at: Some(ago(200)),
            error: None,
        },
        WorkspaceRow {
            id: id(2),
            name: "labs".into(),
            url: "https://git.example.org/acme/labs.git".into(),
            commit: None,
            synced_at: None,
            error: Some("the repository does not let us in: look at its credential".into()),
        },
    ]
}

fn form(json: bool) -> RunFormPage {
    let kind = ::runs::kind("task-terraform").expect("a kind");
    let mut payload = (kind.sample)();
    payload["a_newer_key"] = json!({"kept": true});
    let payload = payload.as_object().expect("an object").clone();
    let fields = fields(&(kind.schema)());
    RunFormPage {
        kinds: ::runs::kinds()
            .iter()
            .map(|kind| (kind.name, kind.title))
            .collect(),
        kind: kind.name.into(),
        written: split(&fields, &payload),
        fields,
        json: json.then(|| format!("{:#}", serde_json::Value::Object(payload))),
        wrong: if json {
            Vec::new()
        } else {
            vec![
                FormFault::NoNumber("Time limit (seconds)".into()),
                FormFault::Said("state: a name has 1 to 100 letters".into()),
            ]
        },
    }
}

fn lab(nodes: usize) -> labs::Graph {
    let node = |number: usize| labs::GraphNode {
        id: format!("leaf-{number}"),
        kind: Some("ceos".into()),
        image: Some("ceos:4.32.0F</script>".into()),
        mgmt_ip: Some(format!("172.20.20.{}", number % 250)),
        mgmt_host: None,
        status: Some(
            if number.is_multiple_of(3) {
                "notready"
            } else {
                "ready"
            }
            .into(),
        ),
    };
    let edge = |number: usize| labs::GraphEdge {
        source: format!("leaf-{number}"),
        source_interface: "eth1".into(),
        target: format!("leaf-{}", number / 2),
        target_interface: format!("eth{number}"),
    };
    labs::Graph {
        lab: "fabric".into(),
        source: "netlab".into(),
        nodes: (0..nodes).map(node).collect(),
        edges: (1..nodes).map(edge).collect(),
    }
}

pub(super) fn pages(reader: &Reader) -> Vec<(&'static str, Markup)> {
    let list = |full: bool| RunsPage {
        jobs: if full { job_rows() } else { Vec::new() },
        older_href: full.then(|| "/runs?before=1".into()),
        may_start: true,
        workspaces: if full { workspaces() } else { Vec::new() },
    };
    let page = |full: bool| WorkspacePage {
        row: workspaces().swap_remove(usize::from(!full)),
        branch: "main".into(),
        folder: "live".into(),
        credential: Some("deploy key".into()),
        templates: if full {
            vec![TemplateRow {
                path: "network".into(),
                kind: "terraform".into(),
                summary: Some("The network of both regions".into()),
                start_href: Some("/runs/new?kind=task-terraform".into()),
            }]
        } else {
            Vec::new()
        },
        may_operate: true,
    };
    vec![
        ("runs", runs(reader, &list(true))),
        ("runs-empty", runs(reader, &list(false))),
        ("topology", topology(reader, 48_213, &lab(6))),
        ("topology-large", topology(reader, 48_213, &lab(400))),
        ("run-form", run_form(reader, &form(false))),
        ("run-form-json", run_form(reader, &form(true))),
        ("workspace", workspace(reader, &page(true))),
        ("workspace-broken", workspace(reader, &page(false))),
    ]
}
