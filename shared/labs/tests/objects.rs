//! Labs as objects for a cluster, against the CRDs of both generations and containerlab's schema.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use cluster_testkit::Crds;
use labs::clabernetes::{ApiFlavor, CONFIG_MAP_BYTES_MAX, LabSettings, Objects, ObjectsError};
use labs::{Graph, LabFile, LabFiles, Policy, Topology};
use serde_json::Value;

const CLAB: &str = r#"name: Two_Routers
prefix: "clab"
mgmt:
  network: netlab_mgmt
  ipv4-subnet: 192.168.121.0/24
topology:
  defaults:
    binds: ["./shared/hosts:/etc/hosts:ro"]
  groups:
    edge:
      startup-config: startup/__clabNodeName__.cfg
  nodes:
    R1:
      kind: ceos
      image: ceos:4.34.2F
      mgmt-ipv4: 192.168.121.101
      group: edge
      binds:
      - node_files/R1:/etc/config
    r2:
      kind: linux
      image: quay.io/frrouting/frr:10.7.1
      startup-config: |
        hostname r2
        end
  links:
  - endpoints: ["R1:et1", "r2:eth1"]
  - type: veth
    endpoints:
    - {node: R1, interface: et2}
    - {node: r2, interface: eth2}
"#;

fn file(text: &str) -> LabFile {
    let bytes = text.as_bytes().to_vec();
    LabFile {
        bytes,
        executable: false,
    }
}

fn files() -> LabFiles {
    let mut files = LabFiles::default();
    files
        .add("shared/hosts", file("127.0.0.1 localhost\n"))
        .unwrap();
    files.add("startup/R1.cfg", file("hostname R1\n")).unwrap();
    files
        .add(
            "node_files/R1/initial",
            LabFile {
                executable: true,
                ..file("#!/bin/sh\n")
            },
        )
        .unwrap();
    files
        .add(
            "node_files/R1/deep/er",
            LabFile {
                bytes: vec![0xff, 0xfe],
                executable: false,
            },
        )
        .unwrap();
    files
}

fn read(text: &str) -> Topology {
    Topology::read(text, &Policy::default()).unwrap()
}

fn objects(flavor: ApiFlavor) -> Objects {
    Objects::new(&read(CLAB), &files(), flavor, &LabSettings::default()).unwrap()
}

#[test]
fn objects_fit_the_definitions_of_both_generations() {
    let Some(crds) = Crds::of_labs() else { return };
    for flavor in ApiFlavor::ALL {
        let objects = objects(flavor);
        crds.check(&objects.topology).unwrap();
        // The check can fail.
        let mut wrong = objects.topology.clone();
        wrong["spec"]["naming"] = "sideways".into();
        assert!(crds.check(&wrong).is_err());
    }
}

#[test]
fn nodes_are_renamed_everywhere_and_the_map_is_kept() {
    let objects = objects(ApiFlavor::C9sRun);
    assert_eq!(objects.names.lab, "two-routers");
    assert_eq!(objects.names.nodes["R1"], "r1");
    let annotations = &objects.topology["metadata"]["annotations"];
    assert_eq!(annotations["switchyard.dev/node-names"], "{\"R1\":\"r1\"}");
    let text = objects.topology["spec"]["definition"]["containerlab"]
        .as_str()
        .unwrap();
    // What is written is a topology again, and nothing of it leads to the old name but paths.
    let again = Topology::read(text, &Policy::default()).unwrap();
    assert_eq!(again.name, "two-routers");
    assert_eq!(again.nodes[0].name, "r1");
    assert_eq!(again.links[0].ends[0].node, "r1");
    assert_eq!(again.links[1].ends[0].node, "r1");
    assert_eq!(
        again.nodes[0].startup_config.as_ref().unwrap().text,
        "startup/R1.cfg"
    );
    assert_eq!(
        again.nodes[1].startup_config.as_ref().unwrap().text,
        "clabernetes/startup-config"
    );
    let binds: Vec<&str> = again.nodes[0]
        .binds
        .iter()
        .map(|bind| bind.text.as_str())
        .collect();
    assert_eq!(
        binds,
        ["shared/hosts:/etc/hosts:ro", "node_files/R1:/etc/config"]
    );
}

#[test]
fn every_file_of_a_node_is_mounted_where_its_bind_looks() {
    let objects = objects(ApiFlavor::Clabernetes06);
    assert_eq!(
        objects.topology["apiVersion"],
        "clabernetes.containerlab.dev/v1alpha1"
    );
    let mounts = &objects.topology["spec"]["deployment"]["filesFromConfigMap"]["r1"];
    let seen: Vec<(&str, &str)> = mounts
        .as_array()
        .unwrap()
        .iter()
        .map(|mount| {
            (
                mount["filePath"].as_str().unwrap(),
                mount["mode"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("node_files/R1/deep/er", "read"),
            ("node_files/R1/initial", "execute"),
            ("shared/hosts", "read"),
            ("startup/R1.cfg", "read"),
        ]
    );
    let map = &objects.config_maps[0];
    assert_eq!(map["metadata"]["name"], "two-routers-r1-files-0");
    assert_eq!(map["data"]["node_files-R1-initial"], "#!/bin/sh\n");
    assert_eq!(map["binaryData"]["node_files-R1-deep-er"], "//4=");
}

#[test]
fn the_same_lab_gives_the_same_bytes() {
    let (a, b) = (objects(ApiFlavor::C9sRun), objects(ApiFlavor::C9sRun));
    assert_eq!(a.topology.to_string(), b.topology.to_string());
    assert_eq!(a.content, b.content);
    let changed = CLAB.replace("192.168.121.101", "192.168.121.102");
    let c = Objects::new(
        &read(&changed),
        &files(),
        ApiFlavor::C9sRun,
        &LabSettings::default(),
    )
    .unwrap();
    assert_ne!(a.content, c.content);
}

fn lab_with(sizes: &[usize]) -> Result<Objects, ObjectsError> {
    let mut files = LabFiles::default();
    let binds: Vec<String> = sizes
        .iter()
        .enumerate()
        .map(|(index, bytes)| {
            files
                .add(&format!("big/{index}"), file(&"x".repeat(*bytes)))
                .unwrap();
            format!("\"big/{index}:/mnt/{index}\"")
        })
        .collect();
    let text = format!(
        "name: big\ntopology:\n  nodes:\n    r1: {{kind: linux, binds: [{}]}}\n",
        binds.join(", ")
    );
    Objects::new(
        &read(&text),
        &files,
        ApiFlavor::C9sRun,
        &LabSettings::default(),
    )
}

#[test]
fn three_files_of_600_kb_become_several_config_maps() {
    let objects = lab_with(&[600_000; 3]).unwrap();
    assert_eq!(objects.config_maps.len(), 3);
    for map in &objects.config_maps {
        assert!(map.to_string().len() < CONFIG_MAP_BYTES_MAX + 1_000);
    }
    let mounts = objects.topology["spec"]["deployment"]["filesFromConfigMap"]["r1"]
        .as_array()
        .unwrap();
    let names: Vec<&Value> = mounts.iter().map(|mount| &mount["configMapName"]).collect();
    assert_eq!(
        names,
        ["big-r1-files-0", "big-r1-files-1", "big-r1-files-2"]
    );
    assert_eq!(lab_with(&[400_000; 4]).unwrap().config_maps.len(), 2);
}

#[test]
fn a_file_over_the_limit_is_refused_by_its_name() {
    let error = lab_with(&[10, 1_100_000]).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the file big/1 of node r1 has 11000"),
        "{error}"
    );
}

#[test]
fn names_that_collide_are_refused() {
    let text = "name: x\ntopology:\n  nodes:\n    R.1: {kind: linux}\n    r-1: {kind: linux}\n";
    let error = Objects::new(
        &read(text),
        &LabFiles::default(),
        ApiFlavor::C9sRun,
        &LabSettings::default(),
    )
    .unwrap_err();
    let error = error.to_string();
    assert!(
        error.starts_with("line 5: \"r-1\" and \"R.1\" would both be called r-1"),
        "{error}"
    );
}

#[test]
fn a_node_that_would_be_taken_for_the_host_is_refused() {
    for node in ["host", "Host", "mgmt_net", "MACVLAN"] {
        let text = format!("name: x\ntopology:\n  nodes:\n    {node}: {{kind: linux}}\n");
        let error = Objects::new(
            &read(&text),
            &LabFiles::default(),
            ApiFlavor::C9sRun,
            &LabSettings::default(),
        )
        .unwrap_err()
        .to_string();
        assert!(
            error.starts_with("line 4: ") && error.contains("takes for what is outside of the lab"),
            "{node}: {error}"
        );
    }
}

#[test]
fn links_are_read_as_containerlab_reads_them() {
    let text = "name: x\ntopology:\n  nodes:\n    r1: {kind: linux, privileged: false}\n    r2: {kind: linux}\n  links:\n    - type: brief\n      endpoints: [\"r1:eth1\", \"r2:eth1\"]\n    - type: VEth\n      endpoints: [{node: r1, interface: eth2}, {node: r2, interface: eth2}]\n    - type:\n      endpoints: [\"r1:eth3\", \"r2:eth3\"]\n";
    let read = read(text);
    let ends: Vec<usize> = read.links.iter().map(|link| link.ends.len()).collect();
    assert_eq!(ends, [2, 2, 2]);
}

#[test]
fn a_file_that_is_not_there_is_named_with_its_line() {
    let text =
        "name: x\ntopology:\n  nodes:\n    r1:\n      kind: linux\n      binds: [\"a/b:/c\"]\n";
    let error = Objects::new(
        &read(text),
        &LabFiles::default(),
        ApiFlavor::C9sRun,
        &LabSettings::default(),
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 6: the bind of node r1 names \"a/b\", which is not among the lab's files"
    );
}

#[test]
fn a_group_is_also_the_kinds_or_the_defaults_to_say() {
    let lab = |inner: &str| {
        let text = format!("name: x\ntopology:\n{inner}  nodes:\n    r1:\n    r2: {{kind: srl}}\n");
        let nodes = read(&text).nodes;
        let told = |node: &labs::LabNode| {
            let image = node.image.as_ref().map(|image| image.text.clone());
            (
                node.kind.clone().unwrap_or_default(),
                image.unwrap_or_default(),
            )
        };
        [told(&nodes[0]), told(&nodes[1])]
    };
    let pair = |kind: &str, image: &str| (kind.to_owned(), image.to_owned());
    let by_defaults =
        "  defaults: {group: edge}\n  groups:\n    edge: {kind: linux, image: \"a:1\"}\n";
    assert_eq!(lab(by_defaults), [pair("linux", "a:1"), pair("srl", "a:1")]);
    let by_kind = "  defaults: {kind: linux}\n  kinds:\n    srl: {group: edge, image: \"b:1\"}\n  groups:\n    edge: {image: \"${IMAGE:=a}:1\"}\n";
    assert_eq!(lab(by_kind), [pair("linux", ""), pair("srl", "a:1")]);
}

#[test]
fn files_are_found_where_containerlab_and_clabernetes_look_for_them() {
    let text = r#"name: x
topology:
  defaults:
    env-files: [./common.env]
  nodes:
    r1:
      kind: ceos
      image: ceos:1
      startup-config: configs/__clabNodeName__.cfg
      extras: {ceos-copy-to-flash: [flash/boot.txt]}
      binds:
      - __clabDir__/hosts:/etc/hosts
      - __clabNodeDir__/conf:/conf:ro
      - __clabDir__/topology-data.json:/lab.json
      - __clabLabName__/motd:/etc/motd
    r2:
      kind: linux
      image: alpine:3
      binds: [".:/lab"]
"#;
    let mut files = LabFiles::default();
    for path in [
        "clab-x/motd",
        "clab-x/r1/conf",
        "common.env",
        "configs/r1.cfg",
        "flash/boot.txt",
        "hosts",
    ] {
        files.add(path, file("x")).unwrap();
    }
    let lab = read(text);
    let made = Objects::new(&lab, &files, ApiFlavor::C9sRun, &LabSettings::default()).unwrap();
    let mounts = made.topology["spec"]["deployment"]["filesFromConfigMap"]["r1"].as_array();
    let mounted: Vec<&str> = mounts
        .unwrap()
        .iter()
        .map(|mount| mount["filePath"].as_str().unwrap())
        .collect();
    assert_eq!(
        mounted,
        [
            "clab-x/motd",
            "clab-x/r1/conf",
            "common.env",
            "configs/r1.cfg",
            "flash/boot.txt",
            "hosts",
        ]
    );
    let definition = made.topology["spec"]["definition"]["containerlab"].as_str();
    let again = read(definition.unwrap());
    let binds: Vec<&str> = again.nodes[0]
        .binds
        .iter()
        .map(|it| it.text.as_str())
        .collect();
    assert_eq!(
        binds,
        [
            "hosts:/etc/hosts",
            "clab-x/r1/conf:/conf:ro",
            // containerlab writes it when the lab starts.
            "__clabDir__/topology-data.json:/lab.json",
            "clab-x/motd:/etc/motd",
        ]
    );
    // The folder with everything in it.
    assert_eq!(again.nodes[1].binds[0].text, ".:/lab");
    let of_the_other = &made.topology["spec"]["deployment"]["filesFromConfigMap"]["r2"];
    assert_eq!(of_the_other.as_array().unwrap().len(), 6);
    let lacking = Objects::new(
        &lab,
        &LabFiles::default(),
        ApiFlavor::C9sRun,
        &LabSettings::default(),
    );
    let said = lacking.unwrap_err().to_string();
    for missing in [
        "line 4: a file of node r1",
        "\"clab-x/hosts\"",
        "\"flash/boot.txt\"",
    ] {
        assert!(said.contains(missing), "{missing}: {said}");
    }
}

#[test]
fn long_names_are_cut_and_stay_apart() {
    let long = "a".repeat(100);
    let text = format!(
        "name: {long}\ntopology:\n  nodes:\n    {long}1: {{kind: linux}}\n    {long}2: {{kind: linux}}\n"
    );
    let objects = Objects::new(
        &read(&text),
        &LabFiles::default(),
        ApiFlavor::C9sRun,
        &LabSettings::default(),
    )
    .unwrap();
    for node in objects.names.nodes.values() {
        assert!(objects.names.lab.len() + 1 + node.len() <= 63, "{node}");
    }
    assert_eq!(labs::lab_name("9lives"), "lab-9lives");
}

#[test]
fn a_kind_by_its_short_name_passes_containerlabs_schema() {
    let Some(path) = testkit::conformance("labs/clab.schema.json") else {
        return;
    };
    let schema = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let schema = labs::ClabSchema::new(&schema).unwrap();
    schema.check(CLAB).unwrap();
    let error = schema
        .check(&CLAB.replace("mgmt-ipv4: 192.168.121.101", "mgmt-ipv4: [1]"))
        .unwrap_err();
    assert!(
        error.to_string().starts_with("line 13: /topology/nodes/R1"),
        "{error}"
    );
}

#[test]
fn a_drawing_is_the_same_every_time_and_escapes_what_it_shows() {
    let mut graph = Graph::from(&read(CLAB));
    assert_eq!(graph.nodes[0].mgmt_ip.as_deref(), Some("192.168.121.101"));
    assert_eq!(graph.edges.len(), 2);
    graph.nodes[1].kind = Some("<script>".to_owned());
    let kept = serde_json::to_vec(&graph).unwrap();
    assert_eq!(Graph::read(&kept), Some(graph.clone()));
    assert_eq!(Graph::read(b"{}"), None);
    let svg = labs::svg(&graph, "the \"lab\"").unwrap();
    assert_eq!(Some(&svg), labs::svg(&graph, "the \"lab\"").as_ref());
    assert!(!svg.contains("<script>") && svg.contains("the &quot;lab&quot;"));
    assert_eq!(svg.matches("<path").count(), 2);
    let nodes = (0..labs::DRAWN_NODES_MAX + 1).map(|id| labs::GraphNode {
        id: id.to_string(),
        ..Default::default()
    });
    assert_eq!(
        labs::svg(
            &Graph {
                nodes: nodes.collect(),
                ..Graph::default()
            },
            ""
        ),
        None
    );
}

#[test]
fn what_netlab_says_is_read() {
    use labs::netlab::{LabStatus, errors, status};
    let said = "IncorrectValue in links: Link string r2-r9 in links[2] refers to an unknown node r9\nFatal error in netlab: Cannot proceed beyond this point due to errors, exiting\n";
    assert_eq!(errors(said).len(), 2);
    assert_eq!(
        status(1, "{\n  \"warning\": \"No netlab-managed labs\"\n}\n", ""),
        LabStatus::NoLabs
    );
    assert!(matches!(status(1, "", "boom"), LabStatus::Failed(why) if why.contains("boom")));
    assert!(matches!(
        status(0, "{\"default\": {}}", ""),
        LabStatus::Labs(_)
    ));
}
