//! What a path of the API means.

/// A resource, or one object of it.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Empty for the core.
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) plural: String,
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) sub: Option<String>,
}

/// Nothing for what is discovery.
pub(crate) fn target(path: &str) -> Option<Target> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let (group, version, rest) = match parts.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return None,
    };
    // Of a namespace itself the path says the same as of what is in it, but nothing follows.
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some(*namespace), rest),
        rest => (None, rest),
    };
    let (plural, rest) = rest.split_first()?;
    let own = |text: Option<&&str>| text.map(|text| (*text).to_owned());
    Some(Target {
        group: group.to_owned(),
        version: version.to_owned(),
        plural: (*plural).to_owned(),
        namespace: namespace.map(str::to_owned),
        name: own(rest.first()),
        sub: own(rest.get(1)),
    })
}
