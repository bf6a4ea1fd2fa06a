//! Signatures of messages, as Standard Webhooks describes them.
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};

/// What a secret is written with before it.
const PREFIX: &str = "whsec_";
/// How many bytes a secret that we make has.
const BYTES: usize = 32;
/// How many bytes a secret may have.
const BYTES_MIN: usize = 24;
const BYTES_MAX: usize = 64;

/// Why a text is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It is not written as one.
    #[error("a secret is written as {PREFIX} and base64")]
    Form,
    /// It is too short to be safe, or longer than needed.
    #[error("a secret has {BYTES_MIN} to {BYTES_MAX} bytes")]
    Length,
}

/// What messages are signed with.
#[derive(Clone)]
pub struct Secret(hmac::Key);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// Makes a new one, as text; it is shown once.
    #[must_use]
    pub fn generate() -> SecretString {
        let bytes: [u8; BYTES] = rand::random();
        SecretString::from(format!("{PREFIX}{}", STANDARD.encode(bytes)))
    }

    /// Reads one.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub fn read(text: &SecretString) -> Result<Self, SecretError> {
        let text = text
            .expose_secret()
            .strip_prefix(PREFIX)
            .ok_or(SecretError::Form)?;
        let bytes = STANDARD.decode(text).map_err(|_| SecretError::Form)?;
        if !(BYTES_MIN..=BYTES_MAX).contains(&bytes.len()) {
            return Err(SecretError::Length);
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    fn sign(&self, id: &str, timestamp: i64, body: &str) -> String {
        let signed = format!("{id}.{timestamp}.{body}");
        let tag = hmac::sign(&self.0, signed.as_bytes());
        format!("v1,{}", STANDARD.encode(tag.as_ref()))
    }
}

/// The headers of a message: its id, which is the same in all attempts; the time of this one, in seconds; and a signature by
/// each secret, so that a receiver may change to the new one at any time.
#[must_use]
pub fn headers(
    secrets: &[Secret],
    id: &str,
    timestamp: i64,
    body: &str,
) -> [(&'static str, String); 3] {
    let signatures: Vec<_> = secrets
        .iter()
        .map(|secret| secret.sign(id, timestamp, body))
        .collect();
    [
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", timestamp.to_string()),
        ("webhook-signature", signatures.join(" ")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Result<Secret, SecretError> {
        Secret::read(&SecretString::from(text))
    }

    /// The example of the specification's own libraries.
    #[test]
    fn a_known_message_has_its_known_signature() {
        let known = secret("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").expect("a secret");
        let signed = headers(
            &[known],
            "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
            1_649_367_553,
            r#"{"email":"test@example.com","username":"test_user"}"#,
        );
        assert_eq!(
            signed[2].1,
            "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="
        );
        assert_eq!(signed[1].1, "1649367553");
    }

    #[test]
    fn two_secrets_sign_both() {
        let one = Secret::read(&Secret::generate()).expect("our own");
        let two = Secret::read(&Secret::generate()).expect("our own");
        let both = headers(&[one.clone(), two.clone()], "msg_1", 1, "{}");
        let alone = [one, two].map(|secret| headers(&[secret], "msg_1", 1, "{}")[2].1.clone());
        assert_eq!(both[2].1, alone.join(" "));
        assert_ne!(alone[0], alone[1]);
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        assert_eq!(secret("C2FVsBQIhrscChlQIMV").err(), Some(SecretError::Form));
        assert_eq!(secret("whsec_!").err(), Some(SecretError::Form));
        assert_eq!(secret("whsec_c2hvcnQ=").err(), Some(SecretError::Length));
    }
}
