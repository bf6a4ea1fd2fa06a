//! What a runner has done by netlab's API.

use std::future::ready;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use anyhow::Context as _;
use egress::{AllowList, Guard, Lookup, TenantEgress};
use exec::Ended;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::Certificate;
use runner::{Ordered, Orders};
use url::Url;

use crate::{Api, Order, done};

/// Has the steps of a runner done that are for netlab's API.
#[derive(Debug, Clone, Copy, Default)]
pub struct NetlabOrders;

/// The address that was checked, whatever the name leads to by now.
struct Pinned(IpAddr);

impl Lookup for Pinned {
    fn lookup(&self, _: String) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> {
        Box::pin(ready(Ok(vec![self.0])))
    }
}

impl Orders for NetlabOrders {
    fn order<'a>(&'a self, ordered: Ordered<'a>) -> BoxFuture<'a, anyhow::Result<Ended>> {
        async move {
            let api = ordered.api;
            let url = Url::parse(&api.url).context("the URL of netlab's API cannot be used")?;
            let host = url
                .host_str()
                .context("the URL of netlab's API has no host")?;
            // The one place that the spec allows.
            let allowed: AllowList = format!("{host}:{}", api.address.port()).parse()?;
            let roots = Certificate::from_pem_bundle(api.authorities.as_bytes())
                .context("the certificates to trust cannot be used")?;
            let pinned = Pinned(api.address.ip());
            let egress = TenantEgress::with_lookup(Guard::new(allowed), roots, pinned)?;
            let api_there = Api::new(egress, url).signed_in(&api.user, &ordered.password.into());
            let order = Order {
                order: &api.order,
                grace: Duration::from_millis(ordered.ladder.grace_ms),
                stop: ordered.stop,
                redactor: ordered.redactor,
                lines: ordered.lines,
            };
            Ok(done(&api_there, &order).await?)
        }
        .boxed()
    }
}
