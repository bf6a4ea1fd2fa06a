-- What lanes and limits say that is not true of the jobs.
with in_flight as (
    select id, database_id, task, lane_id from switchyard.jobs
    where state in ('running', 'cancelling') or state = 'waiting' and waiting <> 'approval'
),
lane as (
    select l.*,
        -- In a named queue also what waits for a person, or for its retry.
        (
            select count(*) from switchyard.jobs j
            where j.lane_id = l.id and (
                j.state in ('running', 'cancelling')
                or j.state = 'waiting' and (j.waiting <> 'approval' or l.queue_name is not null)
                or j.state = 'queued' and not j.due and j.id = l.holder
            )
        ) as truth,
        exists (
            select from switchyard.jobs j where j.lane_id = l.id and j.state = 'queued' and j.due
        ) as has_ready,
        (
            select count(*) from switchyard.jobs j where j.lane_id = l.id and j.id = l.holder and j.state = 'queued'
        ) as holders
    from switchyard.lanes l
)
select jsonb_build_object('wrong', 'the count of a lane', 'truth', truth) || to_jsonb(lane)
from lane
where cap is not null and in_flight <> truth
union all
select jsonb_build_object('wrong', 'a lane sleeps over ready work') || to_jsonb(lane)
from lane
where has_ready and not active
union all
select jsonb_build_object('wrong', 'the holder of a queue') || to_jsonb(lane)
from lane
where (holder is not null) <> (holders = 1)
union all
select jsonb_build_object('wrong', 'more than one at a time in a named queue') || to_jsonb(lane)
from lane
where queue_name is not null and (cap is distinct from 1 or truth > 1)
union all
-- A claim looks only at the priorities a lane knows, and there from its front on.
select jsonb_build_object('wrong', 'a ready job is before the front of its lane', 'job', to_jsonb(j)) || to_jsonb(lane)
from lane
join switchyard.jobs j on j.lane_id = lane.id and j.state = 'queued' and j.due
where lane.priorities is not null
  and lane.fronts is not null
  and not coalesce(lane.fronts[array_position(lane.priorities, j.priority)] <= j.run_at, false)
union all
select jsonb_build_object('wrong', 'the count of a limit', 'truth', t.truth) || to_jsonb(m)
from switchyard.limits m
cross join lateral (
    select count(*) as truth from in_flight f
    where (m.database_id is null or m.database_id = f.database_id) and (m.task is null or m.task = f.task)
) t
where m.in_flight_max is not null and m.in_flight <> t.truth
union all
select jsonb_build_object('wrong', 'what a state asks for') || to_jsonb(j)
from switchyard.jobs j
where not coalesce(
    state in ('queued', 'running', 'waiting', 'cancelling')
    and (state in ('running', 'cancelling', 'waiting')) = (lease_until is not null)
    and (state <> 'running' or worker is not null)
    and (state <> 'waiting' or waiting is not null)
    and (state <> 'cancelling' or cancel_requested_at is not null)
    and (state = 'queued' or not due)
    and attempts >= 0 and attempts_max > 0 and cancel_tries >= 0
    and length(task) between 1 and 126 and (key is null or length(key) between 1 and 512)
    and (worker_name is null or length(worker_name) between 4 and 512),
    false
)
