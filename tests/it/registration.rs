//! The places that name each function: whatever is missing in one of them is told.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::outside;

/// Everything that is missing or out of order in a checkout, besides what manifests must say of their function.
pub(crate) fn findings(root: &Path) -> Vec<String> {
    let mut findings = Vec::new();
    let functions = folders(&root.join("functions"));
    let functions: Vec<&str> = functions
        .iter()
        .map(String::as_str)
        .filter(|name| *name != "bundle")
        .collect();
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();

    for name in &functions {
        let manifest = read(&format!("functions/{name}/Cargo.toml"));
        if !manifest.starts_with(&format!("[package]\nname = \"{name}\"\n")) {
            findings.push(format!(
                "functions/{name}/Cargo.toml is missing or names another"
            ));
        }
        let main = read(&format!("functions/{name}/src/main.rs"));
        if !is_plain_main(name, &main) {
            findings.push(format!(
                "functions/{name}/src/main.rs is missing or not the usual five lines"
            ));
        }
        if !read(&format!("functions/{name}/src/lib.rs")).contains("pub const FUNCTION: Function") {
            findings.push(format!(
                "functions/{name}/src/lib.rs is missing or has no FUNCTION"
            ));
        }
    }

    let list = read("functions/bundle/src/functions.rs");
    compare(
        "functions/bundle/src/functions.rs",
        &functions,
        listed(&list).iter().map(String::as_str),
        &mut findings,
    );
    let bundle = read("functions/bundle/Cargo.toml");
    let depends = |line: &&str| {
        functions
            .iter()
            .any(|name| *line == format!("{name}.workspace = true"))
    };
    compare(
        "functions/bundle/Cargo.toml",
        &functions,
        bundle
            .lines()
            .filter(depends)
            .filter_map(|line| line.split('.').next()),
        &mut findings,
    );
    let workspace = read("Cargo.toml");
    compare(
        "Cargo.toml",
        &functions,
        workspace
            .lines()
            .filter_map(|line| line.split_once(".path = \"functions/"))
            .map(|(name, _)| name)
            .filter(|name| *name != "bundle"),
        &mut findings,
    );

    let mut manifests = Vec::new();
    for folder in ["knative", "triggers"] {
        let names = files(&root.join(folder));
        manifests.extend(names.iter().map(|name| format!("{folder}/{name}")));
    }
    let embedded = read("functions/bundle/src/local/manifests/embedded.rs");
    compare(
        "functions/bundle/src/local/manifests/embedded.rs",
        &manifests.iter().map(String::as_str).collect::<Vec<_>>(),
        embedded
            .lines()
            .filter_map(|line| line.trim().strip_prefix('"')?.strip_suffix("\",")),
        &mut findings,
    );
    findings
}

/// The names in the list of functions.
pub(crate) fn listed(list: &str) -> Vec<String> {
    list.lines()
        .filter_map(|line| line.trim().strip_suffix("::FUNCTION,"))
        .map(|name| name.replace('_', "-"))
        .collect()
}

/// Says what is missing in a place, what is there for nothing, and whether it is out of order.
fn compare<'a>(
    place: &str,
    wanted: &[&str],
    there: impl Iterator<Item = &'a str>,
    findings: &mut Vec<String>,
) {
    let there: Vec<&str> = there.collect();
    if !there.is_sorted() {
        findings.push(format!("{place} is not in order"));
    }
    let wanted: BTreeSet<&str> = wanted.iter().copied().collect();
    let there: BTreeSet<&str> = there.into_iter().collect();
    let missing = wanted.difference(&there);
    findings.extend(missing.map(|name| format!("{place} does not name {name}")));
    let extra = there.difference(&wanted);
    findings.extend(extra.map(|name| format!("{place} names {name}, which is not there")));
}

/// `functions/*/src/main.rs` does nothing but hand its function to the host.
fn is_plain_main(name: &str, text: &str) -> bool {
    let krate = name.replace('-', "_");
    ["for Knative or AWS Lambda", "for Knative"].iter().any(|what| {
        text == format!(
            "//! `{name}` as a process of its own, {what}.\n\nfn main() -> std::process::ExitCode {{\n    \
             host::main({krate}::FUNCTION)\n}}\n"
        )
    })
}

fn folders(folder: &Path) -> Vec<String> {
    names(folder, Path::is_dir)
}

fn files(folder: &Path) -> Vec<String> {
    names(folder, Path::is_file)
}

fn names(folder: &Path, wanted: impl Fn(&Path) -> bool) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder can be listed");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut names: Vec<String> = paths
        .filter(|path| wanted(path))
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    names
}

#[test]
fn every_function_is_named_wherever_it_must_be() {
    assert_eq!(findings(&outside::root()), [""; 0]);
}
