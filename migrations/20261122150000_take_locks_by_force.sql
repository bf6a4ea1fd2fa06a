-- `terraform force-unlock` names no lock to an http backend: from a person it takes whatever lock there is, on record.
set local role switchyard_owner;

-- Takes a state's lock from who holds it, for a person. False when nobody holds it.
create function switchyard.force_unlock_terraform_state(p_database_id uuid, p_name text, p_by text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_state switchyard.terraform_states;
begin
    select * into v_state from switchyard.terraform_states
    where database_id = p_database_id and name = p_name and lock_id is not null
    for update;
    if v_state.id is null then
        return false;
    end if;
    perform switchyard.free_terraform_lock(v_state, 'force_unlock_state', p_by, 'terraform force-unlock');
    return true;
end
$$;
revoke execute on function switchyard.force_unlock_terraform_state from public;
grant execute on function switchyard.force_unlock_terraform_state to switchyard_system;

reset role;
