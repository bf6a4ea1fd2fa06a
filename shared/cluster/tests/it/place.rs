//! The cluster that a test uses.

use cluster::{Cluster, ClusterSettings};
use cluster_testkit::{Crds, Server};
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch,
    PatchParams, PostParams,
};
use kube::{Client, Config, ResourceExt as _};
use labs::clabernetes::ApiFlavor;
use serde_json::{Value, json};

pub(crate) struct Place {
    pub(crate) cluster: Cluster,
    pub(crate) settings: ClusterSettings,
    pub(crate) namespace: String,
    /// Nothing where the cluster is a real one.
    pub(crate) server: Option<Server>,
    client: Client,
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test is told of its cluster by the environment"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

impl Place {
    /// Nothing where what third parties publish is not on this machine.
    pub(crate) async fn open() -> Option<Self> {
        let crds = Crds::of_labs()?;
        let definitions = crds.definitions().to_vec();
        let (server, settings, config) = if let Some(path) = variable("KUBECONFIG") {
            let file = kube::config::Kubeconfig::read_from(&path).unwrap();
            let config = Config::from_custom_kubeconfig(file, &Default::default())
                .await
                .unwrap();
            let settings = ClusterSettings {
                cluster_kubeconfig: Some(path.into()),
                cluster_url: None,
            };
            (None, settings, config)
        } else {
            let server = Server::start(crds).await;
            let config = Config::new(server.url().parse().unwrap());
            let settings = ClusterSettings {
                cluster_kubeconfig: None,
                cluster_url: Some(server.url().to_owned()),
            };
            (Some(server), settings, config)
        };
        let client = Client::try_from(config).unwrap();
        let place = Self {
            cluster: settings.open().await.unwrap(),
            settings,
            namespace: format!("test-{}", uuid::Uuid::new_v4().simple()),
            server,
            client,
        };
        if place.server.is_none() {
            for definition in definitions {
                let api = place.api(
                    "apiextensions.k8s.io",
                    "v1",
                    "CustomResourceDefinition",
                    "customresourcedefinitions",
                    false,
                );
                let params = PatchParams::apply("test").force();
                let name = definition["metadata"]["name"].as_str().unwrap().to_owned();
                api.patch(&name, &params, &Patch::Apply(definition))
                    .await
                    .unwrap();
            }
        }
        Some(place)
    }

    /// A real cluster keeps what a test leaves.
    pub(crate) async fn close(&self) {
        let api = self.api("", "v1", "Namespace", "namespaces", false);
        api.delete(&self.namespace, &DeleteParams::background())
            .await
            .ok();
    }

    /// The image of runners, which a real cluster needs.
    #[expect(clippy::print_stderr, reason = "what is not run must be seen")]
    pub(crate) fn runner_image(&self) -> Option<String> {
        let image = variable("RUNNER_IMAGE");
        if self.server.is_some() {
            return Some(image.unwrap_or_else(|| "runner:test".to_owned()));
        }
        if image.is_none() {
            eprintln!("not run: RUNNER_IMAGE names no image for the cluster");
        }
        image
    }

    fn api(
        &self,
        group: &str,
        version: &str,
        kind: &str,
        plural: &str,
        namespaced: bool,
    ) -> Api<DynamicObject> {
        let resource =
            ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
        if namespaced {
            Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
        } else {
            Api::all_with(self.client.clone(), &resource)
        }
    }

    pub(crate) fn core(&self, plural: &str) -> Api<DynamicObject> {
        let kind = match plural {
            "configmaps" => "ConfigMap",
            "pods" => "Pod",
            "secrets" => "Secret",
            other => panic!("no kind for {other}"),
        };
        self.api("", "v1", kind, plural, true)
    }

    pub(crate) fn jobs(&self) -> Api<DynamicObject> {
        self.api("batch", "v1", "Job", "jobs", true)
    }

    fn topologies(&self, flavor: ApiFlavor) -> Api<DynamicObject> {
        self.api(
            flavor.group(),
            ApiFlavor::VERSION,
            "Topology",
            "topologies",
            true,
        )
    }

    pub(crate) async fn names(&self, plural: &str, labels: &str) -> Vec<String> {
        let listed = self
            .core(plural)
            .list(&ListParams::default().labels(labels))
            .await
            .unwrap();
        listed
            .items
            .iter()
            .map(kube::ResourceExt::name_any)
            .collect()
    }

    pub(crate) async fn create(&self, plural: &str, object: Value) -> DynamicObject {
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        self.core(plural)
            .create(&PostParams::default(), &object)
            .await
            .unwrap()
    }

    /// What the controller does: the definition has no `status` of its own, so it is written on the object.
    pub(crate) async fn write_status(&self, flavor: ApiFlavor, lab: &str, mut status: Value) {
        let common = json!({"kind": "containerlab", "conditions": [], "topologyReady": false});
        let earlier = json!({
            "configs": {}, "exposedPorts": {}, "removeTopologyPrefix": false, "nodeReadiness": {},
            "reconcileHashes": {"config": "", "exposedPorts": "", "filesFromURL": {}, "imagePullSecrets": ""},
        });
        let needed = match flavor {
            ApiFlavor::C9sRun => vec![common],
            ApiFlavor::Clabernetes06 => vec![common, earlier],
        };
        for (key, value) in needed.iter().filter_map(Value::as_object).flatten() {
            if status[key].is_null() {
                status[key] = value.clone();
            }
        }
        let patch = Patch::Merge(json!({"status": status}));
        self.topologies(flavor)
            .patch(lab, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    pub(crate) async fn apply_as(&self, manager: &str, flavor: ApiFlavor, lab: &str, spec: Value) {
        let found = self.topologies(flavor).get(lab).await.unwrap();
        let patch = json!({
            "apiVersion": format!("{}/{}", flavor.group(), ApiFlavor::VERSION), "kind": "Topology",
            "metadata": {"name": lab},
            "spec": {"definition": found.data["spec"]["definition"], "naming": "prefixed", "connectivity": spec["connectivity"]},
        });
        let params = PatchParams::apply(manager).force();
        self.topologies(flavor)
            .patch(lab, &params, &Patch::Apply(patch))
            .await
            .unwrap();
    }

    pub(crate) async fn version(&self, flavor: ApiFlavor, lab: &str) -> Option<String> {
        self.topologies(flavor)
            .get(lab)
            .await
            .unwrap()
            .resource_version()
    }

    pub(crate) async fn managers(&self, flavor: ApiFlavor, lab: &str) -> Vec<String> {
        let found = self.topologies(flavor).get(lab).await.unwrap();
        let managed = found.metadata.managed_fields.unwrap_or_default();
        managed
            .into_iter()
            .filter_map(|entry| entry.manager)
            .collect()
    }
}
