//! Files that come with a payload.

use std::collections::{BTreeMap, BTreeSet};

use crate::Refused;
use crate::environment::shown;

/// Files by path.
pub type Files = BTreeMap<String, String>;

/// Files of one payload.
const FILES_MAX: usize = 200;
/// All of them together, in bytes: what a job's payload may be, and the rest of it.
const BYTES_MAX: usize = 200 * 1024;
const PATH_BYTES_MAX: usize = 200;

/// Refuses paths that lead elsewhere or cannot be told apart everywhere, and too much of it all.
pub fn check_files(field: &str, files: &Files, refused: &mut Refused) {
    if files.len() > FILES_MAX {
        refused.add(
            field,
            format!(
                "there are {} files, and {FILES_MAX} are the most",
                files.len()
            ),
        );
        return;
    }
    let bytes: usize = files
        .iter()
        .map(|(path, text)| path.len() + text.len())
        .sum();
    if bytes > BYTES_MAX {
        refused.add(
            field,
            format!(
                "they have {bytes} bytes, and {BYTES_MAX} are the most: put them into a workspace"
            ),
        );
    }
    let mut lower = BTreeSet::new();
    for path in files.keys() {
        let place = format!("{field}.{}", shown(path));
        if let Err(problem) = check_path(path) {
            refused.add(place, problem);
        } else if !lower.insert(path.to_lowercase()) {
            refused.add(place, "another file has the same name but for its case");
        } else if parents(path).any(|folder| files.contains_key(folder)) {
            refused.add(place, "a file is not a folder as well");
        }
    }
}

/// Refuses a folder that leads elsewhere; an empty one is the whole.
pub fn check_folder(field: &str, folder: &str, refused: &mut Refused) {
    if !folder.is_empty()
        && let Err(problem) = check_path(folder)
    {
        refused.add(field, problem);
    }
}

fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

fn check_path(path: &str) -> Result<(), &'static str> {
    if path.is_empty() || path.len() > PATH_BYTES_MAX {
        return Err("a path has 1 to 200 bytes");
    }
    if path.contains(['\\', ':']) || path.chars().any(char::is_control) {
        return Err("a path has no backslash, colon or control character");
    }
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(
            "a path stays below its folder: no /, . or .. at its start or between two slashes",
        );
    }
    if path
        .split('/')
        .any(|part| part.eq_ignore_ascii_case(".git") || part.eq_ignore_ascii_case(".terraform"))
    {
        return Err(".git and .terraform are the tools' own");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(paths: &[&str]) -> usize {
        let files = paths
            .iter()
            .map(|path| ((*path).to_owned(), String::new()))
            .collect();
        let mut refused = Refused::default();
        check_files("files", &files, &mut refused);
        refused.0.len()
    }

    #[test]
    fn paths_stay_below_their_folder_and_are_told_apart() {
        for path in [
            "../x",
            "/etc/passwd",
            "a/../../b",
            "a//b",
            "./a",
            "a/.",
            "C:\\x",
            "a\\b",
            "a\nb",
            "",
            ".git/config",
            "modules/.terraform/x",
            "a/",
        ] {
            assert_eq!(problems(&[path]), 1, "{path:?}");
        }
        assert_eq!(problems(&["main.tf", "MAIN.tf"]), 1);
        assert_eq!(problems(&["a", "a/b"]), 1);
        assert_eq!(
            problems(&["main.tf", "modules/net/main.tf", ".terraform.lock.hcl"]),
            0
        );
    }
}
