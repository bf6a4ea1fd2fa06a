//! Where the nodes of a lab are drawn: parts that are not linked beside each other, within a part linked nodes near each other,
//! and no box on another. Nothing is left to chance.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::f64::consts::TAU;

use crate::graph::Graph;

/// A place on the drawing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    pub(crate) x: f64,
    pub(crate) y: f64,
}

/// Width and height.
pub(crate) type Size = (f64, f64);

/// Where the middle of each node's box is, and how large the whole is.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) points: Vec<Point>,
    pub(crate) size: Size,
}

/// The distance that linked nodes tend to, from top to bottom.
const SPACING: f64 = 110.0;
/// How far nodes push each other away, in distances of linked ones: further, and a large lab would be mostly empty.
const PUSH_MAX: f64 = 3.0;
/// Links of a node beyond which nodes are drawn further apart, and how far at most, in distances of those with few links.
const LINKS_MANY: f64 = 2.5;
const SPREAD_MAX: f64 = 2.2;
/// What is left free between two boxes, and around a part.
const GAP: Size = (36.0, 30.0);
/// What all steps of the layout of a part cost at most, in pairs of nodes.
const LAYOUT_PAIRS_MAX: usize = 6_000_000;
/// Steps of the layout of a small part; more change nothing that is seen.
const LAYOUT_STEPS_MAX: usize = 300;
/// How often boxes that are on top of each other are moved apart.
const APART_STEPS_MAX: usize = 60;

impl Layout {
    /// Places the nodes of a lab, whose boxes are of one size.
    ///
    /// `between` is what is written beside links: linked nodes leave room for it.
    pub(crate) fn of(graph: &Graph, node: Size, between: f64) -> Self {
        let neighbours = neighbours(graph);
        let mut parts: Vec<_> = parts(&neighbours)
            .into_iter()
            .map(|nodes| place(&nodes, &neighbours, node, between))
            .collect();
        parts.sort_by(|a, b| b.size.1.total_cmp(&a.size.1));
        let mut points = vec![Point { x: 0.0, y: 0.0 }; graph.nodes.len()];
        let size = shelve(&parts, &mut points);
        Self { points, size }
    }
}

/// Who is linked with whom, by place, each once.
fn neighbours(graph: &Graph) -> Vec<BTreeSet<usize>> {
    let places: BTreeMap<&str, usize> = graph
        .nodes
        .iter()
        .enumerate()
        .map(|(place, node)| (node.id.as_str(), place))
        .collect();
    let mut neighbours = vec![BTreeSet::new(); graph.nodes.len()];
    for edge in &graph.edges {
        let ends = places
            .get(edge.source.as_str())
            .zip(places.get(edge.target.as_str()));
        if let Some((&a, &b)) = ends
            && a != b
        {
            neighbours[a].insert(b);
            neighbours[b].insert(a);
        }
    }
    neighbours
}

/// How far everything is that can be reached from a node, in links; nearest first.
fn reached(from: usize, neighbours: &[BTreeSet<usize>]) -> Vec<(usize, usize, Option<usize>)> {
    let mut seen = BTreeSet::from([from]);
    let mut found = vec![(from, 0, None)];
    let mut queue = VecDeque::from([(from, 0)]);
    while let Some((node, depth)) = queue.pop_front() {
        for &next in &neighbours[node] {
            if seen.insert(next) {
                found.push((next, depth + 1, Some(node)));
                queue.push_back((next, depth + 1));
            }
        }
    }
    found
}

/// The parts that are not linked with each other, in the order of their first nodes.
fn parts(neighbours: &[BTreeSet<usize>]) -> Vec<Vec<usize>> {
    let mut seen = BTreeSet::new();
    let mut parts = Vec::new();
    for node in 0..neighbours.len() {
        if seen.contains(&node) {
            continue;
        }
        let mut part: Vec<_> = reached(node, neighbours)
            .into_iter()
            .map(|(node, ..)| node)
            .collect();
        part.sort_unstable();
        seen.extend(part.iter().copied());
        parts.push(part);
    }
    parts
}

/// A part, from its upper left corner.
struct Part {
    nodes: Vec<usize>,
    points: Vec<Point>,
    size: Size,
}

#[expect(clippy::cast_precision_loss, reason = "a few hundred nodes")]
fn place(nodes: &[usize], neighbours: &[BTreeSet<usize>], node: Size, between: f64) -> Part {
    let mut points = from_the_middle(nodes, neighbours);
    let links: Vec<(usize, usize)> = nodes
        .iter()
        .enumerate()
        .flat_map(|(place, node)| {
            let others = neighbours[*node].iter();
            others.filter_map(move |other| Some((place, nodes.binary_search(other).ok()?)))
        })
        .filter(|(a, b)| a < b)
        .collect();
    let count = nodes.len();
    let each = 2.0 * links.len() as f64 / count as f64;
    let spread = (each / LINKS_MANY).sqrt().clamp(1.0, SPREAD_MAX);
    for point in &mut points {
        point.x *= spread;
        point.y *= spread;
    }
    let spacing = SPACING * spread;
    let steps = (LAYOUT_PAIRS_MAX / (count * count).max(1)).clamp(10, LAYOUT_STEPS_MAX);
    for step in 0..steps {
        let cooling = 1.0 - step as f64 / steps as f64;
        let moves = forces(&points, &links, spacing);
        for (point, force) in points.iter_mut().zip(moves) {
            let length = force.x.hypot(force.y).max(0.01);
            let reach = length.min(spacing * cooling);
            point.x += force.x / length * reach;
            point.y += force.y / length * reach;
        }
    }
    // Boxes are wider than they are high.
    let wide = ((node.0 + GAP.0 + between) / SPACING).max(1.0);
    for point in &mut points {
        point.x *= wide;
    }
    move_apart(&mut points, (node.0 + GAP.0, node.1 + GAP.1));
    let least = |of: fn(&Point) -> f64| points.iter().map(of).fold(f64::INFINITY, f64::min);
    let (left, top) = (least(|p| p.x), least(|p| p.y));
    for point in &mut points {
        // Whole numbers, so that the last digits of a machine's arithmetic do not show.
        point.x = (point.x - left + (node.0 + GAP.0) / 2.0).round();
        point.y = (point.y - top + (node.1 + GAP.1) / 2.0).round();
    }
    let most = |of: fn(&Point) -> f64| points.iter().map(of).fold(0.0, f64::max);
    let size = (
        most(|p| p.x) + (node.0 + GAP.0) / 2.0,
        most(|p| p.y) + (node.1 + GAP.1) / 2.0,
    );
    Part {
        nodes: nodes.to_vec(),
        points,
        size,
    }
}

/// A first guess: the node in the middle of the part, and around it the others, as far from it as they are in links, each in
/// the sector of the one that leads to it.
#[expect(clippy::cast_precision_loss, reason = "a few hundred nodes")]
fn from_the_middle(nodes: &[usize], neighbours: &[BTreeSet<usize>]) -> Vec<Point> {
    let middle = nodes.iter().copied().min_by_key(|&node| {
        let furthest = reached(node, neighbours)
            .last()
            .map_or(0, |(_, depth, _)| *depth);
        (furthest, std::cmp::Reverse(neighbours[node].len()), node)
    });
    let Some(middle) = middle else {
        return Vec::new();
    };
    let tree = reached(middle, neighbours);
    let mut leaves: BTreeMap<usize, usize> = BTreeMap::new();
    for &(node, _, parent) in tree.iter().rev() {
        let own = *leaves.entry(node).or_insert(1);
        if let Some(parent) = parent {
            *leaves.entry(parent).or_insert(0) += own;
        }
    }
    // Of each node where its sector begins that is not given away yet, and how wide it is for a leaf.
    let whole = leaves[&middle] as f64;
    let mut free: BTreeMap<usize, f64> = BTreeMap::from([(middle, 0.0)]);
    let mut points = vec![Point { x: 0.0, y: 0.0 }; nodes.len()];
    for &(node, depth, parent) in &tree {
        let Some(parent) = parent else { continue };
        let wide = TAU * leaves[&node] as f64 / whole;
        let begin = free[&parent];
        free.insert(parent, begin + wide);
        free.insert(node, begin);
        let turn = begin + wide / 2.0;
        let far = depth as f64 * SPACING;
        if let Ok(place) = nodes.binary_search(&node) {
            points[place] = Point {
                x: far * turn.cos(),
                y: far * turn.sin(),
            };
        }
    }
    points
}

/// Springs along links, and everything else pushes away (Fruchterman and Reingold).
fn forces(points: &[Point], links: &[(usize, usize)], spacing: f64) -> Vec<Point> {
    let mut forces = vec![Point { x: 0.0, y: 0.0 }; points.len()];
    for a in 0..points.len() {
        for b in a + 1..points.len() {
            let (dx, dy) = (points[a].x - points[b].x, points[a].y - points[b].y);
            let distance = dx.hypot(dy).max(1.0);
            if distance > PUSH_MAX * spacing {
                continue;
            }
            let push = spacing * spacing / distance / distance;
            forces[a].x += dx * push;
            forces[a].y += dy * push;
            forces[b].x -= dx * push;
            forces[b].y -= dy * push;
        }
    }
    for &(a, b) in links {
        let (dx, dy) = (points[a].x - points[b].x, points[a].y - points[b].y);
        let pull = dx.hypot(dy).max(1.0) / spacing;
        forces[a].x -= dx * pull;
        forces[a].y -= dy * pull;
        forces[b].x += dx * pull;
        forces[b].y += dy * pull;
    }
    forces
}

/// Moves boxes that are on top of each other apart, the shorter way.
fn move_apart(points: &mut [Point], node: Size) {
    for _ in 0..APART_STEPS_MAX {
        let mut moved = false;
        for a in 0..points.len() {
            for b in a + 1..points.len() {
                let (dx, dy) = (points[b].x - points[a].x, points[b].y - points[a].y);
                let (over_x, over_y) = (node.0 - dx.abs(), node.1 - dy.abs());
                if over_x <= 0.5 || over_y <= 0.5 {
                    continue;
                }
                moved = true;
                if over_x / node.0 < over_y / node.1 {
                    let by = (over_x / 2.0).copysign(if dx == 0.0 { 1.0 } else { dx });
                    points[a].x -= by;
                    points[b].x += by;
                } else {
                    let by = (over_y / 2.0).copysign(if dy == 0.0 { 1.0 } else { dy });
                    points[a].y -= by;
                    points[b].y += by;
                }
            }
        }
        if !moved {
            break;
        }
    }
}

/// Puts parts beside each other in rows, the highest first, so that the whole is a little wider than it is high.
fn shelve(parts: &[Part], points: &mut [Point]) -> Size {
    let area: f64 = parts.iter().map(|part| part.size.0 * part.size.1).sum();
    let widest = parts.iter().map(|part| part.size.0).fold(0.0, f64::max);
    let width = widest.max((area * 1.6).sqrt());
    let (mut x, mut y, mut row, mut right) = (0.0, 0.0, 0.0_f64, 0.0_f64);
    for part in parts {
        if x > 0.0 && x + part.size.0 > width {
            (x, y, row) = (0.0, y + row, 0.0);
        }
        for (&node, point) in part.nodes.iter().zip(&part.points) {
            points[node] = Point {
                x: x + point.x,
                y: y + point.y,
            };
        }
        x += part.size.0;
        right = right.max(x);
        row = row.max(part.size.1);
    }
    (right, y + row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{GraphEdge, GraphNode};

    const NODE: Size = (120.0, 34.0);

    /// Parts of so many nodes, in each of which every node is linked with the one at half its number, some of them twice.
    fn trees(parts: &[usize]) -> Graph {
        let mut graph = Graph::default();
        for (part, count) in parts.iter().enumerate() {
            let name = |node: usize| format!("p{part}-{node}");
            for node in 0..*count {
                graph.nodes.push(GraphNode {
                    id: name(node),
                    ..GraphNode::default()
                });
                for _ in 0..(if node % 5 == 0 { 2 } else { 1 }) {
                    graph.edges.push(GraphEdge {
                        source: name(node),
                        target: name(node / 2),
                        ..GraphEdge::default()
                    });
                }
            }
        }
        graph
    }

    /// Every node with every other of another quarter.
    fn mesh(count: usize) -> Graph {
        let mut graph = trees(&[count]);
        graph.edges.clear();
        for a in 0..count {
            for b in (a + 1..count).filter(|b| a % 4 != b % 4) {
                graph.edges.push(GraphEdge {
                    source: format!("p0-{a}"),
                    target: format!("p0-{b}"),
                    ..GraphEdge::default()
                });
            }
        }
        graph
    }

    #[test]
    fn no_box_is_on_another_and_all_are_on_the_drawing() {
        for graph in [
            trees(&[1]),
            trees(&[32]),
            trees(&[200]),
            trees(&[40, 12, 12, 1, 1, 1, 1]),
            mesh(32),
            mesh(60),
        ] {
            let Layout { points, size } = Layout::of(&graph, NODE, 0.0);
            for (place, a) in points.iter().enumerate() {
                assert!(a.x >= NODE.0 / 2.0 && a.x <= size.0 - NODE.0 / 2.0);
                assert!(a.y >= NODE.1 / 2.0 && a.y <= size.1 - NODE.1 / 2.0);
                for b in &points[place + 1..] {
                    let apart = (a.x - b.x).abs() >= NODE.0 || (a.y - b.y).abs() >= NODE.1;
                    assert!(apart, "{} nodes: {a:?} {b:?}", points.len());
                }
            }
        }
    }

    #[test]
    fn what_is_not_linked_is_drawn_side_by_side_and_not_far_away() {
        let graph = trees(&[6, 6]);
        let Layout { points, size } = Layout::of(&graph, NODE, 0.0);
        let (first, second) = points.split_at(6);
        let span = |points: &[Point]| {
            let x = || points.iter().map(|point| point.x);
            (x().reduce(f64::min).unwrap(), x().reduce(f64::max).unwrap())
        };
        let (a, b) = (span(first), span(second));
        let rows = |points: &[Point]| {
            let y = || points.iter().map(|point| point.y);
            (y().reduce(f64::min).unwrap(), y().reduce(f64::max).unwrap())
        };
        let (c, d) = (rows(first), rows(second));
        assert!(a.1 < b.0 || b.1 < a.0 || c.1 < d.0 || d.1 < c.0);
        assert!(size.0 < 2_000.0 && size.1 < 2_000.0, "{size:?}");
    }
}
