//! `switchyard migrate`.

use host::Env;

use super::arguments::MigrateArgs;
use super::database::Database;
use super::failure::WrongSetting;
use super::output::line;
use super::prepare::prepare;

/// Brings the database of `DATABASE_URL` to this version and says what was done.
pub(crate) async fn migrate(env: &Env, args: &MigrateArgs) -> anyhow::Result<()> {
    let url = env.get("DATABASE_URL").ok_or_else(|| {
        WrongSetting(
            "DATABASE_URL is missing: set it to the database to migrate, as postgres://user:password@host:port/database, \
             with a login that may change the schema. (`switchyard up` migrates its own database by itself.)"
                .to_owned(),
        )
    })?;
    let schema = args.jobs_schema.chosen(env)?;
    let prepared = prepare(&Database::given(url)?.urls.owner_url, schema.as_ref()).await?;
    for migration in &prepared.applied {
        line(format_args!("applied     {migration}"));
    }
    if prepared.applied.is_empty() {
        line("schema      up to date");
    }
    line("partitions  made for the next days");
    line(format_args!("tasks       {}", prepared.tasks.join(", ")));
    if let Some(schema) = schema {
        line(format_args!(
            "jobs        in schema {schema} too, for programs of upstream's"
        ));
    }
    Ok(())
}
