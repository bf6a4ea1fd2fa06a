//! A lab as a drawing.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::graph::{Graph, GraphEdge, GraphNode};
use crate::layout::{Layout, Point, Size};

/// The most nodes that are drawn; what is larger is read as a table.
pub const DRAWN_NODES_MAX: usize = 300;
/// The most nodes, and links of each, of a lab whose interfaces are written beside its links; of others they are titles, and in
/// the table.
const PORTS_NODES_MAX: usize = 60;
const PORTS_LINKS_MAX: usize = 2;
/// The room for them between two nodes.
const PORTS_WIDTH: f64 = 70.0;
/// Characters of a name that are drawn in a box; the whole is its title.
const NAME_CHARS_MAX: usize = 21;
/// Characters of an interface that are drawn beside its link.
const PORT_CHARS_MAX: usize = 13;
/// How wide a character of a name is.
const CHAR_WIDTH: f64 = 7.9;
/// The least width of a box, and its height.
const BOX: Size = (84.0, 34.0);
/// How far parallel links are from each other.
const PARALLEL: f64 = 24.0;
/// How high an interface is written.
const PORT_HEIGHT: f64 = 13.0;
/// How far from its node's box an interface is written.
const PORT_FROM_BOX: f64 = 17.0;

/// Draws a lab: the same bytes for the same graph. Nothing where it is empty or has more than [`DRAWN_NODES_MAX`] nodes.
///
/// Classes `lab-node`, `lab-link`, `lab-port` and `lab-status-…` are for a style sheet; without one it is black on white. `label` is what a
/// screen reader says of the whole.
#[must_use]
pub fn svg(graph: &Graph, label: &str) -> Option<String> {
    if graph.nodes.is_empty() || graph.nodes.len() > DRAWN_NODES_MAX {
        return None;
    }
    let longest = graph.nodes.iter().map(|node| node.id.chars().count()).max();
    #[expect(clippy::cast_precision_loss, reason = "a few characters")]
    let longest = longest.unwrap_or_default().min(NAME_CHARS_MAX) as f64;
    let node = ((longest * CHAR_WIDTH + 18.0).max(BOX.0).ceil(), BOX.1);
    let with_ports = graph.nodes.len() <= PORTS_NODES_MAX
        && graph.edges.len() <= graph.nodes.len() * PORTS_LINKS_MAX;
    let between = if with_ports { PORTS_WIDTH } else { 0.0 };
    let Layout { points, size } = Layout::of(graph, node, between);
    // Writing to a String cannot fail.
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"lab\" role=\"img\" aria-label=\"{}\" \
         width=\"{w:.0}\" height=\"{h:.0}\" viewBox=\"0 0 {w:.0} {h:.0}\">",
        escaped(label),
        w = size.0,
        h = size.1,
    );
    draw_links(&mut svg, graph, &points, with_ports.then_some(node));
    for (named, at) in graph.nodes.iter().zip(&points) {
        draw_node(&mut svg, named, *at, node);
    }
    svg.push_str("</svg>");
    Some(svg)
}

/// `ports`: the size of the nodes, where interfaces are written beside them.
fn draw_links(svg: &mut String, graph: &Graph, points: &[Point], ports: Option<Size>) {
    let places: BTreeMap<&str, usize> = graph
        .nodes
        .iter()
        .enumerate()
        .map(|(place, node)| (node.id.as_str(), place))
        .collect();
    let ends = |edge: &GraphEdge| {
        let a = *places.get(edge.source.as_str())?;
        let b = *places.get(edge.target.as_str())?;
        (a != b).then_some((a, b))
    };
    let mut parallel: BTreeMap<(usize, usize), (u32, u32)> = BTreeMap::new();
    for (a, b) in graph.edges.iter().filter_map(ends) {
        parallel.entry((a.min(b), a.max(b))).or_default().0 += 1;
    }
    for edge in &graph.edges {
        // A link of a node with itself, or with what is no node, is in the table.
        let Some((a, b)) = ends(edge) else { continue };
        let (count, drawn) = parallel.entry((a.min(b), a.max(b))).or_default();
        let before = f64::from(*drawn);
        let aside = PARALLEL * (before - (f64::from(*count) - 1.0) / 2.0);
        *drawn += 1;
        // The same side for both directions.
        let aside = if a < b { aside } else { -aside };
        let curve = Curve::between(points[a], points[b], aside);
        let title = format!(
            "{}:{} – {}:{}",
            edge.source, edge.source_interface, edge.target, edge.target_interface
        );
        let _ = write!(
            svg,
            "<g class=\"lab-link\"><title>{}</title><path d=\"{}\" fill=\"none\" stroke=\"currentColor\"/>",
            escaped(&title),
            curve.path()
        );
        if let Some(node) = ports {
            // Those of parallel links stand one behind the other.
            let node = (
                node.0 + before * PORT_HEIGHT,
                node.1 + 2.0 * before * PORT_HEIGHT,
            );
            for (text, from, to) in [
                (&edge.source_interface, 0.0, 0.5),
                (&edge.target_interface, 1.0, 0.5),
            ] {
                let at = curve.beside(from, to, node);
                let _ = write!(
                    svg,
                    "<text class=\"lab-port\" x=\"{:.0}\" y=\"{:.0}\" font-size=\"10\" text-anchor=\"middle\" fill=\"currentColor\">{}</text>",
                    at.x,
                    at.y + 3.5,
                    escaped(&cut(text, PORT_CHARS_MAX))
                );
            }
        }
        svg.push_str("</g>");
    }
}

/// A link: a quadratic curve, which is straight where no other is parallel to it.
struct Curve {
    from: Point,
    by: Point,
    to: Point,
}

impl Curve {
    fn between(from: Point, to: Point, aside: f64) -> Self {
        let (dx, dy) = (to.x - from.x, to.y - from.y);
        let length = dx.hypot(dy).max(1.0);
        // The middle of such a curve is half as far aside as its control point.
        let by = Point {
            x: f64::midpoint(from.x, to.x) - dy / length * aside * 2.0,
            y: f64::midpoint(from.y, to.y) + dx / length * aside * 2.0,
        };
        Self { from, by, to }
    }

    fn path(&self) -> String {
        let Self { from, by, to } = self;
        format!(
            "M{:.0} {:.0}Q{:.0} {:.0} {:.0} {:.0}",
            from.x, from.y, by.x, by.y, to.x, to.y
        )
    }

    fn at(&self, t: f64) -> Point {
        let (a, b, c) = ((1.0 - t).powi(2), 2.0 * t * (1.0 - t), t * t);
        Point {
            x: self.from.x * a + self.by.x * b + self.to.x * c,
            y: self.from.y * a + self.by.y * b + self.to.y * c,
        }
    }

    /// The first place on the way from one end that is free of its box, and at most half way.
    fn beside(&self, from: f64, half: f64, node: Size) -> Point {
        const PIECES: u32 = 24;
        let end = self.at(from);
        let free: Size = (
            node.0 / 2.0 + PORT_FROM_BOX * 1.6,
            node.1 / 2.0 + PORT_FROM_BOX * 0.6,
        );
        let places = (1..=PIECES).map(|piece| {
            let part = f64::from(piece) / f64::from(PIECES);
            self.at(from + (half - from) * part)
        });
        let mut last = end;
        for place in places {
            last = place;
            if (place.x - end.x).abs() >= free.0 || (place.y - end.y).abs() >= free.1 {
                break;
            }
        }
        last
    }
}

fn draw_node(svg: &mut String, node: &GraphNode, at: Point, size: Size) {
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
        at.x - size.0 / 2.0,
        at.y - size.1 / 2.0,
        size.0,
        size.1,
        at.x,
        at.y + 4.5,
        escaped(&cut(&node.id, NAME_CHARS_MAX))
    );
}

/// Leaves the middle out: long names of one lab differ at their ends.
fn cut(text: &str, most: usize) -> String {
    let count = text.chars().count();
    if count <= most {
        return text.to_owned();
    }
    let first = most / 2;
    let begin: String = text.chars().take(first).collect();
    let end: String = text.chars().skip(count - (most - 1 - first)).collect();
    format!("{begin}…{end}")
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
