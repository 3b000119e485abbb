//! `nself db seed`

use serde_json::json;

use super::{
    super::{CliError, Context, Table},
    Seed,
    open::{audited, failed, with_database},
};
use crate::{
    migrate::seed::{self, SeedReport},
    run::RunError,
};

/// The seed files, below the project's directory.
const DIRECTORY: &str = "db/seed";

pub(super) fn run(context: &Context, args: &Seed) -> Result<(), CliError> {
    let (config, _) = context.config()?;
    let seeds = seed::read(&config.directory.join(DIRECTORY)).map_err(RunError::from)?;
    // All texts are looked at before the first one runs.
    let checked: Result<Vec<SeedReport>, _> = seeds.iter().map(seed::Seed::check).collect();
    let checked = checked.map_err(failed)?;
    if args.dry_run || seeds.is_empty() {
        return told(context, &checked, args.dry_run);
    }
    let done = with_database(context, &config, async |session| {
        let mut client = session.connect().await?;
        let mut done = Vec::new();
        for seed in &seeds {
            let report = seed.run(&mut client).await.map_err(failed)?;
            audited(session, "db.seeded", json!({"file": report.file})).await?;
            done.push(report);
        }
        Ok(done)
    })?;
    told(context, &done, false)
}

fn told(context: &Context, reports: &[SeedReport], dry_run: bool) -> Result<(), CliError> {
    let answer = json!({"dry_run": dry_run, "seeds": reports});
    context.output.answer(&answer, || {
        let mut table = Table::new(&["SEED", "STATEMENTS", "MS"]);
        for report in reports {
            let took = report.duration_ms.map(|ms| ms.to_string());
            table.row([
                report.file.clone(),
                report.statements.to_string(),
                took.unwrap_or_else(|| "would run".to_owned()),
            ]);
        }
        if table.is_empty() {
            format!("no files in {DIRECTORY}\n")
        } else {
            context.output.table(&table)
        }
    })
}
