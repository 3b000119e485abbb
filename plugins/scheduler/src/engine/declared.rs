//! Schedules that plugins declare in their manifests, followed while plugins come and go.

use std::{pin::pin, time::Duration};

use nself_plugin_api::{
    capability::handlers::Declared,
    futures_util::future::{self, Either},
    prelude::{Cx, Result},
    serde_json::json,
    tracing::{info, warn},
};

use crate::{
    Scheduler,
    plan::{self, Wanted},
    schedule::Definition,
    target,
};

/// Pause after the schedules could not be written.
const TROUBLE_PAUSE: Duration = Duration::from_secs(2);

/// Follows what plugins declare until this one drains.
pub(super) async fn follow(cx: Cx<Scheduler>) -> Result<()> {
    let tasks = cx.tasks();
    let mut draining = pin!(tasks.draining());
    let mut seen = 0;
    loop {
        let (handlers, clock) = (cx.handlers(), cx.clock());
        let changed = pin!(handlers.changed(seen));
        match future::select(draining.as_mut(), changed).await {
            Either::Left(_) => return Ok(()),
            Either::Right((generation, _)) => seen = generation?,
        }
        if let Err(error) = write(&cx).await {
            warn!(error = %error, cause = error.cause(), "the schedules of plugins cannot be written");
            seen = 0;
            let pause = pin!(clock.sleep(TROUBLE_PAUSE));
            if let Either::Left(_) = future::select(draining.as_mut(), pause).await {
                return Ok(());
            }
        }
    }
}

/// A plugin that is gone keeps its schedules: another host may run it.
async fn write(cx: &Cx<Scheduler>) -> Result<()> {
    for plugin in cx.handlers().list()? {
        let owner = format!("plugin:{}", plugin.plugin);
        let plan = plan::apply(cx, &owner, wanted(&plugin), false).await?;
        if !plan.is_empty() {
            info!(plugin = plugin.plugin, plan = %plan, "schedules of a plugin");
        }
    }
    Ok(())
}

fn wanted(plugin: &Declared) -> Vec<Wanted> {
    let declared = plugin.schedules.iter();
    let wanted = declared.map(|schedule| {
        let target = json!({"plugin": {"id": plugin.plugin, "schedule": schedule.name}});
        let name = format!("{}/{}", plugin.plugin, schedule.name);
        let mut definition = Definition::usual(name, schedule.cron.clone(), target);
        definition.zone = Some(schedule.timezone.clone());
        Wanted {
            action: target::of_plugin(&plugin.plugin, &schedule.name),
            definition,
        }
    });
    wanted.collect()
}
