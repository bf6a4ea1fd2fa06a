//! What a lab looks like: its nodes with where they are reached, and its links. Kept as an artifact, drawn, and shown as a table.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::topology::Topology;

/// The most nodes that are drawn; what is larger is read as a table.
pub const DRAWN_NODES_MAX: usize = 300;
/// The name of the artifact.
pub const TOPOLOGY_ARTIFACT: &str = "topology.json";

/// The topology artifact.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Graph {
    /// The lab.
    pub lab: String,
    /// What it was made from: `netlab`, `containerlab` or `clabernetes`.
    pub source: String,
    /// Its nodes, in the topology's order.
    pub nodes: Vec<GraphNode>,
    /// Its links.
    pub edges: Vec<GraphEdge>,
}

/// One node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraphNode {
    /// Its name in the lab.
    pub id: String,
    /// What it is: `linux`, `ceos`, `frr` ….
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The image that it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Its address for management: in the lab's own network before it is deployed, in the cluster's after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mgmt_ip: Option<String>,
    /// Its stable name for management.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mgmt_host: Option<String>,
    /// How it is: `ready`, `notready`, `unknown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

/// One link.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraphEdge {
    /// The node at one end.
    pub source: String,
    /// Its interface.
    pub source_interface: String,
    /// The node at the other.
    pub target: String,
    /// Its interface.
    pub target_interface: String,
}

impl Graph {
    /// Reads a topology artifact: one of ours, or netlab's own description of a lab. Nothing where it is neither.
    #[must_use]
    pub fn read(artifact: &[u8]) -> Option<Self> {
        let value: serde_json::Value = serde_json::from_slice(artifact).ok()?;
        if value.get("edges").is_some() {
            return serde_json::from_value(value).ok();
        }
        crate::netlab::graph(&value)
    }
}

impl From<&Topology> for Graph {
    fn from(topology: &Topology) -> Self {
        let nodes = topology.nodes.iter().map(|node| GraphNode {
            id: node.name.clone(),
            kind: node.kind.clone(),
            image: node.image.as_ref().map(|image| image.text.clone()),
            mgmt_ip: node.mgmt_ipv4.clone().or_else(|| node.mgmt_ipv6.clone()),
            mgmt_host: None,
            status: None,
        });
        let edges = topology
            .links
            .iter()
            .filter_map(|link| match link.ends.as_slice() {
                [a, b] => Some(GraphEdge {
                    source: a.node.clone(),
                    source_interface: a.interface.clone(),
                    target: b.node.clone(),
                    target_interface: b.interface.clone(),
                }),
                _ => None,
            });
        Self {
            lab: topology.name.clone(),
            source: "containerlab".to_owned(),
            nodes: nodes.collect(),
            edges: edges.collect(),
        }
    }
}

/// A place on the drawing.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Point {
    x: f64,
    y: f64,
}

/// What one step of the layout costs at most, in pairs of nodes, over all steps.
const LAYOUT_PAIRS_MAX: usize = 4_000_000;
/// Steps of the layout of a small lab; more change nothing that is seen.
const LAYOUT_STEPS_MAX: usize = 200;
/// The distance that linked nodes tend to.
const SPACING: f64 = 130.0;
/// A node's box.
const BOX: (f64, f64) = (96.0, 36.0);
/// Characters of a name that are drawn in a box; the whole is its title.
const NAME_CHARS_MAX: usize = 13;

/// Draws a lab: the same bytes for the same graph. Nothing where it is empty or has more than [`DRAWN_NODES_MAX`] nodes.
///
/// Classes `lab-node`, `lab-link`, `lab-port` and `lab-status-…` are for a style sheet; without one it is black on white. `label` is what a
/// screen reader says of the whole.
#[must_use]
pub fn svg(graph: &Graph, label: &str) -> Option<String> {
    if graph.nodes.is_empty() || graph.nodes.len() > DRAWN_NODES_MAX {
        return None;
    }
    let points = layout(graph);
    let index: BTreeMap<&str, usize> = graph
        .nodes
        .iter()
        .enumerate()
        .map(|(index, node)| (node.id.as_str(), index))
        .collect();
    let width = points.iter().map(|p| p.x).fold(0.0, f64::max) + BOX.0;
    let height = points.iter().map(|p| p.y).fold(0.0, f64::max) + BOX.1 * 2.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"lab\" role=\"img\" aria-label=\"{}\" viewBox=\"0 0 {width:.0} {height:.0}\">",
        escaped(label)
    );
    for edge in &graph.edges {
        let ends = index
            .get(edge.source.as_str())
            .zip(index.get(edge.target.as_str()));
        let Some((a, b)) = ends.map(|(a, b)| (points[*a], points[*b])) else {
            continue;
        };
        let title = format!(
            "{}:{} – {}:{}",
            edge.source, edge.source_interface, edge.target, edge.target_interface
        );
        // Writing to a String cannot fail.
        let _ = write!(
            svg,
            "<g class=\"lab-link\"><title>{}</title><line x1=\"{:.0}\" y1=\"{:.0}\" x2=\"{:.0}\" y2=\"{:.0}\" stroke=\"currentColor\"/>",
            escaped(&title),
            a.x,
            a.y,
            b.x,
            b.y
        );
        for (text, near, far) in [
            (&edge.source_interface, a, b),
            (&edge.target_interface, b, a),
        ] {
            let at = Point {
                x: near.x + (far.x - near.x) * 0.3,
                y: near.y + (far.y - near.y) * 0.3,
            };
            let _ = write!(
                svg,
                "<text class=\"lab-port\" x=\"{:.0}\" y=\"{:.0}\" font-size=\"10\" text-anchor=\"middle\" fill=\"currentColor\">{}</text>",
                at.x,
                at.y - 3.0,
                escaped(&cut(text))
            );
        }
        svg.push_str("</g>");
    }
    for (node, at) in graph.nodes.iter().zip(&points) {
        let status = node.status.as_deref().unwrap_or("unknown");
        let status: String = status.chars().filter(char::is_ascii_alphanumeric).collect();
        let mut title = node.id.clone();
        for more in [&node.kind, &node.image, &node.mgmt_ip]
            .into_iter()
            .flatten()
        {
            let _ = write!(title, "\n{more}");
        }
        let _ = write!(
            svg,
            "<g class=\"lab-node lab-status-{status}\"><title>{}</title><rect x=\"{:.0}\" y=\"{:.0}\" width=\"{:.0}\" height=\"{:.0}\" rx=\"6\" \
             fill=\"Canvas\" stroke=\"currentColor\"/><text x=\"{:.0}\" y=\"{:.0}\" font-size=\"13\" text-anchor=\"middle\" \
             fill=\"currentColor\">{}</text></g>",
            escaped(&title),
            at.x - BOX.0 / 2.0,
            at.y - BOX.1 / 2.0,
            BOX.0,
            BOX.1,
            at.x,
            at.y + 4.5,
            escaped(&cut(&node.id))
        );
    }
    svg.push_str("</svg>");
    Some(svg)
}

fn cut(text: &str) -> String {
    if text.chars().count() <= NAME_CHARS_MAX {
        return text.to_owned();
    }
    let kept: String = text.chars().take(NAME_CHARS_MAX - 1).collect();
    format!("{kept}…")
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() && c != '\n' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// Places nodes so that linked ones are near and others are not on top of each other: springs along links, everything else pushes
/// away (Fruchterman and Reingold), from a circle, so that nothing is left to chance.
fn layout(graph: &Graph) -> Vec<Point> {
    let count = graph.nodes.len();
    #[expect(clippy::cast_precision_loss, reason = "a few hundred nodes")]
    let whole = count as f64;
    let radius = SPACING * whole / std::f64::consts::TAU;
    let mut points: Vec<Point> = (0..count)
        .map(|index| {
            #[expect(clippy::cast_precision_loss, reason = "a few hundred nodes")]
            let turn = std::f64::consts::TAU * index as f64 / whole;
            Point {
                x: radius * turn.cos(),
                y: radius * turn.sin(),
            }
        })
        .collect();
    let index: BTreeMap<&str, usize> = graph
        .nodes
        .iter()
        .enumerate()
        .map(|(index, node)| (node.id.as_str(), index))
        .collect();
    let links: Vec<(usize, usize)> = graph
        .edges
        .iter()
        .filter_map(|edge| {
            let ends = index
                .get(edge.source.as_str())
                .zip(index.get(edge.target.as_str()));
            ends.map(|(a, b)| (*a, *b)).filter(|(a, b)| a != b)
        })
        .collect();
    let steps = (LAYOUT_PAIRS_MAX / (count * count).max(1)).clamp(10, LAYOUT_STEPS_MAX);
    for step in 0..steps {
        #[expect(clippy::cast_precision_loss, reason = "a few hundred steps")]
        let cooling = 1.0 - step as f64 / steps as f64;
        let moves = forces(&points, &links);
        for (point, force) in points.iter_mut().zip(moves) {
            let length = force.x.hypot(force.y).max(0.01);
            let reach = length.min(SPACING * cooling);
            point.x += force.x / length * reach;
            point.y += force.y / length * reach;
        }
    }
    let left = points.iter().map(|p| p.x).fold(f64::INFINITY, f64::min);
    let top = points.iter().map(|p| p.y).fold(f64::INFINITY, f64::min);
    for point in &mut points {
        // Whole numbers, so that the last digits of a machine's arithmetic do not show.
        point.x = (point.x - left + BOX.0).round();
        point.y = (point.y - top + BOX.1 * 1.5).round();
    }
    points
}

fn forces(points: &[Point], links: &[(usize, usize)]) -> Vec<Point> {
    let mut forces = vec![Point { x: 0.0, y: 0.0 }; points.len()];
    for a in 0..points.len() {
        for b in a + 1..points.len() {
            let (dx, dy) = (points[a].x - points[b].x, points[a].y - points[b].y);
            let distance = dx.hypot(dy).max(1.0);
            let push = SPACING * SPACING / distance / distance;
            forces[a].x += dx * push;
            forces[a].y += dy * push;
            forces[b].x -= dx * push;
            forces[b].y -= dy * push;
        }
    }
    for &(a, b) in links {
        let (dx, dy) = (points[a].x - points[b].x, points[a].y - points[b].y);
        let pull = dx.hypot(dy).max(1.0) / SPACING;
        forces[a].x -= dx * pull;
        forces[a].y -= dy * pull;
        forces[b].x += dx * pull;
        forces[b].y += dy * pull;
    }
    forces
}
