-- What a runner was told holds secrets, sealed; when its run is over nobody needs it any more.
set local role switchyard_owner;

create index runs_told on switchyard.runs (ended_at) where ended_at is not null and spec <> '';

-- Lets go of what up to p_limit runners were told whose runs ended more than an hour ago. Returns how many.
create function switchyard.drop_run_specs(p_limit integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_dropped integer;
begin
    update switchyard.runs r
    set spec = ''
    from (
        select o.database_id, o.job_id, o.epoch
        from switchyard.runs o
        where o.ended_at < now() - interval '1 hour' and o.spec <> ''
        order by o.ended_at
        limit p_limit
        for no key update skip locked
    ) over
    where r.database_id = over.database_id and r.job_id = over.job_id and r.epoch = over.epoch;
    get diagnostics v_dropped = row_count;
    return v_dropped;
end
$$;
revoke execute on function switchyard.drop_run_specs from public;
grant execute on function switchyard.drop_run_specs to switchyard_system;

reset role;
