//! Tenants, people, and how they sign in. Tokens are 256 random bits; the database keeps their SHA-256.

use std::time::Duration;

use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use database::TenantDb;
use model::{PersonId, Role, TenantId};
use secrecy::{ExposeSecret, SecretString};
use sqlx::PgConnection;
use uuid::Uuid;

/// How long a sign-in link works.
pub const LINK_VALID: Duration = Duration::from_secs(15 * 60);
/// How long a session lasts at most.
pub const SESSION_VALID: Duration = Duration::from_secs(14 * 24 * 3600);
/// How long a session lasts that nobody uses.
pub const SESSION_IDLE: Duration = Duration::from_secs(24 * 3600);

/// A random token, shown once.
#[derive(Debug, Clone)]
pub struct Token(SecretString);

impl Token {
    /// 256 random bits.
    ///
    /// # Panics
    /// When the operating system has no random numbers.
    #[must_use]
    pub fn generate() -> Self {
        let mut bytes = [0; 32];
        rand::fill(&mut bytes).expect("the operating system gives random numbers");
        Self(SecretString::from(URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// What somebody presents as a token. Any text: what is no token has the hash of none.
    #[must_use]
    pub fn presented(text: &str) -> Self {
        Self(SecretString::from(text))
    }

    /// The text that is given to its holder.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// What the database keeps.
    #[must_use]
    pub fn hash(&self) -> Vec<u8> {
        digest::digest(&digest::SHA256, self.0.expose_secret().as_bytes())
            .as_ref()
            .to_vec()
    }
}

/// Who is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The person.
    pub person: PersonId,
    /// Their name.
    pub name: String,
    /// Where they may do what, by tenant name.
    pub memberships: Vec<Membership>,
}

impl Session {
    /// Whether they may do anything at all in this tenant.
    #[must_use]
    pub fn is_member_of(&self, tenant: TenantId) -> bool {
        self.memberships.iter().any(|it| it.tenant == tenant)
    }
}

/// What a person may do in a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The tenant.
    pub tenant: TenantId,
    /// Its name.
    pub tenant_name: String,
    /// The role there.
    pub role: Role,
}

/// Makes sure that a tenant and a person exist with this role. For the owner's connection.
///
/// # Errors
/// When the login is not the owner or the database does not answer.
pub async fn ensure_member(
    conn: &mut PgConnection,
    tenant_name: &str,
    person_name: &str,
    role: Role,
) -> Result<(TenantId, PersonId), sqlx::Error> {
    let row = sqlx::query!(
        r#"
        with tenant as (
            insert into switchyard.tenants (name) values ($1)
            on conflict (name) do update set name = excluded.name
            returning database_id
        ),
        known as (
            select p.id
            from switchyard.people p
            join switchyard.memberships m on m.person_id = p.id
            join switchyard.tenants t on t.database_id = m.database_id
            where t.name = $1 and p.name = $2
            order by p.created_at
            limit 1
        ),
        made as (
            insert into switchyard.people (name)
            select $2 where not exists (select from known)
            returning id
        ),
        person as (
            select id from known union all select id from made
        ),
        member as (
            insert into switchyard.memberships (database_id, person_id, role)
            select tenant.database_id, person.id, $3::text::switchyard.role from tenant, person
            on conflict (database_id, person_id) do update set role = excluded.role
            returning database_id, person_id
        )
        select database_id, person_id from member
        "#,
        tenant_name,
        person_name,
        role.as_str()
    )
    .fetch_one(conn)
    .await?;
    Ok((row.database_id.into(), row.person_id.into()))
}

/// Makes a link with which a person signs in once. For the owner's connection.
///
/// # Errors
/// When the login is not the owner or the database does not answer.
pub async fn create_sign_in_link(
    conn: &mut PgConnection,
    person: PersonId,
) -> Result<Token, sqlx::Error> {
    let token = Token::generate();
    sqlx::query!(
        "select switchyard.create_sign_in_link($1, $2, make_interval(secs => $3))",
        person.uuid(),
        token.hash(),
        LINK_VALID.as_secs_f64()
    )
    .execute(conn)
    .await?;
    Ok(token)
}

/// Opens a session for a link's token. Nothing when the link was used, is too old, or never was.
///
/// # Errors
/// When the database does not answer.
pub async fn open_session(db: &TenantDb, link: &Token) -> Result<Option<Token>, sqlx::Error> {
    let session = Token::generate();
    let person: Option<Uuid> = sqlx::query_scalar!(
        "select switchyard.open_session($1, $2, make_interval(secs => $3))",
        link.hash(),
        session.hash(),
        SESSION_VALID.as_secs_f64()
    )
    .fetch_one(&mut *db.anonymous().await?)
    .await?;
    Ok(person.map(|_| session))
}

/// Who a session's token belongs to. Nothing when it is over or never was.
///
/// # Errors
/// When the database does not answer.
pub async fn session(db: &TenantDb, token: &Token) -> Result<Option<Session>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        select person_id as "person_id!", person_name as "person_name!", database_id as "database_id!",
            tenant_name as "tenant_name!", role::text as "role!"
        from switchyard.session($1, make_interval(secs => $2))
        "#,
        token.hash(),
        SESSION_IDLE.as_secs_f64()
    )
    .fetch_all(&mut *db.anonymous().await?)
    .await?;
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    let (person, name) = (first.person_id.into(), first.person_name.clone());
    let memberships = rows
        .into_iter()
        .map(|row| {
            Ok(Membership {
                tenant: row.database_id.into(),
                tenant_name: row.tenant_name,
                role: row
                    .role
                    .parse()
                    .map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
            })
        })
        .collect::<Result<_, sqlx::Error>>()?;
    Ok(Some(Session {
        person,
        name,
        memberships,
    }))
}

/// Ends a session. Nothing happens when it is over already.
///
/// # Errors
/// When the database does not answer.
pub async fn close_session(db: &TenantDb, token: &Token) -> Result<(), sqlx::Error> {
    sqlx::query!("select switchyard.close_session($1)", token.hash())
        .execute(&mut *db.anonymous().await?)
        .await
        .map(drop)
}
