//! HTTP Basic, RFC 7617: a user and the trigger's secret.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::{BadSignature, Delivery, Raw, Secrets, Which};

const HEADER: &str = "authorization";
const SCHEME: &str = "basic ";

impl Delivery<Raw> {
    /// Checks a user and, as the password, the trigger's secret.
    ///
    /// # Errors
    /// When the header is not there exactly once, is not of this scheme, or says another user or password.
    pub fn check_basic(&self, user: &str, secrets: &Secrets) -> Result<Which, BadSignature> {
        let given = self.proof(HEADER)?;
        let given = given
            .split_at_checked(SCHEME.len())
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(SCHEME))
            .and_then(|(_, encoded)| STANDARD.decode(encoded.trim_start()).ok())
            .ok_or(BadSignature::Malformed(HEADER.into()))?;
        self.is_secret(&given, HEADER, secrets, |secret| {
            format!("{user}:{secret}").into_bytes()
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use chrono::DateTime;
    use http::{HeaderMap, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    fn check(value: &str) -> Result<Which, BadSignature> {
        let mut headers = HeaderMap::new();
        headers.append(HEADER, HeaderValue::from_str(value).expect("a value"));
        let secrets = Secrets::new("open sesame".into(), Some("before".into()));
        Delivery::new(headers, Bytes::new(), DateTime::UNIX_EPOCH).check_basic("Aladdin", &secrets)
    }

    fn encoded(pair: &str) -> String {
        format!("Basic {}", STANDARD.encode(pair))
    }

    #[test]
    fn the_published_answer_is_accepted() {
        // RFC 7617, section 2.
        assert_eq!(
            check("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            Ok(Which::Current)
        );
        assert_eq!(
            check("basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            Ok(Which::Current)
        );
        assert_eq!(check(&encoded("Aladdin:before")), Ok(Which::Previous));
    }

    #[test]
    fn another_user_or_password_is_refused() {
        for pair in [
            "Aladdin:open sesam",
            "aladdin:open sesame",
            "Aladdin",
            ":open sesame",
        ] {
            assert_eq!(
                check(&encoded(pair)),
                Err(BadSignature::Mismatch(HEADER.into())),
                "{pair}"
            );
        }
        for value in [
            "Basic",
            "Basic !",
            "Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            "QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        ] {
            assert_eq!(
                check(value),
                Err(BadSignature::Malformed(HEADER.into())),
                "{value}"
            );
        }
        assert_eq!(check(""), Err(BadSignature::Missing(HEADER.into())));
    }

    proptest! {
        #[test]
        fn no_other_value_is_accepted(value in "(Basic )?[ -~]{0,200}") {
            prop_assert!(check(&value).is_err());
        }
    }
}
