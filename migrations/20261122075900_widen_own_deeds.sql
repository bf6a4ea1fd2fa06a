-- What people do to credentials and workspaces is on record as well.
set local role switchyard_owner;

create or replace function switchyard.note_own_deed(p_deed text, p_by text, p_data jsonb) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- The deeds of the queue and of triggers are recorded by what does them, and by nothing else.
    if p_deed !~ '^(log_rule|notification_rule|endpoint|watch)_(create|change|remove|secret|test|look)$'
        and p_deed !~ '^(credential|workspace)_(create|change|remove|rotate)$'
        and p_deed <> 'notification_redeliver'
    then
        raise exception '% is not a deed of these', p_deed using errcode = 'invalid_parameter_value';
    end if;
    perform switchyard.record_deed(p_deed, switchyard.own_tenant(), left(p_by, 200), null, p_data);
end
$$;

reset role;
