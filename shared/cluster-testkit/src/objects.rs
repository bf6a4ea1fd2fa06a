//! The objects of a cluster.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Map, Value, json};

use crate::Crds;
use crate::fields::{leaves, merge, remove, same};
use crate::path::Target;

/// What Kubernetes takes of a ConfigMap or Secret, in bytes of its data.
const DATA_BYTES_MAX: usize = 1024 * 1024;
/// What etcd takes of any object, in bytes.
const OBJECT_BYTES_MAX: usize = 1_500_000;

/// Which object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) group: String,
    pub(crate) plural: String,
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
}

/// A refusal, as a Status says it.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) code: u16,
    pub(crate) reason: String,
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn new(code: u16, reason: &str, message: &str) -> Self {
        let (reason, message) = (reason.to_owned(), message.to_owned());
        Self {
            code,
            reason,
            message,
        }
    }

    pub(crate) fn not_found(key: &Key) -> Self {
        Self::new(
            404,
            "NotFound",
            &format!("{} \"{}\" not found", key.plural, key.name),
        )
    }
}

#[derive(Debug)]
struct Kept {
    value: Value,
    /// The fields that each manager owns, by their paths.
    managers: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Debug)]
struct Happened {
    version: u64,
    key: Key,
    kind: &'static str,
    value: Value,
}

/// Everything that a cluster keeps.
#[derive(Debug)]
pub(crate) struct Objects {
    crds: Crds,
    kept: BTreeMap<Key, Kept>,
    happened: VecDeque<Happened>,
    version: u64,
    /// What happened up to this version is forgotten.
    compacted: u64,
    failing: Vec<(usize, String, String, u16)>,
    pub(crate) calls: Vec<(String, String)>,
    pub(crate) logs: BTreeMap<(String, String), String>,
}

impl Objects {
    pub(crate) fn new(crds: Crds) -> Self {
        Self {
            crds,
            kept: BTreeMap::new(),
            happened: VecDeque::new(),
            version: 1,
            compacted: 0,
            failing: Vec::new(),
            calls: Vec::new(),
            logs: BTreeMap::new(),
        }
    }

    pub(crate) fn fail_next(&mut self, times: usize, method: &str, path: &str, status: u16) {
        self.failing
            .push((times, method.to_owned(), path.to_owned(), status));
    }

    /// Notes a call; how it fails, when it was told to.
    pub(crate) fn called(&mut self, method: &str, path: &str) -> Option<Fault> {
        self.calls.push((method.to_owned(), path.to_owned()));
        let fits = |(times, of, part, _): &&mut (usize, String, String, u16)| {
            *times > 0 && of == method && path.contains(part.as_str())
        };
        let (times, _, _, status) = self.failing.iter_mut().find(fits)?;
        *times -= 1;
        Some(Fault::new(*status, "InternalError", "told to fail"))
    }

    pub(crate) fn compact(&mut self) {
        self.compacted = self.version;
        self.happened.clear();
    }

    /// Groups with their versions.
    pub(crate) fn groups(&self) -> BTreeMap<String, Vec<String>> {
        let mut groups = BTreeMap::from([
            ("apps".to_owned(), vec!["v1".to_owned()]),
            ("batch".to_owned(), vec!["v1".to_owned()]),
        ]);
        for definition in &self.crds.definitions {
            let spec = &definition["spec"];
            let group = spec["group"].as_str().unwrap_or_default().to_owned();
            let versions = spec["versions"].as_array().into_iter().flatten();
            let versions =
                versions.filter_map(|version| version["name"].as_str().map(str::to_owned));
            groups.insert(group, versions.collect());
        }
        groups
    }

    pub(crate) fn get(&self, key: &Key) -> Result<Value, Fault> {
        let kept = self.kept.get(key).ok_or_else(|| Fault::not_found(key))?;
        Ok(kept.value.clone())
    }

    pub(crate) fn list(&self, target: &Target, selector: Option<&String>) -> Value {
        let of_it = |key: &Key| {
            key.group == target.group
                && key.plural == target.plural
                && (target.namespace.is_none() || key.namespace == target.namespace)
        };
        let items: Vec<&Value> = self
            .kept
            .iter()
            .filter(|(key, kept)| of_it(key) && selected(&kept.value, selector))
            .map(|(_, kept)| &kept.value)
            .collect();
        json!({
            "kind": "List",
            "apiVersion": api_version(target),
            "metadata": { "resourceVersion": self.version.to_string() },
            "items": items,
        })
    }

    pub(crate) fn since(
        &self,
        target: &Target,
        selector: Option<&String>,
        from: u64,
    ) -> Result<(Vec<Value>, u64), Fault> {
        if from < self.compacted {
            return Err(Fault::new(
                410,
                "Expired",
                &format!("too old resource version: {from} ({})", self.compacted),
            ));
        }
        let of_it = |it: &&Happened| {
            it.version > from
                && it.key.group == target.group
                && it.key.plural == target.plural
                && (target.namespace.is_none() || it.key.namespace == target.namespace)
                && selected(&it.value, selector)
        };
        let events = self.happened.iter().filter(of_it);
        let events = events.map(|it| json!({"type": it.kind, "object": it.value}));
        Ok((events.collect(), self.version))
    }

    pub(crate) fn create(&mut self, target: &Target, mut new: Value) -> Result<Value, Fault> {
        if new["metadata"]["name"].is_null()
            && let Some(prefix) = new["metadata"]["generateName"].as_str()
        {
            new["metadata"]["name"] = format!("{prefix}{}", self.version).into();
        }
        let name = new["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let key = Key {
            group: target.group.clone(),
            plural: target.plural.clone(),
            namespace: target.namespace.clone(),
            name,
        };
        if self.kept.contains_key(&key) {
            let message = format!("{} \"{}\" already exists", key.plural, key.name);
            return Err(Fault::new(409, "AlreadyExists", &message));
        }
        let owned = leaves(&new);
        self.put(
            target,
            &key,
            new,
            BTreeMap::from([("create".to_owned(), owned)]),
        )
    }

    pub(crate) fn replace(&mut self, key: &Key, mut new: Value) -> Result<Value, Fault> {
        let kept = self.kept.get(key).ok_or_else(|| Fault::not_found(key))?;
        let (here, there) = (
            &kept.value["metadata"]["resourceVersion"],
            &new["metadata"]["resourceVersion"],
        );
        if !there.is_null() && here != there {
            let message = "the object has been modified; please apply your changes to the latest version and try again";
            return Err(Fault::new(409, "Conflict", message));
        }
        let managers = kept.managers.clone();
        keep_identity(&kept.value, &mut new);
        let target = of(key, &new);
        self.put(&target, key, new, managers)
    }

    pub(crate) fn merge(&mut self, key: &Key, patch: &Value) -> Result<Value, Fault> {
        let kept = self.kept.get(key).ok_or_else(|| Fault::not_found(key))?;
        let expected = &patch["metadata"]["resourceVersion"];
        if !expected.is_null() && expected != &kept.value["metadata"]["resourceVersion"] {
            return Err(Fault::new(409, "Conflict", "the object has been modified"));
        }
        let mut value = kept.value.clone();
        merge(&mut value, patch);
        let mut managers = kept.managers.clone();
        managers
            .entry("merge".to_owned())
            .or_default()
            .extend(leaves(patch));
        let target = of(key, &value);
        self.put(&target, key, value, managers)
    }

    /// Server-side apply: what the manager no longer says is taken away, what another owns is a conflict.
    pub(crate) fn apply(
        &mut self,
        target: &Target,
        key: &Key,
        patch: Value,
        manager: &str,
        force: bool,
    ) -> Result<Value, Fault> {
        if manager.is_empty() {
            return Err(Fault::new(
                422,
                "Invalid",
                "fieldManager is required for apply patch",
            ));
        }
        if patch["metadata"]["name"] != key.name.as_str() {
            return Err(Fault::new(
                400,
                "BadRequest",
                "the name of the object does not match the name on the URL",
            ));
        }
        let wanted = leaves(&patch);
        let Some(kept) = self.kept.get(key) else {
            return self.put(
                target,
                key,
                patch,
                BTreeMap::from([(manager.to_owned(), wanted)]),
            );
        };
        let mut managers = kept.managers.clone();
        let mut value = kept.value.clone();
        for (other, fields) in managers
            .iter_mut()
            .filter(|(name, _)| name.as_str() != manager)
        {
            let disputed: Vec<String> = wanted
                .intersection(fields)
                .filter(|field| !same(&value, &patch, field))
                .cloned()
                .collect();
            if let Some(field) = disputed.first().filter(|_| !force) {
                let message =
                    format!("Apply failed with 1 conflict: conflict with \"{other}\": {field}");
                return Err(Fault::new(409, "Conflict", &message));
            }
            for field in disputed {
                fields.remove(&field);
            }
        }
        let before = managers
            .insert(manager.to_owned(), wanted.clone())
            .unwrap_or_default();
        for field in before.difference(&wanted) {
            if !managers.values().any(|fields| fields.contains(field)) {
                remove(&mut value, field);
            }
        }
        merge(&mut value, &patch);
        if value == kept.value {
            return Ok(value);
        }
        self.put(target, key, value, managers)
    }

    pub(crate) fn delete(&mut self, key: &Key) -> Result<Value, Fault> {
        let kept = self.kept.remove(key).ok_or_else(|| Fault::not_found(key))?;
        let uid = kept.value["metadata"]["uid"].clone();
        self.happen(key, "DELETED", kept.value.clone());
        // What it owns goes with it; what a namespace holds as well.
        let owned = |value: &Value| {
            let owners = value["metadata"]["ownerReferences"].as_array();
            owners
                .into_iter()
                .flatten()
                .any(|owner| owner["uid"] == uid)
        };
        let gone: Vec<Key> = self
            .kept
            .iter()
            .filter(|(other, kept)| {
                owned(&kept.value)
                    || key.plural == "namespaces" && other.namespace.as_ref() == Some(&key.name)
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            // One of them may own another, which is gone by now.
            let _ = self.delete(&key);
        }
        Ok(json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}))
    }

    fn put(
        &mut self,
        target: &Target,
        key: &Key,
        mut value: Value,
        managers: BTreeMap<String, BTreeSet<String>>,
    ) -> Result<Value, Fault> {
        if value["apiVersion"] != api_version(target) {
            let message = format!(
                "the API version in the data ({}) does not match the expected API version",
                value["apiVersion"]
            );
            return Err(Fault::new(400, "BadRequest", &message));
        }
        check(key, &value)?;
        if key.plural != "namespaces"
            && let Some(namespace) = &key.namespace
        {
            let of = Key {
                group: String::new(),
                plural: "namespaces".to_owned(),
                namespace: None,
                name: namespace.clone(),
            };
            if !self.kept.contains_key(&of) && namespace != "default" {
                return Err(Fault::not_found(&of));
            }
            value["metadata"]["namespace"] = namespace.clone().into();
        }
        self.crds
            .check(&value)
            .map_err(|why| Fault::new(422, "Invalid", &why))?;
        let is_new = !self.kept.contains_key(key);
        if is_new {
            value["metadata"]["uid"] =
                format!("00000000-0000-4000-8000-{:012}", self.version).into();
            value["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        self.version += 1;
        value["metadata"]["resourceVersion"] = self.version.to_string().into();
        let listed: Vec<Value> = managers
            .iter()
            .filter(|(_, fields)| !fields.is_empty())
            .map(|(name, fields)| {
                let fields: Map<String, Value> = fields.iter().map(|field| (field.clone(), json!({}))).collect();
                json!({"manager": name, "operation": "Apply", "apiVersion": value["apiVersion"], "fieldsType": "FieldsV1", "fieldsV1": fields})
            })
            .collect();
        value["metadata"]["managedFields"] = listed.into();
        self.happen_at(
            self.version,
            key,
            if is_new { "ADDED" } else { "MODIFIED" },
            value.clone(),
        );
        self.kept.insert(
            key.clone(),
            Kept {
                value: value.clone(),
                managers,
            },
        );
        Ok(value)
    }

    fn happen(&mut self, key: &Key, kind: &'static str, mut value: Value) {
        self.version += 1;
        value["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.happen_at(self.version, key, kind, value);
    }

    fn happen_at(&mut self, version: u64, key: &Key, kind: &'static str, value: Value) {
        let key = key.clone();
        self.happened.push_back(Happened {
            version,
            key,
            kind,
            value,
        });
    }
}

fn api_version(target: &Target) -> String {
    if target.group.is_empty() {
        return target.version.clone();
    }
    format!("{}/{}", target.group, target.version)
}

fn of(key: &Key, value: &Value) -> Target {
    let version = value["apiVersion"].as_str().unwrap_or_default();
    Target {
        group: key.group.clone(),
        version: version.rsplit('/').next().unwrap_or_default().to_owned(),
        plural: key.plural.clone(),
        namespace: key.namespace.clone(),
        name: Some(key.name.clone()),
        sub: None,
    }
}

fn keep_identity(old: &Value, new: &mut Value) {
    for field in ["uid", "creationTimestamp"] {
        new["metadata"][field] = old["metadata"][field].clone();
    }
}

fn selected(value: &Value, selector: Option<&String>) -> bool {
    let Some(selector) = selector else {
        return true;
    };
    selector
        .split(',')
        .filter(|part| !part.is_empty())
        .all(|part| {
            let label = |key: &str| value["metadata"]["labels"][key].as_str();
            if let Some((key, unwanted)) = part.split_once("!=") {
                return label(key) != Some(unwanted);
            }
            match part.split_once('=') {
                Some((key, wanted)) => label(key) == Some(wanted.trim_start_matches('=')),
                None => label(part).is_some(),
            }
        })
}

/// What holds for every object.
fn check(key: &Key, value: &Value) -> Result<(), Fault> {
    let invalid = |what: &str| {
        Fault::new(
            422,
            "Invalid",
            &format!("{} \"{}\" is invalid: {what}", key.plural, key.name),
        )
    };
    let label = |text: &str, max: usize, more: &str| {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || more.contains(c);
        let ends =
            |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        text.len() <= max
            && text.chars().all(fits)
            && ends(text.chars().next())
            && ends(text.chars().last())
    };
    let name_max = if ["services", "namespaces", "jobs"].contains(&key.plural.as_str()) {
        63
    } else {
        253
    };
    if !label(&key.name, name_max, "-.") {
        return Err(invalid(
            "metadata.name: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters",
        ));
    }
    let labels = value["metadata"]["labels"]
        .as_object()
        .into_iter()
        .flatten();
    for (name, text) in labels {
        let text = text
            .as_str()
            .ok_or_else(|| invalid("metadata.labels: a label is a string"))?;
        let fits = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if text.len() > 63 || !text.chars().all(fits) {
            return Err(invalid(&format!(
                "metadata.labels: Invalid value of {name}: {text}"
            )));
        }
    }
    let mut bytes = 0;
    for section in ["data", "binaryData", "stringData"] {
        for (name, text) in value[section].as_object().into_iter().flatten() {
            let text = text
                .as_str()
                .ok_or_else(|| invalid("data: a value is a string"))?;
            let fits = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
            if name.len() > 253 || !name.chars().all(fits) {
                return Err(invalid(&format!("{section}: Invalid key {name}")));
            }
            bytes += name.len() + text.len();
        }
    }
    if bytes > DATA_BYTES_MAX {
        return Err(invalid(&format!(
            "[]: Too long: may not be more than {DATA_BYTES_MAX} bytes"
        )));
    }
    if value.to_string().len() > OBJECT_BYTES_MAX {
        return Err(Fault::new(
            413,
            "RequestEntityTooLarge",
            "etcdserver: request is too large",
        ));
    }
    Ok(())
}
