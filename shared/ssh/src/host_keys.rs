//! Which keys a machine may show.

use russh::keys::{Algorithm, PublicKey, decode_secret_key};

/// The most keys of one machine.
const KEYS_MAX: usize = 10;

/// The keys that a machine may have. None else is ever accepted.
#[derive(Debug, Clone)]
pub struct HostKeys(Vec<PublicKey>);

/// Keys that are none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostKeysError {
    /// Not one.
    #[error(
        "no key of the host is known: `ssh-keyscan` shows them; compare them with the machine's own before they are saved"
    )]
    None,
    /// Too many.
    #[error("{0} host keys are more than {KEYS_MAX}")]
    TooMany(usize),
    /// A line that is not one.
    #[error("{0:?} is not a public key, such as ssh-ed25519 AAAA…")]
    Wrong(String),
    /// A key to sign in with that cannot be used.
    #[error("this is not a private key in OpenSSH's format, or it needs a passphrase")]
    PrivateKey,
}

impl HostKeys {
    /// Reads public keys as in `known_hosts`, without the host.
    ///
    /// # Errors
    /// When there is none, or one is not a key.
    pub fn read<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Self, HostKeysError> {
        let mut keys = Vec::new();
        for line in lines {
            let wrong = |_| HostKeysError::Wrong(line.chars().take(60).collect());
            keys.push(PublicKey::from_openssh(line.trim()).map_err(wrong)?);
        }
        match keys.len() {
            0 => Err(HostKeysError::None),
            1..=KEYS_MAX => Ok(Self(keys)),
            many => Err(HostKeysError::TooMany(many)),
        }
    }

    pub(crate) fn has(&self, key: &PublicKey) -> bool {
        self.0
            .iter()
            .any(|known| known.key_data() == key.key_data())
    }

    /// Whether one of them is of this kind: only those are asked for, or the server might show another of its keys.
    pub(crate) fn may_be(&self, algorithm: &Algorithm) -> bool {
        self.0.iter().any(|known| {
            let known = known.algorithm();
            known == *algorithm || known.is_rsa() && algorithm.clone().is_rsa()
        })
    }
}

/// Checks a key to sign in with.
///
/// # Errors
/// When it is none, or is locked with a passphrase.
pub fn check_private_key(text: &str) -> Result<(), HostKeysError> {
    let key = decode_secret_key(text, None).map_err(|_| HostKeysError::PrivateKey)?;
    if key.is_encrypted() {
        Err(HostKeysError::PrivateKey)
    } else {
        Ok(())
    }
}
