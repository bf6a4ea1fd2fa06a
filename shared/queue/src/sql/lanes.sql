-- The tenant's named queues ($1), or its tasks, after the name $2 or of the name $3, at most $4; what is ready in each is
-- counted up to $5 and one more.
with named as materialized (
    select l.*, case when $1::boolean then l.queue_name else l.task end as name
    from switchyard.lanes l
    where l.database_id = switchyard.current_tenant()
      and (l.queue_name is not null) = $1
      and case when $1 then l.queue_name else l.task end > coalesce($2::text, '')
      and ($3::text is null or case when $1 then l.queue_name else l.task end = $3)
    order by name
    limit $4
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
