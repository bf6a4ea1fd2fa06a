//! Which host names are this machine's own. A page of somewhere else can make a browser send requests here under a name
//! of its own (DNS rebinding), so whatever is not known is refused.

use axum::http::header::HOST;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse as _, Response};

/// Who a request is for, by its host name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Addressed {
    /// This machine: the portal and the functions.
    Machine,
    /// A site of the name before `.localhost`.
    Site,
}

/// Why a request is for nobody here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotAddressed {
    #[error("the request names no host")]
    Missing,
    #[error(
        "the host {0:?} is not served here; use localhost, 127.0.0.1, [::1] or <name>.localhost. A page of another site \
         that makes its name point to this machine is refused this way"
    )]
    Foreign(String),
}

impl NotAddressed {
    pub(super) fn into_response(self) -> Response {
        let status = match self {
            Self::Missing => StatusCode::BAD_REQUEST,
            Self::Foreign(_) => StatusCode::MISDIRECTED_REQUEST,
        };
        (status, format!("{self}\n")).into_response()
    }
}

/// The host and port that a request names, as it was written. Those of the URI count before the header (RFC 9112
/// §3.2.2); HTTP/2 has nothing else.
pub(super) fn authority<B>(request: &Request<B>) -> Option<&str> {
    let named = request.uri().authority();
    named.map(|authority| authority.as_str()).or_else(|| {
        request
            .headers()
            .get(HOST)
            .and_then(|value| value.to_str().ok())
    })
}

/// Who a request is for.
pub(super) fn addressed<B>(request: &Request<B>) -> Result<Addressed, NotAddressed> {
    let authority = authority(request).ok_or(NotAddressed::Missing)?;
    let host = without_port(authority).to_ascii_lowercase();
    match host.as_str() {
        "localhost" | "127.0.0.1" | "[::1]" | "switchyard.localhost" => Ok(Addressed::Machine),
        name => match name.strip_suffix(".localhost") {
            Some(label) if is_label(label) => Ok(Addressed::Site),
            _ => Err(NotAddressed::Foreign(host.chars().take(100).collect())),
        },
    }
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// One label of a host name (RFC 1123).
fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(host: &str) -> Result<Addressed, NotAddressed> {
        addressed(
            &Request::builder()
                .header(HOST, host)
                .body(())
                .expect("a request"),
        )
    }

    #[test]
    fn the_machine_has_four_names() {
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1:80",
            "[::1]",
            "[::1]:8080",
            "switchyard.localhost:8080",
        ] {
            assert_eq!(of(host), Ok(Addressed::Machine), "{host}");
        }
        assert_eq!(of("demo-1.localhost:8080"), Ok(Addressed::Site));
    }

    #[test]
    fn a_name_that_was_made_to_point_here_is_refused() {
        for host in [
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "a.b.localhost",
            "-a.localhost",
            ".localhost",
            "evillocalhost",
            "localhost:8080:80",
            "localhost:x",
            "::1",
            "127.0.0.2",
            "0.0.0.0",
            "",
        ] {
            assert!(matches!(of(host), Err(NotAddressed::Foreign(_))), "{host}");
        }
        let none = addressed(&Request::new(()));
        assert_eq!(none, Err(NotAddressed::Missing));
    }
}
