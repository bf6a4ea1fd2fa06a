-- What adding a job costs: every index of jobs is set up and its predicate asked by each insert, whether the job belongs
-- into it or not, and a look at the lane is planned anew for each column. So there are fewer indexes, they ask for less, and
-- the short way (`plain_jobs`) is one scan without a step between it and the insert.
set local role switchyard_owner;

-- Only a queued job is due.
drop index switchyard.jobs_ready;
create index jobs_ready on switchyard.jobs (lane_id, priority, run_at, id) where due;

-- Only a queued job has neither a lease nor a deadline. Whoever wants this index says `lease_until is null` as well.
drop index switchyard.jobs_queued_newest;
create index jobs_queued_newest on switchyard.jobs (database_id, id) where lease_until is null;

-- Live jobs of workloads, and those that are held by name: few, so that who looks for the latter may read all of them. What
-- is to be stopped is found among what is held.
drop index switchyard.jobs_of_workload, switchyard.jobs_named, switchyard.jobs_to_stop;
create index jobs_of_workload on switchyard.jobs (database_id, workload_id, id)
    where workload_id is not null or worker_name is not null;

-- Jobs with nothing special about them: no named queue, key, time, priority, tries, event or workload of their own. What is
-- inserted here becomes a job if its lane is open for that and no relay asks to be told, else nothing, and who inserts asks
-- `add_job`. A rule and not a function, because it is rewritten into one insert: nothing is set up, called or looked at twice.
-- It can do no more than a function: the lane, and with it the tenant and task, are those found, under the owner's rights.
--
-- One look is enough. A job's run_at is when its transaction began (as `add_job` has it, so that the jobs of a transaction keep
-- their order), at most half a second before the lock of its lane was had. What was turned before that moves no front beyond
-- a second before it; what is turned later finds the lock taken, of whichever gate it is, before it may move them further.
-- `rest_lane` says why it does not rest.
--
-- Nothing that is selected is volatile: that would put a scan more, of as many columns, between the look and the insert.
create or replace rule add as on insert to switchyard.plain_jobs do instead
    insert into switchyard.jobs (database_id, lane_id, task, seq, due, run_at, attempts_max, payload)
    select l.database_id, l.id, l.task, 0, true, now(), l.attempts_max, new.payload
    from switchyard.lanes l
    where l.database_id = new.database_id and l.task = new.task and l.queue_name is null
      and case
          -- While the relay asks to be told, and until it says that it was, each job takes the long way.
          when l.plain_from <= now()
              and pg_sequence_last_value('switchyard.work_asked') = 0
              and pg_try_advisory_xact_lock_shared(l.gate_key)
          then clock_timestamp() < now() + interval '0.5 seconds'
          else false
      end
    returning id, database_id, task, payload;
-- All of it: rights to single columns are looked up column by column.
grant insert, select on switchyard.plain_jobs to switchyard_system;

-- `work_asked`: 0 while the relay of `work` is awake, 1 from when it asks to be told until it says that it was. Who looks
-- for nothing but that need not know who told it and whether he has committed.
create or replace function switchyard.disarm_work() returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    perform from switchyard.relay_flags where broker = 'work' for update skip locked;
    if found then
        update switchyard.relay_flags set armed = false where broker = 'work' and armed;
    end if;
end
$$;

-- Who runs a task's jobs is asked once for each lane, not for each job. The epoch says which time it is that a job is ready.
drop function switchyard.claimable_jobs(integer);
create function switchyard.claimable_jobs(p_per_task integer)
returns table (task text, executor text, job_id bigint, epoch bigint)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off
as $$
#variable_conflict use_column
declare
    v_task text := '';
    v_limited boolean := exists (select from switchyard.limits);
    v_paused boolean := exists (select from switchyard.pauses where kind = 'pause' and database_id is null);
begin
    loop
        select l.task into v_task from switchyard.lanes l
        where l.active and not l.is_full and not l.paused and l.task > v_task
        order by l.task
        limit 1;
        exit when not found;
        continue when v_paused and exists (
            select from switchyard.pauses p where p.kind = 'pause' and p.database_id is null and p.task = v_task
        );
        return query
            select v_task, o.run_by, r.id, r.epoch
            from (
                select l as lane, switchyard.run_by(l.database_id, v_task) as run_by
                from switchyard.lanes l
                where l.task = v_task and l.active and not l.is_full and not l.paused
                  and (not v_limited or switchyard.may_start(l.database_id, v_task))
                offset 0
            ) o
            cross join lateral (
                select j.id, j.epoch
                from switchyard.ready_jobs(
                    o.lane, least(p_per_task, coalesce((o.lane).cap - (o.lane).in_flight, p_per_task))
                ) as g (id)
                join switchyard.jobs j on j.id = g.id
                where ((o.lane).queue_name is null or j.id = switchyard.head_job(o.lane))
                  and (j.key is null or not exists (
                      select from switchyard.jobs w
                      where w.database_id = j.database_id and w.key = j.key and w.state <> 'queued'
                  ))
            ) r
            limit p_per_task;
    end loop;
end
$$;
revoke execute on function switchyard.claimable_jobs from public;
grant execute on function switchyard.claimable_jobs to switchyard_system;

reset role;
