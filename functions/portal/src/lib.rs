//! Shows people what arrived, what was decided, what runs, and why something waits.
//!
//! Pages are pure functions from plain structs to markup ([`views`]), so every page can be rendered and looked at without
//! a database. They work without JavaScript; scripts add live updates, times in the reader's zone and shortcuts.

pub mod assets;
pub mod headers;
pub mod i18n;
pub mod log_text;
pub mod views;

#[cfg(test)]
mod preview;
#[cfg(test)]
mod source_checks;
