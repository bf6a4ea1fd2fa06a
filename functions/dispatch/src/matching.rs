//! What each binding makes of an event: pure, so that the same code can say what would have happened.

use events::EventType;
use model::git::{ChangedPaths, CommitId, GitPushed, GitTagged, Repository};
use model::{Check, Clause, DEPTH_MAX, GitTrigger, Glob, SourceKind, WorkloadAction, WorkloadJob};
use serde_json::{Map, Value};
use store::dispatch::{Decision, StoredBinding, StoredEvent, StoredTrigger};
use store::setup::{deploy_key, workload_queue};

/// How much of a compared value is kept, in characters.
const SHOWN_CHARS_MAX: usize = 300;
/// How many changed paths are named when none is wanted.
const NAMED_MAX: usize = 5;

/// What a clause asks for and what the event says.
fn check(clause: Clause, expected: impl Into<String>, actual: impl Into<String>) -> Check {
    let shown = |text: String| {
        if text.chars().count() > SHOWN_CHARS_MAX {
            let cut: String = text.chars().take(SHOWN_CHARS_MAX).collect();
            format!("{cut}…")
        } else {
            text
        }
    };
    Check {
        clause,
        expected: shown(expected.into()),
        actual: shown(actual.into()),
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
        .map(|binding| {
            let mut held = Vec::new();
            match asked(event, trigger, binding, &fact, &mut held)
                .and_then(|asked| start(binding, asked, held.clone()))
            {
                Ok(start) => start,
                Err(failed) => Decision::Unmatched {
                    binding: binding.id,
                    held,
                    failed,
                },
            }
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

/// Tries the clauses in their order: adds those that hold to `held`, ends with the first that fails. Otherwise it is the
/// commit that the event names.
fn asked(
    event: &StoredEvent,
    trigger: &StoredTrigger,
    binding: &StoredBinding,
    fact: &Fact,
    held: &mut Vec<Check>,
) -> Result<Option<CommitId>, Check> {
    if !trigger.enabled {
        return Err(check(Clause::Enabled, "the trigger is on", "it is off"));
    }
    if !binding.enabled {
        return Err(check(Clause::Enabled, "the binding is on", "it is off"));
    }
    if event.depth > DEPTH_MAX {
        return Err(check(
            Clause::Depth,
            format!("at most {DEPTH_MAX} steps from work to work"),
            event.depth.to_string(),
        ));
    }
    match trigger.kind.as_str() {
        "git" => git(&filter(trigger, binding)?, fact, held),
        kind => Err(check(
            Clause::EventType,
            format!("an event for a trigger of kind {kind}"),
            event.ty.clone(),
        )),
    }
}

/// The binding's filter over the trigger's: key by key at the top level, the binding wins.
fn filter(trigger: &StoredTrigger, binding: &StoredBinding) -> Result<GitTrigger, Check> {
    let mut merged: Map<String, Value> = trigger.config.clone();
    merged.extend(binding.filter.clone());
    serde_json::from_value(Value::Object(merged))
        .map_err(|error| check(Clause::Config, "a filter for git events", error.to_string()))
}

fn git(filter: &GitTrigger, fact: &Fact, held: &mut Vec<Check>) -> Result<Option<CommitId>, Check> {
    match fact {
        Fact::Pushed(push) => {
            repository(filter, &push.repository, held)?;
            if push.after.is_none() && !push.head_unknown {
                return Err(check(
                    Clause::Deleted,
                    "a branch that is there",
                    format!("{} was deleted", push.branch),
                ));
            }
            if filter.branches.is_empty() && !filter.tags.is_empty() {
                return Err(check(
                    Clause::Branch,
                    format!("a tag among {}", list(&filter.tags)),
                    format!("branch {}", push.branch),
                ));
            }
            one_of(Clause::Branch, &filter.branches, &push.branch, held)?;
            paths(filter, &push.changed_paths, held)?;
            Ok(push.after.clone())
        }
        Fact::Tagged(tag) => {
            if tag.announced.is_some() {
                return Err(check(
                    Clause::EventType,
                    "the push of a tag",
                    format!("{} tells of tag {} beside its push", tag.vendor, tag.tag),
                ));
            }
            repository(filter, &tag.repository, held)?;
            if tag.after.is_none() && !tag.head_unknown {
                return Err(check(
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
                return Err(check(Clause::Tag, expected, format!("tag {}", tag.tag)));
            }
            one_of(Clause::Tag, &filter.tags, &tag.tag, held)?;
            // What a tag names may be a tag object; the deploy resolves it.
            Ok(None)
        }
        Fact::Other(ty) => Err(check(
            Clause::EventType,
            format!("{} or {}", EventType::GitPushed, EventType::GitTagged),
            ty.clone(),
        )),
    }
}

fn repository(
    filter: &GitTrigger,
    repository: &Repository,
    held: &mut Vec<Check>,
) -> Result<(), Check> {
    filter.repository.as_ref().map_or(Ok(()), |pattern| {
        decided(
            pattern.matches(&repository.path),
            check(Clause::Repository, pattern.as_str(), &*repository.path),
            held,
        )
    })
}

fn one_of(
    clause: Clause,
    patterns: &[Glob],
    name: &str,
    held: &mut Vec<Check>,
) -> Result<(), Check> {
    if patterns.is_empty() {
        return Ok(());
    }
    let matches = patterns.iter().any(|pattern| pattern.matches(name));
    decided(matches, check(clause, list(patterns), name), held)
}

/// A push that does not say what it changed passes: dropping it would lose a deploy, passing it costs one too many.
fn paths(filter: &GitTrigger, changed: &ChangedPaths, held: &mut Vec<Check>) -> Result<(), Check> {
    if filter.paths.is_empty() {
        return Ok(());
    }
    let wanted = |path: &&String| filter.paths.iter().any(|pattern| pattern.matches(path));
    let (matches, actual) = match changed {
        ChangedPaths::Unknown { reason } => (true, format!("not known: {reason}")),
        ChangedPaths::Known { paths } => match paths.iter().find(wanted) {
            Some(path) => (true, path.clone()),
            None if paths.is_empty() => (false, "nothing changed".to_owned()),
            None => {
                let named: Vec<&str> = paths.iter().take(NAMED_MAX).map(String::as_str).collect();
                let more = paths.len() - named.len();
                let suffix = if more > 0 {
                    format!(" and {more} more")
                } else {
                    String::new()
                };
                (false, format!("{}{suffix}", named.join(", ")))
            }
        },
    };
    decided(
        matches,
        check(Clause::Paths, list(&filter.paths), actual),
        held,
    )
}

fn decided(matches: bool, check: Check, held: &mut Vec<Check>) -> Result<(), Check> {
    if matches {
        held.push(check);
        Ok(())
    } else {
        Err(check)
    }
}

fn list(patterns: &[Glob]) -> String {
    let texts: Vec<&str> = patterns.iter().map(Glob::as_str).collect();
    texts.join(", ")
}

fn start(
    binding: &StoredBinding,
    asked: Option<CommitId>,
    held: Vec<Check>,
) -> Result<Decision, Check> {
    let wrong = |error: String| check(Clause::Config, "a workload that can be deployed", error);
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
        held,
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
            Decision::Unmatched { failed, .. } => {
                Some((failed.clause, failed.expected, failed.actual))
            }
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
    fn what_held_is_told_with_what_it_compared() {
        let filter = json!({ "repository": "acme/*", "branches": ["main"], "paths": ["docs/**"] });
        let data = push("main", Some(&["docs/a.md", "src/b.rs"]));
        let event = event(EventType::GitPushed, &data, filter, json!({}));
        let Some(Decision::Matched { held, .. }) = decide(&event).pop() else {
            panic!("it matches");
        };
        let told: Vec<_> = held
            .iter()
            .map(|held| (held.clause, &*held.expected, &*held.actual))
            .collect();
        assert_eq!(
            told,
            [
                (Clause::Repository, "acme/*", "acme/site"),
                (Clause::Branch, "main", "main"),
                (Clause::Paths, "docs/**", "docs/a.md"),
            ]
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
    fn a_branch_whose_commit_is_not_said_is_there_all_the_same() {
        let mut data = push("main", None);
        data["after"] = Value::Null;
        data["head_unknown"] = json!(true);
        assert_eq!(
            clause(json!({"branches": ["main"]}), json!({}), &data),
            None
        );
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
    fn a_tag_that_is_told_of_beside_its_push_starts_nothing() {
        let data = json!({
            "vendor": "github", "repository": { "path": "acme/site" },
            "ref_name": "refs/tags/v1", "tag": "v1", "before": null, "after": null,
            "announced": "created",
        });
        let filter = json!({ "tags": ["v*"] });
        assert_eq!(
            failed(&event(EventType::GitTagged, &data, filter, json!({}))),
            Some((
                Clause::EventType,
                "the push of a tag".into(),
                "github tells of tag v1 beside its push".into()
            ))
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
