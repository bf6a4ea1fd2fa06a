-- Things that tasks deploy, and each state in which they were deployed.
set local role switchyard_owner;

create table switchyard.workloads (
    id uuid not null,
    database_id uuid not null references switchyard.tenants,
    -- For people.
    name text not null check (length(name) between 1 and 63),
    -- The kind of source; decides the task.
    source text not null check (source in ('static')),
    -- The source's config, valid for its kind.
    config jsonb not null check (jsonb_typeof(config) = 'object'),
    -- First label of the host name it is served under. Unique over all tenants: they share one domain.
    host text not null unique check (host ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
    -- The revision that is served. Switched only by a finishing job under its epoch.
    live_revision uuid,
    created_at timestamptz not null default now(),
    primary key (database_id, id),
    unique (database_id, name)
);
call switchyard.protect('switchyard.workloads');

create table switchyard.revisions (
    id uuid not null default gen_random_uuid(),
    database_id uuid not null,
    workload_id uuid not null,
    -- Counts the workload's revisions from 1, for people.
    number integer not null check (number > 0),
    -- What the event named and what was found when the job started: vendors do not deliver in order.
    asked_commit text,
    commit text not null,
    -- Where the files are in the blob store; immutable.
    prefix text not null,
    -- SHA-256 over the files' paths and bytes: an unchanged tree is recognised by it.
    content_hash text not null,
    files integer not null check (files >= 0),
    bytes bigint not null check (bytes >= 0),
    -- What was left out or changed on the way, for people.
    warnings jsonb not null default '[]',
    -- The job that deployed it, and the revision that was live before.
    job_id bigint not null,
    previous uuid,
    created_at timestamptz not null default now(),
    primary key (database_id, id),
    unique (database_id, workload_id, number),
    foreign key (database_id, workload_id) references switchyard.workloads
);
call switchyard.protect('switchyard.revisions');
create index revisions_newest on switchyard.revisions (database_id, workload_id, number desc);

alter table switchyard.workloads
    add foreign key (database_id, live_revision) references switchyard.revisions (database_id, id);

grant select on switchyard.workloads, switchyard.revisions
    to switchyard_system, switchyard_tenant, switchyard_observer;
grant insert on switchyard.workloads to switchyard_tenant;
grant update (name, config, host) on switchyard.workloads to switchyard_tenant;

reset role;
