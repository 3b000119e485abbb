//! Fossil's delta format (fossil-scm.org, "Delta format"), as Centrifugo's clients read it: a text as copies of parts of the one
//! before, and what is new. Only the writing is here; clients apply it.
//!
//! A delta travels as a string of JSON, so it must be text itself: no part begins or ends within a letter.

use std::collections::HashMap;

/// Bytes that are looked for as a whole.
const BLOCK: usize = 16;

const DIGITS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~";

/// What makes `new` out of `old`. It may be longer than `new` is.
pub(crate) fn delta(old: &str, new: &str) -> String {
    let (source, target) = (old.as_bytes(), new.as_bytes());
    let mut places: HashMap<&[u8], usize> = HashMap::new();
    for (number, block) in source.chunks_exact(BLOCK).enumerate() {
        places.entry(block).or_insert(number * BLOCK);
    }
    let mut written = format!("{}\n", number(target.len()));
    // What is written of the target so far, and where a copy is looked for.
    let (mut done, mut at) = (0, 0);
    while let Some(block) = target.get(at..at + BLOCK) {
        let Some(&from) = places.get(block) else {
            at += 1;
            continue;
        };
        let before = target[done..at].iter().rev();
        let back = same(before, source[..from].iter().rev());
        let ahead = same(target[at..].iter(), source[from..].iter());
        let start = (at - back..at + ahead).find(|at| new.is_char_boundary(*at));
        let end = (at - back..=at + ahead)
            .rev()
            .find(|at| new.is_char_boundary(*at));
        let Some((start, end)) = start.zip(end).filter(|(start, end)| start < end) else {
            at += 1;
            continue;
        };
        insert(&mut written, &new[done..start]);
        let offset = from + start - at;
        written.extend([&*number(end - start), "@", &number(offset), ","]);
        (done, at) = (end, end);
    }
    insert(&mut written, &new[done..]);
    written + &format!("{};", number(checksum(target)))
}

/// How many are the same from the first on.
fn same<'a>(one: impl Iterator<Item = &'a u8>, other: impl Iterator<Item = &'a u8>) -> usize {
    one.zip(other)
        .take_while(|(one, other)| one == other)
        .count()
}

fn insert(written: &mut String, text: &str) {
    if !text.is_empty() {
        written.extend([&*number(text.len()), ":", text]);
    }
}

fn number(mut number: usize) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(char::from(DIGITS[number % DIGITS.len()]));
        number /= DIGITS.len();
        if number == 0 {
            break digits.into_iter().rev().collect();
        }
    }
}

/// The sum of the words of four bytes, the last one filled up with zeros.
fn checksum(bytes: &[u8]) -> usize {
    let words = bytes.chunks(4).map(|chunk| {
        let mut word = [0; 4];
        word[..chunk.len()].copy_from_slice(chunk);
        u32::from_be_bytes(word)
    });
    let sum = words.fold(0_u32, u32::wrapping_add);
    usize::try_from(sum).unwrap_or_default()
}

/// As a client does it.
#[cfg(any(test, fuzzing))]
pub(crate) fn apply(old: &str, mut delta: &str) -> String {
    let size = read_number(&mut delta);
    delta = delta.strip_prefix('\n').expect("a line with the size");
    let mut new = Vec::new();
    loop {
        let amount = read_number(&mut delta);
        let (what, rest) = delta.split_at(1);
        delta = rest;
        match what {
            "@" => {
                let offset = read_number(&mut delta);
                delta = delta.strip_prefix(',').expect("the end of a copy");
                new.extend_from_slice(&old.as_bytes()[offset..offset + amount]);
            }
            ":" => {
                let (text, rest) = delta.split_at(amount);
                new.extend_from_slice(text.as_bytes());
                delta = rest;
            }
            ";" => {
                assert_eq!((delta, amount, size), ("", checksum(&new), new.len()));
                return String::from_utf8(new).expect("text");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[cfg(any(test, fuzzing))]
fn read_number(delta: &mut &str) -> usize {
    let digits = delta
        .bytes()
        .take_while(|byte| DIGITS.contains(byte))
        .count();
    let (number, rest) = delta.split_at(digits);
    *delta = rest;
    number.bytes().fold(0, |read, byte| {
        let digit = DIGITS.iter().position(|digit| *digit == byte);
        read * 64 + digit.expect("a digit")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delta_makes_the_new_one_of_the_old_one() {
        let lines = (0..200).map(|n| format!("{{\"n\": {n}, \"text\": \"Grüße, 你好 😀\"}}"));
        let long = lines.collect::<Vec<_>>().concat();
        let turned: String = long.chars().rev().collect();
        let texts = [
            "",
            "{}",
            "\u{1f600}\u{1f600}\u{1f600}\u{1f600}\u{1f600}\u{1f600}",
            "\u{1f601}\u{1f600}\u{1f600}\u{1f600}\u{1f600}\u{1f600}",
            "a\u{1f600}\u{1f600}\u{1f600}\u{1f600}\u{1f600}\u{1f600}b",
            &long,
            &long[3..],
            &turned,
            &long.replace("17", "seventeen"),
            &long.replace('ü', "ö"),
            &"x".repeat(5_000),
            &"xy".repeat(5_000),
        ];
        for old in texts {
            for new in texts {
                assert_eq!(apply(old, &delta(old, new)), new, "{old:.20} {new:.20}");
            }
        }
    }

    #[test]
    fn little_that_changes_is_little_that_is_written() {
        let fields: Vec<_> = (0..500).map(|n| format!("\"field {n}\": {n}, ")).collect();
        let old = fields.concat();
        let new = old.replace("\"field 250\": 250", "\"field 250\": 7") + "\"last\": 1";
        let written = delta(&old, &new);
        assert!(written.len() < 80, "{written}");
        assert_eq!(apply(&old, &written), new);
    }

    #[test]
    fn numbers_and_sums_are_fossil_s() {
        assert_eq!(
            [number(0), number(63), number(64), number(1_023)],
            ["0", "~", "10", "F~"]
        );
        assert_eq!(checksum(b"\x01\x02\x03\x04\x05"), 0x0602_0304);
    }
}
