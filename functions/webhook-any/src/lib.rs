//! One URL for whoever sends: it checks the trigger's proof, tells by the headers or the body whose request it is, and hands
//! it on as it came to the function that reads that vendor's requests, whose answer is the answer.
//!
//! What does not verify ends here with 401 and is counted here. A function that does not answer is 503: the sender has to
//! come again, for nothing is kept here.

use host::{Env, Function, Kind, Routes, SettingsError};
use model::DatabaseRole;
use webhook::{Functions, Taking};

/// `POST` and `OPTIONS` at `/<trigger>` and `/<trigger>/<secret>`.
pub const FUNCTION: Function = Function {
    name: env!("CARGO_PKG_NAME"),
    role: DatabaseRole::System,
    kind: Kind::Service,
    routes,
};

fn routes(env: &Env) -> Result<Routes, SettingsError> {
    env.require("MASTER_KEY_FILE")?;
    let taking = Taking::of(env)?;
    let any = webhook::any(Functions::of(env)?, taking.clone());
    Ok(Routes::from(any).and(webhook::handshake(taking)))
}

#[cfg(test)]
mod tests;
