//! What is wrong with something that somebody wants to save, as cases that can be told in any language. The English words are
//! their Display, which programs get.

use std::fmt;

use model::{SourceKind, TriggerKind};

/// Something that is wrong, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where: a key with the keys above it. Empty where it is about the whole.
    pub place: String,
    /// What.
    pub why: Why,
}

/// Why something cannot be saved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// It is larger than any that is needed.
    #[error("{most} bytes of JSON are the most, these are {bytes}")]
    TooLarge {
        /// How large it may be.
        most: usize,
        /// How large it is.
        bytes: usize,
    },
    /// It is longer than any that is needed, or empty.
    #[error("1 to {most} bytes are expected")]
    Length {
        /// How long it may be.
        most: usize,
    },
    /// It is no name.
    #[error("1 to {most} characters are expected, with none of them blank at either end")]
    Name {
        /// How long it may be.
        most: usize,
    },
    /// It is no name of a task.
    #[error("a name of 1 to {most} characters is expected")]
    TaskName {
        /// How long it may be.
        most: usize,
    },
    /// A key that is a slip of the pen.
    #[error("{key:?} is no key of it; {near:?} is")]
    NoKey {
        /// What is written.
        key: String,
        /// What was probably meant.
        near: String,
    },
    /// A kind that has no filter that a binding could change.
    #[error("a trigger of kind {0} has nothing that a binding could override")]
    NothingToOverride(TriggerKind),
    /// A kind that has no senders.
    #[error("a trigger of kind {0} has no senders")]
    NoSenders(TriggerKind),
    /// A task that is not started by its name, but by a workload.
    #[error("{task} works on workloads of kind {source_kind}: bind one of those")]
    OfWorkloads {
        /// The task.
        task: String,
        /// What it works on.
        source_kind: SourceKind,
    },
    /// A task whose deeds are asked for elsewhere, by roles that differ.
    #[error("{task} is not started by triggers")]
    OnlyAskedFor {
        /// The task.
        task: String,
    },
    /// It is no condition.
    #[error("{{\"language\": \"cel\", \"expression\": …}} is expected: {0}")]
    NoCondition(String),
    /// An expression that cannot be compiled.
    #[error("{0}")]
    Expression(String),
    /// A template that cannot be rendered.
    #[error("{0}")]
    Template(String),
    /// A pattern that cannot be compiled.
    #[error("{0}")]
    Pattern(String),
    /// A value that is not of its type, or not as the schema says.
    #[error("{0}")]
    Value(String),
    /// Something else.
    #[error("{0}")]
    Said(String),
}

impl Fault {
    /// What is said in no more than words.
    #[must_use]
    pub fn said(place: &str, why: impl fmt::Display) -> Self {
        Self {
            place: place.to_owned(),
            why: Why::Said(why.to_string()),
        }
    }

    /// The same, of something in a larger whole.
    #[must_use]
    pub fn within(self, whole: &str) -> Self {
        let place = if self.place.is_empty() {
            whole.to_owned()
        } else {
            format!("{whole}: {}", self.place)
        };
        Self { place, ..self }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        write!(f, "{}", self.why)
    }
}

/// All of them, as one text.
#[must_use]
pub fn joined(faults: &[Fault]) -> String {
    let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
    texts.join("; ")
}
