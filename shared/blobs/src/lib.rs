//! Large things by path: site revisions, artifacts, event data. A folder by default; S3, GCS or Azure by URL.
//!
//! What [`Blobs::put`] acknowledged survives a crash of the process and of the machine: in a folder the bytes are
//! staged beside their place, synced, renamed, and the folder is synced too; a reader sees the whole blob or none.
//! Nothing here is a pointer to what is live: that is a row in the database.

#[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
mod bucket;
mod path;
pub mod site;
mod writer;

use std::{
    fmt, fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{
    GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
    local::LocalFileSystem, prefix::PrefixStore, signer::Signer,
};
use url::Url;

pub use path::{BlobPath, BlobPathError, PATH_BYTES_MAX};
pub use writer::BlobWriter;

/// How many blobs [`Blobs::delete_prefix`] lists before it deletes them.
const DELETE_BATCH: usize = 1000;

/// A place for blobs. Cheap to clone.
#[derive(Clone)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    /// Of a bucket: signs requests that others make, and where our blobs begin in it.
    signer: Option<(Arc<dyn Signer>, object_store::path::Path)>,
}

/// Why a place for blobs could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It looks like a URL and is not one.
    #[error(
        "`{place}` is not a URL: write file:///folder, a plain folder, or a bucket such as s3://name/prefix"
    )]
    Url {
        /// What was given.
        place: String,
        /// What the parser said.
        #[source]
        source: url::ParseError,
    },
    /// The scheme is known and this build has no support for it.
    #[error(
        "`{scheme}:` needs a build with the feature `{feature}` of the crate `blobs`: use a folder, or build with `--features blobs/{feature}`"
    )]
    NotBuilt {
        /// The URL's scheme.
        scheme: String,
        /// The cargo feature that adds it.
        feature: &'static str,
    },
    /// No store has this scheme.
    #[error("`{scheme}:` is not a store of blobs: known are file, s3, gs and az")]
    UnknownScheme {
        /// The URL's scheme.
        scheme: String,
    },
    /// The folder could not be made or entered.
    #[error("could not use the folder {}: make it writable, or name another", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The store refused its URL or its settings.
    #[error("could not open `{place}`")]
    Store {
        /// What was given.
        place: String,
        /// What the store said.
        #[source]
        source: object_store::Error,
    },
}

/// A step on the store that failed.
#[derive(Debug, thiserror::Error)]
#[error("could not {step} the blob `{path}`")]
pub struct BlobError {
    step: &'static str,
    path: String,
    #[source]
    source: object_store::Error,
}

/// What is known of a blob without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobInfo {
    /// Where it is.
    pub path: BlobPath,
    /// Its size in bytes.
    pub size: u64,
    /// The store's own tag of this content, if it has one. Not a digest.
    pub etag: Option<String>,
    /// When it was written.
    pub last_modified: DateTime<Utc>,
}

/// A blob being read.
pub struct Blob {
    /// Its size and times; `size` is the whole blob's, also when a range is read.
    pub info: BlobInfo,
    body: BoxStream<'static, object_store::Result<Bytes>>,
}

/// What a removal did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// How many blobs are gone.
    pub count: usize,
    /// Whether the limit left some behind.
    pub more: bool,
}

/// Whether a blob was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It was not there before.
    Created,
    /// Something is there already; it was left as it is.
    Present,
}

impl Blobs {
    /// Opens a folder (a path, or `file:///…`; made if missing, for its owner only) or a bucket by URL.
    ///
    /// A bucket's credentials are those that the machine gives to whoever runs on it; see [`Blobs::open_with`].
    pub fn open(place: &str) -> Result<Self, OpenError> {
        Self::open_with(place, std::iter::empty())
    }

    /// Opens a place with `object_store`'s settings by name (`aws_region`, `AWS_ACCESS_KEY_ID` …), whatever their case. Those of
    /// another kind of store are passed over; a folder has none.
    pub fn open_with(
        place: &str,
        settings: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, OpenError> {
        if !place.contains("://") {
            return Self::folder(Path::new(place));
        }
        let url = Url::parse(place).map_err(|source| OpenError::Url {
            place: place.to_owned(),
            source,
        })?;
        let (feature, built) = match url.scheme() {
            "file" => {
                let folder = url.to_file_path().map_err(|()| OpenError::Folder {
                    folder: place.into(),
                    source: std::io::Error::other("a file URL names no other host"),
                })?;
                return Self::folder(&folder);
            }
            "s3" | "s3a" => ("aws", cfg!(feature = "aws")),
            "gs" => ("gcp", cfg!(feature = "gcp")),
            "az" | "adl" | "abfs" | "abfss" | "azure" => ("azure", cfg!(feature = "azure")),
            other => {
                return Err(OpenError::UnknownScheme {
                    scheme: other.to_owned(),
                });
            }
        };
        if !built {
            return Err(OpenError::NotBuilt {
                scheme: url.scheme().to_owned(),
                feature,
            });
        }
        #[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
        return bucket::open(&url, settings)
            .map_err(|source| OpenError::Store {
                place: place.to_owned(),
                source,
            })
            .map(|bucket| Self {
                store: Arc::new(PrefixStore::new(bucket.store, bucket.prefix.clone())),
                signer: Some((bucket.signer, bucket.prefix)),
            });
        #[cfg(not(any(feature = "aws", feature = "azure", feature = "gcp")))]
        {
            drop(settings.into_iter());
            unreachable!("without these features no bucket is built in, which was said above")
        }
    }

    fn folder(folder: &Path) -> Result<Self, OpenError> {
        make_private_folder(folder).map_err(|source| OpenError::Folder {
            folder: folder.to_owned(),
            source,
        })?;
        let store =
            LocalFileSystem::new_with_prefix(folder).map_err(|source| OpenError::Store {
                place: folder.display().to_string(),
                source,
            })?;
        Ok(Self {
            // Without fsync a rename may reach the disk before the bytes do, and a crash would leave an empty blob
            // behind an acknowledged write.
            store: Arc::new(store.with_fsync(true).with_automatic_cleanup(true)),
            signer: None,
        })
    }

    /// Writes a blob, replacing what was there. Durable when it returns.
    pub async fn put(&self, path: &BlobPath, bytes: Bytes) -> Result<(), BlobError> {
        self.store
            .put(&path.to_store(), bytes.into())
            .await
            .map_err(failed("write", path))?;
        Ok(())
    }

    /// Writes a blob unless one is there. Of several at once one creates it.
    pub async fn put_if_absent(&self, path: &BlobPath, bytes: Bytes) -> Result<Put, BlobError> {
        let options = PutOptions::from(PutMode::Create);
        match self
            .store
            .put_opts(&path.to_store(), bytes.into(), options)
            .await
        {
            Ok(_) => Ok(Put::Created),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(Put::Present),
            Err(source) => Err(failed("write", path)(source)),
        }
    }

    /// Whether others can be let in by URL: not to a folder.
    #[must_use]
    pub fn can_presign(&self) -> bool {
        self.signer.is_some()
    }

    /// A URL to which anybody may PUT this blob for so long. Nothing where the place is a folder, which no URL leads to.
    pub async fn presigned_put(
        &self,
        path: &BlobPath,
        good_for: Duration,
    ) -> Result<Option<Url>, BlobError> {
        let Some((signer, prefix)) = &self.signer else {
            return Ok(None);
        };
        let inside = path.to_store();
        let whole = object_store::path::Path::from_iter(prefix.parts().chain(inside.parts()));
        let url = signer
            .signed_url(object_store::signer::Method::PUT, &whole, good_for)
            .await
            .map_err(failed("sign a URL for", path))?;
        Ok(Some(url))
    }

    /// Opens a blob for reading; `None` when there is none.
    pub async fn get(&self, path: &BlobPath) -> Result<Option<Blob>, BlobError> {
        self.read(path, GetOptions::default()).await
    }

    /// Opens the bytes `range` of a blob, cut at its end. `None` when there is no blob; an error when the range is
    /// empty or starts behind the end.
    pub async fn get_range(
        &self,
        path: &BlobPath,
        range: Range<u64>,
    ) -> Result<Option<Blob>, BlobError> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            ..GetOptions::default()
        };
        self.read(path, options).await
    }

    async fn read(&self, path: &BlobPath, options: GetOptions) -> Result<Option<Blob>, BlobError> {
        match self.store.get_opts(&path.to_store(), options).await {
            Ok(result) => Ok(Some(Blob {
                info: BlobInfo::new(path.clone(), &result.meta),
                body: result.into_stream(),
            })),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(failed("read", path)(source)),
        }
    }

    /// Looks at a blob without reading it; `None` when there is none.
    pub async fn head(&self, path: &BlobPath) -> Result<Option<BlobInfo>, BlobError> {
        match self.store.head(&path.to_store()).await {
            Ok(meta) => Ok(Some(BlobInfo::new(path.clone(), &meta))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(failed("look at", path)(source)),
        }
    }

    /// Lists what is under `prefix` (by whole segments: `a/b` does not list `a/bc`), in no order, as it comes.
    /// A name that was not written by this crate is left out.
    pub fn list(&self, prefix: &BlobPath) -> BoxStream<'static, Result<BlobInfo, BlobError>> {
        let prefix = prefix.clone();
        self.store
            .list(Some(&prefix.to_store()))
            .filter_map(move |found| {
                let found = match found {
                    Ok(meta) => BlobPath::new(meta.location.as_ref())
                        .ok()
                        .map(|path| Ok(BlobInfo::new(path, &meta))),
                    Err(source) => Some(Err(failed("list", &prefix)(source))),
                };
                std::future::ready(found)
            })
            .boxed()
    }

    /// Removes a blob. One that is already gone is not an error.
    pub async fn delete(&self, path: &BlobPath) -> Result<(), BlobError> {
        match self.store.delete(&path.to_store()).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(failed("delete", path)(source)),
        }
    }

    /// Removes up to `limit` blobs under `prefix`. Safe to repeat and to run twice at once; a blob that is already
    /// gone is not an error.
    pub async fn delete_prefix(
        &self,
        prefix: &BlobPath,
        limit: usize,
    ) -> Result<Deleted, BlobError> {
        let mut count = 0;
        loop {
            let batch = DELETE_BATCH.min(limit - count);
            // One more than may go, to know whether something stays.
            let mut found: Vec<BlobInfo> = self.list(prefix).take(batch + 1).try_collect().await?;
            let more = found.len() > batch;
            found.truncate(batch);
            for blob in &found {
                self.delete(&blob.path).await?;
                count += 1;
            }
            if !more || count >= limit {
                return Ok(Deleted { count, more });
            }
        }
    }
}

impl fmt::Debug for Blobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blobs({})", self.store)
    }
}

impl Blob {
    /// The bytes as they come. A read that fails midway ends the stream with an error.
    pub fn into_stream(self) -> BoxStream<'static, Result<Bytes, BlobError>> {
        let path = self.info.path;
        self.body
            .map_err(move |source| failed("read", &path)(source))
            .boxed()
    }

    /// The bytes in memory. For blobs whose size its writer bounded: check `info.size` first.
    pub async fn bytes(self) -> Result<Bytes, BlobError> {
        let capacity = usize::try_from(self.info.size).unwrap_or(0);
        let path = self.info.path;
        let bytes = self
            .body
            .try_fold(Vec::with_capacity(capacity), |mut all, chunk| {
                all.extend_from_slice(&chunk);
                std::future::ready(Ok(all))
            })
            .await
            .map_err(failed("read", &path))?;
        Ok(bytes.into())
    }
}

impl BlobInfo {
    fn new(path: BlobPath, meta: &ObjectMeta) -> Self {
        Self {
            path,
            size: meta.size,
            etag: meta.e_tag.clone(),
            last_modified: meta.last_modified,
        }
    }
}

fn failed(step: &'static str, path: &BlobPath) -> impl FnOnce(object_store::Error) -> BlobError {
    let path = path.to_string();
    move |source| BlobError { step, path, source }
}

/// Blobs of all tenants are below, and this process alone serves them: nobody else on the machine may look.
fn make_private_folder(folder: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

    fn path(text: &str) -> BlobPath {
        BlobPath::new(text).expect("a good path")
    }

    fn store() -> Result<(tempfile::TempDir, Blobs)> {
        let folder = tempfile::tempdir()?;
        let blobs = Blobs::open(folder.path().join("deep/blobs").to_str().expect("UTF-8"))?;
        Ok((folder, blobs))
    }

    #[tokio::test]
    async fn what_was_put_is_read_back_and_replaced_whole() -> Result {
        let (_folder, blobs) = store()?;
        assert!(blobs.get(&path("a/b")).await?.is_none());
        assert_eq!(blobs.head(&path("a/b")).await?, None);
        blobs
            .put(&path("a/b"), Bytes::from("first, longer"))
            .await?;
        blobs.put(&path("a/b"), Bytes::from("second")).await?;
        let blob = blobs.get(&path("a/b")).await?.expect("it is there");
        assert_eq!(blob.info.size, 6);
        assert_eq!(blob.bytes().await?, "second");
        Ok(())
    }

    #[tokio::test]
    async fn of_many_creators_one_creates_it() -> Result {
        let (_folder, blobs) = store()?;
        let target = path("one");
        let puts = (0..16).map(|n| blobs.put_if_absent(&target, Bytes::from(n.to_string())));
        let put = futures::future::try_join_all(puts).await?;
        assert_eq!(put.iter().filter(|p| **p == Put::Created).count(), 1);
        Ok(())
    }

    #[tokio::test]
    async fn a_range_is_cut_at_the_end_and_refused_behind_it() -> Result {
        let (_folder, blobs) = store()?;
        blobs.put(&path("ten"), Bytes::from("0123456789")).await?;
        let tail = blobs.get_range(&path("ten"), 7..100).await?.expect("there");
        assert_eq!(tail.info.size, 10);
        let chunks: Vec<Bytes> = tail.into_stream().try_collect().await?;
        assert_eq!(chunks.concat(), b"789");
        assert!(blobs.get_range(&path("ten"), 10..11).await.is_err());
        assert!(blobs.get_range(&path("none"), 0..1).await?.is_none());
        Ok(())
    }

    #[tokio::test]
    async fn a_prefix_is_listed_and_deleted_by_whole_segments_and_within_the_limit() -> Result {
        let (_folder, blobs) = store()?;
        for name in ["s/a/1", "s/a/2", "s/a/deep/3", "s/ab/4"] {
            blobs.put(&path(name), Bytes::from(name)).await?;
        }
        let mut listed: Vec<String> = blobs
            .list(&path("s/a"))
            .map_ok(|info| info.path.to_string())
            .try_collect()
            .await?;
        listed.sort();
        assert_eq!(listed, ["s/a/1", "s/a/2", "s/a/deep/3"]);

        let first = blobs.delete_prefix(&path("s/a"), 2).await?;
        assert_eq!(
            first,
            Deleted {
                count: 2,
                more: true
            }
        );
        let second = blobs.delete_prefix(&path("s/a"), 2).await?;
        assert_eq!(
            second,
            Deleted {
                count: 1,
                more: false
            }
        );
        let third = blobs.delete_prefix(&path("s/a"), 2).await?;
        assert_eq!(
            third,
            Deleted {
                count: 0,
                more: false
            }
        );
        assert!(blobs.head(&path("s/ab/4")).await?.is_some());
        Ok(())
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn the_folder_is_for_its_owner_only() -> Result {
        use std::os::unix::fs::PermissionsExt;
        let (folder, _blobs) = store()?;
        let mode = fs::metadata(folder.path().join("deep/blobs"))?.permissions();
        assert_eq!(mode.mode() & 0o777, 0o700);
        Ok(())
    }

    #[test]
    fn a_folder_opens_by_path_and_by_url() -> Result {
        let folder = tempfile::tempdir()?;
        let url = Url::from_directory_path(folder.path()).expect("absolute");
        Blobs::open(url.as_str())?;
        Blobs::open(folder.path().to_str().expect("UTF-8"))?;
        Ok(())
    }

    #[cfg(not(any(feature = "aws", feature = "gcp", feature = "azure")))]
    #[test]
    fn a_store_that_is_not_built_in_names_the_feature() {
        for (place, feature) in [
            ("s3://b/p", "aws"),
            ("gs://b", "gcp"),
            ("az://c/p", "azure"),
        ] {
            let error = Blobs::open(place).expect_err("not built").to_string();
            assert!(
                error.contains(&format!("--features blobs/{feature}")),
                "{error}"
            );
        }
    }

    #[test]
    fn other_places_are_refused_by_name() {
        for place in ["ftp://x/y", "http://x/y", "memory://"] {
            let error = Blobs::open(place).expect_err("unknown").to_string();
            assert!(error.contains("is not a store of blobs"), "{error}");
        }
        assert!(matches!(
            Blobs::open("s3://[bad"),
            Err(OpenError::Url { .. })
        ));
        assert!(matches!(
            Blobs::open("file://host/x"),
            Err(OpenError::Folder { .. })
        ));
        assert!(matches!(
            Blobs::open("/dev/null/x"),
            Err(OpenError::Folder { .. })
        ));
    }
}
