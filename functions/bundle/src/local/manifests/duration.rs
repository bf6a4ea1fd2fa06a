//! Durations as Knative writes them: ISO 8601, such as `PT0.2S` or `P1DT2H`.

use std::time::Duration;

/// The longest duration that a manifest may ask for: one week.
const SECONDS_MAX: f64 = 7.0 * 86_400.0;

/// Parses an ISO 8601 duration of weeks, days, hours, minutes and seconds.
///
/// A fraction is allowed on the last figure. Years and months are refused, because their length
/// depends on when one starts to count.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not an ISO 8601 duration such as PT0.2S, PT30S or P1DT2H");
    let body = text.strip_prefix('P').ok_or_else(wrong)?;
    let (date, time) = match body.split_once('T') {
        Some((_, "")) => return Err(wrong()),
        Some((date, time)) => (date, time),
        None => (body, ""),
    };
    if date.is_empty() && time.is_empty() {
        return Err(wrong());
    }
    const DATE: &[(&str, f64)] = &[("Y", 0.0), ("M", 0.0), ("W", 604_800.0), ("D", 86_400.0)];
    const TIME: &[(&str, f64)] = &[("H", 3_600.0), ("M", 60.0), ("S", 1.0)];
    let mut figures = Vec::new();
    for (mut rest, mut units) in [(date, DATE), (time, TIME)] {
        while !rest.is_empty() {
            let end = rest
                .find(|c: char| c.is_ascii_alphabetic())
                .ok_or_else(wrong)?;
            let (figure, unit) = (&rest[..end], &rest[end..=end]);
            rest = &rest[end + 1..];
            // Each unit once, from the largest to the smallest.
            let at = units
                .iter()
                .position(|(name, _)| *name == unit)
                .ok_or_else(wrong)?;
            let seconds = units[at].1;
            units = &units[at + 1..];
            if seconds == 0.0 {
                return Err(format!(
                    "`{text}`: years and months differ in length, write days"
                ));
            }
            figures.push((figure, seconds));
        }
    }
    let mut total = 0.0;
    for (i, (figure, seconds)) in figures.iter().enumerate() {
        let figure = figure.replacen(',', ".", 1);
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let valid = match figure.split_once('.') {
            None => digits(&figure),
            Some((whole, fraction)) => i + 1 == figures.len() && digits(whole) && digits(fraction),
        };
        if !valid {
            return Err(wrong());
        }
        total += figure.parse::<f64>().map_err(|_| wrong())? * seconds;
    }
    if total > SECONDS_MAX {
        return Err(format!("`{text}` is longer than a week"));
    }
    Ok(Duration::from_secs_f64(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_knative_accepts_is_parsed() {
        for (text, millis) in [
            ("PT0.2S", 200),
            ("PT2S", 2_000),
            ("PT0S", 0),
            ("PT1M30S", 90_000),
            ("PT1M", 60_000),
            ("P1DT2H", 93_600_000),
            ("P1W", 604_800_000),
            ("PT1,5H", 5_400_000),
            ("P0D", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "P",
            "PT",
            "2S",
            "PT2",
            "pt2s",
            "P2S",
            "PT1D",
            "PT1S1M",
            "PT1S2S",
            "PT.5S",
            "PT1.S",
            "PT1.5M2S",
            "PT-2S",
            "-PT2S",
            "P1Y",
            "P1M",
            "P8D",
            "PT1e3S",
            "PT2S ",
            "PTS",
            "P1DT",
            "1985-04-12T23:20:50.52Z",
            "invalid time",
            "PT٣S",
            "PT1é",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
