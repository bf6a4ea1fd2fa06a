-- What came in from outside, what facts it held, and what each binding made of them.
set local role switchyard_owner;

create type switchyard.delivery_verdict as enum (
    'accepted',  -- verified, and at least one event came of it
    'ignored',   -- verified, of a kind that starts nothing
    'ping',      -- verified, the sender only tries the connection
    'duplicate', -- verified, and its id was here before with the same body
    'conflict',  -- verified, and its id was here before with another body
    'malformed', -- verified, and not what its sender's documents say
    'rejected'   -- not verified: counted always, stored as a sample, without its body
);

create table switchyard.deliveries (
    -- Version 7: newer ids are greater.
    id uuid not null,
    database_id uuid not null,
    trigger_id uuid not null,
    vendor text not null,
    vendor_event text,
    -- The sender's id for it.
    delivery_key text,
    verdict switchyard.delivery_verdict not null,
    -- Why it was not accepted.
    reason text,
    -- The first delivery with its id.
    first_id uuid,
    -- Secrets and signatures masked.
    headers jsonb not null default '{}',
    -- Sealed under the tenant's key, bound to this row. Null for a rejected one.
    body bytea,
    body_bytes bigint not null check (body_bytes >= 0),
    body_sha256 bytea check (length(body_sha256) = 32),
    received_at timestamptz not null default now(),
    primary key (database_id, id),
    foreign key (database_id, trigger_id) references switchyard.triggers
);
-- What is sealed does not compress; trying costs more than storing.
alter table switchyard.deliveries alter column body set storage external;
call switchyard.protect('switchyard.deliveries');
create index deliveries_of_trigger on switchyard.deliveries (database_id, trigger_id, id);
grant select on switchyard.deliveries to switchyard_tenant, switchyard_observer;
grant select (id, database_id, trigger_id, verdict) on switchyard.deliveries to switchyard_system;

-- The ids a trigger's senders have used. What was refused is not here, so that it never makes a later one a duplicate.
create table switchyard.delivery_keys (
    database_id uuid not null,
    trigger_id uuid not null,
    key text not null check (length(key) between 1 and 256),
    delivery_id uuid not null,
    body_sha256 bytea not null,
    created_at timestamptz not null default now(),
    primary key (database_id, trigger_id, key)
);
call switchyard.protect('switchyard.delivery_keys');

-- Rejected requests per trigger, hour and reason; a null trigger counts requests for triggers that do not exist.
create table switchyard.rejections (
    database_id uuid,
    trigger_id uuid,
    hour timestamptz not null,
    reason text not null,
    count bigint not null default 1,
    unique nulls not distinct (database_id, trigger_id, hour, reason)
);
call switchyard.protect('switchyard.rejections');
grant select on switchyard.rejections to switchyard_system, switchyard_tenant;

create table switchyard.events (
    -- Deterministic where it has a cause, so that a repeat of the cause is the same event.
    id uuid not null,
    database_id uuid not null references switchyard.tenants,
    -- The order of acceptance, over all tenants.
    seq bigint not null default nextval('switchyard.accepted'),
    type text not null,
    source text not null,
    subject text,
    data json not null,
    trigger_id uuid,
    delivery_id uuid,
    correlation_id text not null,
    causation_id text,
    -- How many times work led here.
    depth integer not null default 0 check (depth >= 0),
    traceparent text,
    accepted_at timestamptz not null default now(),
    dispatched_at timestamptz,
    -- When it was last put into the outbox; a repeat waits longer each time.
    published_at timestamptz not null default now(),
    publications integer not null default 1,
    primary key (database_id, id)
);
create unique index events_by_id on switchyard.events (id);
call switchyard.protect('switchyard.events');
create index events_newest on switchyard.events (database_id, seq);
create index events_of_delivery on switchyard.events (database_id, delivery_id) where delivery_id is not null;
create index events_undispatched on switchyard.events (published_at) where dispatched_at is null;
grant select on switchyard.events to switchyard_system, switchyard_tenant, switchyard_observer;

-- One binding looking at one event, once: the key is what makes it one job per binding and event.
create table switchyard.decisions (
    database_id uuid not null,
    event_id uuid not null,
    binding_id uuid not null,
    matched boolean not null,
    -- The clauses that held, in the order they were tried: [{clause, expected, actual}].
    held jsonb not null default '[]',
    -- The clause that failed and what it compared.
    clause text,
    expected text,
    actual text,
    job_id bigint,
    -- added, superseded or kept.
    job_outcome text,
    decided_at timestamptz not null default now(),
    primary key (database_id, event_id, binding_id),
    foreign key (database_id, event_id) references switchyard.events,
    constraint says_why_not check (matched = (clause is null)),
    constraint job_when_matched check (matched = (job_id is not null))
);
call switchyard.protect('switchyard.decisions');
create index decisions_of_binding on switchyard.decisions (database_id, binding_id, decided_at desc);
create index decisions_of_job on switchyard.decisions (database_id, job_id) where job_id is not null;
grant select on switchyard.decisions to switchyard_system, switchyard_tenant, switchyard_observer;

-- The outbox row of an event for `inbound`. Data over 64 KiB stays behind: dispatch reads the row anyway.
create function switchyard.inbound_event(
    p_event switchyard.events,
    out broker switchyard.broker, out database_id uuid, out ce_id text, out ce_type text, out ce_source text,
    out ce_subject text, out extensions jsonb, out data json
)
language sql stable set search_path = pg_catalog, pg_temp
begin atomic
    select
        'inbound'::switchyard.broker, p_event.database_id, n.name, p_event.type, p_event.source, p_event.subject,
        jsonb_strip_nulls(jsonb_build_object(
            'tenantid', p_event.database_id,
            'correlationid', p_event.correlation_id,
            'causationid', p_event.causation_id,
            'depth', p_event.depth,
            'traceparent', p_event.traceparent,
            'dataref', case when n.bytes > 65536 then '/api/events/' || n.name end
        )),
        case when n.bytes <= 65536 then p_event.data end
    from (
        select 'evt_' || replace(p_event.id::text, '-', '') as name, octet_length(p_event.data::text) as bytes
    ) n;
end;

-- Puts an event into the outbox again.
create function switchyard.publish_event(p_database_id uuid, p_id uuid) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    insert into switchyard.outbox (broker, database_id, ce_id, ce_type, ce_source, ce_subject, extensions, data)
    select o.*
    from switchyard.events e
    cross join lateral switchyard.inbound_event(e) o
    where e.database_id = p_database_id and e.id = p_id;
    perform switchyard.wake_relay('inbound');
end
$$;

-- Stores verified deliveries with their events and puts those into the outbox: all of it or nothing. The arrays of one
-- kind go together; p_event_deliveries says whose an event is. Says for each delivery the verdict that was recorded and,
-- when it repeats one, the first one's id.
create function switchyard.accept_deliveries(
    p_ids uuid[],
    p_database_ids uuid[],
    p_trigger_ids uuid[],
    p_vendors text[],
    p_vendor_events text[],
    p_keys text[],
    p_verdicts text[],
    p_reasons text[],
    p_headers jsonb[],
    p_bodies bytea[],
    p_body_bytes bigint[],
    p_body_sha256s bytea[],
    p_traceparents text[],
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
    -- Deliveries whose key was used before: delivery → the first one and whether its body was another.
    v_repeats jsonb := '{}';
    v_keyed integer;
    v_new uuid[];
begin
    select count(*) into v_keyed
    from unnest(p_keys, p_verdicts) as a (key, verdict)
    where a.key is not null and a.verdict in ('accepted', 'ignored', 'ping');

    -- Waits for other requests with the same keys to commit or fail; in the order of keys, so that two groups cannot wait
    -- for each other. Of two with one key in this group the first takes it.
    with taken as (
        insert into switchyard.delivery_keys as k (database_id, trigger_id, key, delivery_id, body_sha256)
        select a.database_id, a.trigger_id, a.key, a.id, a.body_sha256
        from unnest(p_ids, p_database_ids, p_trigger_ids, p_keys, p_verdicts, p_body_sha256s) with ordinality
            as a (id, database_id, trigger_id, key, verdict, body_sha256, place)
        where a.key is not null and a.verdict in ('accepted', 'ignored', 'ping')
        order by a.database_id, a.trigger_id, a.key, a.place
        on conflict do nothing
        returning k.delivery_id
    )
    select coalesce(array_agg(taken.delivery_id), '{}') into v_new from taken;

    if cardinality(v_new) < v_keyed then
        select jsonb_object_agg(
            a.id, jsonb_build_object('first', k.delivery_id, 'same', k.body_sha256 = a.body_sha256)
        ) into v_repeats
        from unnest(p_ids, p_database_ids, p_trigger_ids, p_keys, p_verdicts, p_body_sha256s)
            as a (id, database_id, trigger_id, key, verdict, body_sha256)
        join switchyard.delivery_keys k
            on k.database_id = a.database_id and k.trigger_id = a.trigger_id and k.key = a.key
        where a.verdict in ('accepted', 'ignored', 'ping') and a.id <> all (v_new);
    end if;

    return query
        insert into switchyard.deliveries as d (
            id, database_id, trigger_id, vendor, vendor_event, delivery_key, verdict, reason, first_id, headers, body,
            body_bytes, body_sha256
        )
        select
            a.id, a.database_id, a.trigger_id, a.vendor, a.vendor_event, a.key,
            case
                when r.repeat is null then a.verdict::switchyard.delivery_verdict
                when (r.repeat ->> 'same')::boolean then 'duplicate'
                else 'conflict'
            end,
            case
                when r.repeat is null then a.reason
                when (r.repeat ->> 'same')::boolean then 'its id was delivered before'
                else 'its id was delivered before with another body'
            end,
            (r.repeat ->> 'first')::uuid, a.headers, a.body, a.body_bytes, a.body_sha256
        from unnest(
            p_ids, p_database_ids, p_trigger_ids, p_vendors, p_vendor_events, p_keys, p_verdicts, p_reasons, p_headers,
            p_bodies, p_body_bytes, p_body_sha256s
        ) as a (
            id, database_id, trigger_id, vendor, vendor_event, key, verdict, reason, headers, body, body_bytes,
            body_sha256
        )
        cross join lateral (select v_repeats -> a.id::text as repeat) r
        returning d.id, d.verdict, d.first_id;

    with made as (
        insert into switchyard.events as v (
            id, database_id, type, source, subject, data, trigger_id, delivery_id, correlation_id, traceparent
        )
        select
            e.id, a.database_id, e.type, e.source, e.subject, e.data::json, a.trigger_id, a.id,
            'dlv_' || replace(a.id::text, '-', ''), a.traceparent
        from unnest(
            p_event_deliveries, p_event_ids, p_event_types, p_event_sources, p_event_subjects, p_event_data
        ) with ordinality as e (delivery, id, type, source, subject, data, place)
        join unnest(p_ids, p_database_ids, p_trigger_ids, p_traceparents)
            as a (id, database_id, trigger_id, traceparent) on a.id = e.delivery
        where not coalesce(v_repeats ? a.id::text, false)
        order by e.place
        returning v.*
    )
    insert into switchyard.outbox (broker, database_id, ce_id, ce_type, ce_source, ce_subject, extensions, data)
    select o.* from made m cross join lateral switchyard.inbound_event(m) o;
    if found then
        perform switchyard.wake_relay('inbound');
    end if;
end
$$;
revoke execute on function switchyard.accept_deliveries from public;
grant execute on function switchyard.accept_deliveries to switchyard_system;

-- Counts a request that was not verified. The first ten of a trigger and hour are stored as well, without their body, and
-- the first is told on `observed`.
create function switchyard.count_rejection(
    p_id uuid, p_database_id uuid, p_trigger_id uuid, p_vendor text, p_vendor_event text, p_reason text, p_headers jsonb
) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_count bigint;
begin
    insert into switchyard.rejections as r (database_id, trigger_id, hour, reason)
    values (p_database_id, p_trigger_id, date_trunc('hour', now(), 'UTC'), p_reason)
    on conflict (database_id, trigger_id, hour, reason) do update set count = r.count + 1
    returning count into v_count;
    if p_trigger_id is null or v_count > 10 then
        return v_count;
    end if;
    insert into switchyard.deliveries (
        id, database_id, trigger_id, vendor, vendor_event, verdict, reason, headers, body_bytes
    ) values (p_id, p_database_id, p_trigger_id, p_vendor, p_vendor_event, 'rejected', p_reason, p_headers, 0);
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
revoke execute on function switchyard.count_rejection from public;
grant execute on function switchyard.count_rejection to switchyard_system;

-- Records what the bindings made of an event, adds the jobs and marks the event dispatched: all of it or nothing, and
-- only the first time. p_decisions: [{binding, held, clause, expected, actual}] or, where all clauses held,
-- [{binding, held, task, payload, queue_name, key, workload}]. Returns the jobs that were made.
create function switchyard.record_decisions(p_event_id uuid, p_decisions jsonb)
returns table (binding_id uuid, job_id bigint, outcome text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_event switchyard.events;
    v_decision jsonb;
    v_job record;
begin
    select * into v_event from switchyard.events where id = p_event_id for update;
    if v_event.id is null then
        raise exception 'there is no event %', p_event_id using errcode = 'no_data_found';
    end if;
    if v_event.dispatched_at is not null then
        return;
    end if;
    -- In the order of keys, so that two events whose bindings share workloads cannot wait for each other.
    for v_decision in
        select d from jsonb_array_elements(p_decisions) d order by d ->> 'key', d ->> 'binding'
    loop
        if v_decision ? 'clause' then
            insert into switchyard.decisions (database_id, event_id, binding_id, matched, held, clause, expected, actual)
            values (
                v_event.database_id, v_event.id, (v_decision ->> 'binding')::uuid, false, v_decision -> 'held',
                v_decision ->> 'clause', v_decision ->> 'expected', v_decision ->> 'actual'
            );
            continue;
        end if;
        select a.job_id, a.outcome into strict v_job from switchyard.add_job(
            v_event.database_id,
            v_decision ->> 'task',
            v_decision -> 'payload',
            p_queue_name => v_decision ->> 'queue_name',
            p_key => v_decision ->> 'key',
            p_seq => v_event.seq,
            p_event_id => v_event.id,
            p_binding_id => (v_decision ->> 'binding')::uuid,
            p_workload_id => (v_decision ->> 'workload')::uuid,
            p_correlation_id => v_event.correlation_id,
            p_causation_id => 'evt_' || replace(v_event.id::text, '-', ''),
            p_depth => v_event.depth,
            p_traceparent => v_event.traceparent
        ) a;
        insert into switchyard.decisions (database_id, event_id, binding_id, matched, held, job_id, job_outcome)
        values (
            v_event.database_id, v_event.id, (v_decision ->> 'binding')::uuid, true, v_decision -> 'held',
            v_job.job_id, v_job.outcome
        );
        return query select (v_decision ->> 'binding')::uuid, v_job.job_id, v_job.outcome;
    end loop;
    update switchyard.events e set dispatched_at = now()
    where e.database_id = v_event.database_id and e.id = v_event.id and e.dispatched_at is null;
end
$$;
revoke execute on function switchyard.record_decisions from public;
grant execute on function switchyard.record_decisions to switchyard_system;

-- Puts events that nobody dispatched into the outbox again, unless they are still there; each repeat waits twice as long
-- as the one before, up to an hour. Returns how many.
create function switchyard.republish_events(p_after interval, p_limit integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_event record;
    v_count integer := 0;
begin
    for v_event in
        select e.database_id, e.id, e.publications
        from switchyard.events e
        where e.dispatched_at is null
          and e.published_at < now() - p_after
          and e.published_at < now() - least(p_after * power(2, least(e.publications - 1, 20)), interval '1 hour')
          and not exists (
              select from switchyard.outbox o
              where o.broker = 'inbound' and o.ce_id = 'evt_' || replace(e.id::text, '-', '')
          )
        order by e.published_at
        limit p_limit
        for update skip locked
    loop
        perform switchyard.publish_event(v_event.database_id, v_event.id);
        update switchyard.events
        set published_at = now(), publications = publications + 1
        where database_id = v_event.database_id and id = v_event.id;
        v_count := v_count + 1;
    end loop;
    return v_count;
end
$$;
revoke execute on function switchyard.republish_events from public;
grant execute on function switchyard.republish_events to switchyard_system;
create index outbox_by_event on switchyard.outbox (ce_id) where broker = 'inbound';

-- Tells each task with work that was ready for longer than p_after that there may be work, as the relay would have:
-- what makes good a relay that was dead or a wake-up that was lost. Returns how many tasks.
create function switchyard.republish_wakeups(p_after interval) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_task text;
    v_count integer := 0;
begin
    for v_task in
        select distinct c.task
        from switchyard.claimable_jobs(32) c
        join switchyard.jobs j on j.id = c.job_id
        where greatest(j.run_at, j.created_at) < now() - p_after
          and not exists (
              select from switchyard.outbox o
              where o.broker = 'work' and o.ce_type = 'dev.switchyard.job.queued.v1' and o.ce_subject = c.task
          )
    loop
        perform switchyard.publish(
            'work', null, gen_random_uuid()::text, 'dev.switchyard.job.queued.v1', '/switchyard/cron-republish', v_task,
            jsonb_build_object('task', v_task),
            json_build_object('task', v_task)
        );
        v_count := v_count + 1;
    end loop;
    return v_count;
end
$$;
revoke execute on function switchyard.republish_wakeups from public;
grant execute on function switchyard.republish_wakeups to switchyard_system;

reset role;
