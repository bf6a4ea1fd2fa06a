//! What was measured, beside what was promised.

use serde::Serialize;

/// Which way a ratio has to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bar {
    /// At least this.
    AtLeast,
    /// More than this.
    MoreThan,
    /// At most this.
    AtMost,
}

/// One figure.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// The row's name on the command line.
    pub row: &'static str,
    /// What was measured.
    pub what: &'static str,
    /// The figure with its unit.
    pub figure: String,
    /// What it is compared with, with its unit.
    pub baseline: String,
    /// The figure over the baseline, or the figure itself where the bar is absolute.
    pub ratio: f64,
    /// Which way.
    pub bar: Bar,
    /// The bar.
    pub bar_value: f64,
    /// Whether it is met.
    pub met: bool,
    /// Rows, widths, clients, pools and whatever else one must know to repeat it.
    pub notes: Vec<String>,
}

impl Figure {
    /// A figure whose ratio must be at least this.
    pub fn at_least(row: &'static str, what: &'static str, ratio: f64, bar_value: f64) -> Self {
        Self::new(row, what, ratio, Bar::AtLeast, bar_value)
    }

    /// A figure whose ratio must be more than this.
    pub fn more_than(row: &'static str, what: &'static str, ratio: f64, bar_value: f64) -> Self {
        Self::new(row, what, ratio, Bar::MoreThan, bar_value)
    }

    /// A figure whose ratio must be at most this.
    pub fn at_most(row: &'static str, what: &'static str, ratio: f64, bar_value: f64) -> Self {
        Self::new(row, what, ratio, Bar::AtMost, bar_value)
    }

    fn new(row: &'static str, what: &'static str, ratio: f64, bar: Bar, bar_value: f64) -> Self {
        let met = match bar {
            Bar::AtLeast => ratio >= bar_value,
            Bar::MoreThan => ratio > bar_value,
            Bar::AtMost => ratio <= bar_value,
        };
        Self {
            row,
            what,
            figure: String::new(),
            baseline: String::new(),
            ratio,
            bar,
            bar_value,
            met,
            notes: Vec::new(),
        }
    }

    /// The figure and what it is compared with, as people read them.
    #[must_use]
    pub fn showing(mut self, figure: impl Into<String>, baseline: impl Into<String>) -> Self {
        self.figure = figure.into();
        self.baseline = baseline.into();
        self
    }

    /// Something that one must know to repeat it.
    #[must_use]
    pub fn noting(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    fn bar_text(&self) -> String {
        let sign = match self.bar {
            Bar::AtLeast => "≥",
            Bar::MoreThan => ">",
            Bar::AtMost => "≤",
        };
        format!("{sign} {}", self.bar_value)
    }
}

/// The figures as a table in Markdown, then what each was measured with.
pub fn table(figures: &[Figure]) -> String {
    let head = ["what", "figure", "baseline", "ratio", "bar", ""].map(str::to_owned);
    let mut rows = vec![head];
    for it in figures {
        rows.push([
            it.what.to_owned(),
            it.figure.clone(),
            it.baseline.clone(),
            format!("{:.2}", it.ratio),
            it.bar_text(),
            if it.met { "met" } else { "MISSED" }.to_owned(),
        ]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..6)
        .map(|column| width(column).unwrap_or_default())
        .collect();
    let mut out = String::new();
    for (at, row) in rows.iter().enumerate() {
        for (cell, width) in row.iter().zip(&widths) {
            out.push_str(&format!("| {cell:<width$} "));
        }
        out.push_str("|\n");
        if at == 0 {
            for width in &widths {
                out.push_str(&format!("| {} ", "-".repeat(*width)));
            }
            out.push_str("|\n");
        }
    }
    for it in figures {
        out.push_str(&format!("\n{}: {}\n", it.row, it.what));
        for note in &it.notes {
            out.push_str(&format!("  - {note}\n"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_met_on_its_own_side_alone() {
        assert!(Figure::at_least("a", "a", 0.6, 0.6).met);
        assert!(!Figure::at_least("a", "a", 0.59, 0.6).met);
        assert!(Figure::more_than("a", "a", 1.01, 1.0).met);
        assert!(!Figure::more_than("a", "a", 1.0, 1.0).met);
        assert!(Figure::at_most("a", "a", 3.0, 3.0).met);
        assert!(!Figure::at_most("a", "a", 3.01, 3.0).met);
    }

    #[test]
    fn a_missed_bar_is_seen() {
        let missed = Figure::at_most("up", "up", 2.0, 1.5)
            .showing("2.00 s", "-")
            .noting("cold");
        let text = table(&[missed]);
        assert!(text.contains("| 2.00  | ≤ 1.5 | MISSED |"), "{text}");
        assert!(text.contains("  - cold"), "{text}");
    }
}
