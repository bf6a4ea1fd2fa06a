//! Where a lab comes from.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

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

    /// Refuses what cannot be right.
    pub(crate) fn check(&self, topology: &str, refused: &mut Refused) {
        let topology = self.topology.as_deref().unwrap_or(topology);
        check_folder("source.topology", topology, refused);
        match (&self.files, &self.artifact) {
            (Some(files), None) => {
                check_files("source.files", files, refused);
                if !files.contains_key(topology) {
                    refused.add(
                        "source.files",
                        format!("none of them is {topology}, the topology"),
                    );
                }
            }
            (None, Some(_)) => {}
            (Some(_), Some(_)) | (None, None) => {
                refused.add("source", "say one of files and artifact");
            }
        }
    }

    pub(crate) fn schema(topology: &str) -> Value {
        json!({
            "title": "Source",
            "description": "Where the lab's files come from: files, or the archive of an earlier run.",
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "files": {
                    "title": "Files",
                    "description": format!("Text by path; {topology} is the topology."),
                    "type": "object",
                    "additionalProperties": { "type": "string" },
                },
                "artifact": {
                    "title": "Artifact",
                    "description": "The id of a tar archive that a run left, or that was uploaded.",
                    "type": "string",
                    "format": "uuid",
                },
                "topology": {
                    "title": "Topology",
                    "description": format!("The path of the topology, if it is not {topology}."),
                    "type": "string",
                },
            },
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
