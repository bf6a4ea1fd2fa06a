use super::*;

fn listing(names: &[(&str, &str)]) -> Listing {
    let found = |state: &str| Found {
        state: state.to_owned(),
        also: None,
    };
    names
        .iter()
        .map(|(name, state)| ((*name).to_owned(), found(state)))
        .collect()
}

fn watch(names: &[&str], seen: &[(&str, &str, i64)]) -> Watch {
    Watch {
        trigger: Uuid::from_u128(1).into(),
        names: names
            .iter()
            .map(|name| (*name).to_owned().try_into().expect("a glob"))
            .collect(),
        first: false,
        report_first: false,
        seen: seen
            .iter()
            .map(|(name, state, version)| {
                let state = (*state).to_owned();
                let version = *version;
                ((*name).to_owned(), Seen { state, version })
            })
            .collect(),
    }
}

fn told(compared: &Compared) -> Vec<(&str, Option<&str>, Option<&str>)> {
    let changes = compared.changes.iter();
    changes
        .map(|change| {
            let (before, after) = (change.before.as_deref(), change.after.as_deref());
            (change.name.as_str(), before, after)
        })
        .collect()
}

#[test]
fn only_what_differs_from_what_was_told_is_told() {
    let watch = watch(
        &["*"],
        &[
            ("a", "1", 3),
            ("b", "1", 1),
            ("gone", "1", 1),
            ("was", GONE, 2),
        ],
    );
    let there = listing(&[("a", "1"), ("b", "2"), ("new", "1")]);
    let compared = compare(&[watch], &there, &[], "");
    assert_eq!(
        told(&compared),
        [
            ("b", Some("1"), Some("2")),
            ("new", None, Some("1")),
            ("gone", Some("1"), None),
        ]
    );
    assert!(compared.first.is_empty() && compared.begun.is_empty());
}

#[test]
fn the_first_look_tells_nothing_unless_it_is_asked_to() {
    let mut watch = watch(&["*"], &[]);
    watch.first = true;
    let there = listing(&[("a", "1")]);
    let compared = compare(&[watch.clone()], &there, &[], "app:");
    assert!(compared.changes.is_empty());
    assert_eq!(
        compared.first,
        [(watch.trigger, "app:a".to_owned(), "1".to_owned())]
    );
    assert_eq!(compared.begun, [watch.trigger]);
    watch.report_first = true;
    let compared = compare(&[watch], &there, &[], "app:");
    assert_eq!(told(&compared), [("a", None, Some("1"))]);
    assert!(compared.first.is_empty());
}

#[test]
fn what_a_hook_told_before_the_first_look_is_compared_with() {
    let mut watch = watch(&["*"], &[("app:a", "1", 1), ("app:b", "1", 1)]);
    watch.first = true;
    let compared = compare(&[watch], &listing(&[("a", "1"), ("b", "2")]), &[], "app:");
    assert_eq!(told(&compared), [("b", Some("1"), Some("2"))]);
}

#[test]
fn a_tag_object_is_the_commit_that_it_names() {
    let watch = watch(&["**"], &[("refs/tags/v1", "commit", 1)]);
    let found = Found {
        state: "object".to_owned(),
        also: Some("commit".to_owned()),
    };
    let there = Listing::from([("refs/tags/v1".to_owned(), found)]);
    assert!(compare(&[watch], &there, &[], "").changes.is_empty());
}

#[test]
fn what_nobody_could_find_out_is_not_gone() {
    let watch = watch(&["*"], &[("a", "1", 1)]);
    let compared = compare(&[watch], &Listing::new(), &["a".to_owned()], "");
    assert!(compared.changes.is_empty());
}

#[test]
fn what_comes_back_is_another_event_and_what_is_found_twice_the_same() {
    let change = |version, after: &str| Change {
        trigger: Uuid::from_u128(1).into(),
        name: "a".to_owned(),
        told_as: "a".to_owned(),
        version,
        before: None,
        after: Some(after.to_owned()),
        also: None,
    };
    assert_eq!(change(1, "A").event_id(), change(1, "A").event_id());
    assert_ne!(change(1, "A").event_id(), change(3, "A").event_id());
    assert_ne!(change(1, "A").event_id(), change(1, "B").event_id());
}
