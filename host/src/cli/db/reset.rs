//! `nself db reset`

use serde_json::json;

use super::{
    super::{CliError, Context},
    migrate::apply,
    open::{Owners, audited, failed, with_database},
};
use crate::{
    control::HostLock,
    migrate::{Options, wipe},
};

pub(super) fn run(context: &Context) -> Result<(), CliError> {
    let (config, _) = context.config()?;
    // Held to the end: no host starts on a database that is half gone.
    let _lock = HostLock::take(&config.state_directory())?;
    let owners = Owners::read(context, &config)?;
    let selected = owners.select(None)?;
    with_database(context, &config, async |session| {
        context.confirm(&format!(
            "Drop everything in the database {}?",
            session.target().describe()
        ))?;
        let mut client = session.connect().await?;
        let dropped = wipe(&mut client).await.map_err(failed)?;
        drop(client);
        let report = apply(context, session, &owners, &selected, Options::default()).await?;
        audited(session, "db.reset", json!({"dropped": dropped})).await?;
        let answer = json!({"dropped": dropped, "steps": report.steps});
        context.output.answer(&answer, || {
            format!(
                "dropped {}; applied {} steps\n",
                dropped.join(", "),
                report.steps.len()
            )
        })
    })
}
