//! The runbooks, each in the trouble that it is for: a host with the real plugins and a private cluster, the outage caused, every command
//! of the page typed as it stands there, and what it says one will see looked for.

mod api_outage;
mod devices;
mod disk;
mod keys;
mod live;
mod object_storage;
mod page;
mod person;
mod plugin_trouble;
mod queue_saturation;
mod restore;
mod service;
mod sign_in_anomalies;
mod telemetry;

use std::collections::BTreeSet;

use crate::monitoring;

use self::page::Page;

/// A test for each page: it types all of its commands, in their order.
macro_rules! drills {
    ($($page:literal => $drill:ident,)*) => {
        const PAGES: &[&str] = &[$($page),*];

        $(#[test]
        fn $drill() {
            let mut page = Page::read($page);
            $drill::drill(&mut page);
            page.ends();
        })*
    };
}

drills! {
    "api-outage.md" => api_outage,
    "devices.md" => devices,
    "disk.md" => disk,
    "keys.md" => keys,
    "live.md" => live,
    "object-storage.md" => object_storage,
    "plugin-trouble.md" => plugin_trouble,
    "queue-saturation.md" => queue_saturation,
    "restore.md" => restore,
    "sign-in-anomalies.md" => sign_in_anomalies,
    "telemetry.md" => telemetry,
}

#[test]
fn every_page_has_a_drill() {
    let name = |path: &std::path::PathBuf| path.file_name()?.to_str().map(str::to_owned);
    let pages: BTreeSet<String> = monitoring::runbooks().iter().filter_map(name).collect();
    let drilled = PAGES.iter().copied().chain(["README.md"]);
    assert_eq!(pages, drilled.map(str::to_owned).collect());
}
