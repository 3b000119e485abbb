//! Everything in a password that a guesser tries early.

use super::{Kind, guesses, words};

/// A part of a password, from a sign to before another one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Part {
    pub(super) begin: usize,
    pub(super) end: usize,
    pub(super) kind: Kind,
    /// Decimal logarithm.
    pub(super) guesses: f64,
}

/// Fewer signs in a row are no pattern.
const ROW_MIN: usize = 3;

/// Rows of keys, in English and in German.
const KEYS: [&str; 8] = [
    "qwertyuiop",
    "asdfghjkl",
    "zxcvbnm",
    "qwertzuiop\u{fc}",
    "asdfghjkl\u{f6}\u{e4}",
    "yxcvbnm",
    "1qaz2wsx3edc4rfv5tgb",
    "1qay2wsx3edc4rfv5tgb",
];

/// What a guesser pays for the other direction, for capitals at the beginning, for signs in the place of letters.
const TWICE: f64 = std::f64::consts::LOG10_2;

/// As few guesses as any part takes that is more than a sign: it has to be found among others.
const LEAST: f64 = 1.7;

/// Years that people put into passwords lie around this one.
const THIS_YEAR: i32 = 2026;

pub(super) fn all(signs: &[char], own: &[Vec<char>]) -> Vec<Part> {
    let lower: Vec<char> = signs.iter().map(|sign| lower(*sign)).collect();
    let mut found = in_words(signs, &lower, own);
    found.extend(rows(&lower));
    found.extend(sequences(&lower));
    found.extend(dates(&lower));
    found.extend(repetitions(signs, own));
    for part in &mut found {
        part.guesses = part.guesses.max(LEAST);
    }
    found
}

/// One sign for one, so that places stay.
fn lower(sign: char) -> char {
    let mut lower = sign.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(one), None) => one,
        _ => sign,
    }
}

/// Words as they are, backwards, and with signs in the place of letters.
fn in_words(signs: &[char], lower: &[char], own: &[Vec<char>]) -> Vec<Part> {
    let length = lower.len();
    let mut backwards = lower.to_vec();
    backwards.reverse();
    let mut found = Vec::new();
    for one in ['i', 'l'] {
        let spelled: Vec<char> = lower.iter().map(|sign| letter(*sign, one)).collect();
        for begin in 0..length {
            for (count, kind, guesses) in beginning(&spelled[begin..], own) {
                let end = begin + count;
                let is_spelled = spelled[begin..end] != lower[begin..end];
                let guesses = guesses + if is_spelled { TWICE } else { 0.0 };
                found.push((begin, end, kind, guesses));
            }
        }
    }
    for begin in 0..length {
        for (count, kind, guesses) in beginning(&backwards[begin..], own) {
            let end = length - begin;
            found.push((end - count, end, kind, guesses + TWICE));
        }
    }
    let parts = found.into_iter().map(|(begin, end, kind, guesses)| Part {
        begin,
        end,
        kind,
        guesses: guesses + capitals(&signs[begin..end]),
    });
    parts.collect()
}

/// Words that a text begins with: length, kind, guesses.
fn beginning(text: &[char], own: &[Vec<char>]) -> Vec<(usize, Kind, f64)> {
    let listed = words::at_the_beginning(text).into_iter();
    let mine = own.iter().filter(|word| text.starts_with(word));
    listed
        .map(|(count, rank)| (count, Kind::Word, rank))
        .chain(mine.map(|word| (word.len(), Kind::AboutYou, 0.0)))
        .collect()
}

/// What a sign is written in the place of.
const fn letter(sign: char, one: char) -> char {
    match sign {
        '4' | '@' => 'a',
        '8' => 'b',
        '3' => 'e',
        '9' => 'g',
        '1' | '!' | '|' => one,
        '0' => 'o',
        '5' | '$' => 's',
        '7' | '+' => 't',
        other => other,
    }
}

/// What capitals add: nearly nothing where people put them.
fn capitals(signs: &[char]) -> f64 {
    let is_capital = |sign: &char| sign.is_uppercase();
    let count = signs.iter().filter(|sign| is_capital(sign)).count();
    let is_usual = count == 1 && (is_capital(&signs[0]) || signs.last().is_some_and(is_capital));
    match count {
        0 => 0.0,
        _ if is_usual || count == signs.len() => TWICE,
        _ => variations(signs.len(), count.min(signs.len() - count)),
    }
}

/// The logarithm of the ways to choose up to `most` of `all`.
#[expect(clippy::cast_precision_loss, reason = "there are 64 signs at most")]
fn variations(all: usize, most: usize) -> f64 {
    let (mut ways, mut sum) = (1.0, 0.0);
    for chosen in 1..=most {
        ways *= (all + 1 - chosen) as f64 / chosen as f64;
        sum += ways;
    }
    f64::log10(sum.max(2.0))
}

/// Neighbours on a keyboard, in both directions.
fn rows(lower: &[char]) -> Vec<Part> {
    let mut found = Vec::new();
    for row in KEYS {
        let forwards: Vec<char> = row.chars().collect();
        let mut backwards = forwards.clone();
        backwards.reverse();
        for row in [forwards, backwards] {
            for begin in 0..lower.len() {
                let Some(from) = row.iter().position(|key| *key == lower[begin]) else {
                    continue;
                };
                let same = lower[begin..].iter().zip(&row[from..]);
                let count = same.take_while(|(sign, key)| sign == key).count();
                // A key to begin with, a direction, a length.
                found.extend(pattern(begin, count, Kind::Keys, |count| 94.0 * count));
            }
        }
    }
    found
}

/// The pattern and its shorter beginnings, if it is long enough.
#[expect(clippy::cast_precision_loss, reason = "there are 64 signs at most")]
fn pattern(
    begin: usize,
    count: usize,
    kind: Kind,
    guesses: impl Fn(f64) -> f64,
) -> impl Iterator<Item = Part> {
    (ROW_MIN..=count).map(move |count| Part {
        begin,
        end: begin + count,
        kind,
        guesses: guesses(count as f64).log10(),
    })
}

/// Signs that follow from one another by the same step.
fn sequences(lower: &[char]) -> Vec<Part> {
    let numbers: Vec<i64> = lower
        .iter()
        .map(|sign| i64::from(u32::from(*sign)))
        .collect();
    let mut found = Vec::new();
    for begin in 0..numbers.len() {
        let steps = numbers[begin..].windows(2).map(|pair| pair[1] - pair[0]);
        let steps: Vec<i64> = steps.collect();
        let Some(first) = steps.first().filter(|step| (1..=5).contains(&step.abs())) else {
            continue;
        };
        let count = 1 + steps.iter().take_while(|step| *step == first).count();
        let starts = match lower[begin] {
            'a' | 'z' | '0' | '1' | '9' => 4.0,
            digit if digit.is_ascii_digit() => 10.0,
            _ => 26.0,
        };
        let ways = if *first == 1 { 1.0 } else { 2.0 };
        let guesses = move |count: f64| starts * ways * count;
        found.extend(pattern(begin, count, Kind::Sequence, guesses));
    }
    found
}

/// Years, and days of them: 1987, 241299, 24.12.1999.
fn dates(lower: &[char]) -> Vec<Part> {
    let mut found = Vec::new();
    for begin in 0..lower.len() {
        for count in [4, 6, 8, 10] {
            let Some(signs) = lower.get(begin..begin + count) else {
                continue;
            };
            let guesses = match count {
                4 => year(signs),
                10 => is_day_with_marks(signs).then_some(36_500.0 * 4.0),
                _ => is_day(signs).then_some(36_500.0),
            };
            found.extend(guesses.map(|guesses| Part {
                begin,
                end: begin + count,
                kind: Kind::Date,
                guesses: guesses.log10(),
            }));
        }
    }
    found
}

fn number(signs: &[char]) -> Option<i32> {
    let digits: Option<Vec<i32>> = signs
        .iter()
        .map(|sign| {
            sign.to_digit(10)
                .and_then(|digit| i32::try_from(digit).ok())
        })
        .collect();
    Some(
        digits?
            .into_iter()
            .fold(0, |number, digit| number * 10 + digit),
    )
}

fn year(signs: &[char]) -> Option<f64> {
    let year = number(signs)?;
    (1900..2100)
        .contains(&year)
        .then(|| f64::from((year - THIS_YEAR).abs().max(20)))
}

/// Day and month in any order, before or after a year of two or four digits.
fn is_day(signs: &[char]) -> bool {
    let is_day_and_month = |signs: &[char]| {
        let (Some(a), Some(b)) = (number(&signs[..2]), number(&signs[2..4])) else {
            return false;
        };
        (1..=31).contains(&a.max(b)) && (1..=12).contains(&a.min(b))
    };
    let is_year = |signs: &[char]| match signs.len() {
        2 => number(signs).is_some(),
        _ => year(signs).is_some(),
    };
    let (front, back) = signs.split_at(4);
    let (early, late) = signs.split_at(signs.len() - 4);
    is_day_and_month(front) && is_year(back) || is_year(early) && is_day_and_month(late)
}

/// `24.12.1999`, `1999-12-24`.
fn is_day_with_marks(signs: &[char]) -> bool {
    let is_mark = |sign: &char| sign.is_ascii_punctuation() || *sign == ' ';
    let digits: Vec<char> = signs
        .iter()
        .filter(|sign| !is_mark(sign))
        .copied()
        .collect();
    let has_two = [[2, 5], [4, 7]]
        .iter()
        .any(|[a, b]| is_mark(&signs[*a]) && is_mark(&signs[*b]));
    has_two && digits.len() == 8 && is_day(&digits)
}

/// The same again and again: as many guesses as the same takes, and how often it comes.
#[expect(clippy::cast_precision_loss, reason = "there are 64 signs at most")]
fn repetitions(signs: &[char], own: &[Vec<char>]) -> Vec<Part> {
    let length = signs.len();
    let mut found = Vec::new();
    for unit in 1..=length / 2 {
        let is_same = |at: usize| at + unit < length && signs[at] == signs[at + unit];
        let mut begin = 0;
        while begin + unit < length {
            let run = (begin..length).take_while(|at| is_same(*at)).count();
            let times = run / unit + 1;
            let once = &signs[begin..begin + unit];
            if times >= 2 && times * unit >= ROW_MIN && !is_repetition(once) {
                let (guesses, _) = guesses::cheapest(unit, &all(once, own));
                found.push(Part {
                    begin,
                    end: begin + times * unit,
                    kind: Kind::Repetition,
                    guesses: guesses + (times as f64).log10(),
                });
            }
            begin += run + 1;
        }
    }
    found
}

/// Whether it is a repetition itself, which was found with the shorter unit already.
fn is_repetition(signs: &[char]) -> bool {
    let length = signs.len();
    (1..=length / 2)
        .filter(|unit| length.is_multiple_of(*unit))
        .any(|unit| signs[unit..] == signs[..length - unit])
}
