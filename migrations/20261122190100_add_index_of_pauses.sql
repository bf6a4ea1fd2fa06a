-- A claim and the relay ask whether something is paused for all tenants, and who adds a job whether anything is drained: they
-- read every pause of every tenant's queues.
set local role switchyard_owner;

create index pauses_of_kind on switchyard.pauses (kind, database_id, task);

reset role;
