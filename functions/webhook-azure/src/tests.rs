use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::Scheme;
use serde_json::{Value, json};
use webhook::conformance::{self, Dialect, RECEIVED_AT, SECRET};

use super::*;

/// What happened stands in the body.
pub(crate) const BASIC: Dialect = Dialect {
    headers: |_| Vec::new(),
    proof: |secret, _| {
        let pair = STANDARD.encode(format!("hooks:{secret}"));
        vec![("authorization", format!("Basic {pair}"))]
    },
    signs_body: false,
    form_signs: None,
};

webhook::conformance!(Azure, BASIC, "testdata");

fn push() -> Value {
    serde_json::from_str(include_str!("../testdata/git.push.branch.json")).expect("a fixture")
}

fn parsed(payload: &Value) -> Result<Parsed, ParseError> {
    conformance::parse::<Azure>(BASIC, "", payload.to_string().as_bytes())
}

fn labels(payload: &Value) -> Labels {
    let body = payload.to_string();
    let headers = conformance::signed(BASIC, "", body.as_bytes());
    let delivery = Delivery::new(headers, body.into(), RECEIVED_AT);
    let (verified, _) = delivery
        .verify::<Azure>(&conformance::secrets())
        .expect("it is proved");
    Azure::labels(&verified)
}

#[test]
fn the_body_names_the_delivery_and_what_happened() {
    let mut payload = push();
    let key = "11111111-1111-4111-8111-111111111111:3".to_owned();
    let told = Labels {
        vendor: Some(model::Vendor::AzureDevops),
        event: Some("git.push".to_owned()),
        key: Some(key),
    };
    assert_eq!(labels(&payload), told);

    // Tries of one subscription have the id of none.
    payload["subscriptionId"] = json!("00000000-0000-0000-0000-000000000000");
    let id = Some("03c164c2-8912-4d5e-8009-3707d5f83734".to_owned());
    assert_eq!(labels(&payload).key, id);
    let fields = payload.as_object_mut().expect("an object");
    fields.remove("subscriptionId");
    assert_eq!(labels(&payload).key, id);
    assert_eq!(labels(&json!([])), Labels::default());
}

#[test]
fn a_header_of_the_subscriptions_own_is_named_by_the_trigger() {
    let body = push().to_string();
    let scheme: Scheme =
        serde_json::from_value(json!({"kind": "token", "header": "x-hook"})).expect("a scheme");
    let secrets = conformance::secrets().with_scheme(Some(scheme));
    let verify = |name: &'static str, value: &str| {
        let mut headers = http::HeaderMap::new();
        headers.insert(name, value.parse().expect("a header's value"));
        Delivery::new(headers, body.clone().into(), RECEIVED_AT)
            .verify::<Azure>(&secrets)
            .map(|(_, which)| which)
    };
    assert_eq!(verify("x-hook", SECRET), Ok(Which::Current));
    assert!(verify("x-hook", "another").is_err());
    let pair = STANDARD.encode(format!("hooks:{SECRET}"));
    assert!(verify("authorization", &format!("Basic {pair}")).is_err());
}

#[test]
fn the_body_of_another_sender_is_refused() {
    for other in [json!({}), json!([]), json!({"eventType": "git.push"})] {
        let refused = parsed(&other);
        assert!(
            matches!(refused, Err(ParseError::Malformed { .. })),
            "{other}: {refused:?}"
        );
    }
}

#[test]
fn a_bad_field_is_named_with_what_is_expected() {
    for (pointer, bad, said) in [
        (
            "/resource/refUpdates/0/newObjectId",
            json!("HEAD"),
            "resource.refUpdates[0].newObjectId: \"HEAD\" is not a commit",
        ),
        (
            "/eventType",
            json!("../../x"),
            "eventType: \"../../x\" is not a word",
        ),
        (
            "/resource/repository/name",
            json!(".."),
            "resource.repository: \"Web Pages/..\" is not the path",
        ),
    ] {
        let mut payload = push();
        *payload.pointer_mut(pointer).expect("the fixture has it") = bad;
        let error = parsed(&payload).expect_err("a bad field").to_string();
        assert!(error.contains(said), "{error}");
    }
}
