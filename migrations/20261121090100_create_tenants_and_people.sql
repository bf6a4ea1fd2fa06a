-- Who owns rows, who signs in, and what they may do.
set local role switchyard_owner;

-- The tenant of this transaction. Once a setting was set in a session it reads as '' and not as null after the
-- transaction, hence nullif.
create function switchyard.current_tenant() returns uuid
language sql stable parallel safe
return nullif(current_setting('switchyard.tenant', true), '')::uuid;

-- Gives a table the policies that every tenant's table has: its own rows for the tenant role, all for the others.
-- What a role may do to the rows it sees is decided by grants.
create procedure switchyard.protect(p_table regclass)
language plpgsql as $$
begin
    execute format('alter table %s enable row level security', p_table);
    execute format('alter table %s force row level security', p_table);
    execute format('create policy owner on %s to switchyard_owner using (true) with check (true)', p_table);
    execute format('create policy system on %s to switchyard_system using (true) with check (true)', p_table);
    execute format('create policy observer on %s for select to switchyard_observer using (true)', p_table);
    execute format(
        'create policy tenant on %s to switchyard_tenant
            using (database_id = switchyard.current_tenant())
            with check (database_id = switchyard.current_tenant())',
        p_table
    );
end
$$;

create table switchyard.tenants (
    database_id uuid primary key default gen_random_uuid(),
    -- For people; unique, so that a command line can use it.
    name text not null unique check (length(name) between 1 and 63),
    created_at timestamptz not null default now()
);
call switchyard.protect('switchyard.tenants');
grant select on switchyard.tenants to switchyard_system, switchyard_tenant, switchyard_observer;

create type switchyard.role as enum (
    'viewer',   -- reads everything but secrets
    'operator', -- also starts, cancels, rolls back
    'admin'     -- also changes triggers, bindings, workloads and people
);

create table switchyard.people (
    id uuid primary key default gen_random_uuid(),
    name text not null check (length(name) between 1 and 200),
    created_at timestamptz not null default now()
);

create table switchyard.memberships (
    database_id uuid not null references switchyard.tenants,
    person_id uuid not null references switchyard.people,
    role switchyard.role not null,
    primary key (database_id, person_id)
);
call switchyard.protect('switchyard.memberships');
grant select on switchyard.memberships to switchyard_tenant;

-- Tokens are 256 random bits, kept only as SHA-256: who reads the database cannot sign in.
create table switchyard.sign_in_links (
    token_hash bytea primary key check (length(token_hash) = 32),
    person_id uuid not null references switchyard.people,
    expires_at timestamptz not null,
    used_at timestamptz
);

create table switchyard.sessions (
    token_hash bytea primary key check (length(token_hash) = 32),
    person_id uuid not null references switchyard.people,
    created_at timestamptz not null default now(),
    -- Idle longer than this ends the session; moved at most once a minute.
    seen_at timestamptz not null default now(),
    expires_at timestamptz not null
);

-- A person is not a tenant's row, so the tenant role reaches people only through these functions.
create function switchyard.create_sign_in_link(p_person uuid, p_token_hash bytea, p_valid interval) returns void
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
    insert into switchyard.sign_in_links (token_hash, person_id, expires_at)
    values (p_token_hash, p_person, now() + p_valid);
end;
revoke execute on function switchyard.create_sign_in_link from public;

-- Opens a session for a link that is unused and not expired; null otherwise. A link works once.
create function switchyard.open_session(p_link_hash bytea, p_session_hash bytea, p_valid interval) returns uuid
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
    with used as (
        update switchyard.sign_in_links
        set used_at = now()
        where token_hash = p_link_hash
          and used_at is null
          and expires_at > now()
        returning person_id
    )
    insert into switchyard.sessions (token_hash, person_id, expires_at)
    select p_session_hash, person_id, now() + p_valid from used
    returning person_id;
end;
revoke execute on function switchyard.open_session from public;
grant execute on function switchyard.open_session to switchyard_tenant;

-- Who a session belongs to, one row per tenant the person is a member of; none when it is over.
create function switchyard.session(p_session_hash bytea, p_idle interval)
returns table (person_id uuid, person_name text, database_id uuid, tenant_name text, role switchyard.role)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    update switchyard.sessions s
    set seen_at = now()
    where s.token_hash = p_session_hash
      and s.seen_at < now() - interval '1 minute'
      and s.seen_at > now() - p_idle
      and s.expires_at > now();
    return query
        select p.id, p.name, m.database_id, t.name, m.role
        from switchyard.sessions s
        join switchyard.people p on p.id = s.person_id
        join switchyard.memberships m on m.person_id = p.id
        join switchyard.tenants t on t.database_id = m.database_id
        where s.token_hash = p_session_hash
          and s.seen_at > now() - p_idle
          and s.expires_at > now()
        order by t.name;
end
$$;
revoke execute on function switchyard.session from public;
grant execute on function switchyard.session to switchyard_tenant;

create function switchyard.close_session(p_session_hash bytea) returns void
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
    delete from switchyard.sessions where token_hash = p_session_hash;
end;
revoke execute on function switchyard.close_session from public;
grant execute on function switchyard.close_session to switchyard_tenant;

reset role;
