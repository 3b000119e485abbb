//! `cargo xtask common-passwords`: the list of passwords that are tried first, from public lists of them.
//!
//! Where those come from stands in `plugins/auth/data/README.md`. The same lists make the same file, byte for byte.

use std::{collections::BTreeSet, fs};

use crate::{Failure, house::House};

/// Where the list stands in the house.
const LIST: &str = "plugins/auth/data/common-passwords.fst";

/// Shorter ones are refused for their length, whatever is configured.
const LENGTH_MIN: usize = 8;

/// Writes the list anew: what stands in any of the files, one password a line.
pub(crate) fn write(house: &House, sources: &[&str]) -> Result<(), Failure> {
    let mut passwords = BTreeSet::new();
    for source in sources {
        let bytes = fs::read(source).map_err(|error| failed(source, &error))?;
        let before = passwords.len();
        passwords.extend(bytes.split(|byte| *byte == b'\n').filter_map(entry));
        println!("{source}: {} more", passwords.len() - before);
    }
    let set = fst::Set::from_iter(&passwords).map_err(|error| failed(LIST, &error))?;
    let bytes = set.as_fst().as_bytes();
    fs::write(house.path(LIST), bytes).map_err(|error| failed(LIST, &error))?;
    println!("{LIST}: {} passwords, {} bytes", set.len(), bytes.len());
    Ok(())
}

/// A line as it is compared: lower case. Those that were broken when they were collected are left out.
fn entry(line: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(line).ok()?.trim_end_matches('\r');
    let is_good = text.chars().count() >= LENGTH_MIN && !text.contains('\u{fffd}');
    is_good.then(|| text.to_lowercase())
}

fn failed(path: &str, error: &impl ToString) -> Failure {
    Failure::File {
        path: path.to_owned(),
        problem: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_lower_case_and_long_enough() {
        for (line, expected) in [
            (&b"PassWord1\r"[..], Some("password1")),
            (b"short", None),
            (b"        ", Some("        ")),
            (b"\xff\xfe\xff\xfe\xff\xfe\xff\xfe", None),
            ("contrase\u{f1}a".as_bytes(), Some("contrase\u{f1}a")),
        ] {
            assert_eq!(entry(line).as_deref(), expected, "{line:?}");
        }
    }
}
