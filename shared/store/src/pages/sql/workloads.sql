-- Workloads by id ($1) with what says how they are doing: a job that is not finished, else how the latest one ended.
select
    w.id,
    w.name,
    w.source,
    w.host,
    w.config,
    w.live_revision,
    exists (
        select from switchyard.jobs j
        where j.database_id = w.database_id and j.workload_id = w.id
    ) as "is_worked_on!",
    coalesce((
        select a.state = 'dead'
        from switchyard.jobs_archive a
        where a.database_id = w.database_id and a.workload_id = w.id
        order by a.id desc
        limit 1
    ), false) as "failed!"
from switchyard.workloads w
where w.database_id = switchyard.current_tenant() and w.id = any ($1)
order by w.name
