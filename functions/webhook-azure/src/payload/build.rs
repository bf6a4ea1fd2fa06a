//! Builds that ended.

use std::collections::BTreeMap;

use model::Vendor;
use model::git::{CommitId, PipelineFinished, PipelineKind, PipelineOutcome};
use serde::Deserialize;
use webhook::git::{Place, RepositoryPath, Word};
use webhook::{Line, Name, Normalised, ParseError, Parsed};

use super::{Person, Project, too_little};

/// What says in `triggerInfo` whether a pull request comes from a fork.
const IS_FORK: &str = "pr.isFork";

/// How a build can end that says either.
const OUTCOMES: [(&str, PipelineOutcome); 4] = [
    ("succeeded", PipelineOutcome::Succeeded),
    ("failed", PipelineOutcome::Failed),
    ("canceled", PipelineOutcome::Cancelled),
    ("stopped", PipelineOutcome::Cancelled),
];

/// A `build.complete`.
#[derive(Debug, Deserialize)]
pub(crate) struct BuildPayload {
    resource: Option<Resource>,
}

/// Version 1.0 of it says how it ended in `status` and what was built in `sourceGetVersion`, version 2.0 in `result`,
/// `sourceBranch` and `sourceVersion`.
#[derive(Debug, Deserialize)]
struct Resource {
    id: u64,
    #[serde(rename = "buildNumber")]
    number: Option<Line<200>>,
    definition: Option<Definition>,
    result: Option<Word>,
    status: Option<Word>,
    reason: Option<Word>,
    #[serde(rename = "sourceBranch")]
    branch: Option<Name<1_024>>,
    #[serde(rename = "sourceVersion")]
    version: Option<Name<64>>,
    #[serde(rename = "sourceGetVersion")]
    get_version: Option<Name<2_048>>,
    #[serde(rename = "triggerInfo", default)]
    trigger: Option<BTreeMap<String, serde_json::Value>>,
    repository: Option<Repository>,
    project: Option<Project>,
    #[serde(rename = "requestedFor")]
    requested_for: Option<Person>,
    #[serde(default)]
    requests: Vec<Request>,
    #[serde(rename = "_links", default)]
    links: Links,
}

#[derive(Debug, Deserialize)]
struct Definition {
    name: Option<Line<200>>,
}

#[derive(Debug, Deserialize)]
struct Repository {
    name: Option<Name<255>>,
    url: Option<Name<2_048>>,
}

#[derive(Debug, Deserialize)]
struct Request {
    #[serde(rename = "requestedFor")]
    requested_for: Option<Person>,
}

#[derive(Debug, Default, Deserialize)]
struct Links {
    web: Option<Link>,
}

#[derive(Debug, Deserialize)]
struct Link {
    href: Name<2_048>,
}

impl BuildPayload {
    pub(crate) fn normalised(self) -> Result<Parsed, ParseError> {
        let Some(it) = self.resource else {
            return Ok(too_little());
        };
        let Some(ended) = it.result.or(it.status) else {
            return Ok(too_little());
        };
        let known = OUTCOMES.iter().find(|(word, _)| *word == ended.as_str());
        // `partiallySucceeded`: something failed that was allowed to.
        let outcome = known.map_or(PipelineOutcome::Neutral, |(_, outcome)| *outcome);
        // `LG:refs/heads/main:<commit>`.
        let told = it
            .get_version
            .as_ref()
            .map(Name::as_str)
            .unwrap_or_default();
        let mut parts = told.split(':').skip(1);
        let branch = it
            .branch
            .and_then(Name::filled)
            .or_else(|| parts.next().map(str::to_owned));
        let version = it
            .version
            .and_then(Name::filled)
            .or_else(|| told.rsplit(':').next().map(str::to_owned));
        let tag = branch
            .as_deref()
            .and_then(|it| it.strip_prefix("refs/tags/"));
        let head = branch
            .as_deref()
            .and_then(|it| it.strip_prefix("refs/heads/"));
        let of_a_change = it
            .reason
            .is_some_and(|reason| reason.as_str() == "pullRequest");
        let own = it
            .trigger
            .as_ref()
            .and_then(|trigger| trigger.get(IS_FORK)?.as_str())
            .is_some_and(|is_fork| is_fork.eq_ignore_ascii_case("false"));
        let repository = match (it.project, it.repository) {
            (Some(project), Some(repository)) => place(&project, repository)?,
            (_, None) | (None, _) => None,
        };
        let actor = it
            .requested_for
            .or_else(|| it.requests.into_iter().find_map(|it| it.requested_for))
            .map(Person::told)
            .unwrap_or_default();
        let name = it.definition.and_then(|definition| definition.name);
        Ok(Parsed::Events(vec![Normalised::PipelineFinished(
            PipelineFinished {
                vendor: Vendor::AzureDevops,
                repository,
                kind: PipelineKind::Pipeline,
                run: it.id.to_string(),
                name: name
                    .or(it.number)
                    .map(Line::into_string)
                    .filter(|name| !name.is_empty()),
                outcome,
                vendor_outcome: ended.into_string(),
                ref_short: tag.or(head).or(branch.as_deref()).map(str::to_owned),
                of_tag: tag.is_some(),
                // What is not in Git has numbers here.
                sha: version.and_then(|version| version.parse::<CommitId>().ok()),
                from_fork: of_a_change && !own,
                html_url: it.links.web.and_then(|link| link.href.filled()),
                actor: actor.id,
                actor_name: actor.name,
            },
        )]))
    }
}

/// A build says the name of its repository only where that lies elsewhere.
fn place(
    project: &Project,
    repository: Repository,
) -> Result<Option<model::git::Repository>, ParseError> {
    let Some(name) = repository.name.and_then(Name::filled) else {
        return Ok(None);
    };
    // One at GitHub has its owner in its name.
    let path = if name.contains('/') {
        RepositoryPath::of(&[&name])
    } else {
        RepositoryPath::of(&[project.name.as_str(), &name])
    };
    let path =
        path.map_err(|problem| ParseError::malformed("resource.repository.name", &problem))?;
    Ok(Some(
        Place {
            path,
            html_url: repository.url.clone(),
            clone_urls: repository.url.into_iter().collect(),
            default_branch: None,
        }
        .normalised(),
    ))
}
