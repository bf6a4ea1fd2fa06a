//! Objects of any kind, as JSON.

use std::collections::BTreeSet;
use std::time::Duration;

use kube::Client;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, LogParams, Patch,
    PatchParams, PostParams,
};
use serde_json::Value;

use crate::ClusterError;

/// Who we are among those who own fields.
const FIELD_MANAGER: &str = "switchyard";
/// How long one call may take.
const CALL_MAX: Duration = Duration::from_secs(15);
/// How many objects are listed at most: more are not made for one lab or run.
const LIST_MAX: u32 = 5_000;
/// How much of a log is read, in bytes.
const LOG_BYTES_MAX: i64 = 64 * 1024;

/// A cluster. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    pub(crate) client: Client,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}

/// A kind of objects that is used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) plural: &'static str,
}

impl Kind {
    pub(crate) const CONFIG_MAP: Self = Self::core("ConfigMap", "configmaps");
    pub(crate) const NAMESPACE: Self = Self::core("Namespace", "namespaces");
    pub(crate) const POD: Self = Self::core("Pod", "pods");
    pub(crate) const SECRET: Self = Self::core("Secret", "secrets");
    pub(crate) const JOB: Self = Self {
        group: "batch",
        version: "v1",
        kind: "Job",
        plural: "jobs",
    };

    const fn core(kind: &'static str, plural: &'static str) -> Self {
        Self {
            group: "",
            version: "v1",
            kind,
            plural,
        }
    }

    pub(crate) fn resource(self) -> ApiResource {
        let gvk = GroupVersionKind::gvk(self.group, self.version, self.kind);
        ApiResource::from_gvk_with_plural(&gvk, self.plural)
    }
}

/// What became of an attempt to make an object.
#[derive(Debug)]
pub(crate) enum Created {
    New(Box<DynamicObject>),
    Exists,
}

impl Cluster {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    pub(crate) fn api(&self, kind: Kind, namespace: Option<&str>) -> Api<DynamicObject> {
        let resource = kind.resource();
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    /// The groups that the cluster serves.
    pub(crate) async fn groups(&self) -> Result<BTreeSet<String>, ClusterError> {
        let what = "its API groups";
        let listed = within(what, self.client.list_api_groups()).await?;
        Ok(listed.groups.into_iter().map(|group| group.name).collect())
    }

    /// Makes an object be as it is said. What was said of it before and is no more is taken away; what others say of it stays, and what they
    /// say otherwise is a conflict.
    pub(crate) async fn apply(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        object: &Value,
    ) -> Result<DynamicObject, ClusterError> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let api = self.api(kind, namespace);
        let what = format!("{} {name}", kind.kind);
        within(&what, api.patch(name, &params, &Patch::Apply(object))).await
    }

    pub(crate) async fn create(
        &self,
        kind: Kind,
        namespace: &str,
        object: &Value,
    ) -> Result<Created, ClusterError> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let what = format!("{} {name}", kind.kind);
        let object: DynamicObject = serde_json::from_value(object.clone())
            .map_err(|error| ClusterError::Settings(format!("{what}: {error}")))?;
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        match within(
            &what,
            self.api(kind, Some(namespace)).create(&params, &object),
        )
        .await
        {
            Ok(made) => Ok(Created::New(Box::new(made))),
            Err(ClusterError::Conflict { why, .. }) if why.contains("already exists") => {
                Ok(Created::Exists)
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn get(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<DynamicObject>, ClusterError> {
        let what = format!("{} {name}", kind.kind);
        within(&what, self.api(kind, namespace).get_opt(name)).await
    }

    pub(crate) async fn list(
        &self,
        kind: Kind,
        namespace: &str,
        labels: &str,
    ) -> Result<Vec<DynamicObject>, ClusterError> {
        let what = format!("its {} of {labels}", kind.plural);
        let params = ListParams::default().labels(labels).limit(LIST_MAX);
        let listed = within(&what, self.api(kind, Some(namespace)).list(&params)).await?;
        Ok(listed.items)
    }

    /// Deletes an object; true when it was there. What it owns goes in the background.
    pub(crate) async fn delete(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
    ) -> Result<bool, ClusterError> {
        let what = format!("{} {name}", kind.kind);
        let api = self.api(kind, Some(namespace));
        match within(&what, api.delete(name, &DeleteParams::background())).await {
            Ok(_) => Ok(true),
            Err(ClusterError::Refused { code: 404, .. }) => Ok(false),
            // Somebody deletes it already; whether it is gone is looked at in any case.
            Err(ClusterError::Conflict { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// The last lines that a pod said; nothing where it never said any.
    pub(crate) async fn log_tail(&self, namespace: &str, pod: &str, lines: i64) -> Option<String> {
        let params = LogParams {
            tail_lines: Some(lines),
            limit_bytes: Some(LOG_BYTES_MAX),
            ..LogParams::default()
        };
        let api: Api<k8s_openapi::api::core::v1::Pod> =
            Api::namespaced(self.client.clone(), namespace);
        let read = within("a pod's log", api.logs(pod, &params)).await;
        match read {
            Ok(text) => Some(text),
            Err(error) => {
                tracing::debug!(pod, "its log cannot be read: {error}");
                None
            }
        }
    }
}

/// One call, within its time.
async fn within<T>(
    what: &str,
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, ClusterError> {
    match tokio::time::timeout(CALL_MAX, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(ClusterError::of(what, error)),
        Err(late) => Err(ClusterError::Away {
            what: what.to_owned(),
            source: late.into(),
        }),
    }
}
