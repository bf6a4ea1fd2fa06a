-- Decisions start tasks as well as deploys, and one that the queue does not take says so instead of holding up the others.
set local role switchyard_owner;

-- Records what the bindings made of an event, adds the jobs and marks the event dispatched: all of it or nothing, and
-- only the first time. p_decisions: [{binding, held, clause, expected, actual}] or, where all clauses held,
-- [{binding, held, task, payload, queue_name, key, priority, workload}], the last four or less. Returns the jobs that were made.
create or replace function switchyard.record_decisions(p_event_id uuid, p_decisions jsonb)
returns table (binding_id uuid, job_id bigint, outcome text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_event switchyard.events;
    v_decision jsonb;
    v_job record;
    v_refused text;
begin
    select * into v_event from switchyard.events where id = p_event_id for update;
    if v_event.id is null then
        raise exception 'there is no event %', p_event_id using errcode = 'no_data_found';
    end if;
    if v_event.dispatched_at is not null then
        return;
    end if;
    -- In the order of keys, so that two events whose bindings share workloads cannot wait for each other.
    for v_decision in
        select d from jsonb_array_elements(p_decisions) d order by d ->> 'key', d ->> 'binding'
    loop
        v_refused := null;
        if not v_decision ? 'clause' then
            begin
                select a.job_id, a.outcome into strict v_job from switchyard.add_job(
                    v_event.database_id,
                    v_decision ->> 'task',
                    v_decision -> 'payload',
                    p_queue_name => v_decision ->> 'queue_name',
                    p_key => v_decision ->> 'key',
                    p_seq => v_event.seq,
                    p_priority => coalesce((v_decision ->> 'priority')::integer, 0),
                    p_event_id => v_event.id,
                    p_binding_id => (v_decision ->> 'binding')::uuid,
                    p_workload_id => (v_decision ->> 'workload')::uuid,
                    p_correlation_id => v_event.correlation_id,
                    p_causation_id => 'evt_' || replace(v_event.id::text, '-', ''),
                    p_depth => v_event.depth,
                    p_traceparent => v_event.traceparent
                ) a;
            exception
                -- What the queue will never take: another try would find the same. What passes by itself, as a race of two
                -- keys does, is raised.
                when data_exception or check_violation or not_null_violation then
                    v_refused := sqlerrm;
            end;
        end if;
        if v_decision ? 'clause' or v_refused is not null then
            insert into switchyard.decisions (database_id, event_id, binding_id, matched, held, clause, expected, actual)
            values (
                v_event.database_id, v_event.id, (v_decision ->> 'binding')::uuid, false, v_decision -> 'held',
                case when v_refused is null then v_decision ->> 'clause' else 'payload' end,
                case when v_refused is null then v_decision ->> 'expected' else 'a job that the queue takes' end,
                coalesce(v_refused, v_decision ->> 'actual')
            );
            continue;
        end if;
        insert into switchyard.decisions (database_id, event_id, binding_id, matched, held, job_id, job_outcome)
        values (
            v_event.database_id, v_event.id, (v_decision ->> 'binding')::uuid, true, v_decision -> 'held',
            v_job.job_id, v_job.outcome
        );
        return query select (v_decision ->> 'binding')::uuid, v_job.job_id, v_job.outcome;
    end loop;
    update switchyard.events e set dispatched_at = now()
    where e.database_id = v_event.database_id and e.id = v_event.id and e.dispatched_at is null;
end
$$;

reset role;
