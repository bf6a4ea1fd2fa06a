-- One of everything for a tenant. What could be told to another says whose it is.
insert into switchyard.tenants (database_id, name) values ('{tenant}', '{mark}');
insert into switchyard.tasks (name, executor) values ('called', 'http') on conflict do nothing;

-- A job in each state.
select switchyard.add_job('{tenant}', 'queued', '{"mark": "{mark}"}', p_run_at => now() - interval '1 minute');
select switchyard.add_job('{tenant}', '{mark}-' || task, '{"mark": "{mark}"}', p_actor => '{mark}')
from unnest(array['running', 'approval', 'callback', 'outside', 'stopping', 'dead']) task;
select switchyard.claim_jobs(
    gen_random_uuid(), array(select '{mark}-' || t from unnest(array['running', 'approval', 'callback', 'outside', 'stopping', 'dead']) t),
    10, interval '1 hour', '{tenant}'
);
select switchyard.wait_job(id, epoch, 'approval', interval '1 hour', null) from switchyard.jobs where task = '{mark}-approval';
select switchyard.wait_job(id, epoch, 'callback', interval '1 hour', null) from switchyard.jobs where task = '{mark}-callback';
select switchyard.wait_job(id, epoch, 'runner', interval '1 hour', '{"pod": "{mark}"}') from switchyard.jobs where task = '{mark}-stopping';
select switchyard.begin_run(
    id, epoch, '{mark}', 'local', 'sealed', '{"pod": "{mark}"}', array['{mark}'], interval '1 hour', interval '1 minute',
    interval '1 hour', null, false
) from switchyard.jobs where task = '{mark}-outside';
select switchyard.cancel_job(database_id, id, 'a person') from switchyard.jobs where task = '{mark}-stopping';
select switchyard.finish_jobs(array[id], array[epoch], '{dead}', array['{mark}'], array[null::jsonb])
from switchyard.jobs where task = '{mark}-dead';
select switchyard.append_log(id, epoch, array[1::bigint], array['task'], array['{mark}']) from switchyard.jobs where task = '{mark}-running';

-- What rules it.
select switchyard.pause('pause', '{tenant}', 'paused', null, '{mark}', null, true);
select switchyard.set_limit('{tenant}', 'limited', 5, null, null, '{mark}', null, true);
insert into switchyard.tenant_urls (database_id, task, url, set_by) values ('{tenant}', 'called', 'https://{mark}.example/', '{mark}');
insert into switchyard.executor_defaults (database_id, executor, set_by) values ('{tenant}', 'knative', '{mark}');
select switchyard.declare_schedule('{tenant}', '{mark}', 'task', '"0 3 * * *"', p_next => now() + interval '1 hour');
select switchyard.declare_schedule('{tenant}', '{mark}-asleep', 'task', '"0 3 * * *"', p_next => now() + interval '1 hour');
select switchyard.pause_schedule(database_id, id, 'a person', null) from switchyard.schedules where name = '{mark}-asleep';

-- What deploys are about.
insert into switchyard.workloads (id, database_id, name, source, config, host)
values (md5('{mark}')::uuid, '{tenant}', '{mark}', 'static', '{}', '{mark}');
insert into switchyard.triggers (id, database_id, name, kind) values (md5('{mark}')::uuid, '{tenant}', '{mark}', 'manual');
insert into switchyard.bindings (id, database_id, trigger_id, workload_id)
values (md5('{mark}')::uuid, '{tenant}', md5('{mark}')::uuid, md5('{mark}')::uuid);
insert into switchyard.events (id, database_id, type, source, data, correlation_id)
values (md5('{mark}')::uuid, '{tenant}', 'type', '/', '{}', '{mark}');
insert into switchyard.deliveries (id, database_id, trigger_id, vendor, verdict, body_bytes)
values (md5('{mark}')::uuid, '{tenant}', md5('{mark}')::uuid, '{mark}', 'ignored', 0);
insert into switchyard.event_log (database_id, severity, source, message) values ('{tenant}', 'info', 'test', '{mark}');

-- What terraform knows.
insert into switchyard.terraform_states (
    id, database_id, name, current, versions, lock_id, lock_holder, locked_at, locked_by
) values (md5('{mark}')::uuid, '{tenant}', '{mark}', 1, 1, '{mark}', '{"ID": "{mark}", "Who": "{mark}"}', now(), '{mark}');
insert into switchyard.terraform_states (id, database_id, name, current, versions)
values (md5('{mark}-free')::uuid, '{tenant}', '{mark}-free', 1, 2);
insert into switchyard.terraform_versions (
    database_id, state_id, number, id, serial, lineage, sha256, bytes, sealed, by_whom
) select '{tenant}', md5(s)::uuid, n, gen_random_uuid(), n, '{mark}', sha256('{mark}'), 1, '{mark}', '{mark}'
from unnest(array['{mark}', '{mark}-free']) s, generate_series(1, 2) n;

-- What is watched, and who is told.
insert into switchyard.credentials (id, database_id, name, host, secret) values (md5('{mark}')::uuid, '{tenant}', '{mark}', 'git.example.test', 'x');
insert into switchyard.places (id, database_id, kind, url) values (md5('{mark}')::uuid, '{tenant}', 'git', 'https://git.example.test/{mark}');
insert into switchyard.workspaces (id, database_id, name, repository, branch, credential_id, created_by) values (md5('{mark}')::uuid, '{tenant}', '{mark}', 'https://git.example.test/{mark}', 'main', md5('{mark}')::uuid, 'me');
insert into switchyard.workspace_templates (database_id, workspace_id, path, kind) values ('{tenant}', md5('{mark}')::uuid, '{mark}', 'terraform');
insert into switchyard.watches (database_id, trigger_id, place_id, names, created_by)
values ('{tenant}', md5('{mark}')::uuid, md5('{mark}')::uuid, array['main'], '{mark}');
insert into switchyard.log_rules (id, database_id, name, pattern, severity, streams)
values (md5('{mark}')::uuid, '{tenant}', '{mark}', 'x', 'info', array['task']);
insert into switchyard.log_rule_overrides (database_id, rule_id, workload_id) values ('{tenant}', md5('{mark}')::uuid, md5('{mark}')::uuid);
insert into switchyard.notification_endpoints (id, database_id, name, url, format, secret)
values (md5('{mark}')::uuid, '{tenant}', '{mark}', 'https://example.test/', 'standard', 'x');
insert into switchyard.notification_rules (id, database_id, endpoint_id, name, types)
values (md5('{mark}')::uuid, '{tenant}', md5('{mark}')::uuid, '{mark}', array['*']);
insert into switchyard.notifications (id, database_id, endpoint_id, message_id, event_id, event_type, body, state, ended_at)
values (md5('{mark}')::uuid, '{tenant}', md5('{mark}')::uuid, '{mark}', '{mark}', 'type', '{}', 'delivered', now());

-- What work left behind: an artifact, and places for two more.
insert into switchyard.artifacts (id, database_id, job_id, epoch, name, media_type, bytes, sha256, blob, sealed)
values (md5('{mark}-kept')::uuid, '{tenant}', 0, 0, '{mark}-kept', 'text/plain', 1, sha256('x'), '{mark}', true);
insert into switchyard.artifact_quotas (database_id, bytes, artifacts) values ('{tenant}', 1, 1);
insert into switchyard.artifact_uploads (id, database_id, job_id, epoch, name)
select md5('{mark}')::uuid, database_id, id, epoch, '{mark}' from switchyard.jobs where task = '{mark}-running'
union all
select md5('{mark}-shelf')::uuid, '{tenant}', 0, 0, '{mark}-shelf';
