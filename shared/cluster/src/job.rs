//! The Job that a runner runs as.

use labs::clabernetes::MANAGED_BY;
use launch::{Launch, RunId};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::launcher::RunnerSettings;

/// The label of everything that belongs to one run.
pub(crate) const RUN_LABEL: &str = "switchyard.dev/run";
/// The label of everything that belongs to the runs of one job.
pub(crate) const JOB_LABEL: &str = "switchyard.dev/job";
/// A finished Job is kept so long, in seconds, for who wants to look at its pod.
const KEPT_SECS: u32 = 3_600;
/// What a runner needs to stop beside the ladder of its step, in seconds: its last word.
const LAST_WORD_SECS: u64 = 30;
/// The user that runners are in their containers: nobody.
const USER: u32 = 65_532;

/// What the objects of a run are called. Ids of jobs are never used twice, and a job's epochs only grow.
pub(crate) fn name(id: RunId) -> String {
    format!("run-{id}")
}

fn labels(id: RunId) -> Value {
    let (label, ours) = MANAGED_BY;
    json!({
        label: ours,
        RUN_LABEL: id.to_string(),
        JOB_LABEL: id.job.to_string(),
    })
}

/// The Job. It makes one try: whether there is another is the queue's to say.
pub(crate) fn job(launch: &Launch, settings: &RunnerSettings) -> Value {
    let name = name(launch.id);
    let mut pod = json!({
        "restartPolicy": "Never",
        // A runner calls back, and nobody else.
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": launch.stop_max.as_secs().saturating_add(LAST_WORD_SECS),
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "containers": [{
            "name": "runner",
            "image": settings.image,
            "args": ["runner"],
            "env": [
                { "name": "CALLBACK_URL", "value": launch.callback.as_str() },
                { "name": "RUN_TOKEN", "valueFrom": { "secretKeyRef": { "name": name, "key": "token" } } },
                { "name": "TMPDIR", "value": "/work" },
                { "name": "HOME", "value": "/work" },
            ],
            "resources": {
                "requests": { "cpu": "100m", "memory": "128Mi" },
                "limits": { "memory": settings.memory, "ephemeral-storage": settings.disk },
            },
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": { "drop": ["ALL"] },
            },
            "volumeMounts": [{ "name": "work", "mountPath": "/work" }],
        }],
        "volumes": [{ "name": "work", "emptyDir": { "sizeLimit": settings.disk } }],
    });
    if let Some(account) = &settings.service_account {
        pod["serviceAccountName"] = account.as_str().into();
    }
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": { "name": name, "labels": labels(launch.id) },
        "spec": {
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            "activeDeadlineSeconds": launch.time_max.as_secs().saturating_add(launch.stop_max.as_secs()),
            "ttlSecondsAfterFinished": KEPT_SECS,
            "podReplacementPolicy": "Failed",
            "template": { "metadata": { "labels": labels(launch.id) }, "spec": pod },
        },
    })
}

/// The runner's token, in a Secret that goes with its Job.
pub(crate) fn secret(launch: &Launch, job_uid: &str) -> Value {
    let name = name(launch.id);
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {
            "name": name,
            "labels": labels(launch.id),
            "ownerReferences": [{
                "apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job_uid, "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "stringData": { "token": launch.token.expose_secret() },
    })
}
