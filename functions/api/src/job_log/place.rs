//! Places in a log, as text.

use std::fmt;
use std::str::FromStr;

use store::pages::LogCursor;

/// A place in a log as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(pub(super) LogCursor);

/// A text that is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotAPlace;

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0.epoch, self.0.seq)
    }
}

impl FromStr for Place {
    type Err = NotAPlace;

    fn from_str(text: &str) -> Result<Self, NotAPlace> {
        let (epoch, seq) = text.split_once(':').ok_or(NotAPlace)?;
        Ok(Self(LogCursor {
            epoch: epoch.parse().map_err(|_| NotAPlace)?,
            seq: seq.parse().map_err(|_| NotAPlace)?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_back_from_its_text() {
        let place = Place(LogCursor { epoch: 3, seq: 14 });
        assert_eq!(place.to_string().parse(), Ok(place));
        assert_eq!("3".parse::<Place>(), Err(NotAPlace));
    }
}
