-- What our own work leads to: `event` triggers hear of jobs that ended and of workloads that changed, in the transaction in
-- which that is so.
set local role switchyard_owner;

alter table switchyard.triggers
    -- Whether it hears of our own work. Asked at the end of every job, so it is an index that is nearly always empty.
    add column hears_work boolean not null generated always as (
        kind = 'event' and enabled and (
            coalesce(starts_with(config #>> '{exact,type}', 'dev.switchyard.'), false)
            or coalesce(starts_with(config #>> '{prefix,type}', 'dev.switchyard.'), false)
        )
    ) stored;
create index triggers_hearing_work on switchyard.triggers (database_id) where hears_work;

-- Writes one event for each fact and each of its tenant's triggers that hears of such, a step deeper than the job that led to
-- it. The arrays go together, an element for each fact; p_data is JSON. An event that is too deep to start anything is
-- written once more, so that it can be seen why, and then no deeper one can come of it. Returns how many were written.
create function switchyard.follow_facts(
    p_database_ids uuid[], p_job_ids bigint[], p_epochs bigint[], p_types text[], p_sources text[], p_subjects text[],
    p_data text[], p_depths integer[], p_correlation_ids text[]
) returns integer
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_written integer;
begin
    if not exists (
        select from switchyard.triggers t where t.hears_work and t.database_id = any (p_database_ids)
    ) then
        return 0;
    end if;
    with made as (
        insert into switchyard.events as v (
            id, database_id, type, source, subject, data, trigger_id, correlation_id, causation_id, depth
        )
        select
            md5(format('%s after %s/%s for %s', f.type, f.job_id, f.epoch, t.id))::uuid, f.database_id, f.type, f.source,
            f.subject, f.data::json, t.id, coalesce(f.correlation_id, 'job_' || f.job_id), 'job_' || f.job_id, f.depth + 1
        from unnest(
            p_database_ids, p_job_ids, p_epochs, p_types, p_sources, p_subjects, p_data, p_depths, p_correlation_ids
        ) with ordinality as f (
            database_id, job_id, epoch, type, source, subject, data, depth, correlation_id, place
        )
        join switchyard.triggers t on t.database_id = f.database_id and t.hears_work
        -- The rest of the filter is for dispatch, which says why.
        where coalesce(t.config #>> '{exact,type}' = f.type, true)
          and coalesce(starts_with(f.type, t.config #>> '{prefix,type}'), true)
          and f.depth <= 16
        order by f.place, t.id
        on conflict do nothing
        returning v.*
    )
    insert into switchyard.outbox (broker, database_id, ce_id, ce_type, ce_source, ce_subject, extensions, data)
    select o.* from made m cross join lateral switchyard.inbound_event(m) o;
    get diagnostics v_written = row_count;
    if v_written > 0 then
        perform switchyard.wake_relay('inbound');
    end if;
    return v_written;
end
$$;
revoke execute on function switchyard.follow_facts from public;

-- Tells of jobs that ended, in the statement that ends them. The arrays go together, an element for each job.
create function switchyard.follow(
    p_database_ids uuid[], p_job_ids bigint[], p_epochs bigint[], p_tasks text[], p_states text[], p_attempts integer[],
    p_reasons text[], p_depths integer[], p_correlation_ids text[]
) returns integer
language sql set search_path = pg_catalog, pg_temp
begin atomic
    select switchyard.follow_facts(
        array_agg(e.database_id), array_agg(e.job_id), array_agg(e.epoch),
        array_agg('dev.switchyard.job.finished.v1'::text), array_agg('/switchyard/jobs'::text), array_agg(e.job_id::text),
        array_agg(jsonb_strip_nulls(jsonb_build_object(
            'job', e.job_id, 'task', e.task, 'state', e.state, 'epoch', e.epoch, 'attempts', e.attempts,
            'reason', e.reason
        ))::text),
        array_agg(e.depth), array_agg(e.correlation_id)
    )
    from unnest(
        p_database_ids, p_job_ids, p_epochs, p_tasks, p_states, p_attempts, p_reasons, p_depths, p_correlation_ids
    ) as e (database_id, job_id, epoch, task, state, attempts, reason, depth, correlation_id);
end;
revoke execute on function switchyard.follow from public;

-- What happens to a job is told on `observed`, and to triggers that hear of it.
create or replace function switchyard.announce_job(
    p_type text, p_job switchyard.jobs, p_state switchyard.job_state, p_reason text
) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_data json;
begin
    if not coalesce((select announced from switchyard.tasks where name = p_job.task), true) then
        return;
    end if;
    v_data := jsonb_strip_nulls(jsonb_build_object(
        'job', p_job.id, 'task', p_job.task, 'state', p_state, 'epoch', p_job.epoch, 'attempts', p_job.attempts,
        'reason', p_reason
    ));
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
        v_data
    );
    perform switchyard.follow_facts(
        array[p_job.database_id], array[p_job.id], array[p_job.epoch], array[p_type], array['/switchyard/jobs'],
        array[p_job.id::text], array[v_data::text], array[p_job.depth], array[p_job.correlation_id]
    );
end
$$;

-- What becomes of a workload is told on `observed`, and to triggers that hear of it.
create or replace function switchyard.announce_workload(
    p_type text, p_job switchyard.jobs, p_revision switchyard.revisions
) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_subject text := 'wkl_' || replace(p_revision.workload_id::text, '-', '');
    v_data json := json_build_object(
        'workload', v_subject, 'revision', 'rev_' || replace(p_revision.id::text, '-', ''),
        'number', p_revision.number, 'commit', p_revision.commit, 'job', p_job.id
    );
begin
    perform switchyard.publish(
        'observed', p_revision.database_id, p_job.id || '/' || p_job.epoch || '/' || p_type, p_type,
        '/switchyard/workloads', v_subject,
        jsonb_strip_nulls(jsonb_build_object(
            'tenantid', p_revision.database_id, 'correlationid', p_job.correlation_id,
            'traceparent', p_job.traceparent, 'severity', 'info'
        )),
        v_data
    );
    perform switchyard.follow_facts(
        array[p_revision.database_id], array[p_job.id], array[p_job.epoch], array[p_type],
        array['/switchyard/workloads'], array[v_subject], array[v_data::text], array[p_job.depth],
        array[p_job.correlation_id]
    );
end
$$;

reset role;
