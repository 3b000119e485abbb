//! The cheapest way to put a password together.

use super::{Kind, found::Part};

/// Guesses at one sign of which nothing is known: more are there, people use few.
const SIGN: f64 = 1.0;

/// A guesser tries few parts before many: this much more for each further part.
const NEXT_PART: f64 = 4.0;

/// What the first signs cost with a number of parts, and what the last of those parts is.
#[derive(Clone, Copy)]
struct Step {
    guesses: f64,
    begin: usize,
    kind: Kind,
}

/// The decimal logarithm of the guesses, and the parts that need so few.
#[expect(clippy::cast_precision_loss, reason = "there are 64 signs at most")]
pub(super) fn cheapest(length: usize, found: &[Part]) -> (f64, Vec<Kind>) {
    let nothing = Step {
        guesses: f64::INFINITY,
        begin: 0,
        kind: Kind::Unknown,
    };
    // By the signs that are covered, and by the parts that do.
    let mut best = vec![vec![nothing; length + 1]; length + 1];
    best[0][0].guesses = 0.0;
    for end in 1..=length {
        let unknown = (0..end).map(|begin| Part {
            begin,
            end,
            kind: Kind::Unknown,
            guesses: SIGN * (end - begin) as f64,
        });
        let known = found.iter().filter(|part| part.end == end).copied();
        for part in known.chain(unknown) {
            for count in 0..=part.begin {
                let guesses = best[part.begin][count].guesses + part.guesses;
                if guesses < best[end][count + 1].guesses {
                    best[end][count + 1] = Step {
                        guesses,
                        begin: part.begin,
                        kind: part.kind,
                    };
                }
            }
        }
    }
    let mut orders = 0.0;
    let (mut least, mut parts) = (f64::INFINITY, 0);
    for (count, step) in best[length].iter().enumerate().skip(1) {
        // The parts may stand in any order.
        orders += (count as f64).log10();
        let further = NEXT_PART * (count - 1) as f64;
        let guesses = sum(step.guesses + orders, further);
        if guesses < least {
            (least, parts) = (guesses, count);
        }
    }
    let mut kinds = Vec::with_capacity(parts);
    let mut end = length;
    for count in (1..=parts).rev() {
        let step = best[end][count];
        kinds.push(step.kind);
        end = step.begin;
    }
    kinds.reverse();
    (if length == 0 { 0.0 } else { least }, kinds)
}

/// The logarithm of a sum of two numbers that are given by theirs.
fn sum(a: f64, b: f64) -> f64 {
    let (more, less) = (a.max(b), a.min(b));
    if more.is_infinite() {
        more
    } else {
        more + 10f64.powf(less - more).ln_1p() * std::f64::consts::LOG10_E
    }
}
