//! Words that people make passwords of, by how often they do.

use fst::raw::{Fst, Output};

/// Words and halves of the binary logarithm of their rank. Where from stands in `data/README.md`.
static WORDS: &[u8] = include_bytes!("../../data/password-words.fst");

/// Decimal logarithm of half a step.
const STEP: f64 = std::f64::consts::LOG10_2 / 2.0;

/// All words that a text begins with: how many signs long, and the decimal logarithm of the rank.
pub(super) fn at_the_beginning(text: &[char]) -> Vec<(usize, f64)> {
    let words = Fst::new(WORDS).expect("the list was written whole");
    let (mut node, mut output) = (words.root(), Output::zero());
    let mut found = Vec::new();
    let mut bytes = [0; 4];
    for (at, sign) in text.iter().enumerate() {
        for byte in sign.encode_utf8(&mut bytes).bytes() {
            let Some(index) = node.find_input(byte) else {
                return found;
            };
            let transition = node.transition(index);
            output = output.cat(transition.out);
            node = words.node(transition.addr);
        }
        if node.is_final() {
            let steps = output.cat(node.final_output()).value();
            let steps = u8::try_from(steps).map_or(f64::MAX, f64::from);
            found.push((at + 1, steps * STEP));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_whole_and_ordered_by_use() {
        let words = Fst::new(WORDS).expect("it reads");
        words.verify().expect("its checksum is right");
        let rank = |word: &str| {
            let signs: Vec<char> = word.chars().collect();
            let found = at_the_beginning(&signs);
            let whole = found.iter().find(|(length, _)| *length == signs.len());
            whole.map(|(_, rank)| *rank)
        };
        let (first, later) = (rank("password"), rank("zebra"));
        assert!(first < later, "{first:?} {later:?}");
        assert_eq!(rank("qzvxk"), None);
        let words = at_the_beginning(&"passwords".chars().collect::<Vec<_>>());
        let lengths: Vec<usize> = words.iter().map(|(length, _)| *length).collect();
        assert!(lengths.contains(&4) && lengths.contains(&8), "{lengths:?}");
    }
}
