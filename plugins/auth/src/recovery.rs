//! Recovery codes: ten words of 80 bits that each stand once for the second factor. Only their MACs are stored.

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use nself_plugin_api::prelude::*;
use uuid::Uuid;

use crate::{
    Auth,
    mac::{MacKeys, Purpose},
};

/// How many there are in a set.
const CODES: usize = 10;

/// Bytes of one: too many to be guessed, so they need no slow hash.
const BYTES: usize = 10;

/// A new set: as the person sees the codes, and as they are stored.
pub(crate) fn generate(cx: &Cx<Auth>, user_id: Uuid) -> Result<(Vec<String>, Vec<String>)> {
    let length = u32::try_from(CODES * BYTES).map_err(Error::internal)?;
    let random = cx.crypto().random(length)?;
    let macs = &cx.plugin().keys.macs;
    let newest = macs.newest();
    let codes = random.chunks(BYTES).map(|code| {
        let stored = stored(macs, newest, user_id, code).expect("the newest key is there");
        (grouped(code), stored)
    });
    Ok(codes.unzip())
}

/// What a typed code may be stored as: one text per key that may have made it; none for what is no code at all.
pub(crate) fn candidates(macs: &MacKeys, user_id: Uuid, typed: &str) -> Vec<String> {
    let is_sign = |c: &char| c.is_ascii_alphanumeric();
    // Base32 has neither of these digits, so whoever types one has read the letter that looks like it.
    let letter = |c: char| match c.to_ascii_uppercase() {
        '0' => 'O',
        '1' => 'I',
        other => other,
    };
    let signs: String = typed.chars().filter(is_sign).take(32).map(letter).collect();
    match BASE32_NOPAD.decode(signs.as_bytes()) {
        Ok(code) if code.len() == BYTES => (0..=u8::MAX)
            .filter_map(|key| stored(macs, key, user_id, &code))
            .collect(),
        _ => Vec::new(),
    }
}

/// The person is part of what is authenticated: nobody's code is worth anything to somebody else.
fn stored(macs: &MacKeys, key: u8, user_id: Uuid, code: &[u8]) -> Option<String> {
    let data = [user_id.as_bytes(), code].concat();
    let mac = macs.make(key, Purpose::Recovery, &data)?;
    Some(format!("{key}:{}", HEXLOWER.encode(&mac)))
}

/// Four groups of four: `ABCD-EFGH-IJKL-MNOP`.
fn grouped(code: &[u8]) -> String {
    let signs = BASE32_NOPAD.encode(code);
    let groups: Vec<&str> = (0..signs.len())
        .step_by(4)
        .map(|at| &signs[at..at + 4])
        .collect();
    groups.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_found_however_it_is_typed_and_for_its_owner_only() {
        let macs = MacKeys::new(vec![(1, [1; 32]), (2, [2; 32])]);
        let (ada, bob) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let code = [0x74, 0x5c, 0xe7, 0x39, 0xce, 0x73, 0x9c, 0xe7, 0x39, 0xce];
        let shown = grouped(&code);
        assert_eq!((shown.len(), shown.matches('-').count()), (19, 3));
        let old = stored(&macs, 1, ada, &code).expect("there is a key 1");
        for typed in [shown.clone(), shown.to_lowercase(), shown.replace('-', " ")] {
            let found = candidates(&macs, ada, &typed);
            assert_eq!(found.len(), 2, "one per key");
            assert!(found.contains(&old), "{typed}");
        }
        assert!(!candidates(&macs, bob, &shown).contains(&old));
        for typed in ["", "ABCD", &shown[1..], &format!("{shown}A")] {
            assert!(candidates(&macs, ada, typed).is_empty(), "{typed}");
        }
    }
}
