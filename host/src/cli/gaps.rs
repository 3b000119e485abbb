//! `nself gaps`: what is planned and not built yet, and whether anything is missing from that list.

mod register;

use std::io::ErrorKind;

use super::{CliError, Context, Exit, Table, plugin};

pub use register::{Fault, Gap, Register, Status};

/// The register that this host was built with.
const BUILT_IN: &str = include_str!("../../../plugin-gaps.md");
/// A project's own register: its rows come on top, one with the same id replaces the host's.
const FILE_NAME: &str = "plugin-gaps.md";

/// Lists the open rows of the register, and checks it.
#[derive(Debug, clap::Args)]
pub struct GapsArgs {
    /// Closed rows too
    #[arg(long)]
    all: bool,
}

/// A capability that an enabled plugin offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// The plugin's id.
    pub plugin: String,
    /// The capability, such as `mail.send/1`.
    pub capability: String,
}

pub(super) fn run(context: &Context, args: &GapsArgs) -> Result<(), CliError> {
    let register = load(context)?;
    let faults = register.check(&offered(context)?);
    if !faults.is_empty() {
        return Err(invalid(&faults));
    }
    let rows: Vec<&Gap> = register
        .gaps
        .iter()
        .filter(|gap| args.all || gap.status == Status::Open)
        .collect();
    context.output.answer(&rows, || {
        let mut table = Table::new(&["GAP", "STATUS", "CAPABILITIES", "WHAT"]);
        for gap in &rows {
            table.row([
                gap.id.clone(),
                gap.status.to_string(),
                gap.capabilities.join(", "),
                gap.title.clone(),
            ]);
        }
        if table.is_empty() {
            "no open gaps\n".to_owned()
        } else {
            context.output.table(&table)
        }
    })
}

/// What the enabled plugins offer, whether they run now or not.
fn offered(context: &Context) -> Result<Vec<Offered>, CliError> {
    let accepted = plugin::accepted(context)?;
    for reason in &accepted.missing {
        context.output.note(&format!("not looked at: {reason}"));
    }
    let enabled = accepted.plugins.iter().filter(|plugin| plugin.enabled);
    let offered = enabled.flat_map(|plugin| {
        let manifest = &plugin.manifest;
        manifest.provides.iter().map(|capability| Offered {
            plugin: manifest.id.clone(),
            capability: capability.clone(),
        })
    });
    Ok(offered.collect())
}

fn load(context: &Context) -> Result<Register, CliError> {
    let mut register = Register::parse("the built-in register", BUILT_IN);
    let path = context.directory()?.join(FILE_NAME);
    match std::fs::read_to_string(&path) {
        Ok(text) => register.add(Register::parse(FILE_NAME, &text)),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => {
            let message = format!("cannot read {}", path.display());
            return Err(
                CliError::new("GAPS_READ", Exit::Failed, message).with_cause(error.to_string())
            );
        }
    }
    Ok(register)
}

fn invalid(faults: &[Fault]) -> CliError {
    let message = match faults {
        [_] => "the register of gaps has a fault".to_owned(),
        several => format!("the register of gaps has {} faults", several.len()),
    };
    let error = CliError::new("GAPS_INVALID", Exit::BadData, message);
    let error = faults
        .iter()
        .fold(error, |error, fault| error.with_cause(fault.to_string()));
    error.with_help("complete the rows in plugin-gaps.md: each has Status, Capabilities, What, Who, Plan and Acceptance, and Why while it is open")
}
