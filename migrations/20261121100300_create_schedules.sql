-- Work that starts by the clock, and history that ends by it: schedules with their ticks, and what may be forgotten when.
set local role switchyard_owner;

create type switchyard.missed as enum (
    'skip', -- what was not fired in time is left out
    'last', -- of what was not fired in time the newest is fired, unless a fresh one is
    'all'   -- all of it is fired, up to a number
);

create type switchyard.tick_outcome as enum (
    'fired',   -- a job was added, or one with its key was queued already
    'missed',  -- nobody fired it in time and its schedule does not want it any more; counts those that follow as well
    'refused'  -- its job was not accepted
);

create table switchyard.schedules (
    id bigint generated always as identity primary key,
    database_id uuid not null references switchyard.tenants,
    -- For people and programs that declare it; nothing in what another system's schema wrote.
    name text check (length(name) between 1 and 200),
    task text not null check (length(task) between 1 and 126),
    queue_name text check (length(queue_name) between 1 and 126),
    payload jsonb not null default '{}',
    priority integer not null default 0,
    -- Null: as many as the task has.
    attempts_max integer check (attempts_max > 0),
    -- Of the schedule and of the jobs that it makes: at most one of them is queued and one is worked on.
    key text check (length(key) between 1 and 512),
    -- When, as node-schedule takes it: a text of five or six fields, an object of fields, an instant, or
    -- {"rule": one of those, "start": ..., "end": ..., "tz": ...}. Read by `queue::schedules::Rule`.
    schedule_info jsonb not null check (octet_length(schedule_info::text) <= 10000),
    -- An IANA name; null for what schedule_info says, or else UTC.
    time_zone text check (length(time_zone) between 1 and 64),
    missed switchyard.missed not null default 'last',
    -- Each job starts up to so much later than its tick, by an amount that the tick decides.
    jitter interval not null default '0' check (jitter between '0' and '1 day'),
    paused_by text check (length(paused_by) between 1 and 200),
    paused_why text check (length(paused_why) <= 2000),
    paused_at timestamptz,
    -- The next tick, computed once. Null: not computed yet (plan_wanted), over, or problem says why not.
    next_at timestamptz,
    -- The ticks after it, so that SQL alone can move on.
    later timestamptz[] not null default '{}' check (cardinality(later) <= 64),
    -- Whether somebody who can read schedule_info should compute ticks.
    plan_wanted boolean not null default true,
    -- Why no tick can be computed.
    problem text,
    -- The last tick of this rule that came or was fired early.
    last_tick timestamptz,
    last_fired_at timestamptz,
    last_job_id bigint,
    -- Ticks that nobody fired; those of long ago are not counted one by one.
    missed_count bigint not null default 0,
    -- A scheduler of another system that fires it by its own timers.
    locked_at timestamptz,
    locked_by text,
    -- Raised by each change of the row: what somebody computed from an older one is not written.
    version bigint not null default 0,
    created_by text check (length(created_by) between 1 and 200),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint paused_by_somebody check ((paused_by is null) = (paused_at is null)),
    constraint no_tick_with_a_problem check (problem is null or next_at is null),
    constraint later_after_next check (next_at is not null or later = '{}')
) with (fillfactor = 70);
call switchyard.protect('switchyard.schedules');
create unique index schedules_name on switchyard.schedules (database_id, name) where name is not null;
create unique index schedules_key on switchyard.schedules (database_id, key) where key is not null;
create index schedules_newest on switchyard.schedules (database_id, id);
-- What each second looks at.
create index schedules_due on switchyard.schedules (next_at) where paused_at is null;
create index schedules_to_plan on switchyard.schedules (id) where plan_wanted and paused_at is null;
grant select on switchyard.schedules to switchyard_system, switchyard_tenant, switchyard_observer;

-- What became of each tick: one row for each, whoever fires. By the day of the tick; retention drops partitions.
create table switchyard.schedule_ticks (
    schedule_id bigint not null,
    tick timestamptz not null,
    database_id uuid not null,
    outcome switchyard.tick_outcome not null,
    job_id bigint,
    -- Why it was refused, or why its job is one that was queued before.
    reason text,
    -- How many ticks it stands for.
    ticks integer not null default 1 check (ticks > 0),
    at timestamptz not null default clock_timestamp(),
    primary key (schedule_id, tick),
    constraint fired_a_job check ((outcome = 'fired') = (job_id is not null)),
    constraint one_unless_missed check (ticks = 1 or outcome = 'missed')
) partition by range (tick);
call switchyard.protect('switchyard.schedule_ticks');
create table switchyard.schedule_ticks_default partition of switchyard.schedule_ticks default;
grant select on switchyard.schedule_ticks to switchyard_system, switchyard_tenant, switchyard_observer;

-- Keeps what must be true of the row whoever writes it.
create function switchyard.keep_schedule() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op = 'INSERT' then
        -- Counted only as far as matters; an index of the tenant's schedules serves it.
        if (
            select count(*) from (
                select from switchyard.schedules where database_id = new.database_id limit 10000
            ) s
        ) >= 10000 then
            raise exception 'a tenant has at most 10000 schedules; remove one that is over'
                using errcode = 'configuration_limit_exceeded';
        end if;
        new.plan_wanted := new.next_at is null and new.problem is null;
        return new;
    end if;
    new.version := old.version + 1;
    -- Strictly later, so that who compares sees every change.
    new.updated_at := greatest(clock_timestamp(), old.updated_at + interval '1 millisecond');
    if (new.schedule_info, new.time_zone) is distinct from (old.schedule_info, old.time_zone)
        and (new.next_at, new.later) is not distinct from (old.next_at, old.later)
    then
        -- The ticks are of a rule that is gone, and the one who changed it brought no others.
        new.next_at := null;
        new.later := '{}';
        new.last_tick := null;
        new.problem := null;
        new.plan_wanted := true;
    end if;
    return new;
end
$$;
create trigger keep_schedule before insert or update on switchyard.schedules
    for each row execute function switchyard.keep_schedule();

-- Whether a scheduler of another system holds a schedule. It says nothing while it lives but by firing, which moves
-- next_at on, so its silence is what tells that it is gone; two hours are more than a job that still runs keeps it silent.
create function switchyard.is_held_elsewhere(p_locked_by text, p_locked_at timestamptz, p_next_at timestamptz)
returns boolean
language sql stable parallel safe
return p_locked_by is not null
    and greatest(p_locked_at, p_next_at) > now() - interval '2 hours';

-- Schedules whose tick has come, and those that need their ticks computed, with the instant from which to compute: ticks
-- that were fired early are spent. What an idle second costs.
create function switchyard.due_schedules(p_limit integer)
returns table (
    id bigint, version bigint, schedule_info jsonb, time_zone text, missed switchyard.missed,
    next_at timestamptz, due boolean, at timestamptz
)
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
    (
        select s.id, s.version, s.schedule_info, s.time_zone, s.missed, s.next_at, true, now()
        from switchyard.schedules s
        where s.next_at <= now()
          and s.paused_at is null
          and not switchyard.is_held_elsewhere(s.locked_by, s.locked_at, s.next_at)
        order by s.next_at
        limit p_limit
    )
    union all
    (
        select s.id, s.version, s.schedule_info, s.time_zone, s.missed, s.next_at, false,
            greatest(now(), s.last_tick)
        from switchyard.schedules s
        where s.plan_wanted
          and s.paused_at is null
          and (
              s.next_at is null
              or s.next_at > now()
              or switchyard.is_held_elsewhere(s.locked_by, s.locked_at, s.next_at)
          )
        order by s.id
        limit p_limit
    );
end;
revoke execute on function switchyard.due_schedules from public;
grant execute on function switchyard.due_schedules to switchyard_system;

-- Records the ticks that were computed, or why none can be. False when the schedule has changed since it was read.
create function switchyard.plan_schedule(
    p_id bigint, p_version bigint, p_next timestamptz, p_later timestamptz[], p_problem text
) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    update switchyard.schedules
    set next_at = p_next, later = p_later, problem = p_problem, plan_wanted = false
    where id = p_id and version = p_version;
    return found;
end
$$;
revoke execute on function switchyard.plan_schedule from public;
grant execute on function switchyard.plan_schedule to switchyard_system;

-- Adds a schedule's job. p_what ends its causation: the tick, or by whose hand.
create function switchyard.add_schedule_job(
    p_schedule switchyard.schedules, p_run_at timestamptz, p_what text, p_actor text
) returns table (job_id bigint, outcome text)
language sql set search_path = pg_catalog, pg_temp
begin atomic
    select a.job_id, a.outcome
    from switchyard.add_job(
        p_schedule.database_id, p_schedule.task, p_schedule.payload,
        p_queue_name => p_schedule.queue_name,
        p_key => p_schedule.key,
        -- One that is queued already keeps its place: replaced at each tick it would never come to the front.
        p_key_mode => 'preserve',
        p_priority => p_schedule.priority,
        p_run_at => p_run_at,
        p_attempts_max => p_schedule.attempts_max,
        p_correlation_id => 'schedule/' || p_schedule.id || '/' || p_what,
        p_causation_id => 'schedule/' || p_schedule.id || '/' || p_what,
        p_actor => p_actor
    ) a;
end;

-- Fires one tick: adds the job and records what became of it. Null when the tick was fired before. The caller has locked
-- the schedule, so that two do not come to the same tick; the key of the ticks would stop the second.
create function switchyard.fire_tick(p_schedule switchyard.schedules, p_tick timestamptz)
returns switchyard.schedule_ticks
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_tick switchyard.schedule_ticks;
    v_outcome text;
begin
    if exists (
        select from switchyard.schedule_ticks where schedule_id = p_schedule.id and tick = p_tick
    ) then
        return null;
    end if;
    begin
        select a.job_id, a.outcome into v_tick.job_id, v_outcome
        from switchyard.add_schedule_job(
            p_schedule,
            -- The same tick of the same schedule is put off by the same time, whoever fires it.
            p_tick + p_schedule.jitter * (
                (hashtextextended(p_schedule.id || '/' || floor(extract(epoch from p_tick))::bigint, 0) & 4294967295)
                / 4294967296.0
            ),
            to_char(p_tick at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
            'schedule ' || coalesce(p_schedule.name, p_schedule.id::text)
        ) a;
        if v_outcome <> 'added' then
            v_tick.reason := 'a job with its key was queued already';
        end if;
    exception
        -- What passes by itself is for the next who tries.
        when transaction_rollback or insufficient_resources or operator_intervention or lock_not_available
            or system_error or internal_error
        then
            raise;
        -- Everything else is the queue's answer, for example that the task is drained. It is shown, and must not keep the
        -- schedule from its next tick.
        when others then
            v_tick.job_id := null;
            v_tick.reason := sqlerrm;
    end;
    insert into switchyard.schedule_ticks (schedule_id, tick, database_id, outcome, job_id, reason)
    values (
        p_schedule.id, p_tick, p_schedule.database_id,
        case when v_tick.job_id is null then 'refused' else 'fired' end::switchyard.tick_outcome,
        v_tick.job_id, v_tick.reason
    )
    returning * into v_tick;
    return v_tick;
end
$$;

-- Fires the ticks of a schedule that is due, counts those that are not wanted any more, and moves on, all in one
-- statement. No row when the schedule has changed since it was read, is not due, or somebody else is at it.
create function switchyard.fire_schedule(
    p_id bigint, p_version bigint, p_ticks timestamptz[], p_missed integer, p_next timestamptz, p_later timestamptz[]
) returns table (fired integer, refused integer)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_schedule switchyard.schedules;
    v_at timestamptz;
    v_tick switchyard.schedule_ticks;
begin
    -- Whatever the clock of the one who computed them says.
    if exists (select from unnest(p_ticks) t where t > clock_timestamp()) then
        raise exception 'a tick of schedule % has not come yet', p_id using errcode = 'invalid_parameter_value';
    end if;
    select * into v_schedule from switchyard.schedules s
    where s.id = p_id
      and s.version = p_version
      and s.next_at <= clock_timestamp()
      and s.paused_at is null
      and not switchyard.is_held_elsewhere(s.locked_by, s.locked_at, s.next_at)
    for update skip locked;
    if v_schedule.id is null then
        return;
    end if;
    fired := 0;
    refused := 0;
    foreach v_at in array p_ticks loop
        v_tick := switchyard.fire_tick(v_schedule, v_at);
        continue when v_tick.tick is null;
        v_schedule.last_tick := v_at;
        if v_tick.outcome = 'fired' then
            fired := fired + 1;
            v_schedule.last_fired_at := clock_timestamp();
            v_schedule.last_job_id := v_tick.job_id;
        else
            refused := refused + 1;
        end if;
    end loop;
    if p_missed > 0 then
        -- The oldest stands for all: a second's schedule that was down for a day would have a row for each otherwise.
        insert into switchyard.schedule_ticks (schedule_id, tick, database_id, outcome, ticks)
        values (p_id, v_schedule.next_at, v_schedule.database_id, 'missed', p_missed)
        on conflict do nothing;
    end if;
    update switchyard.schedules s
    set next_at = p_next,
        later = p_later,
        plan_wanted = false,
        problem = null,
        last_tick = v_schedule.last_tick,
        last_fired_at = v_schedule.last_fired_at,
        last_job_id = v_schedule.last_job_id,
        missed_count = s.missed_count + p_missed,
        -- A holder that was silent for so long is gone.
        locked_at = null,
        locked_by = null
    where s.id = p_id;
    return next;
end
$$;
revoke execute on function switchyard.fire_schedule from public;
grant execute on function switchyard.fire_schedule to switchyard_system;

-- Fires a schedule's next tick, also when it has not come yet, and moves on to the one after it, in SQL alone: for
-- schedulers of other systems, which keep the time themselves. Null when there is no such schedule. A paused one has its
-- tick refused. Where no tick has been computed the present is the tick.
create function switchyard.fire_next_tick(p_id bigint) returns switchyard.schedule_ticks
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_schedule switchyard.schedules;
    v_at timestamptz;
    v_tick switchyard.schedule_ticks;
begin
    select * into v_schedule from switchyard.schedules where id = p_id for update;
    if v_schedule.id is null then
        return null;
    end if;
    v_at := coalesce(v_schedule.next_at, clock_timestamp());
    if v_schedule.paused_at is not null then
        insert into switchyard.schedule_ticks as t (schedule_id, tick, database_id, outcome, reason)
        values (
            p_id, v_at, v_schedule.database_id, 'refused',
            'the schedule was paused by ' || v_schedule.paused_by || coalesce(': ' || v_schedule.paused_why, '')
        )
        on conflict (schedule_id, tick) do update set at = excluded.at
        returning * into v_tick;
        -- It stays where it is: resumed, it goes on from then.
        return v_tick;
    end if;
    v_tick := switchyard.fire_tick(v_schedule, v_at);
    if v_tick.tick is null then
        -- Fired by hand of a rule that is gone: the row of that firing is the answer.
        select * into v_tick from switchyard.schedule_ticks where schedule_id = p_id and tick = v_at;
    end if;
    update switchyard.schedules
    set next_at = later[1],
        later = later[2:],
        -- Well before they are used up.
        plan_wanted = problem is null and (plan_wanted or next_at is not null and cardinality(later) <= 8),
        last_tick = v_at,
        last_fired_at = case when v_tick.outcome = 'fired' then clock_timestamp() else last_fired_at end,
        last_job_id = coalesce(v_tick.job_id, last_job_id)
    where id = p_id;
    return v_tick;
end
$$;
revoke execute on function switchyard.fire_next_tick from public;
grant execute on function switchyard.fire_next_tick to switchyard_system;

-- Declares a schedule and returns its id. p_next and p_later are its first ticks; without them they are computed within a
-- second. A name or a key that the tenant has already is a unique violation.
create function switchyard.declare_schedule(
    p_database_id uuid,
    p_name text,
    p_task text,
    p_schedule_info jsonb,
    p_time_zone text default null,
    p_payload jsonb default '{}',
    p_queue_name text default null,
    p_priority integer default 0,
    p_attempts_max integer default null,
    p_key text default null,
    p_missed switchyard.missed default 'last',
    p_jitter interval default '0',
    p_next timestamptz default null,
    p_later timestamptz[] default '{}',
    p_by text default null
) returns bigint
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
    insert into switchyard.schedules (
        database_id, name, task, schedule_info, time_zone, payload, queue_name, priority, attempts_max, key, missed,
        jitter, next_at, later, created_by
    ) values (
        p_database_id, p_name, p_task, p_schedule_info, p_time_zone, p_payload, p_queue_name, p_priority,
        p_attempts_max, p_key, p_missed, p_jitter, p_next, p_later, p_by
    )
    returning id;
end;
revoke execute on function switchyard.declare_schedule from public;
grant execute on function switchyard.declare_schedule to switchyard_system;

-- Changes all that was declared. The ticks are replaced only where the rule is another: a tick that has come is not lost by
-- a change of the payload. False when the tenant has no such schedule.
create function switchyard.change_schedule(
    p_database_id uuid,
    p_id bigint,
    p_name text,
    p_task text,
    p_schedule_info jsonb,
    p_time_zone text default null,
    p_payload jsonb default '{}',
    p_queue_name text default null,
    p_priority integer default 0,
    p_attempts_max integer default null,
    p_key text default null,
    p_missed switchyard.missed default 'last',
    p_jitter interval default '0',
    p_next timestamptz default null,
    p_later timestamptz[] default '{}'
) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_old switchyard.schedules;
    v_same boolean;
begin
    select * into v_old from switchyard.schedules where database_id = p_database_id and id = p_id for update;
    if v_old.id is null then
        return false;
    end if;
    v_same := (v_old.schedule_info, v_old.time_zone) is not distinct from (p_schedule_info, p_time_zone);
    update switchyard.schedules s
    set name = p_name, task = p_task, schedule_info = p_schedule_info, time_zone = p_time_zone, payload = p_payload,
        queue_name = p_queue_name, priority = p_priority, attempts_max = p_attempts_max, key = p_key,
        missed = p_missed, jitter = p_jitter,
        next_at = case when v_same then s.next_at when s.paused_at is null then p_next end,
        later = case when v_same then s.later when s.paused_at is null then p_later else '{}' end,
        last_tick = case when v_same then s.last_tick end,
        problem = case when v_same then s.problem end,
        plan_wanted = case when v_same then s.plan_wanted else p_next is null end
    where s.id = p_id;
    return true;
end
$$;
revoke execute on function switchyard.change_schedule from public;
grant execute on function switchyard.change_schedule to switchyard_system;

-- Stops a schedule until it is resumed. The ticks of that time are neither fired nor missed. False when the tenant has no
-- such schedule; who paused it first stays.
create function switchyard.pause_schedule(p_database_id uuid, p_id bigint, p_by text, p_why text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    update switchyard.schedules
    set paused_by = coalesce(paused_by, p_by),
        paused_why = case when paused_at is null then p_why else paused_why end,
        paused_at = coalesce(paused_at, clock_timestamp())
    where database_id = p_database_id and id = p_id;
    return found;
end
$$;
revoke execute on function switchyard.pause_schedule from public;
grant execute on function switchyard.pause_schedule to switchyard_system;

-- Lets it go on with the next tick from now. One that is not paused stays as it is. False when there is none.
create function switchyard.resume_schedule(
    p_database_id uuid, p_id bigint, p_next timestamptz default null, p_later timestamptz[] default '{}'
) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    update switchyard.schedules
    set paused_by = null, paused_why = null, paused_at = null,
        next_at = p_next, later = p_later, problem = null, plan_wanted = p_next is null
    where database_id = p_database_id and id = p_id and paused_at is not null;
    return found or exists (
        select from switchyard.schedules where database_id = p_database_id and id = p_id
    );
end
$$;
revoke execute on function switchyard.resume_schedule from public;
grant execute on function switchyard.resume_schedule to switchyard_system;

-- Its jobs stay, and so does what became of its ticks, for as long as ticks are kept.
create function switchyard.remove_schedule(p_database_id uuid, p_id bigint) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    delete from switchyard.schedules where database_id = p_database_id and id = p_id;
    return found;
end
$$;
revoke execute on function switchyard.remove_schedule from public;
grant execute on function switchyard.remove_schedule to switchyard_system;

-- Adds its job now, by hand, paused or not; its ticks go on as they were. Null when the tenant has no such schedule.
create function switchyard.run_schedule(p_database_id uuid, p_id bigint, p_by text) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_schedule switchyard.schedules;
begin
    -- Not removed meanwhile; and not in the way of who fires it.
    select * into v_schedule from switchyard.schedules
    where database_id = p_database_id and id = p_id
    for key share;
    if v_schedule.id is null then
        return null;
    end if;
    return (
        select a.job_id from switchyard.add_schedule_job(v_schedule, clock_timestamp(), 'by-hand', p_by) a
    );
end
$$;
revoke execute on function switchyard.run_schedule from public;
grant execute on function switchyard.run_schedule to switchyard_system;

-- The tenant of this transaction, for functions that cannot do without one.
create function switchyard.own_tenant() returns uuid
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    if switchyard.current_tenant() is null then
        raise exception 'no tenant is set in this transaction' using errcode = 'insufficient_privilege';
    end if;
    return switchyard.current_tenant();
end
$$;
revoke execute on function switchyard.own_tenant from public;

-- The same for a person: the tenant is the transaction's, never an argument.
create function switchyard.declare_own_schedule(
    p_name text, p_task text, p_schedule_info jsonb, p_time_zone text, p_payload jsonb, p_queue_name text,
    p_priority integer, p_attempts_max integer, p_key text, p_missed switchyard.missed, p_jitter interval,
    p_next timestamptz, p_later timestamptz[], p_by text
) returns bigint
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
    select switchyard.declare_schedule(
        switchyard.own_tenant(), p_name, p_task, p_schedule_info, p_time_zone, p_payload, p_queue_name, p_priority,
        p_attempts_max, p_key, p_missed, p_jitter, p_next, p_later, p_by
    );
end;
revoke execute on function switchyard.declare_own_schedule from public;
grant execute on function switchyard.declare_own_schedule to switchyard_tenant;

create function switchyard.change_own_schedule(
    p_id bigint, p_name text, p_task text, p_schedule_info jsonb, p_time_zone text, p_payload jsonb,
    p_queue_name text, p_priority integer, p_attempts_max integer, p_key text, p_missed switchyard.missed,
    p_jitter interval, p_next timestamptz, p_later timestamptz[]
) returns boolean
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
    select switchyard.change_schedule(
        switchyard.own_tenant(), p_id, p_name, p_task, p_schedule_info, p_time_zone, p_payload, p_queue_name,
        p_priority, p_attempts_max, p_key, p_missed, p_jitter, p_next, p_later
    );
end;
revoke execute on function switchyard.change_own_schedule from public;
grant execute on function switchyard.change_own_schedule to switchyard_tenant;

create function switchyard.pause_own_schedule(p_id bigint, p_by text, p_why text) returns boolean
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
    select switchyard.pause_schedule(switchyard.own_tenant(), p_id, p_by, p_why);
end;
revoke execute on function switchyard.pause_own_schedule from public;
grant execute on function switchyard.pause_own_schedule to switchyard_tenant;

create function switchyard.resume_own_schedule(p_id bigint, p_next timestamptz, p_later timestamptz[]) returns boolean
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
    select switchyard.resume_schedule(switchyard.own_tenant(), p_id, p_next, p_later);
end;
revoke execute on function switchyard.resume_own_schedule from public;
grant execute on function switchyard.resume_own_schedule to switchyard_tenant;

create function switchyard.remove_own_schedule(p_id bigint) returns boolean
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
    select switchyard.remove_schedule(switchyard.own_tenant(), p_id);
end;
revoke execute on function switchyard.remove_own_schedule from public;
grant execute on function switchyard.remove_own_schedule to switchyard_tenant;

create function switchyard.run_own_schedule(p_id bigint, p_by text) returns bigint
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
    select switchyard.run_schedule(switchyard.own_tenant(), p_id, p_by);
end;
revoke execute on function switchyard.run_own_schedule from public;
grant execute on function switchyard.run_own_schedule to switchyard_tenant;

-- Tables in day partitions, and by which column: what is made ahead, dropped when it is past keeping, and analysed.
create table switchyard.histories (
    name text primary key check (name ~ '^[a-z_]{1,40}$'),
    by_column text not null
);
insert into switchyard.histories values
    ('jobs_archive', 'finished_at'), ('job_events', 'at'), ('job_logs', 'at'), ('schedule_ticks', 'tick');
grant select on switchyard.histories to switchyard_system;

-- As before, for whatever tables there are.
create or replace function switchyard.make_partitions(p_days integer default 7) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '1s' set timezone = 'UTC'
as $$
declare
    v_history switchyard.histories;
    v_day date;
    v_name text;
    v_made integer := 0;
    v_taken boolean;
begin
    if not pg_try_advisory_xact_lock(hashtextextended('switchyard.make_partitions', 0)) then
        return 0;
    end if;
    for v_history in select * from switchyard.histories order by name loop
        for v_day in select current_date + n from generate_series(0, p_days) n loop
            v_name := v_history.name || '_' || to_char(v_day, 'YYYYMMDD');
            continue when to_regclass('switchyard.' || v_name) is not null;
            -- A day whose rows are in the default partition already stays there.
            execute format(
                'select exists (select from switchyard.%I where %I >= %L and %I < %L)',
                v_history.name || '_default', v_history.by_column, v_day, v_history.by_column, v_day + 1
            ) into v_taken;
            continue when v_taken;
            execute format(
                'create table switchyard.%I partition of switchyard.%I for values from (%L) to (%L)',
                v_name, v_history.name, v_day, v_day + 1
            );
            v_made := v_made + 1;
        end loop;
    end loop;
    return v_made;
end
$$;
select switchyard.make_partitions();

-- The history of that name. What is kept for less than a day would be dropped while it is written.
create function switchyard.history_to_shorten(p_history text, p_keep interval) returns switchyard.histories
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_history switchyard.histories;
begin
    if p_keep < interval '1 day' then
        raise exception 'history is kept for a day at least, not for %', p_keep using errcode = 'invalid_parameter_value';
    end if;
    select * into strict v_history from switchyard.histories where name = p_history;
    return v_history;
end
$$;
revoke execute on function switchyard.history_to_shorten from public;

-- Drops the oldest day that is past keeping and returns its partition's name; null when there is none. The parent is locked
-- against all others meanwhile, so nobody waits here for longer than half a second, nor do those who come behind: then it
-- fails with lock_not_available and may be tried again.
create function switchyard.drop_expired_day(p_history text, p_keep interval) returns text
language plpgsql security definer
set search_path = pg_catalog, pg_temp set lock_timeout = '500ms' set timezone = 'UTC'
as $$
declare
    v_history switchyard.histories := switchyard.history_to_shorten(p_history, p_keep);
    v_name text;
begin
    select c.relname into v_name
    from pg_inherits i
    join pg_class c on c.oid = i.inhrelid
    where i.inhparent = ('switchyard.' || v_history.name)::regclass
      and c.relname ~ ('^' || v_history.name || '_[0-9]{8}$')
      -- A day is over at its end.
      and to_date(right(c.relname, 8), 'YYYYMMDD') + 1 <= now() - p_keep
    order by c.relname
    limit 1;
    if v_name is null then
        return null;
    end if;
    execute format('drop table switchyard.%I', v_name);
    return v_name;
end
$$;
revoke execute on function switchyard.drop_expired_day from public;
grant execute on function switchyard.drop_expired_day to switchyard_system;

-- Deletes up to p_limit rows past keeping from the default partition, where a day goes that had no partition when it came.
create function switchyard.delete_expired_rows(p_history text, p_keep interval, p_limit integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '500ms'
as $$
declare
    v_history switchyard.histories := switchyard.history_to_shorten(p_history, p_keep);
    v_deleted integer;
begin
    execute format(
        'delete from switchyard.%1$I where ctid = any (array(
            select ctid from switchyard.%1$I where %2$I < now() - $1 limit $2
        ))',
        v_history.name || '_default', v_history.by_column
    ) using p_keep, p_limit;
    get diagnostics v_deleted = row_count;
    return v_deleted;
end
$$;
revoke execute on function switchyard.delete_expired_rows from public;
grant execute on function switchyard.delete_expired_rows to switchyard_system;

-- Has the planner look at a partitioned table, which autovacuum never does: it sees only partitions. False when that was
-- done less than p_every ago.
create function switchyard.analyse_history(p_history text, p_every interval) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '500ms'
as $$
declare
    v_history switchyard.histories;
begin
    select * into strict v_history from switchyard.histories where name = p_history;
    if (
        select last_analyze > now() - p_every from pg_stat_all_tables
        where relid = ('switchyard.' || v_history.name)::regclass
    ) then
        return false;
    end if;
    execute format('analyze switchyard.%I', v_history.name);
    return true;
end
$$;
revoke execute on function switchyard.analyse_history from public;
grant execute on function switchyard.analyse_history to switchyard_system;

-- Which number of acceptance was handed out last, and when that was so: whatever is not newer is as old as that.
create table switchyard.accepted_marks (
    at timestamptz primary key default now(),
    seq bigint not null
);

-- Forgets up to p_limit keys that protect nothing any more, and returns how many. A key's high-water mark makes a late
-- event's job superseded; so it goes only when no event can be late for it: the mark is older than p_unused, no event that
-- was accepted before it is still to be dispatched, and no job with the key is alive.
create function switchyard.forget_keys(p_unused interval, p_limit integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '500ms'
as $$
declare
    v_known bigint;
    v_forgotten integer;
begin
    if p_unused < interval '1 hour' then
        raise exception 'a key is kept for an hour at least, not for %', p_unused
            using errcode = 'invalid_parameter_value';
    end if;
    if not exists (select from switchyard.accepted_marks where at > now() - interval '10 minutes') then
        insert into switchyard.accepted_marks (seq) select last_value from switchyard.accepted on conflict do nothing;
    end if;
    select seq into v_known from switchyard.accepted_marks where at <= now() - p_unused order by at desc limit 1;
    if v_known is null then
        return 0;
    end if;
    delete from switchyard.accepted_marks
    where at < (select max(at) from switchyard.accepted_marks where at <= now() - p_unused);
    v_known := least(v_known, (select min(seq) - 1 from switchyard.events where dispatched_at is null));
    with unused as (
        select k.database_id, k.key
        from switchyard.job_keys k
        where k.high_water <= v_known
          and not exists (
              select from switchyard.jobs j where j.database_id = k.database_id and j.key = k.key
          )
        limit p_limit
        -- Somebody who adds a job with it now has locked it, and raises its mark.
        for update of k skip locked
    )
    delete from switchyard.job_keys k
    using unused u
    where k.database_id = u.database_id and k.key = u.key and k.high_water <= v_known;
    get diagnostics v_forgotten = row_count;
    return v_forgotten;
end
$$;
revoke execute on function switchyard.forget_keys from public;
grant execute on function switchyard.forget_keys to switchyard_system;

reset role;
