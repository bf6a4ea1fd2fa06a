//! Broker, relay and functions as processes of their own, and a network between them that does what networks do: the
//! faults "redelivered and shuffled", "the sink refuses" and "killed between commit, publish and mark".

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::StatusCode;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::harness::{
    Answer, Database, Machine, Process, Push, Seen, Sender, Site, Wire, client, pass_on, turn,
    until,
};

const WITHIN: Duration = Duration::from_secs(40);

/// A machine whose broker runs in one process, and everything on the way of a push in others: the relay to `inbound` and
/// `dispatch` are started by the test, which stands between them and the broker.
struct Apart {
    machine: Machine,
    database: Database,
    site: Site,
    sender: Sender,
    /// Where the Broker takes events.
    ingress: String,
    dispatch: String,
    _dispatch: Process,
}

impl Apart {
    /// `to_dispatch` is where the Broker delivers what is for `dispatch`.
    async fn start(to_dispatch: &Wire) -> Self {
        let mut machine = Machine::new();
        machine.remove("knative/relay-inbound.yaml");
        machine.subscribe("dispatch", &to_dispatch.url("/"));
        for function in ["webhook-gitea", "task-static", "relay"] {
            machine.option(&["--isolate", function]);
        }
        machine.start().await;
        let database = machine.database().await;
        let site = database.site(&machine.repositories(), "apart").await;
        let (process, dispatch) = machine.function("dispatch", &[]).await;
        Self {
            ingress: machine.ingress("inbound").await,
            sender: Sender::new(),
            database,
            site,
            dispatch,
            _dispatch: process,
            machine,
        }
    }

    /// A relay to `inbound` that sends to an address.
    async fn relay(&self, sink: &str) -> Process {
        let settings = [("RELAY_BROKER", "inbound"), ("K_SINK", sink)];
        self.machine.function("relay", &settings).await.0
    }

    /// Tells of new commits, one delivery each.
    async fn push(&self, deliveries: std::ops::Range<usize>) -> Vec<Push> {
        let url = self.machine.webhook(self.site.trigger);
        let mut pushes = Vec::new();
        for number in deliveries {
            let push = self
                .site
                .push(&format!("page {number}"), &number.to_string());
            self.sender.deliver(&url, &push, WITHIN).await;
            pushes.push(push);
        }
        pushes
    }

    /// Waits until so many jobs have ended and nothing else is under way, then holds the books: one job for each event that
    /// was dispatched, one outcome for each job, the branch's head is live.
    async fn ended(&self, jobs: i64) {
        let database = &self.database;
        until(&format!("{jobs} jobs have ended"), WITHIN, || async {
            let ended = database.count("select count(*) from switchyard.jobs_archive").await;
            let open = database
                .count(
                    "select (select count(*) from switchyard.jobs)
                        + (select count(*) from switchyard.outbox where broker = 'inbound' and refused_at is null)",
                )
                .await;
            (ended >= jobs && open == 0).then_some(())
        })
        .await;
        for (what, sql) in [
            (
                "events that were dispatched",
                "select count(*) from switchyard.events where dispatched_at is not null",
            ),
            (
                "jobs",
                "select count(distinct job_id) from switchyard.decisions where matched",
            ),
            (
                "bindings that did not match",
                "select count(*) from switchyard.decisions where not matched",
            ),
            ("outcomes", "select count(*) from switchyard.jobs_archive"),
        ] {
            assert_eq!(database.count(sql).await, jobs, "{what}");
        }
        let live = database.live(&self.site).await.map(|(commit, _)| commit);
        assert_eq!(live, self.site.repository.head());
    }
}

/// Where the answers of a wire are looked up: a place that a test fills later.
#[derive(Clone, Default)]
struct Place(Arc<Mutex<String>>);

impl Place {
    fn get(&self) -> String {
        self.0.lock().expect("nobody panicked").clone()
    }

    fn set(&self, url: &str) {
        url.clone_into(&mut self.0.lock().expect("nobody panicked"));
    }
}

/// A wire that passes everything on.
async fn plain(place: &Place) -> Wire {
    let (place, http) = (place.clone(), client());
    Wire::listen(move |event| {
        let (place, http) = (place.clone(), http.clone());
        async move { passed(&http, &place.get(), &event).await }
    })
    .await
}

async fn passed(http: &reqwest::Client, url: &str, event: &Seen) -> Answer {
    let status = pass_on(http, url, event).await;
    Answer::status(status.unwrap_or(StatusCode::BAD_GATEWAY))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_delivered_five_times_and_shuffled_makes_its_job_once() {
    const EVENTS: usize = 8;
    const TIMES: usize = 5;
    let _turn = turn().await;
    let dispatch = Place::default();
    let held: Arc<Mutex<Vec<Seen>>> = Arc::default();
    // Takes all events first, so that any order of all copies is possible.
    let wire = {
        let held = Arc::clone(&held);
        Wire::listen(move |event| {
            held.lock().expect("nobody panicked").push(event);
            async { Answer::status(StatusCode::ACCEPTED) }
        })
        .await
    };
    let apart = Apart::start(&wire).await;
    dispatch.set(&apart.dispatch);
    let _relay = apart.relay(&apart.ingress).await;
    apart.push(0..EVENTS).await;
    until("the broker has delivered all", WITHIN, || async {
        let ids = wire.seen();
        let ids: BTreeSet<&str> = ids.iter().map(|event| event.attribute("id")).collect();
        (ids.len() == EVENTS).then_some(())
    })
    .await;

    let mut copies: Vec<Seen> = held.lock().expect("nobody panicked").clone();
    copies = (0..TIMES).flat_map(|_| copies.clone()).collect();
    copies.shuffle(&mut StdRng::seed_from_u64(14));
    let http = client();
    let deliveries = copies
        .iter()
        .map(|event| pass_on(&http, &apart.dispatch, event));
    let answers = futures::future::join_all(deliveries).await;
    assert!(answers.len() >= EVENTS * TIMES);
    let taken = |status: &Option<StatusCode>| status.is_some_and(|status| status.is_success());
    assert!(
        answers.iter().all(taken),
        "each copy is acknowledged: {answers:?}"
    );
    apart.ended(8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_refuses_or_is_down_loses_nothing_and_is_given_the_time_that_it_asks_for() {
    const ASKED_SECS: u64 = 3;
    let _turn = turn().await;
    let dispatch = Place::default();
    let to_dispatch = plain(&dispatch).await;
    let apart = Apart::start(&to_dispatch).await;
    dispatch.set(&apart.dispatch);
    let database = &apart.database;
    let waiting =
        "select count(*) from switchyard.outbox where broker = 'inbound' and refused_at is null";

    // Whatever comes is answered with what is in force.
    let force = Arc::new(Mutex::new(Answer::status(
        StatusCode::INTERNAL_SERVER_ERROR,
    )));
    let say = |answer: Answer| *force.lock().expect("nobody panicked") = answer;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it listens").port();
    let sink = {
        let force = Arc::clone(&force);
        Wire::on(listener, move |_| {
            let answer = force.lock().expect("nobody panicked").clone();
            async move { answer }
        })
    };
    let _relay = apart.relay(&sink.url("/")).await;

    // 500: the outbox grows, and is tried again.
    apart.push(0..4).await;
    until("an event was tried again", WITHIN, || async {
        let tried = database
            .count(
                "select count(*) from switchyard.outbox where broker = 'inbound' and attempts > 1",
            )
            .await;
        (tried > 0).then_some(())
    })
    .await;
    assert_eq!(
        database.count(waiting).await,
        4,
        "nothing was lost or set aside"
    );

    // 429: nobody comes back before the time that was asked for.
    let from = sink.seen().len();
    say(Answer {
        status: StatusCode::TOO_MANY_REQUESTS,
        retry_after: Some(ASKED_SECS),
    });
    until("the sink was asked again", WITHIN, || async {
        let since = &sink.seen()[from..];
        let first = since.first()?;
        since
            .iter()
            .any(|event| event.at - first.at > Duration::from_secs(1))
            .then_some(())
    })
    .await;
    let since = &sink.seen()[from..];
    for (number, event) in since.iter().enumerate() {
        let earlier = since[..number]
            .iter()
            .rfind(|earlier| earlier.attribute("id") == event.attribute("id"));
        if let Some(earlier) = earlier {
            let waited = event.at - earlier.at;
            let asked = Duration::from_secs(ASKED_SECS);
            assert!(
                waited >= asked,
                "{} came back after {waited:?}",
                event.attribute("id")
            );
        }
    }
    assert_eq!(
        database.count(waiting).await,
        4,
        "nothing was lost or set aside"
    );

    // 400: set aside at once, where people see it.
    say(Answer::status(StatusCode::BAD_REQUEST));
    until("all four are set aside", WITHIN, || async {
        let aside = database
            .count(
                "select count(*) from switchyard.outbox
                 where refused_at is not null and last_error like '400%' and broker = 'inbound'",
            )
            .await;
        (aside == 4).then_some(())
    })
    .await;
    let asked = sink.seen().len();
    assert_eq!(database.count(waiting).await, 0);

    // Down: the outbox grows again.
    drop(sink);
    apart.push(4..8).await;
    until("it was tried in vain", WITHIN, || async {
        let tried = database
            .count(
                "select count(*) from switchyard.outbox
                 where broker = 'inbound' and refused_at is null and attempts > 1",
            )
            .await;
        (tried > 0).then_some(())
    })
    .await;
    assert_eq!(
        database.count(waiting).await,
        4,
        "nothing was lost or set aside"
    );

    // Up again: it drains, without what was refused for good.
    let ingress = Place::default();
    ingress.set(&apart.ingress);
    let listener = until("the sink's port is free", WITHIN, || async {
        TcpListener::bind(("127.0.0.1", port)).await.ok()
    })
    .await;
    let http = client();
    let sink = Wire::on(listener, move |event| {
        let (ingress, http) = (ingress.clone(), http.clone());
        async move { passed(&http, &ingress.get(), &event).await }
    });
    apart.ended(4).await;
    assert!(asked > 0);
    let again: BTreeSet<String> = sink
        .seen()
        .iter()
        .map(|it| it.attribute("id").to_owned())
        .collect();
    assert_eq!(again.len(), 4, "what was set aside stays there");
    assert_eq!(
        database
            .count("select count(*) from switchyard.outbox where refused_at is not null")
            .await,
        4,
        "and stays visible"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_tries_again_by_its_own_delays_whatever_retry_after_says() {
    let _turn = turn().await;
    let dispatch = Place::default();
    let asked: Arc<Mutex<u32>> = Arc::default();
    let wire = {
        let (dispatch, asked, http) = (dispatch.clone(), Arc::clone(&asked), client());
        Wire::listen(move |event| {
            let (dispatch, http) = (dispatch.clone(), http.clone());
            let first = {
                let mut asked = asked.lock().expect("nobody panicked");
                *asked += 1;
                *asked == 1
            };
            async move {
                if first {
                    return Answer {
                        status: StatusCode::TOO_MANY_REQUESTS,
                        retry_after: Some(60),
                    };
                }
                passed(&http, &dispatch.get(), &event).await
            }
        })
        .await
    };
    let apart = Apart::start(&wire).await;
    dispatch.set(&apart.dispatch);
    let _relay = apart.relay(&apart.ingress).await;
    let began = Instant::now();
    apart.push(0..1).await;
    apart.ended(1).await;
    let seen = wire.seen();
    // The Trigger's first wait is half a second; `cron-republish` comes after half a minute at the earliest.
    let waited = seen[1].at - seen[0].at;
    assert_eq!(seen[0].attribute("id"), seen[1].attribute("id"));
    assert!(waited >= Duration::from_millis(450), "{waited:?}");
    assert!(waited < Duration::from_secs(10), "{waited:?}");
    assert!(began.elapsed() < Duration::from_secs(25));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_killed_before_or_after_it_publishes_is_made_good_by_the_next() {
    let _turn = turn().await;
    let dispatch = Place::default();
    let to_dispatch = plain(&dispatch).await;
    let apart = Apart::start(&to_dispatch).await;
    dispatch.set(&apart.dispatch);
    let unpublished = "select count(*) from switchyard.outbox where broker = 'inbound'";

    // Between commit and publish.
    let mut relay = apart.relay(&apart.ingress).await;
    relay.stop();
    apart.push(0..1).await;
    assert_eq!(
        apart.database.count(unpublished).await,
        1,
        "committed and not published"
    );
    relay.kill();
    assert_eq!(to_dispatch.seen().len(), 0);
    let mut relay = apart.relay(&apart.ingress).await;
    apart.ended(1).await;
    relay.kill();

    // Between publish and mark: the broker has it, the relay does not live to hear so.
    let ingress = Place::default();
    ingress.set(&apart.ingress);
    let taken = Arc::new(tokio::sync::Notify::new());
    let sink = {
        let (ingress, taken, http) = (ingress.clone(), Arc::clone(&taken), client());
        Wire::listen(move |event| {
            let (ingress, taken, http) = (ingress.clone(), Arc::clone(&taken), http.clone());
            async move {
                let answer = passed(&http, &ingress.get(), &event).await;
                assert!(answer.status.is_success(), "the broker did not take it");
                taken.notify_one();
                std::future::pending().await
            }
        })
        .await
    };
    let mut relay = apart.relay(&sink.url("/")).await;
    apart.push(1..2).await;
    taken.notified().await;
    relay.kill();
    assert_eq!(
        apart.database.count(unpublished).await,
        1,
        "published and not marked"
    );
    let _relay = apart.relay(&apart.ingress).await;
    apart.ended(2).await;
    let second = sink.seen()[0].attribute("id").to_owned();
    until("it has come twice", WITHIN, || async {
        let seen = to_dispatch.seen();
        let times = seen
            .iter()
            .filter(|event| event.attribute("id") == second)
            .count();
        (times >= 2).then_some(())
    })
    .await;
    apart.ended(2).await;
}
