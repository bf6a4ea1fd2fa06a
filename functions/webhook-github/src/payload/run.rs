//! What ran: workflows and checks.

use model::Vendor;
use model::git::{CommitId, PipelineFinished, PipelineKind, PipelineOutcome};
use serde::Deserialize;
use serde::de::IgnoredAny;
use webhook::git::{Repository, Word};
use webhook::{Line, Name, Normalised, Parsed};

use super::Sender;

/// A `workflow_run`.
#[derive(Debug, Deserialize)]
pub(crate) struct WorkflowRunPayload {
    action: Word,
    workflow_run: WorkflowRun,
    repository: Repository,
    sender: Option<Sender>,
}

#[derive(Debug, Deserialize)]
struct WorkflowRun {
    id: u64,
    name: Option<Line<200>>,
    head_branch: Option<Name<1_024>>,
    head_sha: CommitId,
    conclusion: Option<Word>,
    html_url: Option<Name<2_048>>,
    /// Nothing when the repository is gone.
    head_repository: Option<HeadRepository>,
}

/// Fewer fields are sent of it than of others.
#[derive(Debug, Deserialize)]
struct HeadRepository {
    full_name: Name<512>,
}

impl WorkflowRunPayload {
    pub(crate) fn normalised(self) -> Parsed {
        let it = self.workflow_run;
        let head = it.head_repository.map(|head| head.full_name);
        let from_fork = head.is_none_or(|head| head.as_str() != self.repository.path());
        finished(
            &self.action,
            PipelineKind::Pipeline,
            Run {
                id: it.id,
                name: it.name,
                branch: it.head_branch,
                sha: it.head_sha,
                conclusion: it.conclusion,
                html_url: it.html_url,
                from_fork,
            },
            self.repository,
            self.sender,
        )
    }
}

/// A `check_run`.
#[derive(Debug, Deserialize)]
pub(crate) struct CheckRunPayload {
    action: Word,
    check_run: CheckRun,
    repository: Repository,
    sender: Option<Sender>,
}

#[derive(Debug, Deserialize)]
struct CheckRun {
    id: u64,
    name: Option<Line<200>>,
    head_sha: CommitId,
    conclusion: Option<Word>,
    html_url: Option<Name<2_048>>,
    check_suite: Option<CheckSuite>,
    #[serde(default)]
    pull_requests: Vec<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
struct CheckSuite {
    head_branch: Option<Name<1_024>>,
}

impl CheckRunPayload {
    pub(crate) fn normalised(self) -> Parsed {
        let it = self.check_run;
        let branch = it.check_suite.and_then(|suite| suite.head_branch);
        // GitHub names neither the branch nor the pull requests where the commit is one of a fork.
        // https://docs.github.com/en/rest/guides/using-the-rest-api-to-interact-with-checks
        let from_fork = branch.is_none() && it.pull_requests.is_empty();
        finished(
            &self.action,
            PipelineKind::Check,
            Run {
                id: it.id,
                name: it.name,
                branch,
                sha: it.head_sha,
                conclusion: it.conclusion,
                html_url: it.html_url,
                from_fork,
            },
            self.repository,
            self.sender,
        )
    }
}

struct Run {
    id: u64,
    name: Option<Line<200>>,
    branch: Option<Name<1_024>>,
    sha: CommitId,
    conclusion: Option<Word>,
    html_url: Option<Name<2_048>>,
    from_fork: bool,
}

fn finished(
    action: &Word,
    kind: PipelineKind,
    run: Run,
    repository: Repository,
    sender: Option<Sender>,
) -> Parsed {
    let ended = run.conclusion.filter(|_| action.as_str() == "completed");
    let Some(conclusion) = ended else {
        return Parsed::Ignored {
            reason: format!("it has not ended: its action is {:?}", action.as_str()),
        };
    };
    Parsed::Events(vec![Normalised::PipelineFinished(PipelineFinished {
        vendor: Vendor::Github,
        repository: Some(repository.normalised()),
        kind,
        run: run.id.to_string(),
        name: run
            .name
            .map(Line::into_string)
            .filter(|name| !name.is_empty()),
        outcome: outcome(conclusion.as_str()),
        vendor_outcome: conclusion.into_string(),
        ref_short: run.branch.and_then(Name::filled),
        // Of a tag GitHub says only its name, as of a branch.
        of_tag: false,
        sha: Some(run.sha),
        from_fork: run.from_fork,
        html_url: run.html_url.and_then(Name::filled),
        actor: sender.and_then(Sender::filled),
        actor_name: None,
    })])
}

/// <https://docs.github.com/en/rest/checks/runs#get-a-check-run>. A word that is not known here says neither.
fn outcome(conclusion: &str) -> PipelineOutcome {
    match conclusion {
        "success" => PipelineOutcome::Succeeded,
        "failure" | "timed_out" | "startup_failure" => PipelineOutcome::Failed,
        "cancelled" => PipelineOutcome::Cancelled,
        "skipped" => PipelineOutcome::Skipped,
        _ => PipelineOutcome::Neutral,
    }
}
