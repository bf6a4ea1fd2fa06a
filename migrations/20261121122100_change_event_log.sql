-- The log of events by days, so that it can be dropped by days; whoever writes to it tells it on `observed` in the same
-- transaction. Nothing has written to it so far.
set local role switchyard_owner;

drop table switchyard.event_log;
-- The system observing itself. Nothing that listens to it may write to it; deliveries are another matter (the system
-- talking to the outside).
create table switchyard.event_log (
    id uuid not null default gen_random_uuid(),
    database_id uuid not null references switchyard.tenants,
    at timestamptz not null default now(),
    severity text not null check (severity in ('debug', 'info', 'warning', 'error')),
    -- Which part saw it.
    source text not null check (length(source) between 1 and 200),
    message text not null check (length(message) <= 4000),
    workload_id uuid,
    job_id bigint,
    trigger_id uuid,
    -- The log rule that matched.
    rule_id uuid,
    data jsonb not null default '{}' check (octet_length(data::text) <= 65536),
    primary key (database_id, at, id)
) partition by range (at);
call switchyard.protect('switchyard.event_log');
create table switchyard.event_log_default partition of switchyard.event_log default;
create index event_log_of_rule on switchyard.event_log (database_id, rule_id, at) where rule_id is not null;
grant select, insert on switchyard.event_log to switchyard_system;
grant select on switchyard.event_log to switchyard_tenant, switchyard_observer;
insert into switchyard.histories values ('event_log', 'at');

-- A row of event_log to be written.
create type switchyard.log_entry as (
    database_id uuid, severity text, source text, message text, workload_id uuid, job_id bigint, trigger_id uuid,
    rule_id uuid, data jsonb
);

-- Writes a row and tells it on `observed`, in the caller's transaction. Returns its id.
create function switchyard.record_log(p_entry switchyard.log_entry) returns uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid := gen_random_uuid();
begin
    insert into switchyard.event_log (
        id, database_id, severity, source, message, workload_id, job_id, trigger_id, rule_id, data
    ) values (
        v_id, p_entry.database_id, p_entry.severity, p_entry.source, left(p_entry.message, 4000), p_entry.workload_id,
        p_entry.job_id, p_entry.trigger_id, p_entry.rule_id, coalesce(p_entry.data, '{}')
    );
    perform switchyard.publish(
        'observed', p_entry.database_id, 'log_' || replace(v_id::text, '-', ''), 'dev.switchyard.log.recorded.v1',
        '/switchyard/' || p_entry.source,
        coalesce(
            'wkl_' || replace(p_entry.workload_id::text, '-', ''), 'trg_' || replace(p_entry.trigger_id::text, '-', '')
        ),
        jsonb_build_object('tenantid', p_entry.database_id, 'severity', p_entry.severity),
        json_strip_nulls(json_build_object(
            'severity', p_entry.severity, 'source', p_entry.source, 'message', left(p_entry.message, 4000),
            'workload', 'wkl_' || replace(p_entry.workload_id::text, '-', ''),
            'job', p_entry.job_id,
            'trigger', 'trg_' || replace(p_entry.trigger_id::text, '-', ''),
            'rule', p_entry.rule_id,
            'data', coalesce(p_entry.data, '{}')
        ))
    );
    return v_id;
end
$$;
revoke execute on function switchyard.record_log from public;
grant execute on function switchyard.record_log to switchyard_system;

-- Writes down what looks found and no hook told of within p_after, for triggers whose senders have a secret to sign with: a
-- hook that is silent. Each change once. Returns how many.
create function switchyard.flag_silent_hooks(p_after interval, p_limit integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_seen record;
    v_count integer := 0;
begin
    for v_seen in
        select s.database_id, s.trigger_id, s.name, s.state, t.name as trigger_name,
            t.secret is not null or t.path_sha256 is not null as hooked
        from switchyard.seen s
        join switchyard.triggers t on t.database_id = s.database_id and t.id = s.trigger_id
        where s.told_by = 'look' and s.silent_at is null and s.at < now() - p_after
        order by s.at
        limit p_limit
        for update of s skip locked
    loop
        update switchyard.seen s
        set silent_at = now()
        where s.database_id = v_seen.database_id and s.trigger_id = v_seen.trigger_id and s.name = v_seen.name;
        continue when not v_seen.hooked;
        perform switchyard.record_log(row(
            v_seen.database_id, 'warning', 'watch',
            format(
                'the hook of trigger %s is silent: %s is at %s, which was found by looking and no hook told of it; '
                'look at the deliveries that the sender lists', v_seen.trigger_name, v_seen.name, v_seen.state
            ),
            null, null, v_seen.trigger_id, null,
            jsonb_build_object('name', v_seen.name, 'state', v_seen.state)
        )::switchyard.log_entry);
        v_count := v_count + 1;
    end loop;
    return v_count;
end
$$;
revoke execute on function switchyard.flag_silent_hooks from public;
grant execute on function switchyard.flag_silent_hooks to switchyard_system;

reset role;
select switchyard.make_partitions();
