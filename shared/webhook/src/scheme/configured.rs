//! The scheme that a trigger is given, for senders that can be told how to prove who they are.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::Scheme;
use model::scheme::{Encoding, HmacAlgorithm, HmacScheme, NEXUS_HEADER};

use crate::{BadSignature, Delivery, Raw, Secrets, Which};

/// Where a trigger without a scheme looks for its secret, behind `Bearer ` or not.
pub(super) const AUTHORIZATION: &str = "authorization";
/// How the user and the password of HTTP Basic begin there.
pub(super) const BASIC: &str = "Basic ";
const BEARER: &str = "Bearer ";

impl Delivery<Raw> {
    /// Checks what the trigger's scheme asks for. Without a scheme it is the secret in `Authorization`, as it is or behind
    /// `Bearer `, which nearly every registry can be told to send.
    ///
    /// # Errors
    /// When it does not hold.
    pub fn check_configured(&self, secrets: &Secrets) -> Result<Which, BadSignature> {
        let checked = self.by_scheme(secrets);
        if let Err(bad) = &checked
            && !has_hashed(bad)
        {
            // The time would tell what the trigger asks for, and whether there is one.
            self.hash_for_nothing();
        }
        checked
    }

    fn by_scheme(&self, secrets: &Secrets) -> Result<Which, BadSignature> {
        match secrets.scheme() {
            Some(Scheme::Hmac(scheme)) => self.check_hmac(scheme, secrets),
            Some(Scheme::Standard(scheme)) if scheme.public_keys.is_empty() => {
                self.check_standard(secrets)
            }
            Some(Scheme::Standard(scheme)) => self.check_standard_public(&scheme.public_keys),
            Some(Scheme::Token(scheme)) => {
                self.check_token(scheme.header.as_str(), scheme.prefix.as_str(), secrets)
            }
            Some(Scheme::Basic(scheme)) => self.check_basic(scheme.user.as_str(), secrets),
            Some(Scheme::Path {}) => self.check_path(secrets.path()),
            Some(Scheme::Oidc(scheme)) => self.check_oidc(scheme, secrets.keys()),
            Some(Scheme::None(scheme)) => self.check_networks(&scheme.networks),
            None => {
                let bearer = self.proof(AUTHORIZATION)?.get(..BEARER.len());
                let bearer = bearer.filter(|begin| begin.eq_ignore_ascii_case(BEARER));
                self.check_token(AUTHORIZATION, bearer.unwrap_or_default(), secrets)
            }
        }
    }

    /// As much work on the body as it takes to hold a signature against two secrets.
    pub(crate) fn hash_for_nothing(&self) {
        for _ in 0..2 {
            let _ = super::hmac::made("", &[0; 32], self.bytes());
        }
    }

    /// Checks an HMAC over the body in a header, a hash and a form of the trigger's choice.
    ///
    /// # Errors
    /// When the header is not exactly one signature of that form, or neither secret made it.
    pub fn check_hmac(
        &self,
        scheme: &HmacScheme,
        secrets: &Secrets,
    ) -> Result<Which, BadSignature> {
        let header = scheme.header.as_str();
        let named = || header.to_owned().into();
        let given = self.proof(header)?;
        if given == scheme.prefix.as_str() {
            return Err(BadSignature::Missing(named()));
        }
        let algorithm = match scheme.algorithm {
            HmacAlgorithm::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            HmacAlgorithm::Sha256 => hmac::HMAC_SHA256,
            HmacAlgorithm::Sha384 => hmac::HMAC_SHA384,
            HmacAlgorithm::Sha512 => hmac::HMAC_SHA512,
        };
        let given = given
            .strip_prefix(scheme.prefix.as_str())
            .and_then(|text| decoded(text, scheme.encoding))
            .filter(|given| given.len() == algorithm.digest_algorithm().output_len())
            .ok_or_else(|| BadSignature::Malformed(named()))?;
        let made = |body: &[u8]| {
            secrets.which(|secret| {
                let key = hmac::Key::new(algorithm, secret.as_bytes());
                hmac::verify(&key, body, &given).is_ok()
            })
        };
        made(self.bytes())
            .or_else(|| {
                // Its documents sign the payload without the white space that some versions send.
                // https://help.sonatype.com/en/working-with-hmac-payloads.html
                (header == NEXUS_HEADER)
                    .then(|| made(&compact(self.bytes())))
                    .flatten()
            })
            .ok_or_else(|| BadSignature::Mismatch(named()))
    }
}

/// Whether the body was hashed before this was known.
const fn has_hashed(bad: &BadSignature) -> bool {
    match bad {
        BadSignature::Mismatch(_) | BadSignature::PathSecret | BadSignature::NoPathSecret => true,
        BadSignature::Missing(_)
        | BadSignature::Repeated(_)
        | BadSignature::Malformed(_)
        | BadSignature::NoPayload
        | BadSignature::Stale(_)
        | BadSignature::NoAddress
        | BadSignature::Address
        | BadSignature::Identity(_) => false,
    }
}

fn decoded(text: &str, encoding: Encoding) -> Option<Vec<u8>> {
    match encoding {
        Encoding::Hex if text.bytes().any(|b| b.is_ascii_uppercase()) => None,
        Encoding::Hex => hex::decode(text).ok(),
        Encoding::Base64 => STANDARD.decode(text).ok(),
    }
}

/// JSON without the white space between its values. Nothing is parsed: what is no JSON only comes out as something else
/// that nobody signed.
fn compact(body: &[u8]) -> Vec<u8> {
    let (mut in_string, mut escaped) = (false, false);
    body.iter()
        .copied()
        .filter(|&byte| {
            let blank = !in_string && byte.is_ascii_whitespace();
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_string => escaped = true,
                b'"' => in_string = !in_string,
                _ => {}
            }
            !blank
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use chrono::DateTime;
    use http::{HeaderMap, HeaderName, HeaderValue};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const SECRET: &str = "key";
    const BODY: &str = "The quick brown fox jumps over the lazy dog";

    fn secrets(scheme: Value) -> Secrets {
        let scheme = serde_json::from_value(scheme).expect("a scheme");
        Secrets::new(SECRET.into(), None).with_scheme(Some(scheme))
    }

    fn check(
        header: &str,
        value: &str,
        body: &str,
        secrets: &Secrets,
    ) -> Result<Which, BadSignature> {
        let mut headers = HeaderMap::new();
        let header: HeaderName = header.parse().expect("a name");
        headers.append(header, HeaderValue::from_str(value).expect("a value"));
        let body = Bytes::copy_from_slice(body.as_bytes());
        Delivery::new(headers, body, DateTime::UNIX_EPOCH).check_configured(secrets)
    }

    /// Answers that are published for this key and this sentence, and with OpenSSL for the longer hashes.
    const SHA1: &str = "de7c9b85b8b78aa6bc8a7a36f70a90701c9db4d9";
    const SHA256: &str = "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8";
    const SHA512: &str = "b42af09057bac1e2d41708e48a902e09b5ff7f12ab428a4fe86653c73dd248fb82f948a549f7b791a5b41915ee4d1ec3935357e4e2317250d0372afa2ebeeb3a";

    #[test]
    fn each_hash_and_form_holds_under_the_header_of_the_trigger() {
        let base64 = STANDARD.encode(hex::decode(SHA256).expect("digits"));
        for (scheme, value) in [
            (
                json!({"kind": "hmac", "header": "x-signature"}),
                SHA256.to_owned(),
            ),
            (
                json!({"kind": "hmac", "header": "x-signature", "prefix": "sha256="}),
                format!("sha256={SHA256}"),
            ),
            (
                json!({"kind": "hmac", "header": "x-signature", "algorithm": "sha512"}),
                SHA512.to_owned(),
            ),
            (
                json!({"kind": "hmac", "header": "x-signature", "encoding": "base64"}),
                base64,
            ),
        ] {
            let secrets = secrets(scheme);
            assert_eq!(
                check("x-signature", &value, BODY, &secrets),
                Ok(Which::Current),
                "{value}"
            );
            let flipped = BODY.replacen('T', "t", 1);
            let refused = check("x-signature", &value, &flipped, &secrets);
            assert_eq!(refused, Err(BadSignature::Mismatch("x-signature".into())));
            let refused = check("x-other", &value, BODY, &secrets);
            assert_eq!(refused, Err(BadSignature::Missing("x-signature".into())));
        }
    }

    #[test]
    fn only_the_exact_form_is_looked_at() {
        let scheme = secrets(json!({"kind": "hmac", "header": "x-signature", "prefix": "sha256="}));
        let long = format!("sha256={SHA256}{}", "0".repeat(10_000));
        for value in [
            SHA256,
            &format!("sha1={SHA1}"),
            &format!("sha256={SHA1}"),
            &format!("sha256={}", SHA256.to_uppercase()),
            &format!("SHA256={SHA256}"),
            &format!("sha256={}", &SHA256[..62]),
            &format!("sha256={SHA256},sha256={SHA256}"),
            &long,
        ] {
            let refused = check("x-signature", value, BODY, &scheme);
            assert_eq!(
                refused,
                Err(BadSignature::Malformed("x-signature".into())),
                "{value:.80}"
            );
        }
        for empty in ["", "sha256="] {
            let refused = check("x-signature", empty, BODY, &scheme);
            assert_eq!(refused, Err(BadSignature::Missing("x-signature".into())));
        }
    }

    #[test]
    fn nexus_signs_with_sha1_and_without_white_space() {
        let nexus = secrets(json!({"kind": "hmac", "header": NEXUS_HEADER, "algorithm": "sha1"}));
        assert_eq!(check(NEXUS_HEADER, SHA1, BODY, &nexus), Ok(Which::Current));

        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, SECRET.as_bytes());
        let signed = hex::encode(hmac::sign(&key, br#"{"a b":"c \" d","e":[1,2]}"#));
        let sent = "{ \"a b\" : \"c \\\" d\",\r\n\t\"e\": [1, 2] }\n";
        assert_eq!(
            check(NEXUS_HEADER, &signed, sent, &nexus),
            Ok(Which::Current)
        );
        let other = sent.replacen("c ", "c", 1);
        assert!(check(NEXUS_HEADER, &signed, &other, &nexus).is_err());
        assert!(check(NEXUS_HEADER, &signed.to_uppercase(), sent, &nexus).is_err());
    }

    #[test]
    fn without_a_scheme_the_secret_is_in_authorization() {
        let plain = Secrets::new(SECRET.into(), None);
        for value in ["key", "Bearer key", "bearer key"] {
            assert_eq!(
                check("authorization", value, BODY, &plain),
                Ok(Which::Current),
                "{value}"
            );
        }
        for value in ["Basic key", "Bearer", "Bearer keys", "ey"] {
            assert!(
                check("authorization", value, BODY, &plain).is_err(),
                "{value}"
            );
        }
        assert!(check("authorization", "key", BODY, &Secrets::none()).is_err());
    }

    #[test]
    fn a_request_cannot_choose_another_scheme() {
        let token = secrets(json!({"kind": "token", "header": "x-token"}));
        for (header, value) in [
            ("authorization", "Bearer key"),
            ("x-signature", SHA256),
            (NEXUS_HEADER, SHA1),
        ] {
            assert_eq!(
                check(header, value, BODY, &token),
                Err(BadSignature::Missing("x-token".into()))
            );
        }
        let basic = secrets(json!({"kind": "basic", "user": "ci"}));
        assert!(check("authorization", "Bearer key", BODY, &basic).is_err());
        assert_eq!(
            check("authorization", "Basic Y2k6a2V5", BODY, &basic),
            Ok(Which::Current)
        );
    }

    proptest! {
        #[test]
        fn compacting_ends_with_any_bytes(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let once = compact(&body);
            prop_assert_eq!(&compact(&once), &once);
        }

        #[test]
        fn no_other_value_is_accepted(value in "(sha256=)?[ -~]{0,200}") {
            prop_assume!(value.trim() != format!("sha256={SHA256}"));
            let scheme = secrets(json!({"kind": "hmac", "header": "x-signature", "prefix": "sha256="}));
            prop_assert!(check("x-signature", &value, BODY, &scheme).is_err());
        }
    }
}
