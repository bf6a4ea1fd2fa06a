//! Our own pages, for when no site has one.

use axum::{body::Body, response::Response};
use http::{StatusCode, header};

use crate::serve::{RENDERED_POLICY, set};

/// The site is there and has no such page.
pub(crate) const NO_PAGE: Page = Page {
    title: "404 Not Found",
    text: "This site has no such page. <a href=\"/\">To its start</a>",
};

/// No site has this host, or nothing was deployed to it. Which of the two is nobody's business.
pub(crate) const UNKNOWN_HOST: Page = Page {
    title: "404 No Site Here",
    text: "No site is known under this name, or nothing has been deployed to it yet.",
};

/// The database does not answer.
pub(crate) const AWAY: Page = Page {
    title: "503 Back Soon",
    text: "This site cannot be looked up just now. Please try again in a moment.",
};

/// What is live cannot be read.
pub(crate) const BROKEN: Page = Page {
    title: "500 Not Readable",
    text: "This site cannot be read from its store. The problem was recorded.",
};

/// A page of one sentence.
pub(crate) struct Page {
    title: &'static str,
    text: &'static str,
}

impl Page {
    pub(crate) fn response(&self, status: StatusCode, head_only: bool) -> Response {
        let Self { title, text } = self;
        let html = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
            <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n</head>\n\
            <body>\n<h1>{title}</h1>\n<p>{text}</p>\n</body>\n</html>\n"
        );
        let length = html.len().to_string();
        let mut response = Response::new(if head_only {
            Body::empty()
        } else {
            Body::from(html)
        });
        *response.status_mut() = status;
        let headers = response.headers_mut();
        set(headers, header::CONTENT_TYPE, "text/html; charset=utf-8");
        set(headers, header::CONTENT_LENGTH, &length);
        set(headers, header::CONTENT_SECURITY_POLICY, RENDERED_POLICY);
        set(headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        set(headers, header::CACHE_CONTROL, "no-cache");
        response
    }
}
