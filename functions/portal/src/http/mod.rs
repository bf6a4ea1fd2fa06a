//! The routes.
//!
//! A handler reads in one tenant's transaction, fills a page's struct and renders it; what goes wrong becomes a
//! [`problem::Problem`], which the [`frame`] around all routes renders as a page.

mod again;
mod artifacts;
mod binding_form;
mod binding_payload;
mod dead;
mod decide;
mod declared_form;
mod deliveries;
mod dry_run;
mod events;
mod frame;
mod jobs;
mod live;
mod log;
mod log_rules;
mod notify;
mod overview;
mod problem;
mod queues;
mod rows;
mod run_form;
mod runs;
mod schedule_form;
mod schedules;
#[cfg(test)]
mod served;
mod session;
mod states;
mod trigger_form;
mod triggers;
mod visitor;
mod watches;
mod workloads;
mod workspaces;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Path};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router};
use egress::Guard;
use host::{Ctx, Ticker};
use http::HeaderMap;
use serde::Deserialize;
use webhook::Functions;

use self::problem::Problem;

/// The largest form that a page sends, with room: a schedule's, with a payload that is written out.
const FORM_BYTES_MAX: usize = 256 * 1024;

/// What is run to get a small site, a push and something to look at.
const FIRST_COMMAND: &str = "switchyard demo";

/// What is run to get a link for signing in: each start prints one.
const SIGN_IN_COMMAND: &str = "switchyard up";

/// The portal's settings.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Settings {
    /// The domain under which workloads are served, such as `sites.example.org`. Without it a workload has an address only
    /// where the portal itself is visited at `localhost`.
    site_domain: Option<String>,
    /// Where senders outside reach `webhook-any`, such as `https://hooks.example.org`. Without it triggers show the address
    /// that the portal itself is visited at.
    hooks_url: Option<String>,
}

/// The pages; stored deliveries are handed in again to `functions`, and `guard` looks at URLs before they are saved.
pub(crate) fn router(
    settings: Settings,
    functions: Functions,
    guard: Guard,
    workspaces: Ticker,
) -> Router<Ctx> {
    Router::new()
        .merge(told())
        .route("/", get(overview::page))
        .route(
            "/artifacts/{id}",
            get(artifacts::open).post(artifacts::sealed),
        )
        .route("/dead", get(dead::list))
        .route("/dead/all", get(dead::ask_all).post(dead::all))
        .route("/dead/chosen", get(dead::ask_chosen).post(dead::choose))
        .route("/dead/{id}/replay", post(dead::replay))
        .route("/deliveries", get(deliveries::list))
        .route("/deliveries/replay", get(again::ask_all).post(again::all))
        .route("/deliveries/{id}", get(deliveries::page))
        .route("/deliveries/{id}/diff", get(again::compare))
        .route("/deliveries/{id}/redeliver", post(again::redeliver))
        .route("/deliveries/{id}/body", get(deliveries::body))
        .route("/deliveries/{id}/replay", post(deliveries::replay))
        .route("/events/{id}", get(events::page))
        .route("/jobs/{id}", get(jobs::page))
        .route("/jobs/{id}/log", get(log::raw))
        .route("/jobs/{id}/approve", post(decide::approve))
        .route("/jobs/{id}/cancel", post(jobs::cancel))
        .route("/jobs/{id}/reject", post(decide::reject))
        .route("/jobs/{id}/find", get(log::find))
        .route("/jobs/{id}/lines", get(log::more))
        .route("/jobs/{id}/topology", get(artifacts::topology))
        .route("/runs", get(runs::list).post(run_form::start))
        .route("/runs/new", get(run_form::new))
        .route("/pauses", post(queues::stop))
        .route("/pauses/{id}/resume", post(queues::go_on))
        .route("/queues", get(queues::queues))
        .route("/states", get(states::list))
        .route("/states/{id}", get(states::page))
        .route("/states/{id}/diff", get(states::difference))
        .route("/states/{id}/promote", post(states::promote))
        .route("/states/{id}/unlock", post(states::unlock))
        .route("/tasks", get(queues::tasks))
        .route(
            "/schedules",
            get(schedules::list).post(schedule_form::create),
        )
        .route("/schedules/new", get(schedule_form::new))
        .route("/schedules/preview", post(schedule_form::preview))
        .route(
            "/schedules/{id}",
            get(schedules::page).post(schedule_form::change),
        )
        .route("/schedules/{id}/edit", get(schedule_form::edit))
        .route("/schedules/{id}/remove", post(schedule_form::remove))
        .route("/schedules/{id}/pause", post(schedules::pause))
        .route("/schedules/{id}/resume", post(schedules::resume))
        .route("/schedules/{id}/run", post(schedules::run))
        .route("/triggers", get(triggers::list).post(trigger_form::create))
        .route("/triggers/new", get(trigger_form::new))
        .route(
            "/triggers/{id}",
            get(triggers::page).post(trigger_form::change),
        )
        .route("/triggers/{id}/edit", get(trigger_form::edit))
        .route("/triggers/{id}/enable", post(triggers::enable))
        .route("/triggers/{id}/disable", post(triggers::disable))
        .route("/triggers/{id}/remove", post(triggers::remove))
        .route("/triggers/{id}/run", post(triggers::run))
        .route("/triggers/{id}/secret", post(triggers::renew))
        .route("/triggers/{id}/secret/drop", post(triggers::drop_secret))
        .route(
            "/triggers/{id}/bindings",
            post(binding_form::create_binding),
        )
        .route(
            "/triggers/{id}/bindings/new",
            get(binding_form::new_binding),
        )
        .route(
            "/triggers/{id}/dry-run",
            get(dry_run::page).post(dry_run::paste),
        )
        .route("/bindings/{id}", post(binding_form::change_binding))
        .route("/bindings/{id}/edit", get(binding_form::edit_binding))
        .route("/bindings/{id}/remove", post(triggers::remove_binding))
        .route("/bindings/{id}/up", post(triggers::raise_binding))
        .route("/workloads", get(workloads::list))
        .route("/workloads/{id}", get(workloads::page))
        .route("/workloads/{id}/deploy", post(workloads::deploy))
        .route(
            "/workloads/{id}/rollback",
            get(workloads::ask_rollback).post(workloads::rollback),
        )
        .route("/workspaces/{id}", get(workspaces::page))
        .route("/workspaces/{id}/sync", post(workspaces::sync))
        .route("/live/overview", get(live::overview))
        .route("/live/dead", get(live::dead))
        .route("/live/deliveries", get(live::deliveries))
        .route("/live/events/{id}", get(live::event))
        .route("/live/jobs/{id}", get(live::job))
        .route("/live/queues", get(live::queues))
        .route("/live/runs", get(live::runs))
        .route("/live/schedules", get(live::schedules))
        .route("/live/schedules/{id}", get(live::schedule))
        .route("/live/tasks", get(live::tasks))
        .route("/live/workloads/{id}", get(live::workload))
        .route(
            "/sign-in",
            get(session::sign_in_page).post(session::sign_in),
        )
        .route("/sign-out", post(session::sign_out))
        .route("/preferences", post(session::preferences))
        .fallback(|| async { Problem::NotFound })
        .layer(Extension(functions))
        .layer(Extension(workspaces))
        .layer(Extension(Arc::new(guard)))
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .layer(axum::middleware::from_fn_with_state(settings, frame::frame))
        // Outside the frame: files are the same for everybody and may be kept.
        .route("/assets/{bundle}/{*name}", get(asset))
}

/// What logs say, who is told of what, and what is looked at by the clock.
fn told() -> Router<Ctx> {
    Router::new()
        .route("/credentials", get(watches::list_credentials))
        .route("/event-log", get(log_rules::event_log))
        .route("/log-rules", get(log_rules::list).post(log_rules::create))
        .route("/log-rules/new", get(log_rules::new))
        .route(
            "/log-rules/{id}",
            get(log_rules::page).post(log_rules::change),
        )
        .route("/log-rules/{id}/edit", get(log_rules::edit))
        .route("/log-rules/{id}/overrides", post(log_rules::set_override))
        .route("/log-rules/{id}/remove", post(log_rules::remove))
        .route(
            "/notification-endpoints",
            get(notify::list).post(notify::create_endpoint),
        )
        .route("/notification-endpoints/new", get(notify::new_endpoint))
        .route(
            "/notification-endpoints/{id}",
            get(notify::show_endpoint).post(notify::change_endpoint),
        )
        .route(
            "/notification-endpoints/{id}/disable",
            post(notify::disable_endpoint),
        )
        .route(
            "/notification-endpoints/{id}/edit",
            get(notify::edit_endpoint),
        )
        .route(
            "/notification-endpoints/{id}/enable",
            post(notify::enable_endpoint),
        )
        .route(
            "/notification-endpoints/{id}/remove",
            post(notify::remove_endpoint),
        )
        .route(
            "/notification-endpoints/{id}/secret",
            post(notify::renew_secret),
        )
        .route(
            "/notification-endpoints/{id}/test",
            post(notify::test_endpoint),
        )
        .route(
            "/notification-rules",
            get(notify::list).post(notify::create_rule),
        )
        .route("/notification-rules/new", get(notify::new_rule))
        .route("/notification-rules/{id}", post(notify::change_rule))
        .route("/notification-rules/{id}/edit", get(notify::edit_rule))
        .route("/notification-rules/{id}/remove", post(notify::remove_rule))
        .route("/notifications", get(notify::messages_page))
        .route("/notifications/{id}", get(notify::show_message))
        .route("/notifications/{id}/redeliver", post(notify::redeliver))
        .route("/triggers/{id}/watch", post(watches::set))
        .route("/triggers/{id}/watch/edit", get(watches::edit))
        .route("/triggers/{id}/watch/look", post(watches::look))
        .route("/triggers/{id}/watch/remove", post(watches::end))
}

async fn asset(Path((bundle, name)): Path<(String, String)>, headers: HeaderMap) -> Response {
    crate::assets::serve(&bundle, &name, &headers)
}
