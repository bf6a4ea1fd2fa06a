//! What runners did for a job: phase and steps, terraform's resources as they change, the plan and who decides on it, what
//! was kept, and how far a request to stop has come.

mod plan;
mod stop;
mod terraform;

use maud::{Markup, html};
use model::run::{RunState, StepState};

use super::layout::form_token;
use super::model::{ArtifactRow, JobPage, Reader, RunPanel, RunView, StepView, Tone};
use super::parts::{ago, bytes, chip, clock, commit, duration, icon, moment, tone_class};
use crate::i18n::{Key, Language};

pub use plan::job_plan;
pub(super) use plan::{attributes, shown};
pub(super) use stop::stop;
pub(super) use terraform::{deed, left_out};

/// The part with the id `job-run`, which the stream replaces.
#[must_use]
pub fn job_run(reader: &Reader, view: &JobPage) -> Markup {
    let panel = &view.run;
    html! {
        div id="job-run" {
            @if let Some(run) = panel.runs.first() {
                (latest(reader, run, panel))
                @if let Some(report) = &panel.report { (terraform::report(reader, report)) }
                @if !panel.artifacts.is_empty() { (artifacts(reader, view.row.id, &panel.artifacts)) }
            }
        }
    }
}

fn latest(reader: &Reader, run: &RunView, panel: &RunPanel) -> Markup {
    let language = reader.language;
    html! {
        section class="panel padded run" aria-labelledby="run" {
            header class="panel-head flush" {
                h2 id="run" { (language.t("run-title")) " " code { (run.phase) } }
                (run_state(language, run.state))
                @match (run.ended_at, run.seen_at) {
                    (Some(ended), _) => span class="quiet" { (duration(language, ended - run.created_at)) },
                    (None, Some(seen)) => span class="quiet" { (language.rich("run-heard", &[("when", ago(reader, seen))])) },
                    (None, None) => span class="quiet" { (language.t("run-not-heard")) },
                }
            }
            @if let Some(reason) = &run.reason { p class="row-error" { (reason) } }
            @if !run.steps.is_empty() {
                ol class="steps" { @for step in &run.steps { (one_step(reader, step)) } }
            }
            @if run.lines_dropped > 0 {
                p class="hint" { (language.with("run-lines-dropped", &[("count", run.lines_dropped.into())])) }
            }
            @if panel.runs.len() > 1 {
                details class="more" {
                    summary { (language.t("run-earlier")) }
                    ul class="plain-list" {
                        @for run in &panel.runs[1..] {
                            li {
                                (moment(run.created_at)) " " code { (run.phase) } " "
                                (run_state(language, run.state))
                                @if let Some(reason) = &run.reason { " " span class="quiet" { (reason) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn one_step(reader: &Reader, step: &StepView) -> Markup {
    let language = reader.language;
    let (tone, symbol, label) = look_of(step.state);
    html! {
        li class=(tone_class(tone)) {
            span class="step-mark" { (icon(symbol)) }
            span class="step-name" { (step.name) }
            span class="quiet" {
                (language.key(label))
                @match (step.started_at, step.ended_at) {
                    (Some(start), Some(end)) => { " · " (duration(language, end - start)) },
                    (Some(start), None) => { " · " (ago(reader, start)) },
                    (None, _) => {},
                }
                @if let Some(code) = step.exit_code.filter(|code| *code != 0) {
                    " · " (language.with("run-exit-code", &[("code", code.to_string().into())]))
                }
            }
            @if let Some(why) = &step.why { p class="row-error" { (why) } }
        }
    }
}

fn run_state(language: Language, state: RunState) -> Markup {
    let (tone, icon, key) = match state {
        RunState::Launching => (Tone::Waiting, "queued", Key("run-launching")),
        RunState::Running => (Tone::Active, "running", Key("run-running")),
        RunState::Succeeded => (Tone::Good, "check", Key("run-succeeded")),
        RunState::Failed => (Tone::Bad, "cross", Key("run-failed")),
        RunState::Cancelled => (Tone::Quiet, "stopped", Key("run-cancelled")),
        RunState::Lost => (Tone::Warning, "warning", Key("run-lost")),
    };
    chip(tone, icon, &language.key(key))
}

const fn look_of(state: StepState) -> (Tone, &'static str, Key) {
    match state {
        StepState::Waiting => (Tone::Waiting, "queued", Key("step-waiting")),
        StepState::Running => (Tone::Active, "running", Key("step-running")),
        StepState::Succeeded => (Tone::Good, "check", Key("step-succeeded")),
        StepState::Failed => (Tone::Bad, "cross", Key("step-failed")),
        StepState::Stopped => (Tone::Quiet, "stopped", Key("step-stopped")),
        StepState::Skipped => (Tone::Quiet, "minus", Key("step-skipped")),
    }
}

fn artifacts(reader: &Reader, job: i64, rows: &[ArtifactRow]) -> Markup {
    let language = reader.language;
    html! {
        section class="panel" aria-labelledby="artifacts" {
            header class="panel-head" {
                h2 id="artifacts" { (language.t("artifacts-title")) }
                @if rows.iter().any(|row| row.name == labs::TOPOLOGY_ARTIFACT) {
                    a href={ "/jobs/" (job) "/topology" } { (language.t("topology-link")) }
                }
            }
            table class="rows" {
                caption class="unseen" { (language.t("artifacts-title")) }
                thead {
                    tr {
                        th scope="col" { (language.t("artifact-name")) }
                        th scope="col" { (language.t("artifact-size")) }
                        th scope="col" { (language.t("artifact-sha256")) }
                        th scope="col" { (language.t("artifact-at")) }
                    }
                }
                tbody {
                    @for row in rows {
                        tr data-row {
                            td class="lead" {
                                @match &row.href {
                                    Some(href) if row.sealed => form method="post" action=(href) {
                                        (form_token(reader))
                                        button class="button small" type="submit" { (icon("download")) (row.name) }
                                    },
                                    Some(href) => a class="row-link" href=(href) download { (row.name) },
                                    None => (row.name),
                                }
                                @if row.sealed { " " span class="quiet" title=(language.t("artifact-sealed")) { (icon("lock")) (language.t("artifact-sealed-short")) } }
                            }
                            td data-label=(language.t("artifact-size")) { (bytes(language, row.bytes)) }
                            td data-label=(language.t("artifact-sha256")) { (commit(&row.sha256)) }
                            td data-label=(language.t("artifact-at")) { (clock(row.at)) }
                        }
                    }
                }
            }
        }
    }
}
