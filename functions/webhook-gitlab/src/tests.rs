use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::Scheme;
use model::git::ChangedPaths;
use serde_json::{Value, json};
use webhook::conformance::{self, Dialect, RECEIVED_AT, SECRET};
use webhook::{Normalised, Parsed};

use super::*;

const ID: &str = "f5e5f430-f57b-4e6e-9fac-d9128cd7232f";

/// Spaces are underscores in the names of fixtures.
pub(crate) const TOKEN_SENT: Dialect = Dialect {
    headers: |event| {
        vec![
            ("x-gitlab-event", event.replace('_', " ")),
            (
                "x-gitlab-instance",
                "https://gitlab.example.test".to_owned(),
            ),
            ("idempotency-key", ID.to_owned()),
        ]
    },
    proof: |secret, _| vec![("x-gitlab-token", secret.to_owned())],
    signs_body: false,
    form_signs: None,
};

/// The secret of these tests is no base64, and so the key itself.
pub(crate) const SIGNED: Dialect = Dialect {
    proof: |secret, body| {
        let at = RECEIVED_AT.timestamp();
        let mut signed = format!("{ID}.{at}.").into_bytes();
        signed.extend_from_slice(body);
        let digits = hex::decode(conformance::digits(secret, &signed)).expect("digits");
        vec![
            ("webhook-id", ID.to_owned()),
            ("webhook-timestamp", at.to_string()),
            (
                "webhook-signature",
                format!("v1,{}", STANDARD.encode(digits)),
            ),
        ]
    },
    signs_body: true,
    ..TOKEN_SENT
};

mod token {
    use super::*;
    webhook::conformance!(Gitlab, TOKEN_SENT, "testdata");
}

mod signed {
    use super::*;
    webhook::conformance!(Gitlab, SIGNED, "testdata");
}

fn push() -> Value {
    serde_json::from_str(include_str!("../testdata/Push_Hook.branch.json")).expect("a fixture")
}

fn parsed(event: &str, payload: &Value) -> Result<Parsed, ParseError> {
    conformance::parse::<Gitlab>(TOKEN_SENT, event, payload.to_string().as_bytes())
}

fn verified(
    dialect: Dialect,
    change: impl Fn(&mut http::HeaderMap),
) -> Result<Which, BadSignature> {
    let body = push().to_string();
    let mut headers = conformance::signed(dialect, "Push Hook", body.as_bytes());
    change(&mut headers);
    let delivery = Delivery::new(headers, body.into(), RECEIVED_AT);
    delivery
        .verify::<Gitlab>(&conformance::secrets())
        .map(|(_, which)| which)
}

#[test]
fn a_good_token_does_not_rescue_a_bad_signature() {
    let token = || SECRET.parse().expect("a header's value");
    let both = verified(SIGNED, |headers| {
        headers.insert("x-gitlab-token", token());
    });
    assert_eq!(both, Ok(Which::Current));
    let bad = verified(SIGNED, |headers| {
        headers.insert("x-gitlab-token", token());
        headers.insert("webhook-signature", "v1,AAAA".parse().expect("a value"));
    });
    assert!(bad.is_err(), "{bad:?}");
}

#[test]
fn a_trigger_that_asks_for_a_signature_takes_no_token() {
    let scheme: Scheme = serde_json::from_value(json!({"kind": "standard"})).expect("a scheme");
    let body = push().to_string();
    let headers = conformance::signed(TOKEN_SENT, "Push Hook", body.as_bytes());
    let delivery = Delivery::new(headers, body.into(), RECEIVED_AT);
    let secrets = conformance::secrets().with_scheme(Some(scheme));
    assert!(delivery.verify::<Gitlab>(&secrets).is_err());
}

#[test]
fn a_signature_is_good_for_five_minutes() {
    for (timestamp, good) in [
        (RECEIVED_AT.timestamp() - 299, true),
        (RECEIVED_AT.timestamp() - 360, false),
        (RECEIVED_AT.timestamp() + 360, false),
        (-1, false),
    ] {
        let body = push().to_string();
        let mut headers = conformance::signed(SIGNED, "Push Hook", body.as_bytes());
        let mut signed = format!("{ID}.{timestamp}.").into_bytes();
        signed.extend_from_slice(body.as_bytes());
        let digits = hex::decode(conformance::digits(SECRET, &signed)).expect("digits");
        let signature = format!("v1,{}", STANDARD.encode(digits));
        headers.insert("webhook-timestamp", timestamp.into());
        headers.insert("webhook-signature", signature.parse().expect("a value"));
        let delivery = Delivery::new(headers, body.into(), RECEIVED_AT);
        let held = delivery.verify::<Gitlab>(&conformance::secrets()).is_ok();
        assert_eq!(held, good, "{timestamp}");
    }
}

#[test]
fn the_delivery_is_named_by_what_a_retry_repeats() {
    let body = push().to_string();
    let mut headers = conformance::signed(TOKEN_SENT, "Push Hook", body.as_bytes());
    headers.insert("x-gitlab-event-uuid", "other".parse().expect("a value"));
    let delivery = Delivery::new(headers, body.into(), RECEIVED_AT);
    let (verified, _) = delivery
        .verify::<Gitlab>(&conformance::secrets())
        .expect("it is signed");
    let labels = Gitlab::labels(&verified);
    assert_eq!(labels.key.as_deref(), Some(ID));
    assert_eq!(labels.event.as_deref(), Some("Push Hook"));
}

#[test]
fn fewer_commits_than_there_were_leave_the_paths_unknown() {
    let mut cut = push();
    let paths = |payload: &Value| match parsed("Push Hook", payload).expect("a push") {
        Parsed::Events(mut events) => match events.pop() {
            Some(Normalised::Pushed(pushed)) => pushed.changed_paths,
            other => panic!("not a push: {other:?}"),
        },
        other => panic!("not a push: {other:?}"),
    };
    assert!(matches!(paths(&cut), ChangedPaths::Known { .. }));
    cut["total_commits_count"] = json!(3);
    let reason = "2 of the push's 3 commits are listed".to_owned();
    assert_eq!(paths(&cut), ChangedPaths::Unknown { reason });
    cut["total_commits_count"] = Value::Null;
    assert!(matches!(paths(&cut), ChangedPaths::Unknown { .. }));
}

#[test]
fn the_body_of_another_sender_is_refused() {
    let github = json!({
        "ref": "refs/heads/main", "before": "1".repeat(40), "after": "2".repeat(40),
        "created": false, "deleted": false, "forced": false, "commits": [],
        "repository": {"full_name": "team/site"}, "pusher": {"name": "ann"},
    });
    let error = parsed("Push Hook", &github).expect_err("a body of GitHub");
    assert!(error.to_string().contains("object_kind"), "{error}");
}

#[test]
fn a_bad_field_is_named_with_what_is_expected() {
    for (pointer, bad, said) in [
        ("/after", json!("HEAD"), "after: \"HEAD\" is not a commit"),
        ("/object_kind", json!("../../x"), "is not a word"),
        (
            "/project/path_with_namespace",
            json!("../x"),
            "project.path_with_namespace: \"../x\" is not the path",
        ),
    ] {
        let mut payload = push();
        *payload.pointer_mut(pointer).expect("the fixture has it") = bad;
        let error = parsed("Push Hook", &payload)
            .expect_err("a bad field")
            .to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn a_merge_request_of_an_old_version_names_its_project_as_the_target() {
    let fixture = include_str!("../testdata/Merge_Request_Hook.fork.json");
    let mut payload: Value = serde_json::from_str(fixture).expect("a fixture");
    let told = |payload: &Value| parsed("Merge Request Hook", payload);
    let project = payload["project"].take();
    payload["object_attributes"]["target"] = project;
    let whole = serde_json::from_str(fixture).expect("a fixture");
    let (old, new) = (told(&payload), told(&whole));
    let repository = |parsed: Result<Parsed, ParseError>| match parsed.expect("a change") {
        Parsed::Events(mut events) => match events.pop() {
            Some(Normalised::Changed(change)) => change.repository,
            other => panic!("not a change: {other:?}"),
        },
        other => panic!("not a change: {other:?}"),
    };
    assert_eq!(repository(old), repository(new));
    payload["object_attributes"]["target"] = Value::Null;
    let error = told(&payload).expect_err("no project").to_string();
    assert!(error.contains("project: is missing"), "{error}");
}
