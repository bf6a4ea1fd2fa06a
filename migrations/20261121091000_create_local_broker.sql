-- The broker of the local runtime: on one machine an event that was answered 202 is a row until it has been delivered.
-- On a cluster, whose brokers keep their own events, these tables stay empty.
create schema switchyard_local authorization switchyard_owner;
set local role switchyard_owner;
comment on schema switchyard_local is 'Switchyard: events between functions of the local runtime';
grant usage on schema switchyard_local to switchyard_system, switchyard_tenant, switchyard_observer;

create table switchyard_local.events (
    -- Version 7, so that the order of ids is the order of acceptance.
    id uuid primary key,
    -- The Broker's name in the manifests.
    broker text not null,
    -- The tenant that the event names (extension `tenantid`): who may look at it.
    database_id uuid,
    -- What lists show; the event itself is head and body.
    ce_id text not null,
    ce_type text not null,
    ce_source text not null,
    -- The event as an HTTP message, in the mode in which it came: `name: value` lines …
    head text not null,
    -- … and bytes that are never written anew.
    body bytea not null,
    -- How many brokers a reply to it may still go through.
    ttl integer not null check (ttl > 0),
    -- Trigger → the clause that failed, for each that did not match.
    unmatched jsonb not null default '{}',
    accepted_at timestamptz not null default clock_timestamp()
);
call switchyard.protect('switchyard_local.events');
grant select, insert, delete on switchyard_local.events to switchyard_system;
grant select on switchyard_local.events to switchyard_tenant;

create type switchyard_local.delivery_state as enum (
    'pending',       -- not yet tried, being tried, or waiting for the next attempt
    'delivered',     -- the subscriber took it
    'dead_lettered', -- the subscriber did not, its dead letter sink did
    'lost'           -- nobody took it, and no attempt is left
);

-- One row for each Trigger that matched. No foreign key to the event: both are made by one statement and deleted by one,
-- and the check would write to every event a second time.
create table switchyard_local.deliveries (
    event_id uuid not null,
    -- The Trigger's name in the manifests.
    trigger text not null,
    -- As the event's.
    database_id uuid,
    state switchyard_local.delivery_state not null default 'pending',
    -- Requests to the subscriber that were answered or given up.
    attempts integer not null default 0,
    -- The subscriber's attempts are over; it is the dead letter sink's turn.
    dead_lettering boolean not null default false,
    -- Requests to the dead letter sink that were answered or given up.
    dead_letter_attempts integer not null default 0,
    -- The last failure: which URL, which status (500 for no answer), the beginning of the answer or what went wrong.
    error_dest text,
    error_code integer,
    error_data bytea,
    -- No attempt before this.
    next_at timestamptz not null default clock_timestamp(),
    ended_at timestamptz,
    primary key (event_id, trigger),
    check ((state = 'pending') = (ended_at is null))
);
create index deliveries_pending on switchyard_local.deliveries (trigger, event_id) where state = 'pending';
call switchyard.protect('switchyard_local.deliveries');
grant select, insert, update, delete on switchyard_local.deliveries to switchyard_system;
grant select on switchyard_local.deliveries to switchyard_tenant;

-- Keeps events and their deliveries, all or none. What is not durable survives the death of every process of ours, but
-- not that of the database server within its last second: enough for a wake-up, which somebody repeats.
create function switchyard_local.accept(
    p_durable boolean,
    p_ids uuid[],
    p_brokers text[],
    p_tenants uuid[],
    p_ce_ids text[],
    p_ce_types text[],
    p_ce_sources text[],
    p_heads text[],
    p_bodies bytea[],
    p_ttls integer[],
    p_unmatched jsonb[],
    p_delivery_events uuid[],
    p_delivery_triggers text[],
    p_delivery_tenants uuid[]
) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if not p_durable then
        perform set_config('synchronous_commit', 'off', true);
    end if;
    insert into switchyard_local.events (id, broker, database_id, ce_id, ce_type, ce_source, head, body, ttl, unmatched)
    select *
    from unnest(
        p_ids, p_brokers, p_tenants, p_ce_ids, p_ce_types, p_ce_sources, p_heads, p_bodies, p_ttls, p_unmatched
    );
    insert into switchyard_local.deliveries (event_id, trigger, database_id)
    select *
    from unnest(p_delivery_events, p_delivery_triggers, p_delivery_tenants);
end
$$;
revoke execute on function switchyard_local.accept from public;
grant execute on function switchyard_local.accept to switchyard_system;

-- Records what became of attempts. A record that the server loses in a crash means one more delivery, which subscribers
-- expect; so nobody waits for the disk.
create function switchyard_local.settle(
    p_events uuid[],
    p_triggers text[],
    p_states text[],
    p_attempts integer[],
    p_dead_lettering boolean[],
    p_dead_letter_attempts integer[],
    p_error_dests text[],
    p_error_codes integer[],
    p_error_data bytea[],
    p_wait_secs float8[]
) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    perform set_config('synchronous_commit', 'off', true);
    update switchyard_local.deliveries d
    set state = s.state::switchyard_local.delivery_state,
        attempts = s.attempts,
        dead_lettering = s.dead_lettering,
        dead_letter_attempts = s.dead_letter_attempts,
        error_dest = s.error_dest,
        error_code = s.error_code,
        error_data = s.error_data,
        next_at = clock_timestamp() + make_interval(secs => s.wait_secs),
        ended_at = case when s.state <> 'pending' then clock_timestamp() end
    from unnest(
        p_events, p_triggers, p_states, p_attempts, p_dead_lettering, p_dead_letter_attempts,
        p_error_dests, p_error_codes, p_error_data, p_wait_secs
    ) as s (
        event_id, trigger, state, attempts, dead_lettering, dead_letter_attempts,
        error_dest, error_code, error_data, wait_secs
    )
    where d.event_id = s.event_id
      and d.trigger = s.trigger
      and d.state = 'pending';
end
$$;
revoke execute on function switchyard_local.settle from public;
grant execute on function switchyard_local.settle to switchyard_system;

reset role;
