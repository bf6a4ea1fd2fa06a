//! `switchyard hooks replay`: the events of a delivery again, as if they had just come in.

use anyhow::{Context as _, bail};
use clap::Args;
use host::Env;
use model::{BindingId, DeliveryId};
use serde_json::json;
use store::pages;
use store::replays::repeat;
use uuid::Uuid;

use super::AsWhat;
use super::place::Place;
use crate::cli::operate::OperatorArgs;
use crate::cli::output::line;

/// Which delivery, and for whom.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The delivery
    #[arg(value_name = "DELIVERY")]
    delivery: DeliveryId,
    /// Let only this binding of its trigger look; otherwise all do, and what matches starts again
    #[arg(long, value_name = "ID")]
    binding: Option<BindingId>,
    /// Whose
    #[arg(long, value_name = "NAME", default_value = "default")]
    tenant: String,
    #[command(flatten)]
    told: AsWhat,
    #[command(flatten)]
    operator: OperatorArgs,
}

/// Adds the events again and names them.
pub(super) async fn replay(env: &Env, args: ReplayArgs) -> anyhow::Result<()> {
    let place = Place::new(env, &args.operator)?;
    let tenant = place.operator().tenant(&args.tenant).await?;
    let mut tx = place.begin(tenant).await?;
    let found = pages::delivery(&mut tx, args.delivery).await;
    let Some(found) = found.context("the delivery cannot be read")? else {
        bail!("{} has no delivery {}", args.tenant, args.delivery);
    };
    let by = place.operator().by().name;
    let replayed = repeat(&mut tx, args.delivery, args.binding, Uuid::now_v7(), by)
        .await
        .map_err(|error| {
            // The one thing of it that somebody can write wrong.
            let code = error
                .as_database_error()
                .and_then(|error| error.code().map(|c| c.into_owned()));
            match (code.as_deref(), args.binding) {
                (Some("23503"), Some(binding)) => anyhow::anyhow!(
                    "the trigger of this delivery has no binding {binding}: nothing was replayed"
                ),
                _ => anyhow::Error::from(error).context("the events cannot be added"),
            }
        })?;
    if replayed.is_empty() {
        let why = match &found.delivery.reason {
            Some(reason) => format!(": {reason}"),
            None => String::new(),
        };
        bail!(
            "{} is {}, and no event came of it that could be replayed{why}",
            args.delivery,
            found.delivery.verdict
        );
    }
    tx.commit().await.context("the events cannot be added")?;
    if args.told.is_json() {
        let list: Vec<_> = replayed
            .iter()
            .map(|event| json!({ "event": event.to_string() }))
            .collect();
        line(serde_json::to_string_pretty(&list)?);
        return Ok(());
    }
    for event in &replayed {
        line(format_args!("its event once more: {event}"));
    }
    Ok(())
}
