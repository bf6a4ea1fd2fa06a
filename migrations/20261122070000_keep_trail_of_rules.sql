-- What people do to watches, log rules and notifications is on record too; and a message to try an endpoint with.
set local role switchyard_owner;

-- Puts on record what somebody did to what the tenant declares. Written with the deed, so that there is none without it.
create function switchyard.note_own_deed(p_deed text, p_by text, p_data jsonb) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- The deeds of the queue and of triggers are recorded by what does them, and by nothing else.
    if p_deed !~ '^(log_rule|notification_rule|endpoint|watch)_(create|change|remove|secret|test|look)$'
        and p_deed <> 'notification_redeliver'
    then
        raise exception '% is not a deed of these', p_deed using errcode = 'invalid_parameter_value';
    end if;
    perform switchyard.record_deed(p_deed, switchyard.own_tenant(), left(p_by, 200), null, p_data);
end
$$;
revoke execute on function switchyard.note_own_deed from public;
grant execute on function switchyard.note_own_deed to switchyard_tenant;

-- Writes a message down that tries an endpoint. False when one is still to be sent, the endpoint is switched off, or the tenant
-- has none of that id.
create function switchyard.test_own_endpoint(
    p_id uuid, p_new_id uuid, p_event_id text, p_event_type text, p_body text
) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- Two who try at once: the second waits here, and sees the first one's message.
    perform from switchyard.notification_endpoints e
    where e.database_id = switchyard.own_tenant() and e.id = p_id
    for no key update;
    insert into switchyard.notifications (id, database_id, endpoint_id, message_id, event_id, event_type, body)
    select p_new_id, e.database_id, e.id, 'msg_' || replace(p_new_id::text, '-', ''), p_event_id, p_event_type, p_body
    from switchyard.notification_endpoints e
    where e.database_id = switchyard.own_tenant() and e.id = p_id and e.enabled
      and not exists (
          select from switchyard.notifications n
          where n.database_id = e.database_id and n.endpoint_id = e.id and n.event_type = p_event_type
            and n.state = 'pending'
      );
    return found;
end
$$;
revoke execute on function switchyard.test_own_endpoint from public;
grant execute on function switchyard.test_own_endpoint to switchyard_tenant;

reset role;
