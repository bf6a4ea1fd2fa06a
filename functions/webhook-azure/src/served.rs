//! The function as it is served, on a database: its sender's deliveries are taken, a wrong proof is counted.

use webhook_testkit::Push;

use crate::FUNCTION;
use crate::tests::BASIC;

const PUSH: Push<'_> = Push {
    dialect: BASIC,
    event: "",
    body: include_str!("../testdata/git.push.branch.json"),
    vendor: "azure_devops",
    stored_event: "git.push",
    key: "11111111-1111-4111-8111-111111111111:3",
    types: &["dev.switchyard.git.pushed.v1"],
    wrong_proof: ("authorization", "Basic eDp5"),
};

#[tokio::test]
async fn a_push_is_taken_under_its_name_once() {
    PUSH.is_taken_once(&FUNCTION).await;
}

#[tokio::test]
async fn a_wrong_proof_is_refused_and_counted() {
    PUSH.is_refused_without_its_proof(&FUNCTION).await;
}
