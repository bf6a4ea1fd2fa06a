//! Topologies that want more than a lab: refused with the line, quickly, and without much memory.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::time::{Duration, Instant};

use labs::{FilesError, LabFile, LabFiles, PathKind, Policy, Topology, TopologyError, path_kind};

fn refused(text: &str) -> String {
    Topology::read(text, &Policy::default())
        .unwrap_err()
        .to_string()
}

fn with_node(lines: &str) -> String {
    format!("name: lab\ntopology:\n  nodes:\n    r1:\n      kind: linux\n{lines}\n  links: []\n")
}

#[test]
fn what_reaches_out_of_the_lab_is_refused_with_its_line() {
    for (lines, says) in [
        ("      exec: [reboot]", "`exec`"),
        ("      binds: [\"/etc/shadow:/mnt\"]", "file of the host"),
        ("      binds: [\"~/.ssh:/mnt\"]", "file of the host"),
        (
            "      binds: [\"a/../../b:/mnt\"]",
            "out of the lab's folder",
        ),
        (
            "      startup-config: ../../etc/passwd",
            "out of the lab's folder",
        ),
        (
            "      startup-config: /etc/passwd",
            "out of the lab's folder",
        ),
        ("      startup-config: http://169.254.169.254/x", "URL"),
        ("      license: ../license", "out of the lab's folder"),
        (
            "      env-files: [/proc/self/environ]",
            "out of the lab's folder",
        ),
        ("      network-mode: host", "host-network"),
        ("      exec: reboot", "`exec`"),
        (
            "      credentials: {identity-file: /root/.ssh/id_ed25519}",
            "out of the lab's folder",
        ),
        ("      privileged: true", "rights over the host"),
        ("      devices: [/dev/sda]", "rights over the host"),
        (
            "      stages: {create: {exec: [{command: id}]}}",
            "`exec` of a stage",
        ),
        (
            "      extras: {ceos-copy-to-flash: [/etc/shadow]}",
            "out of the lab's folder",
        ),
        ("      env: {A: \"{{ ''.__class__ }}\"}", "template"),
        // What starts the lab would put the default in.
        ("      network-mode: ${MODE:=host}", "host-network"),
        ("      network-mode: h${O:-o}${S=${T:-st}}", "host-network"),
        (
            "      binds: [\"${DIR-/etc}/shadow:/mnt\"]",
            "file of the host",
        ),
        ("      env: {A: \"${B%%x}\"}", "a variable is"),
    ] {
        let error = refused(&with_node(lines));
        assert!(
            error.starts_with("line 6: ") && error.contains(says),
            "{lines}: {error}"
        );
    }
    let inherited = "name: lab\ntopology:\n  defaults:\n    exec: [id]\n  kinds:\n    linux:\n      binds: [\"/:/host\"]\n  nodes:\n    r1: {kind: linux}\n";
    let error = refused(inherited);
    assert!(
        error.contains("line 4: `exec`") && error.contains("line 7: the bind"),
        "{error}"
    );
    // Containerlab reads kinds, and what is at the end of a link, in small letters.
    let of_host = "name: lab\ntopology:\n  nodes:\n    r1: {kind: Bridge}\n  links: []\n";
    assert!(
        refused(of_host).starts_with("line 4: a node of the kind `bridge`"),
        "{}",
        refused(of_host)
    );
    for end in ["host", "HOST", " Host ", "MacVLAN", "mgmt-net"] {
        for kind in ["", "    - type: brief\n  "] {
            let first = if kind.is_empty() { "    - " } else { "    " };
            let linked = format!(
                "name: lab\ntopology:\n  nodes:\n    r1: {{kind: linux}}\n    {}: {{kind: linux}}\n  links:\n{kind}{first}endpoints: [\"r1:eth1\", \"{end}:eth0\"]\n",
                end.trim()
            );
            let error = refused(&linked);
            assert!(error.contains(&format!("a link to `{end}`")), "{error}");
        }
    }
    let typed = "name: lab\ntopology:\n  nodes:\n    r1: {kind: linux}\n  links:\n    - type: Host\n      endpoint: {node: r1, interface: eth1}\n      host-interface: eth0\n";
    assert!(
        refused(typed).starts_with("line 6: a link of the type `host`"),
        "{}",
        refused(typed)
    );
    let authority = "name: lab\nsettings:\n  certificate-authority:\n    cert: ca.pem\n    key: /etc/ssl/private/ca.key\ntopology:\n  nodes:\n    r1: {kind: linux}\n";
    assert!(
        refused(authority).starts_with("line 5: `key`"),
        "{}",
        refused(authority)
    );
}

#[test]
fn a_template_of_a_topology_is_called_one() {
    let error = refused(
        "name: lab\ntopology:\n  nodes:\n{{- range $i := seq 1 3 }}\n    r{{ $i }}:\n{{- end }}\n",
    );
    assert!(
        error.starts_with("line 4: \"{{- range $i := seq 1 3 }}\" is a template"),
        "{error}"
    );
    assert!(!refused("name: [\n").contains("template"));
}

#[test]
fn a_link_that_containerlab_would_not_read_is_refused_with_its_line() {
    for (link, says) in [
        ("endpoints: [\"r1:eth1\"]", "a link has two ends"),
        (
            "type: veth\n    endpoint: {node: r1, interface: eth1}",
            "a link has two ends",
        ),
        (
            "type: dummy\n    endpoints: [\"r1:eth1\", \"r1:eth2\"]",
            "has one end",
        ),
        (
            "type: tunnel\n    endpoint: {node: r1, interface: eth1}",
            "no type `tunnel`",
        ),
        (
            "type: 5\n    endpoints: [\"r1:eth1\", \"r1:eth2\"]",
            "no type `a number`",
        ),
        (
            "endpoints: [\"r1:eth1\", \"r9:eth1\"]",
            "no node of the lab",
        ),
        (
            "endpoints: [\"r1:eth1\", \"dummy:eth1\"]",
            "no node of the lab",
        ),
        ("endpoints: [\"r1:eth1\", \"r1\"]", "an end of a link"),
    ] {
        let node = "name: lab\ntopology:\n  nodes:\n    r1: {kind: linux}\n";
        let error = refused(&format!("{node}  links:\n  - {link}\n"));
        assert!(
            error.starts_with("line ") && error.contains(says),
            "{link}: {error}"
        );
    }
}

#[test]
fn what_an_operator_allows_is_let_through() {
    let text = with_node(
        "      exec: [id]\n      binds: [\"/lib/modules:/lib/modules:ro\"]\n      network-mode: host\n      privileged: true",
    );
    let policy: Policy = "exec, host-binds,host-network,privileged".parse().unwrap();
    let topology = Topology::read(&text, &policy).unwrap();
    assert_eq!(topology.nodes[0].name, "r1");
    let error = "exec,root".parse::<Policy>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "\"root\" is none of exec, host-binds, host-network, privileged"
    );
    // Above the folder is never allowed: it would be another lab's.
    let above = with_node("      binds: [\"../other:/mnt\"]");
    assert!(Topology::read(&above, &policy).is_err());
}

/// Texts that cost more than their size says, by name.
fn costly() -> Vec<(&'static str, String)> {
    let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..30 {
        let before = level - 1;
        laughs.push_str(&format!(
            "a{level}: &a{level} [{}]\n",
            vec![format!("*a{before}"); 9].join(", ")
        ));
    }
    let merges: String = (0..5_000).map(|i| format!("m{i}: {{<<: *b}}\n")).collect();
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let anchors: String = (0..100_000).map(|i| format!("- &a{i} x\n")).collect();
    vec![
        ("laughs", laughs),
        ("anchors", anchors),
        ("merges", format!("b: &b {{x: 1}}\n{merges}")),
        (
            "python",
            "name: !!python/object/apply:os.system [id]\n".to_owned(),
        ),
        ("tabs", "name: a\n\ttopology: b\n".to_owned()),
        ("deep", deep),
        ("duplicate", "name: a\nname: b\n".to_owned()),
        ("two", "name: a\n---\nname: b\n".to_owned()),
        ("binary", "\u{0}\u{1}".to_owned()),
    ]
}

/// What this thread has had of a processor, whatever else the machine is busy with.
fn on_processor() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanos = told.split_whitespace().next().unwrap();
    Duration::from_nanos(nanos.parse().unwrap())
}

#[test]
fn yaml_that_costs_more_than_its_size_is_refused_at_once() {
    for (what, text) in costly() {
        let began = on_processor();
        assert!(Topology::read(&text, &Policy::default()).is_err());
        let took = on_processor() - began;
        let error = Topology::read(&text, &Policy::default()).unwrap_err();
        assert!(matches!(error, TopologyError::Yaml(_)), "{what}: {error}");
        assert!(took < Duration::from_millis(100), "{what} took {took:?}");
    }
    let huge = "a".repeat(100 * 1024 * 1024);
    let began = Instant::now();
    let error = refused(&huge);
    assert!(error.contains("104857600 bytes"), "{error}");
    assert!(began.elapsed() < Duration::from_millis(100));
}

/// Names the text that a process of its own reads, to see how much memory that takes.
const READ_ONE: &str = "HOSTILE_TEXT";
/// The most that reading one may take, with all of the process, in KiB.
const PEAK_KIB_MAX: u64 = 50 * 1024;

/// As large as may be and all values: the budget, not the size, ends it.
fn largest() -> String {
    format!("name: a\ntopology: [{}]\n", "1,".repeat(500_000))
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a test starts itself, and is told by what"
)]
fn yaml_that_costs_more_than_its_size_takes_little_memory() {
    let mut texts = costly();
    texts.push(("largest", largest()));
    if let Ok(name) = std::env::var(READ_ONE) {
        let (_, text) = texts.into_iter().find(|(what, _)| *what == name).unwrap();
        assert!(Topology::read(&text, &Policy::default()).is_err());
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find(|line| line.starts_with("VmHWM:"));
        println!("{}", peak.unwrap());
        return;
    }
    for (what, _) in texts {
        let test = "yaml_that_costs_more_than_its_size_takes_little_memory";
        let read = std::process::Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture"])
            .env(READ_ONE, what)
            .output()
            .unwrap();
        let said = String::from_utf8(read.stdout).unwrap();
        assert!(read.status.success(), "{what}: {said}");
        let peak = said.lines().find_map(|line| line.split_once("VmHWM:"));
        let kib: u64 = peak
            .unwrap()
            .1
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .unwrap();
        assert!(kib < PEAK_KIB_MAX, "{what} took {kib} KiB");
    }
}

#[test]
fn a_text_of_the_largest_size_is_read_in_time() {
    let text = largest();
    let began = on_processor();
    assert!(Topology::read(&text, &Policy::default()).is_err());
    let took = on_processor() - began;
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let text = "name: \"a b\"\nwhat: 1\ntopology:\n  nodes:\n    \"r 1\": {kind: linux}\n    r2: 5\n  links:\n    - endpoints: [\"r1:eth1\", \"r2\"]\n    - endpoints: []\n";
    let TopologyError::Refused(problems) = Topology::read(text, &Policy::default()).unwrap_err()
    else {
        panic!("it is YAML");
    };
    let lines: Vec<u32> = problems.iter().map(|problem| problem.at.line).collect();
    assert_eq!(lines, [1, 2, 5, 6, 8, 8, 9]);
}

#[test]
fn a_netlab_topology_is_looked_through_before_netlab_sees_it() {
    let none = LabFiles::default();
    let policy = Policy::default();
    for (text, says) in [
        (
            "nodes:\n  r1:\n    clab.exec: [id]\n",
            "line 3: `clab.exec`",
        ),
        (
            "nodes:\n  r1:\n    clab:\n      exec: [id]\n",
            "line 4: `exec`",
        ),
        ("plugin: [../evil]\n", "line 1: the plugin"),
        (
            "nodes:\n  r1:\n    clab.binds: {/etc: /mnt}\n",
            "line 3: the bind",
        ),
        (
            "nodes:\n  r1:\n    config: [../../x]\n",
            "line 3: the template",
        ),
        ("name: \"{{ ''.__class__ }}\"\n", "line 1:"),
        (
            "nodes:\n  r1:\n    clab:\n      devices: [/dev/kvm]\n",
            "line 4: `devices` gives rights",
        ),
        (
            "nodes:\n{% for n in x %}\n- {{ n }}\n{% endfor %}\n",
            "line 2: \"{% for n in x %}\" is a template",
        ),
        (
            "defaults.sources.list: [/etc]\n",
            "line 1: `defaults.sources.list` reads",
        ),
        (
            "defaults:\n  sources: {extra: [/etc/x.yml]}\n",
            "line 2: `sources` reads",
        ),
        (
            "nodes:\n  _include: [/etc/passwd]\n",
            "line 2: `_include` reads",
        ),
        (
            "nodes._include: [/etc/passwd]\n",
            "line 1: `nodes._include` reads",
        ),
        (
            "defaults.paths.custom.dirs: [/etc]\n",
            "line 1: `defaults.paths.custom.dirs` reads",
        ),
        (
            "defaults:\n  paths: {plugin: [/tmp]}\n",
            "line 2: `paths` reads",
        ),
        (
            "nodes:\n  r1.clab.binds./etc: /mnt\n",
            "line 2: the bind of \"/etc\"",
        ),
        (
            "defaults.providers.clab.start: reboot\n",
            "line 1: `defaults.providers.clab.start` runs",
        ),
        (
            "defaults:\n  providers:\n    clab:\n      probe: [{cmd: id}]\n",
            "line 4: `probe` runs",
        ),
        (
            "groups:\n  all:\n    vars: {ansible_connection: local}\n",
            "line 3: `ansible_connection` runs",
        ),
        (
            "defaults.devices.frr.group_vars.ansible_ssh_common_args: -o ProxyCommand=id\n",
            "ansible_ssh_common_args` runs",
        ),
        ("tools: {x: {up: id}}\n", "line 1: `tools` runs"),
        (
            "defaults.tools.graphite.docker.up: id\n",
            "line 1: `defaults.tools.graphite.docker.up` runs",
        ),
    ] {
        let error = labs::netlab::check(text, &none, &policy)
            .unwrap_err()
            .to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
    for text in [
        "provider: clab\nnodes: [r1, r2]\nlinks: [r1-r2]\n",
        // Settings of devices are no devices of the host.
        "defaults:\n  devices:\n    frr: {clab.image: \"frr:1\"}\nnodes: [r1]\n",
        "defaults.providers.clab.lab_prefix: \"\"\nnodes: [r1]\n",
        "groups: {all: {vars: {ansible_user: ann}}}\nnodes: [r1]\n",
        "validate: {p: {devices: [frr, eos]}}\nnodes: [r1]\n",
        // A part of a topology by its name, and a test of it.
        "components: {tor: {module: [ospf]}}\nnodes: {l1: {include: tor}}\n",
        "validate: {p: {plugin: \"bgp_prefix('172.42.42.0/24')\"}}\nnodes: [r1]\n",
    ] {
        labs::netlab::check(text, &none, &policy).unwrap();
    }
    for text in [
        "ok\n{{ ''.__class__.__mro__ }}\n",
        "ok\n{{ ''['\\x5f\\x5fclass\\x5f\\x5f'] }}\n",
        "ok\n{% set a = '_' * 2 %}\n",
        "ok\n#jinja2: variable_start_string: '[['\n",
    ] {
        let mut files = LabFiles::default();
        let template = LabFile {
            bytes: text.as_bytes().to_vec(),
            executable: false,
        };
        files.add("custom/r1.j2", template).unwrap();
        let error = labs::netlab::check("nodes: [r1]\n", &files, &policy).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("custom/r1.j2, line 2"), "{error}");
        let trusted = Policy {
            exec: true,
            ..Policy::default()
        };
        labs::netlab::check("nodes: [r1]\n", &files, &trusted).unwrap();
    }
}

#[test]
fn an_archive_that_leads_elsewhere_is_refused_as_a_whole() {
    let tar = |path: &str, kind: tar::EntryType| {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, kind) in [("clab.yml", tar::EntryType::Regular), (path, kind)] {
            let mut header = tar::Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(kind);
            header.set_mode(0o644);
            header.set_size(0);
            header.set_cksum();
            builder.append(&header, std::io::empty()).unwrap();
        }
        builder.into_inner().unwrap()
    };
    use tar::EntryType;
    for (path, kind) in [
        ("../x", EntryType::Regular),
        ("/etc/x", EntryType::Regular),
        ("a/../../x", EntryType::Regular),
        ("../d", EntryType::Directory),
    ] {
        let error = LabFiles::from_tar(&tar(path, kind)).unwrap_err();
        assert!(matches!(error, FilesError::Path(_)), "{path}: {error}");
    }
    for kind in [
        EntryType::Symlink,
        EntryType::Link,
        EntryType::Char,
        EntryType::Fifo,
    ] {
        let error = LabFiles::from_tar(&tar("x", kind)).unwrap_err();
        assert!(matches!(error, FilesError::Kind(_)), "{kind:?}: {error}");
    }
    let error = LabFiles::from_tar(&tar("clab.yml", EntryType::Regular)).unwrap_err();
    assert!(matches!(error, FilesError::Twice(_)), "{error}");
    assert!(
        LabFiles::from_tar(b"no tar").is_err()
            || LabFiles::from_tar(b"no tar").unwrap().iter().count() == 0
    );
    let files = LabFiles::from_tar(&tar("node_files/r1/x", EntryType::Regular)).unwrap();
    assert_eq!(files.iter().count(), 2);
}

#[test]
fn paths_are_told_apart_by_where_they_lead() {
    assert_eq!(
        path_kind("./a//b/./c"),
        PathKind::Inside("a/b/c".to_owned())
    );
    for outside in ["", ".", "..", "a/..", "a\\b", "a\0b"] {
        assert_eq!(path_kind(outside), PathKind::Outside, "{outside:?}");
    }
    assert_eq!(path_kind("s3://bucket/x"), PathKind::Url);
}
