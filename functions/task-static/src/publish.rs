//! Writes a site where it is served from.

use blobs::{
    BlobError, BlobPath, BlobPathError, Blobs, Put,
    site::{MANIFEST, MANIFEST_BYTES_MAX, Sha256Hex, prefix},
};
use futures::{StreamExt, TryStreamExt, stream};
use tokio_util::sync::CancellationToken;

use crate::render::Site;

/// How many files are written at once.
const WRITES_AT_ONCE: usize = 8;

/// A site that is stored whole. Nothing points to it yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Where it is.
    pub prefix: BlobPath,
    /// The hash over its paths and bytes.
    pub content: Sha256Hex,
    /// How many files it has.
    pub files: u64,
    /// How many bytes they have.
    pub bytes: u64,
    /// Whether it was there already.
    pub existed: bool,
}

/// Why a site was not stored.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A step on the store failed.
    #[error("could not store the site")]
    Store(#[from] BlobError),
    /// The workload's name cannot be part of a path.
    #[error("the workload's id cannot name a place for its sites")]
    Workload(#[from] BlobPathError),
    /// The list of files is too long to be read back.
    #[error(
        "the site's list of files is larger than {MANIFEST_BYTES_MAX} bytes: publish fewer files"
    )]
    Manifest,
    /// Somebody cancelled.
    #[error("cancelled")]
    Cancelled,
}

/// Stores a site under a prefix of its own: its files first, the manifest last, so that a prefix with a manifest is
/// whole. The prefix is named by the content; storing the same site twice, also at once, is storing it once. What a
/// stopped run left is completed by the next.
pub async fn publish(
    blobs: &Blobs,
    workload: &str,
    site: &Site,
    cancel: &CancellationToken,
) -> Result<Published, PublishError> {
    let prefix = prefix(workload, &site.content)?;
    let manifest_path = prefix.join(MANIFEST)?;
    let manifest = serde_json::to_vec(&site.manifest).expect("strings and numbers are JSON");
    if manifest.len() as u64 > MANIFEST_BYTES_MAX {
        return Err(PublishError::Manifest);
    }
    let published = |existed| Published {
        prefix: prefix.clone(),
        content: site.content.clone(),
        files: site.manifest.files.len() as u64,
        bytes: site.manifest.files.values().map(|entry| entry.size).sum(),
        existed,
    };
    if blobs.head(&manifest_path).await?.is_some() {
        return Ok(published(true));
    }
    stream::iter(&site.manifest.files)
        .map(Ok)
        .try_for_each_concurrent(WRITES_AT_ONCE, |(path, entry)| {
            let prefix = &prefix;
            async move {
                if cancel.is_cancelled() {
                    return Err(PublishError::Cancelled);
                }
                let bytes = site.bytes[path].clone();
                let blob = prefix.join(entry.sha256.as_str())?;
                // Two files with the same bytes are one blob; whoever comes second changes nothing.
                blobs.put_if_absent(&blob, bytes).await?;
                Ok(())
            }
        })
        .await?;
    let put = blobs.put_if_absent(&manifest_path, manifest.into()).await?;
    Ok(published(put == Put::Present))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use blobs::site::{Manifest, SitePath};
    use bytes::Bytes;

    use super::*;
    use crate::{render::render, source::StorageBytes};

    type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

    fn site(list: &[(&str, &str)]) -> Result<Site> {
        let mut files = BTreeMap::new();
        for (path, text) in list {
            files.insert(SitePath::new(*path)?, Bytes::from((*text).to_owned()));
        }
        Ok(render(files, true, StorageBytes::default(), &|| false)?)
    }

    fn store() -> Result<(tempfile::TempDir, Blobs)> {
        let folder = tempfile::tempdir()?;
        let blobs = Blobs::open(folder.path().to_str().ok_or("UTF-8")?)?;
        Ok((folder, blobs))
    }

    #[tokio::test]
    async fn a_published_site_is_whole_and_read_back_by_its_manifest() -> Result {
        let (_folder, blobs) = store()?;
        let site = site(&[("index.html", "hi"), ("copy.html", "hi"), ("a/b.txt", "x")])?;
        let published = publish(&blobs, "w1", &site, &CancellationToken::new()).await?;
        assert_eq!(
            (published.files, published.bytes, published.existed),
            (3, 5, false)
        );
        assert_eq!(
            published.prefix.as_str(),
            format!("sites/w1/{}", site.content)
        );

        let manifest = blobs
            .get(&published.prefix.join(MANIFEST)?)
            .await?
            .ok_or("no manifest")?;
        let manifest: Manifest = serde_json::from_slice(&manifest.bytes().await?)?;
        assert_eq!(manifest, site.manifest);
        for entry in manifest.files.values() {
            let blob = blobs
                .get(&published.prefix.join(entry.sha256.as_str())?)
                .await?;
            let bytes = blob.ok_or("a file is missing")?.bytes().await?;
            assert_eq!(Sha256Hex::of(&bytes), entry.sha256);
        }
        Ok(())
    }

    #[tokio::test]
    async fn publishing_again_changes_nothing() -> Result {
        let (_folder, blobs) = store()?;
        let site = site(&[("index.html", "hi")])?;
        let cancel = CancellationToken::new();
        let first = publish(&blobs, "w1", &site, &cancel).await?;
        let before: Vec<_> = blobs.list(&first.prefix).try_collect().await?;
        let second = publish(&blobs, "w1", &site, &cancel).await?;
        let after: Vec<_> = blobs.list(&first.prefix).try_collect().await?;
        assert!(second.existed);
        let sorted = |mut list: Vec<blobs::BlobInfo>| {
            list.sort_by(|a, b| a.path.cmp(&b.path));
            list
        };
        assert_eq!(sorted(before), sorted(after));
        Ok(())
    }

    #[tokio::test]
    async fn a_prefix_that_was_left_half_written_is_completed() -> Result {
        let (_folder, blobs) = store()?;
        let site = site(&[("index.html", "hi"), ("a.txt", "x")])?;
        let cancel = CancellationToken::new();
        let prefix = prefix("w1", &site.content)?;
        blobs
            .put(
                &prefix.join(Sha256Hex::of(b"hi").as_str())?,
                Bytes::from("hi"),
            )
            .await?;
        assert!(!publish(&blobs, "w1", &site, &cancel).await?.existed);
        assert!(publish(&blobs, "w1", &site, &cancel).await?.existed);
        Ok(())
    }

    #[tokio::test]
    async fn many_publishers_of_one_site_leave_one() -> Result {
        let (_folder, blobs) = store()?;
        let site = site(&[("index.html", "hi"), ("a.txt", "x")])?;
        let cancel = CancellationToken::new();
        let all = (0..8).map(|_| publish(&blobs, "w1", &site, &cancel));
        let all = futures::future::try_join_all(all).await?;
        assert_eq!(all.iter().filter(|published| !published.existed).count(), 1);
        Ok(())
    }

    #[tokio::test]
    async fn a_cancelled_run_leaves_no_manifest() -> Result {
        let (_folder, blobs) = store()?;
        let site = site(&[("index.html", "hi")])?;
        let cancel = CancellationToken::new();
        cancel.cancel();
        let error = publish(&blobs, "w1", &site, &cancel)
            .await
            .err()
            .ok_or("cancelled")?;
        assert!(matches!(error, PublishError::Cancelled));
        let manifest = prefix("w1", &site.content)?.join(MANIFEST)?;
        assert!(blobs.head(&manifest).await?.is_none());
        Ok(())
    }

    #[tokio::test]
    async fn a_workload_that_is_no_name_is_refused() -> Result {
        let (_folder, blobs) = store()?;
        let site = site(&[("index.html", "hi")])?;
        for workload in ["../x", "", "a\nb"] {
            let refused = publish(&blobs, workload, &site, &CancellationToken::new()).await;
            assert!(
                matches!(refused, Err(PublishError::Workload(_))),
                "{workload:?}"
            );
        }
        Ok(())
    }
}
