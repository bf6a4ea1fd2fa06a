-- What people decide of what waits for them, with the reasons why they cannot.
set local role switchyard_owner;

-- Approves or rejects a job of the transaction's tenant that waits for it. A person decides on what they have read: they name
-- the plan by its SHA-256 (hex), as the run that made it reported it. Answers null when there is no such job; `approved` or
-- `rejected`; and why not: `superseded` by a newer one, `expired`, `decided` by somebody before, `not_waiting`, `other_plan`
-- than the one that waits, `moved` when a state is not any more what the plan was made from, `untrusted` when the job comes
-- from people who may not ask for approvals.
create function switchyard.decide_own_job(p_id bigint, p_approved boolean, p_sha256 text, p_by text) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant constant uuid := switchyard.own_tenant();
    v_job switchyard.jobs;
    v_state switchyard.job_state;
    v_reason text;
    v_run switchyard.runs;
begin
    perform switchyard.lock_keys(array(select id from switchyard.jobs where database_id = v_tenant and id = p_id));
    select * into v_job from switchyard.jobs where database_id = v_tenant and id = p_id for update;
    if v_job.id is null then
        select a.state, a.reason into v_state, v_reason from switchyard.jobs_archive a
        where a.database_id = v_tenant and a.id = p_id
        limit 1;
        return case
            when v_state is null then null
            when v_state = 'superseded' then 'superseded'
            when v_reason = 'rejected: nobody decided in time' then 'expired'
            when exists (
                select from switchyard.job_events
                where database_id = v_tenant and job_id = p_id and kind in ('approved', 'rejected')
            ) then 'decided'
            else 'not_waiting'
        end;
    end if;
    if v_job.state <> 'waiting' or v_job.waiting is distinct from 'approval' then
        return case
            when exists (
                select from switchyard.job_events
                where database_id = v_tenant and job_id = p_id and kind in ('approved', 'rejected')
            ) then 'decided'
            else 'not_waiting'
        end;
    end if;
    -- The clock decides, not whether somebody came by since.
    if v_job.lease_until < clock_timestamp() then
        return 'expired';
    end if;
    select * into v_run from switchyard.runs
    where database_id = v_tenant and job_id = p_id
    order by epoch desc
    limit 1;
    if v_run.job_id is not null and v_run.report #>> '{artifacts,plan}' is distinct from p_sha256 then
        return 'other_plan';
    end if;
    if p_approved then
        if v_job.payload -> 'untrusted' = 'true' then
            return 'untrusted';
        elsif exists (
            select from switchyard.terraform_reads r
            join switchyard.terraform_states s on s.database_id = r.database_id and s.id = r.state_id
            where r.database_id = v_tenant and r.job_id = p_id and r.epoch = v_run.epoch
              and r.version is distinct from s.current
        ) then
            return 'moved';
        end if;
    end if;
    if not switchyard.decide_job(v_tenant, p_id, p_approved, p_by) then
        raise exception 'job % changed while it was decided on', p_id using errcode = 'serialization_failure';
    end if;
    perform switchyard.record_deed(
        case when p_approved then 'approve' else 'reject' end, v_tenant, p_by, null,
        jsonb_build_object('job', p_id, 'task', v_job.task, 'plan', p_sha256)
    );
    return case when p_approved then 'approved' else 'rejected' end;
end
$$;
revoke execute on function switchyard.decide_own_job from public;
grant execute on function switchyard.decide_own_job to switchyard_tenant;

reset role;
