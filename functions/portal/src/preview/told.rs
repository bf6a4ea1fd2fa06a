//! Pages of what people are told of.

use maud::Markup;
use serde_json::json;
use store::log_rules::{LogRule, Recorded, RuleCounts};
use store::notifications::{Attempt, Endpoint, Notification, NotificationRule};

use super::{ago, id};
use crate::views::model::Reader;
use crate::views::told::{LogRulesPage, NotificationsPage, log_rules, message, notifications};

fn endpoint(number: u128, failing: bool) -> Endpoint {
    Endpoint {
        id: id(number),
        name: format!("chat-{number}"),
        url:
            "https://chat.example.org/hooks/a-rather-long-path-that-must-wrap-somewhere-on-a-phone"
                .into(),
        format: "slack".into(),
        enabled: !failing,
        disabled_why: failing.then(|| "it answered 410 Gone".into()),
        disabled_at: failing.then(|| ago(60)),
        failing_since: (number == 2).then(|| ago(7_000)),
        delivered_at: (number == 1).then(|| ago(90)),
        secret_previous_until: None,
        created_at: ago(90_000),
    }
}

fn sent(number: u128, state: &str) -> Notification {
    Notification {
        id: id(100 + number),
        endpoint: id(1),
        message_id: "msg_0193".into(),
        rule: Some(id(50)),
        event_id: "evt_1".into(),
        event_type: "dev.switchyard.job.finished.v1".into(),
        redelivery_of: (number == 2).then(|| id(101)),
        state: state.into(),
        attempts: 3,
        next_at: (state == "pending").then(|| ago(-40)),
        created_at: ago(200),
        ended_at: None,
    }
}

fn page(full: bool) -> NotificationsPage {
    if !full {
        return NotificationsPage {
            endpoints: Vec::new(),
            rules: Vec::new(),
            messages: Vec::new(),
            older_href: None,
        };
    }
    NotificationsPage {
        endpoints: vec![endpoint(1, false), endpoint(2, false), endpoint(3, true)],
        rules: vec![NotificationRule {
            id: id(50),
            endpoint: id(1),
            name: "failed deploys".into(),
            types: vec!["dev.switchyard.job.*".into()],
            severity: Some("error".into()),
            source: None,
            contains: Some("</script>".into()),
            condition: Some(
                json!({"language": "cel", "expression": "event.data.task == \"task-static\""}),
            ),
            enabled: true,
        }],
        messages: vec![sent(1, "delivered"), sent(2, "pending"), sent(3, "failed")],
        older_href: Some("/notifications?at=2026-11-21T12:00:00Z&id=1".into()),
    }
}

fn attempt(number: i32, status: Option<i32>) -> Attempt {
    Attempt {
        number,
        at: ago(100),
        status,
        excerpt: status.map(|_| "no_service\u{1b}[31m</script>".into()),
        problem: status
            .is_none()
            .then(|| "it did not answer within 10 s".into()),
        took_ms: 412,
    }
}

fn rules(full: bool) -> LogRulesPage {
    if !full {
        return LogRulesPage {
            rules: Vec::new(),
            recorded: Vec::new(),
        };
    }
    let rule = LogRule {
        id: id(60),
        workload: None,
        name: "out of memory".into(),
        pattern: r"(?i)\boom-?killed\b".into(),
        severity: "error".into(),
        streams: vec!["stderr".into()],
        cooldown_secs: 300,
        trigger: None,
        enabled: true,
        overrides: Vec::new(),
        created_at: ago(90_000),
        changed_at: ago(90_000),
    };
    let counts = RuleCounts {
        workload: None,
        matched: 1_204,
        told: 7,
        cooled: 1_197,
        dropped: 0,
        fired: 0,
        told_at: Some(ago(500)),
        matched_at: Some(ago(20)),
    };
    let row = |severity: &str| Recorded {
        id: id(70),
        at: ago(20),
        severity: severity.into(),
        source: "log-rule".into(),
        message: "OOMKilled\u{202e} </script>".into(),
        workload: None,
        job: Some(model::JobId(48_213)),
        trigger: None,
        rule: Some(id(60)),
        data: json!({}),
    };
    LogRulesPage {
        rules: vec![(rule, vec![counts])],
        recorded: vec![row("error"), row("warning"), row("info")],
    }
}

pub(super) fn pages(reader: &Reader) -> Vec<(&'static str, Markup)> {
    let attempts = [attempt(1, None), attempt(2, Some(503))];
    vec![
        ("notifications", notifications(reader, &page(true))),
        ("notifications-empty", notifications(reader, &page(false))),
        (
            "notification",
            message(
                reader,
                &sent(2, "failed"),
                "{\"text\": \"</script>\"}",
                &attempts,
            ),
        ),
        ("log-rules", log_rules(reader, &rules(true))),
        ("log-rules-empty", log_rules(reader, &rules(false))),
    ]
}
