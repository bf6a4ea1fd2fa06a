-- A tenant's folders of templates in Git repositories: where each is, what was found there, and when it is looked at next.
set local role switchyard_owner;

create table switchyard.workspaces (
    id uuid not null,
    database_id uuid not null references switchyard.tenants,
    name text not null check (length(name) between 1 and 63),
    -- https, without user, query and fragment; or the absolute path of a repository on a machine of the operator.
    repository text not null check (length(repository) between 1 and 2048),
    branch text not null check (length(branch) between 1 and 255),
    -- Below the repository's root; empty for the root.
    folder text not null default '' check (length(folder) <= 255),
    credential_id uuid,
    -- Between two looks.
    interval_secs integer not null default 300 check (interval_secs between 60 and 86400),
    -- What the branch was at when it was last read; null when it never was.
    commit text check (commit ~ '^[0-9a-f]{40}$'),
    -- When that was found.
    synced_at timestamptz,
    -- When the last look ended, however it ended.
    looked_at timestamptz,
    -- Moved ahead by who takes it, so that two never look at once.
    next_at timestamptz not null default now(),
    -- Which look it is: one that took too long changes nothing.
    look bigint not null default 0,
    -- Looks that failed since one did not.
    failures integer not null default 0,
    -- Why the last look failed.
    problem text check (length(problem) <= 2000),
    -- What of the last commit was left out.
    warnings text[] not null default '{}' check (cardinality(warnings) <= 100),
    created_at timestamptz not null default now(),
    created_by text not null check (length(created_by) between 1 and 200),
    changed_at timestamptz not null default now(),
    primary key (database_id, id),
    unique (database_id, name),
    foreign key (database_id, credential_id) references switchyard.credentials
);
create unique index workspaces_by_id on switchyard.workspaces (id);
create index workspaces_due on switchyard.workspaces (next_at);
call switchyard.protect('switchyard.workspaces');
grant select on switchyard.workspaces to switchyard_system, switchyard_tenant;
grant insert (id, database_id, name, repository, branch, folder, credential_id, interval_secs, created_by),
    update (name, repository, branch, folder, credential_id, interval_secs, commit, synced_at, next_at, look, failures, problem,
        warnings, changed_at),
    delete
    on switchyard.workspaces to switchyard_tenant;

-- What a workspace has that a run can be made of.
create table switchyard.workspace_templates (
    database_id uuid not null,
    workspace_id uuid not null,
    -- Of its folder below the workspace's; empty for the workspace's own.
    path text not null check (length(path) <= 1024),
    kind text not null check (kind in (
        'terraform',   -- *.tf
        'netlab',      -- topology.yml
        'containerlab' -- *.clab.yml
    )),
    -- The file that it begins with, in the folder; empty where that is the folder.
    file text not null default '' check (length(file) <= 255),
    -- The first heading of the README beside it, and its first words.
    title text check (length(title) <= 200),
    summary text check (length(summary) <= 1000),
    primary key (database_id, workspace_id, path, kind, file),
    foreign key (database_id, workspace_id) references switchyard.workspaces on delete cascade
);
call switchyard.protect('switchyard.workspace_templates');
grant select on switchyard.workspace_templates to switchyard_system, switchyard_tenant;
grant delete on switchyard.workspace_templates to switchyard_tenant;

-- Takes up to p_limit workspaces that are due, for p_time at the most; after that another may take them.
create function switchyard.take_workspaces(p_time interval, p_limit integer) returns setof switchyard.workspaces
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    return query
        update switchyard.workspaces w
        set next_at = now() + p_time, look = w.look + 1
        from (
            select d.database_id, d.id
            from switchyard.workspaces d
            where d.next_at <= now()
            order by d.next_at
            limit p_limit
            for update skip locked
        ) due
        where w.database_id = due.database_id and w.id = due.id
        returning w.*;
end
$$;
revoke execute on function switchyard.take_workspaces from public;
grant execute on function switchyard.take_workspaces to switchyard_system;

-- Ends a look that went well, or nothing when it took so long that another began. Without p_templates the branch is where it
-- was. p_templates: [{path, kind, file, title, summary}]. Says whether anything is new.
create function switchyard.end_sync(
    p_workspace uuid, p_look bigint, p_commit text, p_templates jsonb, p_warnings text[]
) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_workspace switchyard.workspaces;
begin
    update switchyard.workspaces w
    set looked_at = now(), failures = 0, problem = null,
        commit = coalesce(p_commit, w.commit),
        synced_at = case when p_templates is null then w.synced_at else now() end,
        warnings = case when p_templates is null then w.warnings else coalesce(p_warnings, '{}') end,
        -- Looks of workspaces that were made together drift apart, by a tenth at the most.
        next_at = now() + (1 + random() / 10) * make_interval(secs => w.interval_secs)
    where w.id = p_workspace and w.look = p_look
    returning * into v_workspace;
    if v_workspace.id is null or p_templates is null then
        return false;
    end if;
    delete from switchyard.workspace_templates t
    where t.database_id = v_workspace.database_id and t.workspace_id = v_workspace.id;
    insert into switchyard.workspace_templates (database_id, workspace_id, path, kind, file, title, summary)
    select v_workspace.database_id, v_workspace.id, t ->> 'path', t ->> 'kind', t ->> 'file', left(t ->> 'title', 200),
        left(t ->> 'summary', 1000)
    from jsonb_array_elements(p_templates) t;
    return true;
end
$$;
revoke execute on function switchyard.end_sync from public;
grant execute on function switchyard.end_sync to switchyard_system;

-- Ends a look that failed: the next one is after p_wait where the other side said so, else twice as late as the one before, up
-- to an hour. The first failure in a row is told.
create function switchyard.fail_sync(p_workspace uuid, p_look bigint, p_problem text, p_wait interval) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_workspace switchyard.workspaces;
begin
    update switchyard.workspaces w
    set failures = w.failures + 1, problem = left(p_problem, 2000), looked_at = now(),
        next_at = now() + greatest(
            least(p_wait, interval '1 day'),
            least(make_interval(secs => w.interval_secs * power(2, least(w.failures, 10))), interval '1 hour')
        )
    where w.id = p_workspace and w.look = p_look
    returning * into v_workspace;
    if v_workspace.failures = 1 then
        perform switchyard.record_log(row(
            v_workspace.database_id, 'warning', 'workspaces',
            format('workspace %s is not kept in step: %s', v_workspace.name, left(p_problem, 2000)),
            null, null, null, null,
            jsonb_build_object('workspace', v_workspace.id, 'commit', v_workspace.commit)
        )::switchyard.log_entry);
    end if;
end
$$;
revoke execute on function switchyard.fail_sync from public;
grant execute on function switchyard.fail_sync to switchyard_system;

reset role;
