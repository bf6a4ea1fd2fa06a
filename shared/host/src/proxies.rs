//! Where a request came from, when it came through proxies of ours.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName};
use model::scheme::{Network, SchemeError};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// How many addresses are looked at, from the end.
const HOPS_MAX: usize = 16;

/// What nobody on the Internet has: where the proxies of a cluster are.
const PRIVATE: &str = "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,100.64.0.0/10,169.254.0.0/16,127.0.0.0/8,::1,fc00::/7,fe80::/10";

/// The networks of our own proxies.
#[derive(Debug, Clone)]
pub(crate) struct Proxies(Vec<Network>);

impl Proxies {
    /// Reads a list of networks with commas between them; without one, private networks are ours.
    pub(crate) fn new(networks: Option<&str>) -> Result<Self, SchemeError> {
        networks
            .unwrap_or(PRIVATE)
            .split(',')
            .map(|network| network.trim().parse())
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The last address in `X-Forwarded-For` that is not one of our own: the one that our first proxy saw. What stands
    /// before it the sender wrote itself.
    pub(crate) fn sender(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let values: Vec<&str> = headers
            .get_all(FORWARDED_FOR)
            .iter()
            .map(|value| value.to_str().ok())
            .collect::<Option<_>>()?;
        for hop in values.join(",").rsplit(',').take(HOPS_MAX) {
            let address = address(hop.trim())?;
            if !self.0.iter().any(|network| network.contains(address)) {
                return Some(address);
            }
        }
        None
    }
}

/// An address, with a port or without.
fn address(hop: &str) -> Option<IpAddr> {
    let parsed = hop.parse().ok();
    parsed
        .or_else(|| {
            hop.parse()
                .ok()
                .map(|with_port: std::net::SocketAddr| with_port.ip())
        })
        .map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn sender(networks: Option<&str>, values: &[&str]) -> Option<String> {
        let headers = values
            .iter()
            .map(|value| {
                (
                    FORWARDED_FOR,
                    HeaderValue::from_str(value).expect("a value"),
                )
            })
            .collect();
        let proxies = Proxies::new(networks).expect("networks");
        proxies.sender(&headers).map(|address| address.to_string())
    }

    #[test]
    fn the_sender_is_the_last_one_that_is_not_ours() {
        let seen = Some("198.51.100.7".to_owned());
        assert_eq!(sender(None, &["198.51.100.7"]), seen);
        assert_eq!(sender(None, &["198.51.100.7, 10.0.0.3, 10.0.0.4"]), seen);
        assert_eq!(sender(None, &["198.51.100.7:4711,10.0.0.3"]), seen);
        assert_eq!(
            sender(None, &["203.0.113.9", "198.51.100.7", "10.0.0.3"]),
            seen
        );
        let six = Some("2001:db8::7".to_owned());
        assert_eq!(sender(None, &["[2001:db8::7]:4711, ::1"]), six);
    }

    #[test]
    fn what_the_sender_writes_itself_does_not_count() {
        let seen = Some("198.51.100.7".to_owned());
        assert_eq!(sender(None, &["192.0.2.1, 198.51.100.7, 10.0.0.3"]), seen);
        assert_eq!(sender(None, &["192.0.2.1, unknown, 10.0.0.3"]), None);
        assert_eq!(sender(None, &["10.0.0.3"]), None);
        assert_eq!(sender(None, &[""]), None);
        assert_eq!(sender(None, &[]), None);
        let long = "10.0.0.3,".repeat(10_000) + "10.0.0.3";
        assert_eq!(sender(None, &[&format!("198.51.100.7,{long}")]), None);
    }

    #[test]
    fn senders_inside_are_known_where_the_proxies_are_named() {
        let inside = Some("10.1.0.9".to_owned());
        assert_eq!(
            sender(Some("10.0.0.0/16, 127.0.0.1"), &["10.1.0.9, 10.0.0.3"]),
            inside
        );
        assert!(Proxies::new(Some("10.0.0.0/16, x")).is_err());
    }
}
