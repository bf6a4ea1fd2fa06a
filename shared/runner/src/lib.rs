//! Does a run: fetches what it is to do, takes its steps, tells what they say, keeps what they make, and says how it ended.
//!
//! A runner knows a callback URL and a token ([`Settings`]), and nothing else of the installation. It goes on while nobody answers
//! there, says its last word until it is taken, and stops everything at once when it hears that the run is not its own any more.
//! Its programs are held by [`exec`]; those on other machines by what [`Executes`] them or
//! [`Orders`] what they are to do.

mod callback;
mod folder;
mod journal;
mod keep;
mod run;
mod settings;
mod steps;

pub use run::{Exit, run};
pub use settings::{RunAs, Settings, WrongSetting};
pub use steps::{Elsewhere, Executes, Ordered, Orders, Remote};
