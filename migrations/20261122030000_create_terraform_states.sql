-- What terraform knows of what it made: states with their history, and who holds their locks.
set local role switchyard_owner;

create table switchyard.terraform_states (
    id uuid not null,
    database_id uuid not null references switchyard.tenants,
    name text not null check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$'),
    -- The version that counts; null while there is none.
    current bigint,
    -- The number of the last version.
    versions bigint not null default 0,
    -- What terraform sent when it took the lock; null while nobody holds it.
    lock_id text check (length(lock_id) between 1 and 100),
    lock_holder jsonb check (length(lock_holder::text) <= 16384),
    locked_at timestamptz,
    locked_by text check (length(locked_by) <= 200),
    -- The run that holds it; null for a person.
    lock_job_id bigint,
    lock_epoch bigint,
    created_at timestamptz not null default clock_timestamp(),
    primary key (database_id, id),
    unique (database_id, name),
    constraint a_lock_is_whole check (
        (lock_id is null) = (lock_holder is null) and (lock_id is null) = (locked_at is null)
        and (lock_id is null) = (locked_by is null) and (lock_job_id is null) = (lock_epoch is null)
        and (lock_id is not null or lock_job_id is null)
    )
);
call switchyard.protect('switchyard.terraform_states');
create index terraform_states_locked on switchyard.terraform_states (lock_job_id) where lock_job_id is not null;
grant select on switchyard.terraform_states to switchyard_system, switchyard_tenant;

create table switchyard.terraform_versions (
    database_id uuid not null,
    state_id uuid not null,
    -- From 1, in the order in which they came.
    number bigint not null check (number > 0),
    -- What it is sealed for.
    id uuid not null,
    -- Of the state itself.
    serial bigint not null check (serial >= 0),
    lineage text not null check (length(lineage) <= 600),
    terraform_version text check (length(terraform_version) <= 600),
    sha256 bytea not null check (length(sha256) = 32),
    bytes integer not null check (bytes > 0),
    sealed bytea not null,
    -- Who sent it: a run, or a person.
    by_whom text not null check (length(by_whom) between 1 and 200),
    job_id bigint,
    epoch bigint,
    created_at timestamptz not null default clock_timestamp(),
    -- Why it did not count when it came; null when it did.
    quarantined text check (length(quarantined) <= 200),
    -- Who made it the one that counts afterwards.
    promoted_by text check (length(promoted_by) <= 200),
    promoted_at timestamptz,
    primary key (database_id, state_id, number),
    foreign key (database_id, state_id) references switchyard.terraform_states on delete cascade,
    check ((promoted_by is null) = (promoted_at is null))
);
call switchyard.protect('switchyard.terraform_versions');
grant select on switchyard.terraform_versions to switchyard_system, switchyard_tenant;

-- Which version a run saw last: what a plan was made from.
create table switchyard.terraform_reads (
    database_id uuid not null,
    job_id bigint not null,
    epoch bigint not null,
    state_id uuid not null,
    -- Null: there was none.
    version bigint,
    primary key (database_id, job_id, epoch, state_id),
    foreign key (database_id, job_id, epoch) references switchyard.runs on delete cascade,
    foreign key (database_id, state_id) references switchyard.terraform_states on delete cascade
);
call switchyard.protect('switchyard.terraform_reads');
create index terraform_reads_of_state on switchyard.terraform_reads (database_id, state_id);
grant select on switchyard.terraform_reads to switchyard_system, switchyard_tenant;

-- Whether a claim's run may still write. What is over once stays over.
create function switchyard.run_is_live(p_database_id uuid, p_job_id bigint, p_epoch bigint) returns boolean
language sql stable set search_path = pg_catalog, pg_temp
begin atomic
    select exists (
        select from switchyard.runs r
        join switchyard.jobs j on j.id = r.job_id and j.epoch = r.epoch
        where r.database_id = p_database_id and r.job_id = p_job_id and r.epoch = p_epoch and r.ended_at is null
          and j.waiting = 'runner' and j.state in ('waiting', 'cancelling')
    );
end;
revoke execute on function switchyard.run_is_live from public;

-- The same for who writes: the run cannot end until this transaction has. A person, who has no run, always may.
create function switchyard.may_write(p_database_id uuid, p_job_id bigint, p_epoch bigint) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if p_job_id is null then
        return true;
    end if;
    perform from switchyard.jobs where id = p_job_id and database_id = p_database_id for share;
    return switchyard.run_is_live(p_database_id, p_job_id, p_epoch);
end
$$;
revoke execute on function switchyard.may_write from public;

-- Takes a lock from who holds it, on record.
create function switchyard.free_terraform_lock(
    p_state switchyard.terraform_states, p_deed text, p_by text, p_why text
) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    update switchyard.terraform_states
    set lock_id = null, lock_holder = null, locked_at = null, locked_by = null, lock_job_id = null, lock_epoch = null
    where database_id = p_state.database_id and id = p_state.id;
    perform switchyard.record_deed(
        p_deed, p_state.database_id, p_by, p_why,
        jsonb_build_object(
            'state', p_state.name, 'lock', p_state.lock_id, 'held_by', p_state.locked_by, 'held_since', p_state.locked_at,
            'job', p_state.lock_job_id, 'epoch', p_state.lock_epoch
        )
    );
end
$$;
revoke execute on function switchyard.free_terraform_lock from public;

-- The state of this name, locked in the database; made when there is none and not too many. Of what an ended run still holds
-- it is freed first.
create function switchyard.own_up_terraform_state(p_database_id uuid, p_id uuid, p_name text)
returns switchyard.terraform_states
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_state switchyard.terraform_states;
begin
    insert into switchyard.terraform_states (id, database_id, name)
    select p_id, p_database_id, p_name
    where not exists (select from switchyard.terraform_states where database_id = p_database_id and name = p_name)
      and (select count(*) from switchyard.terraform_states where database_id = p_database_id) < 1000
    on conflict do nothing;
    select * into v_state from switchyard.terraform_states
    where database_id = p_database_id and name = p_name
    for update;
    if v_state.lock_job_id is not null
        and not switchyard.run_is_live(p_database_id, v_state.lock_job_id, v_state.lock_epoch)
    then
        perform switchyard.free_terraform_lock(
            v_state, 'release_state_lock', 'switchyard', 'the run that held it is over'
        );
        select * into v_state from switchyard.terraform_states where database_id = p_database_id and id = v_state.id;
    end if;
    return v_state;
end
$$;
revoke execute on function switchyard.own_up_terraform_state from public;

-- Takes a state's lock. `locked`, also when it is asked again for the same; `held` with what its holder sent; `ended` when the
-- asking run is over; `full` when there are too many states.
create function switchyard.lock_terraform_state(
    p_database_id uuid, p_id uuid, p_name text, p_lock_id text, p_holder jsonb, p_by text, p_job_id bigint, p_epoch bigint
) returns table (outcome text, holder jsonb)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_state switchyard.terraform_states;
begin
    if not switchyard.may_write(p_database_id, p_job_id, p_epoch) then
        return query select 'ended', null::jsonb;
        return;
    end if;
    v_state := switchyard.own_up_terraform_state(p_database_id, p_id, p_name);
    if v_state.id is null then
        return query select 'full', null::jsonb;
    elsif v_state.lock_id is not null then
        return query select case when v_state.lock_id = p_lock_id then 'locked' else 'held' end, v_state.lock_holder;
    else
        update switchyard.terraform_states
        set lock_id = p_lock_id, lock_holder = p_holder, locked_at = clock_timestamp(), locked_by = p_by,
            lock_job_id = p_job_id, lock_epoch = p_epoch
        where database_id = p_database_id and id = v_state.id;
        return query select 'locked', p_holder;
    end if;
end
$$;
revoke execute on function switchyard.lock_terraform_state from public;
grant execute on function switchyard.lock_terraform_state to switchyard_system;

-- Gives a lock back. `free` also when nobody holds it; `held` when it is another one; `ended` when the asking run is over.
create function switchyard.unlock_terraform_state(
    p_database_id uuid, p_name text, p_lock_id text, p_job_id bigint, p_epoch bigint
) returns table (outcome text, holder jsonb)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_state switchyard.terraform_states;
begin
    if not switchyard.may_write(p_database_id, p_job_id, p_epoch) then
        return query select 'ended', null::jsonb;
        return;
    end if;
    select * into v_state from switchyard.terraform_states
    where database_id = p_database_id and name = p_name
    for update;
    if v_state.lock_id is distinct from p_lock_id and v_state.lock_id is not null then
        return query select 'held', v_state.lock_holder;
        return;
    end if;
    update switchyard.terraform_states
    set lock_id = null, lock_holder = null, locked_at = null, locked_by = null, lock_job_id = null, lock_epoch = null
    where database_id = p_database_id and id = v_state.id and lock_id is not null;
    return query select 'free', null::jsonb;
end
$$;
revoke execute on function switchyard.unlock_terraform_state from public;
grant execute on function switchyard.unlock_terraform_state to switchyard_system;

-- Takes a version of a state. `stored`; `same` when it is the one that counts already; `held` when somebody else holds the lock
-- and it was sent without one; `quarantined` when it was sent by a run that is over, or under a lock that is not held any more:
-- it is kept and does not count; `full` when there are too many states. Of the versions that counted the last 100 are kept, of
-- the others the last 20.
create function switchyard.write_terraform_state(
    p_database_id uuid, p_id uuid, p_name text, p_lock_id text, p_version_id uuid, p_serial bigint, p_lineage text,
    p_terraform_version text, p_sha256 bytea, p_bytes integer, p_sealed bytea, p_by text, p_job_id bigint, p_epoch bigint
) returns table (outcome text, version bigint, why text, holder jsonb)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_live boolean := switchyard.may_write(p_database_id, p_job_id, p_epoch);
    v_state switchyard.terraform_states;
    v_why text;
begin
    v_state := switchyard.own_up_terraform_state(p_database_id, p_id, p_name);
    if v_state.id is null then
        return query select 'full', null::bigint, null::text, null::jsonb;
        return;
    end if;
    if not v_live then
        v_why := 'the run that sent it was over';
    elsif v_state.lock_id is null and p_lock_id is not null then
        v_why := 'the lock that it was sent under had been taken away';
    elsif v_state.lock_id is not null and p_lock_id is null then
        return query select 'held', null::bigint, null::text, v_state.lock_holder;
        return;
    elsif v_state.lock_id <> p_lock_id then
        v_why := 'somebody else held the lock';
    end if;
    if exists (
        select from switchyard.terraform_versions v
        where v.database_id = p_database_id and v.state_id = v_state.id and v.number = v_state.current
          and v.sha256 = p_sha256
    ) then
        return query select 'same', v_state.current, null::text, null::jsonb;
        return;
    end if;
    insert into switchyard.terraform_versions (
        database_id, state_id, number, id, serial, lineage, terraform_version, sha256, bytes, sealed, by_whom, job_id, epoch,
        quarantined
    ) values (
        p_database_id, v_state.id, v_state.versions + 1, p_version_id, p_serial, p_lineage, p_terraform_version, p_sha256,
        p_bytes, p_sealed, p_by, p_job_id, p_epoch, v_why
    );
    update switchyard.terraform_states
    set versions = v_state.versions + 1, current = case when v_why is null then v_state.versions + 1 else current end
    where database_id = p_database_id and id = v_state.id
    returning * into v_state;
    delete from switchyard.terraform_versions v
    using (
        select k.number, row_number() over (partition by k.quarantined is null order by k.number desc) as place, k.quarantined
        from switchyard.terraform_versions k
        where k.database_id = p_database_id and k.state_id = v_state.id
    ) old
    where v.database_id = p_database_id and v.state_id = v_state.id and v.number = old.number
      and v.number is distinct from v_state.current
      and old.place > case when old.quarantined is null then 100 else 20 end;
    if v_why is not null then
        perform switchyard.record_deed(
            'quarantine_state', p_database_id, p_by, v_why,
            jsonb_build_object('state', p_name, 'version', v_state.versions, 'job', p_job_id, 'epoch', p_epoch)
        );
    end if;
    return query select
        case when v_why is null then 'stored' else 'quarantined' end, v_state.versions, v_why, v_state.lock_holder;
end
$$;
revoke execute on function switchyard.write_terraform_state from public;
grant execute on function switchyard.write_terraform_state to switchyard_system;

-- The version that counts. `found`, `none`, or `ended` when the asking run is over. Of a run it is noted what it saw.
create function switchyard.read_terraform_state(p_database_id uuid, p_name text, p_job_id bigint, p_epoch bigint)
returns table (outcome text, version bigint, version_id uuid, sealed bytea)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_state switchyard.terraform_states;
begin
    if p_job_id is not null and not switchyard.run_is_live(p_database_id, p_job_id, p_epoch) then
        return query select 'ended', null::bigint, null::uuid, null::bytea;
        return;
    end if;
    select * into v_state from switchyard.terraform_states s where s.database_id = p_database_id and s.name = p_name;
    if v_state.id is not null and p_job_id is not null then
        insert into switchyard.terraform_reads as r (database_id, job_id, epoch, state_id, version)
        values (p_database_id, p_job_id, p_epoch, v_state.id, v_state.current)
        on conflict (database_id, job_id, epoch, state_id) do update set version = excluded.version
        where r.version is distinct from excluded.version;
    end if;
    if v_state.current is null then
        return query select 'none', null::bigint, null::uuid, null::bytea;
        return;
    end if;
    return query
        select 'found', v.number, v.id, v.sealed from switchyard.terraform_versions v
        where v.database_id = p_database_id and v.state_id = v_state.id and v.number = v_state.current;
end
$$;
revoke execute on function switchyard.read_terraform_state from public;
grant execute on function switchyard.read_terraform_state to switchyard_system;

-- Lets a state count as having no version; its history stays. `none` also when there is nothing; `held` when somebody holds
-- the lock; `ended` when the asking run is over.
create function switchyard.clear_terraform_state(
    p_database_id uuid, p_name text, p_by text, p_job_id bigint, p_epoch bigint
) returns table (outcome text, holder jsonb)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_state switchyard.terraform_states;
begin
    if not switchyard.may_write(p_database_id, p_job_id, p_epoch) then
        return query select 'ended', null::jsonb;
        return;
    end if;
    select * into v_state from switchyard.terraform_states
    where database_id = p_database_id and name = p_name
    for update;
    if v_state.lock_id is not null then
        return query select 'held', v_state.lock_holder;
        return;
    end if;
    if v_state.current is not null then
        update switchyard.terraform_states set current = null where database_id = p_database_id and id = v_state.id;
        perform switchyard.record_deed(
            'clear_state', p_database_id, p_by, null,
            jsonb_build_object('state', p_name, 'version', v_state.current)
        );
    end if;
    return query select 'none', null::jsonb;
end
$$;
revoke execute on function switchyard.clear_terraform_state from public;
grant execute on function switchyard.clear_terraform_state to switchyard_system;

-- Frees locks of runs that are over, on record; returns how many.
create function switchyard.free_ended_terraform_locks(p_limit integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_state switchyard.terraform_states;
    v_freed integer := 0;
begin
    for v_state in
        select * from switchyard.terraform_states s
        where s.lock_job_id is not null and not switchyard.run_is_live(s.database_id, s.lock_job_id, s.lock_epoch)
        order by s.locked_at
        limit p_limit
        for update skip locked
    loop
        perform switchyard.free_terraform_lock(
            v_state, 'release_state_lock', 'switchyard', 'the run that held it is over'
        );
        v_freed := v_freed + 1;
    end loop;
    return v_freed;
end
$$;
revoke execute on function switchyard.free_ended_terraform_locks from public;
grant execute on function switchyard.free_ended_terraform_locks to switchyard_system;

-- Puts on record that a person read a whole state, secrets and all, with their own terraform.
create function switchyard.note_terraform_read(p_database_id uuid, p_name text, p_version bigint, p_by text) returns void
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
    select switchyard.record_deed(
        'read_state', p_database_id, p_by, null, jsonb_build_object('state', p_name, 'version', p_version)
    );
end;
revoke execute on function switchyard.note_terraform_read from public;
grant execute on function switchyard.note_terraform_read to switchyard_system;

-- What people do to a tenant's own states. Each answers null when there is no such state or version.

-- Takes a lock away from whoever holds it: `unlocked`, or `other` when it is not this one any more.
create function switchyard.unlock_own_terraform_state(p_id uuid, p_lock_id text, p_by text, p_why text) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_state switchyard.terraform_states;
begin
    select * into v_state from switchyard.terraform_states
    where database_id = switchyard.own_tenant() and id = p_id
    for update;
    if v_state.id is null then
        return null;
    elsif v_state.lock_id is distinct from p_lock_id then
        return 'other';
    end if;
    perform switchyard.free_terraform_lock(v_state, 'force_unlock_state', p_by, p_why);
    return 'unlocked';
end
$$;
revoke execute on function switchyard.unlock_own_terraform_state from public;
grant execute on function switchyard.unlock_own_terraform_state to switchyard_tenant;

-- Makes a version the one that counts: `promoted`, `held` while somebody holds the lock, `same` when it is that already.
create function switchyard.promote_own_terraform_version(p_id uuid, p_number bigint, p_by text) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_state switchyard.terraform_states;
begin
    select * into v_state from switchyard.terraform_states
    where database_id = switchyard.own_tenant() and id = p_id
    for update;
    if v_state.id is null or not exists (
        select from switchyard.terraform_versions
        where database_id = v_state.database_id and state_id = p_id and number = p_number
    ) then
        return null;
    elsif v_state.lock_id is not null then
        return 'held';
    elsif v_state.current = p_number then
        return 'same';
    end if;
    update switchyard.terraform_versions set promoted_by = left(p_by, 200), promoted_at = clock_timestamp()
    where database_id = v_state.database_id and state_id = p_id and number = p_number;
    update switchyard.terraform_states set current = p_number where database_id = v_state.database_id and id = p_id;
    perform switchyard.record_deed(
        'promote_state', v_state.database_id, p_by, null,
        jsonb_build_object('state', v_state.name, 'version', p_number, 'instead_of', v_state.current)
    );
    return 'promoted';
end
$$;
revoke execute on function switchyard.promote_own_terraform_version from public;
grant execute on function switchyard.promote_own_terraform_version to switchyard_tenant;

-- Removes a state with its whole history: `removed`, or `held` while somebody holds the lock.
create function switchyard.remove_own_terraform_state(p_id uuid, p_by text) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_state switchyard.terraform_states;
begin
    select * into v_state from switchyard.terraform_states
    where database_id = switchyard.own_tenant() and id = p_id
    for update;
    if v_state.id is null then
        return null;
    elsif v_state.lock_id is not null then
        return 'held';
    end if;
    delete from switchyard.terraform_states where database_id = v_state.database_id and id = p_id;
    perform switchyard.record_deed(
        'remove_state', v_state.database_id, p_by, null,
        jsonb_build_object('state', v_state.name, 'version', v_state.current)
    );
    return 'removed';
end
$$;
revoke execute on function switchyard.remove_own_terraform_state from public;
grant execute on function switchyard.remove_own_terraform_state to switchyard_tenant;

-- Puts on record that a person took away a whole version, secrets and all. Written before they get it.
create function switchyard.note_own_terraform_download(p_id uuid, p_number bigint, p_by text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_name text;
begin
    select s.name into v_name from switchyard.terraform_states s
    join switchyard.terraform_versions v on v.database_id = s.database_id and v.state_id = s.id and v.number = p_number
    where s.database_id = switchyard.own_tenant() and s.id = p_id;
    if v_name is null then
        return false;
    end if;
    perform switchyard.record_deed(
        'download_state', switchyard.own_tenant(), p_by, null, jsonb_build_object('state', v_name, 'version', p_number)
    );
    return true;
end
$$;
revoke execute on function switchyard.note_own_terraform_download from public;
grant execute on function switchyard.note_own_terraform_download to switchyard_tenant;

-- Who sends a token with their own terraform, if they are a member of the tenant of this name or id; none otherwise.
create function switchyard.state_person(p_session_hash bytea, p_idle interval, p_tenant text)
returns table (name text, database_id uuid, role switchyard.role)
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
    select s.person_name, s.database_id, s.role from switchyard.session(p_session_hash, p_idle) s
    where s.tenant_name = p_tenant or s.database_id::text = p_tenant
    order by s.tenant_name = p_tenant desc
    limit 1;
end;
revoke execute on function switchyard.state_person from public;
grant execute on function switchyard.state_person to switchyard_system;

reset role;
