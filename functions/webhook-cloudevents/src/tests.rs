use bytes::Bytes;
use model::Scheme;
use model::image::ImagePushed;
use proptest::prelude::*;
use serde_json::{Value, json};
use webhook::conformance::{self, Dialect};
use webhook::mutation::{self, Request};

use super::*;

/// In binary mode, with the token in `Authorization` that a trigger without a scheme asks for, as the specification of web
/// hooks has it: <https://github.com/cloudevents/spec/blob/main/cloudevents/http-webhook.md#3-authorization>.
const DIALECT: Dialect = Dialect {
    headers: |event| {
        let (id, source, ty) = match event {
            "cdevent" => (
                "271069a8-fc18-44f1-b38f-9d70a1695819",
                "/event/source/123",
                "dev.cdevents.artifact.published.0.2.0",
            ),
            _ => ("A234-1234-1234", "/mycontext", "com.example.object"),
        };
        let mut headers = vec![
            ("ce-specversion", "1.0".to_owned()),
            ("ce-id", id.to_owned()),
            ("ce-source", source.to_owned()),
            ("ce-type", ty.to_owned()),
        ];
        if event == "object" {
            headers.push(("ce-subject", "a.png".to_owned()));
            headers.push(("ce-comexampleextension", "value".to_owned()));
        }
        headers
    },
    proof: |secret, _| vec![("authorization", format!("Bearer {secret}"))],
    signs_body: false,
    form_signs: None,
};

webhook::conformance!(CloudEvents, DIALECT, "testdata");

const STRUCTURED: &str = "application/cloudevents+json; charset=utf-8";
const BATCH: &str = "application/cloudevents-batch+json; charset=utf-8";

fn scheme(of: Value) -> Scheme {
    serde_json::from_value(of).expect("a scheme")
}

fn bearer() -> Scheme {
    scheme(json!({"kind": "token", "header": "authorization", "prefix": "Bearer "}))
}

fn sent(content_type: &str, body: &Value) -> Request {
    Request::new(&[("content-type", content_type)], body.to_string())
}

fn parsed(content_type: &str, body: &Value) -> Result<Parsed, ParseError> {
    mutation::parse::<CloudEvents>(&bearer(), &sent(content_type, body))
}

fn facts(parsed: Result<Parsed, ParseError>) -> Vec<Normalised> {
    match parsed {
        Ok(Parsed::Events(facts)) => facts,
        other => panic!("not events: {other:?}"),
    }
}

fn event() -> Value {
    json!({
        "specversion": "1.0",
        "id": "A234-1234-1234",
        "source": "/mycontext",
        "type": "com.example.object",
        "time": "2018-04-05T17:31:00Z",
        "comexampleothervalue": 5,
        "data": {"a": 1},
    })
}

/// Every row says how its sender proves who it is; the events are those of the specification.
#[test]
fn every_mode_holds_up_under_every_scheme() {
    let schemes = [
        // CloudEvents web hooks, section 3.1: a bearer token.
        bearer(),
        // The same, section 3.2, and Event Grid: a secret in the URL.
        scheme(json!({"kind": "path"})),
        // Harbor: its "auth header", as it is.
        scheme(json!({"kind": "token", "header": "authorization"})),
        scheme(json!({"kind": "basic", "user": "grid"})),
        scheme(json!({"kind": "hmac", "header": "x-signature", "prefix": "sha256="})),
        scheme(json!({"kind": "standard"})),
        scheme(json!({"kind": "none", "networks": ["192.0.2.0/24"]})),
    ];
    let requests = [
        ("structured", sent(STRUCTURED, &event())),
        ("batch", sent(BATCH, &json!([event(), event()]))),
    ];
    for scheme in &schemes {
        for (name, request) in &requests {
            mutation::holds_up::<CloudEvents>(&format!("{name} {scheme:?}"), scheme, request);
        }
    }
}

#[test]
fn every_mode_tells_the_same() {
    let [Normalised::Received(structured)] = &facts(parsed(STRUCTURED, &event()))[..] else {
        panic!("one event");
    };
    assert_eq!(structured.attributes["comexampleothervalue"], 5);
    assert_eq!(structured.attributes["time"], "2018-04-05T17:31:00Z");
    assert_eq!(structured.data, json!({"a": 1}));
    let batch = facts(parsed(BATCH, &json!([event(), event()])));
    assert_eq!(batch.len(), 2);
    assert!(
        batch
            .iter()
            .all(|fact| *fact == Normalised::Received(structured.clone()))
    );
    let empty = parsed(BATCH, &json!([]));
    assert!(matches!(empty, Ok(Parsed::Ignored { .. })), "{empty:?}");
}

#[test]
fn data_is_carried_as_what_it_is() {
    let carried = |content_type: &str, body: &'static [u8]| {
        let headers = [
            ("content-type", content_type),
            ("ce-specversion", "1.0"),
            ("ce-id", "1"),
            ("ce-source", "/a"),
            ("ce-type", "b"),
        ];
        let headers = if content_type.is_empty() {
            &headers[1..]
        } else {
            &headers
        };
        let request = Request::new(headers, Bytes::from_static(body));
        let parsed = mutation::parse::<CloudEvents>(&bearer(), &request)?;
        match facts(Ok(parsed)).pop() {
            Some(Normalised::Received(it)) => Ok((it.data, it.data_base64.unwrap_or_default())),
            other => panic!("{other:?}"),
        }
    };
    let base64 = String::new;
    for (content_type, body, expected) in [
        (
            "application/json",
            &b"{\"a\":1}"[..],
            (json!({"a": 1}), base64()),
        ),
        ("application/vnd.a+json", b"[1]", (json!([1]), base64())),
        ("", b"[1]", (json!([1]), base64())),
        ("", b"a", (json!(null), "YQ==".to_owned())),
        ("text/plain", b"a", (json!("a"), base64())),
        ("application/xml", b"<a/>", (json!("<a/>"), base64())),
        ("text/plain", b"\xff", (json!(null), "/w==".to_owned())),
        ("text/plain", b"a\0", (json!(null), "YQA=".to_owned())),
        ("image/png", b"a", (json!(null), "YQ==".to_owned())),
        ("application/json", b"", (json!(null), base64())),
    ] {
        assert_eq!(
            carried(content_type, body),
            Ok(expected),
            "{content_type} {body:?}"
        );
    }
    for body in [&b"{"[..], b"\xff", b"{\"a\":\"\\u0000\"}", b"1e400"] {
        let refused = carried("application/json", body);
        assert!(
            matches!(refused, Err(ParseError::Malformed { .. })),
            "{body:?}: {refused:?}"
        );
    }
}

#[test]
fn what_is_no_event_is_refused() {
    let changed = |name: &str, value: Value| {
        let mut event = event();
        event[name] = value;
        event
    };
    for (name, value, said) in [
        ("id", json!(null), "required attribute \"id\" is missing"),
        ("id", json!(""), "\"id\""),
        ("specversion", json!("0.3"), "specversion is \"0.3\""),
        ("specversion", json!("3.0"), "specversion is \"3.0\""),
        (
            "specversion",
            json!(null),
            "required attribute \"specversion\" is missing",
        ),
        ("UPPER", json!("a"), "UPPER"),
        ("type", json!(7), "type"),
    ] {
        let error = parsed(STRUCTURED, &changed(name, value.clone())).expect_err("no event");
        assert!(
            matches!(error, ParseError::Malformed { .. }),
            "{name} {value}: {error:?}"
        );
        assert!(error.to_string().contains(said), "{name} {value}: {error}");
    }
    let long = changed(&"a".repeat(10_000), json!("a"));
    assert!(matches!(
        parsed(STRUCTURED, &long),
        Err(ParseError::Malformed { .. })
    ));
    let plain = parsed("application/json", &event());
    assert!(
        matches!(plain, Err(ParseError::Malformed { .. })),
        "{plain:?}"
    );
    let avro = parsed("application/cloudevents+avro", &event());
    assert!(
        matches!(avro, Err(ParseError::UnsupportedMedia { .. })),
        "{avro:?}"
    );
    let headers = [("content-type", STRUCTURED), ("content-encoding", "gzip")];
    let zipped = Request::new(&headers, event().to_string());
    let zipped = mutation::parse::<CloudEvents>(&bearer(), &zipped);
    assert!(
        matches!(zipped, Err(ParseError::UnsupportedMedia { .. })),
        "{zipped:?}"
    );
}

#[test]
fn a_batch_is_taken_as_a_whole_or_not_at_all() {
    let mut bad = event();
    bad["id"] = json!(null);
    let refused = parsed(BATCH, &json!([event(), bad]));
    assert!(
        matches!(refused, Err(ParseError::Malformed { .. })),
        "{refused:?}"
    );
    let many: Vec<_> = (0..10_000)
        .map(|_| json!({"specversion": "1.0", "id": "1", "source": "/", "type": "a"}))
        .collect();
    let refused = parsed(BATCH, &json!(many));
    assert!(
        matches!(refused, Err(ParseError::TooLarge(_))),
        "{refused:?}"
    );
    let large = json!({"specversion": "1.0", "id": "1", "source": "/", "type": "a", "data": "x".repeat(1024 * 1024)});
    let refused = parsed(STRUCTURED, &large);
    assert!(
        matches!(refused, Err(ParseError::TooLarge(_))),
        "{refused:?}"
    );
}

#[test]
fn an_event_that_says_that_it_is_ours_is_refused() {
    for (name, value) in [
        ("type", "dev.switchyard.git.pushed.v1"),
        ("type", "dev.switchyard."),
        ("source", "/switchyard/triggers/trg_1"),
    ] {
        let mut ours = event();
        ours[name] = json!(value);
        let given = value.to_owned();
        let reserved = Err(ParseError::Reserved { given });
        assert_eq!(parsed(STRUCTURED, &ours), reserved);
        assert_eq!(parsed(BATCH, &json!([event(), ours])), reserved);
    }
}

#[test]
fn a_delivery_is_called_by_its_events() {
    let labels = |request: &Request| {
        let scheme = bearer();
        let (verified, _) = mutation::proved(&scheme, request, conformance::SECRET)
            .verify::<CloudEvents>(&mutation::secrets(&scheme))
            .expect("proved");
        CloudEvents::labels(&verified)
    };
    let one = labels(&sent(STRUCTURED, &event()));
    assert_eq!(one.key.as_deref(), Some("/mycontext A234-1234-1234"));
    assert_eq!(one.event.as_deref(), Some("com.example.object"));
    let mut other = event();
    other["source"] = json!("/other");
    assert_ne!(
        labels(&sent(STRUCTURED, &other)).key,
        one.key,
        "an id is one's own only with its source"
    );
    let two = labels(&sent(BATCH, &json!([event(), other]))).key;
    let swapped = labels(&sent(BATCH, &json!([event(), event()]))).key;
    assert_ne!(two, swapped);
    assert!(two.is_some_and(|key| key.starts_with("2 events ")));
    let mut long = event();
    long["source"] = json!(format!("/{}", "a".repeat(500)));
    assert!(
        labels(&sent(STRUCTURED, &long))
            .key
            .is_some_and(|key| key.len() < 60)
    );
}

#[test]
fn events_of_registries_become_events_of_images() {
    let Some(webhooks) = testkit::conformance("webhooks") else {
        return;
    };
    let read = |path: &str| std::fs::read(webhooks.join(path)).expect("a file");
    let path = scheme(json!({"kind": "path"}));
    let batch = Request::new(
        &[("content-type", BATCH)],
        read("acr/image-pushed-cloudevents.json"),
    );
    mutation::holds_up::<CloudEvents>("acr", &path, &batch);
    let facts = facts(mutation::parse::<CloudEvents>(&path, &batch));
    let expected: ImagePushed = serde_json::from_value(json!({
        "vendor": "acr",
        "image": {
            "registry": "demo.azurecr.io",
            "repository": "aci-helloworld",
            "tag": "v1",
            "digest": "sha256:213bbc182920ab41e18edc2001e06abcca6735d87782d9cef68abd83941cf0e5",
            "digest_source": "payload",
            "media_type": "application/vnd.docker.distribution.manifest.v2+json",
        },
        "occurred_at": "2018-04-25T21:39:47.276585742Z",
    }))
    .expect("an event");
    assert_eq!(facts, [Normalised::ImagePushed(expected)]);

    let auth = scheme(json!({"kind": "token", "header": "authorization"}));
    let mut told = Vec::new();
    for n in [3, 5, 7, 9, 11, 13, 15, 17] {
        let name = format!("harbor/configure-webhooks.{n:02}.json");
        let request = Request::new(&[("content-type", STRUCTURED)], read(&name));
        mutation::holds_up::<CloudEvents>(&name, &auth, &request);
        for fact in self::facts(mutation::parse::<CloudEvents>(&auth, &request)) {
            told.push(match fact {
                Normalised::ImageDeleted(it) => format!("{} deleted {}", it.vendor, it.image),
                Normalised::Received(it) => {
                    it.attributes["type"].as_str().expect("a type").to_owned()
                }
                other => panic!("{name}: {other:?}"),
            });
        }
    }
    assert_eq!(
        told,
        [
            "harbor deleted localhost/harbor/alpine:3.8@sha256:2bb501e6173d9d006e56de5bce2720eb06396803300fe1687b58a7ff32bf4c14",
            "harbor.scan.completed",
            "harbor.scan.stopped",
            "harbor.scan.failed",
            "harbor.quota.exceeded",
            "harbor.quota.warned",
            "harbor.replication.status.changed",
            "harbor.tag_retention.finished",
        ]
    );
}

/// The documented shape, for which nobody recorded a payload.
/// <https://goharbor.io/docs/main/working-with-projects/project-configuration/configure-webhooks/>,
/// <https://learn.microsoft.com/azure/event-grid/event-schema-container-registry>
#[test]
fn a_push_to_harbor_and_a_deletion_in_azure_are_told_by_their_documents() {
    let harbor = json!({
        "specversion": "1.0",
        "id": "66e3b1a5-0e6f-4f4c-8f4f-2b8c1f1d6a0e",
        "requestid": "e7cb5b5d-4b4d-4b7e-a4f1-0f1ab4a3d3f6",
        "source": "/projects/2/webhook/policies/15",
        "type": "harbor.artifact.pushed",
        "datacontenttype": "application/json",
        "time": "2023-04-03T06:16:38Z",
        "data": {
            "resources": [{
                "digest": "sha256:954b378c375d852eb3c63ab88978f640b4348b01c1b3456a024a81536dafbbf4",
                "tag": "3.8",
                "resource_url": "registry.example.test/harbor/alpine:3.8",
            }],
            "repository": {"name": "alpine", "namespace": "harbor", "repo_full_name": "harbor/alpine", "repo_type": "private"},
        },
        "operator": "robot",
    });
    let pushed = facts(parsed(STRUCTURED, &harbor));
    assert_eq!(
        serde_json::to_value(pushed).expect("plain data"),
        json!([{"image_pushed": {
            "vendor": "harbor",
            "image": {
                "registry": "registry.example.test",
                "repository": "harbor/alpine",
                "tag": "3.8",
                "digest": "sha256:954b378c375d852eb3c63ab88978f640b4348b01c1b3456a024a81536dafbbf4",
                "digest_source": "payload",
            },
            "pusher": "robot",
            "occurred_at": "2023-04-03T06:16:38Z",
        }}])
    );

    let azure = json!([{
        "specversion": "1.0",
        "id": "f06e3921-301f-42ec-b368-212f7d5354bd",
        "source": "/subscriptions/s/resourceGroups/g/providers/Microsoft.ContainerRegistry/registries/demo",
        "subject": "aci-helloworld",
        "type": "Microsoft.ContainerRegistry.ImageDeleted",
        "time": "2018-04-26T17:56:01.8211268Z",
        "data": {
            "id": "f06e3921-301f-42ec-b368-212f7d5354bd",
            "timestamp": "2018-04-26T17:56:00.996603117Z",
            "action": "delete",
            "target": {
                "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
                "digest": "sha256:213bbc182920ab41e18edc2001e06abcca6735d87782d9cef68abd83941cf0e5",
                "repository": "aci-helloworld",
            },
        },
    }]);
    let deleted = facts(parsed(BATCH, &azure));
    assert_eq!(
        serde_json::to_value(deleted).expect("plain data"),
        json!([{"image_deleted": {
            "vendor": "acr",
            "image": {
                "registry": "demo.azurecr.io",
                "repository": "aci-helloworld",
                "digest": "sha256:213bbc182920ab41e18edc2001e06abcca6735d87782d9cef68abd83941cf0e5",
                "digest_source": "payload",
                "media_type": "application/vnd.docker.distribution.manifest.v2+json",
            },
            "occurred_at": "2018-04-26T17:56:00.996603117Z",
        }}])
    );
    let mut chart = azure.clone();
    chart[0]["type"] = json!("Microsoft.ContainerRegistry.ChartPushed");
    assert!(matches!(
        facts(parsed(BATCH, &chart))[..],
        [Normalised::Received(_)]
    ));
    let mut bad = azure;
    bad[0]["data"]["target"]["repository"] = json!("../x");
    assert!(matches!(
        parsed(BATCH, &bad),
        Err(ParseError::Malformed { .. })
    ));
}

/// A CDEvent in its CloudEvent, whose attributes say what the context says.
fn enveloped(cdevent: &Value) -> Value {
    json!({
        "specversion": "1.0",
        "id": cdevent["context"]["id"],
        "source": cdevent["context"]["source"],
        "type": cdevent["context"]["type"],
        "subject": cdevent["subject"]["id"],
        "time": cdevent["context"]["timestamp"],
        "datacontenttype": "application/json",
        "data": cdevent,
    })
}

fn cdevents() -> Vec<(String, Value)> {
    let Some(webhooks) = testkit::conformance("webhooks") else {
        return Vec::new();
    };
    let mut files: Vec<_> = std::fs::read_dir(webhooks.join("cdevents/conformance"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_file())
        .map(|path| {
            let body = std::fs::read(&path).expect("a file");
            let body = serde_json::from_slice(&body).expect("JSON");
            (path.display().to_string(), body)
        })
        .collect();
    files.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(files.len(), 48);
    files
}

#[test]
fn every_cdevent_that_others_published_is_taken() {
    for (name, cdevent) in cdevents() {
        let request = sent(STRUCTURED, &enveloped(&cdevent));
        mutation::holds_up::<CloudEvents>(&name, &bearer(), &request);
        let facts = facts(mutation::parse::<CloudEvents>(&bearer(), &request));
        let [Normalised::Received(received)] = &facts[..] else {
            panic!("{name}: {facts:?}");
        };
        assert_eq!(received.vendor, model::Vendor::CdEvents);
        assert_eq!(received.data, cdevent);
    }
}

#[test]
fn a_cdevent_without_what_its_schema_asks_for_is_refused() {
    for (name, cdevent) in cdevents() {
        let refused = |what: &str, changed: &Value| {
            let mut envelope = enveloped(&cdevent);
            envelope["data"] = changed.clone();
            let parsed = parsed(STRUCTURED, &envelope);
            assert!(
                matches!(parsed, Err(ParseError::Malformed { .. })),
                "{name} {what}: {parsed:?}"
            );
        };
        for pointer in [
            "/context/id",
            "/context/source",
            "/context/type",
            "/context/timestamp",
            "/context/specversion",
            "/subject/id",
            "/subject/content",
            "/subject",
            "/context",
        ] {
            let mut changed = cdevent.clone();
            let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
            let parent = changed.pointer_mut(parent).expect("it is there");
            parent
                .as_object_mut()
                .expect("an object")
                .remove(field)
                .expect("it is there");
            refused(&format!("without {pointer}"), &changed);
        }
        let mut changed = cdevent.clone();
        changed["subject"]["surprise"] = json!(1);
        refused("with more", &changed);
        let mut changed = cdevent.clone();
        changed["context"]["timestamp"] = json!("yesterday");
        refused("at no time", &changed);
        let mut changed = cdevent.clone();
        changed["context"]["id"] = json!("another");
        refused("of another id", &changed);
        let mut changed = cdevent.clone();
        changed["context"]["links"] = json!([{"linkType": "SIDEWAYS"}]);
        refused("with a link that leads nowhere", &changed);
    }
}

#[test]
fn an_older_context_is_held_to_its_required_fields() {
    let older: Value =
        serde_json::from_str(include_str!("../testdata/cdevent.older.json")).expect("JSON");
    assert_eq!(facts(parsed(STRUCTURED, &enveloped(&older))).len(), 1);
    for pointer in [
        "/context/version",
        "/context/source",
        "/context/timestamp",
        "/subject/id",
        "/subject/type",
        "/subject/content",
    ] {
        let mut changed = older.clone();
        let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
        let parent = changed.pointer_mut(parent).expect("it is there");
        parent
            .as_object_mut()
            .expect("an object")
            .remove(field)
            .expect("it is there");
        let mut envelope = enveloped(&older);
        envelope["data"] = changed;
        let error = parsed(STRUCTURED, &envelope)
            .expect_err("something is missing")
            .to_string();
        let at = pointer.replace('/', ".");
        assert!(error.contains(&format!("data{at}")), "{pointer}: {error}");
    }
}

#[test]
fn a_type_newer_than_the_schemas_is_held_to_what_every_event_has() {
    let newer = json!({
        "context": {"specversion": "0.9.0", "id": "1", "source": "/a", "type": "dev.cdevents.artifact.published.9.0.0", "timestamp": "2030-01-01T00:00:00Z", "more": 1},
        "subject": {"id": "pkg:oci/app", "content": {"anything": 1}},
    });
    assert_eq!(facts(parsed(STRUCTURED, &enveloped(&newer))).len(), 1);
    let mut bare = newer.clone();
    bare["subject"]["content"] = json!("x");
    let mut envelope = enveloped(&newer);
    envelope["data"] = bare;
    assert!(parsed(STRUCTURED, &envelope).is_err());
    let mut custom = newer;
    custom["context"]["type"] = json!("dev.cdeventsx.mytool-resource.created.0.1.0");
    assert_eq!(
        facts(parsed(STRUCTURED, &enveloped(&custom))).len(),
        1,
        "anybody's own"
    );
}

proptest! {
    #[test]
    fn any_event_is_read_or_refused(at in any::<proptest::sample::Index>(), byte in any::<u8>()) {
        let mut body = event().to_string().into_bytes();
        let at = at.index(body.len());
        body[at] = byte;
        for content_type in [STRUCTURED, BATCH, "application/json"] {
            let request = Request::new(&[("content-type", content_type)], body.clone());
            let _ = mutation::parse::<CloudEvents>(&bearer(), &request);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        for content_type in [STRUCTURED, BATCH, "text/plain"] {
            let request = Request::new(&[("content-type", content_type), ("ce-type", "a")], body.clone());
            let _ = mutation::parse::<CloudEvents>(&bearer(), &request);
        }
    }

    #[test]
    fn any_cdevent_is_read_or_refused(subject in "[ -~]{0,40}", content in "[ -~]{0,40}") {
        let cdevent = json!({
            "context": {"specversion": "0.5.0", "id": "1", "source": subject, "type": "dev.cdevents.artifact.published.0.3.0", "timestamp": content},
            "subject": {"id": subject, "content": {"user": content}},
        });
        let mut envelope = enveloped(&cdevent);
        envelope["source"] = json!("/a");
        envelope["time"] = json!(null);
        let _ = parsed(STRUCTURED, &envelope);
    }
}
