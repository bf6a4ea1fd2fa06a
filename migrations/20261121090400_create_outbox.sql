-- What the relay has to publish, and the flags by which it is woken.
set local role switchyard_owner;

create type switchyard.broker as enum ('inbound', 'work', 'observed');

-- An event in the words of CloudEvents 1.0. A row goes when the broker has acknowledged it.
create table switchyard.outbox (
    id bigint generated always as identity primary key,
    broker switchyard.broker not null,
    -- Null only for wake-ups that concern no tenant.
    database_id uuid,
    -- The same for every copy of the same fact, so that a repeat is recognised.
    ce_id text not null,
    ce_type text not null,
    ce_source text not null,
    ce_subject text,
    ce_time timestamptz not null default now(),
    -- Extension attributes: name → string or integer.
    extensions jsonb not null default '{}',
    -- JSON as it was written; sent byte for byte.
    data json,
    attempts integer not null default 0,
    next_at timestamptz not null default now(),
    last_error text,
    -- The broker refused it for good. Kept, shown, never sent again by itself.
    refused_at timestamptz
);
create index outbox_due on switchyard.outbox (broker, next_at, id) where refused_at is null;
call switchyard.protect('switchyard.outbox');
-- Who listens to `observed` may say what it saw, and only there.
create policy observer_says on switchyard.outbox for insert to switchyard_observer with check (broker = 'observed');
grant select, update (attempts, next_at, last_error, refused_at), delete on switchyard.outbox to switchyard_system;
grant select on switchyard.outbox to switchyard_tenant, switchyard_observer;
grant insert on switchyard.outbox to switchyard_observer;

-- One flag per broker. An idle relay arms it; the first writer after that disarms it and notifies; while it is down
-- the relay is looking anyway and writers pay nothing. (An unconditional NOTIFY serialises all commits.)
create table switchyard.relay_flags (
    broker switchyard.broker primary key,
    armed boolean not null default false
) with (fillfactor = 50);
insert into switchyard.relay_flags (broker) values ('inbound'), ('work'), ('observed');
grant select on switchyard.relay_flags to switchyard_system;

-- Wakes the relay of a broker if it sleeps. Never waits: a flag that a stranger's transaction holds is notified as well,
-- for that transaction may yet roll back.
create function switchyard.wake_relay(p_broker switchyard.broker) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if not (select armed from switchyard.relay_flags where broker = p_broker) then
        return;
    end if;
    perform from switchyard.relay_flags where broker = p_broker for update skip locked;
    if found then
        update switchyard.relay_flags set armed = false where broker = p_broker and armed;
    end if;
    perform pg_notify('switchyard_relay', p_broker::text);
end
$$;
revoke execute on function switchyard.wake_relay from public;
grant execute on function switchyard.wake_relay to switchyard_system, switchyard_observer;

-- The relay is about to sleep. It must look once more after this, at once and shortly after: a writer that read the
-- flag before may commit after.
create function switchyard.arm_relay(p_broker switchyard.broker) returns void
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
    update switchyard.relay_flags set armed = true where broker = p_broker and not armed;
end;
revoke execute on function switchyard.arm_relay from public;
grant execute on function switchyard.arm_relay to switchyard_system;

-- Puts an event into the outbox, in the caller's transaction.
create function switchyard.publish(
    p_broker switchyard.broker,
    p_database_id uuid,
    p_ce_id text,
    p_ce_type text,
    p_ce_source text,
    p_ce_subject text,
    p_extensions jsonb,
    p_data json
) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_id bigint;
begin
    insert into switchyard.outbox (broker, database_id, ce_id, ce_type, ce_source, ce_subject, extensions, data)
    values (p_broker, p_database_id, p_ce_id, p_ce_type, p_ce_source, p_ce_subject, p_extensions, p_data)
    returning id into v_id;
    perform switchyard.wake_relay(p_broker);
    return v_id;
end
$$;
revoke execute on function switchyard.publish from public;
grant execute on function switchyard.publish to switchyard_system;

-- The system observing itself. Nothing that listens to it may write to it; deliveries are another matter (the system
-- talking to the outside).
create table switchyard.event_log (
    id bigint generated always as identity,
    database_id uuid not null references switchyard.tenants,
    at timestamptz not null default now(),
    severity text not null check (severity in ('debug', 'info', 'warning', 'error')),
    -- Which part saw it.
    source text not null,
    message text not null,
    data jsonb not null default '{}',
    primary key (database_id, id)
);
call switchyard.protect('switchyard.event_log');
grant select, insert on switchyard.event_log to switchyard_system;
grant select on switchyard.event_log to switchyard_tenant, switchyard_observer;

reset role;
