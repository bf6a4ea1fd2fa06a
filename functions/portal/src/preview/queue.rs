//! The pages about the queue with sample data.

use chrono::{DateTime, FixedOffset, TimeDelta};
use maud::Markup;
use model::{JobId, ScheduleId};
use queue::dead::{DeadDeed, DeadFilter, DeadJob};
use queue::lanes::Lane;
use queue::reasons::Reason;
use queue::rules::{Limit, Pause, PauseKind, Rate};
use queue::schedules::{Field, Missed, Schedule, Tick, TickOutcome, WrongRule, WrongValue};
use serde_json::{Value, json};

use super::{ago, now, running_job};
use crate::views::dead::{AllPage, ChosenPage, DeadOutcome, DeadPage};
use crate::views::model::{
    Count, FormProblem, JobPage, JobState, Preview, Reader, RuleAs, ScheduleForm, ScheduleFormPage,
    WrongField,
};
use crate::views::queues::{LanesPage, Which};
use crate::views::schedules::{SchedulePage, SchedulesPage};
use crate::views::{dead, failure, job, queues, schedule_form, schedules};

fn lane(task: &str, queue: Option<&str>) -> Lane {
    Lane {
        task: task.into(),
        queue: queue.map(Into::into),
        ready: 0,
        ready_more: false,
        in_flight: 0,
        approvals: 0,
        cap: queue.map(|_| 1),
        paused: false,
        drained: false,
        holder: None,
        is_known: true,
    }
}

fn pause(kind: PauseKind, task: Option<&str>, queue: Option<&str>, own: bool) -> Pause {
    Pause {
        id: 7,
        kind,
        tenant: None,
        task: task.map(Into::into),
        queue: queue.map(Into::into),
        by: "Robin".into(),
        why: Some("the disk is full, until somebody has moved the old revisions away".into()),
        at: ago(600),
        own,
    }
}

fn queue_lanes() -> LanesPage {
    LanesPage {
        which: Which::Queues,
        rows: vec![
            Lane {
                ready: 3,
                in_flight: 1,
                holder: Some(JobId(48_213)),
                ..lane(
                    "task-static",
                    Some("workload:0193c4a1-7e10-7000-8000-000000000384"),
                )
            },
            Lane {
                ready: 1_000,
                ready_more: true,
                paused: true,
                ..lane("report", Some("nightly reports"))
            },
            Lane {
                approvals: 2,
                holder: Some(JobId(48_100)),
                ..lane("task-terraform", Some("terraform:production"))
            },
        ],
        pauses: vec![
            pause(PauseKind::Pause, None, Some("nightly reports"), true),
            pause(PauseKind::Drain, None, None, false),
        ],
        limits: Vec::new(),
        is_first: false,
        next_href: Some("/queues?after=x".into()),
        may_operate: true,
        live_href: "/live/queues".into(),
    }
}

fn task_lanes() -> LanesPage {
    LanesPage {
        which: Which::Tasks,
        rows: vec![
            Lane {
                ready: 14,
                in_flight: 8,
                cap: Some(8),
                ..lane("task-static", None)
            },
            Lane {
                ready: 2,
                is_known: false,
                ..lane("resize-images-for-the-newsletter", None)
            },
            Lane {
                in_flight: 1_250,
                drained: true,
                ..lane("report", None)
            },
        ],
        pauses: vec![pause(PauseKind::Drain, Some("report"), None, true)],
        limits: vec![Limit {
            tenant: None,
            by: Some("Robin".into()),
            at: ago(9_000),
            own: true,
            task: Some("task-static".into()),
            in_flight_max: Some(8),
            in_flight: Some(8),
            rate: Some(Rate {
                per_second: 2.5,
                burst: Some(10),
            }),
        }],
        is_first: true,
        next_href: None,
        may_operate: true,
        live_href: "/live/tasks".into(),
    }
}

fn schedule(id: i64, name: &str, info: Value) -> Schedule {
    Schedule {
        id: ScheduleId(id),
        name: Some(name.into()),
        task: "report".into(),
        schedule_info: info,
        time_zone: Some("Europe/Paris".into()),
        payload: json!({"full": true, "to": ["a@example.org"]}),
        queue: Some("nightly reports".into()),
        priority: -1,
        attempts_max: Some(5),
        key: Some("report".into()),
        missed: Missed::Last,
        jitter_secs: 60.0,
        paused_by: None,
        paused_why: None,
        paused_at: None,
        next_at: Some(now() + TimeDelta::hours(14)),
        later: (1..4)
            .map(|day| now() + TimeDelta::hours(14 + 24 * day))
            .collect(),
        problem: None,
        last_tick: Some(ago(36_000)),
        last_fired_at: Some(ago(36_000)),
        last_job: Some(JobId(47_001)),
        missed_count: 3,
        fired_by: None,
        created_by: Some("Robin".into()),
        created_at: ago(900_000),
        updated_at: ago(90_000),
    }
}

fn paused() -> Schedule {
    Schedule {
        paused_by: Some("Robin".into()),
        paused_why: Some("while the warehouse moves".into()),
        paused_at: Some(ago(5_000)),
        ..schedule(
            2,
            "stock",
            json!({"rule": {"hour": [9, 12, 18], "minute": 30, "dayOfWeek": [1, 2, 3, 4, 5]}, "start": "2026-12-01T00:00:00Z"}),
        )
    }
}

fn broken() -> Schedule {
    Schedule {
        next_at: None,
        later: Vec::new(),
        last_tick: None,
        last_job: None,
        problem: Some("no".into()),
        fired_by: Some("scheduler-7f".into()),
        ..schedule(3, "imported", json!({"rule": "61 * * * *"}))
    }
}

fn schedule_list(rows: Vec<Schedule>) -> SchedulesPage {
    SchedulesPage {
        rows,
        is_first: true,
        next_href: None,
        may_declare: true,
        live_href: "/live/schedules".into(),
    }
}

fn schedule_page(schedule: Schedule, problem: Option<WrongRule>) -> SchedulePage {
    let tick = |hours: i64, outcome, job: Option<i64>, reason: Option<&str>| Tick {
        tick: now() - TimeDelta::hours(hours),
        outcome,
        job: job.map(JobId),
        reason: reason.map(Into::into),
        ticks: 1,
        at: now() - TimeDelta::hours(hours),
    };
    SchedulePage {
        schedule,
        problem: problem.map(FormProblem::of),
        ticks: vec![
            tick(10, TickOutcome::Fired, Some(47_001), None),
            tick(
                34,
                TickOutcome::Refused,
                None,
                Some("the task \"report\" is drained by Robin"),
            ),
            tick(58, TickOutcome::Missed, None, None),
        ],
        may_operate: true,
        may_declare: true,
        live_href: "/live/schedules/1".into(),
    }
}

fn form() -> ScheduleFormPage {
    let tick = |text: &str| -> DateTime<FixedOffset> { text.parse().expect("an instant") };
    ScheduleFormPage {
        changes: Some((ScheduleId(1), "nightly".into())),
        form: ScheduleForm {
            name: "nightly".into(),
            task: "report".into(),
            rule: "30 2 * * 1-5".into(),
            time_zone: "Europe/Paris".into(),
            payload: "{\n  \"full\": true\n}".into(),
            ..ScheduleForm::default()
        },
        wrong: Vec::new(),
        preview: Preview::Ticks {
            zone: "Europe/Paris".into(),
            ticks: vec![
                tick("2026-11-23T02:30:00+01:00"),
                tick("2026-11-24T02:30:00+01:00"),
                tick("2026-11-25T02:30:00+01:00"),
                tick("2026-11-26T02:30:00+01:00"),
                tick("2026-11-27T02:30:00+01:00"),
            ],
            shortest: Some(TimeDelta::hours(24)),
        },
        tasks: vec!["report".into(), "task-static".into()],
    }
}

fn new_form() -> ScheduleFormPage {
    ScheduleFormPage {
        changes: None,
        form: ScheduleForm {
            payload: "{}".into(),
            ..ScheduleForm::default()
        },
        preview: Preview::Empty,
        ..form()
    }
}

fn wrong_form(rule_as: RuleAs) -> ScheduleFormPage {
    let rule = FormProblem::of(WrongRule::Field {
        field: "minute",
        text: "61".into(),
        range: "0-59",
    });
    let wrong = |field, problem| WrongField { field, problem };
    ScheduleFormPage {
        changes: None,
        form: ScheduleForm {
            rule_as,
            rule: "61 * * * *".into(),
            rule_json: "{\n  \"rule\": \"61 * * * *\"\n}".into(),
            time_zone: "Paris".into(),
            priority: "high".into(),
            payload: "{".into(),
            ..ScheduleForm::default()
        },
        wrong: vec![
            wrong(
                Field::Name,
                FormProblem::Value(WrongValue::Length { max: 200 }),
            ),
            wrong(Field::Priority, FormProblem::NoNumber),
            wrong(Field::Payload, FormProblem::NoJson { line: 1, column: 1 }),
            wrong(Field::Rule, rule.clone()),
            wrong(
                Field::TimeZone,
                FormProblem::of(WrongRule::Zone("Paris".into())),
            ),
        ],
        preview: Preview::Wrong(rule),
        ..form()
    }
}

fn dead_page(outcome: Option<DeadOutcome>) -> DeadPage {
    let row = |id, seconds, queue: Option<&str>, key: Option<&str>, reason: &str| DeadJob {
        id: JobId(id),
        task: "task-static".into(),
        queue: queue.map(Into::into),
        key: key.map(Into::into),
        reason: Some(reason.into()),
        attempts: 5,
        attempts_max: 5,
        created_at: ago(seconds + 60),
        finished_at: ago(seconds),
        event: None,
        workload: None,
    };
    DeadPage {
        filter: DeadFilter {
            task: Some("task-static".into()),
            ..DeadFilter::default()
        },
        rows: vec![
            row(
                47_802,
                40,
                Some("workload:0193c4a1-7e10-7000-8000-000000000384"),
                Some("deploy:0193c4a1-7e10-7000-8000-000000000384"),
                "the repository git.example.org/acme/shop was not found",
            ),
            row(
                47_801,
                4_000,
                None,
                None,
                "connection to git.example.org timed out after 10 s",
            ),
            row(
                46_120,
                200_000,
                None,
                Some("report"),
                "https://reports.example.org/api/v1/render?template=a-very-long-name-without-a-break-in-it&format=pdf answered 500",
            ),
        ],
        is_first: true,
        next_href: Some("/dead?after=1-2".into()),
        chosen_href: "/dead/chosen?task=task-static".into(),
        replay_all_href: Some("/dead/all?deed=replay".into()),
        purge_all_href: Some("/dead/all?deed=purge".into()),
        may_operate: true,
        may_purge: true,
        outcome,
        live_href: "/live/dead".into(),
    }
}

fn bulk_job() -> JobPage {
    let mut page = running_job();
    page.row.task = "task-bulk".into();
    page.row.workload = None;
    page.row.reasons = vec![Reason::Running {
        worker: "4f3c2b1a".into(),
        since: ago(9),
        lease_until: now() + TimeDelta::seconds(27),
        attempt_until: now() + TimeDelta::seconds(891),
        progress: Some(
            json!({"done": 12_004, "of": 53_000, "message": "11,900 replayed, 100 refused, 4 skipped"}),
        ),
    }];
    page.chain.truncate(1);
    page
}

fn waiting_job() -> JobPage {
    let mut page = bulk_job();
    page.row.state = JobState::Queued;
    page.row.reasons = super::reasons()
        .into_iter()
        .filter(|(state, _)| *state == JobState::Queued)
        .map(|(_, reason)| reason)
        .skip(4)
        .collect();
    page
}

pub(super) fn pages(reader: &Reader) -> Vec<(&'static str, Markup)> {
    let all = |deed, count| AllPage {
        deed,
        filter: dead_page(None).filter,
        count,
        action: "/dead/all?deed=replay&task=task-static".into(),
        back_href: "/dead?task=task-static".into(),
    };
    let done = DeadOutcome::Done {
        deed: DeadDeed::Replay,
        count: 3,
        missing: 1,
    };
    vec![
        ("queues", queues::lanes(reader, &queue_lanes())),
        (
            "queues-empty",
            queues::lanes(
                reader,
                &LanesPage {
                    rows: Vec::new(),
                    pauses: Vec::new(),
                    ..queue_lanes()
                },
            ),
        ),
        ("tasks", queues::lanes(reader, &task_lanes())),
        (
            "schedules",
            schedules::schedules(
                reader,
                &schedule_list(vec![
                    schedule(1, "nightly", json!({"rule": "30 2 * * 1-5"})),
                    paused(),
                    broken(),
                ]),
            ),
        ),
        (
            "schedules-empty",
            schedules::schedules(reader, &schedule_list(Vec::new())),
        ),
        (
            "schedule",
            schedules::schedule(
                reader,
                &schedule_page(
                    schedule(1, "nightly", json!({"rule": "30 2 * * 1-5"})),
                    None,
                ),
            ),
        ),
        (
            "schedule-paused",
            schedules::schedule(reader, &schedule_page(paused(), None)),
        ),
        (
            "schedule-broken",
            schedules::schedule(reader, &schedule_page(broken(), Some(WrongRule::Never))),
        ),
        (
            "schedule-new",
            schedule_form::schedule_form(reader, &new_form()),
        ),
        (
            "schedule-edit",
            schedule_form::schedule_form(reader, &form()),
        ),
        (
            "schedule-wrong",
            schedule_form::schedule_form(reader, &wrong_form(RuleAs::Fields)),
        ),
        (
            "schedule-json",
            schedule_form::schedule_form(reader, &wrong_form(RuleAs::Json)),
        ),
        ("dead", dead::dead(reader, &dead_page(None))),
        ("dead-done", dead::dead(reader, &dead_page(Some(done)))),
        (
            "dead-none",
            dead::dead(
                reader,
                &DeadPage {
                    rows: Vec::new(),
                    filter: DeadFilter::default(),
                    next_href: None,
                    ..dead_page(Some(DeadOutcome::NoneChosen))
                },
            ),
        ),
        (
            "dead-all",
            dead::all(reader, &all(DeadDeed::Replay, Count::AtLeast(50))),
        ),
        (
            "dead-all-purge",
            dead::all(reader, &all(DeadDeed::Purge, Count::Exact(12))),
        ),
        (
            "dead-chosen",
            dead::chosen(
                reader,
                &ChosenPage {
                    jobs: vec![JobId(47_802), JobId(47_801)],
                    action: "/dead/chosen".into(),
                    back_href: "/dead".into(),
                },
            ),
        ),
        ("job-bulk", job::job(reader, &bulk_job())),
        ("job-reasons", job::job(reader, &waiting_job())),
        (
            "refused",
            failure::refused(
                reader,
                "the task \"report\" is drained by Robin: the disk is full",
            ),
        ),
    ]
}
