//! The certificate that the ports show.

use jiff::{SignedDuration, Timestamp};

use super::{Look, State, checks::Examined};
use crate::{
    acme::{AcmeSettings, Attempts},
    cli::CliError,
    http::tls::{Pair, Standing, TlsError, TlsFiles, Validity, day},
};

/// Renewals are tried a month before the end: one that has so little left was tried in vain.
const DAYS_FEW: i64 = 14;

/// Of shorter lives it is a part: one of so many.
const FEW: i32 = 6;

const RENEW: &str = "renew it where it comes from (certbot: `certbot renew`); the host takes the new files by itself";

pub(super) fn look(examined: &Examined<'_>) -> Look {
    match AcmeSettings::of(&examined.config) {
        Ok(Some(acme)) => return kept(&acme, Timestamp::now()),
        Ok(None) => {}
        Err(error) => return Look::of(&CliError::from(error)),
    }
    let read = || -> Result<_, TlsError> {
        let files = TlsFiles::of(&examined.config)?;
        files.as_ref().map(Pair::read).transpose()
    };
    match read() {
        Ok(Some(pair)) => judge(pair.validity(), Timestamp::now(), RENEW),
        Ok(None) => Look::ok("none: the ports speak plain HTTP"),
        Err(error) => Look::of(&CliError::from(error)),
    }
}

/// One that the host gets by itself.
fn kept(acme: &AcmeSettings, now: Timestamp) -> Look {
    const WAIT: &str = "the host asks for another one by itself while it runs: `nself logs`";
    let last = Attempts::of(acme);
    let fix = last.as_ref().map_or(WAIT, Attempts::problem);
    match (Pair::read(&acme.files()), &last) {
        (Ok(pair), last) => {
            let look = judge(pair.validity(), now, fix);
            match last {
                // It goes on, and not for ever.
                Some(last) if look.state == State::Ok => {
                    let (found, at) = (look.found, last.at());
                    let found =
                        format!("{found}, but another one was asked for in vain, at {at:.0}");
                    Look::warning(found, fix)
                }
                _ => look,
            }
        }
        (Err(error), None) if error.is_absence() => Look::warning("none yet", WAIT),
        (Err(error), Some(last)) if error.is_absence() => {
            let at = last.at();
            Look::failed(
                format!("none yet: the last try, at {at:.0}, came to nothing"),
                fix,
            )
        }
        (Err(error), _) => Look::of(&CliError::from(error)),
    }
}

fn judge(validity: Validity, now: Timestamp, renew: &str) -> Look {
    let (from, until) = (day(validity.from), day(validity.until));
    let life = validity.from.duration_until(validity.until);
    let few = SignedDuration::from_hours(DAYS_FEW * 24).min(life / FEW);
    let soon = now.saturating_add(few);
    match validity.at(now) {
        Standing::Expired => Look::failed(format!("it expired on {until}"), renew),
        Standing::Early => Look::failed(
            format!("it does not hold before {from}"),
            "compare the clock of this machine with another one; if it is right, the certificate is not",
        ),
        Standing::Valid if soon.is_ok_and(|soon| soon > validity.until) => {
            Look::warning(format!("it ends on {until}"), renew)
        }
        Standing::Valid => Look::ok(format!("holds until {until}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let look = judge(validity, at(now), RENEW);
            assert_eq!((look.state, look.found.as_str()), (state, found), "{now}");
            assert_eq!(look.fix.is_some(), state != State::Ok);
        }
    }
}
