//! What the portal shows and does, as JSON for programs: one tenant's deliveries, events, jobs, queues, schedules and workloads.
//!
//! Who asks is told by a session: `Authorization: Bearer <token>`, or the portal's cookie. Which tenant is told by
//! `?tenant=<name>`, which may be left out by who is a member of one alone. What belongs to another tenant is not found.
//! A list comes in pieces: `?limit=` rows, and `next` is the `?cursor=` of the piece after it. What changes something takes
//! the header, never the cookie alone, and a role. Whatever goes wrong is one of the few problem documents of [`Problem`]
//! (RFC 9457). `GET /openapi.json` describes all of it.

mod approvals;
mod artifacts;
mod asked;
mod bindings;
mod credentials;
mod dead;
mod declared;
mod deliveries;
mod dry_runs;
mod executors;
mod job_log;
mod jobs;
mod log_rules;
mod notifications;
mod problem;
mod queues;
mod repair;
mod run_kinds;
mod schedules;
mod tasks;
mod terraform;
mod triggers;
mod watches;
mod workspaces;

use axum::extract::Path;
use axum::response::IntoResponse;
use axum::routing::{get, post, put};
use axum::{Extension, Json, Router};
use host::{Ctx, Env, Function, Kind, Routes, SettingsError};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use model::{DatabaseRole, EventId, WorkloadId};
use serde::Serialize;
use serde_json::value::RawValue;
use store::pages;
use webhook::Functions;

use crate::asked::{Asked, Piece};
use crate::problem::Problem;

/// Reads with `GET`; changes with `POST`, `PUT` and `DELETE`.
pub const FUNCTION: Function = Function {
    name: env!("CARGO_PKG_NAME"),
    role: DatabaseRole::Tenant,
    kind: Kind::Service,
    routes,
};

/// The description of everything here.
const OPENAPI: &str = include_str!("openapi.json");

/// How many revisions of a workload come with it, the newest.
const REVISIONS_MAX: usize = 20;

fn routes(env: &Env) -> Result<Routes, SettingsError> {
    // It signs cursors.
    env.require("MASTER_KEY_FILE")?;
    // Where artifacts are.
    env.require("BLOBS_URL")?;
    let router: Router<Ctx> = Router::new()
        .route("/artifacts", get(artifacts::list))
        .route(
            "/artifacts/{id}",
            get(artifacts::show).delete(artifacts::remove),
        )
        .route("/artifacts/{id}/content", get(artifacts::content))
        .route(
            "/bindings/{id}",
            get(bindings::show)
                .put(bindings::change)
                .delete(bindings::remove),
        )
        .route("/bindings/{id}/decisions", get(bindings::decisions))
        .route(
            "/credentials",
            get(credentials::list).post(credentials::create),
        )
        .route(
            "/credentials/{id}",
            put(credentials::rotate).delete(credentials::remove),
        )
        .route("/credentials/{id}/checks", post(credentials::check))
        .route("/dead", get(dead::list))
        .route("/dead/purges", post(dead::purge))
        .route("/dead/replays", post(dead::replay))
        .route("/deliveries", get(deliveries::list))
        .route("/deliveries/replays", post(deliveries::replay_all))
        .route("/deliveries/{id}", get(deliveries::show))
        .route("/deliveries/{id}/body", get(deliveries::body))
        .route("/deliveries/{id}/diff", get(deliveries::difference))
        .route("/deliveries/{id}/redeliver", post(deliveries::redeliver))
        .route("/deliveries/{id}/replays", post(deliveries::replay))
        .route("/event-log", get(log_rules::event_log))
        .route("/events/{id}", get(event))
        .route("/executors", get(executors::list))
        .route("/executors/{task}", get(executors::show))
        .route(
            "/executors/{task}/url",
            put(executors::set_url).delete(executors::drop_url),
        )
        .route("/jobs", get(jobs::list).post(jobs::create))
        .route("/jobs/{id}", get(jobs::show))
        .route("/jobs/{id}/approve", post(approvals::approve))
        .route("/jobs/{id}/artifacts", get(artifacts::of_job))
        .route("/jobs/{id}/artifacts/{name}", put(artifacts::bring_to_job))
        .route("/jobs/{id}/cancel", post(jobs::cancel))
        .route("/jobs/{id}/log", get(job_log::read))
        .route("/jobs/{id}/reject", post(approvals::reject))
        .route("/jobs/{id}/runs", get(jobs::runs))
        .route("/log-rules", get(log_rules::list).post(log_rules::create))
        .route("/log-rules/test", post(log_rules::test))
        .route(
            "/log-rules/{id}",
            get(log_rules::show)
                .put(log_rules::change)
                .delete(log_rules::remove),
        )
        .route("/log-rules/{id}/stats", get(log_rules::stats))
        .route(
            "/notification-endpoints",
            get(notifications::endpoints).post(notifications::create_endpoint),
        )
        .route(
            "/notification-endpoints/{id}",
            get(notifications::endpoint)
                .put(notifications::change_endpoint)
                .delete(notifications::remove_endpoint),
        )
        .route(
            "/notification-endpoints/{id}/secret",
            post(notifications::rotate),
        )
        .route(
            "/notification-endpoints/{id}/tests",
            post(notifications::test_endpoint),
        )
        .route(
            "/notification-rules",
            get(notifications::rules).post(notifications::create_rule),
        )
        .route(
            "/notification-rules/{id}",
            get(notifications::rule)
                .put(notifications::change_rule)
                .delete(notifications::remove_rule),
        )
        .route("/notifications", get(notifications::list))
        .route("/notifications/{id}", get(notifications::show))
        .route(
            "/notifications/{id}/redeliveries",
            post(notifications::redeliver),
        )
        .route("/openapi.json", get(openapi))
        .route("/pauses", get(queues::pauses).post(queues::stop))
        .route("/pauses/{id}", get(queues::pause).delete(queues::go_on))
        .route("/queues", get(queues::list))
        .route("/queues/{name}", get(queues::show))
        .route("/repairs", post(repair::repair))
        .route("/run-kinds", get(run_kinds::list))
        .route("/schedules", get(schedules::list).post(schedules::declare))
        .route(
            "/schedules/{id}",
            get(schedules::show)
                .put(schedules::change)
                .delete(schedules::remove),
        )
        .route("/schedules/{id}/pause", post(schedules::pause))
        .route("/schedules/{id}/resume", post(schedules::resume))
        .route("/schedules/{id}/run", post(schedules::run))
        .route("/shelf/{name}", put(artifacts::bring_to_shelf))
        .route("/tasks", get(tasks::list))
        .route("/tasks/{name}", get(tasks::show))
        .route("/tasks/{name}/cap", put(tasks::cap))
        .route("/tasks/{name}/limit", put(tasks::limit))
        .route("/terraform-states", get(terraform::list))
        .route(
            "/terraform-states/{id}",
            get(terraform::show).delete(terraform::remove),
        )
        .route("/terraform-states/{id}/unlock", post(terraform::unlock))
        .route("/terraform-states/{id}/versions", get(terraform::versions))
        .route(
            "/terraform-states/{id}/versions/{number}",
            get(terraform::version),
        )
        .route(
            "/terraform-states/{id}/versions/{number}/diff",
            get(terraform::difference),
        )
        .route(
            "/terraform-states/{id}/versions/{number}/download",
            get(terraform::download),
        )
        .route(
            "/terraform-states/{id}/versions/{number}/promote",
            post(terraform::promote),
        )
        .route("/trigger-kinds", get(triggers::kinds))
        .route("/triggers", get(triggers::list).post(triggers::create))
        .route(
            "/triggers/{id}",
            get(triggers::show)
                .put(triggers::change)
                .delete(triggers::remove),
        )
        .route("/triggers/{id}/bindings", post(bindings::create))
        .route("/triggers/{id}/bindings/order", put(bindings::order))
        .route("/triggers/{id}/disable", post(triggers::disable))
        .route("/triggers/{id}/dry-runs", post(dry_runs::try_out))
        .route("/triggers/{id}/enable", post(triggers::enable))
        .route("/triggers/{id}/health", get(deliveries::health))
        .route("/triggers/{id}/runs", post(triggers::run))
        .route(
            "/triggers/{id}/secret",
            post(triggers::rotate).delete(triggers::drop_old_secret),
        )
        .route(
            "/triggers/{id}/watch",
            get(watches::show).put(watches::set).delete(watches::end),
        )
        .route("/triggers/{id}/watch/looks", post(watches::look))
        .route("/workloads", get(workloads))
        .route("/workloads/{id}", get(workload))
        .route("/workloads/{id}/config", put(bindings::change_workload))
        .route(
            "/workspaces",
            get(workspaces::list).post(workspaces::create),
        )
        .route(
            "/workspaces/{id}",
            get(workspaces::show)
                .put(workspaces::change)
                .delete(workspaces::remove),
        )
        .route("/workspaces/{id}/sync", post(workspaces::sync))
        .fallback(async || Problem::NotFound)
        .method_not_allowed_fallback(async || Problem::MethodNotAllowed)
        .layer(Extension(host::Ticker::of(env, "CRON_WORKSPACES_URL")?))
        .layer(Extension(executors::guard(env)?))
        .layer(Extension(Functions::of(env)?));
    Ok(router.into())
}

type Answer<T> = Result<([(http::HeaderName, &'static str); 1], Json<T>), Problem>;

/// What one person may read stays out of every cache.
fn answer<T>(value: T) -> Answer<T> {
    Ok(([(CACHE_CONTROL, "no-store")], Json(value)))
}

async fn openapi() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], OPENAPI)
}

/// An event with its data, byte for byte.
#[derive(Serialize)]
struct Event {
    #[serde(flatten)]
    event: pages::Event,
    data: Box<RawValue>,
}

async fn event(Path(id): Path<String>, asked: Asked) -> Answer<Event> {
    asked.nothing_more()?;
    let id: EventId = named(&id)?;
    let mut tx = asked.begin().await?;
    let found = pages::event(&mut tx, id).await?;
    let data = pages::event_data(&mut tx, id).await?;
    tx.commit().await?;
    let (event, data) = found.zip(data).ok_or(Problem::NotFound)?;
    let data = RawValue::from_string(data).map_err(Problem::internal)?;
    answer(Event { event, data })
}

async fn workloads(mut asked: Asked) -> Answer<Piece<pages::Workload>> {
    let (after, limit) = asked.piece::<String>()?;
    let mut tx = asked.begin().await?;
    let rows = pages::workloads(&mut tx, after.as_deref(), limit).await?;
    tx.commit().await?;
    answer(asked.list(rows, limit, |row| row.name.clone())?)
}

/// A workload with what starts it and its newest revisions.
#[derive(Serialize)]
struct Workload {
    #[serde(flatten)]
    workload: pages::WorkloadDetail,
    bindings: Vec<pages::Binding>,
    revisions: Vec<pages::Revision>,
}

async fn workload(Path(id): Path<String>, asked: Asked) -> Answer<Workload> {
    asked.nothing_more()?;
    let id: WorkloadId = named(&id)?;
    let mut tx = asked.begin().await?;
    let found = pages::workload(&mut tx, id).await?;
    let bindings = pages::bindings(&mut tx, id).await?;
    let revisions = pages::revisions(&mut tx, id, None, REVISIONS_MAX).await?;
    tx.commit().await?;
    let workload = found.ok_or(Problem::NotFound)?;
    answer(Workload {
        workload,
        bindings,
        revisions,
    })
}

/// So many rows as the database takes it.
fn rows(limit: usize) -> i64 {
    i64::try_from(limit).expect("a piece has at most a hundred rows")
}

/// The id in a path. A text that is none names nothing.
fn named<T: std::str::FromStr>(id: &str) -> Result<T, Problem> {
    id.parse().map_err(|_| Problem::NotFound)
}

#[cfg(test)]
mod tests;
