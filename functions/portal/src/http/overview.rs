//! What goes on now.

use axum::extract::State;
use database::TenantTx;
use host::Ctx;
use maud::Markup;
use store::pages::{self, DeliveryFilter};

use super::problem::Problem;
use super::session::Signed;
use super::visitor::Visitor;
use super::{FIRST_COMMAND, rows};
use crate::views::model::Overview;
use crate::views::overview::overview;

const DELIVERIES_MAX: usize = 8;
const JOBS_MAX: usize = 8;
const WORKLOADS_MAX: usize = 6;

pub(super) async fn page(State(ctx): State<Ctx>, signed: Signed) -> Result<Markup, Problem> {
    let mut tx = signed.begin(&ctx).await?;
    let view = read(&mut tx, &signed.visitor).await?;
    tx.commit().await?;
    Ok(overview(&signed.reader(), &view))
}

pub(super) async fn read(tx: &mut TenantTx, visitor: &Visitor) -> Result<Overview, Problem> {
    let counts = pages::overview(tx).await?;
    let deliveries = pages::deliveries(tx, DeliveryFilter::default(), None, DELIVERIES_MAX).await?;
    let mut jobs = pages::attention(tx, JOBS_MAX).await?;
    jobs.truncate(JOBS_MAX);
    let jobs = rows::jobs(tx, &jobs).await?;
    let workloads = pages::workloads(tx, None, WORKLOADS_MAX).await?;
    Ok(Overview {
        deliveries_today: rows::count(counts.deliveries),
        rejected_today: rows::count(counts.refused),
        running: rows::count(counts.running),
        waiting: rows::count(counts.waiting),
        dead: rows::count(counts.dead),
        deliveries: deliveries.into_iter().map(rows::delivery).collect(),
        jobs,
        workloads: workloads
            .iter()
            .map(|workload| rows::workload(visitor, workload))
            .collect(),
        first_command: FIRST_COMMAND.to_owned(),
        live_href: "/live/overview".to_owned(),
    })
}
