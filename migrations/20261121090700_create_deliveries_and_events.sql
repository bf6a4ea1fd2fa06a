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

-- Stores a verified delivery with its events and puts those into the outbox: all of it or nothing. Says what became of
-- it: the verdict that was recorded, the id of its row, and the first delivery's id when this one repeats it.
create function switchyard.accept_delivery(
    p_id uuid,
    p_database_id uuid,
    p_trigger_id uuid,
    p_vendor text,
    p_vendor_event text,
    p_key text,
    p_verdict switchyard.delivery_verdict,
    p_reason text,
    p_headers jsonb,
    p_body bytea,
    p_body_bytes bigint,
    p_body_sha256 bytea,
    p_traceparent text,
    p_event_ids uuid[],
    p_event_types text[],
    p_event_sources text[],
    p_event_subjects text[],
    p_event_data text[]
) returns table (verdict switchyard.delivery_verdict, delivery_id uuid, first_id uuid)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_verdict switchyard.delivery_verdict := p_verdict;
    v_reason text := p_reason;
    v_first switchyard.delivery_keys;
    v_event record;
    v_seq bigint;
begin
    if p_key is not null and p_verdict in ('accepted', 'ignored', 'ping') then
        -- Waits for another request with the same id to commit or fail.
        insert into switchyard.delivery_keys (database_id, trigger_id, key, delivery_id, body_sha256)
        values (p_database_id, p_trigger_id, p_key, p_id, p_body_sha256)
        on conflict do nothing;
        if not found then
            select * into v_first from switchyard.delivery_keys k
            where k.database_id = p_database_id and k.trigger_id = p_trigger_id and k.key = p_key;
            if v_first.body_sha256 = p_body_sha256 then
                v_verdict := 'duplicate';
                v_reason := 'its id was delivered before';
            else
                v_verdict := 'conflict';
                v_reason := 'its id was delivered before with another body';
            end if;
        end if;
    end if;

    insert into switchyard.deliveries (
        id, database_id, trigger_id, vendor, vendor_event, delivery_key, verdict, reason, first_id, headers, body,
        body_bytes, body_sha256
    ) values (
        p_id, p_database_id, p_trigger_id, p_vendor, p_vendor_event, p_key, v_verdict, v_reason, v_first.delivery_id,
        p_headers, p_body, p_body_bytes, p_body_sha256
    );

    if v_verdict = 'accepted' then
        for v_event in
            select * from unnest(p_event_ids, p_event_types, p_event_sources, p_event_subjects, p_event_data)
                as e (id, type, source, subject, data)
        loop
            insert into switchyard.events (
                id, database_id, type, source, subject, data, trigger_id, delivery_id, correlation_id, traceparent
            ) values (
                v_event.id, p_database_id, v_event.type, v_event.source, v_event.subject, v_event.data::json,
                p_trigger_id, p_id, 'dlv_' || replace(p_id::text, '-', ''), p_traceparent
            ) returning seq into v_seq;
            perform switchyard.publish_event(p_database_id, v_event.id);
        end loop;
    end if;
    return query select v_verdict, p_id, v_first.delivery_id;
end
$$;
revoke execute on function switchyard.accept_delivery from public;
grant execute on function switchyard.accept_delivery to switchyard_system;

-- Puts an event into the outbox for `inbound`. Data over 64 KiB stays behind: dispatch reads the row anyway.
create function switchyard.publish_event(p_database_id uuid, p_id uuid) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_event switchyard.events;
    v_name text := 'evt_' || replace(p_id::text, '-', '');
begin
    select * into strict v_event from switchyard.events where database_id = p_database_id and id = p_id;
    perform switchyard.publish(
        'inbound', v_event.database_id, v_name, v_event.type, v_event.source, v_event.subject,
        jsonb_strip_nulls(jsonb_build_object(
            'tenantid', v_event.database_id,
            'correlationid', v_event.correlation_id,
            'causationid', v_event.causation_id,
            'depth', v_event.depth,
            'traceparent', v_event.traceparent,
            'dataref', case when octet_length(v_event.data::text) > 65536 then '/api/events/' || v_name end
        )),
        case when octet_length(v_event.data::text) <= 65536 then v_event.data end
    );
end
$$;

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
