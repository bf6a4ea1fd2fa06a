//! Terraform's states: a list, one that is locked, and what changed between two versions.

use maud::Markup;
use serde_json::json;
use store::terraform::{Locked, StateRow, Version};

use super::{ago, id};
use crate::views::model::Reader;
use crate::views::states::{StatePage, StatesPage, difference, state, states};

const SHA256: &str = "5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9";

fn row(locked: bool) -> StateRow {
    let info = json!({
        "ID": "0193-lock", "Operation": "OperationTypeApply", "Info": "", "Who": "robin@laptop\u{202e}", "Version": "1.11.4",
        "Created": "2026-11-21T12:00:00Z", "Path": "",
    });
    StateRow {
        id: id(300),
        name: "network".into(),
        current: Some(7),
        serial: Some(41),
        lineage: Some("3b0c".into()),
        bytes: Some(48_213),
        changed_at: Some(ago(400)),
        quarantined: i64::from(locked),
        lock: locked.then(|| Locked {
            id: "0193-lock".into(),
            info: serde_json::from_value(info).expect("a lock"),
            by: "job 48213".into(),
            job: Some(model::JobId(48_213)),
            epoch: Some(2),
            since: ago(300),
            age_secs: 300,
        }),
        created_at: ago(90_000),
    }
}

fn version(number: i64, quarantined: bool) -> Version {
    Version {
        number,
        serial: 34 + number,
        lineage: "3b0c".into(),
        terraform_version: Some("1.11.4".into()),
        sha256: SHA256.into(),
        bytes: 48_213,
        by: "job 48000".into(),
        job: Some(model::JobId(48_000 + number)),
        created_at: ago(9_000 - number * 100),
        quarantined: quarantined.then(|| "the run that sent it had ended".into()),
        promoted_by: None,
        promoted_at: None,
        current: number == 7,
    }
}

pub(super) fn pages(reader: &Reader) -> Vec<(&'static str, Markup)> {
    let inside = serde_json::from_value(json!({
        "serial": 41, "lineage": "3b0c", "terraform_version": "1.11.4",
        "outputs": {
            "endpoint": {"value": {"value": "db.example.org"}, "kind": "string"},
            "token": {"value": "sensitive", "kind": "string"},
        },
        "outputs_left_out": 0,
        "instances": [
            {"address": "aws_db_instance.main", "provider": "aws", "id": "db-1"},
            {"address": "terraform_data.seed", "provider": "builtin", "tainted": true},
        ],
        "instances_left_out": 3,
    }));
    let changed = serde_json::from_value(json!({
        "instances": [{
            "address": "aws_db_instance.main", "action": "update", "attributes_left_out": 0,
            "attributes": [
                {"path": "allocated_storage", "before": {"value": 20}, "after": {"value": 40}},
                {"path": "password", "before": "sensitive", "after": "sensitive"},
            ],
        }],
        "instances_left_out": 0,
        "outputs": [{"path": "endpoint", "after": {"value": "db.example.org"}}],
    }));
    let page = |locked: bool, inside| StatePage {
        row: row(locked),
        versions: vec![version(8, true), version(7, false), version(6, false)],
        inside,
        may_administer: true,
    };
    let all = |rows| StatesPage {
        rows,
        next_href: None,
    };
    vec![
        ("states", states(reader, &all(vec![row(true), row(false)]))),
        ("states-empty", states(reader, &all(Vec::new()))),
        (
            "state",
            state(reader, &page(false, inside.expect("a state"))),
        ),
        ("state-locked", state(reader, &page(true, None))),
        (
            "state-diff",
            difference(reader, &row(false), 6, 7, &changed.expect("a difference")),
        ),
    ]
}
