//! The pages about what people declare beside triggers, with sample data.

use std::collections::BTreeMap;

use ::log_rules::Trial;
use chrono::TimeDelta;
use maud::Markup;
use model::{JobId, Severity, TriggerKind};
use store::credentials::CredentialState;

use super::triggers::trigger_id;
use super::{ago, handbook, id, now};
use crate::views::declared_form::declared_form;
use crate::views::model::*;
use crate::views::{log_rules, notify};

pub(super) fn watch_panel(is_watched: bool) -> WatchPanel {
    let seen = |name: &str, by_look, silent| SeenRow {
        name: name.into(),
        state: super::COMMIT.into(),
        by_look,
        at: ago(400),
        silent_at: bool::then(silent, || ago(300)),
    };
    WatchPanel {
        trigger: trigger_id(),
        watch: is_watched.then(|| WatchShown {
            place: "https://git.example.org/acme/a-repository-with-a-rather-long-name.git".into(),
            credential: Some("git (git.example.org)".into()),
            interval_secs: 300,
            names: vec!["refs/heads/**".into(), "refs/tags/**".into()],
            looked_at: Some(ago(200)),
            next_at: now() + TimeDelta::seconds(100),
            problem: Some(("the server answered 503".into(), 3)),
            found: 12,
            seen: vec![
                seen("refs/heads/main", true, true),
                seen(
                    "refs/heads/release/2026-11-a-rather-long-branch-name",
                    false,
                    false,
                ),
            ],
        }),
    }
}

fn log_link() -> Link {
    Link {
        name: "on-panic".into(),
        href: format!("/triggers/{}", trigger_id()),
    }
}

fn rule(number: u128, name: &str, severity: Severity) -> LogRuleRow {
    LogRuleRow {
        id: id(number),
        name: name.into(),
        pattern: r"panicked at (?<place>\S+)".into(),
        severity,
        workload: (number == 2).then(handbook),
        trigger: (number == 1).then(log_link),
        enabled: number != 3,
    }
}

fn recorded() -> Vec<RecordedRow> {
    let row = |severity, message: &str, by_rule: bool| RecordedRow {
        at: ago(90),
        severity,
        source: "cron-logs".into(),
        message: message.into(),
        rule: by_rule.then(|| Link {
            name: "panics".into(),
            href: format!("/log-rules/{}", id(1)),
        }),
        workload: Some(handbook()),
        job: Some(JobId(48_213)),
        data: by_rule.then(|| "{\n  \"place\": \"src/<script>alert(1)</script>.rs:7\"\n}".into()),
    };
    vec![
        row(
            Severity::Error,
            "panicked at src/main.rs:7:9 <script>alert(1)</script>",
            true,
        ),
        row(Severity::Warning, "disk is nearly full", false),
        row(Severity::Info, "a revision was kept", false),
        row(Severity::Debug, "looked", false),
    ]
}

fn log_rule(may_edit: bool) -> LogRulePage {
    let count = |workload, dropped| CountRow {
        workload,
        matched: 12_345,
        told: 40,
        cooled: 12_000,
        dropped,
        fired: 2,
        matched_at: Some(ago(60)),
    };
    LogRulePage {
        row: rule(1, "panics", Severity::Error),
        streams: vec!["task".into(), "stderr".into()],
        cooldown_secs: 60,
        overrides: vec![
            OverrideRow {
                workload_id: "wl_1".into(),
                workload: handbook(),
                enabled: false,
                severity: None,
                cooldown_secs: None,
            },
            OverrideRow {
                workload_id: "wl_2".into(),
                workload: handbook(),
                enabled: true,
                severity: Some("info".into()),
                cooldown_secs: Some(600),
            },
        ],
        workloads: vec![("wl_1".into(), "handbook".into())],
        counts: vec![count(Some(handbook()), 305), count(None, 0)],
        recorded: recorded(),
        may_edit,
    }
}

fn event_log(rows: Vec<RecordedRow>) -> EventLogPage {
    EventLogPage {
        is_first: rows.is_empty(),
        next_href: (!rows.is_empty()).then(|| "/event-log?before=1_2".into()),
        rows,
        rules: vec![(id(1).to_string(), "panics".into())],
        rule: id(1).to_string(),
        workloads: vec![("wl_1".into(), "handbook".into())],
        workload: String::new(),
        severity: "warning".into(),
        first_href: "/event-log?severity=warning".into(),
    }
}

fn endpoint_row(number: u128, state: EndpointState) -> EndpointRow {
    EndpointRow {
        id: id(number),
        name: format!("chat-of-the-team-{number}"),
        host: "chat.example.org".into(),
        format: if number == 1 { "standard" } else { "slack" }.into(),
        state,
        delivered_at: (number < 3).then(|| ago(500)),
    }
}

fn gone() -> EndpointState {
    EndpointState::GivenUp(
        Some(ago(7_200)),
        "it answered 410: nobody wants its messages any more".into(),
    )
}

fn chat() -> Link {
    Link {
        name: "chat".into(),
        href: format!("/notification-endpoints/{}", id(1)),
    }
}

fn notification_rules() -> Vec<NotificationRuleRow> {
    vec![
        NotificationRuleRow {
            id: id(31),
            name: "dead jobs".into(),
            endpoint: chat(),
            wants: vec![
                "dev.switchyard.job.*".into(),
                "severity ≥ warning".into(),
                "event.data.state == 'dead'".into(),
            ],
            enabled: true,
        },
        NotificationRuleRow {
            id: id(32),
            name: "all".into(),
            endpoint: chat(),
            wants: vec!["*".into()],
            enabled: false,
        },
    ]
}

fn message_row(number: u128, state: MessageState) -> MessageRow {
    MessageRow {
        id: id(number),
        created_at: ago(400),
        endpoint: chat(),
        event: "job.dead".into(),
        state,
        attempts: i32::try_from(number).unwrap_or_default() - 40,
        next_at: (state == MessageState::Pending).then(|| now() + TimeDelta::seconds(50)),
    }
}

fn message_rows() -> Vec<MessageRow> {
    vec![
        message_row(41, MessageState::Delivered),
        message_row(42, MessageState::Pending),
        message_row(45, MessageState::Failed),
    ]
}

fn notify_page(endpoints: Vec<EndpointRow>) -> NotifyPage {
    NotifyPage {
        rules: if endpoints.is_empty() {
            Vec::new()
        } else {
            notification_rules()
        },
        endpoints,
        may_edit: true,
    }
}

fn endpoint(state: EndpointState, shown: Option<&str>) -> EndpointPage {
    EndpointPage {
        row: endpoint_row(1, state),
        previous_until: shown.map(|_| now() + TimeDelta::hours(20)),
        shown: shown.map(str::to_owned),
        rules: notification_rules(),
        messages: message_rows(),
        may_edit: true,
    }
}

fn message() -> MessagePage {
    let send = |number, status, said: Option<&str>| SendRow {
        number,
        at: ago(300),
        status,
        said: said.map(str::to_owned),
        took_ms: 1_240,
    };
    MessagePage {
        row: message_row(42, MessageState::Pending),
        message_id: "msg_01934c1a7e1070008000000000000042".into(),
        event_id: "evt_1".into(),
        rule: Some("dead jobs".into()),
        repeats: Some(id(41)),
        body: "{\n  \"text\": \"<script>alert(1)</script>\"\n}".into(),
        attempts: vec![
            send(1, None, Some("the connection was refused")),
            send(2, Some(500), Some("<html>oops</html>")),
            send(3, Some(204), None),
        ],
        may_operate: true,
    }
}

fn credential(state: CredentialState, problem: Option<&str>) -> CredentialRow {
    CredentialRow {
        name: "git".into(),
        kind: "git".into(),
        host: "git.example.org".into(),
        username: if problem.is_some() { "" } else { "robot" }.into(),
        state,
        problem: problem.map(str::to_owned),
        checked_at: (state != CredentialState::Unchecked).then(|| ago(300)),
        ends_at: (state == CredentialState::Ending).then(|| now() + TimeDelta::days(3)),
        uses: if problem.is_some() {
            Vec::new()
        } else {
            vec!["workspace network".into(), "trigger site".into()]
        },
    }
}

fn form(what: Declared, wrong: Vec<FormFault>) -> DeclaredFormPage {
    let field = |name: &str, text: &str| (format!("config.{name}"), text.to_owned());
    let config_as = if wrong.is_empty() {
        ConfigAs::Fields
    } else {
        ConfigAs::Json
    };
    DeclaredFormPage {
        what,
        changes: (!wrong.is_empty()).then(|| "panics".into()),
        crumbs: vec![Link {
            name: "panics".into(),
            href: "/log-rules".into(),
        }],
        action: "/log-rules".into(),
        leave_href: "/log-rules".into(),
        picks: vec![
            ("workload", vec![("wl_1".into(), "handbook".into())]),
            ("endpoint", vec![(id(1).to_string(), "chat".into())]),
        ],
        form: DeclaredForm {
            config_as,
            config_json: "{\n  \"name\": \"panics\"\n}".into(),
            sample: "all is well\npanicked at src/main.rs:7:9".into(),
            fields: BTreeMap::from([
                field("name", "panics"),
                field("pattern", r"panicked at (?<place>\S+)"),
                field("severity", "error"),
                field("enabled", "on"),
                field("credential", "one-that-is-not-offered"),
            ]),
            ..DeclaredForm::default()
        },
        wrong,
        trial: None,
    }
}

fn tried() -> DeclaredFormPage {
    let pattern = r"panicked at (?<place>\S+)".parse().expect("a pattern");
    DeclaredFormPage {
        trial: Some(Trial::of(
            &pattern,
            "all is well\npanicked at src/main.rs:7:9",
        )),
        ..form(Declared::LogRule { is_there: false }, Vec::new())
    }
}

pub(super) fn pages(reader: &Reader) -> Vec<(&'static str, Markup)> {
    let rules = LogRulesPage {
        rows: vec![
            rule(1, "panics", Severity::Error),
            rule(
                2,
                "slow-answers-of-a-site-with-a-rather-long-name",
                Severity::Warning,
            ),
            rule(3, "old", Severity::Debug),
        ],
        may_edit: true,
    };
    let no_rules = LogRulesPage {
        rows: Vec::new(),
        may_edit: true,
    };
    let bare = LogRulePage {
        overrides: Vec::new(),
        counts: Vec::new(),
        recorded: Vec::new(),
        ..log_rule(false)
    };
    let endpoints = vec![
        endpoint_row(1, EndpointState::Well),
        endpoint_row(2, EndpointState::Failing(ago(3_700))),
        endpoint_row(3, gone()),
        endpoint_row(4, EndpointState::Off),
    ];
    let messages = |rows: Vec<MessageRow>| MessagesPage {
        is_first: false,
        next_href: Some("/notifications?before=1_2".into()),
        rows,
        endpoints: vec![(id(1).to_string(), "chat".into())],
        endpoint: id(1).to_string(),
        first_href: "/notifications".into(),
    };
    let said = vec![FormFault::Said("pattern: the pattern is too large".into())];
    let unsent = MessagePage {
        attempts: Vec::new(),
        ..message()
    };
    vec![
        ("log-rules", log_rules::log_rules(reader, &rules)),
        ("log-rules-empty", log_rules::log_rules(reader, &no_rules)),
        ("log-rule", log_rules::log_rule(reader, &log_rule(true))),
        ("log-rule-new-one", log_rules::log_rule(reader, &bare)),
        (
            "event-log",
            log_rules::event_log(reader, &event_log(recorded())),
        ),
        (
            "event-log-empty",
            log_rules::event_log(reader, &event_log(Vec::new())),
        ),
        ("notify", notify::notify(reader, &notify_page(endpoints))),
        (
            "notify-empty",
            notify::notify(reader, &notify_page(Vec::new())),
        ),
        (
            "endpoint",
            notify::endpoint(reader, &endpoint(EndpointState::Well, None)),
        ),
        (
            "endpoint-secret",
            notify::endpoint(
                reader,
                &endpoint(
                    EndpointState::Off,
                    Some("whsec_q8Zl0cJx2TnV5bYwR7eK1mHs9dPf3aGu"),
                ),
            ),
        ),
        (
            "endpoint-failing",
            notify::endpoint(reader, &endpoint(EndpointState::Failing(ago(9_000)), None)),
        ),
        (
            "endpoint-gone",
            notify::endpoint(reader, &endpoint(gone(), None)),
        ),
        (
            "notifications",
            notify::messages(reader, &messages(message_rows())),
        ),
        (
            "notifications-empty",
            notify::messages(reader, &messages(Vec::new())),
        ),
        ("notification", notify::message(reader, &message())),
        ("notification-unsent", notify::message(reader, &unsent)),
        (
            "credentials",
            notify::credentials(
                reader,
                &[
                    credential(CredentialState::Good, None),
                    credential(CredentialState::Bad, Some("it was refused with 401")),
                    credential(CredentialState::Ending, None),
                    credential(CredentialState::Unsure, Some("nobody answered")),
                    credential(CredentialState::Unchecked, None),
                ],
            ),
        ),
        ("credentials-empty", notify::credentials(reader, &[])),
        ("log-rule-form", declared_form(reader, &tried())),
        (
            "log-rule-form-wrong",
            declared_form(reader, &form(Declared::LogRule { is_there: true }, said)),
        ),
        (
            "endpoint-form",
            declared_form(reader, &form(Declared::Endpoint, Vec::new())),
        ),
        (
            "notification-rule-form",
            declared_form(reader, &form(Declared::NotificationRule, Vec::new())),
        ),
        (
            "watch-form-git",
            declared_form(reader, &form(Declared::Watch(TriggerKind::Git), Vec::new())),
        ),
        (
            "watch-form-registry",
            declared_form(
                reader,
                &form(Declared::Watch(TriggerKind::Registry), Vec::new()),
            ),
        ),
    ]
}
