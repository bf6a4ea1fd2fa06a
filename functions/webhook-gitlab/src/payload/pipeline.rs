//! Pipelines.

use model::Vendor;
use model::git::{CommitId, PipelineFinished, PipelineKind, PipelineOutcome};
use serde::Deserialize;
use webhook::git::Word;
use webhook::{Line, Name, Normalised, Parsed};

use super::{Project, User};

/// A `pipeline`. One is sent each time its status changes.
#[derive(Debug, Deserialize)]
pub(crate) struct PipelinePayload {
    user: Option<User>,
    project: Project,
    object_attributes: Attributes,
    merge_request: Option<MergeRequest>,
}

#[derive(Debug, Deserialize)]
struct Attributes {
    id: u64,
    name: Option<Line<200>>,
    #[serde(rename = "ref")]
    ref_short: Option<Name<1_024>>,
    #[serde(default)]
    tag: bool,
    sha: Option<CommitId>,
    source: Option<Word>,
    status: Word,
    url: Option<Name<2_048>>,
}

#[derive(Debug, Deserialize)]
struct MergeRequest {
    source_project_id: Option<u64>,
    target_project_id: u64,
}

impl PipelinePayload {
    pub(crate) fn normalised(self) -> Parsed {
        let it = self.object_attributes;
        let outcome = match it.status.as_str() {
            "success" => PipelineOutcome::Succeeded,
            "failed" => PipelineOutcome::Failed,
            "canceled" => PipelineOutcome::Cancelled,
            "skipped" => PipelineOutcome::Skipped,
            other => {
                return Parsed::Ignored {
                    reason: format!("the pipeline has not ended: its status is {other:?}"),
                };
            }
        };
        // A pull request of another host comes from nobody knows where.
        let external = it
            .source
            .is_some_and(|source| source.as_str() == "external_pull_request_event");
        let of_a_fork = self
            .merge_request
            .is_some_and(|it| it.source_project_id != Some(it.target_project_id));
        Parsed::Events(vec![Normalised::PipelineFinished(PipelineFinished {
            vendor: Vendor::Gitlab,
            repository: Some(self.project.normalised()),
            kind: PipelineKind::Pipeline,
            run: it.id.to_string(),
            name: it
                .name
                .map(Line::into_string)
                .filter(|name| !name.is_empty()),
            outcome,
            vendor_outcome: it.status.into_string(),
            ref_short: it.ref_short.and_then(Name::filled),
            of_tag: it.tag,
            sha: it.sha,
            from_fork: external || of_a_fork,
            html_url: it.url.and_then(Name::filled),
            actor: self.user.and_then(User::filled),
            actor_name: None,
        })])
    }
}
