//! The list of functions: alphabetical, the only place that names them all.

use host::Function;

/// Every function of this version. The parity test compares it with `knative/` and `triggers/`.
pub const FUNCTIONS: &[Function] = &[
    api::FUNCTION,
    callback::FUNCTION,
    cron_credentials::FUNCTION,
    cron_logs::FUNCTION,
    cron_metrics::FUNCTION,
    cron_notify::FUNCTION,
    cron_reap::FUNCTION,
    cron_refs::FUNCTION,
    cron_registries::FUNCTION,
    cron_republish::FUNCTION,
    cron_retention::FUNCTION,
    cron_schedules::FUNCTION,
    cron_workspaces::FUNCTION,
    dispatch::FUNCTION,
    notify::FUNCTION,
    portal::FUNCTION,
    relay::FUNCTION,
    site::FUNCTION,
    task_bulk::FUNCTION,
    task_http::FUNCTION,
    task_static::FUNCTION,
    task_terraform::FUNCTION,
    terraform_state::FUNCTION,
    webhook_any::FUNCTION,
    webhook_azure::FUNCTION,
    webhook_bitbucket::FUNCTION,
    webhook_cloudevents::FUNCTION,
    webhook_generic::FUNCTION,
    webhook_gitea::FUNCTION,
    webhook_github::FUNCTION,
    webhook_gitlab::FUNCTION,
    webhook_registry::FUNCTION,
];
