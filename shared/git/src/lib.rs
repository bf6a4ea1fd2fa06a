//! Reads Git repositories that other people keep, without running anything of theirs or ours.
//!
//! [`Fetcher::fetch`] brings the files of one folder of one commit, [`Fetcher::archive`] the same as a plain tar whose bytes
//! depend on nothing else, [`refs()`] the names of what is there. Addresses are https, or a folder of this machine
//! that the operator allows; every word that says where or what is a type that refuses options, other protocols and ways
//! out ([`words`]). Calls go through the guard of `egress`.
//!
//! ```no_run
//! # async fn example(fetcher: git::Fetcher, cancel: tokio_util::sync::CancellationToken) -> Result<(), Box<dyn std::error::Error>> {
//! let source: git::Source = "https://git.example.com/infra/network.git".to_owned().try_into()?;
//! let archive = fetcher
//!     .archive(
//!         git::ArchiveAsk {
//!             source: &source,
//!             wanted: &git::Wanted::Head("main".to_owned().try_into()?),
//!             login: None,
//!             folder: &git::Folder::default(),
//!             bytes_max: git::ARCHIVE_BYTES_MAX,
//!         },
//!         &cancel,
//!     )
//!     .await?;
//! println!("{} is {} bytes, {}", archive.commit, archive.tar.len(), archive.sha256);
//! # Ok(())
//! # }
//! ```

mod advertisement;
mod archive;
mod error;
mod fetch;
mod refs;
mod settings;
mod transport;
mod tree;
mod warnings;
pub mod words;

pub use advertisement::NotGit;
pub use archive::{ARCHIVE_BYTES_MAX, Archive, ArchiveAsk, PATH_BYTES_MAX, tar};
pub use error::FetchError;
pub use fetch::{Checkout, FetchAsk, FetchLimits, Fetcher, LocalRoots, Login, Source, Wanted};
pub use refs::{Ref, Refs, RefsError, refs};
pub use settings::{FetchSettings, FetchSettingsError};
pub use tree::{Case, File, Name, Named, Taking};
pub use warnings::Warnings;
pub use words::{BaseUrl, Branch, CommitId, Folder, LocalPath, Repository, WordError};
