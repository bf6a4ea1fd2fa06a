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

reset role;
