//! Shows people what arrived, what was decided, what runs, and why something waits.
//!
//! Pages are pure functions from plain structs to markup ([`views`]), so every page can be rendered and looked at without
//! a database. They work without JavaScript; scripts add live updates, times in the reader's zone and shortcuts. What
//! answers requests is a thin layer over [`store::pages`]: it reads one tenant's rows and fills those structs.

pub mod assets;
pub mod config_form;
pub mod headers;
pub mod i18n;
pub mod log_text;
pub mod payload_form;
pub mod views;

mod http;

#[cfg(test)]
mod preview;
#[cfg(test)]
mod source_checks;

use host::{Function, Kind, Ticker};
use model::DatabaseRole;

/// The function.
pub const FUNCTION: Function = Function {
    name: env!("CARGO_PKG_NAME"),
    role: DatabaseRole::Tenant,
    kind: Kind::Service,
    routes: |env| {
        // Bodies are opened and forms are signed with it: without it half of the pages would fail later.
        env.require("MASTER_KEY_FILE")?;
        let guard = env.tenant_guard()?;
        let workspaces = Ticker::of(env, "CRON_WORKSPACES_URL")?;
        let functions = webhook::Functions::of(env)?;
        Ok(http::router(env.parse()?, functions, guard, workspaces).into())
    },
};
