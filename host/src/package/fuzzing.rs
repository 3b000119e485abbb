//! A fuzz target: the tape in an archive.

use super::tar;

const BLOCK: usize = 512;
/// Where the sum of a head stands.
const SUM: std::ops::Range<usize> = 148..156;

/// Files lie within the tape, one behind the other, under names that lead nowhere else.
pub(crate) fn archive(data: &[u8]) {
    let mut tape = data.to_vec();
    for block in tape.chunks_exact_mut(BLOCK) {
        mend(block);
    }
    let Ok(entries) = tar::entries(&tape) else {
        return;
    };
    let mut end = 0;
    for entry in entries {
        assert!(end + BLOCK <= entry.content.start);
        end = entry.content.end;
        assert!(end <= tape.len());
        let name = &entry.name;
        assert!(
            !name
                .split('/')
                .any(|part| part.is_empty() || part.starts_with('.'))
        );
        assert!(!name.contains(['\\', ':', '\0']), "{name:?}");
    }
}

/// No sum is right by chance.
fn mend(block: &mut [u8]) {
    if block.iter().any(|byte| *byte != 0) {
        block[SUM].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[SUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}
