-- A deploy ends in one statement: the job's outcome, its revision and which revision is live, all under the job's epoch.
set local role switchyard_owner;

-- What becomes of a workload is told on `observed`.
create function switchyard.announce_workload(
    p_type text, p_job switchyard.jobs, p_revision switchyard.revisions
) returns void
language sql set search_path = pg_catalog, pg_temp
begin atomic
    select switchyard.publish(
        'observed', p_revision.database_id, p_job.id || '/' || p_job.epoch || '/' || p_type, p_type,
        '/switchyard/workloads', 'wkl_' || replace(p_revision.workload_id::text, '-', ''),
        jsonb_strip_nulls(jsonb_build_object(
            'tenantid', p_revision.database_id, 'correlationid', p_job.correlation_id,
            'traceparent', p_job.traceparent, 'severity', 'info'
        )),
        json_build_object(
            'workload', 'wkl_' || replace(p_revision.workload_id::text, '-', ''),
            'revision', 'rev_' || replace(p_revision.id::text, '-', ''),
            'number', p_revision.number, 'commit', p_revision.commit, 'job', p_job.id
        )
    );
end;

-- running | cancelling → succeeded, with a revision that becomes the live one. The same content as the live revision's makes
-- no new one. `applied` is null when the caller's hold was over: then nothing has changed.
create function switchyard.finish_deploy(
    p_job_id bigint, p_epoch bigint, p_workload_id uuid, p_asked_commit text, p_commit text, p_prefix text,
    p_content_hash text, p_files integer, p_bytes bigint, p_warnings jsonb
) returns table (applied switchyard.job_state, revision_id uuid, number integer, is_new boolean)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_job switchyard.jobs := switchyard.held_job(p_job_id, p_epoch);
    v_workload switchyard.workloads;
    v_revision switchyard.revisions;
    v_is_new boolean := false;
begin
    if v_job.id is null then
        return query select null::switchyard.job_state, null::uuid, null::integer, false;
        return;
    end if;
    select * into strict v_workload from switchyard.workloads
    where database_id = v_job.database_id and id = p_workload_id
    for update;
    select * into v_revision from switchyard.revisions
    where database_id = v_job.database_id and id = v_workload.live_revision;
    if v_revision.id is null or v_revision.content_hash <> p_content_hash or v_revision.commit <> p_commit then
        insert into switchyard.revisions as r (
            database_id, workload_id, number, asked_commit, commit, prefix, content_hash, files, bytes, warnings,
            job_id, previous
        ) values (
            v_job.database_id, p_workload_id,
            1 + coalesce((
                select max(o.number) from switchyard.revisions o
                where o.database_id = v_job.database_id and o.workload_id = p_workload_id
            ), 0),
            p_asked_commit, p_commit, p_prefix, p_content_hash, p_files, p_bytes, p_warnings, v_job.id,
            v_workload.live_revision
        ) returning r.* into v_revision;
        update switchyard.workloads set live_revision = v_revision.id
        where database_id = v_job.database_id and id = p_workload_id;
        perform switchyard.announce_workload('dev.switchyard.workload.deployed.v1', v_job, v_revision);
        v_is_new := true;
    end if;
    if v_job.state = 'cancelling' then
        perform switchyard.note_job(v_job, 'cancel_too_late');
    end if;
    perform switchyard.end_job(
        v_job, 'succeeded', case when not v_is_new then 'already live' end,
        jsonb_strip_nulls(jsonb_build_object(
            'revision', 'rev_' || replace(v_revision.id::text, '-', ''), 'number', v_revision.number,
            'asked', p_asked_commit, 'deployed', p_commit, 'already_live', not v_is_new
        ))
    );
    return query select 'succeeded'::switchyard.job_state, v_revision.id, v_revision.number, v_is_new;
end
$$;
revoke execute on function switchyard.finish_deploy from public;
grant execute on function switchyard.finish_deploy to switchyard_system;

-- running | cancelling → succeeded, with an earlier revision live again, exactly as it was.
create function switchyard.finish_rollback(p_job_id bigint, p_epoch bigint, p_workload_id uuid, p_revision_id uuid)
returns switchyard.job_state
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_job switchyard.jobs := switchyard.held_job(p_job_id, p_epoch);
    v_revision switchyard.revisions;
begin
    if v_job.id is null then
        return null;
    end if;
    select * into v_revision from switchyard.revisions
    where database_id = v_job.database_id and workload_id = p_workload_id and id = p_revision_id;
    if v_revision.id is null then
        raise exception 'the workload has no such revision' using errcode = 'no_data_found';
    end if;
    update switchyard.workloads set live_revision = v_revision.id
    where database_id = v_job.database_id and id = p_workload_id;
    if v_job.state = 'cancelling' then
        perform switchyard.note_job(v_job, 'cancel_too_late');
    end if;
    perform switchyard.announce_workload('dev.switchyard.workload.rolledback.v1', v_job, v_revision);
    perform switchyard.end_job(
        v_job, 'succeeded', null,
        jsonb_build_object(
            'revision', 'rev_' || replace(v_revision.id::text, '-', ''), 'number', v_revision.number,
            'deployed', v_revision.commit
        )
    );
    return 'succeeded';
end
$$;
revoke execute on function switchyard.finish_rollback from public;
grant execute on function switchyard.finish_rollback to switchyard_system;

reset role;
