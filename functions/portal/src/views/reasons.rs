//! Why a job does not go on, in words.

use maud::{Markup, html};
use queue::reasons::{Reason, Scope};
use serde_json::Value;

use super::model::Reader;
use super::parts::ago;

/// One reason in one sentence.
pub(super) fn reason(reader: &Reader, reason: &Reason) -> Markup {
    let language = reader.language;
    let code = |text: &str| html! { code { (text) } };
    let job = |id: &model::JobId| {
        html! { a href={ "/jobs/" (id) } { (language.with("job-number", &[("id", id.to_string().into())])) } }
    };
    let when = |at| ago(reader, at);
    match reason {
        Reason::Running {
            worker,
            lease_until,
            ..
        } => language.rich(
            "why-leased",
            &[("worker", code(worker)), ("until", when(*lease_until))],
        ),
        Reason::Approval { deadline } => {
            language.rich("why-approval", &[("deadline", when(*deadline))])
        }
        Reason::Callback { deadline, .. } => {
            language.rich("why-callback", &[("deadline", when(*deadline))])
        }
        Reason::Runner {
            runner, deadline, ..
        } => language.rich(
            "why-outside",
            &[("runner", code(runner)), ("deadline", when(*deadline))],
        ),
        Reason::Stopping { asked_at, .. } => {
            language.rich("why-stopping", &[("asked", when(*asked_at))])
        }
        Reason::Due { at } => language.rich("why-due", &[("when", when(*at))]),
        Reason::Retry {
            at,
            attempts,
            attempts_max,
            error,
        } => html! {
            (language.rich("why-retry", &[("when", when(*at)), ("error", html! { q { (error) } })]))
            " "
            (language.with("attempts-of", &[
                ("used", attempts.to_string().into()), ("max", attempts_max.to_string().into()),
            ]))
        },
        Reason::Paused {
            scope,
            queue,
            task,
            by,
            note,
            since,
        } => html! {
            (language.rich("why-paused", &[
                ("what", what(reader, *scope, queue.as_deref(), task.as_deref())),
                ("name", html! { (by) }),
                ("when", when(*since)),
            ]))
            @if let Some(note) = note { " " q { (note) } }
        },
        Reason::NoExecutor { task } => language.rich("why-no-executor", &[("task", code(task))]),
        Reason::Queue { queue, job: before } => language.rich(
            "why-queue-busy",
            &[("queue", code(queue)), ("job", job(before))],
        ),
        Reason::Key { job: before } => language.rich("why-key-busy", &[("job", job(before))]),
        Reason::Full {
            scope,
            in_flight,
            in_flight_max,
        } => language.rich(
            "why-full",
            &[
                ("what", what(reader, *scope, None, None)),
                ("running", html! { (in_flight) }),
                ("most", html! { (in_flight_max) }),
            ],
        ),
        Reason::Rate { scope, next_at } => language.rich(
            "why-rate",
            &[
                ("what", what(reader, *scope, None, None)),
                ("when", when(*next_at)),
            ],
        ),
        Reason::Ready {
            since,
            worker_seen_at: Some(_),
        } => language.rich("why-ready", &[("since", when(*since))]),
        Reason::Ready {
            since,
            worker_seen_at: None,
        } => language.rich("why-ready-alone", &[("since", when(*since))]),
    }
}

fn what(reader: &Reader, scope: Scope, queue: Option<&str>, task: Option<&str>) -> Markup {
    let language = reader.language;
    html! {
        (match scope {
            Scope::Tenant => language.t("scope-tenant"),
            Scope::Task => language.t("scope-task"),
            Scope::TenantTask => language.t("scope-tenant-task"),
            Scope::Queue => language.t("scope-queue"),
        })
        @if let Some(name) = queue.or(task) { " " code { (name) } }
    }
}

/// How far a job is, as its worker tells; nothing when it has told nothing that can be shown.
pub(super) fn progress(reader: &Reader, reason: &Reason) -> Option<Markup> {
    let told = match reason {
        Reason::Running { progress, .. }
        | Reason::Callback { progress, .. }
        | Reason::Runner { progress, .. } => progress.as_ref()?,
        _ => return None,
    };
    let number = |name: &str| told.get(name).and_then(Value::as_f64).filter(|n| *n >= 0.0);
    let message = told.get("message").and_then(Value::as_str);
    let (done, of) = (number("done"), number("of").filter(|of| *of > 0.0));
    if done.is_none() && message.is_none() {
        return None;
    }
    let language = reader.language;
    Some(html! {
        div class="callout tone-active progress" role="status" {
            div {
                @if let (Some(done), Some(of)) = (done, of) {
                    progress max=(of) value=(done) aria-label=(language.t("progress-label")) {}
                    " "
                    (language.with("progress-of", &[("done", language.number(done).into()), ("of", language.number(of).into())]))
                } @else if let Some(done) = done { (language.number(done)) }
                @if let Some(message) = message { p { (message) } }
            }
        }
    })
}
