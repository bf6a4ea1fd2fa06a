//! What runs are started from.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::trigger::FormFault;
use crate::payload_form::{Field, Written};

/// A workspace in a list.
#[derive(Clone, Debug)]
pub struct WorkspaceRow {
    /// Which.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Its repository.
    pub url: String,
    /// The commit that was seen last.
    pub commit: Option<String>,
    /// When.
    pub synced_at: Option<DateTime<Utc>>,
    /// Why it could not be read.
    pub error: Option<String>,
}

/// A workspace's page.
#[derive(Clone, Debug)]
pub struct WorkspacePage {
    /// What the list has.
    pub row: WorkspaceRow,
    /// Its branch.
    pub branch: String,
    /// Its folder in the repository; empty for all of it.
    pub folder: String,
    /// The name of the credential by which it is read.
    pub credential: Option<String>,
    /// What it has, as it was seen last.
    pub templates: Vec<TemplateRow>,
    /// Whether the reader may look again, and start.
    pub may_operate: bool,
}

/// Something in a workspace that can be run.
#[derive(Clone, Debug)]
pub struct TemplateRow {
    /// Where, below the workspace's folder.
    pub path: String,
    /// What it is, by what is in it.
    pub kind: String,
    /// What its README says, in short.
    pub summary: Option<String>,
    /// The form that starts it; nothing where no task does.
    pub start_href: Option<String>,
}

/// The page of a form that starts a run.
#[derive(Clone, Debug)]
pub struct RunFormPage {
    /// The kinds: tasks and what they are called.
    pub kinds: Vec<(&'static str, &'static str)>,
    /// The chosen one's task.
    pub kind: String,
    /// Its fields.
    pub fields: Vec<Field>,
    /// The payload in fields.
    pub written: Written,
    /// The payload as JSON, where that is how it is written.
    pub json: Option<String>,
    /// What is wrong with it.
    pub wrong: Vec<FormFault>,
}
