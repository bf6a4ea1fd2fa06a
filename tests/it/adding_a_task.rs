//! What it takes to add a task: done with a fixture on a copy of the checkout, held to what ARCHITECTURE says.

use std::fs;
use std::path::Path;

use axum::body::Body;
use host::{Env, Resources};
use http::{Request, StatusCode};
use model::{Role, TaskPolicy};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::manifests::parity::{self, Listed};
use crate::{outside, registration};

/// The files of the fixture and where they go.
const NEW_FILES: [(&str, &str); 5] = [
    ("Cargo.toml", "functions/task-hello/Cargo.toml"),
    ("src/main.rs", "functions/task-hello/src/main.rs"),
    ("src/lib.rs", "functions/task-hello/src/lib.rs"),
    ("knative/task-hello.yaml", "knative/task-hello.yaml"),
    ("triggers/task-hello.yaml", "triggers/task-hello.yaml"),
];
/// The files that name each function. What they say of `task-static` is said of the new task as well.
const LISTS: [&str; 7] = [
    "Cargo.toml",
    "functions/bundle/Cargo.toml",
    "functions/bundle/src/functions.rs",
    "functions/bundle/src/local/manifests/embedded.rs",
    "knative/accounts.yaml",
    "knative/kustomization.yaml",
    "triggers/kustomization.yaml",
];

/// A copy of all that a new task has to do with.
struct Checkout(tempfile::TempDir);

impl Checkout {
    fn new() -> Self {
        let copy = tempfile::tempdir().expect("a folder");
        let root = outside::root();
        for folder in ["knative", "triggers", "functions"] {
            copy_folder(&root.join(folder), &copy.path().join(folder));
        }
        fs::copy(root.join("Cargo.toml"), copy.path().join("Cargo.toml")).expect("a copy");
        Self(copy)
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.0.path().join(path))
            .unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }

    /// Everything in which the copy does not fit together.
    fn findings(&self) -> Vec<String> {
        let mut findings = registration::findings(self.0.path());
        let list = registration::listed(&self.text("functions/bundle/src/functions.rs"));
        let mut functions = parity::listed();
        functions.push(Listed::of(&task_hello::FUNCTION));
        functions.retain(|listed| list.iter().any(|name| *name == listed.name));
        findings.extend(parity::findings(&functions, self.0.path()));
        findings
    }

    /// Adds the task, and says what was added: a file's path and the number of lines.
    fn add_task(&self) -> Vec<(String, usize)> {
        let mut added = Vec::new();
        for (from, to) in NEW_FILES {
            let text = fs::read_to_string(fixture().join(from)).expect("a fixture");
            self.write(to, &text);
            added.push((to.to_owned(), text.lines().count()));
        }
        for path in LISTS {
            let lines = new_lines(&self.text(path));
            let (text, count) = with_lines(&self.text(path), &lines);
            self.write(path, &text);
            added.push((path.to_owned(), count));
        }
        added
    }
}

fn fixture() -> std::path::PathBuf {
    outside::root().join("tests/fixtures/task-hello")
}

/// Only what is read: a crate's sources would be many.
fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder of the checkout") {
        let path = entry.expect("an entry").path();
        let to = to.join(path.file_name().expect("a name"));
        let read = [
            "Cargo.toml",
            "lib.rs",
            "main.rs",
            "functions.rs",
            "embedded.rs",
        ];
        if path.is_dir() {
            copy_folder(&path, &to);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
            || read.iter().any(|name| path.ends_with(name))
        {
            fs::copy(&path, &to).expect("a copy");
        }
    }
}

/// The pieces of a list that speak of `task-static`, each with what it becomes for the new task.
fn new_lines(text: &str) -> Vec<(String, String)> {
    let said = |line: &&str| line.contains("task-static") || line.contains("task_static");
    let pieces: Vec<String> = if text.contains("kind: List") {
        // An account is a few lines, from one dash to the next.
        let mut accounts: Vec<String> = Vec::new();
        for line in text.split_inclusive('\n') {
            if line.starts_with("  - ") {
                accounts.push(String::new());
            }
            if let Some(account) = accounts.last_mut() {
                account.push_str(line);
            }
        }
        accounts.retain(|account| said(&account.lines().nth(3).unwrap_or_default()));
        accounts
    } else {
        let mut table = "";
        text.split_inclusive('\n')
            .filter(|line| {
                if line.starts_with('[') {
                    table = line;
                }
                said(line) && !line.trim_start().starts_with('#') && !table.starts_with("[profile")
            })
            .map(str::to_owned)
            .collect()
    };
    pieces
        .into_iter()
        .map(|piece| {
            let new = piece
                .replace("task-static", "task-hello")
                .replace("task_static", "task_hello");
            (piece, new)
        })
        .collect()
}

/// Who comes after the new task in the alphabet.
const NEXT: [(&str, &str); 2] = [("task-static", "task-http"), ("task_static", "task_http")];

/// A text with each new piece before the one of who comes next, and how many lines that added.
fn with_lines(text: &str, pieces: &[(String, String)]) -> (String, usize) {
    let mut text = text.to_owned();
    let mut count = 0;
    for (old, new) in pieces {
        let next = NEXT
            .iter()
            .fold(old.clone(), |piece, (one, other)| piece.replace(one, other));
        assert!(text.contains(&next), "{next:?} is said of no other task");
        text = text.replacen(&next, &format!("{new}{next}"), 1);
        count += new.lines().count();
    }
    (text, count)
}

#[test]
fn a_new_task_fits_and_each_piece_of_it_is_needed() {
    let copy = Checkout::new();
    assert_eq!(copy.findings(), [""; 0], "before anything was added");
    let before: Vec<String> = LISTS.map(|path| copy.text(path)).into();
    copy.add_task();
    assert_eq!(copy.findings(), [""; 0], "with the task");

    for (_, path) in NEW_FILES {
        let text = copy.text(path);
        fs::remove_file(copy.0.path().join(path)).expect("it was written");
        assert_ne!(copy.findings(), [""; 0], "without {path}");
        copy.write(path, &text);
    }
    for (path, before) in LISTS.iter().zip(&before) {
        let with = copy.text(path);
        for (_, new) in new_lines(before) {
            copy.write(path, &with.replacen(&new, "", 1));
            assert_ne!(copy.findings(), [""; 0], "{path} without {new:?}");
        }
        copy.write(path, &with);
    }
    assert_eq!(copy.findings(), [""; 0], "the copy is whole again");
}

#[test]
fn adding_a_task_takes_the_files_and_lines_that_the_page_says() {
    let copy = Checkout::new();
    let added = copy.add_task();
    let page = fs::read_to_string(outside::root().join("ARCHITECTURE.md")).expect("the page");
    let section = page
        .split("A **task** named `task-x`")
        .nth(1)
        .and_then(|rest| rest.split("A **webhook vendor**").next())
        .expect("the page says how to add a task");
    let said: Vec<(String, usize)> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .map(|(path, rest)| {
            let lines = rest.split(' ').next().and_then(|count| count.parse().ok());
            (
                path.replace("task-x", "task-hello"),
                lines.unwrap_or_else(|| panic!("{path}: no number of lines in {rest:?}")),
            )
        })
        .collect();
    assert_eq!(said, added);

    let new_files = NEW_FILES.len();
    let lines: usize = added.iter().map(|(_, lines)| lines).sum();
    let lists: usize = added[new_files..].iter().map(|(_, lines)| lines).sum();
    let sentence = format!(
        "takes {new_files} new files and {lists} lines in {} lists, {lines} lines in all",
        LISTS.len()
    );
    let flat = section.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        flat.contains(&sentence),
        "the page does not say {sentence:?}"
    );
}

#[tokio::test]
async fn the_new_task_works() {
    let db = testkit::database().await;
    let pool = db.pool(None).await;
    let mut owner = pool.acquire().await.expect("a connection");
    let (tenant, _) = store::people::ensure_member(&mut owner, "acme", "Ann", Role::Admin)
        .await
        .expect("a tenant");
    let name = task_hello::FUNCTION.name;
    queue::know_task(&mut owner, name, &TaskPolicy::DEFAULT)
        .await
        .expect("a task");
    let payload = json!({"name": "Ann"});
    let job = queue::enqueue(&mut owner, &queue::NewJob::new(tenant, name, &payload))
        .await
        .expect("a job")
        .job();

    let env = Env::default().with("DATABASE_URL", db.owner_url());
    let resources = Resources::new().expect("an HTTP client");
    let mounted = task_hello::FUNCTION
        .mount(&env, &resources)
        .expect("good settings");
    let wakeup = Request::post("/")
        .header("ce-specversion", "1.0")
        .header("ce-id", "1")
        .header("ce-source", "/test")
        .header("ce-type", "dev.switchyard.job.queued.v1")
        .header("content-type", "application/json")
        .body(Body::from(json!({"task": name}).to_string()))
        .expect("a request");
    let answer = mounted.router.oneshot(wakeup).await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::ACCEPTED);

    let (state, result): (String, Value) =
        sqlx::query_as("select state::text, result from switchyard.jobs_archive where id = $1")
            .bind(job.0)
            .fetch_one(&pool)
            .await
            .expect("the job has ended");
    assert_eq!(
        (state.as_str(), result),
        ("succeeded", json!("Hello, Ann!"))
    );
    let line: String = sqlx::query_scalar("select line from switchyard.job_logs where job_id = $1")
        .bind(job.0)
        .fetch_one(&pool)
        .await
        .expect("it has said something");
    assert_eq!(line, "Hello, Ann!");
}
