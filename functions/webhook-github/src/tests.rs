use model::git::ChangedPaths;
use serde_json::{Value, json};
use webhook::conformance::{self, Dialect};
use webhook::{Normalised, Signed};

use super::*;

pub(crate) const DIALECT: Dialect = Dialect {
    headers: |event| {
        vec![
            ("x-github-event", event.to_owned()),
            (
                "x-github-delivery",
                "72d3162e-cc78-11e3-81ab-4c9367dc0958".to_owned(),
            ),
        ]
    },
    proof: |secret, signed| {
        let digits = conformance::digits(secret, signed);
        vec![("x-hub-signature-256", format!("sha256={digits}"))]
    },
    signs_body: true,
    form_signs: Some(Signed::Body),
};

webhook::conformance!(Github, DIALECT, "testdata");

fn push() -> Value {
    serde_json::from_str(include_str!("../testdata/push.branch.json")).expect("a fixture")
}

fn parsed(payload: &Value) -> Result<Parsed, ParseError> {
    conformance::parse::<Github>(DIALECT, "push", payload.to_string().as_bytes())
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

#[test]
fn a_list_cut_by_github_leaves_the_paths_unknown() {
    let mut many = push();
    let commit = many["commits"][0].clone();
    many["commits"] = vec![commit; 2_048].into();
    let reason = "GitHub lists at most 2048 commits of a push".to_owned();
    assert_eq!(changed_paths(&many), ChangedPaths::Unknown { reason });

    let mut wide = push();
    wide["commits"][0]["added"] = (0..3_000).map(|n| format!("{n}")).collect();
    let reason = "GitHub lists at most 3000 paths of a commit".to_owned();
    assert_eq!(changed_paths(&wide), ChangedPaths::Unknown { reason });
}

#[test]
fn the_body_of_another_sender_is_refused() {
    let mut gitea = push();
    for field in ["created", "deleted", "forced"] {
        gitea.as_object_mut().expect("an object").remove(field);
    }
    gitea["pusher"] = json!({"login": "ann"});
    let error = parsed(&gitea).expect_err("a body of Gitea").to_string();
    assert!(error.contains("missing field"), "{error}");

    let gitlab = json!({
        "object_kind": "push",
        "ref": "refs/heads/main",
        "before": "1111111111111111111111111111111111111111",
        "after": "2222222222222222222222222222222222222222",
        "user_username": "ann",
        "project": {"path_with_namespace": "team/site"},
        "commits": [],
    });
    let error = parsed(&gitlab).expect_err("a body of GitLab").to_string();
    assert!(error.contains("missing field"), "{error}");
}

#[test]
fn the_headers_of_another_sender_are_refused() {
    const AS_GITEA: Dialect = Dialect {
        headers: |event| {
            let mut headers = (DIALECT.headers)(event);
            headers.push(("x-gitea-event", event.to_owned()));
            headers
        },
        ..DIALECT
    };
    let refused = conformance::parse::<Github>(AS_GITEA, "push", push().to_string().as_bytes());
    let claimed = model::Vendor::Gitea;
    assert_eq!(
        refused,
        Err(ParseError::OtherVendor {
            claimed,
            here: "github"
        })
    );
}

#[test]
fn a_bad_field_is_named_with_what_is_expected() {
    for (pointer, bad, said) in [
        ("/after", json!("HEAD"), "after: \"HEAD\" is not a commit"),
        (
            "/ref",
            json!("main"),
            "ref: \"main\" is not the full name of a reference",
        ),
        (
            "/commits/0/message",
            json!("a\u{0}b"),
            "commits[0].message: a text has a NUL",
        ),
        ("/commits/0/id", json!(7), "commits[0].id: invalid type"),
        (
            "/repository/full_name",
            json!(""),
            "repository.full_name: is empty",
        ),
    ] {
        let mut payload = push();
        *payload.pointer_mut(pointer).expect("the fixture has it") = bad;
        let error = parsed(&payload).expect_err("a bad field").to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn an_unknown_event_is_ignored_but_must_be_json() {
    let ignored = conformance::parse::<Github>(DIALECT, "star", b"{}");
    let reason = "unhandled event \"star\"".to_owned();
    assert_eq!(ignored, Ok(Parsed::Ignored { reason }));
    let refused = conformance::parse::<Github>(DIALECT, "star", b"{");
    assert!(matches!(refused, Err(ParseError::Malformed { .. })));
}

#[test]
fn a_dispatch_may_be_called_anything_and_other_events_may_not() {
    let body = json!({"action": "deploy to production!", "branch": "main", "client_payload": {}});
    let body = body.to_string();
    let told = |event: &str| conformance::parse::<Github>(DIALECT, event, body.as_bytes());
    let ignored = told("repository_dispatch");
    assert!(matches!(ignored, Ok(Parsed::Ignored { .. })), "{ignored:?}");
    let refused = told("star");
    assert!(
        matches!(refused, Err(ParseError::Malformed { .. })),
        "{refused:?}"
    );
}
