//! A Kubernetes cluster: objects are applied, looked at and deleted, labs deployed, and runners run as its Jobs.
//!
//! Which cluster is the operator's to say, with a kubeconfig or by running in it. Everything that is made carries one label and one field
//! manager, so that it is told apart from what others made.

mod error;
mod job;
mod lab;
mod launcher;
mod objects;
mod settings;

pub use error::ClusterError;
pub use lab::{LabLook, NodeLook};
pub use launcher::{KubernetesLauncher, RunnerSettings, runners};
pub use objects::Cluster;
pub use settings::ClusterSettings;
