//! What in a commit is a template, told by the names of files; what it is for, told by the README beside it.

use std::collections::{BTreeMap, BTreeSet};

use git::{File, Warnings};
use store::workspaces::{TEMPLATES_MAX, Template, TemplateKind};

/// How much of a README is looked at, in bytes.
const README_BYTES_MAX: usize = 64 * 1024;
/// How long a title may be, in characters.
const TITLE_CHARS_MAX: usize = 120;
/// How long a summary may be, in characters.
const SUMMARY_CHARS_MAX: usize = 400;
/// How long a path may be, in bytes.
const PATH_BYTES_MAX: usize = 1024;

/// Whether a file of this name says anything.
pub(crate) fn counts(name: &str) -> bool {
    kind(name).is_some() || is_readme(name)
}

/// What a file of this name makes of its folder, and whether the file itself is the template.
fn kind(name: &str) -> Option<(TemplateKind, bool)> {
    let lower = name.to_ascii_lowercase();
    if lower.ends_with(".tf") || lower.ends_with(".tf.json") {
        Some((TemplateKind::Terraform, false))
    } else if lower.ends_with(".clab.yml") || lower.ends_with(".clab.yaml") {
        Some((TemplateKind::Containerlab, true))
    } else if lower == "topology.yml" || lower == "topology.yaml" {
        Some((TemplateKind::Netlab, true))
    } else {
        None
    }
}

fn is_readme(name: &str) -> bool {
    name.eq_ignore_ascii_case("readme.md") || name.eq_ignore_ascii_case("readme")
}

/// The templates in these files, by path.
pub(crate) fn found(files: &BTreeMap<String, File>, warnings: &mut Warnings) -> Vec<Template> {
    let mut readmes: BTreeMap<&str, &File> = BTreeMap::new();
    let mut templates = BTreeSet::new();
    for (path, file) in files {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        if is_readme(name) {
            readmes.insert(folder, file);
        }
        if folder.len() > PATH_BYTES_MAX {
            continue;
        }
        if let Some((kind, is_file)) = kind(name) {
            let file = if is_file { name } else { "" };
            templates.insert((folder, kind, file));
        }
    }
    if templates.len() > TEMPLATES_MAX {
        warnings.add(format!(
            "only the first {TEMPLATES_MAX} of {} templates are listed",
            templates.len()
        ));
    }
    templates
        .into_iter()
        .take(TEMPLATES_MAX)
        .map(|(folder, kind, file)| {
            let (title, summary) = readmes.get(folder).map_or((None, None), |file| said(file));
            Template {
                path: folder.to_owned(),
                kind,
                file: file.to_owned(),
                title,
                summary,
            }
        })
        .collect()
}

/// The first heading of a README and the first words below it that are prose.
fn said(readme: &File) -> (Option<String>, Option<String>) {
    let begin = &readme.bytes[..readme.bytes.len().min(README_BYTES_MAX)];
    let text = String::from_utf8_lossy(begin);
    let mut title = None;
    let mut summary = String::new();
    let mut fenced = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with("```") {
            fenced = !fenced;
            continue;
        }
        if let Some(heading) = line.strip_prefix('#') {
            if !summary.is_empty() {
                break;
            }
            title.get_or_insert_with(|| heading.trim_start_matches('#').trim().to_owned());
            continue;
        }
        // Badges, lists, tables and code are no prose.
        let prose =
            !fenced && line.starts_with(|c: char| c.is_alphanumeric() || "*_`\"'(".contains(c));
        if !prose || line.starts_with("* ") {
            if !summary.is_empty() {
                break;
            }
            continue;
        }
        if !summary.is_empty() {
            summary.push(' ');
        }
        summary.push_str(line);
    }
    let kept = |text: String, max: usize| {
        let text: String = text.chars().filter(|c| !c.is_control()).collect();
        let cut: String = text.chars().take(max).collect();
        let cut = if cut.len() < text.len() {
            cut + "…"
        } else {
            cut
        };
        (!cut.is_empty()).then_some(cut)
    };
    let title = title.and_then(|title| kept(title, TITLE_CHARS_MAX));
    (title, kept(summary, SUMMARY_CHARS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str)]) -> BTreeMap<String, File> {
        list.iter()
            .map(|(path, text)| {
                let file = File {
                    bytes: (*text).to_owned().into(),
                    executable: false,
                };
                ((*path).to_owned(), file)
            })
            .collect()
    }

    fn listed(list: &[(&str, &str)]) -> Vec<String> {
        found(&files(list), &mut Warnings::default())
            .iter()
            .map(|it| format!("{} {}/{}", it.kind.as_str(), it.path, it.file))
            .collect()
    }

    #[test]
    fn a_folder_is_a_template_by_what_is_in_it() {
        assert_eq!(
            listed(&[
                ("main.tf", ""),
                ("labs/bgp/topology.yml", ""),
                ("labs/bgp/topology.yaml", ""),
                ("labs/clos/fabric.clab.yml", ""),
                ("labs/clos/small.clab.yml", ""),
                ("infra/vpc/a.tf", ""),
                ("infra/vpc/b.tf.json", ""),
                ("notes/topology.yml.txt", ""),
            ]),
            [
                "terraform /",
                "terraform infra/vpc/",
                "netlab labs/bgp/topology.yaml",
                "netlab labs/bgp/topology.yml",
                "containerlab labs/clos/fabric.clab.yml",
                "containerlab labs/clos/small.clab.yml",
            ]
        );
    }

    #[test]
    fn the_readme_beside_it_says_what_it_is_for() {
        let readme = "[![badge](x)](y)\n\n# BGP **lab**\n\n```\nnetlab up\n```\nThree routers,\none AS each.\n\nMore.\n";
        let found = found(
            &files(&[
                ("a/topology.yml", ""),
                ("a/README.md", readme),
                ("b/main.tf", ""),
            ]),
            &mut Warnings::default(),
        );
        assert_eq!(found[0].title.as_deref(), Some("BGP **lab**"));
        assert_eq!(
            found[0].summary.as_deref(),
            Some("Three routers, one AS each.")
        );
        assert_eq!((&found[1].title, &found[1].summary), (&None, &None));
        let long = "word ".repeat(200);
        let (_, summary) = said(&files(&[("README", &long)])["README"]);
        let summary = summary.expect("it says something");
        assert!(summary.ends_with('…') && summary.chars().count() == SUMMARY_CHARS_MAX + 1);
    }

    #[test]
    fn there_are_only_so_many() {
        let list: Vec<String> = (0..TEMPLATES_MAX + 5)
            .map(|n| format!("t{n}/main.tf"))
            .collect();
        let list: Vec<(&str, &str)> = list.iter().map(|path| (path.as_str(), "")).collect();
        let mut warnings = Warnings::default();
        assert_eq!(found(&files(&list), &mut warnings).len(), TEMPLATES_MAX);
        assert_eq!(warnings.lines().count(), 1);
    }
}
