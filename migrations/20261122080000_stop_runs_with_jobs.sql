-- A run that has not said how it ended itself is over with its job, whoever ended that: a cancel of an admin, a reaper, a limit.

set local role switchyard_owner;

-- Ends a job. A run of it that has not said how it ended itself is over with it.
create or replace function switchyard.end_job(
    p_job switchyard.jobs, p_state switchyard.job_state, p_reason text, p_result jsonb
) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    perform switchyard.share_rules();
    if p_job.waiting = 'runner' then
        update switchyard.runs
        set state = case p_state when 'cancelled' then 'cancelled' else 'lost' end,
            reason = case when p_state <> 'cancelled' then p_reason end,
            ended_at = clock_timestamp()
        where database_id = p_job.database_id and job_id = p_job.id and epoch = p_job.epoch and ended_at is null;
    end if;
    perform switchyard.archive_job(p_job, p_state, p_reason, p_result);
    perform switchyard.leave_lanes(array[p_job.lane_id]);
    perform switchyard.leave_limits(array[p_job.database_id], array[p_job.task]);
    if p_job.key is not null then
        -- One may wait behind it, in whatever lane.
        perform switchyard.wake_relay('work');
    end if;
end
$$;

reset role;
