//! When to ask. Authorities count: Let's Encrypt lets a name fail five times an hour.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::error::AttemptError;
use crate::http::tls::Validity;

/// What is left of a certificate's life when another one is asked for, as one part of so many.
const LEFT: i32 = 3;
/// Over how much of it hosts that were certified at the same time are spread.
const SPREAD: i32 = 30;

/// The pause after the first failure, and after the first of which the authority has heard nothing; each is twice the one before.
const PAUSE: Duration = Duration::from_secs(5 * 60);
const PAUSE_UNHEARD: Duration = Duration::from_secs(60);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(12 * 60 * 60);
/// The shortest after having asked too often, and the longest that an authority may ask for.
const PAUSE_LIMITED: Duration = Duration::from_secs(60 * 60);
const PAUSE_ASKED_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// When another certificate is asked for. `chance` is from 0 to 1.
pub(super) fn renewal(validity: Validity, chance: f64) -> Timestamp {
    let life = validity.from.duration_until(validity.until);
    let spread = (life / SPREAD).as_secs_f64() * chance;
    let spread = SignedDuration::try_from_secs_f64(spread).unwrap_or_default();
    let due = validity.until.saturating_sub(life / LEFT);
    let due = due.and_then(|due| due.saturating_add(spread));
    due.unwrap_or(validity.until)
}

/// How long to wait after so many failures in a row, the last of which this is. `asked` is what the authority wants.
pub(super) fn pause(
    failures: u32,
    last: &AttemptError,
    asked: Option<Duration>,
    chance: f64,
) -> Duration {
    let first = if last.is_unheard() {
        PAUSE_UNHEARD
    } else {
        PAUSE
    };
    let doublings = failures.saturating_sub(1).min(16);
    let mut pause = first.saturating_mul(1 << doublings).min(PAUSE_MAX);
    if last.is_rate_limit() {
        pause = pause.max(PAUSE_LIMITED);
    }
    pause = pause.max(asked.unwrap_or_default().min(PAUSE_ASKED_MAX));
    // A tenth more at most: hosts that failed together do not come back together.
    pause + pause.mul_f64(chance / 10.0)
}

#[cfg(test)]
mod tests {
    use instant_acme::Problem;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a moment")
    }

    #[test]
    fn another_certificate_is_asked_for_when_a_third_of_its_life_is_left() {
        let validity = Validity {
            from: at("2030-01-01T00:00:00Z"),
            until: at("2030-04-01T00:00:00Z"),
        };
        assert_eq!(renewal(validity, 0.0), at("2030-03-02T00:00:00Z"));
        assert_eq!(renewal(validity, 0.5), at("2030-03-03T12:00:00Z"));
        let for_ever = Validity {
            until: Timestamp::MAX,
            ..validity
        };
        assert!(renewal(for_ever, 1.0) > at("3000-01-01T00:00:00Z"));
    }

    fn refused(kind: &str) -> AttemptError {
        AttemptError::Refused(Problem {
            r#type: Some(format!("urn:ietf:params:acme:error:{kind}")),
            detail: None,
            status: None,
            subproblems: Vec::new(),
        })
    }

    #[test]
    fn pauses_grow_up_to_half_a_day() {
        let minutes = |failures| pause(failures, &AttemptError::Late, None, 0.0).as_secs() / 60;
        let grown = [1, 2, 3, 4, 8, 9, 1000].map(minutes);
        assert_eq!(grown, [5, 10, 20, 40, 640, 720, 720]);
        assert_eq!(pause(1, &AttemptError::Late, None, 1.0).as_secs(), 330);
        let unreachable = AttemptError::Unreachable {
            origin: String::new(),
            reason: String::new(),
        };
        assert_eq!(pause(1, &unreachable, None, 0.0).as_secs(), 60);
    }

    #[test]
    fn an_authority_that_was_asked_too_often_gets_its_rest() {
        let limited = refused("rateLimited");
        assert_eq!(pause(1, &limited, None, 0.0), PAUSE_LIMITED);
        let asked = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(
            pause(1, &limited, asked(86_400), 0.0),
            Duration::from_secs(86_400)
        );
        assert_eq!(pause(1, &limited, asked(u64::MAX), 0.0), PAUSE_ASKED_MAX);
        assert_eq!(pause(1, &refused("serverInternal"), asked(10), 0.0), PAUSE);
    }
}
