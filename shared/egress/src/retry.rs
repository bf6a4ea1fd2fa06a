//! When somebody wants to be asked again.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{AsHeaderName, DATE, RETRY_AFTER};

/// Nobody is left alone for longer, whatever they ask for; nor is there an interval for any number of seconds.
const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);

/// How long the sender of these headers wants to be left alone (RFC 9110 §10.2.3): so many seconds, or until a date in any of
/// the three forms that there are. A date is compared with the sender's own `Date`, for clocks differ, and with `now` where
/// there is none. What is over is now, and what takes longer than a day is a day.
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: Option<SystemTime>) -> Option<Duration> {
    let asked = text(headers, RETRY_AFTER)?;
    if asked.is_empty() {
        return None;
    }
    let wait = if asked.bytes().all(|byte| byte.is_ascii_digit()) {
        // More than there are numbers for is too long in any case.
        Duration::from_secs(asked.parse().unwrap_or(u64::MAX))
    } else {
        let until = httpdate::parse_http_date(asked).ok()?;
        let sent = text(headers, DATE).and_then(|date| httpdate::parse_http_date(date).ok());
        until.duration_since(sent.or(now)?).unwrap_or_default()
    };
    Some(wait.min(WAIT_MAX))
}

fn text(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&str> {
    Some(headers.get(name)?.to_str().ok()?.trim())
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn read(headers: &[(HeaderName, &str)], now: Option<&str>) -> Option<u64> {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().expect("a value")))
            .collect();
        let now = now.map(|now| httpdate::parse_http_date(now).expect("a date"));
        retry_after(&headers, now).map(|wait| wait.as_secs())
    }

    #[test]
    fn seconds_are_read_as_they_are() {
        let seconds = |text| read(&[(RETRY_AFTER, text)], None);
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds(" 7 "), Some(7));
        assert_eq!(seconds("0"), Some(0));
        for long in ["86401", "99999999999999", "99999999999999999999999"] {
            assert_eq!(seconds(long), Some(86_400), "{long}");
        }
        for wrong in ["", "-5", "+5", "1.5", "soon", "5, 7"] {
            assert_eq!(seconds(wrong), None, "{wrong:?}");
        }
        assert_eq!(read(&[], None), None);
    }

    #[test]
    fn dates_are_read_in_all_forms_and_by_the_senders_clock() {
        let noon = "Sat, 21 Nov 2026 12:00:00 GMT";
        for half_past in [
            "Sat, 21 Nov 2026 12:00:30 GMT",
            "Saturday, 21-Nov-26 12:00:30 GMT",
            "Sat Nov 21 12:00:30 2026",
        ] {
            let asked = (RETRY_AFTER, half_past);
            assert_eq!(read(&[asked.clone()], Some(noon)), Some(30), "{half_past}");
            assert_eq!(
                read(&[asked.clone()], None),
                None,
                "nobody knows since when"
            );
            let slow = (DATE, "Sat, 21 Nov 2026 11:59:00 GMT");
            assert_eq!(read(&[asked, slow], Some(noon)), Some(90), "{half_past}");
        }
        let over = (RETRY_AFTER, "Sat, 21 Nov 2026 11:00:00 GMT");
        assert_eq!(read(&[over], Some(noon)), Some(0), "it is over");
        let far = (RETRY_AFTER, "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(read(&[far], Some(noon)), Some(86_400));
        let elsewhere = (RETRY_AFTER, "Sat, 21 Nov 2026 12:00:30 +0200");
        assert_eq!(read(&[elsewhere], Some(noon)), None);
    }
}
