//! A schema with upstream's names over the queue, for programs that were written for it.

use std::fmt;
use std::str::FromStr;

use sqlx::PgConnection;

/// How long the name of a schema may be, in bytes.
const NAME_BYTES_MAX: usize = 63;

/// What such a schema is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobsSchema(String);

/// A schema for jobs cannot be called so; says how it can.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a schema for jobs cannot be called {0:?}: use 1 to {NAME_BYTES_MAX} of a-z, 0-9 and _, not beginning with a digit or \
     pg_, for example app_jobs"
)]
pub struct WrongSchemaName(String);

impl FromStr for JobsSchema {
    type Err = WrongSchemaName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let taken = ["switchyard", "public", "information_schema"].contains(&name);
        let good = (1..=NAME_BYTES_MAX).contains(&name.len())
            && name.bytes().all(plain)
            && !name.starts_with(|first: char| first.is_ascii_digit())
            && !name.starts_with("pg_")
            && !taken;
        if good {
            Ok(Self(name.to_owned()))
        } else {
            Err(WrongSchemaName(name.to_owned()))
        }
    }
}

impl fmt::Display for JobsSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Makes the schema, or brings it to this version; what was granted on it stays.
///
/// # Errors
/// When somebody else has a schema of that name, when the connection may not make one, or when the database does not
/// answer.
pub async fn install_jobs_schema(
    owner: &mut PgConnection,
    schema: &JobsSchema,
) -> Result<(), sqlx::Error> {
    sqlx::query!("select switchyard.install_jobs_schema($1)", schema.0)
        .execute(owner)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_plain_or_told_how_it_can_be() {
        for name in ["app_jobs", "_", "jobs2", &"x".repeat(63)] {
            assert_eq!(
                name.parse::<JobsSchema>().map(|name| name.to_string()),
                Ok(name.to_owned())
            );
        }
        for name in [
            "",
            "Jobs",
            "2jobs",
            "a b",
            "a\"b",
            "pg_jobs",
            "public",
            "switchyard",
            &"x".repeat(64),
        ] {
            let error = name.parse::<JobsSchema>().expect_err(name);
            assert!(error.to_string().contains("for example app_jobs"));
        }
    }
}
