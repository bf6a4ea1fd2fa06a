//! Brings a database to this version: schema, partitions, tasks.

use std::time::Duration;

use anyhow::{Context as _, bail};
use host::Kind;
use queue::JobsSchema;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{Connection as _, PgConnection};

use crate::functions::FUNCTIONS;

/// How long a database may take to let us in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What was done.
pub(crate) struct Prepared {
    /// A connection of the owner's.
    pub(crate) owner: PgConnection,
    /// The migrations that were missing.
    pub(crate) applied: Vec<&'static str>,
    /// The tasks of this version.
    pub(crate) tasks: Vec<&'static str>,
}

/// Prepares the database that the owner's URL names, and in it a schema for upstream's programs where one is wanted. Safe
/// to repeat, and to do twice at once.
pub(crate) async fn prepare(
    url: &SecretString,
    jobs_schema: Option<&JobsSchema>,
) -> anyhow::Result<Prepared> {
    let url = url.expose_secret();
    let Ok(connected) = tokio::time::timeout(CONNECT_TIMEOUT, PgConnection::connect(url)).await
    else {
        bail!(
            "the database did not answer within {} s: check that the address and port in DATABASE_URL are right and \
             that it runs",
            CONNECT_TIMEOUT.as_secs()
        );
    };
    let mut owner = connected.context(
        "could not connect to the database: check that it runs and that DATABASE_URL is right",
    )?;
    let applied = database::migrate(url)
        .await
        .context("could not bring the database to this version")?;
    let mut tasks = Vec::new();
    for function in FUNCTIONS {
        if let Kind::Task(policy) = &function.kind {
            queue::know_task(&mut owner, function.name, policy)
                .await
                .with_context(|| format!("could not make the task {} known", function.name))?;
            tasks.push(function.name);
        }
    }
    if let Some(schema) = jobs_schema {
        queue::install_jobs_schema(&mut owner, schema)
            .await
            .with_context(|| {
                format!("could not make the schema {schema} for upstream's programs")
            })?;
    }
    Ok(Prepared {
        owner,
        applied,
        tasks,
    })
}
