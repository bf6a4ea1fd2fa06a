//! The function as it is served, on a database: its sender's deliveries are taken, a wrong proof is counted.

use webhook_testkit::Push;

use crate::FUNCTION;
use crate::tests::TOKEN_SENT;

const PUSH: Push<'_> = Push {
    dialect: TOKEN_SENT,
    event: "Push Hook",
    body: include_str!("../testdata/Push_Hook.created.json"),
    vendor: "gitlab",
    stored_event: "Push Hook",
    key: "f5e5f430-f57b-4e6e-9fac-d9128cd7232f",
    types: &[
        "dev.switchyard.git.branch.created.v1",
        "dev.switchyard.git.pushed.v1",
    ],
    wrong_proof: ("x-gitlab-token", "another"),
};

#[tokio::test]
async fn a_push_is_taken_under_its_name_once() {
    PUSH.is_taken_once(&FUNCTION).await;
}

#[tokio::test]
async fn a_wrong_proof_is_refused_and_counted() {
    PUSH.is_refused_without_its_proof(&FUNCTION).await;
}
