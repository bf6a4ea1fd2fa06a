//! What joins functions: Brokers, Triggers, PingSources, and how and where they deliver.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono_tz::Tz;
use url::Url;

use super::duration;
use super::kinds::{
    BackoffPolicy, Broker, Delivery, Destination, Format, PingSource, Target, Trigger,
};
use super::metadata::{BROKER_MARKS, SOURCE_MARKS, TRIGGER_MARKS, metadata};
use super::pods::needs;
use super::report::{Object, Report, did_you_mean};
use super::schedule::Schedule;
use super::yaml::{Node, Position};

/// Knative puts no limit on retries; a count beyond this is a slip of the hand.
const RETRY_MAX: u32 = 1_000;

pub(super) fn broker(mut root: Object<'_>, namespace: &str) -> Option<Broker> {
    let report = root.report;
    let metadata = metadata(&mut root, namespace, &BROKER_MARKS);
    let spec = root.object("spec");
    root.finish();
    let mut delivery = None;
    if let Some(mut spec) = spec {
        delivery = spec
            .object("delivery")
            .map(|object| read_delivery(object, namespace));
        // Of the channels behind the Broker; here there are none.
        spec.accept(&["config"]);
        spec.finish();
    }
    let metadata = metadata?;
    Some(Broker {
        place: report.place(metadata.at),
        name: metadata.name,
        delivery,
    })
}

pub(super) fn trigger(mut root: Object<'_>, namespace: &str) -> Option<Trigger> {
    let report = root.report;
    let metadata = metadata(&mut root, namespace, &TRIGGER_MARKS);
    let spec = root.required_object("spec");
    root.finish();
    let (metadata, mut spec) = (metadata?, spec?);
    spec.refuse(
        "brokerRef",
        "Knative has it switched off by default: name the `broker`",
    );
    let broker = spec.required_text("broker");
    let mut attributes = BTreeMap::new();
    if let Some(mut filter) = spec.object("filter") {
        for (key, (value, at)) in filter.texts("attributes") {
            if !is_attribute_name(key) {
                let rule = "a lower-case letter, then lower-case letters and digits";
                report.say(
                    at,
                    format!("`{key}` is not an attribute that can be filtered: {rule}"),
                );
            }
            attributes.insert(key.to_owned(), value.to_owned());
        }
        filter.finish();
    }
    // An empty list means `filter`, as on a cluster; any other would replace it.
    let filters = spec.list("filters");
    if let Some(first) = filters.first() {
        report.say(
            first.at,
            "filters are not run here yet: use filter.attributes",
        );
    }
    let subscriber = required_destination(&mut spec, "subscriber", namespace);
    let delivery = spec
        .object("delivery")
        .map(|object| read_delivery(object, namespace));
    spec.finish();
    Some(Trigger {
        place: report.place(metadata.at),
        name: metadata.name,
        broker: broker?.0.to_owned(),
        attributes,
        subscriber: subscriber?,
        delivery,
    })
}

fn is_attribute_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

fn read_delivery(mut object: Object<'_>, namespace: &str) -> Delivery {
    let report = object.report;
    let retry = object.integer("retry", 0..=RETRY_MAX);
    let backoff_policy = choice(
        &mut object,
        "backoffPolicy",
        &[
            ("linear", BackoffPolicy::Linear),
            ("exponential", BackoffPolicy::Exponential),
        ],
    );
    let backoff_delay = read_duration(&mut object, "backoffDelay");
    let timeout = read_duration(&mut object, "timeout");
    if timeout == Some(Duration::ZERO) {
        report.say(object.at, "delivery.timeout must be longer than nothing");
    }
    let dead_letter_sink = object
        .get("deadLetterSink")
        .and_then(|node| destination(report, node, namespace));
    let format = choice(
        &mut object,
        "format",
        &[("json", Format::Json), ("binary", Format::Binary)],
    );
    object.refuse("retryAfterMax", &needs("delivery-retryafter"));
    object.finish();
    Delivery {
        retry,
        backoff_policy,
        backoff_delay,
        timeout,
        dead_letter_sink,
        format,
    }
}

fn read_duration(object: &mut Object<'_>, key: &'static str) -> Option<Duration> {
    let at = object.get(key)?.at;
    match duration::parse(object.text(key)?) {
        Ok(duration) => Some(duration),
        Err(message) => {
            object.report.say(at, format!("{key}: {message}"));
            None
        }
    }
}

fn choice<T: Copy>(object: &mut Object<'_>, key: &'static str, all: &[(&str, T)]) -> Option<T> {
    let at = object.get(key)?.at;
    let text = object.text(key)?;
    let found = all
        .iter()
        .find(|(name, _)| *name == text)
        .map(|(_, value)| *value);
    if found.is_none() {
        let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
        let hint = did_you_mean(text, names.iter().copied());
        let known = names.join(", ");
        object.report.say(
            at,
            format!("{key} cannot be `{text}`{hint}; known are: {known}"),
        );
    }
    found
}

pub(super) fn extensions(spec: &mut Object<'_>) -> BTreeMap<String, String> {
    let Some(mut overrides) = spec.object("ceOverrides") else {
        return BTreeMap::new();
    };
    let mut extensions = BTreeMap::new();
    for (key, (value, at)) in overrides.texts("extensions") {
        if !is_attribute_name(key) {
            overrides.report.say(
                at,
                format!("`{key}` is not a name for an extension attribute"),
            );
        }
        extensions.insert(key.to_owned(), value.to_owned());
    }
    overrides.finish();
    extensions
}

pub(super) fn required_destination(
    owner: &mut Object<'_>,
    key: &'static str,
    namespace: &str,
) -> Option<Destination> {
    let node = owner.required(key)?;
    destination(owner.report, node, namespace)
}

/// Reads `{ref, uri}`: a reference, a reference and a path under it, or an absolute URL.
fn destination(report: &Report, node: &Node, namespace: &str) -> Option<Destination> {
    let mut object = report.object(node, "the destination")?;
    let uri = object
        .get("uri")
        .and_then(|uri| Some((report.text(uri, "uri")?, uri.at)));
    let reference = object.object("ref");
    object.accept(&["CACerts", "audience"]);
    object.finish();
    let target = match (reference, uri) {
        (None, None) => {
            report.say(node.at, "a destination needs a `ref` or a `uri`");
            None
        }
        (None, Some((uri, at))) => match Url::parse(uri) {
            Ok(url) if url.has_host() => Some(Target::Url(url)),
            Ok(_) | Err(_) => {
                report.say(
                    at,
                    format!("uri `{uri}` must be absolute where there is no `ref`"),
                );
                None
            }
        },
        (Some(reference), uri) => resolve(reference, uri, namespace),
    };
    Some(Destination {
        target: target?,
        place: report.place(node.at),
    })
}

fn resolve(
    mut reference: Object<'_>,
    uri: Option<(&str, Position)>,
    namespace: &str,
) -> Option<Target> {
    let report = reference.report;
    let version = reference.required_text("apiVersion");
    let kind = reference.required_text("kind");
    let name = reference.required_text("name");
    if let Some(other) = reference.get("namespace")
        && report
            .text(other, "ref.namespace")
            .is_some_and(|other| other != namespace)
    {
        report.say(
            other.at,
            format!("ref.namespace must be `{namespace}`: there is only one here"),
        );
    }
    reference.finish();
    let ((version, _), (kind, kind_at), (name, _)) = (version?, kind?, name?);
    let name = name.to_owned();
    match (version, kind, uri) {
        ("serving.knative.dev/v1", "Service", None) => Some(Target::Service {
            name,
            path: "/".to_owned(),
        }),
        ("serving.knative.dev/v1", "Service", Some((path, _))) if path.starts_with('/') => {
            Some(Target::Service {
                name,
                path: path.to_owned(),
            })
        }
        ("serving.knative.dev/v1", "Service", Some((uri, at))) => {
            report.say(
                at,
                format!("uri `{uri}` must start with `/` where there is a `ref`"),
            );
            None
        }
        ("eventing.knative.dev/v1", "Broker", None) => Some(Target::Broker { name }),
        ("eventing.knative.dev/v1", "Broker", Some((_, at))) => {
            report.say(at, "a Broker has one address: leave `uri` out");
            None
        }
        ("v1", "Service", _) => {
            let message = "a plain Service has no address on one machine: give its `uri`, or \
                           apiVersion serving.knative.dev/v1 for one of ours";
            report.say(kind_at, message);
            None
        }
        _ => {
            let message = format!(
                "a {kind} of {version} does not receive events here: only a Service of \
                 serving.knative.dev/v1 and a Broker of eventing.knative.dev/v1 do"
            );
            report.say(kind_at, message);
            None
        }
    }
}

pub(super) fn ping_source(mut root: Object<'_>, namespace: &str) -> Option<PingSource> {
    let report = root.report;
    let metadata = metadata(&mut root, namespace, &SOURCE_MARKS);
    let spec = root.required_object("spec");
    root.finish();
    let (metadata, mut spec) = (metadata?, spec?);
    let timezone = timezone(&mut spec);
    let schedule_at = spec.get("schedule").map_or(spec.at, |node| node.at);
    let schedule = spec.text("schedule").unwrap_or("* * * * *");
    let schedule = match Schedule::parse(schedule, timezone) {
        Ok(schedule) => Some(schedule),
        Err(message) => {
            report.say(schedule_at, format!("schedule `{schedule}`: {message}"));
            None
        }
    };
    let content_type = spec.text("contentType").map(str::to_owned);
    let data = payload(&mut spec, content_type.as_deref());
    let sink = required_destination(&mut spec, "sink", namespace);
    let extensions = extensions(&mut spec);
    spec.finish();
    Some(PingSource {
        place: report.place(metadata.at),
        name: metadata.name,
        schedule: schedule?,
        content_type,
        data,
        sink: sink?,
        extensions,
    })
}

fn timezone(spec: &mut Object<'_>) -> Tz {
    let Some(node) = spec.get("timezone") else {
        return chrono_tz::UTC;
    };
    let Some(name) = spec.text("timezone").filter(|name| !name.is_empty()) else {
        return chrono_tz::UTC;
    };
    name.parse().unwrap_or_else(|_| {
        let hint = did_you_mean(name, chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()));
        spec.report
            .say(node.at, format!("timezone `{name}` is not known{hint}"));
        chrono_tz::UTC
    })
}

/// The data of a PingSource's events, from `data` or `dataBase64`.
fn payload(spec: &mut Object<'_>, content_type: Option<&str>) -> Option<Vec<u8>> {
    let report = spec.report;
    let plain = spec.get("data").map(|node| (node.at, "data"));
    let encoded = spec.get("dataBase64").map(|node| (node.at, "dataBase64"));
    let (at, field, bytes) = match (plain, encoded) {
        (None, None) => return None,
        (Some(_), Some((at, _))) => {
            report.say(at, "data and dataBase64 cannot both be given");
            return None;
        }
        (Some((at, field)), None) => (at, field, spec.text("data")?.as_bytes().to_owned()),
        (None, Some((at, field))) => match BASE64_STANDARD.decode(spec.text("dataBase64")?) {
            Ok(bytes) => (at, field, bytes),
            Err(error) => {
                report.say(at, format!("dataBase64 is not base64: {error}"));
                return None;
            }
        },
    };
    // Knative's own check, which takes objects alone, and only for exactly this content type.
    if content_type == Some("application/json")
        && let Err(error) = serde_json::from_slice::<serde_json::Map<_, _>>(&bytes)
    {
        report.say(
            at,
            format!("{field} must be a JSON object, as contentType says: {error}"),
        );
        return None;
    }
    Some(bytes)
}
