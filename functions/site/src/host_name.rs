//! Which site a request is for.

use http::{header, request::Parts};
use model::Host;

/// The domain that sites are below on one machine.
const LOCALHOST: &str = "localhost";

/// A domain below which sites are served, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Domain(String);

/// The setting is not a domain.
#[derive(Debug, thiserror::Error)]
#[error("a domain is written as in sites.example.com: labels of a-z, 0-9 and - with dots between")]
pub(crate) struct NotADomain;

impl TryFrom<String> for Domain {
    type Error = NotADomain;

    fn try_from(text: String) -> Result<Self, NotADomain> {
        let label = |label: &str| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        if text.len() <= 253 && text.split('.').all(label) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(NotADomain)
        }
    }
}

/// The site that a request is for. Behind a DomainMapping the host is the Service's own, and the one that was asked for
/// stands in `x-forwarded-host`; a host that names a site is never overruled by that header, which anybody can send.
pub(crate) fn site(request: &Parts, domain: Option<&Domain>) -> Option<Host> {
    let of_header = |name| {
        let value = request.headers.get(name)?.to_str().ok()?;
        // Each proxy on the way adds the host it was asked for; the first is the client's.
        value.split(',').next()
    };
    let named = |host: Option<&str>| label(host?.trim(), domain);
    // HTTP/2 has the host in the URI.
    named(request.uri.authority().map(|authority| authority.as_str()))
        .or_else(|| named(of_header(header::HOST.as_str())))
        .or_else(|| named(of_header("x-forwarded-host")))
}

/// `docs` of `docs.localhost:8080`.
fn label(host: &str, domain: Option<&Domain>) -> Option<Host> {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    [Some(LOCALHOST), domain.map(|domain| domain.0.as_str())]
        .into_iter()
        .flatten()
        .find_map(|domain| name.strip_suffix(domain)?.strip_suffix('.'))?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(uri: &str, headers: &[(&str, &str)]) -> Option<String> {
        let mut request = http::Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        let domain = Domain::try_from("Sites.example.com".to_owned()).expect("a domain");
        site(&parts, Some(&domain)).map(String::from)
    }

    #[test]
    fn a_site_is_one_label_below_a_domain_of_ours() {
        for host in [
            "docs.localhost",
            "docs.localhost:8080",
            "DOCS.localhost.",
            "docs.sites.example.com",
            "docs.sites.example.com.:443",
        ] {
            assert_eq!(
                asked("/", &[("host", host)]).as_deref(),
                Some("docs"),
                "{host}"
            );
        }
        for host in [
            "",
            "docs",
            "localhost",
            ".localhost",
            "a.docs.localhost",
            "docs.example.com",
            "docslocalhost",
            "docs.notsites.example.com",
            "127.0.0.1:8080",
            "[::1]:8080",
            "-.localhost",
            "portal.localhost",
        ] {
            assert_eq!(asked("/", &[("host", host)]), None, "{host}");
        }
    }

    #[test]
    fn a_forwarded_host_counts_only_where_the_host_names_no_site() {
        let service = ("host", "site.default.svc.cluster.local");
        let forwarded = (
            "x-forwarded-host",
            "docs.sites.example.com, other.localhost",
        );
        assert_eq!(asked("/", &[service, forwarded]).as_deref(), Some("docs"));
        let host = ("host", "mine.localhost");
        assert_eq!(asked("/", &[host, forwarded]).as_deref(), Some("mine"));
        assert_eq!(
            asked("http://two.localhost/", &[forwarded]).as_deref(),
            Some("two"),
            "HTTP/2 has no host header"
        );
    }

    #[test]
    fn a_wrong_domain_is_refused() {
        for text in [
            "",
            ".example.com",
            "a..b",
            "*.example.com",
            "a.b/c",
            "a:8080",
        ] {
            assert!(Domain::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
