-- What each binding made of an event and how its job is doing. At most a thousand bindings are shown.
select
    d.binding_id,
    b.position,
    b.workload_id,
    w.name as "workload?",
    b.task,
    d.matched,
    d.held,
    d.clause,
    d.expected,
    d.actual,
    d.decided_at,
    d.job_id,
    coalesce(j.state, a.state)::text as state
from switchyard.decisions d
join switchyard.bindings b on b.database_id = d.database_id and b.id = d.binding_id
left join switchyard.workloads w on w.database_id = b.database_id and w.id = b.workload_id
left join switchyard.jobs j on j.database_id = d.database_id and j.id = d.job_id
left join lateral (
    select f.state
    from switchyard.jobs_archive f
    where f.database_id = d.database_id and f.id = d.job_id and f.finished_at >= d.decided_at and j.id is null
    limit 1
) a on true
where d.database_id = switchyard.current_tenant() and d.event_id = $1
order by b.position, b.id
limit 1000
