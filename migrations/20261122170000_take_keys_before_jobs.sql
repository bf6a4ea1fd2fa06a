-- A callback locked its job before its key, unlike everybody else: a worker that reported the same failure at the same moment
-- and it waited for each other until Postgres failed one of the two.
set local role switchyard_owner;

create or replace function switchyard.callback_job(
    p_database_id uuid,
    p_id bigint,
    p_epoch bigint,
    p_said text,
    p_error text,
    -- Whether another try may help after an error.
    p_retry boolean,
    p_result jsonb,
    p_progress jsonb,
    p_lines text[],
    p_told bigint
) returns table (outcome text, state switchyard.job_state, cancel boolean)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_job switchyard.jobs;
    v_archived switchyard.job_state;
    v_archived_epoch bigint;
    v_said text;
    v_state switchyard.job_state;
begin
    if p_said not in ('progress', 'success', 'error', 'cancelled') then
        raise exception 'a function says progress, success, error or cancelled, not %', p_said
            using errcode = 'check_violation';
    end if;
    -- What may be put back needs its key, which comes before the job in the order of what is locked.
    if p_said in ('error', 'cancelled') then
        perform switchyard.lock_keys(array[p_id]);
    end if;
    select * into v_job from switchyard.jobs where database_id = p_database_id and id = p_id for update;
    if v_job.epoch is distinct from p_epoch
        or v_job.state not in ('running', 'waiting', 'cancelling')
        or v_job.waiting = 'approval'
    then
        -- Not held by this claim, or not any more. What this claim's function said at its end decides.
        select e.data ->> 'said' into v_said from switchyard.job_events e
        where e.database_id = p_database_id and e.job_id = p_id and e.epoch = p_epoch and e.kind = 'called_back';
        select a.state, a.epoch into v_archived, v_archived_epoch from switchyard.jobs_archive a
        where a.database_id = p_database_id and a.id = p_id
        limit 1;
        if v_job.id is null and v_archived is null and v_said is null then
            return query select 'unknown', null::switchyard.job_state, false;
            return;
        end if;
        if v_said = p_said
            -- The answer to the call said so already.
            or v_said is null and v_archived_epoch = p_epoch
                and (v_archived, p_said) in (('succeeded', 'success'), ('dead', 'error'), ('cancelled', 'cancelled'))
        then
            return query select 'duplicate', coalesce(v_job.state, v_archived), false;
            return;
        end if;
        -- Records it where the job is still there.
        perform switchyard.held_job(p_id, p_epoch) where v_job.id is not null;
        return query select 'stale', coalesce(v_job.state, v_archived), false;
        return;
    end if;

    if p_lines is not null then
        perform switchyard.append_lines(p_id, p_epoch, 'task', p_lines, p_told);
    end if;
    if p_said = 'progress' then
        update switchyard.jobs j
        set progress = coalesce(p_progress, j.progress),
            -- A sign of life renews the deadline, up to the end of the attempt's time, and not for who was asked to stop.
            lease_until = case
                when j.state = 'waiting' and j.waiting = 'callback' then greatest(
                    j.lease_until,
                    least(
                        clock_timestamp() + switchyard.callback_deadline_of(j.database_id, j.task),
                        j.attempt_until
                    )
                )
                else j.lease_until
            end
        where j.id = p_id and j.epoch = p_epoch and j.state in ('running', 'waiting', 'cancelling');
        return query select 'applied', v_job.state, v_job.state = 'cancelling';
        return;
    end if;

    perform switchyard.note_job(v_job, 'called_back', jsonb_build_object('said', p_said));
    if p_said = 'error' and p_retry or p_said = 'cancelled' and v_job.state <> 'cancelling' then
        v_state := switchyard.retry_job(p_id, p_epoch, p_error, null);
    else
        select f.applied into v_state
        from switchyard.finish_jobs(
            array[p_id], array[p_epoch],
            array[case p_said when 'success' then 'succeeded' when 'error' then 'dead' else 'cancelled' end]::switchyard.job_state[],
            array[case when p_said <> 'success' then p_error end], array[p_result]
        ) f;
    end if;
    if v_state is null then
        raise exception 'job % changed while its function called back', p_id using errcode = 'serialization_failure';
    end if;
    return query select 'applied', v_state, false;
end
$$;

reset role;
