//! Definitions made ready to run, kept while they are used: reading one takes longer than most advances.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use nself_plugin_api::{
    prelude::{Cx, Queries, Result},
    uuid::Uuid,
};

use crate::{
    Orchestrator,
    dsl::{Definition, Format},
    engine::{Error as Fault, Program},
    store::definitions,
};

/// Programs that are kept.
const PROGRAMS_MAX: usize = 200;

/// The programs of one host.
#[derive(Default)]
pub(crate) struct Programs(Mutex<HashMap<Uuid, Arc<Program>>>);

impl Programs {
    fn get(&self, definition: Uuid) -> Option<Arc<Program>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&definition).map(Arc::clone)
    }

    fn keep(&self, definition: Uuid, program: Arc<Program>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= PROGRAMS_MAX {
            known.clear();
        }
        known.insert(definition, program);
    }
}

/// The program of a definition; why there is none when it does not run on this version of the host.
pub(crate) async fn of(
    cx: &Cx<Orchestrator>,
    db: &impl Queries,
    definition: Uuid,
) -> Result<Result<Arc<Program>, Fault>> {
    if let Some(program) = cx.plugin().programs.get(definition) {
        return Ok(Ok(program));
    }
    let Some((format, source)) = definitions::source(db, definition).await? else {
        return Ok(Err(Fault::configuration("its definition is gone")));
    };
    let compiled = cx
        .tasks()
        .blocking(move || compile(&format, &source))
        .await?;
    Ok(compiled.map(|program| {
        let program = Arc::new(program);
        cx.plugin().programs.keep(definition, Arc::clone(&program));
        program
    }))
}

/// How the text of a definition is written, by the word for it.
pub(crate) fn format(word: &str) -> Format {
    if word == "json" {
        Format::Json
    } else {
        Format::Yaml
    }
}

fn compile(word: &str, source: &str) -> Result<Program, Fault> {
    let definition = Definition::parse(source, format(word)).map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        Fault::configuration(faults.join("; "))
    })?;
    Program::compile(&definition)
}
