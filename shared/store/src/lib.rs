//! Every SQL statement that is not the queue's: tenants and people, triggers and workloads, deliveries, events,
//! decisions, the outbox. Also the only place where secrets are sealed and opened.
//!
//! [`Store`] works over all tenants by single statements, as functions do; what takes a [`database::TenantTx`] works for
//! one tenant, as people do.

pub mod artifacts;
pub mod bindings;
pub mod broker;
mod callback_token;
pub mod credentials;
pub mod declared;
pub mod deploys;
pub mod dispatch;
pub mod ensure;
pub mod events;
mod group;
pub mod hooks;
pub mod inbox;
mod keyring;
pub mod log_rules;
pub mod notifications;
pub mod outbox;
pub mod pages;
pub mod people;
mod redelivery_token;
pub mod replays;
mod retention;
mod run_spec;
pub mod setup;
mod signed;
mod state_token;
pub mod terraform;
pub mod trail;
pub mod triggers;
pub mod watch;
pub mod watched;
pub mod workspaces;

use database::SystemDb;

pub use callback_token::CallbackToken;
pub use keyring::{Keyring, KeyringError, SealedError, Slot};
pub use redelivery_token::RedeliveryToken;
pub use run_spec::{RUN_SPEC_BYTES_MAX, run_spec_slot};
pub use signed::BadToken;
pub use state_token::StateToken;

/// The store as functions see it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    db: SystemDb,
    deliveries: group::Group,
    triggers: inbox::Remembered,
}

impl Store {
    /// The store of this database.
    #[must_use]
    pub fn new(db: SystemDb) -> Self {
        Self {
            db,
            deliveries: group::Group::default(),
            triggers: inbox::Remembered::default(),
        }
    }
}
