//! By what the terraform of a run proves to the state backend which run it is of.

use model::{JobId, TenantId};

use crate::signed::{Claims, sign, verified};
use crate::{BadToken, Keyring};

/// What is signed is signed for states and nothing else.
const CONTEXT: &str = "terraform state token";
/// First byte: this layout (version, tenant, job, epoch, flags, the state's name, MAC).
const VERSION: u8 = 1;
const HEAD_BYTES: usize = 1 + 16 + 8 + 8 + 1;
/// How long a name may be, in bytes; a state's is shorter.
const NAME_BYTES_MAX: usize = 255;
const READ_ONLY: u8 = 1;

/// The right to one state, for one claim of a job. It has no end of its own: it is good for as long as the claim's run lives,
/// which is asked of the database with every use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateToken {
    /// Whose state and job.
    pub tenant: TenantId,
    /// The job.
    pub job: JobId,
    /// The number of the claim.
    pub epoch: i64,
    /// The state's name.
    pub state: String,
    /// Neither locks nor writes.
    pub read_only: bool,
}

impl StateToken {
    /// As text for a password, signed under the master key.
    #[must_use]
    pub fn sign(&self, keyring: &Keyring) -> String {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + self.state.len());
        bytes.push(VERSION);
        bytes.extend_from_slice(self.tenant.uuid().as_bytes());
        bytes.extend_from_slice(&self.job.0.to_be_bytes());
        bytes.extend_from_slice(&self.epoch.to_be_bytes());
        bytes.push(if self.read_only { READ_ONLY } else { 0 });
        bytes.extend_from_slice(self.state.as_bytes());
        sign(keyring, CONTEXT, bytes)
    }

    /// Reads a token that was signed under one of these master keys. Nothing is believed before the signature is known to be
    /// good, which is compared in constant time.
    ///
    /// # Errors
    /// When it is no such token.
    pub fn verify(text: &str, keyrings: &[&Keyring]) -> Result<Self, BadToken> {
        let claims = verified(text, CONTEXT, HEAD_BYTES + NAME_BYTES_MAX, keyrings)?;
        Self::read(&claims).ok_or(BadToken::Forged)
    }

    fn read(claims: &[u8]) -> Option<Self> {
        let mut claims = Claims::of_version(claims, VERSION)?;
        let (tenant, job, epoch) = (claims.id()?, claims.number()?, claims.number()?);
        let [flags] = claims.take()?;
        (flags <= READ_ONLY).then_some(())?;
        Some(Self {
            tenant: tenant.into(),
            job: JobId(job),
            epoch,
            state: std::str::from_utf8(claims.rest()).ok()?.to_owned(),
            read_only: flags == READ_ONLY,
        })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn keyring() -> Keyring {
        Keyring::from_base64(&Keyring::generate()).expect("a generated key is a key")
    }

    fn token() -> StateToken {
        StateToken {
            tenant: Uuid::from_u128(7).into(),
            job: JobId(42),
            epoch: 3,
            state: "network".to_owned(),
            read_only: true,
        }
    }

    #[test]
    fn a_token_reads_back_and_one_changed_byte_is_noticed() {
        let (keyring, other) = (keyring(), keyring());
        let text = token().sign(&keyring);
        let read = |text: &str, keys: &[&Keyring]| StateToken::verify(text, keys);
        assert_eq!(read(&text, &[&other, &keyring]), Ok(token()));
        assert_eq!(read(&text, &[&other]), Err(BadToken::Forged));
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("it is ASCII");
            assert_eq!(
                read(&changed, &[&keyring]),
                Err(BadToken::Forged),
                "byte {at}"
            );
            assert_eq!(read(&text[..at], &[&keyring]), Err(BadToken::Forged));
        }
        assert_eq!(
            read(&"x".repeat(10_000), &[&keyring]),
            Err(BadToken::Forged)
        );
    }

    #[test]
    fn what_was_signed_for_callbacks_is_no_token_for_states() {
        let keyring = keyring();
        let callback = crate::CallbackToken {
            tenant: Uuid::from_u128(7).into(),
            job: JobId(42),
            epoch: 3,
            until: chrono::DateTime::from_timestamp(1_800_000_000, 0).expect("a time"),
        };
        let text = callback.sign(&keyring);
        assert_eq!(
            StateToken::verify(&text, &[&keyring]),
            Err(BadToken::Forged)
        );
    }
}
