//! A driver in memory: a clock that jumps to the next timer, stub servers, events that come when everything waits.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use nself_plugin_orchestrator::{
    dsl::{Definition, Format},
    engine::{
        CallKind, Error, HttpCall, Limits, Need, NeedId, Outcome, Process, Program, Progress,
        RecordStatus, Response, State, Status, Subscription, Surroundings, TaskRecord,
    },
};
use serde_json::{Value, json};

/// What the other side of an HTTP request answers.
pub(crate) type Stub = Box<dyn FnMut(&HttpCall) -> (u16, Value)>;

pub(crate) struct Driver {
    pub(crate) program: Program,
    pub(crate) state: State,
    pub(crate) now: Timestamp,
    pub(crate) limits: Limits,
    pub(crate) needs: BTreeMap<NeedId, Need>,
    pub(crate) records: Vec<TaskRecord>,
    pub(crate) stub: Stub,
    pub(crate) secrets: Value,
    /// Events that come one by one when nothing else can be done.
    pub(crate) events: VecDeque<Value>,
    pub(crate) emitted: Vec<Value>,
    /// The keys of all that had an effect outside, in order.
    pub(crate) keys: Vec<String>,
    /// Whether the state is written and read, and every need asked for again, after every advance.
    pub(crate) forgetful: bool,
    pub(crate) runtime: Value,
    pub(crate) advances: u64,
}

/// A definition with a document around these tasks.
pub(crate) fn workflow(tasks: &str) -> String {
    format!("document: {{dsl: '1.0.3', namespace: test, name: test, version: '0.1.0'}}\n{tasks}")
}

pub(crate) fn parse(text: &str) -> Definition {
    Definition::parse(text, Format::Yaml).unwrap_or_else(|faults| panic!("{faults:#?}\n{text}"))
}

impl Driver {
    pub(crate) fn new(text: &str, input: Value) -> Self {
        Self::with_secrets(text, input, json!({}))
    }

    pub(crate) fn with_secrets(text: &str, input: Value, secrets: Value) -> Self {
        let program = Program::compile(&parse(text)).expect("it compiles");
        let now = "2026-11-26T12:00:00Z".parse().expect("a time");
        let limits = Limits {
            expression_steps: 100_000,
            ..Limits::default()
        };
        let runtime = json!({"name": "test", "version": "1"});
        let state = {
            let read = |name: &str| secrets.get(name).cloned();
            let around = Surroundings {
                now,
                runtime: &runtime,
                secrets: &read,
                random: &|| 0.5,
                limits,
            };
            program
                .start(input, "instance", &around)
                .expect("it starts")
        };
        Self {
            program,
            state,
            now,
            limits,
            needs: BTreeMap::new(),
            records: Vec::new(),
            stub: Box::new(|_| (404, Value::Null)),
            secrets,
            events: VecDeque::new(),
            emitted: Vec::new(),
            keys: Vec::new(),
            forgetful: false,
            runtime,
            advances: 0,
        }
    }

    /// Runs something of the program with what is around it.
    pub(crate) fn around<T>(
        &mut self,
        work: impl FnOnce(&Program, &mut State, &Surroundings<'_>) -> T,
    ) -> T {
        let read = |name: &str| self.secrets.get(name).cloned();
        let around = Surroundings {
            now: self.now,
            runtime: &self.runtime,
            secrets: &read,
            random: &|| 0.5,
            limits: self.limits,
        };
        work(&self.program, &mut self.state, &around)
    }

    /// One advance; what it opened and closed is kept.
    pub(crate) fn advance(&mut self, outcomes: Vec<(NeedId, Outcome)>) -> Status {
        self.advances += 1;
        assert!(self.advances < 100_000, "it never ends");
        for (need, outcome) in &outcomes {
            if !matches!(outcome, Outcome::Event(_)) {
                self.needs.remove(need);
            }
        }
        let before = self.state.clone();
        let again = outcomes.clone();
        let progress =
            self.around(|program, state, around| program.advance(state, outcomes, around));
        if self.forgetful {
            self.lose(before, again, &progress);
        }
        self.records.extend(progress.records);
        for need in &progress.closed {
            self.needs.remove(need);
        }
        self.needs.extend(progress.opened);
        if self.forgetful {
            let text = serde_json::to_string(&self.state).expect("it is written");
            self.state = serde_json::from_str(&text).expect("it is read");
            let again = self.around(|program, state, around| program.needs(state, around));
            let again: BTreeMap<NeedId, Need> = again.into_iter().collect();
            assert_eq!(
                again.keys().collect::<Vec<_>>(),
                self.needs.keys().collect::<Vec<_>>()
            );
            for (need, asked) in &again {
                assert!(
                    *asked == self.needs[need],
                    "{need:?} is asked for otherwise"
                );
            }
            self.needs = again;
        }
        progress.status
    }

    /// Makes an advance again from the state before it, as a host does after one that died: it must be the same.
    fn lose(&mut self, before: State, outcomes: Vec<(NeedId, Outcome)>, expected: &Progress) {
        let after = std::mem::replace(&mut self.state, before);
        let again = self.around(|program, state, around| program.advance(state, outcomes, around));
        assert_eq!(self.state, after);
        assert_eq!(again.records, expected.records);
        assert_eq!(again.closed, expected.closed);
        assert!(again.opened == expected.opened, "other needs were opened");
        assert_eq!(again.status, expected.status);
    }

    /// Runs until the end, or until nothing more can come.
    pub(crate) fn run(&mut self) -> Status {
        let mut outcomes = Vec::new();
        loop {
            let status = self.advance(std::mem::take(&mut outcomes));
            if status.is_final() {
                assert!(
                    self.needs.is_empty(),
                    "it left something open: {:?}",
                    self.needs
                );
                return status;
            }
            if status == Status::Running {
                continue;
            }
            match self.outside() {
                Some(come) => outcomes = come,
                None => return Status::Waiting,
            }
        }
    }

    /// What comes next from outside.
    fn outside(&mut self) -> Option<Vec<(NeedId, Outcome)>> {
        let effect = self
            .needs
            .iter()
            .find(|(_, need)| !matches!(need, Need::Timer { .. } | Need::Event(_)))
            .map(|(id, need)| (*id, need.clone()));
        if let Some((id, need)) = effect {
            return Some(vec![(id, self.effect(need))]);
        }
        // An event waits for who wants it.
        let wanted = |event: &Value| -> Vec<NeedId> {
            let wants_it = |(id, need): (&NeedId, &Need)| match need {
                Need::Event(subscription) if wants(subscription, event) => Some(*id),
                _ => None,
            };
            self.needs.iter().filter_map(wants_it).collect()
        };
        let next = self
            .events
            .iter()
            .position(|event| !wanted(event).is_empty());
        if let Some(next) = next {
            let ids = wanted(&self.events[next]);
            let event = self.events.remove(next).expect("it was found there");
            let come = |id| (id, Outcome::Event(event.clone()));
            return Some(ids.into_iter().map(come).collect());
        }
        let (at, id) = self
            .needs
            .iter()
            .filter_map(|(id, need)| match need {
                Need::Timer { at } => Some((*at, *id)),
                _ => None,
            })
            .min()?;
        self.now = self.now.max(at);
        Some(vec![(id, Outcome::Fired)])
    }

    fn effect(&mut self, need: Need) -> Outcome {
        match need {
            Need::Call(call) => {
                self.keys.push(call.key);
                match call.kind {
                    CallKind::Http(http) => answer(&http, (self.stub)(&http)),
                    CallKind::OpenApi(openapi) => {
                        let asked = HttpCall {
                            method: "GET".to_owned(),
                            endpoint: openapi.document.clone(),
                            headers: BTreeMap::new(),
                            query: BTreeMap::new(),
                            body: None,
                            output: openapi.output,
                            redirect: false,
                            authentication: None,
                        };
                        let (_, document) = (self.stub)(&asked);
                        match nself_plugin_orchestrator::engine::resolve(&document, &openapi) {
                            Ok(http) => answer(&http, (self.stub)(&http)),
                            Err(error) => Outcome::Failed(error),
                        }
                    }
                    CallKind::Function(function) => Outcome::Completed(
                        json!({"called": function.name, "with": function.arguments}),
                    ),
                }
            }
            Need::Emit(emit) => {
                self.keys.push(emit.key);
                self.emitted.push(emit.event.clone());
                self.events.push_back(emit.event);
                Outcome::Done
            }
            Need::Run(run) => {
                self.keys.push(run.key);
                match run.process {
                    Process::Workflow(workflow) => {
                        Outcome::Completed(json!({"ran": workflow.name, "with": workflow.input}))
                    }
                    Process::Shell(_) => {
                        Outcome::Completed(json!({"code": 3, "stdout": "out", "stderr": "err"}))
                    }
                    _ => Outcome::Failed(Error::configuration("it is refused here")),
                }
            }
            Need::Timer { .. } | Need::Event(_) => unreachable!("these have no effect"),
        }
    }

    /// Names of the tasks that completed, in order.
    pub(crate) fn completed(&self) -> Vec<&str> {
        self.named(RecordStatus::Completed)
    }

    pub(crate) fn named(&self, status: RecordStatus) -> Vec<&str> {
        self.records
            .iter()
            .filter(|record| record.status == status)
            .map(|record| record.name.as_str())
            .collect()
    }

    /// The need that is open, when there is one.
    pub(crate) fn only_need(&self) -> (NeedId, Need) {
        assert_eq!(self.needs.len(), 1, "{:?}", self.needs);
        self.needs
            .iter()
            .next()
            .map(|(id, need)| (*id, need.clone()))
            .expect("one is there")
    }
}

fn answer(http: &HttpCall, (status, body): (u16, Value)) -> Outcome {
    Outcome::Response(Response {
        method: http.method.clone(),
        uri: http.endpoint.clone(),
        request_headers: BTreeMap::new(),
        status,
        headers: BTreeMap::from([(
            "content-type".to_owned(),
            "application/json; charset=utf-8".to_owned(),
        )]),
        body: serde_json::to_vec(&body).expect("JSON"),
    })
}

fn wants(subscription: &Subscription, event: &Value) -> bool {
    let fits = |filter: &BTreeMap<String, String>| {
        filter
            .iter()
            .all(|(name, value)| event[name].as_str() == Some(value))
    };
    subscription.filters.is_empty() || subscription.filters.iter().any(fits)
}
