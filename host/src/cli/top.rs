//! `nself top`: a running host as it works, on a terminal or once as text.
//!
//! A look is one request on the control socket. What `/metrics` counts comes with it, so that nothing is counted for this; a
//! rate is the difference between two looks. The picture is lines of text, which is why there is no library for it: what it
//! takes of a terminal is in `screen`.

mod digits;
mod line;
mod live;
mod look;
mod samples;
mod screen;
mod text;
mod view;

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use self::{
    line::{Line, Part, Tone},
    look::Look,
    text::Size,
    view::{Sort, View},
};
use super::{CliError, Context, Exit};

/// Between two looks, seconds.
const INTERVAL_S: u64 = 2;

/// Watch a running host: requests, sockets, jobs, plugins. `q` ends it
#[derive(Debug, Clone, clap::Args)]
pub(super) struct TopArgs {
    /// Print one look and end, as with --json and where there is no terminal. Rates are since the host's start, or of --interval
    #[arg(long)]
    once: bool,
    /// Seconds between two looks [default: 2]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: Option<u64>,
}

pub(super) fn run(context: &Context, args: &TopArgs) -> Result<(), CliError> {
    let (config, _) = context.config()?;
    let state = config.state_directory();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| CliError::of("INTERNAL", Exit::Failed, &error))?;
    let every = args.interval.map(Duration::from_secs);
    let is_live = !args.once && !context.output.is_json() && is_on_terminal(context);
    runtime.block_on(async {
        let first = Look::take(&state).await?;
        if is_live {
            let every = every.unwrap_or(Duration::from_secs(INTERVAL_S));
            return live::show(&context.output, state, first, every).await;
        }
        let Some(every) = every else {
            return print(context, View::between(None, &first));
        };
        tokio::time::sleep(every).await;
        let second = Look::take(&state).await?;
        print(context, View::between(Some(&first), &second))
    })
}

/// Whether there is one that can be drawn on, and somebody before it.
fn is_on_terminal(context: &Context) -> bool {
    let is_dumb = context
        .variables
        .get("TERM")
        .is_none_or(|term| term == "dumb");
    !is_dumb && io::stdin().is_terminal() && io::stdout().is_terminal()
}

fn print(context: &Context, mut view: View) -> Result<(), CliError> {
    view.sort(Sort::Requests);
    context.output.answer(&view, || {
        let mut lines = text::lines(&view, Size::UNLIMITED);
        let over = format!("(rates of the last {})", digits::time(view.over_s));
        lines.push(Line(vec![Part::new(over, Tone::Faint)]));
        let lines = lines
            .iter()
            .map(|line| line.paint(|colour, text| context.output.paint(colour, text)) + "\n");
        lines.collect()
    })
}
