-- What a refusal costs does not tell whether there is a trigger: a look at other counts was part of a condition, and planned anew
-- for each refusal that had one.
set local role switchyard_owner;

create or replace function switchyard.note_rejection(
    p_id uuid, p_database_id uuid, p_trigger_id uuid, p_function text, p_vendor text, p_vendor_event text, p_reason text,
    p_cause text, p_headers jsonb, p_sampled integer
) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_hour constant timestamptz := date_trunc('hour', now(), 'UTC');
    v_count bigint;
    v_counts bigint;
begin
    perform set_config('synchronous_commit', 'off', true);
    insert into switchyard.rejections as r (database_id, trigger_id, hour, reason, cause)
    values (p_database_id, p_trigger_id, v_hour, p_reason, p_cause)
    on conflict (database_id, trigger_id, hour, reason) do update set count = r.count + 1
    returning count into v_count;
    -- All but the first few of an hour end here, as do those without a trigger: nothing is looked up for this condition.
    if p_trigger_id is null or v_count > p_sampled then
        return v_count;
    end if;
    -- The reasons that were counted before take their share of the samples.
    select sum(r.count) into v_counts from switchyard.rejections r
    where r.database_id = p_database_id and r.trigger_id = p_trigger_id and r.hour = v_hour;
    if v_counts > p_sampled then
        return v_count;
    end if;
    insert into switchyard.deliveries (
        id, database_id, trigger_id, function, vendor, vendor_event, verdict, reason, headers, body_bytes
    ) values (p_id, p_database_id, p_trigger_id, p_function, p_vendor, p_vendor_event, 'rejected', p_reason, p_headers, 0);
    if v_count = 1 then
        perform switchyard.publish(
            'observed', p_database_id, 'dlv_' || replace(p_id::text, '-', ''),
            'dev.switchyard.delivery.rejected.v1', '/switchyard/deliveries',
            'trg_' || replace(p_trigger_id::text, '-', ''),
            jsonb_build_object('tenantid', p_database_id, 'severity', 'warning'),
            json_build_object('delivery', 'dlv_' || replace(p_id::text, '-', ''), 'vendor', p_vendor, 'reason', p_reason)
        );
    end if;
    return v_count;
end
$$;

reset role;
