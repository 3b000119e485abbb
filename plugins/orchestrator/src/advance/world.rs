//! What the engine is told of the world around it.

use std::collections::BTreeMap;

use nself_plugin_api::{
    prelude::Cx,
    serde_json::{self, Value, json},
    uuid::Uuid,
};

use crate::{
    Orchestrator,
    engine::{Limits, Program, Surroundings},
};

/// What the engine is told, in a form that goes to another thread.
#[derive(Clone)]
pub(crate) struct World {
    pub secrets: BTreeMap<String, Value>,
    pub limits: Limits,
    pub now: nself_plugin_api::jiff::Timestamp,
}

impl World {
    /// Tells the engine.
    pub(crate) fn tell<T>(&self, run: impl FnOnce(&Surroundings<'_>) -> T) -> T {
        let runtime =
            json!({"name": "nself", "version": env!("CARGO_PKG_VERSION"), "metadata": {}});
        let secrets = |name: &str| self.secrets.get(name).cloned();
        let random = || {
            let bits = u32::try_from(Uuid::now_v7().as_u128() & 0xffff_ffff).unwrap_or_default();
            f64::from(bits) / (f64::from(u32::MAX) + 1.0)
        };
        run(&Surroundings {
            now: self.now,
            runtime: &runtime,
            secrets: &secrets,
            random: &random,
            limits: self.limits,
        })
    }
}

/// Only what the definition names, of what the operator has written into the secret of this plugin: an object of names and values.
pub(crate) fn secrets(cx: &Cx<Orchestrator>, program: &Program) -> BTreeMap<String, Value> {
    let names = &program.definition().shared.secrets;
    if names.is_empty() {
        return BTreeMap::new();
    }
    let secret = cx.secrets().get(crate::SECRETS).unwrap_or_default();
    let known: BTreeMap<String, Value> = serde_json::from_slice(&secret).unwrap_or_default();
    known
        .into_iter()
        .filter(|(name, _)| names.contains(name))
        .collect()
}
