//! The supervisor: `nself` once more, between the host and what it runs. It holds the directory and the limits, ends the program when the
//! host wants that or is gone, and with the program all that it has started, wherever that has put itself: orphans come to the
//! supervisor. One thread waits for the end of processes, one for the host's word, and the first for both of them.

use std::{
    fs,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::{fs::chown, net::UnixStream, process::CommandExt as _},
    },
    path::Path,
    process::{Command, ExitCode, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{
        Pid, PidfdFlags, Resource, Rlimit, Signal, WaitOptions, getpid, getrlimit, kill_process,
        kill_process_group, pidfd_open, pidfd_send_signal, set_child_subreaper, setrlimit, wait,
    },
    thread::set_no_new_privs,
};
use tempfile::TempDir;

use super::{
    launch,
    plan::{Cage, Containers, Ended, Plan, Report},
};
use crate::loader::inherited;

/// The first word of a supervisor's command line.
pub(super) const WORD: &str = "--nself-supervise";
/// Time between being asked to end and being ended.
pub(super) const GRACE: Duration = Duration::from_secs(2);
/// Time between two looks at what is left.
const ROUND: Duration = Duration::from_millis(20);
/// Looks before what is left is given up: it is bounded by the limits of its processes.
const ROUNDS_MAX: u32 = 500;
/// Address space for each byte of memory: interpreters reserve much more than they use.
const ADDRESSES_PER_BYTE: u64 = 16;
/// An address space that every interpreter starts in.
const ADDRESSES_MIN: u64 = 16 << 30;

enum Event {
    /// The host wants it to end, or is gone.
    Unwanted,
    /// The program has ended.
    Ended(Ended),
    /// Nothing of it is left.
    Childless,
}

/// Supervises what the host says.
pub(super) fn main() -> ExitCode {
    let socket = match io::stdin().as_fd().try_clone_to_owned() {
        Ok(socket) => UnixStream::from(socket),
        Err(_) => return ExitCode::FAILURE,
    };
    let done = supervise(&socket);
    let report = match done {
        Ok(ended) => Report::Ended(ended),
        Err(error) => Report::Failed(error.to_string()),
    };
    // The host may be gone.
    drop(say(&socket, &report));
    ExitCode::SUCCESS
}

fn say(mut socket: &UnixStream, report: &Report) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    socket.write_all(&line)
}

fn supervise(mut socket: &UnixStream) -> io::Result<Ended> {
    inherited::close_in_children()?;
    set_child_subreaper(Some(getpid()))?;
    let plan = Plan::read(&mut socket)?;
    let directory = furnish(&plan)?;
    let (events, happened) = mpsc::channel();
    if let Some(containers) = &plan.containers {
        containers.all(&plan, directory.path(), &["rm", "--force"]);
    }
    let program = begin(&plan, directory.path())?;
    say(socket, &Report::Started)?;
    let listener = socket.try_clone()?;
    let told = events.clone();
    thread::spawn(move || listen(listener, &told));
    thread::spawn(move || reap(program, &events));
    let (ended, is_cut) = attend(program, &happened);
    if let (Some(containers), true) = (&plan.containers, is_cut) {
        containers.all(&plan, directory.path(), &["kill"]);
    }
    // What cannot be removed stays; the program's end is what counts.
    drop(directory.close());
    ended.ok_or_else(|| io::Error::other("it cannot be ended"))
}

/// The directory, and what lies in it.
fn furnish(plan: &Plan) -> io::Result<TempDir> {
    let directory = tempfile::Builder::new()
        .prefix("nself-run-")
        .tempdir_in(&plan.place)?;
    let account = plan.cage.and_then(|cage| cage.account);
    let hand_over = |path: &Path| match account {
        Some((user, group)) => chown(path, Some(user), Some(group)),
        None => Ok(()),
    };
    for (name, text) in &plan.files {
        let path = directory.path().join(name);
        fs::write(&path, text)?;
        hand_over(&path)?;
    }
    hand_over(directory.path())?;
    Ok(directory)
}

/// Starts the program, which runs until it ends or is ended.
fn begin(plan: &Plan, directory: &Path) -> io::Result<Pid> {
    let mut command = launch::command(&plan.words);
    command
        .env_clear()
        .envs(&plan.environment)
        .current_dir(directory)
        .stdin(Stdio::piped());
    if let Some(cage) = &plan.cage {
        cage.close()?;
        command.env("HOME", directory).env("TMPDIR", directory);
        if let Some((user, group)) = cage.account {
            command.uid(user).gid(group);
        }
    }
    // What is given goes before what is made here.
    command.envs(&plan.environment);
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        let text = plan.stdin.clone();
        // A program need not read what it is given.
        thread::spawn(move || drop(stdin.write_all(text.as_bytes())));
    }
    let number = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    number.ok_or_else(|| io::Error::other("a process without a number"))
}

impl Cage {
    /// Holds this process, and with it all that it starts.
    fn close(&self) -> io::Result<()> {
        set_no_new_privs(true)?;
        let addresses = self.memory_bytes.saturating_mul(ADDRESSES_PER_BYTE);
        let user = self
            .account
            .map_or_else(|| rustix::process::getuid().as_raw(), |(user, _)| user);
        for (resource, most) in [
            (Resource::Core, 0),
            (Resource::Cpu, self.cpu_seconds),
            // What is written to counts, which is what takes memory.
            (Resource::Data, self.memory_bytes),
            (Resource::As, addresses.max(ADDRESSES_MIN)),
            (Resource::Fsize, self.file_bytes),
            (Resource::Nofile, self.files),
            // The system counts all of the user's.
            (
                Resource::Nproc,
                self.processes.saturating_add(threads_of(user)),
            ),
        ] {
            // At the first limit of processor time comes a signal that says why, at the second one that nobody can ignore.
            let last = most.saturating_add(u64::from(resource == Resource::Cpu));
            let before = getrlimit(resource).maximum;
            let within = |limit: u64| Some(before.map_or(limit, |before| limit.min(before)));
            let limits = Rlimit {
                current: within(most),
                maximum: within(last),
            };
            setrlimit(resource, limits)?;
        }
        Ok(())
    }
}

/// Threads of a user now.
fn threads_of(user: u32) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let of_user = processes.filter(|entry| {
        let about = entry.metadata();
        number(&entry.file_name()).is_some() && about.is_ok_and(|about| about.uid() == user)
    });
    let threads = of_user.map(|entry| {
        let threads = fs::read_dir(entry.path().join("task"));
        threads.map_or(0, Iterator::count)
    });
    u64::try_from(threads.sum::<usize>()).unwrap_or(u64::MAX)
}

/// Waits for the host: whatever it sends, the end of its words is what is waited for.
fn listen(mut socket: UnixStream, events: &Sender<Event>) {
    let mut word = [0; 64];
    while socket.read(&mut word).is_ok_and(|length| length > 0) {}
    drop(events.send(Event::Unwanted));
}

/// Takes the ends of all children, those that have become this process's included.
fn reap(program: Pid, events: &Sender<Event>) {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((one, status))) if one == program => {
                let ended = Ended {
                    code: status.exit_status(),
                    signal: status.terminating_signal(),
                };
                drop(events.send(Event::Ended(ended)));
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => break,
        }
    }
    drop(events.send(Event::Childless));
}

/// Sees it to its end; how it ended, and whether that was because it was not wanted any more.
fn attend(program: Pid, happened: &Receiver<Event>) -> (Option<Ended>, bool) {
    let (mut ended, mut is_cut, mut rounds) = (None, false, 0);
    let mut patience = None;
    loop {
        let event = match patience {
            None => happened.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(patience) => happened.recv_timeout(patience),
        };
        match event {
            Ok(Event::Unwanted) if ended.is_none() => {
                is_cut = true;
                // It may not have a group yet, and what has ended is no fault.
                let _ = kill_process(program, Signal::TERM);
                let _ = kill_process_group(program, Signal::TERM);
                patience = Some(GRACE);
            }
            Ok(Event::Unwanted) => {}
            Ok(Event::Ended(how)) => {
                ended = Some(how);
                let _ = kill_process_group(program, Signal::KILL);
                kill_children();
                patience = Some(ROUND);
            }
            Ok(Event::Childless) | Err(RecvTimeoutError::Disconnected) => return (ended, is_cut),
            Err(RecvTimeoutError::Timeout) => {
                if ended.is_none() {
                    let _ = kill_process_group(program, Signal::KILL);
                }
                kill_children();
                rounds += 1;
                if rounds > ROUNDS_MAX {
                    return (ended, is_cut);
                }
                patience = Some(ROUND);
            }
        }
    }
}

/// Ends the children of this process. Theirs become children then, for the next round.
fn kill_children() {
    let this = getpid().as_raw_nonzero().get();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = number(&entry.file_name()) else {
            continue;
        };
        if parent_of(pid) != Some(this) {
            continue;
        }
        let Some(child) =
            Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
        else {
            continue;
        };
        // The number may be another's by now: it is held by the descriptor from here on.
        if parent_of(pid) == Some(this) {
            let _ = pidfd_send_signal(&child, Signal::KILL);
        }
    }
}

fn number(name: &std::ffi::OsStr) -> Option<i32> {
    name.to_str()?.parse().ok()
}

fn parent_of(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

impl Containers {
    /// Does something to all that have the label.
    fn all(&self, plan: &Plan, directory: &Path, what: &[&str]) {
        let call = || {
            let mut command = Command::new(&self.program);
            command
                .env_clear()
                .envs(&plan.environment)
                .current_dir(directory)
                .stdin(Stdio::null())
                .stderr(Stdio::null());
            command
        };
        let filter = format!("--filter=label={}", self.label);
        let listed = call().args(["ps", "--all", "--quiet", &filter]).output();
        let listed = listed.map(|listed| listed.stdout).unwrap_or_default();
        let listed = String::from_utf8_lossy(&listed);
        let found: Vec<&str> = listed.split_whitespace().collect();
        if !found.is_empty() {
            // Whoever cannot is told by the program that comes after it.
            drop(call().args(what).args(found).stdout(Stdio::null()).status());
        }
    }
}

/// What the supervisor's standard input is.
pub(super) fn stdin(socket: UnixStream) -> Stdio {
    Stdio::from(OwnedFd::from(socket))
}
