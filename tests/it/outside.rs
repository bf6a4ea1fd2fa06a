//! What tests use that is not part of the checkout.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Published data that others wrote, beside the checkout; `None`, after saying so, without it.
pub(crate) fn conformance(path: &str) -> Option<PathBuf> {
    let path = root().join("../shared/conformance").join(path);
    if path.exists() {
        return Some(path);
    }
    skipped(&format!("there is no {}", path.display()));
    None
}

/// Whether there is a terraform; says so where there is none.
pub(crate) fn terraform_is_there() -> bool {
    let asked = Command::new("terraform").arg("version").output();
    let there = asked.is_ok_and(|output| output.status.success());
    if !there {
        skipped("terraform is not on the PATH");
    }
    there
}

/// Says that a test was not run, which in continuous integration is a failure.
pub(crate) fn skipped(why: &str) {
    assert!(
        host::Env::of_process().get("CI") != Some("true"),
        "skipped although CI=true: {why}"
    );
    #[expect(
        clippy::print_stdout,
        reason = "a test that did not run must not look like one that did"
    )]
    {
        println!("skipped: {why}");
    }
}
