//! The picture on a terminal, drawn anew with each look, key and size, until somebody has seen enough.

use std::{
    io::{self, ErrorKind},
    ops::ControlFlow,
    os::fd::AsFd,
    path::PathBuf,
    time::{Duration, Instant},
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval},
};

use super::{
    digits,
    line::{Line, Part, Tone},
    look::Look,
    screen::Screen,
    text::{self, Size},
    view::{Sort, View},
};
use crate::cli::{CliError, Exit, Output};

/// How long nothing has come before an absence is counted in seconds on the screen.
const CLOCK: Duration = Duration::from_secs(1);

/// Shows the host until `q`, Ctrl-C or a signal that asks for an end.
///
/// # Errors
///
/// `OUTPUT` when the terminal is gone.
pub(super) async fn show(
    output: &Output,
    state_directory: PathBuf,
    first: Look,
    every: Duration,
) -> Result<(), CliError> {
    let Signals {
        mut resized,
        mut ends,
    } = Signals::new().map_err(|error| lost(&error))?;
    let (sender, mut looks) = mpsc::channel(1);
    let mut picture = Picture::new(first, every);
    let mut screen = open().map_err(|error| lost(&error))?;
    let is_paused = picture.is_paused.subscribe();
    tokio::spawn(keep_looking(state_directory, every, is_paused, sender));
    let mut clock = interval(CLOCK);
    loop {
        let lines = picture.lines(screen.size());
        let lines: Vec<String> = lines
            .iter()
            .map(|line| line.paint(|colour, text| output.paint(colour, text)))
            .collect();
        screen.draw(&lines).map_err(|error| lost(&error))?;
        tokio::select! {
            Some(look) = looks.recv() => picture.take(look),
            typed = screen.typed() => {
                let typed = typed.ok_or_else(|| lost(&ErrorKind::UnexpectedEof.into()))?;
                if keys(&typed).try_for_each(|key| picture.press(key)).is_break() {
                    return Ok(());
                }
            }
            _ = resized.recv() => {}
            _ = clock.tick(), if picture.fault.is_some() => {}
            () = ended(&mut ends) => return Ok(()),
        }
    }
}

/// The terminal that this process has.
fn open() -> io::Result<Screen> {
    let keys = io::stdin().as_fd().try_clone_to_owned()?;
    Screen::enter(keys, io::stdout().as_fd().try_clone_to_owned()?)
}

/// Looks again and again, except while that is paused.
async fn keep_looking(
    state_directory: PathBuf,
    every: Duration,
    mut is_paused: watch::Receiver<bool>,
    looks: mpsc::Sender<Result<Look, CliError>>,
) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first one is at once, and the first look has been taken.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        if is_paused.wait_for(|is_paused| !is_paused).await.is_err() {
            return;
        }
        let look = Look::take(&state_directory).await;
        if looks.send(look).await.is_err() {
            return;
        }
    }
}

/// What is on the screen.
struct Picture {
    view: View,
    /// The newest look, with which the next one is compared.
    last: Look,
    /// Why there was none when the last was due.
    fault: Option<String>,
    every: Duration,
    sort: Sort,
    is_paused: watch::Sender<bool>,
}

impl Picture {
    fn new(first: Look, every: Duration) -> Self {
        Self {
            view: View::between(None, &first),
            last: first,
            fault: None,
            every,
            sort: Sort::Requests,
            is_paused: watch::Sender::new(false),
        }
    }

    fn take(&mut self, look: Result<Look, CliError>) {
        match look {
            Ok(look) => {
                self.view = View::between(Some(&self.last), &look);
                self.last = look;
                self.fault = None;
            }
            Err(error) => self.fault = Some(error.message),
        }
    }

    /// Does what a key is for.
    fn press(&mut self, key: Key) -> ControlFlow<()> {
        match key {
            Key::Quit => return ControlFlow::Break(()),
            Key::Sort => self.sort = self.sort.next(),
            Key::Pause => self
                .is_paused
                .send_modify(|is_paused| *is_paused = !*is_paused),
        }
        ControlFlow::Continue(())
    }

    /// The picture and, in the last line, how to change it.
    fn lines(&mut self, size: Size) -> Vec<Line> {
        let height = size.height.saturating_sub(1);
        self.view.sort(self.sort);
        let mut lines = text::lines(&self.view, Size { height, ..size });
        if self.fault.is_some() {
            // It is how things were.
            lines = lines
                .into_iter()
                .map(|line| line.toned(Tone::Faint))
                .collect();
        }
        lines.resize_with(height, Line::default);
        lines.push(self.foot(size.width));
        lines
    }

    fn foot(&self, width: usize) -> Line {
        let mut facts = Vec::new();
        if let Some(fault) = &self.fault {
            let ago = Instant::now().duration_since(self.last.at).as_secs();
            let text = format!("{fault}: waiting for it, last seen {ago} s ago");
            facts.push(vec![Part::new(text, Tone::Bad)]);
        }
        if *self.is_paused.borrow() {
            facts.push(vec![Part::new("paused", Tone::Warning)]);
        }
        let others = [
            "q quit".to_owned(),
            "s sort".to_owned(),
            "p pause".to_owned(),
            format!("sorted by {}", self.sort.name()),
            format!("every {} s", self.every.as_secs()),
            format!("rates of {}", digits::time(self.view.over_s)),
        ];
        facts.extend(others.map(|text| vec![Part::new(text, Tone::Faint)]));
        Line::of_facts(facts, width)
    }
}

/// What a key does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Quit,
    Sort,
    Pause,
}

/// The keys that do something.
fn keys(typed: &[u8]) -> impl Iterator<Item = Key> {
    // What follows an escape is a key of its own, such as an arrow, and comes in one piece with it.
    let typed = typed.iter().take_while(|byte| **byte != 0x1b);
    typed.filter_map(|byte| match byte {
        b'q' | b'Q' | 0x03 => Some(Key::Quit),
        b's' => Some(Key::Sort),
        b'p' | b' ' => Some(Key::Pause),
        _ => None,
    })
}

/// Those that mean something here.
struct Signals {
    resized: Signal,
    ends: [Signal; 3],
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            resized: signal(SignalKind::window_change())?,
            ends: [
                signal(SignalKind::terminate())?,
                signal(SignalKind::interrupt())?,
                signal(SignalKind::hangup())?,
            ],
        })
    }
}

async fn ended(signals: &mut [Signal; 3]) {
    let [terminate, interrupt, hangup] = signals;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = hangup.recv() => {}
    }
}

fn lost(error: &io::Error) -> CliError {
    CliError::new("OUTPUT", Exit::Failed, "cannot draw on the terminal")
        .with_cause(error.to_string())
        .with_help("print what there is once: `nself top --once`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_do_what_the_last_line_says_and_others_do_nothing() {
        let pressed = |typed: &[u8]| keys(typed).collect::<Vec<_>>();
        assert_eq!(pressed(b"xsp "), [Key::Sort, Key::Pause, Key::Pause]);
        assert_eq!(pressed(b"q"), [Key::Quit]);
        assert_eq!(pressed(b"\x03"), [Key::Quit], "Ctrl-C");
        assert_eq!(pressed(b"\x1bOq\x1b[15~"), []);
    }
}
