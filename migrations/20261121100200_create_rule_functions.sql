-- What people ask of the queue: who may start how much, what stands still, dead jobs again, and repair by hand. All of it is
-- recorded with who and why.
set local role switchyard_owner;

-- What people did to the queue. A row is written with the deed, in its transaction.
create table switchyard.audit (
    id bigint generated always as identity primary key,
    -- Whom it concerns; null for all tenants.
    database_id uuid references switchyard.tenants,
    at timestamptz not null default clock_timestamp(),
    by_whom text not null check (length(by_whom) between 1 and 200),
    -- pause, drain, resume, limit, cap, weight, replay, purge, republish, reap, requeue
    deed text not null check (deed ~ '^[a-z_]{1,40}$'),
    why text check (length(why) <= 2000),
    -- To what, and what came of it.
    data jsonb not null default '{}'
);
create index audit_of_tenant on switchyard.audit (database_id, id);
call switchyard.protect('switchyard.audit');
grant select on switchyard.audit to switchyard_system, switchyard_tenant;

-- Two parties rule, and neither undoes what the other wants: the installation, and the tenant for what is its own.
alter table switchyard.pauses
    -- Whether the tenant itself wanted it.
    add column own boolean not null default false,
    add constraint own_is_of_a_tenant check (not own or database_id is not null);
drop index switchyard.pauses_once;
create unique index pauses_once on switchyard.pauses (
    coalesce(database_id, '00000000-0000-0000-0000-000000000000'), coalesce(task, ''), coalesce(queue_name, ''), kind, own
);
alter table switchyard.limits
    -- Whether the tenant itself set it.
    add column own boolean not null default false,
    add constraint own_is_of_a_tenants_task check (not own or (database_id is not null and task is not null));

-- A dead job is replayed once: it then names the job that took over.
alter table switchyard.jobs_archive add column replayed_as bigint;

create function switchyard.record_deed(
    p_deed text, p_database_id uuid, p_by text, p_why text, p_data jsonb
) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if coalesce(length(btrim(p_by)), 0) not between 1 and 200 then
        raise exception 'say who does it, in 1 to 200 characters' using errcode = 'invalid_parameter_value';
    elsif length(p_why) > 2000 then
        raise exception 'why is said in at most 2000 characters' using errcode = 'invalid_parameter_value';
    end if;
    insert into switchyard.audit (database_id, by_whom, deed, why, data)
    values (p_database_id, p_by, p_deed, p_why, jsonb_strip_nulls(p_data));
end
$$;
revoke execute on function switchyard.record_deed from public;

-- The tenant of this transaction, for what a tenant alone may ask for.
create function switchyard.asking_tenant() returns uuid
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    if switchyard.current_tenant() is null then
        raise exception 'no tenant is set in this transaction' using errcode = 'insufficient_privilege';
    end if;
    return switchyard.current_tenant();
end
$$;
revoke execute on function switchyard.asking_tenant from public;

create function switchyard.check_scope(p_database_id uuid, p_task text, p_queue_name text) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    if p_database_id is null and (p_task is null or p_queue_name is not null) then
        raise exception 'say whose: only a task can be ruled for all tenants' using errcode = 'invalid_parameter_value';
    elsif p_task is not null and p_queue_name is not null then
        raise exception 'say a task or a queue, not both' using errcode = 'invalid_parameter_value';
    elsif length(p_task) not between 1 and 126 or length(p_queue_name) not between 1 and 126 then
        raise exception 'a name has 1 to 126 characters' using errcode = 'invalid_parameter_value';
    elsif p_database_id is not null and not exists (select from switchyard.tenants where database_id = p_database_id) then
        raise exception 'there is no such tenant' using errcode = 'no_data_found';
    end if;
end
$$;
revoke execute on function switchyard.check_scope from public;

-- What a tenant wants for itself is bounded.
create function switchyard.check_own_count(p_own boolean, p_count bigint) returns void
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
declare
    c_own_max constant integer := 1000;
begin
    if p_own and p_count >= c_own_max then
        raise exception 'a tenant has at most % of these', c_own_max
            using errcode = 'program_limit_exceeded', hint = 'Lift some that are not needed any more.';
    end if;
end
$$;
revoke execute on function switchyard.check_own_count from public;

-- Those who rule wait half a second for a lock, then fail and may be asked again: while they wait for one, nobody claims.
-- That is also shorter than it takes to find a deadlock, which could end the transaction of somebody who adds a job.

-- Lets nothing start (`pause`), or nothing be added (`drain`), until it is resumed: in a task for all tenants, a tenant, a
-- tenant's task or a tenant's named queue. What runs goes on. Said again it changes who and why. Returns its id.
create function switchyard.pause(
    p_kind switchyard.pause_kind, p_database_id uuid, p_task text, p_queue_name text, p_by text, p_why text,
    p_own boolean default false
) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '500ms'
as $$
declare
    v_id bigint;
begin
    perform switchyard.check_scope(p_database_id, p_task, p_queue_name);
    perform switchyard.record_deed(
        p_kind::text, p_database_id, p_by, p_why,
        jsonb_build_object('task', p_task, 'queue', p_queue_name, 'own', nullif(p_own, false))
    );
    -- Nobody claims, and nobody makes a lane that would not know of it.
    perform switchyard.rule_alone();
    perform switchyard.check_own_count(p_own, (
        select count(*) from switchyard.pauses where database_id = p_database_id and own
    ));
    insert into switchyard.pauses (kind, database_id, task, queue_name, by_whom, why, own)
    values (p_kind, p_database_id, p_task, p_queue_name, p_by, p_why, p_own)
    on conflict (
        coalesce(database_id, '00000000-0000-0000-0000-000000000000'), coalesce(task, ''), coalesce(queue_name, ''), kind, own
    ) do update set by_whom = excluded.by_whom, why = excluded.why, at = excluded.at
    returning id into v_id;
    -- At the lanes of a task that is paused for all nobody looks anyway.
    if p_kind = 'pause' and p_database_id is not null then
        update switchyard.lanes
        set paused = true
        where not paused
          and database_id = p_database_id
          and (p_task is null or task = p_task)
          and (p_queue_name is null or queue_name = p_queue_name);
    end if;
    return v_id;
end
$$;
revoke execute on function switchyard.pause from public;
grant execute on function switchyard.pause to switchyard_system;

create function switchyard.pause_own(
    p_kind switchyard.pause_kind, p_task text, p_queue_name text, p_by text, p_why text
) returns bigint
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
    select switchyard.pause(p_kind, switchyard.asking_tenant(), p_task, p_queue_name, p_by, p_why, true);
end;
revoke execute on function switchyard.pause_own from public;
grant execute on function switchyard.pause_own to switchyard_tenant;

-- Lifts these pauses and drains. A lane goes on unless another pause still lasts there.
create function switchyard.lift(p_ids bigint[], p_by text, p_why text) returns integer
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_pause switchyard.pauses;
    v_lifted integer := 0;
begin
    perform switchyard.rule_alone();
    for v_pause in
        delete from switchyard.pauses where id = any (p_ids) returning *
    loop
        v_lifted := v_lifted + 1;
        perform switchyard.record_deed('resume', v_pause.database_id, p_by, p_why, jsonb_build_object(
            'task', v_pause.task, 'queue', v_pause.queue_name, 'kind', v_pause.kind, 'since', v_pause.at
        ));
        update switchyard.lanes l
        set paused = false
        where l.paused and v_pause.kind = 'pause'
          and l.database_id = v_pause.database_id
          and (v_pause.task is null or l.task = v_pause.task)
          and (v_pause.queue_name is null or l.queue_name = v_pause.queue_name)
          and not switchyard.is_paused(l.database_id, l.task, l.queue_name);
    end loop;
    if v_lifted > 0 then
        perform switchyard.wake_relay('work');
    end if;
    return v_lifted;
end
$$;
revoke execute on function switchyard.lift from public;

-- Ends what was paused or drained there, of one kind or (null) of both, whoever wanted it: the installation has the last
-- word. Returns how many.
create function switchyard.resume(
    p_kind switchyard.pause_kind, p_database_id uuid, p_task text, p_queue_name text, p_by text, p_why text
) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '500ms'
as $$
begin
    perform switchyard.check_scope(p_database_id, p_task, p_queue_name);
    return switchyard.lift(
        array(
            select id from switchyard.pauses
            where database_id is not distinct from p_database_id
              and task is not distinct from p_task
              and queue_name is not distinct from p_queue_name
              and (p_kind is null or kind = p_kind)
        ),
        p_by, p_why
    );
end
$$;
revoke execute on function switchyard.resume from public;
grant execute on function switchyard.resume to switchyard_system;

-- Ends one that the tenant itself wanted: true; null when it has none of this id. One of the installation's is not for it to
-- lift: 55000.
create function switchyard.resume_own(p_id bigint, p_by text, p_why text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '500ms'
as $$
declare
    v_pause switchyard.pauses;
begin
    select * into v_pause from switchyard.pauses
    where id = p_id and (database_id = switchyard.asking_tenant() or database_id is null);
    if v_pause.id is null then
        return null;
    elsif not v_pause.own then
        raise exception '% wanted this for the installation; ask them to lift it', v_pause.by_whom
            using errcode = 'object_not_in_prerequisite_state';
    end if;
    return switchyard.lift(array[p_id], p_by, p_why) = 1;
end
$$;
revoke execute on function switchyard.resume_own from public;
grant execute on function switchyard.resume_own to switchyard_tenant;

-- What stands still or takes nothing for this tenant; also what concerns a task of all tenants.
create function switchyard.own_pauses()
returns table (
    id bigint, kind switchyard.pause_kind, task text, queue_name text, by_whom text, why text, at timestamptz, own boolean,
    for_all boolean
)
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
    select p.id, p.kind, p.task, p.queue_name, p.by_whom, p.why, p.at, p.own, p.database_id is null
    from switchyard.pauses p
    where p.database_id = switchyard.current_tenant()
       or p.database_id is null and switchyard.current_tenant() is not null
    order by p.at desc, p.id desc
    limit 1000;
end;
revoke execute on function switchyard.own_pauses from public;
grant execute on function switchyard.own_pauses to switchyard_tenant;

-- How many jobs are left where something is drained, counted up to p_most; 0 is what who drains it waits for.
create function switchyard.left_in(p_database_id uuid, p_task text, p_queue_name text, p_most integer) returns integer
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
    select count(*)::integer from (
        select from switchyard.jobs
        where (p_database_id is null or database_id = p_database_id)
          and (p_task is null or task = p_task)
          and (p_queue_name is null or queue_name = p_queue_name)
        limit p_most
    ) j;
end;
revoke execute on function switchyard.left_in from public;
grant execute on function switchyard.left_in to switchyard_system;

create function switchyard.own_left_in(p_task text, p_queue_name text, p_most integer) returns integer
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
    select switchyard.left_in(switchyard.asking_tenant(), p_task, p_queue_name, p_most);
end;
revoke execute on function switchyard.own_left_in from public;
grant execute on function switchyard.own_left_in to switchyard_tenant;

-- How many jobs of a tenant (task null), a task (tenant null) or a tenant's task may be in flight, and how many may start a
-- second, of which p_burst at once (null: as many as a second's, and at least one). Neither: there is no limit any more.
-- What is in flight is counted anew. Returns whether there is a limit now.
create function switchyard.set_limit(
    p_database_id uuid, p_task text, p_in_flight_max integer, p_rate double precision, p_burst integer, p_by text,
    p_why text default null, p_own boolean default false
) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '500ms'
as $$
declare
    v_burst integer := case when p_rate is not null then coalesce(p_burst, greatest(ceil(least(p_rate, 1000000)), 1)) end;
    v_old switchyard.limits;
begin
    perform switchyard.check_scope(p_database_id, p_task, null);
    if p_in_flight_max not between 1 and 1000000 then
        raise exception 'in flight there may be 1 to 1000000 jobs, not %', p_in_flight_max
            using errcode = 'invalid_parameter_value', hint = 'To let nothing start, pause it.';
    elsif p_rate is not null and not (p_rate >= 0.00001 and p_rate <= 1000000) then
        -- What is no number is greater than all numbers, so that it is refused as well.
        raise exception 'the rate is 0.00001 to 1000000 jobs a second, not %', p_rate
            using errcode = 'invalid_parameter_value', hint = 'To let nothing start, pause it.';
    elsif p_burst is not null and (p_rate is null or p_burst not between 1 and 1000000) then
        raise exception 'a burst is 1 to 1000000 jobs and goes with a rate' using errcode = 'invalid_parameter_value';
    end if;
    perform switchyard.record_deed('limit', p_database_id, p_by, p_why, jsonb_build_object(
        'task', p_task, 'in_flight_max', p_in_flight_max, 'rate', p_rate, 'burst', v_burst, 'own', nullif(p_own, false)
    ));
    perform switchyard.rule_alone();
    select * into v_old from switchyard.limits
    where database_id is not distinct from p_database_id and task is not distinct from p_task
    for update;
    if p_own and v_old.id is not null and not v_old.own then
        raise exception '% set this limit for the installation; ask them to change it', coalesce(v_old.set_by, 'somebody')
            using errcode = 'object_not_in_prerequisite_state';
    end if;
    if p_in_flight_max is null and p_rate is null then
        delete from switchyard.limits where id = v_old.id;
        perform switchyard.wake_relay('work');
        return false;
    end if;
    if v_old.id is null then
        perform switchyard.check_own_count(p_own, (
            select count(*) from switchyard.limits where database_id = p_database_id and own
        ));
        insert into switchyard.limits (database_id, task, in_flight_max, own)
        values (p_database_id, p_task, coalesce(p_in_flight_max, 1), p_own)
        returning * into v_old;
    end if;
    update switchyard.limits
    set in_flight_max = p_in_flight_max,
        in_flight = case when p_in_flight_max is null then 0 else (
            select count(*) from switchyard.jobs j
            where j.state <> 'queued' and j.waiting is distinct from 'approval'
              and (p_database_id is null or j.database_id = p_database_id)
              and (p_task is null or j.task = p_task)
        ) end,
        rate = p_rate,
        burst = v_burst,
        -- A bucket that is new is full; one that was there keeps what it has.
        tokens = case when p_rate is not null then least(coalesce(switchyard.tokens_now(v_old), v_burst), v_burst) end,
        refilled_at = case when p_rate is not null then clock_timestamp() end,
        set_by = p_by,
        set_at = clock_timestamp(),
        own = p_own
    where id = v_old.id;
    perform switchyard.wake_relay('work');
    return true;
end
$$;
revoke execute on function switchyard.set_limit from public;
grant execute on function switchyard.set_limit to switchyard_system;

-- A tenant limits its own tasks, unless the installation does.
create function switchyard.set_own_limit(
    p_task text, p_in_flight_max integer, p_rate double precision, p_burst integer, p_by text, p_why text
) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if p_task is null then
        raise exception 'say which task' using errcode = 'invalid_parameter_value';
    end if;
    return switchyard.set_limit(
        switchyard.asking_tenant(), p_task, p_in_flight_max, p_rate, p_burst, p_by, p_why, true
    );
end
$$;
revoke execute on function switchyard.set_own_limit from public;
grant execute on function switchyard.set_own_limit to switchyard_tenant;

-- The limits that concern this tenant. What others have in flight is not told.
create function switchyard.own_limits()
returns table (
    id bigint, task text, in_flight_max integer, in_flight integer, rate double precision, burst integer, set_by text,
    set_at timestamptz, own boolean, for_all boolean
)
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
    select
        l.id, l.task, l.in_flight_max,
        case when l.database_id is not null and l.in_flight_max is not null then l.in_flight end,
        l.rate, l.burst, l.set_by, l.set_at, l.own, l.database_id is null
    from switchyard.limits l
    where l.database_id = switchyard.current_tenant()
       or l.database_id is null and switchyard.current_tenant() is not null
    order by l.task nulls first, l.id
    limit 1000;
end;
revoke execute on function switchyard.own_limits from public;
grant execute on function switchyard.own_limits to switchyard_tenant;

-- How many of a tenant's jobs of a task may be in flight that are in no named queue (such a queue has one at a time, whatever
-- is set); null for as many as there are workers. What is in flight is counted anew.
create function switchyard.set_lane_cap(
    p_database_id uuid, p_task text, p_cap integer, p_by text, p_why text default null
) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '500ms'
as $$
declare
    v_lane bigint;
begin
    if p_database_id is null or p_task is null then
        raise exception 'say whose cap, and of which task' using errcode = 'invalid_parameter_value';
    end if;
    perform switchyard.check_scope(p_database_id, p_task, null);
    if p_cap not between 1 and 1000000 then
        raise exception 'a cap is 1 to 1000000 jobs, not %', p_cap
            using errcode = 'invalid_parameter_value', hint = 'To let nothing start, pause it.';
    end if;
    perform switchyard.record_deed('cap', p_database_id, p_by, p_why, jsonb_build_object('task', p_task, 'cap', p_cap));
    perform switchyard.rule_alone();
    v_lane := switchyard.lane_of(p_database_id, p_task, null);
    update switchyard.lanes
    set cap = p_cap,
        in_flight = case when p_cap is null then 0 else (
            select count(*) from switchyard.jobs j
            where j.database_id = p_database_id and j.lane_id = v_lane
              and j.state <> 'queued' and j.waiting is distinct from 'approval'
        ) end
    where id = v_lane;
    perform switchyard.wake_relay('work');
end
$$;
revoke execute on function switchyard.set_lane_cap from public;
grant execute on function switchyard.set_lane_cap to switchyard_system;

create function switchyard.set_own_lane_cap(p_task text, p_cap integer, p_by text, p_why text) returns void
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
    select switchyard.set_lane_cap(switchyard.asking_tenant(), p_task, p_cap, p_by, p_why);
end;
revoke execute on function switchyard.set_own_lane_cap from public;
grant execute on function switchyard.set_own_lane_cap to switchyard_tenant;

-- Of two tenants with work, one with twice the weight starts twice as many jobs.
create function switchyard.set_weight(
    p_database_id uuid, p_weight double precision, p_by text, p_why text default null
) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '500ms'
as $$
begin
    if p_database_id is null then
        raise exception 'say whose weight' using errcode = 'invalid_parameter_value';
    end if;
    perform switchyard.check_scope(p_database_id, null, null);
    if p_weight is null or not (p_weight >= 0.01 and p_weight <= 1000) then
        raise exception 'a weight is 0.01 to 1000, not %', p_weight using errcode = 'invalid_parameter_value';
    end if;
    perform switchyard.record_deed('weight', p_database_id, p_by, p_why, jsonb_build_object('weight', p_weight));
    insert into switchyard.shares (database_id, weight) values (p_database_id, p_weight)
    on conflict (database_id) do update set weight = excluded.weight;
end
$$;
revoke execute on function switchyard.set_weight from public;
grant execute on function switchyard.set_weight to switchyard_system;

-- Whether a dead job is one that is looked for. The filter: {"task", "queue", "key", "reason"}, of which each may be missing;
-- the reason is any part of it, in capitals or not. (`since` and `until` are for who reads, by the index.) One that was
-- replayed is dealt with.
create function switchyard.dead_matches(p_job switchyard.jobs_archive, p_filter jsonb) returns boolean
language sql immutable
begin atomic
    select p_job.replayed_as is null
        and (p_filter ->> 'task' is null or p_job.task = p_filter ->> 'task')
        and (p_filter ->> 'queue' is null or coalesce(p_job.queue_name = p_filter ->> 'queue', false))
        and (p_filter ->> 'key' is null or coalesce(p_job.key = p_filter ->> 'key', false))
        and (p_filter ->> 'reason' is null or position(lower(p_filter ->> 'reason') in lower(coalesce(p_job.reason, ''))) > 0);
end;

-- A dead job again, as a new job that names it; with a new number, so that it is the newest of its key.
create function switchyard.replay(p_old switchyard.jobs_archive, p_by text) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select job_id from switchyard.add_job(
            p_old.database_id, p_old.task, p_old.payload,
            p_queue_name => p_old.queue_name, p_key => p_old.key, p_priority => p_old.priority,
            p_attempts_max => p_old.attempts_max, p_event_id => p_old.event_id, p_binding_id => p_old.binding_id,
            p_workload_id => p_old.workload_id, p_replay_of => p_old.id,
            p_correlation_id => p_old.correlation_id, p_causation_id => p_old.causation_id,
            p_depth => p_old.depth, p_traceparent => p_old.traceparent, p_actor => p_by
        )
    );
end
$$;
revoke execute on function switchyard.replay from public;

-- The same for one job, once: asked again it names the job that it made then. Null when the tenant has no such dead job.
create or replace function switchyard.replay_job(p_database_id uuid, p_id bigint, p_actor text) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_old switchyard.jobs_archive;
    v_new bigint;
    v_refused text;
begin
    select * into v_old from switchyard.jobs_archive
    where database_id = p_database_id and id = p_id and state = 'dead'
    for update;
    if v_old.id is null or v_old.replayed_as is not null then
        return v_old.replayed_as;
    end if;
    -- That it once came from an event must not make it dead again at once.
    v_refused := switchyard.draining(v_old.database_id, v_old.task, v_old.queue_name);
    if v_refused is not null then
        raise exception '%', v_refused
            using errcode = 'object_in_use', hint = 'Replay it when it is resumed.';
    end if;
    v_new := switchyard.replay(v_old, p_actor);
    update switchyard.jobs_archive set replayed_as = v_new
    where database_id = p_database_id and id = p_id and finished_at = v_old.finished_at and replayed_as is null;
    insert into switchyard.job_events (database_id, job_id, epoch, kind, data)
    values (p_database_id, p_id, v_old.epoch, 'replayed', jsonb_build_object('by', p_actor, 'as', v_new));
    return v_new;
end
$$;

create function switchyard.replay_own_job(p_id bigint, p_by text) returns bigint
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
    select switchyard.replay_job(switchyard.asking_tenant(), p_id, p_by);
end;
revoke execute on function switchyard.replay_own_job from public;
grant execute on function switchyard.replay_own_job to switchyard_tenant;

create function switchyard.purge_own_job(p_id bigint, p_by text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_purged boolean := switchyard.purge_job(switchyard.asking_tenant(), p_id);
begin
    if v_purged then
        perform switchyard.record_deed(
            'purge', switchyard.asking_tenant(), p_by, null, jsonb_build_object('job', p_id)
        );
    end if;
    return v_purged;
end
$$;
revoke execute on function switchyard.purge_own_job from public;
grant execute on function switchyard.purge_own_job to switchyard_tenant;

-- Asks for all dead jobs that match to be replayed or purged, by a job of `task-bulk`. What dies after this moment is not
-- meant. The same asked again while it is queued is asked once. Returns the job's id.
create function switchyard.ask_bulk(p_database_id uuid, p_do text, p_filter jsonb, p_by text) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_job bigint;
begin
    if p_do not in ('replay', 'purge') then
        raise exception 'dead jobs are replayed or purged, not %', p_do using errcode = 'invalid_parameter_value';
    end if;
    select job_id into v_job from switchyard.add_job(
        p_database_id, 'task-bulk',
        jsonb_build_object(
            'do', p_do,
            'filter', p_filter || jsonb_build_object(
                'until', least(now(), coalesce((p_filter ->> 'until')::timestamptz, now()))
            ),
            'by', p_by
        ),
        -- One after the other for a tenant.
        p_queue_name => 'switchyard:bulk',
        p_key => 'switchyard:bulk:' || md5(p_do || p_filter::text), p_key_mode => 'ignore',
        p_actor => p_by
    );
    perform switchyard.record_deed(
        p_do, p_database_id, p_by, null, jsonb_build_object('filter', p_filter, 'job', v_job)
    );
    return v_job;
end
$$;
revoke execute on function switchyard.ask_bulk from public;
grant execute on function switchyard.ask_bulk to switchyard_system;

create function switchyard.ask_own_bulk(p_do text, p_filter jsonb, p_by text) returns bigint
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
    select switchyard.ask_bulk(switchyard.asking_tenant(), p_do, p_filter, p_by);
end;
revoke execute on function switchyard.ask_own_bulk from public;
grant execute on function switchyard.ask_own_bulk to switchyard_tenant;

-- The next part of a bulk job's work: looks at up to p_limit dead jobs of its tenant, oldest first, and does it to those that
-- match. How far it is stands in the job's progress, written in this transaction, so that a worker that dies between two
-- parts repeats nothing and counts nothing twice. Does nothing when the hold is over (`held` false) or somebody asked the
-- job to stop (`stop`). `over`: nothing is left.
create function switchyard.bulk_step(
    p_id bigint, p_epoch bigint, p_do text, p_filter jsonb, p_by text, p_limit integer
) returns table (held boolean, stop boolean, over boolean, progress jsonb)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    -- Beyond this many it is not counted how many there are to do.
    c_counted_max constant integer := 1000000;
    v_job switchyard.jobs := switchyard.held_job(p_id, p_epoch);
    v_tenant uuid := v_job.database_id;
    v_now jsonb := coalesce(v_job.progress, '{}');
    v_since timestamptz := coalesce((p_filter ->> 'since')::timestamptz, '-infinity');
    v_until timestamptz := coalesce((p_filter ->> 'until')::timestamptz, 'infinity');
    -- The last one looked at before, and in this part.
    v_from timestamptz;
    v_from_id bigint;
    v_to timestamptz;
    v_to_id bigint;
    v_looked integer;
    v_ids bigint[];
    v_matched integer;
    v_refused integer := 0;
    v_done integer := 0;
begin
    if v_job.id is null then
        return query select false, true, false, null::jsonb;
        return;
    elsif v_job.state = 'cancelling' then
        return query select true, true, false, v_now;
        return;
    end if;
    if not v_now ? 'of' then
        v_now := jsonb_build_object('done', 0, 'of', (
            select count(*) from (
                select from switchyard.jobs_archive a
                where a.database_id = v_tenant and a.state = 'dead'
                  and a.finished_at >= v_since and a.finished_at < v_until
                  and switchyard.dead_matches(a, p_filter)
                limit c_counted_max
            ) counted
        ), 'did', 0, 'refused', 0, 'skipped', 0);
    end if;
    v_from := coalesce((v_now ->> 'at')::timestamptz, '-infinity');
    v_from_id := coalesce((v_now ->> 'id')::bigint, 0);

    select count(*), coalesce(array_agg(l.id order by l.finished_at, l.id) filter (where l.matches), '{}'),
        (array_agg(l.finished_at order by l.finished_at desc, l.id desc))[1],
        (array_agg(l.id order by l.finished_at desc, l.id desc))[1]
    into v_looked, v_ids, v_to, v_to_id
    from (
        select a.id, a.finished_at, switchyard.dead_matches(a, p_filter) as matches
        from switchyard.jobs_archive a
        where a.database_id = v_tenant and a.state = 'dead'
          and a.finished_at >= greatest(v_since, v_from) and a.finished_at < v_until
          and (a.finished_at, a.id) > (v_from, v_from_id)
        order by a.finished_at, a.id
        limit p_limit
    ) l;
    v_matched := cardinality(v_ids);

    if v_matched > 0 and p_do = 'purge' then
        delete from switchyard.jobs_archive a
        where a.database_id = v_tenant and a.id = any (v_ids) and a.finished_at between v_from and v_to
          and a.state = 'dead' and a.replayed_as is null;
        get diagnostics v_done = row_count;
    elsif v_matched > 0 and p_do = 'replay' then
        -- One that somebody replays or purges at this moment is theirs. Then the keys, in the order that everybody takes.
        select coalesce(array_agg(id), '{}') into v_ids from (
            select a.id from switchyard.jobs_archive a
            where a.database_id = v_tenant and a.id = any (v_ids) and a.finished_at between v_from and v_to
              and a.state = 'dead' and a.replayed_as is null
            for update skip locked
        ) locked;
        perform from switchyard.job_keys k
        where k.database_id = v_tenant and k.key in (
            select a.key from switchyard.jobs_archive a
            where a.database_id = v_tenant and a.id = any (v_ids) and a.finished_at between v_from and v_to
        )
        order by k.key
        for update;
        with made as materialized (
            select o.id, o.finished_at, o.epoch, switchyard.replay(o.old, p_by) as new
            from (
                select a.id, a.finished_at, a.epoch, a as old from switchyard.jobs_archive a
                where a.database_id = v_tenant and a.id = any (v_ids) and a.finished_at between v_from and v_to
                  and switchyard.draining(a.database_id, a.task, a.queue_name) is null
                -- In the order in which they died, which is that of a queue.
                order by a.finished_at, a.id
                offset 0
            ) o
        ),
        noted as (
            insert into switchyard.job_events (database_id, job_id, epoch, kind, data)
            select v_tenant, m.id, m.epoch, 'replayed', jsonb_build_object('by', p_by, 'as', m.new, 'bulk', p_id)
            from made m
        )
        update switchyard.jobs_archive a
        set replayed_as = m.new
        from made m
        where a.database_id = v_tenant and a.id = m.id and a.finished_at = m.finished_at;
        get diagnostics v_done = row_count;
        -- Where a queue is drained nothing is added.
        v_refused := cardinality(v_ids) - v_done;
    elsif p_do not in ('replay', 'purge') then
        raise exception 'dead jobs are replayed or purged, not %', p_do using errcode = 'invalid_parameter_value';
    end if;

    v_now := v_now || jsonb_build_object(
        'done', (v_now ->> 'done')::integer + v_matched,
        'did', (v_now ->> 'did')::integer + v_done,
        'refused', (v_now ->> 'refused')::integer + v_refused,
        'skipped', (v_now ->> 'skipped')::integer + v_matched - v_refused - v_done
    );
    if v_looked > 0 then
        v_now := v_now || jsonb_build_object('at', v_to, 'id', v_to_id);
    end if;
    v_now := v_now || jsonb_build_object('message', (v_now ->> 'did') || ' ' || p_do || case p_do when 'purge' then 'd' else 'ed' end
        || case when v_now ->> 'refused' <> '0' then ', ' || (v_now ->> 'refused') || ' refused: drained' else '' end
        || case when v_now ->> 'skipped' <> '0' then ', ' || (v_now ->> 'skipped') || ' taken by somebody else' else '' end
    );
    update switchyard.jobs set progress = v_now where id = p_id and epoch = p_epoch;
    return query select true, false, v_looked < p_limit, v_now;
end
$$;
revoke execute on function switchyard.bulk_step from public;
grant execute on function switchyard.bulk_step to switchyard_system;

-- How far a job is, as its holder tells: {"done", "of", "message"}, of which each may be missing; told again it is replaced.
-- False when the hold is over.
create function switchyard.set_progress(p_id bigint, p_epoch bigint, p_progress jsonb) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_job switchyard.jobs;
begin
    if jsonb_typeof(p_progress) is distinct from 'object' or octet_length(p_progress::text) > 4096 then
        raise exception 'progress is an object of at most 4096 bytes' using errcode = 'invalid_parameter_value';
    end if;
    v_job := switchyard.held_job(p_id, p_epoch);
    if v_job.id is null then
        return false;
    end if;
    update switchyard.jobs set progress = p_progress where id = p_id and epoch = p_epoch;
    return true;
end
$$;
revoke execute on function switchyard.set_progress from public;
grant execute on function switchyard.set_progress to switchyard_system;

-- Takes jobs back from whoever has them, now (`reap`: the attempt counts, as if the lease were over), or makes jobs ready now
-- (`requeue`: what waits for its time or its retry, what somebody has, uncounted, and, named by its id, what is dead, as a
-- new job). Chosen by id, by task or by worker, of one tenant or of all. At most p_limit (up to 1000). Who had a job can write
-- to it no more. Tells each job that was considered, its state before, and what was done, or with p_dry_run would be:
-- requeued, made_ready, replayed, dead, cancelled, superseded, or skipped, and then why.
create function switchyard.repair_jobs(
    p_deed text, p_database_id uuid, p_ids bigint[], p_task text, p_worker text, p_limit integer, p_dry_run boolean,
    p_by text, p_why text
) returns table (job_id bigint, database_id uuid, task text, state switchyard.job_state, did text, note text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_ids bigint[];
    v_job switchyard.jobs;
    v_dead switchyard.jobs_archive;
    v_error text := 'taken back by ' || p_by || coalesce(': ' || p_why, '');
    v_did text;
    v_note text;
    v_considered integer := 0;
    v_done integer := 0;
begin
    if p_deed not in ('reap', 'requeue') then
        raise exception 'jobs are reaped or requeued, not %', p_deed using errcode = 'invalid_parameter_value';
    elsif p_limit not between 1 and 1000 or cardinality(p_ids) > 1000 then
        raise exception 'at a time 1 to 1000 jobs are repaired' using errcode = 'invalid_parameter_value';
    elsif p_ids is null and p_task is null and p_worker is null then
        raise exception 'say which: by id, by task or by worker' using errcode = 'invalid_parameter_value';
    end if;
    select coalesce(array_agg(c.id), '{}') into v_ids from (
        select j.id from switchyard.jobs j
        where (p_database_id is null or j.database_id = p_database_id)
          and (p_ids is null or j.id = any (p_ids))
          and (p_task is null or j.task = p_task)
          and (p_worker is null or j.worker::text = p_worker or j.worker_name = p_worker)
          and case
              when p_deed = 'reap' then j.state <> 'queued'
              -- Those that are ready need nothing; who names one is told so.
              else p_ids is not null or p_worker is not null or j.state = 'queued' and not j.due
          end
        order by coalesce(j.lease_until, j.run_at), j.id
        limit p_limit
    ) c;
    -- Who is writing to a job at this moment, or adds one with its key, does not need repair.
    if not p_dry_run then
        v_ids := switchyard.lock_free_keys(v_ids);
    end if;
    v_ids := array(
        select j.id from switchyard.jobs j
        where j.id = any (v_ids)
          and (p_worker is null or j.worker::text = p_worker or j.worker_name = p_worker)
          and case
              when p_deed = 'reap' then j.state <> 'queued'
              else p_ids is not null or p_worker is not null or j.state = 'queued' and not j.due
          end
        order by j.id
        for update of j skip locked
    );
    if not p_dry_run then
        perform switchyard.lock_places(v_ids);
    end if;
    for v_job in
        select * from switchyard.jobs j where j.id = any (v_ids) order by j.id
    loop
        v_note := null;
        v_did := case
            when v_job.state = 'queued' and v_job.due then 'skipped'
            when v_job.state = 'queued' then 'made_ready'
            when v_job.waiting = 'approval' then 'skipped'
            when v_job.state = 'cancelling' and v_job.runner is not null then 'skipped'
            when v_job.state = 'cancelling' then 'cancelled'
            when p_deed = 'reap' and v_job.attempts >= v_job.attempts_max then 'dead'
            else 'requeued'
        end;
        if v_did = 'skipped' then
            v_note := case
                when v_job.state = 'queued' then 'it is ready already'
                when v_job.state = 'cancelling' then 'its work outside has to be stopped first'
                else 'it waits for a person: approve or reject it'
            end;
        elsif not p_dry_run then
            perform switchyard.note_job(v_job, 'by_hand', jsonb_strip_nulls(jsonb_build_object(
                'by', p_by, 'why', p_why, 'deed', p_deed, 'state', v_job.state, 'worker', v_job.worker
            )));
            if v_did = 'made_ready' then
                -- Whoever claims next, or the relay before, makes it ready as any other whose time has come.
                update switchyard.jobs j set run_at = clock_timestamp()
                where j.id = v_job.id and j.state = 'queued' and not j.due;
            elsif v_did = 'dead' then
                perform switchyard.end_job(v_job, 'dead', v_error || ', ' || v_job.attempts || ' of '
                    || v_job.attempts_max || ' attempts used', null);
            else
                v_did := switchyard.requeue_job(
                    v_job, clock_timestamp(),
                    case when p_deed = 'reap' then v_job.attempts else greatest(v_job.attempts - 1, 0) end,
                    v_error, true
                );
                v_did := case v_did when 'queued' then 'requeued' else v_did end;
            end if;
        end if;
        v_considered := v_considered + 1;
        v_done := v_done + (v_did <> 'skipped')::integer;
        return query select v_job.id, v_job.database_id, v_job.task, v_job.state, v_did, v_note;
    end loop;
    -- What was named and is not live, or is being written to.
    for v_job.id in
        select n.id from unnest(p_ids) as n (id) where n.id <> all (v_ids) group by n.id order by n.id limit p_limit
    loop
        v_dead := null;
        select * into v_dead from switchyard.jobs_archive a
        where a.id = v_job.id and (p_database_id is null or a.database_id = p_database_id)
          and (p_task is null or a.task = p_task) and p_worker is null
        limit 1;
        v_did := 'skipped';
        v_note := case
            when v_dead.id is null and exists (
                select from switchyard.jobs j
                where j.id = v_job.id and (p_database_id is null or j.database_id = p_database_id)
            ) then 'it is none of those asked for, or somebody is writing to it: look again'
            when v_dead.id is null then 'there is no such job'
            when v_dead.state <> 'dead' then 'it has ended: ' || v_dead.state
            when p_deed = 'reap' then 'it is dead: requeue or replay it'
            when v_dead.replayed_as is not null then 'it was replayed as job ' || v_dead.replayed_as
        end;
        if v_note is null then
            v_did := 'replayed';
            if not p_dry_run then
                v_note := 'as job ' || switchyard.replay_job(v_dead.database_id, v_dead.id, p_by);
            end if;
        end if;
        v_considered := v_considered + 1;
        v_done := v_done + (v_did <> 'skipped')::integer;
        return query select v_job.id, v_dead.database_id, v_dead.task, v_dead.state, v_did, v_note;
    end loop;
    if p_dry_run then
        return;
    end if;
    perform switchyard.record_deed(p_deed, p_database_id, p_by, p_why, jsonb_build_object(
        'jobs', to_jsonb(p_ids[:100]), 'task', p_task, 'worker', p_worker,
        'considered', v_considered, 'done', v_done
    ));
    if v_done > 0 then
        perform switchyard.wake_relay('work');
    end if;
end
$$;
revoke execute on function switchyard.repair_jobs from public;
grant execute on function switchyard.repair_jobs to switchyard_system;

create function switchyard.repair_own_jobs(
    p_deed text, p_ids bigint[], p_task text, p_worker text, p_limit integer, p_dry_run boolean, p_by text, p_why text
) returns table (job_id bigint, database_id uuid, task text, state switchyard.job_state, did text, note text)
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
    select * from switchyard.repair_jobs(
        p_deed, switchyard.asking_tenant(), p_ids, p_task, p_worker, p_limit, p_dry_run, p_by, p_why
    );
end;
revoke execute on function switchyard.repair_own_jobs from public;
grant execute on function switchyard.repair_own_jobs to switchyard_tenant;

-- Tells those who work on a task that there is work, again, for each task that has some (of a tenant, or of all), as the
-- relay would have: for when nothing starts. Tells each task with its ready jobs, counted up to 1000, and what was done:
-- told, or skipped, because a wake-up for it is on its way already or nobody of ours works on it.
create function switchyard.repair_wakeups(
    p_database_id uuid, p_task text, p_limit integer, p_dry_run boolean, p_by text, p_why text
) returns table (task text, jobs integer, did text, note text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_task text;
    v_executor text;
    v_jobs integer;
    v_note text;
    v_considered integer := 0;
    v_told integer := 0;
begin
    if p_limit not between 1 and 1000 then
        raise exception 'at a time 1 to 1000 tasks are told' using errcode = 'invalid_parameter_value';
    end if;
    for v_task, v_executor in
        select distinct t.task, case when e.executor = 'builtin' then 'builtin' when e.executor is not null then 'external' end
        from (
            select distinct l.database_id, l.task from switchyard.lanes l
            where l.active and not l.is_full and not l.paused
              and (p_database_id is null or l.database_id = p_database_id)
              and (p_task is null or l.task = p_task)
              and not exists (
                  select from switchyard.pauses p where p.kind = 'pause' and p.database_id is null and p.task = l.task
              )
        ) t
        cross join lateral (select switchyard.executor_of(t.database_id, t.task) as executor) e
        order by 1, 2
        limit p_limit
    loop
        select count(*) into v_jobs from (
            select from switchyard.lanes l
            join switchyard.jobs j on j.lane_id = l.id and j.state = 'queued' and j.due
            where l.task = v_task and l.active and not l.is_full and not l.paused
              and (p_database_id is null or l.database_id = p_database_id)
            limit 1000
        ) ready;
        continue when v_jobs = 0;
        v_considered := v_considered + 1;
        v_note := case
            when v_executor is null then 'nobody of ours works on this task'
            when exists (
                select from switchyard.outbox o
                where o.broker = 'work' and o.ce_type = 'dev.switchyard.job.queued.v1' and o.ce_subject = v_task
                  and o.extensions ->> 'executor' is not distinct from v_executor
            ) then 'a wake-up is on its way already'
        end;
        if v_note is null then
            v_told := v_told + 1;
            if not p_dry_run then
                perform switchyard.publish(
                    'work', null, gen_random_uuid()::text, 'dev.switchyard.job.queued.v1', '/switchyard/repair', v_task,
                    jsonb_build_object('task', v_task, 'executor', v_executor),
                    json_build_object('task', v_task)
                );
            end if;
        end if;
        return query select v_task, v_jobs, case when v_note is null then 'told' else 'skipped' end, v_note;
    end loop;
    if not p_dry_run then
        perform switchyard.record_deed('republish', p_database_id, p_by, p_why, jsonb_build_object(
            'task', p_task, 'considered', v_considered, 'done', v_told
        ));
    end if;
end
$$;
revoke execute on function switchyard.repair_wakeups from public;
grant execute on function switchyard.repair_wakeups to switchyard_system;

create function switchyard.repair_own_wakeups(
    p_task text, p_limit integer, p_dry_run boolean, p_by text, p_why text
) returns table (task text, jobs integer, did text, note text)
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
    select * from switchyard.repair_wakeups(
        switchyard.asking_tenant(), p_task, p_limit, p_dry_run, p_by, p_why
    );
end;
revoke execute on function switchyard.repair_own_wakeups from public;
grant execute on function switchyard.repair_own_wakeups to switchyard_tenant;

reset role;
