//! Rules on what logs say, a try of one on a pasted text, what became of its matches, and the log of events.

use std::fmt;
use std::str::FromStr;

use axum::extract::Path;
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use http::StatusCode;
use http::header::LOCATION;
use log_rules::{Groups, Pattern, Stream, begin};
use model::{Role, Severity, TriggerId, WorkloadId};
use serde::{Deserialize, Serialize};
use store::log_rules::{
    self as rules, LogRule, OVERRIDES_MAX, Override, RULES_MAX, Recorded, RuleCounts, WantedRule,
    Written,
};
use uuid::Uuid;

use crate::asked::{Asked, Given, Piece};
use crate::credentials::{All, check_name, wrong};
use crate::problem::Problem;
use crate::{Answer, answer, named, rows};

/// After a match the rule is quiet for so long, in seconds.
const COOLDOWN_DEFAULT: i32 = 60;
const COOLDOWN_MAX: i32 = 86_400;
/// The least of a rule that starts work.
const COOLDOWN_OF_WORK: i32 = 60;
/// How much of a pasted text is tried, in lines.
const TEST_LINES_MAX: usize = 2_000;
/// How many matches of it are shown.
const TEST_MATCHES_MAX: usize = 200;
/// How much of a line is shown, in bytes.
const SHOWN_BYTES_MAX: usize = 1_000;

/// A rule as it is set.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    /// Of all the tenant's logs unless given.
    workload: Option<WorkloadId>,
    name: String,
    pattern: String,
    severity: Severity,
    /// All unless given.
    streams: Option<Vec<Stream>>,
    #[serde(default = "cooldown")]
    cooldown_secs: i32,
    trigger: Option<TriggerId>,
    #[serde(default = "yes")]
    enabled: bool,
    #[serde(default)]
    overrides: Vec<Override>,
}

const fn cooldown() -> i32 {
    COOLDOWN_DEFAULT
}

const fn yes() -> bool {
    true
}

impl Wanted {
    fn checked(self) -> Result<WantedRule, Problem> {
        check_name(&self.name)?;
        let compiled: Result<Pattern, _> = self.pattern.parse();
        compiled.map_err(|error| wrong("pattern", error))?;
        let least = if self.trigger.is_some() {
            COOLDOWN_OF_WORK
        } else {
            0
        };
        if !(least..=COOLDOWN_MAX).contains(&self.cooldown_secs) {
            let problem = format!("it is {least} to {COOLDOWN_MAX} here");
            return Err(wrong("cooldown_secs", problem));
        }
        if self.overrides.len() > OVERRIDES_MAX {
            return Err(wrong("overrides", format!("{OVERRIDES_MAX} are the most")));
        }
        if self.workload.is_some() && !self.overrides.is_empty() {
            let problem = "a rule of one workload is itself what holds there";
            return Err(wrong("overrides", problem));
        }
        for own in &self.overrides {
            let known: Result<Option<Severity>, _> = own
                .severity
                .clone()
                .map(|text| serde_json::from_value(text.into()))
                .transpose();
            known.map_err(|error| wrong("overrides.severity", error))?;
            let fits = |secs: i32| (0..=COOLDOWN_MAX).contains(&secs);
            if !own.cooldown_secs.is_none_or(fits) {
                let problem = format!("it is 0 to {COOLDOWN_MAX}");
                return Err(wrong("overrides.cooldown_secs", problem));
            }
        }
        let mut streams = self.streams.unwrap_or_else(|| Stream::ALL.to_vec());
        streams.sort_unstable();
        streams.dedup();
        if streams.is_empty() {
            return Err(wrong("streams", "one is the least"));
        }
        Ok(WantedRule {
            workload: self.workload,
            name: self.name,
            pattern: self.pattern,
            severity: self.severity.as_str().to_owned(),
            streams: streams
                .iter()
                .map(|stream| stream.as_str().to_owned())
                .collect(),
            cooldown_secs: self.cooldown_secs,
            trigger: self.trigger,
            enabled: self.enabled,
            overrides: self.overrides,
        })
    }
}

fn done(written: Written, wanted: &WantedRule) -> Result<Uuid, Problem> {
    match written {
        Written::Done(id) => Ok(id),
        Written::Absent => Err(Problem::NotFound),
        Written::Taken => Err(Problem::Conflict(format!(
            "there is another rule with the name {:?}",
            wanted.name
        ))),
        Written::TooMany => Err(Problem::Conflict(format!(
            "a tenant has at most {RULES_MAX} log rules"
        ))),
        Written::Unknown(what) => Err(Problem::BadBody(what.to_owned())),
    }
}

pub(crate) async fn list(asked: Asked) -> Answer<All<LogRule>> {
    asked.nothing_more()?;
    let mut tx = asked.begin().await?;
    let items = rules::list(&mut tx, None).await?;
    tx.commit().await?;
    answer(All { items })
}

pub(crate) async fn show(Path(id): Path<String>, asked: Asked) -> Answer<LogRule> {
    asked.nothing_more()?;
    let id: Uuid = named(&id)?;
    let mut tx = asked.begin().await?;
    let found = rules::list(&mut tx, Some(id)).await?.pop();
    tx.commit().await?;
    answer(found.ok_or(Problem::NotFound)?)
}

pub(crate) async fn create(
    asked: Asked,
    Given(wanted): Given<Wanted>,
) -> Result<impl IntoResponse, Problem> {
    asked.may(Role::Admin)?;
    let wanted = wanted.checked()?;
    let mut tx = asked.begin().await?;
    let written = rules::write(&mut tx, asked.tenant(), None, &wanted).await?;
    let id = done(written, &wanted)?;
    let found = rules::list(&mut tx, Some(id)).await?.pop();
    tx.commit().await?;
    let place = [(LOCATION, format!("/log-rules/{id}"))];
    let shown = answer(found.ok_or(Problem::NotFound)?)?;
    Ok((StatusCode::CREATED, place, shown))
}

pub(crate) async fn change(
    Path(id): Path<String>,
    asked: Asked,
    Given(wanted): Given<Wanted>,
) -> Answer<LogRule> {
    asked.may(Role::Admin)?;
    let id: Uuid = named(&id)?;
    let wanted = wanted.checked()?;
    let mut tx = asked.begin().await?;
    let written = rules::write(&mut tx, asked.tenant(), Some(id), &wanted).await?;
    done(written, &wanted)?;
    let found = rules::list(&mut tx, Some(id)).await?.pop();
    tx.commit().await?;
    answer(found.ok_or(Problem::NotFound)?)
}

pub(crate) async fn remove(Path(id): Path<String>, asked: Asked) -> Result<StatusCode, Problem> {
    asked.may(Role::Admin)?;
    let id: Uuid = named(&id)?;
    let mut tx = asked.begin().await?;
    let removed = rules::remove(&mut tx, id).await?;
    tx.commit().await?;
    removed
        .then_some(StatusCode::NO_CONTENT)
        .ok_or(Problem::NotFound)
}

pub(crate) async fn stats(Path(id): Path<String>, asked: Asked) -> Answer<All<RuleCounts>> {
    asked.nothing_more()?;
    let id: Uuid = named(&id)?;
    let mut tx = asked.begin().await?;
    let found = rules::list(&mut tx, Some(id)).await?.pop();
    let items = rules::counts(&mut tx, id).await?;
    tx.commit().await?;
    found.ok_or(Problem::NotFound)?;
    answer(All { items })
}

/// A pattern and a text to try it on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tried {
    pattern: String,
    text: String,
}

/// A line that matches.
#[derive(Debug, Serialize)]
pub(crate) struct Match {
    /// From 1.
    line: usize,
    text: String,
    groups: Groups,
}

/// What a pattern finds in a text.
#[derive(Debug, Serialize)]
pub(crate) struct Matches {
    /// Lines that were looked at.
    lines: usize,
    /// Whether there are more, which were not.
    cut: bool,
    /// Lines that match.
    matched: usize,
    /// The first of them.
    matches: Vec<Match>,
}

pub(crate) async fn test(asked: Asked, Given(tried): Given<Tried>) -> Answer<Matches> {
    // It changes nothing; whoever may read logs may try.
    asked.nothing_more()?;
    let pattern: Pattern = tried
        .pattern
        .parse()
        .map_err(|error| wrong("pattern", error))?;
    let mut found = Matches {
        lines: 0,
        cut: false,
        matched: 0,
        matches: Vec::new(),
    };
    for (index, line) in tried.text.lines().enumerate() {
        if index >= TEST_LINES_MAX {
            found.cut = true;
            break;
        }
        found.lines += 1;
        let Some(groups) = pattern.find(line) else {
            continue;
        };
        found.matched += 1;
        if found.matches.len() < TEST_MATCHES_MAX {
            found.matches.push(Match {
                line: index + 1,
                text: begin(line, SHOWN_BYTES_MAX).to_owned(),
                groups,
            });
        }
    }
    answer(found)
}

/// A place in a list by time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At(pub(crate) DateTime<Utc>, pub(crate) Uuid);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0.timestamp_micros(), self.1)
    }
}

impl FromStr for At {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "no place";
        let (micros, id) = text.split_once('/').ok_or(wrong)?;
        let micros = micros.parse().map_err(|_| wrong)?;
        let at = DateTime::from_timestamp_micros(micros).ok_or(wrong)?;
        Ok(Self(at, id.parse().map_err(|_| wrong)?))
    }
}

pub(crate) async fn event_log(mut asked: Asked) -> Answer<Piece<Recorded>> {
    let rule = asked.parsed::<Uuid>("rule")?;
    let (before, limit) = asked.piece::<At>()?;
    let mut tx = asked.begin().await?;
    let before = before.map(|place| (place.0, place.1));
    let found = rules::recorded(&mut tx, rule, before, rows(limit)).await?;
    tx.commit().await?;
    answer(asked.list(found, limit, |row| At(row.at, row.id).to_string())?)
}
