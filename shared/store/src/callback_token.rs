//! By what a called function proves that it is the one that was called: a token of one claim of one job.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use model::{JobId, TenantId};
use uuid::Uuid;

use crate::Keyring;

/// What is signed is signed for callbacks and nothing else.
const CONTEXT: &str = "callback token";
/// First byte: this layout (version, tenant, job, epoch, end in seconds since 1970, MAC).
const VERSION: u8 = 1;
const CLAIMS_BYTES: usize = 1 + 16 + 8 + 8 + 8;
const MAC_BYTES: usize = 32;
/// How long a token is as text, in bytes.
const TEXT_BYTES: usize = (CLAIMS_BYTES + MAC_BYTES).div_ceil(3) * 4;

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

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// Not one of ours, changed, or signed with a master key that is not known any more.
    #[error("the token is not one of this installation")]
    Forged,
    /// Too old.
    #[error("the token is over")]
    Over,
}

impl CallbackToken {
    /// As text for a header, signed under the master key.
    #[must_use]
    pub fn sign(&self, keyring: &Keyring) -> String {
        let mut bytes = Vec::with_capacity(CLAIMS_BYTES + MAC_BYTES);
        bytes.push(VERSION);
        bytes.extend_from_slice(self.tenant.uuid().as_bytes());
        bytes.extend_from_slice(&self.job.0.to_be_bytes());
        bytes.extend_from_slice(&self.epoch.to_be_bytes());
        bytes.extend_from_slice(&self.until.timestamp().to_be_bytes());
        let mac = keyring.mac(CONTEXT, &bytes);
        bytes.extend_from_slice(&mac);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a token that was signed under one of these master keys: the present one, and those before it for as long as
    /// jobs are outside that were called with them. Nothing is believed before the signature is known to be good, which is
    /// compared in constant time.
    ///
    /// # Errors
    /// When it is no such token, or over at `now`.
    pub fn verify(text: &str, keyrings: &[&Keyring], now: DateTime<Utc>) -> Result<Self, BadToken> {
        if text.len() > TEXT_BYTES {
            return Err(BadToken::Forged);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| BadToken::Forged)?;
        let (claims, mac) = bytes
            .split_at_checked(CLAIMS_BYTES)
            .ok_or(BadToken::Forged)?;
        // Every key is tried, so that the time does not tell which one it was.
        let good = keyrings.iter().fold(false, |good, keyring| {
            let expected = keyring.mac(CONTEXT, claims);
            good | aws_lc_rs::constant_time::verify_slices_are_equal(&expected, mac).is_ok()
        });
        if !good {
            return Err(BadToken::Forged);
        }
        let token = Self::claims(claims).ok_or(BadToken::Forged)?;
        if token.until <= now {
            return Err(BadToken::Over);
        }
        Ok(token)
    }

    fn claims(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first()?;
        let (tenant, rest) = rest.split_first_chunk::<16>()?;
        let (job, rest) = rest.split_first_chunk::<8>()?;
        let (epoch, rest) = rest.split_first_chunk::<8>()?;
        let (until, _) = rest.split_first_chunk::<8>()?;
        (*version == VERSION).then_some(())?;
        Some(Self {
            tenant: Uuid::from_bytes(*tenant).into(),
            job: JobId(i64::from_be_bytes(*job)),
            epoch: i64::from_be_bytes(*epoch),
            until: DateTime::from_timestamp(i64::from_be_bytes(*until), 0)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
