//! Whatever an event holds, each mode gives it back.

use std::collections::BTreeMap;

use bytes::Bytes;
use events::{Event, Message, Value, encode_batch, encode_binary, encode_structured};
use http::HeaderMap;
use proptest::prelude::*;

use crate::{BATCH, STRUCTURED, batch, data_of, decode, headers, one};

/// Attributes by name, and the bytes of the data. Empty data and none are the same over headers.
type Facts = (BTreeMap<String, Value>, Vec<u8>);

fn facts(message: &Message) -> Facts {
    let core = [
        "specversion",
        "id",
        "source",
        "type",
        "subject",
        "time",
        "dataschema",
        "datacontenttype",
    ];
    let mut attributes = message.extensions().clone();
    for name in core {
        if let Some(value) = message.attribute(name) {
            attributes.insert(name.to_owned(), value);
        }
    }
    (attributes, data_of(message).to_vec())
}

/// The same where types are lost, as they are over headers.
fn as_text((attributes, data): Facts) -> (BTreeMap<String, String>, Vec<u8>) {
    let texts = attributes.into_iter();
    (
        texts
            .map(|(name, value)| (name, value.to_string()))
            .collect(),
        data,
    )
}

fn text() -> impl Strategy<Value = String> {
    let allowed = |c: &char| {
        let code = u32::from(*c);
        !c.is_control() && !(0xFDD0..=0xFDEF).contains(&code) && code & 0xFFFE != 0xFFFE
    };
    // Half of the characters are those that percent-coding and quoting are about.
    let one = prop_oneof![
        any::<char>().prop_filter("allowed in attributes", allowed),
        prop::sample::select(r#" "%\%2041€é😀"#.chars().collect::<Vec<_>>()),
    ];
    prop::collection::vec(one, 1..20).prop_map(String::from_iter)
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        text().prop_map(Value::from),
        Just(Value::from("")),
    ]
}

fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("12345678901234567890123".to_owned()),
        Just("1.0e400".to_owned()),
        Just(r#""\ud800\u0000\/""#.to_owned()),
        any::<String>().prop_map(|text| serde_json::Value::from(text).to_string()),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let space = prop::sample::select(vec!["", " ", "\n\t"]);
        let list = prop::collection::vec(inner, 0..4);
        (list, space, any::<bool>()).prop_map(|(items, space, object)| {
            let separator = format!("{space},{space}");
            if object {
                let members = items.iter().map(|item| format!("\"k\":{space}{item}"));
                format!("{{{}}}", members.collect::<Vec<_>>().join(&separator))
            } else {
                format!("[{space}{}]", items.join(&separator))
            }
        })
    })
}

fn data() -> impl Strategy<Value = Option<(String, Bytes)>> {
    let types = prop::sample::select(vec![
        "application/json",
        "application/problem+json; charset=utf-8",
        "text/plain; charset=utf-8",
        "application/xml",
        "application/octet-stream",
        "application/cloudevents+json",
        "application/cloudevents+avro",
    ]);
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from),
        any::<String>().prop_map(Bytes::from),
        json().prop_map(Bytes::from),
        json().prop_map(|json| Bytes::from(format!(" {json}\n"))),
    ];
    prop::option::of((types.prop_map(str::to_owned), bytes))
}

prop_compose! {
    fn message()(
        id in text(),
        source in text(),
        ty in text(),
        subject in prop::option::of(text()),
        time in prop::option::of(prop::sample::select(vec![
            "2018-04-05T17:31:00Z",
            "2018-04-05T17:31:00.1200+02:00",
        ])),
        dataschema in prop::option::of(text()),
        extensions in prop::collection::btree_map("x[a-z0-9]{1,19}", value(), 0..5),
        data in data(),
    ) -> Message {
        let build = || {
            let mut message = Message::new(id, source, ty)?;
            if let Some(subject) = subject {
                message = message.with_subject(subject)?;
            }
            if let Some(time) = time {
                message = message.with_time(time)?;
            }
            if let Some(dataschema) = dataschema {
                message = message.with_dataschema(dataschema)?;
            }
            for (name, value) in extensions {
                message = message.with_extension(name, value)?;
            }
            match data {
                Some((datacontenttype, bytes)) => message.with_data(datacontenttype, bytes),
                None => Ok(message),
            }
        };
        let built: Result<Message, events::AttributeError> = build();
        built.expect("only what is allowed is generated")
    }
}

fn sent((headers, body): (HeaderMap, Bytes)) -> Message {
    one(decode(&headers, body)).expect("what we send we also take")
}

proptest! {
    #[test]
    fn binary_mode_keeps_texts_and_bytes(message in message()) {
        let (headers, body) = encode_binary(&message);
        for value in headers.values() {
            let printable = value.as_bytes().iter().all(|byte| (b' '..=b'~').contains(byte));
            prop_assert!(printable, "{value:?}");
        }
        prop_assert_eq!(as_text(facts(&sent((headers, body)))), as_text(facts(&message)));
    }

    #[test]
    fn structured_mode_keeps_types_and_bytes(message in message()) {
        prop_assert_eq!(facts(&sent(encode_structured(&message))), facts(&message));
    }

    #[test]
    fn a_batch_keeps_order_types_and_bytes(messages in prop::collection::vec(message(), 0..4)) {
        let (headers, body) = encode_batch(&messages);
        let received = batch(decode(&headers, body)).expect("what we send we also take");
        let facts = |messages: &[Message]| messages.iter().map(facts).collect::<Vec<_>>();
        prop_assert_eq!(facts(&received), facts(&messages));
    }

    #[test]
    fn hops_in_other_modes_change_nothing_but_types(message in message()) {
        let hops = sent(encode_structured(&sent(encode_binary(&sent(encode_structured(&message))))));
        prop_assert_eq!(as_text(facts(&hops)), as_text(facts(&message)));
    }

    #[test]
    fn a_structured_hop_is_stable(message in message()) {
        let first = encode_structured(&message);
        let second = encode_structured(&sent(first.clone()));
        prop_assert_eq!(first.1, second.1);
    }

    #[test]
    fn the_event_that_functions_see_keeps_bytes_and_types(message in message()) {
        let absolute = message.with_dataschema("https://example.com/schema").expect("valid");
        let event = Event::try_from(&absolute).expect("an absolute schema");
        let mut again = facts(&Message::try_from(event).expect("it was one"));
        let mut before = facts(&absolute);
        // The SDK keeps the instant, not its spelling.
        again.0.remove("time");
        before.0.remove("time");
        prop_assert_eq!(again, before);
    }

    #[test]
    fn any_body_is_an_event_or_a_refusal(
        body in prop::collection::vec(any::<u8>(), 0..200),
        mode in prop::sample::select(vec![STRUCTURED, BATCH, ("ce-id", "1")]),
    ) {
        if let Err(error) = decode(&headers(&[mode]), body) {
            prop_assert!(error.status().is_client_error());
        }
    }

    #[test]
    fn any_member_is_an_attribute_or_a_refusal(name in any::<String>(), value in json()) {
        let name = serde_json::Value::from(name);
        let body = crate::envelope(&format!(",{name}:{value}"));
        if let Err(error) = decode(&headers(&[STRUCTURED]), body) {
            prop_assert!(error.status().is_client_error());
        }
    }
}
