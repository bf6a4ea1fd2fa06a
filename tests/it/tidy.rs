//! Rules of the repository that no compiler and no linter knows.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::outside;

/// Lines of a file without its tests, beyond which a reader has lost the thread.
const LINES_MAX: usize = 600;
/// Files that may be longer, by how much and why.
const LONGER: &[(&str, usize, &str)] = &[];
/// Crates that may hold SQL, and why.
const MAY_HOLD_SQL: &[(&str, &str)] = &[
    ("shared/queue", "every statement on jobs"),
    ("shared/store", "every other statement"),
    ("shared/database", "begins and ends transactions, migrates"),
    (
        "shared/embedded-postgres",
        "makes the database and its logins",
    ),
    ("shared/testkit", "makes a database for each test"),
    ("shared/webhook-testkit", "looks at what a function stored"),
];
/// Crates in which the names of a job's states may be read as text: where they become types.
const MAY_COMPARE_STATES: &[&str] = &["shared/model", "shared/queue", "shared/store"];
/// Without `cancelled` and `superseded`, which are also what happened to a job.
const STATES: [&str; 6] = [
    "queued",
    "running",
    "waiting",
    "cancelling",
    "succeeded",
    "dead",
];

/// A Rust file of the workspace.
struct Source {
    /// Its path from the root of the checkout.
    path: String,
    /// Its lines before its tests; none when it is a test as a whole.
    code: String,
}

/// The Rust files of `functions/` and `shared/`, without what is only compiled for tests.
fn sources() -> Vec<Source> {
    let root = outside::root();
    let mut files = Vec::new();
    for folder in ["functions", "shared"] {
        walk(&root.join(folder), &mut files);
    }
    let mut texts: Vec<(PathBuf, String)> = Vec::new();
    for path in files {
        if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source file is text");
            texts.push((path, text));
        }
    }
    let tests: Vec<PathBuf> = texts
        .iter()
        .flat_map(|(path, text)| test_modules(path, text))
        .collect();
    let sources: Vec<Source> = texts
        .into_iter()
        .filter(|(path, _)| {
            !tests
                .iter()
                .any(|test| path.starts_with(test) || *path == test.with_extension("rs"))
                && !relative(path).contains("/tests/")
        })
        .map(|(path, text)| Source {
            path: relative(&path),
            code: text
                .split("#[cfg(test)]\nmod tests {")
                .next()
                .unwrap_or_default()
                .to_owned(),
        })
        .collect();
    assert!(sources.len() > 80, "the sources are somewhere else now");
    sources
}

/// The modules that a file declares for tests alone: where they are, without `.rs`.
fn test_modules(path: &Path, text: &str) -> Vec<PathBuf> {
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    let folder = match stem {
        Some("lib" | "main" | "mod") => path.with_file_name(""),
        _ => path.with_extension(""),
    };
    let lines: Vec<&str> = text.lines().collect();
    lines
        .windows(2)
        .filter(|pair| pair[0].starts_with("#[cfg(") && pair[0].contains("test"))
        .filter_map(|pair| pair[1].strip_suffix(';')?.rsplit_once("mod "))
        .map(|(_, name)| folder.join(name))
        .collect()
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .expect("the folder can be listed")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            walk(&path, files);
        } else {
            files.push(path);
        }
    }
}

fn relative(path: &Path) -> String {
    let root = outside::root();
    let path = path
        .strip_prefix(&root)
        .expect("it was found under the root");
    path.to_str().expect("our paths are text").to_owned()
}

fn assert_none(rule: &str, found: &[String]) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

/// What cargo knows of the workspace's packages.
fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
        .current_dir(outside::root())
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    metadata["packages"]
        .as_array()
        .expect("cargo lists packages")
        .clone()
}

/// Where a package of ours is, from the root of the checkout.
fn place(manifest: &str) -> String {
    let root = outside::root()
        .canonicalize()
        .expect("the checkout is there");
    let folder = Path::new(manifest)
        .parent()
        .expect("a manifest is in a folder");
    let folder = folder.strip_prefix(root).expect("it is in the checkout");
    folder.to_str().expect("our paths are text").to_owned()
}

#[test]
fn no_function_depends_on_another_and_only_the_bundle_on_functions() {
    let mut found = Vec::new();
    let packages = packages();
    assert!(packages.len() > 20, "cargo lists too few packages");
    for package in &packages {
        let name = package["name"].as_str().expect("a package has a name");
        let dependencies = package["dependencies"].as_array().expect("a list");
        for dependency in dependencies {
            let Some(path) = dependency["path"].as_str() else {
                continue;
            };
            let path = place(&format!("{path}/Cargo.toml"));
            // What only a function's tests use is not shipped with it.
            let is_function = path.starts_with("functions/") && dependency["kind"] != "dev";
            // Faults are tried with a few of them, in a program of their own, and vendors with what others recorded.
            let may = ["bundle", "chaos", "vendors"].contains(&name)
                || (name == "tests" && path == "functions/bundle");
            if is_function && !may {
                found.push(format!("{name} depends on {path}"));
            }
        }
    }
    assert_none("functions share nothing but Ctx", &found);
}

#[test]
fn every_crate_takes_lints_and_versions_from_the_workspace() {
    let mut found = Vec::new();
    for package in packages() {
        let folder = place(package["manifest_path"].as_str().expect("a path"));
        let text = fs::read_to_string(outside::root().join(&folder).join("Cargo.toml"))
            .expect("cargo has read it");
        if !text.contains("[lints]\nworkspace = true\n") {
            found.push(format!("{folder} does not take the workspace's lints"));
        }
        let mut table = "";
        for line in text.lines() {
            if line.starts_with('[') {
                table = line;
                continue;
            }
            let inherited = match table {
                "[package]" => line.starts_with("name = ") || line.ends_with(".workspace = true"),
                "[dependencies]" | "[dev-dependencies]" | "[build-dependencies]" => {
                    line.ends_with(".workspace = true")
                        || line.contains("{ workspace = true")
                        // What a test adds is a crate of the test's own.
                        || (folder == "tests" && line.contains(".path = \"fixtures/"))
                }
                _ => true,
            };
            if !inherited && !line.is_empty() && !line.starts_with('#') {
                found.push(format!("{folder}/Cargo.toml says {line:?} by itself"));
            }
        }
    }
    assert_none("versions and features stand once, in the workspace", &found);
}

#[test]
fn sql_is_in_the_crates_that_are_for_it() {
    let found: Vec<String> = sources()
        .iter()
        .filter(|source| {
            source.code.contains("sqlx::query") || source.code.contains("sqlx::raw_sql")
        })
        .filter(|source| {
            !MAY_HOLD_SQL
                .iter()
                .any(|(folder, _)| source.path.starts_with(folder))
        })
        .map(|source| source.path.clone())
        .collect();
    assert_none("SQL is only in shared/queue and shared/store", &found);
}

#[test]
fn states_are_compared_as_types() {
    let mut found = Vec::new();
    for source in sources() {
        if MAY_COMPARE_STATES
            .iter()
            .any(|folder| source.path.starts_with(folder))
        {
            continue;
        }
        for (number, line) in source.code.lines().enumerate() {
            for state in STATES {
                let compared = [
                    format!("== \"{state}\""),
                    format!("!= \"{state}\""),
                    format!("\"{state}\" =>"),
                    format!("\"{state}\" |"),
                    format!("| \"{state}\""),
                    format!("\"{state}\") =>"),
                ];
                if compared.iter().any(|text| line.contains(text.as_str())) {
                    found.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
                }
            }
        }
    }
    assert_none("states become types at the border", &found);
}

#[test]
fn files_are_no_longer_than_a_reader_can_follow() {
    let mut found = Vec::new();
    for source in sources() {
        let lines = source.code.lines().count();
        let most = LONGER
            .iter()
            .find(|(path, _, _)| *path == source.path)
            .map_or(LINES_MAX, |(_, most, _)| *most);
        if lines > most {
            found.push(format!(
                "{}: {lines} lines, {most} are the most",
                source.path
            ));
        }
    }
    for (path, _, _) in LONGER {
        let lines = fs::read_to_string(outside::root().join(path))
            .map(|text| text.lines().count())
            .unwrap_or_default();
        if lines <= LINES_MAX {
            found.push(format!("{path} needs no exception any more"));
        }
    }
    assert_none("a file is one thought", &found);
}

#[test]
fn migrations_are_named_by_time_and_deed_and_say_why() {
    let mut found = Vec::new();
    let mut files = Vec::new();
    walk(&outside::root().join("migrations"), &mut files);
    let mut versions = BTreeSet::new();
    for path in files {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name");
        if name == "README.md" {
            continue;
        }
        let deed = name
            .strip_suffix(".sql")
            .and_then(|name| name.split_once('_'));
        let good = deed.is_some_and(|(version, deed)| {
            let time = version.len() == 14 && version.bytes().all(|byte| byte.is_ascii_digit());
            let words = deed
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
            let verbs = [
                "create_", "add_", "change_", "decide_", "drop_", "fire_", "follow_", "forget_",
                "grant_", "keep_", "move_", "rename_", "replay_", "rule_", "stop_", "store_",
                "take_", "widen_",
            ];
            time && words && verbs.iter().any(|verb| deed.starts_with(verb))
        });
        if !good {
            found.push(format!("{name} is not <yyyymmddhhmmss>_<verb>_<what>.sql"));
        }
        if let Some((version, _)) = deed
            && !versions.insert(version.to_owned())
        {
            found.push(format!("{name} has the version of another"));
        }
        let text = fs::read_to_string(&path).expect("a migration is text");
        if !text.starts_with("-- ") {
            found.push(format!("{name} does not begin by saying why"));
        }
    }
    assert!(versions.len() > 5, "the migrations are somewhere else now");
    assert_none("migrations go forward, one idea each", &found);
}

#[test]
fn readme_and_architecture_name_what_is_there() {
    let mut found = Vec::new();
    let mut named = 0;
    for page in ["README.md", "ARCHITECTURE.md"] {
        let text = fs::read_to_string(outside::root().join(page)).expect("the page is there");
        for word in text.split('`').skip(1).step_by(2) {
            let top = word.split('/').next().unwrap_or_default();
            let ours = word.contains('/')
                && !word.contains(char::is_whitespace)
                && [
                    "functions",
                    "shared",
                    "tests",
                    "knative",
                    "triggers",
                    "migrations",
                    "bench",
                ]
                .contains(&top);
            if !ours || word.contains("task-x") {
                continue;
            }
            named += 1;
            if !is_there(word) {
                found.push(format!("{page} names {word}"));
            }
        }
    }
    assert!(named > 20, "only {named} paths were found");
    assert_none("what a page names is there", &found);
}

/// Whether a path is there, as it is, as a module, or, where it has a star, with something in its place.
fn is_there(path: &str) -> bool {
    let full = outside::root().join(path);
    if let Some((before, after)) = path.split_once('*') {
        let folder = outside::root().join(before);
        let folder = if before.ends_with('/') {
            folder
        } else {
            folder.with_file_name("")
        };
        return fs::read_dir(folder).is_ok_and(|entries| {
            entries.flatten().any(|entry| {
                let after = after.split('/').next().unwrap_or_default();
                entry.file_name().to_string_lossy().ends_with(after)
            })
        });
    }
    full.exists() || full.with_extension("rs").exists()
}
