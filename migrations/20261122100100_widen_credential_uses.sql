-- What would fail without a credential of a host that runs labs: the triggers that start something there.
set local role switchyard_owner;

-- What would fail without a credential: workspaces and triggers, by name.
create or replace function switchyard.credential_uses(p_database_id uuid, p_credential uuid) returns text[]
language sql stable set search_path = pg_catalog, pg_temp
begin atomic
    select coalesce(array_agg(u.name order by u.name), '{}')
    from (
        (
            select 'workspace ' || w.name as name from switchyard.workspaces w
            where w.database_id = p_database_id and w.credential_id = p_credential
            order by w.name
            limit 20
        )
        union
        (
            select 'trigger ' || t.name
            from switchyard.places p
            join switchyard.watches w on w.database_id = p.database_id and w.place_id = p.id
            join switchyard.triggers t on t.database_id = w.database_id and t.id = w.trigger_id
            where p.database_id = p_database_id and p.credential_id = p_credential
            order by t.name
            limit 20
        )
        union
        (
            select 'trigger ' || t.name
            from switchyard.bindings b
            join switchyard.triggers t on t.database_id = b.database_id and t.id = b.trigger_id
            where b.database_id = p_database_id and b.task = 'task-netlab' and b.payload ->> 'host' = p_credential::text
                and b.removed_at is null and t.removed_at is null
            order by t.name
            limit 20
        )
    ) u;
end;

reset role;
