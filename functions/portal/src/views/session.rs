//! Signing in by a one-time link, and signing out.

use maud::{Markup, html};

use super::layout::{Head, Section, page};
use super::model::Reader;
use super::parts::{command, icon};

/// What the sign-in page can say.
#[derive(Clone, Debug)]
pub enum SignIn<'a> {
    /// The link looks right. It is used up by the button, not by opening it: previews of links open them too.
    Confirm {
        /// The token of the link.
        token: &'a str,
    },
    /// The link was used before, is too old, or never was one.
    Expired {
        /// What prints a new one.
        command: &'a str,
    },
    /// There is no link.
    Needed {
        /// What prints one.
        command: &'a str,
    },
    /// The reader has just left.
    SignedOut {
        /// What prints a new link.
        command: &'a str,
    },
}

/// The sign-in page.
#[must_use]
pub fn sign_in(reader: &Reader, view: &SignIn<'_>) -> Markup {
    let language = reader.language;
    let (title, text) = match view {
        SignIn::Confirm { .. } => (language.t("sign-in-title"), language.t("sign-in-text")),
        SignIn::Expired { .. } => (
            language.t("sign-in-expired-title"),
            language.t("sign-in-expired-text"),
        ),
        SignIn::Needed { .. } => (
            language.t("sign-in-needed-title"),
            language.t("sign-in-needed-text"),
        ),
        SignIn::SignedOut { .. } => (
            language.t("signed-out-title"),
            language.t("sign-in-needed-text"),
        ),
    };
    let head = Head {
        title: &title,
        section: Section::Elsewhere,
        live_href: None,
    };
    let main = html! {
        section class="card narrow" {
            h1 { (title) }
            p { (text) }
            @match view {
                SignIn::Confirm { token } => form method="post" action="/sign-in" {
                    input type="hidden" name="token" value=(token);
                    button class="button primary wide" type="submit" autofocus {
                        (icon("enter")) (language.t("sign-in-button"))
                    }
                },
                SignIn::Expired { command: text }
                | SignIn::Needed { command: text }
                | SignIn::SignedOut { command: text } => (command(language, text)),
            }
        }
    };
    page(reader, &head, &main)
}
