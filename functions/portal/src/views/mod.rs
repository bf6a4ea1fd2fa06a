//! Every page as a pure function from what it shows to markup.
//!
//! A page that changes while it is looked at has its changing part in a function of its own, with an id: the stream sends
//! the same markup again, wrapped by [`fragment`], and the browser morphs the old into the new.

pub mod again;
pub mod dead;
pub mod declared_form;
pub mod delivery;
pub mod dry_run;
pub mod event;
pub mod failure;
pub mod job;
pub mod log_rules;
pub mod model;
pub mod notify;
pub mod overview;
pub mod queues;
pub mod runs;
pub mod schedule_form;
pub mod schedules;
pub mod session;
pub mod states;
pub mod topology;
pub mod trigger_form;
pub mod triggers;
pub mod workload;

mod chain;
mod layout;
mod lists;
mod parts;
mod payload_fields;
mod reasons;
mod run;
mod watch;
mod wrong;

use maud::{Markup, html};

pub use layout::REDUCED_TITLE_CHARS_MAX;

/// Wraps markup so that the stream replaces the element with this id by it, keeping focus, selection and scroll.
#[must_use]
pub fn fragment(id: &str, markup: &Markup) -> Markup {
    html! { hx-partial hx-target={ "#" (id) } hx-swap="outerMorph" { (markup) } }
}
