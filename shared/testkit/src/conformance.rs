use std::path::{Path, PathBuf};

/// Data of third parties that lies beside the repository, never in it.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/conformance");

/// A file or folder of the third parties' conformance data, or `None`, and a line that says so, when this machine has
/// no such data: the caller then passes without testing.
///
/// # Panics
/// When the data is missing and `CI=true`, where a skipped test is a failure; and when the data is there but `path` is
/// not, which is a mistake in the test.
#[expect(
    clippy::disallowed_methods,
    reason = "a test has no Env, and CI is told to tests"
)]
pub fn conformance(path: &str) -> Option<PathBuf> {
    let in_ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
    find(Path::new(FOLDER), path, in_ci)
}

#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
fn find(folder: &Path, path: &str, in_ci: bool) -> Option<PathBuf> {
    let found = folder.join(path);
    if found.exists() {
        return Some(found);
    }
    assert!(!folder.exists(), "the conformance data has no {path}");
    assert!(
        !in_ci,
        "{} is missing, and nothing may be skipped where CI=true",
        folder.display()
    );
    eprintln!("skipped: {path} of the conformance data is not on this machine");
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_that_is_there_is_found() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert_eq!(find(folder, "src", true), Some(folder.join("src")));
    }

    #[test]
    fn missing_data_is_skipped() {
        assert_eq!(find(Path::new("/nowhere"), "webhooks", false), None);
    }

    #[test]
    #[should_panic(expected = "nothing may be skipped")]
    fn missing_data_is_a_failure_in_ci() {
        find(Path::new("/nowhere"), "webhooks", true);
    }

    #[test]
    #[should_panic(expected = "has no webhoks")]
    fn a_wrong_path_is_never_skipped() {
        find(Path::new(env!("CARGO_MANIFEST_DIR")), "webhoks", false);
    }
}
