//! What somebody else's parser made of a payload, compared with what ours made of it: references, commits, repositories, numbers
//! and people. What theirs leaves out is not looked at.

use model::git::{CommitId, GitChange, RefAction, Repository};
use serde_json::Value;
use webhook::Normalised;

/// The fields that both sides tell and that differ, as sentences.
#[must_use]
pub fn differences(kind: &str, golden: &Value, facts: &[Normalised]) -> Vec<String> {
    match kind {
        "PushHook" => of_push(golden, facts),
        "BranchHook" | "TagHook" => of_reference(golden, facts),
        "PullRequestHook" => of_change(golden, facts),
        _ => Vec::new(),
    }
}

/// Whether a golden of this kind says something that is compared.
#[must_use]
pub fn is_compared(kind: &str) -> bool {
    matches!(
        kind,
        "PushHook" | "BranchHook" | "TagHook" | "PullRequestHook"
    )
}

fn of_push(golden: &Value, facts: &[Normalised]) -> Vec<String> {
    let Some(told) = facts.iter().find_map(reference) else {
        return vec!["no push was told".to_owned()];
    };
    let mut found = Vec::new();
    let zeros = |id: &Option<CommitId>| match id {
        Some(id) => id.to_string(),
        None => "0".repeat(40),
    };
    compare(&mut found, "Ref", &golden["Ref"], &told.ref_name);
    compare(
        &mut found,
        "Before",
        &golden["Before"],
        &zeros(&told.before),
    );
    compare(&mut found, "After", &golden["After"], &zeros(&told.after));
    compare(
        &mut found,
        "Commit.Sha",
        &golden["Commit"]["Sha"],
        &zeros(&told.after),
    );
    compare_place(&mut found, golden, &told.repository);
    compare_person(&mut found, golden, told.pusher.as_deref());
    found
}

fn of_reference(golden: &Value, facts: &[Normalised]) -> Vec<String> {
    // A push of the same reference may be told beside it.
    let told = facts.iter().find_map(|fact| match fact {
        Normalised::BranchCreated(_) | Normalised::BranchDeleted(_) | Normalised::Tagged(_) => {
            reference(fact)
        }
        _ => None,
    });
    let Some(told) = told else {
        return vec!["no branch or tag was told".to_owned()];
    };
    let action = match told.action {
        RefAction::Created => "created",
        RefAction::Moved => "updated",
        RefAction::Deleted => "deleted",
    };
    let at = told.after.or(told.before);
    let mut found = Vec::new();
    compare(&mut found, "Ref.Name", &golden["Ref"]["Name"], &told.short);
    compare(
        &mut found,
        "Ref.Sha",
        &golden["Ref"]["Sha"],
        &at.map(|at| at.to_string()).unwrap_or_default(),
    );
    compare(&mut found, "Action", &golden["Action"], action);
    compare_place(&mut found, golden, &told.repository);
    compare_person(&mut found, golden, told.pusher.as_deref());
    found
}

fn of_change(golden: &Value, facts: &[Normalised]) -> Vec<String> {
    let told = facts.iter().find_map(|fact| match fact {
        Normalised::Changed(change) => Some(change),
        _ => None,
    });
    let Some(GitChange {
        number,
        head,
        repository,
        actor,
        ..
    }) = told
    else {
        return vec!["no change was told".to_owned()];
    };
    let theirs = &golden["PullRequest"];
    let mut found = Vec::new();
    if theirs["Number"].as_u64() != Some(*number) {
        found.push(format!("Number: {} and not {number}", theirs["Number"]));
    }
    let sha = head.sha.as_ref().map(ToString::to_string);
    compare(&mut found, "Sha", &theirs["Sha"], &sha.unwrap_or_default());
    compare_place(&mut found, golden, repository);
    compare_person(&mut found, golden, actor.as_deref());
    found
}

struct Told {
    ref_name: String,
    short: String,
    before: Option<CommitId>,
    after: Option<CommitId>,
    action: RefAction,
    repository: Repository,
    pusher: Option<String>,
}

fn reference(fact: &Normalised) -> Option<Told> {
    match fact.clone() {
        Normalised::Pushed(it) => Some(Told {
            action: it.action(),
            ref_name: it.ref_name,
            short: it.branch,
            before: it.before,
            after: it.after,
            repository: it.repository,
            pusher: it.pusher,
        }),
        Normalised::Tagged(it) => Some(Told {
            action: it.action(),
            ref_name: it.ref_name,
            short: it.tag,
            before: it.before,
            after: it.after,
            repository: it.repository,
            pusher: it.pusher,
        }),
        Normalised::BranchCreated(it) => Some(Told {
            action: RefAction::Created,
            ref_name: it.ref_name,
            short: it.branch,
            before: None,
            after: it.at,
            repository: it.repository,
            pusher: it.pusher,
        }),
        Normalised::BranchDeleted(it) => Some(Told {
            action: RefAction::Deleted,
            ref_name: it.ref_name,
            short: it.branch,
            before: it.at,
            after: None,
            repository: it.repository,
            pusher: it.pusher,
        }),
        _ => None,
    }
}

fn compare_place(found: &mut Vec<String>, golden: &Value, ours: &Repository) {
    let part = |name: &str| golden["Repo"][name].as_str().unwrap_or_default();
    let theirs = format!("{}/{}", part("Namespace"), part("Name"));
    if theirs != "/" && theirs != ours.path {
        found.push(format!("Repo: {theirs:?} and not {:?}", ours.path));
    }
}

fn compare_person(found: &mut Vec<String>, golden: &Value, ours: Option<&str>) {
    compare(
        found,
        "Sender.Login",
        &golden["Sender"]["Login"],
        ours.unwrap_or_default(),
    );
}

fn compare(found: &mut Vec<String>, field: &str, theirs: &Value, ours: &str) {
    match theirs.as_str() {
        Some("") | None => {}
        Some(theirs) if theirs == ours => {}
        Some(theirs) => found.push(format!("{field}: {theirs:?} and not {ours:?}")),
    }
}
