use model::Vendor as Sender;
use serde_json::json;
use webhook::Parsed;
use webhook::conformance::{self, Dialect, RECEIVED_AT};

use super::*;

const ID: &str = "72d3162e-cc78-11e3-81ab-4c9367dc0958";

/// Colons are two underscores in the names of fixtures.
pub(crate) const CLOUD: Dialect = Dialect {
    headers: |event| {
        vec![
            ("x-event-key", event.replace("__", ":")),
            ("x-hook-uuid", ID.to_owned()),
            ("x-request-uuid", ID.to_owned()),
            ("x-attempt-number", "1".to_owned()),
        ]
    },
    proof: |secret, signed| {
        let digits = conformance::digits(secret, signed);
        vec![("x-hub-signature", format!("sha256={digits}"))]
    },
    signs_body: true,
    form_signs: None,
};

pub(crate) const DATA_CENTER: Dialect = Dialect {
    headers: |event| {
        vec![
            ("x-event-key", event.replace("__", ":")),
            ("x-request-id", ID.to_owned()),
        ]
    },
    ..CLOUD
};

mod of_cloud {
    use super::*;
    webhook::conformance!(Bitbucket, CLOUD, "testdata/cloud");
}

mod of_data_center {
    use super::*;
    webhook::conformance!(Bitbucket, DATA_CENTER, "testdata/data_center");
}

#[test]
fn links_that_are_null_and_a_name_that_is_no_slug_are_read() {
    let recorded = include_str!("../testdata/data_center/pr__reviewer__approved.reviewer.json");
    let mut payload: serde_json::Value = serde_json::from_str(recorded).expect("a fixture");
    let nothing = json!({"self": [null]});
    payload["actor"]["name"] = "Ann".into();
    for place in [
        "/pullRequest",
        "/pullRequest/fromRef/repository",
        "/pullRequest/toRef/repository",
    ] {
        payload.pointer_mut(place).expect("it is there")["links"] = nothing.clone();
    }
    let event = "pr__reviewer__approved";
    let text = payload.to_string();
    let parsed = conformance::parse::<Bitbucket>(DATA_CENTER, event, text.as_bytes());
    let Ok(Parsed::Events(events)) = parsed else {
        panic!("{parsed:?}");
    };
    let [webhook::Normalised::Changed(change)] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(change.actor.as_deref(), Some("ann"));
    assert_eq!(change.html_url, None);
    assert_eq!(change.repository.path, "TEAM/site");
    assert!(change.from_fork);
}

fn labels(dialect: Dialect, event: &str) -> Labels {
    let headers = conformance::signed(dialect, event, b"{}");
    let delivery = Delivery::new(headers, "{}".into(), RECEIVED_AT);
    let (verified, _) = delivery
        .verify::<Bitbucket>(&conformance::secrets())
        .expect("it is signed");
    Bitbucket::labels(&verified)
}

#[test]
fn who_it_is_is_told_by_the_event_where_headers_do_not() {
    assert_eq!(
        labels(CLOUD, "repo:updated"),
        Labels {
            vendor: Some(Sender::Bitbucket),
            event: Some("repo:updated".to_owned()),
            key: Some(ID.to_owned()),
        }
    );
    assert_eq!(
        labels(DATA_CENTER, "repo:refs_changed").vendor,
        Some(Sender::BitbucketDataCenter)
    );
    // A proxy that lets only known headers through.
    assert_eq!(
        labels(DATA_CENTER, "repo:push").vendor,
        Some(Sender::Bitbucket)
    );
    assert_eq!(
        labels(CLOUD, "pr:opened").vendor,
        Some(Sender::BitbucketDataCenter)
    );
}

#[test]
fn a_change_of_nothing_is_malformed() {
    let payload = json!({
        "push": {"changes": [{"old": null, "new": null}]},
        "repository": {"full_name": "team/site"},
    });
    let body = payload.to_string();
    let error = conformance::parse::<Bitbucket>(CLOUD, "repo:push", body.as_bytes());
    let error = error.expect_err("it says nothing").to_string();
    assert!(
        error.contains("push.changes[0]: neither old nor new"),
        "{error}"
    );
}

#[test]
fn a_push_of_nothing_is_ignored() {
    let payload = json!({"push": {"changes": []}, "repository": {"full_name": "team/site"}});
    let body = payload.to_string();
    let parsed = conformance::parse::<Bitbucket>(CLOUD, "repo:push", body.as_bytes());
    assert!(matches!(parsed, Ok(Parsed::Ignored { .. })), "{parsed:?}");
}

#[test]
fn the_body_of_the_other_one_is_refused() {
    let cloud = include_bytes!("../testdata/cloud/repo__push.several.json");
    let server = include_bytes!("../testdata/data_center/repo__refs_changed.several.json");
    for (dialect, event, body) in [
        (DATA_CENTER, "repo:refs_changed", cloud.as_slice()),
        (CLOUD, "repo:push", server.as_slice()),
    ] {
        let refused = conformance::parse::<Bitbucket>(dialect, event, body);
        assert!(
            matches!(refused, Err(ParseError::Malformed { .. })),
            "{event}: {refused:?}"
        );
    }
}
