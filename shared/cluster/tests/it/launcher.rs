//! Runners as Jobs of a cluster.

use std::time::Duration;

use cluster::{KubernetesLauncher, RunnerSettings};
use kube::api::{Patch, PatchParams};
use launch::{Launch, Launcher, Look, RunId, Stopped};
use model::{JobId, TenantId};
use serde_json::json;

use crate::place::Place;

async fn launcher(place: &Place) -> Option<KubernetesLauncher> {
    let settings = RunnerSettings {
        image: place.runner_image()?,
        namespace: place.namespace.clone(),
        service_account: None,
        memory: "256Mi".to_owned(),
        disk: "1Gi".to_owned(),
    };
    place.cluster.lab_namespace(&place.namespace).await.unwrap();
    Some(KubernetesLauncher::new(place.settings.clone(), settings))
}

fn launch(launcher: &KubernetesLauncher, job: i64, epoch: i64) -> Launch {
    let tenant = TenantId::from(uuid::Uuid::from_u128(1));
    let id = RunId {
        tenant,
        job: JobId(job),
        epoch,
    };
    Launch {
        id,
        handle: launcher.handle(id),
        callback: "http://callback.example/callback".parse().unwrap(),
        token: "the-token".to_owned().into(),
        time_max: Duration::from_secs(600),
        stop_max: Duration::from_secs(61),
    }
}

#[tokio::test]
async fn a_runner_is_a_job_that_tries_once_and_may_nothing() {
    let Some(place) = Place::open().await else {
        return;
    };
    let Some(launcher) = launcher(&place).await else {
        return;
    };
    let run = launch(&launcher, 7, 2);
    launcher.launch(&run).await.unwrap();
    launcher.launch(&run).await.unwrap();
    let job = place.jobs().get("run-7-2").await.unwrap();
    let spec = &job.data["spec"];
    assert_eq!(spec["backoffLimit"], 0);
    assert_eq!(spec["activeDeadlineSeconds"], 661);
    assert_eq!(spec["podReplacementPolicy"], "Failed");
    let pod = &spec["template"]["spec"];
    assert_eq!(pod["terminationGracePeriodSeconds"], 91);
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(
        pod["securityContext"]["seccompProfile"]["type"],
        "RuntimeDefault"
    );
    let container = &pod["containers"][0];
    assert_eq!(
        container["securityContext"]["allowPrivilegeEscalation"],
        false
    );
    assert_eq!(
        container["securityContext"]["capabilities"]["drop"][0],
        "ALL"
    );
    assert!(
        !job.data.to_string().contains("the-token"),
        "the token is in a Secret"
    );
    let secret = place.core("secrets").get("run-7-2").await.unwrap();
    let owner = &secret.metadata.owner_references.unwrap()[0];
    assert_eq!(Some(&owner.uid), job.metadata.uid.as_ref());
    assert!(matches!(
        launcher.look(&run.handle).await.unwrap(),
        Look::Lives
    ));
    assert!(matches!(
        launcher.stop(&run.handle).await.unwrap(),
        Stopped::Gone | Stopped::NotYet(_)
    ));
    place.close().await;
}

fn pod(run: &str, phase: &str) -> serde_json::Value {
    let job = run.split('-').next().unwrap();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("run-{run}-abc"), "labels": {
            "switchyard.dev/run": run, "switchyard.dev/job": job, "app.kubernetes.io/managed-by": "switchyard",
        }},
        "spec": {"containers": [{"name": "runner", "image": "x"}]},
        "status": {"phase": phase},
    })
}

#[tokio::test]
async fn a_stop_is_confirmed_when_the_pod_is_gone_and_not_before() {
    let Some(place) = Place::open().await else {
        return;
    };
    if place.server.is_none() {
        return; // The pods here are the test's.
    }
    let Some(launcher) = launcher(&place).await else {
        return;
    };
    let run = launch(&launcher, 8, 1);
    launcher.launch(&run).await.unwrap();
    place.create("pods", pod("8-1", "Running")).await;
    let first = launcher.stop(&run.handle).await.unwrap();
    assert!(
        matches!(&first, Stopped::NotYet(why) if why.contains("run-8-1-abc")),
        "{first:?}"
    );
    // Nothing of it is left when its pod is, and its token went with its Job.
    assert!(matches!(
        launcher.look(&run.handle).await.unwrap(),
        Look::Lives
    ));
    place
        .core("pods")
        .delete("run-8-1-abc", &Default::default())
        .await
        .unwrap();
    assert!(matches!(
        launcher.stop(&run.handle).await.unwrap(),
        Stopped::Gone
    ));
    assert!(
        place
            .names("secrets", "switchyard.dev/run=8-1")
            .await
            .is_empty()
    );
    assert_eq!(launcher.look(&run.handle).await.unwrap(), Look::Gone(None));
}

#[tokio::test]
async fn a_runner_that_died_leaves_its_last_lines() {
    let Some(place) = Place::open().await else {
        return;
    };
    let Some(server) = &place.server else { return };
    let Some(launcher) = launcher(&place).await else {
        return;
    };
    let run = launch(&launcher, 9, 1);
    launcher.launch(&run).await.unwrap();
    assert!(matches!(
        launcher.look(&run.handle).await.unwrap(),
        Look::Lives
    ));
    let mut dead = pod("9-1", "Failed");
    dead["status"]["containerStatuses"] =
        json!([{"state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]);
    place.create("pods", dead).await;
    server.set_log(&place.namespace, "run-9-1-abc", "one\ntwo\n");
    let status = json!({"status": {"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "it failed"}]}});
    // The watch is told that it is too old, and goes on.
    server.compact();
    place
        .jobs()
        .patch("run-9-1", &PatchParams::default(), &Patch::Merge(status))
        .await
        .unwrap();
    let last = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            if let Look::Gone(Some(last)) = launcher.look(&run.handle).await.unwrap() {
                return last;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let last = last.await.unwrap();
    assert_eq!(
        last,
        "its Job failed: BackoffLimitExceeded it failed; its container: OOMKilled, exit code 137\none\ntwo"
    );
    // One watch for all looks.
    let other = launch(&launcher, 10, 1);
    launcher.launch(&other).await.unwrap();
    launcher.look(&other.handle).await.unwrap();
    assert!(
        server.calls("GET", "/jobs/run-9-1") <= 2,
        "it is looked up in what the watch told"
    );
}

#[tokio::test]
async fn a_run_is_told_of_when_its_job_failed_was_deleted_or_cannot_start() {
    let Some(place) = Place::open().await else {
        return;
    };
    if place.server.is_none() {
        return;
    }
    let Some(launcher) = launcher(&place).await else {
        return;
    };
    let [failed, deleted, stuck] = [20, 21, 22].map(|job| launch(&launcher, job, 1));
    for run in [&failed, &deleted, &stuck] {
        launcher.launch(run).await.unwrap();
    }
    let gone = async |run: &Launch| launcher.gone(&run.handle).await.unwrap().unwrap();
    let happens = async {
        let mut dead = pod("20-1", "Failed");
        dead["status"]["containerStatuses"] =
            json!([{"state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]);
        place.create("pods", dead).await;
        let status = json!({"status": {"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]}});
        let failed = place.jobs();
        failed
            .patch("run-20-1", &PatchParams::default(), &Patch::Merge(status))
            .await
            .unwrap();
        failed
            .delete("run-21-1", &Default::default())
            .await
            .unwrap();
        let mut pulls = pod("22-1", "Pending");
        pulls["status"]["containerStatuses"] = json!([{"state": {"waiting": {
            "reason": "ImagePullBackOff", "message": "Back-off pulling image \"x:1\""}}}]);
        place.create("pods", pulls).await;
    };
    let all = async { tokio::join!(gone(&failed), gone(&deleted), gone(&stuck), happens) };
    let removed = async {
        // The kubelet takes the pod away when its Job is deleted.
        while place.jobs().get_opt("run-22-1").await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        place
            .core("pods")
            .delete("run-22-1-abc", &Default::default())
            .await
            .unwrap();
    };
    let told = tokio::time::timeout(Duration::from_secs(60), async {
        tokio::join!(all, removed).0
    });
    let (failed, deleted, stuck, ()) = told.await.unwrap();
    assert!(
        failed.starts_with("its Job failed: BackoffLimitExceeded; its container: OOMKilled"),
        "{failed}"
    );
    assert_eq!(deleted, "its Job was deleted");
    assert_eq!(
        stuck,
        "its pod cannot start: ImagePullBackOff Back-off pulling image \"x:1\""
    );
}

#[tokio::test]
async fn an_earlier_run_is_put_away_before_a_later_one_begins() {
    let Some(place) = Place::open().await else {
        return;
    };
    if place.server.is_none() {
        return;
    }
    let Some(launcher) = launcher(&place).await else {
        return;
    };
    let earlier = launch(&launcher, 11, 1);
    launcher.launch(&earlier).await.unwrap();
    place.create("pods", pod("11-1", "Running")).await;
    let later = launch(&launcher, 11, 2);
    let error = launcher.clear(later.id).await.unwrap_err();
    assert!(error.to_string().contains("run-11-1-abc"), "{error}");
    place
        .core("pods")
        .delete("run-11-1-abc", &Default::default())
        .await
        .unwrap();
    launcher.clear(later.id).await.unwrap();
    assert!(place.jobs().get_opt("run-11-1").await.unwrap().is_none());
}

#[tokio::test]
async fn a_job_of_the_same_name_that_is_not_ours_is_not_adopted() {
    let Some(place) = Place::open().await else {
        return;
    };
    if place.server.is_none() {
        return;
    }
    let Some(launcher) = launcher(&place).await else {
        return;
    };
    let run = launch(&launcher, 12, 1);
    let foreign = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "run-12-1"}, "spec": {}});
    let foreign = serde_json::from_value(foreign).unwrap();
    place
        .jobs()
        .create(&Default::default(), &foreign)
        .await
        .unwrap();
    let error = launcher.launch(&run).await.unwrap_err();
    assert!(
        error.to_string().contains("belongs to nothing here"),
        "{error}"
    );
}
