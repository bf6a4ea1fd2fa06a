//! Finds out what is between a signature that does not hold and one that does.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use http::HeaderMap;
use model::scheme::{Encoding, HmacAlgorithm, Scheme};

use super::body::{Form, forms};
use super::request::Recorded;

/// Bodies over this many bytes are tried with one change at a time: all changes together take as many hashes as their product.
const TOGETHER_BYTES_MAX: usize = 1024 * 1024;

/// What the scheme looks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expected {
    /// An HMAC.
    Hmac {
        header: String,
        prefix: String,
        algorithm: HmacAlgorithm,
        encoding: Encoding,
    },
    /// The three headers of Standard Webhooks.
    Standard,
    /// The secret itself, behind a prefix.
    Token { header: String, prefix: String },
    /// A user and the secret.
    Basic { user: Option<String> },
    /// The secret in the path.
    Path,
}

impl Expected {
    /// What a scheme looks for or, without one, what this kind of sender does by itself.
    pub(super) fn of(sender: &str, scheme: Option<&Scheme>, headers: &HeaderMap) -> Self {
        match scheme {
            Some(Scheme::Hmac(hmac)) => Self::Hmac {
                header: hmac.header.as_str().to_owned(),
                prefix: hmac.prefix.as_str().to_owned(),
                algorithm: hmac.algorithm,
                encoding: hmac.encoding,
            },
            Some(Scheme::Standard(_)) => Self::Standard,
            Some(Scheme::Token(token)) => Self::Token {
                header: token.header.as_str().to_owned(),
                prefix: token.prefix.as_str().to_owned(),
            },
            Some(Scheme::Basic(basic)) => Self::Basic {
                user: Some(basic.user.as_str().to_owned()),
            },
            Some(Scheme::Path {}) => Self::Path,
            Some(Scheme::Oidc(_) | Scheme::None(_)) | None => Self::usual(sender, headers),
        }
    }

    fn usual(sender: &str, headers: &HeaderMap) -> Self {
        let hmac = |header: &str, prefix: &str| Self::Hmac {
            header: header.to_owned(),
            prefix: prefix.to_owned(),
            algorithm: HmacAlgorithm::Sha256,
            encoding: Encoding::Hex,
        };
        match sender {
            "github" => hmac("x-hub-signature-256", "sha256="),
            "bitbucket" => hmac("x-hub-signature", "sha256="),
            "gitea" => {
                let there = [
                    "x-forgejo-signature",
                    "x-gitea-signature",
                    "x-gogs-signature",
                ];
                let there = there.into_iter().find(|name| headers.contains_key(*name));
                hmac(there.unwrap_or("x-gitea-signature"), "")
            }
            "gitlab" if headers.contains_key("webhook-signature") => Self::Standard,
            "gitlab" => Self::Token {
                header: "x-gitlab-token".to_owned(),
                prefix: String::new(),
            },
            "azure" => Self::Basic { user: None },
            _ => Self::Token {
                header: "authorization".to_owned(),
                prefix: "Bearer ".to_owned(),
            },
        }
    }

    fn header(&self) -> &str {
        match self {
            Self::Hmac { header, .. } | Self::Token { header, .. } => header,
            Self::Standard => "webhook-signature",
            Self::Basic { .. } => "authorization",
            Self::Path => "the path",
        }
    }
}

/// How the bytes of a claim are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    Hex,
    UpperHex,
    Base64,
}

/// A signature that a header holds, whether or not it is the one that is looked for.
struct Claim {
    header: String,
    prefix: String,
    written: Written,
    algorithm: HmacAlgorithm,
    digest: Vec<u8>,
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.header)
    }
}

/// What is known about why it does not hold, the surest first. Neither the secret nor what a header holds is repeated.
pub(super) fn explained(recorded: &Recorded, expected: &Expected, secret: &str) -> Vec<String> {
    let mut found = structure(recorded, expected);
    let more = match expected {
        Expected::Hmac { .. } | Expected::Standard => by_hmac(recorded, expected, secret),
        Expected::Token { header, prefix } => by_token(recorded, header, prefix, secret),
        Expected::Basic { user } => by_basic(recorded, user.as_deref(), secret),
        Expected::Path => by_path(recorded),
    };
    found.extend(more);
    found
}

/// What can be seen without the secret.
fn structure(recorded: &Recorded, expected: &Expected) -> Vec<String> {
    let mut found = Vec::new();
    let header = expected.header();
    let headers = &recorded.headers;
    let times = headers.get_all(header).iter().count();
    if times > 1 {
        found.push(format!(
            "{header} is there {times} times: something on the way added one; once is expected"
        ));
    }
    if *expected == Expected::Standard {
        for name in ["webhook-id", "webhook-timestamp"] {
            if !headers.contains_key(name) {
                found.push(format!("{name} is missing: it is signed too"));
            }
        }
    }
    let Expected::Hmac { algorithm, .. } = expected else {
        return found;
    };
    let claims = claims(headers);
    let right = claims.iter().any(|claim| claim.header == header);
    if times == 0 || !right {
        let mut others: Vec<&str> = claims.iter().map(|claim| claim.header.as_str()).collect();
        others.dedup();
        let only_sha1 = !claims.is_empty()
            && claims
                .iter()
                .all(|claim| claim.algorithm == HmacAlgorithm::Sha1);
        if only_sha1 && *algorithm != HmacAlgorithm::Sha1 {
            found.push(format!(
                "the only signature there is SHA-1, in {}, which is not taken: the sender is too old, or something on the way \
                 drops {header}",
                others.join(", ")
            ));
        } else if others.is_empty() {
            found.push(format!(
                "no header holds a signature: the hook has no secret, or something on the way drops {header}"
            ));
        } else if times == 0 {
            found.push(format!(
                "{header} is missing, and there is a signature in {}: the trigger's scheme is for another sender, or \
                 something on the way drops the header",
                others.join(", ")
            ));
        }
    }
    found
}

/// All signatures that stand in headers, by whatever hash their length is that of.
fn claims(headers: &HeaderMap) -> Vec<Claim> {
    let mut claims = Vec::new();
    for (name, value) in headers {
        let name = name.as_str();
        let about = ["signature", "hmac", "digest", "auth"];
        if !about.iter().any(|word| name.contains(word)) {
            continue;
        }
        let Ok(value) = value.to_str() else { continue };
        for part in value.split([' ', ';']) {
            claims.extend(claim(name, part.trim_matches(['"', '\''])));
        }
    }
    claims
}

fn claim(header: &str, text: &str) -> Option<Claim> {
    let known = [
        "sha1=", "sha256=", "sha384=", "sha512=", "v1,", "v1=", "v0=",
    ];
    let prefix = known
        .into_iter()
        .find(|prefix| {
            text.get(..prefix.len())
                .is_some_and(|begin| begin.eq_ignore_ascii_case(prefix))
        })
        .map_or("", |prefix| &text[..prefix.len()]);
    let rest = &text[prefix.len()..];
    let (written, digest) = match hex::decode(rest) {
        Ok(digest) if rest.bytes().any(|b| b.is_ascii_uppercase()) => (Written::UpperHex, digest),
        Ok(digest) => (Written::Hex, digest),
        Err(_) => {
            let decoded = STANDARD
                .decode(rest)
                .or_else(|_| STANDARD_NO_PAD.decode(rest))
                .or_else(|_| URL_SAFE.decode(rest))
                .or_else(|_| URL_SAFE_NO_PAD.decode(rest));
            (Written::Base64, decoded.ok()?)
        }
    };
    let algorithm = match digest.len() {
        20 => HmacAlgorithm::Sha1,
        32 => HmacAlgorithm::Sha256,
        48 => HmacAlgorithm::Sha384,
        64 => HmacAlgorithm::Sha512,
        _ => return None,
    };
    Some(Claim {
        header: header.to_owned(),
        prefix: prefix.to_owned(),
        written,
        algorithm,
        digest,
    })
}

/// A form of the secret, and what its sender has to do with it.
struct Key {
    bytes: Vec<u8>,
    how: Option<&'static str>,
}

/// The secret as it is given, and as others may have read it.
fn keys(secret: &str, standard: bool) -> Vec<Key> {
    let bare = secret.strip_prefix("whsec_").unwrap_or(secret);
    let decoded = STANDARD.decode(bare).ok().filter(|key| !key.is_empty());
    let own = if standard {
        decoded
            .clone()
            .unwrap_or_else(|| secret.as_bytes().to_vec())
    } else {
        secret.as_bytes().to_vec()
    };
    let mut keys = vec![Key {
        bytes: own,
        how: None,
    }];
    let mut add = |bytes: Vec<u8>, how: &'static str| {
        if !bytes.is_empty() && keys.iter().all(|key| key.bytes != bytes) {
            keys.push(Key {
                bytes,
                how: Some(how),
            });
        }
    };
    let trimmed = secret.trim();
    add(
        trimmed.into(),
        "the secret here has white space around it that the sender's has not",
    );
    for (end, how) in [
        (
            "\n",
            "the sender's secret ends in a line break (it was written with `echo`, or copied with one)",
        ),
        (
            "\r\n",
            "the sender's secret ends in a line break (it was written on Windows, or copied with one)",
        ),
        (" ", "the sender's secret ends in a space"),
    ] {
        add(format!("{secret}{end}").into(), how);
    }
    add(
        format!(" {secret}").into(),
        "the sender's secret begins with a space",
    );
    add(
        trimmed.trim_matches(['"', '\'']).into(),
        "the secret here is in quotation marks, which are no part of it",
    );
    add(
        format!("\"{secret}\"").into(),
        "the sender's secret is in quotation marks, which it takes for a part of it",
    );
    add(
        secret.as_bytes().to_vec(),
        "the sender signs with the text of the secret, not with what its base64 says",
    );
    add(
        bare.into(),
        "the sender signs with what stands behind whsec_, as text",
    );
    if let Some(decoded) = decoded {
        add(
            decoded,
            "the sender signs with what the secret's base64 says, not with its text",
        );
    }
    if let Ok(decoded) = hex::decode(trimmed) {
        add(
            decoded,
            "the sender signs with what the secret's hexadecimal digits say, not with its text",
        );
    }
    keys
}

/// Holds every signature that is there against every key and body that may have made it.
fn by_hmac(recorded: &Recorded, expected: &Expected, secret: &str) -> Vec<String> {
    let claims = claims(&recorded.headers);
    if claims.is_empty() {
        return Vec::new();
    }
    let standard = *expected == Expected::Standard;
    let keys = keys(secret, standard);
    let bodies = forms(&recorded.body);
    let together = recorded.body.len() <= TOGETHER_BYTES_MAX;
    // As few changes as possible: one that explains it is likelier than two.
    let mut tries: Vec<(usize, usize)> = Vec::new();
    for (k, key) in keys.iter().enumerate() {
        for (b, body) in bodies.iter().enumerate() {
            if together || key.how.is_none() || body.since.is_none() {
                tries.push((k, b));
            }
        }
    }
    tries.sort_by_key(|&(k, b)| usize::from(k > 0) + usize::from(b > 0));
    for (k, b) in tries {
        for claim in &claims {
            if made(&keys[k], &bodies[b], claim, recorded, standard) {
                return said(&keys[k], &bodies[b], claim, expected);
            }
        }
    }
    vec![
        "no usual change of the body or of the secret makes it hold: the sender most likely signs with another secret".to_owned(),
        "give the hook the trigger's secret again; if that is certain, record the body before any proxy reads it".to_owned(),
    ]
}

fn made(key: &Key, body: &Form<'_>, claim: &Claim, recorded: &Recorded, standard: bool) -> bool {
    let algorithm = match claim.algorithm {
        HmacAlgorithm::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        HmacAlgorithm::Sha256 => hmac::HMAC_SHA256,
        HmacAlgorithm::Sha384 => hmac::HMAC_SHA384,
        HmacAlgorithm::Sha512 => hmac::HMAC_SHA512,
    };
    let mut signing = hmac::Context::with_key(&hmac::Key::new(algorithm, &key.bytes));
    if standard {
        for name in ["webhook-id", "webhook-timestamp"] {
            let value = recorded.headers.get(name).map(|value| value.as_bytes());
            signing.update(value.unwrap_or_default());
            signing.update(b".");
        }
    }
    signing.update(&body.bytes);
    signing.sign().as_ref() == claim.digest
}

/// What is different about the signature that holds.
fn said(key: &Key, body: &Form<'_>, claim: &Claim, expected: &Expected) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(since) = body.since {
        found.push(format!("the body is not the one that was signed: {since}"));
    }
    if let Some(how) = key.how {
        found.push(how.to_owned());
    }
    if let Expected::Hmac {
        header,
        prefix,
        algorithm,
        encoding,
    } = expected
    {
        let own = ["x-hub-signature", "x-hub-signature-256"];
        if claim.algorithm != *algorithm {
            found.push(format!(
                "{claim} holds a right signature by {}, and {} is asked for",
                hash_name(claim.algorithm),
                hash_name(*algorithm)
            ));
        } else if claim.header != *header {
            let which = if own.contains(&claim.header.as_str()) {
                "as GitHub does"
            } else {
                "there"
            };
            found.push(format!(
                "a right signature is in {claim} ({which}), and {header} is looked at"
            ));
        }
        match (claim.written, encoding) {
            (Written::UpperHex, Encoding::Hex) => found.push(
                "it is written in upper case: lower-case hexadecimal digits are expected"
                    .to_owned(),
            ),
            (Written::Base64, Encoding::Hex) => {
                found.push("it is written in base64: hexadecimal digits are expected".to_owned());
            }
            (Written::Hex | Written::UpperHex, Encoding::Base64) => {
                found.push("it is written in hexadecimal digits: base64 is expected".to_owned());
            }
            (Written::Hex, Encoding::Hex) | (Written::Base64, Encoding::Base64) => {}
        }
        if claim.prefix != *prefix && claim.algorithm == *algorithm {
            found.push(match (claim.prefix.is_empty(), prefix.is_empty()) {
                (true, _) => format!("{prefix:?} is expected before it"),
                (false, true) => format!(
                    "nothing is expected before it, and {:?} is there",
                    claim.prefix
                ),
                (false, false) => format!(
                    "{prefix:?} is expected before it, and {:?} is there",
                    claim.prefix
                ),
            });
        }
    }
    if found.is_empty() {
        found.push(format!(
            "a right signature is in {claim}; it is not alone there, or not where it is looked for"
        ));
    }
    found
}

const fn hash_name(algorithm: HmacAlgorithm) -> &'static str {
    match algorithm {
        HmacAlgorithm::Sha1 => "SHA-1",
        HmacAlgorithm::Sha256 => "SHA-256",
        HmacAlgorithm::Sha384 => "SHA-384",
        HmacAlgorithm::Sha512 => "SHA-512",
    }
}

fn by_token(recorded: &Recorded, header: &str, prefix: &str, secret: &str) -> Vec<String> {
    let value = |name: &str| {
        recorded
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let Some(given) = value(header) else {
        let elsewhere = recorded.headers.iter().find(|(_, value)| {
            let text = value.to_str().unwrap_or_default();
            text.trim() == secret.trim() || text.rsplit(' ').next() == Some(secret.trim())
        });
        return vec![match elsewhere {
            Some((name, _)) => format!(
                "{header} is missing, and the secret is in {name}: the trigger's scheme names another header"
            ),
            None => format!(
                "{header} is missing: the hook has no secret, or something on the way drops the header"
            ),
        }];
    };
    let bare = given.strip_prefix(prefix).unwrap_or(given).trim();
    let finding = if bare == secret && !prefix.is_empty() && !given.starts_with(prefix) {
        format!("the secret is there, and {prefix:?} is expected before it")
    } else if given.rsplit(' ').next() == Some(secret) {
        "the secret is there, and something else stands before it than is expected".to_owned()
    } else if bare == secret.trim() {
        "the secret here has white space around it that the sender's has not".to_owned()
    } else if bare.trim_matches(['"', '\'']) == secret {
        "the sender's secret is in quotation marks, which it takes for a part of it".to_owned()
    } else if bare.eq_ignore_ascii_case(secret) {
        "the sender's secret differs in upper and lower case".to_owned()
    } else if bare.strip_prefix("whsec_") == Some(secret)
        || secret.strip_prefix("whsec_") == Some(bare)
    {
        "one of the secrets begins with whsec_, and the other not".to_owned()
    } else if given.to_ascii_lowercase().starts_with("basic ") {
        "it is HTTP Basic: the trigger's scheme asks for the secret as it is".to_owned()
    } else {
        format!("{header} holds another secret than the trigger's: give it to the hook again")
    };
    vec![finding]
}

fn by_basic(recorded: &Recorded, user: Option<&str>, secret: &str) -> Vec<String> {
    let given = recorded
        .headers
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    let Some(given) = given else {
        return vec!["Authorization is missing: the hook has no basic authentication, or something on the way drops it".to_owned()];
    };
    let encoded = given
        .get(..6)
        .filter(|begin| begin.eq_ignore_ascii_case("basic "));
    let Some(_) = encoded else {
        return vec!["Authorization is there and is not HTTP Basic".to_owned()];
    };
    let pair = STANDARD.decode(given[6..].trim()).ok();
    let pair = pair.and_then(|pair| String::from_utf8(pair).ok());
    let Some((name, password)) = pair.as_deref().and_then(|pair| pair.split_once(':')) else {
        return vec!["what is behind Basic is not user:password in base64".to_owned()];
    };
    let mut found = Vec::new();
    if user.is_some_and(|user| user != name) {
        found.push("the user is another than the scheme's".to_owned());
    }
    if password != secret {
        found.push(if password.trim() == secret.trim() {
            "the password is the secret with white space around one of them".to_owned()
        } else {
            "the password is another than the trigger's secret".to_owned()
        });
    }
    found
}

fn by_path(recorded: &Recorded) -> Vec<String> {
    let finding = match (recorded.trigger(), recorded.path_secret()) {
        (None, _) => {
            "the recording has no request line with the trigger's URL: put `POST /… HTTP/1.1` before the headers"
        }
        (Some(_), None) => "the URL ends before its secret: give the hook the whole of it",
        (Some(_), Some(_)) => {
            "the secret in the URL is another than the trigger's: a new URL was made since, or it was cut"
        }
    };
    vec![finding.to_owned()]
}
