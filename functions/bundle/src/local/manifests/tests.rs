use super::{Manifests, Target};

const BROKER: (&str, &str) = (
    "knative/broker-inbound.yaml",
    "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: inbound}\n",
);
const SERVICE: (&str, &str) = (
    "knative/dispatch.yaml",
    "apiVersion: serving.knative.dev/v1
kind: Service
metadata:
  name: dispatch
spec:
  template:
    spec:
      timeoutSeconds: 30
      containers:
        - image: i
          args: [dispatch]
          env:
            - name: A
              value: \"1\"
",
);
const TRIGGER: (&str, &str) = (
    "triggers/dispatch.yaml",
    "apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata:
  name: dispatch
spec:
  broker: inbound
  filter:
    attributes:
      type: t
  subscriber:
    ref:
      apiVersion: serving.knative.dev/v1
      kind: Service
      name: dispatch
",
);

/// What is said about a small set of manifests, with one piece of text replaced in one of them.
fn said(file: (&str, &str), from: &str, to: &str) -> Vec<String> {
    assert!(
        from.is_empty() || file.1.contains(from),
        "`{from}` is not in {}",
        file.0
    );
    let changed = file.1.replacen(from, to, usize::from(!from.is_empty()));
    let files: Vec<_> = [BROKER, SERVICE, TRIGGER]
        .into_iter()
        .map(|(path, text)| {
            (
                path,
                if path == file.0 {
                    changed.as_str()
                } else {
                    text
                },
            )
        })
        .collect();
    match Manifests::parse("test", &files) {
        Ok(_) => Vec::new(),
        Err(refused) => refused.findings.iter().map(ToString::to_string).collect(),
    }
}

#[track_caller]
fn says(file: (&str, &str), from: &str, to: &str, expected: &str) {
    let said = said(file, from, to);
    let found = said.iter().any(|line| line.contains(expected));
    assert!(found, "expected `{expected}`, got {said:#?}");
}

#[test]
fn a_correct_set_is_read() {
    assert_eq!(said(SERVICE, "", ""), [""; 0]);
}

#[test]
fn the_embedded_manifests_are_those_of_the_folders() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let mut files = Vec::new();
    for folder in super::FOLDERS {
        for entry in std::fs::read_dir(format!("{root}/{folder}")).expect("the folder") {
            let name = entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("a name");
            files.push(format!("{folder}/{name}"));
        }
    }
    files.sort();
    let embedded: Vec<&str> = super::embedded::FILES
        .iter()
        .map(|(path, _)| *path)
        .collect();
    assert_eq!(embedded, files);
}

#[test]
fn the_embedded_manifests_are_valid() {
    let manifests = Manifests::embedded().unwrap_or_else(|refused| panic!("{refused}"));
    assert_eq!(manifests.namespace, "switchyard");
    let relays = manifests.container_sources.iter();
    let sinks: Vec<_> = relays.map(|source| source.sink.target.clone()).collect();
    let broker = |name: &str| Target::Broker {
        name: name.to_owned(),
    };
    assert_eq!(
        sinks,
        [broker("inbound"), broker("observed"), broker("work")]
    );
}

#[test]
fn an_unknown_field_is_named_with_its_place_and_what_was_meant() {
    assert_eq!(
        said(SERVICE, "timeoutSeconds", "timeoutSecond"),
        [
            "knative/dispatch.yaml:8:7: unknown field `timeoutSecond` in spec.template.spec; did you \
             mean `timeoutSeconds`?; known are: automountServiceAccountToken, containerConcurrency, \
             containers, enableServiceLinks, idleTimeoutSeconds, imagePullSecrets, \
             responseStartTimeoutSeconds, serviceAccountName, timeoutSeconds, volumes"
        ]
    );
    says(
        TRIGGER,
        "broker:",
        "brokr:",
        "6:3: unknown field `brokr` in spec; did you mean `broker`?",
    );
    says(
        TRIGGER,
        "attributes:",
        "attribute:",
        "8:5: unknown field `attribute` in spec.filter",
    );
    says(
        BROKER,
        "metadata:",
        "metdata:",
        "3:1: unknown field `metdata` in the manifest",
    );
    says(
        SERVICE,
        "- name: A",
        "- nam: A",
        "13:15: unknown field `nam` in env[]",
    );
}

#[test]
fn every_fault_is_reported_not_only_the_first() {
    let text = "broker: inboud\n  delivery: {retry: -1, backoffPolicy: constant, timeout: PT0S}";
    let said = said(TRIGGER, "broker: inbound", text);
    assert_eq!(said.len(), 4, "{said:#?}");
}

#[test]
fn a_reference_that_leads_nowhere_names_what_is_there() {
    assert_eq!(
        said(TRIGGER, "broker: inbound", "broker: inboud"),
        [
            "triggers/dispatch.yaml:4:9: there is no Broker `inboud`; did you mean `inbound`?; there \
          are: `inbound` (knative/broker-inbound.yaml)"
        ]
    );
    says(
        TRIGGER,
        "      name: dispatch",
        "      name: dispath",
        "there is no Service `dispath`",
    );
    let sink = "broker: inbound\n  delivery: {deadLetterSink: {ref: {apiVersion: \
                eventing.knative.dev/v1, kind: Broker, name: dead}}}";
    says(
        TRIGGER,
        "broker: inbound",
        sink,
        "there is no Broker `dead`",
    );
}

#[test]
fn a_reference_to_a_manifest_that_has_a_fault_is_not_a_second_fault() {
    assert_eq!(said(BROKER, "inbound}", "inbound").len(), 1);
    assert_eq!(
        said(SERVICE, "timeoutSeconds: 30", "timeoutSeconds: 0").len(),
        1
    );
}

#[test]
fn two_objects_of_one_name_name_both_files() {
    let other = BROKER.1.replace("inbound", "inbound ");
    let files = [BROKER, ("knative/b/broker-inbound.yaml", other.as_str())];
    let refused = Manifests::parse("test", &files).expect_err("a duplicate");
    assert_eq!(
        refused.to_string(),
        "the manifests have 1 error\n  knative/b/broker-inbound.yaml:3:18: Broker `inbound` is also \
         declared in knative/broker-inbound.yaml:3:18"
    );
}

#[test]
fn a_file_is_one_document_named_as_what_it_declares() {
    says(
        SERVICE,
        "name: dispatch",
        "name: other",
        "must be called `other.yaml`",
    );
    says(
        SERVICE,
        "name: dispatch",
        "name: other",
        "Service `other` runs the function `dispatch`",
    );
    says(
        BROKER,
        "kind: Broker",
        "---\nkind: Broker",
        "a second document",
    );
    says(
        BROKER,
        BROKER.1,
        "# nothing\n",
        "broker-inbound.yaml: the file is empty",
    );
    says(
        BROKER,
        "name: inbound",
        "name: In_bound",
        "is not a DNS label",
    );
}

#[test]
fn other_kinds_are_refused_by_name() {
    says(
        BROKER,
        "kind: Broker",
        "kind: Sequence",
        "a Sequence of eventing.knative.dev/v1 cannot be run",
    );
    says(
        BROKER,
        "kind: Broker",
        "kind: Brokr",
        "did you mean `Broker`?",
    );
    let old = "apiVersion: eventing.knative.dev/v1beta1";
    says(
        BROKER,
        "apiVersion: eventing.knative.dev/v1",
        old,
        "did you mean apiVersion eventing",
    );
}

#[test]
fn cluster_only_kinds_are_listed_and_lists_of_them_opened() {
    let list = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ServiceAccount\n  \
                metadata: {name: a}\n";
    let manifests = Manifests::parse("test", &[("knative/a.yaml", list)]).expect("a list");
    let listed: Vec<_> = manifests
        .cluster_only
        .iter()
        .map(|it| (it.kind.as_str(), it.name.as_str()))
        .collect();
    assert_eq!(listed, [("ServiceAccount", "a")]);
    let list = list.replace(
        "v1\n  kind: ServiceAccount",
        "eventing.knative.dev/v1\n  kind: Broker",
    );
    let refused = Manifests::parse("test", &[("knative/a.yaml", &list)]).expect_err("a Broker");
    assert!(
        refused
            .to_string()
            .contains("5:9: a Broker is not taken from a List"),
        "{refused}"
    );
}

#[test]
fn environments_are_strings_and_set_once() {
    says(
        SERVICE,
        "\"1\"",
        "1",
        "value must be a string, not a number: write \"1\"",
    );
    says(
        SERVICE,
        "\"1\"",
        "yes",
        "value must be a string, not a boolean",
    );
    says(SERVICE, "\"1\"", "$(B)", "`$(NAME)` is not expanded here");
    says(SERVICE, "name: A", "name: PORT", "`PORT` is set by Knative");
    says(
        SERVICE,
        "\"1\"",
        "\"1\"\n            - name: A",
        "15:21: `A` is set twice",
    );
    let both = "\"1\"\n              valueFrom: {secretKeyRef: {name: s, key: k}}";
    says(
        SERVICE,
        "\"1\"",
        both,
        "value and valueFrom cannot both be given",
    );
    let field = "valueFrom: {fieldRef: {fieldPath: metadata.name}}";
    says(
        SERVICE,
        "value: \"1\"",
        field,
        "kubernetes.podspec-fieldref",
    );
}

#[test]
fn annotations_in_the_wrong_place_are_found() {
    let scale = "name: dispatch\n  annotations:\n    autoscaling.knative.dev/min-scale: \"1\"";
    says(
        SERVICE,
        "name: dispatch",
        scale,
        "6:5: `autoscaling.knative.dev/min-scale` has no effect",
    );
    let local = "name: dispatch\n  annotations: {networking.knative.dev/visibility: cluster-local}";
    says(
        SERVICE,
        "name: dispatch",
        local,
        "it is a label of the Service",
    );
    let wrong = "name: dispatch\n  labels: {networking.knative.dev/visibility: local}";
    says(
        SERVICE,
        "name: dispatch",
        wrong,
        "can only be `cluster-local`, not `local`",
    );
    let typo = "template:\n    metadata: {annotations: {autoscaling.knative.dev/minscale: \"1\"}}";
    says(
        SERVICE,
        "template:",
        typo,
        "did you mean `autoscaling.knative.dev/min-scale`?",
    );
    let number = "template:\n    metadata: {annotations: {autoscaling.knative.dev/min-scale: 1}}";
    says(
        SERVICE,
        "template:",
        number,
        "must be a string, not a number",
    );
    let foreign = "name: dispatch\n  annotations: {example.com/team: a}";
    assert_eq!(said(SERVICE, "name: dispatch", foreign), [""; 0]);
}

#[test]
fn pods_keep_to_what_knative_allows_by_default() {
    says(
        SERVICE,
        "timeoutSeconds: 30",
        "timeoutSeconds: 601",
        "from 1 to 600, not 601",
    );
    says(
        SERVICE,
        "timeoutSeconds: 30",
        "nodeSelector: {a: b}",
        "kubernetes.podspec-nodeselector",
    );
    let volume = "volumes: [{name: v, hostPath: {path: /}}]";
    says(
        SERVICE,
        "timeoutSeconds: 30",
        volume,
        "kubernetes.podspec-volumes-hostpath",
    );
    let mount = "args: [dispatch]\n          volumeMounts: [{name: v, mountPath: /v}]";
    says(SERVICE, "args: [dispatch]", mount, "there is no volume `v`");
    let add = "args: [dispatch]\n          securityContext: {capabilities: {add: [NET_ADMIN]}}";
    says(
        SERVICE,
        "args: [dispatch]",
        add,
        "kubernetes.containerspec-addcapabilities",
    );
    says(
        SERVICE,
        "args: [dispatch]",
        "args: [dispatch, now]",
        "a list of one string",
    );
}

#[test]
fn filters_and_broker_references_are_refused_for_now() {
    let filters = "broker: inbound\n  filters: [{exact: {type: t}}]";
    says(
        TRIGGER,
        "broker: inbound",
        filters,
        "7:13: filters are not run here yet",
    );
    assert_eq!(
        said(TRIGGER, "broker: inbound", "broker: inbound\n  filters: []"),
        [""; 0]
    );
    says(
        TRIGGER,
        "broker: inbound",
        "brokerRef: {name: b}",
        "spec.brokerRef is refused",
    );
    says(
        TRIGGER,
        "type: t",
        "Type: t",
        "`Type` is not an attribute that can be filtered",
    );
}

#[test]
fn yaml_that_is_broken_repeated_or_endless_is_refused_with_its_place() {
    says(
        BROKER,
        "inbound}",
        "inbound",
        "3:11: not valid YAML: unclosed bracket",
    );
    says(
        BROKER,
        "kind: Broker",
        "kind: Broker\nkind: Broker",
        "3:1: not valid YAML: duplicate",
    );
    let bomb = "a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\nc: &c \
                [*b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c]\ne: \
                [*d, *d, *d, *d, *d, *d, *d, *d, *d]\n";
    says(BROKER, BROKER.1, bomb, "not valid YAML");
    says(BROKER, BROKER.1, &"[".repeat(1000), "not valid YAML");
    says(
        BROKER,
        BROKER.1,
        "- a\n",
        "the manifest must be a mapping, not a list",
    );
}

#[test]
fn values_behind_an_alias_are_reported_where_they_are_used() {
    let alias = "annotations: {a: &v \"1\"}\n  name: *v";
    says(
        SERVICE,
        "name: dispatch",
        alias,
        "5:9: Service `1` runs the function `dispatch`",
    );
}

/// What is said about a folder with these files in it.
fn said_of_folder(files: &[(&str, &[u8])]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    for (path, bytes) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, bytes).expect("a file");
    }
    let shown = format!("{}/", folder.path().display());
    match Manifests::read(folder.path()) {
        Ok(manifests) => format!("read from {}", manifests.origin),
        Err(refused) => refused.to_string().replace(&shown, ""),
    }
}

#[test]
fn both_folders_must_be_there() {
    let broker: (&str, &[u8]) = (BROKER.0, BROKER.1.as_bytes());
    let said = said_of_folder(&[broker]);
    assert!(
        said.contains("\n  triggers: the folder cannot be read: No such file"),
        "{said}"
    );
    assert!(said_of_folder(&[broker, ("triggers/README.md", b"")]).starts_with("read from /"));
}

#[test]
fn files_that_would_be_passed_over_or_cannot_be_read_are_reported() {
    let large = vec![b'#'; 256 * 1024 + 1];
    let said = said_of_folder(&[
        ("knative/a.yml", b"{}"),
        ("knative/large.yaml", &large),
        ("knative/latin.yaml", b"a: \xe9"),
        ("triggers/folder.yaml/x", b""),
    ]);
    for expected in [
        "4 errors",
        "\n  knative/a.yml: only `.yaml` files are read: rename it",
        "\n  knative/large.yaml: larger than the 262144 bytes allowed",
        "\n  knative/latin.yaml: not UTF-8",
        "\n  triggers/folder.yaml: not a file: move it elsewhere",
    ] {
        assert!(said.contains(expected), "{expected} is not in {said}");
    }
}

#[test]
fn no_part_of_a_manifest_makes_the_reader_panic() {
    for (path, text) in super::embedded::FILES {
        // A prime step meets every kind of place without reading each file a thousand times.
        for end in (0..text.len())
            .step_by(13)
            .filter(|end| text.is_char_boundary(*end))
        {
            let odd = format!("{}\u{0}é: [*a, {{{}", &text[..end], &text[end..]);
            for changed in [&text[..end], &text[end..], odd.as_str()] {
                if let Err(refused) = Manifests::parse("test", &[(path, changed)]) {
                    assert!(!refused.findings.is_empty());
                }
            }
        }
    }
}
