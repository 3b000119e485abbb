//! The orchestrator: commands for the machines of a family, signed, delivered, acknowledged.
#![forbid(unsafe_code)]

mod command;
mod config;
mod error;
mod reach;
mod routes;
mod store;
mod sweep;
mod telling;

use std::time::Duration;

use nself_plugin_api::{capability::policy::Roles, prelude::*};

pub use crate::config::Config;
use crate::routes::{commands, fetching};

/// The plugin: its declaration, and what its handlers share.
pub struct Orchestrator {
    config: Config,
    /// Who commands the devices of a family.
    device_managers: Roles,
}

impl Plugin for Orchestrator {
    const ABOUT: About = about!("orchestrator");

    const REQUIRES: Requires = Requires {
        capabilities: &["nself.db/1", "nself.crypto/1"],
        optional: &["stream.channels/1"],
        tables: &[TableGrant {
            table: "public.devices",
            rights: &["select"],
        }],
        emits: &["device_command.*"],
        // An operator commands the devices of all of them.
        families: Families::All,
        ..Requires::NOTHING
    };

    const ROUTES: &'static [Route<Self>] = &[
        Route::post("/v1/devices/{id}/commands", commands::ask)
            .authenticated()
            .body_bytes_max(128 << 10)
            .summary("Ask a device to do something"),
        Route::get("/v1/devices/{id}/commands", fetching::fetch)
            .roles(&[Role::Device])
            .timeout(Duration::from_secs(40))
            .summary("What this device is to do, as signed texts; it may wait for that"),
        Route::get("/v1/device-commands", commands::list)
            .authenticated()
            .summary("Commands of devices, the newest first"),
        Route::get("/v1/device-commands/keys", commands::keys)
            .public()
            .summary("The keys that devices check their commands with"),
        Route::get("/v1/device-commands/{id}", commands::show)
            .authenticated()
            .summary("A command of a device, and what came of it"),
        Route::post("/v1/device-commands/{id}/outcome", fetching::end)
            .roles(&[Role::Device])
            .body_bytes_max(128 << 10)
            .summary("The device says what came of a command"),
        Route::post("/v1/device-commands/{id}/cancel", commands::cancel)
            .authenticated()
            .summary("Take a command back that has not ended"),
    ];

    const TASKS: &'static [Task<Self>] = &[
        Task::every(Duration::from_secs(15), "commands", sweep::end_commands).singleton(),
        Task::every(Duration::from_secs(3_600), "prune", sweep::prune).singleton(),
    ];

    const SUBSCRIPTIONS: &'static [Subscription<Self>] = &[Subscription::new(
        "family_end",
        &["family.purged"],
        sweep::family_purged,
    )];

    const MIGRATIONS: &'static [Migration] = &[migration!("0001_devices")];

    type Config = Config;

    async fn create(context: Context, config: Config) -> Result<Self> {
        Ok(Self {
            config,
            device_managers: context.policy().roles("device.manage")?,
        })
    }
}

export_plugin!(Orchestrator);
