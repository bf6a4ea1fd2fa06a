-- Events that no delivery made: of the clock, of a person, of a watcher, of a log, of work that ended, and of a replay.
set local role switchyard_owner;

alter table switchyard.events
    -- Only this binding decides; the others are not asked.
    add column only_binding_id uuid,
    -- The event that this one repeats, because somebody wanted it again.
    add column replays uuid;
create index events_of_replayed on switchyard.events (database_id, replays) where replays is not null;

-- Writes an event of its cause with its row in the outbox, in the caller's transaction. False, and nothing is written, when
-- the id was there before.
create function switchyard.accept_event(
    p_database_id uuid,
    p_trigger_id uuid,
    p_id uuid,
    p_type text,
    p_source text,
    p_subject text,
    p_data json,
    p_delivery_id uuid default null,
    p_correlation_id text default null,
    p_causation_id text default null,
    p_depth integer default 0,
    p_traceparent text default null,
    p_only_binding uuid default null,
    p_replays uuid default null
) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (
        select from switchyard.triggers where database_id = p_database_id and id = p_trigger_id
    ) then
        raise exception 'there is no such trigger' using errcode = 'foreign_key_violation';
    end if;
    if p_only_binding is not null and not exists (
        select from switchyard.bindings
        where database_id = p_database_id and id = p_only_binding and trigger_id = p_trigger_id
    ) then
        raise exception 'the trigger has no such binding' using errcode = 'foreign_key_violation';
    end if;
    with made as (
        insert into switchyard.events as v (
            id, database_id, type, source, subject, data, trigger_id, delivery_id, correlation_id, causation_id, depth,
            traceparent, only_binding_id, replays
        ) values (
            p_id, p_database_id, p_type, p_source, p_subject, p_data, p_trigger_id, p_delivery_id,
            coalesce(p_correlation_id, 'evt_' || replace(p_id::text, '-', '')), p_causation_id, p_depth, p_traceparent,
            p_only_binding, p_replays
        )
        on conflict do nothing
        returning v.*
    )
    insert into switchyard.outbox (broker, database_id, ce_id, ce_type, ce_source, ce_subject, extensions, data)
    select o.* from made m cross join lateral switchyard.inbound_event(m) o;
    if not found then
        return false;
    end if;
    perform switchyard.wake_relay('inbound');
    return true;
end
$$;
revoke execute on function switchyard.accept_event from public;
grant execute on function switchyard.accept_event to switchyard_system;

-- The same for a person: the tenant is the transaction's, and any other is refused.
create function switchyard.accept_own_event(
    p_database_id uuid, p_trigger_id uuid, p_id uuid, p_type text, p_source text, p_subject text, p_data json,
    p_delivery_id uuid, p_correlation_id text, p_causation_id text, p_depth integer, p_traceparent text,
    p_only_binding uuid, p_replays uuid
) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if p_database_id is distinct from switchyard.own_tenant() then
        raise exception 'an event belongs to the tenant of its transaction' using errcode = 'insufficient_privilege';
    end if;
    return switchyard.accept_event(
        p_database_id, p_trigger_id, p_id, p_type, p_source, p_subject, p_data, p_delivery_id, p_correlation_id,
        p_causation_id, p_depth, p_traceparent, p_only_binding, p_replays
    );
end
$$;
revoke execute on function switchyard.accept_own_event from public;
grant execute on function switchyard.accept_own_event to switchyard_tenant;

-- One name for both, with the rights of whoever calls it: what the caller may do is decided by the functions above.
create function switchyard.add_event(
    p_database_id uuid,
    p_trigger_id uuid,
    p_id uuid,
    p_type text,
    p_source text,
    p_subject text,
    p_data json,
    p_delivery_id uuid default null,
    p_correlation_id text default null,
    p_causation_id text default null,
    p_depth integer default 0,
    p_traceparent text default null,
    p_only_binding uuid default null,
    p_replays uuid default null
) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if has_function_privilege(
        'switchyard.accept_event(uuid, uuid, uuid, text, text, text, json, uuid, text, text, integer, text, uuid, uuid)',
        'execute'
    ) then
        return switchyard.accept_event(
            p_database_id, p_trigger_id, p_id, p_type, p_source, p_subject, p_data, p_delivery_id, p_correlation_id,
            p_causation_id, p_depth, p_traceparent, p_only_binding, p_replays
        );
    end if;
    return switchyard.accept_own_event(
        p_database_id, p_trigger_id, p_id, p_type, p_source, p_subject, p_data, p_delivery_id, p_correlation_id,
        p_causation_id, p_depth, p_traceparent, p_only_binding, p_replays
    );
end
$$;
revoke execute on function switchyard.add_event from public;
grant execute on function switchyard.add_event to switchyard_system, switchyard_tenant;

reset role;
