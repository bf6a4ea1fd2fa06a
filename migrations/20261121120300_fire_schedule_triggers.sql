-- Triggers of kind `schedule`: each owns a schedule, whose ticks make events instead of jobs.
set local role switchyard_owner;

alter table switchyard.schedules
    -- The trigger that it fires instead of adding a job; its task names nothing then.
    add column trigger_id uuid,
    add foreign key (database_id, trigger_id) references switchyard.triggers;
create unique index schedules_of_trigger on switchyard.schedules (database_id, trigger_id) where trigger_id is not null;
-- People see and change such a schedule as a part of its trigger.
create policy of_no_trigger on switchyard.schedules as restrictive for select to switchyard_tenant
    using (trigger_id is null);

alter table switchyard.schedule_ticks
    -- The event that it made, of a trigger's schedule.
    add column event_id uuid,
    drop constraint fired_a_job,
    add constraint fired_something check ((outcome = 'fired') = (job_id is not null or event_id is not null));

-- What belongs to a trigger is changed with it.
create function switchyard.keep_trigger_schedule() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if current_setting('switchyard.trigger_schedule', true) is distinct from old.trigger_id::text then
        raise exception 'this schedule belongs to a trigger' using errcode = 'object_in_use', hint = 'Change the trigger.';
    end if;
    return coalesce(new, old);
end
$$;
create trigger keep_trigger_schedule
    before delete or update of name, task, schedule_info, time_zone, payload, queue_name, key, missed, jitter, paused_at
    on switchyard.schedules
    for each row when (old.trigger_id is not null) execute function switchyard.keep_trigger_schedule();

-- Gives a trigger its schedule, changes it, stops it where the trigger is off, or takes it away (p_schedule_info null).
create function switchyard.set_trigger_schedule(
    p_database_id uuid, p_trigger_id uuid, p_schedule_info jsonb, p_time_zone text, p_missed switchyard.missed,
    p_enabled boolean, p_next timestamptz, p_later timestamptz[], p_by text
) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_old switchyard.schedules;
    v_same boolean;
begin
    perform set_config('switchyard.trigger_schedule', p_trigger_id::text, true);
    select * into v_old from switchyard.schedules
    where database_id = p_database_id and trigger_id = p_trigger_id
    for update;
    if p_schedule_info is null then
        delete from switchyard.schedules where id = v_old.id;
    elsif v_old.id is null then
        insert into switchyard.schedules (
            database_id, trigger_id, task, schedule_info, time_zone, missed, next_at, later, created_by,
            paused_by, paused_at
        ) values (
            p_database_id, p_trigger_id, 'trigger', p_schedule_info, p_time_zone, p_missed, p_next, p_later, p_by,
            case when not p_enabled then p_by end, case when not p_enabled then clock_timestamp() end
        );
    else
        -- A tick that has come is not lost by a change of something else.
        v_same := (v_old.schedule_info, v_old.time_zone) is not distinct from (p_schedule_info, p_time_zone)
            and (v_old.paused_at is null) = p_enabled;
        update switchyard.schedules s
        set schedule_info = p_schedule_info, time_zone = p_time_zone, missed = p_missed,
            paused_by = case when p_enabled then null else coalesce(s.paused_by, p_by) end,
            paused_at = case when p_enabled then null else coalesce(s.paused_at, clock_timestamp()) end,
            paused_why = case when p_enabled then null else s.paused_why end,
            next_at = case when v_same then s.next_at else p_next end,
            later = case when v_same then s.later else p_later end,
            last_tick = case when v_same then s.last_tick end,
            problem = case when v_same then s.problem end,
            plan_wanted = case when v_same then s.plan_wanted else p_next is null end
        where s.id = v_old.id;
    end if;
    perform set_config('switchyard.trigger_schedule', '', true);
end
$$;
revoke execute on function switchyard.set_trigger_schedule from public;
grant execute on function switchyard.set_trigger_schedule to switchyard_system;

-- The same for a person: the tenant is the transaction's, never an argument.
create function switchyard.set_own_trigger_schedule(
    p_trigger_id uuid, p_schedule_info jsonb, p_time_zone text, p_missed switchyard.missed, p_enabled boolean,
    p_next timestamptz, p_later timestamptz[], p_by text
) returns void
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
    select switchyard.set_trigger_schedule(
        switchyard.own_tenant(), p_trigger_id, p_schedule_info, p_time_zone, p_missed, p_enabled, p_next, p_later, p_by
    );
end;
revoke execute on function switchyard.set_own_trigger_schedule from public;
grant execute on function switchyard.set_own_trigger_schedule to switchyard_tenant;

-- The next ticks of a trigger's schedule, or why there are none, and when it fired last.
create function switchyard.own_trigger_schedule(p_trigger_id uuid)
returns table (next_at timestamptz, later timestamptz[], problem text, last_fired_at timestamptz, missed_count bigint)
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
    select s.next_at, s.later, s.problem, s.last_fired_at, s.missed_count
    from switchyard.schedules s
    where s.database_id = switchyard.own_tenant() and s.trigger_id = p_trigger_id;
end;
revoke execute on function switchyard.own_trigger_schedule from public;
grant execute on function switchyard.own_trigger_schedule to switchyard_tenant;

-- Fires one tick: adds the job, or the event of a trigger, and records what became of it. Null when the tick was fired
-- before. The caller has locked the schedule, so that two do not come to the same tick; the key of the ticks would stop the
-- second.
create or replace function switchyard.fire_tick(p_schedule switchyard.schedules, p_tick timestamptz)
returns switchyard.schedule_ticks
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_tick switchyard.schedule_ticks;
    v_outcome text;
    v_at text := to_char(p_tick at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"');
begin
    if exists (
        select from switchyard.schedule_ticks where schedule_id = p_schedule.id and tick = p_tick
    ) then
        return null;
    end if;
    begin
        if p_schedule.trigger_id is not null then
            v_tick.event_id := md5(format('schedule %s at %s', p_schedule.id, v_at))::uuid;
            perform switchyard.accept_event(
                p_schedule.database_id, p_schedule.trigger_id, v_tick.event_id, 'dev.switchyard.schedule.fired.v1',
                '/switchyard/schedules', 'trg_' || replace(p_schedule.trigger_id::text, '-', ''),
                json_build_object('schedule', p_schedule.id, 'tick', v_at),
                p_correlation_id => 'schedule/' || p_schedule.id || '/' || v_at
            );
        else
            select a.job_id, a.outcome into v_tick.job_id, v_outcome
            from switchyard.add_schedule_job(
                p_schedule,
                -- The same tick of the same schedule is put off by the same time, whoever fires it.
                p_tick + p_schedule.jitter * (
                    (hashtextextended(p_schedule.id || '/' || floor(extract(epoch from p_tick))::bigint, 0) & 4294967295)
                    / 4294967296.0
                ),
                v_at,
                'schedule ' || coalesce(p_schedule.name, p_schedule.id::text)
            ) a;
            if v_outcome <> 'added' then
                v_tick.reason := 'a job with its key was queued already';
            end if;
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
            v_tick.event_id := null;
            v_tick.reason := sqlerrm;
    end;
    insert into switchyard.schedule_ticks (schedule_id, tick, database_id, outcome, job_id, event_id, reason)
    values (
        p_schedule.id, p_tick, p_schedule.database_id,
        case
            when v_tick.job_id is null and v_tick.event_id is null then 'refused' else 'fired'
        end::switchyard.tick_outcome,
        v_tick.job_id, v_tick.event_id, v_tick.reason
    )
    returning * into v_tick;
    return v_tick;
end
$$;

-- Adds its job now, by hand, paused or not; its ticks go on as they were. Null when the tenant has no such schedule, also
-- for one of a trigger, which is asked by hand itself.
create or replace function switchyard.run_schedule(p_database_id uuid, p_id bigint, p_by text) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_schedule switchyard.schedules;
begin
    -- Not removed meanwhile; and not in the way of who fires it.
    select * into v_schedule from switchyard.schedules
    where database_id = p_database_id and id = p_id and trigger_id is null
    for key share;
    if v_schedule.id is null then
        return null;
    end if;
    return (
        select a.job_id from switchyard.add_schedule_job(v_schedule, clock_timestamp(), 'by-hand', p_by) a
    );
end
$$;

reset role;
