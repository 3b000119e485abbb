//! `/auth/admin/tune`: what a password costs on this machine.

use std::time::Duration;

use nself_plugin_api::{futures_util::future::join_all, prelude::*};
use serde::Serialize;

use crate::{Auth, routes::Private};

/// Hashes one after the other: their middle time is what a single sign-in waits for.
const ALONE: usize = 5;

/// Hashes at once: enough to fill every thread, and far fewer than may wait.
const TOGETHER: usize = 16;

/// More than this, and people notice that they wait.
const SLOW: Duration = Duration::from_millis(500);

/// Fewer than this in a second, and a household that comes home at once waits.
const FEW: f64 = 4.0;

/// What was measured.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Measured {
    /// Milliseconds of one hash, when nothing else is hashed.
    pub hash_ms: f64,
    /// Passwords that this host can check in a second.
    pub hashes_per_second: f64,
    /// What a new hash is made with.
    pub parameters: String,
    /// What to make of it.
    pub advice: &'static str,
}

/// Hashes what is no password. Whoever signs in meanwhile waits in the same queue, as always.
pub(crate) async fn measure(cx: Cx<Auth>) -> Result<Private<Data<Measured>>> {
    let mut times = Vec::with_capacity(ALONE);
    let mut hash = String::new();
    for _ in 0..ALONE {
        let begun = cx.clock().monotonic()?;
        hash = cx.crypto().hash_password("what a password costs").await?;
        times.push(cx.clock().monotonic()?.saturating_sub(begun));
    }
    times.sort_unstable();
    let middle = times[ALONE / 2];
    let begun = cx.clock().monotonic()?;
    let crypto = cx.crypto();
    let together = (0..TOGETHER).map(|_| crypto.hash_password("what a password costs"));
    for hashed in join_all(together).await {
        hashed?;
    }
    let lasted = cx.clock().monotonic()?.saturating_sub(begun);
    let per_second = 16.0 / lasted.as_secs_f64().max(1e-6);
    Ok(Private(Data(Measured {
        hash_ms: tenths(middle.as_secs_f64() * 1_000.0),
        hashes_per_second: tenths(per_second),
        parameters: parameters(&hash),
        advice: advice(middle, per_second),
    })))
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

/// The second to fourth field of a PHC string: algorithm, version, parameters, without salt and hash.
fn parameters(hash: &str) -> String {
    let fields: Vec<&str> = hash.split('$').skip(1).take(3).collect();
    fields.join(" ")
}

fn advice(middle: Duration, per_second: f64) -> &'static str {
    if middle > SLOW {
        "slow: give the host a faster processor, or fewer neighbours; the strength is not lowered, it is the least that is recommended"
    } else if per_second < FEW {
        "few at once: give the host more processors, each pair of them hashes one more password at a time"
    } else {
        "fine as it is"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_tell_neither_salt_nor_hash() {
        let hash = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA";
        assert_eq!(parameters(hash), "argon2id v=19 m=19456,t=2,p=1");
    }

    #[test]
    fn advice_follows_from_what_was_measured() {
        assert_eq!(advice(Duration::from_millis(30), 60.0), "fine as it is");
        assert!(advice(Duration::from_millis(600), 60.0).starts_with("slow"));
        assert!(advice(Duration::from_millis(30), 3.0).starts_with("few"));
    }
}
