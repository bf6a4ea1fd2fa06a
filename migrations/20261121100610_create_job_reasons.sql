-- Why a job that is not finished does not go on. All that keeps it is told, so that who removes one obstacle knows the next.
set local role switchyard_owner;

-- The reasons of up to 100 jobs of a tenant, nearest first; each an object whose `why` says which one it is. A job that is
-- not live has none.
create function switchyard.job_reasons(p_database_id uuid, p_ids bigint[])
returns table (job_id bigint, reason jsonb)
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
    with j as (
        select j.*, j.state = 'queued' and (j.due or j.run_at <= clock_timestamp()) as is_ready
        from switchyard.jobs j
        where j.database_id = p_database_id and j.id = any (p_ids[1:100])
    ),
    -- The limits that concern a job that could start, with the tokens that there are by now.
    l as (
        select j.id, l.in_flight_max, l.in_flight, l.rate,
            case
                when l.task is null then 'tenant'
                when l.database_id is null then 'task'
                else 'tenant_task'
            end as scope,
            switchyard.tokens_now(l) as tokens
        from j
        join switchyard.limits l
            on (l.database_id is null or l.database_id = j.database_id) and (l.task is null or l.task = j.task)
        where j.is_ready
    ),
    found as (
        select j.id, 0 as nearness, jsonb_build_object(
            'why', 'running', 'worker', coalesce(j.worker_name, j.worker::text), 'since', j.started_at,
            'lease_until', j.lease_until, 'attempt_until', j.attempt_until, 'progress', j.progress
        ) as reason
        from j where j.state = 'running'
        union all
        select j.id, 0, jsonb_build_object('why', 'approval', 'deadline', j.lease_until)
        from j where j.state = 'waiting' and j.waiting = 'approval'
        union all
        select j.id, 0, jsonb_build_object('why', 'callback', 'deadline', j.lease_until, 'progress', j.progress)
        from j where j.state = 'waiting' and j.waiting = 'callback'
        union all
        select j.id, 0, jsonb_build_object(
            'why', 'runner', 'runner', coalesce(j.runner ->> 'name', j.runner ->> 'kind', j.task),
            'deadline', j.lease_until, 'progress', j.progress
        )
        from j where j.state = 'waiting' and j.waiting = 'runner'
        union all
        select j.id, 0, jsonb_build_object(
            'why', 'stopping', 'asked_at', j.cancel_requested_at, 'asked_by', j.cancel_requested_by
        )
        from j where j.state = 'cancelling'
        union all
        -- Not yet due: nothing else matters before that.
        select j.id, 0, case
            when j.last_error is null then jsonb_build_object('why', 'due', 'at', j.run_at)
            else jsonb_build_object(
                'why', 'retry', 'at', j.run_at, 'attempts', j.attempts, 'attempts_max', j.attempts_max,
                'error', j.last_error
            )
        end
        from j where j.state = 'queued' and not j.is_ready
        union all
        select j.id, 1, jsonb_build_object(
            'why', 'paused',
            'scope', case
                when p.queue_name is not null then 'queue'
                when p.database_id is null then 'task'
                when p.task is not null then 'tenant_task'
                else 'tenant'
            end,
            'queue', p.queue_name, 'task', p.task, 'by', p.by_whom, 'note', p.why, 'since', p.at
        )
        from j
        join switchyard.pauses p on p.kind = 'pause'
            and (p.database_id is null or p.database_id = j.database_id)
            and (p.task is null or p.task = j.task)
            and (p.queue_name is null or p.queue_name = j.queue_name)
        where j.is_ready
        union all
        select j.id, 2, jsonb_build_object('why', 'no_executor', 'task', j.task)
        from j
        where j.is_ready and switchyard.executor_of(j.database_id, j.task) is null
        union all
        -- A queue that is busy names who holds it: the job that is worked on, or the one that keeps its place between
        -- attempts; else the one at its head comes first.
        select j.id, 3, jsonb_build_object('why', 'queue', 'queue', j.queue_name, 'job', ahead.id)
        from j
        join switchyard.lanes lane on lane.id = j.lane_id
        cross join lateral (
            select coalesce(
                (
                    select h.id from switchyard.jobs h
                    where h.database_id = j.database_id and h.lane_id = j.lane_id and h.state <> 'queued'
                    limit 1
                ),
                lane.holder,
                switchyard.head_job(lane)
            ) as id
        ) ahead
        where j.is_ready and j.queue_name is not null and ahead.id <> j.id
        union all
        select j.id, 4, jsonb_build_object('why', 'key', 'job', h.id)
        from j
        join switchyard.jobs h on h.database_id = j.database_id and h.key = j.key and h.state <> 'queued'
        where j.is_ready
        union all
        select l.id, 5, jsonb_build_object(
            'why', 'full', 'scope', l.scope, 'in_flight', l.in_flight, 'in_flight_max', l.in_flight_max
        )
        from l where l.in_flight >= l.in_flight_max
        union all
        select j.id, 5, jsonb_build_object(
            'why', 'full', 'scope', 'tenant_task', 'in_flight', lane.in_flight, 'in_flight_max', lane.cap
        )
        from j
        join switchyard.lanes lane on lane.id = j.lane_id
        where j.is_ready and j.queue_name is null and lane.is_full
        union all
        select l.id, 6, jsonb_build_object(
            'why', 'rate', 'scope', l.scope,
            'next_at', clock_timestamp() + make_interval(secs => (1 - l.tokens) / l.rate)
        )
        from l where l.tokens < 1
    )
    select t.id, jsonb_strip_nulls(t.reason)
    from (
        select * from found
        union all
        select j.id, 7, jsonb_build_object(
            'why', 'ready', 'since', greatest(j.run_at, j.created_at), 'worker_seen_at', (
                select max(w.seen_at) from switchyard.workers w
                where w.function = case switchyard.executor_of(j.database_id, j.task)
                    when 'builtin' then j.task
                    else 'task-http'
                end
            )
        )
        from j
        where j.is_ready and not exists (select from found f where f.id = j.id)
    ) t
    order by t.id, t.nearness;
end;
revoke execute on function switchyard.job_reasons from public;
grant execute on function switchyard.job_reasons to switchyard_system;

-- The same of the transaction's tenant.
create function switchyard.own_job_reasons(p_ids bigint[]) returns table (job_id bigint, reason jsonb)
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
    select r.job_id, r.reason from switchyard.job_reasons(switchyard.current_tenant(), p_ids) r;
end;
revoke execute on function switchyard.own_job_reasons from public;
grant execute on function switchyard.own_job_reasons to switchyard_tenant;

reset role;
