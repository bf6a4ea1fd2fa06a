//! Which events somebody wants to be told of.

use model::Severity;
use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use serde::de::value::Error as ValueError;

use crate::Observed;

/// How long a type's pattern may be, in characters.
const TYPE_CHARS_MAX: usize = 200;

/// Why a rule cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WrongRule {
    /// It is not one of the four.
    #[error("severity: {0:?} is not debug, info, warning or error")]
    Severity(String),
    /// It is no pattern of types.
    #[error("types: {0:?} is not a type of event, or the beginning of one with * after it")]
    Type(String),
}

/// The severity of this name.
pub(crate) fn severity(text: &str) -> Result<Severity, WrongRule> {
    let read: Result<Severity, ValueError> = Severity::deserialize(text.into_deserializer());
    read.map_err(|_| WrongRule::Severity(text.chars().take(40).collect()))
}

/// What a rule wants of an event, but for its condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    types: Vec<String>,
    severity: Option<Severity>,
    source: Option<String>,
    /// In lower case.
    contains: Option<String>,
}

impl Wanted {
    /// A rule of these types, where `*` at the end stands for whatever follows; of events at least so bad, from a source that
    /// begins so, whose data holds this text somewhere, whatever the case.
    ///
    /// # Errors
    /// See [`WrongRule`].
    pub fn new(
        types: &[String],
        severity: Option<&str>,
        source: Option<&str>,
        contains: Option<&str>,
    ) -> Result<Self, WrongRule> {
        for pattern in types {
            let name = pattern.strip_suffix('*').unwrap_or(pattern);
            let fits = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
            let is_type = name.chars().all(fits) && pattern.chars().count() <= TYPE_CHARS_MAX;
            if pattern.is_empty() || !is_type {
                return Err(WrongRule::Type(pattern.chars().take(80).collect()));
            }
        }
        Ok(Self {
            types: types.to_vec(),
            severity: severity.map(self::severity).transpose()?,
            source: source.map(str::to_owned),
            contains: contains.map(str::to_lowercase),
        })
    }

    /// Whether it wants to be told of this event. One that does not say how bad it is counts as information.
    #[must_use]
    pub fn wants(&self, event: &Observed) -> bool {
        let of_type = self.types.iter().any(|pattern| {
            pattern
                .strip_suffix('*')
                .map_or(event.ty == *pattern, |begin| event.ty.starts_with(begin))
        });
        let severity = event.severity();
        of_type
            && self.severity.is_none_or(|wanted| severity >= wanted)
            && self
                .source
                .as_ref()
                .is_none_or(|begin| event.source.starts_with(begin))
            && self
                .contains
                .as_ref()
                .is_none_or(|text| event.data.to_string().to_lowercase().contains(text))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(severity: Option<&str>) -> Observed {
        Observed {
            id: "1".to_owned(),
            ty: "dev.switchyard.job.finished.v1".to_owned(),
            source: "/switchyard/queue".to_owned(),
            subject: None,
            time: None,
            severity: severity.map(str::to_owned),
            data: json!({"state": "Dead", "task": "task-static"}),
        }
    }

    fn wants(
        types: &[&str],
        severity: Option<&str>,
        source: Option<&str>,
        contains: Option<&str>,
    ) -> bool {
        let types: Vec<_> = types.iter().map(|&ty| ty.to_owned()).collect();
        let wanted = Wanted::new(&types, severity, source, contains).expect("a rule");
        wanted.wants(&event(Some("warning")))
    }

    #[test]
    fn all_that_a_rule_says_must_hold() {
        let all = ["*"];
        assert!(wants(&all, None, None, None));
        assert!(wants(&["dev.switchyard.job.*", "x"], None, None, None));
        assert!(wants(&["dev.switchyard.job.finished.v1"], None, None, None));
        assert!(!wants(&["dev.switchyard.job"], None, None, None));
        assert!(wants(
            &all,
            Some("warning"),
            Some("/switchyard"),
            Some("DEAD")
        ));
        assert!(!wants(&all, Some("error"), None, None));
        assert!(!wants(&all, None, Some("/elsewhere"), None));
        assert!(!wants(&all, None, None, Some("alive")));
    }

    #[test]
    fn what_does_not_say_how_bad_it_is_is_information() {
        let types = ["*".to_owned()];
        let info = Wanted::new(&types, Some("info"), None, None).expect("a rule");
        let warning = Wanted::new(&types, Some("warning"), None, None).expect("a rule");
        assert!(info.wants(&event(None)));
        assert!(!warning.wants(&event(None)));
        assert!(!warning.wants(&event(Some("nonsense"))));
    }

    #[test]
    fn a_rule_that_could_never_hold_is_refused() {
        let bad = |ty: &str, severity| Wanted::new(&[ty.to_owned()], severity, None, None);
        assert!(matches!(bad("", None), Err(WrongRule::Type(_))));
        assert!(matches!(bad("a*b", None), Err(WrongRule::Type(_))));
        assert!(matches!(bad("a b", None), Err(WrongRule::Type(_))));
        assert!(matches!(
            bad("*", Some("fatal")),
            Err(WrongRule::Severity(_))
        ));
    }
}
