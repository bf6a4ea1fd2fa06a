-- What pages and programs look for among many rows that are not it. All are partial: the usual row pays nothing.
set local role switchyard_owner;

-- Under row level security an enum's comparison may not be an index condition, a partial index's predicate may.
create index deliveries_refused on switchyard.deliveries (database_id, id)
    where verdict in ('conflict', 'malformed', 'rejected');
create index deliveries_ignored on switchyard.deliveries (database_id, id) where verdict = 'ignored';
create index deliveries_ping on switchyard.deliveries (database_id, id) where verdict = 'ping';
create index deliveries_duplicate on switchyard.deliveries (database_id, id) where verdict = 'duplicate';
-- What repeats a delivery.
create index deliveries_repeating on switchyard.deliveries (database_id, first_id, id) where first_id is not null;
-- What went wrong lately.
create index jobs_archive_dead on switchyard.jobs_archive (database_id, finished_at) where state = 'dead';

reset role;
