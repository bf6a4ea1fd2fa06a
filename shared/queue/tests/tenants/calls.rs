//! How each function is called, and what may come of it.

/// What a function is for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// Tells a tenant what is its own.
    Reads,
    /// Changes what is a tenant's own.
    Writes,
    /// For whoever holds a job: its epoch is the right.
    Fenced,
    /// Concerns no tenant, or all of them. Says why that is right.
    ForAll(#[expect(dead_code, reason = "for who reads the table")] &'static str),
}

pub(crate) struct Call {
    pub(crate) role: &'static str,
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// `{tenant}` is the caller; the other names are of things of one tenant.
    pub(crate) sql: &'static str,
    /// That a hold was over is written down when it is used.
    pub(crate) notes_stale: bool,
}

const SYSTEM: &str = "switchyard_system";
const TENANT: &str = "switchyard_tenant";
const OBSERVER: &str = "switchyard_observer";

const fn reads(role: &'static str, name: &'static str, sql: &'static str) -> Call {
    Call {
        role,
        name,
        kind: Kind::Reads,
        sql,
        notes_stale: false,
    }
}

const fn writes(role: &'static str, name: &'static str, sql: &'static str) -> Call {
    Call {
        role,
        name,
        kind: Kind::Writes,
        sql,
        notes_stale: false,
    }
}

const fn fenced(name: &'static str, sql: &'static str) -> Call {
    Call {
        role: SYSTEM,
        name,
        kind: Kind::Fenced,
        sql,
        notes_stale: false,
    }
}

/// The same, for one that writes down that a hold was over.
const fn fenced_noted(name: &'static str, sql: &'static str) -> Call {
    Call {
        role: SYSTEM,
        name,
        kind: Kind::Fenced,
        sql,
        notes_stale: true,
    }
}

const fn for_all(role: &'static str, name: &'static str, why: &'static str) -> Call {
    Call {
        role,
        name,
        kind: Kind::ForAll(why),
        sql: "",
        notes_stale: false,
    }
}

const CLOCK: &str = "the clock and the leases are everybody's";
const RELAY: &str = "the relay publishes for everybody";
const INSTALLATION: &str = "belongs to the installation";
const PERSON: &str = "of a person, who is shown by a secret that nobody else has";
const BY_ROW: &str = "the row's own tenant is used, never an argument";

pub(crate) const CALLS: &[Call] = &[
    writes(
        SYSTEM,
        "accept_event",
        "select switchyard.accept_event(
            {tenant}, md5('of-a')::uuid, gen_random_uuid(), 'type', '/', null, '{}'
        )",
    ),
    writes(
        SYSTEM,
        "add_artifact",
        "select a.* from switchyard.add_artifact(
            {tenant}, {running}, 1, md5('of-a')::uuid, 'of-a', 'text/plain', 1, sha256('x'), 'blob', false
        ) a",
    ),
    writes(SYSTEM, "add_job", "select switchyard.add_job({tenant}, 'task', '{}')"),
    for_all(SYSTEM, "analyse_history", INSTALLATION),
    fenced("append_lines", "select switchyard.append_lines({running}, {epoch}, 'stdout', array['a line'])"),
    fenced("append_log", "select switchyard.append_log({running}, {epoch}, array[2::bigint], array['task'], array['a line'])"),
    for_all(SYSTEM, "arm_relay", RELAY),
    writes(SYSTEM, "ask_bulk", "select switchyard.ask_bulk({tenant}, 'replay', '{}', 'a person')"),
    fenced_noted(
        "begin_run",
        "select switchyard.begin_run(
            {running}, {epoch}, 'plan', 'local', 'sealed', '{}', array['init'], interval '1 minute', interval '1 minute',
            interval '1 hour', null, false
        )",
    ),
    fenced_noted(
        "bulk_step",
        "select b.* from switchyard.bulk_step({running}, {epoch}, 'purge', '{\"until\": \"2100-01-01\"}', 'a person', 10) b",
    ),
    writes(
        SYSTEM,
        "callback_job",
        "select c.* from switchyard.callback_job({tenant}, {callback}, 1, 'success', null, false, null, null, null, null) c",
    ),
    writes(SYSTEM, "cancel_job", "select switchyard.cancel_job({tenant}, {running}, 'a person')"),
    writes(
        SYSTEM,
        "change_schedule",
        "select switchyard.change_schedule({tenant}, {schedule}, 'new name', 'task', '\"0 4 * * *\"')",
    ),
    for_all(SYSTEM, "claim_by_default", "workers work for everybody"),
    for_all(SYSTEM, "claim_jobs", "workers work for everybody"),
    for_all(SYSTEM, "claimable_jobs", RELAY),
    writes(
        SYSTEM,
        "clear_terraform_state",
        "select c.* from switchyard.clear_terraform_state({tenant}, 'of-a-free', 'a person', null, null) c",
    ),
    writes(SYSTEM, "decide_job", "select switchyard.decide_job({tenant}, {approval}, true, 'a person')"),
    writes(TENANT, "decide_own_job", "select switchyard.decide_own_job({approval}, true, null, 'a person')"),
    writes(
        SYSTEM,
        "declare_schedule",
        "select switchyard.declare_schedule({tenant}, 'declared', 'other task', '\"0 4 * * *\"')",
    ),
    for_all(SYSTEM, "delete_expired_rows", INSTALLATION),
    writes(SYSTEM, "drop_default_executor", "select switchyard.drop_default_executor({tenant})"),
    for_all(SYSTEM, "drop_expired_day", INSTALLATION),
    for_all(SYSTEM, "drop_old_secrets", CLOCK),
    for_all(SYSTEM, "due_schedules", CLOCK),
    for_all(SYSTEM, "drop_bodies", CLOCK),
    for_all(SYSTEM, "drop_idle_uploads", CLOCK),
    for_all(SYSTEM, "drop_run_specs", "retention is the installation's"),
    writes(SYSTEM, "drop_upload", "select switchyard.drop_upload({tenant}, md5('of-a')::uuid)"),
    writes(SYSTEM, "end_run", "select e.* from switchyard.end_run({tenant}, {outside}, 1, 'succeeded', null, '{}', false) e"),
    fenced_noted(
        "finish_deploy",
        "select f.* from switchyard.finish_deploy(
            {running}, {epoch}, md5('of-a')::uuid, null, 'c0ffee', 'prefix', 'hash', 1, 1, '[]'
        ) f",
    ),
    fenced_noted(
        "finish_jobs",
        "select f.* from switchyard.finish_jobs(
            array[{running}::bigint], array[{epoch}::bigint], '{succeeded}', array[null::text], array[null::jsonb]
        ) f",
    ),
    for_all(SYSTEM, "finish_rollback", "as finish_deploy; a revision to go back to is in its own tests"),
    for_all(SYSTEM, "fire_next_tick", BY_ROW),
    for_all(SYSTEM, "fire_schedule", BY_ROW),
    writes(
        SYSTEM,
        "force_unlock_terraform_state",
        "select switchyard.force_unlock_terraform_state({tenant}, 'of-a', 'a person')",
    ),
    for_all(SYSTEM, "forget_artifacts", "retention is the installation's"),
    for_all(SYSTEM, "forget_deeds", INSTALLATION),
    for_all(SYSTEM, "forget_deliveries", CLOCK),
    for_all(SYSTEM, "forget_delivery_keys", CLOCK),
    for_all(SYSTEM, "forget_keys", INSTALLATION),
    for_all(SYSTEM, "forget_rejections", CLOCK),
    for_all(SYSTEM, "forget_runs", "retention is the installation's"),
    for_all(SYSTEM, "forget_task", INSTALLATION),
    for_all(SYSTEM, "forget_upload", CLOCK),
    for_all(SYSTEM, "forget_worker", INSTALLATION),
    for_all(SYSTEM, "free_ended_terraform_locks", CLOCK),
    fenced("hear_cancels", "select switchyard.hear_cancels(array[{stopping}::bigint], array[{epoch}::bigint])"),
    fenced(
        "heartbeat_jobs",
        "select h.* from switchyard.heartbeat_jobs(array[{running}::bigint], array[{epoch}::bigint], interval '1 minute') h",
    ),
    for_all(SYSTEM, "job_reasons", "what it tells is in the tenant's own form below"),
    for_all(SYSTEM, "left_behind_twice", "tells only which of the caller's own holds are over"),
    for_all(SYSTEM, "left_in", "a number; the tenant's own form is below"),
    writes(
        SYSTEM,
        "lock_terraform_state",
        "select l.* from switchyard.lock_terraform_state(
            {tenant}, gen_random_uuid(), 'of-a-free', 'mine', '{}', 'a person', null, null
        ) l",
    ),
    writes(SYSTEM, "lose_runner", "select switchyard.lose_runner({tenant}, {outside}, 1, 'it died')"),
    for_all(SYSTEM, "make_due", CLOCK),
    for_all(SYSTEM, "make_partitions", INSTALLATION),
    for_all(SYSTEM, "measure", INSTALLATION),
    for_all(SYSTEM, "next_due", CLOCK),
    for_all(SYSTEM, "note_hearing", RELAY),
    writes(
        TENANT,
        "note_own_terraform_download",
        "select switchyard.note_own_terraform_download(md5('of-a')::uuid, 1, 'a person')",
    ),
    for_all(SYSTEM, "note_rejection", "each rejection names its trigger, whose tenant it gets"),
    writes(SYSTEM, "note_terraform_read", "select switchyard.note_terraform_read({tenant}, 'of-a', 1, 'a person')"),
    writes(SYSTEM, "pause", "select switchyard.pause('pause', {tenant}, 'queued', null, 'a person', null)"),
    writes(SYSTEM, "pause_schedule", "select switchyard.pause_schedule({tenant}, {schedule}, 'a person', null)"),
    for_all(SYSTEM, "plan_schedule", BY_ROW),
    writes(
        TENANT,
        "promote_own_terraform_version",
        "select switchyard.promote_own_terraform_version(md5('of-a-free')::uuid, 2, 'a person')",
    ),
    writes(
        SYSTEM,
        "publish",
        "select switchyard.publish('observed', {tenant}, 'id', 'type', '/', null, '{}', '{}')",
    ),
    writes(SYSTEM, "purge_job", "select switchyard.purge_job({tenant}, {dead})"),
    reads(
        SYSTEM,
        "read_terraform_state",
        "select r.outcome, convert_from(r.sealed, 'UTF8') from switchyard.read_terraform_state({tenant}, 'of-a', null, null) r",
    ),
    for_all(SYSTEM, "reap_jobs", CLOCK),
    for_all(SYSTEM, "append_workload_logs", "lines go where the workload is, whose tenant is compared"),
    for_all(SYSTEM, "end_look", "the place's own tenant is used, never an argument"),
    for_all(SYSTEM, "end_notification", "the notification's own tenant is used, never an argument"),
    for_all(SYSTEM, "fail_look", "the place's own tenant is used, never an argument"),
    for_all(SYSTEM, "flag_silent_hooks", "a reconciler looks after all tenants"),
    for_all(SYSTEM, "forget_notifications", "retention is the installation's"),
    for_all(SYSTEM, "record_decisions_once", "the event's own tenant is used, never an argument"),
    for_all(SYSTEM, "record_log", "what the system sees of a tenant it says to that tenant"),
    for_all(SYSTEM, "record_log_matches", "the rule's own tenant is used, never an argument"),
    writes(
        TENANT,
        "remove_own_terraform_state",
        "select switchyard.remove_own_terraform_state(md5('of-a-free')::uuid, 'a person')",
    ),
    for_all(SYSTEM, "take_notifications", "a reconciler sends for all tenants"),
    for_all(SYSTEM, "take_places", "a reconciler looks for all tenants"),
    for_all(SYSTEM, "end_credential_check", "the credential's own tenant is used, never an argument"),
    for_all(SYSTEM, "end_sync", "the workspace's own tenant is used, never an argument"),
    for_all(SYSTEM, "fail_sync", "the workspace's own tenant is used, never an argument"),
    for_all(SYSTEM, "take_credentials", "a reconciler looks for all tenants"),
    for_all(SYSTEM, "take_workspaces", "a reconciler looks for all tenants"),
    writes(
        TENANT,
        "unlock_own_terraform_state",
        "select switchyard.unlock_own_terraform_state(md5('of-a')::uuid, 'of-a', 'a person', null)",
    ),
    for_all(SYSTEM, "state_person", PERSON),
    writes(
        SYSTEM,
        "unlock_terraform_state",
        "select u.* from switchyard.unlock_terraform_state({tenant}, 'of-a', 'of-a', null, null) u",
    ),
    for_all(SYSTEM, "unread_lines", "a reconciler reads for all tenants"),
    for_all(OBSERVER, "write_notifications", "the event's tenant, and its own endpoints"),
    for_all(SYSTEM, "record_decisions", "the event's own tenant is used, never an argument"),
    for_all(SYSTEM, "relay_heard", RELAY),
    fenced("release_jobs", "select switchyard.release_jobs(array[{running}::bigint], array[{epoch}::bigint])"),
    writes(
        SYSTEM,
        "run_news",
        "select n.* from switchyard.run_news(
            {tenant}, {outside}, 1, 1, array['stdout'], array['a line'], '{}', '{}', '{}', '{}', null
        ) n",
    ),
    writes(SYSTEM, "remove_schedule", "select switchyard.remove_schedule({tenant}, {schedule})"),
    writes(
        SYSTEM,
        "repair_jobs",
        "select r.* from switchyard.repair_jobs(
            'reap', {tenant}, array[{running}::bigint], null, null, 10, false, 'a person', null
        ) r",
    ),
    writes(
        SYSTEM,
        "repair_wakeups",
        "select r.* from switchyard.repair_wakeups({tenant}, 'queued', 10, false, 'a person', null) r",
    ),
    fenced_noted(
        "replay_deliveries_step",
        "select r.* from switchyard.replay_deliveries_step({running}, {epoch}, '{}', null, 10, 10) r",
    ),
    writes(SYSTEM, "replay_job", "select switchyard.replay_job({tenant}, {dead}, 'a person')"),
    for_all(SYSTEM, "republish_cancels", RELAY),
    for_all(SYSTEM, "republish_events", RELAY),
    for_all(SYSTEM, "republish_wakeups", RELAY),
    for_all(SYSTEM, "rest_lanes", CLOCK),
    writes(SYSTEM, "resume", "select switchyard.resume(null, {tenant}, 'paused', null, 'a person', null)"),
    writes(SYSTEM, "resume_schedule", "select switchyard.resume_schedule({tenant}, {asleep}, now() + interval '2 hours')"),
    fenced_noted("retry_job", "select switchyard.retry_job({running}, {epoch}, 'broken', interval '1 hour')"),
    writes(SYSTEM, "run_schedule", "select switchyard.run_schedule({tenant}, {schedule}, 'a person')"),
    for_all(SYSTEM, "see_worker", INSTALLATION),
    writes(
        SYSTEM,
        "set_artifact_quota",
        "select switchyard.set_artifact_quota({tenant}, 1000, 100, 'a person')",
    ),
    writes(
        SYSTEM,
        "set_default_executor",
        "select switchyard.set_default_executor({tenant}, 'openfaas', null, 'response', interval '1 minute', 'a person', null)",
    ),
    for_all(SYSTEM, "set_executor", INSTALLATION),
    writes(SYSTEM, "set_lane_cap", "select switchyard.set_lane_cap({tenant}, 'queued', 3, 'a person')"),
    writes(SYSTEM, "set_limit", "select switchyard.set_limit({tenant}, 'queued', 3, null, null, 'a person')"),
    fenced_noted("set_progress", "select switchyard.set_progress({running}, {epoch}, '{\"done\": 1}')"),
    for_all(SYSTEM, "set_trigger_schedule", "the tenant's own form is below"),
    writes(SYSTEM, "set_weight", "select switchyard.set_weight({tenant}, 2, 'a person')"),
    fenced_noted("settle_cancel", "select switchyard.settle_cancel({stopping}, {epoch}, 'applied', null)"),
    writes(SYSTEM, "settle_job", "select switchyard.settle_job({tenant}, {queued}, 'dead', 'a person')"),
    fenced_noted("snooze_job", "select switchyard.snooze_job({running}, {epoch}, interval '1 hour', 'busy')"),
    writes(
        SYSTEM,
        "stage_artifact",
        "select s.* from switchyard.stage_artifact({tenant}, {running}, 1, 'plan', 10, gen_random_uuid()) s",
    ),
    fenced("take_cancel", "select t.* from switchyard.take_cancel({stopping}, {epoch}, interval '1 minute') t"),
    for_all(SYSTEM, "take_deliveries", "each delivery names its trigger, whose tenant it gets"),
    for_all(SYSTEM, "unpack_outbox", RELAY),
    fenced_noted("wait_job", "select switchyard.wait_job({running}, {epoch}, 'callback', interval '1 hour', null)"),
    for_all(SYSTEM, "wake_relay", RELAY),
    for_all(OBSERVER, "wake_relay", RELAY),
    writes(
        TENANT,
        "accept_own_event",
        "select switchyard.accept_own_event(
            {tenant}, md5('of-a')::uuid, gen_random_uuid(), 'type', '/', null, '{}', null, null, null, 0, null, null, null
        )",
    ),
    writes(
        TENANT,
        "add_own_artifact",
        "select a.* from switchyard.add_own_artifact(
            0, md5('of-a-shelf')::uuid, 'of-a-shelf', 'text/plain', 1, sha256('x'), 'blob', false, 'a person'
        ) a",
    ),
    writes(TENANT, "add_own_job", "select a.* from switchyard.add_own_job('task', '{}', null, null, null, 'a person') a"),
    writes(TENANT, "ask_own_bulk", "select switchyard.ask_own_bulk('replay', '{}', 'a person')"),
    writes(TENANT, "ask_own_replays", "select switchyard.ask_own_replays('{}', null, 'a person')"),
    writes(TENANT, "cancel_own_job", "select switchyard.cancel_own_job({running}, 'a person')"),
    writes(
        TENANT,
        "change_own_schedule",
        "select switchyard.change_own_schedule(
            {schedule}, 'new name', 'task', '\"0 4 * * *\"', null, '{}', null, 0, null, null, 'last', '0', null, '{}'
        )",
    ),
    for_all(TENANT, "close_session", PERSON),
    writes(
        TENANT,
        "declare_own_schedule",
        "select switchyard.declare_own_schedule(
            'declared', 'other task', '\"0 4 * * *\"', null, '{}', null, 0, null, null, 'last', '0', null, '{}', 'a person'
        )",
    ),
    writes(TENANT, "drop_own_upload", "select switchyard.drop_own_upload(md5('of-a')::uuid)"),
    writes(TENANT, "drop_own_url", "select switchyard.drop_own_url('called')"),
    writes(
        TENANT,
        "note_own_artifact_read",
        "select switchyard.note_own_artifact_read(md5('of-a-kept')::uuid, 'a person')",
    ),
    writes(
        TENANT,
        "note_own_delivery_deed",
        "select switchyard.note_own_delivery_deed(md5('of-a')::uuid, 'read_body', 'a person', '{}')",
    ),
    for_all(TENANT, "open_session", PERSON),
    for_all(TENANT, "own_job_reasons", "tried by itself: it tells of states, not of names"),
    for_all(TENANT, "own_left_in", "tried by itself: it tells a number"),
    writes(
        TENANT,
        "note_own_trigger_deed",
        "select switchyard.note_own_trigger_deed(md5('of-a')::uuid, 'trigger_change', 'a person', '{}')",
    ),
    for_all(TENANT, "note_own_deed", "writes for the caller's own tenant, and names nothing else"),
    for_all(TENANT, "own_trigger_schedule", "names no tenant; tried where triggers are shown"),
    reads(TENANT, "own_limits", "select l.* from switchyard.own_limits() l"),
    reads(TENANT, "own_pauses", "select p.* from switchyard.own_pauses() p"),
    writes(TENANT, "pause_own", "select switchyard.pause_own('pause', 'queued', null, 'a person', null)"),
    writes(TENANT, "pause_own_schedule", "select switchyard.pause_own_schedule({schedule}, 'a person', null)"),
    writes(TENANT, "purge_own_job", "select switchyard.purge_own_job({dead}, 'a person')"),
    writes(
        TENANT,
        "redeliver_own_notification",
        "select switchyard.redeliver_own_notification(md5('of-a')::uuid, gen_random_uuid())",
    ),
    writes(TENANT, "remove_own_artifact", "select switchyard.remove_own_artifact(md5('of-a-kept')::uuid, 'a person')"),
    writes(TENANT, "remove_own_schedule", "select switchyard.remove_own_schedule({schedule})"),
    writes(
        TENANT,
        "repair_own_jobs",
        "select r.* from switchyard.repair_own_jobs(
            'reap', array[{running}::bigint], null, null, 10, false, 'a person', null
        ) r",
    ),
    writes(
        TENANT,
        "repair_own_wakeups",
        "select r.* from switchyard.repair_own_wakeups('queued', 10, false, 'a person', null) r",
    ),
    writes(
        TENANT,
        "repeat_own_delivery",
        "select r.* from switchyard.repeat_own_delivery(md5('of-a')::uuid, null, 'request', 'a person') r",
    ),
    writes(TENANT, "replay_own_job", "select switchyard.replay_own_job({dead}, 'a person')"),
    writes(TENANT, "resume_own", "select switchyard.resume_own({pause}, 'a person', null)"),
    writes(
        TENANT,
        "resume_own_schedule",
        "select switchyard.resume_own_schedule({asleep}, now() + interval '2 hours', '{}')",
    ),
    writes(
        TENANT,
        "test_own_endpoint",
        "select switchyard.test_own_endpoint(md5('of-a')::uuid, gen_random_uuid(), 'test-1', 'type', '{}')",
    ),
    writes(
        TENANT,
        "rotate_own_endpoint_secret",
        "select switchyard.rotate_own_endpoint_secret(md5('of-a')::uuid, 'sealed', interval '1 hour')",
    ),
    writes(
        TENANT,
        "rotate_own_secret",
        "select switchyard.rotate_own_secret(md5('of-a')::uuid, 'sealed', null, null)",
    ),
    writes(TENANT, "run_own_schedule", "select switchyard.run_own_schedule({schedule}, 'a person')"),
    for_all(TENANT, "session", PERSON),
    writes(TENANT, "set_own_lane_cap", "select switchyard.set_own_lane_cap('queued', 3, 'a person', null)"),
    writes(TENANT, "set_own_limit", "select switchyard.set_own_limit('limited', 3, null, null, 'a person', null)"),
    writes(
        TENANT,
        "set_own_trigger_schedule",
        "select switchyard.set_own_trigger_schedule(
            md5('of-a')::uuid, '\"0 4 * * *\"', null, 'last', true, null, '{}', 'a person'
        )",
    ),
    writes(TENANT, "set_own_url", "select switchyard.set_own_url('called', 'https://other.example/', 'a person')"),
    writes(
        TENANT,
        "stage_own_artifact",
        "select s.* from switchyard.stage_own_artifact({running}, 'notes', 10, gen_random_uuid()) s",
    ),
    writes(
        SYSTEM,
        "write_terraform_state",
        "select w.* from switchyard.write_terraform_state(
            {tenant}, gen_random_uuid(), 'of-a-free', null, gen_random_uuid(), 1, 'l', null, sha256('y'), 1, 'y', 'a person',
            null, null
        ) w",
    ),
];
