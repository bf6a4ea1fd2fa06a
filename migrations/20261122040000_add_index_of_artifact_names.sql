-- The newest artifact of a name is asked for when a lab is made: whether it is as it was.
set local role switchyard_owner;

create index artifacts_by_name on switchyard.artifacts (database_id, name, created_at);

reset role;
