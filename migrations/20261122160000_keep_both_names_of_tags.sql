-- A look knows an annotated tag by its object and by the commit that it names; a hook tells one of the two, and which one
-- depends on the host. Both are kept, so that one push that both tell of starts one job whichever comes first.
set local role switchyard_owner;

-- Another name for the same state, told with it.
alter table switchyard.seen add also text check (length(also) between 1 and 300);

-- Takes note of what an event tells of a watched ref or tag. Says which state it repeats, when it only tells what the other
-- kind of reporter told last; null otherwise, also for what is replayed by hand and for triggers that nobody watches.
create or replace function switchyard.see(p_event switchyard.events) returns text
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_told record;
    v_also text;
    v_seen switchyard.seen;
begin
    if p_event.trigger_id is null or p_event.replays is not null or p_event.only_binding_id is not null then
        return null;
    end if;
    if not exists (
        select from switchyard.watches w
        where w.database_id = p_event.database_id and w.trigger_id = p_event.trigger_id
    ) then
        return null;
    end if;
    select * into v_told from switchyard.told_state(p_event.type, p_event.data);
    if v_told.name is null then
        return null;
    end if;
    v_also := left(p_event.data ->> 'commit', 300);
    insert into switchyard.seen (database_id, trigger_id, name, state, also, told_by)
    values (p_event.database_id, p_event.trigger_id, v_told.name, v_told.state, v_also, v_told.told_by)
    on conflict do nothing;
    if found then
        return null;
    end if;
    select * into strict v_seen from switchyard.seen s
    where s.database_id = p_event.database_id and s.trigger_id = p_event.trigger_id and s.name = v_told.name
    for update;
    -- A hook that does not say what the state is tells of what was found a moment ago; were it something newer, the next
    -- look would find it.
    if (v_seen.told_by = 'look' and v_told.told_by = 'hook' or v_seen.told_by = 'hook' and v_told.told_by = 'look')
        and (
            array[v_seen.state, v_seen.also] && array[v_told.state, v_also]
            or '?' in (v_seen.state, v_told.state)
        )
    then
        update switchyard.seen s
        set told_by = 'both', silent_at = null,
            state = case when v_told.state = '?' then s.state else v_told.state end,
            also = coalesce(v_also, s.also),
            version = s.version + case when s.state = '?' then 1 else 0 end
        where s.database_id = v_seen.database_id and s.trigger_id = v_seen.trigger_id and s.name = v_seen.name;
        return case when v_told.state = '?' then v_seen.state else v_told.state end;
    end if;
    update switchyard.seen s
    set state = v_told.state, also = v_also, told_by = v_told.told_by, version = s.version + 1, at = now(),
        silent_at = null
    where s.database_id = v_seen.database_id and s.trigger_id = v_seen.trigger_id and s.name = v_seen.name;
    return null;
end
$$;

reset role;
