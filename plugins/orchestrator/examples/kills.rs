//! Kills hosts at random moments while runs are under way, and judges what became of each of them:
//! `cargo run -p nself-plugin-orchestrator --example kills -- 200 1000` (kills, runs). It takes a while: each kill is a start of a host.

use std::{env, process::ExitCode};

#[path = "../tests/it/faults/kills.rs"]
mod kills;
#[expect(dead_code, reason = "the tests use more of the stage")]
#[path = "../tests/it/stage.rs"]
mod stage;

#[tokio::main]
async fn main() -> ExitCode {
    let numbers: Vec<usize> = env::args()
        .skip(1)
        .filter_map(|word| word.parse().ok())
        .collect();
    let [kills, runs] = numbers[..] else {
        eprintln!("say how many hosts are to be killed, and over how many runs");
        return ExitCode::FAILURE;
    };
    // What is not as it should be panics.
    println!("{:?}", kills::run(kills, runs).await);
    ExitCode::SUCCESS
}
