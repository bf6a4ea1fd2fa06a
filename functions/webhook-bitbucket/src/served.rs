//! The function as it is served, on a database: its sender's deliveries are taken, a wrong proof is counted.

use webhook_testkit::Push;

use crate::FUNCTION;
use crate::tests::CLOUD;

const PUSH: Push<'_> = Push {
    dialect: CLOUD,
    event: "repo:push",
    body: include_str!("../testdata/cloud/repo__push.forced.json"),
    vendor: "bitbucket",
    stored_event: "repo:push",
    key: "72d3162e-cc78-11e3-81ab-4c9367dc0958",
    types: &["dev.switchyard.git.pushed.v1"],
    wrong_proof: (
        "x-hub-signature",
        "sha256=0000000000000000000000000000000000000000000000000000000000000000",
    ),
};

#[tokio::test]
async fn a_push_is_taken_under_its_name_once() {
    PUSH.is_taken_once(&FUNCTION).await;
}

#[tokio::test]
async fn a_wrong_proof_is_refused_and_counted() {
    PUSH.is_refused_without_its_proof(&FUNCTION).await;
}
