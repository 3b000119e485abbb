//! Models of how a version of a plugin is exchanged: the host's own code with loom's atomics, in every order in which its threads can
//! meet. Where loom finds one that breaks what is asserted, or in which everybody waits, it says so.

#[path = "../../src/http/generation/admission.rs"]
mod admission;
mod sync;

use loom::{cell::UnsafeCell, future::block_on, model::Builder, sync::Arc, sync::Mutex, thread};

use admission::Admission;

/// A version, and what its requests leave in it: loom sees when the end of the version does not come behind that.
struct Version {
    admission: Admission,
    answered: UnsafeCell<usize>,
}

impl Version {
    fn new() -> Self {
        Self {
            admission: Admission::new(),
            answered: UnsafeCell::new(0),
        }
    }

    /// Whether it lets the request in, and answers it then.
    fn answers(&self) -> bool {
        let is_in = self.admission.enter();
        if is_in {
            self.answered.with_mut(|_| ());
            self.admission.leave();
        }
        is_in
    }

    /// What an exchange does with the version before: closes it, waits, and ends it.
    fn end(&self) {
        self.admission.close();
        block_on(self.admission.emptied());
        assert!(self.admission.is_closed());
        self.answered.with_mut(|_| ());
        assert!(!self.admission.enter(), "it has ended");
    }
}

#[test]
fn a_drain_ends_behind_the_last_request_and_nobody_comes_in_after_it() {
    loom::model(|| {
        let version = Arc::new(Version::new());
        let request = {
            let version = Arc::clone(&version);
            thread::spawn(move || version.answers())
        };
        version.end();
        request.join().expect("it does not panic");
        assert_eq!(version.admission.count(), 0);
    });
}

#[test]
fn a_drain_waits_for_whoever_accompanies_a_request() {
    loom::model(|| {
        let version = Arc::new(Version::new());
        assert!(version.admission.enter());
        let answer = {
            let version = Arc::clone(&version);
            // As the answer's body goes on when the handler has returned.
            thread::spawn(move || {
                version.admission.accompany();
                version.admission.leave();
                version.answered.with_mut(|_| ());
                version.admission.leave();
            })
        };
        version.end();
        answer.join().expect("it does not panic");
    });
}

#[test]
fn everybody_who_waits_for_a_drain_is_woken() {
    bounded().check(|| {
        let version = Arc::new(Version::new());
        assert!(version.admission.enter());
        let waiting = {
            let version = Arc::clone(&version);
            thread::spawn(move || block_on(version.admission.emptied()))
        };
        let request = {
            let version = Arc::clone(&version);
            thread::spawn(move || version.admission.leave())
        };
        block_on(version.admission.emptied());
        waiting.join().expect("it does not panic");
        request.join().expect("it does not panic");
    });
}

/// With more threads, or longer ones, every order takes hours: of those in which a thread is interrupted this often at most it takes
/// seconds.
fn bounded() -> Builder {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    builder
}

/// The versions of a plugin, and which of them the table in force leads to.
struct Plugin {
    versions: [Version; 2],
    table: Mutex<usize>,
}

impl Plugin {
    fn in_force(&self) -> usize {
        *self.table.lock().expect("nobody panics")
    }

    /// As `find` in `host/src/http/path.rs` has it: who meets a version on its way out looks for a newer table.
    fn request(&self) -> usize {
        let mut table = self.in_force();
        loop {
            if self.versions[table].answers() {
                return table;
            }
            let newest = self.in_force();
            assert_ne!(newest, table, "nobody answers");
            table = newest;
        }
    }

    /// As `exchange` in `host/src/plugin/registry/change.rs` has it: the newer version is in force before the older one drains.
    fn exchange(&self) {
        *self.table.lock().expect("nobody panics") = 1;
        self.versions[0].end();
    }
}

#[test]
fn a_request_during_an_exchange_is_answered_by_one_of_both_versions() {
    bounded().check(|| {
        let plugin = Arc::new(Plugin {
            versions: [Version::new(), Version::new()],
            table: Mutex::new(0),
        });
        let request = {
            let plugin = Arc::clone(&plugin);
            thread::spawn(move || [plugin.request(), plugin.request()])
        };
        plugin.exchange();
        let answered = request.join().expect("it does not panic");
        assert!(answered.is_sorted(), "nobody goes back to the older one");
    });
}
