use bytes::Bytes;
use model::Scheme;
use proptest::prelude::*;
use serde_json::json;
use webhook::conformance::{self, Dialect};
use webhook::mutation::{self, Request};
use webhook::{Which, shape};

use super::*;

/// The secret in `Authorization`, which is what a trigger without a scheme asks for.
const DIALECT: Dialect = Dialect {
    headers: |_| Vec::new(),
    proof: |secret, _| vec![("authorization", format!("Bearer {secret}"))],
    signs_body: false,
    form_signs: None,
};

webhook::conformance!(Generic, DIALECT, "testdata");

fn scheme(of: Value) -> Scheme {
    serde_json::from_value(of).expect("a scheme")
}

fn token() -> Scheme {
    scheme(json!({"kind": "token", "header": "x-token"}))
}

fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/testdata/{name}.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn parsed(content_type: &str, body: impl Into<Bytes>) -> Result<Parsed, ParseError> {
    let headers = [("content-type", content_type)];
    let headers = if content_type.is_empty() {
        &[][..]
    } else {
        &headers
    };
    mutation::parse::<Generic>(&token(), &Request::new(headers, body))
}

/// One row for each scheme that a trigger can have, with where it is documented.
#[test]
fn every_scheme_holds_up() {
    let rows = [
        // https://www.standardwebhooks.com
        ("standard", json!({"kind": "standard"})),
        // The trigger's own header, hash and form; the names are those of well-known senders.
        (
            "hmac",
            json!({"kind": "hmac", "header": "x-signature-256", "prefix": "sha256="}),
        ),
        (
            "hmac sha512",
            json!({"kind": "hmac", "header": "x-signature", "algorithm": "sha512"}),
        ),
        (
            "hmac sha384",
            json!({"kind": "hmac", "header": "x-signature", "algorithm": "sha384", "prefix": "v0="}),
        ),
        (
            "hmac base64",
            json!({"kind": "hmac", "header": "x-hmac", "encoding": "base64"}),
        ),
        ("token", json!({"kind": "token", "header": "x-token"})),
        // RFC 6750
        (
            "bearer",
            json!({"kind": "token", "header": "authorization", "prefix": "Bearer "}),
        ),
        // RFC 7617
        ("basic", json!({"kind": "basic", "user": "ci"})),
        ("path", json!({"kind": "path"})),
        (
            "oidc",
            json!({"kind": "oidc", "audience": "https://hooks.example.test/a", "email": "ci@example.test"}),
        ),
        (
            "none",
            json!({"kind": "none", "networks": ["192.0.2.0/24"]}),
        ),
    ];
    for (name, of) in rows {
        let scheme = scheme(of);
        for body in [
            "job.image",
            "job.ref",
            "standard.user-created",
            "job.anything",
        ] {
            let request = Request::new(&[("content-type", "application/json")], fixture(body));
            let name = format!("{body} by {name}");
            assert!(webhook::sender(&request.headers).is_none(), "{name}");
            let value = serde_json::from_slice(&request.body).expect("JSON");
            assert!(shape(&value).is_none(), "{name} is nobody else's");
            mutation::holds_up::<Generic>(&name, &scheme, &request);
        }
    }
}

#[test]
fn published_answers_are_accepted() {
    let Some(webhooks) = testkit::conformance("webhooks") else {
        return;
    };
    let vectors =
        std::fs::read(webhooks.join("signature-vectors/known-answers.json")).expect("a file");
    let vectors: Vec<Value> = serde_json::from_slice(&vectors).expect("JSON");
    assert_eq!(vectors.len(), 2);
    for vector in vectors {
        let text = |name: &str| vector[name].as_str().unwrap_or_default().to_owned();
        let at = vector["webhook-timestamp"].as_i64();
        let (of, headers) = match at {
            Some(at) => (
                json!({"kind": "standard"}),
                vec![
                    ("webhook-id", text("webhook-id")),
                    ("webhook-timestamp", at.to_string()),
                    ("webhook-signature", text("header")),
                ],
            ),
            None => (
                json!({"kind": "hmac", "header": "x-hub-signature-256", "prefix": "sha256="}),
                vec![("x-hub-signature-256", text("header"))],
            ),
        };
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let request = Request::new(&headers, text("body"));
        let now = at.map_or(conformance::RECEIVED_AT, |at| {
            std::time::UNIX_EPOCH
                .checked_add(std::time::Duration::from_secs(at.unsigned_abs()))
                .expect("a time")
                .into()
        });
        let secrets = Secrets::new(text("secret").into(), None).with_scheme(Some(scheme(of)));
        let delivery = Delivery::new(request.headers.clone(), request.body.clone(), now);
        let (_, which) = delivery
            .verify::<Generic>(&secrets)
            .expect("a known answer");
        assert_eq!(which, Which::Current, "{}", text("scheme"));
        let flipped = Delivery::new(request.headers, Bytes::from_static(b"Hello, world!"), now);
        assert!(flipped.verify::<Generic>(&secrets).is_err());
    }
}

#[test]
fn without_a_body_it_is_a_request_by_hand() {
    let manual = Parsed::Events(vec![Normalised::ManualRequested(ManualRequested {
        vendor: Some(model::Vendor::Generic),
        actor: None,
        inputs: serde_json::Map::new(),
    })]);
    for content_type in ["", "application/json", "application/x-www-form-urlencoded"] {
        assert_eq!(
            parsed(content_type, ""),
            Ok(manual.clone()),
            "{content_type}"
        );
    }
    for of in [
        json!({"kind": "path"}),
        json!({"kind": "standard"}),
        json!({"kind": "hmac", "header": "x-signature"}),
    ] {
        mutation::holds_up::<Generic>("empty", &scheme(of), &Request::new(&[], ""));
    }
}

#[test]
fn what_curl_calls_a_form_is_read_as_what_it_is() {
    let form = "application/x-www-form-urlencoded";
    for content_type in [
        "application/json; charset=utf-8",
        "application/vnd.a+json",
        form,
        "text/plain",
        "",
    ] {
        let image = parsed(content_type, r#" {"image":"a/b:c"}"#);
        assert!(
            matches!(&image, Ok(Parsed::Events(events)) if matches!(events[..], [Normalised::ImagePushed(_)])),
            "{content_type}: {image:?}"
        );
        let broken = parsed(content_type, r#"{"image":"a/b:c""#);
        assert!(
            matches!(broken, Err(ParseError::Malformed { .. })),
            "{content_type}: {broken:?}"
        );
    }
    let data = |content_type: &str, body: &'static [u8]| match parsed(content_type, body) {
        Ok(Parsed::Events(mut events)) => match events.pop() {
            Some(Normalised::Received(it)) => (it.data, it.data_base64),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    assert_eq!(data(form, b"a=1&b=2"), (json!("a=1&b=2"), None));
    assert_eq!(data("text/plain", b"done"), (json!("done"), None));
    assert_eq!(
        data("text/plain", b"a\0"),
        (json!(null), Some("YQA=".to_owned()))
    );
    assert_eq!(data("", b"\xff"), (json!(null), Some("/w==".to_owned())));
    assert!(matches!(
        parsed("application/json", "done"),
        Err(ParseError::Malformed { .. })
    ));
}

#[test]
fn a_bad_field_is_named_with_what_is_expected() {
    for (body, said) in [
        (json!({"image": ""}), "image: does not name an image"),
        (json!({"image": "https://example.test/cat.png"}), "image: "),
        (json!({"image": "a/b:c d"}), "image: \"c d\" is not a tag"),
        (json!({"image": "../../x:1"}), "image: "),
        (
            json!({"image": "a/b@sha256"}),
            "image: \"sha256\" is not a digest",
        ),
        (
            json!({"image": "a/b", "tag": "c d"}),
            "image: \"c d\" is not a tag",
        ),
        (json!({"ref": ""}), "ref: "),
        (
            json!({"ref": "a..b"}),
            "ref: \"a..b\" is not the name of a branch",
        ),
        (json!({"ref": "--output=x y"}), "ref: "),
        (
            json!({"ref": "refs/heads/"}),
            "ref: \"refs/heads/\" is not the full name",
        ),
        (
            json!({"ref": "refs/notes/x"}),
            "ref: is neither a branch nor a tag",
        ),
        (
            json!({"ref": "main", "sha": "HEAD"}),
            "sha: \"HEAD\" is not a commit",
        ),
        (
            json!({"ref": "main", "repository": "../x"}),
            "repository: \"../x\" is not the path",
        ),
        (
            json!({"ref": "main", "repository": {"full_name": 7}}),
            "repository.full_name: invalid type",
        ),
        (
            json!({"ref": "main", "repository": []}),
            "repository: invalid type",
        ),
        (json!({"hello": "a\u{0}b"}), "the body: a text has a NUL"),
    ] {
        let error = parsed("application/json", body.to_string()).expect_err("a bad field");
        assert!(
            matches!(error, ParseError::Malformed { .. }),
            "{body}: {error:?}"
        );
        assert!(error.to_string().contains(said), "{body}: {error}");
    }
}

#[test]
fn what_is_too_large_compressed_or_somebody_elses_is_refused() {
    let large = json!({"x": "y".repeat(BODY_BYTES_MAX)}).to_string();
    assert!(matches!(
        parsed("application/json", large),
        Err(ParseError::TooLarge(_))
    ));
    let zipped = Request::new(&[("content-encoding", "gzip")], "x");
    let zipped = mutation::parse::<Generic>(&token(), &zipped);
    assert!(
        matches!(zipped, Err(ParseError::UnsupportedMedia { .. })),
        "{zipped:?}"
    );
    for header in [
        "x-github-event",
        "x-gitea-event",
        "x-gitlab-event",
        "x-nexus-webhook-id",
        "ce-type",
    ] {
        let refused = mutation::parse::<Generic>(
            &token(),
            &Request::new(&[(header, "push")], r#"{"ref":"main"}"#),
        );
        assert!(
            matches!(refused, Err(ParseError::OtherVendor { .. })),
            "{header}: {refused:?}"
        );
    }
    let bomb = "[".repeat(100_000);
    assert!(matches!(
        parsed("application/json", bomb),
        Err(ParseError::Malformed { .. })
    ));
}

#[test]
fn a_delivery_is_called_what_its_sender_calls_it() {
    let labels = |headers: &[(&str, &str)], body: &'static str| {
        let request = Request::new(headers, body);
        let delivery = mutation::proved(&token(), &request, conformance::SECRET);
        let (verified, _) = delivery
            .verify::<Generic>(&mutation::secrets(&token()))
            .expect("proved");
        let labels = Generic::labels(&verified);
        assert_eq!(labels.vendor, Some(model::Vendor::Generic));
        (labels.event, labels.key)
    };
    let some = |text: &str| Some(text.to_owned());
    let both = [("webhook-id", "msg_1"), ("idempotency-key", "a")];
    assert_eq!(
        labels(&both, r#"{"type":"user.created"}"#),
        (some("user.created"), some("msg_1"))
    );
    assert_eq!(labels(&both[1..], ""), (None, some("a")));
    assert_eq!(labels(&[("webhook-id", "")], "x"), (None, None));
}

proptest! {
    #[test]
    fn any_json_is_read_or_refused(
        name in proptest::sample::select(vec!["job.image-digest", "job.ref-github", "job.ref-tag", "standard.user-created"]),
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut body = fixture(name);
        let at = at.index(body.len());
        body[at] = byte;
        let _ = parsed("application/json", body);
    }

    #[test]
    fn any_image_or_ref_is_read_or_refused(image in ".{0,60}", name in ".{0,60}") {
        let _ = parsed("application/json", json!({"image": image}).to_string());
        let _ = parsed("application/json", json!({"ref": name, "repository": image}).to_string());
    }

    #[test]
    fn any_bytes_are_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parsed("", body.clone());
        let _ = parsed("application/json", body);
    }
}
