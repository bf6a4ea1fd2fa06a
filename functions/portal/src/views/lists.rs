//! Rows that more than one page shows.

use maud::{Markup, html};

use super::model::{Became, DeliveryRow, JobRow, LiveRevision, Reader, WorkloadRow};
use super::parts::{ago, chip, commit, icon, outside_link, state_chip, verdict_chip};
use super::reasons;
use crate::i18n::Language;

pub(super) fn deliveries(reader: &Reader, rows: &[DeliveryRow]) -> Markup {
    let language = reader.language;
    html! {
        table class="rows deliveries" {
            caption class="unseen" { (language.t("deliveries-title")) }
            thead {
                tr {
                    th scope="col" { (language.t("column-delivery")) }
                    th scope="col" { (language.t("column-verdict")) }
                    th scope="col" { (language.t("column-became")) }
                    th scope="col" class="end" { (language.t("column-when")) }
                }
            }
            tbody {
                @for row in rows {
                    tr id={ "delivery-" (row.id) } data-row="" {
                        td class="lead" {
                            a class="row-link" href={ "/deliveries/" (row.id) } {
                                span class="vendor" { (row.vendor) }
                                span class="row-name" { (row.event) }
                            }
                            @if let Some(about) = &row.about { span class="row-about" { (about) } }
                        }
                        td data-label=(language.t("column-verdict")) { (verdict_chip(language, row.verdict)) }
                        td data-label=(language.t("column-became")) { (became(language, &row.became)) }
                        td class="end quiet" data-label=(language.t("column-when")) { (ago(reader, row.received_at)) }
                    }
                }
            }
        }
    }
}

pub(super) fn became(language: Language, became: &[Became]) -> Markup {
    html! {
        @if became.is_empty() { span class="quiet" { (language.t("became-nothing")) } }
        @else {
            ul class="became" {
                @for one in became {
                    li {
                        @match one {
                            Became::Pending => span class="quiet" { (language.t("became-pending")) },
                            Became::NoMatch { event } => a href={ "/events/" (event) } {
                                (language.t("became-no-match"))
                            },
                            Became::Forgotten { id } => span class="quiet" {
                                (language.with("became-forgotten", &[("id", id.to_string().into())]))
                            },
                            Became::Job { id, state, subject } => {
                                (state_chip(language, *state))
                                a href={ "/jobs/" (id) } { (subject) }
                            },
                        }
                    }
                }
            }
        }
    }
}

pub(super) fn jobs(reader: &Reader, rows: &[JobRow]) -> Markup {
    let language = reader.language;
    html! {
        ul class="job-rows" {
            @for row in rows {
                li id={ "job-" (row.id) } data-row="" {
                    div class="job-row-state" { (state_chip(language, row.state)) }
                    div class="job-row-main" {
                        a class="row-link" href={ "/jobs/" (row.id) } {
                            span class="row-name" { (row.task) }
                            span class="number" { (language.with("job-number", &[("id", row.id.to_string().into())])) }
                        }
                        @if let Some(workload) = &row.workload {
                            a class="quiet-link" href=(workload.href) { (icon("workload")) (workload.name) }
                        }
                        // The nearest: what comes after it is on the job's page.
                        @if let Some(reason) = row.reasons.first() {
                            span class="row-why" { (reasons::reason(reader, reason)) }
                        }
                        @if let Some(error) = &row.error { span class="row-error" { (error) } }
                    }
                    div class="quiet end" { (ago(reader, row.since)) }
                }
            }
        }
    }
}

pub(super) fn workloads(reader: &Reader, rows: &[WorkloadRow]) -> Markup {
    let language = reader.language;
    html! {
        ul class="workload-rows" {
            @for row in rows {
                li id={ "workload-" (row.id) } data-row="" {
                    div class="workload-row-head" {
                        a class="row-link" href={ "/workloads/" (row.id) } {
                            span class="row-name" { (row.name) }
                        }
                        span class="tag" { (row.kind) }
                        (chip(row.state.tone(), row.state.icon(), &language.key(row.state.label())))
                    }
                    div class="workload-row-foot" {
                        @if let Some(url) = &row.url { (outside_link(url)) }
                        @if let Some(live) = &row.live { (revision(reader, live)) }
                        @else { span class="quiet" { (language.t("workload-never")) } }
                    }
                }
            }
        }
    }
}

pub(super) fn revision(reader: &Reader, live: &LiveRevision) -> Markup {
    html! {
        span class="live-revision quiet" {
            (revision_number(reader.language, live.number)) (commit(&live.commit)) (ago(reader, live.since))
        }
    }
}

pub(super) fn revision_number(language: Language, number: i64) -> Markup {
    html! { span class="number" { (language.with("revision-number", &[("n", number.to_string().into())])) } }
}
