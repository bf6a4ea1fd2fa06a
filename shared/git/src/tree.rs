//! Reads the files of one folder of one commit, and nothing that a commit should not hold.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use gix::{ObjectId, Repository, bstr::ByteSlice, objs::tree::EntryKind};

use crate::{
    error::{FetchError, git},
    warnings::Warnings,
    words::Folder,
};

/// How many folders deep a tree may be.
const DEPTH_MAX: usize = 64;

/// How many entries of trees are looked at: trees can name one another, so a few small ones can unfold without end.
const ENTRIES_MAX: usize = 100_000;

/// How large one tree object may be, in bytes.
const TREE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How a pointer of Git LFS starts. The file that it points to is elsewhere.
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

/// What of a tree is taken.
#[derive(Clone, Copy, Debug)]
pub struct Taking {
    /// What all files together are called in messages: `the site`.
    pub what: &'static str,
    /// How many bytes they may have.
    pub bytes_max: u64,
    /// Judges each name of a file or folder.
    pub name: fn(Named<'_>) -> Name,
    /// What names that differ by case only are.
    pub case: Case,
}

/// A name in a tree.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// The name, without what is above it.
    pub name: &'a str,
    /// How many folders below the root it is.
    pub depth: usize,
    /// Whether it is a folder's.
    pub is_folder: bool,
}

/// What becomes of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// It is taken, and what is below it is looked at.
    Taken,
    /// It is left out, and nobody expects otherwise.
    Ignored,
    /// It is left out, and the author is told why.
    LeftOut(String),
}

/// Whether names that differ by case only are two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// They are one on some machines and two on others, and a tree that has such is refused.
    Refused,
    /// They are two.
    Told,
}

/// A regular file of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// What is in it.
    pub bytes: Bytes,
    /// Whether it may be run.
    pub executable: bool,
}

/// How much a tree may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TreeLimits {
    /// How many files.
    pub(crate) files_max: usize,
    /// How many bytes one file may have.
    pub(crate) file_bytes_max: u64,
    /// What is taken.
    pub(crate) taking: Taking,
}

/// The regular files below a folder of a commit.
///
/// Links, submodules and names that [`Taking::name`] leaves out are left out with a warning. Names that Git itself would
/// not check out refuse the whole tree.
/// `go_on` is asked between files, so that a cancel ends the walk.
pub(crate) fn read(
    repository: &Repository,
    commit: ObjectId,
    folder: &Folder,
    limits: TreeLimits,
    go_on: &dyn Fn() -> Result<(), FetchError>,
) -> Result<(BTreeMap<String, File>, Warnings), FetchError> {
    let root = repository
        .find_commit(commit)
        .and_then(|commit| commit.tree_id().map(gix::Id::detach))
        .map_err(git("read the commit"))?;
    let mut walk = Walk {
        repository,
        limits,
        files: BTreeMap::new(),
        bytes: 0,
        entries: 0,
        folded: HashMap::new(),
        warnings: Warnings::default(),
        pending: vec![(String::new(), 0, enter(repository, root, folder)?)],
    };
    while let Some((prefix, depth, tree)) = walk.pending.pop() {
        walk.tree(&prefix, depth, tree, go_on)?;
    }
    Ok((walk.files, walk.warnings))
}

/// Finds the tree of `folder` below `root`, by real folders only.
fn enter(repository: &Repository, root: ObjectId, folder: &Folder) -> Result<ObjectId, FetchError> {
    folder.parts().try_fold(root, |tree, part| {
        let tree = load_tree(repository, tree)?;
        let entry = tree.find_entry(part);
        match entry.map(|entry| (entry.kind(), entry.object_id())) {
            Some((EntryKind::Tree, id)) => Ok(id),
            _ => Err(FetchError::NoFolder {
                folder: folder.to_string(),
            }),
        }
    })
}

fn load_tree(repository: &Repository, id: ObjectId) -> Result<gix::Tree<'_>, FetchError> {
    let size = repository
        .find_header(id)
        .map_err(git("read a folder"))?
        .size();
    if size > TREE_BYTES_MAX {
        return Err(FetchError::TooLarge {
            what: "a folder's list of names".to_owned(),
            bytes_max: TREE_BYTES_MAX,
        });
    }
    repository.find_tree(id).map_err(git("read a folder"))
}

struct Walk<'repo> {
    repository: &'repo Repository,
    limits: TreeLimits,
    files: BTreeMap<String, File>,
    bytes: u64,
    entries: usize,
    /// Each name of a file or folder in lower case, with how it was written.
    folded: HashMap<String, String>,
    warnings: Warnings,
    pending: Vec<(String, usize, ObjectId)>,
}

impl Walk<'_> {
    fn tree(
        &mut self,
        prefix: &str,
        depth: usize,
        tree: ObjectId,
        go_on: &dyn Fn() -> Result<(), FetchError>,
    ) -> Result<(), FetchError> {
        if depth > DEPTH_MAX {
            return Err(FetchError::TooMany {
                what: "nested folders",
                max: DEPTH_MAX,
            });
        }
        let tree = load_tree(self.repository, tree)?;
        for entry in tree.iter() {
            go_on()?;
            let entry = entry.map_err(git("read a folder"))?;
            self.entries += 1;
            if self.entries > ENTRIES_MAX {
                return Err(FetchError::TooMany {
                    what: "files and folders",
                    max: ENTRIES_MAX,
                });
            }
            refuse_hostile(entry.filename(), prefix)?;
            let Ok(name) = entry.filename().to_str() else {
                let path = format!("{prefix}{}", entry.filename());
                self.warnings
                    .add(format!("{path:?} is left out: its name is not UTF-8"));
                continue;
            };
            let path = format!("{prefix}{name}");
            let kind = entry.kind();
            let named = Named {
                name,
                depth,
                is_folder: kind == EntryKind::Tree,
            };
            match (self.limits.taking.name)(named) {
                Name::Taken => {}
                Name::Ignored => continue,
                Name::LeftOut(why) => {
                    self.warnings.add(format!("{path:?} is left out: {why}"));
                    continue;
                }
            }
            let id = entry.object_id();
            match kind {
                EntryKind::Tree => {
                    self.refuse_other_case(&path)?;
                    self.pending.push((format!("{path}/"), depth + 1, id));
                }
                EntryKind::Blob | EntryKind::BlobExecutable => {
                    self.refuse_other_case(&path)?;
                    self.file(path, id, kind == EntryKind::BlobExecutable)?;
                }
                EntryKind::Link => {
                    self.warnings.add(format!(
                        "{path:?} is left out: it is a symbolic link, and links are not followed"
                    ));
                }
                EntryKind::Commit => {
                    self.warnings.add(format!(
                        "{path:?} is left out: it is a submodule, and submodules are not fetched"
                    ));
                }
            }
        }
        Ok(())
    }

    fn file(&mut self, path: String, id: ObjectId, executable: bool) -> Result<(), FetchError> {
        if self.files.len() == self.limits.files_max {
            return Err(FetchError::TooMany {
                what: "files",
                max: self.limits.files_max,
            });
        }
        // The size is known before the bytes are unpacked.
        let size = self
            .repository
            .find_header(id)
            .map_err(git("read a file"))?
            .size();
        if size > self.limits.file_bytes_max {
            return Err(FetchError::TooLarge {
                what: format!("the file {path:?}"),
                bytes_max: self.limits.file_bytes_max,
            });
        }
        self.bytes += size;
        if self.bytes > self.limits.taking.bytes_max {
            return Err(FetchError::TooLarge {
                what: self.limits.taking.what.to_owned(),
                bytes_max: self.limits.taking.bytes_max,
            });
        }
        let mut blob = self.repository.find_blob(id).map_err(git("read a file"))?;
        let data = blob.take_data();
        if data.starts_with(LFS_POINTER) {
            self.warnings.add(format!(
                "{path:?} is taken as it is: it points to Git LFS, which is not fetched"
            ));
        }
        let bytes = data.into();
        self.files.insert(path, File { bytes, executable });
        Ok(())
    }

    fn refuse_other_case(&mut self, path: &str) -> Result<(), FetchError> {
        if self.limits.taking.case == Case::Told {
            return Ok(());
        }
        match self.folded.insert(path.to_lowercase(), path.to_owned()) {
            None => Ok(()),
            Some(other) => Err(FetchError::Refused {
                path: path.to_owned(),
                why: format!("it differs only by case from {other:?}"),
            }),
        }
    }
}

/// Refuses names that no Git client writes into a tree: whoever did means harm.
fn refuse_hostile(name: &[u8], prefix: &str) -> Result<(), FetchError> {
    let why = match name {
        b"" => "it has an empty name",
        b"." | b".." => "its name leads out of its folder",
        name if name.eq_ignore_ascii_case(b".git") => "it is a repository's own data",
        name if name.contains(&b'/') => "its name has a slash",
        name if name.contains(&0) => "its name has a NUL",
        _ => return Ok(()),
    };
    Err(FetchError::Refused {
        path: format!("{prefix}{}", name.as_bstr()),
        why: why.to_owned(),
    })
}
