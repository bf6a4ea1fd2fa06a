//! An image written as one fetches it.

use http::Uri;

use crate::ParseError;

/// How many bytes a host with its port may have.
const HOST_BYTES_MAX: usize = 255;

/// The parts of `host/repository:tag@digest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The host, with its port when it has one.
    pub registry: String,
    /// The repository.
    pub repository: String,
    /// The tag.
    pub tag: Option<String>,
    /// The digest.
    pub digest: Option<String>,
}

impl Reference {
    /// Reads a reference whose first part is the registry, whatever it looks like. Nothing when there is no second part.
    #[must_use]
    pub fn of_registry(text: &str) -> Option<Self> {
        let (registry, rest) = text.split_once('/')?;
        let (name, digest) = match rest.split_once('@') {
            Some((name, digest)) => (name, Some(digest.to_owned())),
            None => (rest, None),
        };
        let (repository, tag) = match name.rsplit_once(':') {
            Some((repository, tag)) => (repository, Some(tag.to_owned())),
            None => (name, None),
        };
        (!registry.is_empty() && !repository.is_empty()).then(|| Self {
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            tag,
            digest,
        })
    }

    /// Reads a reference as people write it: without a registry it is Docker Hub's, and without an owner an official one.
    /// <https://docs.docker.com/reference/cli/docker/image/tag/>
    #[must_use]
    pub fn familiar(text: &str) -> Option<Self> {
        let names_host = |first: &str| first.contains(['.', ':']) || first == "localhost";
        match text.split_once('/') {
            Some((first, _)) if names_host(first) => Self::of_registry(text),
            Some(_) => Self::of_registry(&format!("docker.io/{text}")),
            None if text.is_empty() => None,
            None => Self::of_registry(&format!("docker.io/library/{text}")),
        }
    }
}

/// A host, with its port when it has one, in lower case.
pub(crate) fn host(text: &str, at: &str) -> Result<String, ParseError> {
    let of_a_host = |b: u8| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b);
    if text.len() <= HOST_BYTES_MAX && text.bytes().all(of_a_host) {
        Ok(text.to_ascii_lowercase())
    } else {
        let text: String = text.chars().take(80).collect();
        Err(ParseError::malformed(
            at,
            &format!("{text:?} is not a host"),
        ))
    }
}

/// The host of a URL, with its port when it names one; nothing when it is no URL.
#[must_use]
pub fn host_of_url(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    uri.scheme()?;
    let host = uri.host()?.to_ascii_lowercase();
    Some(match uri.port_u16() {
        Some(port) => format!("{host}:{port}"),
        None => host,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(reference: Option<Reference>) -> Option<(String, String, String, String)> {
        reference.map(|it| {
            let text = |part: Option<String>| part.unwrap_or_default();
            (it.registry, it.repository, text(it.tag), text(it.digest))
        })
    }

    fn some(parts: [&str; 4]) -> Option<(String, String, String, String)> {
        let [a, b, c, d] = parts.map(str::to_owned);
        Some((a, b, c, d))
    }

    #[test]
    fn a_reference_has_its_parts() {
        let of = |text| parts(Reference::of_registry(text));
        assert_eq!(
            of("localhost/a/b@sha256:ab"),
            some(["localhost", "a/b", "", "sha256:ab"])
        );
        assert_eq!(
            of("h:5000/a:v1@sha256:ab"),
            some(["h:5000", "a", "v1", "sha256:ab"])
        );
        assert_eq!(of("h/a"), some(["h", "a", "", ""]));
        for none in ["", "a", "/a", "a/", "a/:v1", "a/@sha256:ab"] {
            assert_eq!(of(none), None, "{none}");
        }
    }

    #[test]
    fn what_people_leave_out_is_docker_hub() {
        let of = |text| parts(Reference::familiar(text));
        assert_eq!(of("nginx"), some(["docker.io", "library/nginx", "", ""]));
        assert_eq!(
            of("nginx:1.27"),
            some(["docker.io", "library/nginx", "1.27", ""])
        );
        assert_eq!(of("team/app:v1"), some(["docker.io", "team/app", "v1", ""]));
        assert_eq!(of("localhost/app:v1"), some(["localhost", "app", "v1", ""]));
        assert_eq!(
            of("ghcr.io/team/app@sha256:ab"),
            some(["ghcr.io", "team/app", "", "sha256:ab"])
        );
        assert_eq!(of("h:5000/app:v1"), some(["h:5000", "app", "v1", ""]));
        assert_eq!(of(""), None);
    }

    #[test]
    fn a_url_tells_its_host() {
        assert_eq!(
            host_of_url("https://A.test:8443/x").as_deref(),
            Some("a.test:8443")
        );
        assert_eq!(host_of_url("http://a.test").as_deref(), Some("a.test"));
        for none in ["", "a.test", "/x", "https://<your_origin>"] {
            assert_eq!(host_of_url(none), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,100}") {
            let _ = (Reference::familiar(&text), Reference::of_registry(&text), host_of_url(&text));
        }
    }
}
