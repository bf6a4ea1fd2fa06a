-- A sender's id that comes again with another body is an alert: its sender is broken, or is not who it was.
set local role switchyard_owner;

-- When it was last told that this id came with another body.
alter table switchyard.delivery_keys add column conflict_told_at timestamptz;

-- Tells of a delivery whose id was delivered before with another body; of one id once an hour, however often it comes. Who
-- inserts such a delivery has locked its key.
create function switchyard.tell_conflict() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_delivery constant text := 'dlv_' || replace(new.id::text, '-', '');
begin
    update switchyard.delivery_keys k
    set conflict_told_at = now()
    where k.database_id = new.database_id and k.trigger_id = new.trigger_id and k.key = new.delivery_key
      and (k.conflict_told_at is null or k.conflict_told_at <= now() - interval '1 hour');
    if found then
        perform switchyard.publish(
            'observed', new.database_id, v_delivery, 'dev.switchyard.delivery.conflicted.v1', '/switchyard/deliveries',
            'trg_' || replace(new.trigger_id::text, '-', ''),
            jsonb_build_object('tenantid', new.database_id, 'severity', 'warning'),
            json_build_object(
                'delivery', v_delivery, 'first', 'dlv_' || replace(new.first_id::text, '-', ''),
                'vendor', new.vendor, 'reason', new.reason
            )
        );
    end if;
    return null;
end
$$;
create trigger tell_conflict after insert on switchyard.deliveries
    for each row when (new.verdict = 'conflict') execute function switchyard.tell_conflict();

reset role;
