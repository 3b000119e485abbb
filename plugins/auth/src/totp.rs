//! Time-based codes (RFC 6238) as authenticator apps make them: SHA-1, six digits, thirty seconds.

use data_encoding::BASE32_NOPAD;
use hmac::{Hmac, KeyInit, Mac as _};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sha1::Sha1;

/// Bytes of a secret: as long as the hash, as RFC 4226 recommends (section 4, R6).
pub(crate) const SECRET_BYTES: u32 = 20;

/// Seconds that a code is shown.
const PERIOD: i64 = 30;

/// How many steps a clock may be ahead or behind.
const DRIFT: i64 = 1;

/// The step whose code was typed, if it is one of those around `now` (seconds since the epoch).
pub(crate) fn step_of(secret: &[u8], typed: &str, now: i64) -> Option<i64> {
    let digits: String = typed
        .chars()
        .filter(|c| !c.is_whitespace())
        .take(7)
        .collect();
    let current = now.div_euclid(PERIOD);
    // The latest first: a code that two steps share is used up for both.
    let mut steps = (current - DRIFT..=current + DRIFT).rev();
    steps.find(|step| is_same(&code(secret, *step), &digits))
}

/// Takes the same time wherever two codes differ.
fn is_same(code: &str, typed: &str) -> bool {
    let differences = code
        .bytes()
        .zip(typed.bytes())
        .fold(0, |all, (a, b)| all | (a ^ b));
    code.len() == typed.len() && differences == 0
}

/// The code of a step (RFC 4226, section 5.3).
pub(crate) fn code(secret: &[u8], step: i64) -> String {
    let mut hmac = Hmac::<Sha1>::new_from_slice(secret).expect("HMAC takes keys of any length");
    hmac.update(&step.to_be_bytes());
    let hash = hmac.finalize().into_bytes();
    let offset = usize::from(hash[19] & 0xf);
    let number = hash[offset..offset + 4]
        .iter()
        .fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    format!("{:06}", (number & 0x7fff_ffff) % 1_000_000)
}

/// As people type it where a camera does not help.
pub(crate) fn base32(secret: &[u8]) -> String {
    BASE32_NOPAD.encode(secret)
}

/// As apps read it from a QR code.
pub(crate) fn url(issuer: &str, account: &str, secret: &[u8]) -> String {
    let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let (issuer, account) = (encoded(issuer), encoded(account));
    format!(
        "otpauth://totp/{issuer}:{account}?secret={}&issuer={issuer}&algorithm=SHA1&digits=6&period={PERIOD}",
        base32(secret)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"12345678901234567890";

    #[test]
    fn the_codes_are_those_of_rfc_6238() {
        // Appendix B, the last six of eight digits.
        for (now, expected) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(code(SECRET, now / PERIOD), expected, "{now}");
        }
    }

    #[test]
    fn a_clock_may_be_one_step_off_and_no_more() {
        let now = 1_111_111_111;
        let current = now / PERIOD;
        for (drift, found) in [(-2, false), (-1, true), (0, true), (1, true), (2, false)] {
            let step = current + drift;
            let expected = found.then_some(step);
            assert_eq!(
                step_of(SECRET, &code(SECRET, step), now),
                expected,
                "{drift}"
            );
        }
    }

    #[test]
    fn what_is_not_the_code_is_no_code() {
        let now = 59;
        assert_eq!(step_of(SECRET, "287 082", now), Some(1));
        for typed in ["", "28708", "2870822", "287083", "28708\u{662}", "x"] {
            assert_eq!(step_of(SECRET, typed, now), None, "{typed}");
        }
    }

    #[test]
    fn an_app_reads_the_address() {
        let url = url("home.example", "ada+x@example.org", SECRET);
        let expected = "otpauth://totp/home%2Eexample:ada%2Bx%40example%2Eorg\
             ?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=home%2Eexample&algorithm=SHA1&digits=6&period=30";
        assert_eq!(url, expected);
    }
}
