-- What people do with deliveries that are stored: read a body, have one taken again, hand its events to one binding or to all.
set local role switchyard_owner;

-- On record that somebody read a delivery's body, or wanted it taken again. False when the tenant has no such delivery.
create function switchyard.note_own_delivery_deed(p_delivery uuid, p_deed text, p_by text, p_data jsonb) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant constant uuid := switchyard.asking_tenant();
begin
    if p_deed not in ('read_body', 'redeliver') then
        raise exception 'a delivery''s body is read, or it is delivered again; not %', p_deed
            using errcode = 'invalid_parameter_value';
    end if;
    perform from switchyard.deliveries where database_id = v_tenant and id = p_delivery;
    if not found then
        return false;
    end if;
    perform switchyard.record_deed(
        p_deed, v_tenant, p_by, null,
        coalesce(p_data, '{}') || jsonb_build_object('delivery', 'dlv_' || replace(p_delivery::text, '-', ''))
    );
    return true;
end
$$;
revoke execute on function switchyard.note_own_delivery_deed from public;
grant execute on function switchyard.note_own_delivery_deed to switchyard_tenant;

-- Makes a delivery's events once more, linked to the first: for one binding of its trigger, or for all where none is named. The
-- ids follow from p_request, so that the same request twice makes them once. A repeat made no events, and stands for the
-- delivery that it repeats. Returns how many were made; nothing when there were none to repeat.
create function switchyard.repeat_events(p_database_id uuid, p_delivery uuid, p_binding uuid, p_request text)
returns table (event_id uuid, made boolean)
language plpgsql set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_event switchyard.events;
    v_id uuid;
begin
    for v_event in
        select e.*
        from switchyard.deliveries d
        join switchyard.events e on e.database_id = d.database_id
            and e.delivery_id = case d.verdict when 'duplicate' then coalesce(d.first_id, d.id) else d.id end
            -- A repeat of a repeat is one of the first, and those of other bindings are none of this one's.
            and (e.replays is null or d.redelivery_of is not null) and e.only_binding_id is null
        where d.database_id = p_database_id and d.id = p_delivery
        order by e.seq
    loop
        v_id := md5('repeat ' || p_request || ' ' || v_event.id)::uuid;
        event_id := v_id;
        made := switchyard.accept_event(
            v_event.database_id, v_event.trigger_id, v_id, v_event.type, v_event.source, v_event.subject, v_event.data,
            v_event.delivery_id, v_event.correlation_id, 'evt_' || replace(v_event.id::text, '-', ''), v_event.depth,
            v_event.traceparent, p_binding, v_event.id
        );
        return next;
    end loop;
end
$$;
revoke execute on function switchyard.repeat_events from public;

-- The same for a person.
create function switchyard.repeat_own_delivery(p_delivery uuid, p_binding uuid, p_request text, p_by text)
returns table (event_id uuid, made boolean)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_tenant constant uuid := switchyard.asking_tenant();
begin
    perform switchyard.record_deed(
        'replay_delivery', v_tenant, p_by, null,
        jsonb_build_object(
            'delivery', 'dlv_' || replace(p_delivery::text, '-', ''),
            'binding', 'bnd_' || replace(p_binding::text, '-', '')
        )
    );
    return query select r.event_id, r.made from switchyard.repeat_events(v_tenant, p_delivery, p_binding, p_request) r;
end
$$;
revoke execute on function switchyard.repeat_own_delivery from public;
grant execute on function switchyard.repeat_own_delivery to switchyard_tenant;

-- Whether a delivery is one of those that a filter means: {verdict, trigger, vendor, event}, of which each may be missing.
create function switchyard.delivery_matches(p_delivery switchyard.deliveries, p_filter jsonb) returns boolean
language sql immutable
begin atomic
    select coalesce(p_delivery.verdict::text = p_filter ->> 'verdict', true)
        and coalesce('trg_' || replace(p_delivery.trigger_id::text, '-', '') = p_filter ->> 'trigger', true)
        and coalesce(p_delivery.vendor = p_filter ->> 'vendor', true)
        and (p_filter ->> 'event' is null or p_delivery.vendor_event is not distinct from p_filter ->> 'event');
end;
revoke execute on function switchyard.delivery_matches from public;
grant execute on function switchyard.delivery_matches to switchyard_tenant;

-- Asks for the events of all deliveries that match until now to be made again, as a job. Returns the job; the same asked again
-- while it is queued is that job.
create function switchyard.ask_own_replays(p_filter jsonb, p_binding uuid, p_by text) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant constant uuid := switchyard.asking_tenant();
    v_what jsonb := jsonb_strip_nulls(jsonb_build_object(
        'filter', p_filter, 'binding', 'bnd_' || replace(p_binding::text, '-', '')
    ));
    v_job bigint;
begin
    if p_binding is not null then
        perform from switchyard.bindings where database_id = v_tenant and id = p_binding;
        if not found then
            raise exception 'there is no such binding' using errcode = 'no_data_found';
        end if;
    end if;
    select job_id into v_job from switchyard.add_job(
        v_tenant, 'task-bulk',
        v_what || jsonb_build_object(
            'do', 'replay_deliveries',
            'filter', p_filter || jsonb_build_object(
                'until', least(now(), coalesce((p_filter ->> 'until')::timestamptz, now()))
            ),
            'by', p_by
        ),
        -- One after the other for a tenant.
        p_queue_name => 'switchyard:bulk',
        p_key => 'switchyard:bulk:' || md5('replay_deliveries' || v_what::text), p_key_mode => 'ignore',
        p_actor => p_by
    );
    perform switchyard.record_deed('replay_deliveries', v_tenant, p_by, null, v_what || jsonb_build_object('job', v_job));
    return v_job;
end
$$;
revoke execute on function switchyard.ask_own_replays from public;
grant execute on function switchyard.ask_own_replays to switchyard_tenant;

-- The next part of such a job's work: looks at up to p_limit deliveries of its tenant, the oldest first, and makes the events
-- again of those that match, at most p_most deliveries in all. How far it is stands in the job's progress, as in `bulk_step`. A
-- delivery whose trigger has not that binding is skipped.
create function switchyard.replay_deliveries_step(
    p_id bigint, p_epoch bigint, p_filter jsonb, p_binding uuid, p_limit integer, p_most integer
) returns table (held boolean, stop boolean, over boolean, progress jsonb)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_job switchyard.jobs := switchyard.held_job(p_id, p_epoch);
    v_tenant constant uuid := v_job.database_id;
    v_now jsonb := coalesce(v_job.progress, '{}');
    v_since timestamptz := coalesce((p_filter ->> 'since')::timestamptz, '-infinity');
    v_until timestamptz := coalesce((p_filter ->> 'until')::timestamptz, 'infinity');
    -- Ids begin with the time at which they were made, which is not long before a row is stored.
    v_from uuid;
    v_delivery record;
    v_looked integer := 0;
    v_matched integer := 0;
    v_did integer := 0;
    v_events integer;
    v_at timestamptz := '-infinity';
    v_capped boolean := false;
begin
    if v_job.id is null then
        return query select false, true, false, null::jsonb;
        return;
    elsif v_job.state = 'cancelling' then
        return query select true, true, false, v_now;
        return;
    end if;
    v_from := coalesce((v_now ->> 'id')::uuid, case when isfinite(v_since) then (
        lpad(to_hex(greatest(floor(extract(epoch from v_since - interval '10 minutes') * 1000), 0)::bigint), 12, '0')
        || repeat('0', 20)
    )::uuid else '00000000-0000-0000-0000-000000000000' end);
    if not v_now ? 'of' then
        v_now := jsonb_build_object('done', 0, 'of', (
            select count(*) from (
                select from switchyard.deliveries d
                where d.database_id = v_tenant and d.id > v_from and d.received_at >= v_since and d.received_at < v_until
                  and d.verdict <> 'rejected' and switchyard.delivery_matches(d, p_filter)
                limit p_most
            ) counted
        ), 'did', 0, 'refused', 0, 'skipped', 0);
    end if;
    for v_delivery in
        select d.id, d.trigger_id, d.received_at,
            d.received_at >= v_since and d.received_at < v_until and d.verdict <> 'rejected'
                and switchyard.delivery_matches(d, p_filter) as matches
        from switchyard.deliveries d
        where d.database_id = v_tenant and d.id > v_from
        order by d.id
        limit p_limit
    loop
        v_looked := v_looked + 1;
        v_from := v_delivery.id;
        v_at := v_delivery.received_at;
        if v_delivery.matches then
            v_matched := v_matched + 1;
            v_events := 0;
            if p_binding is null or exists (
                select from switchyard.bindings b
                where b.database_id = v_tenant and b.id = p_binding and b.trigger_id = v_delivery.trigger_id
            ) then
                select count(*) filter (where r.made) into v_events
                from switchyard.repeat_events(v_tenant, v_delivery.id, p_binding, 'job ' || p_id) r;
            end if;
            v_did := v_did + (v_events > 0)::integer;
        end if;
        v_capped := (v_now ->> 'done')::integer + v_matched >= p_most;
        exit when v_capped;
    end loop;
    v_now := v_now || jsonb_build_object(
        'id', v_from,
        'done', (v_now ->> 'done')::integer + v_matched,
        'did', (v_now ->> 'did')::integer + v_did,
        'skipped', (v_now ->> 'skipped')::integer + v_matched - v_did
    );
    v_now := v_now || jsonb_build_object('message', (v_now ->> 'did') || ' replayed'
        || case when v_now ->> 'skipped' <> '0' then ', ' || (v_now ->> 'skipped') || ' without events to replay' else '' end
        || case when v_capped
            then ', and no more than ' || p_most || ' at once: ask again with a later since' else '' end
    );
    update switchyard.jobs set progress = v_now where id = p_id and epoch = p_epoch;
    return query select true, false,
        v_capped or v_looked < p_limit or v_at >= v_until + interval '10 minutes', v_now;
end
$$;
revoke execute on function switchyard.replay_deliveries_step from public;
grant execute on function switchyard.replay_deliveries_step to switchyard_system;

reset role;
