-- The tenant's dead jobs that match the filter ($1, with since $2 and until $3) behind a place ($4, $5), the latest death
-- first. At most $6 are looked at and $7 returned; the last row, where there may be more behind it, says so (`goes_on`) and
-- need not match itself.
with looked as materialized (
    select
        a.id, a.finished_at, a.task, a.queue_name, a.key, left(a.reason, 2000) as reason, a.attempts, a.attempts_max,
        a.created_at, a.event_id, a.workload_id, switchyard.dead_matches(a, $1) as matches
    from switchyard.jobs_archive a
    where a.database_id = switchyard.current_tenant() and a.state = 'dead'
      and a.finished_at >= coalesce($2::timestamptz, '-infinity')
      and a.finished_at < coalesce($3::timestamptz, 'infinity')
      and a.finished_at <= coalesce($4::timestamptz, 'infinity')
      and (a.finished_at, a.id) < (coalesce($4, 'infinity'), coalesce($5::bigint, 9223372036854775807))
    order by a.finished_at desc, a.id desc
    limit $6
),
numbered as (
    select
        l.*,
        count(*) filter (where l.matches) over (order by l.finished_at desc, l.id desc) as nth,
        row_number() over (order by l.finished_at desc, l.id desc) as place
    from looked l
),
ending as (
    -- Where this piece ends: at its last match, or where looking stopped.
    select coalesce(min(n.place) filter (where n.nth = $7), max(n.place)) as place, max(n.place) as looked
    from numbered n
)
select
    n.id as "id!", n.finished_at as "finished_at!", n.task as "task!", n.queue_name, n.key, n.reason,
    n.attempts as "attempts!", n.attempts_max as "attempts_max!", n.created_at as "created_at!", n.event_id,
    n.workload_id, n.matches as "matches!",
    n.place = e.place and (e.place < e.looked or e.looked = $6) as "goes_on!"
from numbered n
cross join ending e
where n.place <= e.place and (n.matches or n.place = e.place)
order by n.place
