-- Each byte of a delivery is written once: an event's data stands in the event and not in the outbox as well, and what is
-- short enough for a page is not moved out of its row.
set local role switchyard_owner;

-- An event in the words of its row in the outbox. The relay takes the data from the event, unless it is over 64 KiB: that
-- stays behind, for dispatch reads the row anyway.
create or replace function switchyard.inbound_event(
    p_event switchyard.events,
    out broker switchyard.broker, out database_id uuid, out ce_id text, out ce_type text, out ce_source text,
    out ce_subject text, out extensions jsonb, out data json
)
language sql stable set search_path = pg_catalog, pg_temp
begin atomic
    select
        'inbound'::switchyard.broker, p_event.database_id, n.name, p_event.type, p_event.source, p_event.subject,
        jsonb_strip_nulls(jsonb_build_object(
            'tenantid', p_event.database_id,
            'correlationid', p_event.correlation_id,
            'causationid', p_event.causation_id,
            'depth', p_event.depth,
            'traceparent', p_event.traceparent,
            'dataref', case when octet_length(p_event.data::text) > 65536 then '/api/events/' || n.name end
        )),
        null::json
    from (select 'evt_' || replace(p_event.id::text, '-', '') as name) n;
end;

-- Compressing two kilobytes, or cutting them up, costs more than the place that they take.
alter table switchyard.events set (toast_tuple_target = 8160);
alter table switchyard.deliveries set (toast_tuple_target = 8160);

reset role;
