-- The job queue's tables. Live jobs are few and hot; finished ones move to an archive in day partitions.
set local role switchyard_owner;

create type switchyard.job_state as enum (
    'queued',     -- ready, or due later
    'running',    -- held by a worker under a lease
    'waiting',    -- for a runner, a callback or an approval
    'cancelling', -- asked to stop, not yet known to have stopped
    'succeeded',  -- final: did what it was for
    'dead',       -- final: not tried again by itself
    'cancelled',  -- final: stopped because somebody asked
    'superseded'  -- final: a newer job with its key made it needless
);

create type switchyard.waiting as enum (
    'runner',   -- work outside, stopped by its handle
    'callback', -- work outside that calls back
    'approval'  -- a person's yes or no
);

create type switchyard.key_mode as enum (
    'replace',  -- the newer job stays, the queued one becomes superseded
    'preserve', -- the queued one stays and takes the newer payload
    'ignore'    -- the queued one stays as it is
);

create type switchyard.history as enum ('full', 'failures', 'none');

-- The order in which events were accepted, which is what "newest" means for keys.
create sequence switchyard.accepted as bigint;
grant usage on sequence switchyard.accepted to switchyard_system;

-- Kinds of work. Belongs to the installation, not to a tenant.
create table switchyard.tasks (
    name text primary key check (length(name) between 1 and 126),
    attempts_max integer not null default 5 check (attempts_max > 0),
    -- Beyond this no heartbeat renews a lease.
    attempt_time_max interval not null default '2 minutes' check (attempt_time_max > '0'),
    -- The longest wait before a retry.
    backoff_max interval not null default '10 minutes' check (backoff_max >= '0'),
    -- Which finished jobs are kept.
    history switchyard.history not null default 'full',
    -- Whether what its jobs do is told on `observed`.
    announced boolean not null default true
);
grant select on switchyard.tasks to switchyard_system, switchyard_tenant, switchyard_observer;

-- A tenant's place in the order of claims: who has the smallest pass is next. It is raised by 1/weight for each job
-- claimed, whatever lane the job was in, so that a thousand lanes buy a tenant nothing.
create table switchyard.shares (
    database_id uuid primary key references switchyard.tenants,
    pass double precision not null default 0,
    weight double precision not null default 1 check (weight > 0),
    -- Had no work when a claim last looked. It is next when it has, and is then lifted to where the others are.
    resting boolean not null default true
) with (fillfactor = 50);
call switchyard.protect('switchyard.shares');
create index shares_next on switchyard.shares (pass, database_id);

-- What a claim chooses between and caps are kept on: one (tenant, task), or one named queue of a tenant.
create table switchyard.lanes (
    id bigint generated always as identity primary key,
    database_id uuid not null references switchyard.tenants,
    -- Whose workers look here. For a named queue the task of the job at its head; corrected when a claim finds another.
    task text not null,
    queue_name text check (length(queue_name) between 1 and 126),
    pass double precision not null default 0,
    -- Jobs that run, are being cancelled or wait outside. In a named queue also one that waits for its retry or an approval.
    in_flight integer not null default 0 check (in_flight >= 0),
    -- How many of those there may be; a named queue has 1.
    cap integer check (cap > 0),
    -- In a named queue: the job that comes next whatever else is queued, because it was begun.
    holder bigint,
    -- Whether a job may be ready here. Set by enqueue, cleared by a claim that finds nothing; a plain enqueue into a lane
    -- that is active does not touch it.
    active boolean not null default false,
    is_full boolean not null generated always as (coalesce(in_flight >= cap, false)) stored
) with (fillfactor = 50);
call switchyard.protect('switchyard.lanes');
create unique index lanes_of_task on switchyard.lanes (database_id, task) where queue_name is null;
create unique index lanes_of_queue on switchyard.lanes (database_id, queue_name) where queue_name is not null;
create index lanes_to_claim on switchyard.lanes (database_id, task, pass, id) where active and not is_full;
grant select on switchyard.lanes to switchyard_system, switchyard_tenant, switchyard_observer;

create table switchyard.jobs (
    -- Never reused.
    id bigint generated always as identity primary key,
    database_id uuid not null references switchyard.tenants,
    lane_id bigint not null,
    task text not null check (length(task) between 1 and 126),
    queue_name text,
    key text check (length(key) between 1 and 512),
    -- When the event that made it was accepted, or, for a job of no event, when it was made.
    seq bigint not null,
    state switchyard.job_state not null default 'queued'
        check (state in ('queued', 'running', 'waiting', 'cancelling')),
    -- A queued job is ready (true) or waits for run_at (false). A ready one is claimed, never looked at by the clock again.
    due boolean not null,
    -- Smaller comes first, within its lane.
    priority integer not null default 0,
    run_at timestamptz not null,
    -- Tries that count. Raised by a claim, given back by a release or a snooze; never a fence.
    attempts integer not null default 0 check (attempts >= 0),
    attempts_max integer not null check (attempts_max > 0),
    -- The fencing token: raised by every claim, lowered by nothing.
    epoch bigint not null default 0,
    payload jsonb not null,
    -- Who holds it: random per process, never a name that comes back.
    worker uuid,
    -- End of the lease; for a waiting job its deadline.
    lease_until timestamptz,
    -- End of this attempt, beyond which the lease is not renewed.
    attempt_until timestamptz,
    started_at timestamptz,
    waiting switchyard.waiting,
    -- By which work outside can be stopped; recorded before that work is started.
    runner jsonb,
    cancel_requested_at timestamptz,
    cancel_requested_by text,
    last_error text,
    -- What it is about and what led here.
    event_id uuid,
    binding_id uuid,
    workload_id uuid,
    replay_of bigint,
    correlation_id text,
    causation_id text,
    depth integer not null default 0,
    traceparent text,
    actor text,
    created_at timestamptz not null default now(),
    constraint held_while_worked_on check ((state in ('running', 'cancelling', 'waiting')) = (lease_until is not null)),
    constraint worker_while_running check (state <> 'running' or worker is not null),
    constraint waits_for_something check (state <> 'waiting' or waiting is not null),
    constraint cancel_was_asked check (state <> 'cancelling' or cancel_requested_at is not null),
    constraint due_only_when_queued check (state = 'queued' or not due)
) with (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0.05
);
call switchyard.protect('switchyard.jobs');
-- What a claim reads.
create index jobs_ready on switchyard.jobs (lane_id, priority, run_at, id) where state = 'queued' and due;
-- What becomes ready when.
create index jobs_later on switchyard.jobs (run_at) where state = 'queued' and not due;
-- Whose time runs out when.
create index jobs_leased on switchyard.jobs (lease_until) where state <> 'queued';
-- At most one job of a key is pending, and at most one is being worked on.
create unique index jobs_key_pending on switchyard.jobs (database_id, key) where key is not null and state = 'queued';
create unique index jobs_key_working on switchyard.jobs (database_id, key) where key is not null and state <> 'queued';
create index jobs_of_workload on switchyard.jobs (database_id, workload_id, id) where workload_id is not null;
create index jobs_newest on switchyard.jobs (database_id, id);
grant select on switchyard.jobs to switchyard_system, switchyard_tenant, switchyard_observer;

-- A key remembers the newest sequence it has seen, so that a late event's job is superseded also when the newer one has
-- finished.
create table switchyard.job_keys (
    database_id uuid not null,
    key text not null,
    high_water bigint not null,
    primary key (database_id, key)
) with (fillfactor = 70);
call switchyard.protect('switchyard.job_keys');

-- Finished jobs, by the day they finished. Retention drops partitions.
create table switchyard.jobs_archive (
    id bigint not null,
    database_id uuid not null,
    task text not null,
    queue_name text,
    key text,
    seq bigint not null,
    state switchyard.job_state not null check (state in ('succeeded', 'dead', 'cancelled', 'superseded')),
    priority integer not null,
    run_at timestamptz not null,
    attempts integer not null,
    attempts_max integer not null,
    epoch bigint not null,
    payload jsonb not null,
    started_at timestamptz,
    cancel_requested_at timestamptz,
    cancel_requested_by text,
    -- Why, unless it simply succeeded.
    reason text,
    result jsonb,
    event_id uuid,
    binding_id uuid,
    workload_id uuid,
    replay_of bigint,
    correlation_id text,
    causation_id text,
    depth integer not null,
    traceparent text,
    actor text,
    created_at timestamptz not null,
    finished_at timestamptz not null default now(),
    primary key (database_id, id, finished_at)
) partition by range (finished_at);
call switchyard.protect('switchyard.jobs_archive');
create index jobs_archive_of_workload on switchyard.jobs_archive (database_id, workload_id, id) where workload_id is not null;
create table switchyard.jobs_archive_default partition of switchyard.jobs_archive default;
grant select on switchyard.jobs_archive to switchyard_system, switchyard_tenant, switchyard_observer;

-- What happened to a job besides the plain way (made, claimed, succeeded), which its row tells by itself.
create table switchyard.job_events (
    id bigint generated always as identity,
    database_id uuid not null,
    job_id bigint not null,
    epoch bigint not null,
    at timestamptz not null default clock_timestamp(),
    -- retry_planned, lease_over, cancel_requested, cancelled, cancel_too_late, waits, approved, rejected, snoozed,
    -- released, superseded, by_hand, stale_write
    kind text not null check (kind ~ '^[a-z_]{1,40}$'),
    data jsonb not null default '{}',
    primary key (database_id, job_id, id, at)
) partition by range (at);
call switchyard.protect('switchyard.job_events');
create table switchyard.job_events_default partition of switchyard.job_events default;
grant select on switchyard.job_events to switchyard_system, switchyard_tenant, switchyard_observer;

-- Lines, numbered from 1 without gaps by their writer within (job, epoch): a repeat is dropped, a reader sees what is missing.
create table switchyard.job_logs (
    database_id uuid not null,
    job_id bigint not null,
    epoch bigint not null,
    seq bigint not null check (seq > 0),
    at timestamptz not null default clock_timestamp(),
    stream text not null check (stream in ('task', 'stdout', 'stderr')),
    -- The writer cuts at 16 KiB; the marker may come on top.
    line text not null check (octet_length(line) <= 17000),
    primary key (database_id, job_id, epoch, seq, at)
) partition by range (at);
call switchyard.protect('switchyard.job_logs');
create table switchyard.job_logs_default partition of switchyard.job_logs default;
grant select on switchyard.job_logs to switchyard_system, switchyard_tenant, switchyard_observer;

-- Makes the day partitions from today on. Run by `migrate`, by each start and by `cron-reap`; a day that was missed goes
-- to the default partition, so that a finish never fails for lack of one.
create function switchyard.make_partitions(p_days integer default 7) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '1s' set timezone = 'UTC'
as $$
declare
    v_parent text;
    v_column text;
    v_day date;
    v_name text;
    v_made integer := 0;
    v_taken boolean;
begin
    if not pg_try_advisory_xact_lock(hashtextextended('switchyard.make_partitions', 0)) then
        return 0;
    end if;
    for v_parent, v_column in
        values ('jobs_archive', 'finished_at'), ('job_events', 'at'), ('job_logs', 'at')
    loop
        for v_day in select current_date + n from generate_series(0, p_days) n loop
            v_name := v_parent || '_' || to_char(v_day, 'YYYYMMDD');
            continue when to_regclass('switchyard.' || v_name) is not null;
            -- A day whose rows are in the default partition already stays there.
            execute format(
                'select exists (select from switchyard.%I where %I >= %L and %I < %L)',
                v_parent || '_default', v_column, v_day, v_column, v_day + 1
            ) into v_taken;
            continue when v_taken;
            execute format(
                'create table switchyard.%I partition of switchyard.%I for values from (%L) to (%L)',
                v_name, v_parent, v_day, v_day + 1
            );
            v_made := v_made + 1;
        end loop;
    end loop;
    return v_made;
end
$$;
revoke execute on function switchyard.make_partitions from public;
grant execute on function switchyard.make_partitions to switchyard_system;
select switchyard.make_partitions();

reset role;
