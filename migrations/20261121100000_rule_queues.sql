-- What the queue is ruled by: caps, rates and pauses; and lanes that a claim does not have to write.
set local role switchyard_owner;

-- Who runs a task's jobs.
create type switchyard.executor as enum (
    'builtin',  -- a function of ours that claims for itself
    'knative',  -- a Knative Service of somebody's, called by `task-http`
    'openfaas', -- a function behind an OpenFaaS gateway, called by `task-http`
    'http'      -- any URL, called by `task-http`
);

-- What tells that a call of somebody's function is done.
create type switchyard.completes_by as enum (
    'response', -- the answer to the call; 202 announces a callback
    'callback'  -- the callback alone; an answer of 2xx acknowledges the call
);

alter table switchyard.tasks
    -- Null: nobody of ours; only a worker that claims through the schema of another system takes its jobs.
    add column executor switchyard.executor,
    -- Where it is called; null for the executor's usual place.
    add column url text check (length(url) between 1 and 2048),
    -- The namespace of a Knative Service; null for the installation's.
    add column namespace text check (namespace ~ '^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$'),
    add column completes_by switchyard.completes_by not null default 'response',
    -- How long a call that was acknowledged may stay silent before it counts as lost. Progress renews it.
    add column callback_deadline interval not null default '60 seconds' check (callback_deadline > '0'),
    -- How the wait before a retry grows: exponential with full jitter, or as upstream does, exp(least(attempts, 10)) s.
    add column backoff text not null default 'exponential' check (backoff in ('exponential', 'upstream'));
update switchyard.tasks set executor = 'builtin';

-- Lanes keep still: a claim of a lane without cap writes nothing to it, at most once a second it turns it. So one busy lane
-- can be claimed by many at once, and while an old snapshot keeps dead rows alive there are few of them to walk over.
alter table switchyard.lanes
    -- Nobody claims here while one of its pauses lasts.
    add column paused boolean not null default false,
    -- When it was last turned or, a lane with a cap, claimed from. Who has waited longest comes first.
    add column served_at timestamptz not null default '-infinity',
    -- When its fronts were last looked at.
    add column turned_at timestamptz not null default '-infinity',
    -- The priorities that ready jobs here may have, and for each where they begin: before that run_at there is none. Null
    -- when there are too many to remember; then a claim looks from the beginning.
    add column priorities integer[] default '{}',
    add column fronts timestamptz[] default '{}',
    -- Where the fronts go at the next turn, unless a job is added before it.
    add column next_front timestamptz not null default '-infinity',
    -- Which of two locks those who add jobs share. A turn changes it, to learn when all who came before are through.
    add column gate boolean not null default false;
drop index switchyard.lanes_to_claim;
create index lanes_to_claim on switchyard.lanes (task, database_id, served_at, id)
    where active and not is_full and not paused;
create index lanes_active on switchyard.lanes (id) where active;

-- Only lanes with a cap count what is in flight.
update switchyard.lanes set in_flight = 0 where cap is null;


alter table switchyard.jobs
    -- By which name a worker holds it that has no identity of its own: upstream's `locked_by`.
    add column worker_name text,
    -- How far it is, as its worker tells: {"done": n, "of": n, "message": "..."}; every part may be missing.
    add column progress jsonb,
    -- When the first of the jobs was added that this one took the place of, while it was put off again and again.
    add column put_off_since timestamptz;
alter table switchyard.jobs_archive
    add column put_off_since timestamptz,
    add column progress jsonb;

-- What is held is found by its lease: it is little, and each further index would be paid by each claim.
drop index switchyard.jobs_newest;
create index jobs_queued_newest on switchyard.jobs (database_id, id) where state = 'queued';

-- Caps and rates that reach over lanes: of a tenant (task null), of a task (database_id null), of a tenant's task. A claim
-- locks those that concern it in the order of their ids, before any lane.
create table switchyard.limits (
    id bigint generated always as identity primary key,
    database_id uuid references switchyard.tenants,
    task text check (length(task) between 1 and 126),
    -- How many jobs may be in flight, and how many are; counted only while there is a cap.
    in_flight_max integer check (in_flight_max > 0),
    in_flight integer not null default 0 check (in_flight >= 0),
    -- A bucket of tokens, one for each job that starts: so many come each second, up to so many.
    rate double precision check (rate > 0),
    burst integer check (burst > 0),
    tokens double precision,
    refilled_at timestamptz,
    set_by text,
    set_at timestamptz not null default now(),
    constraint concerns_something check (database_id is not null or task is not null),
    constraint bucket_is_whole check (
        (rate is null) = (burst is null) and (rate is null) = (tokens is null) and (rate is null) = (refilled_at is null)
    ),
    constraint limits_something check (in_flight_max is not null or rate is not null)
) with (fillfactor = 50);
create unique index limits_of_tenant on switchyard.limits (database_id) where task is null;
create unique index limits_of_task on switchyard.limits (task) where database_id is null;
create unique index limits_of_tenant_task on switchyard.limits (database_id, task)
    where database_id is not null and task is not null;
call switchyard.protect('switchyard.limits');
grant select on switchyard.limits to switchyard_system, switchyard_tenant, switchyard_observer;

create type switchyard.pause_kind as enum (
    'pause', -- nothing starts; jobs are added and wait
    'drain'  -- what is queued is worked off; nothing is added
);

-- What does not start, or is not added, and who wanted that. Of a task for all tenants (database_id null), a tenant, a
-- tenant's task, or a named queue of a tenant.
create table switchyard.pauses (
    id bigint generated always as identity primary key,
    kind switchyard.pause_kind not null,
    database_id uuid references switchyard.tenants,
    task text check (length(task) between 1 and 126),
    queue_name text check (length(queue_name) between 1 and 126),
    by_whom text not null check (length(by_whom) between 1 and 200),
    why text check (length(why) <= 2000),
    at timestamptz not null default now(),
    constraint pauses_something check (
        case
            when database_id is null then task is not null and queue_name is null
            else task is null or queue_name is null
        end
    )
);
create unique index pauses_once on switchyard.pauses (
    coalesce(database_id, '00000000-0000-0000-0000-000000000000'), coalesce(task, ''), coalesce(queue_name, ''), kind
);
call switchyard.protect('switchyard.pauses');
grant select on switchyard.pauses to switchyard_system, switchyard_tenant, switchyard_observer;

-- One row may carry many events of one kind: what a batch of jobs became. The relay sends them one by one.
alter table switchyard.outbox
    -- An array of {"id", "type", "subject", "extensions", "data"}; then the row's own of these are not sent.
    add column batch jsonb;

reset role;
