//! A folder of text, packed to be sent along with a job.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, bail};

/// How many files are sent, at most.
const FILES_MAX: usize = 200;
/// How much all of them hold, at most, in bytes; what is more belongs into a workspace.
const BYTES_MAX: u64 = 200 * 1024;
/// How deep folders may be nested.
const DEPTH_MAX: usize = 20;
/// What terraform and Git keep for themselves, and what would carry secrets along.
const LEFT_OUT: [&str; 3] = [".git", ".terraform", ".terraform.tfstate.lock.info"];

/// The texts of a folder by their paths, without what tools keep for themselves.
pub(super) fn pack(folder: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let mut packed = Packed::default();
    packed
        .add(folder, "", 0)
        .with_context(|| format!("{} cannot be sent", folder.display()))?;
    if packed.files.is_empty() {
        bail!("{} has no files that could be sent", folder.display());
    }
    Ok(packed.files)
}

/// What a folder is called.
pub(super) fn name(folder: &Path) -> anyhow::Result<String> {
    let whole = folder
        .canonicalize()
        .with_context(|| format!("{} is not there", folder.display()))?;
    let name = whole.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned).with_context(|| {
        format!(
            "{} has no name that a state could have: say one with --state",
            whole.display()
        )
    })
}

#[derive(Default)]
struct Packed {
    files: BTreeMap<String, String>,
    bytes: u64,
}

impl Packed {
    fn add(&mut self, folder: &Path, prefix: &str, depth: usize) -> anyhow::Result<()> {
        if depth > DEPTH_MAX {
            bail!("{prefix} is nested deeper than {DEPTH_MAX} folders");
        }
        let entries = std::fs::read_dir(folder)
            .with_context(|| format!("could not read {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                bail!("{} has a name that is no text", entry.path().display());
            };
            if LEFT_OUT.contains(&name.as_str()) || is_state(&name) {
                continue;
            }
            let path = format!("{prefix}{name}");
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.add(&entry.path(), &format!("{path}/"), depth + 1)?;
            } else if kind.is_file() {
                self.add_file(&entry.path(), path, entry.metadata()?.len())?;
            } else {
                bail!("{path} is a link or a device: only files and folders are sent");
            }
        }
        Ok(())
    }

    fn add_file(&mut self, at: &Path, path: String, bytes: u64) -> anyhow::Result<()> {
        self.bytes += bytes;
        if self.bytes > BYTES_MAX || self.files.len() >= FILES_MAX {
            bail!(
                "with {path} ({bytes} bytes) there are more than {BYTES_MAX} bytes or {FILES_MAX} files: keep it in a \
                 repository and start it from a workspace"
            );
        }
        let content = std::fs::read(at).with_context(|| format!("could not read {path}"))?;
        let text = String::from_utf8(content).map_err(|_| {
            anyhow::anyhow!(
                "{path} is no text: keep it in a repository and start it from a workspace"
            )
        })?;
        self.files.insert(path, text);
        Ok(())
    }
}

/// A state on disk: it holds secrets, and the platform keeps states itself.
fn is_state(name: &str) -> bool {
    name.ends_with(".tfstate") || name.contains(".tfstate.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_packed_without_what_tools_keep() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let at = |path: &str| folder.path().join(path);
        std::fs::create_dir_all(at("modules/a"))?;
        std::fs::create_dir_all(at(".terraform/providers"))?;
        for (path, text) in [
            ("main.tf", "one"),
            ("modules/a/x.tf", "two"),
            ("terraform.tfstate", "secret"),
            ("terraform.tfstate.backup", "secret"),
            (".terraform/providers/x", "binary"),
            (".terraform.lock.hcl", "lock"),
        ] {
            std::fs::write(at(path), text)?;
        }
        let packed = pack(folder.path())?;
        let names: Vec<_> = packed.keys().map(String::as_str).collect();
        assert_eq!(names, [".terraform.lock.hcl", "main.tf", "modules/a/x.tf"]);
        Ok(())
    }

    #[test]
    fn what_cannot_be_sent_is_named() -> anyhow::Result<()> {
        for (name, content) in [
            ("big.tf", vec![b'x'; 300 * 1024]),
            ("image.bin", vec![0xff]),
        ] {
            let folder = tempfile::tempdir()?;
            std::fs::write(folder.path().join(name), content)?;
            let error = pack(folder.path()).expect_err(name);
            assert!(format!("{error:#}").contains(name), "{error:#}");
        }
        let folder = tempfile::tempdir()?;
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link.tf"))?;
        let error = pack(folder.path()).expect_err("a link");
        assert!(format!("{error:#}").contains("link.tf"), "{error:#}");
        let empty = tempfile::tempdir()?;
        assert!(pack(empty.path()).is_err());
        Ok(())
    }
}
