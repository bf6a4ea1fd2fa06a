-- Deliveries that are sent again, repeats told by their body for a while, and what is known of a trigger's health.
set local role switchyard_owner;

alter table switchyard.deliveries
    -- The function that took it, which can read it again.
    add column function text check (length(function) between 1 and 63),
    -- The delivery of which somebody wanted this new attempt.
    add column redelivery_of uuid,
    -- When its body was let go, which is before the row is.
    add column body_dropped_at timestamptz;
create index deliveries_again on switchyard.deliveries (database_id, redelivery_of, id) where redelivery_of is not null;
grant select (function, redelivery_of) on switchyard.deliveries to switchyard_system;

-- Until when a key made of a body tells a repeat; null for a sender's own id, which tells it for as long as the row is here.
alter table switchyard.delivery_keys add column expires_at timestamptz;
create index delivery_keys_by_age on switchyard.delivery_keys using brin (created_at);

-- What is probably wrong where requests do not verify for this reason: one of a few words, for who looks for it.
alter table switchyard.rejections add column cause text check (cause ~ '^[a-z_]{1,40}$');
grant select on switchyard.rejections to switchyard_observer;

-- What a trigger's senders last did. Apart from the trigger, whose row is read by every delivery and written by nobody then.
create table switchyard.trigger_health (
    database_id uuid not null,
    trigger_id uuid not null,
    -- When a delivery was last verified by the secret in use, and by the one before it; each written once a minute at most.
    current_at timestamptz,
    previous_at timestamptz,
    primary key (database_id, trigger_id),
    foreign key (database_id, trigger_id) references switchyard.triggers on delete cascade
);
call switchyard.protect('switchyard.trigger_health');
grant select on switchyard.trigger_health to switchyard_tenant, switchyard_observer, switchyard_system;

-- Writes down which secrets have just proved good, unless that was done within the minute or somebody is at it: nobody waits
-- for a row that only tells.
create function switchyard.note_secrets(p_database_ids uuid[], p_trigger_ids uuid[], p_secrets text[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (
        select
        from (
            select distinct u.database_id, u.trigger_id, u.secret
            from unnest(p_database_ids, p_trigger_ids, p_secrets) as u (database_id, trigger_id, secret)
        ) a
        left join switchyard.trigger_health h on h.database_id = a.database_id and h.trigger_id = a.trigger_id
        where a.secret is not null
          and coalesce(case a.secret when 'current' then h.current_at else h.previous_at end, '-infinity')
              < now() - interval '1 minute'
    ) or not pg_try_advisory_xact_lock(hashtextextended('switchyard.trigger_health', 0)) then
        return;
    end if;
    insert into switchyard.trigger_health as h (database_id, trigger_id, current_at, previous_at)
    select
        a.database_id, a.trigger_id,
        case when bool_or(a.secret = 'current') then now() end,
        case when bool_or(a.secret = 'previous') then now() end
    from unnest(p_database_ids, p_trigger_ids, p_secrets) as a (database_id, trigger_id, secret)
    where a.secret is not null
    group by a.database_id, a.trigger_id
    on conflict (database_id, trigger_id) do update
    set current_at = coalesce(excluded.current_at, h.current_at),
        previous_at = coalesce(excluded.previous_at, h.previous_at);
end
$$;
revoke execute on function switchyard.note_secrets from public;

-- Stores verified deliveries with their events and puts those into the outbox: all of it or nothing. The arrays of one kind go
-- together; p_event_deliveries says whose an event is. A delivery that was verified against another version of its trigger
-- than the one that is there is left out of what is returned, and not stored. Says for each of the others the verdict that was
-- recorded and, when it repeats one, the first one's id.
create function switchyard.take_deliveries(
    p_ids uuid[],
    p_database_ids uuid[],
    p_trigger_ids uuid[],
    p_trigger_versions bigint[],
    p_secrets text[],
    p_functions text[],
    p_vendors text[],
    p_vendor_events text[],
    p_keys text[],
    -- For how many seconds a key tells repeats; null for a sender's own id.
    p_key_secs integer[],
    p_verdicts text[],
    p_reasons text[],
    p_headers jsonb[],
    p_bodies bytea[],
    p_body_bytes bigint[],
    p_body_sha256s bytea[],
    p_traceparents text[],
    p_redelivery_ofs uuid[],
    p_event_deliveries uuid[],
    p_event_ids uuid[],
    p_event_types text[],
    p_event_sources text[],
    p_event_subjects text[],
    p_event_data text[]
) returns table (delivery_id uuid, verdict switchyard.delivery_verdict, first_id uuid)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    -- Deliveries whose trigger has changed since it was read.
    v_stale uuid[] := '{}';
    -- Deliveries whose key was used before: delivery → the first one and whether its body was another.
    v_repeats jsonb := '{}';
    v_keyed integer;
    v_new uuid[];
    v_events integer;
    v_made uuid[];
begin
    -- Of few triggers, though of many deliveries.
    if exists (
        select
        from (
            select distinct u.database_id, u.trigger_id, u.version
            from unnest(p_database_ids, p_trigger_ids, p_trigger_versions) as u (database_id, trigger_id, version)
        ) a
        where not exists (
            select from switchyard.triggers t
            where t.database_id = a.database_id and t.id = a.trigger_id and t.xmin::text::bigint = a.version
        )
    ) then
        select coalesce(array_agg(a.id), '{}') into v_stale
        from unnest(p_ids, p_database_ids, p_trigger_ids, p_trigger_versions) as a (id, database_id, trigger_id, version)
        where not exists (
            select from switchyard.triggers t
            where t.database_id = a.database_id and t.id = a.trigger_id and t.xmin::text::bigint = a.version
        );
    end if;

    select count(*) into v_keyed
    from unnest(p_ids, p_keys, p_verdicts) as a (id, key, verdict)
    where a.key is not null and a.verdict in ('accepted', 'ignored', 'ping') and a.id <> all (v_stale);

    if v_keyed > 0 then
        -- Waits for other requests with the same keys to commit or fail; in the order of keys, so that two groups cannot wait
        -- for each other. Of two with one key in this group the first takes it. A key that is over is taken over.
        with wanted as (
            select distinct on (a.database_id, a.trigger_id, a.key)
                a.id, a.database_id, a.trigger_id, a.key, a.body_sha256,
                now() + make_interval(secs => a.secs) as expires_at
            from unnest(p_ids, p_database_ids, p_trigger_ids, p_keys, p_key_secs, p_verdicts, p_body_sha256s) with ordinality
                as a (id, database_id, trigger_id, key, secs, verdict, body_sha256, place)
            where a.key is not null and a.verdict in ('accepted', 'ignored', 'ping') and a.id <> all (v_stale)
            order by a.database_id, a.trigger_id, a.key, a.place
        ),
        taken as (
            insert into switchyard.delivery_keys as k (database_id, trigger_id, key, delivery_id, body_sha256, expires_at)
            select w.database_id, w.trigger_id, w.key, w.id, w.body_sha256, w.expires_at
            from wanted w
            order by w.database_id, w.trigger_id, w.key
            on conflict (database_id, trigger_id, key) do update
            set delivery_id = excluded.delivery_id, body_sha256 = excluded.body_sha256, created_at = now(),
                expires_at = excluded.expires_at
            where k.expires_at <= now()
            returning k.delivery_id
        )
        select coalesce(array_agg(taken.delivery_id), '{}') into v_new from taken;

        if cardinality(v_new) < v_keyed then
            select coalesce(jsonb_object_agg(
                a.id, jsonb_build_object('first', k.delivery_id, 'same', k.body_sha256 = a.body_sha256)
            ), '{}') into v_repeats
            from unnest(p_ids, p_database_ids, p_trigger_ids, p_keys, p_verdicts, p_body_sha256s)
                as a (id, database_id, trigger_id, key, verdict, body_sha256)
            join switchyard.delivery_keys k
                on k.database_id = a.database_id and k.trigger_id = a.trigger_id and k.key = a.key
            where a.verdict in ('accepted', 'ignored', 'ping') and a.id <> all (v_new) and a.id <> all (v_stale);
        end if;
    end if;

    return query
        insert into switchyard.deliveries as d (
            id, database_id, trigger_id, function, vendor, vendor_event, delivery_key, verdict, reason, first_id, headers,
            body, body_bytes, body_sha256, redelivery_of
        )
        select
            a.id, a.database_id, a.trigger_id, a.function, a.vendor, a.vendor_event, a.key,
            case
                when r.repeat is null then a.verdict::switchyard.delivery_verdict
                when (r.repeat ->> 'same')::boolean then 'duplicate'
                else 'conflict'
            end,
            case
                when r.repeat is null then a.reason
                when a.key_secs is not null then 'the same body was delivered a short while before'
                when (r.repeat ->> 'same')::boolean then 'its id was delivered before'
                else 'its id was delivered before with another body'
            end,
            (r.repeat ->> 'first')::uuid, a.headers, a.body, a.body_bytes, a.body_sha256, a.redelivery_of
        from unnest(
            p_ids, p_database_ids, p_trigger_ids, p_functions, p_vendors, p_vendor_events, p_keys, p_key_secs, p_verdicts,
            p_reasons, p_headers, p_bodies, p_body_bytes, p_body_sha256s, p_redelivery_ofs
        ) as a (
            id, database_id, trigger_id, function, vendor, vendor_event, key, key_secs, verdict, reason, headers, body,
            body_bytes, body_sha256, redelivery_of
        )
        cross join lateral (select v_repeats -> a.id::text as repeat) r
        where a.id <> all (v_stale)
        returning d.id, d.verdict, d.first_id;

    if cardinality(p_event_ids) > 0 then
        -- An event that was here before came of a delivery whose key is forgotten; it is not made again.
        with made as (
            insert into switchyard.events as v (
                id, database_id, type, source, subject, data, trigger_id, delivery_id, correlation_id, traceparent, replays
            )
            select
                e.id, a.database_id, e.type, e.source, e.subject, e.data::json, a.trigger_id, a.id,
                'dlv_' || replace(a.id::text, '-', ''), a.traceparent,
                case when a.redelivery_of is not null then (
                    -- The event of the first attempt that stands in the same place.
                    select o.id from switchyard.events o
                    where o.database_id = a.database_id and o.delivery_id = a.redelivery_of and o.replays is null
                    order by o.seq
                    limit 1 offset e.child - 1
                ) end
            from (
                select p.*, row_number() over (partition by p.delivery order by p.place) as child
                from unnest(
                    p_event_deliveries, p_event_ids, p_event_types, p_event_sources, p_event_subjects, p_event_data
                ) with ordinality as p (delivery, id, type, source, subject, data, place)
            ) e
            join unnest(p_ids, p_database_ids, p_trigger_ids, p_traceparents, p_redelivery_ofs)
                as a (id, database_id, trigger_id, traceparent, redelivery_of) on a.id = e.delivery
            where not coalesce(v_repeats ? a.id::text, false) and a.id <> all (v_stale)
            order by e.place
            on conflict (id) do nothing
            returning v.*
        ),
        told as (
            -- As `inbound_event` has it, written out: it is the most frequent of all writers.
            insert into switchyard.outbox (broker, database_id, ce_id, ce_type, ce_source, ce_subject, extensions)
            select
                'inbound', m.database_id, n.name, m.type, m.source, m.subject,
                jsonb_strip_nulls(jsonb_build_object(
                    'tenantid', m.database_id,
                    'correlationid', m.correlation_id,
                    'depth', m.depth,
                    'traceparent', m.traceparent,
                    'dataref', case when octet_length(m.data::text) > 65536 then '/api/events/' || n.name end
                ))
            from made m
            cross join lateral (select 'evt_' || replace(m.id::text, '-', '') as name) n
        )
        select coalesce(array_agg(made.delivery_id), '{}') into v_made from made;

        if cardinality(v_made) > 0 then
            perform switchyard.wake_relay('inbound');
        end if;
        if cardinality(v_made) < cardinality(p_event_ids) and v_repeats = '{}' and cardinality(v_stale) = 0 then
            -- Replayed long after: it is shown for what it is.
            update switchyard.deliveries d
            set verdict = 'duplicate', reason = 'its id was delivered long before', first_id = e.delivery_id
            from unnest(p_event_deliveries, p_event_ids) as p (delivery, id)
            join switchyard.events e on e.id = p.id and e.delivery_id <> p.delivery
            where d.id = p.delivery and d.database_id = e.database_id and d.id <> all (v_made) and d.verdict = 'accepted';
        end if;
    end if;

    perform switchyard.note_secrets(p_database_ids, p_trigger_ids, p_secrets);
end
$$;
revoke execute on function switchyard.take_deliveries from public;
grant execute on function switchyard.take_deliveries to switchyard_system;

-- Counts a request that was not verified. The first p_sampled of a trigger and hour are stored as well, without their body,
-- and the first is told on `observed`. Does not wait for the disk: what a crash of the server forgets is a few counts.
create function switchyard.note_rejection(
    p_id uuid, p_database_id uuid, p_trigger_id uuid, p_function text, p_vendor text, p_vendor_event text, p_reason text,
    p_cause text, p_headers jsonb, p_sampled integer
) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_hour constant timestamptz := date_trunc('hour', now(), 'UTC');
    v_count bigint;
begin
    perform set_config('synchronous_commit', 'off', true);
    insert into switchyard.rejections as r (database_id, trigger_id, hour, reason, cause)
    values (p_database_id, p_trigger_id, v_hour, p_reason, p_cause)
    on conflict (database_id, trigger_id, hour, reason) do update set count = r.count + 1
    returning count into v_count;
    -- The reasons that were counted before take their share of the samples.
    if p_trigger_id is null or v_count > p_sampled or p_sampled < (
        select sum(r.count) from switchyard.rejections r
        where r.database_id = p_database_id and r.trigger_id = p_trigger_id and r.hour = v_hour
    ) then
        return v_count;
    end if;
    insert into switchyard.deliveries (
        id, database_id, trigger_id, function, vendor, vendor_event, verdict, reason, headers, body_bytes
    ) values (p_id, p_database_id, p_trigger_id, p_function, p_vendor, p_vendor_event, 'rejected', p_reason, p_headers, 0);
    if v_count = 1 then
        perform switchyard.publish(
            'observed', p_database_id, 'dlv_' || replace(p_id::text, '-', ''),
            'dev.switchyard.delivery.rejected.v1', '/switchyard/deliveries',
            'trg_' || replace(p_trigger_id::text, '-', ''),
            jsonb_build_object('tenantid', p_database_id, 'severity', 'warning'),
            json_build_object('delivery', 'dlv_' || replace(p_id::text, '-', ''), 'vendor', p_vendor, 'reason', p_reason)
        );
    end if;
    return v_count;
end
$$;
revoke execute on function switchyard.note_rejection from public;
grant execute on function switchyard.note_rejection to switchyard_system;

-- What did the same before.
drop function switchyard.accept_deliveries;
drop function switchyard.count_rejection;

reset role;
