//! The certificate that the ports show.

use jiff::{Timestamp, ToSpan as _};

use super::{Look, checks::Examined};
use crate::{
    cli::CliError,
    http::tls::{Pair, Standing, TlsError, TlsFiles, Validity, day},
};

/// Renewals are tried a month before the end: one that has so little left was tried in vain.
const DAYS_FEW: i64 = 14;

const RENEW: &str = "renew it where it comes from (certbot: `certbot renew`); the host takes the new files by itself";

pub(super) fn look(examined: &Examined<'_>) -> Look {
    let read = || -> Result<_, TlsError> {
        let files = TlsFiles::of(&examined.config)?;
        files.as_ref().map(Pair::read).transpose()
    };
    match read() {
        Ok(Some(pair)) => judge(pair.validity(), Timestamp::now()),
        Ok(None) => Look::ok("none: the ports speak plain HTTP"),
        Err(error) => Look::of(&CliError::from(error)),
    }
}

fn judge(validity: Validity, now: Timestamp) -> Look {
    let (from, until) = (day(validity.from), day(validity.until));
    let soon = now.saturating_add((DAYS_FEW * 24).hours());
    match validity.at(now) {
        Standing::Expired => Look::failed(format!("it expired on {until}"), RENEW),
        Standing::Early => Look::failed(
            format!("it does not hold before {from}"),
            "compare the clock of this machine with another one; if it is right, the certificate is not",
        ),
        Standing::Valid if soon.is_ok_and(|soon| soon > validity.until) => {
            Look::warning(format!("it ends on {until}"), RENEW)
        }
        Standing::Valid => Look::ok(format!("holds until {until}")),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::State, *};

    #[test]
    fn a_certificate_that_ends_soon_is_a_warning_and_one_that_does_not_hold_a_failure() {
        let at = |text: &str| text.parse::<Timestamp>().expect("a moment");
        let validity = Validity {
            from: at("2030-01-01T00:00:00Z"),
            until: at("2030-04-01T00:00:00Z"),
        };
        for (now, state, found) in [
            (
                "2029-12-31T23:59:59Z",
                State::Failed,
                "it does not hold before 2030-01-01",
            ),
            ("2030-01-01T00:00:00Z", State::Ok, "holds until 2030-04-01"),
            ("2030-03-18T00:00:00Z", State::Ok, "holds until 2030-04-01"),
            (
                "2030-03-18T00:00:01Z",
                State::Warning,
                "it ends on 2030-04-01",
            ),
            (
                "2030-04-01T00:00:01Z",
                State::Failed,
                "it expired on 2030-04-01",
            ),
        ] {
            let look = judge(validity, at(now));
            assert_eq!((look.state, look.found.as_str()), (state, found), "{now}");
            assert_eq!(look.fix.is_some(), state != State::Ok);
        }
    }
}
