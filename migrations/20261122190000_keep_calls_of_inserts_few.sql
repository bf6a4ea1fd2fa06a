-- What adding a job costs: whether a role may call a function is looked up for each that an insert names, and `now()` is one,
-- where `current_timestamp` is none. Otherwise the rule is as it was.
set local role switchyard_owner;

create or replace rule add as on insert to switchyard.plain_jobs do instead
    insert into switchyard.jobs (database_id, lane_id, task, seq, due, run_at, attempts_max, payload)
    select l.database_id, l.id, l.task, 0, true, current_timestamp, l.attempts_max, new.payload
    from switchyard.lanes l
    where l.database_id = new.database_id and l.task = new.task and l.queue_name is null
      and case
          -- While the relay asks to be told, and until it says that it was, each job takes the long way.
          when l.plain_from <= current_timestamp
              and pg_sequence_last_value('switchyard.work_asked') = 0
              and pg_try_advisory_xact_lock_shared(l.gate_key)
          then clock_timestamp() < current_timestamp + interval '0.5 seconds'
          else false
      end
    returning id, database_id, task, payload;

reset role;
