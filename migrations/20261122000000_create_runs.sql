-- Work outside that a runner does: what it was told, how far it is, what it said at its end.
set local role switchyard_owner;

create table switchyard.runs (
    database_id uuid not null references switchyard.tenants,
    job_id bigint not null,
    -- Of the claim that began it: a job has one run for each claim at most.
    epoch bigint not null,
    -- What it is for, as its task names it: plan, apply, create …
    phase text not null check (length(phase) between 1 and 40),
    launcher text not null check (launcher in ('local', 'kubernetes')),
    -- What the runner fetches, sealed.
    spec bytea not null,
    state text not null default 'launching'
        check (state in ('launching', 'running', 'succeeded', 'failed', 'cancelled', 'lost')),
    -- For how long a sign of life is good.
    lease interval not null check (lease > interval '0'),
    -- Beyond this no sign of life is.
    until timestamptz not null,
    -- What becomes of the job when the run went well and there are changes: a person decides within this time. Null: it is over.
    approve_within interval,
    -- Whether another try may help when a step failed.
    retry boolean not null,
    -- The last line's number in the job's log, and the number that it has for the runner.
    log_seq bigint not null,
    told bigint not null default 0,
    -- What it has to say, while it goes on and at its end. Masked.
    report jsonb,
    reason text,
    created_at timestamptz not null default clock_timestamp(),
    -- The first and the last sign of life.
    started_at timestamptz,
    seen_at timestamptz,
    ended_at timestamptz,
    primary key (database_id, job_id, epoch)
) with (fillfactor = 50);
call switchyard.protect('switchyard.runs');
create index runs_live on switchyard.runs (job_id, epoch) include (lease, created_at) where ended_at is null;
create index runs_ended on switchyard.runs (ended_at) where ended_at is not null;
grant select on switchyard.runs to switchyard_system;
grant select (
    database_id, job_id, epoch, phase, launcher, state, lease, until, approve_within, retry, log_seq, told, report, reason,
    created_at, started_at, seen_at, ended_at
) on switchyard.runs to switchyard_tenant, switchyard_observer;

create table switchyard.run_steps (
    database_id uuid not null,
    job_id bigint not null,
    epoch bigint not null,
    -- From 0, in their order.
    step integer not null check (step >= 0),
    name text not null check (length(name) between 1 and 100),
    state text not null default 'waiting'
        check (state in ('waiting', 'running', 'succeeded', 'failed', 'stopped', 'skipped')),
    exit_code integer,
    why text,
    started_at timestamptz,
    ended_at timestamptz,
    primary key (database_id, job_id, epoch, step),
    foreign key (database_id, job_id, epoch) references switchyard.runs on delete cascade
) with (fillfactor = 50);
call switchyard.protect('switchyard.run_steps');
grant select on switchyard.run_steps to switchyard_system, switchyard_tenant, switchyard_observer;

-- When leases were last looked at. One row.
create table switchyard.reaper (
    only_one boolean primary key default true check (only_one),
    ticked_at timestamptz not null default clock_timestamp(),
    -- The first tick after a time without any in which a runner's lease could end unseen.
    resumed_at timestamptz not null default '-infinity'
);
insert into switchyard.reaper default values;
grant select on switchyard.reaper to switchyard_system;

-- A run that nobody hears of any more.
create function switchyard.lose_run(p_database_id uuid, p_id bigint, p_epoch bigint, p_why text) returns void
language sql set search_path = pg_catalog, pg_temp
begin atomic
    update switchyard.runs
    set state = 'lost', reason = p_why, ended_at = clock_timestamp()
    where database_id = p_database_id and job_id = p_id and epoch = p_epoch and ended_at is null;
end;

-- running → waiting for a runner that is started next, by who holds the job. Says what became of the job: `waiting`;
-- `cancelled` when it was asked to stop meanwhile (then nothing is to be started); null when the hold was over. Asked again the
-- same says the same.
create function switchyard.begin_run(
    p_id bigint, p_epoch bigint, p_phase text, p_launcher text, p_spec bytea, p_runner jsonb, p_steps text[],
    p_start_within interval, p_lease interval, p_time interval, p_approve_within interval, p_retry boolean
) returns switchyard.job_state
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_job switchyard.jobs;
begin
    perform switchyard.lock_keys(array[p_id]);
    v_job := switchyard.held_job(p_id, p_epoch);
    if v_job.id is null then
        return null;
    end if;
    if v_job.state = 'cancelling' then
        -- Nothing of it was started: it has stopped.
        return switchyard.requeue_job(v_job, clock_timestamp(), v_job.attempts, null, false);
    end if;
    if v_job.state = 'waiting' and exists (
        select from switchyard.runs
        where database_id = v_job.database_id and job_id = p_id and epoch = p_epoch and state = 'launching' and spec = p_spec
    ) then
        return 'waiting';
    end if;
    if v_job.state <> 'running' then
        raise exception 'job % has a run already', p_id using errcode = 'check_violation';
    end if;
    insert into switchyard.runs (
        database_id, job_id, epoch, phase, launcher, spec, lease, until, approve_within, retry, log_seq
    ) values (
        v_job.database_id, p_id, p_epoch, p_phase, p_launcher, p_spec, p_lease,
        clock_timestamp() + p_start_within + p_time, p_approve_within, p_retry,
        coalesce((
            select max(seq) from switchyard.job_logs
            where database_id = v_job.database_id and job_id = p_id and epoch = p_epoch
        ), 0)
    );
    insert into switchyard.run_steps (database_id, job_id, epoch, step, name)
    select v_job.database_id, p_id, p_epoch, s.n - 1, s.name
    from unnest(p_steps) with ordinality as s (name, n);
    return switchyard.wait_job(p_id, p_epoch, 'runner', p_start_within, p_runner);
end
$$;
revoke execute on function switchyard.begin_run from public;
grant execute on function switchyard.begin_run to switchyard_system;

-- News of a run, a sign of life in any case. Lines that came before are dropped, and so are lines after a gap: `lines` says up
-- to where they are there. Answers `taken`, `stale` when the run is over or somebody else's, `unknown` when there is no such.
create function switchyard.run_news(
    p_database_id uuid, p_id bigint, p_epoch bigint, p_first bigint, p_streams text[], p_lines text[],
    p_steps integer[], p_states text[], p_codes integer[], p_whys text[], p_report jsonb
) returns table (outcome text, lines bigint, cancel boolean)
language plpgsql security definer set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set jit = off
as $$
declare
    v_now constant timestamptz := clock_timestamp();
    v_run switchyard.runs;
    v_state switchyard.job_state;
    v_lease_until timestamptz;
    v_heard boolean;
    v_renewed timestamptz;
    v_fresh integer;
begin
    -- Jobs before runs, as everybody.
    select j.state, j.lease_until, j.cancel_heard_at is not null into v_state, v_lease_until, v_heard
    from switchyard.jobs j
    where j.id = p_id and j.database_id = p_database_id and j.epoch = p_epoch and j.waiting = 'runner'
      and j.state in ('waiting', 'cancelling')
    for no key update;
    select * into v_run from switchyard.runs r
    where r.database_id = p_database_id and r.job_id = p_id and r.epoch = p_epoch
    for no key update;
    if v_run.job_id is null then
        return query select 'unknown', 0::bigint, false;
        return;
    end if;
    if v_state is null or v_run.ended_at is not null then
        perform switchyard.lose_run(p_database_id, p_id, p_epoch, 'its job went on without it');
        return query select 'stale', v_run.told, false;
        return;
    end if;
    v_renewed := least(v_now + v_run.lease, v_run.until);
    -- Not with every batch of lines: each change of a lease is a new version of the row and of its place in the indexes.
    if v_lease_until < v_renewed - v_run.lease / 8 or v_run.started_at is null and v_lease_until > v_renewed
        or v_state = 'cancelling' and not v_heard
    then
        if v_state = 'cancelling' and not v_heard then
            insert into switchyard.job_events (database_id, job_id, epoch, kind)
            values (p_database_id, p_id, p_epoch, 'cancel_acknowledged');
        end if;
        update switchyard.jobs j
        set lease_until = v_renewed,
            cancel_heard_at = case when v_state = 'cancelling' then coalesce(j.cancel_heard_at, v_now) end
        where j.id = p_id and j.epoch = p_epoch;
    end if;
    v_fresh := 0;
    if cardinality(p_lines) > 0 and p_first <= v_run.told + 1 and p_first + cardinality(p_lines) - 1 > v_run.told then
        insert into switchyard.job_logs (database_id, job_id, epoch, seq, stream, line)
        select p_database_id, p_id, p_epoch, v_run.log_seq + (p_first + l.n - 1 - v_run.told), l.stream, l.line
        from unnest(p_streams, p_lines) with ordinality as l (stream, line, n)
        where p_first + l.n - 1 > v_run.told;
        get diagnostics v_fresh = row_count;
    end if;
    update switchyard.runs r
    set state = 'running',
        started_at = coalesce(r.started_at, v_now),
        seen_at = v_now,
        told = r.told + v_fresh,
        log_seq = r.log_seq + v_fresh,
        report = coalesce(p_report, r.report)
    where r.database_id = p_database_id and r.job_id = p_id and r.epoch = p_epoch;
    if cardinality(p_steps) > 0 then
        -- Of several about one step the last counts. None goes back.
        update switchyard.run_steps s
        set state = n.state,
            exit_code = coalesce(n.exit_code, s.exit_code),
            why = coalesce(n.why, s.why),
            started_at = case when n.state = 'skipped' then null else coalesce(s.started_at, v_now) end,
            ended_at = case when n.state <> 'running' then v_now end
        from (
            select distinct on (a.step) a.step, a.state, a.exit_code, a.why
            from unnest(p_steps, p_states, p_codes, p_whys) with ordinality as a (step, state, exit_code, why, n)
            where a.state <> 'waiting'
            order by a.step, a.n desc
        ) n
        where s.database_id = p_database_id and s.job_id = p_id and s.epoch = p_epoch and s.step = n.step
          and s.ended_at is null;
    end if;
    return query select 'taken', v_run.told + v_fresh, v_state = 'cancelling';
end
$$;
revoke execute on function switchyard.run_news from public;
grant execute on function switchyard.run_news to switchyard_system;

-- How a run ended, `succeeded`, `failed` or `cancelled` (nothing of it runs any more), and what its job becomes by that. The
-- first end counts. Answers `applied`, `duplicate` when the same was said before, `stale` when the run is over in another way
-- or somebody else's, `unknown` when there is no such; and what the job is now. p_changes: whether there is something to approve.
create function switchyard.end_run(
    p_database_id uuid, p_id bigint, p_epoch bigint, p_end text, p_reason text, p_report jsonb, p_changes boolean
) returns table (outcome text, state switchyard.job_state)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_job switchyard.jobs;
    v_run switchyard.runs;
    v_now_is switchyard.job_state;
    v_reason text := coalesce(p_reason, 'the run ' || p_end);
begin
    if p_end not in ('succeeded', 'failed', 'cancelled') then
        raise exception 'a run ends as succeeded, failed or cancelled, not as %', p_end using errcode = 'check_violation';
    end if;
    perform switchyard.lock_keys(array[p_id]);
    select * into v_job from switchyard.jobs where database_id = p_database_id and id = p_id for update;
    select * into v_run from switchyard.runs
    where database_id = p_database_id and job_id = p_id and epoch = p_epoch
    for no key update;
    if v_run.job_id is null then
        return query select 'unknown', null::switchyard.job_state;
        return;
    end if;
    if v_job.id is null or v_job.epoch <> p_epoch or v_run.ended_at is not null
        or v_job.waiting is distinct from 'runner' or v_job.state not in ('waiting', 'cancelling')
    then
        select coalesce(v_job.state, (
            select a.state from switchyard.jobs_archive a where a.database_id = p_database_id and a.id = p_id limit 1
        )) into v_now_is;
        if v_run.ended_at is not null and v_run.state = p_end then
            return query select 'duplicate', v_now_is;
            return;
        end if;
        perform switchyard.lose_run(p_database_id, p_id, p_epoch, 'its job went on without it');
        -- Records it where the job is still there.
        perform switchyard.held_job(p_id, p_epoch) where v_job.id is not null and v_job.epoch <> p_epoch;
        return query select 'stale', v_now_is;
        return;
    end if;

    update switchyard.runs r
    set state = p_end, report = p_report, reason = p_reason, ended_at = clock_timestamp(),
        started_at = coalesce(r.started_at, clock_timestamp()), seen_at = clock_timestamp()
    where r.database_id = p_database_id and r.job_id = p_id and r.epoch = p_epoch;
    update switchyard.run_steps s
    set state = case when s.state = 'running' then 'stopped' else 'skipped' end,
        ended_at = case when s.state = 'running' then clock_timestamp() end
    where s.database_id = p_database_id and s.job_id = p_id and s.epoch = p_epoch and s.state in ('waiting', 'running');

    if v_job.state = 'cancelling' and (p_end = 'cancelled' or p_end = 'succeeded' and p_changes and v_run.approve_within is not null) then
        -- What would have come next does not.
        v_now_is := switchyard.settle_cancel(p_id, p_epoch, 'applied', null);
    elsif p_end = 'succeeded' and p_changes and v_run.approve_within is not null then
        update switchyard.jobs set runner = null where id = p_id and epoch = p_epoch;
        v_now_is := switchyard.wait_job(p_id, p_epoch, 'approval', v_run.approve_within, null);
    elsif p_end = 'succeeded' then
        v_now_is := (
            select f.applied from switchyard.finish_jobs(
                array[p_id], array[p_epoch], array['succeeded']::switchyard.job_state[], array[null::text], array[p_report]
            ) f
        );
    elsif v_run.retry and v_job.state = 'waiting' then
        v_now_is := switchyard.retry_job(p_id, p_epoch, v_reason, null);
    else
        v_now_is := (
            select f.applied from switchyard.finish_jobs(
                array[p_id], array[p_epoch], array['dead']::switchyard.job_state[], array[v_reason], array[p_report]
            ) f
        );
    end if;
    if v_now_is is null then
        raise exception 'job % changed while its run ended', p_id using errcode = 'serialization_failure';
    end if;
    return query select 'applied', v_now_is;
end
$$;
revoke execute on function switchyard.end_run from public;
grant execute on function switchyard.end_run to switchyard_system;

-- Leases and deadlines that are over: running | waiting → queued | dead | superseded, waiting for approval → dead
-- (rejected), cancelling → cancelled, unless work outside has a handle by which it must be stopped first. Returns how
-- many jobs moved. Safe to run many times at once. p_all: also looks where nothing is expected.
--
-- A runner whose lease ended while nobody looked may have had nobody to tell that it lives: after a time without ticks that was
-- longer than its lease it keeps its job for one lease more.
create or replace function switchyard.reap_jobs(p_limit integer, p_all boolean default false) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set jit = off
as $$
declare
    v_from timestamptz := '-infinity';
    v_job switchyard.jobs;
    v_reaped integer := 0;
    v_why text;
    v_ids bigint[];
    v_kept bigint[] := '{}';
    v_resumed timestamptz;
begin
    -- One tick a second is enough, and nobody waits for another's.
    update switchyard.reaper
    set resumed_at = case
            when ticked_at < clock_timestamp() - (select min(lease) from switchyard.runs where ended_at is null)
            then clock_timestamp() else resumed_at
        end,
        ticked_at = clock_timestamp()
    where only_one = (
        select only_one from switchyard.reaper
        where ticked_at < clock_timestamp() - interval '1 second'
        for update skip locked
    );
    select resumed_at into v_resumed from switchyard.reaper;
    if v_resumed > clock_timestamp() - interval '1 day' then
        v_kept := array(
            select job_id from switchyard.runs
            where ended_at is null and created_at < v_resumed and v_resumed + lease > clock_timestamp()
        );
    end if;
    if not p_all then
        select to_timestamp(s.last_value / 1000.0) into v_from from switchyard.leases_from s;
    end if;
    v_ids := array(
        select id from switchyard.jobs
        where state <> 'queued' and lease_until < clock_timestamp() and lease_until >= v_from
          and not (state = 'cancelling' and runner is not null)
          and not id = any (v_kept)
        order by lease_until
        limit p_limit
    );
    if cardinality(v_ids) > 0 then
        v_ids := switchyard.lock_free_keys(v_ids);
    end if;
    select array_agg(id) into v_ids from (
        select id from switchyard.jobs
        where id = any (v_ids) and state <> 'queued' and lease_until < clock_timestamp()
          and not (state = 'cancelling' and runner is not null)
        order by id
        for update skip locked
    ) late;
    if p_all then
        -- A claim's lease begins when it claims: what it will commit ends later than now.
        perform setval('switchyard.leases_from', greatest(floor(extract(epoch from least(
            (
                select min(lease_until) from switchyard.jobs
                where state <> 'queued' and not (state = 'cancelling' and runner is not null)
            ),
            now() - interval '5 seconds'
        )) * 1000)::bigint, 0));
    end if;
    if v_ids is null then
        return 0;
    end if;
    perform switchyard.lock_places(v_ids);
    for v_job in
        select * from switchyard.jobs where id = any (v_ids) order by id
    loop
        v_reaped := v_reaped + 1;
        perform switchyard.note_job(
            v_job, 'lease_over', jsonb_build_object('state', v_job.state, 'worker', v_job.worker)
        );
        v_why := case
            when v_job.waiting = 'runner' then 'its runner went away'
            when v_job.state = 'waiting' then 'no answer before its deadline'
            when v_job.attempt_until <= v_job.lease_until then 'the attempt took longer than its task allows'
            else 'its worker went away'
        end;
        if v_job.waiting = 'runner' then
            perform switchyard.lose_run(v_job.database_id, v_job.id, v_job.epoch, v_why);
        end if;
        if v_job.state = 'waiting' and v_job.waiting = 'approval' then
            perform switchyard.count_again(v_job);
            perform switchyard.end_job(v_job, 'dead', 'rejected: nobody decided in time', null);
        elsif v_job.state <> 'cancelling' and v_job.attempts >= v_job.attempts_max then
            perform switchyard.end_job(v_job, 'dead', v_why || ', ' || v_job.attempts || ' of ' || v_job.attempts_max || ' attempts used', null);
        else
            perform switchyard.requeue_job(v_job, clock_timestamp(), v_job.attempts, v_why, true);
        end if;
    end loop;
    return v_reaped;
end
$$;
-- What became of the try to stop a job's work outside. applied: cancelling → cancelled, for only a confirmed stop is one.
-- retry: it stays and is tried again, first after 5 s, at last every 10 minutes. cannot: the same at the slowest pace, for
-- somebody may have helped meanwhile. Returns the job's state, null where its hold was over.
create or replace function switchyard.settle_cancel(p_id bigint, p_epoch bigint, p_how text, p_why text)
returns switchyard.job_state
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_job switchyard.jobs := switchyard.held_job(p_id, p_epoch);
    v_slowest constant interval := '10 minutes';
    v_delay interval;
begin
    if v_job.id is null or v_job.state <> 'cancelling' then
        return null;
    end if;
    case p_how
    when 'applied' then
        update switchyard.runs
        set state = 'cancelled', ended_at = clock_timestamp()
        where database_id = v_job.database_id and job_id = p_id and epoch = p_epoch and ended_at is null;
        perform switchyard.note_job(
            v_job, 'cancelled', jsonb_build_object('confirmed', true, 'tries', v_job.cancel_tries)
        );
        perform switchyard.end_job(v_job, 'cancelled', 'cancelled by ' || v_job.cancel_requested_by, null);
        return 'cancelled';
    when 'retry' then
        v_delay := least(interval '5 seconds' * power(2, least(v_job.cancel_tries, 12) - 1), v_slowest)
            * (0.5 + 0.5 * random());
    when 'cannot' then
        v_delay := v_slowest;
    else
        raise exception 'a cancel is applied, cannot be, or is tried again; it is not %', p_how
            using errcode = 'check_violation';
    end case;
    -- The same answer again is no news.
    if v_job.cancel_error is distinct from p_why then
        perform switchyard.note_job(
            v_job, case p_how when 'cannot' then 'cancel_cannot' else 'cancel_retry_planned' end,
            jsonb_build_object('why', p_why, 'try', v_job.cancel_tries, 'next', clock_timestamp() + v_delay)
        );
    end if;
    update switchyard.jobs
    set cancel_try_at = clock_timestamp() + v_delay, cancel_error = p_why
    where id = v_job.id and epoch = v_job.epoch and state = 'cancelling';
    return 'cancelling';
end
$$;
reset role;
