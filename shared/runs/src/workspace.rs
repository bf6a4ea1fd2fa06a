//! A place in a workspace: what runs of several kinds are made of.

use serde_json::{Map, Value, json};

use crate::{Refused, check_folder};

/// The longest name of a workspace, in characters.
const NAME_CHARS_MAX: usize = 100;
/// The longest name of a branch, in bytes.
const BRANCH_BYTES_MAX: usize = 200;

/// A place in a workspace, as a source says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InWorkspace<'a> {
    /// The workspace, by its name or its id.
    pub workspace: &'a str,
    /// A folder below the workspace's; empty for that itself.
    pub folder: &'a str,
    /// This commit.
    pub commit: Option<&'a str>,
    /// What this branch has when the job starts; unless said, the workspace's.
    pub branch: Option<&'a str>,
}

impl InWorkspace<'_> {
    /// Refuses what cannot be right.
    pub(crate) fn check(&self, field: &str, refused: &mut Refused) {
        if self.workspace.is_empty()
            || self.workspace.chars().count() > NAME_CHARS_MAX
            || self.workspace.chars().any(char::is_control)
        {
            refused.add(
                format!("{field}.workspace"),
                "it is a workspace's name or id",
            );
        }
        check_folder(&format!("{field}.folder"), self.folder, refused);
        if self.commit.is_some() && self.branch.is_some() {
            refused.add(field, "say commit or branch, not both");
        }
        if let Some(commit) = self.commit
            && !(matches!(commit.len(), 40 | 64) && commit.chars().all(|c| c.is_ascii_hexdigit()))
        {
            refused.add(
                format!("{field}.commit"),
                "it is a whole id: 40 or 64 hexadecimal digits",
            );
        }
        if let Some(branch) = self.branch
            && !is_branch(branch)
        {
            refused.add(format!("{field}.branch"), "it is not the name of a branch");
        }
    }
}

/// As Git has it, as far as it matters before Git is asked.
fn is_branch(name: &str) -> bool {
    let odd = |c: char| {
        c.is_control() || c.is_whitespace() || matches!(c, '~' | '^' | ':' | '?' | '*' | '[' | '\\')
    };
    !name.is_empty()
        && name.len() <= BRANCH_BYTES_MAX
        && !name.starts_with(['-', '/', '.'])
        && !name.ends_with(['/', '.'])
        && !name.contains("..")
        && !name.contains("@{")
        && !name.contains("//")
        && !name.chars().any(odd)
}

/// The fields of such a place, as JSON Schema.
pub(crate) fn properties() -> Map<String, Value> {
    let properties = json!({
        "workspace": {
            "title": "Workspace", "description": "Its name or its id.", "type": "string", "minLength": 1,
            "maxLength": NAME_CHARS_MAX,
        },
        "folder": {
            "title": "Folder", "description": "Below the workspace's.", "type": "string", "maxLength": 200,
        },
        "commit": {
            "title": "Commit", "description": "A whole id.", "type": "string",
            "pattern": "^([0-9a-fA-F]{40}|[0-9a-fA-F]{64})$",
        },
        "branch": {
            "title": "Branch", "description": "Unless said, the workspace's.", "type": "string",
            "maxLength": BRANCH_BYTES_MAX,
        },
    });
    match properties {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
