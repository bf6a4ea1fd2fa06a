//! Pages that say what went wrong and what to do next.

use maud::{Markup, html};

use super::layout::{Head, Section, page};
use super::model::{Failure, Reader};
use super::parts::icon;

impl Failure {
    /// The status that goes with it.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::NotFound => 404,
            Self::Forbidden => 403,
            Self::Internal => 500,
            Self::Unavailable => 503,
        }
    }
}

/// An error page. `reference` is what the log calls this failure, for whoever has to look.
#[must_use]
pub fn failure(reader: &Reader, failure: Failure, reference: Option<&str>) -> Markup {
    let language = reader.language;
    let (title, text) = match failure {
        Failure::NotFound => (language.t("not-found-title"), language.t("not-found-text")),
        Failure::Forbidden => (language.t("forbidden-title"), language.t("forbidden-text")),
        Failure::Internal => (language.t("internal-title"), language.t("internal-text")),
        Failure::Unavailable => (
            language.t("unavailable-title"),
            language.t("unavailable-text"),
        ),
    };
    let head = Head {
        title: &title,
        section: Section::Elsewhere,
        live_href: None,
    };
    let main = html! {
        section class="card narrow failure" {
            p class="failure-code" aria-hidden="true" { (failure.status()) }
            h1 { (title) }
            p { (text) }
            @if let Some(reference) = reference {
                p class="quiet" {
                    (language.rich("failure-reference", &[("reference", html! { code { (reference) } })]))
                }
            }
            div class="actions" {
                @match failure {
                    Failure::NotFound | Failure::Forbidden => {},
                    Failure::Internal | Failure::Unavailable => a class="button primary" href=(reader.path) {
                        (icon("retry")) (language.t("try-again"))
                    },
                }
                a class="button" href="/" { (icon("overview")) (language.t("go-to-overview")) }
            }
        }
    };
    page(reader, &head, &main)
}

/// What was asked for cannot be done now; `why` says what stands against it.
#[must_use]
pub fn refused(reader: &Reader, why: &str) -> Markup {
    let language = reader.language;
    let title = language.t("refused-title");
    let head = Head {
        title: &title,
        section: Section::Elsewhere,
        live_href: None,
    };
    let main = html! {
        section class="card narrow failure" {
            h1 { (title) }
            p { (why) }
            div class="actions" {
                a class="button" href="/queues" { (icon("queued")) (language.t("nav-queue")) }
            }
        }
    };
    page(reader, &head, &main)
}
