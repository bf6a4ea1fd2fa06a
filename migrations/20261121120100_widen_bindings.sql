-- Triggers of every kind, with conditions; bindings that start a task as well as those that deploy a workload; and both can
-- be removed while what they did stays told.
set local role switchyard_owner;

alter table switchyard.triggers
    -- {"language": "cel", "expression": ...}: what must be true of an event beside what the kind's filter says.
    add column condition jsonb check (jsonb_typeof(condition) = 'object' and length(condition::text) <= 4096),
    -- Until when the secret before, and the path's, are good; null for as long as they stand there.
    add column secret_previous_until timestamptz,
    add column updated_at timestamptz not null default now(),
    -- Nothing starts through it any more, and its name is free. Its row stays for what it once started.
    add column removed_at timestamptz,
    add constraint removed_is_off check (
        removed_at is null
        or not enabled and coalesce(secret, secret_previous, path_sha256, path_sha256_previous) is null
    ),
    add constraint triggers_config_size check (length(config::text) <= 32768),
    drop constraint triggers_kind_check,
    add constraint triggers_kind_check
        check (kind in ('git', 'registry', 'webhook', 'schedule', 'manual', 'log', 'event')),
    drop constraint triggers_database_id_name_key;
create unique index triggers_name on switchyard.triggers (database_id, name) where removed_at is null;
-- What a kind's watcher looks at, and what ends work.
create index triggers_of_kind on switchyard.triggers (kind, database_id) where enabled;

alter table switchyard.bindings
    alter column workload_id drop not null,
    -- Instead of a workload: the task that is started.
    add column task text check (length(task) between 1 and 126),
    -- The task's payload: JSON whose texts are templates.
    add column payload jsonb check (length(payload::text) <= 65536),
    -- Templates of the queue and the key of its jobs.
    add column queue_name text check (length(queue_name) between 1 and 1024),
    add column key text check (length(key) between 1 and 1024),
    add column priority integer not null default 0,
    -- As the trigger's; both must be true.
    add column condition jsonb check (jsonb_typeof(condition) = 'object' and length(condition::text) <= 4096),
    add column updated_at timestamptz not null default now(),
    add column removed_at timestamptz,
    add constraint starts_one_thing check ((workload_id is null) = (task is not null)),
    add constraint a_task_has_a_payload check ((task is null) = (payload is null)),
    add constraint only_a_task_says_where
        check (task is not null or queue_name is null and key is null and priority = 0),
    add constraint only_a_workload_has_a_config check (workload_id is not null or overrides = '{}');

grant select (condition, secret_previous_until, updated_at, removed_at) on switchyard.triggers
    to switchyard_tenant, switchyard_observer;
grant update (condition, secret_previous_until, updated_at, removed_at) on switchyard.triggers to switchyard_tenant;
grant update (task, payload, queue_name, key, priority, condition, updated_at, removed_at) on switchyard.bindings
    to switchyard_tenant;

-- What may be known of secrets: whether they are there.
alter table switchyard.triggers
    add column has_secret boolean not null generated always as (secret is not null) stored,
    add column has_secret_previous boolean not null generated always as (secret_previous is not null) stored,
    add column has_path boolean not null generated always as (path_sha256 is not null) stored,
    add column has_path_previous boolean not null generated always as (path_sha256_previous is not null) stored;
grant select (has_secret, has_secret_previous, has_path, has_path_previous) on switchyard.triggers to switchyard_tenant;
create index triggers_overlapping on switchyard.triggers (secret_previous_until) where secret_previous_until is not null;

-- Gives a trigger another secret, another path, or both, and lets the ones before stay good until p_until. A tenant sees
-- neither, so it cannot move them itself. False when there is no such trigger.
create function switchyard.rotate_own_secret(p_id uuid, p_secret bytea, p_path_sha256 bytea, p_until timestamptz)
returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    update switchyard.triggers t
    set secret_previous = case
            when p_secret is null then t.secret_previous when p_until is null then null else t.secret
        end,
        secret = coalesce(p_secret, t.secret),
        path_sha256_previous = case
            when p_path_sha256 is null then t.path_sha256_previous when p_until is null then null else t.path_sha256
        end,
        path_sha256 = coalesce(p_path_sha256, t.path_sha256),
        secret_previous_until = p_until,
        updated_at = now()
    where t.database_id = switchyard.own_tenant() and t.id = p_id and t.removed_at is null;
    return found;
end
$$;
revoke execute on function switchyard.rotate_own_secret from public;
grant execute on function switchyard.rotate_own_secret to switchyard_tenant;

-- Puts on record what somebody did to a trigger or what is bound to it. Written with the deed, so that there is none without it.
create function switchyard.note_own_trigger_deed(p_trigger_id uuid, p_deed text, p_by text, p_data jsonb) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (
        select from switchyard.triggers where database_id = switchyard.own_tenant() and id = p_trigger_id
    ) then
        raise exception 'there is no such trigger' using errcode = 'no_data_found';
    end if;
    insert into switchyard.audit (database_id, by_whom, deed, data)
    values (
        switchyard.own_tenant(), left(p_by, 200), p_deed,
        p_data || jsonb_build_object('trigger', 'trg_' || replace(p_trigger_id::text, '-', ''))
    );
end
$$;
revoke execute on function switchyard.note_own_trigger_deed from public;
grant execute on function switchyard.note_own_trigger_deed to switchyard_tenant;

-- Forgets secrets before the present ones whose time is over; returns of how many triggers.
create function switchyard.drop_old_secrets(p_limit integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_dropped integer;
begin
    update switchyard.triggers t
    set secret_previous = null, path_sha256_previous = null, secret_previous_until = null, updated_at = now()
    from (
        select database_id, id from switchyard.triggers
        where secret_previous_until <= now()
        order by secret_previous_until
        limit p_limit
        for update skip locked
    ) old
    where t.database_id = old.database_id and t.id = old.id;
    get diagnostics v_dropped = row_count;
    return v_dropped;
end
$$;
revoke execute on function switchyard.drop_old_secrets from public;
grant execute on function switchyard.drop_old_secrets to switchyard_system;

reset role;
