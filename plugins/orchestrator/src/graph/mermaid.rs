//! A graph in the words of Mermaid.

use std::fmt::Write as _;

use super::{END, Graph, START};

/// Status, fill and line of each class.
pub(super) const COLOURS: [(&str, &str, &str); 6] = [
    ("started", "#fff3c4", "#b7791f"),
    ("completed", "#d3f2dc", "#2f855a"),
    ("skipped", "#eeeeee", "#888888"),
    ("faulted", "#fbd5d5", "#c53030"),
    ("retried", "#fde2c8", "#c05621"),
    ("cancelled", "#e2e2e2", "#555555"),
];

impl Graph {
    /// A flow chart.
    pub fn mermaid(&self) -> String {
        let mut text = String::from("flowchart TD\n");
        self.write_nodes(&mut text, None, 1);
        for edge in &self.edges {
            let arrow = if edge.is_aside { "-.->" } else { "-->" };
            let label = match edge.label.as_str() {
                "" => String::new(),
                label => format!("|\"{}\"|", escaped(label)),
            };
            line(
                &mut text,
                1,
                &format!("n{} {arrow}{label} n{}", edge.from, edge.to),
            );
        }
        for (status, fill, stroke) in COLOURS {
            let nodes: Vec<String> = self
                .nodes
                .iter()
                .enumerate()
                .filter(|(_, node)| node.status.as_deref() == Some(status))
                .map(|(number, _)| format!("n{number}"))
                .collect();
            if !nodes.is_empty() {
                line(
                    &mut text,
                    1,
                    &format!("classDef {status} fill:{fill},stroke:{stroke}"),
                );
                line(&mut text, 1, &format!("class {} {status}", nodes.join(",")));
            }
        }
        text
    }

    fn write_nodes(&self, text: &mut String, group: Option<usize>, depth: usize) {
        for (number, node) in self.nodes.iter().enumerate() {
            if node.group != group {
                continue;
            }
            let name = escaped(&node.name);
            let kind = node.kind;
            line(
                text,
                depth,
                &match (number, kind) {
                    (START | END, _) => format!("n{number}([\"{name}\"])"),
                    (_, "switch") => format!("n{number}{{\"{name}\"}}"),
                    (_, "wait" | "listen") => format!("n{number}([\"{name}<br/>{kind}\"])"),
                    _ => format!("n{number}[\"{name}<br/>{kind}\"]"),
                },
            );
        }
        for (number, (label, outer)) in self.groups.iter().enumerate() {
            if *outer == group {
                line(
                    text,
                    depth,
                    &format!("subgraph g{number}[\"{}\"]", escaped(label)),
                );
                self.write_nodes(text, Some(number), depth + 1);
                line(text, depth, "end");
            }
        }
    }
}

fn line(text: &mut String, depth: usize, words: &str) {
    let _ = writeln!(text, "{:indent$}{words}", "", indent = depth * 2);
}

/// What may mean something to Mermaid is written by its number.
fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut escaped, one| {
        if one.is_alphanumeric() || matches!(one, ' ' | '-' | '_' | '.' | ',' | '/') {
            escaped.push(one);
        } else {
            let _ = write!(escaped, "#{};", u32::from(one));
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
    fn a_run_is_a_flow_chart_with_colours() {
        let text = "document: {dsl: '1.0.0', namespace: a, name: b, version: '1.0.0'}\ndo:\n  - 'say \"hi\"': {set: {x: 1}}\n  \
                    - each:\n      for: {in: '.x'}\n      do: [{rest: {wait: {seconds: 1}}}]\n";
        let definition = Definition::parse(text, Format::Yaml).expect("it is good");
        let statuses = BTreeMap::from([
            ("/do/0/say \"hi\"".to_owned(), "completed".to_owned()),
            ("/do/1/each/do/0/rest".to_owned(), "started".to_owned()),
        ]);
        let expected = "flowchart TD
  n0([\"start\"])
  n1([\"end\"])
  n2[\"say #34;hi#34;<br/>set\"]
  subgraph g0[\"each\"]
    n3[\"each<br/>for\"]
    n4([\"rest<br/>wait\"])
  end
  n0 --> n2
  n3 -->|\"each\"| n4
  n4 -.-> n3
  n2 --> n3
  n3 -->|\"done\"| n1
  classDef started fill:#fff3c4,stroke:#b7791f
  class n4 started
  classDef completed fill:#d3f2dc,stroke:#2f855a
  class n2 completed
";
        let shown = Graph::of(&definition, &statuses).mermaid();
        let (mut shown, mut expected): (Vec<&str>, Vec<&str>) =
            (shown.lines().collect(), expected.lines().collect());
        // The order of the edges says nothing.
        shown.sort_unstable();
        expected.sort_unstable();
        assert_eq!(shown, expected);
    }
}
