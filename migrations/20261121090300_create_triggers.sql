-- Why something starts, and what is joined to it.
set local role switchyard_owner;

create table switchyard.triggers (
    id uuid not null,
    database_id uuid not null references switchyard.tenants,
    name text not null check (length(name) between 1 and 63),
    kind text not null check (kind in ('git', 'manual')),
    -- The kind's filter.
    config jsonb not null default '{}' check (jsonb_typeof(config) = 'object'),
    -- Sealed under the tenant's key, bound to this row: the secret that senders sign with, and the one before it, which
    -- is still good for a while after a change.
    secret bytea,
    secret_previous bytea,
    enabled boolean not null default true,
    created_at timestamptz not null default now(),
    primary key (database_id, id),
    unique (database_id, name)
);
-- A webhook's URL names a trigger by id alone.
create unique index triggers_by_id on switchyard.triggers (id);
call switchyard.protect('switchyard.triggers');

create table switchyard.bindings (
    id uuid not null,
    database_id uuid not null,
    trigger_id uuid not null,
    workload_id uuid not null,
    -- Overrides of the trigger's filter, merged at the top level; the binding wins.
    filter jsonb not null default '{}' check (jsonb_typeof(filter) = 'object' and length(filter::text) <= 8192),
    -- Overrides of the workload's config, merged the same way.
    overrides jsonb not null default '{}' check (jsonb_typeof(overrides) = 'object' and length(overrides::text) <= 8192),
    enabled boolean not null default true,
    -- Bindings of one trigger are looked at in this order.
    position integer not null default 0,
    created_at timestamptz not null default now(),
    primary key (database_id, id),
    foreign key (database_id, trigger_id) references switchyard.triggers,
    foreign key (database_id, workload_id) references switchyard.workloads
);
call switchyard.protect('switchyard.bindings');
create index bindings_of_trigger on switchyard.bindings (database_id, trigger_id, position, id);
create index bindings_of_workload on switchyard.bindings (database_id, workload_id);

grant select on switchyard.triggers, switchyard.bindings to switchyard_system;
-- A tenant writes secrets and never reads them.
grant select (id, database_id, name, kind, config, enabled, created_at) on switchyard.triggers
    to switchyard_tenant, switchyard_observer;
grant insert, update (name, config, secret, secret_previous, enabled) on switchyard.triggers to switchyard_tenant;
grant select on switchyard.bindings to switchyard_tenant, switchyard_observer;
grant insert, update (filter, overrides, enabled, position) on switchyard.bindings to switchyard_tenant;

reset role;
