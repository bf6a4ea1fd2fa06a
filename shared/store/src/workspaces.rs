//! Workspaces: a tenant's folders of templates in Git repositories, as people set them and as `cron-workspaces` keeps them in
//! step.

use std::time::Duration;

use chrono::{DateTime, Utc};
use database::TenantTx;
use model::TenantId;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::declared::note;
use crate::watch::{Login, LoginError};
use crate::{Keyring, Store, credentials};

/// Workspaces of one tenant.
pub const WORKSPACES_MAX: i64 = 100;
/// Templates of one workspace.
pub const TEMPLATES_MAX: usize = 500;

/// A workspace as people see it.
#[derive(Debug, Clone, Serialize)]
pub struct Workspace {
    /// Which.
    pub id: Uuid,
    /// What people and payloads call it.
    pub name: String,
    /// Its URL, or its path on a machine of the operator.
    pub repository: String,
    /// Which branch is followed.
    pub branch: String,
    /// Which folder; empty for the root.
    pub folder: String,
    /// What the other side lets us in with.
    pub credential: Option<Uuid>,
    /// Between two looks, in seconds.
    pub interval_secs: i32,
    /// What the branch was at when it was last read.
    pub commit: Option<String>,
    /// When that was found.
    pub synced_at: Option<DateTime<Utc>>,
    /// When the last look ended.
    pub looked_at: Option<DateTime<Utc>>,
    /// When the next one is.
    pub next_at: DateTime<Utc>,
    /// Looks that failed since one did not.
    pub failures: i32,
    /// Why the last one failed.
    pub problem: Option<String>,
    /// What of the last commit was left out.
    pub warnings: Vec<String>,
    /// How many templates it has.
    pub templates: i64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// By whom.
    pub created_by: String,
}

/// What a run can be made of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Template {
    /// Its folder below the workspace's; empty for the workspace's own.
    pub path: String,
    /// What it is for.
    pub kind: TemplateKind,
    /// The file that it begins with; empty where that is the folder.
    pub file: String,
    /// The first heading of the README beside it.
    pub title: Option<String>,
    /// The first words of it.
    pub summary: Option<String>,
}

/// What a template is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TemplateKind {
    /// A folder with `*.tf`.
    Terraform,
    /// A `topology.yml` of netlab.
    Netlab,
    /// A `*.clab.yml`.
    Containerlab,
}

impl TemplateKind {
    /// The name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Terraform => "terraform",
            Self::Netlab => "netlab",
            Self::Containerlab => "containerlab",
        }
    }

    fn named(name: &str) -> Result<Self, sqlx::Error> {
        [Self::Terraform, Self::Netlab, Self::Containerlab]
            .into_iter()
            .find(|kind| kind.as_str() == name)
            .ok_or_else(|| sqlx::Error::Decode(format!("{name} is no kind of template").into()))
    }
}

/// A workspace as somebody wants it.
#[derive(Debug)]
pub struct WantedWorkspace<'a> {
    /// What people and payloads call it.
    pub name: &'a str,
    /// Its URL, or its path.
    pub repository: &'a str,
    /// Host and port of the URL; nothing for a path.
    pub host: Option<&'a str>,
    /// Which branch is followed.
    pub branch: &'a str,
    /// Which folder.
    pub folder: &'a str,
    /// What the other side lets us in with.
    pub credential: Option<Uuid>,
    /// Between two looks, in seconds.
    pub interval_secs: i32,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saved {
    /// It is saved, under this id.
    Done(Uuid),
    /// There is none of that id.
    Absent,
    /// There is no such credential, or it is for another host.
    NoCredential,
    /// Another has the name.
    Taken,
    /// There are as many as may be.
    TooMany,
}

/// All of the tenant's, by name.
///
/// # Errors
/// When the database does not answer.
pub async fn list(tx: &mut TenantTx) -> Result<Vec<Workspace>, sqlx::Error> {
    found(tx, None).await
}

/// One of them.
///
/// # Errors
/// When the database does not answer.
pub async fn get(tx: &mut TenantTx, id: Uuid) -> Result<Option<Workspace>, sqlx::Error> {
    Ok(found(tx, Some(id)).await?.pop())
}

async fn found(tx: &mut TenantTx, id: Option<Uuid>) -> Result<Vec<Workspace>, sqlx::Error> {
    sqlx::query_as!(
        Workspace,
        r#"
        select id, name, repository, branch, folder, credential_id as credential, interval_secs, commit, synced_at, looked_at,
            next_at, failures, problem, warnings,
            (
                select count(*) from switchyard.workspace_templates t
                where t.database_id = w.database_id and t.workspace_id = w.id
            ) as "templates!",
            created_at, created_by
        from switchyard.workspaces w
        where database_id = switchyard.current_tenant() and ($1::uuid is null or id = $1)
        order by name
        limit $2
        "#,
        id,
        WORKSPACES_MAX
    )
    .fetch_all(&mut **tx)
    .await
}

/// The templates of a workspace, by path.
///
/// # Errors
/// When the database does not answer.
pub async fn templates(tx: &mut TenantTx, workspace: Uuid) -> Result<Vec<Template>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        select path, kind, file, title, summary
        from switchyard.workspace_templates
        where database_id = switchyard.current_tenant() and workspace_id = $1
        order by path, kind, file
        limit $2
        "#,
        workspace,
        i64::try_from(TEMPLATES_MAX).unwrap_or(i64::MAX)
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Template {
                path: row.path,
                kind: TemplateKind::named(&row.kind)?,
                file: row.file,
                title: row.title,
                summary: row.summary,
            })
        })
        .collect()
}

/// What stands against a wish; nothing when nothing does.
async fn refused(
    tx: &mut TenantTx,
    id: Option<Uuid>,
    wanted: &WantedWorkspace<'_>,
) -> Result<Option<Saved>, sqlx::Error> {
    let there = sqlx::query!(
        r#"
        select
            $1::uuid is null or exists (
                select from switchyard.credentials
                where database_id = switchyard.current_tenant() and id = $1 and host = $2
            ) as "credential!",
            exists (
                select from switchyard.workspaces
                where database_id = switchyard.current_tenant() and name = $3 and id is distinct from $4
            ) as "taken!",
            (select count(*) from switchyard.workspaces where database_id = switchyard.current_tenant()) as "all!"
        "#,
        wanted.credential,
        wanted.host,
        wanted.name,
        id
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(if !there.credential {
        Some(Saved::NoCredential)
    } else if there.taken {
        Some(Saved::Taken)
    } else if id.is_none() && there.all >= WORKSPACES_MAX {
        Some(Saved::TooMany)
    } else {
        None
    })
}

fn told(id: Uuid, wanted: &WantedWorkspace<'_>) -> serde_json::Value {
    json!({
        "workspace": id, "name": wanted.name, "repository": wanted.repository, "branch": wanted.branch,
        "folder": wanted.folder, "credential": wanted.credential,
    })
}

/// Makes a workspace; it is looked at as soon as may be.
///
/// # Errors
/// When the database does not answer.
pub async fn create(
    tx: &mut TenantTx,
    tenant: TenantId,
    by: &str,
    wanted: &WantedWorkspace<'_>,
) -> Result<Saved, sqlx::Error> {
    if let Some(refused) = refused(tx, None, wanted).await? {
        return Ok(refused);
    }
    let id = sqlx::query_scalar!(
        r#"
        insert into switchyard.workspaces (
            id, database_id, name, repository, branch, folder, credential_id, interval_secs, created_by
        )
        values ($1, $2, $3, $4, $5, $6, $7, $8, left($9, 200))
        on conflict do nothing
        returning id
        "#,
        Uuid::now_v7(),
        tenant.uuid(),
        wanted.name,
        wanted.repository,
        wanted.branch,
        wanted.folder,
        wanted.credential,
        wanted.interval_secs,
        by
    )
    .fetch_optional(&mut **tx)
    .await?;
    let Some(id) = id else {
        return Ok(Saved::Taken);
    };
    note(tx, by, "workspace_create", told(id, wanted)).await?;
    Ok(Saved::Done(id))
}

/// Changes a workspace. Another place is read anew: until then nothing is known of it.
///
/// # Errors
/// When the database does not answer.
pub async fn change(
    tx: &mut TenantTx,
    id: Uuid,
    by: &str,
    wanted: &WantedWorkspace<'_>,
) -> Result<Saved, sqlx::Error> {
    if let Some(refused) = refused(tx, Some(id), wanted).await? {
        return Ok(refused);
    }
    let moved = sqlx::query_scalar!(
        r#"
        with before as (
            select database_id, id, (repository, branch, folder) is distinct from ($3::text, $4::text, $5::text) as moved
            from switchyard.workspaces
            where database_id = switchyard.current_tenant() and id = $1
            for update
        )
        update switchyard.workspaces w
        set name = $2, repository = $3, branch = $4, folder = $5, credential_id = $6, interval_secs = $7,
            commit = case when b.moved then null else w.commit end,
            synced_at = case when b.moved then null else w.synced_at end,
            warnings = case when b.moved then '{}' else w.warnings end,
            next_at = now(), look = w.look + 1, failures = 0, problem = null, changed_at = now()
        from before b
        where w.database_id = b.database_id and w.id = b.id
        returning b.moved as "moved!"
        "#,
        id,
        wanted.name,
        wanted.repository,
        wanted.branch,
        wanted.folder,
        wanted.credential,
        wanted.interval_secs
    )
    .fetch_optional(&mut **tx)
    .await?;
    let Some(moved) = moved else {
        return Ok(Saved::Absent);
    };
    if moved {
        sqlx::query!(
            "delete from switchyard.workspace_templates where database_id = switchyard.current_tenant() and workspace_id = $1",
            id
        )
        .execute(&mut **tx)
        .await?;
    }
    note(tx, by, "workspace_change", told(id, wanted)).await?;
    Ok(Saved::Done(id))
}

/// Removes a workspace. False when there is none of that id. Runs that are made of it have their own copy.
///
/// # Errors
/// When the database does not answer.
pub async fn remove(tx: &mut TenantTx, id: Uuid, by: &str) -> Result<bool, sqlx::Error> {
    let name = sqlx::query_scalar!(
        r#"
        delete from switchyard.workspaces
        where database_id = switchyard.current_tenant() and id = $1
        returning name
        "#,
        id
    )
    .fetch_optional(&mut **tx)
    .await?;
    let Some(name) = name else { return Ok(false) };
    let data = json!({"workspace": id, "name": name});
    note(tx, by, "workspace_remove", data).await?;
    Ok(true)
}

/// Has a workspace looked at before all others. Returns how many looks began before; nothing when there is none of that id.
///
/// # Errors
/// When the database does not answer.
pub async fn sync_soon(tx: &mut TenantTx, id: Uuid) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        update switchyard.workspaces
        set next_at = least(next_at, now() - interval '1 day')
        where database_id = switchyard.current_tenant() and id = $1
        returning look
        "#,
        id
    )
    .fetch_optional(&mut **tx)
    .await
}

/// A workspace to read from, with what lets us in.
#[derive(Debug)]
pub struct StoredWorkspace {
    /// Which.
    pub id: Uuid,
    /// Whose.
    pub tenant: TenantId,
    /// What people and payloads call it.
    pub name: String,
    /// Which look this is, for who looks.
    pub look: i64,
    /// Its URL, or its path.
    pub repository: String,
    /// Which branch is followed.
    pub branch: String,
    /// Which folder.
    pub folder: String,
    /// What the branch was at when it was last read.
    pub commit: Option<String>,
    /// What the other side lets us in with.
    pub login: Result<Option<Login>, LoginError>,
}

/// A workspace and its credential in the database.
struct Row {
    id: Uuid,
    database_id: Uuid,
    name: String,
    look: i64,
    repository: String,
    branch: String,
    folder: String,
    commit: Option<String>,
    credential: Option<Uuid>,
    host: Option<String>,
    username: Option<String>,
    secret: Option<Vec<u8>>,
}

impl Row {
    fn opened(self, keyring: &Keyring) -> StoredWorkspace {
        let tenant = TenantId::from(self.database_id);
        let login = match (self.credential, self.host, self.username, self.secret) {
            (Some(id), Some(host), Some(username), Some(secret)) => {
                credentials::opened(keyring, tenant, id, &secret).map(|secret| {
                    Some(Login {
                        host,
                        username,
                        secret,
                    })
                })
            }
            _ => Ok(None),
        };
        StoredWorkspace {
            id: self.id,
            tenant,
            name: self.name,
            look: self.look,
            repository: self.repository,
            branch: self.branch,
            folder: self.folder,
            commit: self.commit,
            login,
        }
    }
}

impl Store {
    /// A tenant's workspace by its name or its id, with its credential opened, for a task that reads from it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn workspace(
        &self,
        keyring: &Keyring,
        tenant: TenantId,
        name_or_id: &str,
    ) -> Result<Option<StoredWorkspace>, sqlx::Error> {
        let row = sqlx::query_as!(
            Row,
            r#"
            select w.id, w.database_id, w.name, w.look, w.repository, w.branch, w.folder, w.commit,
                c.id as "credential?", c.host as "host?", c.username as "username?", c.secret as "secret?"
            from switchyard.workspaces w
            left join switchyard.credentials c on c.database_id = w.database_id and c.id = w.credential_id
            where w.database_id = $1 and (w.name = $2 or w.id::text = $2)
            order by w.name = $2 desc
            limit 1
            "#,
            tenant.uuid(),
            name_or_id
        )
        .fetch_optional(&mut *self.db.acquire().await?)
        .await?;
        Ok(row.map(|row| row.opened(keyring)))
    }

    /// Takes up to `limit` workspaces that are due for a look, for `time` at the most.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn take_workspaces(
        &self,
        keyring: &Keyring,
        time: Duration,
        limit: i32,
    ) -> Result<Vec<StoredWorkspace>, sqlx::Error> {
        let rows = sqlx::query_as!(
            Row,
            r#"
            select w.id as "id!", w.database_id as "database_id!", w.name as "name!", w.look as "look!",
                w.repository as "repository!", w.branch as "branch!", w.folder as "folder!", w.commit,
                c.id as "credential?", c.host as "host?", c.username as "username?", c.secret as "secret?"
            from switchyard.take_workspaces(make_interval(secs => $1), $2) w
            left join switchyard.credentials c on c.database_id = w.database_id and c.id = w.credential_id
            "#,
            time.as_secs_f64(),
            limit
        )
        .fetch_all(&mut *self.db.acquire().await?)
        .await?;
        Ok(rows.into_iter().map(|row| row.opened(keyring)).collect())
    }

    /// Ends a look that found the branch where it was.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn end_idle_sync(&self, workspace: &StoredWorkspace) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "select switchyard.end_sync($1, $2, null, null, null)",
            workspace.id,
            workspace.look
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await?;
        Ok(())
    }

    /// Ends a look that read a commit. False, and nothing is written, when another look began meanwhile.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn end_sync(
        &self,
        workspace: &StoredWorkspace,
        commit: &str,
        templates: &[Template],
        warnings: &[String],
    ) -> Result<bool, sqlx::Error> {
        let templates =
            serde_json::to_value(templates).map_err(|error| sqlx::Error::Encode(error.into()))?;
        sqlx::query_scalar!(
            r#"select switchyard.end_sync($1, $2, $3, $4, $5) as "done!""#,
            workspace.id,
            workspace.look,
            commit,
            templates,
            warnings
        )
        .fetch_one(&mut *self.db.acquire().await?)
        .await
    }

    /// Ends a look that failed. The next is after `wait` where the other side said so, else ever later.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn fail_sync(
        &self,
        workspace: &StoredWorkspace,
        problem: &str,
        wait: Option<Duration>,
    ) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "select switchyard.fail_sync($1, $2, $3, make_interval(secs => $4))",
            workspace.id,
            workspace.look,
            problem,
            wait.unwrap_or_default().as_secs_f64()
        )
        .execute(&mut *self.db.acquire().await?)
        .await?;
        Ok(())
    }
}
