use std::path::Path;

use http::HeaderMap;
use model::Scheme;
use model::scheme::NEXUS_HEADER;
use proptest::prelude::*;
use serde_json::{Value, json};
use webhook::conformance::{self, Dialect};
use webhook::mutation::{self, Request};
use webhook::{Normalised, SHAPES, sender, shape};

use super::*;

/// The secret in `Authorization`, which is what a trigger without a scheme asks for.
const DIALECT: Dialect = Dialect {
    headers: |vendor| match vendor {
        "nexus" => nexus("rm:repository:component"),
        _ => Vec::new(),
    },
    proof: |secret, _| vec![("authorization", format!("Bearer {secret}"))],
    signs_body: false,
    form_signs: None,
};

webhook::conformance!(Registry, DIALECT, "testdata");

fn nexus(event: &str) -> Vec<(&'static str, String)> {
    vec![
        ("x-nexus-webhook-id", event.to_owned()),
        (
            "x-nexus-webhook-delivery",
            "7f4a6dde-5c68-4999-bcc0-a62f3fb8ae48".to_owned(),
        ),
    ]
}

/// Where the shapes of `testdata` are documented, by how their names begin.
const SOURCES: [(&str, &str); 10] = [
    (
        "docker_hub.",
        "https://docs.docker.com/docker-hub/repos/manage/webhooks/",
    ),
    ("quay.", "https://docs.quay.io/guides/notifications.html"),
    (
        "harbor.",
        "https://goharbor.io/docs/1.10/working-with-projects/project-configuration/configure-webhooks/",
    ),
    (
        "acr.",
        "https://learn.microsoft.com/azure/container-registry/container-registry-webhook-reference",
    ),
    (
        "ecr.",
        "https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html",
    ),
    (
        "artifact_registry.unwrapped",
        "https://cloud.google.com/pubsub/docs/payload-unwrapping",
    ),
    (
        "artifact_registry.",
        "https://cloud.google.com/artifact-registry/docs/configure-notifications",
    ),
    (
        "distribution.",
        "https://distribution.github.io/distribution/about/notifications/",
    ),
    (
        "jfrog.",
        "https://jfrog.com/help/r/jfrog-platform-administration-documentation/docker-webhook-events",
    ),
    (
        "nexus.",
        "https://help.sonatype.com/en/repository-component-webhook.html",
    ),
];

#[test]
fn every_documented_shape_says_where_it_is_from() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata");
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let name = entry.expect("an entry").file_name();
        let name = name.to_str().expect("a name");
        assert!(
            SOURCES.iter().any(|(begin, _)| name.starts_with(begin)),
            "{name}"
        );
    }
}

#[test]
fn every_registry_says_by_whose_word_it_is_understood() {
    for vendor in Registry::SENDERS {
        assert!(
            Registry::TESTED
                .iter()
                .any(|tested| tested.vendor == *vendor),
            "{vendor}"
        );
    }
}

/// One way in which a registry sends: what its requests carry besides the proof, and the scheme that its trigger has.
struct Sent {
    vendor: model::Vendor,
    /// Where that is documented.
    #[expect(dead_code, reason = "for who reads the table")]
    source: &'static str,
    headers: &'static [(&'static str, &'static str)],
    scheme: fn() -> Value,
    /// Which of others' payloads it sends: a folder, and how the files' names begin.
    payloads: (&'static str, &'static str),
    /// A documented shape that it sends too.
    shape: &'static str,
}

const JSON: (&str, &str) = ("content-type", "application/json");

const SENT: [Sent; 12] = [
    Sent {
        vendor: model::Vendor::DockerHub,
        source: "https://docs.docker.com/docker-hub/repos/manage/webhooks/: no signature, a secret path only",
        headers: &[JSON],
        scheme: || json!({"kind": "path"}),
        payloads: ("dockerhub", ""),
        shape: "docker_hub.push",
    },
    Sent {
        vendor: model::Vendor::Quay,
        source: "https://docs.quay.io/guides/notifications.html#webhook: no signature",
        headers: &[JSON],
        scheme: || json!({"kind": "path"}),
        payloads: ("quay", ""),
        shape: "quay.push",
    },
    Sent {
        vendor: model::Vendor::Harbor,
        source: "https://goharbor.io/docs/main/working-with-projects/project-configuration/configure-webhooks/: an auth header",
        headers: &[JSON],
        scheme: || json!({"kind": "token", "header": "authorization"}),
        payloads: ("harbor", "configure-webhooks."),
        shape: "harbor.push-image",
    },
    Sent {
        vendor: model::Vendor::Acr,
        source: "https://learn.microsoft.com/azure/container-registry/container-registry-webhook: custom headers",
        headers: &[
            ("content-type", "application/json; charset=utf-8"),
            ("user-agent", "AzureContainerRegistry/1.0"),
        ],
        scheme: || json!({"kind": "token", "header": "x-hook-token"}),
        payloads: ("", ""),
        shape: "acr.push",
    },
    Sent {
        vendor: model::Vendor::Acr,
        source: "https://learn.microsoft.com/azure/container-registry/container-registry-webhook: basic credentials in a header",
        headers: &[("content-type", "application/json; charset=utf-8")],
        scheme: || json!({"kind": "basic", "user": "acr"}),
        payloads: ("", ""),
        shape: "acr.delete",
    },
    Sent {
        vendor: model::Vendor::Ecr,
        source: "https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-target-connection-auth.html: an API key in a header",
        headers: &[
            ("content-type", "application/json; charset=utf-8"),
            ("user-agent", "Amazon/EventBridge/ApiDestinations"),
        ],
        scheme: || json!({"kind": "token", "header": "x-api-key"}),
        payloads: ("ecr", ""),
        shape: "ecr.delete",
    },
    Sent {
        vendor: model::Vendor::ArtifactRegistry,
        source: "https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions: an identity token of Google",
        headers: &[JSON, ("user-agent", "CloudPubSub-Google")],
        scheme: || json!({"kind": "oidc", "audience": "https://hooks.example.test/a", "email": "push@example.test"}),
        payloads: ("", ""),
        shape: "artifact_registry.insert",
    },
    Sent {
        vendor: model::Vendor::Distribution,
        source: "https://distribution.github.io/distribution/about/notifications/#endpoints: headers of the operator's choice",
        headers: &[
            (
                "content-type",
                "application/vnd.docker.distribution.events.v1+json",
            ),
            ("user-agent", "Go-http-client/1.1"),
        ],
        scheme: || json!({"kind": "token", "header": "authorization", "prefix": "Bearer "}),
        payloads: ("distribution", "notifications.0"),
        shape: "distribution.push",
    },
    Sent {
        vendor: model::Vendor::Distribution,
        source: "https://github.com/distribution/distribution/blob/main/notifications/event.go: version 2 of the media type",
        headers: &[(
            "content-type",
            "application/vnd.docker.distribution.events.v2+json",
        )],
        scheme: || json!({"kind": "token", "header": "authorization", "prefix": "Bearer "}),
        payloads: ("", ""),
        shape: "distribution.delete",
    },
    Sent {
        vendor: model::Vendor::Jfrog,
        source: "https://jfrog.com/help/r/jfrog-platform-administration-documentation/webhooks: the secret as it is",
        headers: &[JSON],
        scheme: || json!({"kind": "token", "header": "x-jfrog-event-auth"}),
        payloads: ("jfrog", ""),
        shape: "jfrog.pushed",
    },
    Sent {
        vendor: model::Vendor::Jfrog,
        source: "https://jfrog.com/help/r/jfrog-platform-administration-documentation/webhooks: the payload signed",
        headers: &[JSON],
        scheme: || json!({"kind": "hmac", "header": "x-jfrog-event-auth"}),
        payloads: ("jfrog", ""),
        shape: "jfrog.deleted",
    },
    Sent {
        vendor: model::Vendor::Nexus,
        source: "https://help.sonatype.com/en/working-with-hmac-payloads.html: HMAC-SHA1, the one exception",
        headers: &[
            ("content-type", "application/json; charset=UTF-8"),
            ("user-agent", "Nexus/3.1.0-SNAPSHOT"),
            ("x-nexus-webhook-id", "rm:repository:asset"),
            (
                "x-nexus-webhook-delivery",
                "7f4a6dde-5c68-4999-bcc0-a62f3fb8ae48",
            ),
        ],
        scheme: || json!({"kind": "hmac", "header": NEXUS_HEADER, "algorithm": "sha1"}),
        payloads: ("nexus", ""),
        shape: "nexus.component-created",
    },
];

/// Fragments of documentation that nobody sends.
const NOT_PAYLOADS: [&str; 3] = [
    "notifications.01.json",
    "notifications.02.json",
    "notifications.04.json",
];

fn scheme(of: &Value) -> Scheme {
    serde_json::from_value(of.clone()).expect("a scheme")
}

/// Harbor's other envelope comes with the media type of CloudEvents.
fn request(sent: &Sent, body: Vec<u8>) -> Request {
    let enveloped =
        serde_json::from_slice::<Value>(&body).is_ok_and(|body| body.get("specversion").is_some());
    if enveloped {
        Request::new(&[("content-type", "application/cloudevents+json")], body)
    } else {
        Request::new(sent.headers, body)
    }
}

fn documented(name: &str) -> Vec<u8> {
    let path = format!("{}/testdata/{name}.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The payloads that others recorded for one way of sending, by name.
fn recorded(sent: &Sent, webhooks: &Path) -> Vec<(String, Vec<u8>)> {
    let (folder, begin) = sent.payloads;
    let folder = webhooks.join(folder);
    if sent.payloads.0.is_empty() || !folder.exists() {
        return Vec::new();
    }
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.to_owned();
            let sent = name.starts_with(begin)
                && name.ends_with(".json")
                && !NOT_PAYLOADS.contains(&name.as_str());
            sent.then(|| (name, std::fs::read(&path).expect("a file")))
        })
        .collect();
    files.sort();
    files
}

/// Who sends this, by the one table that tells them apart; exactly one must.
fn told_as(name: &str, headers: &HeaderMap, body: &[u8]) -> model::Vendor {
    let value: Value = serde_json::from_slice(body).expect("JSON");
    let shapes: Vec<_> = SHAPES
        .iter()
        .filter(|shape| (shape.fits)(&value))
        .map(|shape| shape.vendor)
        .collect();
    match sender(headers) {
        Some(sender) => sender.vendor,
        None => {
            assert_eq!(shapes.len(), 1, "{name} has the shapes of {shapes:?}");
            shape(&value).expect("it has one").vendor
        }
    }
}

#[test]
fn each_way_of_sending_holds_up_over_its_documented_shape() {
    for sent in &SENT {
        let request = request(sent, documented(sent.shape));
        assert_eq!(
            told_as(sent.shape, &request.headers, &request.body),
            sent.vendor
        );
        mutation::holds_up::<Registry>(sent.shape, &scheme(&(sent.scheme)()), &request);
    }
}

#[test]
fn payloads_that_others_recorded_are_taken_as_documented() {
    let Some(webhooks) = testkit::conformance("webhooks") else {
        return;
    };
    let mut told = Vec::new();
    for sent in &SENT {
        let scheme = scheme(&(sent.scheme)());
        for (name, body) in recorded(sent, &webhooks) {
            let request = request(sent, body);
            let vendor = told_as(&name, &request.headers, &request.body);
            let expected = [sent.vendor, model::Vendor::CloudEvents];
            assert!(expected.contains(&vendor), "{name} is told as {vendor}");
            mutation::holds_up::<Registry>(&name, &scheme, &request);
            let parsed = mutation::parse::<Registry>(&scheme, &request)
                .unwrap_or_else(|error| panic!("{name} is refused: {error}"));
            told.push(format!("{} {name}: {}", sent.vendor, summary(&parsed)));
        }
    }
    let digest = "sha256:954b378c375d852eb3c63ab88978f640b4348b01c1b3456a024a81536dafbbf4";
    let deleted = "sha256:2bb501e6173d9d006e56de5bce2720eb06396803300fe1687b58a7ff32bf4c14";
    let ignored = |n: u32| format!("harbor configure-webhooks.{n:02}.json: ignored");
    let mut expected = vec![
        "docker_hub docker_hub_build_notice.json: pushed docker.io/svendowideit/testhook:latest"
            .to_owned(),
        format!("harbor configure-webhooks.00.json: pushed localhost/harbor/alpine@{digest}"),
        ignored(1),
        format!("harbor configure-webhooks.02.json: deleted localhost/harbor/alpine:3.8@{deleted}"),
        format!("harbor configure-webhooks.03.json: deleted localhost/harbor/alpine:3.8@{deleted}"),
    ];
    expected.extend((4..=17).map(ignored));
    expected.extend([
        "ecr ecr-image-action-push.json: pushed 123456789012.dkr.ecr.us-west-2.amazonaws.com/my-repository-name:latest@sha256:7f5b2640fe6fb4f46592dfd3410c4a79dac4f89e4782432e0378abcd1234".to_owned(),
        "distribution notifications.00.json: ignored".to_owned(),
        "distribution notifications.03.json: pushed registrycluster.local/library/test@sha256:fea8895f450959fa676bcc1df0611ea93823a735a01205fd8622846041d0c7cf".to_owned(),
        "jfrog artifact-deployed.json: ignored".to_owned(),
        "jfrog artifact-deployed.json: ignored".to_owned(),
        "nexus repository-asset-created.json: ignored".to_owned(),
    ]);
    assert_eq!(told, expected);
}

fn summary(parsed: &Parsed) -> String {
    match parsed {
        Parsed::Ping => "ping".to_owned(),
        Parsed::Ignored { .. } => "ignored".to_owned(),
        Parsed::Events(events) => {
            let one = |event: &Normalised| match event {
                Normalised::ImagePushed(it) => format!("pushed {}", it.image),
                Normalised::ImageDeleted(it) => format!("deleted {}", it.image),
                other => panic!("a registry tells of images: {other:?}"),
            };
            events.iter().map(one).collect::<Vec<_>>().join(", ")
        }
    }
}

fn parsed(vendor: &str, payload: &Value) -> Result<Parsed, ParseError> {
    conformance::parse::<Registry>(DIALECT, vendor, payload.to_string().as_bytes())
}

fn changed(name: &str, change: impl FnOnce(&mut Value)) -> Result<Parsed, ParseError> {
    let mut payload = serde_json::from_slice(&documented(name)).expect("JSON");
    change(&mut payload);
    parsed(name.split('.').next().expect("a vendor"), &payload)
}

/// Removes what a pointer points at.
fn without(payload: &mut Value, pointer: &str) {
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    let parent = payload.pointer_mut(parent).expect("it is there");
    parent
        .as_object_mut()
        .expect("an object")
        .remove(name)
        .expect("it is there");
}

#[test]
fn what_a_vendor_always_sends_is_asked_for() {
    for (name, pointer, said) in [
        ("docker_hub.push", "/push_data/tag", "missing field `tag`"),
        (
            "docker_hub.push",
            "/repository/repo_name",
            "missing field `repo_name`",
        ),
        (
            "harbor.push-image",
            "/event_data/repository",
            "event_data.repository: is missing",
        ),
        (
            "harbor.push-image",
            "/event_data/resources",
            "event_data.resources: is missing",
        ),
        ("acr.push", "/target", "target: is missing"),
        (
            "acr.push",
            "/target/repository",
            "target.repository: is missing",
        ),
        (
            "ecr.delete",
            "/detail/repository-name",
            "detail.repository-name: is missing",
        ),
        ("ecr.delete", "/detail/result", "detail.result: is missing"),
        ("ecr.delete", "/region", "missing field `region`"),
        (
            "artifact_registry.insert",
            "/message/data",
            "message.data: is missing",
        ),
        (
            "distribution.push",
            "/events/1/target",
            "missing field `target`",
        ),
        (
            "jfrog.pushed",
            "/data/repo_key",
            "data.repo_key: is missing",
        ),
        (
            "jfrog.pushed",
            "/data/image_name",
            "data.image_name: is missing",
        ),
        (
            "nexus.component-created",
            "/component/name",
            "component.name: is missing",
        ),
        (
            "nexus.component-created",
            "/component",
            "missing field `component`",
        ),
    ] {
        let refused = changed(name, |payload| without(payload, pointer));
        let error = refused.expect_err("something is missing").to_string();
        assert!(error.contains(said), "{name} without {pointer}: {error}");
    }
}

#[test]
fn a_bad_field_is_named_with_what_is_expected() {
    for (name, pointer, bad, said) in [
        (
            "docker_hub.push",
            "/push_data/tag",
            json!("a b"),
            "push_data: \"a b\" is not a tag",
        ),
        (
            "docker_hub.push",
            "/repository/repo_name",
            json!("../x/y"),
            "is not the name of a repository",
        ),
        (
            "quay.push",
            "/updated_tags/1",
            json!("../../x"),
            "updated_tags[1]: \"../../x\" is not a tag",
        ),
        (
            "quay.push",
            "/docker_url",
            json!("quay.io/other/repository"),
            "docker_url: is not an address of the repository",
        ),
        (
            "harbor.push-image",
            "/event_data/resources/0/resource_url",
            json!("hub.harbor.com/other/debian:1.2.3"),
            "event_data.resources[0].resource_url: is not a URL of the repository",
        ),
        (
            "harbor.push-image",
            "/event_data/resources/0/digest",
            json!("x"),
            "event_data.resources[0]: \"x\" is not a digest",
        ),
        (
            "acr.push",
            "/request/host",
            json!("a b"),
            "target: \"a b\" is not a host",
        ),
        (
            "acr.push",
            "/target/tag",
            json!("a\u{0}b"),
            "target.tag: a text has a NUL",
        ),
        (
            "artifact_registry.insert",
            "/message/data",
            json!("!"),
            "message.data: is not base64",
        ),
        (
            "artifact_registry.insert",
            "/message/data",
            json!("e30="),
            "missing field `action`",
        ),
        (
            "artifact_registry.unwrapped",
            "/tag",
            json!("us-east1-docker.pkg.dev/other:1"),
            "tag: is of another image",
        ),
        (
            "artifact_registry.unwrapped",
            "/tag",
            json!("x"),
            "does not name an image with its registry",
        ),
        (
            "distribution.push",
            "/events/1/target/digest",
            json!("x"),
            "events[1].target: \"x\" is not a digest",
        ),
        (
            "jfrog.pushed",
            "/data/tag",
            json!("a b"),
            "data: \"a b\" is not a tag",
        ),
        (
            "nexus.component-created",
            "/component/version",
            json!("a b"),
            "component: \"a b\" is not a tag",
        ),
    ] {
        let refused = changed(name, |payload| {
            *payload.pointer_mut(pointer).expect("the fixture has it") = bad.clone();
        });
        let error = refused.expect_err("a bad field").to_string();
        assert!(error.contains(said), "{name} with {pointer}: {error}");
    }
}

#[test]
fn many_images_are_many_events_up_to_a_limit() {
    let tags = |n: usize| {
        changed("quay.push", |payload| {
            payload["updated_tags"] = (0..n).map(|n| format!("v{n}")).collect();
        })
    };
    let Ok(Parsed::Events(events)) = tags(webhook::image::IMAGES_MAX) else {
        panic!("all are events");
    };
    assert_eq!(events.len(), webhook::image::IMAGES_MAX);
    let error = tags(webhook::image::IMAGES_MAX + 1)
        .expect_err("too many")
        .to_string();
    assert!(error.contains("more than 1000 tags"), "{error}");
}

#[test]
fn what_is_like_no_registry_is_refused_and_never_guessed() {
    for other in [
        json!({}),
        json!([]),
        json!({"image": "a:b"}),
        json!({"events": ["..."]}),
        json!(7),
    ] {
        let error = parsed("", &other).expect_err("no registry").to_string();
        assert!(
            error.contains("no registry that is known here"),
            "{other}: {error}"
        );
    }
    let azure = json!({"eventType": "git.push", "publisherId": "tfs"});
    let error = parsed("", &azure).expect_err("Azure DevOps").to_string();
    assert!(error.contains("use the URL for azure_devops"), "{error}");
    let push = json!({"ref": "refs/heads/main"}).to_string();
    let headers = &[("x-github-event", "push"), JSON];
    let token = scheme(&json!({"kind": "token", "header": "authorization"}));
    let refused = mutation::parse::<Registry>(&token, &Request::new(headers, push));
    let error = refused.expect_err("GitHub").to_string();
    assert!(error.contains("use the URL for github"), "{error}");
}

#[test]
fn a_delivery_is_called_what_its_sender_calls_it() {
    let labels = |name: &str| {
        let vendor = name.split('.').next().expect("a vendor");
        let body = documented(name);
        let headers = conformance::signed(DIALECT, vendor, &body);
        let delivery = Delivery::new(headers, body.into(), conformance::RECEIVED_AT);
        let (verified, _) = delivery
            .verify::<Registry>(&conformance::secrets())
            .expect("proved");
        let labels = Registry::labels(&verified);
        (
            labels
                .vendor
                .map(|vendor| vendor.as_str())
                .unwrap_or_default(),
            labels.event.unwrap_or_default(),
            labels.key.unwrap_or_default(),
        )
    };
    for (name, vendor, event, key) in [
        ("docker_hub.push", "docker_hub", "push", ""),
        ("quay.push", "quay", "push", ""),
        ("harbor.push-image", "harbor", "pushImage", ""),
        (
            "acr.push",
            "acr",
            "push",
            "cb8c3971-9adc-488b-xxxx-43cbb4974ff5",
        ),
        (
            "ecr.delete",
            "ecr",
            "ECR Image Action",
            "dd3b46cb-2c74-f49e-393b-28286b67279d",
        ),
        (
            "artifact_registry.insert",
            "artifact_registry",
            "",
            "136969346945",
        ),
        ("distribution.push", "distribution", "push", "3 events "),
        ("jfrog.pushed", "jfrog", "pushed", ""),
        (
            "nexus.component-created",
            "nexus",
            "rm:repository:component",
            "7f4a6dde-5c68-4999-bcc0-a62f3fb8ae48",
        ),
    ] {
        let told = labels(name);
        assert_eq!((told.0, told.1.as_str()), (vendor, event), "{name}");
        // The id of several events is made of theirs.
        assert_eq!(told.2.get(..9), key.get(..9), "{name}");
    }
}

proptest! {
    #[test]
    fn any_json_is_read_or_refused(
        name in proptest::sample::select(SENT.map(|sent| sent.shape).to_vec()),
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut body = documented(name);
        let at = at.index(body.len());
        body[at] = byte;
        let vendor = name.split('.').next().expect("a vendor");
        let _ = conformance::parse::<Registry>(DIALECT, vendor, &body);
    }

    #[test]
    fn any_bytes_are_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = conformance::parse::<Registry>(DIALECT, "", &body);
        let _ = conformance::parse::<Registry>(DIALECT, "nexus", &body);
    }
}
