//! Judges the definitions of files: `cargo run -p nself-plugin-orchestrator --example definitions -- FILES`.

use std::{env, fs, process::ExitCode};

use nself_plugin_orchestrator::{
    dsl::{Definition, Format},
    engine::Program,
};

fn main() -> ExitCode {
    let mut bad = 0;
    for file in env::args().skip(1) {
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) => {
                eprintln!("{file}: {error}");
                return ExitCode::FAILURE;
            }
        };
        match Definition::parse(&text, Format::Yaml) {
            Ok(definition) => match Program::compile(&definition) {
                Ok(_) => println!("{file}: good"),
                Err(error) => println!("{file}: cannot run: {error}"),
            },
            Err(faults) => {
                bad += 1;
                for fault in faults {
                    println!("{file}: {fault}");
                }
            }
        }
    }
    if bad == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
