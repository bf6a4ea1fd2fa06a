-- Bodies of deliveries, deliveries, the ids of senders and counts of rejections are kept for a while each.
set local role switchyard_owner;

-- Every delivery pays for an index; this one costs next to nothing.
create index deliveries_by_age on switchyard.deliveries using brin (received_at);

-- Until when all bodies were let go, so that nobody looks there again.
create table switchyard.bodies_dropped (
    until timestamptz not null
);
insert into switchyard.bodies_dropped values ('-infinity');

-- Lets the bodies of up to p_limit deliveries go that are past keeping; the rows stay. Returns how many.
create function switchyard.drop_bodies(p_keep interval, p_limit integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '500ms'
as $$
declare
    v_before constant timestamptz := now() - p_keep;
    v_from constant timestamptz := (select until from switchyard.bodies_dropped);
    v_dropped integer;
begin
    if p_keep < interval '1 day' then
        raise exception 'bodies are kept for a day at least, not for %', p_keep using errcode = 'invalid_parameter_value';
    end if;
    update switchyard.deliveries d
    set body = null, body_dropped_at = now()
    from (
        select database_id, id from switchyard.deliveries
        where body is not null and received_at >= v_from and received_at < v_before
        limit p_limit
        for update
    ) old
    where d.database_id = old.database_id and d.id = old.id;
    get diagnostics v_dropped = row_count;
    if v_dropped < p_limit then
        -- What was received before is stored by now: a transaction does not take a day.
        update switchyard.bodies_dropped set until = greatest(until, v_before);
    end if;
    return v_dropped;
end
$$;
revoke execute on function switchyard.drop_bodies from public;
grant execute on function switchyard.drop_bodies to switchyard_system;

-- Forgets up to p_limit deliveries that are past keeping, and returns how many. What came of them stays.
create function switchyard.forget_deliveries(p_keep interval, p_limit integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '500ms'
as $$
declare
    v_forgotten integer;
begin
    if p_keep < interval '1 day' then
        raise exception 'deliveries are kept for a day at least, not for %', p_keep
            using errcode = 'invalid_parameter_value';
    end if;
    delete from switchyard.deliveries d
    using (
        select database_id, id from switchyard.deliveries
        where received_at < now() - p_keep
        limit p_limit
        for update skip locked
    ) old
    where d.database_id = old.database_id and d.id = old.id;
    get diagnostics v_forgotten = row_count;
    return v_forgotten;
end
$$;
revoke execute on function switchyard.forget_deliveries from public;
grant execute on function switchyard.forget_deliveries to switchyard_system;

-- Forgets up to p_limit ids of deliveries that are past keeping, and keys made of bodies that are over, and returns how many.
-- Eight days are the least: a sender that is told nothing comes again for so long.
create function switchyard.forget_delivery_keys(p_keep interval, p_limit integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '500ms'
as $$
declare
    v_forgotten integer;
begin
    if p_keep < interval '8 days' then
        raise exception 'the ids of deliveries are kept for eight days at least, not for %', p_keep
            using errcode = 'invalid_parameter_value';
    end if;
    delete from switchyard.delivery_keys k
    using (
        (select database_id, trigger_id, key from switchyard.delivery_keys
         where created_at < now() - p_keep
         limit p_limit)
        union
        (select database_id, trigger_id, key from switchyard.delivery_keys
         where expires_at < now()
         limit p_limit)
        limit p_limit
    ) old
    where k.database_id = old.database_id and k.trigger_id = old.trigger_id and k.key = old.key
      and (k.created_at < now() - p_keep or k.expires_at < now());
    get diagnostics v_forgotten = row_count;
    return v_forgotten;
end
$$;
revoke execute on function switchyard.forget_delivery_keys from public;
grant execute on function switchyard.forget_delivery_keys to switchyard_system;
create index delivery_keys_over on switchyard.delivery_keys (expires_at) where expires_at is not null;

-- Forgets up to p_limit counts of rejections that are past keeping, and returns how many.
create function switchyard.forget_rejections(p_keep interval, p_limit integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '500ms'
as $$
declare
    v_forgotten integer;
begin
    if p_keep < interval '1 day' then
        raise exception 'counts of rejections are kept for a day at least, not for %', p_keep
            using errcode = 'invalid_parameter_value';
    end if;
    delete from switchyard.rejections r
    using (
        select ctid from switchyard.rejections where hour < now() - p_keep limit p_limit for update skip locked
    ) old
    where r.ctid = old.ctid;
    get diagnostics v_forgotten = row_count;
    return v_forgotten;
end
$$;
revoke execute on function switchyard.forget_rejections from public;
grant execute on function switchyard.forget_rejections to switchyard_system;

reset role;
