//! What runs when the process crashes. Everything that is called from [`on_signal`] and [`on_exit`] is async-signal-safe: no
//! allocation, no lock, no formatting of std; atomics, memory that never moves, and system calls.

use std::{
    fs::{self, File},
    io, mem, ptr,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{
    super::{AddressRange, open},
    END, FORM, ImageNumber,
    images::{self, Image},
    stack,
    words::Words,
};

/// What ends a process that has done something that it must not, and an abort.
const SIGNALS: [libc::c_int; 5] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGABRT,
];

/// How long a second thread that crashes waits for what the first one writes.
const WAIT: Duration = Duration::from_millis(10);
const WAITS: usize = 100;

/// Longest text of what a plugin was polled for.
const WORK_BYTES_MAX: usize = 160;

/// What the calling thread is polled for.
#[derive(Debug, Clone, Copy)]
pub struct Here {
    /// Whose code.
    pub image: ImageNumber,
    /// A route, a task or whatever else.
    pub work: &'static str,
}

struct Watching {
    file: File,
    /// A child that has not become another program yet writes nothing.
    pid: u32,
    here: fn() -> Option<Here>,
    /// The host's own instructions.
    host: AddressRange,
    /// What the signals did before: std tells of a stack that has overflowed.
    before: [libc::sigaction; SIGNALS.len()],
}

/// What is known of a crash.
#[derive(Clone, Copy)]
struct Culprit {
    image: &'static Image,
    how: &'static str,
    offset: Option<usize>,
    work: Option<&'static str>,
}

static WATCHING: OnceLock<Watching> = OnceLock::new();

/// The first thread that crashes writes, and no other.
static CLAIMED: AtomicBool = AtomicBool::new(false);
static WRITTEN: AtomicBool = AtomicBool::new(false);

/// From now on a crash writes into `file` which plugin it was, or that it was none; `here` says what the calling thread is polled for,
/// from a signal handler. Once per process: later calls change nothing.
///
/// # Errors
///
/// The system's.
pub fn watch(file: File, here: fn() -> Option<Here>) -> io::Result<()> {
    let mut before = [no_action(); SIGNALS.len()];
    for (signal, before) in SIGNALS.iter().zip(&mut before) {
        act(*signal, None, Some(before))?;
    }
    let maps = fs::read_to_string("/proc/self/maps")?;
    let own: extern "C" fn() = on_exit;
    let host = open::mapped_at(&maps, (own as *const ()).addr()).map(|mapped| mapped.code);
    let watching = Watching {
        file,
        pid: std::process::id(),
        here,
        host: host.unwrap_or_default(),
        before,
    };
    if WATCHING.set(watching).is_err() {
        return Ok(());
    }
    let mut action = no_action();
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_signal;
    action.sa_sigaction = handler as usize;
    // The host's threads have another stack for this, made by std: on it a stack that has overflowed can be told of.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    for signal in SIGNALS {
        act(signal, Some(&action), None)?;
    }
    // SAFETY: the function is there until the process ends, and takes nothing.
    let kept = unsafe { libc::atexit(on_exit) };
    if kept != 0 {
        return Err(io::Error::other("no room for another function at the exit"));
    }
    Ok(())
}

/// The default action, without flags and with an empty mask.
fn no_action() -> libc::sigaction {
    // SAFETY: numbers and a function that may be null: zero is a value of each.
    unsafe { mem::zeroed() }
}

/// Sets or asks what a signal does.
fn act(
    signal: libc::c_int,
    new: Option<&libc::sigaction>,
    old: Option<&mut libc::sigaction>,
) -> io::Result<()> {
    let new = new.map_or_else(ptr::null, ptr::from_ref);
    let old = old.map_or_else(ptr::null_mut, ptr::from_mut);
    // SAFETY: each is null or what its reference says, and the handlers that are set here live as long as the process.
    let done = unsafe { libc::sigaction(signal, new, old) };
    if done == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error())
}

extern "C" fn on_signal(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: with SA_SIGINFO the system gives what it says, for the time of this call.
    let info = unsafe { info.as_ref() };
    // SAFETY: as above; the type of the context is that of ucontext_t (sigaction(2)).
    let context = unsafe { context.cast::<libc::ucontext_t>().as_ref() };
    let Some(watching) = WATCHING.get() else {
        return;
    };
    if CLAIMED.swap(true, Ordering::AcqRel) {
        wait();
    } else {
        let culprit = info
            .filter(|info| !is_from_outside(info))
            .zip(context)
            .and_then(|(_, context)| watching.culprit(context));
        watching.write(signal, culprit);
        WRITTEN.store(true, Ordering::Release);
    }
    watching.step_aside(signal, info);
}

/// Called by `exit`. At the end of `main` no plugin is polled and no plugin has started the thread, and nothing is written.
extern "C" fn on_exit() {
    let Some(watching) = WATCHING.get() else {
        return;
    };
    let here = 0_usize;
    let pointer = ptr::from_ref(&here).addr();
    if let Some(culprit) = watching.caller(pointer)
        && !CLAIMED.swap(true, Ordering::AcqRel)
    {
        watching.write(0, Some(culprit));
        WRITTEN.store(true, Ordering::Release);
    }
}

/// The first one has not ended the process yet.
fn wait() {
    for _ in 0..WAITS {
        if WRITTEN.load(Ordering::Acquire) {
            return;
        }
        // It has its own system call, and an interruption only makes it shorter.
        std::thread::sleep(WAIT);
    }
}

/// Whether somebody sent the signal: what a plugin has done wrong comes from the processor, and an abort from the thread itself.
fn is_from_outside(info: &libc::siginfo_t) -> bool {
    if info.si_code > 0 {
        return false;
    }
    // SAFETY: a signal that was sent has this field.
    let sender = unsafe { info.si_pid() };
    info.si_code != libc::SI_TKILL || sender != rustix::process::getpid().as_raw_nonzero().get()
}

impl Watching {
    fn culprit(&self, context: &libc::ucontext_t) -> Option<Culprit> {
        let (instruction, pointer) = registers(context);
        let Some((image, offset)) = images::at(instruction) else {
            return self.caller(pointer);
        };
        // What it was polled for, if it was that plugin which was polled.
        let here = (self.here)().filter(|here| {
            let polled = here.image.image();
            polled.is_some_and(|polled| ptr::eq(polled, image))
        });
        Some(Culprit {
            image,
            how: "address",
            offset: Some(offset),
            work: here.map(|here| here.work),
        })
    }

    /// For whom code runs that is no plugin's.
    fn caller(&self, pointer: usize) -> Option<Culprit> {
        if let Some(here) = (self.here)()
            && let Some(image) = here.image.image()
        {
            return Some(Culprit {
                image,
                how: "call",
                offset: None,
                work: Some(here.work),
            });
        }
        stack::started_by(pointer, &self.host).map(|image| Culprit {
            image,
            how: "thread",
            offset: None,
            work: None,
        })
    }

    fn write(&self, signal: libc::c_int, culprit: Option<Culprit>) {
        if self.pid != std::process::id() {
            return;
        }
        let mut words = Words::new();
        words.text(FORM).text("\n");
        if let Some(culprit) = culprit {
            words.text(culprit.image.identity());
            words.text("how ").text(culprit.how).text("\n");
            if let Some(offset) = culprit.offset {
                let offset = u64::try_from(offset).unwrap_or_default();
                words.text("offset ").number(offset, 16).text("\n");
            }
            if let Some(work) = culprit.work {
                words.text("work ").line_of(work, WORK_BYTES_MAX).text("\n");
            }
        }
        let signal = u64::try_from(signal).unwrap_or_default();
        words.text("signal ").number(signal, 10).text("\n");
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        words
            .text("at ")
            .number(now.map_or(0, |now| now.as_secs()), 10);
        words.text("\n").text(END).text("\n");
        // One call: either all of it is there, or the end is missing. There is nobody to tell of a failure.
        let _ = rustix::io::pwrite(&self.file, words.bytes(), 0);
    }

    /// Lets the signal do what it would have done: the faulting instruction runs again, on the stack and with the registers
    /// that it had. What was sent is sent again, and does it once this handler has returned.
    fn step_aside(&self, signal: libc::c_int, info: Option<&libc::siginfo_t>) {
        // All of them: what std says of a stack that has overflowed ends in an abort, on a small stack that has no room for another
        // call of this. It can only fail for signals that there are not.
        for (one, before) in SIGNALS.iter().zip(&self.before) {
            let _ = act(*one, Some(before), None);
        }
        if info.is_some_and(|info| info.si_code > 0) {
            return;
        }
        let _ = act(signal, Some(&no_action()), None);
        // SAFETY: it takes a number, and may be called from a handler (signal-safety(7)).
        unsafe { libc::raise(signal) };
    }
}

/// Where the thread was: its instruction, and the end of its stack.
#[cfg(target_arch = "x86_64")]
fn registers(context: &libc::ucontext_t) -> (usize, usize) {
    let register = |number: libc::c_int| {
        let number = usize::try_from(number).ok()?;
        let value = context.uc_mcontext.gregs.get(number)?;
        usize::try_from(value.cast_unsigned()).ok()
    };
    (
        register(libc::REG_RIP).unwrap_or_default(),
        register(libc::REG_RSP).unwrap_or_default(),
    )
}

/// Where the thread was: its instruction, and the end of its stack.
#[cfg(target_arch = "aarch64")]
fn registers(context: &libc::ucontext_t) -> (usize, usize) {
    let registers = &context.uc_mcontext;
    (
        usize::try_from(registers.pc).unwrap_or_default(),
        usize::try_from(registers.sp).unwrap_or_default(),
    )
}

/// Not known on this machine: only who is polled is told.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn registers(_: &libc::ucontext_t) -> (usize, usize) {
    (0, 0)
}
