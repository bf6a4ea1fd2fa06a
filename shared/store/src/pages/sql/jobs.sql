-- Jobs by id ($1), wherever they are, with what decides why they wait; payload and result where $2 says so.
with live as (
    select
        j.id, j.task, j.state::text as state, j.due, j.workload_id, j.last_error as reason, j.attempts, j.attempts_max,
        j.epoch, j.created_at, j.run_at, j.started_at, null::timestamptz as finished_at, j.queue_name, j.event_id,
        j.binding_id, j.actor, j.replay_of, j.worker, j.lease_until, j.waiting::text as waiting,
        coalesce(j.runner ->> 'name', j.runner ->> 'kind') as runner, j.cancel_requested_at, j.cancel_requested_by,
        case when $2 then j.payload end as payload, null::jsonb as result,
        -- A queue that is busy names who holds it: the job that is worked on, or the one that keeps its place between attempts.
        case when j.state = 'queued' and j.queue_name is not null and l.is_full then coalesce(
            (
                select h.id from switchyard.jobs h
                where h.database_id = j.database_id and h.lane_id = j.lane_id and h.state <> 'queued'
                limit 1
            ),
            nullif(l.holder, j.id)
        ) end as queue_holder,
        case when j.state = 'queued' and j.key is not null then (
            select h.id from switchyard.jobs h
            where h.database_id = j.database_id and h.key = j.key and h.state <> 'queued'
            limit 1
        ) end as key_holder,
        coalesce(l.is_full, false) as is_full,
        coalesce(l.in_flight, 0) as in_flight
    from switchyard.jobs j
    left join switchyard.lanes l on l.id = j.lane_id and l.database_id = j.database_id
    where j.database_id = switchyard.current_tenant() and j.id = any ($1)
),
finished as (
    select
        a.id, a.task, a.state::text, false, a.workload_id, a.reason, a.attempts, a.attempts_max,
        a.epoch, a.created_at, a.run_at, a.started_at, a.finished_at, a.queue_name, a.event_id,
        a.binding_id, a.actor, a.replay_of, null::uuid, null::timestamptz, null::text,
        null::text, a.cancel_requested_at, a.cancel_requested_by,
        case when $2 then a.payload end, case when $2 then a.result end,
        null::bigint, null::bigint, false, 0
    from switchyard.jobs_archive a
    where a.database_id = switchyard.current_tenant() and a.id = any ($1)
),
found as (
    select * from live union all select * from finished
)
select
    f.id as "id!",
    f.task as "task!",
    f.state as "state!",
    f.due as "due!",
    f.workload_id,
    w.name as "workload?",
    f.reason,
    f.attempts as "attempts!",
    f.attempts_max as "attempts_max!",
    f.epoch as "epoch!",
    f.created_at as "created_at!",
    f.run_at as "run_at!",
    f.started_at,
    f.finished_at,
    f.queue_name,
    f.event_id,
    f.binding_id,
    f.actor,
    f.replay_of,
    f.worker,
    f.lease_until,
    f.waiting,
    f.runner,
    f.cancel_requested_at,
    f.cancel_requested_by,
    f.payload,
    f.result,
    f.queue_holder,
    f.key_holder,
    f.is_full as "is_full!",
    f.in_flight as "in_flight!",
    t.name is not null as "is_known!"
from found f
left join switchyard.workloads w on w.database_id = switchyard.current_tenant() and w.id = f.workload_id
left join switchyard.tasks t on t.name = f.task
order by f.id desc
