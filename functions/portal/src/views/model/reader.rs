//! Who reads a page, and the small words that every page speaks in.

use chrono::{DateTime, Utc};

use crate::i18n::{Key, Language};

/// Who reads a page, and how they like it.
#[derive(Clone, Debug)]
pub struct Reader {
    /// The language of every word on the page.
    pub language: Language,
    /// Light, dark, or as the system says.
    pub theme: Theme,
    /// Whoever is signed in; nobody on the sign-in page and on some error pages.
    pub person: Option<Person>,
    /// The token that a form of this session must carry.
    pub csrf: String,
    /// The instant from which relative times are counted.
    pub now: DateTime<Utc>,
    /// The path and query of this page, to come back to after a change of preferences.
    pub path: String,
}

/// Somebody who is signed in.
#[derive(Clone, Debug)]
pub struct Person {
    /// Their name, as they want to be called.
    pub name: String,
    /// The tenant whose rows they see.
    pub tenant: String,
    /// Whether their role lets them start, stop and roll back.
    pub may_operate: bool,
}

/// The colours of the page.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Theme {
    /// As the system says.
    Auto,
    /// Always light.
    Light,
    /// Always dark.
    Dark,
}

impl Theme {
    /// Every theme, in the order in which they are offered.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Light, Self::Dark];

    /// The value in the cookie and on the page's root.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// The theme with this code; anything else is as the system says.
    #[must_use]
    pub fn from_code(code: &str) -> Self {
        Self::ALL
            .into_iter()
            .find(|theme| theme.code() == code)
            .unwrap_or(Self::Auto)
    }

    /// The message that names it.
    #[must_use]
    pub const fn label(self) -> Key {
        match self {
            Self::Auto => Key("theme-auto"),
            Self::Light => Key("theme-light"),
            Self::Dark => Key("theme-dark"),
        }
    }
}

/// A count that was bounded when it was taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Count {
    /// Exactly so many.
    Exact(u64),
    /// So many or more: counting stopped there.
    AtLeast(u64),
}

/// Something that has a page.
#[derive(Clone, Debug)]
pub struct Link {
    /// What it is called.
    pub name: String,
    /// Where its page is.
    pub href: String,
}

/// How something is doing: chooses the colour and the icon, never the word.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tone {
    /// Nothing to worry about and nothing to do.
    Quiet,
    /// Work is going on.
    Active,
    /// It waits for something.
    Waiting,
    /// It ended well.
    Good,
    /// Somebody should look.
    Warning,
    /// It ended badly.
    Bad,
}
