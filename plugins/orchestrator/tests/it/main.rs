//! Workflows and commands for devices, tried on a real host with a real database; and the engine, driven in memory.

mod asking;
mod authentication;
mod belongings;
mod clients;
mod command_line;
mod conformance;
mod counted;
mod definitions;
mod delivery;
mod driver;
mod durable;
mod ends;
mod events;
mod examples;
mod faults;
mod granted;
mod heard;
mod hostile;
mod kit;
mod limits;
mod live;
mod openapi;
mod operators;
mod order;
mod programs;
mod project_files;
mod proofs;
mod registering;
mod retrying;
mod room;
mod running;
mod saga;
mod schedules;
mod stage;
mod standing;
mod steering;
mod stub;
mod tasks;
mod upkeep;

/// What every plugin promises.
mod promises {
    /// The engine runs for all families beside requests, and no other login has rights on its tables.
    const ENGINE: &str =
        "the engine works on all families' rows beside requests; only its own login reaches them";

    nself_plugin_testkit::conformance!(|plugin| plugin
        .with("nself-plugin-jobs")
        .belongings(crate::belongings::of)
        .of_the_house("/v1/workflows/")
        .not_held_apart(
            super::ENGINE,
            &["device_commands", "events", "gatherings", "instances"]
        ));
}
