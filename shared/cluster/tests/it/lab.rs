//! Labs in a cluster: in the one that `KUBECONFIG` names, where it is set, else in one of the test's own.

use cluster::{ClusterError, LabLook};
use labs::clabernetes::{ApiFlavor, LabSettings, Objects};
use labs::{LabFile, LabFiles, Policy, Topology};
use serde_json::json;

use crate::place::Place;

fn objects(lab: &str, flavor: ApiFlavor, files: &[(&str, usize)]) -> Objects {
    let mut all = LabFiles::default();
    let mut binds = Vec::new();
    for (path, bytes) in files {
        let file = LabFile {
            bytes: vec![b'x'; *bytes],
            executable: false,
        };
        all.add(path, file).unwrap();
        binds.push(format!("\"{path}:/mnt/{path}\""));
    }
    let text = format!(
        "name: {lab}\ntopology:\n  nodes:\n    R1: {{kind: linux, image: \"frr:1\", binds: [{}]}}\n    r2: {{kind: linux, image: \"frr:1\"}}\n  links:\n    - endpoints: [\"R1:eth1\", \"r2:eth1\"]\n",
        binds.join(", ")
    );
    let topology = Topology::read(&text, &Policy::default()).unwrap();
    Objects::new(&topology, &all, flavor, &LabSettings::default()).unwrap()
}

#[tokio::test]
async fn a_lab_is_put_changed_looked_at_and_taken_away() {
    for flavor in ApiFlavor::ALL {
        let Some(place) = Place::open().await else {
            return;
        };
        let (cluster, namespace) = (&place.cluster, place.namespace.as_str());
        cluster.lab_namespace(namespace).await.unwrap();
        let first = objects(
            "one",
            flavor,
            &[("a", 600_000), ("b", 600_000), ("c", 600_000)],
        );
        cluster
            .put_lab(flavor, namespace, &first, "job-1")
            .await
            .unwrap();
        let maps = || async { place.names("configmaps", "switchyard.dev/lab=one").await };
        assert_eq!(maps().await.len(), 3);
        assert_eq!(
            cluster
                .lab_deployed_by(flavor, namespace, "one")
                .await
                .unwrap()
                .as_deref(),
            Some("job-1")
        );
        let look = cluster.look_at_lab(flavor, namespace, "one").await.unwrap();
        assert!(matches!(look, LabLook::Deploying(_)), "{look:?}");

        // The controller comes along.
        let status = match flavor {
            ApiFlavor::C9sRun => {
                json!({"topologyState": "deploying", "nodeCount": 2, "readyNodeCount": 1})
            }
            ApiFlavor::Clabernetes06 => {
                json!({"topologyState": "deploying", "nodeReadiness": {"r1": "ready", "r2": "notready"}})
            }
        };
        place.write_status(flavor, "one", status).await;
        let look = cluster.look_at_lab(flavor, namespace, "one").await.unwrap();
        assert_eq!(
            look,
            LabLook::Deploying("deploying, 1 of 2 nodes ready".to_owned())
        );
        place
            .write_status(
                flavor,
                "one",
                json!({"topologyState": "running", "topologyReady": true}),
            )
            .await;
        assert_eq!(
            cluster.look_at_lab(flavor, namespace, "one").await.unwrap(),
            LabLook::Ready
        );

        // A smaller lab of the same name: what is no more needed goes, what others wrote stays.
        let second = objects("one", flavor, &[("a", 10)]);
        cluster
            .put_lab(flavor, namespace, &second, "job-2")
            .await
            .unwrap();
        assert_eq!(maps().await, ["one-r1-files-0"]);
        assert_eq!(
            cluster.look_at_lab(flavor, namespace, "one").await.unwrap(),
            LabLook::Ready
        );

        assert!(cluster.remove_lab(flavor, namespace, "one").await.unwrap());
        assert_eq!(
            cluster.look_at_lab(flavor, namespace, "one").await.unwrap(),
            LabLook::Missing
        );
        assert!(maps().await.is_empty());
        assert!(
            cluster.remove_lab(flavor, namespace, "one").await.unwrap(),
            "twice is no fault"
        );
        place.close().await;
    }
}

#[tokio::test]
async fn a_lab_that_the_controller_gave_up_fails_at_once_and_says_why() {
    let Some(place) = Place::open().await else {
        return;
    };
    let (cluster, namespace) = (&place.cluster, place.namespace.as_str());
    cluster.lab_namespace(namespace).await.unwrap();
    for flavor in ApiFlavor::ALL {
        cluster
            .put_lab(flavor, namespace, &objects("bad", flavor, &[]), "job-1")
            .await
            .unwrap();
        place
            .write_status(flavor, "bad", json!({"topologyState": "deployfailed"}))
            .await;
        let look = cluster.look_at_lab(flavor, namespace, "bad").await.unwrap();
        assert!(
            matches!(&look, LabLook::Failed(why) if why.contains("failed")),
            "{look:?}"
        );
    }
    let flavor = ApiFlavor::C9sRun;
    place
        .write_status(
            flavor,
            "bad",
            json!({"topologyState": "degraded", "error": "no such image"}),
        )
        .await;
    let look = cluster.look_at_lab(flavor, namespace, "bad").await.unwrap();
    assert_eq!(look, LabLook::Failed("no such image".to_owned()));
    place.close().await;
}

#[tokio::test]
async fn what_somebody_else_made_is_not_touched() {
    let Some(place) = Place::open().await else {
        return;
    };
    let (cluster, namespace) = (&place.cluster, place.namespace.as_str());
    cluster.lab_namespace(namespace).await.unwrap();
    let flavor = ApiFlavor::C9sRun;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine-r1-files-0"}, "data": {"a": "b"}});
    place.create("configmaps", map).await;
    let lab = objects("mine", flavor, &[("a", 10)]);
    let error = cluster
        .put_lab(flavor, namespace, &lab, "job-1")
        .await
        .unwrap_err();
    assert!(matches!(error, ClusterError::NotOurs { .. }), "{error}");
    assert_eq!(
        cluster
            .look_at_lab(flavor, namespace, "mine")
            .await
            .unwrap(),
        LabLook::Missing
    );
    place.close().await;
}

#[tokio::test]
async fn a_field_that_another_manager_took_over_is_a_conflict() {
    let Some(place) = Place::open().await else {
        return;
    };
    let (cluster, namespace) = (&place.cluster, place.namespace.as_str());
    cluster.lab_namespace(namespace).await.unwrap();
    let flavor = ApiFlavor::C9sRun;
    let lab = objects("ours", flavor, &[]);
    cluster
        .put_lab(flavor, namespace, &lab, "job-1")
        .await
        .unwrap();
    // Once more changes nothing, and is no new version.
    let before = place.version(flavor, "ours").await;
    cluster
        .put_lab(flavor, namespace, &lab, "job-1")
        .await
        .unwrap();
    assert_eq!(place.version(flavor, "ours").await, before);
    assert_eq!(place.managers(flavor, "ours").await, ["switchyard"]);
    place
        .apply_as(
            "somebody",
            flavor,
            "ours",
            json!({"connectivity": "slurpeeth"}),
        )
        .await;
    let error = cluster
        .put_lab(flavor, namespace, &lab, "job-2")
        .await
        .unwrap_err();
    assert!(
        matches!(error, ClusterError::Conflict { .. }) && error.is_passing(),
        "{error}"
    );
    assert!(error.to_string().contains("somebody"), "{error}");
    place.close().await;
}

#[tokio::test]
async fn a_cluster_that_stumbles_is_told_apart_from_one_that_refuses() {
    let Some(place) = Place::open().await else {
        return;
    };
    let Some(server) = &place.server else { return };
    let (cluster, namespace) = (&place.cluster, place.namespace.as_str());
    cluster.lab_namespace(namespace).await.unwrap();
    let flavor = cluster.lab_flavor().await.unwrap();
    assert_eq!(flavor, ApiFlavor::C9sRun);
    let lab = objects("x", flavor, &[]);
    cluster
        .put_lab(flavor, namespace, &lab, "job-1")
        .await
        .unwrap();
    for status in [409, 410] {
        // Somebody deletes it at the same time; whether it is gone is what counts.
        server.fail_next(1, "DELETE", "topologies/x", status);
        assert!(!cluster.remove_lab(flavor, namespace, "x").await.unwrap());
    }
    server.fail_next(1, "DELETE", "topologies/x", 403);
    let error = cluster
        .remove_lab(flavor, namespace, "x")
        .await
        .unwrap_err();
    assert!(
        matches!(error, ClusterError::Refused { code: 403, .. }) && !error.is_passing(),
        "{error}"
    );
    assert!(cluster.remove_lab(flavor, namespace, "x").await.unwrap());
}

#[tokio::test]
async fn nodes_are_found_by_their_pods() {
    let Some(place) = Place::open().await else {
        return;
    };
    let (cluster, namespace) = (&place.cluster, place.namespace.as_str());
    if place.server.is_none() {
        return; // A real cluster writes the status of pods itself.
    }
    cluster.lab_namespace(namespace).await.unwrap();
    for flavor in ApiFlavor::ALL {
        let prefix = flavor.label_prefix();
        let name = format!("pods-{}", prefix.replace('.', "-"));
        let labels =
            json!({format!("{prefix}/topologyOwner"): "p", format!("{prefix}/topologyNode"): "r1"});
        let status = json!({"podIP": "10.0.0.7", "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
        place
            .create("pods", json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "status": status}))
            .await;
        let nodes = cluster.look_at_nodes(flavor, namespace, "p").await.unwrap();
        assert_eq!(nodes["r1"].ip.as_deref(), Some("10.0.0.7"));
        assert_eq!(nodes["r1"].status.as_deref(), Some("ready"));
        assert_eq!(
            nodes["r1"].host.clone().unwrap(),
            format!("p-r1.{namespace}.svc")
        );
    }
}
