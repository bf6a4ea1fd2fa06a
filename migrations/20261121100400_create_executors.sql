-- Whose functions do a task's work: how a task changes hands, what is called for a job, and what the called ones say.
set local role switchyard_owner;

alter table switchyard.tasks
    -- Who chose the executor, why, and when.
    add column executor_by text check (length(executor_by) between 1 and 200),
    add column executor_why text check (length(executor_why) <= 2000),
    add column executor_at timestamptz;

-- What a task gets that has no row: of a tenant, or else of the installation (database_id null). Out of the box nothing: its
-- jobs wait for a worker of another system, and say so.
create table switchyard.executor_defaults (
    id bigint generated always as identity primary key,
    database_id uuid references switchyard.tenants,
    -- Null: nobody of ours.
    executor switchyard.executor,
    namespace text check (namespace ~ '^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$'),
    completes_by switchyard.completes_by not null default 'response',
    callback_deadline interval not null default '60 seconds' check (callback_deadline > '0'),
    set_by text not null check (length(set_by) between 1 and 200),
    why text check (length(why) <= 2000),
    set_at timestamptz not null default now(),
    -- The others have no usual place where a function of any name would be.
    constraint has_a_usual_place check (executor in ('knative', 'openfaas'))
);
create unique index executor_defaults_once on switchyard.executor_defaults (
    coalesce(database_id, '00000000-0000-0000-0000-000000000000')
);
call switchyard.protect('switchyard.executor_defaults');
grant select on switchyard.executor_defaults to switchyard_system, switchyard_tenant, switchyard_observer;

-- Where a tenant has its function for a task that the operator leaves to the tenants: executor `http` without a URL. Called
-- through the guard for addresses that tenants chose, never as an address of the operator's.
create table switchyard.tenant_urls (
    database_id uuid not null references switchyard.tenants,
    task text not null references switchyard.tasks (name),
    url text not null check (url ~ '^https://' and length(url) <= 2048),
    set_by text not null check (length(set_by) between 1 and 200),
    set_at timestamptz not null default now(),
    primary key (database_id, task)
);
call switchyard.protect('switchyard.tenant_urls');
grant select on switchyard.tenant_urls to switchyard_system, switchyard_tenant, switchyard_observer;

alter table switchyard.job_logs
    -- The number that a function outside gave a line that it sent; ours, `seq`, is without gaps whoever wrote.
    add column told bigint check (told > 0);

-- The task that jobs have which go to wherever their tenant says.
insert into switchyard.tasks (name, executor) values ('task-http', 'http')
on conflict (name) do update set executor = 'http';

-- What a tenant's tasks without a row get.
create function switchyard.executor_default(p_database_id uuid) returns switchyard.executor_defaults
language sql stable set search_path = pg_catalog, pg_temp
begin atomic
    select d from switchyard.executor_defaults d
    where d.database_id = p_database_id or d.database_id is null
    order by d.database_id nulls last
    limit 1;
end;

-- Who runs a task's jobs; null when nobody of ours does.
create or replace function switchyard.executor_of(p_database_id uuid, p_task text) returns switchyard.executor
language sql stable set search_path = pg_catalog, pg_temp
begin atomic
    select case
        when exists (select from switchyard.tasks where name = p_task)
            then (select executor from switchyard.tasks where name = p_task)
        else (switchyard.executor_default(p_database_id)).executor
    end;
end;

-- How long a call of a task's function that was acknowledged may stay silent.
create function switchyard.callback_deadline_of(p_database_id uuid, p_task text) returns interval
language sql stable set search_path = pg_catalog, pg_temp
begin atomic
    select coalesce(
        (select callback_deadline from switchyard.tasks where name = p_task),
        (switchyard.executor_default(p_database_id)).callback_deadline,
        '60 seconds'
    );
end;

-- Takes jobs of tasks that have no row, of tenants that have a default for those. Lane by lane: a claim of all lanes of a
-- task would take those of tenants without one. Who has waited longest comes first; each gets its part.
create function switchyard.claim_by_default(p_worker uuid, p_limit integer, p_lease interval) returns setof switchyard.jobs
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    -- Lanes looked at in one claim.
    c_lanes_max constant integer := 64;
    v_lanes bigint[];
    v_lane record;
    v_left integer := p_limit;
    v_taken integer;
begin
    if not exists (select from switchyard.executor_defaults where executor is not null) then
        return;
    end if;
    perform switchyard.make_due(p_limit * 2);
    select array_agg(l.id) into v_lanes
    from (
        select l.id from switchyard.lanes l
        where l.active and not l.is_full and not l.paused
          and not exists (select from switchyard.tasks t where t.name = l.task)
          and switchyard.executor_of(l.database_id, l.task) is not null
        order by l.served_at, l.id
        limit c_lanes_max
    ) l;
    for v_lane in select id, task from switchyard.lanes where id = any (v_lanes) order by served_at, id loop
        exit when v_left <= 0;
        return query select * from switchyard.claim_jobs(
            p_worker, array[v_lane.task], least(v_left, greatest(p_limit / cardinality(v_lanes), 1)), p_lease,
            p_lane => v_lane.id
        );
        get diagnostics v_taken = row_count;
        v_left := v_left - v_taken;
    end loop;
end
$$;
revoke execute on function switchyard.claim_by_default from public;
grant execute on function switchyard.claim_by_default to switchyard_system;

-- Gives a task to an executor, or to nobody of ours (null). Where `p_url` and `p_namespace` are null it is called at the
-- executor's usual place; the others stay as they are where null is given. Jobs that are being worked on end where they
-- began; all others go to the new one.
create function switchyard.set_executor(
    p_task text,
    p_executor switchyard.executor,
    p_url text,
    p_namespace text,
    p_completes_by switchyard.completes_by,
    p_callback_deadline interval,
    p_attempt_time_max interval,
    p_attempts_max integer,
    p_by text,
    p_why text
) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if p_url is not null and p_url !~ '^https?://' then
        raise exception 'the URL % is neither http nor https', p_url using errcode = 'check_violation';
    end if;
    if p_executor = 'knative' and p_url is null and p_task !~ '^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$' then
        raise exception 'no Knative Service can have the name %: give its URL', p_task using errcode = 'check_violation';
    end if;
    if p_executor = 'openfaas' and p_url is null and p_task !~ '^[A-Za-z0-9][-A-Za-z0-9_.]{0,62}$' then
        raise exception 'no OpenFaaS function can have the name %: give its URL', p_task
            using errcode = 'check_violation';
    end if;
    insert into switchyard.tasks as t (
        name, executor, url, namespace, completes_by, callback_deadline, attempt_time_max, attempts_max,
        executor_by, executor_why, executor_at
    ) values (
        p_task, p_executor, p_url, p_namespace, coalesce(p_completes_by, 'response'),
        coalesce(p_callback_deadline, '60 seconds'), coalesce(p_attempt_time_max, '2 minutes'),
        coalesce(p_attempts_max, 5), p_by, p_why, now()
    )
    on conflict (name) do update set
        executor = excluded.executor,
        url = excluded.url,
        namespace = excluded.namespace,
        completes_by = coalesce(p_completes_by, t.completes_by),
        callback_deadline = coalesce(p_callback_deadline, t.callback_deadline),
        attempt_time_max = coalesce(p_attempt_time_max, t.attempt_time_max),
        attempts_max = coalesce(p_attempts_max, t.attempts_max),
        executor_by = excluded.executor_by,
        executor_why = excluded.executor_why,
        executor_at = excluded.executor_at;
    perform switchyard.wake_relay('work');
end
$$;
revoke execute on function switchyard.set_executor from public;
grant execute on function switchyard.set_executor to switchyard_system;

-- Takes a task's row away again: it gets what its tenants' or the installation's default says. False when there was none.
create function switchyard.forget_task(p_task text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_gone boolean;
begin
    delete from switchyard.tenant_urls where task = p_task;
    delete from switchyard.tasks where name = p_task;
    v_gone := found;
    perform switchyard.wake_relay('work');
    return v_gone;
end
$$;
revoke execute on function switchyard.forget_task from public;
grant execute on function switchyard.forget_task to switchyard_system;

-- Says what tasks without a row get: those of a tenant, or of all tenants that have no default of their own (null).
create function switchyard.set_default_executor(
    p_database_id uuid,
    p_executor switchyard.executor,
    p_namespace text,
    p_completes_by switchyard.completes_by,
    p_callback_deadline interval,
    p_by text,
    p_why text
) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    insert into switchyard.executor_defaults as d (
        database_id, executor, namespace, completes_by, callback_deadline, set_by, why
    ) values (
        p_database_id, p_executor, p_namespace, coalesce(p_completes_by, 'response'),
        coalesce(p_callback_deadline, '60 seconds'), p_by, p_why
    )
    on conflict (coalesce(database_id, '00000000-0000-0000-0000-000000000000')) do update set
        executor = excluded.executor,
        namespace = excluded.namespace,
        completes_by = coalesce(p_completes_by, d.completes_by),
        callback_deadline = coalesce(p_callback_deadline, d.callback_deadline),
        set_by = excluded.set_by,
        why = excluded.why,
        set_at = now();
    perform switchyard.wake_relay('work');
end
$$;
revoke execute on function switchyard.set_default_executor from public;
grant execute on function switchyard.set_default_executor to switchyard_system;

-- Takes a default away again. False when there was none.
create function switchyard.drop_default_executor(p_database_id uuid) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_gone boolean;
begin
    delete from switchyard.executor_defaults where database_id is not distinct from p_database_id;
    v_gone := found;
    perform switchyard.wake_relay('work');
    return v_gone;
end
$$;
revoke execute on function switchyard.drop_default_executor from public;
grant execute on function switchyard.drop_default_executor to switchyard_system;

-- Says where the transaction's tenant has its function for a task. False when the task is not left to the tenants.
create function switchyard.set_own_url(p_task text, p_url text, p_by text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if switchyard.current_tenant() is null then
        raise exception 'no tenant is set in this transaction' using errcode = 'insufficient_privilege';
    end if;
    insert into switchyard.tenant_urls as u (database_id, task, url, set_by)
    select switchyard.current_tenant(), t.name, p_url, p_by
    from switchyard.tasks t
    where t.name = p_task and t.executor = 'http' and t.url is null
    on conflict (database_id, task) do update
    set url = excluded.url, set_by = excluded.set_by, set_at = now();
    return found;
end
$$;
revoke execute on function switchyard.set_own_url from public;
grant execute on function switchyard.set_own_url to switchyard_tenant;

-- Forgets it. False when there was none.
create function switchyard.drop_own_url(p_task text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    delete from switchyard.tenant_urls where database_id = switchyard.current_tenant() and task = p_task;
    return found;
end
$$;
revoke execute on function switchyard.drop_own_url from public;
grant execute on function switchyard.drop_own_url to switchyard_tenant;

-- Puts lines at the end of a job's log for who does not know how many there are. With p_told, the number that the first
-- one has for its writer, lines that came before are dropped. False when the hold was over.
create function switchyard.append_lines(
    p_id bigint, p_epoch bigint, p_stream text, p_lines text[], p_told bigint default null
) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_database_id uuid;
    v_last bigint;
    v_told bigint;
begin
    -- Alone: who numbers lines must know the last one.
    select database_id into v_database_id from switchyard.jobs
    where id = p_id and epoch = p_epoch and state in ('running', 'waiting', 'cancelling')
    for update;
    if not found then
        return false;
    end if;
    select coalesce(max(seq), 0) into v_last from switchyard.job_logs
    where database_id = v_database_id and job_id = p_id and epoch = p_epoch;
    if p_told is not null then
        select told into v_told from switchyard.job_logs
        where database_id = v_database_id and job_id = p_id and epoch = p_epoch and told is not null
        order by seq desc
        limit 1;
    end if;
    insert into switchyard.job_logs (database_id, job_id, epoch, seq, stream, line, told)
    select v_database_id, p_id, p_epoch, v_last + row_number() over (order by l.n), p_stream, l.line, p_told + l.n - 1
    from unnest(p_lines) with ordinality as l (line, n)
    where v_told is null or p_told + l.n - 1 > v_told;
    return true;
end
$$;
revoke execute on function switchyard.append_lines from public;
grant execute on function switchyard.append_lines to switchyard_system;

-- What a called function says of a job: `progress`, or how it ended, `success`, `error` or `cancelled`. The first end counts.
-- Answers whether what was said counted (`applied`), had been said before (`duplicate`), came too late (`stale`) or is of no
-- job that is known (`unknown`); what the job is now; and whether somebody asked it to stop.
create function switchyard.callback_job(
    p_database_id uuid,
    p_id bigint,
    p_epoch bigint,
    p_said text,
    p_error text,
    -- Whether another try may help after an error.
    p_retry boolean,
    p_result jsonb,
    p_progress jsonb,
    p_lines text[],
    p_told bigint
) returns table (outcome text, state switchyard.job_state, cancel boolean)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_job switchyard.jobs;
    v_archived switchyard.job_state;
    v_archived_epoch bigint;
    v_said text;
    v_state switchyard.job_state;
begin
    if p_said not in ('progress', 'success', 'error', 'cancelled') then
        raise exception 'a function says progress, success, error or cancelled, not %', p_said
            using errcode = 'check_violation';
    end if;
    select * into v_job from switchyard.jobs where database_id = p_database_id and id = p_id for update;
    if v_job.epoch is distinct from p_epoch
        or v_job.state not in ('running', 'waiting', 'cancelling')
        or v_job.waiting = 'approval'
    then
        -- Not held by this claim, or not any more. What this claim's function said at its end decides.
        select e.data ->> 'said' into v_said from switchyard.job_events e
        where e.database_id = p_database_id and e.job_id = p_id and e.epoch = p_epoch and e.kind = 'called_back';
        select a.state, a.epoch into v_archived, v_archived_epoch from switchyard.jobs_archive a
        where a.database_id = p_database_id and a.id = p_id
        limit 1;
        if v_job.id is null and v_archived is null and v_said is null then
            return query select 'unknown', null::switchyard.job_state, false;
            return;
        end if;
        if v_said = p_said
            -- The answer to the call said so already.
            or v_said is null and v_archived_epoch = p_epoch
                and (v_archived, p_said) in (('succeeded', 'success'), ('dead', 'error'), ('cancelled', 'cancelled'))
        then
            return query select 'duplicate', coalesce(v_job.state, v_archived), false;
            return;
        end if;
        -- Records it where the job is still there.
        perform switchyard.held_job(p_id, p_epoch) where v_job.id is not null;
        return query select 'stale', coalesce(v_job.state, v_archived), false;
        return;
    end if;

    if p_lines is not null then
        perform switchyard.append_lines(p_id, p_epoch, 'task', p_lines, p_told);
    end if;
    if p_said = 'progress' then
        update switchyard.jobs j
        set progress = coalesce(p_progress, j.progress),
            -- A sign of life renews the deadline, up to the end of the attempt's time, and not for who was asked to stop.
            lease_until = case
                when j.state = 'waiting' and j.waiting = 'callback' then greatest(
                    j.lease_until,
                    least(
                        clock_timestamp() + switchyard.callback_deadline_of(j.database_id, j.task),
                        j.attempt_until
                    )
                )
                else j.lease_until
            end
        where j.id = p_id and j.epoch = p_epoch and j.state in ('running', 'waiting', 'cancelling');
        return query select 'applied', v_job.state, v_job.state = 'cancelling';
        return;
    end if;

    perform switchyard.note_job(v_job, 'called_back', jsonb_build_object('said', p_said));
    if p_said = 'error' and p_retry or p_said = 'cancelled' and v_job.state <> 'cancelling' then
        v_state := switchyard.retry_job(p_id, p_epoch, p_error, null);
    else
        select f.applied into v_state
        from switchyard.finish_jobs(
            array[p_id], array[p_epoch],
            array[case p_said when 'success' then 'succeeded' when 'error' then 'dead' else 'cancelled' end]::switchyard.job_state[],
            array[case when p_said <> 'success' then p_error end], array[p_result]
        ) f;
    end if;
    if v_state is null then
        raise exception 'job % changed while its function called back', p_id using errcode = 'serialization_failure';
    end if;
    return query select 'applied', v_state, false;
end
$$;
revoke execute on function switchyard.callback_job from public;
grant execute on function switchyard.callback_job to switchyard_system;

reset role;
