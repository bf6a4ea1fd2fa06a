//! What each binding makes of an event: pure, so that the same code can say what would have happened.

use events::EventType;
use model::git::{ChangedPaths, CommitId, GitPushed, GitTagged, Repository};
use model::{Clause, DEPTH_MAX, GitTrigger, Glob, SourceKind, WorkloadAction, WorkloadJob};
use serde_json::{Map, Value};
use store::dispatch::{Decision, StoredBinding, StoredEvent, StoredTrigger};
use store::setup::{deploy_key, workload_queue};

/// How much of a compared value is kept, in characters.
const SHOWN_CHARS_MAX: usize = 300;

/// Why a binding does not match: the first clause that failed and what it compared.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Failed {
    clause: Clause,
    expected: String,
    actual: String,
}

impl Failed {
    fn new(clause: Clause, expected: impl Into<String>, actual: impl Into<String>) -> Self {
        let shown = |text: String| {
            if text.chars().count() > SHOWN_CHARS_MAX {
                let cut: String = text.chars().take(SHOWN_CHARS_MAX).collect();
                format!("{cut}…")
            } else {
                text
            }
        };
        Self {
            clause,
            expected: shown(expected.into()),
            actual: shown(actual.into()),
        }
    }
}

/// What the clauses look at.
enum Fact {
    Pushed(GitPushed),
    Tagged(GitTagged),
    Other(String),
}

/// One decision for each binding, in their order. An event without a trigger, or whose trigger has no bindings, has none.
pub(crate) fn decide(event: &StoredEvent) -> Vec<Decision> {
    let Some(trigger) = &event.trigger else {
        return Vec::new();
    };
    let fact = fact(event);
    event
        .bindings
        .iter()
        .map(|binding| match matched(event, trigger, binding, &fact) {
            Ok(start) => start,
            Err(failed) => Decision::Unmatched {
                binding: binding.id,
                clause: failed.clause,
                expected: failed.expected,
                actual: failed.actual,
            },
        })
        .collect()
}

fn fact(event: &StoredEvent) -> Fact {
    let other = || Fact::Other(event.ty.clone());
    match event.ty.parse() {
        Ok(EventType::GitPushed) => {
            serde_json::from_str(&event.data).map_or_else(|_| other(), Fact::Pushed)
        }
        Ok(EventType::GitTagged) => {
            serde_json::from_str(&event.data).map_or_else(|_| other(), Fact::Tagged)
        }
        _ => other(),
    }
}

fn matched(
    event: &StoredEvent,
    trigger: &StoredTrigger,
    binding: &StoredBinding,
    fact: &Fact,
) -> Result<Decision, Failed> {
    if !trigger.enabled {
        return Err(Failed::new(
            Clause::Enabled,
            "the trigger is on",
            "it is off",
        ));
    }
    if !binding.enabled {
        return Err(Failed::new(
            Clause::Enabled,
            "the binding is on",
            "it is off",
        ));
    }
    if event.depth > DEPTH_MAX {
        return Err(Failed::new(
            Clause::Depth,
            format!("at most {DEPTH_MAX} steps from work to work"),
            event.depth.to_string(),
        ));
    }
    let asked = match trigger.kind.as_str() {
        "git" => git(&filter(trigger, binding)?, fact)?,
        kind => {
            return Err(Failed::new(
                Clause::EventType,
                format!("an event for a trigger of kind {kind}"),
                event.ty.clone(),
            ));
        }
    };
    start(binding, asked)
}

/// The binding's filter over the trigger's: key by key at the top level, the binding wins.
fn filter(trigger: &StoredTrigger, binding: &StoredBinding) -> Result<GitTrigger, Failed> {
    let mut merged: Map<String, Value> = trigger.config.clone();
    merged.extend(binding.filter.clone());
    serde_json::from_value(Value::Object(merged))
        .map_err(|error| Failed::new(Clause::Config, "a filter for git events", error.to_string()))
}

fn git(filter: &GitTrigger, fact: &Fact) -> Result<Option<CommitId>, Failed> {
    match fact {
        Fact::Pushed(push) => {
            repository(filter, &push.repository)?;
            if push.after.is_none() {
                return Err(Failed::new(
                    Clause::Deleted,
                    "a branch that is there",
                    format!("{} was deleted", push.branch),
                ));
            }
            if filter.branches.is_empty() && !filter.tags.is_empty() {
                return Err(Failed::new(
                    Clause::Branch,
                    format!("a tag among {}", list(&filter.tags)),
                    format!("branch {}", push.branch),
                ));
            }
            one_of(Clause::Branch, &filter.branches, &push.branch)?;
            paths(filter, &push.changed_paths)?;
            Ok(push.after.clone())
        }
        Fact::Tagged(tag) => {
            repository(filter, &tag.repository)?;
            if tag.after.is_none() {
                return Err(Failed::new(
                    Clause::Deleted,
                    "a tag that is there",
                    format!("{} was deleted", tag.tag),
                ));
            }
            if filter.tags.is_empty() {
                let expected = if filter.branches.is_empty() {
                    "a branch".to_owned()
                } else {
                    format!("a branch among {}", list(&filter.branches))
                };
                return Err(Failed::new(
                    Clause::Tag,
                    expected,
                    format!("tag {}", tag.tag),
                ));
            }
            one_of(Clause::Tag, &filter.tags, &tag.tag)?;
            // What a tag names may be a tag object; the deploy resolves it.
            Ok(None)
        }
        Fact::Other(ty) => Err(Failed::new(
            Clause::EventType,
            format!("{} or {}", EventType::GitPushed, EventType::GitTagged),
            ty.clone(),
        )),
    }
}

fn repository(filter: &GitTrigger, repository: &Repository) -> Result<(), Failed> {
    match &filter.repository {
        Some(pattern) if !pattern.matches(&repository.path) => Err(Failed::new(
            Clause::Repository,
            pattern.as_str(),
            repository.path.clone(),
        )),
        Some(_) | None => Ok(()),
    }
}

fn one_of(clause: Clause, patterns: &[Glob], name: &str) -> Result<(), Failed> {
    if patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(name)) {
        Ok(())
    } else {
        Err(Failed::new(clause, list(patterns), name))
    }
}

/// A push that does not say what it changed passes: dropping it would lose a deploy, passing it costs one too many.
fn paths(filter: &GitTrigger, changed: &ChangedPaths) -> Result<(), Failed> {
    if filter.paths.is_empty() {
        return Ok(());
    }
    match changed {
        ChangedPaths::Unknown { .. } => Ok(()),
        ChangedPaths::Known { paths } => {
            let hit = paths
                .iter()
                .any(|path| filter.paths.iter().any(|pattern| pattern.matches(path)));
            if hit {
                return Ok(());
            }
            let mut actual: Vec<&str> = paths.iter().take(5).map(String::as_str).collect();
            if actual.is_empty() {
                actual.push("nothing changed");
            }
            let more = paths.len().saturating_sub(5);
            let suffix = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            Err(Failed::new(
                Clause::Paths,
                list(&filter.paths),
                format!("{}{suffix}", actual.join(", ")),
            ))
        }
    }
}

fn list(patterns: &[Glob]) -> String {
    let texts: Vec<&str> = patterns.iter().map(Glob::as_str).collect();
    texts.join(", ")
}

fn start(binding: &StoredBinding, asked: Option<CommitId>) -> Result<Decision, Failed> {
    let wrong =
        |error: String| Failed::new(Clause::Config, "a workload that can be deployed", error);
    let source: SourceKind = binding
        .source
        .parse()
        .map_err(|error: model::UnknownSource| wrong(error.to_string()))?;
    let payload = serde_json::to_value(WorkloadJob {
        workload: binding.workload,
        action: WorkloadAction::Deploy { asked },
        overrides: binding.overrides.clone(),
    })
    .map_err(|error| wrong(error.to_string()))?;
    Ok(Decision::Matched {
        binding: binding.id,
        task: source.task(),
        payload,
        queue_name: workload_queue(binding.workload),
        key: deploy_key(binding.workload),
        workload: binding.workload,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::EventId;
    use serde_json::json;
    use uuid::Uuid;

    fn push(branch: &str, paths: Option<&[&str]>) -> Value {
        json!({
            "vendor": "gitea",
            "repository": { "path": "acme/site" },
            "ref_name": format!("refs/heads/{branch}"),
            "branch": branch,
            "before": null,
            "after": "a".repeat(40),
            "changed_paths": paths.map_or_else(
                || json!({ "are": "unknown", "reason": "truncated" }),
                |paths| json!({ "are": "known", "paths": paths }),
            ),
        })
    }

    fn event(ty: EventType, data: &Value, filter: Value, over: Value) -> StoredEvent {
        let object = |value: Value| {
            value
                .as_object()
                .cloned()
                .expect("the test's JSON is an object")
        };
        StoredEvent {
            id: EventId::from(Uuid::from_u128(1)),
            tenant: Uuid::from_u128(2).into(),
            ty: ty.as_str().to_owned(),
            data: data.to_string(),
            trigger: Some(StoredTrigger {
                id: Uuid::from_u128(3).into(),
                kind: "git".into(),
                config: object(filter),
                enabled: true,
            }),
            depth: 0,
            traceparent: None,
            dispatched: false,
            bindings: vec![StoredBinding {
                id: Uuid::from_u128(4).into(),
                filter: object(over),
                overrides: Map::new(),
                enabled: true,
                workload: Uuid::from_u128(5).into(),
                source: "static".into(),
            }],
        }
    }

    /// The clause that failed with what it compared, or nothing when the binding matched.
    fn failed(event: &StoredEvent) -> Option<(Clause, String, String)> {
        match decide(event).pop().expect("there is one binding") {
            Decision::Matched { .. } => None,
            Decision::Unmatched {
                clause,
                expected,
                actual,
                ..
            } => Some((clause, expected, actual)),
        }
    }

    fn clause(filter: Value, over: Value, data: &Value) -> Option<Clause> {
        failed(&event(EventType::GitPushed, data, filter, over)).map(|(clause, ..)| clause)
    }

    #[test]
    fn an_empty_filter_matches_every_push() {
        assert_eq!(clause(json!({}), json!({}), &push("main", None)), None);
    }

    #[test]
    fn the_first_clause_that_fails_decides_and_says_what_it_compared() {
        let data = push("feature/x", Some(&["README.md"]));
        let event = event(
            EventType::GitPushed,
            &data,
            json!({ "repository": "acme/*", "branches": ["main", "release/*"], "paths": ["docs/**"] }),
            json!({}),
        );
        assert_eq!(
            failed(&event),
            Some((Clause::Branch, "main, release/*".into(), "feature/x".into()))
        );
    }

    #[test]
    fn a_binding_overrides_its_trigger_key_by_key() {
        let data = push("release", None);
        let main = json!({ "branches": ["main"] });
        assert_eq!(clause(main.clone(), json!({}), &data), Some(Clause::Branch));
        assert_eq!(
            clause(main.clone(), json!({ "branches": ["release"] }), &data),
            None
        );
        let other = json!({ "branches": ["release"], "repository": "other/site" });
        assert_eq!(clause(main, other, &data), Some(Clause::Repository));
    }

    #[test]
    fn paths_filter_only_what_is_known() {
        let filter = json!({ "paths": ["docs/**"] });
        assert_eq!(
            clause(
                filter.clone(),
                json!({}),
                &push("main", Some(&["src/a.rs"]))
            ),
            Some(Clause::Paths)
        );
        assert_eq!(
            clause(
                filter.clone(),
                json!({}),
                &push("main", Some(&["docs/a/b.md"]))
            ),
            None
        );
        assert_eq!(clause(filter, json!({}), &push("main", None)), None);
    }

    #[test]
    fn a_deleted_branch_starts_nothing() {
        let mut data = push("main", None);
        data["after"] = Value::Null;
        assert_eq!(clause(json!({}), json!({}), &data), Some(Clause::Deleted));
    }

    #[test]
    fn tags_match_only_where_tags_are_asked_for() {
        let data = json!({
            "vendor": "github", "repository": { "path": "acme/site" },
            "ref_name": "refs/tags/v1.2", "tag": "v1.2", "before": null, "after": "b".repeat(40),
        });
        let tagged = |filter| failed(&event(EventType::GitTagged, &data, filter, json!({})));
        assert_eq!(
            tagged(json!({})).map(|(clause, ..)| clause),
            Some(Clause::Tag)
        );
        assert_eq!(tagged(json!({ "tags": ["v*"] })), None);
        assert_eq!(
            tagged(json!({ "tags": ["v2.*"] })),
            Some((Clause::Tag, "v2.*".into(), "v1.2".into()))
        );
        let filter = json!({ "tags": ["v*"] });
        assert_eq!(
            clause(filter, json!({}), &push("main", None)),
            Some(Clause::Branch)
        );
    }

    #[test]
    fn what_is_switched_off_or_too_deep_starts_nothing() {
        let data = push("main", None);
        let mut off = event(EventType::GitPushed, &data, json!({}), json!({}));
        off.bindings[0].enabled = false;
        assert_eq!(
            failed(&off).map(|(clause, ..)| clause),
            Some(Clause::Enabled)
        );
        let mut deep = event(EventType::GitPushed, &data, json!({}), json!({}));
        deep.depth = DEPTH_MAX + 1;
        assert_eq!(
            failed(&deep).map(|(clause, ..)| clause),
            Some(Clause::Depth)
        );
    }

    #[test]
    fn a_filter_that_is_no_longer_valid_says_so_instead_of_matching() {
        let (clause, _, actual) = failed(&event(
            EventType::GitPushed,
            &push("main", None),
            json!({ "branchs": ["main"] }),
            json!({}),
        ))
        .expect("it cannot match");
        assert_eq!(clause, Clause::Config);
        assert!(actual.contains("branchs"), "{actual}");
    }

    #[test]
    fn an_event_of_another_kind_is_named() {
        let event = event(EventType::JobFinished, &json!({}), json!({}), json!({}));
        assert_eq!(
            failed(&event).map(|(clause, ..)| clause),
            Some(Clause::EventType)
        );
    }
}
