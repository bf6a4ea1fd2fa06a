-- Jobs by id ($1), wherever they are; payload and result where $2 says so.
with found as (
    select
        j.id, j.task, j.state::text as state, j.waiting::text as waiting, j.due, j.workload_id, j.last_error as reason, j.attempts, j.attempts_max,
        j.epoch, j.created_at, j.run_at, j.started_at, null::timestamptz as finished_at, j.queue_name, j.event_id,
        j.binding_id, j.actor, j.replay_of, j.cancel_requested_at, j.cancel_requested_by,
        case when $2 then j.payload end as payload, null::jsonb as result
    from switchyard.jobs j
    where j.database_id = switchyard.current_tenant() and j.id = any ($1)
    union all
    select
        a.id, a.task, a.state::text, null, false, a.workload_id, a.reason, a.attempts, a.attempts_max,
        a.epoch, a.created_at, a.run_at, a.started_at, a.finished_at, a.queue_name, a.event_id,
        a.binding_id, a.actor, a.replay_of, a.cancel_requested_at, a.cancel_requested_by,
        case when $2 then a.payload end, case when $2 then a.result end
    from switchyard.jobs_archive a
    where a.database_id = switchyard.current_tenant() and a.id = any ($1)
)
select
    f.id as "id!",
    f.task as "task!",
    f.state as "state!",
    f.waiting,
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
    f.cancel_requested_at,
    f.cancel_requested_by,
    f.payload,
    f.result
from found f
left join switchyard.workloads w on w.database_id = switchyard.current_tenant() and w.id = f.workload_id
order by f.id desc
