-- A runner that died was missed only when its lease was over, though who started it knows at once, and knows how it ended.
set local role switchyard_owner;

-- A runner is gone without its last word and nothing of its run is left, says who started it and has looked. The run is lost;
-- its job is tried again after the wait of its task, is dead where its attempts are used up, and cancelled where it was asked to
-- stop. Answers what the job is now, null when the run is over or the job went on without it.
create function switchyard.lose_runner(p_database_id uuid, p_id bigint, p_epoch bigint, p_why text)
returns switchyard.job_state
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_job switchyard.jobs;
begin
    perform switchyard.lock_keys(array[p_id]);
    select * into v_job from switchyard.jobs
    where id = p_id and database_id = p_database_id and epoch = p_epoch and waiting = 'runner'
      and state in ('waiting', 'cancelling')
    for update;
    if v_job.id is null then
        return null;
    end if;
    if v_job.state = 'cancelling' then
        return switchyard.settle_cancel(p_id, p_epoch, 'applied', null);
    end if;
    perform switchyard.note_job(
        v_job, 'lease_over', jsonb_build_object('state', v_job.state, 'worker', v_job.worker, 'error', p_why)
    );
    perform switchyard.lose_run(p_database_id, p_id, p_epoch, p_why);
    if v_job.attempts >= v_job.attempts_max then
        perform switchyard.end_job(
            v_job, 'dead', p_why || ', ' || v_job.attempts || ' of ' || v_job.attempts_max || ' attempts used', null
        );
        return 'dead';
    end if;
    return switchyard.requeue_job(
        v_job, clock_timestamp() + switchyard.backoff(v_job.task, v_job.attempts), v_job.attempts, p_why, true
    );
end
$$;
revoke execute on function switchyard.lose_runner from public;
grant execute on function switchyard.lose_runner to switchyard_system;

reset role;
