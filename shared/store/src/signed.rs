//! What all tokens of ours have in common: claims under a signature, as text.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::Keyring;

const MAC_BYTES: usize = 32;

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

/// How long a token with so many bytes of claims is as text, in bytes, at most.
pub(crate) const fn text_bytes(claims_bytes: usize) -> usize {
    (claims_bytes + MAC_BYTES).div_ceil(3) * 4
}

/// Claims as text, signed under the master key for this context and nothing else.
pub(crate) fn sign(keyring: &Keyring, context: &str, mut claims: Vec<u8>) -> String {
    let mac = keyring.mac(context, &claims);
    claims.extend_from_slice(&mac);
    URL_SAFE_NO_PAD.encode(claims)
}

/// The claims of a token, `claims_bytes_max` of them at most, that was signed for this context under one of these master keys.
/// Nothing is believed before the signature is known to be good, which is compared in constant time.
pub(crate) fn verified(
    text: &str,
    context: &str,
    claims_bytes_max: usize,
    keyrings: &[&Keyring],
) -> Result<Vec<u8>, BadToken> {
    if text.len() > text_bytes(claims_bytes_max) {
        return Err(BadToken::Forged);
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| BadToken::Forged)?;
    let (claims, mac) = bytes
        .split_last_chunk::<MAC_BYTES>()
        .ok_or(BadToken::Forged)?;
    // Every key is tried, so that the time does not tell which one it was.
    let good = keyrings.iter().fold(false, |good, keyring| {
        let expected = keyring.mac(context, claims);
        good | aws_lc_rs::constant_time::verify_slices_are_equal(&expected, mac).is_ok()
    });
    if good {
        Ok(claims.to_vec())
    } else {
        Err(BadToken::Forged)
    }
}

/// Claims that are read one after the other.
pub(crate) struct Claims<'a>(&'a [u8]);

impl<'a> Claims<'a> {
    /// Those of this layout, which their first byte names.
    pub(crate) fn of_version(bytes: &'a [u8], version: u8) -> Option<Self> {
        let (first, rest) = bytes.split_first()?;
        (*first == version).then_some(Self(rest))
    }

    pub(crate) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(crate) fn id(&mut self) -> Option<Uuid> {
        self.take().map(Uuid::from_bytes)
    }

    pub(crate) fn number(&mut self) -> Option<i64> {
        self.take().map(i64::from_be_bytes)
    }

    /// In seconds since 1970.
    pub(crate) fn time(&mut self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(self.number()?, 0)
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }
}
