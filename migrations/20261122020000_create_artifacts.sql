-- What work leaves behind for people and for other work: a row for each file, its bytes as a blob.
set local role switchyard_owner;

create table switchyard.artifacts (
    id uuid not null,
    database_id uuid not null references switchyard.tenants,
    -- Of which job, and of which of its claims; 0: a person's. Job 0 is the tenant's shelf, which belongs to no job.
    job_id bigint not null check (job_id >= 0),
    epoch bigint not null check (epoch >= 0 and (job_id > 0 or epoch = 0)),
    -- A relative path, for people: `plan.json`, `node_files/r1/bgp`. Never a path in a store.
    name text not null check (
        length(name) between 1 and 512 and name !~ '[[:cntrl:]\\]' and name !~ '(^|/)[.]{0,2}(/|$)'
    ),
    media_type text not null check (length(media_type) between 3 and 100),
    -- As they are read, also where they are sealed.
    bytes bigint not null check (bytes >= 0),
    sha256 bytea not null check (length(sha256) = 32),
    -- Where they are.
    blob text not null check (length(blob) between 1 and 1024),
    -- Encrypted at rest, and downloaded only by an admin, on record. Sealed and opened in one piece, so that the size is bounded.
    sealed boolean not null check (not sealed or bytes <= 67108864),
    -- Who brought it; null for a runner or a task.
    uploaded_by text check (length(uploaded_by) between 1 and 200),
    created_at timestamptz not null default clock_timestamp(),
    primary key (database_id, id),
    unique (database_id, job_id, epoch, name)
);
call switchyard.protect('switchyard.artifacts');
create index artifacts_of_job on switchyard.artifacts (database_id, job_id, id);
create index artifacts_by_age on switchyard.artifacts (created_at) where job_id > 0;
grant select on switchyard.artifacts to switchyard_system, switchyard_tenant, switchyard_observer;

-- Places in the store that are written to, or that are to be cleared. An artifact has the id of the upload that brought it, and
-- all its blobs are below that id, so that nothing in the store is without a row.
create table switchyard.artifact_uploads (
    id uuid not null,
    database_id uuid not null references switchyard.tenants,
    job_id bigint not null,
    epoch bigint not null,
    name text not null,
    -- What is there so far, by the largest piece.
    bytes bigint not null default 0 check (bytes >= 0),
    touched_at timestamptz not null default clock_timestamp(),
    -- Since when it is to be cleared: what belongs to no artifact goes.
    dropped_at timestamptz,
    primary key (database_id, id)
);
call switchyard.protect('switchyard.artifact_uploads');
create unique index artifact_uploads_open on switchyard.artifact_uploads (database_id, job_id, epoch, name)
    where dropped_at is null;
create index artifact_uploads_idle on switchyard.artifact_uploads (touched_at) where dropped_at is null;
create index artifact_uploads_dropped on switchyard.artifact_uploads (dropped_at) where dropped_at is not null;
grant select on switchyard.artifact_uploads to switchyard_system;

-- What a tenant keeps, and may keep. Without a row: nothing, and the defaults.
create table switchyard.artifact_quotas (
    database_id uuid primary key references switchyard.tenants,
    bytes bigint not null default 0 check (bytes >= 0),
    artifacts bigint not null default 0 check (artifacts >= 0),
    -- Null: 20 GiB.
    bytes_max bigint check (bytes_max >= 0),
    -- Of one; null: 1 GiB.
    artifact_bytes_max bigint check (artifact_bytes_max >= 0)
);
call switchyard.protect('switchyard.artifact_quotas');
grant select on switchyard.artifact_quotas to switchyard_system, switchyard_tenant, switchyard_observer;

-- Null when a tenant may keep so much more in one artifact and in all; `too_large` or `full` when not. p_wait: the tenant's
-- row is kept until the transaction ends, so that what is counted next is exact.
create function switchyard.artifact_room(p_database_id uuid, p_bytes bigint, p_but uuid, p_wait boolean) returns text
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_quota switchyard.artifact_quotas;
    v_coming bigint;
begin
    if p_wait then
        insert into switchyard.artifact_quotas (database_id) values (p_database_id) on conflict do nothing;
        select * into v_quota from switchyard.artifact_quotas where database_id = p_database_id for no key update;
    else
        select * into v_quota from switchyard.artifact_quotas where database_id = p_database_id;
    end if;
    if p_bytes > coalesce(v_quota.artifact_bytes_max, 1073741824) then
        return 'too_large';
    end if;
    select coalesce(sum(bytes), 0) into v_coming from switchyard.artifact_uploads
    where database_id = p_database_id and dropped_at is null and id is distinct from p_but;
    if coalesce(v_quota.bytes, 0) + v_coming + p_bytes > coalesce(v_quota.bytes_max, 21474836480)
        or coalesce(v_quota.artifacts, 0) >= 1000000
    then
        return 'full';
    end if;
    return null;
end
$$;
revoke execute on function switchyard.artifact_room from public;

-- Whether a claim of a job may still leave something: null when it may, else `stale` or `unknown`. The job keeps its epoch
-- until the transaction ends.
create function switchyard.artifact_fence(p_database_id uuid, p_job_id bigint, p_epoch bigint) returns text
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    perform from switchyard.jobs
    where database_id = p_database_id and id = p_job_id and epoch = p_epoch and state in ('running', 'waiting', 'cancelling')
      and waiting is distinct from 'approval'
    for share;
    if found then
        return null;
    end if;
    return case when switchyard.artifact_job(p_database_id, p_job_id) then 'stale' else 'unknown' end;
end
$$;

create function switchyard.artifact_job(p_database_id uuid, p_job_id bigint) returns boolean
language sql stable set search_path = pg_catalog, pg_temp
begin atomic
    select p_job_id = 0
        or exists (select from switchyard.jobs where database_id = p_database_id and id = p_job_id)
        or exists (select from switchyard.jobs_archive where database_id = p_database_id and id = p_job_id);
end;
revoke execute on function switchyard.artifact_fence from public;
revoke execute on function switchyard.artifact_job from public;

-- The place for an artifact's bytes: p_id, or the one that was begun for this name. p_bytes: what is there of them then.
create function switchyard.open_upload(
    p_database_id uuid, p_job_id bigint, p_epoch bigint, p_name text, p_bytes bigint, p_id uuid
) returns table (outcome text, id uuid)
language plpgsql set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_open switchyard.artifact_uploads;
    v_refused text;
begin
    select * into v_open from switchyard.artifact_uploads u
    where u.database_id = p_database_id and u.job_id = p_job_id and u.epoch = p_epoch and u.name = p_name
      and u.dropped_at is null;
    v_refused := switchyard.artifact_room(p_database_id, p_bytes, v_open.id, false);
    if v_refused is null and v_open.id is null and (
        select count(*) from (
            select from switchyard.artifacts a
            where a.database_id = p_database_id and a.job_id = p_job_id and a.epoch = p_epoch and p_job_id > 0
            union all
            select from switchyard.artifact_uploads u
            where u.database_id = p_database_id and u.job_id = p_job_id and u.epoch = p_epoch and u.dropped_at is null
            limit 10000
        ) c
    ) >= 10000 then
        v_refused := 'too_many';
    end if;
    if v_refused is not null then
        return query select v_refused, null::uuid;
        return;
    end if;
    return query
        insert into switchyard.artifact_uploads as u (id, database_id, job_id, epoch, name, bytes)
        values (p_id, p_database_id, p_job_id, p_epoch, p_name, p_bytes)
        on conflict (database_id, job_id, epoch, name) where dropped_at is null
        do update set bytes = greatest(u.bytes, excluded.bytes), touched_at = clock_timestamp()
        returning 'open'::text, u.id;
end
$$;
revoke execute on function switchyard.open_upload from public;

-- The same for who holds a job. `stale` when the hold is over, `unknown` when the tenant has no such job.
create function switchyard.stage_artifact(
    p_database_id uuid, p_job_id bigint, p_epoch bigint, p_name text, p_bytes bigint, p_id uuid
) returns table (outcome text, id uuid)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_refused constant text := switchyard.artifact_fence(p_database_id, p_job_id, p_epoch);
begin
    if v_refused is not null then
        return query select v_refused, null::uuid;
    else
        return query select o.* from switchyard.open_upload(p_database_id, p_job_id, p_epoch, p_name, p_bytes, p_id) o;
    end if;
end
$$;
revoke execute on function switchyard.stage_artifact from public;
grant execute on function switchyard.stage_artifact to switchyard_system;

-- Writes an artifact's row when its bytes are there and are what was said. Answers `added`; `present` with the first one's id
-- when the same is there under this name; `differs` when something else is; `gone` when its place is to be cleared; `full` or
-- `too_large`.
create function switchyard.write_artifact(
    p_database_id uuid, p_job_id bigint, p_epoch bigint, p_id uuid, p_name text, p_media_type text, p_bytes bigint,
    p_sha256 bytea, p_blob text, p_sealed boolean, p_by text
) returns table (outcome text, id uuid)
language plpgsql set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_there switchyard.artifacts;
    v_refused text;
begin
    -- Also keeps two of one name from being written at once.
    v_refused := switchyard.artifact_room(p_database_id, p_bytes, p_id, true);
    select * into v_there from switchyard.artifacts a
    where a.database_id = p_database_id and a.job_id = p_job_id and a.epoch = p_epoch and a.name = p_name;
    if v_there.id is not null then
        return query select
            case when v_there.sha256 = p_sha256 and v_there.sealed = p_sealed then 'present' else 'differs' end, v_there.id;
        return;
    elsif v_refused is not null then
        return query select v_refused, null::uuid;
        return;
    end if;
    -- What was staged goes; the artifact stays.
    update switchyard.artifact_uploads u
    set dropped_at = clock_timestamp()
    where u.database_id = p_database_id and u.id = p_id and u.dropped_at is null
      and u.job_id = p_job_id and u.epoch = p_epoch and u.name = p_name;
    if not found then
        return query select 'gone', null::uuid;
        return;
    end if;
    insert into switchyard.artifacts (
        id, database_id, job_id, epoch, name, media_type, bytes, sha256, blob, sealed, uploaded_by
    ) values (
        p_id, p_database_id, p_job_id, p_epoch, p_name, p_media_type, p_bytes, p_sha256, p_blob, p_sealed, p_by
    );
    update switchyard.artifact_quotas q
    set bytes = q.bytes + p_bytes, artifacts = q.artifacts + 1
    where q.database_id = p_database_id;
    return query select 'added', p_id;
end
$$;
revoke execute on function switchyard.write_artifact from public;

-- The same for who holds a job.
create function switchyard.add_artifact(
    p_database_id uuid, p_job_id bigint, p_epoch bigint, p_id uuid, p_name text, p_media_type text, p_bytes bigint,
    p_sha256 bytea, p_blob text, p_sealed boolean
) returns table (outcome text, id uuid)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_refused constant text := switchyard.artifact_fence(p_database_id, p_job_id, p_epoch);
begin
    if v_refused is not null then
        return query select v_refused, null::uuid;
    else
        return query select w.* from switchyard.write_artifact(
            p_database_id, p_job_id, p_epoch, p_id, p_name, p_media_type, p_bytes, p_sha256, p_blob, p_sealed, null
        ) w;
    end if;
end
$$;
revoke execute on function switchyard.add_artifact from public;
grant execute on function switchyard.add_artifact to switchyard_system;

-- Lets an upload go that came to nothing. False when there is none that is open.
create function switchyard.drop_upload(p_database_id uuid, p_id uuid) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    update switchyard.artifact_uploads
    set dropped_at = clock_timestamp()
    where database_id = p_database_id and id = p_id and dropped_at is null;
    return found;
end
$$;
revoke execute on function switchyard.drop_upload from public;
grant execute on function switchyard.drop_upload to switchyard_system;

-- A person's: to a job of the tenant, whatever became of it, or to its shelf (job 0).
create function switchyard.stage_own_artifact(p_job_id bigint, p_name text, p_bytes bigint, p_id uuid)
returns table (outcome text, id uuid)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if not switchyard.artifact_job(switchyard.asking_tenant(), p_job_id) then
        return query select 'unknown', null::uuid;
    else
        return query select o.* from switchyard.open_upload(switchyard.asking_tenant(), p_job_id, 0, p_name, p_bytes, p_id) o;
    end if;
end
$$;
revoke execute on function switchyard.stage_own_artifact from public;
grant execute on function switchyard.stage_own_artifact to switchyard_tenant;

create function switchyard.add_own_artifact(
    p_job_id bigint, p_id uuid, p_name text, p_media_type text, p_bytes bigint, p_sha256 bytea, p_blob text,
    p_sealed boolean, p_by text
) returns table (outcome text, id uuid)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_tenant constant uuid := switchyard.asking_tenant();
    v_outcome text;
    v_id uuid;
begin
    if not switchyard.artifact_job(v_tenant, p_job_id) then
        return query select 'unknown', null::uuid;
        return;
    end if;
    select w.outcome, w.id into v_outcome, v_id from switchyard.write_artifact(
        v_tenant, p_job_id, 0, p_id, p_name, p_media_type, p_bytes, p_sha256, p_blob, p_sealed, p_by
    ) w;
    if v_outcome = 'added' then
        perform switchyard.record_deed(
            'artifact_upload', v_tenant, p_by, null,
            jsonb_build_object('artifact', v_id, 'name', p_name, 'job', nullif(p_job_id, 0), 'sha256', encode(p_sha256, 'hex'))
        );
    end if;
    return query select v_outcome, v_id;
end
$$;
revoke execute on function switchyard.add_own_artifact from public;
grant execute on function switchyard.add_own_artifact to switchyard_tenant;

create function switchyard.drop_own_upload(p_id uuid) returns boolean
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
    select switchyard.drop_upload(switchyard.asking_tenant(), p_id);
end;
revoke execute on function switchyard.drop_own_upload from public;
grant execute on function switchyard.drop_own_upload to switchyard_tenant;

-- Takes artifacts out of what is kept; their blobs go when cron-retention comes by. Returns how many.
create function switchyard.take_out_artifacts(p_database_ids uuid[], p_ids uuid[]) returns integer
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_taken integer;
begin
    -- Quotas in their order, and before the rows, as who writes one.
    perform from switchyard.artifact_quotas q
    where q.database_id = any (p_database_ids)
    order by q.database_id
    for no key update;
    with gone as (
        delete from switchyard.artifacts a
        using unnest(p_database_ids, p_ids) as g (database_id, id)
        where a.database_id = g.database_id and a.id = g.id
        returning a.*
    ), cleared as (
        insert into switchyard.artifact_uploads as u (id, database_id, job_id, epoch, name, dropped_at)
        select id, database_id, job_id, epoch, name, clock_timestamp() from gone
        on conflict (database_id, id) do update set dropped_at = excluded.dropped_at
    ), counted as (
        update switchyard.artifact_quotas q
        set bytes = q.bytes - g.bytes, artifacts = q.artifacts - g.artifacts
        from (select database_id, sum(bytes) as bytes, count(*) as artifacts from gone group by 1) g
        where q.database_id = g.database_id
    )
    select count(*) into v_taken from gone;
    return v_taken;
end
$$;
revoke execute on function switchyard.take_out_artifacts from public;

-- A person lets an artifact go. False when the tenant has none of that id.
create function switchyard.remove_own_artifact(p_id uuid, p_by text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant constant uuid := switchyard.asking_tenant();
    v_artifact switchyard.artifacts;
begin
    select * into v_artifact from switchyard.artifacts where database_id = v_tenant and id = p_id;
    if v_artifact.id is null or switchyard.take_out_artifacts(array[v_tenant], array[p_id]) = 0 then
        return false;
    end if;
    perform switchyard.record_deed(
        'artifact_delete', v_tenant, p_by, null,
        jsonb_build_object(
            'artifact', p_id, 'name', v_artifact.name, 'job', nullif(v_artifact.job_id, 0),
            'sha256', encode(v_artifact.sha256, 'hex')
        )
    );
    return true;
end
$$;
revoke execute on function switchyard.remove_own_artifact from public;
grant execute on function switchyard.remove_own_artifact to switchyard_tenant;

-- On record that somebody downloads an artifact, which is sealed. False when the tenant has none of that id.
create function switchyard.note_own_artifact_read(p_id uuid, p_by text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant constant uuid := switchyard.asking_tenant();
    v_artifact switchyard.artifacts;
begin
    select * into v_artifact from switchyard.artifacts where database_id = v_tenant and id = p_id;
    if v_artifact.id is null then
        return false;
    end if;
    perform switchyard.record_deed(
        'artifact_download', v_tenant, p_by, null,
        jsonb_build_object('artifact', p_id, 'name', v_artifact.name, 'job', nullif(v_artifact.job_id, 0))
    );
    return true;
end
$$;
revoke execute on function switchyard.note_own_artifact_read from public;
grant execute on function switchyard.note_own_artifact_read to switchyard_tenant;

-- What a tenant may keep: in all, and in one artifact, in bytes; null for the default.
create function switchyard.set_artifact_quota(p_database_id uuid, p_bytes_max bigint, p_artifact_bytes_max bigint, p_by text)
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    insert into switchyard.artifact_quotas (database_id, bytes_max, artifact_bytes_max)
    values (p_database_id, p_bytes_max, p_artifact_bytes_max)
    on conflict (database_id) do update
    set bytes_max = excluded.bytes_max, artifact_bytes_max = excluded.artifact_bytes_max;
    perform switchyard.record_deed(
        'artifact_quota', p_database_id, p_by, null,
        jsonb_build_object('bytes_max', p_bytes_max, 'artifact_bytes_max', p_artifact_bytes_max)
    );
end
$$;
revoke execute on function switchyard.set_artifact_quota from public;
grant execute on function switchyard.set_artifact_quota to switchyard_system;

-- Takes out up to p_limit artifacts of jobs that have ended and that are older than p_keep; the shelf is a person's to clear.
-- Returns how many.
create function switchyard.forget_artifacts(p_keep interval, p_limit integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenants uuid[];
    v_ids uuid[];
begin
    if p_keep < interval '1 day' then
        raise exception 'artifacts are kept for a day at least, not for %', p_keep
            using errcode = 'invalid_parameter_value';
    end if;
    select array_agg(o.database_id), array_agg(o.id) into v_tenants, v_ids
    from (
        select a.database_id, a.id
        from switchyard.artifacts a
        where a.job_id > 0 and a.created_at < now() - p_keep
          and not exists (select from switchyard.jobs j where j.id = a.job_id)
        order by a.created_at
        limit p_limit
    ) o;
    return case when v_ids is null then 0 else switchyard.take_out_artifacts(v_tenants, v_ids) end;
end
$$;
revoke execute on function switchyard.forget_artifacts from public;
grant execute on function switchyard.forget_artifacts to switchyard_system;

-- Gives up to p_limit uploads up to be cleared that nobody goes on with: not touched for p_idle, or for an hour when the claim
-- that began it is over. Returns how many.
create function switchyard.drop_idle_uploads(p_idle interval, p_limit integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_dropped integer;
begin
    if p_idle < interval '1 hour' then
        raise exception 'an upload may rest for an hour at least, not for %', p_idle
            using errcode = 'invalid_parameter_value';
    end if;
    with idle as (
        select u.database_id, u.id
        from switchyard.artifact_uploads u
        where u.dropped_at is null and u.touched_at < now() - interval '1 hour'
          and (
              u.touched_at < now() - p_idle
              or u.job_id > 0 and u.epoch > 0 and not exists (
                  select from switchyard.jobs j where j.id = u.job_id and j.epoch = u.epoch and j.state <> 'queued'
              )
          )
        order by u.touched_at
        limit p_limit
        for update skip locked
    )
    update switchyard.artifact_uploads u
    set dropped_at = clock_timestamp()
    from idle
    where u.database_id = idle.database_id and u.id = idle.id;
    get diagnostics v_dropped = row_count;
    return v_dropped;
end
$$;
revoke execute on function switchyard.drop_idle_uploads from public;
grant execute on function switchyard.drop_idle_uploads to switchyard_system;

-- That the blobs of an upload were cleared which was given up then. False when it was given up again meanwhile, because its
-- artifact went too.
create function switchyard.forget_upload(p_database_id uuid, p_id uuid, p_dropped_at timestamptz) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    delete from switchyard.artifact_uploads
    where database_id = p_database_id and id = p_id and dropped_at = p_dropped_at;
    return found;
end
$$;
revoke execute on function switchyard.forget_upload from public;
grant execute on function switchyard.forget_upload to switchyard_system;

reset role;
