-- What came of deliveries: a row for each event and job, at most a thousand. A job is either live or in a partition of the
-- archive that is not older than its decision.
select
    e.delivery_id,
    e.id as event_id,
    e.type as ty,
    e.subject,
    concat_ws(
        ' · ',
        e.data -> 'repository' ->> 'path',
        coalesce(e.data ->> 'branch', e.data ->> 'tag'),
        left(e.data ->> 'after', 7)
    ) as about,
    e.dispatched_at is not null as "dispatched!",
    d.job_id as "job_id?",
    coalesce(j.state, a.state)::text as state,
    w.name as "workload?"
from switchyard.events e
left join switchyard.decisions d on d.database_id = e.database_id and d.event_id = e.id and d.matched
left join switchyard.bindings b on b.database_id = d.database_id and b.id = d.binding_id
left join switchyard.workloads w on w.database_id = b.database_id and w.id = b.workload_id
left join switchyard.jobs j on j.database_id = d.database_id and j.id = d.job_id
left join lateral (
    select f.state
    from switchyard.jobs_archive f
    where f.database_id = d.database_id and f.id = d.job_id and f.finished_at >= d.decided_at and j.id is null
    limit 1
) a on true
where e.database_id = switchyard.current_tenant() and e.delivery_id = any ($1)
order by e.seq, b.position, b.id
limit 1000
