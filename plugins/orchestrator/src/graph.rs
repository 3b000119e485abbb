//! A definition as a graph: what follows what. And a run of it, which gives its tasks a status.
//!
//! Each task is one node under its reference. One that holds others (`do`, `for`, `fork`, `try`, `listen` with `foreach`) is the node
//! from which they are entered, and stands with them in a group.

mod mermaid;
mod svg;

use std::collections::BTreeMap;

use crate::dsl::{Catch, Definition, Kind, Task, TaskList, escape};

/// What follows what.
#[derive(Debug)]
pub struct Graph {
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    /// Label of each group, and the group that it stands in.
    groups: Vec<(String, Option<usize>)>,
}

#[derive(Debug)]
struct Node {
    /// JSON pointer of its task; empty for the beginning and the end.
    reference: String,
    name: String,
    kind: &'static str,
    group: Option<usize>,
    status: Option<String>,
}

#[derive(Debug)]
struct Edge {
    from: usize,
    to: usize,
    label: String,
    /// Not the usual way: an error that is caught, the next iteration.
    is_aside: bool,
}

/// A way out of a task that has no end yet.
#[derive(Debug, Clone)]
struct Exit {
    from: usize,
    label: String,
    is_aside: bool,
}

impl Exit {
    fn of(from: usize) -> Self {
        Self::called(from, "")
    }

    fn called(from: usize, label: &str) -> Self {
        Self {
            from,
            label: label.to_owned(),
            is_aside: false,
        }
    }

    fn aside(from: usize, label: &str) -> Self {
        Self {
            is_aside: true,
            ..Self::called(from, label)
        }
    }
}

/// A task that has its nodes.
struct Placed {
    entry: usize,
    /// Ways that go on to what is next, or where `then` says.
    exits: Vec<Exit>,
    /// Ways that say themselves where they go.
    jumps: Vec<(Exit, String)>,
}

const START: usize = 0;
const END: usize = 1;

impl Graph {
    /// The graph of a definition. `statuses` are those of a run, by reference.
    pub fn of(definition: &Definition, statuses: &BTreeMap<String, String>) -> Self {
        let mut graph = Self {
            nodes: Vec::new(),
            edges: Vec::new(),
            groups: Vec::new(),
        };
        graph.node("", "start", "start", None);
        graph.node("", "end", "end", None);
        let exits = graph.list("/do", &definition.tasks, None, vec![Exit::of(START)]);
        graph.connect(exits, END);
        for node in &mut graph.nodes {
            node.status = statuses.get(&node.reference).cloned();
        }
        graph
    }

    fn node(
        &mut self,
        reference: &str,
        name: &str,
        kind: &'static str,
        group: Option<usize>,
    ) -> usize {
        self.nodes.push(Node {
            reference: reference.to_owned(),
            name: name.to_owned(),
            kind,
            group,
            status: None,
        });
        self.nodes.len() - 1
    }

    fn connect(&mut self, exits: impl IntoIterator<Item = Exit>, to: usize) {
        for exit in exits {
            self.edges.push(Edge {
                from: exit.from,
                to,
                label: exit.label,
                is_aside: exit.is_aside,
            });
        }
    }

    /// Tasks one after the other; the ways out of the list.
    fn list(
        &mut self,
        list: &str,
        tasks: &TaskList,
        group: Option<usize>,
        from: Vec<Exit>,
    ) -> Vec<Exit> {
        let placed: Vec<Placed> = tasks
            .0
            .iter()
            .enumerate()
            .map(|(number, (name, task))| {
                let reference = format!("{list}/{number}/{}", escape(name));
                self.task(&reference, name, task, group)
            })
            .collect();
        let entries: Vec<usize> = placed.iter().map(|placed| placed.entry).collect();
        let mut out = Vec::new();
        match entries.first() {
            Some(first) => self.connect(from, *first),
            None => out.extend(from),
        }
        for (number, placed) in placed.into_iter().enumerate() {
            let then = tasks.0[number].1.then.clone();
            let then = then.unwrap_or_else(|| "continue".to_owned());
            let exits = placed.exits.into_iter().map(|exit| (exit, then.clone()));
            for (exit, then) in exits.chain(placed.jumps) {
                let named = tasks.0.iter().position(|(name, _)| *name == then);
                match (then.as_str(), named) {
                    ("continue", None) => match entries.get(number + 1) {
                        Some(next) => self.connect([exit], *next),
                        None => out.push(exit),
                    },
                    ("end", None) => self.connect([exit], END),
                    (_, Some(named)) => self.connect([exit], entries[named]),
                    _ => out.push(exit),
                }
            }
        }
        out
    }

    fn task(&mut self, reference: &str, name: &str, task: &Task, outer: Option<usize>) -> Placed {
        let holds = match &task.kind {
            Kind::Do(_) | Kind::For { .. } | Kind::Fork { .. } | Kind::Try(..) => true,
            Kind::Listen(listen) => listen.foreach.is_some(),
            _ => false,
        };
        let group = if holds {
            self.groups.push((name.to_owned(), outer));
            Some(self.groups.len() - 1)
        } else {
            outer
        };
        let entry = self.node(reference, name, task.kind.word(), group);
        let mut jumps = Vec::new();
        let exits = match &task.kind {
            Kind::Do(tasks) => self.list(
                &format!("{reference}/do"),
                tasks,
                group,
                vec![Exit::of(entry)],
            ),
            Kind::For { tasks, .. } => self.turns(&format!("{reference}/do"), tasks, group, entry),
            Kind::Listen(listen) => match &listen.foreach {
                Some(each) => self.turns(
                    &format!("{reference}/foreach/do"),
                    &each.tasks,
                    group,
                    entry,
                ),
                None => vec![Exit::of(entry)],
            },
            Kind::Fork { branches, .. } => {
                let mut exits = Vec::new();
                for (number, (name, branch)) in branches.0.iter().enumerate() {
                    let reference = format!("{reference}/fork/branches/{number}/{}", escape(name));
                    let placed = self.task(&reference, name, branch, group);
                    self.connect([Exit::of(entry)], placed.entry);
                    exits.extend(placed.exits);
                    exits.extend(placed.jumps.into_iter().map(|(exit, _)| exit));
                }
                exits
            }
            Kind::Try(tasks, catch) => self.attempt(reference, tasks, catch, group, entry),
            Kind::Switch(cases) => {
                for (name, _, then) in cases {
                    jumps.push((Exit::called(entry, name), then.clone()));
                }
                // Where no case is for everything, none may fit.
                let is_whole = cases.iter().any(|(_, when, _)| when.is_none());
                if is_whole {
                    Vec::new()
                } else {
                    vec![Exit::of(entry)]
                }
            }
            Kind::Raise(_) => Vec::new(),
            _ => vec![Exit::of(entry)],
        };
        Placed {
            entry,
            exits,
            jumps,
        }
    }

    /// Tasks that run for each of many.
    fn turns(
        &mut self,
        list: &str,
        tasks: &TaskList,
        group: Option<usize>,
        entry: usize,
    ) -> Vec<Exit> {
        let exits = self.list(list, tasks, group, vec![Exit::called(entry, "each")]);
        let back = exits.into_iter().filter(|exit| exit.from != entry);
        let back = back.map(|exit| Exit {
            is_aside: true,
            ..exit
        });
        self.connect(back.collect::<Vec<_>>(), entry);
        vec![Exit::called(entry, "done")]
    }

    fn attempt(
        &mut self,
        reference: &str,
        tasks: &TaskList,
        catch: &Catch,
        group: Option<usize>,
        entry: usize,
    ) -> Vec<Exit> {
        let mut exits = self.list(
            &format!("{reference}/try"),
            tasks,
            group,
            vec![Exit::of(entry)],
        );
        let caught = vec![Exit::aside(entry, "caught")];
        match &catch.tasks {
            Some(tasks) => {
                exits.extend(self.list(&format!("{reference}/catch/do"), tasks, group, caught));
            }
            None => exits.extend(caught),
        }
        exits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsl::Format;

    fn graph(tasks: &str) -> Graph {
        let text = format!(
            "document: {{dsl: '1.0.0', namespace: a, name: b, version: '1.0.0'}}\ndo:\n{tasks}"
        );
        let definition = Definition::parse(&text, Format::Yaml).expect(&text);
        Graph::of(&definition, &BTreeMap::new())
    }

    #[track_caller]
    fn check(tasks: &str, expected: &[&str]) {
        let graph = graph(tasks);
        let name = |node: usize| graph.nodes[node].name.clone();
        let mut edges: Vec<String> = graph
            .edges
            .iter()
            .map(|edge| {
                let arrow = if edge.is_aside { "~" } else { ">" };
                format!(
                    "{} {}{arrow} {}",
                    name(edge.from),
                    edge.label,
                    name(edge.to)
                )
            })
            .collect();
        edges.sort();
        assert_eq!(edges, expected);
    }

    #[test]
    fn one_follows_the_other_or_what_is_named() {
        check(
            "  - a: {set: {x: 1}, then: c}\n  - b: {set: {x: 1}, then: end}\n  - c: {set: {x: 1}}",
            &["a > c", "b > end", "c > end", "start > a"],
        );
    }

    #[test]
    fn a_choice_goes_where_its_cases_say_and_on_when_none_fits() {
        check(
            "  - a:\n      switch:\n        - yes: {when: '.x', then: c}\n        - no: {when: '.y', then: end}\n  - b: {set: {x: 1}}\n  - c: {set: {x: 1}}",
            &[
                "a > b",
                "a no> end",
                "a yes> c",
                "b > c",
                "c > end",
                "start > a",
            ],
        );
    }

    #[test]
    fn loops_branches_and_errors_have_ways_of_their_own() {
        check(
            "  - a:\n      for: {in: '.x'}\n      do: [{b: {set: {x: 1}}}]\n  - c:\n      fork: {branches: [{d: {set: {x: 1}}}, {e: {set: {x: 1}}}]}\n  \
             - f:\n      try: [{g: {raise: {error: {type: 'https://a.b/c', status: 400}}}}]\n      catch: {do: [{h: {set: {x: 1}}}]}",
            &[
                "a done> c",
                "a each> b",
                "b ~ a",
                "c > d",
                "c > e",
                "d > f",
                "e > f",
                "f > g",
                "f caught~ h",
                "h > end",
                "start > a",
            ],
        );
    }
}
