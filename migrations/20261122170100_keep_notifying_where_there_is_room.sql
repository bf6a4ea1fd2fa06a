-- Where the server's queue of notifications is full, one more fails the whole transaction at its commit, and who adds a job did
-- not fill it. Shortly before that nobody is notified: relays and upstream's workers look by the clock as well.
set local role switchyard_owner;

create function switchyard.tell(p_channel text, p_word text) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if pg_notification_queue_usage() < 0.9 then
        perform pg_notify(p_channel, p_word);
    end if;
end
$$;
revoke execute on function switchyard.tell from public;

create or replace function switchyard.wake_relay_for(p_job bigint, p_lane bigint, p_may_start boolean) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_said text;
begin
    if not (select armed from switchyard.relay_flags where broker = 'work') then
        return;
    end if;
    perform switchyard.disarm_work();
    if p_may_start then
        select 'work ' || json_build_object('task', l.task, 'run_by', switchyard.run_by(l.database_id, l.task), 'job', p_job)
        into v_said
        from switchyard.lanes l
        where l.id = p_lane and l.cap is null and not l.paused
          and not exists (select from switchyard.limits)
          and not exists (select from switchyard.pauses where kind = 'pause' and database_id is null and task = l.task);
    end if;
    perform switchyard.tell('switchyard_relay', coalesce(v_said, 'work'));
end
$$;

create or replace function switchyard.wake_relay(p_broker switchyard.broker) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if not (select armed from switchyard.relay_flags where broker = p_broker) then
        return;
    end if;
    if p_broker = 'work' then
        perform switchyard.disarm_work();
    else
        perform from switchyard.relay_flags where broker = p_broker for update skip locked;
        if found then
            update switchyard.relay_flags set armed = false where broker = p_broker and armed;
        end if;
    end if;
    perform switchyard.tell('switchyard_relay', p_broker::text);
end
$$;

create or replace function switchyard.upstream_notify(p_channel text) returns void
language sql volatile set search_path = pg_catalog, pg_temp
begin atomic
    select switchyard.tell(p_channel, '');
end;

reset role;
