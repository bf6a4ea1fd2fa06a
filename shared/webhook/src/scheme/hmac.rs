//! HMAC-SHA256 in hexadecimal. A header cannot choose a weaker algorithm.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

const SHA256_BYTES: usize = 32;

/// How a vendor signs.
#[derive(Debug, Clone, Copy)]
pub struct HmacSha256 {
    /// The header that carries the signature.
    pub header: &'static str,
    /// What stands before the digits; may be empty.
    pub prefix: &'static str,
    /// What was signed when the body is a form.
    pub signed: Signed,
}

/// What a signature is over when the body is a form. A JSON body is always signed as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signed {
    /// The form as it was sent.
    Body,
    /// The `payload` field, decoded.
    Payload,
}

/// Whether this secret made the signature over these bytes.
pub(crate) fn made(secret: &str, signature: &[u8; SHA256_BYTES], signed: &[u8]) -> bool {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(signed);
    mac.verify_slice(signature).is_ok()
}

/// The signature in a header's value: the prefix and exactly 64 lower-case hexadecimal digits.
pub(crate) fn digits(value: &str, prefix: &str) -> Option<[u8; SHA256_BYTES]> {
    let digits = value.strip_prefix(prefix)?;
    if digits.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    let mut signature = [0; SHA256_BYTES];
    hex::decode_to_slice(digits, &mut signature).ok()?;
    Some(signature)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use chrono::DateTime;
    use http::{HeaderMap, HeaderValue};
    use proptest::prelude::*;

    use super::*;
    use crate::scheme::NO_SECRET;
    use crate::{BadSignature, Delivery, Secrets, Which};

    const SECRET: &str = "It's a Secret to Everybody";
    const BODY: &str = "Hello, World!";
    /// GitHub's published answer for that secret and body.
    const PUBLISHED: &str =
        "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    const SCHEME: HmacSha256 = HmacSha256 {
        header: "x-hub-signature-256",
        prefix: "sha256=",
        signed: Signed::Body,
    };

    fn check(values: &[&[u8]], secrets: &Secrets, body: &str) -> Result<Which, BadSignature> {
        let mut headers = HeaderMap::new();
        for value in values {
            let value = HeaderValue::from_bytes(value).expect("a header's value");
            headers.append(SCHEME.header, value);
        }
        let body = Bytes::copy_from_slice(body.as_bytes());
        Delivery::new(headers, body, DateTime::UNIX_EPOCH).check(&SCHEME, secrets)
    }

    fn secrets(current: &str) -> Secrets {
        Secrets::new(current.into(), None)
    }

    #[test]
    fn the_published_answer_is_accepted() {
        let held = check(&[PUBLISHED.as_bytes()], &secrets(SECRET), BODY);
        assert_eq!(held, Ok(Which::Current));
    }

    #[test]
    fn the_previous_secret_is_accepted_during_a_rotation() {
        let rotating = Secrets::new("new".into(), Some(SECRET.into()));
        let held = check(&[PUBLISHED.as_bytes()], &rotating, BODY);
        assert_eq!(held, Ok(Which::Previous));
    }

    #[test]
    fn another_body_or_secret_is_refused() {
        let mismatch = Err(BadSignature::Mismatch(SCHEME.header.into()));
        let published = [PUBLISHED.as_bytes()];
        assert_eq!(
            check(&published, &secrets(SECRET), "Hello, World"),
            mismatch
        );
        assert_eq!(check(&published, &secrets("other"), BODY), mismatch);
        assert_eq!(check(&published, &Secrets::none(), BODY), mismatch);
    }

    #[test]
    fn an_empty_secret_verifies_nothing() {
        // HMAC-SHA256 with an empty key over an empty body: what anybody can compute.
        let free = "sha256=b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad";
        let refused = check(&[free.as_bytes()], &secrets(""), "");
        assert_eq!(refused, Err(BadSignature::Mismatch(SCHEME.header.into())));
    }

    #[test]
    fn nor_does_the_key_that_stands_for_no_secret() {
        let mut mac = Hmac::<Sha256>::new_from_slice(NO_SECRET.as_bytes()).expect("a key");
        mac.update(BODY.as_bytes());
        let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
        let refused = check(&[signature.as_bytes()], &Secrets::none(), BODY);
        assert_eq!(refused, Err(BadSignature::Mismatch(SCHEME.header.into())));
    }

    #[test]
    fn only_the_exact_form_is_looked_at() {
        let bare = &PUBLISHED[7..];
        let long = format!("{PUBLISHED}{}", "0".repeat(10_000));
        for (value, expected) in [
            (String::new(), BadSignature::Missing(SCHEME.header.into())),
            (
                "sha256=".to_owned(),
                BadSignature::Missing(SCHEME.header.into()),
            ),
            (
                format!("sha1={}", &bare[..40]),
                BadSignature::Malformed(SCHEME.header.into()),
            ),
            (
                format!("sha1={bare}"),
                BadSignature::Malformed(SCHEME.header.into()),
            ),
            (
                format!("sha512={bare}"),
                BadSignature::Malformed(SCHEME.header.into()),
            ),
            (
                format!("SHA256={bare}"),
                BadSignature::Malformed(SCHEME.header.into()),
            ),
            (
                bare.to_owned(),
                BadSignature::Malformed(SCHEME.header.into()),
            ),
            (
                format!("sha256={}", bare.to_uppercase()),
                BadSignature::Malformed(SCHEME.header.into()),
            ),
            (
                PUBLISHED[..PUBLISHED.len() - 1].to_owned(),
                BadSignature::Malformed(SCHEME.header.into()),
            ),
            (
                PUBLISHED[..PUBLISHED.len() - 2].to_owned(),
                BadSignature::Malformed(SCHEME.header.into()),
            ),
            (
                format!("{PUBLISHED}00"),
                BadSignature::Malformed(SCHEME.header.into()),
            ),
            (
                format!("{PUBLISHED},{PUBLISHED}"),
                BadSignature::Malformed(SCHEME.header.into()),
            ),
            (long, BadSignature::Malformed(SCHEME.header.into())),
        ] {
            let refused = check(&[value.as_bytes()], &secrets(SECRET), BODY);
            assert_eq!(refused, Err(expected), "{value:.90}");
        }
        assert_eq!(
            check(&[], &secrets(SECRET), BODY),
            Err(BadSignature::Missing(SCHEME.header.into()))
        );
        assert_eq!(
            check(&[b"sha256=\xff"], &secrets(SECRET), BODY),
            Err(BadSignature::Malformed(SCHEME.header.into()))
        );
    }

    #[test]
    fn a_repeated_signature_is_refused_even_when_both_hold() {
        let twice = [PUBLISHED.as_bytes(), PUBLISHED.as_bytes()];
        assert_eq!(
            check(&twice, &secrets(SECRET), BODY),
            Err(BadSignature::Repeated(SCHEME.header.into()))
        );
    }

    proptest! {
        #[test]
        fn no_other_value_is_accepted(value in "[ -~]{0,200}") {
            prop_assume!(value.trim() != PUBLISHED);
            prop_assert!(check(&[value.as_bytes()], &secrets(SECRET), BODY).is_err());
        }

        #[test]
        fn no_other_digits_are_accepted(value in "sha256=[0-9a-f]{60,68}") {
            prop_assume!(value != PUBLISHED);
            prop_assert!(check(&[value.as_bytes()], &secrets(SECRET), BODY).is_err());
        }

        #[test]
        fn no_bytes_make_the_check_panic(value in prop::collection::vec(32_u8..=255, 0..100)) {
            if HeaderValue::from_bytes(&value).is_ok() {
                prop_assert!(check(&[&value], &secrets(SECRET), BODY).is_err());
            }
        }
    }
}
