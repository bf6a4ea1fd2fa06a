//! The manifests as they were when the binary was built, for a run outside of a checkout.

/// The text of each file under its path in the checkout; a test holds the list to the folders.
macro_rules! files {
    ($($path:literal),+ $(,)?) => {
        &[$(($path, include_str!(concat!("../../../../../", $path)))),+]
    };
}

pub(super) const FILES: &[(&str, &str)] = files![
    "knative/accounts.yaml",
    "knative/api.yaml",
    "knative/broker-inbound.yaml",
    "knative/broker-observed.yaml",
    "knative/broker-work.yaml",
    "knative/callback.yaml",
    "knative/cron-metrics.yaml",
    "knative/cron-reap.yaml",
    "knative/cron-republish.yaml",
    "knative/cron-retention.yaml",
    "knative/cron-schedules.yaml",
    "knative/dispatch.yaml",
    "knative/kustomization.yaml",
    "knative/migrate.yaml",
    "knative/namespace.yaml",
    "knative/portal.yaml",
    "knative/relay-inbound.yaml",
    "knative/relay-observed.yaml",
    "knative/relay-work.yaml",
    "knative/site.yaml",
    "knative/task-bulk.yaml",
    "knative/task-http.yaml",
    "knative/task-static.yaml",
    "knative/webhook-any.yaml",
    "knative/webhook-azure.yaml",
    "knative/webhook-bitbucket.yaml",
    "knative/webhook-cloudevents.yaml",
    "knative/webhook-generic.yaml",
    "knative/webhook-gitea.yaml",
    "knative/webhook-github.yaml",
    "knative/webhook-gitlab.yaml",
    "knative/webhook-registry.yaml",
    "triggers/cron-metrics.yaml",
    "triggers/cron-reap.yaml",
    "triggers/cron-republish.yaml",
    "triggers/cron-retention.yaml",
    "triggers/cron-schedules.yaml",
    "triggers/dispatch.yaml",
    "triggers/kustomization.yaml",
    "triggers/task-bulk.yaml",
    "triggers/task-http.yaml",
    "triggers/task-static.yaml",
];
