-- What in the logs people want to be told of, and how far the logs were read for it.
set local role switchyard_owner;

-- What workloads say besides what their jobs say: `site` tells of requests that it could not answer.
create table switchyard.workload_logs (
    id uuid not null default gen_random_uuid(),
    database_id uuid not null,
    workload_id uuid not null,
    at timestamptz not null default clock_timestamp(),
    stream text not null check (stream in ('site')),
    line text not null check (octet_length(line) <= 17000),
    primary key (database_id, workload_id, at, id)
) partition by range (at);
call switchyard.protect('switchyard.workload_logs');
create table switchyard.workload_logs_default partition of switchyard.workload_logs default;
grant select on switchyard.workload_logs to switchyard_system, switchyard_tenant;
insert into switchyard.histories values ('workload_logs', 'at');
-- What came lately is found without an index that every line would have to be put into by its place.
create index workload_logs_at on switchyard.workload_logs using brin (at) with (pages_per_range = 16, autosummarize = on);
create index job_logs_at on switchyard.job_logs using brin (at) with (pages_per_range = 16, autosummarize = on);

-- Adds lines of workloads; lines of workloads that are gone are left out.
create function switchyard.append_workload_logs(
    p_database_ids uuid[], p_workload_ids uuid[], p_streams text[], p_lines text[]
) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_added integer;
begin
    insert into switchyard.workload_logs (database_id, workload_id, stream, line)
    select w.database_id, w.id, l.stream, l.line
    from unnest(p_database_ids, p_workload_ids, p_streams, p_lines) as l (database_id, workload_id, stream, line)
    join switchyard.workloads w on w.database_id = l.database_id and w.id = l.workload_id;
    get diagnostics v_added = row_count;
    return v_added;
end
$$;
revoke execute on function switchyard.append_workload_logs from public;
grant execute on function switchyard.append_workload_logs to switchyard_system;

create table switchyard.log_rules (
    id uuid not null,
    database_id uuid not null references switchyard.tenants,
    -- Null: of all the tenant's logs.
    workload_id uuid,
    name text not null check (length(name) between 1 and 63),
    -- A regular expression without look-around and back-references, so that it takes linear time.
    pattern text not null check (length(pattern) between 1 and 1000),
    severity text not null check (severity in ('debug', 'info', 'warning', 'error')),
    streams text[] not null
        check (streams <@ array['task', 'stdout', 'stderr', 'site'] and cardinality(streams) between 1 and 4),
    -- After a match the rule says nothing more of the same workload for so long, by the times of the lines.
    cooldown_secs integer not null default 60 check (cooldown_secs between 0 and 86400),
    -- The trigger that a match fires; null: people are told and nothing starts.
    trigger_id uuid,
    enabled boolean not null default true,
    created_at timestamptz not null default now(),
    changed_at timestamptz not null default now(),
    primary key (database_id, id),
    unique nulls not distinct (database_id, workload_id, name),
    foreign key (database_id, workload_id) references switchyard.workloads,
    foreign key (database_id, trigger_id) references switchyard.triggers,
    -- A rule that starts work has a period of quiet.
    check (trigger_id is null or cooldown_secs >= 60)
);
call switchyard.protect('switchyard.log_rules');
grant select on switchyard.log_rules to switchyard_system;
grant select, insert, update (name, pattern, severity, streams, cooldown_secs, trigger_id, enabled, changed_at), delete
    on switchyard.log_rules to switchyard_tenant;

-- What of a rule for all is otherwise for one workload.
create table switchyard.log_rule_overrides (
    database_id uuid not null,
    rule_id uuid not null,
    workload_id uuid not null,
    enabled boolean not null default true,
    -- Null: as the rule says.
    severity text check (severity in ('debug', 'info', 'warning', 'error')),
    cooldown_secs integer check (cooldown_secs between 0 and 86400),
    primary key (database_id, rule_id, workload_id),
    foreign key (database_id, rule_id) references switchyard.log_rules on delete cascade,
    foreign key (database_id, workload_id) references switchyard.workloads
);
call switchyard.protect('switchyard.log_rule_overrides');
grant select on switchyard.log_rule_overrides to switchyard_system;
grant select, insert, update (enabled, severity, cooldown_secs), delete on switchyard.log_rule_overrides
    to switchyard_tenant;

-- What became of a rule's matches, for each workload; the nil id stands for logs of no workload.
create table switchyard.log_rule_counts (
    database_id uuid not null,
    rule_id uuid not null,
    workload_id uuid not null,
    -- Lines that matched: the sum of the three below.
    matched bigint not null default 0,
    -- Of them, written to event_log.
    told bigint not null default 0,
    -- Left out because the rule had told a moment ago.
    cooled bigint not null default 0,
    -- Left out because the workload had told too much.
    dropped bigint not null default 0,
    -- Of those that were told, how many fired the rule's trigger.
    fired bigint not null default 0,
    -- The time of the last line that was told.
    told_at timestamptz,
    matched_at timestamptz,
    primary key (database_id, rule_id, workload_id),
    foreign key (database_id, rule_id) references switchyard.log_rules on delete cascade
);
call switchyard.protect('switchyard.log_rule_counts');
grant select on switchyard.log_rule_counts to switchyard_system, switchyard_tenant;

-- How much a workload may still tell: a bucket that fills by itself.
create table switchyard.log_buckets (
    database_id uuid not null references switchyard.tenants,
    workload_id uuid not null,
    tokens double precision not null,
    at timestamptz not null default now(),
    primary key (database_id, workload_id)
);
call switchyard.protect('switchyard.log_buckets');
grant select on switchyard.log_buckets to switchyard_system, switchyard_tenant;

-- How far a source was read. A line's place says nothing of when it was committed, so what was read is told by snapshots: a
-- round reads the lines that its snapshot sees and that of the round before does not, in the order of their places.
create table switchyard.log_cursors (
    source text primary key check (source in ('jobs', 'workloads')),
    -- All that it sees was read.
    done pg_snapshot not null,
    done_at timestamptz not null,
    -- The round that is under way.
    round pg_snapshot,
    round_at timestamptz,
    -- The last line of it that was read.
    place_at timestamptz,
    place_key text,
    -- Rises with each step, so that of two who read the same one's reading counts.
    version bigint not null default 0
);
grant select on switchyard.log_cursors to switchyard_system;

-- The transaction that wrote a row, as a number that does not wrap: the newest before p_max whose low half it is.
create function switchyard.whole_xid(p_xmin xid, p_max xid8) returns xid8
language sql immutable
return (
    select case when whole <= high then whole else whole - 4294967296 end::text::xid8
    from (
        select (m >> 32 << 32) + p_xmin::text::bigint as whole, m as high
        from (select p_max::text::bigint as m) a
    ) b
);

-- Begins a round where none is under way, and says whether there is anything to read for. A source that is new, or that no
-- rule asked of meanwhile, begins at what is there now.
create function switchyard.begin_log_round(p_source text) returns switchyard.log_cursors
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_cursor switchyard.log_cursors;
begin
    insert into switchyard.log_cursors (source, done, done_at) values (p_source, pg_current_snapshot(), now())
    on conflict do nothing;
    select * into strict v_cursor from switchyard.log_cursors where source = p_source for update;
    if not exists (select from switchyard.log_rules where enabled) then
        update switchyard.log_cursors
        set done = pg_current_snapshot(), done_at = now(), round = null, round_at = null, place_at = null,
            place_key = null, version = version + 1
        where source = p_source and done_at < now() - interval '1 minute';
        return null;
    end if;
    if v_cursor.round is null then
        update switchyard.log_cursors
        set round = pg_current_snapshot(), round_at = now(), place_at = null, place_key = null, version = version + 1
        where source = p_source
        returning * into v_cursor;
    end if;
    return v_cursor;
end
$$;
revoke execute on function switchyard.begin_log_round from public;

-- Up to p_limit lines of the round of a source, in order, with what is known of where they come from; the cursor's version
-- is in each row, and in one without a line where there is none. No row: nobody wants to know.
create function switchyard.unread_lines(p_source text, p_limit integer)
returns table (
    version bigint, place_at timestamptz, place_key text, database_id uuid, workload_id uuid, job_id bigint, epoch bigint,
    seq bigint, stream text, line text, depth integer, correlation_id text
)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    -- A line's time is that of its statement, which ends long before it is as old as this.
    c_late constant interval := '10 minutes';
    v_cursor switchyard.log_cursors := switchyard.begin_log_round(p_source);
    v_max xid8 := pg_snapshot_xmax(v_cursor.round);
begin
    if v_cursor.source is null then
        return;
    end if;
    if p_source = 'jobs' then
        return query
            select v_cursor.version, l.at, l.key, l.database_id, j.workload_id, l.job_id, l.epoch, l.seq, l.stream, l.line,
                j.depth, j.correlation_id
            from (
                select g.at, format('%s/%s/%s', lpad(g.job_id::text, 19, '0'), lpad(g.epoch::text, 19, '0'),
                        lpad(g.seq::text, 19, '0')) as key,
                    g.database_id, g.job_id, g.epoch, g.seq, g.stream, g.line
                from switchyard.job_logs g
                where g.at > v_cursor.done_at - c_late
                  and (v_cursor.place_at is null or g.at >= v_cursor.place_at)
                  and not pg_visible_in_snapshot(switchyard.whole_xid(g.xmin, v_max), v_cursor.done)
                  and pg_visible_in_snapshot(switchyard.whole_xid(g.xmin, v_max), v_cursor.round)
            ) l
            left join lateral (
                select n.workload_id, n.depth, n.correlation_id from switchyard.jobs n
                where n.database_id = l.database_id and n.id = l.job_id
                union all
                select a.workload_id, a.depth, a.correlation_id from switchyard.jobs_archive a
                where a.database_id = l.database_id and a.id = l.job_id
                limit 1
            ) j on true
            where v_cursor.place_at is null or (l.at, l.key collate "C") > (v_cursor.place_at, v_cursor.place_key)
            order by l.at, l.key collate "C"
            limit p_limit;
    else
        return query
            select v_cursor.version, l.at, l.id::text, l.database_id, l.workload_id, null::bigint, null::bigint,
                null::bigint, l.stream, l.line, 0, null::text
            from switchyard.workload_logs l
            where l.at > v_cursor.done_at - c_late
              and not pg_visible_in_snapshot(switchyard.whole_xid(l.xmin, v_max), v_cursor.done)
              and pg_visible_in_snapshot(switchyard.whole_xid(l.xmin, v_max), v_cursor.round)
              and (v_cursor.place_at is null
                  or (l.at, l.id::text collate "C") > (v_cursor.place_at, v_cursor.place_key))
            order by l.at, l.id::text collate "C"
            limit p_limit;
    end if;
    if not found then
        return query select v_cursor.version, null::timestamptz, null::text, null::uuid, null::uuid, null::bigint,
            null::bigint, null::bigint, null::text, null::text, null::integer, null::text;
    end if;
end
$$;
revoke execute on function switchyard.unread_lines from public;
grant execute on function switchyard.unread_lines to switchyard_system;

-- Records what matched in the lines that were read under this version of the cursor, and goes on behind them; where
-- p_place_at is null the round is over. Nothing, and null, when another did so meanwhile. Returns how many rows of event_log
-- were written.
-- p_matches, in the order of the lines: [{database_id, rule, workload, job, at, severity, cooldown_secs, trigger, message,
-- data, event: {id, source, subject, data, correlation_id, depth} or null}].
create function switchyard.record_log_matches(
    p_source text, p_version bigint, p_place_at timestamptz, p_place_key text, p_matches jsonb
) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    -- What one workload may tell: so much at once, and so much again in so many seconds.
    c_tokens constant double precision := 10;
    c_refill_secs constant double precision := 60;
    c_nobody constant uuid := '00000000-0000-0000-0000-000000000000';
    v_match jsonb;
    v_tenant uuid;
    v_rule uuid;
    v_workload uuid;
    v_at timestamptz;
    v_counts switchyard.log_rule_counts;
    v_tokens double precision;
    v_event jsonb;
    v_told integer := 0;
begin
    update switchyard.log_cursors c
    set version = c.version + 1, place_at = p_place_at, place_key = p_place_key,
        done = case when p_place_at is null then c.round else c.done end,
        done_at = case when p_place_at is null then c.round_at else c.done_at end,
        round = case when p_place_at is null then null else c.round end,
        round_at = case when p_place_at is null then null else c.round_at end
    where c.source = p_source and c.version = p_version and c.round is not null;
    if not found then
        return null;
    end if;
    for v_match in select m from jsonb_array_elements(p_matches) with ordinality a (m, n) order by n loop
        v_tenant := (v_match ->> 'database_id')::uuid;
        v_rule := (v_match ->> 'rule')::uuid;
        v_workload := coalesce((v_match ->> 'workload')::uuid, c_nobody);
        v_at := (v_match ->> 'at')::timestamptz;
        -- A rule that was removed meanwhile.
        continue when not exists (
            select from switchyard.log_rules r where r.database_id = v_tenant and r.id = v_rule
        );
        insert into switchyard.log_rule_counts as c (database_id, rule_id, workload_id, matched, matched_at)
        values (v_tenant, v_rule, v_workload, 1, v_at)
        on conflict (database_id, rule_id, workload_id) do update
        set matched = c.matched + 1, matched_at = greatest(c.matched_at, v_at)
        returning * into v_counts;
        -- Lines that are committed late come after later ones; they are near them all the same.
        if abs(extract(epoch from v_at - v_counts.told_at)) < (v_match ->> 'cooldown_secs')::integer then
            update switchyard.log_rule_counts c set cooled = c.cooled + 1
            where c.database_id = v_tenant and c.rule_id = v_rule and c.workload_id = v_workload;
            continue;
        end if;
        insert into switchyard.log_buckets as b (database_id, workload_id, tokens)
        values (v_tenant, v_workload, c_tokens)
        on conflict (database_id, workload_id) do update
        set tokens = least(
                c_tokens,
                b.tokens + c_tokens / c_refill_secs * extract(epoch from greatest(now() - b.at, interval '0'))
            ),
            at = now()
        returning tokens into v_tokens;
        if v_tokens < 1 then
            update switchyard.log_rule_counts c set dropped = c.dropped + 1
            where c.database_id = v_tenant and c.rule_id = v_rule and c.workload_id = v_workload;
            continue;
        end if;
        update switchyard.log_buckets b set tokens = b.tokens - 1
        where b.database_id = v_tenant and b.workload_id = v_workload;
        perform switchyard.record_log(row(
            v_tenant, v_match ->> 'severity', 'log-rules', v_match ->> 'message', (v_match ->> 'workload')::uuid,
            (v_match ->> 'job')::bigint, (v_match ->> 'trigger')::uuid, v_rule, v_match -> 'data'
        )::switchyard.log_entry);
        v_told := v_told + 1;
        v_event := nullif(v_match -> 'event', 'null');
        if v_event is not null then
            perform switchyard.add_event(
                v_tenant, (v_match ->> 'trigger')::uuid, (v_event ->> 'id')::uuid, 'dev.switchyard.log.matched.v1',
                v_event ->> 'source', v_event ->> 'subject', (v_event -> 'data')::json,
                p_correlation_id => v_event ->> 'correlation_id', p_depth => (v_event ->> 'depth')::integer
            );
        end if;
        update switchyard.log_rule_counts c
        set told = c.told + 1, told_at = greatest(c.told_at, v_at), fired = c.fired + case when v_event is null then 0 else 1 end
        where c.database_id = v_tenant and c.rule_id = v_rule and c.workload_id = v_workload;
    end loop;
    return v_told;
end
$$;
revoke execute on function switchyard.record_log_matches from public;
grant execute on function switchyard.record_log_matches to switchyard_system;

reset role;
select switchyard.make_partitions();
