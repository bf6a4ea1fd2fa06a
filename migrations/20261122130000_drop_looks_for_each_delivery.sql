-- What takes deliveries has looked their trigger up, once for all of one statement: foreign keys looked it up again for each row.
set local role switchyard_owner;

-- `take_deliveries` stores what was verified against a trigger's row in the version that is there, and `note_rejection` what was
-- sent to a trigger that was found. Rows of triggers are never deleted, for deliveries name them.
alter table switchyard.deliveries drop constraint deliveries_database_id_trigger_id_fkey;
-- The tenant of an event is that of its trigger, which `accept_event`, `follow_facts` and `take_deliveries` look up.
alter table switchyard.events drop constraint events_database_id_fkey;

reset role;
