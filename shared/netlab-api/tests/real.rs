//! The API that comes with netlab, as it is: started for the test, behind TLS and a password.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use exec::{Ended, Piece, Redactor, Stop};
use model::run::{NetlabAction, NetlabOrder, Signal, StopLadder};
use netlab_api::NetlabOrders;
use runner::{Ordered, Orders as _};
use testkit::NetlabApi;
use tokio::sync::mpsc;

/// One `netlab api`, with a folder of labs.
struct Host(NetlabApi);

impl Host {
    async fn order(
        &self,
        action: NetlabAction,
        lab: &str,
        stop: &Stop,
        lines: mpsc::Sender<Piece>,
        password: &str,
    ) -> anyhow::Result<Ended> {
        let api = model::run::NetlabApi {
            url: format!("https://localhost:{}/", self.0.address().port()),
            address: self.0.address(),
            user: NetlabApi::USER.to_owned(),
            password_secret: "password".to_owned(),
            authorities: self.0.certificate().to_owned(),
            order: NetlabOrder {
                action,
                folder: self.0.folder().join(lab).to_str().unwrap().to_owned(),
                topology: Some("topology.yml".to_owned()),
                collected: Some("collected.tar".to_owned()),
            },
        };
        let ladder = StopLadder {
            first: Signal::Int,
            grace_ms: 60_000,
            term_ms: 0,
        };
        let ordered = Ordered {
            api: &api,
            password,
            ladder,
            stop,
            redactor: &Redactor::new([NetlabApi::PASSWORD]).unwrap(),
            lines: &lines,
        };
        NetlabOrders.order(ordered).await
    }

    /// Has something done, and what was said.
    async fn done(&self, action: NetlabAction, lab: &str) -> (anyhow::Result<Ended>, String) {
        let (send, receive) = mpsc::channel(16);
        let stop = Stop::default();
        let order = self.order(action, lab, &stop, send, NetlabApi::PASSWORD);
        tokio::join!(order, said(receive))
    }
}

async fn said(mut receive: mpsc::Receiver<Piece>) -> String {
    let redactor = Redactor::new([NetlabApi::PASSWORD]).unwrap();
    let mut said = String::new();
    while let Some(piece) = receive.recv().await {
        for line in piece.lines {
            said.push_str(&line.shown(&redactor));
            said.push('\n');
        }
    }
    said
}

#[tokio::test]
async fn a_lab_is_made_by_the_real_api_and_its_log_comes_with_the_end() {
    let Some(host) = NetlabApi::start().map(Host) else {
        return;
    };
    host.0.ring("ring", 3);
    let (ended, said) = host.done(NetlabAction::Create, "ring").await;
    assert_eq!(ended.unwrap().code, 0, "{said}");
    assert!(
        said.contains("Created provider configuration file: clab.yml"),
        "{said}"
    );
    assert!(host.0.folder().join("ring/clab.yml").exists());
    let (ended, said) = host.done(NetlabAction::Status, "ring").await;
    assert_eq!(ended.unwrap().code, 0, "{said}");
    assert!(said.contains("No netlab-managed labs"), "{said}");
}

#[tokio::test]
async fn a_job_that_says_running_for_ever_has_failed() {
    let Some(host) = NetlabApi::start().map(Host) else {
        return;
    };
    host.0.lab("wrong", "nodes: [r1]\nlinks: [r1-r9]\n");
    let (ended, said) = host.done(NetlabAction::Create, "wrong").await;
    assert_eq!(ended.unwrap().code, 1, "{said}");
    assert!(said.contains("netlab gave up"), "{said}");
    // One error more or less in the process does not change the next.
    host.0.ring("ring", 2);
    let (ended, said) = host.done(NetlabAction::Create, "ring").await;
    assert_eq!(ended.unwrap().code, 0, "{said}");
    let (ended, said) = host.done(NetlabAction::Create, "nowhere").await;
    assert_eq!(ended.unwrap().code, 1, "{said}");
    assert!(said.contains("No such file or directory"), "{said}");
}

#[tokio::test]
async fn what_has_begun_cannot_be_stopped_and_that_is_said() {
    let Some(host) = NetlabApi::start().map(Host) else {
        return;
    };
    host.0.ring("ring", 8);
    let stop = Stop::default();
    let (send, mut receive) = mpsc::channel(16);
    let order = host.order(
        NetlabAction::Create,
        "ring",
        &stop,
        send,
        NetlabApi::PASSWORD,
    );
    let watch = async {
        let first = receive.recv().await.unwrap();
        assert_eq!(first.lines.len(), 1);
        stop.asked.cancel();
        said(receive).await
    };
    let (ended, said) = tokio::join!(order, watch);
    assert!(said.contains("cannot stop what it has begun"), "{said}");
    assert_eq!(ended.unwrap().code, 0, "it came to its own end: {said}");
    assert!(host.0.folder().join("ring/clab.yml").exists());
    let at_once = Stop::default();
    at_once.at_once.cancel();
    let (send, receive) = mpsc::channel(16);
    let order = host.order(
        NetlabAction::Create,
        "ring",
        &at_once,
        send,
        NetlabApi::PASSWORD,
    );
    let (ended, _) = tokio::join!(order, self::said(receive));
    let error = ended.unwrap_err().to_string();
    assert!(error.contains("goes on"), "{error}");
}

#[tokio::test]
async fn who_is_not_known_is_told_so() {
    let Some(host) = NetlabApi::start().map(Host) else {
        return;
    };
    let (send, receive) = mpsc::channel(16);
    let stop = Stop::default();
    let wrong = host.order(NetlabAction::Status, "ring", &stop, send, "wrong");
    let (ended, _) = tokio::join!(wrong, said(receive));
    let error = ended.unwrap_err().to_string();
    assert!(error.contains("does not know this user"), "{error}");
}
