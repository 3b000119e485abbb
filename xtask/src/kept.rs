//! Plugins that are kept as they were built, for every later host to load.

use std::{env::consts::ARCH, fs};

use crate::{Failure, house::House, program};

/// The plugins: the smallest one, and the one that does everything that a plugin can.
const KEPT: [&str; 2] = ["hello", "fixture"];

/// Builds them as released, and keeps them under the boundary's number.
///
/// # Errors
///
/// When one of that boundary's is there: what was released does not change. None is written then, nor where one cannot be built.
pub(crate) fn keep(house: &House) -> Result<(), Failure> {
    let abi = house.read("plugin-api/src/abi.rs")?;
    let boundary = format!("{}.{}", number(&abi, "MAJOR")?, number(&abi, "MINOR")?);
    let mut packed = Vec::new();
    for plugin in KEPT {
        let package = format!("nself-plugin-{plugin}");
        let kept = house.path(&format!(
            "plugin-testkit/kept/{plugin}-{boundary}-{ARCH}.so.gz"
        ));
        if kept.exists() {
            let path = kept.display().to_string();
            let problem = "it is there, and what was released does not change".to_owned();
            return Err(Failure::File { path, problem });
        }
        let mut build = house.command("cargo");
        let build = build.args(["build", "--release", "--locked", "-p", &package]);
        program::output(build)?;
        let built = house
            .release_dir()
            .join(format!("lib{}.so", package.replace('-', "_")));
        let mut gzip = house.command("gzip");
        let gzip = gzip.args(["-9", "--no-name", "--stdout"]).arg(built);
        packed.push((kept, program::bytes(gzip)?));
    }
    for (kept, content) in packed {
        fs::write(&kept, content).map_err(|error| Failure::File {
            path: kept.display().to_string(),
            problem: error.to_string(),
        })?;
        println!("kept {}", kept.display());
    }
    Ok(())
}

/// A number of the boundary, as its source says it.
fn number(abi: &str, name: &str) -> Result<u32, Failure> {
    let line = format!("pub const {name}: u32 = ");
    let number = abi.lines().find_map(|text| text.strip_prefix(&line));
    let number = number.and_then(|text| text.trim_end_matches(';').parse().ok());
    number.ok_or_else(|| Failure::File {
        path: "plugin-api/src/abi.rs".to_owned(),
        problem: format!("it does not say {name}"),
    })
}
