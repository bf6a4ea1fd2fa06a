//! Where HTTP bindings of CloudEvents have been seen to go wrong, one case each.

use axum::response::IntoResponse as _;
use events::{Message, Value, encode_batch, encode_binary, encode_structured};
use http::StatusCode;

use crate::{
    BATCH, REQUIRED, STRUCTURED, batch, binary_with, data_of, decode, envelope, headers, one,
    structured, told,
};

fn subject(value: &str) -> Option<String> {
    let message = binary_with("ce-subject", value).expect("a valid event");
    message.subject().map(str::to_owned)
}

fn refused(name: &str, value: &str) -> StatusCode {
    let error = binary_with(name, value).expect_err("it must be refused");
    error.status()
}

fn message() -> Message {
    Message::new("1", "/here", "com.example.happened").expect("a valid event")
}

#[test]
fn percent_coding_is_undone() {
    assert_eq!(subject("Euro%20%E2%82%AC").as_deref(), Some("Euro €"));
}

#[test]
fn quoting_is_undone() {
    assert_eq!(subject(r#""a \"b\"""#).as_deref(), Some(r#"a "b""#));
}

#[test]
fn what_a_header_cannot_hold_is_percent_coded() {
    let message = message()
        .with_subject(r#"Euro € "q" 100%"#)
        .expect("a valid subject");
    let response = message.into_response();
    let header = response.headers().get("ce-subject").expect("it was set");
    assert_eq!(header, "Euro%20%E2%82%AC%20%22q%22%20100%25");
}

#[test]
fn line_breaks_never_reach_a_header() {
    assert!(message().with_subject("a\r\nx-injected: 1").is_err());
    assert_eq!(refused("ce-subject", "a%0D%0Ax-injected: 1"), 400);
}

#[test]
fn the_content_type_matches_in_any_case() {
    let headers = headers(&[(
        "content-type",
        "Application/CloudEvents+JSON; charset=\"UTF-8\"",
    )]);
    assert!(one(decode(&headers, envelope(""))).is_ok());
}

#[test]
fn batches_are_read_and_written() {
    let messages = [message(), message().with_subject("2").expect("valid")];
    let (headers, body) = encode_batch(&messages);
    assert_eq!(headers["content-type"], BATCH.1);
    assert_eq!(batch(decode(&headers, body)).expect("a batch"), messages);
    assert_eq!(batch(decode(&headers, "[]")).expect("an empty batch"), []);
}

#[test]
fn structured_data_keeps_its_bytes() {
    let data = "{\"z\":1,\n \"a\": 12345678901234567890123, \"a\":1.0}";
    let message = structured(envelope(&format!(r#","data": {data} "#))).expect("valid");
    assert_eq!(data_of(&message), data.as_bytes());
    let (headers, body) = encode_structured(&message);
    let again = one(decode(&headers, body)).expect("valid");
    assert_eq!(again, message);
}

#[test]
fn binary_data_keeps_its_bytes() {
    let data = " {\"z\":1,\"a\":12345678901234567890123}\n";
    let headers = headers(
        REQUIRED
            .iter()
            .chain([&("content-type", "application/json")]),
    );
    let message = one(decode(&headers, data)).expect("valid");
    assert_eq!(data_of(&message), data.as_bytes());
    let (headers, body) = encode_structured(&message);
    let again = one(decode(&headers, body)).expect("valid");
    assert_eq!(data_of(&again), data.as_bytes(), "white space included");
}

#[test]
fn an_integer_has_32_bits() {
    for (given, expected) in [
        ("2147483647", i32::MAX),
        ("-2147483648", i32::MIN),
        ("-0", 0),
    ] {
        let message = structured(envelope(&format!(r#","depth":{given}"#))).expect("valid");
        assert_eq!(message.extension("depth"), Some(&Value::Integer(expected)));
    }
    for given in ["9999999999", "2147483648", "1.0", "1e2", "1e400"] {
        let error = structured(envelope(&format!(r#","depth":{given}"#))).expect_err(given);
        assert_eq!(error.status(), 400);
        assert!(told(&error).contains("32 bits"), "{}", told(&error));
    }
}

#[test]
fn what_every_event_has_may_not_be_empty_or_missing() {
    for name in ["id", "source", "type", "specversion"] {
        let header = format!("ce-{name}");
        let without = headers(REQUIRED.iter().filter(|(other, _)| **other != header));
        let error = one(decode(&without, "")).expect_err("one is missing");
        assert_eq!(error.status(), 400);
        assert!(error.to_string().contains(name), "{error}");

        let mut emptied = without.clone();
        let header = http::HeaderName::try_from(header).expect("a header name");
        emptied.insert(header, http::HeaderValue::from_static(""));
        let error = one(decode(&emptied, "")).expect_err("one is empty");
        assert_eq!(error.status(), 400);

        let member = format!(r#""{name}":""#);
        for instead in [r#""x":""#.to_owned(), format!(r#""{name}":null,"x":""#)] {
            let body = envelope("").replace(&member, &instead);
            let error = structured(body).expect_err("one is missing");
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}

#[test]
fn names_are_lower_case_letters_and_digits() {
    for name in ["ce-bad-name", "ce-foo_bar", "ce-", "ce-foo.bar", "ce-data"] {
        assert_eq!(refused(name, "x"), 400, "{name}");
    }
    for name in ["Bad-Name", "foo_bar", "", "badName", "é", "bad\\u0000"] {
        let error = structured(envelope(&format!(r#","{name}":"x""#))).expect_err(name);
        assert_eq!(error.status(), 400, "{name}");
    }
    // Header names have no case, so this is a good one.
    let message = binary_with("CE-TenantId", "a").expect("valid");
    assert_eq!(message.extension("tenantid"), Some(&"a".into()));
}

#[test]
fn the_sender_chooses_the_mode() {
    let (headers, body) = encode_structured(&message());
    assert_eq!(headers["content-type"], STRUCTURED.1);
    assert_eq!(one(decode(&headers, body)).expect("valid"), message());
    let (headers, body) = encode_binary(&message());
    assert_eq!(headers["ce-id"], "1");
    assert_eq!(one(decode(&headers, body)).expect("valid"), message());
}

#[test]
fn only_version_1_0_is_spoken() {
    for version in ["2.0", "0.3", "3.0", "1", "19.0", "1.0.0"] {
        let body = envelope("").replace("\"1.0\"", &format!("\"{version}\""));
        let error = structured(body).expect_err(version);
        assert_eq!(error.status(), 400);
        assert!(error.to_string().contains(version), "{error}");
        let mut headers = headers(&REQUIRED);
        headers.insert("ce-specversion", version.parse().expect("a header value"));
        assert_eq!(decode(&headers, "").expect_err(version).status(), 400);
    }
    let number = envelope("").replace("\"1.0\"", "1.0");
    assert_eq!(structured(number).expect_err("a number").status(), 400);
}

#[test]
fn a_bad_time_is_refused() {
    for time in ["yesterday", "2018-04-05", "2018-13-05T17:31:00Z", ""] {
        assert_eq!(refused("ce-time", time), 400, "{time:?}");
    }
}

#[test]
fn time_keeps_its_text() {
    let time = "2018-04-05T17:31:00.123456789+02:00";
    let message = binary_with("ce-time", time).expect("valid");
    assert_eq!(message.time().map(events::Time::as_str), Some(time));
    assert_eq!(encode_binary(&message).0["ce-time"], time);
}

#[test]
fn both_forms_of_data_exclude_each_other() {
    let error = structured(envelope(r#","data":1,"data_base64":"AA==""#)).expect_err("both");
    assert_eq!(error.status(), 400);
    assert!(structured(envelope(r#","data":null,"data_base64":null"#)).is_ok());
}

#[test]
fn a_wrong_encoding_is_refused() {
    for body in ["not an event", "", "[]", "5", "{", r#"{"id":"1"} {"#] {
        assert_eq!(structured(body).expect_err(body).status(), 400, "{body:?}");
    }
    for data in ["AA", "A===", "*", "AA==\\n", "AB=="] {
        let body = envelope(&format!(r#","data_base64":"{data}""#));
        assert_eq!(structured(body).expect_err(data).status(), 400, "{data:?}");
    }
    let utf16 = headers(&[(
        "content-type",
        "application/cloudevents+json; charset=utf-16",
    )]);
    assert_eq!(
        decode(&utf16, envelope("")).expect_err("UTF-16").status(),
        415
    );
}

#[test]
fn a_header_that_is_not_text_is_refused() {
    let mut headers = headers(&REQUIRED);
    let latin1 = http::HeaderValue::from_bytes(b"caf\xe9").expect("HTTP allows it");
    headers.insert("ce-subject", latin1);
    assert_eq!(decode(&headers, "").expect_err("Latin-1").status(), 400);
    assert_eq!(refused("ce-subject", "%C0%A0"), 400);
    assert_eq!(subject("Euro €").as_deref(), Some("Euro €"));
}

#[test]
fn a_relative_or_empty_source_and_an_odd_schema_are_told_apart() {
    assert_eq!(refused("ce-dataschema", ""), 400);
    assert_eq!(refused("ce-subject", ""), 400);
    let passed_on = binary_with("ce-dataschema", "wow").expect("brokers take it");
    assert!(events::Event::try_from(&passed_on).is_err());
}

#[test]
fn the_type_of_data_is_no_header_of_its_own() {
    assert_eq!(refused("ce-datacontenttype", "text/plain"), 400);
}

#[test]
fn in_structured_mode_the_body_wins_over_headers() {
    let headers = headers(REQUIRED.iter().chain([
        &STRUCTURED,
        &("ce-id", "2"),
        &("ce-Bad_name", "x"),
        &("ce-datacontenttype", "text/plain"),
    ]));
    let message = one(decode(&headers, envelope(r#","data":1"#))).expect("valid");
    assert_eq!(message.id(), "1");
    assert_eq!(message.datacontenttype(), None);
}

#[test]
fn an_unknown_format_is_passed_on_when_its_headers_are_an_event() {
    let avro = ("content-type", "application/cloudevents+avro");
    let error = decode(&headers(&[avro]), "\0\u{1}").expect_err("we cannot read Avro");
    assert_eq!(error.status(), 415);
    let message = one(decode(&headers(REQUIRED.iter().chain([&avro])), "\0\u{1}"));
    let message = message.expect("an event in binary mode");
    let (headers, body) = encode_binary(&message);
    assert_eq!(
        (&headers["content-type"], &body[..]),
        (&avro.1.parse().expect("ASCII"), &b"\0\x01"[..])
    );
}

#[test]
fn what_has_no_sign_of_an_event_is_none() {
    for content_type in ["application/json", "text/html"] {
        let error = decode(&headers(&[("content-type", content_type)]), "OK");
        let error = error.expect_err("an ordinary body");
        assert!(matches!(error, events::DecodeError::NotACloudEvent));
        assert_eq!(error.status(), 400);
    }
    assert!(decode(&headers(&[]), "").is_err());
}

#[test]
fn repeated_headers_and_members_are_refused() {
    assert_eq!(refused("ce-id", "2"), 400);
    let twice = [
        ("content-type", "text/plain"),
        ("content-type", "text/html"),
    ];
    assert_eq!(
        decode(&headers(&twice), "")
            .expect_err("two types")
            .status(),
        400
    );
    for members in [
        r#","id":"2""#,
        r#","\u0069d":"1""#,
        r#","x":null,"x":1"#,
        r#","data":1,"data":1"#,
        r#","data_base64":"","data_base64":"""#,
    ] {
        let error = structured(envelope(members)).expect_err(members);
        assert!(error.to_string().contains("more than once"), "{error}");
        assert_eq!(error.status(), 400);
    }
}

#[test]
fn a_member_that_no_attribute_can_be_is_refused() {
    for value in ["{}", "[]", "[1]"] {
        let error = structured(envelope(&format!(r#","x":{value}"#))).expect_err(value);
        assert_eq!(error.status(), 400);
    }
    let flag = structured(envelope(r#","x":true,"unset":null"#)).expect("valid");
    assert_eq!(flag.extension("x"), Some(&Value::Boolean(true)));
    assert_eq!(flag.extension("unset"), None);
    let number = structured(envelope(r#","subject":5"#)).expect_err("not a string");
    assert_eq!(number.status(), 400);
}

#[test]
fn data_that_is_not_json_is_a_string_in_an_envelope() {
    let xml = r#","datacontenttype":"application/xml","data":"<a b=\"\u00e9\"/>""#;
    let message = structured(envelope(xml)).expect("valid");
    assert_eq!(data_of(&message), r#"<a b="é"/>"#.as_bytes());
    for data in ["{}", "5", "null", r#""\ud800""#] {
        let body = envelope(&format!(r#","datacontenttype":"text/plain","data":{data}"#));
        assert_eq!(structured(body).expect_err(data).status(), 400, "{data}");
    }
}

#[test]
fn json_without_a_type_is_typed_when_it_leaves_its_envelope() {
    let message = structured(envelope(r#","data":"I'm just a string""#)).expect("valid");
    assert_eq!(message.datacontenttype(), None);
    let (headers, body) = encode_binary(&message);
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(body, r#""I'm just a string""#);
    let null = structured(envelope(r#","data":null"#)).expect("valid");
    assert_eq!(data_of(&null), b"null");
}

#[test]
fn an_event_as_data_is_not_taken_for_the_event() {
    for content_type in [STRUCTURED.1, BATCH.1] {
        let outer = message()
            .with_data(content_type, envelope("").replace(r#""1""#, r#""inner""#))
            .expect("a media type");
        let (headers, body) = encode_binary(&outer);
        let received = one(decode(&headers, body)).expect("valid");
        assert_eq!(received.id(), "1");
        assert_eq!(data_of(&received), data_of(&outer));
        assert_eq!(received.datacontenttype(), Some(content_type));
    }
}

#[test]
fn a_bad_content_type_is_refused() {
    for content_type in ["", "text", "text/", "caf\u{e9}/x"] {
        assert_eq!(
            refused("content-type", content_type),
            400,
            "{content_type:?}"
        );
    }
}
