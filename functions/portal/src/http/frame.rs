//! What is around every page: the visitor's preferences before it, headers, cookies and the pages of failures after it.

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use host::Ctx;
use http::header::{RETRY_AFTER, SET_COOKIE};
use http::request::Parts;
use http::{HeaderValue, StatusCode};

use super::problem::Problem;
use super::visitor::Visitor;
use super::{SIGN_IN_COMMAND, Settings};
use crate::headers::protect;
use crate::views::failure::{failure, refused};
use crate::views::model::Failure;
use crate::views::session::{SignIn, sign_in};

/// How long somebody waits before the database is asked again.
const RETRY_AFTER_SECS: HeaderValue = HeaderValue::from_static("5");

pub(super) async fn frame(
    State(settings): State<Settings>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let visitor = Visitor::of(&parts, &settings);
    parts.extensions.insert(visitor.clone());
    let mut response = next.run(Request::from_parts(parts, body)).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        response = explain(&visitor, &problem);
    }
    protect(response.headers_mut());
    for cookie in visitor.chosen() {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

fn explain(visitor: &Visitor, problem: &Problem) -> Response {
    let reader = visitor.reader(None, String::new());
    let page = match problem {
        Problem::SignedOut => sign_in(
            &reader,
            &SignIn::Needed {
                command: SIGN_IN_COMMAND,
            },
        ),
        Problem::NotFound => failure(&reader, Failure::NotFound, None),
        Problem::Forbidden | Problem::Unreadable => failure(&reader, Failure::Forbidden, None),
        Problem::Refused(why) => refused(&reader, why),
        Problem::Internal => failure(&reader, Failure::Internal, None),
        Problem::Unavailable => failure(&reader, Failure::Unavailable, None),
    };
    let mut response = (problem.status(), page).into_response();
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_SECS);
    }
    response
}

impl FromRequestParts<Ctx> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, ctx: &Ctx) -> Result<Self, Problem> {
        let visitor: &Self = parts
            .extensions
            .get()
            .ok_or_else(|| Problem::internal(anyhow::anyhow!("a route outside the frame")))?;
        let mut visitor = visitor.clone();
        visitor.now = ctx.now();
        Ok(visitor)
    }
}

/// A stream's answer is protected like a page's, and no proxy may hold it back.
pub(super) fn streaming(response: &mut Response) {
    response
        .headers_mut()
        .insert("x-accel-buffering", HeaderValue::from_static("no"));
}
