//! A delay that spreads schedules of the same minute, and is the same on every host: a fire that is computed twice must not move.

use std::time::Duration;

use jiff::Timestamp;

/// How long the fire of a schedule at `nominal` waits: at least nothing, less than `most`, the same for the same fire for ever.
pub fn delay(schedule: u128, nominal: Timestamp, most: Duration) -> Duration {
    let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
    if most == 0 {
        return Duration::ZERO;
    }
    let low = schedule.to_le_bytes();
    let mut mixed = 0;
    for half in low.chunks_exact(8) {
        let half = half
            .iter()
            .rev()
            .fold(0, |all, byte| all << 8 | u64::from(*byte));
        mixed = mix(mixed ^ half);
    }
    mixed = mix(mixed ^ nominal.as_second().cast_unsigned());
    // The high half of a product spreads evenly over [0, most) without the bias of a remainder.
    let share = (u128::from(mixed) * u128::from(most)) >> 64;
    Duration::from_millis(u64::try_from(share).unwrap_or(u64::MAX))
}

/// As [`delay`], but always over before the schedule fires `next`: fires of one schedule keep their order.
pub fn delay_before(
    schedule: u128,
    nominal: Timestamp,
    most: Duration,
    next: Option<Timestamp>,
) -> Duration {
    let room = next.and_then(|next| Duration::try_from(next.duration_since(nominal)).ok());
    delay(schedule, nominal, room.map_or(most, |room| most.min(room)))
}

/// The output function of splitmix64. Not the standard library's hasher: that one may change with a release of Rust, and then two
/// hosts of one fleet would disagree.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a second of our time")
    }

    #[test]
    fn a_delay_never_changes() {
        // Literal, so that a new release that would move the fires of a running fleet is seen here.
        let minute = Duration::from_secs(60);
        assert_eq!(delay(7, at(1_800_000_000), minute).as_millis(), 4_740);
    }

    #[test]
    fn a_delay_is_over_before_the_next_fire() {
        let hour = Duration::from_secs(3_600);
        for minute in 0..100 {
            let (nominal, next) = (at(minute * 60), at(minute * 60 + 60));
            let delay = delay_before(7, nominal, hour, Some(next));
            assert!(delay < Duration::from_secs(60), "{delay:?}");
        }
        assert_eq!(delay_before(7, at(0), hour, None), delay(7, at(0), hour));
    }

    #[test]
    fn no_jitter_is_no_delay() {
        assert_eq!(delay(7, at(0), Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn delays_of_many_schedules_spread_over_the_whole_jitter() {
        let mut tenths = [0; 10];
        for schedule in 0..10_000 {
            let delay = delay(schedule, at(1_800_000_000), Duration::from_secs(10));
            tenths[usize::try_from(delay.as_secs()).expect("below ten")] += 1;
        }
        assert!(
            tenths.iter().all(|count| (900..1_100).contains(count)),
            "{tenths:?}"
        );
    }
}
