-- Upstream's tables and functions over ours, so that its published worker, scheduler and callback server, and SQL that was
-- written for them, work on this database. `switchyard.install_jobs_schema` makes a schema of views and thin functions with
-- upstream's names; what they do is here. This path is weaker than ours: a job is fenced by the name of who holds it, which
-- may come back, and its lease is `job_expiry`, which nothing renews. `docs/upstream-jobs.md` tells what its callers notice.
set local role switchyard_owner;

-- What is held by name, and since when.
create index jobs_named on switchyard.jobs (started_at) where worker_name is not null;
-- Upstream names a dead job by its id alone.
create index jobs_archive_dead_by_id on switchyard.jobs_archive (id) where state = 'dead' and replayed_as is null;

-- The jobs that are not over, in upstream's words.
create view switchyard.upstream_live as
select
    j.id,
    j.database_id,
    j.queue_name,
    j.task as task_identifier,
    j.payload::json as payload,
    j.priority,
    j.run_at,
    j.attempts,
    j.attempts_max as max_attempts,
    j.key,
    j.last_error,
    case when j.state <> 'queued' then j.started_at end as locked_at,
    -- One that waits for a person is held by nobody in particular.
    case when j.state <> 'queued' then coalesce(j.worker_name, j.worker::text, 'switchyard') end as locked_by,
    j.created_at,
    greatest(j.created_at, j.started_at, j.cancel_requested_at) as updated_at
from switchyard.jobs j;

-- Those, and the dead that nobody has replayed. Upstream knows a dead job by its attempts, which are all used.
create view switchyard.upstream_jobs as
select * from switchyard.upstream_live
union all
select
    a.id, a.database_id, a.queue_name, a.task, a.payload::json, a.priority, a.run_at,
    greatest(a.attempts, a.attempts_max), a.attempts_max, a.key, a.reason, null, null, a.created_at, a.finished_at
from switchyard.jobs_archive a
where a.state = 'dead' and a.replayed_as is null;

-- Named queues that have live jobs, and who holds them. Upstream has one queue of a name, here each tenant has its own:
-- hence one column more, the last.
create view switchyard.upstream_queues as
select
    j.queue_name,
    count(*)::integer as job_count,
    max(j.started_at) filter (where j.state <> 'queued') as locked_at,
    max(coalesce(j.worker_name, j.worker::text, 'switchyard')) filter (where j.state <> 'queued') as locked_by,
    j.database_id
from switchyard.jobs j
where j.queue_name is not null
group by j.database_id, j.queue_name;

-- The tenant of who writes a row that enqueues. Upstream's own function is asked first; it reads a setting of the request,
-- which is enough where that function is not there.
create function switchyard.upstream_tenant() returns uuid
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_function regprocedure := to_regprocedure('jwt_private.current_database_id()');
    v_tenant uuid;
    v_callable boolean := false;
begin
    if v_function is not null then
        v_callable := has_schema_privilege('jwt_private', 'usage') and has_function_privilege(v_function, 'execute');
        if v_callable then
            execute 'select jwt_private.current_database_id()' into v_tenant;
        end if;
    end if;
    v_tenant := coalesce(
        v_tenant, nullif(current_setting('jwt.claims.database_id', true), '')::uuid, switchyard.current_tenant()
    );
    if v_tenant is null then
        raise exception 'no tenant is known for the job that this row adds' using
            errcode = 'insufficient_privilege',
            hint = case
                when v_function is not null and not v_callable
                    then 'Grant switchyard_owner usage on schema jwt_private and execute on its function '
                        'current_database_id, or set jwt.claims.database_id in the transaction.'
                else 'Set jwt.claims.database_id in the transaction: '
                    'select set_config(''jwt.claims.database_id'', ''<tenant>'', true).'
            end;
    end if;
    return v_tenant;
end
$$;

-- Upstream's workers do not arm anything, so who adds a job for them tells them each time. Calls of our own do not pay for
-- that: their jobs are found by the workers' poll.
create function switchyard.upstream_notify(p_channel text) returns void
language sql volatile set search_path = pg_catalog, pg_temp
begin atomic
    select pg_notify(p_channel, '');
end;

-- Upstream has no table of tenants: who is named for the first time becomes one.
create function switchyard.upstream_ensure_tenant(p_database_id uuid) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if p_database_id is null then
        raise exception 'a job needs a database_id' using errcode = 'not_null_violation';
    end if;
    if not exists (select from switchyard.tenants where database_id = p_database_id) then
        insert into switchyard.tenants (database_id, name) values (p_database_id, p_database_id::text)
        on conflict do nothing;
    end if;
end
$$;

-- `add_job`: the key is the tenant's own. One that is queued with it gives way to this one; one that is worked on stays, and
-- this one waits behind it with the key.
create function switchyard.upstream_add_job(
    p_database_id uuid, p_task text, p_payload json, p_key text, p_queue_name text, p_run_at timestamptz,
    p_attempts_max integer, p_priority integer
) returns switchyard.upstream_jobs
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_id bigint;
    v_row switchyard.upstream_jobs;
begin
    perform switchyard.upstream_ensure_tenant(p_database_id);
    if p_task is null then
        raise exception 'a job needs a task_identifier' using errcode = 'not_null_violation';
    end if;
    select a.job_id into v_id
    from switchyard.add_job(
        p_database_id, p_task, coalesce(p_payload, '{}')::jsonb,
        -- An empty name is no queue.
        p_queue_name => nullif(p_queue_name, ''),
        p_key => p_key,
        p_priority => coalesce(p_priority, 0),
        p_run_at => coalesce(p_run_at, now()),
        p_attempts_max => coalesce(p_attempts_max, 25),
        p_actor => session_user
    ) a;
    perform switchyard.upstream_notify('jobs:insert');
    select * into v_row from switchyard.upstream_live where id = v_id;
    return v_row;
end
$$;

-- The job that a worker holds by this name, locked; null when it does not. What it answered too late, or what another
-- holds, changes nothing.
create function switchyard.upstream_held(p_worker_name text, p_id bigint) returns switchyard.jobs
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_job switchyard.jobs;
begin
    select * into v_job from switchyard.jobs
    where id = p_id and worker_name = p_worker_name and state in ('running', 'cancelling')
    for update;
    return v_job;
end
$$;

-- `complete_job`: running | cancelling → succeeded. Answers with the row as it was; null when the worker does not hold it.
create function switchyard.upstream_complete_job(p_worker_name text, p_id bigint) returns switchyard.upstream_jobs
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_job switchyard.jobs := switchyard.upstream_held(p_worker_name, p_id);
    v_row switchyard.upstream_jobs;
begin
    if v_job.id is null then
        return null;
    end if;
    select * into v_row from switchyard.upstream_live where id = p_id;
    perform switchyard.finish_jobs(
        array[v_job.id], array[v_job.epoch], array['succeeded'::switchyard.job_state], array[null::text], array[null::jsonb]
    );
    return v_row;
end
$$;

-- How long a job that failed here rests: upstream's formula, unless the task has a row that says otherwise.
create function switchyard.upstream_backoff(p_task text, p_attempts integer) returns interval
language sql volatile set search_path = pg_catalog, pg_temp
begin atomic
    select case
        when exists (select from switchyard.tasks where name = p_task and backoff <> 'upstream')
            then switchyard.backoff(p_task, p_attempts)
        else exp(least(p_attempts, 10)) * interval '1 second'
    end;
end;

-- `fail_job`: running → queued | dead (attempts used up) | superseded; cancelling → cancelled. A queue goes on meanwhile, as
-- upstream's does. A missing message is no reason to leave the job held.
create function switchyard.upstream_fail_job(p_worker_name text, p_id bigint, p_error text)
returns switchyard.upstream_jobs
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_job switchyard.jobs;
    v_error text := coalesce(p_error, 'UNKNOWN_ERROR');
    v_row switchyard.upstream_jobs;
    v_run_at timestamptz;
begin
    perform switchyard.lock_keys(array[p_id]);
    v_job := switchyard.upstream_held(p_worker_name, p_id);
    if v_job.id is null then
        return null;
    end if;
    select * into v_row from switchyard.upstream_live where id = p_id;
    v_row.last_error := v_error;
    v_row.locked_at := null;
    v_row.locked_by := null;
    if v_job.state = 'running' and v_job.attempts >= v_job.attempts_max then
        perform switchyard.end_job(v_job, 'dead', v_error, null);
        return v_row;
    end if;
    v_run_at := greatest(clock_timestamp(), v_job.run_at) + switchyard.upstream_backoff(v_job.task, v_job.attempts);
    if switchyard.requeue_job(v_job, v_run_at, v_job.attempts, v_error, false) = 'queued' then
        perform switchyard.note_job(
            v_job, 'retry_planned',
            jsonb_build_object('error', v_error, 'run_at', v_run_at, 'attempt', v_job.attempts)
        );
        perform switchyard.announce_job('dev.switchyard.job.retrying.v1', v_job, 'queued', v_error);
        v_row.run_at := v_run_at;
    end if;
    return v_row;
end
$$;

-- `release_jobs`: what a worker of this name holds goes back at once, the attempt given back.
create function switchyard.upstream_release_jobs(p_worker_name text) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids bigint[];
    v_epochs bigint[];
begin
    select array_agg(id), array_agg(epoch) into v_ids, v_epochs
    from switchyard.jobs
    where worker_name = p_worker_name and state in ('running', 'cancelling');
    if v_ids is not null then
        perform switchyard.release_jobs(v_ids, v_epochs);
    end if;
    -- A worker calls this when it starts: a good moment to forget those that will not come back.
    delete from switchyard.upstream_turns where at < now() - interval '1 day';
end
$$;

-- Those of the named jobs that nobody holds: live (queued, or with a lease that is over) and dead ones, all locked. So that
-- two who work on several do not wait for each other, in the order of who adds a job or replays one: rules, the dead, keys,
-- jobs, lanes, limits.
create function switchyard.upstream_unheld(p_ids bigint[], out live switchyard.jobs[], out dead bigint[])
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_dead switchyard.jobs_archive[];
    v_queued bigint[];
    v_late bigint[];
begin
    perform switchyard.share_rules();
    select array_agg(a) into v_dead
    from (
        select * from switchyard.jobs_archive
        where id = any (p_ids) and state = 'dead' and replayed_as is null
        order by id
        for update
    ) a;
    perform from switchyard.job_keys k
    where (k.database_id, k.key) in (
        select database_id, key from switchyard.jobs where id = any (p_ids) and key is not null
        union
        select database_id, key from unnest(v_dead) where key is not null
    )
    order by k.database_id, k.key
    for update;
    -- With those that give way to a dead one that is replayed.
    select array_agg(id) filter (where state = 'queued' and id = any (p_ids)) into v_queued
    from (
        select j.id, j.state from switchyard.jobs j
        where j.state = 'queued' and j.id = any (p_ids)
           or (j.state = 'queued' or j.waiting = 'approval')
              and (j.database_id, j.key) in (select database_id, key from unnest(v_dead) where key is not null)
        order by j.id
        for update
    ) queued;
    -- Who has one of these in hand is putting it back himself.
    select array_agg(id) into v_late
    from (
        select id from switchyard.jobs
        where id = any (p_ids) and state in ('running', 'waiting') and lease_until < clock_timestamp()
          and waiting is distinct from 'approval'
        order by id
        for update skip locked
    ) late;
    perform from switchyard.lanes l
    where l.id in (select lane_id from switchyard.jobs where id = any (p_ids))
       or (l.database_id, l.queue_name) in (select database_id, queue_name from unnest(v_dead))
       or l.queue_name is null and (l.database_id, l.task) in (select database_id, task from unnest(v_dead))
    order by l.id
    for no key update;
    perform switchyard.lock_limits(v_late);
    live := array(select j from switchyard.jobs j where j.id = any (v_queued || v_late) order by j.id);
    dead := array(select id from unnest(v_dead) order by id);
end
$$;

-- A final state by hand, for a job that the caller has locked and nobody holds.
create function switchyard.upstream_settle(p_job switchyard.jobs, p_state switchyard.job_state, p_reason text) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    perform switchyard.note_job(p_job, 'by_hand', jsonb_build_object('by', session_user, 'state', p_state));
    if p_job.state = 'queued' then
        perform switchyard.end_queued_job(p_job, p_state, p_reason);
    else
        perform switchyard.end_job(p_job, p_state, p_reason, null);
    end if;
end
$$;

-- `complete_jobs`: what nobody holds counts as done. A dead one is purged, for that is how upstream forgets it.
create function switchyard.upstream_complete_jobs(p_ids bigint[]) returns setof switchyard.upstream_jobs
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_live switchyard.jobs[];
    v_dead bigint[];
    v_job switchyard.jobs;
    v_row switchyard.upstream_jobs;
begin
    select u.live, u.dead into v_live, v_dead from switchyard.upstream_unheld(p_ids) u;
    foreach v_job in array v_live loop
        select * into v_row from switchyard.upstream_live where id = v_job.id;
        perform switchyard.upstream_settle(v_job, 'succeeded', 'set by ' || session_user);
        return next v_row;
    end loop;
    for v_row in select * from switchyard.upstream_jobs where id = any (v_dead) order by id loop
        if switchyard.purge_job(v_row.database_id, v_row.id) then
            return next v_row;
        end if;
    end loop;
end
$$;

-- `permanently_fail_jobs`: what nobody holds is dead, and says why. A dead one says it anew.
create function switchyard.upstream_fail_jobs(p_ids bigint[], p_error text) returns setof switchyard.upstream_jobs
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_error text := coalesce(p_error, 'Manually marked as failed');
    v_live switchyard.jobs[];
    v_dead bigint[];
    v_job switchyard.jobs;
    v_row switchyard.upstream_jobs;
begin
    select u.live, u.dead into v_live, v_dead from switchyard.upstream_unheld(p_ids) u;
    foreach v_job in array v_live loop
        select * into v_row from switchyard.upstream_live where id = v_job.id;
        perform switchyard.upstream_settle(v_job, 'dead', v_error);
        v_row.last_error := v_error;
        v_row.attempts := greatest(v_row.attempts, v_row.max_attempts);
        v_row.locked_at := null;
        v_row.locked_by := null;
        return next v_row;
    end loop;
    update switchyard.jobs_archive set reason = v_error where id = any (v_dead) and state = 'dead';
    return query select * from switchyard.upstream_jobs where id = any (v_dead) order by id;
end
$$;

-- Gives a queued job, which the caller has locked, what somebody writes into its row. With all its attempts used it is dead.
create function switchyard.upstream_change(p_job switchyard.jobs, p_new switchyard.upstream_jobs) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_moved boolean := (p_new.task_identifier, p_new.queue_name) is distinct from (p_job.task, p_job.queue_name);
    v_lane bigint := p_job.lane_id;
    v_due boolean := p_new.run_at <= now();
begin
    if p_new.attempts < 0 or p_new.max_attempts < 1 then
        raise exception 'attempts begin at 0 and max_attempts at 1, not at % and %', p_new.attempts, p_new.max_attempts
            using errcode = 'check_violation';
    end if;
    if p_new.attempts >= p_new.max_attempts then
        p_job.attempts := p_new.attempts;
        p_job.attempts_max := p_new.max_attempts;
        perform switchyard.upstream_settle(p_job, 'dead', coalesce(p_new.last_error, 'Manually marked as failed'));
        return;
    end if;
    if p_new.key is distinct from p_job.key and p_new.key is not null then
        insert into switchyard.job_keys (database_id, key, high_water)
        values (p_job.database_id, p_new.key, p_job.seq)
        on conflict do nothing;
    end if;
    perform switchyard.share_rules();
    if v_moved then
        v_lane := switchyard.lane_of(p_job.database_id, p_new.task_identifier, p_new.queue_name);
        -- It may hold its queue from an earlier attempt.
        update switchyard.lanes set holder = null, in_flight = 0 where id = p_job.lane_id and holder = p_job.id;
    end if;
    update switchyard.jobs
    set lane_id = v_lane,
        task = p_new.task_identifier,
        queue_name = p_new.queue_name,
        payload = p_new.payload::jsonb,
        priority = p_new.priority,
        run_at = p_new.run_at,
        due = v_due,
        attempts = p_new.attempts,
        attempts_max = p_new.max_attempts,
        key = p_new.key,
        last_error = p_new.last_error
    where id = p_job.id and state = 'queued';
    -- While it is not ready it keeps the queue that it holds; ready, it is the next.
    update switchyard.lanes set in_flight = case when v_due then 0 else 1 end where id = v_lane and holder = p_job.id;
    if v_due then
        perform switchyard.activate_lane(v_lane, p_new.priority, p_new.run_at);
    end if;
    if p_job.queue_name is not null then
        perform switchyard.look_at_head(p_job.lane_id);
    end if;
    if v_moved and p_new.queue_name is not null then
        perform switchyard.look_at_head(v_lane);
    end if;
    perform switchyard.wake_relay('work');
end
$$;

-- A dead job again: a new one that names it. Null when it is not there, or somebody has replayed it.
create function switchyard.upstream_replay(p_id bigint) returns switchyard.jobs
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_database_id uuid;
    v_new bigint;
    v_job switchyard.jobs;
begin
    select database_id into v_database_id from switchyard.jobs_archive
    where id = p_id and state = 'dead' and replayed_as is null;
    if found then
        v_new := switchyard.replay_job(v_database_id, p_id, session_user);
        select * into v_job from switchyard.jobs where id = v_new for update;
    end if;
    return v_job;
end
$$;

-- `reschedule_jobs`: what nobody holds gets new values where one is given; a dead one is replayed with them, as a new row
-- with all its attempts unless some are said to be used.
create function switchyard.upstream_reschedule_jobs(
    p_ids bigint[], p_run_at timestamptz, p_priority integer, p_attempts integer, p_attempts_max integer
) returns setof switchyard.upstream_jobs
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_live switchyard.jobs[];
    v_dead bigint[];
    v_job switchyard.jobs;
    v_row switchyard.upstream_jobs;
    v_id bigint;
begin
    select u.live, u.dead into v_live, v_dead from switchyard.upstream_unheld(p_ids) u;
    foreach v_id in array v_dead loop
        v_job := switchyard.upstream_replay(v_id);
        if v_job.id is not null then
            v_live := v_live || v_job;
            perform switchyard.upstream_notify('jobs:insert');
        end if;
    end loop;
    foreach v_job in array v_live loop
        -- One of them may have given way to another that was replayed.
        continue when not exists (select from switchyard.jobs where id = v_job.id);
        if v_job.state <> 'queued' then
            -- Its lease is over: it steps back first. Where a newer one has its key, it does not come back.
            continue when switchyard.requeue_job(v_job, clock_timestamp(), v_job.attempts, null, false) <> 'queued';
            select * into v_job from switchyard.jobs where id = v_job.id;
        end if;
        select * into v_row from switchyard.upstream_live where id = v_job.id;
        v_row.run_at := coalesce(p_run_at, v_row.run_at);
        v_row.priority := coalesce(p_priority, v_row.priority);
        v_row.attempts := coalesce(p_attempts, v_row.attempts);
        v_row.max_attempts := coalesce(p_attempts_max, v_row.max_attempts);
        perform switchyard.upstream_change(v_job, v_row);
        return next v_row;
    end loop;
end
$$;

-- Whose turn it is when a worker of this name claims next: the tenant that it served last and how many jobs in a row that
-- got. Our own workers remember that themselves; upstream's remember nothing.
create table switchyard.upstream_turns (
    worker_name text primary key,
    served uuid not null,
    used integer not null,
    at timestamptz not null default clock_timestamp()
) with (fillfactor = 50);

-- Puts back what workers of this schema hold for longer than the one who now asks allows, or ends it where its attempts are
-- used up. At most so many. Whether there were any.
create function switchyard.upstream_expire(p_tasks text[], p_job_expiry interval, p_limit integer) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set enable_seqscan = off
as $$
declare
    v_ids bigint[];
    v_job switchyard.jobs;
begin
    v_ids := array(
        select id from switchyard.jobs
        where worker_name is not null and state in ('running', 'cancelling')
          and started_at < clock_timestamp() - p_job_expiry
          and task = any (p_tasks)
        order by id
        limit p_limit
    );
    if cardinality(v_ids) = 0 then
        return false;
    end if;
    v_ids := switchyard.lock_free_keys(v_ids);
    v_ids := array(
        select id from switchyard.jobs
        where id = any (v_ids) and state in ('running', 'cancelling')
          and started_at < clock_timestamp() - p_job_expiry
        order by id
        for update skip locked
    );
    if cardinality(v_ids) = 0 then
        return false;
    end if;
    perform switchyard.lock_places(v_ids);
    for v_job in select * from switchyard.jobs where id = any (v_ids) order by id loop
        perform switchyard.note_job(
            v_job, 'lease_over', jsonb_build_object('state', v_job.state, 'worker', v_job.worker_name)
        );
        if v_job.state = 'running' and v_job.attempts >= v_job.attempts_max then
            perform switchyard.end_job(
                v_job, 'dead',
                'its worker went away, ' || v_job.attempts || ' of ' || v_job.attempts_max || ' attempts used', null
            );
        else
            perform switchyard.requeue_job(v_job, clock_timestamp(), v_job.attempts, 'its worker went away', true);
        end if;
    end loop;
    return true;
end
$$;

-- `get_job`: the tenants in turn, by weight; within a tenant priority, run_at, id over all its tasks and queues. Caps,
-- rates and pauses hold as for every claim. Without names it takes no task that a function of ours executes.
create function switchyard.upstream_get_job(p_worker_name text, p_tasks text[], p_job_expiry interval)
returns switchyard.upstream_jobs
language plpgsql set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set enable_seqscan = off
as $$
declare
    c_first constant uuid := '00000000-0000-0000-0000-000000000000';
    c_last constant uuid := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
    -- Queues of a tenant and task that are compared by their heads: those that waited longest.
    c_queues_max constant integer := 256;
    -- Lanes of a tenant that may turn out to be busy before the next tenant is asked.
    c_lanes_max constant integer := 16;
    v_tasks text[] := p_tasks;
    v_expiry interval := coalesce(p_job_expiry, interval '4 hours');
    v_turn switchyard.upstream_turns;
    v_start uuid;
    v_at uuid;
    v_tenant uuid;
    v_end uuid := c_last;
    v_quantum double precision;
    v_lane record;
    v_job switchyard.jobs;
    v_row switchyard.upstream_jobs;
begin
    if p_worker_name is null then
        raise exception 'INVALID_WORKER_ID';
    elsif length(p_worker_name) not between 4 and 512 then
        raise exception 'a worker_id has 4 to 512 characters, not %', length(p_worker_name) using errcode = 'check_violation';
    end if;
    perform switchyard.share_rules();
    if v_tasks is null then
        with recursive known (task) as (
            (select task from switchyard.lanes order by task limit 1)
            union all
            select (select l.task from switchyard.lanes l where l.task > k.task order by l.task limit 1)
            from known k
            where k.task is not null
        )
        select array_agg(k.task) into v_tasks
        from known k
        where not exists (select from switchyard.tasks t where t.name = k.task and t.executor is not null);
    end if;
    -- What is paused for everybody is not even looked at.
    select coalesce(array_agg(k.task), '{}') into v_tasks
    from (select distinct task from unnest(v_tasks) as u (task) where task is not null) k
    where not exists (
        select from switchyard.pauses p where p.kind = 'pause' and p.database_id is null and p.task = k.task
    );
    if switchyard.upstream_expire(v_tasks, v_expiry, c_lanes_max) and exists (select from switchyard.limits) then
        -- Limits come last in the order of what is locked, and first in a claim's: so the claim is the next call's.
        perform switchyard.upstream_notify('jobs:insert');
        return null;
    end if;
    perform switchyard.make_due(c_lanes_max);

    select * into v_turn from switchyard.upstream_turns where worker_name = p_worker_name for update skip locked;
    v_start := coalesce(v_turn.served, gen_random_uuid());
    v_at := v_start;
    select greatest(round((weight / (select min(weight) from switchyard.shares))::numeric), 1) into v_quantum
    from switchyard.shares where database_id = v_turn.served;
    -- The one whose turn it is goes on until its part is used up.
    v_tenant := case when v_turn.used < v_quantum then v_turn.served end;

    <<tenants>>
    loop
        if v_tenant is null then
            select l.database_id into v_tenant
            from unnest(v_tasks) as k (task)
            cross join lateral (
                select o.database_id from switchyard.lanes o
                where o.task = k.task and o.database_id > v_at and o.active and not o.is_full and not o.paused
                order by o.database_id
                limit 1
            ) l
            order by l.database_id
            limit 1;
            if v_tenant is null or v_tenant > v_end then
                -- Once round, and as far as where it began.
                exit tenants when v_end < c_last;
                v_end := v_start;
                v_at := c_first;
                v_tenant := null;
                continue tenants;
            end if;
        end if;
        for v_lane in
            select o.id, o.task, h.job
            from (
                select l.id, l.task, l as lane
                from unnest(v_tasks) as k (task)
                join switchyard.lanes l on l.database_id = v_tenant and l.task = k.task and l.queue_name is null
                where l.active and not l.is_full and not l.paused
                  and (p_tasks is not null or switchyard.executor_of(v_tenant, k.task) is null)
                union all
                select q.id, q.task, q.lane
                from unnest(v_tasks) as k (task)
                cross join lateral (
                    select l.id, l.task, l as lane from switchyard.lanes l
                    where l.task = k.task and l.database_id = v_tenant
                      and l.active and not l.is_full and not l.paused and l.queue_name is not null
                    order by l.served_at, l.id
                    limit c_queues_max
                ) q
                where p_tasks is not null or switchyard.executor_of(v_tenant, k.task) is null
            ) o
            cross join lateral (select switchyard.head_job(o.lane) as job) h
            left join switchyard.jobs j on j.id = h.job
            order by j.priority, j.run_at, j.id
            limit c_lanes_max
        loop
            if v_lane.job is null then
                perform switchyard.rest_idle_lane(v_lane.id);
                continue;
            end if;
            select * into v_job
            from switchyard.claim_jobs(gen_random_uuid(), v_tasks, 1, v_expiry, null, 0, v_lane.id);
            exit tenants when v_job.id is not null;
        end loop;
        v_at := v_tenant;
        v_tenant := null;
    end loop tenants;
    if v_job.id is null then
        return null;
    end if;

    update switchyard.jobs
    set worker_name = p_worker_name,
        -- Nothing renews it, and how long it takes is this caller's affair.
        lease_until = started_at + v_expiry,
        attempt_until = started_at + v_expiry
    where id = v_job.id;
    if v_turn.worker_name is null then
        insert into switchyard.upstream_turns (worker_name, served, used)
        values (p_worker_name, v_job.database_id, 1)
        -- Somebody of the same name is claiming now: one of the two need not be remembered.
        on conflict do nothing;
    else
        update switchyard.upstream_turns
        set served = v_job.database_id,
            used = case when served = v_job.database_id then least(used + 1, 1000000) else 1 end,
            at = clock_timestamp()
        where worker_name = p_worker_name;
    end if;
    select * into v_row from switchyard.upstream_live where id = v_job.id;
    return v_row;
end
$$;

-- Schedules in upstream's words. One with a time zone of its own says so in what node-schedule reads.
create view switchyard.upstream_schedules as
select
    s.id,
    s.database_id,
    s.queue_name,
    s.task as task_identifier,
    s.payload::json as payload,
    s.priority,
    coalesce(s.attempts_max, (select t.attempts_max from switchyard.tasks t where t.name = s.task), 5) as max_attempts,
    s.key,
    s.locked_at,
    s.locked_by,
    case
        when s.time_zone is null then s.schedule_info
        when jsonb_typeof(s.schedule_info) = 'object' then s.schedule_info || jsonb_build_object('tz', s.time_zone)
        else jsonb_build_object('rule', s.schedule_info, 'tz', s.time_zone)
    end::json as schedule_info,
    s.last_fired_at as last_scheduled,
    s.last_job_id as last_scheduled_id
from switchyard.schedules s;

-- Adds what somebody writes as a row.
create function switchyard.upstream_insert_schedule(p_new switchyard.upstream_schedules)
returns switchyard.upstream_schedules
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_id bigint;
    v_row switchyard.upstream_schedules;
begin
    perform switchyard.upstream_ensure_tenant(p_new.database_id);
    insert into switchyard.schedules (
        database_id, task, queue_name, payload, priority, attempts_max, key, schedule_info, locked_at, locked_by,
        last_fired_at, last_job_id, created_by,
        -- Upstream does not catch up.
        missed
    ) values (
        p_new.database_id, p_new.task_identifier, nullif(p_new.queue_name, ''), p_new.payload::jsonb, p_new.priority,
        p_new.max_attempts, p_new.key, p_new.schedule_info::jsonb, p_new.locked_at, p_new.locked_by,
        p_new.last_scheduled, p_new.last_scheduled_id, session_user,
        'skip'
    )
    returning id into v_id;
    perform switchyard.upstream_notify('scheduled_jobs:insert');
    select * into v_row from switchyard.upstream_schedules where id = v_id;
    return v_row;
end
$$;

-- `add_scheduled_job`: the key is the tenant's own. A row that a scheduler holds is replaced by a new one, because that is how
-- it learns that its timer is not valid any more; the new one keeps the key.
create function switchyard.upstream_add_scheduled_job(
    p_database_id uuid, p_task text, p_payload json, p_schedule_info json, p_key text, p_queue_name text,
    p_attempts_max integer, p_priority integer
) returns switchyard.upstream_schedules
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_old switchyard.schedules;
    v_row switchyard.upstream_schedules;
begin
    perform switchyard.upstream_ensure_tenant(p_database_id);
    if p_key is not null then
        -- One after the other, also where there is no row yet.
        perform pg_advisory_xact_lock(hashtextextended('switchyard.schedule/' || p_database_id || '/' || p_key, 0));
        select * into v_old from switchyard.schedules where database_id = p_database_id and key = p_key for update;
    end if;
    if v_old.id is not null and v_old.locked_by is null then
        update switchyard.schedules
        set task = p_task,
            payload = coalesce(p_payload, '{}')::jsonb,
            queue_name = nullif(p_queue_name, ''),
            attempts_max = coalesce(p_attempts_max, 25),
            schedule_info = p_schedule_info::jsonb,
            priority = coalesce(p_priority, 0)
        where id = v_old.id;
        select * into v_row from switchyard.upstream_schedules where id = v_old.id;
        return v_row;
    end if;
    v_row.database_id := p_database_id;
    v_row.task_identifier := p_task;
    v_row.payload := coalesce(p_payload, '{}');
    v_row.queue_name := p_queue_name;
    v_row.max_attempts := coalesce(p_attempts_max, 25);
    v_row.key := p_key;
    v_row.schedule_info := p_schedule_info;
    v_row.priority := coalesce(p_priority, 0);
    v_row.last_scheduled := v_old.last_fired_at;
    v_row.last_scheduled_id := v_old.last_job_id;
    if v_old.id is not null then
        perform switchyard.remove_schedule(p_database_id, v_old.id);
    end if;
    return switchyard.upstream_insert_schedule(v_row);
end
$$;

-- `get_scheduled_job`: one that no other scheduler holds, for whoever keeps the time by himself. Without names none of a task
-- that a function of ours executes: those are for `cron-schedules`.
create function switchyard.upstream_get_scheduled_job(p_worker_name text, p_tasks text[])
returns switchyard.upstream_schedules
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_id bigint;
    v_row switchyard.upstream_schedules;
begin
    if p_worker_name is null then
        raise exception 'INVALID_WORKER_ID';
    elsif length(p_worker_name) <= 3 then
        raise exception 'a worker_id has more than three characters, not %', p_worker_name using errcode = 'check_violation';
    end if;
    select s.id into v_id
    from switchyard.schedules s
    where s.paused_at is null
      and not switchyard.is_held_elsewhere(s.locked_by, s.locked_at, s.next_at)
      and case
          when p_tasks is null
              then switchyard.executor_of(s.database_id, s.task) is null
          else s.task = any (p_tasks)
      end
    order by s.priority, s.id
    limit 1
    for update of s skip locked;
    if v_id is null then
        return null;
    end if;
    update switchyard.schedules set locked_by = p_worker_name, locked_at = now() where id = v_id;
    select * into v_row from switchyard.upstream_schedules where id = v_id;
    return v_row;
end
$$;

-- `release_scheduled_jobs`.
create function switchyard.upstream_release_scheduled_jobs(p_worker_name text, p_ids bigint[]) returns void
language sql volatile set search_path = pg_catalog, pg_temp
begin atomic
    update switchyard.schedules
    set locked_at = null, locked_by = null
    where locked_by = p_worker_name and (p_ids is null or id = any (p_ids));
end;

-- `run_scheduled_job`: fires the next tick, due or not, and moves on past now, for upstream does not catch up. Refused only
-- while the job of the last firing is queued, or is worked on and was begun within p_job_expiry. Null when there is no such
-- schedule, or its tick may not be fired now: then the scheduler drops its timer, and gets the row again when it may.
create function switchyard.upstream_run_scheduled_job(p_id bigint, p_job_expiry interval)
returns switchyard.upstream_jobs
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_schedule switchyard.schedules;
    v_tick switchyard.schedule_ticks;
    v_job switchyard.jobs;
    v_row switchyard.upstream_jobs;
    v_ahead interval;
begin
    -- Two schedulers that fire at once do it one after the other.
    select * into v_schedule from switchyard.schedules where id = p_id for update;
    if v_schedule.id is null then
        return null;
    end if;
    if exists (
        select from switchyard.jobs
        where id = v_schedule.last_job_id
          and (state = 'queued' or started_at >= clock_timestamp() - coalesce(p_job_expiry, interval '1 hour'))
    ) then
        raise exception 'ALREADY_SCHEDULED';
    end if;
    v_tick := switchyard.fire_next_tick(p_id);
    if v_tick.job_id is null then
        update switchyard.schedules set locked_at = null, locked_by = null where id = p_id;
        return null;
    end if;
    update switchyard.schedules s
    set next_at = l.later[1],
        later = coalesce(l.later[2:], '{}'),
        missed_count = s.missed_count + 1 + cardinality(s.later) - cardinality(l.later),
        plan_wanted = s.plan_wanted or cardinality(l.later) = 0
    from (
        select coalesce(array_agg(t order by t) filter (where t > clock_timestamp()), '{}') as later
        from switchyard.schedules o, unnest(o.later) t
        where o.id = p_id
    ) l
    where s.id = p_id and s.next_at <= clock_timestamp();
    -- Who fires ahead of the tick wants it done now.
    v_ahead := v_tick.tick - now();
    if v_ahead > '0' and v_tick.reason is null then
        select * into v_job from switchyard.jobs where id = v_tick.job_id for update;
        select * into v_row from switchyard.upstream_live where id = v_tick.job_id;
        v_row.run_at := v_job.run_at - v_ahead;
        perform switchyard.upstream_change(v_job, v_row);
    end if;
    perform switchyard.upstream_notify('jobs:insert');
    select * into v_row from switchyard.upstream_live where id = v_tick.job_id;
    return v_row;
end
$$;

-- What is written into `jobs`.
create function switchyard.upstream_write_job() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_job switchyard.jobs;
    v_new switchyard.upstream_jobs;
    v_locked boolean;
begin
    if tg_op = 'DELETE' then
        perform switchyard.upstream_delete_job(old.id, old.database_id);
        return old;
    end if;
    if new.task_identifier is null or new.payload is null or new.priority is null or new.run_at is null
        or new.attempts is null or new.max_attempts is null
    then
        raise exception 'task_identifier, payload, priority, run_at, attempts and max_attempts have to be given'
            using errcode = 'not_null_violation';
    elsif new.max_attempts <= 0 then
        raise exception 'max_attempts is more than 0, not %', new.max_attempts using errcode = 'check_violation';
    end if;
    new.queue_name := nullif(new.queue_name, '');
    v_new := new;
    v_locked := new.locked_by is not null or new.locked_at is not null;
    if tg_op = 'INSERT' then
        if new.id is not null then
            raise exception 'the id of a job is given to it, never taken' using errcode = 'generated_always';
        end if;
        if new.key is not null and exists (
            select from switchyard.jobs where database_id = new.database_id and key = new.key and state = 'queued'
        ) then
            raise exception 'a job with the key % is queued', new.key using
                errcode = 'unique_violation', hint = 'add_job puts the new one in its place.';
        end if;
        v_new := switchyard.upstream_add_job(
            new.database_id, new.task_identifier, new.payload, new.key, new.queue_name, new.run_at, new.max_attempts,
            new.priority
        );
        new.id := v_new.id;
        v_new := new;
        select * into v_job from switchyard.jobs where id = new.id for update;
        if not v_locked and (new.attempts > 0 or new.last_error is not null) then
            perform switchyard.upstream_change(v_job, v_new);
        end if;
    else
        if (new.id, new.database_id) is distinct from (old.id, old.database_id) then
            raise exception 'job % keeps its id and its tenant', old.id using errcode = 'generated_always';
        end if;
        select * into v_job from switchyard.jobs where id = old.id for update;
        if v_job.id is null then
            if new.attempts >= new.max_attempts then
                -- It stays dead, and of a dead one only the reason can be put otherwise.
                update switchyard.jobs_archive set reason = new.last_error
                where database_id = old.database_id and id = old.id and state = 'dead' and replayed_as is null;
                return case when found then new end;
            end if;
            v_job := switchyard.upstream_replay(old.id);
            if v_job.id is null then
                return null;
            end if;
            perform switchyard.upstream_notify('jobs:insert');
            new.id := v_job.id;
        end if;
        if v_job.state <> 'queued' and not v_locked then
            -- Unlocked by hand: whoever held it is told so when he next says something about it.
            perform switchyard.count_again(v_job);
            if switchyard.requeue_job(v_job, new.run_at, new.attempts, new.last_error, false) <> 'queued' then
                return new;
            end if;
            select * into v_job from switchyard.jobs where id = v_job.id;
        end if;
        if v_job.state = 'queued' and not v_locked then
            perform switchyard.upstream_change(v_job, v_new);
        end if;
    end if;
    if v_locked then
        perform switchyard.upstream_lock(v_job, v_new);
    end if;
    select * into v_new from switchyard.upstream_live where id = v_job.id;
    if found then
        new := v_new;
    end if;
    return new;
end
$$;

-- Locks a job by hand, or changes one that is locked. How long it is locked is counted from locked_at, as a claim's is.
create function switchyard.upstream_lock(p_job switchyard.jobs, p_new switchyard.upstream_jobs) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_at timestamptz := coalesce(p_new.locked_at, clock_timestamp());
    v_by text := coalesce(p_new.locked_by, p_job.worker_name, session_user);
begin
    if length(v_by) not between 4 and 512 then
        raise exception 'locked_by has 4 to 512 characters, not %', length(v_by) using errcode = 'check_violation';
    end if;
    if (p_new.task_identifier, p_new.queue_name) is distinct from (p_job.task, p_job.queue_name) then
        raise exception 'job % keeps its task and its queue while it is locked', p_job.id
            using errcode = 'object_in_use', hint = 'Set locked_at and locked_by to null first, or in the same statement.';
    end if;
    if p_job.state = 'queued' then
        perform switchyard.share_rules();
        update switchyard.lanes l
        -- One that holds its queue while it waits for its retry is counted already.
        set in_flight = case when l.holder = p_job.id and not p_job.due then l.in_flight else l.in_flight + 1 end,
            holder = null
        where l.id = p_job.lane_id and l.cap is not null
          and (l.in_flight < l.cap or l.holder = p_job.id);
        if not found and exists (select from switchyard.lanes where id = p_job.lane_id and cap is not null) then
            raise exception 'the queue of job % is locked by another job', p_job.id using errcode = 'object_in_use';
        end if;
        perform switchyard.count_in_limits(array[p_job.database_id], array[p_job.task]);
    end if;
    update switchyard.jobs j
    set state = case when j.state = 'queued' then 'running' else j.state end,
        due = false,
        epoch = case when j.state = 'queued' then j.epoch + 1 else j.epoch end,
        worker = coalesce(j.worker, gen_random_uuid()),
        worker_name = case
            when j.state = 'queued' or v_by is distinct from coalesce(j.worker_name, j.worker::text, 'switchyard') then v_by
            else j.worker_name
        end,
        lease_until = v_at + coalesce(j.lease_until - j.started_at, interval '4 hours'),
        attempt_until = v_at + coalesce(j.attempt_until - j.started_at, interval '4 hours'),
        started_at = v_at,
        payload = p_new.payload::jsonb,
        priority = p_new.priority,
        run_at = p_new.run_at,
        attempts = p_new.attempts,
        attempts_max = p_new.max_attempts,
        key = p_new.key,
        last_error = p_new.last_error
    where j.id = p_job.id;
end
$$;

-- A job whose row somebody deletes. One that a worker of upstream's holds is over at once, for nobody would tell that worker;
-- one of ours is asked to stop, and leaves when it has.
create function switchyard.upstream_delete_job(p_id bigint, p_database_id uuid) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_job switchyard.jobs;
begin
    if switchyard.cancel_job(p_database_id, p_id, session_user) = 'too_late' then
        perform switchyard.purge_job(p_database_id, p_id);
        return;
    end if;
    select * into v_job from switchyard.jobs
    where id = p_id and state = 'cancelling' and worker_name is not null
    for update;
    if v_job.id is not null then
        perform switchyard.requeue_job(v_job, clock_timestamp(), v_job.attempts, null, false);
    end if;
end
$$;

-- What is written into `scheduled_jobs`.
create function switchyard.upstream_write_schedule() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_row switchyard.upstream_schedules;
begin
    if tg_op = 'DELETE' then
        perform switchyard.remove_schedule(old.database_id, old.id);
        return old;
    end if;
    if new.task_identifier is null or new.payload is null or new.priority is null or new.max_attempts is null
        or new.schedule_info is null
    then
        raise exception 'task_identifier, payload, priority, max_attempts and schedule_info have to be given'
            using errcode = 'not_null_violation';
    elsif length(new.locked_by) <= 3 then
        raise exception 'locked_by has more than three characters, not %', new.locked_by using errcode = 'check_violation';
    end if;
    if tg_op = 'INSERT' then
        if new.id is not null then
            raise exception 'the id of a schedule is given to it, never taken' using errcode = 'generated_always';
        end if;
        v_row := new;
        v_row := switchyard.upstream_insert_schedule(v_row);
    else
        if (new.id, new.database_id) is distinct from (old.id, old.database_id) then
            raise exception 'schedule % keeps its id and its tenant', old.id using errcode = 'generated_always';
        end if;
        update switchyard.schedules s
        set task = new.task_identifier,
            queue_name = nullif(new.queue_name, ''),
            payload = new.payload::jsonb,
            priority = new.priority,
            -- What only shows through from the task is not written down.
            attempts_max = case when new.max_attempts = old.max_attempts then s.attempts_max else new.max_attempts end,
            key = new.key,
            locked_at = case when new.locked_by is null then null else coalesce(new.locked_at, now()) end,
            locked_by = case when new.locked_at is null and old.locked_at is not null then null else new.locked_by end,
            schedule_info = case
                when new.schedule_info::text = old.schedule_info::text then s.schedule_info else new.schedule_info::jsonb
            end,
            -- A new rule brings its time zone along.
            time_zone = case when new.schedule_info::text = old.schedule_info::text then s.time_zone end,
            last_fired_at = new.last_scheduled,
            last_job_id = new.last_scheduled_id
        where s.id = old.id;
        select * into v_row from switchyard.upstream_schedules where id = old.id;
        if not found then
            return null;
        end if;
    end if;
    new := v_row;
    return new;
end
$$;

-- What is written into `job_queues`: who holds a queue is who holds its job, so unlocking or deleting the row puts that job
-- back. A queue is there while it has jobs, so none is inserted.
create function switchyard.upstream_write_queue() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_job switchyard.jobs;
begin
    if tg_op = 'INSERT' then
        raise exception 'a queue is there as long as it has jobs' using
            errcode = 'feature_not_supported', hint = 'Add a job with this queue_name.';
    elsif tg_op = 'UPDATE' then
        if (new.queue_name, new.database_id) is distinct from (old.queue_name, old.database_id) then
            raise exception 'a queue keeps its name and its tenant' using errcode = 'feature_not_supported';
        elsif new.job_count <> old.job_count then
            raise exception 'job_count is counted, not written' using errcode = 'generated_always';
        elsif (new.locked_at, new.locked_by) is not distinct from (old.locked_at, old.locked_by) then
            return new;
        elsif new.locked_at is not null or new.locked_by is not null then
            raise exception 'a queue is locked by the job that runs in it' using
                errcode = 'feature_not_supported', hint = 'To let nothing start in it, pause it.';
        end if;
    end if;
    for v_job in
        select * from switchyard.jobs
        where database_id = old.database_id and queue_name = old.queue_name
          and state in ('running', 'cancelling', 'waiting') and waiting is distinct from 'approval'
        order by id
        for update
    loop
        perform switchyard.requeue_job(v_job, clock_timestamp(), v_job.attempts, null, false);
    end loop;
    if tg_op = 'DELETE' then
        return old;
    end if;
    return new;
end
$$;

-- The named fields of a row as texts, as upstream's trigger takes them: no value is an empty text.
create function switchyard.upstream_fields(p_row record, p_names text[]) returns json
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_name text;
    v_path text[];
    v_value text;
    v_pairs text[] := '{}';
begin
    foreach v_name in array p_names loop
        v_path := parse_ident(v_name);
        if cardinality(v_path) <> 1 then
            raise exception 'a trigger names fields of its row, not %', v_name using errcode = 'invalid_name';
        end if;
        -- The name is an identifier and nothing else; a value is never part of a statement.
        execute format('select ($1).%I::text', v_path[1]) into v_value using p_row;
        v_pairs := v_pairs || array[v_name, coalesce(v_value, '')];
    end loop;
    return json_object(v_pairs);
end
$$;

-- What a row trigger adds.
create function switchyard.upstream_add_row_job(p_task text, p_payload json) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    perform switchyard.upstream_add_job(
        switchyard.upstream_tenant(), p_task, p_payload, null, null, null, null, null
    );
end
$$;

-- Functions in it are for whoever is granted the schema that is installed, and run as their owner.
do $$
declare
    v_function regprocedure;
begin
    for v_function in
        select p.oid from pg_proc p
        where p.pronamespace = 'switchyard'::regnamespace and p.proname like 'upstream\_%'
    loop
        execute format('revoke execute on function %s from public', v_function);
    end loop;
end
$$;

-- Makes a schema with upstream's names, or brings it to this version; what was granted on it stays. Refused for a name that
-- is not plain or belongs to somebody else. Needs the right to create a schema in this database, unless it is there.
create function switchyard.install_jobs_schema(p_schema text) returns void
language plpgsql set search_path = pg_catalog, pg_temp set client_min_messages = warning
as $$
declare
    v_owner name;
    v_caller name := current_user;
    v_statement text;
begin
    if p_schema is null or p_schema !~ '^[a-z_][a-z0-9_]{0,62}$' or p_schema ~ '^pg_'
        or p_schema in ('switchyard', 'public', 'information_schema')
    then
        raise exception 'a schema for jobs cannot be called %: use 1 to 63 of a-z, 0-9 and _, not beginning with a digit '
            'or pg_, for example app_jobs', coalesce(quote_literal(p_schema), 'nothing')
            using errcode = 'invalid_schema_name';
    end if;
    -- Two who install at once do it one after the other.
    perform pg_advisory_xact_lock(hashtextextended('switchyard.install_jobs_schema', 0));
    select pg_get_userbyid(nspowner) into v_owner from pg_namespace where nspname = p_schema;
    if v_owner <> 'switchyard_owner' then
        raise exception 'schema % is there already and belongs to %: give it another name (alter schema % rename to …) '
            'or choose another for this one', p_schema, v_owner, p_schema
            using errcode = 'duplicate_schema';
    end if;
    if v_owner is null then
        execute format('create schema %I authorization switchyard_owner', p_schema);
    end if;
    set local role switchyard_owner;

    -- Without JIT, because no call is worth compiling for, and upstream's connections do not switch it off.
    foreach v_statement in array array[
        $view$create or replace view SCHEMA.jobs as select * from switchyard.upstream_jobs$view$,
        -- A queue of its own for each job, upstream's default, is no queue.
        $view$alter view SCHEMA.jobs
            alter payload set default '{}'::json,
            alter priority set default 0,
            alter run_at set default now(),
            alter attempts set default 0,
            alter max_attempts set default 25,
            alter created_at set default now(),
            alter updated_at set default now()$view$,
        $view$create or replace trigger write instead of insert or update or delete on SCHEMA.jobs
            for each row execute function switchyard.upstream_write_job()$view$,

        $view$create or replace view SCHEMA.scheduled_jobs as select * from switchyard.upstream_schedules$view$,
        $view$alter view SCHEMA.scheduled_jobs
            alter queue_name set default gen_random_uuid()::text,
            alter payload set default '{}'::json,
            alter priority set default 0,
            alter max_attempts set default 25$view$,
        $view$create or replace trigger write instead of insert or update or delete on SCHEMA.scheduled_jobs
            for each row execute function switchyard.upstream_write_schedule()$view$,

        $view$create or replace view SCHEMA.job_queues as select * from switchyard.upstream_queues$view$,
        $view$alter view SCHEMA.job_queues alter job_count set default 0$view$,
        $view$create or replace trigger write instead of insert or update or delete on SCHEMA.job_queues
            for each row execute function switchyard.upstream_write_queue()$view$,

        $call$create or replace function SCHEMA.add_job(
            db_id uuid, identifier text, payload json default '{}'::json, job_key text default null,
            queue_name text default null, run_at timestamptz default now(), max_attempts integer default 25,
            priority integer default 0
        ) returns SCHEMA.jobs language sql volatile security definer set search_path = pg_catalog, pg_temp set jit = off
        as 'select * from switchyard.upstream_add_job($1, $2, $3, $4, $5, $6, $7, $8)'$call$,

        $call$create or replace function SCHEMA.add_scheduled_job(
            db_id uuid, identifier text, payload json default '{}'::json, schedule_info json default '{}'::json,
            job_key text default null, queue_name text default null, max_attempts integer default 25,
            priority integer default 0
        ) returns SCHEMA.scheduled_jobs language sql volatile security definer set search_path = pg_catalog, pg_temp set jit = off
        as 'select * from switchyard.upstream_add_scheduled_job($1, $2, $3, $4, $5, $6, $7, $8)'$call$,

        $call$create or replace function SCHEMA.get_job(
            worker_id text, task_identifiers text[] default null, job_expiry interval default '4 hours'
        ) returns SCHEMA.jobs language sql volatile security definer set search_path = pg_catalog, pg_temp set jit = off
        as 'select * from switchyard.upstream_get_job($1, $2, $3)'$call$,

        $call$create or replace function SCHEMA.get_scheduled_job(worker_id text, task_identifiers text[] default null)
        returns SCHEMA.scheduled_jobs language sql volatile security definer set search_path = pg_catalog, pg_temp set jit = off
        as 'select * from switchyard.upstream_get_scheduled_job($1, $2)'$call$,

        $call$create or replace function SCHEMA.complete_job(worker_id text, job_id bigint)
        returns SCHEMA.jobs language sql volatile security definer set search_path = pg_catalog, pg_temp set jit = off
        as 'select * from switchyard.upstream_complete_job($1, $2)'$call$,

        $call$create or replace function SCHEMA.complete_jobs(job_ids bigint[])
        returns setof SCHEMA.jobs language sql volatile security definer set search_path = pg_catalog, pg_temp set jit = off
        as 'select * from switchyard.upstream_complete_jobs($1)'$call$,

        $call$create or replace function SCHEMA.fail_job(worker_id text, job_id bigint, error_message text)
        returns SCHEMA.jobs language sql volatile security definer set search_path = pg_catalog, pg_temp set jit = off
        as 'select * from switchyard.upstream_fail_job($1, $2, $3)'$call$,

        $call$create or replace function SCHEMA.permanently_fail_jobs(job_ids bigint[], error_message text default null)
        returns setof SCHEMA.jobs language sql volatile security definer set search_path = pg_catalog, pg_temp set jit = off
        as 'select * from switchyard.upstream_fail_jobs($1, $2)'$call$,

        $call$create or replace function SCHEMA.release_jobs(worker_id text)
        returns void language sql volatile security definer set search_path = pg_catalog, pg_temp set jit = off
        as 'select switchyard.upstream_release_jobs($1)'$call$,

        $call$create or replace function SCHEMA.release_scheduled_jobs(worker_id text, ids bigint[] default null)
        returns void language sql volatile security definer set search_path = pg_catalog, pg_temp set jit = off
        as 'select switchyard.upstream_release_scheduled_jobs($1, $2)'$call$,

        $call$create or replace function SCHEMA.reschedule_jobs(
            job_ids bigint[], run_at timestamptz default null, priority integer default null,
            attempts integer default null, max_attempts integer default null
        ) returns setof SCHEMA.jobs language sql volatile security definer set search_path = pg_catalog, pg_temp set jit = off
        as 'select * from switchyard.upstream_reschedule_jobs($1, $2, $3, $4, $5)'$call$,

        $call$create or replace function SCHEMA.run_scheduled_job(id bigint, job_expiry interval default '1 hours')
        returns SCHEMA.jobs language sql volatile security definer set search_path = pg_catalog, pg_temp set jit = off
        as 'select * from switchyard.upstream_run_scheduled_job($1, $2)'$call$,

        $call$create or replace function SCHEMA.json_build_object_apply(arguments text[])
        returns json language sql immutable set search_path = pg_catalog, pg_temp set jit = off
        as 'select json_object(coalesce(array_replace($1, null, ''''), ''{}''))'$call$,

        $call$create or replace function SCHEMA.tg_add_job_with_row() returns trigger
        language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set jit = off
        as $body$
        begin
            if tg_op = 'DELETE' then
                perform switchyard.upstream_add_row_job(tg_argv[0], to_json(old));
                return old;
            end if;
            perform switchyard.upstream_add_row_job(tg_argv[0], to_json(new));
            return new;
        end
        $body$ $call$,

        $call$create or replace function SCHEMA.tg_add_job_with_row_id() returns trigger
        language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set jit = off
        as $body$
        begin
            if tg_op = 'DELETE' then
                perform switchyard.upstream_add_row_job(tg_argv[0], json_build_object('id', old.id));
                return old;
            end if;
            perform switchyard.upstream_add_row_job(tg_argv[0], json_build_object('id', new.id));
            return new;
        end
        $body$ $call$,

        $call$create or replace function SCHEMA.trigger_job_with_fields() returns trigger
        language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set jit = off
        as $body$
        begin
            if tg_op = 'DELETE' then
                perform switchyard.upstream_add_row_job(tg_argv[0], switchyard.upstream_fields(old, tg_argv[1:]));
                return old;
            end if;
            perform switchyard.upstream_add_row_job(tg_argv[0], switchyard.upstream_fields(new, tg_argv[1:]));
            return new;
        end
        $body$ $call$,

        -- For those alone who are granted it.
        'revoke execute on all functions in schema SCHEMA from public'
    ] loop
        execute replace(v_statement, 'SCHEMA', quote_ident(p_schema));
    end loop;

    -- Whom upstream grants its schema to.
    if exists (select from pg_roles where rolname = 'administrator') then
        foreach v_statement in array array[
            'grant usage on schema SCHEMA to administrator',
            'grant select, insert, update, delete on all tables in schema SCHEMA to administrator',
            'grant execute on all functions in schema SCHEMA to administrator'
        ] loop
            execute replace(v_statement, 'SCHEMA', quote_ident(p_schema));
        end loop;
    end if;
    perform set_config('role', case when v_caller = session_user then 'none' else v_caller::text end, true);
end
$$;
revoke execute on function switchyard.install_jobs_schema from public;

reset role;
