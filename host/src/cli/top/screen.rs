//! The terminal while something is shown on all of it: another screen, no cursor, keys as they are typed. What it was
//! before it is again afterwards, however it ends.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::OwnedFd,
    panic,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, ThreadId},
};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::sync::mpsc;

use super::text::Size;

/// The other screen, no cursor, lines that are cut and not wrapped.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// Around a picture: the first place, and signs at which terminals that know them show it as a whole.
const BEGIN: &str = "\x1b[?2026h\x1b[H";
const END: &str = "\x1b[?2026l";

/// What terminals have that do not say how large they are.
const UNKNOWN: Size = Size {
    width: 80,
    height: 24,
};

/// A terminal that is in use. It is left when this is dropped, and before a panic is told.
pub(super) struct Screen {
    terminal: Arc<Terminal>,
    typed: mpsc::Receiver<Vec<u8>>,
}

struct Terminal {
    keys: OwnedFd,
    screen: File,
    before: Termios,
    is_entered: AtomicBool,
    /// Who draws. What panics elsewhere does not end it.
    thread: ThreadId,
}

impl Terminal {
    fn leave(&self) {
        if self.is_entered.swap(false, Ordering::AcqRel) {
            // Nobody is left to tell when the terminal is gone.
            let _ = (&self.screen).write_all(LEAVE.as_bytes());
            let _ = tcsetattr(&self.keys, OptionalActions::Flush, &self.before);
        }
    }
}

impl Screen {
    /// Takes a terminal: where its keys come from, and where its screen is.
    ///
    /// # Errors
    ///
    /// When it is none, or is gone.
    pub(super) fn enter(keys: OwnedFd, screen: OwnedFd) -> io::Result<Self> {
        let before = tcgetattr(&keys)?;
        let mut raw = before.clone();
        raw.make_raw();
        let reader = File::from(keys.try_clone()?);
        let terminal = Arc::new(Terminal {
            keys,
            screen: File::from(screen),
            before,
            is_entered: AtomicBool::new(true),
            thread: thread::current().id(),
        });
        let (sender, typed) = mpsc::channel(16);
        // From here on what was changed is changed back when something fails.
        let this = Self { terminal, typed };
        tcsetattr(&this.terminal.keys, OptionalActions::Flush, &raw)?;
        (&this.terminal.screen).write_all(ENTER.as_bytes())?;
        // Not a task: nobody waits for it at the end, when it may be in a read for ever. And others who have this terminal
        // open must not find it in non-blocking mode.
        thread::spawn(move || read_keys(reader, &sender));
        let terminal = Arc::downgrade(&this.terminal);
        let tell = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            // What is told on the other screen goes with it.
            let terminal = terminal.upgrade();
            if let Some(terminal) = terminal.filter(|this| this.thread == thread::current().id()) {
                terminal.leave();
            }
            tell(panic);
        }));
        Ok(this)
    }

    /// How large it is now.
    pub(super) fn size(&self) -> Size {
        let size = tcgetwinsize(&self.terminal.screen).ok();
        let size = size.filter(|size| size.ws_col > 0 && size.ws_row > 0);
        size.map_or(UNKNOWN, |size| Size {
            width: size.ws_col.into(),
            height: size.ws_row.into(),
        })
    }

    /// Shows these lines, as many as there is room for, in one piece so that nothing flickers.
    ///
    /// # Errors
    ///
    /// When the terminal is gone.
    pub(super) fn draw(&self, lines: &[String]) -> io::Result<()> {
        // Each is cleared before and not behind it: behind one that is as wide as the screen its last character would go.
        let lines = lines.join("\r\n\x1b[K");
        (&self.terminal.screen).write_all(format!("{BEGIN}\x1b[K{lines}{END}").as_bytes())
    }

    /// Waits for what is typed; none when the terminal is gone.
    pub(super) async fn typed(&mut self) -> Option<Vec<u8>> {
        self.typed.recv().await
    }
}

fn read_keys(mut keys: File, typed: &mpsc::Sender<Vec<u8>>) {
    let mut bytes = [0; 64];
    // Nothing and an error are both the end: nobody has the terminal any more.
    while let Ok(read @ 1..) = keys.read(&mut bytes) {
        if typed.blocking_send(bytes[..read].to_vec()).is_err() {
            return;
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.terminal.leave();
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use rustix::{
        fs::{Mode, OFlags, open},
        pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
        termios::{Winsize, tcsetwinsize},
    };

    use super::*;

    /// A terminal: whoever sits before it, and itself.
    fn terminal() -> (File, OwnedFd) {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&person).expect("it is ours");
        unlockpt(&person).expect("it is ours");
        let name = ptsname(&person, Vec::new()).expect("it has a name");
        let terminal = open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty());
        (File::from(person), terminal.expect("it opens"))
    }

    fn enter(terminal: &OwnedFd) -> io::Result<Screen> {
        Screen::enter(terminal.try_clone()?, terminal.try_clone()?)
    }

    fn modes(terminal: &OwnedFd) -> String {
        format!("{:?}", tcgetattr(terminal).expect("it is a terminal"))
    }

    fn seen(person: &File) -> String {
        let mut bytes = [0; 4096];
        let read = { person }.read(&mut bytes).expect("something was written");
        String::from_utf8_lossy(&bytes[..read]).into_owned()
    }

    #[tokio::test]
    async fn a_terminal_is_drawn_on_and_left_as_it_was() {
        let (person, terminal) = terminal();
        let before = modes(&terminal);
        let mut screen = enter(&terminal).expect("it is a terminal");
        assert_ne!(modes(&terminal), before);
        assert_eq!(screen.size(), UNKNOWN);
        let size = Winsize {
            ws_col: 40,
            ws_row: 10,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&terminal, size).expect("it is a terminal");
        let (width, height) = (40, 10);
        assert_eq!(screen.size(), Size { width, height });
        let lines = ["one", "two"].map(str::to_owned);
        screen.draw(&lines).expect("it is there");
        { &person }.write_all(b"q").expect("it is there");
        assert_eq!(screen.typed().await.as_deref(), Some(&b"q"[..]));
        drop(screen);
        assert_eq!(modes(&terminal), before);
        let drawn = "\x1b[Kone\r\n\x1b[Ktwo";
        assert_eq!(seen(&person), format!("{ENTER}{BEGIN}{drawn}{END}{LEAVE}"));
    }

    #[tokio::test]
    async fn a_panic_is_told_on_a_terminal_that_is_as_it_was() {
        let (person, terminal) = terminal();
        let before = modes(&terminal);
        let (told, was_told) = std::sync::mpsc::channel();
        let (tell, here) = (panic::take_hook(), thread::current().id());
        let kept = terminal.try_clone().expect("it is open");
        panic::set_hook(Box::new(move |panic| {
            if thread::current().id() == here {
                let _ = told.send(modes(&kept));
            }
            tell(panic);
        }));
        let screen = enter(&terminal).expect("it is a terminal");
        assert_ne!(modes(&terminal), before);
        let caught = catch_unwind(AssertUnwindSafe(|| panic!("a test's")));
        assert!(caught.is_err());
        assert_eq!(was_told.recv().expect("it was told"), before);
        assert_eq!(seen(&person), format!("{ENTER}{LEAVE}"));
        drop(screen);
    }

    #[tokio::test]
    async fn what_is_no_terminal_is_refused() {
        let (reader, writer) = io::pipe().expect("a pipe");
        assert!(Screen::enter(reader.into(), writer.into()).is_err());
    }

    #[tokio::test]
    async fn a_terminal_that_is_gone_is_told_of() {
        let (person, terminal) = terminal();
        let mut screen = enter(&terminal).expect("it is a terminal");
        drop(person);
        assert!(screen.draw(&["one".to_owned()]).is_err());
        assert_eq!(screen.typed().await, None);
    }
}
