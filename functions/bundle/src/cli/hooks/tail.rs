//! `switchyard hooks tail`: deliveries as they come in, and what became of them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use host::Env;
use model::{DeliveryId, TenantId, TriggerId};
use store::pages::{self, Delivery, DeliveryEvent, DeliveryFilter, DeliveryVerdict, ROWS_MAX};

use super::AsWhat;
use super::place::Place;
use crate::cli::operate::OperatorArgs;
use crate::cli::output::{Paint, line};

/// How often is looked for new ones.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How many pages are read at a look, at most: a flood is shown in part, and said to be.
const PAGES_MAX: usize = 5;
/// How many of the newest are watched for what becomes of them.
const WATCHED_MAX: usize = 500;
/// How late a delivery may become visible after one with a greater id: as long as its transaction takes.
const LATE: chrono::Duration = chrono::Duration::minutes(2);

/// Whose deliveries, and how many.
#[derive(Debug, Args)]
pub(crate) struct TailArgs {
    /// Only those of this trigger
    #[arg(long, value_name = "ID")]
    trigger: Option<TriggerId>,
    /// Whose
    #[arg(
        long,
        value_name = "NAME",
        default_value = "default",
        conflicts_with = "trigger"
    )]
    tenant: String,
    /// Begin with so many that are there already
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u16).range(0..=100))]
    last: u16,
    /// Show those, and do not wait for more
    #[arg(long)]
    no_follow: bool,
    #[command(flatten)]
    told: AsWhat,
    #[command(flatten)]
    operator: OperatorArgs,
}

/// Shows deliveries until somebody ends it.
pub(super) async fn tail(env: &Env, args: TailArgs) -> anyhow::Result<()> {
    let place = Place::new(env, &args.operator)?;
    let tenant = match args.trigger {
        Some(trigger) => place.tenant_of(trigger).await?,
        None => place.operator().tenant(&args.tenant).await?,
    };
    let filter = DeliveryFilter {
        trigger: args.trigger,
        ..DeliveryFilter::default()
    };
    let mut shown = Shown::default();
    let out = Out {
        json: args.told.is_json(),
        paint: Paint::stdout(env),
    };
    let mut first = newest(&place, tenant, filter, None, ROWS_MAX).await?;
    let older = first.split_off(first.len().min(usize::from(args.last)));
    shown.known(&older);
    for news in shown.news(first) {
        out.tell(&news)?;
    }
    if args.no_follow {
        return Ok(());
    }
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let found = shown.look(&place, tenant, filter).await?;
        for news in found {
            out.tell(&news)?;
        }
    }
}

async fn newest(
    place: &Place,
    tenant: TenantId,
    filter: DeliveryFilter,
    before: Option<DeliveryId>,
    limit: usize,
) -> anyhow::Result<Vec<Delivery>> {
    let mut tx = place.begin(tenant).await?;
    pages::deliveries(&mut tx, filter, before, limit)
        .await
        .context("the deliveries cannot be read")
}

/// Something to tell of a delivery.
#[derive(Debug)]
enum News {
    /// It is here.
    Came(Delivery),
    /// Its events were looked at.
    Became(Delivery),
    /// There were more than can be shown.
    More,
}

/// What was shown already: of each whether all that became of it was.
#[derive(Debug, Default)]
struct Shown {
    seen: BTreeMap<DeliveryId, bool>,
    /// When the newest one came.
    newest: Option<DateTime<Utc>>,
}

impl Shown {
    /// Reads back to what is known. Ids are in the order of arrival, commits are not: what is a little older counts too.
    async fn look(
        &mut self,
        place: &Place,
        tenant: TenantId,
        filter: DeliveryFilter,
    ) -> anyhow::Result<Vec<News>> {
        let mut found: Vec<Delivery> = Vec::new();
        let mut before = None;
        let mut more = true;
        for _ in 0..PAGES_MAX {
            let page = newest(place, tenant, filter, before, ROWS_MAX).await?;
            before = page.last().map(|delivery| delivery.id);
            let enough = page.len() < ROWS_MAX
                || page
                    .iter()
                    .all(|delivery| self.seen.contains_key(&delivery.id))
                || page.last().is_some_and(|last| self.is_old(last));
            found.extend(page);
            if enough {
                more = false;
                break;
            }
        }
        let mut news = if more { vec![News::More] } else { Vec::new() };
        news.extend(self.news(found));
        Ok(news)
    }

    /// What was there before it was begun to look, and is not shown.
    fn known(&mut self, older: &[Delivery]) {
        self.newest = older.first().map(|delivery| delivery.received_at);
        self.seen
            .extend(older.iter().map(|delivery| (delivery.id, true)));
    }

    /// Whether it is too old to have come since the last look.
    fn is_old(&self, delivery: &Delivery) -> bool {
        self.newest
            .is_some_and(|newest| delivery.received_at < newest - LATE)
    }

    /// What is new in a list that begins with the newest; the oldest news comes first.
    fn news(&mut self, found: Vec<Delivery>) -> Vec<News> {
        let newest = found.first().map(|delivery| delivery.received_at);
        let mut news = Vec::new();
        for delivery in found.into_iter().rev() {
            let done = delivery.events.iter().all(|event| event.dispatched);
            let too_old = self.is_old(&delivery);
            match self.seen.get_mut(&delivery.id) {
                Some(told) if *told || !done => {}
                Some(told) => {
                    *told = true;
                    news.push(News::Became(delivery));
                }
                None if too_old => {}
                None => {
                    let settled = done && delivery.events.is_empty();
                    self.seen.insert(delivery.id, done);
                    if done && !settled {
                        news.push(News::Came(delivery.clone()));
                        news.push(News::Became(delivery));
                    } else {
                        news.push(News::Came(delivery));
                    }
                }
            }
        }
        self.newest = newest.max(self.newest);
        while self.seen.len() > WATCHED_MAX {
            self.seen.pop_first();
        }
        news
    }
}

struct Out {
    json: bool,
    paint: Paint,
}

impl Out {
    fn tell(&self, news: &News) -> anyhow::Result<()> {
        match news {
            News::More if self.json => {}
            News::More => line(
                self.paint
                    .quiet("… more came than are shown here: the portal has them all"),
            ),
            News::Came(delivery) | News::Became(delivery) if self.json => {
                line(serde_json::to_string(delivery)?);
            }
            News::Came(delivery) => line(self.came(delivery)),
            News::Became(delivery) => {
                for event in &delivery.events {
                    line(self.became(event));
                }
            }
        }
        Ok(())
    }

    fn came(&self, delivery: &Delivery) -> String {
        let at = delivery
            .received_at
            .to_rfc3339_opts(SecondsFormat::Secs, true);
        let what = delivery.vendor_event.as_deref().unwrap_or("-");
        let verdict = match delivery.verdict {
            DeliveryVerdict::Accepted | DeliveryVerdict::Ping => self.paint.good(delivery.verdict),
            DeliveryVerdict::Ignored | DeliveryVerdict::Duplicate => {
                self.paint.quiet(delivery.verdict)
            }
            DeliveryVerdict::Conflict | DeliveryVerdict::Malformed | DeliveryVerdict::Rejected => {
                self.paint.bad(delivery.verdict)
            }
        };
        let why = delivery
            .reason
            .as_ref()
            .map(|why| format!(": {why}"))
            .unwrap_or_default();
        format!(
            "{at}  {}  {verdict}  {} {what}  {}{why}",
            delivery.id, delivery.vendor, delivery.trigger.name
        )
    }

    fn became(&self, event: &DeliveryEvent) -> String {
        let about = event.about.as_deref().unwrap_or_default();
        let jobs: Vec<String> = event
            .jobs
            .iter()
            .map(|job| match &job.subject {
                Some(subject) => format!("job {} for {subject}", job.id),
                None => format!("job {}", job.id),
            })
            .collect();
        let jobs = if jobs.is_empty() {
            format!(
                "nothing: no binding matched, see its decisions ({})",
                event.id
            )
        } else {
            jobs.join(", ")
        };
        let text = format!("    {} {about} → {jobs}", event.ty);
        self.paint.quiet(text)
    }
}

#[cfg(test)]
mod tests;
