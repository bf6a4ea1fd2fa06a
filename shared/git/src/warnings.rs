//! What was left out, for who wrote it.

use std::fmt;

/// How many warnings are kept; the rest are counted.
const KEPT_MAX: usize = 50;

/// Things that stopped nothing and that the author should know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Warnings {
    kept: Vec<String>,
    more: usize,
}

impl Warnings {
    /// Adds one, or counts it when there are many.
    pub fn add(&mut self, warning: String) {
        if self.kept.len() < KEPT_MAX {
            self.kept.push(warning);
        } else {
            self.more += 1;
        }
    }

    /// Adds those of a later step.
    pub fn extend(&mut self, later: Self) {
        later.kept.into_iter().for_each(|warning| self.add(warning));
        self.more += later.more;
    }

    /// One line each, the last one counting those that were not kept.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let more = (self.more > 0).then(|| format!("{} more like these", self.more));
        self.kept.iter().cloned().chain(more)
    }
}

impl fmt::Display for Warnings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines().try_for_each(|line| writeln!(f, "{line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_warnings_are_counted() {
        let mut warnings = Warnings::default();
        (0..60).for_each(|n| warnings.add(n.to_string()));
        let mut all = Warnings::default();
        all.add("first".to_owned());
        all.extend(warnings);
        assert_eq!(all.lines().count(), 51);
        assert_eq!(all.lines().last().expect("some"), "11 more like these");
    }
}
