//! Medians and percentiles.

use std::time::Duration;

/// Durations, sorted.
#[derive(Debug, Clone)]
pub struct Samples(Vec<Duration>);

impl Samples {
    /// Takes measurements in any order; there must be at least one.
    pub fn new(mut samples: Vec<Duration>) -> anyhow::Result<Self> {
        anyhow::ensure!(!samples.is_empty(), "nothing was measured");
        samples.sort_unstable();
        Ok(Self(samples))
    }

    /// The smallest measurement that so many per cent do not exceed (nearest rank).
    pub fn percentile(&self, percent: f64) -> Duration {
        let rank = (percent / 100.0 * self.0.len() as f64).ceil() as usize;
        self.0[rank.clamp(1, self.0.len()) - 1]
    }

    /// Half of the measurements do not exceed it.
    pub fn p50(&self) -> Duration {
        self.percentile(50.0)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// The middle one, or the mean of the two in the middle.
pub fn median(values: &[f64]) -> anyhow::Result<f64> {
    anyhow::ensure!(!values.is_empty(), "nothing was measured");
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    Ok(if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    })
}

/// Figures of one kind, for a note.
pub fn listed(values: &[f64]) -> String {
    let values: Vec<String> = values.iter().map(|it| format!("{it:.2}")).collect();
    values.join(" ")
}

/// Milliseconds for people.
pub fn ms(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measurements() {
        let samples = (1..=200).map(Duration::from_millis).collect();
        let samples = Samples::new(samples).expect("there are some");
        assert_eq!(samples.p50(), Duration::from_millis(100));
        assert_eq!(samples.percentile(99.0), Duration::from_millis(198));
        assert_eq!(samples.percentile(100.0), Duration::from_millis(200));
        assert!(Samples::new(Vec::new()).is_err());
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]).expect("there are some"), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]).expect("there are some"), 2.5);
    }
}
