//! By what a called function proves that it is the one that was called: a token of one claim of one job.

use chrono::{DateTime, Utc};
use model::{JobId, TenantId};

use crate::signed::{Claims, sign, verified};
use crate::{BadToken, Keyring};

/// What is signed is signed for callbacks and nothing else.
const CONTEXT: &str = "callback token";
/// First byte: this layout (version, tenant, job, epoch, end in seconds since 1970, MAC).
const VERSION: u8 = 1;
const CLAIMS_BYTES: usize = 1 + 16 + 8 + 8 + 8;

/// The right to say how one claim of a job ended, until its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallbackToken {
    /// Whose job.
    pub tenant: TenantId,
    /// The job.
    pub job: JobId,
    /// The number of the claim.
    pub epoch: i64,
    /// Until when it is good; parts of a second are cut off.
    pub until: DateTime<Utc>,
}

impl CallbackToken {
    /// As text for a header, signed under the master key.
    #[must_use]
    pub fn sign(&self, keyring: &Keyring) -> String {
        let mut bytes = Vec::with_capacity(CLAIMS_BYTES);
        bytes.push(VERSION);
        bytes.extend_from_slice(self.tenant.uuid().as_bytes());
        bytes.extend_from_slice(&self.job.0.to_be_bytes());
        bytes.extend_from_slice(&self.epoch.to_be_bytes());
        bytes.extend_from_slice(&self.until.timestamp().to_be_bytes());
        sign(keyring, CONTEXT, bytes)
    }

    /// Reads a token that was signed under one of these master keys: the present one, and those before it for as long as
    /// jobs are outside that were called with them. Nothing is believed before the signature is known to be good, which is
    /// compared in constant time.
    ///
    /// # Errors
    /// When it is no such token, or over at `now`.
    pub fn verify(text: &str, keyrings: &[&Keyring], now: DateTime<Utc>) -> Result<Self, BadToken> {
        let claims = verified(text, CONTEXT, CLAIMS_BYTES, keyrings)?;
        let token = Self::read(&claims).ok_or(BadToken::Forged)?;
        if token.until <= now {
            return Err(BadToken::Over);
        }
        Ok(token)
    }

    fn read(claims: &[u8]) -> Option<Self> {
        let mut claims = Claims::of_version(claims, VERSION)?;
        Some(Self {
            tenant: claims.id()?.into(),
            job: JobId(claims.number()?),
            epoch: claims.number()?,
            until: claims.time()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use uuid::Uuid;

    use super::*;

    const TEXT_BYTES: usize = crate::signed::text_bytes(CLAIMS_BYTES);

    fn keyring() -> Keyring {
        Keyring::from_base64(&Keyring::generate()).expect("a generated key is a key")
    }

    fn token() -> CallbackToken {
        CallbackToken {
            tenant: Uuid::from_u128(7).into(),
            job: JobId(42),
            epoch: 3,
            until: DateTime::from_timestamp(1_800_000_000, 0).expect("a time"),
        }
    }

    fn before(secs: i64) -> DateTime<Utc> {
        token().until - chrono::TimeDelta::seconds(secs)
    }

    #[test]
    fn a_token_reads_back_until_its_end() {
        let keyring = keyring();
        let text = token().sign(&keyring);
        assert!(text.len() <= TEXT_BYTES, "{}", text.len());
        let read = |now| CallbackToken::verify(&text, &[&keyring], now);
        assert_eq!(read(before(1)), Ok(token()));
        assert_eq!(read(before(0)), Err(BadToken::Over));
    }

    #[test]
    fn a_token_of_an_earlier_key_is_good_while_that_key_is_known() {
        let (old, new) = (keyring(), keyring());
        let text = token().sign(&old);
        let read = |keys: &[&Keyring]| CallbackToken::verify(&text, keys, before(1));
        assert_eq!(read(&[&new, &old]), Ok(token()));
        assert_eq!(read(&[&new]), Err(BadToken::Forged));
        assert_eq!(read(&[]), Err(BadToken::Forged));
    }

    #[test]
    fn one_changed_byte_is_noticed() {
        let keyring = keyring();
        let text = token().sign(&keyring);
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("it is ASCII");
            let read = CallbackToken::verify(&changed, &[&keyring], before(1));
            assert_eq!(read, Err(BadToken::Forged), "byte {at}");
            let cut = CallbackToken::verify(&text[..at], &[&keyring], before(1));
            assert_eq!(cut, Err(BadToken::Forged), "cut at {at}");
        }
        for text in [format!("{text}A"), format!("{text}="), "x".repeat(10_000)] {
            let read = CallbackToken::verify(&text, &[&keyring], before(1));
            assert_eq!(read, Err(BadToken::Forged));
        }
    }

    #[test]
    fn what_was_signed_for_something_else_is_no_token() {
        let keyring = keyring();
        let good = URL_SAFE_NO_PAD
            .decode(token().sign(&keyring))
            .expect("it is base64");
        let mut other = good[..CLAIMS_BYTES].to_vec();
        other.extend(keyring.mac("api cursor", &good[..CLAIMS_BYTES]));
        let other = URL_SAFE_NO_PAD.encode(other);
        let read = CallbackToken::verify(&other, &[&keyring], before(1));
        assert_eq!(read, Err(BadToken::Forged));
    }
}
