-- Credentials for more than Git and registries, and whether each still opens what it is for: looked at by the clock, so that
-- people are told before work fails.
set local role switchyard_owner;

create type switchyard.credential_kind as enum (
    'git',      -- a user and a password or token of a Git host
    'registry', -- the same of a registry of images
    's3',       -- an access key and its secret, for a bucket
    'kube',     -- a token of a cluster's API
    'aws',      -- an access key and its secret
    'azure',    -- a client's id and its secret
    'gcp'       -- a service account's key file
);
create type switchyard.credential_state as enum (
    'unchecked', -- nobody has looked, or there is nothing to look at with it
    'good',      -- it opened what it is for
    'ending',    -- it does, and will end soon
    'bad',       -- it was refused: what needs it will fail
    'unsure'     -- whom it is for did not answer
);
alter table switchyard.credentials
    add column kind switchyard.credential_kind not null default 'git',
    -- What a look needs besides: {repository}, {bucket, region}, {region}, {directory, scope} ….
    add column config jsonb not null default '{}' check (octet_length(config::text) <= 4096),
    add column state switchyard.credential_state not null default 'unchecked',
    -- Why, in words; also when it ends.
    add column problem text check (length(problem) <= 2000),
    add column checked_at timestamptz,
    -- When it ends by itself, where it says so.
    add column ends_at timestamptz,
    -- When it is looked at next; moved ahead by who takes it.
    add column next_at timestamptz not null default now(),
    -- Which look it is: one that took too long, or began before the secret was written anew, changes nothing.
    add column look bigint not null default 0,
    -- Looks in a row that nobody answered.
    add column failures integer not null default 0;
update switchyard.credentials c
set kind = 'registry'
where exists (
    select from switchyard.places p
    where p.database_id = c.database_id and p.credential_id = c.id and p.kind = 'registry'
);
create unique index credentials_by_id on switchyard.credentials (id);
create index credentials_due on switchyard.credentials (next_at);
grant select (kind, config, state, problem, checked_at, ends_at, next_at, look, failures),
    update (config, state, problem, checked_at, ends_at, next_at, look, failures)
    on switchyard.credentials to switchyard_tenant;

-- What would fail without a credential: workspaces and triggers, by name.
create function switchyard.credential_uses(p_database_id uuid, p_credential uuid) returns text[]
language sql stable set search_path = pg_catalog, pg_temp
begin atomic
    select coalesce(array_agg(u.name order by u.name), '{}')
    from (
        (
            select 'workspace ' || w.name as name from switchyard.workspaces w
            where w.database_id = p_database_id and w.credential_id = p_credential
            order by w.name
            limit 20
        )
        union all
        (
            select 'trigger ' || t.name
            from switchyard.places p
            join switchyard.watches w on w.database_id = p.database_id and w.place_id = p.id
            join switchyard.triggers t on t.database_id = w.database_id and t.id = w.trigger_id
            where p.database_id = p_database_id and p.credential_id = p_credential
            order by t.name
            limit 20
        )
    ) u;
end;
revoke execute on function switchyard.credential_uses from public;
grant execute on function switchyard.credential_uses to switchyard_system, switchyard_tenant;

-- Takes up to p_limit credentials that are due for a look, for p_time at the most; after that another may take them.
create function switchyard.take_credentials(p_time interval, p_limit integer) returns setof switchyard.credentials
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    return query
        update switchyard.credentials c
        set next_at = now() + p_time, look = c.look + 1
        from (
            select d.database_id, d.id
            from switchyard.credentials d
            where d.next_at <= now()
            order by d.next_at
            limit p_limit
            for update skip locked
        ) due
        where c.database_id = due.database_id and c.id = due.id
        returning c.*;
end
$$;
revoke execute on function switchyard.take_credentials from public;
grant execute on function switchyard.take_credentials to switchyard_system;

-- Writes down what a look found, or nothing when another began meanwhile. When a credential turns bad or is about to end,
-- people are told what will fail; when it is good again, that too. Says whether it was told.
create function switchyard.end_credential_check(
    p_credential uuid, p_look bigint, p_state switchyard.credential_state, p_problem text, p_ends_at timestamptz,
    p_again interval
) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_before switchyard.credential_state;
    v_credential switchyard.credentials;
    v_uses text[];
    v_message text;
begin
    select c.state into v_before from switchyard.credentials c
    where c.id = p_credential and c.look = p_look
    for update;
    if v_before is null then
        return false;
    end if;
    update switchyard.credentials c
    set -- That nobody answers now says nothing of what is known already.
        state = case when p_state = 'unsure' and v_before in ('bad', 'ending') then v_before else p_state end,
        problem = left(p_problem, 2000), checked_at = now(), ends_at = p_ends_at,
        failures = case when p_state = 'unsure' then c.failures + 1 else 0 end,
        next_at = now() + (1 + random() / 10) * case
            when p_state = 'unsure' then least(interval '1 minute' * power(2, least(c.failures, 10)), p_again)
            else p_again
        end
    where c.id = p_credential
    returning * into v_credential;
    if v_credential.state = v_before or v_credential.state not in ('bad', 'ending')
        and not (v_before in ('bad', 'ending') and v_credential.state = 'good')
    then
        return false;
    end if;
    v_uses := switchyard.credential_uses(v_credential.database_id, v_credential.id);
    v_message := case v_credential.state
        when 'bad' then format('credential %s for %s is refused: %s', v_credential.name, v_credential.host, p_problem)
        when 'ending' then format('credential %s for %s ends soon: %s', v_credential.name, v_credential.host, p_problem)
        else format('credential %s for %s is good again', v_credential.name, v_credential.host)
    end;
    if v_credential.state <> 'good' and cardinality(v_uses) > 0 then
        v_message := v_message || '; without it will fail: ' || array_to_string(v_uses, ', ');
    end if;
    perform switchyard.record_log(row(
        v_credential.database_id,
        case v_credential.state when 'bad' then 'error' when 'ending' then 'warning' else 'info' end,
        'credentials', v_message, null, null, null, null,
        jsonb_build_object(
            'credential', v_credential.id, 'kind', v_credential.kind, 'state', v_credential.state,
            'uses', to_jsonb(v_uses)
        )
    )::switchyard.log_entry);
    return true;
end
$$;
revoke execute on function switchyard.end_credential_check from public;
grant execute on function switchyard.end_credential_check to switchyard_system;

reset role;
