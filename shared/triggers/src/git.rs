//! What a filter of kind `git` makes of pushes, tags, changes, releases and pipelines.

use model::git::{
    ChangedPaths, CommitId, GitChange, GitPushed, GitReleased, GitTagged, PipelineFinished,
};
use model::{ChangeFilter, Check, Clause, GitTrigger, PipelineFilter, ReleaseFilter, TagPattern};

use crate::checks::{check, decided, list, one_of, word, words};
use crate::tags;

/// How many changed paths are named when none is wanted.
const NAMED_MAX: usize = 5;

/// What a match asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The commit that the event names.
    pub(crate) commit: Option<CommitId>,
    /// Whether it comes from people who may not write here.
    pub(crate) untrusted: bool,
}

type Clauses<'a> = &'a mut Vec<Check>;

/// Whether branches are looked at at all: what asks for something else asks for them by name.
fn wants_branches(filter: &GitTrigger) -> bool {
    !filter.branches.is_empty()
        || (filter.tags.is_empty()
            && filter.changes.is_none()
            && filter.releases.is_none()
            && filter.pipelines.is_none())
}

/// What a filter looks at, for who wonders why it did not look at something else.
fn wanted(filter: &GitTrigger) -> String {
    let mut wanted = Vec::new();
    if wants_branches(filter) {
        wanted.push(if filter.branches.is_empty() {
            "a branch".to_owned()
        } else {
            format!("a branch among {}", list(&filter.branches))
        });
    }
    if !filter.tags.is_empty() {
        wanted.push(format!("a tag among {}", list(&filter.tags)));
    }
    for (asked, name) in [
        (filter.changes.is_some(), "a change"),
        (filter.releases.is_some(), "a release"),
        (filter.pipelines.is_some(), "a pipeline"),
    ] {
        if asked {
            wanted.push(name.to_owned());
        }
    }
    wanted.join(" or ")
}

fn repository(filter: &GitTrigger, path: &str, held: Clauses<'_>) -> Result<(), Check> {
    filter.repository.as_ref().map_or(Ok(()), |pattern| {
        decided(
            pattern.matches(path),
            check(Clause::Repository, pattern.as_str(), path),
            held,
        )
    })
}

fn skip(filter: &GitTrigger, asked: bool, what: &str, held: Clauses<'_>) -> Result<(), Check> {
    if !asked {
        return Ok(());
    }
    decided(
        filter.ignore_skip,
        check(
            Clause::Skip,
            if filter.ignore_skip {
                "anything"
            } else {
                "nothing that says [skip ci]"
            },
            format!("{what} says [skip ci] or its like"),
        ),
        held,
    )
}

pub(crate) fn pushed(
    filter: &GitTrigger,
    push: &GitPushed,
    held: Clauses<'_>,
) -> Result<Asked, Check> {
    repository(filter, &push.repository.path, held)?;
    if push.after.is_none() && !push.head_unknown {
        return Err(check(
            Clause::Deleted,
            "a branch that is there",
            format!("{} was deleted", push.branch),
        ));
    }
    if !wants_branches(filter) {
        return Err(check(
            Clause::Branch,
            wanted(filter),
            format!("branch {}", push.branch),
        ));
    }
    one_of(Clause::Branch, &filter.branches, &push.branch, held)?;
    skip(filter, push.skip_asked, "every commit of the push", held)?;
    paths(filter, &push.changed_paths, held)?;
    Ok(Asked {
        commit: push.after.clone(),
        untrusted: false,
    })
}

pub(crate) fn tagged(
    filter: &GitTrigger,
    tag: &GitTagged,
    held: Clauses<'_>,
) -> Result<Asked, Check> {
    if tag.announced.is_some() && !tag.head_unknown {
        return Err(check(
            Clause::EventType,
            "the push of a tag",
            format!("{} tells of tag {} beside its push", tag.vendor, tag.tag),
        ));
    }
    repository(filter, &tag.repository.path, held)?;
    if tag.after.is_none() && !tag.head_unknown {
        return Err(check(
            Clause::Deleted,
            "a tag that is there",
            format!("{} was deleted", tag.tag),
        ));
    }
    if filter.tags.is_empty() {
        return Err(check(
            Clause::Tag,
            wanted(filter),
            format!("tag {}", tag.tag),
        ));
    }
    one_of(Clause::Tag, &filter.tags, &tag.tag, held)?;
    // What a tag names may be a tag object; who works on it resolves it.
    Ok(Asked::default())
}

pub(crate) fn change(
    filter: &GitTrigger,
    change: &GitChange,
    held: Clauses<'_>,
) -> Result<Asked, Check> {
    repository(filter, &change.repository.path, held)?;
    let Some(asked) = &filter.changes else {
        return Err(check(
            Clause::EventType,
            wanted(filter),
            format!("change {}", change.number),
        ));
    };
    change_clauses(filter, asked, change, held)?;
    Ok(Asked {
        commit: change
            .head
            .sha
            .as_ref()
            .and_then(model::git::CommitPrefix::whole),
        untrusted: change.from_fork,
    })
}

fn change_clauses(
    filter: &GitTrigger,
    asked: &ChangeFilter,
    change: &GitChange,
    held: Clauses<'_>,
) -> Result<(), Check> {
    let action = check(
        Clause::Action,
        words(&asked.actions),
        format!("{} ({})", word(&change.action), change.vendor_action),
    );
    decided(asked.actions.contains(&change.action), action, held)?;
    one_of(Clause::Base, &asked.base, &change.base.branch, held)?;
    let from = if change.from_fork {
        format!(
            "it comes from {}",
            change
                .head
                .repository
                .as_deref()
                .unwrap_or("somewhere that is not told")
        )
    } else {
        "it comes from the repository itself".to_owned()
    };
    let trusted = if asked.forks {
        "any change"
    } else {
        "a change that does not come from a fork"
    };
    decided(
        asked.forks || !change.from_fork,
        check(Clause::Fork, trusted, from),
        held,
    )?;
    if change.draft {
        let draft = check(
            Clause::Draft,
            if asked.drafts {
                "any change"
            } else {
                "a change that is no draft"
            },
            "it is a draft",
        );
        decided(asked.drafts, draft, held)?;
    }
    skip(filter, change.skip_asked, "its title or last commit", held)
}

pub(crate) fn released(
    filter: &GitTrigger,
    release: &GitReleased,
    held: Clauses<'_>,
) -> Result<Asked, Check> {
    repository(filter, &release.repository.path, held)?;
    let Some(asked) = &filter.releases else {
        return Err(check(
            Clause::EventType,
            wanted(filter),
            format!("release {}", release.tag),
        ));
    };
    release_clauses(asked, release, held)?;
    Ok(Asked::default())
}

fn release_clauses(
    asked: &ReleaseFilter,
    release: &GitReleased,
    held: Clauses<'_>,
) -> Result<(), Check> {
    let action = check(Clause::Action, words(&asked.actions), word(&release.action));
    decided(asked.actions.contains(&release.action), action, held)?;
    tag_patterns(&asked.tags, &release.tag, held)?;
    if release.draft {
        return Err(check(
            Clause::Draft,
            "a release that is no draft",
            "it is a draft",
        ));
    }
    if release.prerelease {
        let prerelease = check(
            Clause::Draft,
            if asked.prereleases {
                "any release"
            } else {
                "a release for everybody"
            },
            "it is a pre-release",
        );
        decided(asked.prereleases, prerelease, held)?;
    }
    Ok(())
}

/// One of the patterns fits; none at all lets every tag pass.
pub(crate) fn tag_patterns(
    patterns: &[TagPattern],
    tag: &str,
    held: Clauses<'_>,
) -> Result<(), Check> {
    if patterns.is_empty() {
        return Ok(());
    }
    let wrong = |error: String| check(Clause::Config, "patterns that tags can fit", error);
    let mut matches = false;
    for pattern in patterns {
        matches = matches || tags::fits(pattern, tag).map_err(wrong)?;
    }
    decided(matches, check(Clause::Tag, list(patterns), tag), held)
}

pub(crate) fn pipeline(
    filter: &GitTrigger,
    run: &PipelineFinished,
    held: Clauses<'_>,
) -> Result<Asked, Check> {
    let path = run
        .repository
        .as_ref()
        .map_or("not told", |repository| &repository.path);
    repository(filter, path, held)?;
    let name = run.name.as_deref().unwrap_or(&run.run);
    let Some(asked) = &filter.pipelines else {
        return Err(check(
            Clause::EventType,
            wanted(filter),
            format!("pipeline {name}"),
        ));
    };
    pipeline_clauses(asked, run, name, held)?;
    Ok(Asked {
        commit: run.sha.clone(),
        untrusted: false,
    })
}

fn pipeline_clauses(
    asked: &PipelineFilter,
    run: &PipelineFinished,
    name: &str,
    held: Clauses<'_>,
) -> Result<(), Check> {
    let kind = check(Clause::Pipeline, words(&asked.kinds), word(&run.kind));
    decided(asked.kinds.contains(&run.kind), kind, held)?;
    one_of(Clause::Pipeline, &asked.names, name, held)?;
    let ref_name = run.ref_short.as_deref().unwrap_or("not told");
    one_of(Clause::Branch, &asked.refs, ref_name, held)?;
    if run.from_fork {
        return Err(check(
            Clause::Fork,
            "a pipeline that did not run for a fork",
            "it ran for a fork, or it is not told for what",
        ));
    }
    let outcome = check(
        Clause::Outcome,
        words(&asked.outcomes),
        format!("{} ({})", word(&run.outcome), run.vendor_outcome),
    );
    decided(asked.outcomes.contains(&run.outcome), outcome, held)
}

/// A push that does not say what it changed passes: dropping it would lose a deploy, passing it costs one too many.
fn paths(filter: &GitTrigger, changed: &ChangedPaths, held: Clauses<'_>) -> Result<(), Check> {
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
