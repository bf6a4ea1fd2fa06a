//! The way from the wire to what is live, as a row of linked steps.

use maud::{Markup, html};

use super::model::{ChainNode, Reader};
use super::parts::{ago, duration, icon, tone_class};

/// An ordered list, so that it reads the same without its lines. Between two steps stands the time from one to the next.
pub(super) fn chain(reader: &Reader, nodes: &[ChainNode]) -> Markup {
    let language = reader.language;
    let mut before = None;
    let steps: Vec<_> = nodes
        .iter()
        .map(|node| {
            let took = before.zip(node.at).map(|(before, at)| at - before);
            before = node.at.or(before);
            (node, took)
        })
        .collect();
    html! {
        ol class="chain" id="chain" aria-label=(language.t("chain-label")) {
            @for (node, took) in steps {
                li class=(tone_class(node.tone)) {
                    span class="chain-gap" {
                        @if let Some(took) = took {
                            span class="unseen" { (language.t("chain-after")) }
                            (duration(language, took))
                        }
                    }
                    span class="chain-mark" { (icon(node.kind.icon())) }
                    span class="chain-kind" { (language.key(node.kind.label())) }
                    span class="chain-label" {
                        @if let Some(href) = &node.href { a href=(href) { (node.label) } }
                        @else { (node.label) }
                    }
                    @if let Some(at) = node.at { span class="chain-at quiet" { (ago(reader, at)) } }
                }
            }
        }
    }
}
