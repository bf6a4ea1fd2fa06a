//! Identity tokens of an OpenID provider: JSON Web Tokens signed with RS256, RFC 7519. The provider's keys come from
//! outside; nothing here asks for them.
//!
//! What a token says of itself chooses nothing: the algorithm is RS256 or it is refused, and its key is looked up among
//! those of the trigger's issuer by a name that is only compared.

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::scheme::{Issuer, OidcScheme};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{BadIdentity, BadSignature, Delivery, Raw, Which};

const HEADER: &str = "authorization";
const SCHEME: &str = "bearer ";

/// How many bytes a token may have; those of Google have about one thousand.
const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// How far the issuer's clock may be from ours, in seconds.
const LEEWAY_SECS: i64 = 60;
/// How many keys an issuer may publish.
const KEYS_MAX: usize = 32;

/// A key that an issuer signs with, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    id: String,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

/// What an issuer publishes is no set of keys.
#[derive(Debug, thiserror::Error)]
pub enum BadKeys {
    /// It has another form.
    #[error("what the issuer publishes is no JSON Web Key Set")]
    Json(#[from] serde_json::Error),
    /// There is none that signs with RS256, or there are too many.
    #[error("the issuer publishes {0} keys for RS256; 1 to {KEYS_MAX} are expected")]
    Number(usize),
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Key>,
}

#[derive(Deserialize)]
struct Key {
    kid: Option<String>,
    kty: Option<String>,
    alg: Option<String>,
    r#use: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

impl SigningKey {
    /// The keys of a JSON Web Key Set, RFC 7517. Those of other algorithms are left out.
    ///
    /// # Errors
    /// When it is no such set, or has no usable key.
    pub fn of_set(json: &[u8]) -> Result<Vec<Self>, BadKeys> {
        let set: KeySet = serde_json::from_slice(json)?;
        let usable = |key: Key| {
            let signs = key.kty.as_deref() == Some("RSA")
                && key.alg.as_deref().is_none_or(|alg| alg == "RS256")
                && key.r#use.as_deref().is_none_or(|usage| usage == "sig");
            let modulus = URL_SAFE_NO_PAD.decode(key.n?).ok()?;
            let exponent = URL_SAFE_NO_PAD.decode(key.e?).ok()?;
            signs.then_some(Self {
                id: key.kid?,
                modulus,
                exponent,
            })
        };
        let keys: Vec<_> = set.keys.into_iter().filter_map(usable).collect();
        if (1..=KEYS_MAX).contains(&keys.len()) {
            Ok(keys)
        } else {
            Err(BadKeys::Number(keys.len()))
        }
    }

    fn made(&self, signed: &str, signature: &[u8]) -> bool {
        let key = RsaPublicKeyComponents {
            n: &self.modulus,
            e: &self.exponent,
        };
        key.verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), signature)
            .is_ok()
    }
}

#[derive(Deserialize)]
struct Head {
    alg: String,
    kid: String,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    exp: i64,
    iat: Option<i64>,
    nbf: Option<i64>,
    email: Option<String>,
    email_verified: Option<bool>,
}

impl Delivery<Raw> {
    /// Checks the identity token in `Authorization`: who signed it, for whom, until when, and whose it is.
    ///
    /// # Errors
    /// When the header is not there exactly once, or the token does not hold.
    pub fn check_oidc(
        &self,
        scheme: &OidcScheme,
        keys: &[SigningKey],
    ) -> Result<Which, BadSignature> {
        let given = self.proof(HEADER)?;
        let token = given
            .split_at_checked(SCHEME.len())
            .filter(|(name, _)| name.eq_ignore_ascii_case(SCHEME))
            .map(|(_, token)| token)
            .ok_or(BadSignature::Malformed(HEADER.into()))?;
        let claims = claims(token, keys).map_err(BadSignature::Identity)?;
        self.held(scheme, &claims).map_err(BadSignature::Identity)
    }

    fn held(&self, scheme: &OidcScheme, claims: &Claims) -> Result<Which, BadIdentity> {
        let now = self.received_at().timestamp();
        let begins = claims.nbf.or(claims.iat).unwrap_or(now);
        if !issuers(scheme.issuer).contains(&claims.iss.as_str()) {
            Err(BadIdentity::Issuer)
        } else if claims.aud != scheme.audience.as_str() {
            Err(BadIdentity::Audience)
        } else if claims.exp.saturating_add(LEEWAY_SECS) <= now
            || begins.saturating_sub(LEEWAY_SECS) > now
        {
            Err(BadIdentity::Expired)
        } else if claims.email.as_deref() != Some(scheme.email.as_str())
            || claims.email_verified != Some(true)
        {
            Err(BadIdentity::Email)
        } else {
            Ok(Which::Current)
        }
    }
}

/// What an issuer calls itself.
/// <https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions#jwt>
fn issuers(issuer: Issuer) -> &'static [&'static str] {
    match issuer {
        Issuer::Google => &["https://accounts.google.com", "accounts.google.com"],
    }
}

/// The claims of a token whose signature holds.
fn claims(token: &str, keys: &[SigningKey]) -> Result<Claims, BadIdentity> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(BadIdentity::Malformed);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(BadIdentity::Malformed)?;
    let (head, claims) = signed.split_once('.').ok_or(BadIdentity::Malformed)?;
    let signature = URL_SAFE_NO_PAD
        .decode(signature)
        .map_err(|_| BadIdentity::Malformed)?;
    let head: Head = part(head)?;
    if head.alg != "RS256" {
        return Err(BadIdentity::Malformed);
    }
    let key = keys
        .iter()
        .find(|key| key.id == head.kid)
        .ok_or(BadIdentity::UnknownKey)?;
    if !key.made(signed, &signature) {
        return Err(BadIdentity::Signature);
    }
    part(claims)
}

fn part<T: DeserializeOwned>(encoded: &str) -> Result<T, BadIdentity> {
    let json = URL_SAFE_NO_PAD
        .decode(encoded)
        .map_err(|_| BadIdentity::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| BadIdentity::Malformed)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::rsa::{KeyPair, KeySize};
    use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
    use bytes::Bytes;
    use chrono::DateTime;
    use http::{HeaderMap, HeaderValue};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const NOW: i64 = 1_795_284_000;

    static PAIR: LazyLock<KeyPair> =
        LazyLock::new(|| KeyPair::generate(KeySize::Rsa2048).expect("a key"));

    fn keys() -> Vec<SigningKey> {
        // DER of PKCS #1: a sequence of the modulus, 257 bytes with a leading zero, and the exponent 65537.
        let public = PAIR.public_key().as_ref();
        let (modulus, exponent) = (&public[9..9 + 256], &public[public.len() - 3..]);
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let set = json!({"keys": [
            {"kid": "other", "kty": "EC", "alg": "ES256", "x": "AA", "y": "AA"},
            {
                "kid": "one", "kty": "RSA", "alg": "RS256", "use": "sig",
                "n": encode(modulus),
                "e": encode(exponent),
            },
        ]});
        SigningKey::of_set(set.to_string().as_bytes()).expect("a set")
    }

    fn token(head: &Value, claims: &Value) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(head), encode(claims));
        let mut signature = vec![0; PAIR.public_modulus_len()];
        PAIR.sign(
            &RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            signed.as_bytes(),
            &mut signature,
        )
        .expect("a signature");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn head() -> Value {
        json!({"alg": "RS256", "kid": "one", "typ": "JWT"})
    }

    /// As Google documents them.
    fn claims() -> Value {
        json!({
            "aud": "https://hooks.example.test/a",
            "azp": "113774264463038321964",
            "email": "push@example.test",
            "sub": "113774264463038321964",
            "email_verified": true,
            "exp": NOW + 3_600,
            "iat": NOW,
            "iss": "https://accounts.google.com",
        })
    }

    fn check(value: &str) -> Result<Which, BadSignature> {
        let scheme: OidcScheme = serde_json::from_value(
            json!({"audience": "https://hooks.example.test/a", "email": "push@example.test"}),
        )
        .expect("a scheme");
        let mut headers = HeaderMap::new();
        headers.append(HEADER, HeaderValue::from_str(value).expect("a value"));
        let now = DateTime::from_timestamp(NOW, 0).expect("a time");
        Delivery::new(headers, Bytes::new(), now).check_oidc(&scheme, &keys())
    }

    fn identity(token: &str) -> BadIdentity {
        match check(&format!("Bearer {token}")) {
            Err(BadSignature::Identity(bad)) => bad,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_token_of_the_service_account_is_accepted() {
        let whole = token(&head(), &claims());
        assert_eq!(check(&format!("Bearer {whole}")), Ok(Which::Current));
        let mut short = claims();
        short["iss"] = json!("accounts.google.com");
        short.as_object_mut().expect("an object").remove("iat");
        assert_eq!(
            check(&format!("bearer {}", token(&head(), &short))),
            Ok(Which::Current)
        );
    }

    #[test]
    fn each_wrong_claim_is_refused() {
        for (name, wrong, expected) in [
            (
                "iss",
                json!("https://accounts.example.test"),
                BadIdentity::Issuer,
            ),
            (
                "aud",
                json!("https://hooks.example.test/b"),
                BadIdentity::Audience,
            ),
            ("aud", json!(""), BadIdentity::Audience),
            ("exp", json!(NOW - LEEWAY_SECS), BadIdentity::Expired),
            ("exp", json!(i64::MIN), BadIdentity::Expired),
            ("iat", json!(NOW + LEEWAY_SECS + 1), BadIdentity::Expired),
            ("nbf", json!(i64::MAX), BadIdentity::Expired),
            ("email", json!("other@example.test"), BadIdentity::Email),
            ("email", json!(null), BadIdentity::Email),
            ("email_verified", json!(false), BadIdentity::Email),
            ("email_verified", json!(null), BadIdentity::Email),
            ("email_verified", json!("true"), BadIdentity::Malformed),
            ("exp", json!("never"), BadIdentity::Malformed),
        ] {
            let mut claims = claims();
            claims[name] = wrong.clone();
            assert_eq!(
                identity(&token(&head(), &claims)),
                expected,
                "{name} {wrong}"
            );
        }
    }

    #[test]
    fn a_token_cannot_choose_its_algorithm_or_key() {
        for (name, wrong, expected) in [
            ("alg", json!("none"), BadIdentity::Malformed),
            ("alg", json!("HS256"), BadIdentity::Malformed),
            ("alg", json!("RS512"), BadIdentity::Malformed),
            ("kid", json!("two"), BadIdentity::UnknownKey),
            ("kid", json!("../../one"), BadIdentity::UnknownKey),
            ("kid", json!("other"), BadIdentity::UnknownKey),
            ("kid", json!(null), BadIdentity::Malformed),
        ] {
            let mut head = head();
            head[name] = wrong.clone();
            assert_eq!(
                identity(&token(&head, &claims())),
                expected,
                "{name} {wrong}"
            );
        }
    }

    #[test]
    fn what_was_changed_cut_or_is_no_token_is_refused() {
        let whole = token(&head(), &claims());
        let parts: Vec<_> = whole.split('.').collect();
        let mut other = claims();
        other["email"] = json!("other@example.test");
        let other = URL_SAFE_NO_PAD.encode(other.to_string());
        let swapped = [parts[0], &other, parts[2]].join(".");
        assert_eq!(identity(&swapped), BadIdentity::Signature);
        let unsigned = [parts[0], parts[1], ""].join(".");
        assert_eq!(identity(&unsigned), BadIdentity::Signature);
        let long = "a".repeat(1024 * 1024);
        for token in [
            "x",
            "a.b",
            "..",
            "a.b.c.d",
            &whole[..whole.len() - 1],
            &long,
        ] {
            let bad = identity(token);
            assert!(
                matches!(bad, BadIdentity::Malformed | BadIdentity::Signature),
                "{bad:?}"
            );
        }
        assert_eq!(check("Bearer"), Err(BadSignature::Malformed(HEADER.into())));
        assert_eq!(check(&whole), Err(BadSignature::Malformed(HEADER.into())));
    }

    #[test]
    fn a_set_without_a_usable_key_is_refused() {
        for set in [
            "",
            "{}",
            r#"{"keys":[]}"#,
            r#"{"keys":[{"kty":"oct","k":"AA","kid":"a"}]}"#,
        ] {
            assert!(SigningKey::of_set(set.as_bytes()).is_err(), "{set}");
        }
        assert_eq!(keys().len(), 1);
    }

    proptest! {
        #[test]
        fn no_other_value_is_accepted(value in "(Bearer )?[ -~]{0,200}") {
            prop_assert!(check(&value).is_err());
        }

        #[test]
        fn any_set_is_read_or_refused(json in "[ -~]{0,200}") {
            let _ = SigningKey::of_set(json.as_bytes());
        }
    }
}
