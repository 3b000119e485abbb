//! All that the fixture does, it does in a process of its own as well: the tests of this program once more, with every plugin of theirs
//! in one.

use std::{env, process::Command};

/// What differs there.
const DIFFERENT: &[&str] = &[
    // What waits in a stream of the host's is asked for, so nothing of it is there without waiting.
    "a_reader_that_does_not_read_costs_a_bound_and_keeps_nobody_waiting",
    // What a plugin loses without giving it up goes with its process.
    "nothing_is_left_of_sockets_that_panic_nor_of_a_plugin_that_ends",
    // The frames are the host's in either case.
    "autobahn::",
    // This one.
    "isolated::",
];

#[test]
fn the_fixture_does_all_of_it_in_a_process_of_its_own() {
    let this = env::current_exe().expect("a test knows its own file");
    let mut again = Command::new(this);
    for name in DIFFERENT {
        again.args(["--skip", name]);
    }
    let ran = again.env("TESTKIT_ISOLATED", "1").output();
    let ran = ran.expect("a test program can be started");
    let said = String::from_utf8_lossy(&ran.stdout);
    let told = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}\n{told}");
    assert!(said.contains(" passed"), "{said}");
}
