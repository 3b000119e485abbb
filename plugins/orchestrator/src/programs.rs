//! Definitions made ready to run, kept while they are used: reading one takes longer than most advances.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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

/// What is known of definitions on one host.
#[derive(Default)]
pub(crate) struct Programs(Mutex<Known>);

#[derive(Default)]
struct Known {
    programs: HashMap<Uuid, Arc<Program>>,
    /// Definitions whose last run needed something from outside.
    winding: HashSet<Uuid>,
    /// Which definition a name means.
    meant: HashMap<Name, Arc<Meant>>,
}

/// Namespace, name and version.
type Name = (String, String, String);

/// What a start needs to know of a definition. All of it stays as it is until the definition is removed, and whoever writes the
/// start down looks whether that has happened.
#[derive(Debug)]
pub(crate) struct Meant {
    pub id: Uuid,
    pub namespace: String,
    pub name: String,
    pub version: String,
    /// Whether the grown-ups of a family may start it.
    pub for_families: bool,
}

impl Programs {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, definition: Uuid) -> Option<Arc<Program>> {
        self.known().programs.get(&definition).map(Arc::clone)
    }

    fn keep(&self, definition: Uuid, program: Arc<Program>) {
        let mut known = self.known();
        if known.programs.len() >= PROGRAMS_MAX {
            known.programs.clear();
            known.winding.clear();
        }
        known.programs.insert(definition, program);
    }

    /// Whether a run of it went straight to its end.
    pub(crate) fn note(&self, definition: Uuid, is_straight: bool) {
        let mut known = self.known();
        if is_straight {
            known.winding.remove(&definition);
        } else {
            known.winding.insert(definition);
        }
    }

    /// Whether its next run is likely to go straight to its end.
    pub(crate) fn is_straight(&self, definition: Uuid) -> bool {
        !self.known().winding.contains(&definition)
    }

    /// The definition of a name, as far as it is known here.
    pub(crate) fn meant(&self, name: &Name) -> Option<Arc<Meant>> {
        self.known().meant.get(name).map(Arc::clone)
    }

    /// Keeps which definition its name means.
    pub(crate) fn mean(&self, meant: &Arc<Meant>) {
        let mut known = self.known();
        if known.meant.len() >= PROGRAMS_MAX {
            known.meant.clear();
        }
        let meant = Arc::clone(meant);
        let name = (
            meant.namespace.clone(),
            meant.name.clone(),
            meant.version.clone(),
        );
        known.meant.insert(name, meant);
    }

    /// Which name means it is asked for anew.
    pub(crate) fn doubt(&self, definition: Uuid) {
        self.known().meant.retain(|_, one| one.id != definition);
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
