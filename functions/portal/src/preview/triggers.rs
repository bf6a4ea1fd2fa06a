//! The pages about triggers with sample data.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use maud::Markup;
use model::{BindingId, DeliveryId, TriggerId, TriggerKind};
use serde_json::json;

use super::{ago, delivery_rows, handbook, id, now};
use crate::payload_form::{fields, split};
use crate::views::again::{BodyChange, BulkPage, ChangeRow, DiffPage};
use ::triggers::{Fault, Why};

use crate::views::model::{
    BindingForm, BindingFormPage, BoundRow, CauseRow, Clause, ConfigAs, DryRunPage, FormFault,
    Health, NEW_WORKLOAD, Reader, Shown, Target, TriedEvent, TriedRow, TriggerForm,
    TriggerFormPage, TriggerPage, TriggerRow, TriggersPage,
};
use crate::views::{again, dry_run, trigger_form, triggers};

pub(super) fn trigger_id() -> TriggerId {
    id(800).into()
}

pub(super) fn binding_id(number: u128) -> BindingId {
    id(810 + number).into()
}

fn sick() -> Health {
    Health {
        verified_at: Some(ago(180)),
        rejected_today: 12,
        causes: vec![
            CauseRow {
                count: 11,
                cause: Some("other_secret".into()),
                reason: "what x-hub-signature-256 holds was not made with the trigger's secret"
                    .into(),
            },
            CauseRow {
                count: 1,
                cause: None,
                reason: "the header x-odd is there twice".into(),
            },
        ],
        silent_days: 3,
        previous_used_at: Some(ago(4_000)),
    }
}

fn list() -> TriggersPage {
    let row = |number, name: &str, kind, targets: &[&str], health| TriggerRow {
        id: id(number).into(),
        name: name.into(),
        kind,
        enabled: number != 803,
        targets: targets.iter().map(|name| (*name).to_owned()).collect(),
        health,
    };
    TriggersPage {
        rows: vec![
            row(
                800,
                "site-pushes",
                TriggerKind::Git,
                &["handbook", "handbook-preview"],
                Some(sick()),
            ),
            row(
                801,
                "images-of-a-team-with-a-rather-long-name",
                TriggerKind::Registry,
                &["shop"],
                Some(Health::default()),
            ),
            row(802, "nightly", TriggerKind::Schedule, &["report"], None),
            row(
                803,
                "old-hook",
                TriggerKind::Webhook,
                &[],
                Some(Health::default()),
            ),
        ],
        next_href: Some("/triggers?after=old-hook".into()),
        is_first: false,
        may_edit: true,
    }
}

fn one(shown: Option<Shown>) -> TriggerPage {
    TriggerPage {
        id: trigger_id(),
        name: "site-pushes".into(),
        kind: TriggerKind::Git,
        enabled: true,
        config: "{\n  \"repository\": \"acme/handbook\",\n  \"branches\": [\n    \"main\"\n  ]\n}"
            .into(),
        condition: Some("event.data.actor != \"robot\"".into()),
        scheme: None,
        url: Some(format!("https://hooks.example.org/{}", trigger_id())),
        previous_until: Some(now() + TimeDelta::days(29)),
        has_previous: true,
        shown,
        health: Some(sick()),
        next: Vec::new(),
        bindings: vec![
            BoundRow {
                id: binding_id(1),
                number: 1,
                enabled: true,
                target: Target::Workload(handbook()),
                filter: None,
                condition: None,
            },
            BoundRow {
                id: binding_id(2),
                number: 2,
                enabled: false,
                target: Target::Task("report".into()),
                filter: Some("branches = release/*, a-branch-with-a-rather-long-name/*".into()),
                condition: Some("event.data.forced == false".into()),
            },
        ],
        deliveries: delivery_rows().into_iter().take(3).collect(),
        watch: Some(super::declared::watch_panel(true)),
        warnings: Vec::new(),
        may_operate: true,
        may_edit: true,
    }
}

fn clock() -> TriggerPage {
    TriggerPage {
        name: "nightly".into(),
        kind: TriggerKind::Schedule,
        config: "{\n  \"rule\": \"30 2 * * *\"\n}".into(),
        condition: None,
        url: None,
        has_previous: false,
        health: None,
        next: (1..4).map(|day| now() + TimeDelta::days(day)).collect(),
        bindings: Vec::new(),
        deliveries: Vec::new(),
        watch: None,
        warnings: vec!["config: \"brances\" is not looked at".into()],
        ..one(None)
    }
}

fn form(config_as: ConfigAs, wrong: Vec<FormFault>) -> TriggerFormPage {
    let field = |name: &str, text: &str| (format!("config.{name}"), text.to_owned());
    TriggerFormPage {
        changes: None,
        kind: TriggerKind::Git,
        form: TriggerForm {
            name: "site-pushes".into(),
            config_as,
            config_json: "{\n  \"repository\": \"acme/handbook\"\n}".into(),
            rest: "{\n  \"changes\": {}\n}".into(),
            fields: BTreeMap::from([
                field("repository", "acme/handbook"),
                field("branches", "main\nrelease/*"),
                field("ignore_skip", "on"),
            ]),
            ..TriggerForm::default()
        },
        wrong,
        sample: "{\n  \"repository\": \"owner/*\"\n}".into(),
    }
}

fn of_kind(kind: TriggerKind) -> TriggerFormPage {
    TriggerFormPage {
        kind,
        form: TriggerForm::default(),
        ..form(ConfigAs::Fields, Vec::new())
    }
}

fn binding(task: &str) -> BindingFormPage {
    BindingFormPage {
        trigger: (trigger_id(), "site-pushes".into()),
        kind: TriggerKind::Git,
        config: "{\n  \"repository\": \"acme/handbook\"\n}".into(),
        changes: (!task.is_empty()).then(|| binding_id(2)),
        form: BindingForm {
            workload: if task.is_empty() {
                "wl_1".into()
            } else {
                String::new()
            },
            task: task.into(),
            enabled: "on".into(),
            ..BindingForm::default()
        },
        wrong: if task.is_empty() {
            Vec::new()
        } else {
            vec![
                FormFault::NoJson {
                    place: "payload".into(),
                    why: "expected value at line 1 column 2".into(),
                },
                FormFault::Refused(Fault {
                    place: "filter".into(),
                    why: Why::NoKey {
                        key: "brances".into(),
                        near: "branches".into(),
                    },
                }),
                FormFault::Refused(Fault {
                    place: "condition".into(),
                    why: Why::Expression("Unexpected end of input".into()),
                }),
                FormFault::Refused(Fault::said("", "this is said")),
            ]
        },
        workloads: vec![
            ("wl_1".into(), "handbook".into()),
            ("wl_2".into(), "shop".into()),
        ],
        kinds: ::runs::kinds()
            .iter()
            .map(|kind| (kind.name, kind.title))
            .collect(),
        payload: None,
    }
}

/// The same for a run, whose payload is in fields.
fn binding_of_run() -> BindingFormPage {
    let kind = ::runs::kind("task-terraform").expect("a kind");
    let fields = fields(&(kind.schema)());
    let payload = json!({
        "action": "plan", "state": "network", "time_limit_secs": "{{ event.data.secs }}",
        "source": {"workspace": "infrastructure", "folder": "network", "commit": "{{ event.data.after }}"},
        "environment": {"REGION": "north"},
    });
    let written = split(&fields, payload.as_object().expect("an object"));
    let mut page = binding(kind.name);
    page.wrong.clear();
    page.form.payload_of = kind.name.into();
    page.payload = Some((fields, written));
    page
}

fn tried(events: Option<Vec<TriedEvent>>) -> DryRunPage {
    DryRunPage {
        trigger: (trigger_id(), "site-pushes".into()),
        last: 20,
        delivery: None,
        pasted: ("dev.switchyard.git.pushed.v1".into(), "{}".into()),
        wrong: Vec::new(),
        events,
        may_operate: true,
    }
}

fn tried_event() -> TriedEvent {
    let clause = |actual: &str, held| Clause {
        name: "branch".into(),
        expected: "main".into(),
        actual: Some(actual.into()),
        held,
    };
    TriedEvent {
        kind: "git.pushed".into(),
        subject: Some("refs/heads/main".into()),
        delivery: Some((DeliveryId::from(id(2)), ago(600))),
        rows: vec![
            TriedRow {
                binding: "№ 1".into(),
                id: binding_id(1),
                target: Target::Workload(handbook()),
                matched: true,
                clauses: vec![clause("main", true)],
                payload: Some("{\n  \"workload\": \"wl_1\"\n}".into()),
            },
            TriedRow {
                binding: "№ 2".into(),
                id: binding_id(2),
                target: Target::Task("report".into()),
                matched: false,
                clauses: vec![clause("dev", false)],
                payload: None,
            },
        ],
    }
}

fn compared(body: BodyChange) -> DiffPage {
    DiffPage {
        first: (id(1).into(), ago(900)),
        second: (id(2).into(), ago(60)),
        headers: vec![ChangeRow {
            at: "x-gitea-delivery".into(),
            before: Some("1".into()),
            after: None,
        }],
        body,
    }
}

fn bulk() -> BulkPage {
    BulkPage {
        said: vec!["verdict=accepted".into(), "trigger=site-pushes".into()],
        action: "/deliveries/replay?verdict=accepted".into(),
        back_href: "/deliveries?verdict=accepted".into(),
        bindings: vec![(binding_id(1), "№ 1 → handbook".into())],
    }
}

pub(super) fn pages(reader: &Reader) -> Vec<(&'static str, Markup)> {
    let empty = TriggersPage {
        rows: Vec::new(),
        ..list()
    };
    let wrong = vec![FormFault::NoName, FormFault::Taken];
    vec![
        ("triggers", triggers::triggers(reader, &list())),
        ("triggers-empty", triggers::triggers(reader, &empty)),
        ("trigger", triggers::trigger(reader, &one(None))),
        (
            "trigger-secret",
            triggers::trigger(
                reader,
                &one(Some(Shown::Secret(
                    "q8Zl0cJx2TnV5bYwR7eK1mHs9dPf3aGu".into(),
                ))),
            ),
        ),
        (
            "trigger-url",
            triggers::trigger(
                reader,
                &one(Some(Shown::Url(
                    "https://hooks.example.org/trg_1/q8Zl0cJx2TnV5bYwR7eK1mHs9dPf3aGu".into(),
                ))),
            ),
        ),
        (
            "trigger-unwatched",
            triggers::trigger(
                reader,
                &TriggerPage {
                    watch: Some(super::declared::watch_panel(false)),
                    ..one(None)
                },
            ),
        ),
        ("trigger-clock", triggers::trigger(reader, &clock())),
        (
            "trigger-form",
            trigger_form::trigger_form(reader, &form(ConfigAs::Fields, wrong)),
        ),
        (
            "trigger-form-json",
            trigger_form::trigger_form(reader, &form(ConfigAs::Json, Vec::new())),
        ),
        (
            "trigger-form-registry",
            trigger_form::trigger_form(reader, &of_kind(TriggerKind::Registry)),
        ),
        (
            "trigger-form-schedule",
            trigger_form::trigger_form(reader, &of_kind(TriggerKind::Schedule)),
        ),
        (
            "trigger-form-event",
            trigger_form::trigger_form(reader, &of_kind(TriggerKind::Event)),
        ),
        (
            "binding-form",
            trigger_form::binding_form(reader, &binding("")),
        ),
        (
            "binding-form-new",
            trigger_form::binding_form(
                reader,
                &BindingFormPage {
                    form: BindingForm {
                        workload: NEW_WORKLOAD.into(),
                        new_config: "{}".into(),
                        ..BindingForm::default()
                    },
                    ..binding("")
                },
            ),
        ),
        (
            "binding-form-workload",
            trigger_form::binding_form(
                reader,
                &BindingFormPage {
                    changes: Some(binding_id(1)),
                    ..binding("")
                },
            ),
        ),
        (
            "binding-form-task",
            trigger_form::binding_form(reader, &binding("report")),
        ),
        (
            "binding-form-run",
            trigger_form::binding_form(reader, &binding_of_run()),
        ),
        ("deliveries-replay", again::bulk(reader, &bulk())),
        (
            "delivery-diff-same",
            again::diff(reader, &compared(BodyChange::Same)),
        ),
        (
            "delivery-diff-bytes",
            again::diff(reader, &compared(BodyChange::Bytes(12))),
        ),
        (
            "delivery-diff",
            again::diff(
                reader,
                &compared(BodyChange::Json(
                    vec![ChangeRow {
                        at: "/commits/0/id".into(),
                        before: Some("\"a\"".into()),
                        after: Some("\"b\"".into()),
                    }],
                    true,
                )),
            ),
        ),
        ("dry-run", dry_run::dry_run(reader, &tried(None))),
        (
            "dry-run-done",
            dry_run::dry_run(reader, &tried(Some(vec![tried_event()]))),
        ),
        (
            "dry-run-nothing",
            dry_run::dry_run(reader, &tried(Some(Vec::new()))),
        ),
    ]
}
