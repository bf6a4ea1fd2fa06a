//! Secrets at rest: AES-256-GCM under a key per tenant, derived from the master key with HKDF-SHA-256.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::TenantId;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;
use zeroize::Zeroizing;

/// First byte of what is sealed: this layout (version, key id, nonce, ciphertext and tag).
const VERSION: u8 = 1;
/// The same layout over an LZ4 block behind its plain length, 4 bytes, the lowest first. The byte is authenticated too.
const PACKED: u8 = 2;
/// The longest plain value that is unpacked, in bytes: over every limit on what is sealed here.
const UNPACKED_BYTES_MAX: usize = 64 * 1024 * 1024;
const KEY_ID_BYTES: usize = 4;
const MASTER_KEY_BYTES: usize = 32;

/// The place that a secret belongs to. It is part of what is authenticated: a ciphertext that is moved to another row,
/// column or tenant does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Whose.
    pub tenant: TenantId,
    /// `table.column`.
    pub column: &'static str,
    /// The row's id.
    pub row: Uuid,
}

/// Why there is no keyring.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyringError {
    /// Not a key.
    #[error(
        "the master key must be 32 random bytes in base64 (44 characters), as `openssl rand -base64 32` prints them"
    )]
    NotAKey,
}

/// Why a sealed secret does not open.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SealedError {
    /// Sealed under a master key that is not the one given.
    #[error(
        "sealed under another master key (id {0}); give the one that was used when it was stored"
    )]
    OtherKey(String),
    /// Changed, moved or cut.
    #[error("a sealed value does not open: it was changed, or moved from another row")]
    Broken,
}

/// Seals and opens secrets under one master key. Cheap to clone; never printed.
#[derive(Clone)]
pub struct Keyring {
    master: Arc<Zeroizing<Vec<u8>>>,
    id: [u8; KEY_ID_BYTES],
}

impl Keyring {
    /// Reads a master key: 32 bytes in base64, white space around it ignored.
    ///
    /// # Errors
    /// When it is not that.
    pub fn from_base64(text: &SecretString) -> Result<Self, KeyringError> {
        let master = STANDARD
            .decode(text.expose_secret().trim())
            .map(Zeroizing::new)
            .map_err(|_| KeyringError::NotAKey)?;
        if master.len() != MASTER_KEY_BYTES {
            return Err(KeyringError::NotAKey);
        }
        let mut id = [0; KEY_ID_BYTES];
        let hash = digest::digest(&digest::SHA256, &master);
        id.copy_from_slice(&hash.as_ref()[..KEY_ID_BYTES]);
        Ok(Self {
            master: Arc::new(master),
            id,
        })
    }

    /// A new random master key, in the form that [`Keyring::from_base64`] reads.
    ///
    /// # Panics
    /// When the operating system has no random numbers, without which nothing here is safe.
    #[must_use]
    pub fn generate() -> SecretString {
        let mut key = Zeroizing::new([0; MASTER_KEY_BYTES]);
        rand::fill(&mut *key).expect("the operating system gives random numbers");
        SecretString::from(STANDARD.encode(*key))
    }

    /// Seals `plain` for its place.
    ///
    /// # Panics
    /// When the operating system has no random numbers.
    #[must_use]
    pub fn seal(&self, slot: Slot, plain: &[u8]) -> Vec<u8> {
        self.sealed(VERSION, slot, plain)
    }

    /// The same in fewer bytes where it can be had: for what is long, and whose length is no secret.
    ///
    /// # Panics
    /// As [`Keyring::seal`].
    #[must_use]
    pub fn seal_packed(&self, slot: Slot, plain: &[u8]) -> Vec<u8> {
        if plain.len() > UNPACKED_BYTES_MAX {
            return self.seal(slot, plain);
        }
        let packed = Zeroizing::new(lz4_flex::compress_prepend_size(plain));
        if packed.len() < plain.len() {
            self.sealed(PACKED, slot, &packed)
        } else {
            self.seal(slot, plain)
        }
    }

    fn sealed(&self, version: u8, slot: Slot, plain: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).expect("the operating system gives random numbers");
        let head = 1 + KEY_ID_BYTES + NONCE_LEN;
        // In one piece from the start: a body may have megabytes.
        let mut out = Vec::with_capacity(head + plain.len() + AES_256_GCM.tag_len());
        out.push(version);
        out.extend_from_slice(&self.id);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(plain);
        let tag = self
            .key(slot.tenant)
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(place(version, slot)),
                &mut out[head..],
            )
            .expect("a value of ours is shorter than the cipher's limit of 64 GiB");
        out.extend_from_slice(tag.as_ref());
        out
    }

    /// Opens what was sealed for this place.
    ///
    /// # Errors
    /// When it was sealed under another master key, for another place, or was changed.
    pub fn open(&self, slot: Slot, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealedError> {
        let head = 1 + KEY_ID_BYTES + NONCE_LEN;
        let Some(version @ (VERSION | PACKED)) = sealed.first().copied() else {
            return Err(SealedError::Broken);
        };
        if sealed.len() < head {
            return Err(SealedError::Broken);
        }
        let id = &sealed[1..=KEY_ID_BYTES];
        if id != self.id {
            return Err(SealedError::OtherKey(
                id.iter().map(|byte| format!("{byte:02x}")).collect(),
            ));
        }
        let nonce = Nonce::try_assume_unique_for_key(&sealed[1 + KEY_ID_BYTES..head])
            .map_err(|_| SealedError::Broken)?;
        let mut plain = Zeroizing::new(sealed[head..].to_vec());
        let length = self
            .key(slot.tenant)
            .open_in_place(nonce, Aad::from(place(version, slot)), &mut plain)
            .map_err(|_| SealedError::Broken)?
            .len();
        plain.truncate(length);
        if version == PACKED {
            unpacked(&plain)
        } else {
            Ok(plain)
        }
    }

    /// A value that only holders of the master key can make, for `context` and `data`: signs links and cursors.
    #[must_use]
    pub fn mac(&self, context: &str, data: &[u8]) -> Vec<u8> {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &self.master);
        let mut signing = aws_lc_rs::hmac::Context::with_key(&key);
        signing.update(context.as_bytes());
        signing.update(&[0]);
        signing.update(data);
        signing.sign().as_ref().to_vec()
    }

    fn key(&self, tenant: TenantId) -> LessSafeKey {
        let mut key = Zeroizing::new([0; MASTER_KEY_BYTES]);
        Salt::new(HKDF_SHA256, b"switchyard")
            .extract(&self.master)
            .expand(&[b"tenant key", tenant.uuid().as_bytes()], KeyBytes)
            .and_then(|okm| okm.fill(&mut *key))
            .expect("32 bytes are within the output limit of HKDF");
        LessSafeKey::new(
            UnboundKey::new(&AES_256_GCM, &*key).expect("the key has the cipher's length"),
        )
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring(..)")
    }
}

struct KeyBytes;

impl KeyType for KeyBytes {
    fn len(&self) -> usize {
        MASTER_KEY_BYTES
    }
}

fn unpacked(packed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealedError> {
    let (length, block) = packed.split_first_chunk().ok_or(SealedError::Broken)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| SealedError::Broken)?;
    if length > UNPACKED_BYTES_MAX {
        return Err(SealedError::Broken);
    }
    lz4_flex::decompress(block, length)
        .map(Zeroizing::new)
        .map_err(|_| SealedError::Broken)
}

fn place(version: u8, slot: Slot) -> Vec<u8> {
    let mut place = slot.tenant.uuid().as_bytes().to_vec();
    place.extend_from_slice(slot.column.as_bytes());
    place.push(0);
    place.extend_from_slice(slot.row.as_bytes());
    if version != VERSION {
        place.push(version);
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(row: u128) -> Slot {
        Slot {
            tenant: Uuid::from_u128(1).into(),
            column: "triggers.secret",
            row: Uuid::from_u128(row),
        }
    }

    fn keyring() -> Keyring {
        Keyring::from_base64(&Keyring::generate()).expect("a generated key is a key")
    }

    #[test]
    fn what_is_sealed_opens_in_its_place_only() {
        let keyring = keyring();
        let sealed = keyring.seal(slot(7), b"hunter2");
        assert_eq!(
            **keyring.open(slot(7), &sealed).expect("it is its place"),
            *b"hunter2"
        );
        assert_eq!(keyring.open(slot(8), &sealed), Err(SealedError::Broken));
        let other_tenant = Slot {
            tenant: Uuid::from_u128(2).into(),
            ..slot(7)
        };
        assert_eq!(
            keyring.open(other_tenant, &sealed),
            Err(SealedError::Broken)
        );
        let other_column = Slot {
            column: "triggers.secret_previous",
            ..slot(7)
        };
        assert_eq!(
            keyring.open(other_column, &sealed),
            Err(SealedError::Broken)
        );
    }

    #[test]
    fn what_is_packed_is_shorter_and_opens_as_it_was() {
        let keyring = keyring();
        let long = "{\"ref\":\"refs/heads/main\"}".repeat(100);
        let sealed = keyring.seal_packed(slot(7), long.as_bytes());
        assert!(sealed.len() < long.len() / 5, "{} bytes", sealed.len());
        let opened = keyring.open(slot(7), &sealed).expect("it is its place");
        assert_eq!(**opened, *long.as_bytes());
        for short in ["", "x"] {
            let sealed = keyring.seal_packed(slot(7), short.as_bytes());
            let opened = keyring.open(slot(7), &sealed).expect("it is its place");
            assert_eq!(**opened, *short.as_bytes());
            assert_eq!(sealed[0], VERSION, "there is nothing to gain");
        }
    }

    #[test]
    fn what_is_packed_is_not_taken_for_what_is_not() {
        let keyring = keyring();
        let mut sealed = keyring.seal_packed(slot(7), &[7; 1000]);
        assert_eq!(sealed[0], PACKED);
        sealed[0] = VERSION;
        assert_eq!(keyring.open(slot(7), &sealed), Err(SealedError::Broken));
    }

    #[test]
    fn one_changed_bit_is_noticed() {
        let keyring = keyring();
        let sealed = keyring.seal(slot(7), b"hunter2");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(keyring.open(slot(7), &changed).is_err(), "byte {at}");
            assert!(keyring.open(slot(7), &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn another_master_key_is_named() {
        let sealed = keyring().seal(slot(7), b"hunter2");
        assert!(matches!(
            keyring().open(slot(7), &sealed),
            Err(SealedError::OtherKey(_))
        ));
    }

    #[test]
    fn a_short_key_is_refused() {
        let short = SecretString::from(STANDARD.encode([1; 16]));
        assert_eq!(
            Keyring::from_base64(&short).err(),
            Some(KeyringError::NotAKey)
        );
    }
}
