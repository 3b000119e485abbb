//! The collector is away, then it says no, then it takes all.

use nself_compose::shell::eventually;

use super::{
    page::{Page, when},
    service::Service,
};
use crate::household::{Household, free_port};

pub(super) fn drill(page: &mut Page) {
    let port = free_port();
    let settings = format!(
        "[telemetry]\nendpoint = \"http://127.0.0.1:{port}\"\nmetric_export_interval_ms = 200\n"
    );
    let household = Household::start(&[], &settings);
    until_dropped(&household, "unreachable");
    assert_eq!(
        household.asks("/readyz", &[]).expect("an answer").status,
        200
    );

    let said = page
        .types(&household, "nself doctor", &[])
        .good("no failure");
    assert!(
        said.contains(&format!("telemetry: http://127.0.0.1:{port} does not")),
        "{said}"
    );
    let warnings = page
        .types(&household, "nself logs --level warn", &[])
        .good("the log");
    let first = warnings.matches("cannot export to the collector").count();
    // Once for each signal, not once for each message.
    assert!((1..=2).contains(&first), "{warnings}");

    let collector = Service::start(port, 403);
    until_dropped(&household, "refused");
    collector.says(200);
    eventually("the log says that it is over", || {
        let log = household.run(&["logs"]).good("the log");
        when(log.contains("exported to the collector again"), log)
    });
    let asked = collector.asked();
    eventually("it is sent what there is", || {
        when(collector.asked() > asked, "nothing".to_owned())
    });
    let said = household.run(&["doctor"]).good("no failure");
    assert!(!said.contains("does not: "), "{said}");
}

fn until_dropped(household: &Household, reason: &str) {
    let series = format!("nself_otlp_dropped_total{{reason=\"{reason}\"");
    eventually(reason, || {
        let dropped = household.metric(&series).unwrap_or_default();
        when(dropped > 0.0, dropped.to_string())
    });
}
