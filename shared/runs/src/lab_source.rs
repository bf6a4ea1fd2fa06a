//! Where a lab comes from.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::workspace::{InWorkspace, properties};
use crate::{Files, Refused, check_files, check_folder};

/// The longest name of a lab, in bytes.
const NAME_BYTES_MAX: usize = 32;

/// Where a lab's files come from: one of these.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LabSource {
    /// The files themselves, by path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<Files>,
    /// An archive that a run left, such as `netlab.tar` of a `netlab create`; or one that somebody uploaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Uuid>,
    /// A workspace, by its name or its id: all files of the folder are the lab's. One with a folder for each lab is a repository of
    /// blueprints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// A folder below the workspace's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub folder: String,
    /// This commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// What this branch has when the job starts; unless said, the workspace's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The path of the topology among them; the task's own habit unless it is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topology: Option<String>,
}

impl LabSource {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it says where files come from, and not only what the topology is called.
    #[must_use]
    pub fn has_files(&self) -> bool {
        self.files.is_some() || self.artifact.is_some() || self.workspace.is_some()
    }

    /// Refuses what cannot be right.
    pub(crate) fn check(&self, topology: &str, refused: &mut Refused) {
        let topology = self.topology.as_deref().unwrap_or(topology);
        check_folder("source.topology", topology, refused);
        let kinds = [
            self.files.is_some(),
            self.artifact.is_some(),
            self.workspace.is_some(),
        ];
        if kinds.into_iter().filter(|said| *said).count() != 1 {
            refused.add("source", "say one of files, artifact and workspace");
            return;
        }
        if let Some(place) = self.place() {
            place.check("source", refused);
        } else if !self.folder.is_empty() || self.commit.is_some() || self.branch.is_some() {
            refused.add("source", "folder, commit and branch are for a workspace");
        }
        if let Some(files) = &self.files {
            check_files("source.files", files, refused);
            if !files.contains_key(topology) {
                refused.add(
                    "source.files",
                    format!("none of them is {topology}, the topology"),
                );
            }
        }
    }

    /// The same of a lab that lies on its host already: of it only what the topology is called can be said.
    pub(crate) fn check_on_host(&self, topology: &str, refused: &mut Refused) {
        let topology = self.topology.as_deref().unwrap_or(topology);
        check_folder("source.topology", topology, refused);
        if !self.folder.is_empty() || self.commit.is_some() || self.branch.is_some() {
            refused.add("source", "folder, commit and branch are for a workspace");
        }
    }

    /// The place in a workspace, where it is one.
    #[must_use]
    pub fn place(&self) -> Option<InWorkspace<'_>> {
        Some(InWorkspace {
            workspace: self.workspace.as_deref()?,
            folder: &self.folder,
            commit: self.commit.as_deref(),
            branch: self.branch.as_deref(),
        })
    }

    pub(crate) fn schema(topology: &str) -> Value {
        let mut places = properties();
        let more = [
            (
                "files",
                json!({
                    "title": "Files",
                    "description": format!("Text by path; {topology} is the topology."),
                    "type": "object",
                    "additionalProperties": { "type": "string" },
                }),
            ),
            (
                "artifact",
                json!({
                    "title": "Artifact",
                    "description": "The id of a tar archive that a run left, or that was uploaded.",
                    "type": "string",
                    "format": "uuid",
                }),
            ),
            (
                "topology",
                json!({
                    "title": "Topology",
                    "description": format!("The path of the topology, if it is not {topology}."),
                    "type": "string",
                }),
            ),
        ];
        for (name, property) in more {
            places.insert(name.to_owned(), property);
        }
        json!({
            "title": "Source",
            "description": "Where the lab's files come from: files, the archive of an earlier run, or a folder of a workspace.",
            "type": "object",
            "additionalProperties": false,
            "properties": places,
        })
    }
}

/// Refuses what is no name of a lab: what a cluster and a folder can be called as well.
pub(crate) fn check_lab(lab: &str, refused: &mut Refused) {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let good = lab.len() <= NAME_BYTES_MAX
        && lab.starts_with(|c: char| c.is_ascii_lowercase())
        && !lab.ends_with('-')
        && lab.bytes().all(inner);
    if !good {
        refused.add(
            "lab",
            "a name has 1 to 32 small letters, digits and dashes, a letter first and no dash last",
        );
    }
}

pub(crate) fn lab_schema() -> Value {
    json!({
        "title": "Lab",
        "description": "The lab's name. Of the runs of one lab the newest counts.",
        "type": "string",
        "pattern": "^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$",
        "maxLength": NAME_BYTES_MAX,
    })
}
