//! Manifests in memory. A prefix never changes, so what is kept is never stale.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use blobs::{BlobPath, site::Manifest};

/// How many files of all kept manifests together: some 250 bytes each.
const FILES_MAX: usize = 200_000;

/// How many manifests.
const MANIFESTS_MAX: usize = 1_000;

/// The manifests that were used last.
#[derive(Default)]
pub(crate) struct Manifests(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    by_prefix: HashMap<BlobPath, (u64, Arc<Manifest>)>,
    files: usize,
    uses: u64,
}

impl Manifests {
    pub(crate) fn get(&self, prefix: &BlobPath) -> Option<Arc<Manifest>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.uses += 1;
        let now = kept.uses;
        let (used, manifest) = kept.by_prefix.get_mut(prefix)?;
        *used = now;
        Some(Arc::clone(manifest))
    }

    /// Keeps one, and forgets those that were not used for longest while there are too many.
    pub(crate) fn keep(&self, prefix: BlobPath, manifest: Arc<Manifest>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.uses += 1;
        let now = kept.uses;
        kept.files += manifest.files.len();
        if let Some((_, before)) = kept.by_prefix.insert(prefix, (now, manifest)) {
            kept.files -= before.files.len();
        }
        while kept.by_prefix.len() > 1
            && (kept.files > FILES_MAX || kept.by_prefix.len() > MANIFESTS_MAX)
        {
            let oldest = kept.by_prefix.iter().min_by_key(|(_, (used, _))| *used);
            let Some(oldest) = oldest.map(|(prefix, _)| prefix.clone()) else {
                return;
            };
            if let Some((_, gone)) = kept.by_prefix.remove(&oldest) {
                kept.files -= gone.files.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use blobs::site::{Entry, Origin, Sha256Hex, SitePath};

    use super::*;

    fn prefix(name: usize) -> BlobPath {
        BlobPath::new(format!("sites/{name}")).expect("a good path")
    }

    fn manifest(files: usize) -> Arc<Manifest> {
        let entry = Entry {
            sha256: Sha256Hex::of(b""),
            size: 0,
            content_type: "text/plain".into(),
            origin: Origin::Verbatim,
        };
        let file = |n: usize| (SitePath::new(n.to_string()).expect("good"), entry.clone());
        let files = (0..files).map(file).collect();
        Arc::new(Manifest { files })
    }

    #[test]
    fn the_one_not_used_for_longest_is_forgotten() {
        let manifests = Manifests::default();
        (0..MANIFESTS_MAX).for_each(|name| manifests.keep(prefix(name), manifest(1)));
        assert!(manifests.get(&prefix(0)).is_some());
        manifests.keep(prefix(MANIFESTS_MAX), manifest(1));
        assert!(manifests.get(&prefix(0)).is_some());
        assert!(manifests.get(&prefix(1)).is_none());
    }

    #[test]
    fn large_ones_push_others_out_and_the_count_stays_right() {
        let manifests = Manifests::default();
        let large = manifest(FILES_MAX / 2);
        (0..10).for_each(|_| manifests.keep(prefix(0), Arc::clone(&large)));
        manifests.keep(prefix(1), Arc::clone(&large));
        assert!(manifests.get(&prefix(0)).is_some() && manifests.get(&prefix(1)).is_some());
        manifests.keep(prefix(2), large);
        assert!(manifests.get(&prefix(0)).is_none());
        assert!(manifests.get(&prefix(2)).is_some());
    }
}
