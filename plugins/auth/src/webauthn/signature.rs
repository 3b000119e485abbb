//! Signatures as authenticators write them, in the form that the host verifies.

use std::borrow::Cow;

use nself_plugin_api::serde_json::Value;

use super::{Refusal, Verify};

/// Bytes of one number of a P-256 signature.
const NUMBER: usize = 32;

/// Checks a signature. That of ES256 comes as ASN.1 DER (section 6.5.5), JOSE has two numbers of fixed length.
pub(super) fn check(
    verify: Verify<'_>,
    jwk: &Value,
    data: &[u8],
    signature: &[u8],
) -> Result<(), Refusal> {
    let signature = if jwk["alg"] == "ES256" {
        Cow::Owned(fixed(signature).ok_or(Refusal::Signature)?)
    } else {
        Cow::Borrowed(signature)
    };
    if verify(jwk, data, &signature) {
        Ok(())
    } else {
        Err(Refusal::Signature)
    }
}

/// `SEQUENCE { r INTEGER, s INTEGER }` as r and s, 32 bytes each.
fn fixed(der: &[u8]) -> Option<Vec<u8>> {
    // Short form only: both numbers with their heads are 70 bytes at most.
    let (&length, content) = der.strip_prefix(&[0x30])?.split_first()?;
    if usize::from(length) != content.len() {
        return None;
    }
    let mut numbers = content;
    let fixed = [number(&mut numbers)?, number(&mut numbers)?].concat();
    numbers.is_empty().then_some(fixed)
}

fn number(der: &mut &[u8]) -> Option<[u8; NUMBER]> {
    let (&length, rest) = der.strip_prefix(&[0x02])?.split_first()?;
    let (number, rest) = rest.split_at_checked(length.into())?;
    *der = rest;
    let digits = match number {
        // A leading zero only says that the number is positive, and may not stand where it says nothing.
        [0, digits @ ..] if digits.first().is_some_and(|first| *first >= 0x80) => digits,
        [] | [0 | 0x80.., ..] => return None,
        digits => digits,
    };
    let mut fixed = [0; NUMBER];
    let start = NUMBER.checked_sub(digits.len())?;
    fixed[start..].copy_from_slice(digits);
    Some(fixed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_numbers_become_sixty_four_bytes() {
        let der = [0x30, 0x08, 0x02, 0x01, 0x05, 0x02, 0x03, 0x00, 0x80, 0x01];
        let fixed = fixed(&der).expect("a signature");
        assert_eq!((fixed.len(), fixed[31]), (64, 5));
        assert_eq!(fixed[62..], [0x80, 0x01]);
    }

    #[test]
    fn what_is_not_der_is_no_signature() {
        for der in [
            &[][..],
            &[0x30],
            &[0x30, 0x00],
            &[0x31, 0x06, 0x02, 0x01, 0x05, 0x02, 0x01, 0x05],
            &[0x30, 0x07, 0x02, 0x01, 0x05, 0x02, 0x01, 0x05],
            &[0x30, 0x06, 0x02, 0x01, 0x05, 0x02, 0x01, 0x05, 0x00],
            &[0x30, 0x07, 0x02, 0x01, 0x05, 0x02, 0x01, 0x05, 0x00],
            // Negative, and with a zero too many.
            &[0x30, 0x06, 0x02, 0x01, 0x85, 0x02, 0x01, 0x05],
            &[0x30, 0x07, 0x02, 0x02, 0x00, 0x05, 0x02, 0x01, 0x05],
            &[0x30, 0x06, 0x02, 0x01, 0x00, 0x02, 0x01, 0x05],
        ] {
            assert_eq!(fixed(der), None, "{der:x?}");
        }
        let long = [
            &[0x30, 0x26, 0x02, 0x21][..],
            &[0x05; 33],
            &[0x02, 0x01, 0x05],
        ]
        .concat();
        assert_eq!(fixed(&long), None);
    }
}
