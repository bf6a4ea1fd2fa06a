-- Every transition of a job, each a single statement for its caller: it names the state it leaves and the one it enters,
-- and says when it hit nothing. All run as the owner, so that no role can change a job in another way.
set local role switchyard_owner;

-- Puts a job's news on `observed` unless its task is not announced.
create function switchyard.announce_job(
    p_type text, p_job switchyard.jobs, p_state switchyard.job_state, p_reason text
) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if not coalesce((select announced from switchyard.tasks where name = p_job.task), true) then
        return;
    end if;
    perform switchyard.publish(
        'observed', p_job.database_id,
        -- The same fact has the same id, whoever tells it again.
        p_job.id || '/' || p_job.epoch || '/' || p_type,
        p_type, '/switchyard/jobs', p_job.id::text,
        jsonb_strip_nulls(jsonb_build_object(
            'tenantid', p_job.database_id,
            'correlationid', p_job.correlation_id,
            'causationid', p_job.event_id,
            'traceparent', p_job.traceparent,
            'severity', case when p_state = 'dead' then 'error' when p_state = 'queued' then 'warning' else 'info' end
        )),
        jsonb_strip_nulls(jsonb_build_object(
            'job', p_job.id, 'task', p_job.task, 'state', p_state, 'epoch', p_job.epoch,
            'attempts', p_job.attempts, 'reason', p_reason
        ))::json
    );
end
$$;

create function switchyard.note_job(p_job switchyard.jobs, p_kind text, p_data jsonb default '{}') returns void
language sql set search_path = pg_catalog, pg_temp
begin atomic
    insert into switchyard.job_events (database_id, job_id, epoch, kind, data)
    values (p_job.database_id, p_job.id, p_job.epoch, p_kind, p_data);
end;

-- The lane of a job, made when it is the first.
create function switchyard.lane_of(p_database_id uuid, p_task text, p_queue_name text) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_id bigint;
begin
    loop
        if p_queue_name is null then
            select id into v_id from switchyard.lanes
            where database_id = p_database_id and task = p_task and queue_name is null;
        else
            select id into v_id from switchyard.lanes
            where database_id = p_database_id and queue_name = p_queue_name;
        end if;
        if found then
            return v_id;
        end if;
        insert into switchyard.shares (database_id) values (p_database_id) on conflict do nothing;
        insert into switchyard.lanes (database_id, task, queue_name, cap)
        values (p_database_id, p_task, p_queue_name, case when p_queue_name is not null then 1 end)
        on conflict do nothing;
    end loop;
end
$$;

-- Whose workers should look at a lane: those of the job at its head. A queue that kept the task of a job which has left
-- would wait for workers that may not exist any more.
create function switchyard.head_task(p_lane switchyard.lanes) returns text
language sql stable set search_path = pg_catalog, pg_temp
begin atomic
    select case
        when p_lane.queue_name is null then p_lane.task
        else coalesce((
            select task from switchyard.jobs
            where lane_id = p_lane.id and state = 'queued' and due and (p_lane.holder is null or id = p_lane.holder)
            order by priority, run_at, id
            limit 1
        ), p_lane.task)
    end;
end;

-- Says that a lane may have ready work. The shared lock lasts until the caller commits: a claim that finds the lane empty
-- may put it to rest only while nobody holds it, so that a job which is not yet visible is not forgotten.
create function switchyard.activate_lane(p_lane bigint) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    perform pg_advisory_xact_lock_shared(hashtextextended('switchyard.lane', p_lane));
    if (select active from switchyard.lanes where id = p_lane) then
        return;
    end if;
    -- Who rested does not come back with credit: its pass is lifted to that of the one who is next. The same for its tenant
    -- is left to the claim: a share that the caller's transaction held would make others wait for it.
    update switchyard.lanes l
    set active = true,
        pass = greatest(l.pass, coalesce((
            select min(o.pass) from switchyard.lanes o where o.database_id = l.database_id and o.active
        ), l.pass)),
        task = switchyard.head_task(l)
    where l.id = p_lane and not l.active;
end
$$;

-- Gives back the place of a job that is no longer worked on.
create function switchyard.leave_lane(p_lane bigint) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    update switchyard.lanes l
    set in_flight = in_flight - 1, holder = null, task = switchyard.head_task(l)
    where id = p_lane;
    -- A queue that was held may have more behind; a lane without cap was never hidden and is active if it has work.
    if (select cap is not null from switchyard.lanes where id = p_lane) then
        perform switchyard.activate_lane(p_lane);
        perform switchyard.wake_relay('work');
    end if;
end
$$;

-- Moves a job to the archive in a final state. The caller holds the row and has checked the move.
create function switchyard.archive_job(
    p_job switchyard.jobs, p_state switchyard.job_state, p_reason text, p_result jsonb
) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_history switchyard.history;
begin
    delete from switchyard.jobs where id = p_job.id and epoch = p_job.epoch;
    if not found then
        raise exception 'job % changed while it was archived', p_job.id using errcode = 'serialization_failure';
    end if;
    v_history := coalesce((select history from switchyard.tasks where name = p_job.task), 'full');
    if v_history = 'full' or (v_history = 'failures' and p_state <> 'succeeded') then
        insert into switchyard.jobs_archive (
            id, database_id, task, queue_name, key, seq, state, priority, run_at, attempts, attempts_max, epoch,
            payload, started_at, cancel_requested_at, cancel_requested_by, reason, result, event_id, binding_id,
            workload_id, replay_of, correlation_id, causation_id, depth, traceparent, actor, created_at
        ) values (
            p_job.id, p_job.database_id, p_job.task, p_job.queue_name, p_job.key, p_job.seq, p_state,
            p_job.priority, p_job.run_at, p_job.attempts, p_job.attempts_max, p_job.epoch, p_job.payload,
            p_job.started_at, p_job.cancel_requested_at, p_job.cancel_requested_by, p_reason, p_result,
            p_job.event_id, p_job.binding_id, p_job.workload_id, p_job.replay_of, p_job.correlation_id,
            p_job.causation_id, p_job.depth, p_job.traceparent, p_job.actor, p_job.created_at
        );
    end if;
    perform switchyard.announce_job(
        case p_state when 'cancelled' then 'dev.switchyard.job.cancelled.v1' else 'dev.switchyard.job.finished.v1' end,
        p_job, p_state, p_reason
    );
end
$$;

-- A final state for a job that has begun: out of its lane, into the archive.
create function switchyard.end_job(
    p_job switchyard.jobs, p_state switchyard.job_state, p_reason text, p_result jsonb
) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    perform switchyard.archive_job(p_job, p_state, p_reason, p_result);
    perform switchyard.leave_lane(p_job.lane_id);
    if p_job.key is not null then
        -- One may wait behind it, in whatever lane.
        perform switchyard.wake_relay('work');
    end if;
end
$$;

-- A final state for a job that is queued. In a named queue it may hold its place from an earlier attempt.
create function switchyard.end_queued_job(
    p_job switchyard.jobs, p_state switchyard.job_state, p_reason text
) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    perform switchyard.archive_job(p_job, p_state, p_reason, null);
    update switchyard.lanes
    set holder = null, in_flight = 0
    where id = p_job.lane_id and holder = p_job.id;
    if found then
        perform switchyard.activate_lane(p_job.lane_id);
        perform switchyard.wake_relay('work');
    end if;
end
$$;

-- Gives a job that waits for approval its place back, so that the ways out of it are those of any other.
create function switchyard.count_again(p_job switchyard.jobs) returns void
language sql set search_path = pg_catalog, pg_temp
begin atomic
    update switchyard.lanes
    set in_flight = in_flight + 1
    where id = p_job.lane_id and queue_name is null and p_job.state = 'waiting' and p_job.waiting = 'approval';
end;

-- Adds a job, in the caller's transaction. Returns its id and what became of it: `added`; `superseded` when its key has
-- seen a newer one (it is recorded as such at once); `kept` when a queued one with its key stays (its id is returned).
create function switchyard.add_job(
    p_database_id uuid,
    p_task text,
    p_payload jsonb,
    p_queue_name text default null,
    p_key text default null,
    p_key_mode switchyard.key_mode default 'replace',
    p_seq bigint default null,
    p_priority integer default 0,
    p_run_at timestamptz default null,
    p_attempts_max integer default null,
    p_event_id uuid default null,
    p_binding_id uuid default null,
    p_workload_id uuid default null,
    p_replay_of bigint default null,
    p_correlation_id text default null,
    p_causation_id text default null,
    p_depth integer default 0,
    p_traceparent text default null,
    p_actor text default null
) returns table (job_id bigint, outcome text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_job switchyard.jobs;
    v_old switchyard.jobs;
    v_undecided switchyard.jobs;
    v_found switchyard.jobs;
    v_high_water bigint;
    v_seq bigint := coalesce(p_seq, nextval('switchyard.accepted'));
    v_run_at timestamptz := coalesce(p_run_at, now());
    v_due boolean := v_run_at <= now();
    v_lane bigint := switchyard.lane_of(p_database_id, p_task, p_queue_name);
    v_attempts_max integer := coalesce(
        p_attempts_max, (select attempts_max from switchyard.tasks where name = p_task), 5
    );
begin
    if p_key is not null then
        -- Locks the key until the caller commits: jobs of one key are added one after the other.
        insert into switchyard.job_keys as k (database_id, key, high_water)
        values (p_database_id, p_key, v_seq)
        on conflict (database_id, key) do update set high_water = greatest(k.high_water, excluded.high_water)
        returning high_water into v_high_water;

        -- In one statement: one that is approved meanwhile is found as the queued one that it has become.
        for v_found in
            select * from switchyard.jobs
            where database_id = p_database_id and key = p_key
              and (state = 'queued' or state = 'waiting' and waiting = 'approval')
            order by id
            for update
        loop
            if v_found.state = 'queued' then
                v_old := v_found;
            else
                v_undecided := v_found;
            end if;
        end loop;
        if v_old.id is not null and v_high_water = v_seq then
            case p_key_mode
            when 'ignore' then
                return query select v_old.id, 'kept';
                return;
            when 'preserve' then
                update switchyard.jobs
                set payload = p_payload, seq = v_seq, event_id = p_event_id, binding_id = p_binding_id,
                    correlation_id = p_correlation_id, causation_id = p_causation_id,
                    depth = greatest(depth, p_depth), traceparent = p_traceparent
                where id = v_old.id and state = 'queued';
                return query select v_old.id, 'kept';
                return;
            when 'replace' then
                -- Ended below, once its successor has an id to be named by.
            end case;
        end if;
    end if;

    v_job.id := nextval(pg_get_serial_sequence('switchyard.jobs', 'id'));
    if v_old.id is not null and v_high_water = v_seq then
        perform switchyard.note_job(v_old, 'superseded', jsonb_build_object('by', v_job.id));
        perform switchyard.end_queued_job(v_old, 'superseded', 'job ' || v_job.id || ' with the same key is newer');
    end if;
    insert into switchyard.jobs (
        id, database_id, lane_id, task, queue_name, key, seq, due, priority, run_at, attempts_max, payload,
        event_id, binding_id, workload_id, replay_of, correlation_id, causation_id, depth, traceparent, actor
    ) overriding system value values (
        v_job.id, p_database_id, v_lane, p_task, p_queue_name,
        -- A late job never enters the key's place, which may be taken.
        case when v_high_water > v_seq then null else p_key end,
        v_seq, v_due, p_priority, v_run_at, v_attempts_max, p_payload, p_event_id, p_binding_id, p_workload_id,
        p_replay_of, p_correlation_id, p_causation_id, p_depth, p_traceparent, p_actor
    ) returning * into v_job;

    if v_undecided.id is not null and v_high_water = v_seq then
        -- What waits for a person gives way as well; what has work outside never does.
        perform switchyard.count_again(v_undecided);
        perform switchyard.note_job(v_undecided, 'superseded', jsonb_build_object('by', v_job.id));
        perform switchyard.end_job(
            v_undecided, 'superseded', 'job ' || v_job.id || ' with the same key is newer', null
        );
    end if;
    if v_high_water > v_seq then
        v_job.key := p_key;
        perform switchyard.note_job(v_job, 'superseded', jsonb_build_object('seq', v_seq, 'newest', v_high_water));
        perform switchyard.end_queued_job(v_job, 'superseded', 'an event that was accepted later came first');
        return query select v_job.id, 'superseded';
        return;
    end if;
    if v_due then
        perform switchyard.activate_lane(v_lane);
    end if;
    perform switchyard.wake_relay('work');
    return query select v_job.id, 'added';
end
$$;
revoke execute on function switchyard.add_job from public;
grant execute on function switchyard.add_job to switchyard_system;

-- The same for a person: the tenant is the transaction's, never an argument.
create function switchyard.add_own_job(
    p_task text, p_payload jsonb, p_queue_name text, p_key text, p_workload_id uuid, p_actor text
) returns table (job_id bigint, outcome text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if switchyard.current_tenant() is null then
        raise exception 'no tenant is set in this transaction' using errcode = 'insufficient_privilege';
    end if;
    if p_workload_id is not null and not exists (
        select from switchyard.workloads where database_id = switchyard.current_tenant() and id = p_workload_id
    ) then
        raise exception 'there is no such workload' using errcode = 'foreign_key_violation';
    end if;
    return query select a.job_id, a.outcome from switchyard.add_job(
        switchyard.current_tenant(), p_task, p_payload,
        p_queue_name => p_queue_name, p_key => p_key, p_workload_id => p_workload_id, p_actor => p_actor
    ) a;
end
$$;
revoke execute on function switchyard.add_own_job from public;
grant execute on function switchyard.add_own_job to switchyard_tenant;

-- Makes jobs ready whose time has come. Part of every claim, and of the relay's and the reaper's work.
create function switchyard.make_due(p_limit integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_lane record;
    v_made integer := 0;
begin
    -- Lanes in the order of ids, as everybody who takes several.
    for v_lane in
        with made as (
            update switchyard.jobs j
            set due = true
            from (
                select id from switchyard.jobs
                where state = 'queued' and not due and run_at <= now()
                order by run_at
                limit p_limit
                for update skip locked
            ) picked
            where j.id = picked.id
            returning j.id, j.lane_id
        )
        select lane_id, array_agg(id) as jobs from made group by lane_id order by lane_id
    loop
        v_made := v_made + cardinality(v_lane.jobs);
        -- The job that holds a named queue steps back to be claimed again, before all others of the queue.
        update switchyard.lanes set in_flight = 0 where id = v_lane.lane_id and holder = any (v_lane.jobs);
        perform switchyard.activate_lane(v_lane.lane_id);
    end loop;
    return v_made;
end
$$;
revoke execute on function switchyard.make_due from public;
grant execute on function switchyard.make_due to switchyard_system;

-- Takes up to p_limit ready jobs of the given tasks, fair across tenants first and lanes second. A lane that another
-- claim holds is passed over: it is busy, not empty.
create function switchyard.claim_jobs(p_worker uuid, p_tasks text[], p_limit integer, p_lease interval)
returns setof switchyard.jobs
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenants uuid[];
    v_passes double precision[];
    v_after_pass double precision := '-infinity';
    v_after_id uuid := '00000000-0000-0000-0000-000000000000';
    v_floor double precision;
    v_taken_before integer;
    -- What each tenant took, and whose last lane was put to rest; written at the end, in a fixed order.
    v_charges jsonb := '{}';
    v_rested uuid[] := '{}';
    v_rests boolean;
    v_tenant uuid;
    v_lane record;
    v_head switchyard.jobs;
    v_left integer := p_limit;
    v_quota integer;
    v_lanes integer;
    v_taken integer;
    v_taken_of_tenant integer;
    v_progress boolean;
    -- Lanes that are looked past because nothing in them can be taken now.
    v_patience integer := 64;
begin
    perform switchyard.make_due(p_limit * 2);

    loop
        select array_agg(t.database_id order by t.pass, t.database_id), array_agg(t.pass order by t.pass, t.database_id)
        into v_tenants, v_passes
        from (
            select s.database_id, s.pass
            from switchyard.shares s
            where (s.pass, s.database_id) > (v_after_pass, v_after_id)
              and exists (
                  select from switchyard.lanes l
                  where l.database_id = s.database_id and l.task = any (p_tasks) and l.active and not l.is_full
              )
            order by s.pass, s.database_id
            limit greatest(p_limit, 16)
        ) t;
        exit when v_tenants is null;
        v_taken_before := v_left;

        -- A round gives every tenant its part; what one leaves goes to the others in the next.
        loop
            v_progress := false;
            v_quota := greatest(v_left / cardinality(v_tenants), 1);
            foreach v_tenant in array v_tenants loop
                exit when v_left <= 0;
                v_taken_of_tenant := 0;
                select count(*) into v_lanes from (
                    select from switchyard.lanes
                    where database_id = v_tenant and task = any (p_tasks) and active and not is_full
                    limit v_quota
                ) l;
                for v_lane in
                    select id, cap, in_flight, holder, queue_name
                    from switchyard.lanes
                    where database_id = v_tenant and task = any (p_tasks) and active and not is_full
                    order by pass, id
                    limit v_quota
                    for update skip locked
                loop
                    exit when v_left <= 0 or v_taken_of_tenant >= v_quota;
                    if v_lane.queue_name is not null then
                        -- The head may be of a task whose workers look elsewhere: leave the queue to them.
                        select * into v_head from switchyard.jobs
                        where lane_id = v_lane.id and state = 'queued' and due
                          and (v_lane.holder is null or id = v_lane.holder)
                        order by priority, run_at, id
                        limit 1;
                        if v_head.id is not null and v_head.task <> all (p_tasks) then
                            update switchyard.lanes set task = v_head.task where id = v_lane.id;
                            v_progress := true;
                            perform switchyard.wake_relay('work');
                            continue;
                        end if;
                    end if;
                    return query
                        with picked as (
                            select j.id, coalesce(t.attempt_time_max, interval '2 minutes') as time_max
                            from switchyard.jobs j
                            left join switchyard.tasks t on t.name = j.task
                            where j.lane_id = v_lane.id and j.state = 'queued' and j.due
                              -- A queue gives its head or nothing: order is what it is for.
                              and (v_lane.queue_name is null or j.id = v_head.id)
                              -- The second job of a key waits behind the one that is worked on.
                              and (j.key is null or not exists (
                                  select from switchyard.jobs w
                                  where w.database_id = j.database_id and w.key = j.key and w.state <> 'queued'
                              ))
                            order by j.priority, j.run_at, j.id
                            limit least(
                                v_left,
                                greatest(v_quota / greatest(v_lanes, 1), 1),
                                coalesce(v_lane.cap - v_lane.in_flight, v_left)
                            )
                            for update of j skip locked
                        )
                        update switchyard.jobs j
                        set state = 'running',
                            due = false,
                            epoch = j.epoch + 1,
                            attempts = j.attempts + 1,
                            worker = p_worker,
                            started_at = clock_timestamp(),
                            attempt_until = clock_timestamp() + picked.time_max,
                            lease_until = least(clock_timestamp() + p_lease, clock_timestamp() + picked.time_max)
                        from picked
                        where j.id = picked.id
                        returning j.*;
                    get diagnostics v_taken = row_count;
                    if v_taken > 0 then
                        v_progress := true;
                        v_left := v_left - v_taken;
                        v_taken_of_tenant := v_taken_of_tenant + v_taken;
                        update switchyard.lanes
                        set in_flight = in_flight + v_taken, pass = pass + v_taken, holder = null
                        where id = v_lane.id;
                    elsif pg_try_advisory_xact_lock(hashtextextended('switchyard.lane', v_lane.id))
                        and not exists (
                            select from switchyard.jobs
                            where lane_id = v_lane.id and state = 'queued' and due
                        )
                    then
                        -- Nobody is adding here: the next who does wakes the lane.
                        update switchyard.lanes set active = false where id = v_lane.id;
                        v_rested := v_rested || v_tenant;
                        v_progress := true;
                    else
                        -- What is ready here cannot be taken now: its key is being worked on, or somebody is changing it. It
                        -- goes behind the tenant's other lanes, for it would stand in their way.
                        update switchyard.lanes
                        set pass = greatest(pass, (
                            select max(o.pass) + 1 from switchyard.lanes o
                            where o.database_id = v_tenant and o.active and not o.is_full
                        ))
                        where id = v_lane.id;
                        v_patience := v_patience - 1;
                        v_progress := v_progress or v_patience > 0;
                    end if;
                end loop;
                if v_taken_of_tenant > 0 then
                    v_charges := v_charges || jsonb_build_object(
                        v_tenant::text, coalesce((v_charges ->> v_tenant::text)::integer, 0) + v_taken_of_tenant
                    );
                end if;
            end loop;
            exit when v_left <= 0 or not v_progress;
        end loop;
        -- Who comes next has nothing that can be taken: that is no reason to leave the others alone.
        exit when v_left <= 0 or v_left < v_taken_before;
        v_after_pass := v_passes[cardinality(v_passes)];
        v_after_id := v_tenants[cardinality(v_tenants)];
    end loop;

    if v_charges = '{}' and v_rested = '{}' then
        return;
    end if;
    select min(s.pass) into v_floor
    from switchyard.shares s
    where not s.resting
      and exists (select from switchyard.lanes l where l.database_id = s.database_id and l.active);
    for v_tenant in
        select t from (select jsonb_object_keys(v_charges)::uuid as t union select unnest(v_rested)) all_of order by t
    loop
        -- Who rested is next, and has neither credit nor debts from before: it goes on from where the others are.
        v_rests := not exists (
            select from switchyard.lanes l where l.database_id = v_tenant and l.active
        );
        update switchyard.shares
        set resting = v_rests,
            pass = case
                when v_rests then 0
                else case when resting then coalesce(v_floor, 0) else pass end
                    + coalesce((v_charges ->> v_tenant::text)::integer, 0) / weight
            end
        where database_id = v_tenant;
    end loop;
end
$$;
revoke execute on function switchyard.claim_jobs from public;
grant execute on function switchyard.claim_jobs to switchyard_system;

-- Renews leases. For each job asked about: whether the caller still holds it, and whether it should stop. A job whose
-- attempt has used up its time is not renewed.
create function switchyard.heartbeat_jobs(p_ids bigint[], p_epochs bigint[], p_lease interval)
returns table (job_id bigint, held boolean, cancel boolean)
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
    with asked as (
        select a.id, a.epoch from unnest(p_ids, p_epochs) as a (id, epoch)
    ),
    -- In the order of ids, as a batch of finishes takes them.
    locked as (
        select j.id
        from asked a
        join switchyard.jobs j on j.id = a.id and j.epoch = a.epoch
        order by j.id
        for update of j
    ),
    renewed as (
        update switchyard.jobs j
        set lease_until = least(clock_timestamp() + p_lease, j.attempt_until)
        from locked
        where j.id = locked.id
          and j.state in ('running', 'cancelling')
          and j.lease_until > clock_timestamp()
        returning j.id, j.state = 'cancelling' as cancel
    )
    select a.id, r.id is not null, coalesce(r.cancel, false)
    from asked a
    left join renewed r on r.id = a.id;
end;
revoke execute on function switchyard.heartbeat_jobs from public;
grant execute on function switchyard.heartbeat_jobs to switchyard_system;

-- Locks a job that the caller holds by epoch. Null when somebody else holds it or it has ended; the former is recorded,
-- once per epoch.
create function switchyard.held_job(p_id bigint, p_epoch bigint) returns switchyard.jobs
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_job switchyard.jobs;
begin
    select * into v_job from switchyard.jobs where id = p_id for update;
    if v_job.id is null then
        return null;
    end if;
    -- Who let it wait for a person has let go of it.
    if v_job.epoch = p_epoch and v_job.state in ('running', 'waiting', 'cancelling')
        and v_job.waiting is distinct from 'approval'
    then
        return v_job;
    end if;
    if not exists (
        select from switchyard.job_events
        where database_id = v_job.database_id and job_id = p_id and epoch = p_epoch and kind = 'stale_write'
    ) then
        insert into switchyard.job_events (database_id, job_id, epoch, kind, data)
        values (v_job.database_id, p_id, p_epoch, 'stale_write', jsonb_build_object('current_epoch', v_job.epoch));
    end if;
    return null;
end
$$;

-- Locks the keys and lanes of jobs that the caller has locked already. Everybody takes jobs, then keys, then lanes, each in
-- one order, so that two batches cannot wait for each other.
create function switchyard.lock_places(p_jobs bigint[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    perform from switchyard.job_keys k
    where (k.database_id, k.key) in (
        select database_id, key from switchyard.jobs where id = any (p_jobs) and key is not null
    )
    order by k.database_id, k.key
    for update;
    perform from switchyard.lanes l
    where l.id in (select lane_id from switchyard.jobs where id = any (p_jobs))
    order by l.id
    for update;
end
$$;

-- running | waiting | cancelling → succeeded | dead | cancelled, in batches, fenced by epoch. `applied` is the state that
-- was recorded, null where the caller's hold was over. What ends by itself after a cancel was asked for keeps its own
-- outcome, and that the cancel came too late is recorded. `cancelled` is accepted only where a cancel was asked for.
create function switchyard.finish_jobs(
    p_ids bigint[], p_epochs bigint[], p_states switchyard.job_state[], p_reasons text[], p_results jsonb[]
) returns table (job_id bigint, applied switchyard.job_state)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_asked record;
    v_job switchyard.jobs;
    v_state switchyard.job_state;
begin
    -- First the jobs, then their lanes, each in the order of ids.
    perform from switchyard.jobs where id = any (p_ids) order by id for update;
    perform from switchyard.lanes
    where id in (select lane_id from switchyard.jobs where id = any (p_ids))
    order by id
    for update;
    for v_asked in
        select * from unnest(p_ids, p_epochs, p_states, p_reasons, p_results)
            as a (id, epoch, state, reason, result)
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
        return query select v_job.id, v_state;
    end loop;
end
$$;
revoke execute on function switchyard.finish_jobs from public;
grant execute on function switchyard.finish_jobs to switchyard_system;

-- Puts a job back into the queue, or ends it where a cancel was asked for or a newer job has its key. Shared by retry,
-- snooze, release, approval and the reaper. p_hold: in a named queue the job keeps its place.
create function switchyard.requeue_job(
    p_job switchyard.jobs, p_run_at timestamptz, p_attempts integer, p_error text, p_hold boolean
) returns switchyard.job_state
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_newer bigint;
    v_due boolean := p_run_at <= clock_timestamp();
begin
    if p_job.state = 'cancelling' then
        perform switchyard.note_job(p_job, 'cancelled', jsonb_build_object(
            'note', case when p_job.runner is not null or p_job.waiting is not null then 'stop not confirmed' end
        ));
        perform switchyard.end_job(
            p_job, 'cancelled',
            case when p_job.waiting is not null then 'cancelled; that the work outside stopped is not confirmed' else 'cancelled' end,
            null
        );
        return 'cancelled';
    end if;
    if p_job.key is not null then
        -- One that is being added now is waited for, and then seen.
        perform from switchyard.job_keys where database_id = p_job.database_id and key = p_job.key for update;
        select id into v_newer from switchyard.jobs
        where database_id = p_job.database_id and key = p_job.key and state = 'queued';
        if v_newer is not null then
            perform switchyard.note_job(p_job, 'superseded', jsonb_build_object('by', v_newer));
            perform switchyard.end_job(
                p_job, 'superseded', 'job ' || v_newer || ' with the same key is newer', null
            );
            return 'superseded';
        end if;
    end if;
    update switchyard.jobs
    set state = 'queued', due = v_due, run_at = p_run_at, attempts = p_attempts,
        worker = null, lease_until = null, attempt_until = null, waiting = null, runner = null,
        last_error = coalesce(p_error, last_error)
    where id = p_job.id and epoch = p_job.epoch and state in ('running', 'waiting');
    if not found then
        raise exception 'job % changed while it was put back', p_job.id using errcode = 'serialization_failure';
    end if;
    update switchyard.lanes
    set in_flight = case when p_hold and queue_name is not null and not v_due then in_flight else in_flight - 1 end,
        holder = case when p_hold and queue_name is not null then p_job.id end
    where id = p_job.lane_id;
    if v_due then
        perform switchyard.activate_lane(p_job.lane_id);
    elsif not p_hold then
        perform switchyard.activate_lane(p_job.lane_id);
    end if;
    perform switchyard.wake_relay('work');
    return 'queued';
end
$$;

-- The wait before the next try: exponential from one second, up to the task's maximum, with full jitter.
create function switchyard.backoff(p_task text, p_attempts integer) returns interval
language sql volatile set search_path = pg_catalog, pg_temp
begin atomic
    select least(
        interval '1 second' * power(2, least(p_attempts, 30) - 1),
        coalesce((select backoff_max from switchyard.tasks where name = p_task), interval '10 minutes')
    ) * (0.1 + 0.9 * random());
end;

-- running | waiting → queued (backoff) | dead (attempts used up) | superseded; cancelling → cancelled. Null when the hold
-- was over. p_delay: how long the other side asked to be left alone; null for the task's backoff.
create function switchyard.retry_job(p_id bigint, p_epoch bigint, p_error text, p_delay interval default null)
returns switchyard.job_state
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_job switchyard.jobs := switchyard.held_job(p_id, p_epoch);
    v_run_at timestamptz;
    v_state switchyard.job_state;
begin
    if v_job.id is null then
        return null;
    end if;
    if v_job.state <> 'cancelling' and v_job.attempts >= v_job.attempts_max then
        perform switchyard.end_job(v_job, 'dead', p_error, null);
        return 'dead';
    end if;
    v_run_at := clock_timestamp() + coalesce(p_delay, switchyard.backoff(v_job.task, v_job.attempts));
    v_state := switchyard.requeue_job(v_job, v_run_at, v_job.attempts, p_error, true);
    if v_state = 'queued' then
        perform switchyard.note_job(
            v_job, 'retry_planned',
            jsonb_build_object('error', p_error, 'run_at', v_run_at, 'attempt', v_job.attempts)
        );
        perform switchyard.announce_job('dev.switchyard.job.retrying.v1', v_job, v_state, p_error);
    end if;
    return v_state;
end
$$;
revoke execute on function switchyard.retry_job from public;
grant execute on function switchyard.retry_job to switchyard_system;

-- running | waiting → queued, the attempt given back; cancelling → cancelled; superseded as in retry_job.
create function switchyard.snooze_job(p_id bigint, p_epoch bigint, p_delay interval, p_reason text)
returns switchyard.job_state
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_job switchyard.jobs := switchyard.held_job(p_id, p_epoch);
    v_state switchyard.job_state;
begin
    if v_job.id is null then
        return null;
    end if;
    v_state := switchyard.requeue_job(
        v_job, clock_timestamp() + p_delay, greatest(v_job.attempts - 1, 0), null, true
    );
    if v_state = 'queued' then
        perform switchyard.note_job(
            v_job, 'snoozed', jsonb_build_object('reason', p_reason, 'seconds', extract(epoch from p_delay))
        );
    end if;
    return v_state;
end
$$;
revoke execute on function switchyard.snooze_job from public;
grant execute on function switchyard.snooze_job to switchyard_system;

-- What a worker that must leave still holds goes back, at once and uncounted. Returns how many jobs.
create function switchyard.release_jobs(p_ids bigint[], p_epochs bigint[]) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_asked record;
    v_job switchyard.jobs;
    v_released integer := 0;
begin
    perform from switchyard.jobs where id = any (p_ids) order by id for update;
    perform switchyard.lock_places(p_ids);
    for v_asked in
        select * from unnest(p_ids, p_epochs) as a (id, epoch) order by a.id
    loop
        select * into v_job from switchyard.jobs
        where id = v_asked.id and epoch = v_asked.epoch and state in ('running', 'cancelling')
        for update;
        continue when v_job.id is null;
        perform switchyard.note_job(v_job, 'released');
        perform switchyard.requeue_job(v_job, clock_timestamp(), greatest(v_job.attempts - 1, 0), null, true);
        v_released := v_released + 1;
    end loop;
    return v_released;
end
$$;
revoke execute on function switchyard.release_jobs from public;
grant execute on function switchyard.release_jobs to switchyard_system;

-- running → waiting. Where a cancel was asked for meanwhile the job stays cancelling, with the handle recorded.
create function switchyard.wait_job(
    p_id bigint, p_epoch bigint, p_waiting switchyard.waiting, p_deadline interval, p_runner jsonb
) returns switchyard.job_state
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_job switchyard.jobs := switchyard.held_job(p_id, p_epoch);
    v_state switchyard.job_state;
begin
    if v_job.id is null then
        return null;
    end if;
    if v_job.state = 'cancelling' and p_waiting = 'approval' then
        return switchyard.requeue_job(v_job, clock_timestamp(), v_job.attempts, null, false);
    end if;
    update switchyard.jobs
    set state = case when state = 'running' then 'waiting' else state end,
        waiting = p_waiting,
        runner = coalesce(p_runner, runner),
        lease_until = clock_timestamp() + p_deadline
    where id = v_job.id and epoch = v_job.epoch and state in ('running', 'waiting', 'cancelling')
    returning state into strict v_state;
    perform switchyard.note_job(v_job, 'waits', jsonb_build_object('for', p_waiting, 'seconds', extract(epoch from p_deadline)));
    -- What waits for a person counts only for its named queue.
    if p_waiting = 'approval' then
        update switchyard.lanes set in_flight = in_flight - 1
        where id = v_job.lane_id and queue_name is null;
    end if;
    return v_state;
end
$$;
revoke execute on function switchyard.wait_job from public;
grant execute on function switchyard.wait_job to switchyard_system;

-- waiting for approval → queued (the same job, attempt given back) | dead (rejected). False when it does not wait.
create function switchyard.decide_job(p_database_id uuid, p_id bigint, p_approved boolean, p_by text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_job switchyard.jobs;
begin
    -- Before the job: who adds one with its key takes them in this order.
    perform from switchyard.job_keys
    where (database_id, key) = (select database_id, key from switchyard.jobs where database_id = p_database_id and id = p_id)
    for update;
    select * into v_job from switchyard.jobs
    where database_id = p_database_id and id = p_id and state = 'waiting' and waiting = 'approval'
    for update;
    if v_job.id is null then
        return false;
    end if;
    perform switchyard.count_again(v_job);
    perform switchyard.note_job(
        v_job, case when p_approved then 'approved' else 'rejected' end, jsonb_build_object('by', p_by)
    );
    if p_approved then
        perform switchyard.requeue_job(v_job, clock_timestamp(), greatest(v_job.attempts - 1, 0), null, true);
    else
        perform switchyard.end_job(v_job, 'dead', 'rejected by ' || p_by, null);
    end if;
    return true;
end
$$;
revoke execute on function switchyard.decide_job from public;
grant execute on function switchyard.decide_job to switchyard_system;

-- Asks a job to stop. queued, or waiting for approval → cancelled; running | waiting → cancelling, told to the worker by
-- its heartbeat and to the rest by an event. Says which: cancelled, requested, already_requested, too_late; null when
-- the tenant has no such job.
create function switchyard.cancel_job(p_database_id uuid, p_id bigint, p_by text) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_job switchyard.jobs;
begin
    select * into v_job from switchyard.jobs where database_id = p_database_id and id = p_id for update;
    if v_job.id is null then
        return (
            select 'too_late' from switchyard.jobs_archive
            where database_id = p_database_id and id = p_id
            limit 1
        );
    end if;
    if v_job.state = 'cancelling' then
        return 'already_requested';
    end if;
    v_job.cancel_requested_at := clock_timestamp();
    v_job.cancel_requested_by := p_by;
    perform switchyard.note_job(v_job, 'cancel_requested', jsonb_build_object('by', p_by));
    if v_job.state = 'queued' then
        perform switchyard.note_job(v_job, 'cancelled');
        perform switchyard.end_queued_job(v_job, 'cancelled', 'cancelled by ' || p_by);
        return 'cancelled';
    end if;
    if v_job.state = 'waiting' and v_job.waiting = 'approval' then
        perform switchyard.count_again(v_job);
        perform switchyard.note_job(v_job, 'cancelled');
        perform switchyard.end_job(v_job, 'cancelled', 'cancelled by ' || p_by, null);
        return 'cancelled';
    end if;
    update switchyard.jobs
    set state = 'cancelling',
        cancel_requested_at = v_job.cancel_requested_at,
        cancel_requested_by = v_job.cancel_requested_by
    where id = v_job.id and epoch = v_job.epoch and state in ('running', 'waiting');
    if not found then
        raise exception 'job % changed while it was cancelled', v_job.id using errcode = 'serialization_failure';
    end if;
    perform switchyard.publish(
        'work', v_job.database_id, v_job.id || '/' || v_job.epoch || '/cancel',
        'dev.switchyard.job.cancel.requested.v1', '/switchyard/jobs', v_job.id::text,
        jsonb_build_object('task', v_job.task, 'tenantid', v_job.database_id),
        jsonb_build_object('job', v_job.id, 'task', v_job.task, 'epoch', v_job.epoch)::json
    );
    return 'requested';
end
$$;
revoke execute on function switchyard.cancel_job from public;
grant execute on function switchyard.cancel_job to switchyard_system;

create function switchyard.cancel_own_job(p_id bigint, p_by text) returns text
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
    select switchyard.cancel_job(switchyard.current_tenant(), p_id, p_by);
end;
revoke execute on function switchyard.cancel_own_job from public;
grant execute on function switchyard.cancel_own_job to switchyard_tenant;

-- queued | waiting → dead | succeeded, by a person's hand. False when the job is in neither state.
create function switchyard.settle_job(
    p_database_id uuid, p_id bigint, p_state switchyard.job_state, p_by text
) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_job switchyard.jobs;
begin
    if p_state not in ('dead', 'succeeded') then
        raise exception 'by hand a job becomes dead or succeeded, not %', p_state using errcode = 'check_violation';
    end if;
    select * into v_job from switchyard.jobs
    where database_id = p_database_id and id = p_id and state in ('queued', 'waiting')
    for update;
    if v_job.id is null then
        return false;
    end if;
    perform switchyard.note_job(v_job, 'by_hand', jsonb_build_object('by', p_by, 'state', p_state));
    if v_job.state = 'queued' then
        perform switchyard.end_queued_job(v_job, p_state, 'set by ' || p_by);
    else
        perform switchyard.count_again(v_job);
        perform switchyard.end_job(v_job, p_state, 'set by ' || p_by, null);
    end if;
    return true;
end
$$;
revoke execute on function switchyard.settle_job from public;
grant execute on function switchyard.settle_job to switchyard_system;

-- Leases and deadlines that are over: running | waiting → queued | dead | superseded, waiting for approval → dead
-- (rejected), cancelling → cancelled, unless work outside has a handle by which it must be stopped first. Returns how
-- many jobs moved. Safe to run many times at once.
create function switchyard.reap_jobs(p_limit integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_job switchyard.jobs;
    v_reaped integer := 0;
    v_why text;
    v_ids bigint[];
begin
    select array_agg(id) into v_ids from (
        select id from switchyard.jobs
        where state <> 'queued' and lease_until < clock_timestamp()
          and not (state = 'cancelling' and runner is not null)
        order by lease_until
        limit p_limit
        for update skip locked
    ) late;
    perform switchyard.lock_places(v_ids);
    for v_job in
        select * from switchyard.jobs where id = any (v_ids) order by id
    loop
        v_reaped := v_reaped + 1;
        perform switchyard.note_job(
            v_job, 'lease_over', jsonb_build_object('state', v_job.state, 'worker', v_job.worker)
        );
        v_why := case
            when v_job.state = 'waiting' then 'no answer before its deadline'
            when v_job.attempt_until <= v_job.lease_until then 'the attempt took longer than its task allows'
            else 'its worker went away'
        end;
        if v_job.state = 'waiting' and v_job.waiting = 'approval' then
            perform switchyard.count_again(v_job);
            perform switchyard.end_job(v_job, 'dead', 'rejected: nobody decided in time', null);
        elsif v_job.state <> 'cancelling' and v_job.attempts >= v_job.attempts_max then
            perform switchyard.end_job(v_job, 'dead', v_why || ', ' || v_job.attempts || ' of ' || v_job.attempts_max || ' attempts used', null);
        else
            perform switchyard.requeue_job(v_job, clock_timestamp(), v_job.attempts, v_why, true);
        end if;
    end loop;
    return v_reaped;
end
$$;
revoke execute on function switchyard.reap_jobs from public;
grant execute on function switchyard.reap_jobs to switchyard_system;

-- A dead job again, as a new job that names it; with a new number, so that it is the newest of its key.
create function switchyard.replay_job(p_database_id uuid, p_id bigint, p_actor text) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_old switchyard.jobs_archive;
begin
    select * into v_old from switchyard.jobs_archive
    where database_id = p_database_id and id = p_id and state = 'dead'
    limit 1;
    if v_old.id is null then
        return null;
    end if;
    return (
        select job_id from switchyard.add_job(
            v_old.database_id, v_old.task, v_old.payload,
            p_queue_name => v_old.queue_name, p_key => v_old.key, p_priority => v_old.priority,
            p_attempts_max => v_old.attempts_max, p_event_id => v_old.event_id, p_binding_id => v_old.binding_id,
            p_workload_id => v_old.workload_id, p_replay_of => v_old.id,
            p_correlation_id => v_old.correlation_id, p_causation_id => v_old.causation_id,
            p_depth => v_old.depth, p_traceparent => v_old.traceparent, p_actor => p_actor
        )
    );
end
$$;
revoke execute on function switchyard.replay_job from public;
grant execute on function switchyard.replay_job to switchyard_system;

create function switchyard.purge_job(p_database_id uuid, p_id bigint) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    delete from switchyard.jobs_archive where database_id = p_database_id and id = p_id and state = 'dead';
    return found;
end
$$;
revoke execute on function switchyard.purge_job from public;
grant execute on function switchyard.purge_job to switchyard_system;

-- Appends log lines of a job that the caller holds. Lines it has sent before are dropped. False when the hold was over.
create function switchyard.append_log(
    p_id bigint, p_epoch bigint, p_seqs bigint[], p_streams text[], p_lines text[]
) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_database_id uuid;
    v_last bigint;
begin
    select database_id into v_database_id from switchyard.jobs
    where id = p_id and epoch = p_epoch and state in ('running', 'waiting', 'cancelling')
    for share;
    if not found then
        return false;
    end if;
    select coalesce(max(seq), 0) into v_last from switchyard.job_logs
    where database_id = v_database_id and job_id = p_id and epoch = p_epoch;
    insert into switchyard.job_logs (database_id, job_id, epoch, seq, stream, line)
    select v_database_id, p_id, p_epoch, l.seq, l.stream, l.line
    from unnest(p_seqs, p_streams, p_lines) as l (seq, stream, line)
    where l.seq > v_last
    order by l.seq;
    return true;
end
$$;
revoke execute on function switchyard.append_log from public;
grant execute on function switchyard.append_log to switchyard_system;

-- What the relay tells the tasks: ids of ready jobs that somebody could claim now, at most p_per_task of each task.
create function switchyard.claimable_jobs(p_per_task integer) returns table (task text, job_id bigint)
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
    select t.task, j.id
    from (select distinct l.task from switchyard.lanes l where l.active and not l.is_full) t
    cross join lateral (
        -- The limit is on jobs: lanes that were left active without work must not hide the others.
        select r.id
        from switchyard.lanes l
        cross join lateral (
            select r.id
            from switchyard.jobs r
            where r.lane_id = l.id and r.state = 'queued' and r.due and (l.holder is null or r.id = l.holder)
              and (r.key is null or not exists (
                  select from switchyard.jobs w
                  where w.database_id = r.database_id and w.key = r.key and w.state <> 'queued'
              ))
            order by r.priority, r.run_at, r.id
            limit least(p_per_task, coalesce(l.cap - l.in_flight, p_per_task))
        ) r
        where l.task = t.task and l.active and not l.is_full
        limit p_per_task
    ) j;
end;
revoke execute on function switchyard.claimable_jobs from public;
grant execute on function switchyard.claimable_jobs to switchyard_system;

-- When the queue next needs a look: the first job that becomes due or whose lease ends. Null when there is none.
create function switchyard.next_due() returns timestamptz
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
    select least(
        (select min(run_at) from switchyard.jobs where state = 'queued' and not due),
        -- As the reaper sees it: what can only be stopped by its handle is not a matter of time.
        (
            select min(lease_until) from switchyard.jobs
            where state <> 'queued' and not (state = 'cancelling' and runner is not null)
        )
    );
end;
revoke execute on function switchyard.next_due from public;
grant execute on function switchyard.next_due to switchyard_system;

-- What the tasks of this version are, as `migrate` and `up` find them. An operator's changes of a known task stay.
create function switchyard.know_task(
    p_name text, p_attempts_max integer, p_attempt_time_max interval, p_backoff_max interval
) returns void
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
    insert into switchyard.tasks (name, attempts_max, attempt_time_max, backoff_max)
    values (p_name, p_attempts_max, p_attempt_time_max, p_backoff_max)
    on conflict (name) do nothing;
end;
revoke execute on function switchyard.know_task from public;

reset role;
