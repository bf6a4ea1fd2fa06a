//! What every scheme must hold, whoever sends by it: a rightly proved request is accepted, and each way to tamper with it is
//! refused. For tests of vendor crates; nothing that serves a request calls it, and what it signs it signs by itself.

use std::sync::{Arc, LazyLock};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use model::Scheme;
use model::scheme::{Encoding, HmacAlgorithm, HmacScheme, NEXUS_HEADER, OidcScheme};
use secrecy::SecretString;
use serde_json::json;

use crate::conformance::{RECEIVED_AT, SECRET};
use crate::{
    Delivery, ParseError, Parsed, PathHash, PathSecrets, Raw, Secrets, SigningKey, Vendor,
};

/// A secret of somebody else's trigger.
const OTHER: &str = "the secret of another trigger";
/// The name of the key that signs identity tokens here.
const KEY_ID: &str = "a key";

static PAIR: LazyLock<KeyPair> =
    LazyLock::new(|| KeyPair::generate(KeySize::Rsa2048).expect("a key"));

/// A request but for its proof.
#[derive(Debug, Clone)]
pub struct Request {
    /// What its sender puts there besides the proof.
    pub headers: HeaderMap,
    /// What it says.
    pub body: Bytes,
}

impl Request {
    /// A request with these headers.
    ///
    /// # Panics
    /// When one is no header.
    #[must_use]
    pub fn new(headers: &[(&str, &str)], body: impl Into<Bytes>) -> Self {
        let headers = headers
            .iter()
            .map(|(name, value)| {
                let name: HeaderName = name.parse().expect("a header's name");
                (
                    name,
                    HeaderValue::from_str(value).expect("a header's value"),
                )
            })
            .collect();
        Self {
            headers,
            body: body.into(),
        }
    }

    /// The same with another body.
    #[must_use]
    pub fn with_body(&self, body: impl Into<Bytes>) -> Self {
        Self {
            headers: self.headers.clone(),
            body: body.into(),
        }
    }
}

/// What a trigger with this scheme checks with.
///
/// # Panics
/// When the keys that are made here are none.
#[must_use]
pub fn secrets(scheme: &Scheme) -> Secrets {
    let path = PathSecrets {
        current: Some(PathHash::of(&SECRET.into())),
        previous: None,
    };
    let keys: Arc<[SigningKey]> = SigningKey::of_set(&key_set()).expect("a set").into();
    Secrets::new(SECRET.into(), None)
        .with_scheme(Some(scheme.clone()))
        .with_path(path)
        .with_keys(keys)
}

/// The public half of the key that signs identity tokens here, as an issuer publishes it.
#[must_use]
pub fn key_set() -> Vec<u8> {
    // DER of PKCS #1: a sequence of the modulus, 257 bytes with a leading zero, and the exponent 65537.
    let public = PAIR.public_key().as_ref();
    let (modulus, exponent) = (&public[9..9 + 256], &public[public.len() - 3..]);
    json!({"keys": [{
        "kid": KEY_ID, "kty": "RSA", "alg": "RS256", "use": "sig",
        "n": URL_SAFE_NO_PAD.encode(modulus), "e": URL_SAFE_NO_PAD.encode(exponent),
    }]})
    .to_string()
    .into_bytes()
}

/// The request as its sender would prove it with this secret.
///
/// # Panics
/// When the proof cannot stand in a header.
#[must_use]
pub fn proved(scheme: &Scheme, request: &Request, secret: &str) -> Delivery<Raw> {
    let mut headers = request.headers.clone();
    let mut path = None;
    let mut put = |name: &str, value: &str| {
        let name: HeaderName = name.parse().expect("a header's name");
        headers.insert(
            name,
            HeaderValue::from_str(value).expect("a header's value"),
        );
    };
    match scheme {
        Scheme::Hmac(scheme) => put(
            scheme.header.as_str(),
            &signature(scheme, secret, &request.body),
        ),
        Scheme::Standard(_) => {
            let at = RECEIVED_AT.timestamp();
            let mut signed = format!("msg_1.{at}.").into_bytes();
            signed.extend_from_slice(&request.body);
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
            put("webhook-id", "msg_1");
            put("webhook-timestamp", &at.to_string());
            let made = STANDARD.encode(hmac::sign(&key, &signed));
            put("webhook-signature", &format!("v1,{made}"));
        }
        Scheme::Token(scheme) => {
            put(
                scheme.header.as_str(),
                &format!("{}{secret}", scheme.prefix.as_str()),
            );
        }
        Scheme::Basic(scheme) => {
            let pair = format!("{}:{secret}", scheme.user.as_str());
            put("authorization", &format!("Basic {}", STANDARD.encode(pair)));
        }
        Scheme::Path {} => path = Some(SecretString::from(secret)),
        Scheme::Oidc(scheme) => put(
            "authorization",
            &format!("Bearer {}", token(scheme, secret)),
        ),
        Scheme::None(_) => {}
    }
    let from = match scheme {
        Scheme::None(_) if secret == SECRET => Some([192, 0, 2, 1].into()),
        _ => Some([198, 51, 100, 1].into()),
    };
    Delivery::new(headers, request.body.clone(), RECEIVED_AT)
        .at_path(path)
        .coming_from(from)
}

fn signature(scheme: &HmacScheme, secret: &str, body: &[u8]) -> String {
    let algorithm = match scheme.algorithm {
        HmacAlgorithm::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        HmacAlgorithm::Sha256 => hmac::HMAC_SHA256,
        HmacAlgorithm::Sha384 => hmac::HMAC_SHA384,
        HmacAlgorithm::Sha512 => hmac::HMAC_SHA512,
    };
    let made = hmac::sign(&hmac::Key::new(algorithm, secret.as_bytes()), body);
    let made = match scheme.encoding {
        Encoding::Hex => hex::encode(made),
        Encoding::Base64 => STANDARD.encode(made),
    };
    format!("{}{made}", scheme.prefix.as_str())
}

/// A token of the service account or, with the secret of another trigger, one for that.
fn token(scheme: &OidcScheme, secret: &str) -> String {
    let audience = if secret == SECRET {
        scheme.audience.as_str()
    } else {
        "https://hooks.example.test/another"
    };
    let now = RECEIVED_AT.timestamp();
    let head = json!({"alg": "RS256", "kid": KEY_ID, "typ": "JWT"});
    let claims = json!({
        "iss": "https://accounts.google.com", "aud": audience, "email": scheme.email.as_str(),
        "email_verified": true, "iat": now, "exp": now + 3_600,
    });
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let signed = format!(
        "{}.{}",
        encode(head.to_string().as_bytes()),
        encode(claims.to_string().as_bytes())
    );
    let mut made = vec![0; PAIR.public_modulus_len()];
    PAIR.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        signed.as_bytes(),
        &mut made,
    )
    .expect("a signature");
    format!("{signed}.{}", encode(&made))
}

/// Reads a request that is rightly proved.
///
/// # Errors
/// As [`Delivery::parse`].
///
/// # Panics
/// When the proof is refused.
pub fn parse<V: Vendor>(scheme: &Scheme, request: &Request) -> Result<Parsed, ParseError> {
    let (verified, _) = proved(scheme, request, SECRET)
        .verify::<V>(&secrets(scheme))
        .unwrap_or_else(|error| panic!("a rightly proved request is refused: {error}"));
    verified.parse::<V>()
}

/// Tampers with a request in each way that its scheme has something for. `name` is for whoever reads the failure.
///
/// # Panics
/// When one is accepted, or the request itself is not.
pub fn holds_up<V: Vendor>(name: &str, scheme: &Scheme, request: &Request) {
    let verify = |delivery: Delivery<Raw>| delivery.verify::<V>(&secrets(scheme)).map(|_| ());
    let whole = || proved(scheme, request, SECRET);
    if let Err(error) = verify(whole()) {
        panic!("{name}: refused: {error}");
    }
    let refused = |what: &str, delivery: Delivery<Raw>| {
        assert!(verify(delivery).is_err(), "{name}: accepted with {what}");
    };
    refused("another trigger's secret", proved(scheme, request, OTHER));
    refused("nothing to prove it", bare(scheme, request));
    if signs_body(scheme) {
        for at in places(request.body.len()) {
            let mut body = request.body.to_vec();
            body[at] ^= 1;
            let flipped = again(&whole(), body.into());
            refused(&format!("byte {at} flipped"), flipped);
        }
    } else if !matches!(scheme, Scheme::None(_)) {
        for at in places(SECRET.len()) {
            let mut secret = SECRET.as_bytes().to_vec();
            secret[at] ^= 1;
            let secret = String::from_utf8(secret).expect("a flipped letter is one");
            refused(
                &format!("byte {at} of the secret flipped"),
                proved(scheme, request, &secret),
            );
        }
    }
    if let Scheme::Hmac(hmac) = scheme {
        let header: HeaderName = hmac.header.as_str().parse().expect("a header's name");
        let with = |value: &str| {
            let mut headers = whole().headers().clone();
            let value = HeaderValue::from_str(value).expect("a header's value");
            headers.insert(header.clone(), value);
            Delivery::new(headers, request.body.clone(), RECEIVED_AT)
        };
        let prefix = hmac.prefix.as_str();
        let right = signature(hmac, SECRET, &request.body);
        let digits = right.strip_prefix(prefix).expect("it has its prefix");
        if hmac.encoding == Encoding::Hex {
            refused(
                "upper-case digits",
                with(&format!("{prefix}{}", digits.to_uppercase())),
            );
        }
        if hmac.header.as_str() != NEXUS_HEADER {
            let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, SECRET.as_bytes());
            let weak = hex::encode(hmac::sign(&key, &request.body));
            refused("a SHA-1", with(&weak));
            refused("a SHA-1 that says so", with(&format!("sha1={weak}")));
            refused(
                "a SHA-1 behind the prefix",
                with(&format!("{prefix}{weak}")),
            );
        }
        refused(
            "a plain hash",
            with(&{
                let hash = digest::digest(&digest::SHA256, &request.body);
                format!("{prefix}{}", hex::encode(hash))
            }),
        );
        refused("an empty signature", with(prefix));
        refused("its first half", with(&right[..right.len() / 2]));
    }
    match truncated::<V>(scheme, request) {
        None | Some(Err(ParseError::Malformed { .. } | ParseError::TooLarge(_))) => {}
        Some(other) => panic!("{name}: cut in half and proved again it became {other:?}"),
    }
}

/// Whether the proof is over the body.
fn signs_body(scheme: &Scheme) -> bool {
    matches!(scheme, Scheme::Hmac(_) | Scheme::Standard(_))
}

/// Some places of a text: all of a short one, and of a long one those at both ends and between.
fn places(length: usize) -> impl Iterator<Item = usize> {
    let step = (length / 64).max(1);
    (0..length).step_by(step).chain(length.checked_sub(1))
}

/// The request without what its scheme asks for.
fn bare(scheme: &Scheme, request: &Request) -> Delivery<Raw> {
    let mut headers = request.headers.clone();
    let delivery = match scheme {
        Scheme::Standard(_) => {
            let whole = proved(scheme, request, SECRET);
            headers = whole.headers().clone();
            headers.remove("webhook-signature");
            Delivery::new(headers, request.body.clone(), RECEIVED_AT)
        }
        _ => Delivery::new(headers, request.body.clone(), RECEIVED_AT),
    };
    delivery.coming_from(None)
}

/// The same headers over another body.
fn again(delivery: &Delivery<Raw>, body: Bytes) -> Delivery<Raw> {
    Delivery::new(delivery.headers().clone(), body, RECEIVED_AT)
}

/// What the first half of a JSON body becomes when it is proved again; nothing for an empty one.
fn truncated<V: Vendor>(scheme: &Scheme, request: &Request) -> Option<Result<Parsed, ParseError>> {
    let half = request.body.slice(..request.body.len() / 2);
    (!half.is_empty()).then(|| parse::<V>(scheme, &request.with_body(half)))
}
