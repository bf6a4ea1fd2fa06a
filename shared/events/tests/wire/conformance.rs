//! Data that others published for implementations of CloudEvents and of Knative's broker.

use std::collections::BTreeMap;

use events::filter::{self, Outcome};
use events::{Message, encode_binary, encode_structured};
use http::HeaderMap;
use serde::Deserialize;

use crate::{data_of, decode, headers, one};

/// The text of a file of the conformance data; `None` where the data is not on this machine.
fn conformance(path: &str) -> Option<String> {
    let file = testkit::conformance(path)?;
    match std::fs::read_to_string(&file) {
        Ok(text) => Some(text),
        Err(error) => panic!("{}: {error}", file.display()),
    }
}

/// The cells of a table row in a feature file.
fn cells(line: &str) -> Vec<&str> {
    let inner = line.trim().trim_matches('|');
    inner.split('|').map(str::trim).collect()
}

/// What stands between the pairs of `"""`, with the indentation of the quotes taken off.
fn doc_strings(scenario: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Option<(usize, Vec<&str>)> = None;
    for line in scenario.lines() {
        let indent = line.len() - line.trim_start().len();
        if line.trim() == "\"\"\"" {
            match open.take() {
                Some((_, lines)) => found.push(lines.join("\n")),
                None => open = Some((indent, Vec::new())),
            }
        } else if let Some((indent, lines)) = &mut open {
            lines.push(line.get(*indent..).unwrap_or_default());
        }
    }
    found
}

fn http_message(text: &str) -> (HeaderMap, String) {
    let (head, body) = text.split_once("\n\n").expect("a head and a body");
    let pairs: Vec<_> = head
        .lines()
        .skip(1)
        .map(|line| line.split_once(": ").expect("name and value"))
        .collect();
    (headers(&pairs), body.to_owned())
}

#[test]
fn the_http_binding_feature_holds() {
    let path = "cloudevents/conformance/features/http-protocol-binding.feature";
    let Some(feature) = conformance(path) else {
        return;
    };
    let mut cases = 0;
    for outline in feature.split("Scenario Outline:").skip(1) {
        let (scenario, examples) = outline.split_once("Examples:").expect("examples");
        let rows = examples.lines().filter(|line| line.trim().starts_with('|'));
        for row in rows.skip(1) {
            let [content_type] = cells(row)[..] else {
                panic!("one column: {row}");
            };
            let scenario = scenario.replace("<contentType>", content_type);
            let strings = doc_strings(&scenario);
            let [request, data] = &strings[..] else {
                panic!("a request and its data");
            };
            let (headers, body) = http_message(request);
            let message = one(decode(&headers, body)).expect(content_type);

            let table = scenario.lines().filter(|line| line.trim().starts_with('|'));
            for row in table.skip(1) {
                let [name, value] = cells(row)[..] else {
                    panic!("two columns: {row}");
                };
                assert_eq!(
                    message.attribute(name),
                    Some(value.into()),
                    "{content_type}"
                );
            }
            let expected: serde_json::Value = serde_json::from_str(data).expect("JSON");
            let actual: serde_json::Value = message.json().expect("JSON");
            assert_eq!(actual, expected);
            cases += 1;
        }
    }
    assert_eq!(cases, 4, "the feature has two outlines with two examples");
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Sample {
    context_attributes: Context,
    data: String,
}

#[derive(Deserialize)]
struct Context {
    specversion: String,
    #[serde(rename = "type")]
    ty: String,
    id: String,
    source: String,
    time: Option<String>,
    datacontenttype: Option<String>,
    #[serde(default, rename = "Extensions")]
    extensions: BTreeMap<String, String>,
}

impl Sample {
    /// The event in binary mode as a sender without percent-coding writes it.
    fn request(&self) -> (HeaderMap, String) {
        let context = &self.context_attributes;
        let mut pairs = vec![
            ("ce-specversion".to_owned(), context.specversion.as_str()),
            ("ce-type".to_owned(), &context.ty),
            ("ce-id".to_owned(), &context.id),
            ("ce-source".to_owned(), &context.source),
        ];
        if let Some(time) = &context.time {
            pairs.push(("ce-time".to_owned(), time));
        }
        if let Some(datacontenttype) = &context.datacontenttype {
            pairs.push(("content-type".to_owned(), datacontenttype));
        }
        for (name, value) in &context.extensions {
            // The line break at the end is the block scalar's; no attribute can hold one.
            pairs.push((format!("ce-{name}"), value.trim_end()));
        }
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(name, value)| (&name[..], *value))
            .collect();
        (headers(&pairs), self.data.clone())
    }
}

fn samples(path: &str) -> Option<Vec<Sample>> {
    let text = conformance(&format!("cloudevents/conformance/yaml/{path}"))?;
    Some(serde_saphyr::from_multiple(&text).expect("the samples"))
}

#[test]
fn the_sample_events_survive_every_mode() {
    for (path, count) in [("v1.yaml", 2), ("v1.0/v1_minimum.yaml", 6)] {
        let Some(samples) = samples(path) else { return };
        assert_eq!(samples.len(), count, "{path}");
        for sample in samples {
            let (headers, body) = sample.request();
            let message = one(decode(&headers, body)).expect(&sample.context_attributes.id);
            assert_eq!(data_of(&message), sample.data.as_bytes());
            for (name, value) in &sample.context_attributes.extensions {
                assert_eq!(message.attribute(name), Some(value.trim_end().into()));
            }
            for (headers, body) in [encode_binary(&message), encode_structured(&message)] {
                let again = one(decode(&headers, body)).expect("what we send we take");
                assert_eq!(data_of(&again), data_of(&message));
                assert_eq!(again.id(), message.id());
                assert_eq!(again.datacontenttype(), message.datacontenttype());
                assert_eq!(again.extensions(), message.extensions());
            }
        }
    }
}

#[test]
fn the_sample_events_of_version_0_3_are_refused_by_their_version() {
    for path in ["v03.yaml", "v0.3/v03_minimum.yaml"] {
        let Some(samples) = samples(path) else { return };
        for sample in samples {
            let (headers, body) = sample.request();
            let error = one(decode(&headers, body)).expect_err(path);
            assert!(error.to_string().contains("0.3"), "{error}");
            assert_eq!(error.status(), 400);
        }
    }
}

#[derive(Deserialize)]
struct Filters {
    base_event: BTreeMap<String, String>,
    attributes: Vec<FilterRow>,
}

#[derive(Deserialize)]
struct FilterRow {
    filter: Option<BTreeMap<String, String>>,
    event: BTreeMap<String, String>,
    want: String,
}

fn event_of(attributes: &BTreeMap<String, String>) -> Message {
    let pairs: Vec<_> = attributes
        .iter()
        .map(|(name, value)| match name.as_str() {
            "datacontenttype" => ("content-type".to_owned(), value.as_str()),
            name => (format!("ce-{name}"), value.as_str()),
        })
        .collect();
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(name, value)| (&name[..], *value))
        .collect();
    one(decode(&headers(&pairs), "")).expect("a valid event")
}

#[test]
fn the_attribute_filters_of_triggers_decide_as_in_knative() {
    let Some(text) = conformance("knative/trigger-filters.yaml") else {
        return;
    };
    let filters: Filters = serde_saphyr::from_str(&text).expect("the table");
    assert_eq!(filters.attributes.len(), 14);
    for (index, row) in filters.attributes.into_iter().enumerate() {
        let mut event = filters.base_event.clone();
        event.extend(row.event);
        let filter = row.filter.unwrap_or_default();
        let outcome = filter::matches(&filter, &event_of(&event));
        // "none" is no filter at all, which lets the event pass.
        let delivered = row.want != "fail";
        assert_eq!(
            outcome == Outcome::Pass,
            delivered,
            "row {index}: {outcome}"
        );
    }
}

#[derive(Deserialize)]
struct Ingress {
    tests: Vec<IngressRow>,
}

#[derive(Deserialize)]
struct IngressRow {
    method: String,
    path: String,
    #[serde(default)]
    event: String,
    status: serde_json::Value,
}

/// The request that a row describes; `None` where the row is about the broker's hop count.
fn described(event: &str) -> Option<(HeaderMap, &'static str)> {
    let structured = [("content-type", "application/cloudevents+json")];
    let binary = |version, content_type| {
        headers(&[
            ("ce-specversion", version),
            ("ce-id", "1"),
            ("ce-source", "/here"),
            ("ce-type", "com.example.happened"),
            ("content-type", content_type),
        ])
    };
    match event {
        "valid" => Some((binary("1.0", "application/json"), "{}")),
        "structured JSON missing a required attribute" => Some((
            headers(&structured),
            r#"{"specversion":"1.0","id":"1","source":"/here"}"#,
        )),
        "body 'not an event' with content-type application/cloudevents+json" => {
            Some((headers(&structured), "not an event"))
        }
        "specversion 19.0" => Some((binary("19.0", "application/json"), "{}")),
        "binary, content-type application/vnd.apache.thrift.binary" => Some((
            binary("1.0", "application/vnd.apache.thrift.binary"),
            "\u{1}",
        )),
        "binary, content-type application/xml" => Some((binary("1.0", "application/xml"), "<a/>")),
        hops if hops.starts_with("extension knativebrokerttl") => None,
        unknown => panic!("the table has a new kind of event: {unknown}"),
    }
}

#[test]
fn the_ingress_of_a_broker_takes_and_refuses_the_same_events() {
    let Some(text) = conformance("knative/ingress-http.yaml") else {
        return;
    };
    let table: Ingress = serde_saphyr::from_str(&text).expect("the table");
    // Other methods and paths are refused before anybody looks at the event.
    let decoded = table
        .tests
        .iter()
        .filter(|row| row.method == "POST" && row.path.trim_end_matches('/') == "/ns/name");
    let mut cases = 0;
    for row in decoded {
        let Some((headers, body)) = described(&row.event) else {
            continue;
        };
        let class = row.status.to_string().trim_matches('"').as_bytes()[0];
        match (class, decode(&headers, body)) {
            (b'2', Ok(_)) => {}
            (b'4', Err(error)) => assert_eq!(error.status(), 400, "{}", row.event),
            (_, outcome) => panic!("{}: {outcome:?}", row.event),
        }
        cases += 1;
    }
    assert_eq!(cases, 7);
}
