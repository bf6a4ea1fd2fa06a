-- How the senders of a trigger prove who they are, and the kinds of trigger whose senders do so each in another way.
set local role switchyard_owner;

alter table switchyard.triggers
    -- The scheme with its settings, such as {"kind": "token", "header": "x-token"}; null for the usual one of the vendor
    -- whose URL the sender calls.
    add column scheme jsonb check (jsonb_typeof(scheme) = 'object' and length(scheme::text) <= 8192),
    -- SHA-256 of the secret that stands in the path of the trigger's URL, and of the one before it, which is still good for
    -- a while after a change. The secret itself is random, shown once, and stored nowhere.
    add column path_sha256 bytea check (length(path_sha256) = 32),
    add column path_sha256_previous bytea check (length(path_sha256_previous) = 32),
    drop constraint triggers_kind_check,
    add constraint triggers_kind_check check (kind in ('git', 'registry', 'webhook', 'event', 'manual'));

-- A tenant sees how senders prove who they are, and never with what.
grant select (scheme) on switchyard.triggers to switchyard_tenant, switchyard_observer;
grant update (scheme, path_sha256, path_sha256_previous) on switchyard.triggers to switchyard_tenant;

reset role;
