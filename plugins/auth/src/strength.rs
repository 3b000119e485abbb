//! How many guesses a password takes from somebody who knows how people choose them.
//!
//! The method is that of zxcvbn (Wheeler, USENIX Security 2016): everything in the password is found that is tried early
//! (words, their reversed and spelled forms, rows of keys, sequences, repetitions, years), and the cheapest way to put it
//! together from such parts is what it takes. The crate of that name adds 2.9 MB to this library and 8 MB of memory to the
//! host; here the words are a finite-state map that is searched where it lies, and nothing needs regular expressions.
//!
//! It is advice: what is refused is decided in [`crate::password`].

mod found;
mod guesses;
mod words;

use crate::password::Context;

/// Most signs that are looked at: what comes after them makes no password weaker.
const LENGTH_MAX: usize = 64;

/// What a part of a password is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing that is known.
    Unknown,
    /// A word of a list.
    Word,
    /// A word of the account.
    AboutYou,
    /// `abcd`, `9876`.
    Sequence,
    /// `abab`, `1111`.
    Repetition,
    /// Neighbours on a keyboard.
    Keys,
    /// A year or a date.
    Date,
}

/// A password as a guesser sees it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Strength {
    /// Decimal logarithm of the guesses that it takes.
    pub(crate) guesses_log10: f64,
    /// What it is made of.
    pub(crate) parts: Vec<Kind>,
}

impl Strength {
    pub(crate) fn of(password: &str, context: Context<'_>) -> Self {
        let signs: Vec<char> = password.chars().take(LENGTH_MAX).collect();
        let own: Vec<Vec<char>> = context.words().map(|word| word.chars().collect()).collect();
        let found = found::all(&signs, &own);
        let (guesses_log10, parts) = guesses::cheapest(signs.len(), &found);
        Self {
            guesses_log10,
            parts,
        }
    }

    /// 0 to 4, with zxcvbn's limits: below 3 somebody who has stolen the hashes tries it, however slow they are.
    pub(crate) fn score(&self) -> u8 {
        let limits = [3.0, 6.0, 8.0, 10.0];
        let reached = limits.iter().filter(|limit| self.guesses_log10 >= **limit);
        u8::try_from(reached.count()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(password: &str) -> Strength {
        let context = Context {
            email: Some("lovelace@example.org"),
            name: Some("Ada Lovelace"),
        };
        Strength::of(password, context)
    }

    #[track_caller]
    fn check(password: &str, scores: std::ops::RangeInclusive<u8>, kind: Kind) {
        let strength = of(password);
        let score = strength.score();
        assert!(scores.contains(&score), "{password}: {score}, {strength:?}");
        assert!(strength.parts.contains(&kind), "{password}: {strength:?}");
    }

    #[test]
    fn what_people_think_of_first_is_weak() {
        for (password, kind) in [
            ("dragon12", Kind::Word),
            ("Password1", Kind::Word),
            ("p4$$w0rd1", Kind::Word),
            ("nogardnogard", Kind::Repetition),
            ("monkeymonkey", Kind::Repetition),
            ("qwertyuiop", Kind::Word),
            ("hgfdsapoiu", Kind::Keys),
            ("cdefghijklmn", Kind::Sequence),
            ("xxxxxxxxxxxx", Kind::Repetition),
            ("lovelace1", Kind::AboutYou),
            ("ecalevol99", Kind::AboutYou),
            ("summer1987", Kind::Date),
            ("24.12.1999", Kind::Date),
        ] {
            check(password, 0..=2, kind);
        }
    }

    #[test]
    fn words_without_a_reason_and_chance_are_strong() {
        for password in [
            "zwetschgenknoedel",
            "correct horse battery staple",
            "mkvtqzrwpd7h",
            "?Knödel und Mus!",
            "\u{43f}\u{430}\u{440}\u{43e}\u{43b}\u{44c} \u{434}\u{43b}\u{44f}",
        ] {
            let strength = of(password);
            assert!(strength.score() >= 3, "{password}: {strength:?}");
        }
        assert_eq!(of("").score(), 0);
    }

    #[test]
    fn a_long_password_costs_no_more_than_its_beginning() {
        assert_eq!(of(&"k3v".repeat(1_000)), of(&"k3v".repeat(2_000)));
        assert_eq!(of(&"a".repeat(4_000_000)).score(), 0);
    }
}
