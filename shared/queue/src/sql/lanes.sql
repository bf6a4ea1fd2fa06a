-- The tenant's named queues ($1), or its tasks, after the name $2, at most $4, or the one of the name $3; what is ready in each
-- is counted up to $5 and one more.
with named as materialized (
    (
        select l.*, l.queue_name as name from switchyard.lanes l
        where $1::boolean and $3::text is null and l.database_id = switchyard.current_tenant()
          and l.queue_name is not null and l.queue_name > coalesce($2::text, '')
        order by l.queue_name
        limit $4
    ) union all (
        select l.*, l.task from switchyard.lanes l
        where not $1 and $3 is null and l.database_id = switchyard.current_tenant()
          and l.queue_name is null and l.task > coalesce($2, '')
        order by l.task
        limit $4
    ) union all (
        select l.*, l.queue_name from switchyard.lanes l
        where $1 and l.database_id = switchyard.current_tenant() and l.queue_name = $3
    ) union all (
        select l.*, l.task from switchyard.lanes l
        where not $1 and l.database_id = switchyard.current_tenant() and l.queue_name is null and l.task = $3
    )
),
-- What is held is little, whatever is queued.
held as (
    select
        j.lane_id,
        count(*) filter (where j.waiting is distinct from 'approval') as in_flight,
        count(*) filter (where j.waiting = 'approval') as approvals,
        min(j.id) as id
    from switchyard.jobs j
    where j.database_id = switchyard.current_tenant() and j.state <> 'queued'
    group by j.lane_id
),
stops as materialized (
    select * from switchyard.own_pauses()
)
select
    n.task as "task!",
    n.queue_name,
    ready.count as "ready!",
    coalesce(h.in_flight, 0) as "in_flight!",
    coalesce(h.approvals, 0) as "approvals!",
    n.cap,
    exists (
        select from stops s
        where s.kind = 'pause'
          and (s.task is null or s.task = n.task)
          and (s.queue_name is null or s.queue_name = n.queue_name)
    ) as "paused!",
    exists (
        select from stops s
        where s.kind = 'drain'
          and (s.task is null or s.task = n.task)
          and (s.queue_name is null or s.queue_name = n.queue_name)
    ) as "drained!",
    case when n.queue_name is not null then coalesce(h.id, n.holder) end as holder,
    t.name is not null as "is_known!"
from named n
left join held h on h.lane_id = n.id
left join switchyard.tasks t on t.name = n.task
cross join lateral (
    select count(*) from (
        select from switchyard.jobs j
        where j.database_id = switchyard.current_tenant() and j.lane_id = n.id and j.state = 'queued' and j.due
        limit $5::bigint + 1
    ) j
) ready
order by n.name
