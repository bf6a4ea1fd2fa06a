//! Renders every page with sample data in both languages, checks what a browser and the policy would refuse, and leaves
//! the pages in `target/portal-preview` to be looked at: serve that folder over HTTP.

mod declared;
mod queue;
mod runs;
mod starting;
mod states;
mod triggers;

use std::collections::HashSet;
use std::path::Path;

use ::queue::reasons::{Reason, Scope};
use chrono::{DateTime, TimeDelta, Utc};
use maud::Markup;
use model::JobId;
use serde_json::json;
use uuid::Uuid;

use crate::assets;
use crate::i18n::Language;
use crate::log_text::LogText;
use crate::views::model::*;
use crate::views::{delivery, event, failure, job, overview, session, workload};

const COMMAND: &str = "switchyard demo";

fn now() -> DateTime<Utc> {
    "2026-11-21T12:30:00.250Z".parse().expect("a valid time")
}

fn ago(seconds: i64) -> DateTime<Utc> {
    now() - TimeDelta::milliseconds(seconds * 1_000 + 137)
}

fn id(number: u128) -> Uuid {
    Uuid::from_u128(0x0193_4c1a_7e10_7000_8000_0000_0000_0000 + number)
}

fn reader(language: Language, theme: Theme, path: &str) -> Reader {
    Reader {
        language,
        theme,
        person: Some(Person {
            name: "Robin".into(),
            tenant: "default".into(),
            may_operate: true,
        }),
        csrf: "c5rf".into(),
        now: now(),
        path: path.into(),
    }
}

fn handbook() -> Link {
    Link {
        name: "handbook".into(),
        href: format!("/workloads/{}", id(900)),
    }
}

const COMMIT: &str = "c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f6";
const OLDER: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4";

fn delivery_rows() -> Vec<DeliveryRow> {
    let row =
        |number, seconds, vendor: &str, word: &str, about: &str, verdict, became| DeliveryRow {
            id: id(number),
            received_at: ago(seconds),
            vendor: vendor.into(),
            event: word.into(),
            about: (!about.is_empty()).then(|| about.into()),
            trigger: Some("site-pushes".into()),
            verdict,
            became,
        };
    let job = |id, state, subject: &str| Became::Job {
        id,
        state,
        subject: subject.into(),
    };
    vec![
        row(
            1,
            2,
            "gitea",
            "push",
            "acme/handbook · main · c3d4e5f",
            Verdict::Accepted,
            vec![Became::Pending],
        ),
        row(
            2,
            14,
            "gitea",
            "push",
            "acme/handbook · main · a1b2c3d",
            Verdict::Accepted,
            vec![
                job(48_213, JobState::Running, "handbook"),
                job(48_214, JobState::Queued, "handbook-preview"),
            ],
        ),
        row(
            3,
            71,
            "github",
            "push",
            "acme/shop · release/2026-11-a-rather-long-branch-name · 09fe1c2",
            Verdict::Accepted,
            vec![Became::NoMatch { event: id(103) }],
        ),
        row(4, 420, "github", "ping", "", Verdict::Ignored, vec![]),
        row(5, 4_000, "github", "push", "", Verdict::Rejected, vec![]),
        row(
            6,
            9_000,
            "gitea",
            "push",
            "acme/handbook · main · 77aa901",
            Verdict::Accepted,
            vec![
                job(48_101, JobState::Succeeded, "handbook"),
                Became::Forgotten { id: 40_001 },
            ],
        ),
        row(
            7,
            90_000,
            "gitea",
            "push",
            "acme/shop · main · e0e0e0e",
            Verdict::Conflict,
            vec![],
        ),
        row(
            8,
            200_000,
            "gitea",
            "push",
            "acme/shop · main · 1f2e3d4",
            Verdict::Accepted,
            vec![
                job(47_802, JobState::Dead, "shop"),
                job(47_803, JobState::Superseded, "shop"),
            ],
        ),
    ]
}

fn job_rows() -> Vec<JobRow> {
    let row = |id, state, reason: Option<Reason>, error: Option<&str>, seconds| JobRow {
        id,
        task: "task-static".into(),
        workload: Some(handbook()),
        state,
        reasons: reason.into_iter().collect(),
        error: error.map(Into::into),
        since: ago(seconds),
    };
    vec![
        row(
            48_213,
            JobState::Running,
            Some(Reason::Running {
                worker: "task-static-00004-7d9f".into(),
                since: ago(9),
                lease_until: now() + TimeDelta::seconds(27),
                attempt_until: now() + TimeDelta::seconds(891),
                progress: None,
            }),
            None,
            9,
        ),
        row(
            48_214,
            JobState::Queued,
            Some(Reason::Queue {
                queue: "workload:handbook".into(),
                job: JobId(48_213),
            }),
            None,
            12,
        ),
        row(
            48_200,
            JobState::Queued,
            Some(Reason::Retry {
                at: now() + TimeDelta::seconds(12),
                attempts: 2,
                attempts_max: 5,
                error: "connection to git.example.org timed out after 10 s".into(),
            }),
            None,
            40,
        ),
        row(
            47_802,
            JobState::Dead,
            None,
            Some("the repository git.example.org/acme/shop was not found"),
            20_000,
        ),
    ]
}

/// Every reason once.
fn reasons() -> Vec<(JobState, Reason)> {
    let later = now() + TimeDelta::minutes(4);
    let progress = Some(json!({"done": 1_204, "of": 5_300, "message": "1,204 replayed"}));
    vec![
        (
            JobState::Queued,
            Reason::Ready {
                since: ago(30),
                worker_seen_at: Some(ago(2)),
            },
        ),
        (
            JobState::Queued,
            Reason::Ready {
                since: ago(3_000),
                worker_seen_at: None,
            },
        ),
        (JobState::Queued, Reason::Key { job: JobId(48_213) }),
        (JobState::Queued, Reason::Due { at: later }),
        (
            JobState::Queued,
            Reason::Paused {
                scope: Scope::Queue,
                queue: Some("nightly".into()),
                task: None,
                by: "Robin".into(),
                note: Some("the disk is full".into()),
                since: ago(600),
            },
        ),
        (
            JobState::Queued,
            Reason::Full {
                scope: Scope::Tenant,
                in_flight: 1_250,
                in_flight_max: 1_250,
            },
        ),
        (
            JobState::Queued,
            Reason::Rate {
                scope: Scope::TenantTask,
                next_at: later,
            },
        ),
        (
            JobState::Queued,
            Reason::NoExecutor {
                task: "resize-images".into(),
            },
        ),
        (
            JobState::Waiting,
            Reason::Runner {
                runner: "job/terraform-plan-48220".into(),
                deadline: later,
                progress: progress.clone(),
            },
        ),
        (
            JobState::Waiting,
            Reason::Callback {
                deadline: later,
                progress,
            },
        ),
        (JobState::Waiting, Reason::Approval { deadline: later }),
        (
            JobState::Cancelling,
            Reason::Stopping {
                asked_at: ago(3),
                asked_by: Some("Robin".into()),
            },
        ),
    ]
}

fn reason_rows() -> Vec<JobRow> {
    reasons()
        .into_iter()
        .enumerate()
        .map(|(index, (state, reason))| JobRow {
            id: 48_300 + index as i64,
            task: "task-static".into(),
            workload: None,
            state,
            reasons: vec![reason],
            error: None,
            since: ago(30),
        })
        .collect()
}

fn workload_rows() -> Vec<WorkloadRow> {
    let row = |number, name: &str, state, live: Option<(i64, &str, i64)>| WorkloadRow {
        id: id(number),
        name: name.into(),
        kind: "static".into(),
        state,
        url: live.map(|_| format!("http://{name}.localhost:8080/")),
        live: live.map(|(number, commit, seconds)| LiveRevision {
            number,
            commit: commit.into(),
            since: ago(seconds),
        }),
    };
    vec![
        row(
            900,
            "handbook",
            WorkloadState::Deploying,
            Some((41, OLDER, 9_000)),
        ),
        row(
            901,
            "shop",
            WorkloadState::Failed,
            Some((7, COMMIT, 700_000)),
        ),
        row(
            902,
            "status",
            WorkloadState::Live,
            Some((112, "09fe1c2a", 86_400)),
        ),
        row(903, "docs-next", WorkloadState::Empty, None),
    ]
}

fn full_overview() -> Overview {
    Overview {
        deliveries_today: Count::AtLeast(10_000),
        rejected_today: Count::Exact(3),
        running: Count::Exact(1),
        waiting: Count::Exact(1_204),
        dead: Count::Exact(1),
        deliveries: delivery_rows(),
        jobs: job_rows(),
        workloads: workload_rows(),
        first_command: COMMAND.into(),
        live_href: "/live/overview?after=48213".into(),
    }
}

fn empty_overview() -> Overview {
    Overview {
        deliveries_today: Count::Exact(0),
        rejected_today: Count::Exact(0),
        running: Count::Exact(0),
        waiting: Count::Exact(0),
        dead: Count::Exact(0),
        deliveries: Vec::new(),
        jobs: Vec::new(),
        workloads: Vec::new(),
        ..full_overview()
    }
}

fn delivery_list(rows: Vec<DeliveryRow>, verdict: Option<Verdict>) -> DeliveryList {
    DeliveryList {
        rows,
        verdict,
        trigger: None,
        triggers: vec!["site-pushes".into(), "shop-pushes".into()],
        vendor: String::new(),
        event: String::new(),
        since: String::new(),
        replay_href: Some("/deliveries/replay".into()),
        newer_href: Some("/deliveries?before=a".into()),
        older_href: Some("/deliveries?after=b".into()),
        first_command: COMMAND.into(),
        live_href: None,
    }
}

const BODY: &str = r#"{
  "ref": "refs/heads/main",
  "after": "c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f6",
  "repository": { "full_name": "acme/handbook" },
  "note": "</script><script>alert(1)</script>"
}"#;

fn delivery_page() -> DeliveryPage {
    let header = |name: &str, value: &str, masked| HeaderRow {
        name: name.into(),
        value: value.into(),
        masked,
    };
    DeliveryPage {
        row: delivery_rows().swap_remove(1),
        vendor_id: Some("f6c1e2b0-5a8e-4f86-9d43-0d0c1b1d9f10".into()),
        status: 202,
        reason: None,
        repeats: vec![ago(8), ago(3)],
        headers: vec![
            header("content-type", "application/json", false),
            header("user-agent", "Gitea/1.25", false),
            header("x-gitea-event", "push", false),
            header("x-gitea-signature", "8f3c…", true),
        ],
        body: Body {
            pretty: Some(BODY.into()),
            raw: BODY.split_whitespace().collect(),
            bytes: 7_940,
            truncated: true,
            raw_href: format!("/deliveries/{}/body", id(2)),
        },
        events: vec![EventRow {
            id: id(102),
            kind: "git.pushed".into(),
            subject: Some("acme/handbook refs/heads/main".into()),
            became: vec![Became::Job {
                id: 48_213,
                state: JobState::Running,
                subject: "handbook".into(),
            }],
        }],
        trigger: triggers::trigger_id(),
        bindings: vec![(triggers::binding_id(1), "№ 1 → handbook".into())],
        may_operate: true,
        body_kept: true,
        later: vec![(id(9).into(), ago(10), Verdict::Duplicate)],
        redelivery_of: Some(id(1).into()),
    }
}

fn rejected_delivery() -> DeliveryPage {
    DeliveryPage {
        row: delivery_rows().swap_remove(4),
        status: 401,
        reason: Some("x-hub-signature-256 does not match any secret of the trigger".into()),
        repeats: Vec::new(),
        events: Vec::new(),
        body: Body {
            pretty: None,
            raw: "ref=refs%2Fheads%2Fmain".into(),
            bytes: 23,
            truncated: false,
            ..delivery_page().body
        },
        ..delivery_page()
    }
}

fn chain(done: bool) -> Vec<ChainNode> {
    let node = |kind, label: &str, href: Option<String>, at, tone| ChainNode {
        kind,
        label: label.into(),
        href,
        at,
        tone,
    };
    let start = ago(14);
    let after = |millis| Some(start + TimeDelta::milliseconds(millis));
    vec![
        node(
            ChainKind::Delivery,
            "gitea push",
            Some(format!("/deliveries/{}", id(2))),
            after(0),
            Tone::Good,
        ),
        node(
            ChainKind::Event,
            "git.pushed",
            Some(format!("/events/{}", id(102))),
            after(3),
            Tone::Good,
        ),
        node(
            ChainKind::Decision,
            "deploy-main",
            Some(format!("/events/{}", id(102))),
            after(41),
            Tone::Good,
        ),
        node(
            ChainKind::Job,
            "task-static",
            Some("/jobs/48213".into()),
            after(66),
            if done { Tone::Good } else { Tone::Active },
        ),
        node(
            ChainKind::Revision,
            if done { "handbook" } else { "—" },
            done.then(|| handbook().href),
            if done { after(4_310) } else { None },
            if done { Tone::Good } else { Tone::Quiet },
        ),
    ]
}

fn event_page() -> EventPage {
    let clause = |name: &str, expected: &str, actual: Option<&str>, held| Clause {
        name: name.into(),
        expected: expected.into(),
        actual: actual.map(Into::into),
        held,
    };
    let decision = |binding: &str, target: &str, clauses: Vec<Clause>, job| Decision {
        binding: binding.into(),
        id: triggers::binding_id(1),
        target: Target::Workload(Link {
            name: target.into(),
            href: handbook().href,
        }),
        matched: clauses.iter().all(|clause| clause.held),
        clauses,
        job,
    };
    EventPage {
        id: id(102),
        kind: "git.pushed".into(),
        subject: Some("acme/handbook refs/heads/main".into()),
        source: "/webhooks/gitea/site-pushes".into(),
        received_at: ago(14),
        dispatched_at: Some(ago(14) + TimeDelta::milliseconds(41)),
        trigger: Some("site-pushes".into()),
        chain: chain(false),
        decisions: vec![
            decision(
                "deploy-main",
                "handbook",
                vec![
                    clause("repository", "acme/handbook", Some("acme/handbook"), true),
                    clause("branch", "main", Some("main"), true),
                ],
                Some(JobRef {
                    id: 48_213,
                    state: Some(JobState::Running),
                }),
            ),
            decision(
                "deploy-preview",
                "handbook-preview",
                vec![
                    clause("repository", "acme/handbook", Some("acme/handbook"), true),
                    clause("branch", "preview/*", Some("main"), false),
                ],
                None,
            ),
            decision(
                "nightly-labels",
                "handbook",
                vec![clause("label", "nightly", None, false)],
                None,
            ),
            decision(
                "everything",
                "audit",
                vec![],
                Some(JobRef {
                    id: 48_214,
                    state: Some(JobState::Queued),
                }),
            ),
        ],
        data: BODY.into(),
        live_href: Some("/live/events/1?after=7".into()),
    }
}

fn log(lines: usize) -> Log {
    let printed = [
        "\u{1b}[1mfetching\u{1b}[0m https://git.example.org/acme/handbook.git",
        "\u{1b}[36mrefs/heads/main\u{1b}[0m is at \u{1b}[33mc3d4e5f\u{1b}[0m (asked for a1b2c3d)",
        "\u{1b}[32m✓\u{1b}[0m 214 objects, 1.8 MiB in 412 ms",
        "rendering 38 Markdown files",
        "\u{1b}[2m  guide/getting-started.md → guide/getting-started.html\u{1b}[0m",
        "\u{1b}[33mwarning:\u{1b}[0m guide/old.md links to a page that is not there: ../removed.html",
        "\u{1b}[31merror:\u{1b}[0m name\u{202e}lmth.exe has hidden characters; kept as it is",
        "a long line without a break so that one sees what wrapping does: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    ];
    Log {
        lines: printed
            .iter()
            .cycle()
            .take(lines)
            .enumerate()
            .map(|(index, line)| LogLine {
                number: index as i64 + 1,
                at: ago(9) + TimeDelta::milliseconds(index as i64 * 37),
                attempt: 1,
                text: LogText::parse(line),
            })
            .collect(),
        href: "/jobs/48213".into(),
        ..Log::default()
    }
}

fn running_job() -> JobPage {
    let event = |seconds, kind, detail: Option<&str>| JobEvent {
        at: ago(seconds),
        kind,
        detail: detail.map(Into::into),
    };
    JobPage {
        row: job_rows().swap_remove(0),
        run: RunPanel::default(),
        stop: None,
        attempts_used: 2,
        attempts_max: 5,
        epoch: 2,
        created_at: ago(14),
        ran_for: Some(TimeDelta::milliseconds(9_380)),
        outcome: None,
        advice: None,
        chain: chain(false),
        attempts: vec![
            Attempt {
                number: 2,
                worker: Some("task-static-00004-7d9f".into()),
                started_at: Some(ago(9)),
                ended_at: None,
                outcome: AttemptOutcome::Running,
                error: None,
            },
            Attempt {
                number: 1,
                worker: Some("task-static-00004-x2k1".into()),
                started_at: Some(ago(13)),
                ended_at: Some(ago(11)),
                outcome: AttemptOutcome::Failed,
                error: Some("connection to git.example.org timed out".into()),
            },
        ],
        timeline: vec![
            event(14, JobEventKind::Queued, Some("by binding deploy-main")),
            event(
                13,
                JobEventKind::Started,
                Some("task-static-00004-x2k1, epoch 1"),
            ),
            event(
                11,
                JobEventKind::Retrying,
                Some("connection to git.example.org timed out"),
            ),
            event(
                9,
                JobEventKind::Started,
                Some("task-static-00004-7d9f, epoch 2"),
            ),
        ],
        log: log(46),
        payload: BODY.into(),
        result: None,
        cancel_href: Some("/jobs/48213/cancel".into()),
        replay_href: None,
        live_href: Some("/live/jobs/48213?after=46".into()),
    }
}

fn dead_job() -> JobPage {
    let mut page = running_job();
    page.row = job_rows().swap_remove(3);
    page.advice = Some(
        "Check the address in the workload’s source, and that its token may read the repository."
            .into(),
    );
    page.cancel_href = None;
    page.replay_href = Some("/dead/47802/replay".into());
    page.live_href = None;
    page.log = Log {
        lines: Vec::new(),
        ..log(0)
    };
    page.result = Some("{\n  \"live\": \"unchanged\"\n}".into());
    page
}

fn retrying_job() -> JobPage {
    let mut page = running_job();
    page.row = job_rows().swap_remove(2);
    page.log = Log {
        earlier: 4_322,
        ..log(12)
    };
    page.ran_for = None;
    page
}

fn done_job() -> JobPage {
    let mut page = running_job();
    page.row.state = JobState::Succeeded;
    page.row.reasons = Vec::new();
    page.outcome = Some("asked for a1b2c3d, deployed c3d4e5f".into());
    page.chain = chain(true);
    page.cancel_href = None;
    page.live_href = None;
    page
}

fn revision(number: i64, live: bool) -> RevisionRow {
    RevisionRow {
        number,
        commit: if number % 2 == 0 {
            COMMIT.into()
        } else {
            OLDER.into()
        },
        asked: (number == 40).then(|| OLDER.into()),
        message: Some("Explain how bindings choose what starts".into()),
        deployed_at: ago((42 - number) * 9_000),
        job: Some(48_000 + number),
        live,
        rollback_href: (!live).then(|| format!("{}/rollback?to={number}", handbook().href)),
    }
}

fn workload_page() -> WorkloadPage {
    let binding = |name: &str, kind: &str, filter: Option<&str>, enabled| BindingRow {
        name: name.into(),
        trigger: "site-pushes".into(),
        trigger_kind: kind.into(),
        filter: filter.map(Into::into),
        enabled,
    };
    WorkloadPage {
        row: workload_rows().swap_remove(0),
        source: Some("https://git.example.org/acme/handbook · main · /site".into()),
        revisions: vec![
            revision(41, true),
            revision(40, false),
            revision(39, false),
            revision(38, false),
        ],
        bindings: vec![
            binding("deploy-main", "git", Some("branch = main"), true),
            binding("nightly", "schedule", None, false),
        ],
        jobs: job_rows(),
        deploy_href: Some(format!("{}/deploy", handbook().href)),
        live_href: "/live/workloads/900?after=7".into(),
    }
}

fn rollback_page() -> RollbackPage {
    RollbackPage {
        workload: handbook(),
        from: workload_rows().swap_remove(0).live,
        to: revision(40, false),
        action: format!("{}/rollback", handbook().href),
    }
}

fn pages(language: Language, theme: Theme) -> Vec<(&'static str, Markup)> {
    let reader = |path: &str| reader(language, theme, path);
    let nobody = |path: &str| Reader {
        person: None,
        ..reader(path)
    };
    let one = |page: &DeliveryPage| delivery::delivery(&reader("/deliveries/1"), page);
    let job_at = |page: &JobPage| job::job(&reader("/jobs/48213"), page);
    let sign_in = |view| session::sign_in(&nobody("/sign-in"), &view);
    let fail = |failure, reference| failure::failure(&reader("/jobs/1?x=y"), failure, reference);
    let mut pages = vec![
        (
            "overview",
            overview::overview(&reader("/"), &full_overview()),
        ),
        (
            "overview-empty",
            overview::overview(&reader("/"), &empty_overview()),
        ),
        (
            "deliveries",
            delivery::deliveries(
                &reader("/deliveries"),
                &delivery_list(delivery_rows(), None),
            ),
        ),
        (
            "deliveries-no-match",
            delivery::deliveries(
                &reader("/deliveries?verdict=conflict"),
                &delivery_list(vec![], Some(Verdict::Conflict)),
            ),
        ),
        (
            "deliveries-empty",
            delivery::deliveries(&reader("/deliveries"), &delivery_list(vec![], None)),
        ),
        ("delivery", one(&delivery_page())),
        ("delivery-rejected", one(&rejected_delivery())),
        ("event", event::event(&reader("/events/1"), &event_page())),
        (
            "event-pending",
            event::event(
                &reader("/events/1"),
                &EventPage {
                    dispatched_at: None,
                    decisions: vec![],
                    ..event_page()
                },
            ),
        ),
        ("job-running", job_at(&running_job())),
        ("job-retrying", job_at(&retrying_job())),
        ("job-dead", job_at(&dead_job())),
        ("job-done", job_at(&done_job())),
        (
            "workloads",
            workload::workloads(&reader("/workloads"), &workload_rows(), COMMAND),
        ),
        (
            "workloads-empty",
            workload::workloads(&reader("/workloads"), &[], COMMAND),
        ),
        (
            "workload",
            workload::workload(&reader("/workloads/1"), &workload_page()),
        ),
        (
            "workload-waiting-reasons",
            workload::workload(
                &reader("/workloads/1"),
                &WorkloadPage {
                    jobs: reason_rows(),
                    ..workload_page()
                },
            ),
        ),
        (
            "rollback",
            workload::rollback(&reader("/workloads/1/rollback?to=40"), &rollback_page()),
        ),
        (
            "sign-in",
            sign_in(session::SignIn::Confirm { token: "t0ken" }),
        ),
        (
            "sign-in-expired",
            sign_in(session::SignIn::Expired {
                command: "switchyard sign-in",
            }),
        ),
        (
            "sign-in-needed",
            sign_in(session::SignIn::Needed {
                command: "switchyard sign-in",
            }),
        ),
        (
            "signed-out",
            sign_in(session::SignIn::SignedOut {
                command: "switchyard sign-in",
            }),
        ),
        ("error-404", fail(Failure::NotFound, None)),
        ("error-403", fail(Failure::Forbidden, None)),
        (
            "error-500",
            fail(Failure::Internal, Some("4bf92f3577b34da6")),
        ),
        ("error-503", fail(Failure::Unavailable, None)),
    ];
    pages.extend(queue::pages(&reader("/queues")));
    pages.extend(runs::pages(&reader("/jobs/48213")));
    pages.extend(starting::pages(&reader("/runs")));
    pages.extend(states::pages(&reader("/states")));
    pages.extend(triggers::pages(&reader("/triggers")));
    pages.extend(declared::pages(&reader("/triggers")));
    pages
}

/// The tags of a page with their attributes. Enough of a parser for what maud writes.
fn tags(html: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut found = Vec::new();
    for (at, _) in html.match_indices('<') {
        let tag = &html[at + 1..];
        if tag.starts_with(['/', '!']) {
            continue;
        }
        // Attribute values may hold `>`, so quotes are followed.
        let mut quoted = false;
        let end = tag
            .find(|c| {
                quoted ^= c == '"';
                c == '>' && !quoted
            })
            .expect("a tag ends");
        let tag = &tag[..end];
        let (name, mut rest) = tag.split_once(' ').unwrap_or((tag, ""));
        let mut attributes = Vec::new();
        while !rest.trim().is_empty() {
            rest = rest.trim_start();
            let length = rest.find([' ', '=']).unwrap_or(rest.len());
            let attribute = rest[..length].to_owned();
            rest = &rest[length..];
            let mut value = String::new();
            if let Some(after) = rest.strip_prefix("=\"") {
                let close = after.find('"').expect("a value ends");
                after[..close].clone_into(&mut value);
                rest = &after[close + 1..];
            }
            attributes.push((attribute, value));
        }
        found.push((name.to_owned(), attributes));
    }
    found
}

fn check(name: &str, html: &str) {
    let tags = tags(html);
    let mut ids = HashSet::new();
    let mut mains = 0;
    let mut headings = 0;
    for (tag, attributes) in &tags {
        mains += usize::from(tag == "main");
        headings += usize::from(tag == "h1");
        assert!(tag != "style", "{name}: an inline style sheet");
        let value = |wanted: &str| {
            attributes
                .iter()
                .find(|(name, _)| name == wanted)
                .map(|(_, value)| value.as_str())
        };
        if tag == "script" {
            assert!(value("src").is_some(), "{name}: an inline script");
        }
        for (attribute, value) in attributes {
            assert!(
                attribute != "style" && !attribute.starts_with("on"),
                "{name}: {attribute} on {tag}"
            );
            assert!(
                !attribute.starts_with("hx-on"),
                "{name}: {attribute} needs evaluation"
            );
            if attribute == "id" {
                assert!(
                    !value.is_empty() && ids.insert(value.clone()),
                    "{name}: the id {value:?} stands twice"
                );
            }
            if ["href", "src", "action"].contains(&attribute.as_str()) {
                let base = url::Url::parse("http://portal.invalid/").expect("a valid address");
                let address = base
                    .join(&value.replace("&amp;", "&"))
                    .expect("a valid address");
                let is_outside = address.host_str() != Some("portal.invalid");
                assert!(
                    value.starts_with(['/', '#']) || (tag == "a" && is_outside),
                    "{name}: {attribute}={value}"
                );
                assert!(
                    ["http", "https"].contains(&address.scheme()),
                    "{name}: {attribute}={value}"
                );
                assert!(
                    !value.contains(char::is_whitespace),
                    "{name}: {attribute}={value}"
                );
            }
        }
        if tag == "form" && value("method") == Some("post") && name != "sign-in" {
            assert!(
                html.contains("name=\"csrf\""),
                "{name}: a form without a token"
            );
        }
        if tag == "button" && value("type").is_none() {
            panic!("{name}: a button without a type submits by accident");
        }
    }
    for (_, attributes) in &tags {
        for (attribute, value) in attributes {
            if ["aria-labelledby", "aria-describedby"].contains(&attribute.as_str()) {
                assert!(
                    ids.contains(value),
                    "{name}: {attribute}={value} points nowhere"
                );
            }
        }
    }
    assert_eq!((mains, headings), (1, 1), "{name}: one main and one h1");
    assert!(
        !html.contains("{$") && !html.contains("{ $"),
        "{name}: an argument was not filled in"
    );
    assert!(
        !html.contains('\u{f8ff}'),
        "{name}: a slot was not filled in"
    );
}

#[test]
fn every_page_renders_in_every_language_as_the_policy_allows() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/portal-preview");
    for (name, bytes) in assets::all() {
        let path = folder.join(assets::href(name).trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().expect("a file is in a folder"))?;
        std::fs::write(path, bytes)?;
    }
    for language in Language::ALL {
        for theme in Theme::ALL {
            for (name, page) in pages(language, theme) {
                check(name, &page.0);
                let file = format!("{name}.{}.{}.html", language.code(), theme.code());
                std::fs::write(folder.join(file), page.0)?;
            }
        }
    }
    Ok(())
}

#[test]
fn what_people_and_programs_wrote_is_shown_as_text() {
    for (name, page) in pages(Language::English, Theme::Auto) {
        assert!(!page.0.contains("<script>alert"), "{name}");
    }
}

#[test]
fn a_page_speaks_one_language() {
    for (name, page) in pages(Language::English, Theme::Auto) {
        let cyrillic = page
            .0
            .replace("Русский", "")
            .chars()
            .any(|c| ('а'..='я').contains(&c));
        assert!(!cyrillic, "{name} has Russian words in its English version");
    }
}
