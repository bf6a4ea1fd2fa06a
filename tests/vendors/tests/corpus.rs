//! What fuzzers once found worth keeping, and a few inputs to begin with, again.

use std::fs;
use std::path::Path;

use vendors::asked::{ask_condition, fit_tag, make_payload};
use vendors::hostile::{check_proof, read_cloudevents, read_image, read_payload};

/// Gives every file of a target's folder to it; the name of one that fails is printed.
fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .expect("every target has a corpus")
        .map(|file| file.expect("the folder can be listed").path())
        .collect();
    files.sort();
    assert!(files.len() >= 10, "{} is nearly empty", folder.display());
    for file in files {
        let data = fs::read(&file).expect("it is there");
        println!("{}", file.display());
        run(&data);
    }
}

#[test]
fn payloads_are_read_by_at_most_one_function_and_never_refused_when_proved() {
    replay("payload", read_payload);
}

#[test]
fn no_proof_is_taken_from_who_does_not_know_the_secret() {
    replay("proof", check_proof);
}

#[test]
fn cloudevents_that_were_read_are_written_and_read_again() {
    replay("cloudevents", read_cloudevents);
}

#[test]
fn names_of_images_and_globs_are_read() {
    replay("image", read_image);
}

#[test]
fn conditions_are_answered_in_time() {
    replay("condition", ask_condition);
}

#[test]
fn payloads_are_made_within_their_bounds() {
    replay("template", make_payload);
}

#[test]
fn tags_are_compared_with_every_pattern_that_is_taken() {
    replay("tag", fit_tag);
}
