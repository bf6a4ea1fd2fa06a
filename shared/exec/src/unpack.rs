//! Puts what is in a tar archive into a folder, or refuses it as a whole.

use std::collections::HashMap;
use std::fs::{DirBuilder, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

use tar::{Archive, EntryType};

/// The longest path in an archive, in bytes.
const PATH_BYTES_MAX: usize = 1024;
/// The longest name of a file, in bytes, as file systems have it.
const NAME_BYTES_MAX: usize = 255;

/// How much an archive may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnpackLimits {
    /// Files and folders.
    pub entries: usize,
    /// Bytes of all files.
    pub bytes: u64,
}

impl Default for UnpackLimits {
    fn default() -> Self {
        Self {
            entries: 20_000,
            bytes: 1024 * 1024 * 1024,
        }
    }
}

/// Why an archive is refused.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// A path that leads out of the folder, or means something else to some system.
    #[error("the archive is refused: the path {0:?} in it is not one below its folder")]
    Path(String),
    /// Anything but a file or a folder.
    #[error(
        "the archive is refused: {path:?} in it is {kind}, and only files and folders are unpacked"
    )]
    Kind {
        /// Its path.
        path: String,
        /// What it is.
        kind: &'static str,
    },
    /// Two entries that are one to some file systems, or a file where another has a folder.
    #[error("the archive is refused: {0:?} and {1:?} in it are in each other's way")]
    Collision(String, String),
    /// Too many entries.
    #[error("the archive is refused: it has more than {0} files and folders")]
    Entries(usize),
    /// Too many bytes.
    #[error("the archive is refused: its files have more than {0} bytes")]
    Bytes(u64),
    /// It is no tar archive, or is cut off; or what is in it could not be written.
    #[error("the archive could not be unpacked")]
    Io(#[from] std::io::Error),
}

/// Unpacks a plain tar archive into a folder that is there. Everything in it is looked at before anything is written, so that an
/// archive that is refused has left nothing behind. Files keep whether they may be run, and nothing else.
///
/// # Errors
/// When it is refused, cannot be read, or cannot be written.
pub fn unpack(
    mut archive: impl Read + Seek,
    folder: &Path,
    limits: UnpackLimits,
) -> Result<(), UnpackError> {
    let from = archive.stream_position()?;
    check(&mut archive, limits)?;
    archive.seek(SeekFrom::Start(from))?;
    let mut tar = Archive::new(&mut archive);
    for entry in tar.entries()? {
        let mut entry = entry?;
        let Some(kind) = kind(entry.header().entry_type(), "")? else {
            continue;
        };
        let (path, _) = path(&entry.path_bytes())?;
        let to = folder.join(path);
        match kind {
            Kind::Folder => make_folder(&to)?,
            Kind::File => {
                if let Some(parent) = to.parent() {
                    make_folder(parent)?;
                }
                let runs = entry.header().mode()? & 0o111 != 0;
                let mut file = File::options()
                    .write(true)
                    .create_new(true)
                    .mode(if runs { 0o755 } else { 0o644 })
                    .open(&to)?;
                std::io::copy(&mut entry, &mut file)?;
            }
        }
    }
    Ok(())
}

enum Kind {
    File,
    Folder,
}

fn kind(kind: EntryType, path: &str) -> Result<Option<Kind>, UnpackError> {
    let refused = |kind| {
        Err(UnpackError::Kind {
            path: path.to_owned(),
            kind,
        })
    };
    match kind {
        EntryType::Regular | EntryType::Continuous => Ok(Some(Kind::File)),
        EntryType::Directory => Ok(Some(Kind::Folder)),
        // Says something of the archive, as `git archive` does.
        EntryType::XGlobalHeader => Ok(None),
        EntryType::Symlink => refused("a symbolic link"),
        EntryType::Link => refused("a hard link"),
        EntryType::Char | EntryType::Block => refused("a device"),
        EntryType::Fifo => refused("a pipe"),
        EntryType::GNUSparse => refused("a sparse file"),
        _ => refused("of an unknown kind"),
    }
}

fn check(archive: &mut (impl Read + Seek), limits: UnpackLimits) -> Result<(), UnpackError> {
    // By how file systems that know no case would see it: what it is called, and whether it is a folder.
    let mut seen: HashMap<String, (String, bool)> = HashMap::new();
    let mut bytes = 0_u64;
    let mut entries = 0;
    let mut tar = Archive::new(archive);
    for entry in tar.entries()? {
        let mut entry = entry?;
        entries += 1;
        if entries > limits.entries {
            return Err(UnpackError::Entries(limits.entries));
        }
        let shown = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let Some(kind) = kind(entry.header().entry_type(), &shown)? else {
            continue;
        };
        let (path, depth) = path(&entry.path_bytes())?;
        bytes = bytes.saturating_add(entry.size());
        if bytes > limits.bytes {
            return Err(UnpackError::Bytes(limits.bytes));
        }
        let is_folder = matches!(kind, Kind::Folder);
        if depth == 0 && !is_folder {
            return Err(UnpackError::Path(shown));
        }
        for part in path.ancestors().filter(|part| !part.as_os_str().is_empty()) {
            let as_folder = is_folder || part != path;
            let name = part.to_string_lossy().into_owned();
            match seen.get(&name.to_lowercase()) {
                // A folder may be named often, by itself and by what is in it.
                Some((before, true)) if as_folder && *before == name => {}
                Some((before, _)) => return Err(UnpackError::Collision(before.clone(), name)),
                None => {
                    seen.insert(name.to_lowercase(), (name, as_folder));
                }
            }
        }
        // What is announced must be there: an archive that is cut off is noticed before anything of it is used.
        let read = std::io::copy(&mut entry, &mut std::io::sink())?;
        if read != entry.size() {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
    }
    Ok(())
}

/// A path below the folder, and how deep it leads.
fn path(bytes: &[u8]) -> Result<(PathBuf, usize), UnpackError> {
    let refused = || UnpackError::Path(String::from_utf8_lossy(bytes).into_owned());
    let text = std::str::from_utf8(bytes).map_err(|_| refused())?;
    if text.len() > PATH_BYTES_MAX || text.contains(['\0', '\\']) {
        return Err(refused());
    }
    let mut path = PathBuf::new();
    let mut depth = 0;
    for component in Path::new(text).components() {
        match component {
            Component::Normal(name) if name.len() <= NAME_BYTES_MAX => {
                path.push(name);
                depth += 1;
            }
            Component::CurDir => {}
            Component::Normal(_)
            | Component::ParentDir
            | Component::RootDir
            | Component::Prefix(_) => return Err(refused()),
        }
    }
    Ok((path, depth))
}

fn make_folder(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(path)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use tar::{Builder, Header};
    use tempfile::TempDir;

    use super::*;

    /// One entry, written as an attacker would: the names go in as they are.
    fn entry(tar: &mut Builder<Vec<u8>>, path: &str, kind: EntryType, content: &[u8]) {
        let mut header = Header::new_gnu();
        header.as_gnu_mut().expect("it is one").name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        if matches!(kind, EntryType::Symlink | EntryType::Link) {
            header.set_link_name("../../etc/passwd").expect("it fits");
        }
        header.set_cksum();
        tar.append(&header, content).expect("in memory");
    }

    fn archive(entries: &[(&str, EntryType, &[u8])]) -> Cursor<Vec<u8>> {
        let mut tar = Builder::new(Vec::new());
        for (path, kind, content) in entries {
            entry(&mut tar, path, *kind, content);
        }
        Cursor::new(tar.into_inner().expect("in memory"))
    }

    fn refused(entries: &[(&str, EntryType, &[u8])]) -> String {
        let outer = TempDir::new().expect("a folder");
        let folder = outer.path().join("a/b");
        std::fs::create_dir_all(&folder).expect("a folder");
        let limits = UnpackLimits {
            entries: 10,
            bytes: 100,
        };
        let error = unpack(archive(entries), &folder, limits).expect_err("it is refused");
        let left = std::fs::read_dir(&folder).expect("it is there").count();
        assert_eq!(left, 0, "nothing is left of an archive that is refused");
        assert!(!outer.path().join("evil").exists());
        error.to_string()
    }

    #[test]
    fn files_and_folders_are_unpacked() {
        let mut tar = Builder::new(Vec::new());
        entry(&mut tar, "./", EntryType::Directory, b"");
        entry(&mut tar, "./modules/", EntryType::Directory, b"");
        entry(&mut tar, "./modules/a/main.tf", EntryType::Regular, b"one");
        let mut header = Header::new_gnu();
        header.set_mode(0o750);
        header.set_size(3);
        let long = format!("{}/run.sh", "deep/".repeat(40));
        tar.append_data(&mut header, &long, &b"two"[..])
            .expect("in memory");
        let bytes = tar.into_inner().expect("in memory");
        let folder = TempDir::new().expect("a folder");
        unpack(Cursor::new(bytes), folder.path(), UnpackLimits::default()).expect("it is good");
        let read = |path: &str| std::fs::read_to_string(folder.path().join(path)).expect("a file");
        assert_eq!(
            (read("modules/a/main.tf").as_str(), read(&long).as_str()),
            ("one", "two")
        );
        use std::os::unix::fs::PermissionsExt as _;
        let mode = folder
            .path()
            .join(&long)
            .metadata()
            .expect("a file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o111, 0o111);
    }

    #[test]
    fn an_archive_that_leads_out_of_its_folder_is_refused_as_a_whole() {
        const FILE: EntryType = EntryType::Regular;
        for path in ["../evil", "a/../../evil", "/evil", "a\\..\\evil", "."] {
            let error = refused(&[("good", FILE, b"x"), (path, FILE, b"x")]);
            assert!(
                error.contains("not one below its folder"),
                "{path}: {error}"
            );
        }
    }

    #[test]
    fn links_and_devices_are_refused() {
        for (kind, said) in [
            (EntryType::Symlink, "a symbolic link"),
            (EntryType::Link, "a hard link"),
            (EntryType::Char, "a device"),
            (EntryType::Fifo, "a pipe"),
        ] {
            let error = refused(&[("good", EntryType::Regular, b"x"), ("bad", kind, b"")]);
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn what_would_be_one_file_somewhere_is_refused() {
        const FILE: EntryType = EntryType::Regular;
        for (one, other) in [
            ("Main.tf", "main.tf"),
            ("a", "a/b"),
            ("A/x", "a/y"),
            ("a", "a"),
        ] {
            let error = refused(&[(one, FILE, b"x"), (other, FILE, b"x")]);
            assert!(
                error.contains("in each other's way"),
                "{one} {other}: {error}"
            );
        }
    }

    #[test]
    fn an_archive_has_bounds() {
        let many: Vec<String> = (0..11).map(|n| n.to_string()).collect();
        let many: Vec<_> = many
            .iter()
            .map(|name| (name.as_str(), EntryType::Regular, &b""[..]))
            .collect();
        assert!(refused(&many).contains("more than 10"));
        let error = refused(&[
            ("a", EntryType::Regular, &[0; 60]),
            ("b", EntryType::Regular, &[0; 60]),
        ]);
        assert!(error.contains("more than 100 bytes"), "{error}");
    }

    #[test]
    fn an_archive_that_is_cut_off_or_none_at_all_is_refused() {
        let whole = archive(&[("a", EntryType::Regular, &[7; 2000])]).into_inner();
        for bytes in [&whole[..1024], &whole[..700], &[0x42; 4096][..]] {
            let folder = TempDir::new().expect("a folder");
            let error = unpack(
                Cursor::new(bytes.to_vec()),
                folder.path(),
                UnpackLimits::default(),
            );
            assert!(matches!(error, Err(UnpackError::Io(_))), "{error:?}");
            assert_eq!(
                std::fs::read_dir(folder.path())
                    .expect("it is there")
                    .count(),
                0
            );
        }
    }
}
