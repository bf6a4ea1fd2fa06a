//! Where a machine is that a tenant named: looked up once, checked, and dialled at that very address by who may not look it up again.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use url::Url;

use crate::{Denied, Guard};

/// How long a name may take to be looked up.
const LOOKUP_MAX: Duration = Duration::from_secs(10);
/// Where SSH servers listen unless it is said.
const SSH_PORT: u16 = 22;

/// Why it is not known where a machine is.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// It may not be called.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Its name leads nowhere.
    #[error("{name} cannot be looked up")]
    Lookup {
        /// The name.
        name: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Its name has no address.
    #[error("{0} has no address")]
    Nowhere(String),
    /// It took too long.
    #[error("looking up {0} took more than {LOOKUP_MAX:?}")]
    Late(String),
}

impl PlaceError {
    /// Whether trying again may help.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        !matches!(self, Self::Denied(_))
    }
}

impl Guard {
    /// The address of a machine that is signed in to over SSH: `host` or `host:port`, an IPv6 address in brackets.
    ///
    /// # Errors
    /// When it may not be called, or cannot be looked up.
    pub async fn ssh_address(&self, place: &str) -> Result<SocketAddr, PlaceError> {
        let (name, port) = ssh_place(place);
        self.check_ssh(name, port)?;
        self.address(name, port).await
    }

    /// The address behind a URL.
    ///
    /// # Errors
    /// When it may not be called, or cannot be looked up.
    pub async fn url_address(&self, url: &Url) -> Result<SocketAddr, PlaceError> {
        self.check_url(url)?;
        let name = url.host_str().ok_or(Denied::NoHost)?;
        let port = url.port_or_known_default().ok_or(Denied::NoHost)?;
        self.address(name, port).await
    }

    async fn address(&self, name: &str, port: u16) -> Result<SocketAddr, PlaceError> {
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        // A literal address was checked with its port.
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Ok(SocketAddr::new(ip, port));
        }
        let lookup = tokio::time::timeout(LOOKUP_MAX, tokio::net::lookup_host((bare, port)));
        let found = lookup
            .await
            .map_err(|_| PlaceError::Late(name.to_owned()))?
            .map_err(|source| PlaceError::Lookup {
                name: name.to_owned(),
                source,
            })?;
        let found: Vec<SocketAddr> = found.collect();
        let addresses: Vec<IpAddr> = found.iter().map(SocketAddr::ip).collect();
        self.check_addresses(name, &addresses)?;
        let first = found.first().copied();
        first.ok_or_else(|| PlaceError::Nowhere(name.to_owned()))
    }
}

fn ssh_place(text: &str) -> (&str, u16) {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => match port.parse() {
            Ok(port) => (host, port),
            Err(_) => (text, SSH_PORT),
        },
        _ => (text, SSH_PORT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_told_from_an_address() {
        assert_eq!(ssh_place("labs.example.com"), ("labs.example.com", 22));
        assert_eq!(
            ssh_place("labs.example.com:2222"),
            ("labs.example.com", 2222)
        );
        assert_eq!(ssh_place("[fd00::1]"), ("[fd00::1]", 22));
        assert_eq!(ssh_place("[fd00::1]:2222"), ("[fd00::1]", 2222));
    }

    #[tokio::test]
    async fn a_literal_address_needs_the_operators_word_with_its_port() {
        let allowed = Guard::new("127.0.0.1:2222".parse().expect("a list"));
        let found = allowed.ssh_address("127.0.0.1:2222").await;
        assert_eq!(
            found.expect("it is allowed"),
            SocketAddr::from(([127, 0, 0, 1], 2222))
        );
        for place in [
            "127.0.0.1:2223",
            "127.0.0.1",
            "[::1]:2222",
            "localhost:2222",
        ] {
            let denied = allowed.ssh_address(place).await.expect_err(place);
            assert!(matches!(denied, PlaceError::Denied(_)), "{denied}");
            assert!(!denied.is_passing());
        }
        let url = Url::parse("https://127.0.0.1:2222/").expect("a URL");
        assert!(allowed.url_address(&url).await.is_ok());
        let plain = Url::parse("http://127.0.0.1:2222/").expect("a URL");
        assert!(allowed.url_address(&plain).await.is_err());
    }
}
