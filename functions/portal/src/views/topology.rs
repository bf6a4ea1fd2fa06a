//! A lab: drawn on the server, and the same as a table.

use labs::Graph;
use maud::{Markup, PreEscaped, html};

use super::layout::{Head, Section, page};
use super::model::Reader;
use super::parts::nothing;
use crate::log_text::LogText;

/// The page of the lab that a job made.
#[must_use]
pub fn topology(reader: &Reader, job: i64, lab: &Graph) -> Markup {
    let language = reader.language;
    let title = language.with("topology-title", &[("lab", lab.lab.as_str().into())]);
    let head = Head {
        title: &title,
        section: Section::Runs,
        live_href: None,
    };
    // What is drawn has escaped every text that others wrote; labels, addresses and names are in the table as well.
    let drawn = labs::svg(lab, &title).map(PreEscaped);
    let text = |text: &Option<String>| {
        html! { @match text { Some(text) => code { (LogText::parse(text)) }, None => span class="quiet" { "–" } } }
    };
    let main = html! {
        nav class="crumbs" aria-label=(language.t("crumbs-label")) {
            a href="/runs" { (language.t("runs-title")) }
            a href={ "/jobs/" (job) } { (language.with("job-number", &[("id", job.to_string().into())])) }
        }
        header class="page-head" { h1 { (title) } }
        section class="panel lab-drawing" aria-labelledby="drawing" {
            header class="panel-head" {
                h2 id="drawing" { (language.t("topology-drawing")) }
                @if drawn.is_some() { label class="lab-fit" { input type="checkbox"; span { (language.t("topology-fit")) } } }
            }
            @match drawn {
                Some(drawn) => div class="lab-scroll" tabindex="0" role="group" aria-label=(title) { (drawn) },
                None => (nothing(&language.with("topology-not-drawn", &[("count", (lab.nodes.len() as u64).into())]))),
            }
        }
        section class="panel" aria-labelledby="nodes" {
            header class="panel-head" { h2 id="nodes" { (language.t("topology-nodes")) } span class="quiet" { (lab.nodes.len()) } }
            table class="rows" {
                caption class="unseen" { (language.t("topology-nodes")) }
                thead { tr { th scope="col" { (language.t("column-name")) } th scope="col" { (language.t("topology-kind")) } th scope="col" { (language.t("topology-image")) } th scope="col" { (language.t("topology-address")) } th scope="col" { (language.t("column-state")) } } }
                tbody {
                    @for node in &lab.nodes {
                        tr {
                            td class="lead" { span class="row-name" { (LogText::parse(&node.id)) } }
                            td data-label=(language.t("topology-kind")) { (text(&node.kind)) }
                            td data-label=(language.t("topology-image")) { (text(&node.image)) }
                            td data-label=(language.t("topology-address")) { (text(&node.mgmt_ip)) @if let Some(host) = &node.mgmt_host { " " code { (LogText::parse(host)) } } }
                            td data-label=(language.t("column-state")) { (text(&node.status)) }
                        }
                    }
                }
            }
        }
        section class="panel" aria-labelledby="links" {
            header class="panel-head" { h2 id="links" { (language.t("topology-links")) } span class="quiet" { (lab.edges.len()) } }
            @if lab.edges.is_empty() { (nothing(&language.t("topology-no-links"))) }
            @else {
                table class="rows" {
                    caption class="unseen" { (language.t("topology-links")) }
                    thead { tr { th scope="col" { (language.t("topology-from")) } th scope="col" { (language.t("topology-to")) } } }
                    tbody {
                        @for edge in &lab.edges {
                            tr {
                                td class="lead" { (LogText::parse(&edge.source)) " " code { (LogText::parse(&edge.source_interface)) } }
                                td data-label=(language.t("topology-to")) { (LogText::parse(&edge.target)) " " code { (LogText::parse(&edge.target_interface)) } }
                            }
                        }
                    }
                }
            }
        }
    };
    page(reader, &head, &main)
}
