//! From when until when a certificate holds.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use crate::der::{GENERALIZED_TIME, INTEGER, SEQUENCE, UTC_TIME, element};

/// The tag of a certificate's version, which the oldest do not have.
const VERSION: u8 = 0xa0;

/// The time for which a certificate holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Its first moment.
    pub from: Timestamp,
    /// Its last.
    pub until: Timestamp,
}

/// How a moment is to a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It does not hold yet.
    Early,
    /// It holds.
    Valid,
    /// It holds no more.
    Expired,
}

impl Validity {
    /// That of a certificate in DER (RFC 5280, 4.1); nothing where it is none.
    pub(super) fn of(certificate: &[u8]) -> Option<Self> {
        let (certificate, _) = element(certificate, SEQUENCE)?;
        let (tbs, _) = element(certificate, SEQUENCE)?;
        let rest = element(tbs, VERSION).map_or(tbs, |(_, rest)| rest);
        let (_serial, rest) = element(rest, INTEGER)?;
        let (_algorithm, rest) = element(rest, SEQUENCE)?;
        let (_issuer, rest) = element(rest, SEQUENCE)?;
        let (validity, _) = element(rest, SEQUENCE)?;
        let (from, rest) = time(validity)?;
        let (until, _) = time(rest)?;
        Some(Self { from, until })
    }

    /// How `now` is to it.
    pub fn at(&self, now: Timestamp) -> Standing {
        if now < self.from {
            Standing::Early
        } else if now > self.until {
            Standing::Expired
        } else {
            Standing::Valid
        }
    }
}

/// The day of a moment, for people.
pub(crate) fn day(moment: Timestamp) -> String {
    moment.to_zoned(TimeZone::UTC).date().to_string()
}

fn time(bytes: &[u8]) -> Option<(Timestamp, &[u8])> {
    if let Some((text, rest)) = element(bytes, UTC_TIME) {
        // It has two digits of the year: those below 50 are of this century (4.1.2.5.1).
        let century = if *text.first()? < b'5' { "20" } else { "19" };
        let text = format!("{century}{}", str::from_utf8(text).ok()?);
        return Some((moment(&text)?, rest));
    }
    let (text, rest) = element(bytes, GENERALIZED_TIME)?;
    Some((moment(str::from_utf8(text).ok()?)?, rest))
}

fn moment(text: &str) -> Option<Timestamp> {
    let moment = DateTime::strptime("%Y%m%d%H%M%SZ", text).ok()?;
    // The last moment of 9999 stands for none, and is beyond what a timestamp can be.
    let moment = moment.to_zoned(TimeZone::UTC);
    Some(moment.map_or(Timestamp::MAX, |zoned| zoned.timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
        let len = u8::try_from(content.len()).expect("a short element");
        [&[tag, len], content].concat()
    }

    /// A certificate as far as it is read.
    fn certificate(version: &[u8], from: (u8, &str), until: (u8, &str)) -> Vec<u8> {
        let times = [from, until].map(|(tag, text)| tagged(tag, text.as_bytes()));
        let tbs = [
            version,
            &tagged(INTEGER, &[7]),
            &tagged(SEQUENCE, &[]),
            &tagged(SEQUENCE, &[]),
            &tagged(SEQUENCE, &times.concat()),
        ];
        tagged(SEQUENCE, &tagged(SEQUENCE, &tbs.concat()))
    }

    #[track_caller]
    fn check(certificate: &[u8], from: &str, until: &str) {
        let validity = Validity::of(certificate).expect("a certificate");
        assert_eq!(
            (validity.from.to_string(), validity.until.to_string()),
            (from.to_owned(), until.to_owned())
        );
    }

    #[test]
    fn both_ways_to_write_a_time_are_read() {
        let version = tagged(VERSION, &tagged(INTEGER, &[2]));
        check(
            &certificate(
                &version,
                (UTC_TIME, "491231235959Z"),
                (GENERALIZED_TIME, "20500101000000Z"),
            ),
            "2049-12-31T23:59:59Z",
            "2050-01-01T00:00:00Z",
        );
        check(
            &certificate(
                &[],
                (UTC_TIME, "500101000000Z"),
                (GENERALIZED_TIME, "99991231235959Z"),
            ),
            "1950-01-01T00:00:00Z",
            &Timestamp::MAX.to_string(),
        );
    }

    #[test]
    fn what_is_no_certificate_has_no_validity() {
        let good = (UTC_TIME, "300101000000Z");
        for bytes in [
            Vec::new(),
            vec![SEQUENCE, 0],
            certificate(&[], good, (UTC_TIME, "301301000000Z")),
            certificate(&[], (INTEGER, "300101000000Z"), good),
        ] {
            assert_eq!(Validity::of(&bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_certificate_holds_from_its_first_moment_to_its_last() {
        let at = |second| Timestamp::from_second(second).expect("a moment");
        let validity = Validity {
            from: at(10),
            until: at(20),
        };
        for (second, expected) in [
            (9, Standing::Early),
            (10, Standing::Valid),
            (20, Standing::Valid),
            (21, Standing::Expired),
        ] {
            assert_eq!(validity.at(at(second)), expected, "{second}");
        }
        assert_eq!(day(at(0)), "1970-01-01");
    }
}
