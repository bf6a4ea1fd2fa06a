//! How the senders of a trigger prove who they are, as it is stored with the trigger.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How many bytes a header's name may have.
const HEADER_BYTES_MAX: usize = 64;
/// How many bytes may stand before a token or a signature in its header.
const PREFIX_BYTES_MAX: usize = 32;
/// How many bytes a user, an audience, an address or an issuer may have.
const NAME_BYTES_MAX: usize = 512;
/// How many networks an allow-list may name.
const NETWORKS_MAX: usize = 64;
/// How many public keys may be good at a time.
const PUBLIC_KEYS_MAX: usize = 4;

/// The one header under which SHA-1 is taken: Sonatype Nexus signs with nothing else.
/// <https://help.sonatype.com/en/working-with-hmac-payloads.html>
pub const NEXUS_HEADER: &str = "x-nexus-webhook-signature";

/// How a trigger's senders prove who they are. One trigger has one scheme: a request cannot choose a weaker one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Scheme {
    /// An HMAC over the body, keyed with the trigger's secret.
    Hmac(HmacScheme),
    /// Standard Webhooks: an HMAC keyed with the trigger's secret, or an Ed25519 signature.
    Standard(StandardScheme),
    /// The trigger's secret, in a header as it is.
    Token(TokenScheme),
    /// HTTP Basic: this user, and the trigger's secret as the password.
    Basic(BasicScheme),
    /// A secret in the path of the URL, of which only a hash is stored: for senders that can do nothing else.
    Path {},
    /// An identity token of an OpenID provider.
    Oidc(OidcScheme),
    /// Nothing but where the request comes from.
    None(OpenScheme),
}

impl Scheme {
    /// The header that carries the proof, where it is one of the trigger's choice.
    #[must_use]
    pub fn header(&self) -> Option<&SchemeHeader> {
        match self {
            Self::Hmac(scheme) => Some(&scheme.header),
            Self::Token(scheme) => Some(&scheme.header),
            Self::Standard(_) | Self::Basic(_) | Self::Path {} | Self::Oidc(_) | Self::None(_) => {
                None
            }
        }
    }
}

/// See [`Scheme::Hmac`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, try_from = "HmacParts")]
pub struct HmacScheme {
    /// The header that carries the signature.
    pub header: SchemeHeader,
    /// What stands before it there.
    pub prefix: Prefix,
    /// The hash.
    pub algorithm: HmacAlgorithm,
    /// How its bytes are written.
    pub encoding: Encoding,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HmacParts {
    header: SchemeHeader,
    #[serde(default)]
    prefix: Prefix,
    #[serde(default)]
    algorithm: HmacAlgorithm,
    #[serde(default)]
    encoding: Encoding,
}

impl TryFrom<HmacParts> for HmacScheme {
    type Error = SchemeError;

    fn try_from(parts: HmacParts) -> Result<Self, SchemeError> {
        if parts.algorithm == HmacAlgorithm::Sha1 && parts.header.as_str() != NEXUS_HEADER {
            return Err(SchemeError::WeakHash);
        }
        Ok(Self {
            header: parts.header,
            prefix: parts.prefix,
            algorithm: parts.algorithm,
            encoding: parts.encoding,
        })
    }
}

/// The hash of an HMAC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HmacAlgorithm {
    /// Broken for signatures, and taken under [`NEXUS_HEADER`] alone.
    Sha1,
    /// What nearly everybody signs with.
    #[default]
    Sha256,
    /// A longer one.
    Sha384,
    /// The longest.
    Sha512,
}

/// How the bytes of a signature are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// Lower-case hexadecimal digits.
    #[default]
    Hex,
    /// Base64 with padding.
    Base64,
}

/// See [`Scheme::Standard`]. <https://www.standardwebhooks.com>
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, try_from = "StandardParts")]
pub struct StandardScheme {
    /// The keys of `v1a` signatures; with any, no `v1` signature counts, for who may verify those may also make them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub public_keys: Vec<PublicKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StandardParts {
    #[serde(default)]
    public_keys: Vec<PublicKey>,
}

impl TryFrom<StandardParts> for StandardScheme {
    type Error = SchemeError;

    fn try_from(parts: StandardParts) -> Result<Self, SchemeError> {
        if parts.public_keys.len() > PUBLIC_KEYS_MAX {
            return Err(SchemeError::TooMany {
                what: "public keys",
                max: PUBLIC_KEYS_MAX,
            });
        }
        Ok(Self {
            public_keys: parts.public_keys,
        })
    }
}

/// See [`Scheme::Token`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenScheme {
    /// The header that carries it.
    pub header: SchemeHeader,
    /// What stands before it there, such as `Bearer `.
    #[serde(default)]
    pub prefix: Prefix,
}

/// See [`Scheme::Basic`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BasicScheme {
    /// The user; without a colon, which ends it in the header.
    pub user: BasicUser,
}

/// See [`Scheme::Oidc`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcScheme {
    /// Who made the token.
    #[serde(default)]
    pub issuer: Issuer,
    /// Whom it was made for.
    pub audience: SchemeName,
    /// Whose it is: a service account's address, which the provider must have verified.
    pub email: SchemeName,
}

/// Whose identity tokens are taken. Each is known with the address of its signing keys, so that nobody names another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Issuer {
    /// Google, for Pub/Sub.
    #[default]
    Google,
}

/// See [`Scheme::None`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, try_from = "OpenParts")]
pub struct OpenScheme {
    /// Where requests may come from; never empty.
    pub networks: Vec<Network>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenParts {
    networks: Vec<Network>,
}

impl TryFrom<OpenParts> for OpenScheme {
    type Error = SchemeError;

    fn try_from(parts: OpenParts) -> Result<Self, SchemeError> {
        match parts.networks.len() {
            0 => Err(SchemeError::NoNetworks),
            n if n > NETWORKS_MAX => Err(SchemeError::TooMany {
                what: "networks",
                max: NETWORKS_MAX,
            }),
            _ => Ok(Self {
                networks: parts.networks,
            }),
        }
    }
}

/// What a scheme cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemeError {
    /// SHA-1 where something better is spoken.
    #[error("sha1 is taken only under {NEXUS_HEADER}, because Nexus signs with nothing else")]
    WeakHash,
    /// An allow-list that allows nobody.
    #[error("without a proof of who sends, at least one network must be named")]
    NoNetworks,
    /// A list that is too long.
    #[error("at most {max} {what} may be named")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        max: usize,
    },
    /// A text that is no header's name, or one that says something else.
    #[error("{0:?} is not the name of a header that can carry a proof")]
    Header(String),
    /// A text that cannot stand in a header.
    #[error(
        "{0:?} cannot be used here: 1 to {NAME_BYTES_MAX} visible ASCII characters are expected"
    )]
    Text(String),
    /// A text that is no network.
    #[error("{0:?} is not a network such as 192.0.2.0/24 or 2001:db8::/32")]
    Network(String),
    /// A text that is no key.
    #[error("{0:?} is not a public key: whpk_ and 32 bytes in base64 are expected")]
    PublicKey(String),
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

/// A text of a closed form, read from and written as one.
macro_rules! text_type {
    ($(#[$meta:meta])+ $name:ident) => {
        $(#[$meta])+
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = SchemeError;

            fn try_from(text: String) -> Result<Self, SchemeError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(it: $name) -> Self {
                it.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_type! {
    /// The name of a header that carries a proof, in lower case.
    SchemeHeader
}
text_type! {
    /// What stands before a proof in its header; may be empty.
    #[derive(Default)]
    Prefix
}
text_type! {
    /// A user of HTTP Basic.
    BasicUser
}
text_type! {
    /// An audience or an address.
    SchemeName
}

/// Headers that say something else, so that a proof in them would be kept or lost on the way.
const NOT_PROOFS: [&str; 18] = [
    "ce-id",
    "ce-type",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "forwarded",
    "host",
    "idempotency-key",
    "te",
    "traceparent",
    "transfer-encoding",
    "user-agent",
    "webhook-id",
    "x-event-key",
    "x-nexus-webhook-id",
    "x-request-id",
    "x-request-uuid",
];
/// How the names of headers end in which senders say what happened, and which delivery it is.
const NAMES_OF_EVENTS: [&str; 2] = ["-delivery", "-event"];

impl FromStr for SchemeHeader {
    type Err = SchemeError;

    fn from_str(text: &str) -> Result<Self, SchemeError> {
        let name = text.to_ascii_lowercase();
        let token = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
        let usable = !name.is_empty()
            && name.len() <= HEADER_BYTES_MAX
            && name.bytes().all(token)
            && !name.starts_with("x-forwarded-")
            && !NAMES_OF_EVENTS.iter().any(|end| name.ends_with(end))
            && !NOT_PROOFS.contains(&name.as_str());
        if usable {
            Ok(Self(name))
        } else {
            Err(SchemeError::Header(shown(text)))
        }
    }
}

impl FromStr for Prefix {
    type Err = SchemeError;

    fn from_str(text: &str) -> Result<Self, SchemeError> {
        // What a header's value begins with is not white space: it would be gone on the way.
        let visible = text.bytes().all(|b| (b' '..=b'~').contains(&b)) && !text.starts_with(' ');
        if visible && text.len() <= PREFIX_BYTES_MAX {
            Ok(Self(text.to_owned()))
        } else {
            Err(SchemeError::Text(shown(text)))
        }
    }
}

fn visible(text: &str) -> Result<String, SchemeError> {
    let fits = (1..=NAME_BYTES_MAX).contains(&text.len());
    if fits && text.bytes().all(|b| (b'!'..=b'~').contains(&b)) {
        Ok(text.to_owned())
    } else {
        Err(SchemeError::Text(shown(text)))
    }
}

impl FromStr for SchemeName {
    type Err = SchemeError;

    fn from_str(text: &str) -> Result<Self, SchemeError> {
        visible(text).map(Self)
    }
}

impl FromStr for BasicUser {
    type Err = SchemeError;

    fn from_str(text: &str) -> Result<Self, SchemeError> {
        if text.contains(':') {
            return Err(SchemeError::Text(shown(text)));
        }
        visible(text).map(Self)
    }
}

/// The public half of a key that signs `v1a`: `whpk_` and base64 in text, 32 bytes here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// What its text begins with.
    pub const PREFIX: &str = "whpk_";

    /// The key.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for PublicKey {
    type Err = SchemeError;

    fn from_str(text: &str) -> Result<Self, SchemeError> {
        use base64::Engine as _;
        let refused = || SchemeError::PublicKey(shown(text));
        let encoded = text.strip_prefix(Self::PREFIX).ok_or_else(refused)?;
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(encoded)
            .map_err(|_| refused())?;
        bytes.try_into().map(Self).map_err(|_| refused())
    }
}

impl TryFrom<String> for PublicKey {
    type Error = SchemeError;

    fn try_from(text: String) -> Result<Self, SchemeError> {
        text.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        use base64::Engine as _;
        let encoded = base64::engine::general_purpose::STANDARD.encode(key.0);
        format!("{}{encoded}", PublicKey::PREFIX)
    }
}

/// Addresses that have their first bits in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    first: IpAddr,
    bits: u8,
}

impl Network {
    /// Whether an address is one of them. An IPv4 address inside IPv6 counts as what it is.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                first.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                let mask = u128::MAX
                    .checked_shl(128 - u32::from(self.bits))
                    .unwrap_or(0);
                first.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

impl FromStr for Network {
    type Err = SchemeError;

    fn from_str(text: &str) -> Result<Self, SchemeError> {
        let refused = || SchemeError::Network(shown(text));
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let first: IpAddr = address.parse().map_err(|_| refused())?;
        let most = if first.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) if bits.bytes().all(|b| b.is_ascii_digit()) => {
                bits.parse::<u8>().map_err(|_| refused())?
            }
            Some(_) => return Err(refused()),
            None => most,
        };
        // The whole Internet is no allow-list.
        if bits == 0 || bits > most {
            return Err(refused());
        }
        Ok(Self { first, bits })
    }
}

impl TryFrom<String> for Network {
    type Error = SchemeError;

    fn try_from(text: String) -> Result<Self, SchemeError> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(scheme: Value) -> Result<Scheme, String> {
        serde_json::from_value(scheme).map_err(|error| error.to_string())
    }

    #[test]
    fn every_scheme_reads_what_it_writes() {
        for scheme in [
            json!({"kind": "hmac", "header": "x-signature", "prefix": "sha512=", "algorithm": "sha512", "encoding": "base64"}),
            json!({"kind": "hmac", "header": NEXUS_HEADER, "prefix": "", "algorithm": "sha1", "encoding": "hex"}),
            json!({"kind": "standard"}),
            json!({"kind": "standard", "public_keys": ["whpk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]}),
            json!({"kind": "token", "header": "authorization", "prefix": "Bearer "}),
            json!({"kind": "basic", "user": "ci"}),
            json!({"kind": "path"}),
            json!({"kind": "oidc", "issuer": "google", "audience": "https://hooks.example.test/a", "email": "push@example.test"}),
            json!({"kind": "none", "networks": ["192.0.2.0/24", "2001:db8::/32"]}),
        ] {
            let read = read(scheme.clone()).unwrap_or_else(|error| panic!("{scheme}: {error}"));
            assert_eq!(serde_json::to_value(&read).expect("plain data"), scheme);
        }
    }

    #[test]
    fn what_is_left_out_is_what_most_senders_do() {
        let given = read(json!({"kind": "hmac", "header": "X-Signature"})).expect("a scheme");
        let Scheme::Hmac(hmac) = given else {
            panic!("{given:?}");
        };
        assert_eq!(hmac.header.as_str(), "x-signature");
        assert_eq!(hmac.algorithm, HmacAlgorithm::Sha256);
        assert_eq!(hmac.encoding, Encoding::Hex);
        assert_eq!(hmac.prefix.as_str(), "");
    }

    #[test]
    fn what_proves_nothing_is_refused() {
        for (scheme, said) in [
            (
                json!({"kind": "hmac", "header": "x-signature", "algorithm": "sha1"}),
                "only under x-nexus",
            ),
            (
                json!({"kind": "hmac", "header": "x-signature", "algorithm": "md5"}),
                "unknown variant",
            ),
            (
                json!({"kind": "hmac", "header": "content-type"}),
                "not the name of a header",
            ),
            (
                json!({"kind": "hmac", "header": "x-forwarded-for"}),
                "not the name of a header",
            ),
            (
                json!({"kind": "hmac", "header": "a b"}),
                "not the name of a header",
            ),
            (
                json!({"kind": "token", "header": "x-token", "prefix": "a\nb"}),
                "cannot be used",
            ),
            (json!({"kind": "basic", "user": "a:b"}), "cannot be used"),
            (
                json!({"kind": "none", "networks": []}),
                "at least one network",
            ),
            (
                json!({"kind": "none", "networks": ["0.0.0.0/0"]}),
                "not a network",
            ),
            (
                json!({"kind": "none", "networks": ["192.0.2.0/33"]}),
                "not a network",
            ),
            (json!({"kind": "none"}), "missing field"),
            (json!({"kind": "path", "x": 1}), "unknown field"),
            (
                json!({"kind": "token", "header": "x-token", "x": 1}),
                "unknown field",
            ),
            (
                json!({"kind": "standard", "public_keys": ["whpk_AAAA"]}),
                "not a public key",
            ),
            (
                json!({"kind": "oidc", "audience": "a", "email": "b", "issuer": "https://example.test"}),
                "unknown variant",
            ),
            (
                json!({"kind": "oidc", "audience": "", "email": "b"}),
                "cannot be used",
            ),
        ] {
            let error = read(scheme.clone()).expect_err("it is refused");
            assert!(error.contains(said), "{scheme}: {error}");
        }
    }

    #[test]
    fn a_network_has_the_addresses_that_begin_alike() {
        let network: Network = "192.0.2.128/25".parse().expect("a network");
        for (address, inside) in [
            ("192.0.2.128", true),
            ("192.0.2.255", true),
            ("::ffff:192.0.2.200", true),
            ("192.0.2.127", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(
                network.contains(address.parse().expect("an address")),
                inside,
                "{address}"
            );
        }
        let one: Network = "2001:db8::1".parse().expect("a network");
        assert!(one.contains("2001:db8::1".parse().expect("an address")));
        assert!(!one.contains("2001:db8::2".parse().expect("an address")));
    }
}
