-- Whom people want told of what is observed, and what became of the telling.
set local role switchyard_owner;

create table switchyard.notification_endpoints (
    id uuid not null,
    database_id uuid not null references switchyard.tenants,
    name text not null check (length(name) between 1 and 63),
    url text not null check (length(url) <= 2048),
    -- What the body looks like: our own JSON, or what Slack's incoming webhooks take.
    format text not null check (format in ('standard', 'slack')),
    -- Sealed under the tenant's key, bound to this row: the secret that messages are signed with, and the one before it, by
    -- which they are signed as well until its time is over.
    secret bytea not null,
    secret_previous bytea,
    secret_previous_until timestamptz,
    enabled boolean not null default true,
    -- Why it was switched off by itself.
    disabled_why text check (length(disabled_why) <= 500),
    disabled_at timestamptz,
    -- The first failure since the last message that arrived.
    failing_since timestamptz,
    delivered_at timestamptz,
    created_at timestamptz not null default now(),
    changed_at timestamptz not null default now(),
    primary key (database_id, id),
    unique (database_id, name),
    check ((secret_previous is null) = (secret_previous_until is null))
);
call switchyard.protect('switchyard.notification_endpoints');
grant select on switchyard.notification_endpoints to switchyard_system;
-- A tenant writes secrets and never reads them.
grant select (
    id, database_id, name, url, format, secret_previous_until, enabled, disabled_why, disabled_at, failing_since,
    delivered_at, created_at, changed_at
) on switchyard.notification_endpoints to switchyard_tenant;
grant select (id, database_id, format, enabled) on switchyard.notification_endpoints to switchyard_observer;
grant insert, delete, update (name, url, format, enabled, disabled_why, disabled_at, changed_at)
    on switchyard.notification_endpoints to switchyard_tenant;

create table switchyard.notification_rules (
    id uuid not null,
    database_id uuid not null references switchyard.tenants,
    endpoint_id uuid not null,
    name text not null check (length(name) between 1 and 63),
    -- Types of events; `*` at the end stands for whatever follows.
    types text[] not null check (cardinality(types) between 1 and 50),
    -- At least so bad; null: however bad.
    severity text check (severity in ('debug', 'info', 'warning', 'error')),
    -- What the event's source begins with, and what its data holds somewhere, whatever the case.
    source text check (length(source) between 1 and 500),
    contains text check (length(contains) between 1 and 500),
    -- {"language": "cel", "expression": ...}.
    condition jsonb check (jsonb_typeof(condition) = 'object' and length(condition::text) <= 4096),
    enabled boolean not null default true,
    created_at timestamptz not null default now(),
    primary key (database_id, id),
    unique (database_id, name),
    foreign key (database_id, endpoint_id) references switchyard.notification_endpoints on delete cascade
);
create index notification_rules_of_endpoint on switchyard.notification_rules (database_id, endpoint_id);
call switchyard.protect('switchyard.notification_rules');
grant select on switchyard.notification_rules to switchyard_system, switchyard_observer;
grant select, insert, delete, update (endpoint_id, name, types, severity, source, contains, condition, enabled)
    on switchyard.notification_rules to switchyard_tenant;

create type switchyard.notification_state as enum (
    'pending',   -- to be sent, at next_at
    'delivered', -- answered 2xx
    'failed'     -- all attempts are used up, or its endpoint is gone
);

create table switchyard.notifications (
    id uuid not null,
    database_id uuid not null,
    endpoint_id uuid not null,
    -- What its receiver knows it by, in all attempts and when it is sent again by hand.
    message_id text not null check (length(message_id) between 1 and 100),
    rule_id uuid,
    -- The event that it tells of.
    event_id text not null check (length(event_id) between 1 and 300),
    event_type text not null,
    body text not null check (octet_length(body) <= 65536),
    -- The one that it repeats because somebody wanted so.
    redelivery_of uuid,
    state switchyard.notification_state not null default 'pending',
    attempts integer not null default 0,
    next_at timestamptz not null default now(),
    created_at timestamptz not null default now(),
    ended_at timestamptz,
    primary key (database_id, id),
    foreign key (database_id, endpoint_id) references switchyard.notification_endpoints on delete cascade,
    check ((state = 'pending') = (ended_at is null))
);
-- An event is told to an endpoint once, however many rules want it and however often it comes: the id follows from both.
create unique index notifications_by_id on switchyard.notifications (id);
create index notifications_due on switchyard.notifications (next_at) where state = 'pending';
create index notifications_ended on switchyard.notifications (ended_at) where ended_at is not null;
create index notifications_newest on switchyard.notifications (database_id, created_at, id);
create index notifications_of_endpoint on switchyard.notifications (database_id, endpoint_id, created_at, id);
call switchyard.protect('switchyard.notifications');
grant select on switchyard.notifications to switchyard_system, switchyard_tenant, switchyard_observer;

create table switchyard.notification_attempts (
    database_id uuid not null,
    notification_id uuid not null,
    number integer not null,
    at timestamptz not null default now(),
    -- What was answered, and how it began.
    status integer,
    excerpt text check (length(excerpt) <= 1000),
    -- Why there is no answer.
    problem text check (length(problem) <= 1000),
    took_ms integer not null check (took_ms >= 0),
    primary key (database_id, notification_id, number),
    foreign key (database_id, notification_id) references switchyard.notifications on delete cascade
);
call switchyard.protect('switchyard.notification_attempts');
grant select on switchyard.notification_attempts to switchyard_system, switchyard_tenant;

-- Writes down messages to be sent, in the caller's transaction; one that is there already, or whose endpoint is switched off,
-- is left out. All that who listens to `observed` may write. Returns how many.
-- p_messages: [{endpoint, rule, id, body}].
create function switchyard.write_notifications(
    p_database_id uuid, p_event_id text, p_event_type text, p_messages jsonb
) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_written integer;
begin
    insert into switchyard.notifications (
        id, database_id, endpoint_id, message_id, rule_id, event_id, event_type, body
    )
    select (m ->> 'id')::uuid, e.database_id, e.id, 'msg_' || replace(m ->> 'id', '-', ''), (m ->> 'rule')::uuid,
        p_event_id, p_event_type, m ->> 'body'
    from jsonb_array_elements(p_messages) m
    join switchyard.notification_endpoints e
        on e.database_id = p_database_id and e.id = (m ->> 'endpoint')::uuid and e.enabled
    on conflict do nothing;
    get diagnostics v_written = row_count;
    return v_written;
end
$$;
revoke execute on function switchyard.write_notifications from public;
grant execute on function switchyard.write_notifications to switchyard_observer;

-- Writes a message down once more, because somebody wanted so. Null when the tenant has none of that id.
create function switchyard.redeliver_own_notification(p_id uuid, p_new_id uuid) returns uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid;
begin
    insert into switchyard.notifications (
        id, database_id, endpoint_id, message_id, rule_id, event_id, event_type, body, redelivery_of
    )
    select p_new_id, n.database_id, n.endpoint_id, n.message_id, n.rule_id, n.event_id, n.event_type, n.body, n.id
    from switchyard.notifications n
    where n.database_id = switchyard.own_tenant() and n.id = p_id
    returning id into v_id;
    return v_id;
end
$$;
revoke execute on function switchyard.redeliver_own_notification from public;
grant execute on function switchyard.redeliver_own_notification to switchyard_tenant;

-- Gives an endpoint another secret; the one before is good for p_overlap. False when the tenant has none of that id.
create function switchyard.rotate_own_endpoint_secret(p_id uuid, p_secret bytea, p_overlap interval) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    update switchyard.notification_endpoints e
    set secret_previous = e.secret, secret_previous_until = now() + p_overlap, secret = p_secret, changed_at = now()
    where e.database_id = switchyard.own_tenant() and e.id = p_id;
    return found;
end
$$;
revoke execute on function switchyard.rotate_own_endpoint_secret from public;
grant execute on function switchyard.rotate_own_endpoint_secret to switchyard_tenant;

-- Takes up to p_limit messages that are due, for p_time at the most; after that another may take them, and its receiver tells
-- by the message's id that it has it already. At most p_per_endpoint of one endpoint, so that a slow one keeps nobody
-- waiting.
create function switchyard.take_notifications(p_time interval, p_limit integer, p_per_endpoint integer)
returns table (
    id uuid, database_id uuid, endpoint_id uuid, message_id text, body text, attempt integer, url text, secret bytea,
    secret_previous bytea
)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    return query
        with due as (
            select d.database_id, d.id, d.endpoint_id, d.next_at
            from switchyard.notifications d
            join switchyard.notification_endpoints e on e.database_id = d.database_id and e.id = d.endpoint_id
            where d.state = 'pending' and d.next_at <= now() and e.enabled
            order by d.next_at
            limit p_limit * 4
            for update of d skip locked
        ), taken as (
            update switchyard.notifications n
            set next_at = now() + p_time, attempts = n.attempts + 1
            from (
                select a.*, row_number() over (partition by a.endpoint_id order by a.next_at) as place from due a
            ) chosen
            where n.database_id = chosen.database_id and n.id = chosen.id and chosen.place <= p_per_endpoint
            returning n.*
        )
        select t.id, t.database_id, t.endpoint_id, t.message_id, t.body, t.attempts, e.url, e.secret,
            case when e.secret_previous_until > now() then e.secret_previous end
        from taken t
        join switchyard.notification_endpoints e on e.database_id = t.database_id and e.id = t.endpoint_id
        limit p_limit * 4;
end
$$;
revoke execute on function switchyard.take_notifications from public;
grant execute on function switchyard.take_notifications to switchyard_system;

-- Writes down how an attempt ended. p_outcome: `delivered`; `again`, after p_wait; `failed`, for good; `gone`, for good and
-- its endpoint with it. An endpoint that fails for longer than p_failing_max is switched off. Both, and that one is back, are
-- told on `observed`; never in event_log. Nothing when another attempt began meanwhile.
create function switchyard.end_notification(
    p_id uuid, p_attempt integer, p_status integer, p_excerpt text, p_problem text, p_took_ms integer, p_outcome text,
    p_wait interval, p_failing_max interval
) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_message switchyard.notifications;
    v_endpoint switchyard.notification_endpoints;
    v_why text;
    v_type text;
begin
    update switchyard.notifications n
    set state = case p_outcome when 'delivered' then 'delivered' when 'again' then 'pending' else 'failed' end
            ::switchyard.notification_state,
        ended_at = case when p_outcome = 'again' then null else now() end,
        next_at = case when p_outcome = 'again' then now() + p_wait else n.next_at end
    where n.id = p_id and n.attempts = p_attempt and n.state = 'pending'
    returning * into v_message;
    if v_message.id is null then
        return false;
    end if;
    insert into switchyard.notification_attempts (
        database_id, notification_id, number, status, excerpt, problem, took_ms
    ) values (
        v_message.database_id, p_id, p_attempt, p_status, left(p_excerpt, 1000), left(p_problem, 1000), p_took_ms
    );
    select * into v_endpoint from switchyard.notification_endpoints e
    where e.database_id = v_message.database_id and e.id = v_message.endpoint_id
    for update;
    if p_outcome = 'delivered' then
        update switchyard.notification_endpoints e set delivered_at = now(), failing_since = null
        where e.database_id = v_endpoint.database_id and e.id = v_endpoint.id
          and (e.failing_since is not null or e.delivered_at is null or e.delivered_at < now() - interval '1 minute');
        -- One failure and a success after it are nobody's news.
        if v_endpoint.failing_since < now() - interval '10 minutes' then
            v_type := 'dev.switchyard.notification.endpoint.recovered.v1';
            v_why := format('it answers again; it had failed since %s', v_endpoint.failing_since);
        end if;
    else
        v_why := case
            when p_outcome = 'gone' then 'it answered 410: nobody wants its messages any more'
            when v_endpoint.failing_since < now() - p_failing_max
                then format('it has failed since %s', v_endpoint.failing_since)
        end;
        if v_why is not null and v_endpoint.enabled then
            v_type := 'dev.switchyard.notification.endpoint.disabled.v1';
        end if;
        update switchyard.notification_endpoints e
        set failing_since = coalesce(e.failing_since, now()),
            enabled = e.enabled and v_why is null,
            disabled_why = coalesce(v_why, e.disabled_why),
            disabled_at = case when v_why is null then e.disabled_at else now() end
        where e.database_id = v_endpoint.database_id and e.id = v_endpoint.id;
    end if;
    if v_type is not null then
        perform switchyard.publish(
            'observed', v_endpoint.database_id, gen_random_uuid()::text, v_type, '/switchyard/cron-notify',
            v_endpoint.id::text,
            jsonb_build_object(
                'tenantid', v_endpoint.database_id,
                'severity', case when p_outcome = 'delivered' then 'info' else 'warning' end
            ),
            json_build_object('endpoint', v_endpoint.id, 'name', v_endpoint.name, 'message', v_why)
        );
    end if;
    return true;
end
$$;
revoke execute on function switchyard.end_notification from public;
grant execute on function switchyard.end_notification to switchyard_system;

-- Forgets up to p_limit messages that ended longer ago than p_keep. Returns how many.
create function switchyard.forget_notifications(p_keep interval, p_limit integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_forgotten integer;
begin
    if p_keep < interval '1 day' then
        raise exception 'messages are kept for a day at least, not for %', p_keep
            using errcode = 'invalid_parameter_value';
    end if;
    delete from switchyard.notifications n
    where n.id = any (array(
        select o.id from switchyard.notifications o where o.ended_at < now() - p_keep order by o.ended_at limit p_limit
    ));
    get diagnostics v_forgotten = row_count;
    return v_forgotten;
end
$$;
revoke execute on function switchyard.forget_notifications from public;
grant execute on function switchyard.forget_notifications to switchyard_system;

reset role;
