-- Each count reads an index from its end and stops at $1. Deliveries carry the time in their ids (version 7), so that the
-- primary key finds yesterday.
with day as (
    select (
        lpad(to_hex((extract(epoch from now() - interval '1 day') * 1000)::bigint), 12, '0') || '00000000000000000000'
    )::uuid as since
)
select
    (select count(*) from (
        select from switchyard.deliveries d
        where d.database_id = switchyard.current_tenant() and d.id >= (select since from day)
        limit $1
    ) c) as "deliveries!",
    (select count(*) from (
        select from switchyard.deliveries d
        where d.database_id = switchyard.current_tenant() and d.id >= (select since from day)
          and d.verdict in ('conflict', 'malformed', 'rejected')
        limit $1
    ) c) as "refused!",
    -- What is worked on is little, over all tenants: its partial index is the shortest way.
    (select count(*) from (
        select from switchyard.jobs j
        where j.database_id = switchyard.current_tenant() and j.state <> 'queued'
          and j.state in ('running', 'cancelling')
        limit $1
    ) c) as "running!",
    (select count(*) from (
        select from switchyard.jobs j
        where j.database_id = switchyard.current_tenant() and j.state <> 'queued' and j.state = 'waiting'
        limit $1
    ) c) as "waiting!",
    (select count(*) from (
        select from switchyard.jobs j
        where j.database_id = switchyard.current_tenant() and j.state = 'queued' and j.lease_until is null
        limit $1
    ) c) as "queued!",
    (select count(*) from (
        select from switchyard.jobs_archive a
        where a.database_id = switchyard.current_tenant() and a.state = 'dead'
          and a.finished_at > now() - interval '1 day'
        limit $1
    ) c) as "dead!"
