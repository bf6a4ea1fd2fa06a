//! What a subscriber can answer, as a broker sees it.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use events::{Event, Received, Reply};
use tower::Service as _;

use crate::{REQUIRED, data_of, decode, headers, one};

async fn body(response: Response) -> Vec<u8> {
    let bytes = to_bytes(response.into_body(), 1024).await;
    bytes.expect("a short body").to_vec()
}

#[tokio::test]
async fn an_acknowledgement_is_202_and_empty() {
    let response = Reply::Ack.into_response();
    assert_eq!(response.status(), 202);
    assert!(body(response).await.is_empty());
}

#[tokio::test]
async fn an_event_is_200_in_binary_mode() {
    let message = events::Message::new("2", "/there", "com.example.answered")
        .and_then(|message| message.with_data("text/plain", "x"))
        .expect("a valid event");
    let event = Event::try_from(&message).expect("the SDK has it all");
    let response = Reply::Event(Box::new(event)).into_response();
    assert_eq!(response.status(), 200);
    let headers = response.headers().clone();
    let received = one(decode(&headers, body(response).await)).expect("valid");
    assert_eq!(received, message);
}

#[tokio::test]
async fn an_event_that_cannot_be_sent_is_a_failure_that_says_why() {
    let mut event = Event::default();
    event.set_extension("depth", i64::MAX);
    let response = Reply::Event(Box::new(event)).into_response();
    assert_eq!(response.status(), 500);
    let text = String::from_utf8(body(response).await).expect("text");
    assert!(text.contains("depth") && text.contains("32 bits"), "{text}");
}

#[tokio::test]
async fn a_handler_receives_an_event_or_the_sender_is_told_why_not() {
    let handler = |Received(message): Received| async move {
        assert_eq!(data_of(&message), b"x");
        Reply::Ack
    };
    let mut app = Router::new().route("/", post(handler));
    let mut send = |headers: http::HeaderMap| {
        let mut request = Request::post("/").body(Body::from("x")).expect("a request");
        request.headers_mut().extend(headers);
        app.call(request)
    };
    let accepted = send(headers(&REQUIRED)).await.expect("infallible");
    assert_eq!(accepted.status(), 202);
    let refused = send(headers(&REQUIRED[1..])).await.expect("infallible");
    assert_eq!(refused.status(), 400);
    let text = String::from_utf8(body(refused).await).expect("text");
    assert_eq!(text, r#"required attribute "specversion" is missing"#);
}
