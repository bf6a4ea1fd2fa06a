//! Which rules a line matches, and what is told of it.

use std::collections::HashMap;

use log_rules::{Pattern, begin};
use model::{DEPTH_MAX, JobId, TenantId, TriggerId, WorkloadId};
use serde_json::json;
use store::log_rules::{ActiveRule, LogMatch, LogSource, MatchEvent, UnreadLine};

/// What the correlation id of all begins with that a match leads to.
const FROM_A_LOG: &str = "log_";
/// How many rules one line fires.
const RULES_PER_LINE_MAX: usize = 20;
/// How much of a line is told, in bytes.
const TOLD_BYTES_MAX: usize = 1_000;

/// The rules of some tenants, compiled.
#[derive(Debug, Default)]
pub(crate) struct Engine {
    rules: HashMap<TenantId, Vec<Compiled>>,
}

#[derive(Debug)]
struct Compiled {
    rule: ActiveRule,
    pattern: Pattern,
}

impl Engine {
    /// Adds a tenant's rules. One whose pattern does not compile any more is left out: it was compiled when it was saved.
    pub(crate) fn add(&mut self, tenant: TenantId, rules: impl IntoIterator<Item = ActiveRule>) {
        let compiled = rules
            .into_iter()
            .filter_map(|rule| match rule.pattern.parse() {
                Ok(pattern) => Some(Compiled { rule, pattern }),
                Err(error) => {
                    tracing::error!(log_rule.id = %rule.id, "a log rule is left out: {error}");
                    None
                }
            });
        self.rules.insert(tenant, compiled.collect());
    }

    pub(crate) fn knows(&self, tenant: TenantId) -> bool {
        self.rules.contains_key(&tenant)
    }

    /// What is to be recorded of these lines, in their order.
    pub(crate) fn matches<'a>(
        &'a self,
        source: LogSource,
        lines: &'a [UnreadLine],
    ) -> Vec<LogMatch> {
        let of_line = |line: &'a UnreadLine| {
            let rules = self.rules.get(&line.tenant).into_iter().flatten();
            rules
                .filter_map(move |compiled| compiled.matched(source, line))
                .take(RULES_PER_LINE_MAX)
        };
        lines.iter().flat_map(of_line).collect()
    }
}

impl Compiled {
    fn matched(&self, source: LogSource, line: &UnreadLine) -> Option<LogMatch> {
        let rule = &self.rule;
        if rule.workload.is_some() && rule.workload != line.workload {
            return None;
        }
        if !rule.streams.contains(&line.stream) {
            return None;
        }
        let own = line.workload.and_then(|workload| {
            let mut overrides = rule.overrides.iter();
            overrides.find(|own| own.workload == workload)
        });
        if own.is_some_and(|own| !own.enabled) {
            return None;
        }
        let groups = self.pattern.find(&line.text)?;
        let severity = own.and_then(|own| own.severity.clone());
        let severity = severity.unwrap_or_else(|| rule.severity.clone());
        let told = begin(&line.text, TOLD_BYTES_MAX);
        let data = json!({
            "rule": rule.name,
            "rule_id": rule.id,
            "severity": severity,
            "workload": line.workload,
            "job": line.job.map(|job| job.0),
            "correlation_id": line.correlation_id,
            "stream": line.stream,
            "at": line.at,
            "line": told,
            "groups": groups,
        });
        let starts = rule
            .trigger
            .filter(|_| !comes_from_a_log(line) && line.depth < DEPTH_MAX);
        let event = starts.map(|_| {
            let (rule, at) = (rule.id.to_string(), line.at.to_rfc3339());
            let parts = ["log rule", &rule, source.as_str(), &at, &line.key];
            let id = events::deterministic_uuid(&parts);
            MatchEvent {
                id,
                source: "/switchyard/cron-logs".to_owned(),
                subject: line.workload.map(|workload| workload.to_string()),
                data: data.clone(),
                correlation_id: format!("{FROM_A_LOG}{}", id.simple()),
                depth: line.depth + 1,
            }
        });
        Some(LogMatch {
            database_id: line.tenant.uuid(),
            rule: rule.id,
            workload: line.workload.map(WorkloadId::uuid),
            job: line.job.map(|JobId(job)| job),
            at: line.at,
            severity,
            cooldown_secs: own
                .and_then(|own| own.cooldown_secs)
                // A rule that starts work keeps its period of quiet, whatever is said for one workload.
                .filter(|secs| rule.trigger.is_none() || *secs >= rule.cooldown_secs)
                .unwrap_or(rule.cooldown_secs),
            trigger: rule.trigger.map(TriggerId::uuid),
            message: format!("{}: {told}", rule.name),
            data,
            event,
        })
    }
}

/// Whether a match in a log led to the job that said this: such a line is told, and starts nothing.
fn comes_from_a_log(line: &UnreadLine) -> bool {
    let chain = line.correlation_id.as_deref();
    chain.is_some_and(|chain| chain.starts_with(FROM_A_LOG))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use store::log_rules::Override;
    use uuid::Uuid;

    use super::*;

    const TENANT: u128 = 1;
    const WORKLOAD: u128 = 2;

    fn rule(pattern: &str) -> ActiveRule {
        ActiveRule {
            tenant: Uuid::from_u128(TENANT).into(),
            id: Uuid::from_u128(3),
            workload: None,
            name: "fell over".to_owned(),
            pattern: pattern.to_owned(),
            severity: "error".to_owned(),
            streams: vec!["stderr".to_owned()],
            cooldown_secs: 60,
            trigger: None,
            overrides: Vec::new(),
        }
    }

    fn line(text: &str) -> UnreadLine {
        UnreadLine {
            tenant: Uuid::from_u128(TENANT).into(),
            workload: Some(Uuid::from_u128(WORKLOAD).into()),
            job: Some(JobId(7)),
            at: DateTime::from_timestamp(1_700_000_000, 0).expect("an instant"),
            key: "1".to_owned(),
            stream: "stderr".to_owned(),
            text: text.to_owned(),
            depth: 0,
            correlation_id: Some("evt_1".to_owned()),
        }
    }

    fn matches(rules: Vec<ActiveRule>, line: UnreadLine) -> Vec<LogMatch> {
        let mut engine = Engine::default();
        engine.add(Uuid::from_u128(TENANT).into(), rules);
        engine.matches(LogSource::Jobs, &[line])
    }

    #[test]
    fn a_match_is_told_with_what_the_pattern_took_out_of_the_line() {
        let found = matches(vec![rule(r"code (?<code>\d+)")], line("exit code 137"));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].message, "fell over: exit code 137");
        assert_eq!(found[0].data["groups"]["code"], "137");
        assert!(found[0].event.is_none());
    }

    #[test]
    fn another_stream_another_workload_and_another_tenant_do_not_match() {
        let mut other = line("code 1");
        other.stream = "stdout".to_owned();
        assert!(matches(vec![rule("code")], other).is_empty());
        let mut of_another = rule("code");
        of_another.workload = Some(Uuid::from_u128(9).into());
        assert!(matches(vec![of_another], line("code 1")).is_empty());
        let mut foreign = line("code 1");
        foreign.tenant = Uuid::from_u128(8).into();
        assert!(matches(vec![rule("code")], foreign).is_empty());
    }

    #[test]
    fn a_rule_for_all_is_otherwise_for_one_workload() {
        let with = |enabled, severity: Option<&str>, cooldown_secs| {
            let mut rule = rule("code");
            rule.overrides = vec![Override {
                workload: Uuid::from_u128(WORKLOAD).into(),
                enabled,
                severity: severity.map(str::to_owned),
                cooldown_secs,
            }];
            matches(vec![rule], line("code 1"))
        };
        assert!(with(false, None, None).is_empty());
        let found = with(true, Some("info"), Some(5));
        assert_eq!(
            (found[0].severity.as_str(), found[0].cooldown_secs),
            ("info", 5)
        );
        let found = with(true, None, None);
        assert_eq!(
            (found[0].severity.as_str(), found[0].cooldown_secs),
            ("error", 60)
        );
    }

    #[test]
    fn what_a_match_led_to_starts_nothing_again() {
        let mut starts = rule("code");
        starts.trigger = Some(Uuid::from_u128(5).into());
        let first = matches(vec![starts.clone()], line("code 1"));
        let event = first[0].event.as_ref().expect("it starts work");
        assert_eq!(event.depth, 1);
        let mut after = line("code 1");
        after.correlation_id = Some(event.correlation_id.clone());
        let second = matches(vec![starts.clone()], after);
        assert_eq!(second.len(), 1, "it is told");
        assert!(second[0].event.is_none(), "it starts nothing");
        let mut deep = line("code 1");
        deep.depth = DEPTH_MAX;
        assert!(matches(vec![starts], deep)[0].event.is_none());
    }

    #[test]
    fn the_same_line_and_rule_are_the_same_event() {
        let mut starts = rule("code");
        starts.trigger = Some(Uuid::from_u128(5).into());
        let id = |line| {
            let found = matches(vec![starts.clone()], line);
            found[0].event.as_ref().expect("it starts work").id
        };
        assert_eq!(id(line("code 1")), id(line("code 1")));
        let mut next = line("code 1");
        next.key = "2".to_owned();
        assert_ne!(id(line("code 1")), id(next));
    }
}
