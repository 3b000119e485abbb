//! `nself db seed`

use std::ops::RangeInclusive;

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

/// How many rows a made world can have: fewer would leave families empty, more fill a disk by mistake.
const SIZES: RangeInclusive<u64> = 1_000..=10_000_000;

pub(super) fn run(context: &Context, args: &Seed) -> Result<(), CliError> {
    let (config, _) = context.config()?;
    let seeds = match args.size {
        Some(rows) => vec![seed::Seed::world(rows)],
        None => seed::read(&config.directory.join(DIRECTORY)).map_err(RunError::from)?,
    };
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
        let mut table = Table::new(&["SEED", "STATEMENTS", "ROWS", "MS"]);
        for report in reports {
            let took = report.duration_ms.map(|ms| ms.to_string());
            table.row([
                report.file.clone(),
                report.statements.to_string(),
                report.rows.map(|rows| rows.to_string()).unwrap_or_default(),
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

/// Rows as people write them: `5000`, `100k`, `1m`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1_000),
        None => match text.strip_suffix(['m', 'M']) {
            Some(digits) => (digits, 1_000_000),
            None => (text, 1),
        },
    };
    let rows = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(unit));
    rows.filter(|rows| SIZES.contains(rows)).ok_or_else(|| {
        format!(
            "expected {} to {} rows, such as 100k or 1m",
            SIZES.start(),
            SIZES.end()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<u64>) {
        assert_eq!(size(text).ok(), expected, "{text}");
    }

    #[test]
    fn a_size_is_written_as_people_do() {
        check("5000", Some(5_000));
        check("100k", Some(100_000));
        check("1M", Some(1_000_000));
    }

    #[test]
    fn what_is_no_size_or_beyond_all_measure_is_refused() {
        for text in ["", "k", "-1", "1.5m", "999", "99m", "18446744073709551615k"] {
            check(text, None);
        }
    }
}
