-- Claims and ends in sets, over lanes that are written seldom. What a claim needs to be fair (whose turn it is) its caller
-- remembers; what a lane needs to be found (where its ready jobs begin) is moved at most once a second. So a lane can be
-- claimed by many at once, and a transaction that keeps dead rows alive for hours does not make claims slower.
set local role switchyard_owner;

-- Who claims, ends jobs or makes lanes goes on beside all others; who changes a cap, a limit or a pause is alone for a
-- moment, so that what it counts and marks is exact.
create function switchyard.share_rules() returns void
language sql volatile set search_path = pg_catalog, pg_temp
begin atomic
    select pg_advisory_xact_lock_shared(1398230852, 1);
end;
create function switchyard.rule_alone() returns void
language sql volatile set search_path = pg_catalog, pg_temp
begin atomic
    select pg_advisory_xact_lock(1398230852, 1);
end;

-- The lock that those share who add jobs to a lane while its gate stands like this.
create function switchyard.gate_lock(p_lane bigint, p_gate boolean) returns bigint
language sql immutable parallel safe
return hashtextextended('switchyard.lane', p_lane * 2 + p_gate::integer);

-- Whether something keeps the jobs of a task from starting for this tenant and queue. A task that is paused for everybody is
-- not asked about here: a claim does not even look at its lanes.
create function switchyard.is_paused(p_database_id uuid, p_task text, p_queue_name text) returns boolean
language sql stable set search_path = pg_catalog, pg_temp
begin atomic
    select exists (
        select from switchyard.pauses p
        where p.kind = 'pause' and p.database_id = p_database_id
          and (p.task is null or p.task = p_task)
          and (p.queue_name is null or p.queue_name = p_queue_name)
    );
end;

-- Why nothing may be added, or null. Names who drains what since when.
create function switchyard.draining(p_database_id uuid, p_task text, p_queue_name text) returns text
language sql stable set search_path = pg_catalog, pg_temp
begin atomic
    select
        case
            when p.queue_name is not null then 'queue ' || p.queue_name
            when p.task is not null then 'task ' || p.task
            else 'the tenant'
        end
        || ' is draining since ' || to_char(p.at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC by ' || p.by_whom
        || coalesce(': ' || p.why, '')
    from switchyard.pauses p
    where p.kind = 'drain'
      and (p.database_id is null or p.database_id = p_database_id)
      and (p.task is null or p.task = p_task)
      and (p.queue_name is null or p.queue_name = p_queue_name)
    order by p.id
    limit 1;
end;

alter table switchyard.lanes
    -- What a job that is added here and says nothing of its own needs to know, so that it is found by one look: how often it
    -- is tried, as its task says (null while no task of this name is known), ...
    add column attempts_max integer,
    -- ... and whether it is to be refused: see `draining`. Neither is kept for named queues.
    add column drains boolean not null default false,
    -- When the lane of a task was found without ready jobs, and when all who add jobs could know that. Both are forgotten
    -- when it is turned.
    add column idle_at timestamptz,
    add column idle_known_at timestamptz,
    -- The lock of the gate as it stands.
    add column gate_key bigint not null generated always as (switchyard.gate_lock(id, gate)) stored,
    -- From which run_at on a job with priority 0 may be added without another look at the lane. Null when each job needs one.
    add column plain_from timestamptz generated always as (
        case
            when queue_name is not null or attempts_max is null or drains or not active or idle_at is not null then null
            when priorities is null then next_front
            when fronts[array_position(priorities, 0)] is not null then
                greatest(next_front, fronts[array_position(priorities, 0)])
        end
    ) stored;

drop function switchyard.lane_of(uuid, text, text);
-- The lane of a job, made when it is the first.
create function switchyard.lane_of(p_database_id uuid, p_task text, p_queue_name text) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set jit = off
as $$
declare
    v_id bigint;
    v_attempts_max integer;
begin
    loop
        if p_queue_name is null then
            select id into v_id from switchyard.lanes
            where database_id = p_database_id and task = p_task and queue_name is null;
        else
            select id into v_id from switchyard.lanes
            where database_id = p_database_id and queue_name = p_queue_name;
        end if;
        if found then
            return v_id;
        end if;
        -- A pause that is being made sees the lane or is seen by it.
        perform switchyard.share_rules();
        insert into switchyard.shares (database_id) values (p_database_id) on conflict do nothing;
        v_attempts_max := null;
        if p_queue_name is null then
            -- The same for a task that is being changed.
            select attempts_max into v_attempts_max from switchyard.tasks where name = p_task for share;
        end if;
        insert into switchyard.lanes (database_id, task, queue_name, cap, paused, attempts_max, drains)
        values (
            p_database_id, p_task, p_queue_name, case when p_queue_name is not null then 1 end,
            switchyard.is_paused(p_database_id, p_task, p_queue_name), v_attempts_max,
            p_queue_name is null and switchyard.draining(p_database_id, p_task, null) is not null
        )
        on conflict do nothing;
    end loop;
end
$$;

create function switchyard.tell_lanes_of_tries() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    update switchyard.lanes
    set attempts_max = new.attempts_max
    where task = coalesce(new.name, old.name) and queue_name is null and attempts_max is distinct from new.attempts_max;
    return null;
end
$$;
create trigger tell_lanes after insert or update of attempts_max or delete on switchyard.tasks
    for each row execute function switchyard.tell_lanes_of_tries();

-- Who makes or lifts a drain is alone (`rule_alone`), so that no lane is made and no other drain comes or goes meanwhile.
create function switchyard.tell_lanes_of_drains() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_pause switchyard.pauses := coalesce(new, old);
begin
    if v_pause.kind = 'drain' and v_pause.queue_name is null then
        update switchyard.lanes l
        set drains = not l.drains
        where l.queue_name is null
          and (v_pause.database_id is null or l.database_id = v_pause.database_id)
          and (v_pause.task is null or l.task = v_pause.task)
          and l.drains <> (switchyard.draining(l.database_id, l.task, null) is not null);
    end if;
    return null;
end
$$;
create trigger tell_lanes after insert or delete on switchyard.pauses
    for each row execute function switchyard.tell_lanes_of_drains();

drop index switchyard.lanes_to_claim;
-- Which tenants may have work for a task, and whose turn among their queues it is.
create index lanes_to_claim on switchyard.lanes (task, database_id) where active and not is_full and not paused;
create index queues_to_claim on switchyard.lanes (task, database_id, served_at, id)
    where active and not is_full and not paused and queue_name is not null;

-- The ready jobs of a lane in their order, at most so many.
create function switchyard.ready_jobs(p_lane switchyard.lanes, p_limit integer) returns setof bigint
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set jit = off
as $$
begin
    if p_lane.priorities is null then
        return query
            select j.id from switchyard.jobs j
            where j.lane_id = p_lane.id and j.state = 'queued' and j.due
            order by j.priority, j.run_at, j.id
            limit p_limit;
    else
        return query
            select j.id
            from unnest(p_lane.priorities, p_lane.fronts) as u (priority, front)
            cross join lateral (
                select j.id from switchyard.jobs j
                where j.lane_id = p_lane.id and j.priority = u.priority and j.run_at >= u.front
                  and j.state = 'queued' and j.due
                order by j.run_at, j.id
                limit p_limit
            ) j
            limit p_limit;
    end if;
end
$$;

-- The job of a named queue that comes next: the one that was begun, if it is ready, and nobody before it.
create function switchyard.head_job(p_lane switchyard.lanes) returns bigint
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set jit = off
as $$
begin
    if p_lane.holder is null then
        return (select g.id from switchyard.ready_jobs(p_lane, 1) as g (id));
    end if;
    return (select j.id from switchyard.jobs j where j.id = p_lane.holder and j.state = 'queued' and j.due);
end
$$;

-- Which task is at the head of a queue decides whose workers look there, and may itself be paused.
create or replace function switchyard.head_task(p_lane switchyard.lanes) returns text
language sql stable set search_path = pg_catalog, pg_temp
begin atomic
    select case
        when p_lane.queue_name is null then p_lane.task
        else coalesce((select task from switchyard.jobs where id = switchyard.head_job(p_lane)), p_lane.task)
    end;
end;

-- Says that a lane has a ready job with this priority and run_at, after the job has become one in the same transaction.
-- Writes to the lane only when it sleeps or when the job comes before where its ready jobs are known to begin. The shared
-- lock lasts until the caller commits: a turn that finds it taken leaves the lane as it is, so that a job which is not yet
-- visible is not forgotten.
drop function switchyard.activate_lane(bigint);
create function switchyard.activate_lane(p_lane bigint, p_priority integer, p_run_at timestamptz) returns void
language plpgsql set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set jit = off
as $$
declare
    v_gate boolean;
begin
    select gate into v_gate from switchyard.lanes where id = p_lane;
    perform pg_advisory_xact_lock_shared(switchyard.gate_lock(p_lane, v_gate));
    -- Read again: a turn may have ended while this waited.
    if exists (
        select from switchyard.lanes l
        where l.id = p_lane and l.queue_name is null and l.active and p_run_at >= l.next_front
          and (l.priorities is null or l.fronts[array_position(l.priorities, p_priority)] <= p_run_at)
    ) then
        return;
    end if;
    perform switchyard.open_lane(p_lane, p_priority, p_run_at);
end
$$;

-- The slow part of the above.
create function switchyard.open_lane(p_lane bigint, p_priority integer, p_run_at timestamptz) returns void
language plpgsql set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set jit = off
as $$
declare
    -- Beyond this many priorities a claim looks from the beginning.
    c_priorities_max constant integer := 16;
    v_lane switchyard.lanes;
begin
    select * into v_lane from switchyard.lanes where id = p_lane for update;
    if v_lane.priorities is not null then
        select array_agg(k.priority order by k.priority), array_agg(k.front order by k.priority)
        into v_lane.priorities, v_lane.fronts
        from (
            select u.priority, min(u.front) as front
            from (
                select * from unnest(v_lane.priorities, v_lane.fronts) as known (priority, front)
                union all
                select p_priority, p_run_at
            ) u
            group by u.priority
        ) k;
        if cardinality(v_lane.priorities) > c_priorities_max then
            v_lane.priorities := null;
            v_lane.fronts := null;
        end if;
    end if;
    update switchyard.lanes
    set active = true,
        priorities = v_lane.priorities,
        fronts = v_lane.fronts,
        next_front = least(next_front, p_run_at)
    where id = p_lane;
    if v_lane.queue_name is not null then
        perform switchyard.look_at_head(p_lane);
    end if;
end
$$;

-- Whose workers should look at a queue, and whether they may, follow from the job at its head.
create function switchyard.look_at_head(p_lane bigint) returns void
language plpgsql set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set jit = off
as $$
declare
    v_lane switchyard.lanes;
    v_task text;
    v_paused boolean;
begin
    select * into v_lane from switchyard.lanes where id = p_lane for no key update;
    v_task := switchyard.head_task(v_lane);
    v_paused := switchyard.is_paused(v_lane.database_id, v_task, v_lane.queue_name);
    if (v_lane.task, v_lane.paused) is distinct from (v_task, v_paused) then
        update switchyard.lanes set task = v_task, paused = v_paused where id = p_lane;
    end if;
end
$$;

-- Puts a lane without ready jobs to rest, unless somebody is adding one. True when it rests. The caller holds the row.
--
-- The lane of a task rests at the third call. Who adds a plain job (`plain_jobs`) looks at the lane once, within half a second
-- before it has the lock. So the first call says that the lane is idle, after which nobody adds jobs in that way who sees it;
-- the second, in a later transaction, notes when that was known; and a second after that the last one is through who did not.
create function switchyard.rest_lane(p_lane bigint) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set jit = off
as $$
declare
    v_lane switchyard.lanes;
begin
    if not pg_try_advisory_xact_lock(switchyard.gate_lock(p_lane, false))
        or not pg_try_advisory_xact_lock(switchyard.gate_lock(p_lane, true))
    then
        return false;
    end if;
    -- A statement of its own: it sees what was added before the locks were had.
    select * into v_lane from switchyard.lanes l
    where l.id = p_lane and l.active and not exists (select switchyard.ready_jobs(l, 1));
    if not found then
        return false;
    end if;
    if v_lane.queue_name is null and (
        v_lane.idle_known_at is null or v_lane.idle_known_at > clock_timestamp() - interval '1 second'
    ) then
        if v_lane.idle_at is null then
            update switchyard.lanes set idle_at = clock_timestamp() where id = p_lane;
        elsif v_lane.idle_known_at is null and v_lane.idle_at < now() then
            update switchyard.lanes set idle_known_at = clock_timestamp() where id = p_lane;
        end if;
        return false;
    end if;
    update switchyard.lanes
    set active = false, priorities = '{}', fronts = '{}', idle_at = null, idle_known_at = null
    where id = p_lane;
    return true;
end
$$;

-- Moves the fronts of a lane up to where its ready jobs begin, as far as that is certain, and turns its gate. Certain is
-- what was so when the gate was last turned: all who added jobs before that are through. Nothing when somebody else is at
-- it, or one who adds is not through. At most once a second for a lane.
create function switchyard.turn_lane(p_lane bigint) returns void
language plpgsql set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set jit = off
as $$
declare
    v_lane switchyard.lanes;
begin
    select * into v_lane from switchyard.lanes
    where id = p_lane and turned_at < clock_timestamp() - interval '1 second'
    for no key update skip locked;
    if not found or not pg_try_advisory_xact_lock(switchyard.gate_lock(p_lane, not v_lane.gate)) then
        return;
    end if;
    select array_agg(f.priority order by f.priority), array_agg(f.front order by f.priority)
    into v_lane.priorities, v_lane.fronts
    from (
        select u.priority, greatest(u.front, least(v_lane.next_front, coalesce(j.run_at, v_lane.next_front))) as front
        from unnest(v_lane.priorities, v_lane.fronts) as u (priority, front)
        left join lateral (
            select j.run_at from switchyard.jobs j
            where j.lane_id = p_lane and j.priority = u.priority and j.run_at >= u.front
              and j.state = 'queued' and j.due
            order by j.run_at
            limit 1
        ) j on true
    ) f;
    update switchyard.lanes
    set gate = not gate,
        fronts = case when priorities is null then null else coalesce(v_lane.fronts, '{}') end,
        -- Who began before this and adds a job only now says so to the lane. Most do both within a second.
        next_front = now() - interval '1 second',
        turned_at = clock_timestamp(),
        idle_at = null,
        idle_known_at = null,
        served_at = case when cap is null then clock_timestamp() else served_at end
    where id = p_lane;
end
$$;

-- Gives back places in lanes with a cap; one row for each job that left. A queue whose last job has left rests.
drop function switchyard.leave_lane(bigint);
create function switchyard.leave_lanes(p_lanes bigint[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set jit = off
as $$
declare
    v_id bigint;
    v_jobs integer;
    v_lane switchyard.lanes;
    v_wake boolean := false;
begin
    for v_id, v_jobs in
        select l.id, n.jobs
        from (select g.id, count(*)::integer as jobs from unnest(p_lanes) as g (id) group by g.id) n
        join switchyard.lanes l on l.id = n.id and l.cap is not null
        order by l.id
    loop
        update switchyard.lanes l
        set in_flight = l.in_flight - v_jobs, holder = null
        where l.id = v_id
        returning * into v_lane;
        if exists (select switchyard.ready_jobs(v_lane, 1)) then
            if v_lane.queue_name is not null then
                perform switchyard.look_at_head(v_lane.id);
            end if;
            if not v_lane.active then
                update switchyard.lanes set active = true where id = v_lane.id;
            end if;
            v_wake := true;
        elsif v_lane.queue_name is not null and v_lane.active then
            perform switchyard.rest_lane(v_lane.id);
        end if;
    end loop;
    if v_wake then
        perform switchyard.wake_relay('work');
    end if;
end
$$;

-- Gives back what jobs counted for in limits. One row for each job that left.
create function switchyard.leave_limits(p_database_ids uuid[], p_tasks text[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set jit = off
as $$
begin
    if not exists (select from switchyard.limits where in_flight_max is not null) then
        return;
    end if;
    with gone as (
        select g.database_id, g.task, count(*)::integer as jobs
        from unnest(p_database_ids, p_tasks) as g (database_id, task)
        group by g.database_id, g.task
    ),
    locked as (
        select l.id from switchyard.limits l
        where l.in_flight_max is not null
          and exists (
              select from gone g
              where (l.database_id is null or l.database_id = g.database_id) and (l.task is null or l.task = g.task)
          )
        order by l.id
        for no key update
    )
    update switchyard.limits l
    set in_flight = greatest(l.in_flight - (
        select sum(g.jobs) from gone g
        where (l.database_id is null or l.database_id = g.database_id) and (l.task is null or l.task = g.task)
    ), 0)
    where l.id in (select id from locked);
    if found then
        perform switchyard.wake_relay('work');
    end if;
end
$$;

create or replace function switchyard.end_job(
    p_job switchyard.jobs, p_state switchyard.job_state, p_reason text, p_result jsonb
) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    perform switchyard.share_rules();
    perform switchyard.archive_job(p_job, p_state, p_reason, p_result);
    perform switchyard.leave_lanes(array[p_job.lane_id]);
    perform switchyard.leave_limits(array[p_job.database_id], array[p_job.task]);
    if p_job.key is not null then
        -- One may wait behind it, in whatever lane.
        perform switchyard.wake_relay('work');
    end if;
end
$$;

create or replace function switchyard.end_queued_job(
    p_job switchyard.jobs, p_state switchyard.job_state, p_reason text
) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    perform switchyard.share_rules();
    perform switchyard.archive_job(p_job, p_state, p_reason, null);
    if p_job.queue_name is null then
        return;
    end if;
    -- It may hold its queue from an earlier attempt, or have been at its head.
    update switchyard.lanes
    set holder = null, in_flight = 0
    where id = p_job.lane_id and holder = p_job.id;
    perform switchyard.look_at_head(p_job.lane_id);
    perform switchyard.wake_relay('work');
end
$$;

create or replace function switchyard.archive_job(
    p_job switchyard.jobs, p_state switchyard.job_state, p_reason text, p_result jsonb
) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_history switchyard.history;
begin
    delete from switchyard.jobs where id = p_job.id and epoch = p_job.epoch;
    if not found then
        raise exception 'job % changed while it was archived', p_job.id using errcode = 'serialization_failure';
    end if;
    v_history := coalesce((select history from switchyard.tasks where name = p_job.task), 'full');
    if v_history = 'full' or (v_history = 'failures' and p_state <> 'succeeded') then
        insert into switchyard.jobs_archive (
            id, database_id, task, queue_name, key, seq, state, priority, run_at, attempts, attempts_max, epoch,
            payload, started_at, cancel_requested_at, cancel_requested_by, reason, result, event_id, binding_id,
            workload_id, replay_of, correlation_id, causation_id, depth, traceparent, actor, created_at,
            put_off_since, progress
        ) values (
            p_job.id, p_job.database_id, p_job.task, p_job.queue_name, p_job.key, p_job.seq, p_state,
            p_job.priority, p_job.run_at, p_job.attempts, p_job.attempts_max, p_job.epoch, p_job.payload,
            p_job.started_at, p_job.cancel_requested_at, p_job.cancel_requested_by, p_reason, p_result,
            p_job.event_id, p_job.binding_id, p_job.workload_id, p_job.replay_of, p_job.correlation_id,
            p_job.causation_id, p_job.depth, p_job.traceparent, p_job.actor, p_job.created_at,
            p_job.put_off_since, p_job.progress
        );
    end if;
    perform switchyard.announce_job(
        case p_state when 'cancelled' then 'dev.switchyard.job.cancelled.v1' else 'dev.switchyard.job.finished.v1' end,
        p_job, p_state, p_reason
    );
end
$$;

-- Gives a job that waits for approval its place back, so that the ways out of it are those of any other.
create or replace function switchyard.count_again(p_job switchyard.jobs) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if p_job.state <> 'waiting' or p_job.waiting <> 'approval' then
        return;
    end if;
    perform switchyard.share_rules();
    -- Lanes before limits, also that of a queue, which the caller comes to next.
    perform from switchyard.lanes where id = p_job.lane_id and cap is not null for no key update;
    update switchyard.lanes
    set in_flight = in_flight + 1
    where id = p_job.lane_id and queue_name is null and cap is not null;
    perform switchyard.count_in_limits(array[p_job.database_id], array[p_job.task]);
end
$$;

-- Counts jobs in the limits that concern them, over a cap if need be. One row for each job.
create function switchyard.count_in_limits(p_database_ids uuid[], p_tasks text[]) returns void
language sql set search_path = pg_catalog, pg_temp
begin atomic
    with come as (
        select g.database_id, g.task, count(*)::integer as jobs
        from unnest(p_database_ids, p_tasks) as g (database_id, task)
        group by g.database_id, g.task
    ),
    locked as (
        select l.id from switchyard.limits l
        where l.in_flight_max is not null
          and exists (
              select from come g
              where (l.database_id is null or l.database_id = g.database_id) and (l.task is null or l.task = g.task)
          )
        order by l.id
        for no key update
    )
    update switchyard.limits l
    set in_flight = l.in_flight + (
        select sum(g.jobs) from come g
        where (l.database_id is null or l.database_id = g.database_id) and (l.task is null or l.task = g.task)
    )
    where l.id in (select id from locked);
end;

-- Locks the keys of jobs, before the jobs themselves. Everybody takes rules, keys, jobs, lanes and limits, each in one order,
-- so that nobody waits for one who waits for him: who adds a job with a key has the key first, and then waits for the job
-- that has it.
create function switchyard.lock_keys(p_jobs bigint[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    perform switchyard.share_rules();
    perform from switchyard.job_keys k
    where (k.database_id, k.key) in (
        select database_id, key from switchyard.jobs where id = any (p_jobs) and key is not null
    )
    order by k.database_id, k.key
    for update;
end
$$;

-- The same for who need not have all: a key that somebody else has, perhaps for as long as his transaction takes, is not
-- waited for. Returns the jobs without those that have such a key.
create function switchyard.lock_free_keys(p_jobs bigint[]) returns bigint[]
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_jobs bigint[];
begin
    perform switchyard.share_rules();
    with asked as materialized (
        select id, database_id, key from switchyard.jobs where id = any (p_jobs)
    ),
    free as materialized (
        select k.database_id, k.key from switchyard.job_keys k
        where (k.database_id, k.key) in (select a.database_id, a.key from asked a where a.key is not null)
        order by k.database_id, k.key
        for update skip locked
    )
    select coalesce(array_agg(a.id), '{}') into v_jobs
    from asked a
    where a.key is null
       or exists (select from free f where f.database_id = a.database_id and f.key = a.key)
       -- Given by hand, in upstream's tables.
       or not exists (select from switchyard.job_keys k where k.database_id = a.database_id and k.key = a.key);
    return v_jobs;
end
$$;

-- Locks the limits that concern jobs, after their lanes: all at once, for who takes one after the other may meet somebody who
-- takes them in another order.
create function switchyard.lock_limits(p_jobs bigint[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (select from switchyard.limits where in_flight_max is not null) then
        return;
    end if;
    perform from switchyard.limits l
    where l.in_flight_max is not null
      and exists (
          select from switchyard.jobs j
          where j.id = any (p_jobs)
            and (l.database_id is null or l.database_id = j.database_id) and (l.task is null or l.task = j.task)
      )
    order by l.id
    for no key update;
end
$$;

-- Locks the lanes and limits of jobs that the caller has locked already, after their keys.
create or replace function switchyard.lock_places(p_jobs bigint[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    perform from switchyard.lanes l
    where l.cap is not null
      and l.id in (select lane_id from switchyard.jobs where id = any (p_jobs))
    order by l.id
    for no key update;
    perform switchyard.lock_limits(p_jobs);
end
$$;

-- At most one job of a key is pending, and at most one is being worked on. One index for both: every job that is added sets
-- all of them up.
drop index switchyard.jobs_key_pending, switchyard.jobs_key_working;
create unique index jobs_key on switchyard.jobs (database_id, key, (state = 'queued')) where key is not null;

-- A job's lane is its tenant's, and that has a foreign key: another one here would have all who add jobs lock the tenant's row.
alter table switchyard.jobs drop constraint jobs_database_id_fkey;
-- Each statement that writes to a job would read its checks anew, a third of what adding one costs. Only the functions here
-- write jobs, and tests hold each of them to these rules. What callers give is checked where it comes in.
alter table switchyard.jobs
    drop constraint jobs_task_check,
    drop constraint jobs_key_check,
    drop constraint jobs_state_check,
    drop constraint jobs_attempts_check,
    drop constraint jobs_attempts_max_check,
    drop constraint held_while_worked_on,
    drop constraint worker_while_running,
    drop constraint waits_for_something,
    drop constraint cancel_was_asked,
    drop constraint due_only_when_queued;
alter table switchyard.lanes add constraint lanes_task_check check (length(task) between 1 and 126);
alter table switchyard.job_keys add constraint job_keys_key_check check (length(key) between 1 and 512);

-- `wake_relay('work')` for a job that was added. Where nothing can keep it from starting (p_may_start: nothing of its own) the
-- relay is told which job, and so need not look before it tells the task.
create function switchyard.wake_relay_for(p_job bigint, p_lane bigint, p_may_start boolean) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_said text;
begin
    if not (select armed from switchyard.relay_flags where broker = 'work') then
        return;
    end if;
    perform switchyard.disarm_work();
    if p_may_start then
        select 'work ' || json_build_object('task', l.task, 'run_by', switchyard.run_by(l.database_id, l.task), 'job', p_job)
        into v_said
        from switchyard.lanes l
        where l.id = p_lane and l.cap is null and not l.paused
          and not exists (select from switchyard.limits)
          and not exists (select from switchyard.pauses where kind = 'pause' and database_id is null and task = l.task);
    end if;
    perform pg_notify('switchyard_relay', coalesce(v_said, 'work'));
end
$$;
revoke execute on function switchyard.wake_relay_for from public;

drop function switchyard.add_job(
    uuid, text, jsonb, text, text, switchyard.key_mode, bigint, integer, timestamptz, integer, uuid, uuid, uuid, bigint,
    text, text, integer, text, text
);
-- Adds a job, in the caller's transaction. Returns its id and what became of it: `added`; `superseded` when its key has
-- seen a newer one (it is recorded as such at once); `kept` when a queued one with its key stays (its id is returned);
-- `refused` when it comes from an event and its task, tenant or queue is draining (it is recorded as dead, to be replayed).
-- Anybody else's job is refused with an error then.
--
-- p_debounce: it waits until no other job with its key has come for so long, but not longer than ten times that since the
-- first of them.
create function switchyard.add_job(
    p_database_id uuid,
    p_task text,
    p_payload jsonb,
    p_queue_name text default null,
    p_key text default null,
    p_key_mode switchyard.key_mode default 'replace',
    p_seq bigint default null,
    p_priority integer default 0,
    p_run_at timestamptz default null,
    p_attempts_max integer default null,
    p_event_id uuid default null,
    p_binding_id uuid default null,
    p_workload_id uuid default null,
    p_replay_of bigint default null,
    p_correlation_id text default null,
    p_causation_id text default null,
    p_depth integer default 0,
    p_traceparent text default null,
    p_actor text default null,
    p_debounce interval default null,
    out job_id bigint,
    out outcome text
)
language plpgsql security definer set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set jit = off
as $$
#variable_conflict use_column
declare
    c_debounces_max constant integer := 10;
    v_job switchyard.jobs;
    v_old switchyard.jobs;
    v_undecided switchyard.jobs;
    v_found switchyard.jobs;
    v_high_water bigint;
    -- Only where there is a key does it matter which is the newest.
    v_seq bigint := coalesce(p_seq, case when p_key is null then 0 else nextval('switchyard.accepted') end);
    v_run_at timestamptz := coalesce(p_run_at, now() + p_debounce, now());
    v_due boolean := v_run_at <= now();
    v_lane bigint;
    v_drains boolean;
    v_refused text;
    v_attempts_max integer;
    v_put_off_since timestamptz;
    v_open boolean;
    v_armed boolean;
begin
    -- With the gate's lock, shared until the caller commits: see `activate_lane`.
    if p_queue_name is null then
        select l.id, l.drains,
            coalesce(
                p_attempts_max, l.attempts_max, (select attempts_max from switchyard.tasks where name = p_task), 5
            ),
            pg_advisory_xact_lock_shared(l.gate_key)
        into v_lane, v_drains, v_attempts_max
        from switchyard.lanes l
        where l.database_id = p_database_id and l.task = p_task and l.queue_name is null;
    end if;
    if v_lane is null then
        v_lane := switchyard.lane_of(p_database_id, p_task, p_queue_name);
        select exists (select from switchyard.pauses where kind = 'drain'),
            coalesce(p_attempts_max, (select attempts_max from switchyard.tasks where name = p_task), 5),
            pg_advisory_xact_lock_shared(l.gate_key)
        into v_drains, v_attempts_max
        from switchyard.lanes l
        where l.id = v_lane;
    end if;
    if v_attempts_max < 1 then
        raise exception 'a job has at least one attempt, not %', v_attempts_max using errcode = 'check_violation';
    end if;
    if v_drains then
        v_refused := switchyard.draining(p_database_id, p_task, p_queue_name);
        if v_refused is not null and p_event_id is null then
            raise exception '%', v_refused
                using errcode = 'object_in_use', hint = 'Add it again when it is resumed, or somewhere else.';
        end if;
    end if;

    if p_key is not null and v_refused is null then
        -- Locks the key until the caller commits: jobs of one key are added one after the other.
        insert into switchyard.job_keys as k (database_id, key, high_water)
        values (p_database_id, p_key, v_seq)
        on conflict (database_id, key) do update set high_water = greatest(k.high_water, excluded.high_water)
        returning high_water into v_high_water;

        -- In one statement: one that is approved meanwhile is found as the queued one that it has become.
        for v_found in
            select * from switchyard.jobs
            where database_id = p_database_id and key = p_key
              and (state = 'queued' or state = 'waiting' and waiting = 'approval')
            order by id
            for update
        loop
            if v_found.state = 'queued' then
                v_old := v_found;
            else
                v_undecided := v_found;
            end if;
        end loop;
        if v_old.id is not null and v_high_water = v_seq then
            if p_debounce is not null then
                v_put_off_since := coalesce(v_old.put_off_since, v_old.created_at);
                v_run_at := least(v_run_at, v_put_off_since + p_debounce * c_debounces_max);
                v_due := v_run_at <= now();
            end if;
            case p_key_mode
            when 'ignore' then
                job_id := v_old.id;
                outcome := 'kept';
                return;
            when 'preserve' then
                update switchyard.jobs
                set payload = p_payload, seq = v_seq, event_id = p_event_id, binding_id = p_binding_id,
                    correlation_id = p_correlation_id, causation_id = p_causation_id,
                    depth = greatest(depth, p_depth), traceparent = p_traceparent,
                    run_at = case when p_debounce is null then run_at else v_run_at end,
                    due = case when p_debounce is null then due else v_due end,
                    put_off_since = case when p_debounce is null then put_off_since else v_put_off_since end
                where id = v_old.id and state = 'queued'
                returning * into v_old;
                if p_debounce is not null then
                    if v_old.due then
                        perform switchyard.activate_lane(v_old.lane_id, v_old.priority, v_old.run_at);
                    end if;
                    perform switchyard.wake_relay('work');
                end if;
                job_id := v_old.id;
                outcome := 'kept';
                return;
            when 'replace' then
                -- Ended below, once its successor has an id to be named by.
            end case;
        end if;
    end if;

    job_id := nextval('switchyard.jobs_id_seq');
    if v_old.id is not null and v_high_water = v_seq then
        perform switchyard.note_job(v_old, 'superseded', jsonb_build_object('by', job_id));
        perform switchyard.end_queued_job(v_old, 'superseded', 'job ' || job_id || ' with the same key is newer');
    end if;
    insert into switchyard.jobs (
        id, database_id, lane_id, task, queue_name, key, seq, due, priority, run_at, attempts_max, payload,
        event_id, binding_id, workload_id, replay_of, correlation_id, causation_id, depth, traceparent, actor,
        put_off_since
    ) overriding system value values (
        job_id, p_database_id, v_lane, p_task, p_queue_name,
        -- A late job never enters the key's place, which may be taken.
        case when v_high_water > v_seq or v_refused is not null then null else p_key end,
        v_seq, v_due, p_priority, v_run_at, v_attempts_max, p_payload, p_event_id, p_binding_id,
        p_workload_id, p_replay_of, p_correlation_id, p_causation_id, p_depth, p_traceparent, p_actor,
        v_put_off_since
    );

    if v_undecided.id is not null and v_high_water = v_seq then
        -- What waits for a person gives way as well; what has work outside never does.
        perform switchyard.count_again(v_undecided);
        perform switchyard.note_job(v_undecided, 'superseded', jsonb_build_object('by', job_id));
        perform switchyard.end_job(
            v_undecided, 'superseded', 'job ' || job_id || ' with the same key is newer', null
        );
    end if;
    if v_high_water > v_seq or v_refused is not null then
        select * into v_job from switchyard.jobs where id = job_id;
        v_job.key := p_key;
        if v_refused is not null then
            perform switchyard.note_job(v_job, 'refused', jsonb_build_object('why', v_refused));
            perform switchyard.end_queued_job(v_job, 'dead', 'refused: ' || v_refused);
            outcome := 'refused';
        else
            perform switchyard.note_job(v_job, 'superseded', jsonb_build_object('seq', v_seq, 'newest', v_high_water));
            perform switchyard.end_queued_job(v_job, 'superseded', 'an event that was accepted later came first');
            outcome := 'superseded';
        end if;
        return;
    end if;
    outcome := 'added';
    if v_due and current_setting('transaction_isolation') <> 'read committed' then
        -- What this transaction sees of the lane may be old: it is written, which fails if somebody else wrote it since.
        perform switchyard.open_lane(v_lane, p_priority, v_run_at);
        perform switchyard.wake_relay('work');
        return;
    end if;
    -- After the job: a turn that did not see it is seen here.
    select
        l.active and v_run_at >= l.next_front
            -- In a queue it may come before the head, which decides whose workers look there.
            and (l.queue_name is null or l.task = p_task)
            and (l.priorities is null or coalesce(l.fronts[array_position(l.priorities, p_priority)] <= v_run_at, false)),
        f.armed
    into v_open, v_armed
    from switchyard.lanes l, switchyard.relay_flags f
    where l.id = v_lane and f.broker = 'work';
    if v_due and not v_open then
        perform switchyard.open_lane(v_lane, p_priority, v_run_at);
    end if;
    if v_armed then
        perform switchyard.wake_relay_for(job_id, v_lane, v_due and p_key is null);
    end if;
end
$$;
revoke execute on function switchyard.add_job from public;
grant execute on function switchyard.add_job to switchyard_system;

-- Whether somebody must look if the relay of `work` is to be told of new jobs: 1 while it asks, 0 when it is awake, else the
-- transaction that tells it, which may yet roll back. A sequence can be read at a part of what a row costs, and as it is now.
create sequence switchyard.work_asked as bigint minvalue 0 start 0;
select setval('switchyard.work_asked', 1);
grant select on sequence switchyard.work_asked to switchyard_system;

-- Disarms the flag of the relay of `work`, unless a stranger's transaction has it in hand. Whoever adds jobs once this is
-- committed need not look.
create function switchyard.disarm_work() returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_by xid;
begin
    perform from switchyard.relay_flags where broker = 'work' for update skip locked;
    if not found then
        return;
    end if;
    update switchyard.relay_flags set armed = false where broker = 'work' and armed returning xmin into v_by;
    -- What a savepoint takes back would be taken for told.
    if v_by = pg_current_xact_id()::xid then
        perform setval('switchyard.work_asked', pg_current_xact_id()::text::bigint);
    end if;
end
$$;
revoke execute on function switchyard.disarm_work from public;

create or replace function switchyard.wake_relay(p_broker switchyard.broker) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if not (select armed from switchyard.relay_flags where broker = p_broker) then
        return;
    end if;
    if p_broker = 'work' then
        perform switchyard.disarm_work();
    else
        perform from switchyard.relay_flags where broker = p_broker for update skip locked;
        if found then
            update switchyard.relay_flags set armed = false where broker = p_broker and armed;
        end if;
    end if;
    perform pg_notify('switchyard_relay', p_broker::text);
end
$$;

create or replace function switchyard.arm_relay(p_broker switchyard.broker) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- First, and for everybody at once: who still reads 0 has looked before the relay looks again.
    if p_broker = 'work' and pg_sequence_last_value('switchyard.work_asked') <> 1 then
        perform setval('switchyard.work_asked', 1);
    end if;
    update switchyard.relay_flags set armed = true where broker = p_broker and not armed;
end
$$;

-- The relay is awake and will look again before it sleeps. Not flushed: who reads what was before only looks at the flag.
create function switchyard.relay_heard(p_broker switchyard.broker) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp set synchronous_commit = off
as $$
begin
    if p_broker = 'work' then
        perform setval('switchyard.work_asked', 0);
    end if;
end
$$;
revoke execute on function switchyard.relay_heard from public;
grant execute on function switchyard.relay_heard to switchyard_system;

-- Jobs with nothing special about them: no named queue, key, time, priority, tries, event or workload of their own. What is
-- inserted here becomes a job if its lane is open for that and no relay asks to be told, else nothing, and who inserts asks
-- `add_job`. A rule and not a function, because it is rewritten into one insert: nothing is set up, called or looked at twice.
-- It can do no more than a function: the lane, and with it the tenant and task, are those found, under the owner's rights.
--
-- One look is enough. Whose lock was had at some time adds a job with a later run_at, to a transaction that began at most
-- half a second before. What was turned before that time moves no front beyond a second before it; what is turned later
-- finds the lock taken, of whichever gate it is, before it may move them further. `rest_lane` says why it does not rest.
create view switchyard.plain_jobs as
    select id, database_id, task, payload from switchyard.jobs where false;
create rule add as on insert to switchyard.plain_jobs do instead
    insert into switchyard.jobs (database_id, lane_id, task, seq, due, run_at, attempts_max, payload)
    select l.database_id, l.id, l.task, 0, true, clock_timestamp(), l.attempts_max, new.payload
    from switchyard.lanes l
    where l.database_id = new.database_id and l.task = new.task and l.queue_name is null
      and case
          when l.plain_from <= clock_timestamp() then
              case
                  when pg_try_advisory_xact_lock_shared(l.gate_key) then
                      clock_timestamp() < transaction_timestamp() + interval '0.5 seconds'
                      and case pg_sequence_last_value('switchyard.work_asked')
                          when 0 then true
                          when 1 then false
                          -- Unknown, and so false, when it is long ago.
                          else pg_xact_status(pg_sequence_last_value('switchyard.work_asked')::text::xid8) = 'committed'
                      end
                  else false
              end
          else false
      end
    returning id, database_id, task, payload;
grant insert (database_id, task, payload), select (id) on switchyard.plain_jobs to switchyard_system;

-- From when on there may be queued jobs that are not due yet, and leases that end, in milliseconds since 1970. Sequences,
-- because a value that is written often and read always must not leave dead rows behind; a value that is too small costs
-- time only.
create sequence switchyard.later_from as bigint minvalue 0 start 0;
create sequence switchyard.leases_from as bigint minvalue 0 start 0;

drop function switchyard.make_due(integer);
-- Makes jobs ready whose time has come. Part of every claim, and of the relay's and the reaper's work. p_all: also looks
-- where nothing is expected: a job may have been added long before its transaction was committed.
create function switchyard.make_due(p_limit integer, p_all boolean default false) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set jit = off
as $$
declare
    v_from timestamptz := '-infinity';
    v_lane record;
    v_made integer := 0;
begin
    if not p_all then
        select to_timestamp(s.last_value / 1000.0) into v_from from switchyard.later_from s;
        -- Mostly there is none, and to find that out is all.
        if not exists (
            select from switchyard.jobs where state = 'queued' and not due and run_at <= now() and run_at >= v_from
        ) then
            return 0;
        end if;
    end if;
    -- Lanes in the order of ids, as everybody who takes several.
    for v_lane in
        with made as (
            update switchyard.jobs j
            set due = true
            from (
                select id from switchyard.jobs
                where state = 'queued' and not due and run_at <= now() and run_at >= v_from
                order by run_at
                limit p_limit
                for update skip locked
            ) picked
            where j.id = picked.id
            returning j.id, j.lane_id, j.priority, j.run_at, j.queue_name
        )
        select lane_id, priority, min(run_at) as run_at, array_agg(id) as jobs, bool_or(queue_name is not null) as queued
        from made
        group by lane_id, priority
        order by lane_id, priority
    loop
        v_made := v_made + cardinality(v_lane.jobs);
        if v_lane.queued then
            -- The job that holds a named queue steps back to be claimed again, before all others of the queue.
            update switchyard.lanes set in_flight = 0 where id = v_lane.lane_id and holder = any (v_lane.jobs);
        end if;
        perform switchyard.activate_lane(v_lane.lane_id, v_lane.priority, v_lane.run_at);
        if v_lane.queued then
            perform switchyard.look_at_head(v_lane.lane_id);
        end if;
    end loop;
    if p_all then
        perform setval('switchyard.later_from', greatest(floor(extract(epoch from least(
            (select min(run_at) from switchyard.jobs where state = 'queued' and not due), now() - interval '5 seconds'
        )) * 1000)::bigint, 0));
    end if;
    return v_made;
end
$$;
revoke execute on function switchyard.make_due from public;
grant execute on function switchyard.make_due to switchyard_system;

-- The priorities that the ready jobs of a lane have, for one that has too many to remember.
create function switchyard.priorities_of(p_lane bigint) returns integer[]
language sql stable set search_path = pg_catalog, pg_temp
begin atomic
    with recursive known (priority) as (
        (
            select priority from switchyard.jobs
            where lane_id = p_lane and state = 'queued' and due
            order by priority
            limit 1
        )
        union all
        select (
            select j.priority from switchyard.jobs j
            where j.lane_id = p_lane and j.state = 'queued' and j.due and j.priority > k.priority
            order by j.priority
            limit 1
        )
        from known k
        where k.priority is not null
    )
    select coalesce(array_agg(priority order by priority), '{}') from known where priority is not null;
end;

-- The next tenants after one, in the order of their ids, that have a lane which may be claimed: each is found by a look
-- into the index, whatever lies between. p_before: not this one and none after it.
create function switchyard.tenants_after(p_tasks text[], p_after uuid, p_before uuid, p_limit integer) returns uuid[]
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set jit = off
as $$
declare
    v_found uuid[] := '{}';
    v_at uuid := p_after;
begin
    while cardinality(v_found) < p_limit loop
        select l.database_id into v_at
        from unnest(p_tasks) as k (task)
        cross join lateral (
            select database_id from switchyard.lanes
            where task = k.task and database_id > v_at and active and not is_full and not paused
            order by database_id
            limit 1
        ) l
        order by l.database_id
        limit 1;
        exit when not found or v_at >= p_before;
        v_found := v_found || v_at;
    end loop;
    return v_found;
end
$$;

drop function switchyard.claim_jobs(uuid, text[], integer, interval);
-- Takes up to p_limit ready jobs of the given tasks, fair across tenants first and lanes second: those tenants that have
-- work get their parts by weight; where there are more tenants than places, turn by turn. Whose turn it is the caller
-- remembers: p_after is the tenant that was served last and p_used how many jobs in a row it got; the next one is the first
-- after it in the order of ids. A lane with a cap that somebody else holds is passed over: it is busy, not empty.
-- p_lane: only from this one. They come in no order.
create function switchyard.claim_jobs(
    p_worker uuid, p_tasks text[], p_limit integer, p_lease interval, p_after uuid default null, p_used integer default 0,
    p_lane bigint default null
)
returns setof switchyard.jobs
language plpgsql security definer set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
declare
    c_none constant uuid := '00000000-0000-0000-0000-000000000000';
    -- Tenants that are looked at together.
    c_stretch_min constant integer := 16;
    c_stretch_max constant integer := 256;
    v_tasks text[] := p_tasks;
    v_paused boolean;
    v_limited boolean;
    v_has_limits boolean := false;
    -- The limits that this claim may use.
    v_locked bigint[];
    -- Rounds of a stretch that may find only lanes that give nothing now.
    c_patience constant integer := 16;
    v_patience integer;
    v_moved boolean;
    -- Lanes in which nothing could be taken.
    v_bare bigint[] := '{}';
    v_next_bare bigint[];
    v_start uuid := coalesce(p_after, gen_random_uuid());
    v_at uuid := v_start;
    v_first uuid[] := case when p_after is null then '{}' else array[p_after] end;
    -- The same, for the end.
    v_last uuid[] := v_first;
    v_limit integer;
    v_half integer := 1;
    v_waiting uuid[] := '{}';
    v_fresh boolean := true;
    v_next uuid[];
    v_left integer := p_limit;
    v_tenants uuid[];
    v_quotas integer[];
    -- What is wanted from which lane.
    v_lanes bigint[];
    v_owners uuid[];
    v_wants integer[];
    v_capped boolean[];
    v_queues bigint[];
    v_turnable bigint[];
    v_heads bigint[];
    v_strange bigint[];
    v_empty bigint[];
    -- What was taken: the rows, and of each its lane.
    v_tids tid[];
    v_of bigint[];
    v_more tid[];
    v_ids bigint[];
    v_more_of bigint[];
    v_taken integer;
    v_lane bigint;
    v_now timestamptz;
    c_time_max constant interval := '2 minutes';
    -- The time that an attempt may take, where all these tasks have the same.
    v_time_max interval;
    -- Transactions that have not ended, the age of the first one that had not begun, and this one, whose locks are no reason.
    v_running xid[];
    v_age integer;
    v_own xid;
    -- The only lane there is to look at.
    v_only bigint := p_lane;
    v_lanes_open integer;
begin
    perform pg_advisory_xact_lock_shared(1398230852, 1);
    -- Mostly there is none, and to find that out is all.
    if exists (
        select from switchyard.jobs
        where state = 'queued' and not due and run_at <= now()
          and run_at >= (select to_timestamp(s.last_value / 1000.0) from switchyard.later_from s)
    ) then
        perform switchyard.make_due(p_limit * 2);
    end if;
    select case when min(t.longest) = max(t.longest) then min(t.longest) end,
        exists (select from switchyard.pauses where kind = 'pause' and database_id is null),
        exists (select from switchyard.limits)
    into v_time_max, v_paused, v_limited
    from (
        select coalesce(a.attempt_time_max, c_time_max) as longest
        from unnest(p_tasks) as k (task)
        left join switchyard.tasks a on a.name = k.task
    ) t;
    if v_paused then
        select coalesce(array_agg(k.task), '{}') into v_tasks
        from unnest(p_tasks) as k (task)
        where not exists (
            select from switchyard.pauses p where p.kind = 'pause' and p.database_id is null and p.task = k.task
        );
    end if;
    if v_only is null and not v_limited then
        -- Often there is work in one lane alone, and nobody to be fair to.
        select count(*), min(l.id) into v_lanes_open, v_only
        from (
            select l.id
            from unnest(v_tasks) as k (task)
            cross join lateral (
                select id from switchyard.lanes
                where task = k.task and active and not is_full and not paused
                limit 2
            ) l
            limit 2
        ) l;
        if v_lanes_open = 0 then
            return;
        elsif v_lanes_open > 1 then
            v_only := null;
        end if;
    end if;

    <<stretches>>
    while v_left > 0 loop
        if v_only is not null then
            exit stretches when v_half > 1;
            v_half := 2;
            if v_limited then
                select array[database_id], array[v_left] into v_tenants, v_quotas from switchyard.lanes where id = v_only;
            end if;
        else
            v_tenants := v_first || v_waiting;
            v_waiting := '{}';
            v_limit := least(greatest(v_left, c_stretch_min), c_stretch_max);
            -- Once round: from the one served last to the end, then from the beginning to it.
            while v_half <= 2 and cardinality(v_tenants) < v_limit and (v_fresh or cardinality(v_tenants) = 0) loop
                v_next := switchyard.tenants_after(
                    v_tasks, v_at, case v_half when 2 then v_start end, v_limit - cardinality(v_tenants)
                );
                if cardinality(v_next) = 0 then
                    v_half := v_half + 1;
                    v_at := c_none;
                else
                    v_at := v_next[cardinality(v_next)];
                    v_tenants := v_tenants || v_next;
                end if;
            end loop;
            if cardinality(v_tenants) = 0 then
                -- Nobody else wants the rest: it goes to the one who has had its turn.
                v_tenants := v_last;
                v_last := '{}';
                exit stretches when cardinality(v_tenants) = 0;
            end if;
            -- Their parts: by weight where there is enough for all, else so many for each until it is used up.
            select array_agg(greatest(least(q.part, v_left - q.before), 0)::integer order by q.place)
            into v_quotas
            from (
                select p.place, p.part, coalesce(sum(p.part) over (
                    order by p.place rows between unbounded preceding and 1 preceding
                ), 0) as before
                from (
                    select w.place,
                        case
                            when v_left >= sum(w.quantum) over () then
                                greatest(floor(v_left * w.weight / sum(w.weight) over ()), 1)
                            when w.tenant = any (v_first) then greatest(w.quantum - p_used, 0)
                            else w.quantum
                        end as part
                    from (
                        select t.tenant, t.place, coalesce(s.weight, 1) as weight,
                            -- Who weighs least gets one.
                            least(round(coalesce(s.weight, 1) / min(coalesce(s.weight, 1)) over ()), 1000) as quantum
                        from unnest(v_tenants) with ordinality as t (tenant, place)
                        left join switchyard.shares s on s.database_id = t.tenant
                    ) w
                ) p
            ) q;
            -- Who got no part yet is next, if the others leave something.
            v_waiting := array(
                select q.tenant
                from unnest(v_tenants, v_quotas) with ordinality as q (tenant, quota, place)
                where q.quota = 0 and not q.tenant = any (v_first)
                order by q.place
            );
            v_fresh := false;
            v_first := '{}';
        end if;
        if v_limited then
            -- Before any lane, in one order; later ones only if nobody has them, for who waits with something in hand may
            -- wait for one who waits for him.
            if not v_has_limits then
                v_has_limits := true;
                v_locked := array(
                    select m.id from switchyard.limits m
                    where (m.database_id is null or m.database_id = any (v_tenants))
                      and (m.task is null or m.task = any (v_tasks))
                    order by m.id
                    for no key update
                );
            else
                v_locked := v_locked || array(
                    select m.id from switchyard.limits m
                    where (m.database_id is null or m.database_id = any (v_tenants))
                      and (m.task is null or m.task = any (v_tasks))
                    order by m.id
                    for no key update skip locked
                );
            end if;
        end if;

        -- One tenant's lanes that give nothing must not use up what others are looked for with.
        v_patience := c_patience;
        <<rounds>>
        loop
            -- Each tenant's lanes that waited longest.
            if v_only is not null then
                select array[l.id], array[l.database_id], array[v_left], array[l.cap is not null],
                    case when l.queue_name is null then '{}' else array[l.id] end,
                    case when l.turned_at < clock_timestamp() - interval '1 second' then array[l.id] else '{}' end
                into v_lanes, v_owners, v_wants, v_capped, v_queues, v_turnable
                from switchyard.lanes l
                where l.id = v_only and l.active and not l.is_full and not l.paused;
            else
                select array_agg(l.id), array_agg(t.tenant),
                    array_agg((t.quota / l.lanes + (l.place <= t.quota % l.lanes)::integer)::integer),
                    array_agg(l.cap is not null),
                    coalesce(array_agg(l.id) filter (where l.queue_name is not null), '{}'),
                    coalesce(array_agg(l.id) filter (
                        where l.turned_at < clock_timestamp() - interval '1 second'
                    ), '{}')
                into v_lanes, v_owners, v_wants, v_capped, v_queues, v_turnable
                from unnest(v_tenants, v_quotas) as t (tenant, quota)
                cross join lateral (
                    select c.id, c.cap, c.queue_name, c.turned_at,
                        count(*) over () as lanes, row_number() over (order by c.served_at, c.id) as place
                    from (
                        select o.*
                        from (
                            select l.id, l.cap, l.queue_name, l.turned_at, l.served_at
                            from unnest(v_tasks) as k (task)
                            join switchyard.lanes l
                                on l.database_id = t.tenant and l.task = k.task and l.queue_name is null
                            where l.active and not l.is_full and not l.paused and not l.id = any (v_bare)
                            union all
                            select l.id, l.cap, l.queue_name, l.turned_at, l.served_at
                            from unnest(v_tasks) as k (task)
                            cross join lateral (
                                select q.id, q.cap, q.queue_name, q.turned_at, q.served_at
                                from switchyard.lanes q
                                where q.task = k.task and q.database_id = t.tenant
                                  and q.active and not q.is_full and not q.paused and q.queue_name is not null
                                  and not q.id = any (v_bare)
                                order by q.served_at, q.id
                                limit t.quota
                            ) l
                        ) o
                        order by o.served_at, o.id
                        limit t.quota
                    ) c
                ) l
                where t.quota > 0;
            end if;
            exit rounds when v_lanes is null;

            -- Before limits are shared out: what somebody else has in hand must not use up what others could take.
            if true = any (v_capped) then
                with locked as materialized (
                    select l.id, l.cap - l.in_flight as room, l.active and not l.paused as is_open
                    from switchyard.lanes l
                    where l.id in (
                        select w.lane from unnest(v_lanes, v_wants, v_capped) as w (lane, want, capped)
                        where w.capped and w.want > 0
                    )
                    order by l.id
                    for no key update skip locked
                )
                select array_agg(r.lane) filter (where r.can), array_agg(r.owner) filter (where r.can),
                    array_agg(r.want) filter (where r.can),
                    v_bare || coalesce(array_agg(r.lane) filter (where not r.can), '{}')
                into v_lanes, v_owners, v_wants, v_bare
                from (
                    select w.lane, w.owner, least(w.want, coalesce(k.room, w.want)) as want,
                        not w.capped or coalesce(k.is_open and coalesce(k.room > 0, true), false) as can
                    from unnest(v_lanes, v_owners, v_wants, v_capped) as w (lane, owner, want, capped)
                    left join locked k on k.id = w.lane
                ) r;
                if v_lanes is null then
                    -- There may be others.
                    v_patience := v_patience - 1;
                    exit rounds when v_only is not null or v_patience <= 0;
                    continue rounds;
                end if;
                v_queues := array(select unnest(v_queues) intersect select unnest(v_lanes));
            end if;

            if v_limited then
                -- First what tenants may have, then of that what tasks may.
                select array_agg(greatest(least(k.want, case
                        when m.id is null then k.want
                        when m.id = any (v_locked) then switchyard.spare(m) - k.before
                        else 0
                    end), 0)::integer order by k.place)
                into v_wants
                from (
                    select t.*, coalesce(sum(t.want) over (
                        partition by t.task order by t.place rows between unbounded preceding and 1 preceding
                    ), 0) as before
                    from (
                        select w.place, w.task,
                            greatest(least(
                                w.want, tenants.spare - w.of_tenant, tenants_task.spare - w.of_tenants_task
                            ), 0) as want
                        from (
                            select w.place, w.want, l.database_id, l.task,
                                coalesce(sum(w.want) over (
                                    partition by l.database_id order by w.place
                                    rows between unbounded preceding and 1 preceding
                                ), 0) as of_tenant,
                                coalesce(sum(w.want) over (
                                    partition by l.database_id, l.task order by w.place
                                    rows between unbounded preceding and 1 preceding
                                ), 0) as of_tenants_task
                            from unnest(v_lanes, v_wants) with ordinality as w (lane, want, place)
                            join switchyard.lanes l on l.id = w.lane
                        ) w
                        left join lateral (
                            select case when m.id = any (v_locked) then switchyard.spare(m) else 0 end as spare
                            from switchyard.limits m
                            where m.database_id = w.database_id and m.task is null
                        ) tenants on true
                        left join lateral (
                            select case when m.id = any (v_locked) then switchyard.spare(m) else 0 end as spare
                            from switchyard.limits m
                            where m.database_id = w.database_id and m.task = w.task
                        ) tenants_task on true
                    ) t
                ) k
                left join switchyard.limits m on m.database_id is null and m.task = k.task;
                v_queues := array(
                    select unnest(v_queues)
                    intersect
                    select w.lane from unnest(v_lanes, v_wants) as w (lane, want) where w.want > 0
                );
            end if;

            v_tids := '{}';
            v_of := '{}';
            v_moved := false;
            v_running := array(select x::xid from pg_snapshot_xip(pg_current_snapshot()) as x);
            v_age := age(pg_snapshot_xmax(pg_current_snapshot())::xid);
            v_own := coalesce(pg_current_xact_id_if_assigned()::xid, '0'::xid);
            -- From the lanes of tasks, what nobody else has in hand.
            if cardinality(v_queues) < cardinality(v_lanes) then
                select coalesce(array_agg(p.at), '{}'), coalesce(array_agg(w.lane), '{}')
                into v_tids, v_of
                from unnest(v_lanes, v_wants) as w (lane, want)
                -- Hidden from the planner, which else would read all lanes of tasks.
                join switchyard.lanes l on l.id = w.lane and nullif(l.queue_name, '') is null
                cross join lateral (
                    select j.at
                    from unnest(
                        coalesce(l.priorities, switchyard.priorities_of(l.id)), l.fronts
                    ) as u (priority, front)
                    cross join lateral (
                        select j.ctid as at
                        from switchyard.jobs j
                        where j.lane_id = w.lane and j.priority = u.priority
                          and j.run_at >= coalesce(u.front, '-infinity')
                          and j.state = 'queued' and j.due
                          -- What somebody else has in hand, or has taken since this looked, is passed over here at a
                          -- part of what a try to lock it costs.
                          and j.xmax <> all (v_running) and (age(j.xmax) > v_age or j.xmax = v_own)
                          -- The second job of a key waits behind the one that is worked on.
                          and (j.key is null or not exists (
                              select from switchyard.jobs h
                              where h.database_id = j.database_id and h.key = j.key and h.state <> 'queued'
                          ))
                        order by j.run_at, j.id
                        limit w.want
                        for update of j skip locked
                    ) j
                    limit w.want
                ) p
                where w.want > 0;
            end if;
            -- A queue gives its head or nothing: order is what it is for.
            if cardinality(v_queues) > 0 then
                select
                    coalesce(array_agg(h.head) filter (where h.fits), '{}'),
                    coalesce(array_agg(h.lane) filter (where not h.fits), '{}'),
                    coalesce(array_agg(h.lane) filter (where h.head is null), '{}')
                into v_heads, v_strange, v_empty
                from (
                    select l.id as lane, j.id as head,
                        j.task = any (v_tasks) and (not v_limited or j.task = l.task)
                            and not switchyard.is_paused(l.database_id, j.task, l.queue_name) as fits
                    from unnest(v_lanes, v_wants) as w (lane, want)
                    join switchyard.lanes l on l.id = w.lane and nullif(l.queue_name, '') is not null
                    left join switchyard.jobs j on j.id = switchyard.head_job(l)
                    where w.want > 0
                ) h;
                select coalesce(array_agg(j.at), '{}'), coalesce(array_agg(j.lane_id), '{}')
                into v_more, v_more_of
                from (
                    select j.ctid as at, j.lane_id
                    from switchyard.jobs j
                    where j.id = any (v_heads) and j.state = 'queued' and j.due
                      and (j.key is null or not exists (
                          select from switchyard.jobs h
                          where h.database_id = j.database_id and h.key = j.key and h.state <> 'queued'
                      ))
                    for update of j skip locked
                ) j;
                v_tids := v_tids || v_more;
                v_of := v_of || v_more_of;
                -- The head is of a task whose workers look elsewhere: they are told.
                foreach v_lane in array v_strange loop
                    perform switchyard.look_at_head(v_lane);
                    perform switchyard.wake_relay('work');
                end loop;
                foreach v_lane in array v_empty loop
                    perform switchyard.rest_lane(v_lane);
                end loop;
                -- What gave nothing goes behind the others, for it would stand in their way.
                update switchyard.lanes
                set served_at = clock_timestamp()
                where id = any (v_queues) and not id = any (v_more_of);
                v_moved := found;
                -- One whose head is of another task than it was thought may be looked into again.
                v_bare := v_bare || array(
                    select q.lane from unnest(v_queues) as q (lane)
                    where not q.lane = any (v_more_of) and not q.lane = any (v_strange)
                );
            end if;

            v_taken := cardinality(v_tids);
            if v_taken > 0 then
                v_now := clock_timestamp();
                if v_limited then
                    select array_agg(j.id) into v_ids from switchyard.jobs j where j.ctid = any (v_tids);
                end if;
                return query
                    update switchyard.jobs j
                    set state = 'running',
                        due = false,
                        epoch = j.epoch + 1,
                        attempts = j.attempts + 1,
                        worker = p_worker,
                        started_at = v_now,
                        attempt_until = v_now + coalesce(
                            v_time_max,
                            (select k.attempt_time_max from switchyard.tasks k where k.name = j.task),
                            c_time_max
                        ),
                        lease_until = v_now + least(p_lease, coalesce(
                            v_time_max,
                            (select k.attempt_time_max from switchyard.tasks k where k.name = j.task),
                            c_time_max
                        ))
                    where j.ctid = any (v_tids)
                    returning j.*;
                v_left := v_left - v_taken;
                if true = any (v_capped) then
                    update switchyard.lanes l
                    set in_flight = l.in_flight + t.jobs, served_at = v_now, holder = null
                    from (select o.lane, count(*)::integer as jobs from unnest(v_of) as o (lane) group by o.lane) t
                    where l.id = t.lane and l.cap is not null;
                end if;
                if v_limited then
                    update switchyard.limits m
                    set in_flight = case
                            when m.in_flight_max is null then m.in_flight
                            else m.in_flight + c.jobs
                        end,
                        tokens = switchyard.tokens_now(m) - c.jobs,
                        refilled_at = case when m.rate is not null then v_now end
                    from (
                        select n.id, sum(t.jobs)::integer as jobs
                        from (
                            select j.database_id, j.task, count(*) as jobs
                            from switchyard.jobs j
                            where j.worker = p_worker and j.id = any (v_ids)
                            group by j.database_id, j.task
                        ) t
                        join switchyard.limits n
                            on (n.database_id is null or n.database_id = t.database_id) and (n.task is null or n.task = t.task)
                        group by n.id
                    ) c
                    where m.id = c.id;
                end if;
            end if;
            -- Where nothing was found a lane rests, unless it was busy a moment ago; where something was it is turned.
            foreach v_lane in array v_turnable loop
                if v_lane = any (v_of) then
                    perform switchyard.turn_lane(v_lane);
                elsif not v_lane = any (v_queues) then
                    perform switchyard.rest_idle_lane(v_lane);
                end if;
            end loop;

            exit stretches when v_left <= 0;
            exit rounds when v_only is not null;
            -- One that was given no part of a limit was not looked into.
            v_next_bare := array(
                select w.lane from unnest(v_lanes, v_wants) as w (lane, want)
                where w.want > 0 and not w.lane = any (v_queues) and not w.lane = any (v_of)
            );
            if cardinality(v_next_bare) > 0 then
                v_bare := v_bare || v_next_bare;
                v_moved := true;
            end if;
            if v_taken = 0 then
                v_patience := v_patience - 1;
                exit rounds when not v_moved or v_patience <= 0;
                continue rounds;
            end if;
            -- What one tenant leaves goes to those that took all they were given, or looked where nothing was.
            select array_agg(h.tenant order by h.place),
                array_agg((v_left / h.tenants + (h.place <= v_left % h.tenants)::integer)::integer order by h.place)
            into v_tenants, v_quotas
            from (
                select q.tenant, row_number() over (order by q.place) as place, count(*) over () as tenants
                from unnest(v_tenants, v_quotas) with ordinality as q (tenant, quota, place)
                where q.quota > 0 and (
                    q.quota <= (
                        select count(*)
                        from unnest(v_lanes, v_owners) as w (lane, owner)
                        join unnest(v_of) as o (lane) on o.lane = w.lane
                        where w.owner = q.tenant
                    )
                    or exists (
                        select from unnest(v_lanes, v_owners) as w (lane, owner)
                        where w.owner = q.tenant and w.lane = any (v_next_bare)
                    )
                )
            ) h;
            exit rounds when v_tenants is null;
        end loop rounds;
    end loop stretches;
end
$$;
revoke execute on function switchyard.claim_jobs from public;
grant execute on function switchyard.claim_jobs to switchyard_system;

-- What a bucket holds now. Null where there is no rate.
create function switchyard.tokens_now(p_limit switchyard.limits) returns double precision
language sql stable
return case
    when p_limit.rate is not null then least(
        p_limit.burst, p_limit.tokens + p_limit.rate * extract(epoch from clock_timestamp() - p_limit.refilled_at)
    )
end;

-- How many jobs a limit lets start now.
create function switchyard.spare(p_limit switchyard.limits) returns integer
language sql stable
return greatest(least(
    p_limit.in_flight_max - p_limit.in_flight, floor(switchyard.tokens_now(p_limit))::integer
), 0);

-- Puts the lane of a task to rest that had no work for two seconds. Nothing when somebody else is at it.
create function switchyard.rest_idle_lane(p_lane bigint) returns void
language plpgsql set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set jit = off
as $$
begin
    perform from switchyard.lanes
    where id = p_lane and active and turned_at < clock_timestamp() - interval '2 seconds'
    for no key update skip locked;
    if found and not switchyard.rest_lane(p_lane) then
        -- What is ready here cannot be taken now, its key is being worked on. Other lanes come first.
        update switchyard.lanes set served_at = clock_timestamp() where id = p_lane;
    end if;
end
$$;

-- Takes from one lane, in its order. The caller holds the lane's row if it has a cap.
create function switchyard.take_jobs(
    p_lane bigint, p_worker uuid, p_tasks text[], p_limit integer, p_lease interval
) returns setof switchyard.jobs
language sql set search_path = pg_catalog, pg_temp
begin atomic
    select * from switchyard.claim_jobs(p_worker, p_tasks, p_limit, p_lease, null, 0, p_lane);
end;

-- How a batch of jobs ended, as it is written by those who are in a hurry: columns instead of rows, not compressed. It
-- becomes a `batch` when the relay comes by.
alter table switchyard.outbox add column packed json;
alter table switchyard.outbox alter column packed set storage external;
create index outbox_packed on switchyard.outbox (id) where packed is not null;

drop function switchyard.finish_jobs(bigint[], bigint[], switchyard.job_state[], text[], jsonb[]);
-- running | waiting | cancelling → succeeded | dead | cancelled, in batches, fenced by epoch. `applied` is the state that
-- was recorded, null where the caller's hold was over. What ends by itself after a cancel was asked for keeps its own
-- outcome, and that the cancel came too late is recorded. `cancelled` is accepted only where a cancel was asked for.
--
-- Reasons and results at the end of which all are null may be shorter. p_all: false answers only for those jobs whose hold was
-- over; the others were recorded as asked.
create function switchyard.finish_jobs(
    p_ids bigint[], p_epochs bigint[], p_states switchyard.job_state[], p_reasons text[], p_results jsonb[],
    p_all boolean default true
) returns table (job_id bigint, applied switchyard.job_state)
language plpgsql security definer set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set jit = off
set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    v_asked record;
    v_job switchyard.jobs;
    v_state switchyard.job_state;
    v_done bigint[];
    v_states switchyard.job_state[];
    v_lanes bigint[];
    v_tenants uuid[];
    v_tasks text[];
    v_keyed boolean;
    v_said bigint;
    v_followed integer;
begin
    perform pg_advisory_xact_lock_shared(1398230852, 1);
    -- Those that simply run, all at once: out of the live table, into the archive, told in one row.
    with gone as (
        delete from switchyard.jobs j
        using (
            select a.* from unnest(p_ids, p_epochs, p_states, p_reasons, p_results)
                as a (asked_id, asked_epoch, end_state, reason, result)
            order by a.asked_id
        ) a
        -- Wrapped, so that only the index on id fits.
        where j.id = a.asked_id and j.epoch = a.asked_epoch and coalesce(j.state, 'queued') = 'running'
          and a.end_state in ('succeeded', 'dead')
        returning j.*, a.end_state, a.reason, a.result
    ),
    known as materialized (
        select t.name, t.history, t.announced
        from (select distinct g.task from gone g) d
        join switchyard.tasks t on t.name = d.task
    ),
    kept as (
        insert into switchyard.jobs_archive (
            id, database_id, task, queue_name, key, seq, state, priority, run_at, attempts, attempts_max, epoch,
            payload, started_at, cancel_requested_at, cancel_requested_by, reason, result, event_id, binding_id,
            workload_id, replay_of, correlation_id, causation_id, depth, traceparent, actor, created_at,
            put_off_since, progress
        )
        select
            g.id, g.database_id, g.task, g.queue_name, g.key, g.seq, g.end_state, g.priority, g.run_at, g.attempts,
            g.attempts_max, g.epoch, g.payload, g.started_at, g.cancel_requested_at, g.cancel_requested_by, g.reason,
            g.result, g.event_id, g.binding_id, g.workload_id, g.replay_of, g.correlation_id, g.causation_id, g.depth,
            g.traceparent, g.actor, g.created_at, g.put_off_since, g.progress
        from gone g
        left join known t on t.name = g.task
        where t.history is null or t.history = 'full' or (t.history = 'failures' and g.end_state <> 'succeeded')
    ),
    ended as materialized (
        select array_agg(g.id) as ids, array_agg(g.epoch) as epochs, array_agg(g.database_id) as tenants,
            array_agg(g.task) as tasks, array_agg(g.end_state) as states, array_agg(g.attempts) as attempts,
            array_agg(g.lane_id) as lanes, bool_or(g.key is not null) as keyed, count(*)::integer as jobs,
            array_agg(g.reason) as reasons, array_agg(g.correlation_id) as correlations,
            array_agg(g.event_id) as events, array_agg(g.traceparent) as traces, array_agg(g.depth) as depths
        from gone g
    ),
    -- Those whose task asks that nobody is told are rare: only where there are some the others are gathered anew.
    spared as (
        select exists (select from known t where not t.announced) as quiet
    ),
    loud as (
        select e.ids, e.epochs, e.tenants, e.tasks, e.states, e.attempts, e.jobs, e.reasons, e.correlations, e.events,
            e.traces, e.depths
        from ended e, spared
        where not spared.quiet
        union all
        select array_agg(g.id), array_agg(g.epoch), array_agg(g.database_id), array_agg(g.task),
            array_agg(g.end_state), array_agg(g.attempts), count(*)::integer, array_agg(g.reason),
            array_agg(g.correlation_id), array_agg(g.event_id), array_agg(g.traceparent), array_agg(g.depth)
        from gone g
        left join known t on t.name = g.task
        where (select spared.quiet from spared) and coalesce(t.announced, true)
    ),
    said as (
        insert into switchyard.outbox (broker, ce_id, ce_type, ce_source, packed)
        select 'observed', l.ids[1] || '/' || l.epochs[1], 'dev.switchyard.job.finished.v1', '/switchyard/jobs',
            json_build_object(
                'jobs', l.ids, 'epochs', l.epochs, 'tenants', l.tenants, 'tasks', l.tasks, 'states', l.states,
                'attempts', l.attempts,
                'reasons', nullif(l.reasons, array_fill(null::text, array[l.jobs])),
                'correlations', nullif(l.correlations, array_fill(null::text, array[l.jobs])),
                'events', nullif(l.events, array_fill(null::uuid, array[l.jobs])),
                'traces', nullif(l.traces, array_fill(null::text, array[l.jobs]))
            )
        from loud l
        where l.jobs > 0
        returning id
    ),
    -- Triggers that hear of our own work are rare.
    followed as (
        select switchyard.follow(
            l.tenants, l.ids, l.epochs, l.tasks, l.states::text[], l.attempts, l.reasons, l.depths, l.correlations
        ) as events
        from loud l
        where exists (select from switchyard.triggers t where t.hears_work and t.database_id = any (l.tenants))
    )
    select e.ids, e.states, e.lanes, e.tenants, e.tasks, e.keyed, (select id from said), (select events from followed)
    into v_done, v_states, v_lanes, v_tenants, v_tasks, v_keyed, v_said, v_followed
    from ended e;
    v_done := coalesce(v_done, '{}');

    if cardinality(v_done) < cardinality(p_ids) then
        -- The others one by one. First the jobs, then their places, each in the order of ids.
        perform from switchyard.jobs where id = any (p_ids) order by id for update;
        perform from switchyard.lanes
        where cap is not null
          and (id = any (v_lanes) or id in (select lane_id from switchyard.jobs where id = any (p_ids)))
        order by id
        for no key update;
        for v_asked in
            select * from unnest(p_ids, p_epochs, p_states, p_reasons, p_results)
                as a (id, epoch, state, reason, result)
            where not a.id = any (v_done)
            order by a.id
        loop
            v_job := switchyard.held_job(v_asked.id, v_asked.epoch);
            v_state := v_asked.state;
            if v_job.id is null then
                return query select v_asked.id, null::switchyard.job_state;
                continue;
            end if;
            if v_state = 'cancelled' and v_job.state <> 'cancelling' then
                raise exception 'nobody asked to cancel job %', v_job.id using errcode = 'check_violation';
            elsif v_state not in ('succeeded', 'dead', 'cancelled') then
                raise exception 'a job does not finish as %', v_state using errcode = 'check_violation';
            end if;
            if v_job.state = 'cancelling' then
                perform switchyard.note_job(
                    v_job, case when v_state = 'cancelled' then 'cancelled' else 'cancel_too_late' end
                );
            end if;
            perform switchyard.end_job(v_job, v_state, v_asked.reason, v_asked.result);
            if p_all then
                return query select v_job.id, v_state;
            end if;
        end loop;
    end if;

    if cardinality(v_done) > 0 then
        if exists (
            select from switchyard.lanes where id in (select distinct l from unnest(v_lanes) as l) and cap is not null
        ) then
            perform switchyard.leave_lanes(v_lanes);
        end if;
        perform switchyard.leave_limits(v_tenants, v_tasks);
        if v_keyed then
            perform switchyard.wake_relay('work');
        end if;
        if v_said is not null then
            perform switchyard.wake_relay('observed');
        end if;
        if p_all then
            return query select d.id, d.state from unnest(v_done, v_states) as d (id, state);
        end if;
    end if;
end
$$;
revoke execute on function switchyard.finish_jobs from public;
grant execute on function switchyard.finish_jobs to switchyard_system;

-- Writes out what ends of jobs were packed into rows of the outbox, as many rows: what the relay does before it publishes.
-- Returns how many rows.
create function switchyard.unpack_outbox(p_limit integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_count integer;
begin
    update switchyard.outbox o
    set packed = null,
        batch = (
            select jsonb_agg(jsonb_build_object(
                -- The same fact has the same id, whoever tells it again.
                'id', n.job || '/' || n.epoch || '/' || o.ce_type,
                'type', o.ce_type,
                'subject', n.job::text,
                'extensions', jsonb_strip_nulls(jsonb_build_object(
                    'tenantid', n.tenant, 'correlationid', n.correlation, 'causationid', n.event,
                    'traceparent', n.trace, 'severity', case n.state when 'dead' then 'error' else 'info' end
                )),
                'data', jsonb_strip_nulls(jsonb_build_object(
                    'job', n.job, 'task', n.task, 'state', n.state, 'epoch', n.epoch, 'attempts', n.attempts,
                    'reason', n.reason
                ))
            ) order by n.place)
            from (
                select j.place, j.value::bigint as job,
                    (o.packed -> 'epochs' ->> (j.place - 1)::integer)::bigint as epoch,
                    o.packed -> 'tenants' ->> (j.place - 1)::integer as tenant,
                    o.packed -> 'tasks' ->> (j.place - 1)::integer as task,
                    o.packed -> 'states' ->> (j.place - 1)::integer as state,
                    (o.packed -> 'attempts' ->> (j.place - 1)::integer)::integer as attempts,
                    o.packed -> 'reasons' ->> (j.place - 1)::integer as reason,
                    o.packed -> 'correlations' ->> (j.place - 1)::integer as correlation,
                    o.packed -> 'events' ->> (j.place - 1)::integer as event,
                    o.packed -> 'traces' ->> (j.place - 1)::integer as trace
                from json_array_elements_text(o.packed -> 'jobs') with ordinality as j (value, place)
            ) n
        )
    where o.id in (
        select id from switchyard.outbox where packed is not null order by id limit p_limit for update skip locked
    );
    get diagnostics v_count = row_count;
    return v_count;
end
$$;
revoke execute on function switchyard.unpack_outbox from public;
grant execute on function switchyard.unpack_outbox to switchyard_system;

create or replace function switchyard.requeue_job(
    p_job switchyard.jobs, p_run_at timestamptz, p_attempts integer, p_error text, p_hold boolean
) returns switchyard.job_state
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_newer bigint;
    v_due boolean := p_run_at <= clock_timestamp();
    v_lane switchyard.lanes;
begin
    perform switchyard.share_rules();
    if p_job.state = 'cancelling' then
        perform switchyard.note_job(p_job, 'cancelled', jsonb_build_object(
            'note', case when p_job.runner is not null or p_job.waiting is not null then 'stop not confirmed' end
        ));
        perform switchyard.end_job(
            p_job, 'cancelled',
            case when p_job.waiting is not null then 'cancelled; that the work outside stopped is not confirmed' else 'cancelled' end,
            null
        );
        return 'cancelled';
    end if;
    if p_job.key is not null then
        -- Who comes here has it already, unless somebody writes into upstream's tables by hand. One that is being added now is
        -- waited for, and then seen.
        perform from switchyard.job_keys where database_id = p_job.database_id and key = p_job.key for update;
        select id into v_newer from switchyard.jobs
        where database_id = p_job.database_id and key = p_job.key and state = 'queued';
        if v_newer is not null then
            perform switchyard.note_job(p_job, 'superseded', jsonb_build_object('by', v_newer));
            perform switchyard.end_job(
                p_job, 'superseded', 'job ' || v_newer || ' with the same key is newer', null
            );
            return 'superseded';
        end if;
    end if;
    update switchyard.jobs
    set state = 'queued', due = v_due, run_at = p_run_at, attempts = p_attempts,
        worker = null, worker_name = null, lease_until = null, attempt_until = null, waiting = null, runner = null,
        last_error = coalesce(p_error, last_error)
    where id = p_job.id and epoch = p_job.epoch and state in ('running', 'waiting');
    if not found then
        raise exception 'job % changed while it was put back', p_job.id using errcode = 'serialization_failure';
    end if;
    update switchyard.lanes
    set in_flight = case when p_hold and queue_name is not null and not v_due then in_flight else in_flight - 1 end,
        holder = case when p_hold and queue_name is not null then p_job.id end
    where id = p_job.lane_id and cap is not null
    returning * into v_lane;
    if v_due then
        perform switchyard.activate_lane(p_job.lane_id, p_job.priority, p_run_at);
    end if;
    if v_lane.queue_name is not null then
        perform switchyard.look_at_head(p_job.lane_id);
    end if;
    perform switchyard.leave_limits(array[p_job.database_id], array[p_job.task]);
    perform switchyard.wake_relay('work');
    return 'queued';
end
$$;

create or replace function switchyard.retry_job(p_id bigint, p_epoch bigint, p_error text, p_delay interval default null)
returns switchyard.job_state
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_job switchyard.jobs;
    v_run_at timestamptz;
    v_state switchyard.job_state;
begin
    perform switchyard.lock_keys(array[p_id]);
    v_job := switchyard.held_job(p_id, p_epoch);
    if v_job.id is null then
        return null;
    end if;
    if v_job.state <> 'cancelling' and v_job.attempts >= v_job.attempts_max then
        perform switchyard.end_job(v_job, 'dead', p_error, null);
        return 'dead';
    end if;
    v_run_at := clock_timestamp() + coalesce(p_delay, switchyard.backoff(v_job.task, v_job.attempts));
    v_state := switchyard.requeue_job(v_job, v_run_at, v_job.attempts, p_error, true);
    if v_state = 'queued' then
        perform switchyard.note_job(
            v_job, 'retry_planned',
            jsonb_build_object('error', p_error, 'run_at', v_run_at, 'attempt', v_job.attempts)
        );
        perform switchyard.announce_job('dev.switchyard.job.retrying.v1', v_job, v_state, p_error);
    end if;
    return v_state;
end
$$;

create or replace function switchyard.snooze_job(p_id bigint, p_epoch bigint, p_delay interval, p_reason text)
returns switchyard.job_state
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_job switchyard.jobs;
    v_state switchyard.job_state;
begin
    perform switchyard.lock_keys(array[p_id]);
    v_job := switchyard.held_job(p_id, p_epoch);
    if v_job.id is null then
        return null;
    end if;
    v_state := switchyard.requeue_job(
        v_job, clock_timestamp() + p_delay, greatest(v_job.attempts - 1, 0), null, true
    );
    if v_state = 'queued' then
        perform switchyard.note_job(
            v_job, 'snoozed', jsonb_build_object('reason', p_reason, 'seconds', extract(epoch from p_delay))
        );
    end if;
    return v_state;
end
$$;

create or replace function switchyard.wait_job(
    p_id bigint, p_epoch bigint, p_waiting switchyard.waiting, p_deadline interval, p_runner jsonb
) returns switchyard.job_state
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_job switchyard.jobs;
    v_state switchyard.job_state;
begin
    if p_waiting = 'approval' then
        -- One with its key that is being added now is waited for, and then seen.
        perform switchyard.lock_keys(array[p_id]);
    end if;
    v_job := switchyard.held_job(p_id, p_epoch);
    if v_job.id is null then
        return null;
    end if;
    perform switchyard.share_rules();
    if p_waiting = 'approval' and (v_job.state = 'cancelling' or exists (
        select from switchyard.jobs
        where database_id = v_job.database_id and key = v_job.key and state = 'queued'
    )) then
        -- It is cancelled, or gives way to the newer one at once.
        return switchyard.requeue_job(v_job, clock_timestamp(), v_job.attempts, null, false);
    end if;
    update switchyard.jobs
    set state = case when state = 'running' then 'waiting' else state end,
        waiting = p_waiting,
        runner = coalesce(p_runner, runner),
        lease_until = clock_timestamp() + p_deadline
    where id = v_job.id and epoch = v_job.epoch and state in ('running', 'waiting', 'cancelling')
    returning state into strict v_state;
    perform switchyard.note_job(v_job, 'waits', jsonb_build_object('for', p_waiting, 'seconds', extract(epoch from p_deadline)));
    -- What waits for a person counts only for its named queue.
    if p_waiting = 'approval' then
        update switchyard.lanes set in_flight = in_flight - 1
        where id = v_job.lane_id and queue_name is null and cap is not null;
        if found then
            perform switchyard.wake_relay('work');
        end if;
        perform switchyard.leave_limits(array[v_job.database_id], array[v_job.task]);
    end if;
    return v_state;
end
$$;

-- What a worker that must leave still holds goes back, at once and uncounted. Returns how many jobs.
create or replace function switchyard.release_jobs(p_ids bigint[], p_epochs bigint[]) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_held bigint[];
    v_job switchyard.jobs;
    v_released integer := 0;
begin
    perform switchyard.lock_keys(array(
        select j.id
        from unnest(p_ids, p_epochs) as a (id, epoch)
        join switchyard.jobs j on j.id = a.id and j.epoch = a.epoch
    ));
    -- Only what is held.
    v_held := array(
        select j.id
        from unnest(p_ids, p_epochs) as a (id, epoch)
        join switchyard.jobs j on j.id = a.id and j.epoch = a.epoch and j.state in ('running', 'cancelling')
        order by j.id
        for update of j
    );
    perform switchyard.lock_places(v_held);
    for v_job in
        select * from switchyard.jobs where id = any (v_held) and state in ('running', 'cancelling') order by id
    loop
        perform switchyard.note_job(v_job, 'released');
        perform switchyard.requeue_job(v_job, clock_timestamp(), greatest(v_job.attempts - 1, 0), null, true);
        v_released := v_released + 1;
    end loop;
    return v_released;
end
$$;

-- The wait before the next try. `exponential`: doubles from one second up to the task's maximum, with full jitter.
-- `upstream`: exp(least(attempts, 10)) seconds, whatever the maximum, without jitter.
create or replace function switchyard.backoff(p_task text, p_attempts integer) returns interval
language sql volatile set search_path = pg_catalog, pg_temp
begin atomic
    select case
        when (select backoff from switchyard.tasks where name = p_task) = 'upstream' then
            interval '1 second' * exp(least(p_attempts, 10))
        else
            least(
                interval '1 second' * power(2, least(p_attempts, 30) - 1),
                coalesce((select backoff_max from switchyard.tasks where name = p_task), interval '10 minutes')
            ) * random()
    end;
end;

drop function switchyard.reap_jobs(integer);
-- Leases and deadlines that are over: running | waiting → queued | dead | superseded, waiting for approval → dead
-- (rejected), cancelling → cancelled, unless work outside has a handle by which it must be stopped first. Returns how
-- many jobs moved. Safe to run many times at once. p_all: also looks where nothing is expected.
create function switchyard.reap_jobs(p_limit integer, p_all boolean default false) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set jit = off
as $$
declare
    v_from timestamptz := '-infinity';
    v_job switchyard.jobs;
    v_reaped integer := 0;
    v_why text;
    v_ids bigint[];
begin
    if not p_all then
        select to_timestamp(s.last_value / 1000.0) into v_from from switchyard.leases_from s;
    end if;
    v_ids := array(
        select id from switchyard.jobs
        where state <> 'queued' and lease_until < clock_timestamp() and lease_until >= v_from
          and not (state = 'cancelling' and runner is not null)
        order by lease_until
        limit p_limit
    );
    if cardinality(v_ids) > 0 then
        v_ids := switchyard.lock_free_keys(v_ids);
    end if;
    select array_agg(id) into v_ids from (
        select id from switchyard.jobs
        where id = any (v_ids) and state <> 'queued' and lease_until < clock_timestamp()
          and not (state = 'cancelling' and runner is not null)
        order by id
        for update skip locked
    ) late;
    if p_all then
        -- A claim's lease begins when it claims: what it will commit ends later than now.
        perform setval('switchyard.leases_from', greatest(floor(extract(epoch from least(
            (
                select min(lease_until) from switchyard.jobs
                where state <> 'queued' and not (state = 'cancelling' and runner is not null)
            ),
            now() - interval '5 seconds'
        )) * 1000)::bigint, 0));
    end if;
    if v_ids is null then
        return 0;
    end if;
    perform switchyard.lock_places(v_ids);
    for v_job in
        select * from switchyard.jobs where id = any (v_ids) order by id
    loop
        v_reaped := v_reaped + 1;
        perform switchyard.note_job(
            v_job, 'lease_over', jsonb_build_object('state', v_job.state, 'worker', v_job.worker)
        );
        v_why := case
            when v_job.state = 'waiting' then 'no answer before its deadline'
            when v_job.attempt_until <= v_job.lease_until then 'the attempt took longer than its task allows'
            else 'its worker went away'
        end;
        if v_job.state = 'waiting' and v_job.waiting = 'approval' then
            perform switchyard.count_again(v_job);
            perform switchyard.end_job(v_job, 'dead', 'rejected: nobody decided in time', null);
        elsif v_job.state <> 'cancelling' and v_job.attempts >= v_job.attempts_max then
            perform switchyard.end_job(v_job, 'dead', v_why || ', ' || v_job.attempts || ' of ' || v_job.attempts_max || ' attempts used', null);
        else
            perform switchyard.requeue_job(v_job, clock_timestamp(), v_job.attempts, v_why, true);
        end if;
    end loop;
    return v_reaped;
end
$$;
revoke execute on function switchyard.reap_jobs from public;
grant execute on function switchyard.reap_jobs to switchyard_system;

-- Puts to rest the lanes of tasks that nobody has claimed from and that hold no ready job. Returns how many.
create function switchyard.rest_lanes(p_limit integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set jit = off
as $$
declare
    v_id bigint;
    v_rested integer := 0;
begin
    for v_id in
        select l.id from switchyard.lanes l
        where l.active and l.turned_at < clock_timestamp() - interval '2 seconds'
          and not exists (select switchyard.ready_jobs(l, 1))
        order by l.id
        limit p_limit
        for no key update skip locked
    loop
        v_rested := v_rested + switchyard.rest_lane(v_id)::integer;
    end loop;
    return v_rested;
end
$$;
revoke execute on function switchyard.rest_lanes from public;
grant execute on function switchyard.rest_lanes to switchyard_system;

-- Who runs a task's jobs; null when nobody of ours does.
create function switchyard.executor_of(p_database_id uuid, p_task text) returns switchyard.executor
language sql stable set search_path = pg_catalog, pg_temp
begin atomic
    select executor from switchyard.tasks where name = p_task;
end;

-- Which function of ours takes the wake-ups for a task's jobs: its own (`builtin`) or `task-http` (`external`); null for none.
create function switchyard.run_by(p_database_id uuid, p_task text) returns text
language sql stable set search_path = pg_catalog, pg_temp
begin atomic
    select case switchyard.executor_of(p_database_id, p_task)
        when 'builtin' then 'builtin'
        when 'knative' then 'external'
        when 'openfaas' then 'external'
        when 'http' then 'external'
    end;
end;

drop function switchyard.claimable_jobs(integer);
-- What the relay tells the tasks: ids of ready jobs that somebody could claim now, at most p_per_task of each task.
-- executor: `builtin`, `external` for `task-http`, null when nobody of ours would take it.
create function switchyard.claimable_jobs(p_per_task integer) returns table (task text, executor text, job_id bigint)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off
as $$
#variable_conflict use_column
declare
    v_task text := '';
    v_limited boolean := exists (select from switchyard.limits);
    v_paused boolean := exists (select from switchyard.pauses where kind = 'pause' and database_id is null);
begin
    loop
        select l.task into v_task from switchyard.lanes l
        where l.active and not l.is_full and not l.paused and l.task > v_task
        order by l.task
        limit 1;
        exit when not found;
        continue when v_paused and exists (
            select from switchyard.pauses p where p.kind = 'pause' and p.database_id is null and p.task = v_task
        );
        return query
            select v_task,
                switchyard.run_by(c.database_id, v_task),
                c.id
            from (
                select l.database_id, r.id
                from switchyard.lanes l
                cross join lateral (
                    select j.id
                    from switchyard.ready_jobs(l, least(p_per_task, coalesce(l.cap - l.in_flight, p_per_task))) as g (id)
                    join switchyard.jobs j on j.id = g.id
                    where (l.queue_name is null or j.id = switchyard.head_job(l))
                      and (j.key is null or not exists (
                          select from switchyard.jobs w
                          where w.database_id = j.database_id and w.key = j.key and w.state <> 'queued'
                      ))
                ) r
                where l.task = v_task and l.active and not l.is_full and not l.paused
                  and (not v_limited or switchyard.may_start(l.database_id, v_task))
                limit p_per_task
            ) c;
    end loop;
end
$$;
revoke execute on function switchyard.claimable_jobs from public;
grant execute on function switchyard.claimable_jobs to switchyard_system;

-- Whether the limits let a job of this tenant and task start now.
create function switchyard.may_start(p_database_id uuid, p_task text) returns boolean
language sql stable set search_path = pg_catalog, pg_temp
begin atomic
    select not exists (
        select from switchyard.limits m
        where (m.database_id is null or m.database_id = p_database_id) and (m.task is null or m.task = p_task)
          and switchyard.spare(m) = 0
    );
end;

-- When the queue next needs a look: the first job that becomes due, the first lease that ends (within the next half
-- minute), the first token of a bucket that is empty. Null when there is none.
create or replace function switchyard.next_due() returns timestamptz
language plpgsql stable security definer set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set jit = off
as $$
begin
    return least(
        (
            select min(j.run_at) from switchyard.jobs j
            where j.state = 'queued' and not j.due
              and j.run_at >= (select to_timestamp(s.last_value / 1000.0) from switchyard.later_from s)
        ),
        -- As the reaper sees it: what can only be stopped by its handle is not a matter of time.
        (
            select min(j.lease_until) from switchyard.jobs j
            where j.state <> 'queued' and not (j.state = 'cancelling' and j.runner is not null)
              and j.lease_until >= (select to_timestamp(s.last_value / 1000.0) from switchyard.leases_from s)
              and j.lease_until < clock_timestamp() + interval '30 seconds'
        ),
        (
            select min(m.refilled_at + interval '1 second' * (1 - m.tokens) / m.rate)
            from switchyard.limits m
            where m.rate is not null and switchyard.tokens_now(m) < 1
        )
    );
end
$$;

-- What the tasks of this version are, as `migrate` and `up` find them. An operator's changes of a known task stay.
create or replace function switchyard.know_task(
    p_name text, p_attempts_max integer, p_attempt_time_max interval, p_backoff_max interval
) returns void
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
    insert into switchyard.tasks (name, attempts_max, attempt_time_max, backoff_max, executor)
    values (p_name, p_attempts_max, p_attempt_time_max, p_backoff_max, 'builtin')
    on conflict (name) do nothing;
end;

create or replace function switchyard.republish_wakeups(p_after interval) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_task text;
    v_executor text;
    v_count integer := 0;
begin
    for v_task, v_executor in
        select distinct c.task, c.executor
        from switchyard.claimable_jobs(32) c
        join switchyard.jobs j on j.id = c.job_id
        where c.executor is not null
          and greatest(j.run_at, j.created_at) < now() - p_after
          and not exists (
              select from switchyard.outbox o
              where o.broker = 'work' and o.ce_type = 'dev.switchyard.job.queued.v1' and o.ce_subject = c.task
          )
    loop
        perform switchyard.publish(
            'work', null, gen_random_uuid()::text, 'dev.switchyard.job.queued.v1', '/switchyard/cron-republish', v_task,
            jsonb_build_object('task', v_task, 'executor', v_executor),
            json_build_object('task', v_task)
        );
        v_count := v_count + 1;
    end loop;
    return v_count;
end
$$;

drop index switchyard.shares_next;
alter table switchyard.shares drop column pass, drop column resting;
alter table switchyard.lanes drop column pass;
update switchyard.lanes set priorities = null, fronts = null where active;

reset role;
