//! What is wrong with a topology: all of it, each with its line.

use std::fmt;

use crate::yaml::Position;

/// How many problems are told; of the rest only the number.
const PROBLEMS_MAX: usize = 20;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// Where.
    pub at: Position,
    /// What, and what to do.
    pub what: String,
}

/// What is wrong with a file, in the order of its lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// One that concerns the file as a whole.
    pub(crate) fn one(what: impl Into<String>) -> Self {
        let mut problems = Self::default();
        problems.push(Position::default(), what);
        problems
    }

    /// Adds one.
    pub(crate) fn push(&mut self, at: Position, what: impl Into<String>) {
        let what = what.into();
        self.0.push(Problem { at, what });
    }

    /// Fails when there is one.
    pub(crate) fn none(mut self) -> Result<(), Self> {
        if self.0.is_empty() {
            return Ok(());
        }
        self.0.sort_by(|a, b| (a.at, &a.what).cmp(&(b.at, &b.what)));
        self.0.dedup();
        Err(self)
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().take(PROBLEMS_MAX).enumerate() {
            let between = if index == 0 { "" } else { "; " };
            write!(f, "{between}line {}: {}", problem.at.line, problem.what)?;
        }
        let more = self.0.len().saturating_sub(PROBLEMS_MAX);
        if more > 0 {
            write!(f, "; and {more} more")?;
        }
        Ok(())
    }
}
