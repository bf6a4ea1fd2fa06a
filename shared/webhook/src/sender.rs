//! Who a request says it is from: by the names of its headers or, where a sender has none of its own, by the shape of its
//! body. The presence of a header decides and not its value: vendors give their events new names.

use http::HeaderMap;
use model::Vendor;
use serde_json::Value;

/// A sender that names itself in headers of its own.
#[derive(Debug, PartialEq, Eq)]
pub struct Sender {
    /// Who.
    pub vendor: Vendor,
    /// The function that reads what it sends.
    pub function: &'static str,
    /// Headers that tell it from all that stand below it: a name, or how a name begins where it ends in `-`.
    pub marks: &'static [&'static str],
    /// The header that names the event.
    pub event: &'static str,
    /// The headers that name the delivery, the best first.
    pub deliveries: &'static [&'static str],
}

/// Most specific first. Forgejo sends Gitea's headers too, Gitea those of Gogs, and all of them GitHub's, so that the
/// presence of GitHub's says nothing until the others are known to be absent. Data Center has no header that Cloud does
/// not have, but for one that proxies set as well.
pub static SENDERS: [Sender; 9] = [
    // https://forgejo.org/docs/latest/user/webhooks/
    Sender {
        vendor: Vendor::Forgejo,
        function: "webhook-gitea",
        marks: &["x-forgejo-"],
        event: "x-forgejo-event",
        deliveries: &["x-forgejo-delivery"],
    },
    // https://docs.gitea.com/usage/webhooks
    Sender {
        vendor: Vendor::Gitea,
        function: "webhook-gitea",
        marks: &["x-gitea-"],
        event: "x-gitea-event",
        deliveries: &["x-gitea-delivery"],
    },
    // https://github.com/gogs/docs-api/blob/master/Repositories/Webhooks.md
    Sender {
        vendor: Vendor::Gogs,
        function: "webhook-gitea",
        marks: &["x-gogs-"],
        event: "x-gogs-event",
        deliveries: &["x-gogs-delivery"],
    },
    // https://docs.github.com/en/webhooks/webhook-events-and-payloads#delivery-headers
    Sender {
        vendor: Vendor::Github,
        function: "webhook-github",
        marks: &["x-github-"],
        event: "x-github-event",
        deliveries: &["x-github-delivery"],
    },
    // https://docs.gitlab.com/user/project/integrations/webhooks/#delivery-headers
    // `X-Gitlab-Event-UUID` is not among the names of a delivery: hooks that hooks set off share it.
    Sender {
        vendor: Vendor::Gitlab,
        function: "webhook-gitlab",
        marks: &["x-gitlab-"],
        event: "x-gitlab-event",
        deliveries: &["idempotency-key", "webhook-id"],
    },
    // https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/#HTTP-headers
    Sender {
        vendor: Vendor::Bitbucket,
        function: "webhook-bitbucket",
        marks: &["x-hook-uuid", "x-request-uuid"],
        event: "x-event-key",
        deliveries: &["x-request-uuid"],
    },
    // https://confluence.atlassian.com/bitbucketserver/event-payload-938025882.html#Eventpayload-HTTPheaders
    Sender {
        vendor: Vendor::BitbucketDataCenter,
        function: "webhook-bitbucket",
        marks: &["x-event-key"],
        event: "x-event-key",
        deliveries: &["x-request-id"],
    },
    // https://help.sonatype.com/en/webhooks.html
    Sender {
        vendor: Vendor::Nexus,
        function: "webhook-registry",
        marks: &["x-nexus-webhook-"],
        event: "x-nexus-webhook-id",
        deliveries: &["x-nexus-webhook-delivery"],
    },
    // https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/http-protocol-binding.md
    // In binary mode; the other modes are told by their shape. Last, for anybody's hook may pass through a broker.
    Sender {
        vendor: Vendor::CloudEvents,
        function: "webhook-cloudevents",
        marks: &["ce-"],
        event: "ce-type",
        deliveries: &["ce-id"],
    },
];

/// A sender without a header of its own, told by what its bodies are like.
#[derive(Debug)]
pub struct Shape {
    /// Who.
    pub vendor: Vendor,
    /// The function that reads what it sends.
    pub function: &'static str,
    /// Whether a body is one of its.
    pub fits: fn(&Value) -> bool,
}

/// Looked at where no header names a sender, and only after the signature held. No body has two of these shapes.
pub static SHAPES: [Shape; 10] = [
    // https://learn.microsoft.com/azure/devops/service-hooks/events
    Shape {
        vendor: Vendor::AzureDevops,
        function: "webhook-azure",
        fits: |body| texts(body, &["eventType", "publisherId"]),
    },
    // https://github.com/cloudevents/spec/blob/main/cloudevents/formats/json-format.md
    Shape {
        vendor: Vendor::CloudEvents,
        function: "webhook-cloudevents",
        fits: |body| {
            let first = body.get(0).unwrap_or(body);
            texts(first, &["specversion", "id", "source", "type"])
        },
    },
    // https://distribution.github.io/distribution/about/notifications/
    Shape {
        vendor: Vendor::Distribution,
        function: "webhook-registry",
        fits: |body| {
            let events = body["events"].as_array();
            events.is_some_and(|events| match events.first() {
                Some(first) => texts(first, &["id", "action"]),
                None => true,
            })
        },
    },
    // https://docs.docker.com/docker-hub/repos/manage/webhooks/
    Shape {
        vendor: Vendor::DockerHub,
        function: "webhook-registry",
        fits: |body| body["push_data"].is_object(),
    },
    // https://docs.quay.io/guides/notifications.html
    Shape {
        vendor: Vendor::Quay,
        function: "webhook-registry",
        fits: |body| texts(body, &["docker_url", "repository"]),
    },
    // https://goharbor.io/docs/main/working-with-projects/project-configuration/configure-webhooks/
    Shape {
        vendor: Vendor::Harbor,
        function: "webhook-registry",
        fits: |body| texts(body, &["type"]) && body["event_data"].is_object(),
    },
    // https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html
    Shape {
        vendor: Vendor::Ecr,
        function: "webhook-registry",
        fits: |body| texts(body, &["detail-type", "source"]) && body["detail"].is_object(),
    },
    // https://jfrog.com/help/r/jfrog-platform-administration-documentation/webhooks
    Shape {
        vendor: Vendor::Jfrog,
        function: "webhook-registry",
        fits: |body| texts(body, &["domain", "event_type"]),
    },
    // https://learn.microsoft.com/azure/container-registry/container-registry-webhook-reference
    Shape {
        vendor: Vendor::Acr,
        function: "webhook-registry",
        fits: |body| texts(body, &["id", "timestamp", "action"]),
    },
    // https://cloud.google.com/artifact-registry/docs/configure-notifications, in the envelope of Pub/Sub or without it
    Shape {
        vendor: Vendor::ArtifactRegistry,
        function: "webhook-registry",
        fits: |body| {
            let event = matches!(body["action"].as_str(), Some("INSERT" | "DELETE"));
            let enveloped = body["message"].is_object() && texts(body, &["subscription"]);
            enveloped || event && (body["digest"].is_string() || body["tag"].is_string())
        },
    },
];

/// Whether a body has all of these, as texts.
fn texts(body: &Value, names: &[&str]) -> bool {
    names.iter().all(|name| body[name].is_string())
}

/// Whose headers these are: any header of a sender counts, whatever its value.
#[must_use]
pub fn sender(headers: &HeaderMap) -> Option<&'static Sender> {
    SENDERS.iter().find(|sender| {
        headers.keys().any(|name| {
            sender
                .marks
                .iter()
                .any(|mark| is_marked(name.as_str(), mark))
        })
    })
}

/// Whose body this is.
#[must_use]
pub fn shape(body: &Value) -> Option<&'static Shape> {
    SHAPES.iter().find(|shape| (shape.fits)(body))
}

/// Whether a header is one of those that a mark stands for.
pub(crate) fn is_marked(name: &str, mark: &str) -> bool {
    if mark.ends_with('-') {
        name.starts_with(mark)
    } else {
        name == mark
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn named(names: &[&'static str]) -> Option<Vendor> {
        let headers = names
            .iter()
            .map(|name| (name.parse().expect("a name"), "".parse().expect("a value")))
            .collect();
        sender(&headers).map(|sender| sender.vendor)
    }

    #[test]
    fn the_most_specific_sender_counts() {
        let github = "x-github-event";
        assert_eq!(named(&[github]), Some(Vendor::Github));
        assert_eq!(named(&[github, "x-gogs-event"]), Some(Vendor::Gogs));
        let gitea = [github, "x-gogs-event", "x-gitea-event"];
        assert_eq!(named(&gitea), Some(Vendor::Gitea));
        let forgejo = [github, "x-forgejo-signature", "x-gitea-event"];
        assert_eq!(named(&forgejo), Some(Vendor::Forgejo));
        let key = "x-event-key";
        assert_eq!(named(&[key, "x-hook-uuid"]), Some(Vendor::Bitbucket));
        assert_eq!(
            named(&[key, "x-request-id"]),
            Some(Vendor::BitbucketDataCenter)
        );
        assert_eq!(
            named(&["webhook-id", "x-gitlab-event"]),
            Some(Vendor::Gitlab)
        );
    }

    #[test]
    fn what_others_send_as_well_names_nobody() {
        for name in [
            "x-hub-signature-256",
            "x-request-id",
            "webhook-id",
            "idempotency-key",
        ] {
            assert_eq!(named(&[name]), None, "{name}");
        }
    }

    #[test]
    fn a_body_is_told_by_its_shape_whatever_it_is() {
        let azure = json!({"eventType": "git.push", "publisherId": "tfs"});
        assert_eq!(
            shape(&azure).map(|shape| shape.vendor),
            Some(Vendor::AzureDevops)
        );
        for other in [json!({}), json!(null), json!([azure]), json!("x")] {
            assert!(shape(&other).is_none(), "{other}");
        }
    }
}
