//! What triggers of each kind look for in an event.
//!
//! Keys that are not known here are ignored by readers, because a newer version may have written them; who saves a filter
//! compares its keys with [`TriggerKind::keys`](crate::TriggerKind::keys). A list that is empty filters nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Glob;
use crate::git::{ChangeAction, PipelineKind, PipelineOutcome, ReleaseAction};

/// The longest text that a filter may name, in bytes: a pattern, a value, a name.
const TEXT_BYTES_MAX: usize = 512;

/// What a `git` trigger looks for. Pushes of branches match unless something else is asked for: with `tags`, `changes`,
/// `releases` or `pipelines` they match only when `branches` is given too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitTrigger {
    /// `owner/name` of the repository; a pattern may span segments with `**`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<Glob>,
    /// Branches whose pushes match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub branches: Vec<Glob>,
    /// Tags that match; without any, none does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Glob>,
    /// Paths of which at least one must have changed. A push that does not say what changed passes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<Glob>,
    /// Whether a push or change that says so (`[skip ci]`) starts something all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignore_skip: bool,
    /// Pull requests and merge requests; without it, none matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<ChangeFilter>,
    /// Releases; without it, none matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub releases: Option<ReleaseFilter>,
    /// Pipelines that ended; without it, none matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipelines: Option<PipelineFilter>,
}

/// Which pull requests and merge requests match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeFilter {
    /// What happened to it.
    #[serde(default = "ChangeFilter::usual_actions")]
    pub actions: Vec<ChangeAction>,
    /// What it is to be merged into.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub base: Vec<Glob>,
    /// Whether those of forks match. What they start is not trusted: it gets no secrets, writes no state, asks nobody.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forks: bool,
    /// Whether those that say that they are not ready match.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drafts: bool,
}

impl ChangeFilter {
    fn usual_actions() -> Vec<ChangeAction> {
        vec![
            ChangeAction::Opened,
            ChangeAction::Synchronized,
            ChangeAction::Reopened,
        ]
    }
}

impl Default for ChangeFilter {
    fn default() -> Self {
        Self {
            actions: Self::usual_actions(),
            base: Vec::new(),
            forks: false,
            drafts: false,
        }
    }
}

/// Which releases match. Drafts never do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseFilter {
    /// What happened to it.
    #[serde(default = "ReleaseFilter::usual_actions")]
    pub actions: Vec<ReleaseAction>,
    /// Of which tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<TagPattern>,
    /// Whether those that say that they are not for everybody match.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub prereleases: bool,
}

impl ReleaseFilter {
    /// One release of GitHub tells three things at once; this is the one that every host tells.
    fn usual_actions() -> Vec<ReleaseAction> {
        vec![ReleaseAction::Published]
    }
}

impl Default for ReleaseFilter {
    fn default() -> Self {
        Self {
            actions: Self::usual_actions(),
            tags: Vec::new(),
            prereleases: false,
        }
    }
}

/// Which pipelines of others match, when they have ended. Those that ran for a fork never do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipelineFilter {
    /// What they are called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<Glob>,
    /// For which branches or tags they ran.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refs: Vec<Glob>,
    /// How they ended.
    #[serde(default = "PipelineFilter::usual_outcomes")]
    pub outcomes: Vec<PipelineOutcome>,
    /// Whole pipelines, or single checks.
    #[serde(default = "PipelineFilter::usual_kinds")]
    pub kinds: Vec<PipelineKind>,
}

impl PipelineFilter {
    fn usual_outcomes() -> Vec<PipelineOutcome> {
        vec![PipelineOutcome::Succeeded]
    }

    fn usual_kinds() -> Vec<PipelineKind> {
        vec![PipelineKind::Pipeline]
    }
}

impl Default for PipelineFilter {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            refs: Vec::new(),
            outcomes: Self::usual_outcomes(),
            kinds: Self::usual_kinds(),
        }
    }
}

/// What a `registry` trigger looks for among images that were pushed. What has no tag, such as the parts of an image for
/// many platforms, and what was deleted never match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryTrigger {
    /// `team/app`, or with the registry before it: `registry.example.com/team/app`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Glob>,
    /// Tags of which one must fit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<TagPattern>,
    /// `linux/arm64`, `linux/arm/v7`. An image that does not say what it is for passes, as nearly all do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Glob>,
}

/// A pattern that tags fit: a glob as a text, or `{"regex": …}`, or `{"semver": …}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub enum TagPattern {
    /// The whole tag.
    Glob(Glob),
    /// A regular expression that is looked for anywhere in the tag.
    Regex(String),
    /// A range of versions, as Cargo writes them: `>=1.2, <2`. A `v` before a version does not count; a pre-release is in a
    /// range only when the range names a pre-release of the same version.
    Semver(String),
}

/// Why a value is no pattern of tags.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a tag is a glob as a text, {{\"regex\": …}} or {{\"semver\": …}}: {0}")]
pub struct TagPatternError(String);

impl TagPattern {
    /// What stands in it.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Glob(glob) => glob.as_str(),
            Self::Regex(text) | Self::Semver(text) => text,
        }
    }
}

impl std::fmt::Display for TagPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Glob(glob) => write!(f, "{glob}"),
            Self::Regex(text) => write!(f, "/{text}/"),
            Self::Semver(text) => write!(f, "version {text}"),
        }
    }
}

impl TryFrom<Value> for TagPattern {
    type Error = TagPatternError;

    fn try_from(value: Value) -> Result<Self, TagPatternError> {
        let glob = |text: String| {
            Glob::try_from(text)
                .map(Self::Glob)
                .map_err(|error| TagPatternError(error.to_string()))
        };
        match value {
            Value::String(text) => glob(text),
            Value::Object(map) if map.len() == 1 => match map.into_iter().next() {
                Some((key, Value::String(text))) => {
                    if text.is_empty() || text.len() > TEXT_BYTES_MAX {
                        return Err(TagPatternError(format!(
                            "a pattern has 1 to {TEXT_BYTES_MAX} bytes"
                        )));
                    }
                    match key.as_str() {
                        "glob" => glob(text),
                        "regex" => Ok(Self::Regex(text)),
                        "semver" => Ok(Self::Semver(text)),
                        _ => Err(TagPatternError(format!("{key:?} is none of these"))),
                    }
                }
                _ => Err(TagPatternError("a text is expected".to_owned())),
            },
            _ => Err(TagPatternError("this is none of these".to_owned())),
        }
    }
}

impl From<TagPattern> for Value {
    fn from(pattern: TagPattern) -> Self {
        match pattern {
            TagPattern::Glob(glob) => Self::from(String::from(glob)),
            TagPattern::Regex(text) => serde_json::json!({ "regex": text }),
            TagPattern::Semver(text) => serde_json::json!({ "semver": text }),
        }
    }
}

/// What a `webhook` trigger looks for in whatever came in through it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookTrigger {
    /// What the sender calls it: the `type` of a Standard Webhook or a CloudEvent; `git.pushed` and so on for what is known
    /// here by such a name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Glob>,
    /// Values in the body: a name at its top level, or a JSON pointer (`/pull_request/state`), and what stands there. Texts
    /// are globs, and of a list one value must fit. Changes of forks match only where `from_fork` is among the names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, Wanted>,
}

/// A value or one of several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Wanted {
    /// One of these.
    OneOf(Vec<Scalar>),
    /// This one.
    Just(Scalar),
}

/// A value without parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    /// There is nothing.
    Null,
    /// Yes or no.
    Bool(bool),
    /// A number.
    Number(serde_json::Number),
    /// A text that fits.
    Text(Glob),
}

/// When a `schedule` trigger fires: as a schedule of the queue says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleTrigger {
    /// A text of five or six fields, an object of fields, or an instant.
    pub rule: Value,
    /// Not before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Value>,
    /// Not after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Value>,
    /// By whose clock: an IANA name; UTC without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// What becomes of ticks that nobody fired in time: `skip`, `last` or `all`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<String>,
}

/// A `manual` trigger looks for nothing: somebody asks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManualTrigger {}

/// What a `log` trigger looks for among matches of the rules that name it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogTrigger {
    /// Which rules, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Glob>,
    /// How bad.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub severities: Vec<Severity>,
}

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Of interest to who looks for something.
    Debug,
    /// As it should be.
    Info,
    /// Somebody may want to look.
    Warning,
    /// Somebody should look.
    Error,
}

impl Severity {
    /// The name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// What an `event` trigger looks for in the attributes of a CloudEvent, in the words of Knative's filters: all of it must hold.
///
/// Work of our own is heard only where `exact` or `prefix` names a `type` that begins with `dev.switchyard.`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventTrigger {
    /// The attribute is this text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub exact: BTreeMap<String, String>,
    /// The attribute begins with this text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub prefix: BTreeMap<String, String>,
    /// The attribute ends with this text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub suffix: BTreeMap<String, String>,
}

/// What must be true of an event beside what a kind's own fields say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// The language of the expression.
    pub language: ConditionLanguage,
    /// Is true or false of `event`.
    pub expression: String,
}

/// In what a condition is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConditionLanguage {
    /// The Common Expression Language.
    Cel,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pattern_of_tags_is_a_glob_unless_it_says_otherwise() {
        for (given, shown) in [
            (json!("v*"), "v*"),
            (json!({"glob": "v*"}), "v*"),
            (json!({"regex": "^v\\d+$"}), "/^v\\d+$/"),
            (json!({"semver": ">=1, <2"}), "version >=1, <2"),
        ] {
            let pattern: TagPattern = serde_json::from_value(given.clone()).expect("a pattern");
            assert_eq!(pattern.to_string(), shown);
            let back = serde_json::to_value(&pattern).expect("JSON");
            assert_eq!(
                serde_json::from_value::<TagPattern>(back).ok(),
                Some(pattern)
            );
        }
        for bad in [
            json!(1),
            json!(""),
            json!({}),
            json!({"regexp": "x"}),
            json!({"regex": ""}),
            json!({"regex": "x".repeat(513)}),
            json!({"regex": "a", "semver": "1"}),
        ] {
            let error = serde_json::from_value::<TagPattern>(bad.clone()).expect_err("no pattern");
            assert!(error.to_string().contains("a tag is"), "{bad}: {error}");
        }
    }

    #[test]
    fn a_wanted_value_is_one_or_a_list() {
        let wanted: BTreeMap<String, Wanted> = serde_json::from_value(json!({
            "action": ["opened", "re*"], "draft": false, "count": 3, "parent": null,
        }))
        .expect("wanted values");
        assert_eq!(wanted["draft"], Wanted::Just(Scalar::Bool(false)));
        assert_eq!(wanted["parent"], Wanted::Just(Scalar::Null));
        assert!(matches!(&wanted["action"], Wanted::OneOf(list) if list.len() == 2));
    }

    #[test]
    fn what_is_not_said_about_changes_is_what_one_usually_wants() {
        let filter: GitTrigger =
            serde_json::from_value(json!({"changes": {}, "releases": {}, "pipelines": {}}))
                .expect("a filter");
        assert_eq!(filter.changes, Some(ChangeFilter::default()));
        assert_eq!(filter.releases, Some(ReleaseFilter::default()));
        assert_eq!(filter.pipelines, Some(PipelineFilter::default()));
    }
}
