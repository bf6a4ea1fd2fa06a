//! The files beside a topology.

use std::collections::BTreeMap;
use std::io::Read as _;

use sha2::{Digest as _, Sha256};

use crate::policy::{PathKind, path_kind};

/// The most files of one lab.
pub const LAB_FILES_MAX: usize = 5_000;
/// The largest file, in bytes.
pub const LAB_FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// All files of one lab together, in bytes.
pub const LAB_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The longest path, in bytes.
const PATH_BYTES_MAX: usize = 512;

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabFile {
    /// What is in it.
    pub bytes: Vec<u8>,
    /// Whether it may be run.
    pub executable: bool,
}

/// The files of a lab by their paths below its folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabFiles(BTreeMap<String, LabFile>);

/// Why files are not taken; none of them is then.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A path that leads elsewhere.
    #[error("{0:?} is not a path below the lab's folder")]
    Path(String),
    /// Something other than a file or a folder.
    #[error("{0:?} is neither a file nor a folder: links and devices are not taken")]
    Kind(String),
    /// One path twice.
    #[error("{0:?} is there twice")]
    Twice(String),
    /// One file is too large.
    #[error("{path} is larger than {LAB_FILE_BYTES_MAX} bytes")]
    TooLarge {
        /// Which.
        path: String,
    },
    /// All together are too much.
    #[error(
        "the lab's files are more than {LAB_FILES_MAX}, or have more than {LAB_BYTES_MAX} bytes in all"
    )]
    TooMuch,
    /// No tar archive, or one that breaks off.
    #[error("the archive cannot be read")]
    Archive(#[source] std::io::Error),
}

impl LabFiles {
    /// Adds a file.
    ///
    /// # Errors
    /// When its path leads out of the folder or is taken, or it is too large.
    pub fn add(&mut self, path: &str, file: LabFile) -> Result<(), FilesError> {
        let PathKind::Inside(path) = path_kind(path) else {
            return Err(FilesError::Path(path.to_owned()));
        };
        if path.len() > PATH_BYTES_MAX || path.chars().any(char::is_control) {
            return Err(FilesError::Path(path));
        }
        if file.bytes.len() as u64 > LAB_FILE_BYTES_MAX {
            return Err(FilesError::TooLarge { path });
        }
        let total: usize = self.0.values().map(|file| file.bytes.len()).sum();
        if self.0.len() >= LAB_FILES_MAX || (total + file.bytes.len()) as u64 > LAB_BYTES_MAX {
            return Err(FilesError::TooMuch);
        }
        if self.0.contains_key(&path) {
            return Err(FilesError::Twice(path));
        }
        self.0.insert(path, file);
        Ok(())
    }

    /// Reads a plain tar archive.
    ///
    /// # Errors
    /// When one entry leads elsewhere, is no file or folder, or there is too much: nothing of it is taken then.
    pub fn from_tar(bytes: &[u8]) -> Result<Self, FilesError> {
        let mut archive = tar::Archive::new(bytes);
        let mut files = Self::default();
        for entry in archive.entries().map_err(FilesError::Archive)? {
            let mut entry = entry.map_err(FilesError::Archive)?;
            let path = String::from_utf8(entry.path_bytes().into_owned())
                .map_err(|bad| FilesError::Path(bad.to_string()))?;
            let kind = entry.header().entry_type();
            if kind.is_dir() {
                let inside = matches!(path_kind(&path), PathKind::Inside(_));
                if !inside && !matches!(path.as_str(), "." | "./") {
                    return Err(FilesError::Path(path));
                }
                continue;
            }
            if !kind.is_file() {
                return Err(FilesError::Kind(path));
            }
            let mode = entry.header().mode().map_err(FilesError::Archive)?;
            let mut bytes = Vec::new();
            let mut capped = (&mut entry).take(LAB_FILE_BYTES_MAX + 1);
            capped
                .read_to_end(&mut bytes)
                .map_err(FilesError::Archive)?;
            let executable = mode & 0o111 != 0;
            files.add(&path, LabFile { bytes, executable })?;
        }
        Ok(files)
    }

    /// A file by its path.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&LabFile> {
        self.0.get(path)
    }

    /// All of them, in the order of their paths.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &LabFile)> {
        self.0.iter().map(|(path, file)| (path.as_str(), file))
    }

    /// The file of this path, or all files below the folder of this path.
    pub(crate) fn at_or_below<'a>(
        &'a self,
        path: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a LabFile)> {
        let below = format!("{path}/");
        self.iter()
            .filter(move |(known, _)| *known == path || known.starts_with(&below))
    }
}

/// What says whether two labs are the same: SHA-256, in hex, over a line for each file, sorted by path: its SHA-256, two spaces,
/// its path. That is what `sha256sum` prints, so that a lab can be compared on any machine. Of what netlab writes only
/// `clab.yml` and `node_files/**` count: its other files carry the name of the folder they were made in.
#[must_use]
pub fn content_hash(files: &LabFiles) -> String {
    let counted = |path: &str| path == "clab.yml" || path.starts_with("node_files/");
    let files = files.iter().filter(|(path, _)| counted(path));
    hash(files.map(|(path, file)| (path, file.bytes.as_slice())))
}

pub(crate) fn hash<'a>(files: impl Iterator<Item = (&'a str, &'a [u8])>) -> String {
    let mut whole = Sha256::new();
    for (path, bytes) in files {
        let one = hex::encode(Sha256::digest(bytes));
        whole.update(format!("{one}  {path}\n"));
    }
    hex::encode(whole.finalize())
}
