use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::*;

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no object"),
    }
}

fn event(ty: EventType, data: &Value) -> Event {
    Event {
        id: Uuid::from_u128(1).into(),
        ty: ty.as_str().to_owned(),
        source: "/switchyard/triggers/trg_1".to_owned(),
        subject: None,
        data: data.to_string(),
        correlation_id: "dlv_1".to_owned(),
        depth: 0,
        only_binding: None,
        job: None,
        untrusted: false,
    }
}

fn trigger(kind: &str, config: Value) -> Trigger {
    Trigger {
        id: Uuid::from_u128(3).into(),
        kind: kind.to_owned(),
        config: map(config),
        condition: None,
        enabled: true,
    }
}

fn deploys(filter: Value) -> Binding {
    Binding {
        id: Uuid::from_u128(4).into(),
        filter: map(filter),
        condition: None,
        enabled: true,
        target: Target::Workload {
            id: Uuid::from_u128(5).into(),
            source: "static".to_owned(),
            overrides: Map::new(),
        },
    }
}

fn runs(payload: Value) -> Binding {
    Binding {
        target: Target::Task {
            task: "build".to_owned(),
            payload,
            queue_name: None,
            key: None,
            priority: 0,
        },
        ..deploys(json!({}))
    }
}

fn cel(expression: &str) -> Option<Value> {
    Some(json!({"language": "cel", "expression": expression}))
}

fn one(event: &Event, trigger: &Trigger, binding: Binding) -> Decision {
    decide(event, trigger, &[binding])
        .pop()
        .expect("there is one binding")
}

/// The clause that failed with what it compared, or nothing when the binding matched.
fn failed(event: &Event, trigger: &Trigger, binding: Binding) -> Option<(Clause, String, String)> {
    match one(event, trigger, binding) {
        Decision::Matched { .. } => None,
        Decision::Unmatched { failed, .. } => Some((failed.clause, failed.expected, failed.actual)),
    }
}

fn started(event: &Event, trigger: &Trigger, binding: Binding) -> Start {
    match one(event, trigger, binding) {
        Decision::Matched { start, .. } => start,
        Decision::Unmatched { failed, .. } => panic!("it matches: {failed:?}"),
    }
}

fn push(branch: &str, paths: Option<&[&str]>) -> Value {
    json!({
        "vendor": "gitea",
        "repository": { "path": "acme/site" },
        "ref_name": format!("refs/heads/{branch}"),
        "branch": branch,
        "before": null,
        "after": "a".repeat(40),
        "changed_paths": paths.map_or_else(
            || json!({ "are": "unknown", "reason": "truncated" }),
            |paths| json!({ "are": "known", "paths": paths }),
        ),
    })
}

fn tag(name: &str) -> Value {
    json!({
        "vendor": "github", "repository": { "path": "acme/site" },
        "ref_name": format!("refs/tags/{name}"), "tag": name, "before": null, "after": "b".repeat(40),
    })
}

fn change(with: Value) -> Value {
    let mut change = map(json!({
        "vendor": "github", "repository": { "path": "acme/site" }, "number": 7, "action": "opened",
        "vendor_action": "opened", "title": "Add pages", "head": { "branch": "pages", "sha": "c".repeat(40) },
        "base": { "branch": "main" }, "from_fork": false,
    }));
    change.extend(map(with));
    Value::Object(change)
}

fn release(with: Value) -> Value {
    let mut release = map(json!({
        "vendor": "gitea", "repository": { "path": "acme/site" }, "action": "published", "tag": "v1.2.0",
    }));
    release.extend(map(with));
    Value::Object(release)
}

fn pipeline(with: Value) -> Value {
    let mut run = map(json!({
        "vendor": "gitlab", "repository": { "path": "acme/site" }, "kind": "pipeline", "run": "99", "name": "build",
        "outcome": "succeeded", "vendor_outcome": "success", "ref_short": "main", "from_fork": false,
    }));
    run.extend(map(with));
    Value::Object(run)
}

fn image(with: Value) -> Value {
    let mut image =
        map(json!({"registry": "registry.example.com", "repository": "team/app", "tag": "v1.2.3"}));
    image.extend(map(with));
    json!({ "vendor": "harbor", "image": image })
}

/// Kind, type, data and filter, and the clause that fails.
type Case = (EventType, Value, Value, Option<Clause>);

fn table(kind: &str, cases: Vec<Case>) {
    for (ty, data, config, clause) in cases {
        let shown = format!("{kind} {config} on {data}");
        let decided = failed(
            &event(ty, &data),
            &trigger(kind, config),
            deploys(json!({})),
        );
        assert_eq!(
            decided.as_ref().map(|it| it.0),
            clause,
            "{shown}: {decided:?}"
        );
    }
}

#[test]
fn git_looks_at_pushes_and_tags() {
    use EventType::{GitBranchCreated, GitPushed, GitTagged, ImagePushed, JobFinished};
    let mut deleted = push("main", None);
    deleted["after"] = Value::Null;
    let mut unknown = deleted.clone();
    unknown["head_unknown"] = json!(true);
    let mut announced = tag("v1");
    announced["announced"] = json!("created");
    let mut announced_alone = announced.clone();
    announced_alone["after"] = Value::Null;
    announced_alone["head_unknown"] = json!(true);
    let mut skipping = push("main", None);
    skipping["skip_asked"] = json!(true);
    table(
        "git",
        vec![
            (GitTagged, announced_alone, json!({"tags": ["v*"]}), None),
            (GitPushed, push("main", None), json!({}), None),
            (
                GitPushed,
                push("main", None),
                json!({"repository": "acme/*"}),
                None,
            ),
            (
                GitPushed,
                push("main", None),
                json!({"repository": "other/*"}),
                Some(Clause::Repository),
            ),
            (
                GitPushed,
                push("x", None),
                json!({"branches": ["main", "release/*"]}),
                Some(Clause::Branch),
            ),
            (
                GitPushed,
                push("release/1", None),
                json!({"branches": ["main", "release/*"]}),
                None,
            ),
            (
                GitPushed,
                push("main", None),
                json!({"tags": ["v*"]}),
                Some(Clause::Branch),
            ),
            (
                GitPushed,
                push("main", None),
                json!({"changes": {}}),
                Some(Clause::Branch),
            ),
            (
                GitPushed,
                push("main", None),
                json!({"changes": {}, "branches": ["**"]}),
                None,
            ),
            (
                GitPushed,
                push("main", Some(&["src/a.rs"])),
                json!({"paths": ["docs/**"]}),
                Some(Clause::Paths),
            ),
            (
                GitPushed,
                push("main", Some(&["docs/a/b.md"])),
                json!({"paths": ["docs/**"]}),
                None,
            ),
            (
                GitPushed,
                push("main", Some(&[])),
                json!({"paths": ["docs/**"]}),
                Some(Clause::Paths),
            ),
            (
                GitPushed,
                push("main", None),
                json!({"paths": ["docs/**"]}),
                None,
            ),
            (GitPushed, deleted, json!({}), Some(Clause::Deleted)),
            (GitPushed, unknown, json!({"branches": ["main"]}), None),
            (GitPushed, skipping.clone(), json!({}), Some(Clause::Skip)),
            (GitPushed, skipping, json!({"ignore_skip": true}), None),
            (
                GitPushed,
                push("main", None),
                json!({"branchs": ["main"]}),
                Some(Clause::Config),
            ),
            (
                GitPushed,
                push("main", None),
                json!({"labels": ["new"]}),
                None,
            ),
            (GitTagged, tag("v1"), json!({}), Some(Clause::Tag)),
            (GitTagged, tag("v1"), json!({"tags": ["v*"]}), None),
            (
                GitTagged,
                tag("v1"),
                json!({"tags": ["v2.*"]}),
                Some(Clause::Tag),
            ),
            (
                GitTagged,
                announced,
                json!({"tags": ["v*"]}),
                Some(Clause::EventType),
            ),
            (
                GitBranchCreated,
                push("main", None),
                json!({}),
                Some(Clause::EventType),
            ),
            (
                ImagePushed,
                image(json!({})),
                json!({}),
                Some(Clause::EventType),
            ),
            (JobFinished, json!({}), json!({}), Some(Clause::EventType)),
            (
                GitPushed,
                json!({"branch": 7}),
                json!({}),
                Some(Clause::EventType),
            ),
        ],
    );
}

#[test]
fn git_looks_at_changes_only_where_they_are_asked_for() {
    use EventType::{GitChangeMerged, GitChangeOpened};
    table(
        "git",
        vec![
            (
                GitChangeOpened,
                change(json!({})),
                json!({}),
                Some(Clause::EventType),
            ),
            (
                GitChangeOpened,
                change(json!({})),
                json!({"changes": {}}),
                None,
            ),
            (
                GitChangeOpened,
                change(json!({"action": "edited"})),
                json!({"changes": {}}),
                Some(Clause::Action),
            ),
            (
                GitChangeMerged,
                change(json!({"action": "merged"})),
                json!({"changes": {"actions": ["merged"]}}),
                None,
            ),
            (
                GitChangeOpened,
                change(json!({})),
                json!({"changes": {"base": ["release/*"]}}),
                Some(Clause::Base),
            ),
            (
                GitChangeOpened,
                change(json!({"from_fork": true})),
                json!({"changes": {}}),
                Some(Clause::Fork),
            ),
            (
                GitChangeOpened,
                change(json!({"from_fork": true})),
                json!({"changes": {"forks": true}}),
                None,
            ),
            (
                GitChangeOpened,
                change(json!({"draft": true})),
                json!({"changes": {}}),
                Some(Clause::Draft),
            ),
            (
                GitChangeOpened,
                change(json!({"draft": true})),
                json!({"changes": {"drafts": true}}),
                None,
            ),
            (
                GitChangeOpened,
                change(json!({"skip_asked": true})),
                json!({"changes": {}}),
                Some(Clause::Skip),
            ),
        ],
    );
}

#[test]
fn git_looks_at_releases_and_pipelines_only_where_they_are_asked_for() {
    use EventType::{GitReleased, PipelineFinished};
    let semver = json!({"releases": {"tags": [{"semver": ">=1, <2"}]}});
    table(
        "git",
        vec![
            (
                GitReleased,
                release(json!({})),
                json!({}),
                Some(Clause::EventType),
            ),
            (
                GitReleased,
                release(json!({})),
                json!({"releases": {}}),
                None,
            ),
            (
                GitReleased,
                release(json!({"action": "created"})),
                json!({"releases": {}}),
                Some(Clause::Action),
            ),
            (GitReleased, release(json!({})), semver.clone(), None),
            (
                GitReleased,
                release(json!({"tag": "v2.0.0"})),
                semver,
                Some(Clause::Tag),
            ),
            (
                GitReleased,
                release(json!({"draft": true})),
                json!({"releases": {}}),
                Some(Clause::Draft),
            ),
            (
                GitReleased,
                release(json!({"prerelease": true})),
                json!({"releases": {}}),
                Some(Clause::Draft),
            ),
            (
                GitReleased,
                release(json!({"prerelease": true})),
                json!({"releases": {"prereleases": true}}),
                None,
            ),
            (
                PipelineFinished,
                pipeline(json!({})),
                json!({}),
                Some(Clause::EventType),
            ),
            (
                PipelineFinished,
                pipeline(json!({})),
                json!({"pipelines": {}}),
                None,
            ),
            (
                PipelineFinished,
                pipeline(json!({"kind": "check"})),
                json!({"pipelines": {}}),
                Some(Clause::Pipeline),
            ),
            (
                PipelineFinished,
                pipeline(json!({})),
                json!({"pipelines": {"names": ["test"]}}),
                Some(Clause::Pipeline),
            ),
            (
                PipelineFinished,
                pipeline(json!({})),
                json!({"pipelines": {"refs": ["next"]}}),
                Some(Clause::Branch),
            ),
            (
                PipelineFinished,
                pipeline(json!({"outcome": "failed"})),
                json!({"pipelines": {}}),
                Some(Clause::Outcome),
            ),
            (
                PipelineFinished,
                pipeline(json!({"from_fork": true})),
                json!({"pipelines": {}}),
                Some(Clause::Fork),
            ),
        ],
    );
}

#[test]
fn registry_looks_at_images_with_a_tag() {
    use EventType::{GitPushed, ImageDeleted, ImagePushed};
    table(
        "registry",
        vec![
            (ImagePushed, image(json!({})), json!({}), None),
            (
                ImagePushed,
                image(json!({})),
                json!({"image": "team/*"}),
                None,
            ),
            (
                ImagePushed,
                image(json!({})),
                json!({"image": "team/other"}),
                Some(Clause::Image),
            ),
            (
                ImagePushed,
                image(json!({})),
                json!({"image": "registry.example.com/team/app"}),
                None,
            ),
            (
                ImagePushed,
                image(json!({})),
                json!({"image": "other.example.com/team/app"}),
                Some(Clause::Image),
            ),
            (
                ImagePushed,
                image(json!({"registry": null})),
                json!({"image": "r.example.com/team/app"}),
                Some(Clause::Image),
            ),
            (
                ImagePushed,
                image(json!({"tag": null})),
                json!({}),
                Some(Clause::Tag),
            ),
            (
                ImagePushed,
                image(json!({})),
                json!({"tags": ["v1.*"]}),
                None,
            ),
            (
                ImagePushed,
                image(json!({})),
                json!({"tags": ["latest", {"semver": "^1.2"}]}),
                None,
            ),
            (
                ImagePushed,
                image(json!({})),
                json!({"tags": [{"semver": "^2"}]}),
                Some(Clause::Tag),
            ),
            (
                ImagePushed,
                image(json!({})),
                json!({"tags": [{"regex": "^v\\d"}]}),
                None,
            ),
            (
                ImagePushed,
                image(json!({})),
                json!({"platform": "linux/arm64"}),
                None,
            ),
            (
                ImagePushed,
                image(json!({"platforms": ["linux/amd64"]})),
                json!({"platform": "linux/arm64"}),
                Some(Clause::Platform),
            ),
            (
                ImageDeleted,
                image(json!({})),
                json!({}),
                Some(Clause::Deleted),
            ),
            (
                GitPushed,
                push("main", None),
                json!({}),
                Some(Clause::EventType),
            ),
        ],
    );
}

#[test]
fn webhook_looks_at_the_name_and_at_values_of_what_came_in() {
    use EventType::{GitPushed, WebhookReceived};
    let body = json!({
        "vendor": "generic", "attributes": {"type": "order.placed"},
        "data": {"action": "opened", "n": 3, "ok": true, "order": {"state": "paid"}, "none": null},
    });
    let cases = [
        (json!({}), None),
        (json!({"events": ["order.*"]}), None),
        (json!({"events": ["invoice.*"]}), Some(Clause::EventName)),
        (
            json!({"fields": {"action": "open*", "n": 3, "ok": true}}),
            None,
        ),
        (json!({"fields": {"action": ["closed", "opened"]}}), None),
        (json!({"fields": {"action": "closed"}}), Some(Clause::Field)),
        (json!({"fields": {"n": "3"}}), Some(Clause::Field)),
        (json!({"fields": {"ok": false}}), Some(Clause::Field)),
        (json!({"fields": {"/order/state": "paid"}}), None),
        (
            json!({"fields": {"/order/state": "open"}}),
            Some(Clause::Field),
        ),
        (json!({"fields": {"missing": "x"}}), Some(Clause::Field)),
        (json!({"fields": {"missing": null, "none": null}}), None),
    ];
    table(
        "webhook",
        cases
            .into_iter()
            .map(|(config, clause)| (WebhookReceived, body.clone(), config, clause))
            .collect(),
    );
    table(
        "webhook",
        vec![(
            GitPushed,
            push("main", None),
            json!({"events": ["git.pushed"], "fields": {"branch": "main"}}),
            None,
        )],
    );
}

#[test]
fn what_comes_from_a_fork_matches_only_where_it_is_asked_for() {
    use EventType::{GitChangeOpened, PipelineFinished};
    let forked = || change(json!({"from_fork": true}));
    let ran = || pipeline(json!({"from_fork": true}));
    let both = json!({"fields": {"from_fork": [true, false]}});
    let opened = json!({"exact": {"type": GitChangeOpened.as_str()}});
    table(
        "webhook",
        vec![
            (GitChangeOpened, change(json!({})), json!({}), None),
            (GitChangeOpened, forked(), json!({}), Some(Clause::Fork)),
            (GitChangeOpened, forked(), both.clone(), None),
            (
                GitChangeOpened,
                forked(),
                json!({"fields": {"/from_fork": true}}),
                None,
            ),
            (
                GitChangeOpened,
                forked(),
                json!({"fields": {"from_fork": false}}),
                Some(Clause::Field),
            ),
            (PipelineFinished, ran(), json!({}), Some(Clause::Fork)),
            (PipelineFinished, ran(), both.clone(), None),
        ],
    );
    table(
        "event",
        vec![
            (GitChangeOpened, change(json!({})), opened.clone(), None),
            (GitChangeOpened, forked(), opened, Some(Clause::Fork)),
            (PipelineFinished, ran(), json!({}), Some(Clause::Fork)),
        ],
    );

    let start = started(
        &event(GitChangeOpened, &forked()),
        &trigger("webhook", both.clone()),
        runs(json!({"number": "{{ event.data.number }}"})),
    );
    assert_eq!(start.payload, json!({"number": 7, "untrusted": true}));
    let own = event(GitChangeOpened, &change(json!({})));
    let start = started(&own, &trigger("webhook", both), runs(json!({})));
    assert_eq!(start.payload, json!({}));
    // What others sent in their own words is theirs to name.
    let body = json!({"vendor": "generic", "attributes": {}, "data": {"from_fork": true}});
    let theirs = event(EventType::WebhookReceived, &body);
    let start = started(&theirs, &trigger("webhook", json!({})), runs(json!({})));
    assert_eq!(start.payload, json!({}));
}

#[test]
fn what_the_log_of_an_untrusted_job_starts_is_untrusted() {
    let matched = json!({"rule": "disk-full", "severity": "error", "job": 7});
    let mut matched = event(EventType::LogMatched, &matched);
    let start = |event: &Event| started(event, &trigger("log", json!({})), runs(json!({})));
    assert_eq!(start(&matched).payload, json!({}));
    matched.untrusted = true;
    assert_eq!(start(&matched).payload, json!({"untrusted": true}));
}

#[test]
fn schedule_manual_and_log_look_at_their_own_events_alone() {
    use EventType::{GitPushed, LogMatched, ManualRequested, ScheduleFired};
    let fired = json!({"schedule": 1, "tick": "2026-01-01T00:00:00Z"});
    let matched = json!({"rule": "disk-full", "severity": "error"});
    table(
        "schedule",
        vec![
            (
                ScheduleFired,
                fired.clone(),
                json!({"rule": "* * * * *"}),
                None,
            ),
            (
                GitPushed,
                push("main", None),
                json!({"rule": "* * * * *"}),
                Some(Clause::EventType),
            ),
        ],
    );
    table(
        "manual",
        vec![
            (ManualRequested, json!({}), json!({}), None),
            (ScheduleFired, fired, json!({}), Some(Clause::EventType)),
        ],
    );
    table(
        "log",
        vec![
            (LogMatched, matched.clone(), json!({}), None),
            (
                LogMatched,
                matched.clone(),
                json!({"rules": ["disk-*"], "severities": ["error"]}),
                None,
            ),
            (
                LogMatched,
                matched.clone(),
                json!({"rules": ["cpu-*"]}),
                Some(Clause::Rule),
            ),
            (
                LogMatched,
                matched,
                json!({"severities": ["info"]}),
                Some(Clause::Severity),
            ),
            (
                ManualRequested,
                json!({}),
                json!({"rules": ["cpu-*"]}),
                None,
            ),
        ],
    );
}

#[test]
fn event_looks_at_attributes_of_what_others_sent_and_of_our_own() {
    use EventType::{JobFinished, WebhookReceived};
    let sent = json!({
        "vendor": "cloudevents",
        "attributes": {"type": "com.example.placed", "source": "/shop/1", "id": "7", "retries": 2},
        "data": {"type": "no attribute"},
    });
    table(
        "event",
        vec![
            (WebhookReceived, sent.clone(), json!({}), None),
            (
                WebhookReceived,
                sent.clone(),
                json!({"exact": {"type": "com.example.placed"}}),
                None,
            ),
            (
                WebhookReceived,
                sent.clone(),
                json!({"exact": {"type": "com.example"}}),
                Some(Clause::Attribute),
            ),
            (
                WebhookReceived,
                sent.clone(),
                json!({"prefix": {"source": "/shop/"}}),
                None,
            ),
            (
                WebhookReceived,
                sent.clone(),
                json!({"suffix": {"source": "/2"}}),
                Some(Clause::Attribute),
            ),
            (
                WebhookReceived,
                sent.clone(),
                json!({"exact": {"retries": "2"}}),
                Some(Clause::Attribute),
            ),
            (
                WebhookReceived,
                sent.clone(),
                json!({"exact": {"tenant": "x"}}),
                Some(Clause::Attribute),
            ),
            (
                WebhookReceived,
                sent,
                json!({"exact": {"data": "x"}}),
                Some(Clause::Attribute),
            ),
            (
                JobFinished,
                json!({"job": 1}),
                json!({"exact": {"type": "dev.switchyard.job.finished.v1"}}),
                None,
            ),
        ],
    );
}

#[test]
fn the_first_clause_that_fails_decides_and_says_what_it_compared() {
    let event = event(
        EventType::GitPushed,
        &push("feature/x", Some(&["README.md"])),
    );
    let config =
        json!({ "repository": "acme/*", "branches": ["main", "release/*"], "paths": ["docs/**"] });
    assert_eq!(
        failed(&event, &trigger("git", config), deploys(json!({}))),
        Some((Clause::Branch, "main, release/*".into(), "feature/x".into()))
    );
}

#[test]
fn what_held_is_told_with_what_it_compared() {
    let config = json!({ "repository": "acme/*", "branches": ["main"], "paths": ["docs/**"] });
    let event = event(
        EventType::GitPushed,
        &push("main", Some(&["docs/a.md", "src/b.rs"])),
    );
    let Decision::Matched { held, .. } = one(&event, &trigger("git", config), deploys(json!({})))
    else {
        panic!("it matches");
    };
    let told: Vec<_> = held
        .iter()
        .map(|held| (held.clause, &*held.expected, &*held.actual))
        .collect();
    assert_eq!(
        told,
        [
            (Clause::Repository, "acme/*", "acme/site"),
            (Clause::Branch, "main", "main"),
            (Clause::Paths, "docs/**", "docs/a.md"),
        ]
    );
}

#[test]
fn a_binding_overrides_its_trigger_key_by_key() {
    let event = event(EventType::GitPushed, &push("release", None));
    let main = trigger("git", json!({ "branches": ["main"] }));
    let clause = |filter| failed(&event, &main, deploys(filter)).map(|it| it.0);
    assert_eq!(clause(json!({})), Some(Clause::Branch));
    assert_eq!(clause(json!({ "branches": ["release"] })), None);
    assert_eq!(clause(json!({ "branches": null })), None);
    assert_eq!(
        clause(json!({ "branches": ["release"], "repository": "other/site" })),
        Some(Clause::Repository)
    );
}

#[test]
fn a_tag_that_is_told_of_beside_its_push_says_so() {
    let mut data = tag("v1");
    data["announced"] = json!("created");
    assert_eq!(
        failed(
            &event(EventType::GitTagged, &data),
            &trigger("git", json!({"tags": ["v*"]})),
            deploys(json!({}))
        ),
        Some((
            Clause::EventType,
            "the push of a tag".into(),
            "github tells of tag v1 beside its push".into()
        ))
    );
}

#[test]
fn what_is_switched_off_too_deep_or_of_a_new_kind_starts_nothing() {
    let pushed = event(EventType::GitPushed, &push("main", None));
    let on = trigger("git", json!({}));
    let clause =
        |event: &Event, trigger: &Trigger, binding| failed(event, trigger, binding).map(|it| it.0);
    let off = Trigger {
        enabled: false,
        ..on.clone()
    };
    assert_eq!(
        clause(&pushed, &off, deploys(json!({}))),
        Some(Clause::Enabled)
    );
    let off = Binding {
        enabled: false,
        ..deploys(json!({}))
    };
    assert_eq!(clause(&pushed, &on, off), Some(Clause::Enabled));
    let deep = Event {
        depth: DEPTH_MAX + 1,
        ..pushed.clone()
    };
    assert_eq!(clause(&deep, &on, deploys(json!({}))), Some(Clause::Depth));
    assert_eq!(
        clause(
            &pushed,
            &trigger("telepathy", json!({})),
            deploys(json!({}))
        ),
        Some(Clause::Config)
    );
}

#[test]
fn only_the_binding_that_is_meant_is_asked() {
    let other = Binding {
        id: Uuid::from_u128(9).into(),
        ..deploys(json!({}))
    };
    let mut replay = event(EventType::GitPushed, &push("main", None));
    replay.only_binding = Some(other.id);
    let decisions = decide(
        &replay,
        &trigger("git", json!({})),
        &[deploys(json!({})), other.clone()],
    );
    assert_eq!(
        decisions.iter().map(Decision::binding).collect::<Vec<_>>(),
        [other.id]
    );
}

#[test]
fn who_asks_by_hand_has_decided() {
    let asked = event(
        EventType::ManualRequested,
        &json!({"actor": "Ada", "inputs": {"env": "test"}}),
    );
    let git = Trigger {
        condition: cel("event.data.branch == 'main'"),
        ..trigger("git", json!({"branches": ["x"]}))
    };
    assert_eq!(failed(&asked, &git, deploys(json!({}))), None);
    let manual = Trigger {
        condition: cel("event.data.inputs.env == 'live'"),
        ..trigger("manual", json!({}))
    };
    assert_eq!(
        failed(&asked, &manual, deploys(json!({}))).map(|it| it.0),
        Some(Clause::Condition)
    );
    let start = started(
        &asked,
        &trigger("manual", json!({})),
        runs(json!({"env": "{{ event.data.inputs.env }}"})),
    );
    assert_eq!(start.payload, json!({"env": "test"}));
}

#[test]
fn both_conditions_must_be_true_and_an_error_is_told() {
    let pushed = event(EventType::GitPushed, &push("main", None));
    let of = |condition: &str| Trigger {
        condition: cel(condition),
        ..trigger("git", json!({}))
    };
    let bound = |condition: &str| Binding {
        condition: cel(condition),
        ..deploys(json!({}))
    };
    let main = "event.data.branch == 'main'";
    assert_eq!(failed(&pushed, &of(main), bound("event.depth == 0")), None);
    let (clause, expected, actual) =
        failed(&pushed, &of(main), bound("event.depth > 0")).expect("no match");
    assert_eq!((clause, &*actual), (Clause::Condition, "false"));
    assert_eq!(expected, "the binding's condition: event.depth > 0");
    for (bad, part) in [
        ("event.data.nothing == 1", "nothing"),
        ("event.data.branch", "neither true nor false"),
        ("((((", "CEL"),
    ] {
        let (clause, _, actual) = failed(&pushed, &of(bad), deploys(json!({}))).expect("no match");
        assert_eq!(clause, Clause::Condition, "{bad}");
        assert!(actual.contains(part), "{bad}: {actual}");
    }
    let newer = Trigger {
        condition: Some(json!({"language": "cesql", "expression": "x"})),
        ..trigger("git", json!({}))
    };
    assert_eq!(
        failed(&pushed, &newer, deploys(json!({}))).map(|it| it.0),
        Some(Clause::Condition)
    );
}

#[test]
fn a_workload_is_deployed_one_at_a_time_and_the_newest_wins() {
    let start = started(
        &event(EventType::GitPushed, &push("main", None)),
        &trigger("git", json!({})),
        deploys(json!({})),
    );
    let workload = WorkloadId::from(Uuid::from_u128(5));
    assert_eq!(start.task, "task-static");
    assert_eq!(start.queue_name, Some(workload_queue(workload)));
    assert_eq!(start.key, Some(deploy_key(workload)));
    let payload: WorkloadJob = serde_json::from_value(start.payload).expect("a payload");
    assert_eq!(
        payload.action,
        WorkloadAction::Deploy {
            asked: "a".repeat(40).parse().ok()
        }
    );
    assert!(!payload.untrusted);
}

#[test]
fn what_comes_from_a_fork_says_so_and_never_takes_the_place_of_what_does_not() {
    let fork = event(
        EventType::GitChangeOpened,
        &change(json!({"from_fork": true})),
    );
    let git = trigger("git", json!({"changes": {"forks": true}}));
    let start = started(&fork, &git, deploys(json!({})));
    assert_eq!(start.payload["untrusted"], true);
    assert_ne!(start.key, Some(deploy_key(Uuid::from_u128(5).into())));
    let keyed = Binding {
        target: Target::Task {
            task: "build".to_owned(),
            // Who writes the payload cannot say otherwise.
            payload: json!({"untrusted": false, "number": "{{ event.data.number }}"}),
            queue_name: None,
            key: Some("change-{{ event.data.number }}".to_owned()),
            priority: 3,
        },
        ..deploys(json!({}))
    };
    let start = started(&fork, &git, keyed);
    assert_eq!(start.payload, json!({"untrusted": true, "number": 7}));
    assert_eq!(start.key.as_deref(), Some("untrusted:change-7"));
    assert_eq!(start.priority, 3);
    let (clause, ..) = failed(&fork, &git, runs(json!(["a list"]))).expect("it cannot say so");
    assert_eq!(clause, Clause::Payload);
}

#[test]
fn a_payload_that_cannot_be_made_starts_nothing_and_says_why() {
    let pushed = event(EventType::GitPushed, &push("main", None));
    let git = trigger("git", json!({}));
    for (payload, part) in [
        (json!({"a": "{{ event.data.nothing }}"}), "/a: "),
        (
            json!({"a": "{% for x in range(10000) %}{% endfor %}"}),
            "/a: ",
        ),
        (json!({"a": "{% include 'b' %}"}), "include"),
    ] {
        let (clause, expected, actual) = failed(&pushed, &git, runs(payload)).expect("no match");
        assert_eq!(
            (clause, &*expected),
            (Clause::Payload, "a payload for build")
        );
        assert!(actual.contains(part), "{actual}");
    }
    let long = Binding {
        target: Target::Task {
            task: "build".to_owned(),
            payload: json!({}),
            queue_name: Some("{{ event.data.after }}{{ event.data.after }}{{ event.data.after }}{{ event.data.after }}".to_owned()),
            key: None,
            priority: 0,
        },
        ..deploys(json!({}))
    };
    let (_, _, actual) = failed(&pushed, &git, long).expect("the name is too long");
    assert!(actual.contains("126"), "{actual}");
}

#[test]
fn conditions_that_take_long_cost_one_event_no_more_than_its_time() {
    let many: Vec<u32> = (0..3_000).collect();
    let received = json!({"vendor": "generic", "data": {"list": many}});
    let bomb = cel("event.data.list.all(a, event.data.list.all(b, event.data == event.data))");
    let bindings: Vec<Binding> = (0..50)
        .map(|n| Binding {
            id: Uuid::from_u128(100 + n).into(),
            condition: bomb.clone(),
            ..deploys(json!({}))
        })
        .collect();
    let begun = Instant::now();
    let decisions = decide(
        &event(EventType::WebhookReceived, &received),
        &trigger("webhook", json!({})),
        &bindings,
    );
    assert_eq!(decisions.len(), 50);
    assert!(decisions.iter().all(
        |it| matches!(it, Decision::Unmatched { failed, .. } if failed.clause == Clause::Condition)
    ));
    assert!(begun.elapsed() < TIME_MAX * 2, "{:?}", begun.elapsed());
}
