-- One role owns everything, three use it, so that what a function may do is decided by the database and not by the function.
do $$
declare
    role_name text;
begin
    foreach role_name in array array[
        'switchyard_owner',     -- owns every object; nobody logs in as it but migrations
        'switchyard_system',    -- webhooks, dispatch, tasks, reconcilers, relay, site: over all tenants, narrow grants
        'switchyard_tenant',    -- api, portal: one tenant at a time, by row level security
        'switchyard_observer'   -- listeners of `observed`: may not write anything that starts work
    ] loop
        begin
            execute format('create role %I nologin noinherit', role_name);
        exception
            -- Roles belong to the whole server: another database of it may have them already, or be making them now.
            when duplicate_object or unique_violation then null;
        end;
    end loop;
    if not (select rolsuper from pg_roles where rolname = current_user) then
        execute format(
            'grant switchyard_owner, switchyard_system, switchyard_tenant, switchyard_observer to %I',
            current_user
        );
    end if;
end
$$;

create schema switchyard authorization switchyard_owner;
comment on schema switchyard is 'Switchyard: tenants, events, workloads and the job queue';
grant usage on schema switchyard to switchyard_system, switchyard_tenant, switchyard_observer;
