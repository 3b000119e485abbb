//! `nself db migrate`

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    super::{CliError, Context, Exit, Table},
    Down, Redo, Status, Up,
    open::{Owners, audited, failed, with_database},
};
use crate::{
    migrate::{
        Direction, Migrator, Options, Owner, Plan, PlannedStep, Progress, Report, State,
        StepReport, StepStatus,
    },
    run::Session,
};

pub(super) fn up(context: &Context, args: &Up) -> Result<(), CliError> {
    let (config, _) = context.config()?;
    let owners = Owners::read(context, &config)?;
    let selected = owners.select(args.owner.as_deref())?;
    let options = Options {
        to: args.number,
        ..Options::default()
    };
    with_database(context, &config, async |session| {
        if args.dry_run {
            let migrator = Migrator::new(session.connect().await?, options);
            let plan = migrator.plan(&selected).await.map_err(failed)?;
            return planned(context, &plan);
        }
        let report = apply(context, session, &owners, &selected, options).await?;
        told(session, "db.migrated", &report).await?;
        done(context, &report)
    })
}

/// Applies the pending steps of `selected`, with what a plugin's login needs before and after.
pub(super) async fn apply(
    context: &Context,
    session: &Session,
    owners: &Owners,
    selected: &[Owner],
    options: Options,
) -> Result<Report, CliError> {
    let plugins = selected
        .iter()
        .filter_map(|owner| owners.manifest(&owner.name));
    let plugins: Vec<_> = plugins.collect();
    let mut client = session.connect().await?;
    for manifest in &plugins {
        session.prepare(&mut client, &manifest.id).await?;
    }
    let mut migrator = shown(context, Migrator::new(client, options));
    let report = migrator.up(selected).await.map_err(failed)?;
    let mut client = migrator.into_client();
    for manifest in &plugins {
        // A step up to a number may leave out what the manifest asks for: the next start grants it.
        if let Err(error) = session
            .grant(&mut client, manifest, &owners.enabled())
            .await
        {
            context
                .output
                .note(&format!("{error}: the next start of the plugin does it"));
        }
    }
    Ok(report)
}

pub(super) fn down(context: &Context, args: &Down) -> Result<(), CliError> {
    let count = usize::try_from(args.count).expect("a computer of at least 32 bits");
    take_back(context, args.owner.as_deref(), args.dry_run, count, false)
}

pub(super) fn redo(context: &Context, args: &Redo) -> Result<(), CliError> {
    take_back(context, args.owner.as_deref(), args.dry_run, 1, true)
}

fn take_back(
    context: &Context,
    owner: Option<&str>,
    dry_run: bool,
    count: usize,
    again: bool,
) -> Result<(), CliError> {
    let (config, _) = context.config()?;
    let owners = Owners::read(context, &config)?;
    let owner = owners
        .select(Some(owner.unwrap_or_else(|| owners.own_default())))?
        .remove(0);
    with_database(context, &config, async |session| {
        let migrator = Migrator::new(session.connect().await?, Options::default());
        let mut plan = migrator.plan_down(&owner, count).await.map_err(failed)?;
        let files: Vec<String> = plan.steps.iter().map(file).collect();
        if again {
            plan.steps
                .extend(plan.steps.clone().into_iter().map(forward));
        }
        if dry_run {
            return planned(context, &plan);
        }
        context.confirm(&format!(
            "Take back {} in {}? What these steps made is lost.",
            files.join(", "),
            session.target().describe()
        ))?;
        let mut migrator = shown(context, migrator);
        let report = if again {
            migrator.redo(&owner).await
        } else {
            migrator.down(&owner, count).await
        };
        let report = report.map_err(failed)?;
        let action = if again {
            "db.migrated_again"
        } else {
            "db.migrated_back"
        };
        told(session, action, &report).await?;
        if again && let Some(manifest) = owners.manifest(&owner.name) {
            // What was made again is granted again: the plugin may be running.
            session
                .grant(&mut session.connect().await?, manifest, &owners.enabled())
                .await?;
        }
        done(context, &report)
    })
}

fn forward(step: PlannedStep) -> PlannedStep {
    PlannedStep {
        direction: Direction::Up,
        ..step
    }
}

pub(super) fn status(context: &Context, args: &Status) -> Result<(), CliError> {
    let (config, _) = context.config()?;
    let owners = Owners::read(context, &config)?;
    let selected = owners.select(args.owner.as_deref())?;
    let steps = with_database(context, &config, async |session| {
        let migrator = Migrator::new(session.connect().await?, Options::default());
        migrator.status(&selected).await.map_err(failed)
    })?;
    context
        .output
        .answer(&steps, || standing(context, &steps))?;
    let count = |states: &[State]| {
        steps
            .iter()
            .filter(|step| states.contains(&step.state))
            .count()
    };
    let pending = count(&[State::Pending, State::Unfinished]);
    let drifted = count(&[State::Edited, State::Unknown]);
    if pending + drifted == 0 {
        return Ok(());
    }
    let message = format!("{pending} steps are pending, {drifted} are not as they were applied");
    let help = if drifted == 0 {
        "apply them: nself db migrate up"
    } else {
        "restore the edited files, or run the version of nself or of the plugin that knows the unknown steps"
    };
    Err(CliError::new("MIGRATIONS_PENDING", Exit::ChangesNeeded, message).with_help(help))
}

/// Shows what goes on, and says what keeps it waiting.
fn shown(context: &Context, migrator: Migrator) -> Migrator {
    let spinner = Arc::new(context.progress("migrating"));
    migrator.on_progress(move |progress| match progress {
        Progress::Waiting { .. } => spinner.set("waiting for another migration run"),
        Progress::Statement {
            owner,
            file,
            number,
            count,
            ..
        } => spinner.set(&format!("{owner}/{file}: statement {number} of {count}")),
        Progress::Retrying { owner, file, .. } => {
            spinner.set(&format!("{owner}/{file}: waiting for a lock"));
        }
        Progress::Done(_) => {}
    })
}

fn planned(context: &Context, plan: &Plan) -> Result<(), CliError> {
    let answer: Value = json!({"dry_run": true, "steps": plan.steps});
    context.output.answer(&answer, || {
        let mut table = Table::new(&["WOULD", "STEP", "STATEMENTS", "TRANSACTION"]);
        for step in &plan.steps {
            table.row([
                verb(step.direction).to_owned(),
                file(step),
                step.statements.to_string(),
                if step.transactional { "yes" } else { "no" }.to_owned(),
            ]);
        }
        text(context, &table)
    })
}

/// Nothing is told of nothing.
async fn told(session: &Session, action: &str, report: &Report) -> Result<(), CliError> {
    let step = |step: &StepReport| format!("{}/{:04}_{}", step.owner, step.number, step.name);
    let steps: Vec<String> = report.steps.iter().map(step).collect();
    if steps.is_empty() {
        return Ok(());
    }
    audited(session, action, json!({"steps": steps})).await
}

fn done(context: &Context, report: &Report) -> Result<(), CliError> {
    context.output.answer(report, || {
        let mut table = Table::new(&["DONE", "STEP", "MS"]);
        for step in &report.steps {
            let StepReport {
                owner,
                number,
                name,
                ..
            } = step;
            table.row([
                verb(step.direction).to_owned(),
                format!("{owner}/{number:04}_{name}"),
                step.duration_ms.to_string(),
            ]);
        }
        text(context, &table)
    })
}

fn text(context: &Context, table: &Table) -> String {
    if table.is_empty() {
        "nothing to do\n".to_owned()
    } else {
        context.output.table(table)
    }
}

fn standing(context: &Context, steps: &[StepStatus]) -> String {
    let mut table = Table::new(&["STATE", "STEP", "APPLIED", "BY"]);
    for step in steps {
        let state = match step.state {
            State::Applied => "applied",
            State::Pending => "pending",
            State::Unfinished => "unfinished",
            State::Edited => "edited",
            State::Unknown => "unknown",
        };
        let at = step.applied_at.map(|at| format!("{at:.0}"));
        table.row([
            state.to_owned(),
            format!("{}/{:04}_{}", step.owner, step.number, step.name),
            at.unwrap_or_default(),
            step.host_version.clone().unwrap_or_default(),
        ]);
    }
    context.output.table(&table)
}

fn verb(direction: Direction) -> &'static str {
    match direction {
        Direction::Up => "apply",
        Direction::Down => "take back",
    }
}

fn file(step: &PlannedStep) -> String {
    format!("{}/{:04}_{}", step.owner, step.number, step.name)
}
