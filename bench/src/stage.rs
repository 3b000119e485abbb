//! A gateway on which the plugin's routes and their native twins stand side by side: everything but the handler is shared.

use std::sync::Arc;

use nself::{
    http::{Gateway, HttpMetrics, Limits, NewRoute, RouteTable, Routes, Settings},
    identity::{Verifier, VerifierSettings},
    plugin::{bridge::PluginRoute, instance::Running},
    postgres::connect::{Target, pool},
    run::{Host, settings_of},
};

use crate::{Failure, Result, native};

/// Puts the native routes and those of the running plugin `bench00` on one gateway.
pub(crate) async fn gateway(host: &Host, database_url: &str) -> Result<Arc<Gateway>> {
    let running = host
        .registry()
        .running("bench00")
        .await
        .ok_or_else(|| Failure::from("bench00 does not run"))?;
    let settings: Settings = settings_of(host.config())?;
    let mut routes = native::routes(&pool(&Target::from_url(database_url)?, 2));
    routes.extend(plugin_routes(&running, &settings.limits));
    let metrics = HttpMetrics::new(&prometheus::Registry::new())?;
    let table = RouteTable::build(&[], routes, &settings.limits, &metrics)?;
    let in_force = Routes::new();
    in_force.swap(table);
    let verifier = Arc::new(Verifier::new(VerifierSettings::default())?);
    Ok(Gateway::new(in_force, verifier, settings, metrics, None))
}

fn plugin_routes(running: &Arc<Running>, limits: &Limits) -> Vec<NewRoute> {
    (0..)
        .zip(&running.manifest().routes)
        .map(|(number, route)| NewRoute {
            plugin: running.id().into(),
            number,
            route: Arc::new(route.clone()),
            target: Arc::new(PluginRoute::new(Arc::clone(running), number, limits)),
            generation: Arc::clone(running.generation()),
        })
        .collect()
}
