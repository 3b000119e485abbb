//! A graph as a drawing: nodes in layers, each below what leads to it, and ways back along the side.

use std::fmt::Write as _;

use super::{END, Edge, Graph, START, mermaid::COLOURS};

const WIDTH: usize = 168;
const HEIGHT: usize = 44;
const GAP_X: usize = 28;
const GAP_Y: usize = 46;
const MARGIN: usize = 24;
/// Characters of a name that have room.
const NAME_MAX: usize = 22;

/// Where a node's middle is.
type Place = (usize, usize);

impl Graph {
    /// A drawing.
    pub fn svg(&self) -> String {
        let layers = self.layers();
        let rows = rows(&layers);
        let widest = rows.iter().copied().max().unwrap_or(1);
        let is_back = |edge: &Edge| layers[edge.to] <= layers[edge.from];
        let back = self.edges.iter().filter(|edge| is_back(edge)).count();
        let inner = widest * (WIDTH + GAP_X);
        let width = inner + 2 * MARGIN + back.min(12) * 10;
        let height = rows.len() * (HEIGHT + GAP_Y) + 2 * MARGIN;
        let places = places(&layers, &rows, inner);
        let mut text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             font-family=\"sans-serif\" font-size=\"13\" text-anchor=\"middle\">\n\
             <defs><marker id=\"arrow\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\">\
             <path d=\"M0 0L8 4L0 8z\" fill=\"#555\"/></marker></defs>\n"
        );
        let mut side = 0;
        for edge in &self.edges {
            let is_back = is_back(edge);
            side += usize::from(is_back);
            let x = is_back.then(|| inner + MARGIN + side.min(12) * 10);
            write_edge(&mut text, edge, places[edge.from], places[edge.to], x);
        }
        for (number, node) in self.nodes.iter().enumerate() {
            self.write_node(&mut text, number, places[number]);
            debug_assert!(node.reference.is_empty() == matches!(number, START | END));
        }
        text.push_str("</svg>\n");
        text
    }

    /// The layer of each node: one more than the deepest that leads there, ways back not counted.
    fn layers(&self) -> Vec<usize> {
        let mut ways = vec![Vec::new(); self.nodes.len()];
        for edge in &self.edges {
            ways[edge.from].push(edge.to);
        }
        let mut layer = vec![0_usize; self.nodes.len()];
        let mut place = vec![0_usize; self.nodes.len()];
        let order = order(&ways);
        for (at, node) in order.iter().enumerate() {
            place[*node] = at;
        }
        for node in order {
            for to in &ways[node] {
                if place[*to] > place[node] {
                    layer[*to] = layer[*to].max(layer[node] + 1);
                }
            }
        }
        let last = layer.iter().copied().max().unwrap_or(0);
        layer[END] = last;
        layer
    }

    fn write_node(&self, text: &mut String, number: usize, (x, y): Place) {
        let node = &self.nodes[number];
        let colour = COLOURS
            .iter()
            .find(|(status, ..)| node.status.as_deref() == Some(status));
        let (fill, stroke) =
            colour.map_or(("#ffffff", "#555555"), |(_, fill, stroke)| (fill, stroke));
        let round = if matches!(number, START | END) || matches!(node.kind, "wait" | "listen") {
            HEIGHT / 2
        } else {
            4
        };
        let (left, top) = (x - WIDTH / 2, y - HEIGHT / 2);
        let status = node.status.as_deref().unwrap_or("none");
        let _ = write!(
            text,
            "<g data-task=\"{}\" data-status=\"{status}\"><title>{}</title>\
             <rect x=\"{left}\" y=\"{top}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"{round}\" fill=\"{fill}\" stroke=\"{stroke}\"/>",
            escaped(&node.reference),
            escaped(&node.name),
        );
        let name = escaped(&short(&node.name));
        if matches!(number, START | END) {
            let _ = write!(text, "<text x=\"{x}\" y=\"{}\">{name}</text>", y + 4);
        } else {
            let _ = write!(
                text,
                "<text x=\"{x}\" y=\"{}\">{name}</text><text x=\"{x}\" y=\"{}\" font-size=\"11\" fill=\"#666\">{}</text>",
                y - 2,
                y + 14,
                node.kind
            );
        }
        text.push_str("</g>\n");
    }
}

/// An order in which each node stands before what it leads to, but for ways back. Depth first, without calling itself: a definition may
/// be long.
fn order(ways: &[Vec<usize>]) -> Vec<usize> {
    let mut is_seen = vec![false; ways.len()];
    let mut left = Vec::new();
    for start in std::iter::once(START).chain(2..ways.len()) {
        if std::mem::replace(&mut is_seen[start], true) {
            continue;
        }
        let mut stack = vec![(start, 0)];
        while let Some((node, next)) = stack.pop() {
            let Some(to) = ways[node].get(next) else {
                left.push(node);
                continue;
            };
            stack.push((node, next + 1));
            if !std::mem::replace(&mut is_seen[*to], true) {
                stack.push((*to, 0));
            }
        }
    }
    left.reverse();
    left
}

/// The middle of each node: a layer's nodes stand side by side in the middle of the drawing.
fn places(layers: &[usize], rows: &[usize], inner: usize) -> Vec<Place> {
    let mut columns = vec![0; rows.len()];
    let place = |row: &usize| {
        let left = MARGIN + (inner - rows[*row] * (WIDTH + GAP_X)) / 2;
        let x = left + columns[*row] * (WIDTH + GAP_X) + usize::midpoint(WIDTH, GAP_X);
        columns[*row] += 1;
        (x, MARGIN + row * (HEIGHT + GAP_Y) + HEIGHT / 2)
    };
    layers.iter().map(place).collect()
}

/// How many nodes stand in each layer.
fn rows(layers: &[usize]) -> Vec<usize> {
    let mut rows = vec![0; layers.iter().max().map_or(1, |last| last + 1)];
    for layer in layers {
        rows[*layer] += 1;
    }
    rows
}

/// A way down, or one back along the side at `side`.
fn write_edge(text: &mut String, edge: &Edge, from: Place, to: Place, side: Option<usize>) {
    let dashes = if edge.is_aside {
        " stroke-dasharray=\"5 4\""
    } else {
        ""
    };
    let (path, label) = match side {
        None => {
            let (y, end) = (from.1 + HEIGHT / 2, to.1 - HEIGHT / 2);
            let middle = usize::midpoint(y, end);
            let path = format!(
                "M{} {y}C{} {middle} {} {middle} {} {end}",
                from.0, from.0, to.0, to.0
            );
            (path, (usize::midpoint(from.0, to.0), middle))
        }
        Some(x) => {
            let (right, end) = (from.0 + WIDTH / 2, to.0 + WIDTH / 2);
            let path = format!("M{right} {}H{x}V{}H{end}", from.1, to.1);
            (path, (x, usize::midpoint(from.1, to.1)))
        }
    };
    let _ = writeln!(
        text,
        "<path d=\"{path}\" fill=\"none\" stroke=\"#555\"{dashes} marker-end=\"url(#arrow)\"/>"
    );
    if !edge.label.is_empty() {
        let _ = writeln!(
            text,
            "<text x=\"{}\" y=\"{}\" font-size=\"11\" fill=\"#333\">{}</text>",
            label.0,
            label.1,
            escaped(&short(&edge.label))
        );
    }
}

fn short(text: &str) -> String {
    if text.chars().count() <= NAME_MAX {
        return text.to_owned();
    }
    let begin: String = text.chars().take(NAME_MAX - 1).collect();
    format!("{begin}\u{2026}")
}

/// As XML has it; what it does not have at all is left out.
fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut escaped, one| {
        match one {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            one if one.is_control() || matches!(one, '\u{fffe}' | '\u{ffff}') => {}
            one => escaped.push(one),
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::dsl::{Definition, Format};

    #[test]
    fn each_task_has_its_place_and_nothing_in_a_name_is_markup() {
        let text = "document: {dsl: '1.0.0', namespace: a, name: b, version: '1.0.0'}\ndo:\n  - '<a>&': {set: {x: 1}}\n  \
                    - each:\n      for: {in: '.x'}\n      do: [{rest: {wait: {seconds: 1}}}, {again: {set: {x: 1}, then: rest}}]\n";
        let definition = Definition::parse(text, Format::Yaml).expect("it is good");
        let statuses = BTreeMap::from([("/do/0/<a>&".to_owned(), "faulted".to_owned())]);
        let graph = Graph::of(&definition, &statuses);
        let drawing = graph.svg();
        assert!(
            drawing.contains("data-task=\"/do/0/&lt;a&gt;&amp;\" data-status=\"faulted\""),
            "{drawing}"
        );
        assert!(!drawing.contains("<a>"), "{drawing}");
        let layers = graph.layers();
        let places = places(&layers, &rows(&layers), 1_000);
        for (number, place) in places.iter().enumerate() {
            assert!(!places[..number].contains(place), "{places:?}");
        }
        assert_eq!(drawing.matches("<rect").count(), graph.nodes.len());
        assert_eq!(drawing.matches("marker-end").count(), graph.edges.len());
    }
}
