//! Input made to hurt: refused with a status, in bounded time, memory and stack.

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use events::{
    BATCH_EVENTS_MAX, DATA_DEPTH_MAX, DecodeError, EVENT_BYTES_MAX, Limits, Message, encode_batch,
    encode_structured, receive, receive_any,
};
use futures::StreamExt as _;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    BATCH, REQUIRED, STRUCTURED, batch, binary_with, data_of, decode, envelope, headers, one,
    structured, told,
};

const BOMB_LEVELS: usize = 100_000;
/// A quarter of what a thread of an async runtime usually has.
const STACK_BYTES: usize = 512 * 1024;

fn on_a_small_stack(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(test);
    thread.expect("a thread").join().expect("the test itself");
}

fn nested(open: &str, close: &str, levels: usize) -> String {
    format!("{}1{}", open.repeat(levels), close.repeat(levels))
}

#[test]
fn a_depth_bomb_is_a_clean_400() {
    on_a_small_stack(|| {
        for bomb in [
            nested("[", "]", BOMB_LEVELS),
            nested(r#"{"a":"#, "}", BOMB_LEVELS),
            "[".repeat(BOMB_LEVELS),
            "[{\"a\":".repeat(BOMB_LEVELS / 2),
        ] {
            for body in [
                envelope(&format!(r#","data":{bomb}"#)),
                envelope(&format!(r#","x":{bomb}"#)),
                bomb,
            ] {
                let error = structured(body.clone()).expect_err("a bomb");
                assert!(matches!(error, DecodeError::TooDeep), "{error}");
                assert_eq!(error.status(), 400);
                let error = decode(&headers(&[BATCH]), format!("[{body}]"));
                assert_eq!(error.expect_err("a bomb").status(), 400);
            }
        }
    });
}

#[test]
fn the_depth_limit_is_exact() {
    let data = |levels| envelope(&format!(r#","data":{}"#, nested("[", "]", levels)));
    let deepest = structured(data(DATA_DEPTH_MAX)).expect("within the limit");
    assert!(deepest.json::<serde_json::Value>().is_ok(), "and readable");
    let (headers, body) = encode_batch(std::slice::from_ref(&deepest));
    assert_eq!(
        batch(decode(&headers, body)).expect("in a batch too"),
        [deepest]
    );
    assert!(structured(data(DATA_DEPTH_MAX + 1)).is_err());
}

#[test]
fn our_own_value_beyond_the_depth_limit_still_arrives() {
    let levels = 0..DATA_DEPTH_MAX;
    let value = levels.fold(serde_json::json!([]), |inner, _| serde_json::json!([inner]));
    let message = Message::new("1", "/here", "t").expect("a valid event");
    let message = message.with_json(&value).expect("JSON");
    let (headers, body) = encode_structured(&message);
    let received = one(decode(&headers, body)).expect("what we send we take");
    assert_eq!(received.json::<serde_json::Value>().expect("JSON"), value);
}

#[test]
fn a_depth_bomb_in_binary_mode_is_bytes_that_nobody_can_read() {
    on_a_small_stack(|| {
        let bomb = nested("[", "]", BOMB_LEVELS);
        let json = ("content-type", "application/json");
        let message = one(decode(
            &headers(REQUIRED.iter().chain([&json])),
            bomb.clone(),
        ));
        let message = message.expect("bytes are bytes");
        assert!(message.json::<serde_json::Value>().is_err());
        let (headers, body) = encode_structured(&message);
        let again = one(decode(&headers, body)).expect("it is put in as base64");
        assert_eq!(data_of(&again), bomb.as_bytes());
    });
}

#[test]
fn a_body_over_the_limit_is_413() {
    let long = "x".repeat(EVENT_BYTES_MAX);
    let error = structured(envelope(&format!(r#","data":"{long}""#))).expect_err("too long");
    assert_eq!(error.status(), 413);
    let error = decode(&headers(&REQUIRED), format!("{long}x")).expect_err("too long");
    assert_eq!(error.status(), 413);
    assert!(decode(&headers(&REQUIRED), long.clone()).is_ok());

    let large = envelope(&format!(r#","data":"{long}""#));
    let error = decode(&headers(&[BATCH]), format!("[{large}]")).expect_err("one too long");
    assert_eq!(error.status(), 413, "an event of a batch may have no more");
}

#[test]
fn members_without_number_are_refused_and_data_may_have_them() {
    let members =
        |count: usize| -> String { (0..count).map(|n| format!(r#","k{n}":1"#)).collect() };
    let error = structured(envelope(&members(50_000))).expect_err("too many");
    assert_eq!(error.status(), 400);
    assert!(
        told(&error).contains("more than 64 attributes"),
        "{}",
        told(&error)
    );
    let object = format!(r#","data":{{"k":0{}}}"#, members(50_000));
    assert!(structured(envelope(&object)).is_ok());
}

#[test]
fn data_is_passed_on_whatever_a_reader_will_make_of_it() {
    for data in [
        r#"{"a":1,"a":2}"#,
        "1e400",
        r#""\ud800""#,
        r#"{"\udc00":"\u0000"}"#,
        "-0.0",
    ] {
        let message = structured(envelope(&format!(r#","data":{data}"#))).expect(data);
        assert_eq!(data_of(&message), data.as_bytes());
        let (headers, body) = encode_structured(&message);
        assert_eq!(one(decode(&headers, body)).expect(data), message);
    }
    let beyond = structured(envelope(r#","data":1e400"#)).expect("valid JSON");
    assert!(beyond.json::<f64>().is_err());
    let lone = structured(envelope(r#","data":"\ud800""#)).expect("valid JSON");
    assert!(lone.json::<String>().is_err());
}

#[test]
fn attributes_with_nul_or_lone_surrogates_are_refused() {
    for text in [
        r"\u0000",
        r"a\u0085",
        r"\ud800",
        r"\udc00\ud800",
        r"\uffff",
        r"\n",
    ] {
        let extension = envelope(&format!(r#","x":"{text}""#));
        let id = envelope("").replace(r#""id":"1""#, &format!(r#""id":"{text}""#));
        for body in [extension, id] {
            assert_eq!(structured(body).expect_err(text).status(), 400, "{text}");
        }
    }
    for text in ["%00", "a%C2%85", "%ED%A0%80", "%EF%BF%BF", "a\tb"] {
        assert_eq!(
            binary_with("ce-x", text).expect_err(text).status(),
            400,
            "{text}"
        );
    }
}

#[test]
fn a_body_that_is_not_utf8_is_refused_unless_it_is_opaque() {
    let (before, after) = (envelope(r#","data":""#), "\"}");
    let mut body = before.trim_end_matches('}').as_bytes().to_vec();
    body.push(0xff);
    body.extend_from_slice(after.as_bytes());
    let error = structured(body).expect_err("not UTF-8");
    assert!(matches!(error, DecodeError::NotUtf8(_)), "{error}");
    assert_eq!(error.status(), 400);
    let message = one(decode(&headers(&REQUIRED), &b"\xff\xfe"[..])).expect("opaque");
    assert_eq!(data_of(&message), b"\xff\xfe");
}

#[test]
fn a_batch_is_taken_whole_or_not_at_all() {
    let of = |count| vec![envelope(""); count].join(",");
    let decoded = batch(decode(
        &headers(&[BATCH]),
        format!("[{}]", of(BATCH_EVENTS_MAX)),
    ));
    assert_eq!(decoded.expect("within the limit").len(), BATCH_EVENTS_MAX);

    let error = decode(&headers(&[BATCH]), format!("[{}]", of(10_000))).expect_err("too many");
    assert_eq!(error.status(), 413);

    let bad = format!("[{},{}]", of(2), envelope(r#","Bad":1"#));
    let error = decode(&headers(&[BATCH]), bad).expect_err("the third is bad");
    assert_eq!(error.status(), 400);
    assert!(error.to_string().contains("event 2"), "{error}");

    for body in ["{}", "[", "[1]", "[null]", "[[]]", "[] []", ""] {
        let error = decode(&headers(&[BATCH]), body).expect_err(body);
        assert_eq!(error.status(), 400, "{body:?}");
    }
}

#[test]
fn names_of_ten_kilobytes_are_refused_without_repeating_them() {
    let name = "a".repeat(10_000);
    let error = binary_with(&format!("ce-{name}"), "x").expect_err("too long");
    assert_eq!(error.status(), 400);
    assert!(told(&error).len() < 300);
    let error = structured(envelope(&format!(r#","{name}":1"#))).expect_err("too long");
    assert!(told(&error).len() < 300);
}

#[test]
fn header_bombs_are_refused() {
    let mut many = headers(&REQUIRED);
    for n in 0..1000 {
        let name = HeaderName::try_from(format!("ce-x{n}")).expect("a header name");
        many.insert(name, HeaderValue::from_static("x"));
    }
    assert_eq!(decode(&many, "").expect_err("too many").status(), 400);
    let long = "x".repeat(100_000);
    assert_eq!(
        binary_with("ce-x", &long).expect_err("too long").status(),
        400
    );
    let encoded = "%41".repeat(8 * 1024);
    assert!(
        binary_with("ce-x", &encoded).is_ok(),
        "the limit is on what was meant"
    );
}

#[test]
fn other_headers_are_no_matter_of_ours() {
    assert!(binary_with("x-anything", "%C0 \"").is_ok());
}

fn request(headers: &HeaderMap, body: Body) -> Request {
    let mut request = Request::new(body);
    request.headers_mut().clone_from(headers);
    request
}

#[tokio::test]
async fn a_body_without_end_is_cut_off() {
    let chunk = Bytes::from(vec![b'x'; 64 * 1024]);
    let read = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&read);
    let endless = futures::stream::repeat(chunk).map(move |chunk| {
        counted.fetch_add(chunk.len(), std::sync::atomic::Ordering::Relaxed);
        Ok::<_, std::convert::Infallible>(chunk)
    });
    let request = request(&headers(&REQUIRED), Body::from_stream(endless));
    let error = receive(request, &Limits::default())
        .await
        .expect_err("no end");
    assert_eq!(error.status(), 413);
    let read = read.load(std::sync::atomic::Ordering::Relaxed);
    assert!(
        read <= EVENT_BYTES_MAX + 2 * 64 * 1024,
        "{read} bytes were read"
    );
}

#[tokio::test]
async fn the_limit_is_the_callers() {
    let limits = Limits {
        event_bytes_max: 16,
        ..Limits::default()
    };
    let send =
        |body: &'static str| receive(request(&headers(&REQUIRED), Body::from(body)), &limits);
    assert!(send("0123456789abcdef").await.is_ok());
    let error = send("0123456789abcdef0123456789abcdef01234567").await;
    assert_eq!(error.expect_err("40 bytes").status(), 413);
}

#[tokio::test]
async fn a_batch_is_refused_where_one_event_is_expected() {
    let body = || Body::from(format!("[{}]", envelope("")));
    let headers = headers(&[BATCH]);
    let error = receive(request(&headers, body()), &Limits::default()).await;
    assert_eq!(error.expect_err("a batch").status(), 415);
    assert!(
        receive_any(request(&headers, body()), &Limits::default())
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_body_that_breaks_off_is_refused() {
    let broken = futures::stream::iter([
        Ok(Bytes::from_static(b"{")),
        Err(std::io::Error::other("the connection was reset")),
    ]);
    let request = request(&headers(&[STRUCTURED]), Body::from_stream(broken));
    let error = receive(request, &Limits::default())
        .await
        .expect_err("broken");
    assert_eq!(error.status(), 400);
    assert!(told(&error).contains("reset"), "{}", told(&error));
}
