-- A lock of a state of terraform that is held for hours keeps everybody from planning; who is on call wants to know.
set local role switchyard_owner;

create index terraform_states_by_lock on switchyard.terraform_states (locked_at) where locked_at is not null;

-- Measures, unless somebody else does. Every part is bounded, so that a tick takes as long with ten million rows as with
-- one: what is counted row by row is counted on 8192 pages (64 MiB) at most, drawn at random when there are more; heads are
-- looked at in 500 lanes of each task; other counts stop at 10 000 or 100 000. False when somebody else was measuring.
create or replace function switchyard.measure() returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp set timezone = 'UTC'
as $$
declare
    v_now timestamptz := clock_timestamp();
    v_pages bigint := pg_relation_size('switchyard.jobs') / current_setting('block_size')::integer;
    v_percent double precision := least(100, 100.0 * 8192 / greatest(v_pages, 1));
    v_counts jsonb;
    v_heads jsonb;
    v_unserved jsonb;
    v_held jsonb;
    v_stuck bigint;
    v_cancel timestamptz;
    v_data jsonb;
begin
    if not pg_try_advisory_xact_lock(hashtextextended('switchyard.measure', 0)) then
        return false;
    end if;

    -- How many there are of what. A task that the installation does not know has no name here: anybody may add jobs of any.
    select jsonb_agg(jsonb_build_object(
        'task', c.task, 'state', c.state, 'priority', c.priority, 'count', round(c.rows * 100 / v_percent)
    )) into v_counts
    from (
        select t.name as task,
            case
                when j.state = 'queued' and (j.due or j.run_at <= v_now) then 'ready'
                when j.state = 'queued' then 'later'
                when j.state = 'waiting' and j.waiting = 'approval' then 'approval'
                else j.state::text
            end as state,
            case when j.priority < 0 then 'high' when j.priority > 0 then 'low' else 'normal' end as priority,
            count(*) as rows
        from switchyard.jobs j tablesample system (v_percent)
        left join switchyard.tasks t on t.name = j.task
        group by 1, 2, 3
    ) c;

    -- Since when the ready job waits that has waited longest, of each task. What somebody has paused does not wait for us.
    -- Each priority of a lane is looked at; the first and the last, where there are too many to be remembered.
    with seen as (
        select r.task, t.name, min(r.run_at) as since,
            bool_or(t.executor is not null or switchyard.executor_of(r.database_id, r.task) is not null) as is_served
        from (
            select o.id, o.database_id, o.priorities, o.fronts
            from (
                -- Who was served longest ago comes first, of each task, so that none hides another.
                select a.*, row_number() over (partition by a.task order by a.served_at) as place
                from (
                    select id, database_id, task, served_at, priorities, fronts from switchyard.lanes
                    where active and not paused
                    limit 100000
                ) a
            ) o
            where o.place <= 500
              and not exists (
                  select from switchyard.pauses p
                  where p.kind = 'pause' and p.database_id is null and p.task = o.task
              )
        ) l
        cross join lateral (
            select l.database_id, j.task, j.run_at
            from unnest(l.priorities, l.fronts) as u (priority, front)
            cross join lateral (
                select j.task, j.run_at from switchyard.jobs j
                where j.lane_id = l.id and j.priority = u.priority and j.run_at >= u.front
                  and j.state = 'queued' and j.due
                order by j.run_at, j.id
                limit 1
            ) j
            union all
            (
                select j.database_id, j.task, j.run_at from switchyard.jobs j
                where l.priorities is null and j.lane_id = l.id and j.state = 'queued' and j.due
                order by j.priority, j.run_at, j.id
                limit 1
            )
            union all
            select l.database_id, j.task, j.run_at
            from (
                select p.priority from switchyard.jobs p
                where l.priorities is null and p.lane_id = l.id and p.state = 'queued' and p.due
                order by p.priority desc, p.run_at desc, p.id desc
                limit 1
            ) last
            cross join lateral (
                select j.task, j.run_at from switchyard.jobs j
                where j.lane_id = l.id and j.priority = last.priority and j.state = 'queued' and j.due
                order by j.run_at, j.id
                limit 1
            ) j
        ) r
        left join switchyard.tasks t on t.name = r.task
        group by r.task, t.name
    )
    select
        (
            select jsonb_agg(jsonb_build_object('task', k.name, 'oldest_ready_at', k.since))
            from (select name, min(since) as since from seen group by name) k
        ),
        (
            select jsonb_agg(jsonb_build_object('task', u.task, 'oldest_ready_at', u.since) order by u.since)
            from (select task, since from seen where not is_served order by since limit 20) u
        )
    into v_heads, v_unserved;

    -- What is held: few, and each of them matters.
    select
        jsonb_agg(jsonb_build_object(
            'task', h.name, 'running', h.running, 'oldest_started_at', h.oldest_started_at
        )),
        sum(h.stuck),
        min(h.oldest_cancel_at)
    into v_held, v_stuck, v_cancel
    from (
        select t.name,
            count(*) filter (where j.state <> 'waiting' or j.waiting <> 'approval') as running,
            min(j.started_at) filter (where j.state <> 'waiting' or j.waiting <> 'approval') as oldest_started_at,
            -- Its lease was over for longer than four ticks, and nobody has taken it back.
            count(*) filter (where j.lease_until < v_now - interval '60 seconds') as stuck,
            min(j.cancel_requested_at) filter (where j.state = 'cancelling') as oldest_cancel_at
        from (select * from switchyard.jobs where state <> 'queued' order by lease_until limit 100000) j
        left join switchyard.tasks t on t.name = j.task
        group by t.name
    ) h;

    delete from switchyard.workers where seen_at < v_now - interval '1 hour';
    delete from switchyard.xid_clock where at < v_now - interval '1 day';
    insert into switchyard.xid_clock (next_xid) values (pg_snapshot_xmax(pg_current_snapshot())::text::bigint)
    on conflict do nothing;

    v_data := jsonb_build_object(
        'tasks', (
            select coalesce(jsonb_agg(jsonb_build_object(
                'name', name,
                -- The function whose workers take its jobs.
                'pool', case when executor = 'builtin' then name when executor is not null then 'task-http' end
            ) order by name), '[]')
            from (select name, executor from switchyard.tasks order by name limit 200) known
        ),
        'sampled', v_percent < 100,
        'counts', coalesce(v_counts, '[]'),
        'heads', coalesce(v_heads, '[]'),
        -- Tasks that nobody of ours works on, and that have ready jobs.
        'unserved', coalesce(v_unserved, '[]'),
        'held', coalesce(v_held, '[]'),
        'stuck', coalesce(v_stuck, 0),
        'oldest_cancel_at', v_cancel,
        -- Since when the lock of a state of terraform is held that is held longest.
        'oldest_state_lock_at', (select min(locked_at) from switchyard.terraform_states where locked_at is not null),
        'overdue_since', (
            select run_at from switchyard.jobs
            where state = 'queued' and not due and run_at <= v_now
            order by run_at
            limit 1
        ),
        -- Each job takes a number when it is added, so that the last one says how many were: exactly, over all replicas and
        -- restarts, without a row that all who add would write. Those whose transaction was rolled back are among them.
        'added', (select case when is_called then last_value else 0 end from switchyard.jobs_id_seq),
        'workers', (
            select coalesce(jsonb_agg(jsonb_build_object(
                'function', w.function, 'alive', w.alive, 'seen_at', w.seen_at, 'slots', w.slots, 'used', w.used
            )), '[]')
            from (
                select function, max(seen_at) as seen_at,
                    count(*) filter (where seen_at > v_now - interval '60 seconds') as alive,
                    coalesce(sum(slots) filter (where seen_at > v_now - interval '60 seconds'), 0) as slots,
                    coalesce(sum(used) filter (where seen_at > v_now - interval '60 seconds'), 0) as used
                from switchyard.workers
                group by function
                order by function
                limit 200
            ) w
        ),
        'brokers', (
            select jsonb_agg(jsonb_build_object(
                'broker', b.broker,
                'pending', (
                    select count(*) from (
                        select from switchyard.outbox where broker = b.broker and refused_at is null limit 10001
                    ) counted
                ),
                'oldest_at', (
                    select ce_time from switchyard.outbox where broker = b.broker and refused_at is null
                    order by next_at, id
                    limit 1
                ),
                'refused', (
                    select count(*) from (
                        select from switchyard.outbox where broker = b.broker and refused_at is not null limit 10001
                    ) counted
                ),
                'hears', h.hears,
                'hears_since', h.since,
                'tested_at', h.tested_at
            ))
            from unnest(enum_range(null::switchyard.broker)) as b (broker)
            left join switchyard.relay_hearing h on h.broker = b.broker
        ),
        'oldest_snapshot_secs', extract(epoch from switchyard.oldest_snapshot_age()),
        'default_partition_rows', jsonb_build_object(
            'jobs_archive', (select count(*) from (select from switchyard.jobs_archive_default limit 10001) counted),
            'job_events', (select count(*) from (select from switchyard.job_events_default limit 10001) counted),
            'job_logs', (select count(*) from (select from switchyard.job_logs_default limit 10001) counted)
        ),
        'took_secs', extract(epoch from clock_timestamp() - v_now)
    );
    insert into switchyard.measurement (taken_at, data) values (v_now, v_data)
    on conflict (only_one) do update set taken_at = excluded.taken_at, data = excluded.data;
    return true;
end
$$;

reset role;
