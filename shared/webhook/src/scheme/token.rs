//! A secret that is sent as it is. It says nothing about the body.

use aws_lc_rs::{constant_time, digest};

use crate::scheme::hmac;
use crate::{BadSignature, Delivery, HeaderProblem, Raw, Secrets, Which};

impl Delivery<Raw> {
    /// Checks the trigger's secret in a header, behind what its sender puts before it, such as `Bearer `.
    ///
    /// # Errors
    /// When the header is not there exactly once, or neither secret is in it.
    pub fn check_token(
        &self,
        header: &str,
        prefix: &str,
        secrets: &Secrets,
    ) -> Result<Which, BadSignature> {
        let given = self.proof(header)?;
        let given = after(given, prefix)
            .ok_or_else(|| BadSignature::Malformed(header.to_owned().into()))?;
        self.is_secret(given.as_bytes(), header, secrets, |secret| {
            secret.as_bytes().to_vec()
        })
    }

    /// The one value of the header that carries a proof.
    pub(crate) fn proof(&self, header: &str) -> Result<&str, BadSignature> {
        let named = || header.to_owned().into();
        match self.header(header) {
            Ok(Some("") | None) => Err(BadSignature::Missing(named())),
            Ok(Some(given)) => Ok(given),
            Err(HeaderProblem::Repeated) => Err(BadSignature::Repeated(named())),
            Err(HeaderProblem::Missing | HeaderProblem::NotText) => {
                Err(BadSignature::Malformed(named()))
            }
        }
    }

    /// Compares what was given with what each secret asks for, by their hashes, so that the time tells neither how much of
    /// it is right nor how long the right one is. The body is hashed too, as for a trigger that does not exist.
    pub(crate) fn is_secret(
        &self,
        given: &[u8],
        header: &str,
        secrets: &Secrets,
        asked: impl Fn(&str) -> Vec<u8>,
    ) -> Result<Which, BadSignature> {
        let given = digest::digest(&digest::SHA256, given);
        secrets
            .which(|secret| {
                let _ = hmac::made(secret, &[0; 32], self.bytes());
                let asked = digest::digest(&digest::SHA256, &asked(secret));
                constant_time::verify_slices_are_equal(given.as_ref(), asked.as_ref()).is_ok()
            })
            .ok_or_else(|| BadSignature::Mismatch(header.to_owned().into()))
    }
}

/// What stands behind a prefix. The name of an authentication scheme is one in any case: RFC 9110, section 11.1.
fn after<'a>(given: &'a str, prefix: &str) -> Option<&'a str> {
    let (before, rest) = given.split_at_checked(prefix.len())?;
    before.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use chrono::DateTime;
    use http::{HeaderMap, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    const HEADER: &str = "x-token";

    fn check(values: &[&[u8]], prefix: &str, secrets: &Secrets) -> Result<Which, BadSignature> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HEADER, HeaderValue::from_bytes(value).expect("a value"));
        }
        Delivery::new(headers, Bytes::from("{}"), DateTime::UNIX_EPOCH)
            .check_token(HEADER, prefix, secrets)
    }

    fn secrets() -> Secrets {
        Secrets::new("open sesame".into(), Some("before".into()))
    }

    #[test]
    fn both_secrets_are_accepted_behind_the_prefix() {
        assert_eq!(check(&[b"open sesame"], "", &secrets()), Ok(Which::Current));
        assert_eq!(check(&[b"before"], "", &secrets()), Ok(Which::Previous));
        let bearer = check(&[b"bearer before"], "Bearer ", &secrets());
        assert_eq!(bearer, Ok(Which::Previous));
    }

    #[test]
    fn nothing_else_is() {
        for (values, prefix, expected) in [
            (&[][..], "", BadSignature::Missing(HEADER.into())),
            (&[b"".as_slice()], "", BadSignature::Missing(HEADER.into())),
            (&[b"open sesam"], "", BadSignature::Mismatch(HEADER.into())),
            (&[b"Open sesame"], "", BadSignature::Mismatch(HEADER.into())),
            (
                &[b"open sesame!"],
                "",
                BadSignature::Mismatch(HEADER.into()),
            ),
            (
                &[b"open sesame"],
                "Bearer ",
                BadSignature::Malformed(HEADER.into()),
            ),
            (&[b"open \xff"], "", BadSignature::Malformed(HEADER.into())),
            (
                &[b"before", b"before"],
                "",
                BadSignature::Repeated(HEADER.into()),
            ),
        ] {
            assert_eq!(
                check(values, prefix, &secrets()),
                Err(expected),
                "{values:?}"
            );
        }
        let long = "a".repeat(10_000);
        assert!(check(&[long.as_bytes()], "", &secrets()).is_err());
        assert!(check(&[b"no secret is configured"], "", &Secrets::none()).is_err());
        assert!(check(&[b"x"], "", &Secrets::new("".into(), None)).is_err());
    }

    proptest! {
        #[test]
        fn no_other_value_is_accepted(value in "[ -~]{0,200}", prefix in "[ -~]{0,10}") {
            prop_assume!(!value.contains("open sesame") && !value.contains("before"));
            prop_assert!(check(&[value.as_bytes()], &prefix, &secrets()).is_err());
        }
    }
}
