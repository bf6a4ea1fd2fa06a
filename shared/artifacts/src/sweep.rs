//! What is cleared in the store: pieces of uploads that are over, and the bytes of artifacts that went.

use blobs::Blobs;
use store::Store;

use crate::{ArtifactError, kept, staged};

/// Blobs that are deleted of one upload at a time.
pub(crate) const BLOBS_MAX: usize = 20_000;

/// What one sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Uploads that are cleared.
    pub uploads: i32,
    /// Blobs that are gone.
    pub blobs: usize,
}

/// Clears up to `limit` places that were given up. Safe to repeat and to run twice at once.
///
/// # Errors
/// When the store or the database do not answer; what is left is for the next time.
pub async fn sweep(store: &Store, blobs: &Blobs, limit: i64) -> Result<Swept, ArtifactError> {
    let mut swept = Swept::default();
    for dropped in store.dropped_uploads(limit).await? {
        let pieces = staged(dropped.tenant, dropped.id)?;
        let mut cleared = blobs.delete_prefix(&pieces, BLOBS_MAX).await?;
        swept.blobs += cleared.count;
        if !dropped.kept && !cleared.more {
            let bytes = kept(dropped.tenant, dropped.id)?;
            cleared = blobs.delete_prefix(&bytes, BLOBS_MAX).await?;
            swept.blobs += cleared.count;
        }
        if !cleared.more && store.forget_upload(&dropped).await? {
            swept.uploads += 1;
        }
    }
    Ok(swept)
}
