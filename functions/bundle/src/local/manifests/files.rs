//! The files that manifests are read from.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use super::Finding;
use super::report::Report;
use super::yaml::{self, Position, Value};

/// The most manifests in one folder.
const FILES_MAX: usize = 500;
/// The namespace where no kustomization sets one.
const NAMESPACE_DEFAULT: &str = "default";

/// Reads the manifests of one folder, sorted by name; what cannot be read is a finding.
pub(super) fn read_folder(
    parent: &Path,
    name: &str,
    files: &mut Vec<(String, String)>,
    findings: &mut Vec<Finding>,
) {
    let folder = parent.join(name);
    // As the reader would type it: a checkout's own files without `./`.
    let shown = folder
        .strip_prefix(".")
        .unwrap_or(&folder)
        .display()
        .to_string();
    let mut refuse = |file: &str, message: String| {
        let place = Report::new(file).place(Position::default());
        findings.push(Finding { place, message });
    };
    let mut names = Vec::new();
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) => {
            return refuse(&shown, format!("the folder cannot be read: {error}"));
        }
    };
    for entry in entries {
        match entry.map(|entry| entry.file_name().into_string()) {
            Ok(Ok(entry)) if entry.ends_with(".yaml") => names.push(entry),
            // It would be passed over in silence, here and by no cluster.
            Ok(Ok(entry)) if entry.ends_with(".yml") || entry.ends_with(".json") => {
                let file = format!("{shown}/{entry}");
                refuse(&file, "only `.yaml` files are read: rename it".to_owned());
            }
            Ok(Ok(_)) => {}
            Ok(Err(entry)) => {
                refuse(
                    &shown,
                    format!("the file name {} is not UTF-8", entry.display()),
                );
            }
            Err(error) => refuse(&shown, format!("the folder cannot be listed: {error}")),
        }
    }
    if names.len() > FILES_MAX {
        refuse(
            &shown,
            format!(
                "{} files are more than the {FILES_MAX} allowed",
                names.len()
            ),
        );
        return;
    }
    names.sort_unstable();
    for entry in names {
        let file = format!("{shown}/{entry}");
        match read_file(&folder.join(&entry)) {
            Ok(text) => files.push((file, text)),
            Err(message) => refuse(&file, message),
        }
    }
}

fn read_file(path: &Path) -> Result<String, String> {
    // Opening a pipe would wait for ever for somebody who writes to it.
    match fs::metadata(path) {
        Ok(found) if found.is_file() => {}
        Ok(_) => return Err("not a file: move it elsewhere".to_owned()),
        Err(error) => return Err(format!("cannot be read: {error}")),
    }
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(yaml::FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > yaml::FILE_BYTES_MAX {
        return Err(format!(
            "larger than the {} bytes allowed",
            yaml::FILE_BYTES_MAX
        ));
    }
    String::from_utf8(bytes).map_err(|error| format!("not UTF-8: {error}"))
}

/// The namespace that the kustomization sets, so that no manifest has to repeat it.
///
/// A kustomization that cannot be read here is reported when it is read as a manifest.
pub(super) fn namespace(files: &[(String, String)]) -> String {
    files
        .iter()
        .filter(|(path, _)| path.ends_with("kustomization.yaml"))
        .find_map(|(_, text)| {
            let documents = yaml::parse(text).ok()?;
            let Value::Map(entries) = &documents.first()?.value else {
                return None;
            };
            let entry = entries.iter().find(|entry| entry.key == "namespace")?;
            match &entry.node.value {
                Value::Text(namespace) => Some(namespace.clone()),
                _ => None,
            }
        })
        .unwrap_or_else(|| NAMESPACE_DEFAULT.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_refused_without_being_opened() -> std::io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("api.yaml");
        let _socket = std::os::unix::net::UnixListener::bind(&path)?;
        assert_eq!(
            read_file(&path),
            Err("not a file: move it elsewhere".to_owned())
        );
        Ok(())
    }
}
