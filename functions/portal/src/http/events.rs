//! One event: which bindings looked at it, and what each decided and why.

use axum::extract::{Path, State};
use database::TenantTx;
use host::Ctx;
use maud::Markup;
use model::EventId;
use store::pages::{self, EventDecision, JobDetail, Revision};

use super::problem::Problem;
use super::rows;
use super::session::Signed;
use crate::i18n::Language;
use crate::views::event::event;
use crate::views::model::{
    ChainKind, ChainNode, Clause, Decision, EventPage, JobRef, Target, Tone,
};

/// How much of an event's data is shown, in bytes.
const DATA_BYTES_MAX: usize = 64 * 1024;

pub(super) async fn page(
    State(ctx): State<Ctx>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Markup, Problem> {
    let mut tx = signed.begin(&ctx).await?;
    let view = read(&mut tx, signed.visitor.language, rows::id(&id)?).await?;
    tx.commit().await?;
    Ok(event(&signed.reader(), &view.ok_or(Problem::NotFound)?))
}

pub(super) async fn read(
    tx: &mut TenantTx,
    language: Language,
    id: EventId,
) -> Result<Option<EventPage>, Problem> {
    let Some(found) = pages::event(tx, id).await? else {
        return Ok(None);
    };
    let data = pages::event_data(tx, id).await?.unwrap_or_default();
    // The chain follows the first binding that started something; the others are in the table.
    let followed = found.decisions.iter().find(|decision| decision.matched);
    let job = match followed.and_then(|decision| decision.job) {
        Some(job) => pages::job(tx, job).await?,
        None => None,
    };
    let revision = revision_of(tx, job.as_ref()).await?;
    let followed = followed.or(found.decisions.first());
    let chain = chain(
        language,
        Some(&found),
        followed,
        job.as_ref(),
        revision.as_ref(),
    );
    let is_over = found.dispatched_at.is_some()
        && found
            .decisions
            .iter()
            .all(|decision| decision.job_state.is_none_or(model::JobState::is_final));
    let shown = rows::pretty(&data).unwrap_or(data);
    Ok(Some(EventPage {
        id: id.uuid(),
        kind: rows::event_kind(&found.ty),
        subject: found.subject,
        source: found.source,
        received_at: found.accepted_at,
        dispatched_at: found.dispatched_at,
        decisions: found
            .decisions
            .iter()
            .map(|decision| {
                decided(
                    language,
                    found.trigger.as_ref().map(|t| t.name.as_str()),
                    decision,
                )
            })
            .collect(),
        trigger: found.trigger.map(|trigger| trigger.name),
        chain,
        data: shown[..shown.floor_char_boundary(DATA_BYTES_MAX)].to_owned(),
        live_href: (!is_over).then(|| format!("/live{}", rows::event_href(id))),
    }))
}

/// The revision that a job made live, if it did.
pub(super) async fn revision_of(
    tx: &mut TenantTx,
    job: Option<&JobDetail>,
) -> Result<Option<Revision>, Problem> {
    let Some((job, workload)) = job.and_then(|job| Some((job, job.job.workload.as_ref()?))) else {
        return Ok(None);
    };
    let Some(id) = rows::result_revision(job.result.as_ref()) else {
        return Ok(None);
    };
    Ok(pages::revision(tx, workload.id, id).await?)
}

/// From the wire to what is live, as far as it has come.
pub(super) fn chain(
    language: Language,
    event: Option<&pages::Event>,
    decision: Option<&EventDecision>,
    job: Option<&JobDetail>,
    revision: Option<&Revision>,
) -> Vec<ChainNode> {
    let mut nodes = Vec::new();
    if let Some(event) = event {
        if let Some(delivery) = &event.delivery {
            let word = delivery.vendor_event.as_deref().unwrap_or_default();
            nodes.push(ChainNode {
                kind: ChainKind::Delivery,
                label: format!("{} {word}", delivery.vendor),
                href: Some(rows::delivery_href(delivery.id)),
                at: Some(delivery.received_at),
                tone: Tone::Good,
            });
        }
        nodes.push(ChainNode {
            kind: ChainKind::Event,
            label: rows::event_kind(&event.ty),
            href: Some(rows::event_href(event.id)),
            at: Some(event.accepted_at),
            tone: Tone::Good,
        });
        nodes.push(ChainNode {
            kind: ChainKind::Decision,
            label: match decision {
                Some(decision) if decision.matched => language.t("decision-matched"),
                Some(_) => language.t("decision-not-matched"),
                None => language.t("became-nothing"),
            },
            href: Some(rows::event_href(event.id)),
            at: event.dispatched_at,
            tone: match decision {
                Some(decision) if decision.matched => Tone::Good,
                Some(_) | None => Tone::Quiet,
            },
        });
    }
    let Some(job) = job else { return nodes };
    let state = rows::state(job.job.state);
    nodes.push(ChainNode {
        kind: ChainKind::Job,
        label: format!(
            "{} {}",
            job.job.task,
            language.with("job-number", &[("id", job.job.id.to_string().into())])
        ),
        href: Some(format!("/jobs/{}", job.job.id)),
        at: Some(job.job.started_at.unwrap_or(job.job.created_at)),
        tone: state.tone(),
    });
    let workload = job.job.workload.as_ref();
    nodes.push(ChainNode {
        kind: ChainKind::Revision,
        label: match (revision, workload) {
            (Some(revision), Some(workload)) => format!(
                "{} {}",
                workload.name,
                language.with(
                    "revision-number",
                    &[("n", revision.number.to_string().into())]
                )
            ),
            _ => language.t("became-nothing"),
        },
        href: workload
            .filter(|_| revision.is_some())
            .map(|workload| rows::workload_href(workload.id)),
        // When it was live by this job; it may have been made by an earlier one.
        at: job.job.finished_at.filter(|_| revision.is_some()),
        tone: if revision.is_some() {
            Tone::Good
        } else {
            Tone::Quiet
        },
    });
    nodes
}

fn decided(language: Language, trigger: Option<&str>, decision: &EventDecision) -> Decision {
    let failed = decision.clause.as_ref().map(|name| Clause {
        name: clause_name(language, name),
        expected: decision.expected.clone().unwrap_or_default(),
        actual: decision.actual.clone().filter(|actual| !actual.is_empty()),
        held: false,
    });
    let held = decision
        .held
        .iter()
        .map(|check| clause(language, check, true));
    let target = match (&decision.workload, &decision.task) {
        (Some(workload), _) => Target::Workload(rows::workload_link(workload)),
        (None, task) => Target::Task(task.clone().unwrap_or_default()),
    };
    let name = match &target {
        Target::Workload(link) => link.name.clone(),
        Target::Task(task) => task.clone(),
    };
    Decision {
        binding: match trigger {
            Some(trigger) => format!("{trigger} → {name}"),
            None => name,
        },
        id: decision.binding,
        target,
        matched: decision.matched,
        clauses: held.chain(failed).collect(),
        job: decision.job.map(|job| JobRef {
            id: job.0,
            state: decision.job_state.map(rows::state),
        }),
    }
}

fn clause(language: Language, check: &model::Check, held: bool) -> Clause {
    Clause {
        name: clause_name(language, check.clause.as_str()),
        expected: check.expected.clone(),
        actual: Some(check.actual.clone()).filter(|actual| held || !actual.is_empty()),
        held,
    }
}

/// What was compared, up to what failed.
pub(super) fn clauses(
    language: Language,
    held: &[model::Check],
    failed: Option<&model::Check>,
) -> Vec<Clause> {
    let held = held.iter().map(|check| clause(language, check, true));
    let failed = failed.map(|check| clause(language, check, false));
    held.chain(failed).collect()
}

fn clause_name(language: Language, clause: &str) -> String {
    match clause {
        "enabled" => language.t("clause-name-enabled"),
        "depth" => language.t("clause-name-depth"),
        "event_type" => language.t("clause-name-event-type"),
        "repository" => language.t("clause-name-repository"),
        "deleted" => language.t("clause-name-deleted"),
        "branch" => language.t("clause-name-branch"),
        "tag" => language.t("clause-name-tag"),
        "paths" => language.t("clause-name-paths"),
        "skip" => language.t("clause-name-skip"),
        "action" => language.t("clause-name-action"),
        "base" => language.t("clause-name-base"),
        "fork" => language.t("clause-name-fork"),
        "draft" => language.t("clause-name-draft"),
        "pipeline" => language.t("clause-name-pipeline"),
        "outcome" => language.t("clause-name-outcome"),
        "image" => language.t("clause-name-image"),
        "platform" => language.t("clause-name-platform"),
        "event_name" => language.t("clause-name-event-name"),
        "field" => language.t("clause-name-field"),
        "attribute" => language.t("clause-name-attribute"),
        "rule" => language.t("clause-name-rule"),
        "severity" => language.t("clause-name-severity"),
        "condition" => language.t("clause-name-condition"),
        "seen" => language.t("clause-name-seen"),
        "payload" => language.t("clause-name-payload"),
        "config" => language.t("clause-name-config"),
        _ => language.t("clause-name-other"),
    }
}
