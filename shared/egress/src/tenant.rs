//! The client for addresses that a tenant chose.

use std::{error::Error, future::Future, io, net::IpAddr, net::SocketAddr, pin::Pin, sync::Arc};

use reqwest::{
    Certificate, Method,
    dns::{Addrs, Name, Resolve, Resolving},
};
use url::Url;

use crate::asked::begin_at_zero;
use crate::{ClientError, Denied, Guard, Integration, Request, builder};

/// How long the other side may say nothing.
const SILENCE_MAX: std::time::Duration = std::time::Duration::from_secs(30);

/// How a name becomes addresses. The system's way, except in tests.
pub trait Lookup: Send + Sync + 'static {
    /// All addresses of a name.
    fn lookup(&self, name: String)
    -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;
}

/// The system's resolver.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemLookup;

/// A client for URLs that a tenant wrote: https only, and never to an address that the [`Guard`] forbids.
///
/// The connection goes to the very addresses that were checked: the check is the client's resolver, so there is no
/// second lookup that could answer differently. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TenantEgress {
    guard: Guard,
    client: reqwest::Client,
}

impl TenantEgress {
    /// Makes the client. `roots` are certificate authorities of the operator's own, trusted besides the system's.
    pub fn new(guard: Guard, roots: Vec<Certificate>) -> Result<Self, ClientError> {
        Self::with_lookup(guard, roots, SystemLookup)
    }

    /// Makes the client with another way to look names up.
    pub fn with_lookup(
        guard: Guard,
        roots: Vec<Certificate>,
        lookup: impl Lookup,
    ) -> Result<Self, ClientError> {
        let resolver = GuardedResolver {
            guard: guard.clone(),
            lookup: Arc::new(lookup),
        };
        let mut builder = builder()
            .https_only(true)
            .read_timeout(SILENCE_MAX)
            .dns_resolver(resolver);
        if !roots.is_empty() {
            builder = builder.tls_certs_merge(roots);
        }
        let client = builder.build()?;
        begin_at_zero();
        Ok(Self { guard, client })
    }

    /// The guard, to check a URL when it is saved.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Starts a request, if the URL may be called. Give it a timeout; read its answer with
    /// [`read_capped`](crate::read_capped). A name that leads to a forbidden address fails on sending, see [`denied`].
    ///
    /// # Errors
    /// When the URL may not be called.
    pub fn request(
        &self,
        integration: Integration,
        method: Method,
        url: &Url,
    ) -> Result<Request, Denied> {
        // hyper dials a literal address without asking the resolver, so this check is the only one it gets.
        self.guard.check_url(url)?;
        let request = self.client.request(method, url.clone());
        Ok(Request::new(integration, request))
    }
}

/// The refusal inside a failed request, when the guard was its cause.
pub fn denied(error: &reqwest::Error) -> Option<&Denied> {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(denied) = error.downcast_ref() {
            return Some(denied);
        }
        cause = error.source();
    }
    None
}

struct GuardedResolver {
    guard: Guard,
    lookup: Arc<dyn Lookup>,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.guard.clone();
        let lookup = Arc::clone(&self.lookup);
        Box::pin(async move {
            let addresses = lookup.lookup(name.as_str().to_owned()).await?;
            guard.check_addresses(name.as_str(), &addresses)?;
            // Port 0 means the URL's.
            let addresses = addresses.into_iter().map(|ip| SocketAddr::new(ip, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}

impl Lookup for SystemLookup {
    fn lookup(
        &self,
        name: String,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test spawns its own server")]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use tokio::net::TcpListener;

    use super::*;

    type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

    /// Answers each lookup with the next of its answers, the last one for ever.
    struct Answers {
        answers: Vec<Vec<IpAddr>>,
        asked: AtomicUsize,
    }

    impl Answers {
        fn new(answers: Vec<Vec<IpAddr>>) -> Self {
            let asked = AtomicUsize::new(0);
            Self { answers, asked }
        }
    }

    impl Lookup for Answers {
        fn lookup(
            &self,
            _: String,
        ) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> {
            let asked = self.asked.fetch_add(1, Ordering::SeqCst);
            let answer = self.answers[asked.min(self.answers.len() - 1)].clone();
            Box::pin(std::future::ready(Ok(answer)))
        }
    }

    const PUBLIC: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 9, 1));
    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    async fn get(egress: &TenantEgress, url: &str) -> Result<reqwest::Error> {
        let request = egress.request(Integration::Document, Method::GET, &Url::parse(url)?)?;
        let sent = request.timeout(Duration::from_secs(5)).send().await;
        Ok(sent.err().ok_or("it must fail")?)
    }

    #[tokio::test]
    async fn a_name_with_one_inner_address_is_not_dialled() -> Result {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let lookup = Answers::new(vec![vec![PUBLIC, LOOPBACK]]);
        let egress = TenantEgress::with_lookup(Guard::default(), vec![], lookup)?;
        let error = get(&egress, &format!("https://mixed.example:{port}/")).await?;
        assert!(
            matches!(denied(&error), Some(Denied::Address { .. })),
            "{error:?}"
        );
        let knock = listener.accept().expect_err("nobody knocked");
        assert_eq!(knock.kind(), io::ErrorKind::WouldBlock);
        Ok(())
    }

    #[tokio::test]
    async fn the_addresses_dialled_are_the_addresses_checked() -> Result {
        // Were there a lookup for the check and another for the call, the second would lead to us.
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let allowed = Guard::new(format!("once.example:{port}").parse()?);
        let lookup = Answers::new(vec![vec![LOOPBACK], vec![PUBLIC]]);
        let egress = TenantEgress::with_lookup(allowed, vec![], lookup)?;
        let call = tokio::spawn(async move {
            get(&egress, &format!("https://once.example:{port}/"))
                .await
                .map_err(|error| error.to_string())
        });
        // The first answer is dialled: the connection arrives here, and closing it ends the call.
        drop(listener.accept().await?);
        let error = call.await??;
        assert!(denied(&error).is_none(), "{error:?}");
        Ok(())
    }

    #[tokio::test]
    async fn a_name_that_turns_inward_is_refused_at_the_next_call() -> Result {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let lookup = Answers::new(vec![vec![LOOPBACK]]);
        let egress = TenantEgress::with_lookup(Guard::default(), vec![], lookup)?;
        let url = Url::parse(&format!("https://rebound.example:{port}/"))?;
        assert_eq!(
            egress.guard().check_url(&url),
            Ok(()),
            "looks fine when it is saved"
        );
        let error = get(&egress, url.as_str()).await?;
        assert!(denied(&error).is_some());
        Ok(())
    }

    #[test]
    fn a_literal_address_is_refused_before_a_request_exists() -> Result {
        let egress = TenantEgress::new(Guard::default(), vec![])?;
        let url = Url::parse("https://169.254.169.254/latest")?;
        assert!(matches!(
            egress.request(Integration::Document, Method::GET, &url),
            Err(Denied::Address { .. })
        ));
        Ok(())
    }
}
