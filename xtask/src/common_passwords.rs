//! `cargo xtask common-passwords` and `password-words`: the list of passwords that are tried first, and the words that people
//! make passwords of, from public lists.
//!
//! Where those come from stands in `plugins/auth/data/README.md`. The same lists make the same files, byte for byte.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

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

/// Where the words stand in the house.
const WORDS: &str = "plugins/auth/data/password-words.fst";

/// Shorter words cost a guesser no less than their letters.
const WORD_LENGTH_MIN: usize = 3;

/// How many words of each list are taken: what comes later is as rare as chance.
const RANK_MAX: usize = 10_000;

/// Writes the words anew, from lists as the crate zxcvbn has them: `const NAME: &str = "most,next,...";`.
pub(crate) fn write_words(house: &House, source: &str) -> Result<(), Failure> {
    let text = fs::read_to_string(source).map_err(|error| failed(source, &error))?;
    let mut words = BTreeMap::new();
    for list in text.lines().filter_map(list) {
        for (at, word) in list.split(',').take(RANK_MAX).enumerate() {
            if word.chars().count() >= WORD_LENGTH_MIN {
                let steps = words.entry(word).or_insert(u64::MAX);
                *steps = steps_of(at + 1).min(*steps);
            }
        }
    }
    let map = fst::Map::from_iter(words).map_err(|error| failed(WORDS, &error))?;
    let bytes = map.as_fst().as_bytes();
    fs::write(house.path(WORDS), bytes).map_err(|error| failed(WORDS, &error))?;
    println!("{WORDS}: {} words, {} bytes", map.len(), bytes.len());
    Ok(())
}

/// The words of a line that is a list.
fn list(line: &str) -> Option<&str> {
    let (_, list) = line.strip_prefix("const ")?.split_once(": &str = \"")?;
    list.strip_suffix("\";")
}

/// Halves of the binary logarithm of a rank: few different numbers make a small file.
fn steps_of(rank: usize) -> u64 {
    let squared = (rank as u128).pow(2);
    u64::from(squared.ilog2())
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
    fn a_rank_is_told_in_halves_of_its_logarithm() {
        for (rank, steps) in [(1, 0), (2, 2), (3, 3), (4, 4), (1_000, 19), (10_000, 26)] {
            assert_eq!(steps_of(rank), steps, "{rank}");
        }
        assert_eq!(list("const NAMES: &str = \"ada,bob\";"), Some("ada,bob"));
        assert_eq!(list("const OTHER: usize = 3;"), None);
    }

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
