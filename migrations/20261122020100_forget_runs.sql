-- Runs are kept as long as the jobs that had them.
set local role switchyard_owner;

-- Forgets up to p_limit runs that ended longer ago than p_keep, whose jobs have ended, the oldest first. Returns how many.
create function switchyard.forget_runs(p_keep interval, p_limit integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_forgotten integer;
begin
    if p_keep < interval '1 day' then
        raise exception 'runs are kept for a day at least, not for %', p_keep using errcode = 'invalid_parameter_value';
    end if;
    delete from switchyard.runs r
    using (
        select o.database_id, o.job_id, o.epoch
        from switchyard.runs o
        where o.ended_at < now() - p_keep
          and not exists (select from switchyard.jobs j where j.id = o.job_id)
        order by o.ended_at
        limit p_limit
    ) old
    where r.database_id = old.database_id and r.job_id = old.job_id and r.epoch = old.epoch;
    get diagnostics v_forgotten = row_count;
    return v_forgotten;
end
$$;
revoke execute on function switchyard.forget_runs from public;
grant execute on function switchyard.forget_runs to switchyard_system;

reset role;
