//! Cron schedules as a PingSource on a cluster understands them.

use std::fmt;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

/// When a PingSource fires: five fields, or six with seconds first, in a time zone.
#[derive(Clone, Debug)]
pub struct Schedule {
    text: String,
    cron: Cron,
    timezone: Tz,
}

impl Schedule {
    /// Parses what robfig/cron, which the cluster uses, accepts.
    ///
    /// croner knows more (`L`, `W`, `#`, 7 for Sunday); that would run here and be refused there.
    pub(super) fn parse(text: &str, timezone: Tz) -> Result<Self, String> {
        let fields = match text.trim() {
            every if every.starts_with("@every") => {
                return Err(
                    "`@every` is not allowed in a PingSource: write a cron schedule".into(),
                );
            }
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            zone if zone.starts_with("TZ=") || zone.starts_with("CRON_TZ=") => {
                return Err("a time zone is not allowed in the schedule: use `timezone`".into());
            }
            fields => fields,
        };
        let fields: Vec<&str> = fields.split_whitespace().collect();
        if !(5..=6).contains(&fields.len()) {
            return Err(format!(
                "a schedule has five fields, or six with seconds first; this one has {}",
                fields.len()
            ));
        }
        for (from_the_right, field) in fields.iter().rev().enumerate() {
            check_field(field, from_the_right)?;
        }
        let cron = CronParser::builder()
            .seconds(Seconds::Optional)
            .year(Year::Disallowed)
            // robfig reads `0/5` as "from 0, every 5".
            .sloppy_ranges(true)
            .build()
            // `?` means `*` in every field.
            .parse(&fields.join(" ").replace('?', "*"))
            .map_err(|error| error.to_string())?;
        let schedule = Self {
            text: text.to_owned(),
            cron,
            timezone,
        };
        if schedule.next_after(DateTime::UNIX_EPOCH).is_none() {
            return Err("this schedule never fires".into());
        }
        Ok(schedule)
    }

    /// The first tick later than `instant`.
    #[must_use]
    pub fn next_after(&self, instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let instant = instant.with_timezone(&self.timezone);
        let next = self.cron.find_next_occurrence(&instant, false).ok()?;
        Some(next.with_timezone(&Utc))
    }

    /// The zone in which the fields are read.
    #[must_use]
    pub fn timezone(&self) -> Tz {
        self.timezone
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text, self.timezone)
    }
}

/// Refuses what only croner understands in a field, counted from the day of the week leftwards.
fn check_field(field: &str, from_the_right: usize) -> Result<(), String> {
    const DAYS: &[&str] = &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
    const MONTHS: &[&str] = &[
        "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
    ];
    let names = match from_the_right {
        0 => DAYS,
        1 => MONTHS,
        _ => &[],
    };
    for part in field.split(',') {
        let range = part.split('/').next().unwrap_or_default();
        for bound in range.split('-') {
            let number = !bound.is_empty() && bound.bytes().all(|b| b.is_ascii_digit());
            let name = names.contains(&bound.to_ascii_uppercase().as_str());
            if !(number || name || bound == "*" || bound == "?") {
                return Err(format!(
                    "`{field}` is not a field that a cluster understands"
                ));
            }
            // croner also takes 7 for Sunday; larger numbers it refuses itself.
            if from_the_right == 0 && bound.parse() == Ok(7) {
                return Err(format!(
                    "`{field}`: days of the week go from 0 (Sunday) to 6"
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(schedule: &str, timezone: Tz, after: &str) -> String {
        let after = after.parse().expect("an instant");
        let schedule = Schedule::parse(schedule, timezone).expect("a schedule");
        schedule
            .next_after(after)
            .expect("a next tick")
            .to_rfc3339()
    }

    #[test]
    fn a_tick_is_strictly_later_and_seconds_are_optional() {
        let noon = "2026-06-01T12:00:00Z";
        assert_eq!(
            next("*/15 * * * * *", Tz::UTC, noon),
            "2026-06-01T12:00:15+00:00"
        );
        assert_eq!(
            next("* * * * *", Tz::UTC, noon),
            "2026-06-01T12:01:00+00:00"
        );
        assert_eq!(
            next("10 0/5 * * * ?", Tz::UTC, noon),
            "2026-06-01T12:00:10+00:00"
        );
        assert_eq!(
            next("@midnight", Tz::UTC, noon),
            "2026-06-02T00:00:00+00:00"
        );
    }

    #[test]
    fn fields_are_read_in_the_time_zone() {
        let noon = "2026-06-01T12:00:00Z";
        assert_eq!(
            next("30 9 * * MON-FRI", Tz::Europe__Paris, noon),
            "2026-06-02T07:30:00+00:00"
        );
    }

    #[test]
    fn what_a_cluster_would_refuse_is_refused_here() {
        for text in [
            "",
            "2",
            "* * * *",
            "* * * * * * *",
            "@every 1h",
            "@fortnightly",
            "TZ=UTC * * * * *",
            "0 0 L * *",
            "0 0 15W * *",
            "0 0 * * 1#2",
            "0 0 * * 7",
            "0 0 30 2 *",
            "61 * * * *",
            "MON * * * *",
            "*/0 * * * *",
            "a b c d e",
        ] {
            assert!(Schedule::parse(text, Tz::UTC).is_err(), "{text}");
        }
    }
}
