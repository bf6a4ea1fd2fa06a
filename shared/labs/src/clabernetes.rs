//! A lab as the objects that clabernetes takes: ConfigMaps with its files, and a Topology.
//!
//! The same lab gives the same objects, byte for byte. <https://github.com/clabernetes/clabernetes>

mod config_maps;
mod definition;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::files::{LabFiles, hash};
use crate::names::Names;
use crate::problem::Problems;
use crate::topology::Topology;

pub use config_maps::CONFIG_MAP_BYTES_MAX;

/// The largest Topology, in bytes of JSON: etcd takes 1.5 MiB, and older controllers write the nodes into its status once more.
pub const TOPOLOGY_OBJECT_BYTES_MAX: usize = 700_000;

/// The label that says whose an object is; its value is the lab's name in the cluster.
pub const LAB_LABEL: &str = "switchyard.dev/lab";
/// The label that says who made it.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "switchyard");
/// The annotation of a Topology with what its lab consists of: a hash.
pub const CONTENT_ANNOTATION: &str = "switchyard.dev/content";
/// The annotation of a Topology with the nodes that had to be renamed, as JSON.
pub const NAMES_ANNOTATION: &str = "switchyard.dev/node-names";

/// Which of the two incompatible generations of the API a cluster serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApiFlavor {
    /// Up to 0.6: `clabernetes.containerlab.dev`.
    Clabernetes06,
    /// From 0.7: `c9s.run`.
    C9sRun,
}

impl ApiFlavor {
    /// Both, the one that is preferred first.
    pub const ALL: [Self; 2] = [Self::C9sRun, Self::Clabernetes06];

    /// The group of its objects.
    #[must_use]
    pub const fn group(self) -> &'static str {
        match self {
            Self::Clabernetes06 => "clabernetes.containerlab.dev",
            Self::C9sRun => "c9s.run",
        }
    }

    /// What the controller's labels begin with.
    #[must_use]
    pub const fn label_prefix(self) -> &'static str {
        match self {
            Self::Clabernetes06 => "clabernetes",
            Self::C9sRun => "c9s.run",
        }
    }

    /// The version of its objects.
    pub const VERSION: &str = "v1alpha1";
}

/// What an operator says of all labs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabSettings {
    /// Secrets of the namespace with which images are pulled.
    pub pull_secrets: Vec<String>,
}

/// Why a lab cannot be given to a cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectsError {
    /// Something in the topology, with its lines.
    #[error(transparent)]
    Problems(#[from] Problems),
    /// A file that fits into no ConfigMap.
    #[error(
        "the file {path} of node {node} has {bytes} bytes; a ConfigMap takes {CONFIG_MAP_BYTES_MAX}, and a file cannot be split: make it \
         smaller, or put it into the node's image"
    )]
    FileTooLarge {
        /// Whose.
        node: String,
        /// Which.
        path: String,
        /// Its size, as the ConfigMap would carry it.
        bytes: usize,
    },
    /// A lab that fits into no Topology.
    #[error(
        "the Topology would have {bytes} bytes, and {TOPOLOGY_OBJECT_BYTES_MAX} are taken: make the lab smaller, or split it"
    )]
    TopologyTooLarge {
        /// Its size.
        bytes: usize,
    },
}

/// What is applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Objects {
    /// What everything is called.
    pub names: Names,
    /// First: the Topology names them.
    pub config_maps: Vec<Value>,
    /// Last.
    pub topology: Value,
    /// The hash of the topology as it is applied and of the files that its nodes get.
    pub content: String,
}

impl Objects {
    /// Makes the objects of a lab.
    ///
    /// # Errors
    /// When a file is missing or too large, or two nodes would have one name.
    pub fn new(
        topology: &Topology,
        files: &LabFiles,
        flavor: ApiFlavor,
        settings: &LabSettings,
    ) -> Result<Self, ObjectsError> {
        let names = Names::choose(topology)?;
        let labels = BTreeMap::from([(LAB_LABEL, names.lab.as_str()), MANAGED_BY]);
        let definition = definition::rewrite(topology, files, &names)?;
        let mounted_files = definition.files.values().flatten();
        let mut counted: BTreeMap<&str, &[u8]> = mounted_files
            .map(|(path, file)| (path.as_str(), file.bytes.as_slice()))
            .collect();
        counted.insert("clab.yml", definition.text.as_bytes());
        let content = hash(counted.into_iter());
        let mut config_maps = Vec::new();
        let mut mounted = serde_json::Map::new();
        for (node, files) in &definition.files {
            let packed = config_maps::pack(&names.lab, node, files, &labels)?;
            config_maps.extend(packed.config_maps);
            if !packed.mounts.is_empty() {
                mounted.insert(node.clone(), packed.mounts.into());
            }
        }
        let mut annotations = BTreeMap::from([(CONTENT_ANNOTATION, content.clone())]);
        let renamed = names.renamed();
        if !renamed.is_empty() {
            annotations.insert(NAMES_ANNOTATION, json!(renamed).to_string());
        }
        let mut spec = json!({
            "definition": { "containerlab": definition.text },
            "naming": "prefixed",
            "connectivity": "vxlan",
            "expose": { "exposeType": "ClusterIP" },
        });
        if !mounted.is_empty() {
            spec["deployment"] = json!({ "filesFromConfigMap": mounted });
        }
        if !settings.pull_secrets.is_empty() {
            spec["imagePull"] = json!({ "pullSecrets": settings.pull_secrets });
        }
        let topology = json!({
            "apiVersion": format!("{}/{}", flavor.group(), ApiFlavor::VERSION),
            "kind": "Topology",
            "metadata": { "name": names.lab, "labels": labels, "annotations": annotations },
            "spec": spec,
        });
        let bytes = topology.to_string().len();
        if bytes > TOPOLOGY_OBJECT_BYTES_MAX {
            return Err(ObjectsError::TopologyTooLarge { bytes });
        }
        Ok(Self {
            names,
            config_maps,
            topology,
            content,
        })
    }
}
