use model::git::ChangedPaths;
use serde_json::{Value, json};
use webhook::conformance::{self, Dialect};
use webhook::{Normalised, Signed};

use super::*;

const ID: &str = "72d3162e-cc78-11e3-81ab-4c9367dc0958";

/// Forgejo and Gitea send the headers of those that came before them, too.
pub(crate) const GOGS: Dialect = Dialect {
    headers: |event| {
        vec![
            ("x-gogs-event", event.to_owned()),
            ("x-gogs-delivery", ID.to_owned()),
        ]
    },
    proof: |secret, signed| vec![("x-gogs-signature", conformance::digits(secret, signed))],
    signs_body: true,
    form_signs: Some(Signed::Payload),
};

pub(crate) const GITEA: Dialect = Dialect {
    headers: |event| {
        let mut headers = (GOGS.headers)(event);
        headers.extend([
            ("x-gitea-event", event.to_owned()),
            ("x-gitea-delivery", ID.to_owned()),
            ("x-github-event", event.to_owned()),
            ("x-github-delivery", ID.to_owned()),
        ]);
        headers
    },
    proof: |secret, signed| {
        let mut proof = (GOGS.proof)(secret, signed);
        let digits = conformance::digits(secret, signed);
        proof.extend([
            ("x-gitea-signature", digits.clone()),
            ("x-hub-signature", "sha1=".to_owned()),
            ("x-hub-signature-256", format!("sha256={digits}")),
        ]);
        proof
    },
    ..GOGS
};

pub(crate) const FORGEJO: Dialect = Dialect {
    headers: |event| {
        let mut headers = (GITEA.headers)(event);
        headers.extend([
            ("x-forgejo-event", event.to_owned()),
            ("x-forgejo-delivery", ID.to_owned()),
        ]);
        headers
    },
    proof: |secret, signed| {
        let mut proof = (GITEA.proof)(secret, signed);
        proof.push(("x-forgejo-signature", conformance::digits(secret, signed)));
        proof
    },
    ..GOGS
};

mod gitea {
    use super::*;
    webhook::conformance!(Gitea, GITEA, "testdata/gitea");
}

mod forgejo {
    use super::*;
    webhook::conformance!(Gitea, FORGEJO, "testdata/forgejo");
}

mod gogs {
    use super::*;
    webhook::conformance!(Gitea, GOGS, "testdata/gogs");
}

fn push() -> Value {
    serde_json::from_str(include_str!("../testdata/gitea/push.branch.json")).expect("a fixture")
}

fn parsed(payload: &Value) -> Result<Parsed, ParseError> {
    conformance::parse::<Gitea>(GITEA, "push", payload.to_string().as_bytes())
}

fn changed_paths(payload: &Value) -> ChangedPaths {
    match parsed(payload).expect("a push") {
        Parsed::Events(mut events) => match events.pop() {
            Some(Normalised::Pushed(pushed)) => pushed.changed_paths,
            other => panic!("not a push: {other:?}"),
        },
        other => panic!("not a push: {other:?}"),
    }
}

fn unknown(reason: &str) -> ChangedPaths {
    let reason = reason.to_owned();
    ChangedPaths::Unknown { reason }
}

#[test]
fn fewer_commits_than_there_were_leave_the_paths_unknown() {
    let mut cut = push();
    cut["total_commits"] = json!(7);
    assert_eq!(
        changed_paths(&cut),
        unknown("1 of the push's 7 commits are listed")
    );

    let mut silent = push();
    silent
        .as_object_mut()
        .expect("an object")
        .remove("total_commits");
    assert!(matches!(changed_paths(&silent), ChangedPaths::Known { .. }));
    let commit = silent["commits"][0].clone();
    silent["commits"] = vec![commit; 5].into();
    let reason = "5 commits are listed, and not how many there were";
    assert_eq!(changed_paths(&silent), unknown(reason));
}

#[test]
fn a_new_branch_leaves_the_paths_unknown() {
    let mut new = push();
    new["before"] = json!("0".repeat(40));
    let reason = "of a new branch the last commits are listed, whoever pushed them";
    assert_eq!(changed_paths(&new), unknown(reason));
}

#[test]
fn no_list_of_commits_is_an_empty_one() {
    let mut none = push();
    none["commits"] = Value::Null;
    assert_eq!(changed_paths(&none), unknown("the push lists no commits"));
}

fn read(dialect: Dialect, event: &str, payload: &Value) -> Parsed {
    let text = payload.to_string();
    conformance::parse::<Gitea>(dialect, event, text.as_bytes()).expect("it is read")
}

#[test]
fn a_tag_of_gogs_is_told_also_without_its_commit() {
    let tag = include_str!("../testdata/gogs/create.tag.json");
    let mut tag: Value = serde_json::from_str(tag).expect("a fixture");
    for sha in [json!(""), Value::Null] {
        tag["sha"] = sha;
        let Parsed::Events(events) = read(GOGS, "create", &tag) else {
            panic!("it is an event");
        };
        let [Normalised::Tagged(told)] = &events[..] else {
            panic!("{events:?}");
        };
        assert!(told.head_unknown);
        assert_eq!(told.action(), RefAction::Created);
        // Of Gitea a push tells the same.
        let Parsed::Events(events) = read(GITEA, "create", &tag) else {
            panic!("it is an event");
        };
        let [Normalised::Tagged(told)] = &events[..] else {
            panic!("{events:?}");
        };
        assert!(!told.head_unknown && told.announced.is_some());
    }
    tag["sha"] = json!("main");
    let bad = conformance::parse::<Gitea>(GOGS, "create", tag.to_string().as_bytes());
    assert!(bad.expect_err("no commit").to_string().contains("sha"));
}

#[test]
fn what_does_not_say_what_happened_is_ignored() {
    let release = include_str!("../testdata/gogs/release.published.json");
    let mut release: Value = serde_json::from_str(release).expect("a fixture");
    release.as_object_mut().expect("an object").remove("action");
    assert!(matches!(
        read(GOGS, "release", &release),
        Parsed::Ignored { .. }
    ));
}

#[test]
fn a_remark_below_a_pull_request_is_no_review() {
    let review = include_str!("../testdata/gitea/pull_request_approved.reviewed.json");
    let mut comment: Value = serde_json::from_str(review).expect("a fixture");
    let event = "pull_request_comment";
    assert!(matches!(read(GITEA, event, &comment), Parsed::Events(_)));
    comment
        .as_object_mut()
        .expect("an object")
        .remove("pull_request");
    let text = comment.to_string();
    let neither = conformance::parse::<Gitea>(GITEA, event, text.as_bytes());
    assert!(neither.is_err());
    comment["issue"] = json!({"number": 7});
    assert!(matches!(
        read(GITEA, event, &comment),
        Parsed::Ignored { .. }
    ));
}

#[test]
fn the_body_of_github_is_refused() {
    let mut github = push();
    github["pusher"] = json!({"name": "ann", "email": "ann@example.test"});
    let error = parsed(&github).expect_err("a body of GitHub").to_string();
    assert!(error.contains("pusher: missing field `login`"), "{error}");
}

#[test]
fn a_bad_signature_of_forgejo_is_not_rescued_by_a_good_one_of_gitea() {
    for bad in ["", &"0".repeat(64)] {
        let payload = push().to_string();
        let mut headers = conformance::signed(FORGEJO, "push", payload.as_bytes());
        headers.insert(
            "x-forgejo-signature",
            bad.parse().expect("a header's value"),
        );
        let delivery = Delivery::new(headers, payload.into(), conformance::RECEIVED_AT);
        assert!(
            delivery.verify::<Gitea>(&conformance::secrets()).is_err(),
            "{bad:?}"
        );
    }
}

#[test]
fn who_pushed_may_be_called_by_a_username_and_by_no_less() {
    let pusher = |pusher: Value| {
        let mut payload = push();
        payload["pusher"] = pusher;
        let body = payload.to_string();
        conformance::parse::<Gitea>(GOGS, "push", body.as_bytes())
    };
    let Parsed::Events(events) = pusher(json!({"name": "Ann", "username": "ann"})).expect("a push")
    else {
        panic!("a push");
    };
    let [Normalised::Pushed(told)] = &events[..] else {
        panic!("a push: {events:?}");
    };
    assert_eq!(told.pusher.as_deref(), Some("ann"));
    // As GitHub has it.
    let error = pusher(json!({"name": "ann", "email": "ann@example.test"}));
    let error = error.expect_err("a body of GitHub").to_string();
    assert!(error.contains("missing field `login`"), "{error}");
}
