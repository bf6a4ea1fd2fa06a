-- The record of what people did to the queue is kept for as long as somebody wants it, not for ever.
set local role switchyard_owner;

-- Forgets up to p_limit deeds that are past keeping, the oldest first, and returns how many.
create function switchyard.forget_deeds(p_keep interval, p_limit integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '500ms'
as $$
declare
    v_forgotten integer;
begin
    if p_keep < interval '1 day' then
        raise exception 'deeds are kept for a day at least, not for %', p_keep using errcode = 'invalid_parameter_value';
    end if;
    delete from switchyard.audit a
    using (
        -- In the order of ids, so that only the oldest are read although there is no index on the time.
        select id, at from switchyard.audit order by id limit p_limit
    ) oldest
    where a.id = oldest.id and oldest.at < now() - p_keep;
    get diagnostics v_forgotten = row_count;
    return v_forgotten;
end
$$;
revoke execute on function switchyard.forget_deeds from public;
grant execute on function switchyard.forget_deeds to switchyard_system;

reset role;
