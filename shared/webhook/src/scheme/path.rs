//! A secret in the path of the URL, for senders that can do nothing else. Whoever sees the URL has it: it is made here, at
//! random, and only its hash is stored.

use aws_lc_rs::{constant_time, digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};

use crate::{BadSignature, Delivery, Raw, Which};

/// How many random bytes a secret has: 192 bits.
const SECRET_BYTES: usize = 24;

/// The SHA-256 of a secret in a path. It needs no salt and no slow hash: what is hashed is random.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathHash(pub [u8; 32]);

impl PathHash {
    /// Of this secret.
    #[must_use]
    pub fn of(secret: &SecretString) -> Self {
        let hash = digest::digest(&digest::SHA256, secret.expose_secret().as_bytes());
        Self(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

/// The hashes of the secrets that may stand in the path.
#[derive(Debug, Clone, Copy, Default)]
pub struct PathSecrets {
    /// Of the one in use.
    pub current: Option<PathHash>,
    /// Of the one before it, while a rotation is under way.
    pub previous: Option<PathHash>,
}

/// A new secret for a path, in characters that need no escaping there.
///
/// # Panics
/// When the operating system has no random numbers, without which nothing here is safe.
#[must_use]
pub fn new_path_secret() -> SecretString {
    let mut bytes = [0; SECRET_BYTES];
    rand::fill(&mut bytes).expect("the operating system gives random numbers");
    SecretString::from(URL_SAFE_NO_PAD.encode(bytes))
}

impl Delivery<Raw> {
    /// Checks the secret in the path.
    ///
    /// # Errors
    /// When there is none, or another.
    pub fn check_path(&self, secrets: &PathSecrets) -> Result<Which, BadSignature> {
        // As much work on the body as for a trigger that does not exist.
        self.hash_for_nothing();
        let given = self.path_secret().ok_or(BadSignature::NoPathSecret)?;
        let given = PathHash::of(given);
        let is = |hash: Option<PathHash>| {
            let asked = hash.map_or([0; 32], |hash| hash.0);
            let equal = constant_time::verify_slices_are_equal(&given.0, &asked).is_ok();
            equal && hash.is_some()
        };
        match (is(secrets.current), is(secrets.previous)) {
            (true, _) => Ok(Which::Current),
            (false, true) => Ok(Which::Previous),
            (false, false) => Err(BadSignature::PathSecret),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use chrono::DateTime;
    use http::HeaderMap;

    use super::*;

    fn check(given: Option<&str>, secrets: &PathSecrets) -> Result<Which, BadSignature> {
        Delivery::new(HeaderMap::new(), Bytes::new(), DateTime::UNIX_EPOCH)
            .at_path(given.map(SecretString::from))
            .check_path(secrets)
    }

    #[test]
    fn only_the_triggers_path_secrets_are_accepted() {
        let (current, previous) = (new_path_secret(), new_path_secret());
        let secrets = PathSecrets {
            current: Some(PathHash::of(&current)),
            previous: Some(PathHash::of(&previous)),
        };
        let given = current.expose_secret();
        assert_eq!(check(Some(given), &secrets), Ok(Which::Current));
        let before = Some(previous.expose_secret());
        assert_eq!(check(before, &secrets), Ok(Which::Previous));
        assert_eq!(check(None, &secrets), Err(BadSignature::NoPathSecret));
        for bad in [
            "",
            "x",
            &given[1..],
            &format!("{given}a"),
            new_path_secret().expose_secret(),
        ] {
            assert_eq!(
                check(Some(bad), &secrets),
                Err(BadSignature::PathSecret),
                "{bad}"
            );
        }
        let none = PathSecrets::default();
        assert_eq!(check(Some(given), &none), Err(BadSignature::PathSecret));
    }

    #[test]
    fn a_path_secret_has_more_than_128_bits_and_needs_no_escaping() {
        let (one, other) = (new_path_secret(), new_path_secret());
        let text = one.expose_secret();
        assert_ne!(text, other.expose_secret());
        assert_eq!(text.len(), 32, "6 bits each: 192 bits");
        assert!(
            text.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        );
    }
}
