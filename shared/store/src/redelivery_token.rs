//! By what a stored delivery proves itself to the function that reads it again: a token for one delivery, one attempt and one
//! body, good for a moment.

use chrono::{DateTime, Utc};
use model::{DeliveryId, TriggerId};
use uuid::Uuid;

use crate::signed::{Claims, sign, verified};
use crate::{BadToken, Keyring};

/// What is signed is signed for redeliveries and nothing else.
const CONTEXT: &str = "redelivery token";
/// First byte: this layout (version, trigger, delivery, attempt, SHA-256 of the body, end in seconds since 1970, MAC).
const VERSION: u8 = 1;
const CLAIMS_BYTES: usize = 1 + 16 + 16 + 16 + 32 + 8;

/// The right to hand a stored delivery in again, until its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RedeliveryToken {
    /// The trigger it came through.
    pub trigger: TriggerId,
    /// The delivery.
    pub delivery: DeliveryId,
    /// The attempt: one that comes twice is one.
    pub attempt: Uuid,
    /// SHA-256 of the body.
    pub body_sha256: [u8; 32],
    /// Until when it is good; parts of a second are cut off.
    pub until: DateTime<Utc>,
}

impl RedeliveryToken {
    /// As text for a header, signed under the master key.
    #[must_use]
    pub fn sign(&self, keyring: &Keyring) -> String {
        let mut bytes = Vec::with_capacity(CLAIMS_BYTES);
        bytes.push(VERSION);
        bytes.extend_from_slice(self.trigger.uuid().as_bytes());
        bytes.extend_from_slice(self.delivery.uuid().as_bytes());
        bytes.extend_from_slice(self.attempt.as_bytes());
        bytes.extend_from_slice(&self.body_sha256);
        bytes.extend_from_slice(&self.until.timestamp().to_be_bytes());
        sign(keyring, CONTEXT, bytes)
    }

    /// Reads a token. Nothing is believed before the signature is known to be good, which is compared in constant time.
    ///
    /// # Errors
    /// When it is no such token, or over at `now`.
    pub fn verify(text: &str, keyring: &Keyring, now: DateTime<Utc>) -> Result<Self, BadToken> {
        let claims = verified(text, CONTEXT, CLAIMS_BYTES, &[keyring])?;
        let token = Self::read(&claims).ok_or(BadToken::Forged)?;
        if token.until <= now {
            return Err(BadToken::Over);
        }
        Ok(token)
    }

    fn read(claims: &[u8]) -> Option<Self> {
        let mut claims = Claims::of_version(claims, VERSION)?;
        Some(Self {
            trigger: claims.id()?.into(),
            delivery: claims.id()?.into(),
            attempt: claims.id()?,
            body_sha256: claims.take()?,
            until: claims.time()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    const TEXT_BYTES: usize = crate::signed::text_bytes(CLAIMS_BYTES);

    const NOW: DateTime<Utc> = DateTime::from_timestamp_secs(1_800_000_000).expect("a time");

    fn token() -> RedeliveryToken {
        RedeliveryToken {
            trigger: Uuid::from_u128(1).into(),
            delivery: Uuid::from_u128(2).into(),
            attempt: Uuid::from_u128(3),
            body_sha256: [4; 32],
            until: NOW + chrono::TimeDelta::seconds(30),
        }
    }

    fn keyring() -> Keyring {
        Keyring::from_base64(&Keyring::generate()).expect("a key")
    }

    #[test]
    fn a_token_reads_what_it_writes() {
        let keyring = keyring();
        let text = token().sign(&keyring);
        assert!(text.len() <= TEXT_BYTES);
        assert_eq!(RedeliveryToken::verify(&text, &keyring, NOW), Ok(token()));
    }

    #[test]
    fn a_changed_an_old_and_a_foreign_token_are_refused() {
        let keyring = keyring();
        let text = token().sign(&keyring);
        let bytes = URL_SAFE_NO_PAD.decode(&text).expect("base64");
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let changed = URL_SAFE_NO_PAD.encode(changed);
            let read = RedeliveryToken::verify(&changed, &keyring, NOW);
            assert_eq!(read, Err(BadToken::Forged), "byte {at}");
        }
        for text in ["", "x", &text[..text.len() - 1], &format!("{text}A")] {
            let read = RedeliveryToken::verify(text, &keyring, NOW);
            assert_eq!(read, Err(BadToken::Forged), "{text}");
        }
        let over = RedeliveryToken::verify(&text, &keyring, token().until);
        assert_eq!(over, Err(BadToken::Over));
        let other = Keyring::from_base64(&Keyring::generate()).expect("a key");
        let read = RedeliveryToken::verify(&text, &other, NOW);
        assert_eq!(read, Err(BadToken::Forged));
    }
}
