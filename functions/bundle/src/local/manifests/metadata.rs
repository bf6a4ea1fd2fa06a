//! `metadata`: names, and the labels and annotations that mean something to Knative.

use std::collections::BTreeMap;

use super::report::{Object, did_you_mean};
use super::yaml::Position;

/// A manifest's name and what else `metadata` says.
pub(super) struct Metadata<'a> {
    pub(super) name: String,
    pub(super) at: Position,
    pub(super) labels: BTreeMap<&'a str, (&'a str, Position)>,
}

/// Annotations and labels of Knative's own that a kind may carry; those of others are free.
pub(super) struct Marks {
    annotations: &'static [&'static str],
    labels: &'static [&'static str],
}

/// The label that keeps a Service inside the cluster.
pub(super) const VISIBILITY: &str = "networking.knative.dev/visibility";
pub(super) const SERVICE_MARKS: Marks = Marks {
    annotations: &[
        "networking.knative.dev/disable-auto-tls",
        "networking.knative.dev/http-protocol",
        "networking.knative.dev/ingress-class",
        "serving.knative.dev/rollout-duration",
    ],
    labels: &[VISIBILITY],
};
pub(super) const TEMPLATE_MARKS: Marks = Marks {
    annotations: &[
        "autoscaling.knative.dev/activation-scale",
        "autoscaling.knative.dev/class",
        "autoscaling.knative.dev/initial-scale",
        "autoscaling.knative.dev/max-scale",
        "autoscaling.knative.dev/metric",
        "autoscaling.knative.dev/metric-aggregation-algorithm",
        "autoscaling.knative.dev/min-scale",
        "autoscaling.knative.dev/panic-threshold-percentage",
        "autoscaling.knative.dev/panic-window-percentage",
        "autoscaling.knative.dev/scale-down-delay",
        "autoscaling.knative.dev/scale-to-zero-pod-retention-period",
        "autoscaling.knative.dev/target",
        "autoscaling.knative.dev/target-burst-capacity",
        "autoscaling.knative.dev/target-utilization-percentage",
        "autoscaling.knative.dev/window",
        "serving.knative.dev/progress-deadline",
    ],
    labels: &[],
};
pub(super) const BROKER_MARKS: Marks = Marks {
    annotations: &[
        "eventing.knative.dev/broker.class",
        "messaging.knative.dev/async-handler",
    ],
    labels: &[],
};
pub(super) const TRIGGER_MARKS: Marks = Marks {
    annotations: &["knative.dev/dependency"],
    labels: &["eventing.knative.dev/broker"],
};
pub(super) const SOURCE_MARKS: Marks = Marks {
    annotations: &[],
    labels: &[],
};

/// The name of a manifest of which nothing else matters here.
pub(super) fn plain_metadata(root: &mut Object<'_>) -> Option<String> {
    let mut metadata = root.required_object("metadata")?;
    metadata
        .required_text("name")
        .map(|(name, _)| name.to_owned())
}

pub(super) fn metadata<'a>(
    root: &mut Object<'a>,
    namespace: &str,
    marks: &Marks,
) -> Option<Metadata<'a>> {
    let report = root.report;
    let mut metadata = root.required_object("metadata")?;
    let name = metadata.required_text("name");
    if let Some(other) = metadata.get("namespace")
        && report
            .text(other, "metadata.namespace")
            .is_some_and(|other| other != namespace)
    {
        report.say(
            other.at,
            format!("metadata.namespace must be `{namespace}`, as for all"),
        );
    }
    let labels = check_marks(&mut metadata, marks);
    metadata.finish();
    let (name, at) = name?;
    if !is_dns_label(name) {
        let rule = "lower-case letters, digits and `-`, at most 63, a letter or digit at each end";
        report.say(
            at,
            format!("metadata.name `{name}` is not a DNS label: {rule}"),
        );
        return None;
    }
    Some(Metadata {
        name: name.to_owned(),
        at,
        labels,
    })
}

/// Checks the annotations and labels of Knative's own, and returns the labels.
pub(super) fn check_marks<'a>(
    metadata: &mut Object<'a>,
    marks: &Marks,
) -> BTreeMap<&'a str, (&'a str, Position)> {
    let annotations = metadata.texts("annotations");
    let labels = metadata.texts("labels");
    let all = annotations
        .iter()
        .map(|(key, (_, at))| (key, at, "annotation", marks.annotations));
    let all = all.chain(
        labels
            .iter()
            .map(|(key, (_, at))| (key, at, "label", marks.labels)),
    );
    for (key, at, noun, known) in all {
        let domain = key.split('/').next().unwrap_or_default();
        let of_knative = domain == "knative.dev" || domain.ends_with(".knative.dev");
        if !of_knative || known.contains(key) {
            continue;
        }
        let message = if domain == "autoscaling.knative.dev" && metadata.path == "metadata" {
            format!("`{key}` has no effect here: it belongs to spec.template.metadata.annotations")
        } else if *key == VISIBILITY && noun == "annotation" {
            format!("`{key}` has no effect as an annotation: it is a label of the Service")
        } else {
            let hint = did_you_mean(key, known.iter().copied());
            format!("unknown {noun} `{key}` in {}{hint}", metadata.path)
        };
        metadata.report.say(*at, message);
    }
    labels
}

fn is_dns_label(name: &str) -> bool {
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = name.as_bytes();
    bytes.len() <= 63
        && bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes.iter().all(|b| alphanumeric(b) || *b == b'-')
}
