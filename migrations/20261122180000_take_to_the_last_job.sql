-- What a claim and an end do beside the work itself.
set local role switchyard_owner;

-- What rounding left of a claim that is shared out among tenants took a second look at all of their lanes, for a job or two. So
-- the parts go to the last job: who is cut off at a whole one and who gets one more goes by the sum so far. What is left all
-- the same is counted once for each lane and not once for each tenant and job.
create or replace function switchyard.claim_jobs(
    p_worker uuid, p_tasks text[], p_limit integer, p_lease interval, p_after uuid default null,
    p_used integer default 0, p_lane bigint default null
) returns setof switchyard.jobs
language plpgsql security definer set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set jit = off set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    c_none constant uuid := '00000000-0000-0000-0000-000000000000';
    -- Tenants that are looked at together.
    c_stretch_min constant integer := 16;
    c_stretch_max constant integer := 256;
    v_tasks text[] := p_tasks;
    v_paused boolean;
    v_limited boolean;
    v_has_limits boolean := false;
    -- The limits that this claim may use.
    v_locked bigint[];
    -- Rounds of a stretch that may find only lanes that give nothing now.
    c_patience constant integer := 16;
    v_patience integer;
    v_moved boolean;
    -- Lanes in which nothing could be taken.
    v_bare bigint[] := '{}';
    v_next_bare bigint[];
    v_start uuid := coalesce(p_after, gen_random_uuid());
    v_at uuid := v_start;
    v_first uuid[] := case when p_after is null then '{}' else array[p_after] end;
    -- The same, for the end.
    v_last uuid[] := v_first;
    v_limit integer;
    v_half integer := 1;
    v_waiting uuid[] := '{}';
    v_fresh boolean := true;
    v_next uuid[];
    v_left integer := p_limit;
    v_tenants uuid[];
    v_quotas integer[];
    -- What is wanted from which lane.
    v_lanes bigint[];
    v_owners uuid[];
    v_wants integer[];
    v_capped boolean[];
    v_queues bigint[];
    v_turnable bigint[];
    v_heads bigint[];
    v_strange bigint[];
    v_empty bigint[];
    -- What was taken: the rows, and of each its lane.
    v_tids tid[];
    v_of bigint[];
    v_more tid[];
    v_ids bigint[];
    v_more_of bigint[];
    v_taken integer;
    v_lane bigint;
    v_now timestamptz;
    c_time_max constant interval := '2 minutes';
    -- The time that an attempt may take, where all these tasks have the same.
    v_time_max interval;
    -- Transactions that have not ended, the age of the first one that had not begun, and this one, whose locks are no reason.
    v_running xid[];
    v_age integer;
    v_own xid;
    -- The only lane there is to look at.
    v_only bigint := p_lane;
    v_lanes_open integer;
begin
    perform pg_advisory_xact_lock_shared(1398230852, 1);
    -- Mostly there is none, and to find that out is all.
    if exists (
        select from switchyard.jobs
        where state = 'queued' and not due and run_at <= now()
          and run_at >= (select to_timestamp(s.last_value / 1000.0) from switchyard.later_from s)
    ) then
        perform switchyard.make_due(p_limit * 2);
    end if;
    select case when min(t.longest) = max(t.longest) then min(t.longest) end,
        exists (select from switchyard.pauses where kind = 'pause' and database_id is null),
        exists (select from switchyard.limits)
    into v_time_max, v_paused, v_limited
    from (
        select coalesce(a.attempt_time_max, c_time_max) as longest
        from unnest(p_tasks) as k (task)
        left join switchyard.tasks a on a.name = k.task
    ) t;
    if v_paused then
        select coalesce(array_agg(k.task), '{}') into v_tasks
        from unnest(p_tasks) as k (task)
        where not exists (
            select from switchyard.pauses p where p.kind = 'pause' and p.database_id is null and p.task = k.task
        );
    end if;
    if v_only is null and not v_limited then
        -- Often there is work in one lane alone, and nobody to be fair to.
        select count(*), min(l.id) into v_lanes_open, v_only
        from (
            select l.id
            from unnest(v_tasks) as k (task)
            cross join lateral (
                select id from switchyard.lanes
                where task = k.task and active and not is_full and not paused
                limit 2
            ) l
            limit 2
        ) l;
        if v_lanes_open = 0 then
            return;
        elsif v_lanes_open > 1 then
            v_only := null;
        end if;
    end if;

    <<stretches>>
    while v_left > 0 loop
        if v_only is not null then
            exit stretches when v_half > 1;
            v_half := 2;
            if v_limited then
                select array[database_id], array[v_left] into v_tenants, v_quotas from switchyard.lanes where id = v_only;
            end if;
        else
            v_tenants := v_first || v_waiting;
            v_waiting := '{}';
            v_limit := least(greatest(v_left, c_stretch_min), c_stretch_max);
            -- Once round: from the one served last to the end, then from the beginning to it.
            while v_half <= 2 and cardinality(v_tenants) < v_limit and (v_fresh or cardinality(v_tenants) = 0) loop
                v_next := switchyard.tenants_after(
                    v_tasks, v_at, case v_half when 2 then v_start end, v_limit - cardinality(v_tenants)
                );
                if cardinality(v_next) = 0 then
                    v_half := v_half + 1;
                    v_at := c_none;
                else
                    v_at := v_next[cardinality(v_next)];
                    v_tenants := v_tenants || v_next;
                end if;
            end loop;
            if cardinality(v_tenants) = 0 then
                -- Nobody else wants the rest: it goes to the one who has had its turn.
                v_tenants := v_last;
                v_last := '{}';
                exit stretches when cardinality(v_tenants) = 0;
            end if;
            -- Their parts: by weight where there is enough for all, else so many for each until it is used up.
            select array_agg(greatest(least(q.part, v_left - q.before), 0)::integer order by q.place)
            into v_quotas
            from (
                select p.place, p.part, coalesce(sum(p.part) over (
                    order by p.place rows between unbounded preceding and 1 preceding
                ), 0) as before
                from (
                    select w.place,
                        case
                            -- To the last one: what rounding leaves would take a second look for it.
                            when v_left >= sum(w.quantum) over () then greatest(
                                floor(v_left * (sum(w.weight) over so_far) / sum(w.weight) over ())
                                - floor(v_left * (sum(w.weight) over so_far - w.weight) / sum(w.weight) over ()), 1
                            )
                            when w.tenant = any (v_first) then greatest(w.quantum - p_used, 0)
                            else w.quantum
                        end as part
                    from (
                        select t.tenant, t.place, coalesce(s.weight, 1) as weight,
                            -- Who weighs least gets one.
                            least(round(coalesce(s.weight, 1) / min(coalesce(s.weight, 1)) over ()), 1000) as quantum
                        from unnest(v_tenants) with ordinality as t (tenant, place)
                        left join switchyard.shares s on s.database_id = t.tenant
                    ) w
                    window so_far as (order by w.place)
                ) p
            ) q;
            -- Who got no part yet is next, if the others leave something.
            v_waiting := array(
                select q.tenant
                from unnest(v_tenants, v_quotas) with ordinality as q (tenant, quota, place)
                where q.quota = 0 and not q.tenant = any (v_first)
                order by q.place
            );
            v_fresh := false;
            v_first := '{}';
        end if;
        if v_limited then
            -- Before any lane, in one order; later ones only if nobody has them, for who waits with something in hand may
            -- wait for one who waits for him.
            if not v_has_limits then
                v_has_limits := true;
                v_locked := array(
                    select m.id from switchyard.limits m
                    where (m.database_id is null or m.database_id = any (v_tenants))
                      and (m.task is null or m.task = any (v_tasks))
                    order by m.id
                    for no key update
                );
            else
                v_locked := v_locked || array(
                    select m.id from switchyard.limits m
                    where (m.database_id is null or m.database_id = any (v_tenants))
                      and (m.task is null or m.task = any (v_tasks))
                    order by m.id
                    for no key update skip locked
                );
            end if;
        end if;

        -- One tenant's lanes that give nothing must not use up what others are looked for with.
        v_patience := c_patience;
        <<rounds>>
        loop
            -- Each tenant's lanes that waited longest.
            if v_only is not null then
                select array[l.id], array[l.database_id], array[v_left], array[l.cap is not null],
                    case when l.queue_name is null then '{}' else array[l.id] end,
                    case when l.turned_at < clock_timestamp() - interval '1 second' then array[l.id] else '{}' end
                into v_lanes, v_owners, v_wants, v_capped, v_queues, v_turnable
                from switchyard.lanes l
                where l.id = v_only and l.active and not l.is_full and not l.paused;
            else
                select array_agg(l.id), array_agg(t.tenant),
                    array_agg((t.quota / l.lanes + (l.place <= t.quota % l.lanes)::integer)::integer),
                    array_agg(l.cap is not null),
                    coalesce(array_agg(l.id) filter (where l.queue_name is not null), '{}'),
                    coalesce(array_agg(l.id) filter (
                        where l.turned_at < clock_timestamp() - interval '1 second'
                    ), '{}')
                into v_lanes, v_owners, v_wants, v_capped, v_queues, v_turnable
                from unnest(v_tenants, v_quotas) as t (tenant, quota)
                cross join lateral (
                    select c.id, c.cap, c.queue_name, c.turned_at,
                        count(*) over () as lanes, row_number() over (order by c.served_at, c.id) as place
                    from (
                        select o.*
                        from (
                            select l.id, l.cap, l.queue_name, l.turned_at, l.served_at
                            from unnest(v_tasks) as k (task)
                            join switchyard.lanes l
                                on l.database_id = t.tenant and l.task = k.task and l.queue_name is null
                            where l.active and not l.is_full and not l.paused and not l.id = any (v_bare)
                            union all
                            select l.id, l.cap, l.queue_name, l.turned_at, l.served_at
                            from unnest(v_tasks) as k (task)
                            cross join lateral (
                                select q.id, q.cap, q.queue_name, q.turned_at, q.served_at
                                from switchyard.lanes q
                                where q.task = k.task and q.database_id = t.tenant
                                  and q.active and not q.is_full and not q.paused and q.queue_name is not null
                                  and not q.id = any (v_bare)
                                order by q.served_at, q.id
                                limit t.quota
                            ) l
                        ) o
                        order by o.served_at, o.id
                        limit t.quota
                    ) c
                ) l
                where t.quota > 0;
            end if;
            exit rounds when v_lanes is null;

            -- Before limits are shared out: what somebody else has in hand must not use up what others could take.
            if true = any (v_capped) then
                with locked as materialized (
                    select l.id, l.cap - l.in_flight as room, l.active and not l.paused as is_open
                    from switchyard.lanes l
                    where l.id in (
                        select w.lane from unnest(v_lanes, v_wants, v_capped) as w (lane, want, capped)
                        where w.capped and w.want > 0
                    )
                    order by l.id
                    for no key update skip locked
                )
                select array_agg(r.lane) filter (where r.can), array_agg(r.owner) filter (where r.can),
                    array_agg(r.want) filter (where r.can),
                    v_bare || coalesce(array_agg(r.lane) filter (where not r.can), '{}')
                into v_lanes, v_owners, v_wants, v_bare
                from (
                    select w.lane, w.owner, least(w.want, coalesce(k.room, w.want)) as want,
                        not w.capped or coalesce(k.is_open and coalesce(k.room > 0, true), false) as can
                    from unnest(v_lanes, v_owners, v_wants, v_capped) as w (lane, owner, want, capped)
                    left join locked k on k.id = w.lane
                ) r;
                if v_lanes is null then
                    -- There may be others.
                    v_patience := v_patience - 1;
                    exit rounds when v_only is not null or v_patience <= 0;
                    continue rounds;
                end if;
                v_queues := array(select unnest(v_queues) intersect select unnest(v_lanes));
            end if;

            if v_limited then
                -- First what tenants may have, then of that what tasks may.
                select array_agg(greatest(least(k.want, case
                        when m.id is null then k.want
                        when m.id = any (v_locked) then switchyard.spare(m) - k.before
                        else 0
                    end), 0)::integer order by k.place)
                into v_wants
                from (
                    select t.*, coalesce(sum(t.want) over (
                        partition by t.task order by t.place rows between unbounded preceding and 1 preceding
                    ), 0) as before
                    from (
                        select w.place, w.task,
                            greatest(least(
                                w.want, tenants.spare - w.of_tenant, tenants_task.spare - w.of_tenants_task
                            ), 0) as want
                        from (
                            select w.place, w.want, l.database_id, l.task,
                                coalesce(sum(w.want) over (
                                    partition by l.database_id order by w.place
                                    rows between unbounded preceding and 1 preceding
                                ), 0) as of_tenant,
                                coalesce(sum(w.want) over (
                                    partition by l.database_id, l.task order by w.place
                                    rows between unbounded preceding and 1 preceding
                                ), 0) as of_tenants_task
                            from unnest(v_lanes, v_wants) with ordinality as w (lane, want, place)
                            join switchyard.lanes l on l.id = w.lane
                        ) w
                        left join lateral (
                            select case when m.id = any (v_locked) then switchyard.spare(m) else 0 end as spare
                            from switchyard.limits m
                            where m.database_id = w.database_id and m.task is null
                        ) tenants on true
                        left join lateral (
                            select case when m.id = any (v_locked) then switchyard.spare(m) else 0 end as spare
                            from switchyard.limits m
                            where m.database_id = w.database_id and m.task = w.task
                        ) tenants_task on true
                    ) t
                ) k
                left join switchyard.limits m on m.database_id is null and m.task = k.task;
                v_queues := array(
                    select unnest(v_queues)
                    intersect
                    select w.lane from unnest(v_lanes, v_wants) as w (lane, want) where w.want > 0
                );
            end if;

            v_tids := '{}';
            v_of := '{}';
            v_moved := false;
            v_running := array(select x::xid from pg_snapshot_xip(pg_current_snapshot()) as x);
            v_age := age(pg_snapshot_xmax(pg_current_snapshot())::xid);
            v_own := coalesce(pg_current_xact_id_if_assigned()::xid, '0'::xid);
            -- From the lanes of tasks, what nobody else has in hand.
            if cardinality(v_queues) < cardinality(v_lanes) then
                select coalesce(array_agg(p.at), '{}'), coalesce(array_agg(w.lane), '{}')
                into v_tids, v_of
                from unnest(v_lanes, v_wants) as w (lane, want)
                -- Hidden from the planner, which else would read all lanes of tasks.
                join switchyard.lanes l on l.id = w.lane and nullif(l.queue_name, '') is null
                cross join lateral (
                    select j.at
                    from unnest(
                        coalesce(l.priorities, switchyard.priorities_of(l.id)), l.fronts
                    ) as u (priority, front)
                    cross join lateral (
                        select j.ctid as at
                        from switchyard.jobs j
                        where j.lane_id = w.lane and j.priority = u.priority
                          and j.run_at >= coalesce(u.front, '-infinity')
                          and j.state = 'queued' and j.due
                          -- What somebody else has in hand, or has taken since this looked, is passed over here at a
                          -- part of what a try to lock it costs.
                          and j.xmax <> all (v_running) and (age(j.xmax) > v_age or j.xmax = v_own)
                          -- The second job of a key waits behind the one that is worked on.
                          and (j.key is null or not exists (
                              select from switchyard.jobs h
                              where h.database_id = j.database_id and h.key = j.key and h.state <> 'queued'
                          ))
                        order by j.run_at, j.id
                        limit w.want
                        for update of j skip locked
                    ) j
                    limit w.want
                ) p
                where w.want > 0;
            end if;
            -- A queue gives its head or nothing: order is what it is for.
            if cardinality(v_queues) > 0 then
                select
                    coalesce(array_agg(h.head) filter (where h.fits), '{}'),
                    coalesce(array_agg(h.lane) filter (where not h.fits), '{}'),
                    coalesce(array_agg(h.lane) filter (where h.head is null), '{}')
                into v_heads, v_strange, v_empty
                from (
                    select l.id as lane, j.id as head,
                        j.task = any (v_tasks) and (not v_limited or j.task = l.task)
                            and not switchyard.is_paused(l.database_id, j.task, l.queue_name) as fits
                    from unnest(v_lanes, v_wants) as w (lane, want)
                    join switchyard.lanes l on l.id = w.lane and nullif(l.queue_name, '') is not null
                    left join switchyard.jobs j on j.id = switchyard.head_job(l)
                    where w.want > 0
                ) h;
                select coalesce(array_agg(j.at), '{}'), coalesce(array_agg(j.lane_id), '{}')
                into v_more, v_more_of
                from (
                    select j.ctid as at, j.lane_id
                    from switchyard.jobs j
                    where j.id = any (v_heads) and j.state = 'queued' and j.due
                      and (j.key is null or not exists (
                          select from switchyard.jobs h
                          where h.database_id = j.database_id and h.key = j.key and h.state <> 'queued'
                      ))
                    for update of j skip locked
                ) j;
                v_tids := v_tids || v_more;
                v_of := v_of || v_more_of;
                -- The head is of a task whose workers look elsewhere: they are told.
                foreach v_lane in array v_strange loop
                    perform switchyard.look_at_head(v_lane);
                    perform switchyard.wake_relay('work');
                end loop;
                foreach v_lane in array v_empty loop
                    perform switchyard.rest_lane(v_lane);
                end loop;
                -- What gave nothing goes behind the others, for it would stand in their way.
                update switchyard.lanes
                set served_at = clock_timestamp()
                where id = any (v_queues) and not id = any (v_more_of);
                v_moved := found;
                -- One whose head is of another task than it was thought may be looked into again.
                v_bare := v_bare || array(
                    select q.lane from unnest(v_queues) as q (lane)
                    where not q.lane = any (v_more_of) and not q.lane = any (v_strange)
                );
            end if;

            v_taken := cardinality(v_tids);
            if v_taken > 0 then
                v_now := clock_timestamp();
                if v_limited then
                    select array_agg(j.id) into v_ids from switchyard.jobs j where j.ctid = any (v_tids);
                end if;
                return query
                    update switchyard.jobs j
                    set state = 'running',
                        due = false,
                        epoch = j.epoch + 1,
                        attempts = j.attempts + 1,
                        worker = p_worker,
                        started_at = v_now,
                        attempt_until = v_now + coalesce(
                            v_time_max,
                            (select k.attempt_time_max from switchyard.tasks k where k.name = j.task),
                            c_time_max
                        ),
                        lease_until = v_now + least(p_lease, coalesce(
                            v_time_max,
                            (select k.attempt_time_max from switchyard.tasks k where k.name = j.task),
                            c_time_max
                        ))
                    where j.ctid = any (v_tids)
                    returning j.*;
                v_left := v_left - v_taken;
                if true = any (v_capped) then
                    update switchyard.lanes l
                    set in_flight = l.in_flight + t.jobs, served_at = v_now, holder = null
                    from (select o.lane, count(*)::integer as jobs from unnest(v_of) as o (lane) group by o.lane) t
                    where l.id = t.lane and l.cap is not null;
                end if;
                if v_limited then
                    update switchyard.limits m
                    set in_flight = case
                            when m.in_flight_max is null then m.in_flight
                            else m.in_flight + c.jobs
                        end,
                        tokens = switchyard.tokens_now(m) - c.jobs,
                        refilled_at = case when m.rate is not null then v_now end
                    from (
                        select n.id, sum(t.jobs)::integer as jobs
                        from (
                            select j.database_id, j.task, count(*) as jobs
                            from switchyard.jobs j
                            where j.worker = p_worker and j.id = any (v_ids)
                            group by j.database_id, j.task
                        ) t
                        join switchyard.limits n
                            on (n.database_id is null or n.database_id = t.database_id) and (n.task is null or n.task = t.task)
                        group by n.id
                    ) c
                    where m.id = c.id;
                end if;
            end if;
            -- Where nothing was found a lane rests, unless it was busy a moment ago; where something was it is turned.
            foreach v_lane in array v_turnable loop
                if v_lane = any (v_of) then
                    perform switchyard.turn_lane(v_lane);
                elsif not v_lane = any (v_queues) then
                    perform switchyard.rest_idle_lane(v_lane);
                end if;
            end loop;

            exit stretches when v_left <= 0;
            exit rounds when v_only is not null;
            -- One that was given no part of a limit was not looked into.
            v_next_bare := array(
                select w.lane from unnest(v_lanes, v_wants) as w (lane, want)
                where w.want > 0 and not w.lane = any (v_queues) and not w.lane = any (v_of)
            );
            if cardinality(v_next_bare) > 0 then
                v_bare := v_bare || v_next_bare;
                v_moved := true;
            end if;
            if v_taken = 0 then
                v_patience := v_patience - 1;
                exit rounds when not v_moved or v_patience <= 0;
                continue rounds;
            end if;
            -- What one tenant leaves goes to those that took all they were given, or looked where nothing was.
            select array_agg(h.tenant order by h.place),
                array_agg((v_left / h.tenants + (h.place <= v_left % h.tenants)::integer)::integer order by h.place)
            into v_tenants, v_quotas
            from (
                select q.tenant, row_number() over (order by q.place) as place, count(*) over () as tenants
                from unnest(v_tenants, v_quotas) with ordinality as q (tenant, quota, place)
                left join (
                    select w.owner, sum(o.jobs) as jobs
                    from (select t.lane, count(*) as jobs from unnest(v_of) as t (lane) group by t.lane) o
                    join unnest(v_lanes, v_owners) as w (lane, owner) on w.lane = o.lane
                    group by w.owner
                ) taken on taken.owner = q.tenant
                where q.quota > 0 and (
                    q.quota <= taken.jobs
                    or exists (
                        select from unnest(v_lanes, v_owners) as w (lane, owner)
                        where w.owner = q.tenant and w.lane = any (v_next_bare)
                    )
                )
            ) h;
            exit rounds when v_tenants is null;
        end loop rounds;
    end loop stretches;
end
$$;

-- Only what is asked of a job that has ended goes on to the archive and to those who are told.
create or replace function switchyard.finish_jobs(
    p_ids bigint[], p_epochs bigint[], p_states switchyard.job_state[], p_reasons text[], p_results jsonb[],
    p_all boolean default true
) returns table(job_id bigint, applied switchyard.job_state)
language plpgsql security definer set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set jit = off set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    v_asked record;
    v_job switchyard.jobs;
    v_state switchyard.job_state;
    v_done bigint[];
    v_states switchyard.job_state[];
    v_lanes bigint[];
    v_tenants uuid[];
    v_tasks text[];
    v_keyed boolean;
    v_said bigint;
    v_followed integer;
begin
    perform pg_advisory_xact_lock_shared(1398230852, 1);
    -- Those that simply run, all at once: out of the live table, into the archive, told in one row.
    with gone as (
        delete from switchyard.jobs j
        using (
            select a.* from unnest(p_ids, p_epochs, p_states, p_reasons, p_results)
                as a (asked_id, asked_epoch, end_state, reason, result)
            order by a.asked_id
        ) a
        -- Wrapped, so that only the index on id fits.
        where j.id = a.asked_id and j.epoch = a.asked_epoch and coalesce(j.state, 'queued') = 'running'
          and a.end_state in ('succeeded', 'dead')
        returning j.id, j.database_id, j.lane_id, j.task, j.queue_name, j.key, j.seq, j.priority, j.run_at, j.attempts,
            j.attempts_max, j.epoch, j.payload, j.started_at, j.cancel_requested_at, j.cancel_requested_by, j.event_id,
            j.binding_id, j.workload_id, j.replay_of, j.correlation_id, j.causation_id, j.depth, j.traceparent, j.actor,
            j.created_at, j.put_off_since, j.progress, a.end_state, a.reason, a.result
    ),
    known as materialized (
        select t.name, t.history, t.announced
        from (select distinct g.task from gone g) d
        join switchyard.tasks t on t.name = d.task
    ),
    kept as (
        insert into switchyard.jobs_archive (
            id, database_id, task, queue_name, key, seq, state, priority, run_at, attempts, attempts_max, epoch,
            payload, started_at, cancel_requested_at, cancel_requested_by, reason, result, event_id, binding_id,
            workload_id, replay_of, correlation_id, causation_id, depth, traceparent, actor, created_at,
            put_off_since, progress
        )
        select
            g.id, g.database_id, g.task, g.queue_name, g.key, g.seq, g.end_state, g.priority, g.run_at, g.attempts,
            g.attempts_max, g.epoch, g.payload, g.started_at, g.cancel_requested_at, g.cancel_requested_by, g.reason,
            g.result, g.event_id, g.binding_id, g.workload_id, g.replay_of, g.correlation_id, g.causation_id, g.depth,
            g.traceparent, g.actor, g.created_at, g.put_off_since, g.progress
        from gone g
        left join known t on t.name = g.task
        where t.history is null or t.history = 'full' or (t.history = 'failures' and g.end_state <> 'succeeded')
           or g.payload @> '{"untrusted": true}'
    ),
    ended as materialized (
        select array_agg(g.id) as ids, array_agg(g.epoch) as epochs, array_agg(g.database_id) as tenants,
            array_agg(g.task) as tasks, array_agg(g.end_state) as states, array_agg(g.attempts) as attempts,
            array_agg(g.lane_id) as lanes, bool_or(g.key is not null) as keyed, count(*)::integer as jobs,
            array_agg(g.reason) as reasons, array_agg(g.correlation_id) as correlations,
            array_agg(g.event_id) as events, array_agg(g.traceparent) as traces, array_agg(g.depth) as depths
        from gone g
    ),
    -- Those whose task asks that nobody is told are rare: only where there are some the others are gathered anew.
    spared as (
        select exists (select from known t where not t.announced) as quiet
    ),
    loud as (
        select e.ids, e.epochs, e.tenants, e.tasks, e.states, e.attempts, e.jobs, e.reasons, e.correlations, e.events,
            e.traces, e.depths
        from ended e, spared
        where not spared.quiet
        union all
        select array_agg(g.id), array_agg(g.epoch), array_agg(g.database_id), array_agg(g.task),
            array_agg(g.end_state), array_agg(g.attempts), count(*)::integer, array_agg(g.reason),
            array_agg(g.correlation_id), array_agg(g.event_id), array_agg(g.traceparent), array_agg(g.depth)
        from gone g
        left join known t on t.name = g.task
        where (select spared.quiet from spared) and coalesce(t.announced, true)
    ),
    said as (
        insert into switchyard.outbox (broker, ce_id, ce_type, ce_source, packed)
        select 'observed', l.ids[1] || '/' || l.epochs[1], 'dev.switchyard.job.finished.v1', '/switchyard/jobs',
            json_build_object(
                'jobs', l.ids, 'epochs', l.epochs, 'tenants', l.tenants, 'tasks', l.tasks, 'states', l.states,
                'attempts', l.attempts,
                'reasons', nullif(l.reasons, array_fill(null::text, array[l.jobs])),
                'correlations', nullif(l.correlations, array_fill(null::text, array[l.jobs])),
                'events', nullif(l.events, array_fill(null::uuid, array[l.jobs])),
                'traces', nullif(l.traces, array_fill(null::text, array[l.jobs]))
            )
        from loud l
        where l.jobs > 0
        returning id
    ),
    -- Triggers that hear of our own work are rare.
    followed as (
        select switchyard.follow(
            l.tenants, l.ids, l.epochs, l.tasks, l.states::text[], l.attempts, l.reasons, l.depths, l.correlations
        ) as events
        from loud l
        where exists (select from switchyard.triggers t where t.hears_work and t.database_id = any (l.tenants))
    )
    select e.ids, e.states, e.lanes, e.tenants, e.tasks, e.keyed, (select id from said), (select events from followed)
    into v_done, v_states, v_lanes, v_tenants, v_tasks, v_keyed, v_said, v_followed
    from ended e;
    v_done := coalesce(v_done, '{}');

    if cardinality(v_done) < cardinality(p_ids) then
        -- The others one by one. First the jobs, then their places, each in the order of ids.
        perform from switchyard.jobs where id = any (p_ids) order by id for update;
        perform from switchyard.lanes
        where cap is not null
          and (id = any (v_lanes) or id in (select lane_id from switchyard.jobs where id = any (p_ids)))
        order by id
        for no key update;
        for v_asked in
            select * from unnest(p_ids, p_epochs, p_states, p_reasons, p_results)
                as a (id, epoch, state, reason, result)
            where not a.id = any (v_done)
            order by a.id
        loop
            v_job := switchyard.held_job(v_asked.id, v_asked.epoch);
            v_state := v_asked.state;
            if v_job.id is null then
                return query select v_asked.id, null::switchyard.job_state;
                continue;
            end if;
            if v_state = 'cancelled' and v_job.state <> 'cancelling' then
                raise exception 'nobody asked to cancel job %', v_job.id using errcode = 'check_violation';
            elsif v_state not in ('succeeded', 'dead', 'cancelled') then
                raise exception 'a job does not finish as %', v_state using errcode = 'check_violation';
            end if;
            if v_job.state = 'cancelling' then
                perform switchyard.note_job(
                    v_job, case when v_state = 'cancelled' then 'cancelled' else 'cancel_too_late' end
                );
            end if;
            perform switchyard.end_job(v_job, v_state, v_asked.reason, v_asked.result);
            if p_all then
                return query select v_job.id, v_state;
            end if;
        end loop;
    end if;

    if cardinality(v_done) > 0 then
        if exists (
            select from switchyard.lanes where id in (select distinct l from unnest(v_lanes) as l) and cap is not null
        ) then
            perform switchyard.leave_lanes(v_lanes);
        end if;
        perform switchyard.leave_limits(v_tenants, v_tasks);
        if v_keyed then
            perform switchyard.wake_relay('work');
        end if;
        if v_said is not null then
            perform switchyard.wake_relay('observed');
        end if;
        if p_all then
            return query select d.id, d.state from unnest(v_done, v_states) as d (id, state);
        end if;
    end if;
end
$$;

reset role;
