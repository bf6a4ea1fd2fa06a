//! `switchyard hooks`: the hooks of Git hosts that call triggers: made and repaired, watched, tried again, and explained.

use clap::{Args, Subcommand};
use host::Env;

mod api;
mod gitea;
mod github;
mod gitlab;
mod hook;
mod place;
mod replay;
mod setup;
mod tail;
mod verify;

use replay::ReplayArgs;
use setup::SetupArgs;
use tail::TailArgs;
use verify::VerifyArgs;

use super::reach::Output;

/// How it is told. Either way of asking for JSON is understood.
#[derive(Debug, Args)]
pub(crate) struct AsWhat {
    /// As JSON, for programs: the same as -o json
    #[arg(long)]
    json: bool,
    /// How it is told
    #[arg(
        short,
        long,
        value_enum,
        default_value = "text",
        conflicts_with = "json"
    )]
    output: Output,
}

impl AsWhat {
    fn is_json(&self) -> bool {
        self.json || self.output == Output::Json
    }
}

/// What to do with hooks.
#[derive(Debug, Args)]
pub(crate) struct HooksArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make the hook of a repository that calls a trigger, or repair it; a second run writes nothing
    Setup(SetupArgs),
    /// Show deliveries as they come in, and what became of them
    Tail(TailArgs),
    /// Let the events of a delivery be looked at again
    Replay(ReplayArgs),
    /// Say why the signature of a recorded request does not hold
    Verify(VerifyArgs),
}

/// Does what was asked.
pub(crate) async fn hooks(env: &Env, args: HooksArgs) -> anyhow::Result<()> {
    match args.what {
        What::Setup(args) => setup::setup(env, args).await,
        What::Tail(args) => tail::tail(env, args).await,
        What::Replay(args) => replay::replay(env, args).await,
        What::Verify(args) => verify::verify(env, args).await,
    }
}
