-- What a fork started leads to nothing that is trusted more, whatever history its task keeps: dispatch looks it up in the archive.
set local role switchyard_owner;

-- Out of the live table, and into the archive as far as its task keeps a history; what is untrusted in any case.
create or replace function switchyard.archive_job(
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
    if v_history = 'full' or (v_history = 'failures' and p_state <> 'succeeded') or p_job.payload @> '{"untrusted": true}' then
        insert into switchyard.jobs_archive (
            id, database_id, task, queue_name, key, seq, state, priority, run_at, attempts, attempts_max, epoch,
            payload, started_at, cancel_requested_at, cancel_requested_by, reason, result, event_id, binding_id,
            workload_id, replay_of, correlation_id, causation_id, depth, traceparent, actor, created_at,
            put_off_since, progress
        ) values (
            p_job.id, p_job.database_id, p_job.task, p_job.queue_name, p_job.key, p_job.seq, p_state,
            p_job.priority, p_job.run_at, p_job.attempts, p_job.attempts_max, p_job.epoch, p_job.payload,
            p_job.started_at, p_job.cancel_requested_at, p_job.cancel_requested_by, p_reason, p_result,
            p_job.event_id, p_job.binding_id, p_job.workload_id, p_job.replay_of, p_job.correlation_id,
            p_job.causation_id, p_job.depth, p_job.traceparent, p_job.actor, p_job.created_at,
            p_job.put_off_since, p_job.progress
        );
    end if;
    perform switchyard.announce_job(
        case p_state when 'cancelled' then 'dev.switchyard.job.cancelled.v1' else 'dev.switchyard.job.finished.v1' end,
        p_job, p_state, p_reason
    );
end
$$;

-- running | waiting | cancelling → succeeded | dead | cancelled, in batches, fenced by epoch. `applied` is the state that
-- was recorded, null where the caller's hold was over. What ends by itself after a cancel was asked for keeps its own
-- outcome, and that the cancel came too late is recorded. `cancelled` is accepted only where a cancel was asked for.
--
-- Reasons and results at the end of which all are null may be shorter. p_all: false answers only for those jobs whose hold was
-- over; the others were recorded as asked.
create or replace function switchyard.finish_jobs(
    p_ids bigint[], p_epochs bigint[], p_states switchyard.job_state[], p_reasons text[], p_results jsonb[],
    p_all boolean default true
) returns table (job_id bigint, applied switchyard.job_state)
language plpgsql security definer set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set jit = off
set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off
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
        returning j.*, a.end_state, a.reason, a.result
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
