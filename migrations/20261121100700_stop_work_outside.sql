-- Cancels that are heard, tried again, and seen: requested → acknowledged → applied, or why it cannot be.
set local role switchyard_owner;

alter table switchyard.jobs
    -- When whoever works on it, or who can stop its work outside, first heard that it should stop.
    add column cancel_heard_at timestamptz,
    -- When those who can stop its work outside were told, and have not taken it up since.
    add column cancel_told_at timestamptz,
    -- How often the work outside was told to stop by its handle, …
    add column cancel_tries integer not null default 0,
    -- … before when it is not told again, …
    add column cancel_try_at timestamptz,
    -- … and why it did not stop the last time.
    add column cancel_error text;

-- Whose work outside is still to be stopped; those who were told longest ago come first.
create index jobs_to_stop on switchyard.jobs (cancel_told_at nulls first, id)
    where state = 'cancelling' and runner is not null;

-- Tells those who can stop a job's work outside, unless that is still on its way.
create function switchyard.tell_cancel(p_job switchyard.jobs) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_ce_id text := p_job.id || '/' || p_job.epoch || '/cancel';
begin
    if exists (
        select from switchyard.outbox where broker = 'work' and refused_at is null and ce_id = v_ce_id
    ) then
        return;
    end if;
    update switchyard.jobs set cancel_told_at = clock_timestamp() where id = p_job.id and epoch = p_job.epoch;
    perform switchyard.publish(
        'work', p_job.database_id, v_ce_id,
        'dev.switchyard.job.cancel.requested.v1', '/switchyard/jobs', p_job.id::text,
        jsonb_build_object(
            'task', p_job.task,
            'tenantid', p_job.database_id,
            -- As wake-ups say it: whoever runs the task's jobs can stop them.
            'executor', case
                when (select executor <> 'builtin' from switchyard.tasks where name = p_job.task) then 'external'
                else 'builtin'
            end
        ),
        jsonb_build_object('job', p_job.id, 'task', p_job.task, 'epoch', p_job.epoch)::json
    );
end
$$;

-- Asks a job to stop. queued, or waiting for approval → cancelled; running | waiting → cancelling, told to the worker by
-- its heartbeat and to the rest by an event. Says which: cancelled, requested, already_requested (work outside is then
-- told again), too_late; null when the tenant has no such job.
create or replace function switchyard.cancel_job(p_database_id uuid, p_id bigint, p_by text) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_job switchyard.jobs;
    v_old switchyard.jobs_archive;
begin
    select * into v_job from switchyard.jobs where database_id = p_database_id and id = p_id for update;
    if v_job.id is null then
        select * into v_old from switchyard.jobs_archive where database_id = p_database_id and id = p_id limit 1;
        if v_old.id is null then
            return null;
        end if;
        -- On record once, however often it is asked.
        insert into switchyard.job_events (database_id, job_id, epoch, kind, data)
        select p_database_id, p_id, v_old.epoch, 'cancel_too_late', jsonb_build_object('by', p_by, 'state', v_old.state)
        where not exists (
            select from switchyard.job_events
            where database_id = p_database_id and job_id = p_id and kind = 'cancel_too_late'
        );
        return 'too_late';
    end if;
    if v_job.state = 'cancelling' then
        if v_job.runner is not null then
            -- A person who asks again may have helped: no need to wait. Who is at it now is not disturbed.
            update switchyard.jobs
            set cancel_try_at = clock_timestamp()
            where id = v_job.id and epoch = v_job.epoch and cancel_error is not null and cancel_told_at is null
              and cancel_try_at > clock_timestamp();
            perform switchyard.tell_cancel(v_job);
        end if;
        return 'already_requested';
    end if;
    v_job.cancel_requested_at := clock_timestamp();
    v_job.cancel_requested_by := p_by;
    perform switchyard.note_job(v_job, 'cancel_requested', jsonb_build_object('by', p_by));
    if v_job.state = 'queued' then
        perform switchyard.note_job(v_job, 'cancelled');
        perform switchyard.end_queued_job(v_job, 'cancelled', 'cancelled by ' || p_by);
        return 'cancelled';
    end if;
    if v_job.state = 'waiting' and v_job.waiting = 'approval' then
        perform switchyard.count_again(v_job);
        perform switchyard.note_job(v_job, 'cancelled');
        perform switchyard.end_job(v_job, 'cancelled', 'cancelled by ' || p_by, null);
        return 'cancelled';
    end if;
    update switchyard.jobs
    set state = 'cancelling',
        cancel_requested_at = v_job.cancel_requested_at,
        cancel_requested_by = v_job.cancel_requested_by
    where id = v_job.id and epoch = v_job.epoch and state in ('running', 'waiting');
    if not found then
        raise exception 'job % changed while it was cancelled', v_job.id using errcode = 'serialization_failure';
    end if;
    if v_job.state = 'waiting' and v_job.runner is null then
        -- There is nobody to tell: it ends when its work outside says so, or at its deadline.
        perform switchyard.note_job(
            v_job, 'cancel_cannot',
            jsonb_build_object('why', 'its work outside has no handle', 'until', v_job.lease_until)
        );
        return 'requested';
    end if;
    perform switchyard.tell_cancel(v_job);
    return 'requested';
end
$$;

-- The callers have heard that these jobs of theirs should stop. On record once per job. Returns of how many that is news.
create function switchyard.hear_cancels(p_ids bigint[], p_epochs bigint[]) returns integer
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
    with locked as (
        select j.id, j.database_id, j.epoch
        from unnest(p_ids, p_epochs) as a (id, epoch)
        join switchyard.jobs j on j.id = a.id and j.epoch = a.epoch
        where j.state = 'cancelling' and j.cancel_heard_at is null
        order by j.id
        for update of j
    ),
    heard as (
        update switchyard.jobs j
        set cancel_heard_at = clock_timestamp()
        from locked
        where j.id = locked.id
        returning j.id
    ),
    noted as (
        insert into switchyard.job_events (database_id, job_id, epoch, kind)
        select locked.database_id, locked.id, locked.epoch, 'cancel_acknowledged'
        from locked
        join heard on heard.id = locked.id
        returning job_id
    )
    select count(*)::integer from noted;
end;
revoke execute on function switchyard.hear_cancels from public;
grant execute on function switchyard.hear_cancels to switchyard_system;

-- Takes it up to stop a job's work outside by its handle: the job, or nothing when there is nothing to stop, when somebody
-- else is at it, or before the time for the next try. p_for: how long nobody else tries.
create function switchyard.take_cancel(p_id bigint, p_epoch bigint, p_for interval) returns setof switchyard.jobs
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_job switchyard.jobs;
begin
    select * into v_job from switchyard.jobs
    where id = p_id and epoch = p_epoch and state = 'cancelling' and runner is not null
      and (cancel_try_at is null or cancel_try_at <= clock_timestamp())
    for update;
    if v_job.id is null then
        return;
    end if;
    if v_job.cancel_heard_at is null then
        perform switchyard.note_job(v_job, 'cancel_acknowledged');
    end if;
    return query
        update switchyard.jobs
        set cancel_heard_at = coalesce(cancel_heard_at, clock_timestamp()),
            cancel_told_at = null,
            cancel_tries = cancel_tries + 1,
            cancel_try_at = clock_timestamp() + p_for
        where id = v_job.id
        returning *;
end
$$;
revoke execute on function switchyard.take_cancel from public;
grant execute on function switchyard.take_cancel to switchyard_system;

-- What became of the try to stop a job's work outside. applied: cancelling → cancelled, for only a confirmed stop is one.
-- retry: it stays and is tried again, first after 5 s, at last every 10 minutes. cannot: the same at the slowest pace, for
-- somebody may have helped meanwhile. Returns the job's state, null where its hold was over.
create function switchyard.settle_cancel(p_id bigint, p_epoch bigint, p_how text, p_why text)
returns switchyard.job_state
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_job switchyard.jobs := switchyard.held_job(p_id, p_epoch);
    v_slowest constant interval := '10 minutes';
    v_delay interval;
begin
    if v_job.id is null or v_job.state <> 'cancelling' then
        return null;
    end if;
    case p_how
    when 'applied' then
        perform switchyard.note_job(
            v_job, 'cancelled', jsonb_build_object('confirmed', true, 'tries', v_job.cancel_tries)
        );
        perform switchyard.end_job(v_job, 'cancelled', 'cancelled by ' || v_job.cancel_requested_by, null);
        return 'cancelled';
    when 'retry' then
        v_delay := least(interval '5 seconds' * power(2, least(v_job.cancel_tries, 12) - 1), v_slowest)
            * (0.5 + 0.5 * random());
    when 'cannot' then
        v_delay := v_slowest;
    else
        raise exception 'a cancel is applied, cannot be, or is tried again; it is not %', p_how
            using errcode = 'check_violation';
    end case;
    -- The same answer again is no news.
    if v_job.cancel_error is distinct from p_why then
        perform switchyard.note_job(
            v_job, case p_how when 'cannot' then 'cancel_cannot' else 'cancel_retry_planned' end,
            jsonb_build_object('why', p_why, 'try', v_job.cancel_tries, 'next', clock_timestamp() + v_delay)
        );
    end if;
    update switchyard.jobs
    set cancel_try_at = clock_timestamp() + v_delay, cancel_error = p_why
    where id = v_job.id and epoch = v_job.epoch and state = 'cancelling';
    return 'cancelling';
end
$$;
revoke execute on function switchyard.settle_cancel from public;
grant execute on function switchyard.settle_cancel to switchyard_system;

-- Which of these jobs were twice in a row left behind by a worker that went away: perhaps it was they who brought it down,
-- and whoever claims one runs nothing beside it.
create function switchyard.left_behind_twice(p_ids bigint[], p_epochs bigint[]) returns setof bigint
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
    select j.id
    from unnest(p_ids, p_epochs) as a (id, epoch)
    join switchyard.jobs j on j.id = a.id and j.epoch = a.epoch
    where (
        select count(distinct e.epoch) from switchyard.job_events e
        where e.database_id = j.database_id and e.job_id = j.id and e.kind = 'lease_over'
          and e.epoch in (j.epoch - 1, j.epoch - 2)
    ) = 2;
end;
revoke execute on function switchyard.left_behind_twice from public;
grant execute on function switchyard.left_behind_twice to switchyard_system;

-- Tells again whose time for another try has come, and who was told and not heeded: every 15 s at first, every 10 minutes
-- when that has been so for long. Returns how many.
create function switchyard.republish_cancels(p_limit integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_job switchyard.jobs;
    v_told integer := 0;
begin
    for v_job in
        select * from switchyard.jobs
        where state = 'cancelling' and runner is not null
          and (cancel_try_at is null or cancel_try_at <= clock_timestamp())
          and (cancel_told_at is null or cancel_told_at <= clock_timestamp() - least(
              greatest((clock_timestamp() - cancel_requested_at) / 2, interval '15 seconds'), interval '10 minutes'
          ))
        order by cancel_told_at nulls first, id
        limit p_limit
        for update skip locked
    loop
        perform switchyard.tell_cancel(v_job);
        v_told := v_told + 1;
    end loop;
    return v_told;
end
$$;
revoke execute on function switchyard.republish_cancels from public;
grant execute on function switchyard.republish_cancels to switchyard_system;

reset role;
