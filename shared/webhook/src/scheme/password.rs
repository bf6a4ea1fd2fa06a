//! HTTP Basic where only the password is asked for: RFC 7617.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::{BadSignature, Delivery, Raw, Secrets, Which};

const HEADER: &str = "authorization";
const SCHEME: &str = "basic ";

impl Delivery<Raw> {
    /// Checks the password, which is the trigger's secret, whatever the user: some senders ask for one.
    ///
    /// # Errors
    /// When the header is not there exactly once, is not of this scheme, or says another password.
    pub fn check_password(&self, secrets: &Secrets) -> Result<Which, BadSignature> {
        let given = self
            .proof(HEADER)?
            .split_at_checked(SCHEME.len())
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(SCHEME))
            .and_then(|(_, encoded)| STANDARD.decode(encoded.trim_start()).ok())
            .ok_or(BadSignature::Malformed(HEADER.into()))?;
        // A user has no colon, a password may.
        let colon = given.iter().position(|byte| *byte == b':');
        let password = colon
            .map(|at| &given[at + 1..])
            .ok_or(BadSignature::Malformed(HEADER.into()))?;
        self.is_secret(password, HEADER, secrets, |secret| {
            secret.as_bytes().to_vec()
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
        let secrets = Secrets::new("open: sesame".into(), Some("before".into()));
        Delivery::new(headers, Bytes::new(), DateTime::UNIX_EPOCH).check_password(&secrets)
    }

    fn encoded(pair: &str) -> String {
        format!("Basic {}", STANDARD.encode(pair))
    }

    #[test]
    fn the_password_is_the_secret_whatever_the_user() {
        for user in ["", "ann", "я"] {
            let pair = encoded(&format!("{user}:open: sesame"));
            assert_eq!(check(&pair), Ok(Which::Current), "{user}");
        }
        assert_eq!(check(&encoded(":before")), Ok(Which::Previous));
    }

    #[test]
    fn anything_else_is_refused() {
        for pair in ["ann:other", "ann:", "ann:open: sesame ", "open: sesame:"] {
            assert_eq!(
                check(&encoded(pair)),
                Err(BadSignature::Mismatch(HEADER.into())),
                "{pair}"
            );
        }
        for value in ["Bearer x", "Basic", "Basic %", &encoded("no colon")] {
            assert_eq!(
                check(value),
                Err(BadSignature::Malformed(HEADER.into())),
                "{value}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_other_value_is_accepted(value in "[ -~]{0,100}") {
            prop_assert!(check(&value).is_err());
        }
    }
}
