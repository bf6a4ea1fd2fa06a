//! A folder of a commit as one plain tar.

use std::collections::BTreeMap;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::{
    error::FetchError,
    fetch::{FetchAsk, Fetcher, Login, Source, Wanted},
    tree::{Case, File, Name, Named, Taking},
    warnings::Warnings,
    words::{CommitId, Folder},
};

/// How many bytes the files of an archive may have together, unless who asks says less.
pub const ARCHIVE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The longest path in an archive, in bytes. Deeper ones are left out.
pub const PATH_BYTES_MAX: usize = 1024;

/// The longest name between two `/`, in bytes: what file systems take.
const NAME_BYTES_MAX: usize = 255;

/// One archive. The limits on files, their sizes and the time are those of the [`Fetcher`].
#[derive(Clone, Copy, Debug)]
pub struct ArchiveAsk<'a> {
    /// Where from.
    pub source: &'a Source,
    /// Which commit.
    pub wanted: &'a Wanted,
    /// Who asks.
    pub login: Option<&'a Login>,
    /// Which folder; all of the commit when it is empty. What is in the folder is at the root of the archive.
    pub folder: &'a Folder,
    /// How many bytes the files may have together.
    pub bytes_max: u64,
}

/// What a commit has in a folder.
#[derive(Clone, Debug)]
pub struct Archive {
    /// The commit that was found.
    pub commit: CommitId,
    /// The files as a plain tar: sorted by path, owned by nobody, dated 1970, so that the same files are the same bytes.
    pub tar: Bytes,
    /// Its SHA-256, hexadecimal.
    pub sha256: String,
    /// How many files are in it.
    pub files: usize,
    /// What was left out: symbolic links, submodules, names that are no names elsewhere.
    pub warnings: Warnings,
}

impl Fetcher {
    /// Fetches a folder of a commit as an archive. Hidden files are in it; symbolic links, submodules and what Git LFS keeps
    /// elsewhere are not, and [`Archive::warnings`] says so.
    pub async fn archive(
        &self,
        ask: ArchiveAsk<'_>,
        cancel: &CancellationToken,
    ) -> Result<Archive, FetchError> {
        let taking = Taking {
            what: "the folder",
            bytes_max: ask.bytes_max,
            name,
            case: Case::Told,
        };
        let fetch = FetchAsk {
            source: ask.source,
            wanted: ask.wanted,
            login: ask.login,
            folder: ask.folder,
            taking,
        };
        let mut checkout = self.fetch(fetch, cancel).await?;
        checkout.files.retain(|path, _| {
            let kept = path.len() <= PATH_BYTES_MAX;
            if !kept {
                let begin: String = path.chars().take(80).collect();
                checkout.warnings.add(format!(
                    "{begin:?}… is left out: its path is longer than {PATH_BYTES_MAX} bytes"
                ));
            }
            kept
        });
        let files = checkout.files;
        let count = files.len();
        let (tar, sha256) = tokio::task::spawn_blocking(move || {
            let tar = tar(&files)?;
            let sha256 = hex::encode(Sha256::digest(&tar));
            Ok((tar, sha256))
        })
        .await
        .unwrap_or_else(|panic| Err(std::io::Error::other(panic)))
        .map_err(|source| FetchError::Machine {
            step: "pack the archive",
            source,
        })?;
        Ok(Archive {
            commit: checkout.commit,
            tar,
            sha256,
            files: count,
            warnings: checkout.warnings,
        })
    }
}

/// What may be the name of a file of an archive.
fn name(named: Named<'_>) -> Name {
    let name = named.name;
    if name.len() > NAME_BYTES_MAX {
        Name::LeftOut(format!("its name is longer than {NAME_BYTES_MAX} bytes"))
    } else if name.chars().any(|c| c.is_control() || c == '\\') {
        Name::LeftOut("a name has no control characters and no backslash".to_owned())
    } else {
        Name::Taken
    }
}

/// Packs files into a plain tar whose bytes depend on their paths, contents and whether they may be run alone.
///
/// # Errors
/// When a path cannot be written into a tar.
pub fn tar(files: &BTreeMap<String, File>) -> std::io::Result<Bytes> {
    let content: usize = files.values().map(|file| file.bytes.len() + 1024).sum();
    let mut tar = tar::Builder::new(Vec::with_capacity(content + 1024));
    for (path, file) in files {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(if file.executable { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(file.bytes.len() as u64);
        tar.append_data(&mut header, path, file.bytes.as_ref())?;
    }
    Ok(tar.into_inner()?.into())
}
