-- What is looked at by the clock besides what hooks tell: places (a Git repository, a repository of a registry), who watches
-- them, and the last state of each ref or tag that a hook or a look told of.
set local role switchyard_owner;

-- What other systems let us in with. Each is sent to its host alone.
create table switchyard.credentials (
    id uuid not null,
    database_id uuid not null references switchyard.tenants,
    -- For people.
    name text not null check (length(name) between 1 and 63),
    -- Host, with a port unless it is 443: the only one that it is sent to, besides whom that host names to hand out tokens.
    host text not null check (host ~ '^[a-z0-9.:\[\]-]{1,255}$'),
    username text not null default '' check (length(username) <= 255),
    -- Sealed under the tenant's key, bound to this row.
    secret bytea not null,
    created_at timestamptz not null default now(),
    changed_at timestamptz not null default now(),
    primary key (database_id, id),
    unique (database_id, name)
);
call switchyard.protect('switchyard.credentials');
grant select on switchyard.credentials to switchyard_system;
-- A tenant writes secrets and never reads them.
grant select (id, database_id, name, host, username, created_at, changed_at) on switchyard.credentials
    to switchyard_tenant;
grant insert, update (username, secret, changed_at), delete on switchyard.credentials to switchyard_tenant;

create type switchyard.place_kind as enum (
    'git',     -- branches and tags of a repository
    'registry' -- tags of a repository of images
);

-- What is looked at, once for all triggers of a tenant that watch it with the same credential.
create table switchyard.places (
    id uuid not null,
    database_id uuid not null references switchyard.tenants,
    kind switchyard.place_kind not null,
    -- https, without user, query and fragment: of the repository where it is Git's, of the registry where it is one.
    url text not null check (length(url) <= 2048),
    -- Within a registry; empty where the URL names the repository.
    repository text not null default '' check (length(repository) <= 255),
    credential_id uuid,
    -- When it is looked at next; moved ahead by who takes it, so that two never look at once.
    next_at timestamptz not null default now(),
    -- Which look it is: one that took too long changes nothing.
    look bigint not null default 0,
    looked_at timestamptz,
    -- Looks that failed since one did not.
    failures integer not null default 0,
    -- Why the last look failed.
    problem text check (length(problem) <= 2000),
    -- What was there when it was last looked at: name → {state, also, etag}. `also` is another name for the same state: the
    -- commit that a tag object names.
    listing jsonb not null default '{}',
    -- What the other side gave to ask with whether anything changed.
    etag text check (length(etag) <= 1000),
    primary key (database_id, id),
    unique nulls not distinct (database_id, kind, url, repository, credential_id),
    foreign key (database_id, credential_id) references switchyard.credentials
);
create unique index places_by_id on switchyard.places (id);
create index places_due on switchyard.places (kind, next_at);
call switchyard.protect('switchyard.places');
grant select on switchyard.places to switchyard_system, switchyard_tenant;
grant insert, update (next_at), delete on switchyard.places to switchyard_tenant;

create type switchyard.first_look as enum (
    'remember', -- what is there at the first look starts nothing
    'report'    -- what is there at the first look is reported as new
);

-- A trigger that is told of a place's changes.
create table switchyard.watches (
    database_id uuid not null,
    trigger_id uuid not null,
    place_id uuid not null,
    -- Between two looks; the shortest of a place's watches counts.
    interval_secs integer not null default 300 check (interval_secs between 60 and 86400),
    first_look switchyard.first_look not null default 'remember',
    -- Which refs or tags, as globs; no others are looked at.
    names text[] not null check (cardinality(names) between 1 and 50),
    -- When the first look was.
    begun_at timestamptz,
    created_at timestamptz not null default now(),
    created_by text not null check (length(created_by) between 1 and 200),
    primary key (database_id, trigger_id),
    foreign key (database_id, trigger_id) references switchyard.triggers on delete cascade,
    foreign key (database_id, place_id) references switchyard.places
);
create index watches_of_place on switchyard.watches (database_id, place_id);
call switchyard.protect('switchyard.watches');
grant select on switchyard.watches to switchyard_system, switchyard_tenant;
grant insert, update (place_id, interval_secs, first_look, names, begun_at, created_by), delete on switchyard.watches
    to switchyard_tenant;

create type switchyard.reporter as enum (
    'first', -- it was there at the first look: nobody told of it
    'hook',  -- a hook told of it
    'look',  -- a look found it
    'both'   -- both did
);

-- The last state of a ref or tag of a watched trigger, and who told of it.
create table switchyard.seen (
    database_id uuid not null,
    trigger_id uuid not null,
    -- `refs/heads/main`, `team/app:v1`.
    name text not null check (length(name) between 1 and 1024),
    -- A commit or digest; `gone` when it is not there; `?` when a hook told of a change and not what it is now.
    state text not null check (length(state) between 1 and 300),
    told_by switchyard.reporter not null,
    -- Rises when the state changes: a look that compared with an older one reports nothing.
    version bigint not null default 1,
    at timestamptz not null default now(),
    -- When it was noticed that no hook had told of what a look found.
    silent_at timestamptz,
    primary key (database_id, trigger_id, name),
    foreign key (database_id, trigger_id) references switchyard.watches on delete cascade
);
create index seen_by_look on switchyard.seen (at) where told_by = 'look' and silent_at is null;
call switchyard.protect('switchyard.seen');
grant select on switchyard.seen to switchyard_system, switchyard_tenant;

-- What an event says of a watched ref or tag: its name, its state, and whether a look told of it. Nulls when it says nothing.
create function switchyard.told_state(
    p_type text, p_data json, out name text, out state text, out told_by switchyard.reporter
)
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
declare
    v_image json := p_data -> 'image';
begin
    told_by := case when p_data ->> 'vendor' = 'poll' then 'look' else 'hook' end;
    case p_type
        when 'dev.switchyard.git.pushed.v1', 'dev.switchyard.git.tagged.v1' then
            -- What a hook announces beside a push is told by the push.
            if p_data ->> 'announced' is not null then
                return;
            end if;
            name := left(p_data ->> 'ref_name', 1024);
            state := case
                when (p_data ->> 'head_unknown')::boolean then '?'
                else coalesce(left(p_data ->> 'after', 300), 'gone')
            end;
        when 'dev.switchyard.image.pushed.v1' then
            name := left((v_image ->> 'repository') || ':' || (v_image ->> 'tag'), 1024);
            state := coalesce(left(v_image ->> 'digest', 300), '?');
        when 'dev.switchyard.image.deleted.v1' then
            name := left((v_image ->> 'repository') || ':' || (v_image ->> 'tag'), 1024);
            state := 'gone';
        else
            null;
    end case;
end
$$;

-- Takes note of what an event tells of a watched ref or tag. Says which state it repeats, when it only tells what the other
-- kind of reporter told last; null otherwise, also for what is replayed by hand and for triggers that nobody watches.
create function switchyard.see(p_event switchyard.events) returns text
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_told record;
    v_seen switchyard.seen;
begin
    if p_event.trigger_id is null or p_event.replays is not null or p_event.only_binding_id is not null then
        return null;
    end if;
    if not exists (
        select from switchyard.watches w
        where w.database_id = p_event.database_id and w.trigger_id = p_event.trigger_id
    ) then
        return null;
    end if;
    select * into v_told from switchyard.told_state(p_event.type, p_event.data);
    if v_told.name is null then
        return null;
    end if;
    insert into switchyard.seen (database_id, trigger_id, name, state, told_by)
    values (p_event.database_id, p_event.trigger_id, v_told.name, v_told.state, v_told.told_by)
    on conflict do nothing;
    if found then
        return null;
    end if;
    select * into strict v_seen from switchyard.seen s
    where s.database_id = p_event.database_id and s.trigger_id = p_event.trigger_id and s.name = v_told.name
    for update;
    -- A hook that does not say what the state is tells of what was found a moment ago; were it something newer, the next
    -- look would find it.
    if (v_seen.told_by = 'look' and v_told.told_by = 'hook' or v_seen.told_by = 'hook' and v_told.told_by = 'look')
        and (v_seen.state = v_told.state or '?' in (v_seen.state, v_told.state))
    then
        update switchyard.seen s
        set told_by = 'both', silent_at = null,
            state = case when v_told.state = '?' then s.state else v_told.state end,
            version = s.version + case when s.state = '?' then 1 else 0 end
        where s.database_id = v_seen.database_id and s.trigger_id = v_seen.trigger_id and s.name = v_seen.name;
        return case when v_told.state = '?' then v_seen.state else v_told.state end;
    end if;
    update switchyard.seen s
    set state = v_told.state, told_by = v_told.told_by, version = s.version + 1, at = now(), silent_at = null
    where s.database_id = v_seen.database_id and s.trigger_id = v_seen.trigger_id and s.name = v_seen.name;
    return null;
end
$$;
revoke execute on function switchyard.see from public;

-- As record_decisions, and before it takes note of what the event tells: where it only repeats what the other kind of
-- reporter told last, bindings that would have started something do not, by the clause `seen`.
create function switchyard.record_decisions_once(p_event_id uuid, p_decisions jsonb)
returns table (binding_id uuid, job_id bigint, outcome text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_event switchyard.events;
    v_repeats text;
    v_decisions jsonb := p_decisions;
begin
    select * into v_event from switchyard.events where id = p_event_id for update;
    if v_event.id is not null and v_event.dispatched_at is null then
        v_repeats := switchyard.see(v_event);
    end if;
    if v_repeats is not null then
        select coalesce(jsonb_agg(
            case when d ? 'clause' then d else jsonb_build_object(
                'binding', d -> 'binding', 'held', d -> 'held', 'clause', 'seen',
                'expected', 'a state that was not told of before',
                'actual', case when v_event.data ->> 'vendor' = 'poll'
                    then 'a hook told of ' else 'a look found ' end || v_repeats
            ) end
            order by n
        ), '[]') into v_decisions
        from jsonb_array_elements(p_decisions) with ordinality as a (d, n);
    end if;
    return query select * from switchyard.record_decisions(p_event_id, v_decisions);
end
$$;
revoke execute on function switchyard.record_decisions_once from public;
grant execute on function switchyard.record_decisions_once to switchyard_system;

-- Takes up to p_limit places that are due for a look, for p_time at the most; after that another may take them.
create function switchyard.take_places(p_kind switchyard.place_kind, p_time interval, p_limit integer)
returns setof switchyard.places
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    return query
        update switchyard.places p
        set next_at = now() + p_time, look = p.look + 1
        from (
            select d.database_id, d.id
            from switchyard.places d
            where d.kind = p_kind and d.next_at <= now()
              and exists (
                  select
                  from switchyard.watches w
                  join switchyard.triggers t on t.database_id = w.database_id and t.id = w.trigger_id
                  where w.database_id = d.database_id and w.place_id = d.id and t.enabled
              )
            order by d.next_at
            limit p_limit
            for update of d skip locked
        ) due
        where p.database_id = due.database_id and p.id = due.id
        returning p.*;
end
$$;
revoke execute on function switchyard.take_places from public;
grant execute on function switchyard.take_places to switchyard_system;

-- Ends a look that went well, or nothing when it took so long that another began: what was there, what the triggers that
-- watch it are to be told (each event with the version of the state that it was compared with: one that changed meanwhile is
-- left to the next look), and what is there from the first look on without being told.
-- p_events: [{trigger, name, version, id, type, source, subject, data}]; p_first: [{trigger, name, state}].
create function switchyard.end_look(
    p_place uuid, p_look bigint, p_listing jsonb, p_etag text, p_events jsonb, p_first jsonb, p_begun uuid[]
) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_place switchyard.places;
    v_event jsonb;
    v_version bigint;
    v_told integer := 0;
begin
    update switchyard.places p
    set looked_at = now(), failures = 0, problem = null, listing = p_listing, etag = p_etag,
        -- Looks of places that were made together drift apart, by a tenth at the most.
        next_at = now() + (1 + random() / 10) * make_interval(secs => coalesce((
            select min(w.interval_secs) from switchyard.watches w
            where w.database_id = p.database_id and w.place_id = p.id
        ), 300))
    where p.id = p_place and p.look = p_look
    returning * into v_place;
    if v_place.id is null then
        return 0;
    end if;
    insert into switchyard.seen (database_id, trigger_id, name, state, told_by)
    select v_place.database_id, w.trigger_id, f ->> 'name', f ->> 'state', 'first'
    from jsonb_array_elements(p_first) f
    join switchyard.watches w on w.database_id = v_place.database_id and w.trigger_id = (f ->> 'trigger')::uuid
    on conflict do nothing;
    update switchyard.watches w
    set begun_at = now()
    where w.database_id = v_place.database_id and w.trigger_id = any (p_begun) and w.place_id = v_place.id
      and w.begun_at is null;
    for v_event in
        select e from jsonb_array_elements(p_events) e order by e ->> 'trigger', e ->> 'name'
    loop
        select s.version into v_version from switchyard.seen s
        where s.database_id = v_place.database_id and s.trigger_id = (v_event ->> 'trigger')::uuid
          and s.name = v_event ->> 'name'
        for share;
        continue when coalesce(v_version, 0) <> (v_event ->> 'version')::bigint;
        continue when not exists (
            select from switchyard.watches w
            where w.database_id = v_place.database_id and w.trigger_id = (v_event ->> 'trigger')::uuid
              and w.place_id = v_place.id
        );
        if switchyard.add_event(
            v_place.database_id, (v_event ->> 'trigger')::uuid, (v_event ->> 'id')::uuid, v_event ->> 'type',
            v_event ->> 'source', v_event ->> 'subject', (v_event -> 'data')::json
        ) then
            v_told := v_told + 1;
        end if;
    end loop;
    return v_told;
end
$$;
revoke execute on function switchyard.end_look from public;
grant execute on function switchyard.end_look to switchyard_system;

-- Ends a look that failed: the next one is after p_wait where the other side said so, else twice as late as the one before, up
-- to an hour.
create function switchyard.fail_look(p_place uuid, p_look bigint, p_problem text, p_wait interval) returns void
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
    update switchyard.places p
    set failures = p.failures + 1, problem = left(p_problem, 2000), looked_at = now(),
        next_at = now() + greatest(
            least(p_wait, interval '1 day'),
            least(
                make_interval(secs => coalesce((
                    select min(w.interval_secs) from switchyard.watches w
                    where w.database_id = p.database_id and w.place_id = p.id
                ), 300) * power(2, least(p.failures, 10))),
                interval '1 hour'
            )
        )
    where p.id = p_place and p.look = p_look;
end;
revoke execute on function switchyard.fail_look from public;
grant execute on function switchyard.fail_look to switchyard_system;

reset role;
