//! Which addresses a tenant's URL may lead to.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use url::{Host, Url};

/// The lowest port besides 443 that a tenant may name: below it are the protocols that a request could be mistaken for.
const PORT_MIN: u16 = 1024;

/// Which addresses a tenant's URL may lead to: public ones, and what the operator allowed by host and port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    allowed: AllowList,
}

/// Hosts with ports that the operator allows whatever their addresses: `git.internal:443,10.0.0.5:3000`.
///
/// A host that is listed is allowed on the listed ports *only*, because its addresses are not looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList(Vec<(Host, u16)>);

/// An entry of the list is not a host with a port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not host:port, such as git.example.com:443 or [fd00::1]:3000")]
pub struct AllowListError(String);

/// A tenant's URL that is not called. Its text is for the tenant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Not `https:`.
    #[error("egress denied: `{0}:` URLs are not called, only https")]
    Scheme(String),
    /// A user or password before the host.
    #[error(
        "egress denied: a URL carries no user or password; put the token in the workload's environment"
    )]
    Userinfo,
    /// No host at all.
    #[error("egress denied: the URL has no host")]
    NoHost,
    /// A port that other protocols own, or that the operator did not list for this host.
    #[error(
        "egress denied: port {port} of {host} is not allowed; ask the operator to allow {host}:{port}"
    )]
    Port {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// An address, or a name that means one, which no tenant may reach.
    #[error(
        "egress denied: {host} leads to {reserved}; ask the operator to allow it by host and port if it is meant"
    )]
    Address {
        /// The host as the tenant wrote it.
        host: String,
        /// What it leads to.
        reserved: Reserved,
    },
}

/// Why an address is not public.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// `0.0.0.0/8`, `::`.
    Unspecified,
    /// `127.0.0.0/8`, `::1`, `localhost`.
    Loopback,
    /// RFC 1918, `fc00::/7`, deprecated `fec0::/10`.
    Private,
    /// `100.64.0.0/10`.
    CarrierNat,
    /// `169.254.0.0/16`, `fe80::/10`: cloud metadata lives here.
    LinkLocal,
    /// `224.0.0.0/4`, `ff00::/8`.
    Multicast,
    /// `240.0.0.0/4`, Teredo, documentation, benchmarking, and what nobody has been given.
    Unassigned,
}

impl Guard {
    /// A guard that lets through what is public and what is listed.
    pub fn new(allowed: AllowList) -> Self {
        Self { allowed }
    }

    /// Checks what can be seen without a lookup: scheme, userinfo, port, literal address, `localhost`.
    ///
    /// For the moment when a URL is saved, and again before each call. The addresses behind a name are checked when
    /// it is dialled.
    pub fn check_url(&self, url: &Url) -> Result<(), Denied> {
        if url.scheme() != "https" {
            return Err(Denied::Scheme(url.scheme().to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Denied::Userinfo);
        }
        let host = url.host().ok_or(Denied::NoHost)?.to_owned();
        let port = url.port_or_known_default().ok_or(Denied::NoHost)?;
        self.check_host(&host, port, 443)
    }

    /// Checks what can be seen without a lookup of a machine that is signed in to over SSH: port, literal address, `localhost`.
    pub fn check_ssh(&self, host: &str, port: u16) -> Result<(), Denied> {
        let host = Host::parse(host).map_err(|_| Denied::NoHost)?;
        self.check_host(&host, port, 22)
    }

    fn check_host(&self, host: &Host, port: u16, usual: u16) -> Result<(), Denied> {
        if self.allowed.has_host(host) {
            return if self.allowed.has(host, port) {
                Ok(())
            } else {
                Err(port_denied(host, port))
            };
        }
        let reserved = match host {
            Host::Ipv4(ip) => reserved(IpAddr::V4(*ip)),
            Host::Ipv6(ip) => reserved(IpAddr::V6(*ip)),
            Host::Domain(name) => means_this_machine(name).then_some(Reserved::Loopback),
        };
        if let Some(reserved) = reserved {
            return Err(Denied::Address {
                host: host.to_string(),
                reserved,
            });
        }
        if port != usual && port < PORT_MIN {
            return Err(port_denied(host, port));
        }
        Ok(())
    }

    /// Checks the addresses that a name resolved to. One bad address among them denies all: which one is dialled is
    /// not ours to say.
    pub fn check_addresses(&self, name: &str, addresses: &[IpAddr]) -> Result<(), Denied> {
        if self.allowed.has_host(&Host::Domain(name.to_owned())) {
            return Ok(());
        }
        match addresses.iter().find_map(|ip| reserved(*ip)) {
            None => Ok(()),
            Some(reserved) => Err(Denied::Address {
                host: name.to_owned(),
                reserved,
            }),
        }
    }
}

fn port_denied(host: &Host, port: u16) -> Denied {
    Denied::Port {
        host: host.to_string(),
        port,
    }
}

/// RFC 6761: these names never leave the machine.
fn means_this_machine(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost")
}

/// Why an address is not public, after undoing the forms that carry an IPv4 address in an IPv6 one; `None` if it is.
pub fn reserved(ip: IpAddr) -> Option<Reserved> {
    match ip {
        IpAddr::V4(ip) => reserved_v4(ip),
        IpAddr::V6(ip) => reserved_v6(ip),
    }
}

fn reserved_v4(ip: Ipv4Addr) -> Option<Reserved> {
    match ip.octets() {
        [0, ..] => Some(Reserved::Unspecified),
        [127, ..] => Some(Reserved::Loopback),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Some(Reserved::Private),
        [100, 64..=127, ..] => Some(Reserved::CarrierNat),
        [169, 254, ..] => Some(Reserved::LinkLocal),
        [224..=239, ..] => Some(Reserved::Multicast),
        [240..=255, ..]
        | [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [198, 18..=19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _] => Some(Reserved::Unassigned),
        _ => None,
    }
}

fn reserved_v6(ip: Ipv6Addr) -> Option<Reserved> {
    if ip.is_unspecified() {
        return Some(Reserved::Unspecified);
    }
    if ip.is_loopback() {
        return Some(Reserved::Loopback);
    }
    let v4 = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        reserved_v4(Ipv4Addr::new(a, b, c, d))
    };
    match ip.segments() {
        // Mapped, translated, the deprecated compatible form, and NAT64: the last 32 bits are the address.
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0, 0, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        // NAT64 with a prefix of the operator's own network: where it leads only that network knows.
        [0x64, 0xff9b, 1, ..] => Some(Reserved::Private),
        // 6to4: the address of the gateway follows the prefix.
        [0x2002, high, low, ..] => v4(high, low),
        // Teredo: server in the clear, client inverted; and nobody serves a site from behind one.
        [0x2001, 0, ..] => Some(Reserved::Unassigned),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Some(Reserved::Unassigned),
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => Some(Reserved::Private),
        [0xfe80..=0xfebf, ..] => Some(Reserved::LinkLocal),
        [0xff00..=0xffff, ..] => Some(Reserved::Multicast),
        // Of all the rest only 2000::/3 has been given out.
        [0x2000..=0x3fff, ..] => None,
        _ => Some(Reserved::Unassigned),
    }
}

impl AllowList {
    fn has_host(&self, host: &Host) -> bool {
        self.0.iter().any(|(allowed, _)| allowed == host)
    }

    fn has(&self, host: &Host, port: u16) -> bool {
        self.0
            .iter()
            .any(|(allowed, allowed_port)| allowed == host && *allowed_port == port)
    }
}

/// Entries are separated by commas; an empty text is an empty list.
impl FromStr for AllowList {
    type Err = AllowListError;

    fn from_str(text: &str) -> Result<Self, AllowListError> {
        let entry = |entry: &str| {
            let bad = || AllowListError(entry.to_owned());
            let (host, port) = entry.rsplit_once(':').ok_or_else(bad)?;
            let port: u16 = port.parse().map_err(|_| bad())?;
            Ok((Host::parse(host).map_err(|_| bad())?, port))
        };
        text.split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(entry)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl fmt::Display for Reserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "the unspecified address",
            Self::Loopback => "a loopback address",
            Self::Private => "a private address",
            Self::CarrierNat => "a carrier's shared address",
            Self::LinkLocal => "a link-local address",
            Self::Multicast => "a multicast address",
            Self::Unassigned => "an address that is not public",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(guard: &Guard, url: &str) -> Result<(), Denied> {
        guard.check_url(&Url::parse(url).expect("a URL"))
    }

    #[test]
    fn no_spelling_of_an_inner_address_is_called() {
        for url in [
            "https://169.254.169.254/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:0:127.0.0.1]/",
            "https://[::127.0.0.1]/",
            "https://0x7f.1/",
            "https://2130706433/",
            "https://0177.0.0.1/",
            "https://127.1/",
            "https://①②⑦.⓪.⓪.①/",
            "https://localhost/",
            "https://localhost./",
            "https://LOCALHOST/",
            "https://a.localhost/",
            "https://[64:ff9b::7f00:1]/",
            "https://[64:ff9b:1::7f00:1]/",
            "https://[2002:7f00:1::]/",
            "https://[2002:a00:1::1]/",
            "https://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/",
            "https://0.0.0.0/",
            "https://[::]/",
            "https://[::1]/",
            "https://10.1.2.3/",
            "https://172.16.0.1/",
            "https://172.31.255.255/",
            "https://192.168.1.1/",
            "https://100.64.0.1/",
            "https://100.127.255.255/",
            "https://224.0.0.1/",
            "https://240.0.0.1/",
            "https://255.255.255.255/",
            "https://[fc00::1]/",
            "https://[fdff::1]/",
            "https://[fe80::1]/",
            "https://[febf::1]/",
            "https://[fec0::1]/",
            "https://[ff02::1]/",
            "https://[100::1]/",
            "https://[5f00::1]/",
        ] {
            let denied = check(&Guard::default(), url).expect_err(url);
            assert!(matches!(denied, Denied::Address { .. }), "{url}: {denied}");
        }
    }

    #[test]
    fn public_hosts_are_called() {
        for url in [
            "https://example.com/",
            "https://example.com:8443/",
            "https://localhost.example.com/",
            "https://93.184.215.14/",
            "https://172.32.0.1/",
            "https://100.128.0.1/",
            "https://[2606:2800:21f:cb07::1]/",
            "https://[64:ff9b::5db8:d70e]/",
        ] {
            assert_eq!(check(&Guard::default(), url), Ok(()), "{url}");
        }
    }

    #[test]
    fn other_schemes_userinfo_and_low_ports_are_refused() {
        let guard = Guard::default();
        for url in [
            "http://example.com/",
            "file:///etc",
            "gopher://a/",
            "unix:/run/x",
            "ftp://a/",
        ] {
            assert!(
                matches!(check(&guard, url), Err(Denied::Scheme(_))),
                "{url}"
            );
        }
        for url in ["https://a@b@c/", "https://a:b@c/", "https://:b@c/"] {
            assert_eq!(check(&guard, url), Err(Denied::Userinfo), "{url}");
        }
        for url in [
            "https://example.com:22/",
            "https://example.com:25/",
            "https://example.com:80/",
        ] {
            assert!(
                matches!(check(&guard, url), Err(Denied::Port { .. })),
                "{url}"
            );
        }
    }

    #[test]
    fn the_operator_allows_a_host_on_its_listed_ports_only() {
        let list = "git.internal:443, 10.0.0.5:3000,[fd00::1]:443,localhost:8443";
        let guard = Guard::new(list.parse().expect("a good list"));
        for url in [
            "https://git.internal/",
            "https://10.0.0.5:3000/",
            "https://[fd00::1]/",
            "https://localhost:8443/",
        ] {
            assert_eq!(check(&guard, url), Ok(()), "{url}");
        }
        for url in [
            "https://git.internal:6443/",
            "https://10.0.0.5/",
            "https://localhost/",
        ] {
            assert!(
                matches!(check(&guard, url), Err(Denied::Port { .. })),
                "{url}"
            );
        }
        assert!(check(&guard, "https://10.0.0.6:3000/").is_err());
        let private = [IpAddr::from([10, 0, 0, 9])];
        assert_eq!(guard.check_addresses("git.internal", &private), Ok(()));
        assert!(guard.check_addresses("other.internal", &private).is_err());
    }

    #[test]
    fn one_inner_address_among_public_ones_denies_the_name() {
        let mixed = [
            IpAddr::from([93, 184, 215, 14]),
            IpAddr::from([127, 0, 0, 1]),
        ];
        let denied = Guard::default()
            .check_addresses("evil.example", &mixed)
            .expect_err("mixed");
        assert_eq!(
            denied.to_string(),
            "egress denied: evil.example leads to a loopback address; ask the operator to allow it by host and port \
             if it is meant"
        );
    }

    #[test]
    fn an_allow_list_entry_needs_host_and_port() {
        for text in [
            "git.internal",
            "git.internal:",
            "git.internal:https",
            ":443",
            "a b:1",
            "x:70000",
        ] {
            assert!(text.parse::<AllowList>().is_err(), "{text}");
        }
        assert_eq!("".parse(), Ok(AllowList::default()));
    }
}
