//! Buckets by URL.

use std::sync::Arc;
use std::time::Duration;

use object_store::{BackoffConfig, ObjectStore, Result, RetryConfig, path::Path, signer::Signer};
use url::Url;

/// How often a request to a bucket is tried again, and for how long: who waits for it has to be told.
const RETRIES_MAX: usize = 3;
const RETRY_FOR: Duration = Duration::from_secs(10);

/// A bucket, and where in it our blobs begin.
pub(crate) struct Bucket {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) signer: Arc<dyn Signer>,
    pub(crate) prefix: Path,
}

/// Builds one kind of store from its URL and those settings that it knows.
macro_rules! built {
    ($builder:ty, $url:expr, $settings:expr) => {{
        let builder = $settings.into_iter().fold(
            <$builder>::new().with_url($url.to_string()),
            |builder, (name, value)| match name.to_ascii_lowercase().parse() {
                Ok(key) => builder.with_config(key, value),
                Err(_) => builder,
            },
        );
        let store = Arc::new(builder.with_retry(retry()).build()?);
        (
            Arc::clone(&store) as Arc<dyn ObjectStore>,
            store as Arc<dyn Signer>,
        )
    }};
}

pub(crate) fn open(
    url: &Url,
    settings: impl IntoIterator<Item = (String, String)>,
) -> Result<Bucket> {
    let (store, signer) = match url.scheme() {
        #[cfg(feature = "aws")]
        "s3" | "s3a" => built!(object_store::aws::AmazonS3Builder, url, settings),
        #[cfg(feature = "gcp")]
        "gs" => built!(object_store::gcp::GoogleCloudStorageBuilder, url, settings),
        #[cfg(feature = "azure")]
        _ => built!(object_store::azure::MicrosoftAzureBuilder, url, settings),
        #[cfg(not(feature = "azure"))]
        other => {
            return Err(object_store::Error::NotSupported {
                source: format!("`{other}:` is not built in").into(),
            });
        }
    };
    let prefix = Path::from_url_path(url.path())?;
    Ok(Bucket {
        store,
        signer,
        prefix,
    })
}

fn retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: RETRIES_MAX,
        retry_timeout: RETRY_FOR,
    }
}
