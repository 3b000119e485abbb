//! Numbers for people: as many digits as tell something, and a unit.

/// Three digits, more or less.
pub(super) fn rate(per_s: f64) -> String {
    match per_s {
        none if none <= 0.0 => "0".to_owned(),
        some if some < 0.01 => "<0.01".to_owned(),
        some if some < 1.0 => format!("{some:.2}"),
        some if some < 10.0 => format!("{some:.1}"),
        some if some < 10_000.0 => format!("{some:.0}"),
        some => format!("{:.1}k", some / 1e3),
    }
}

pub(super) fn percent(number: f64) -> String {
    if number < 10.0 {
        format!("{number:.1} %")
    } else {
        format!("{number:.0} %")
    }
}

pub(super) fn ms(number: Option<f64>) -> String {
    match number {
        None => "-".to_owned(),
        Some(ms) if ms < 10.0 => format!("{ms:.1} ms"),
        Some(ms) if ms < 1e4 => format!("{ms:.0} ms"),
        Some(ms) => format!("{:.1} s", ms / 1e3),
    }
}

pub(super) fn bytes(number: f64) -> String {
    const MIB: f64 = 1_048_576.0;
    if number < 1024.0 * MIB {
        format!("{:.1} MiB", number / MIB)
    } else {
        format!("{:.2} GiB", number / MIB / 1024.0)
    }
}

/// To a KiB, up to 4 TiB.
pub(super) fn approximate(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes / 1024).unwrap_or(u32::MAX)) * 1024.0
}

pub(super) fn time(seconds: f64) -> String {
    let (minute, hour, day) = (60.0, 3600.0, 86_400.0);
    let two = |one: f64, name: &str, other: f64, of: &str| {
        format!(
            "{} {name} {} {of}",
            (seconds / one).floor(),
            (seconds % one / other).floor()
        )
    };
    match seconds {
        short if short < minute => format!("{short:.0} s"),
        some if some < hour => two(minute, "min", 1.0, "s"),
        some if some < day => two(hour, "h", minute, "min"),
        _ => two(day, "d", hour, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(shown: &str, expected: &str) {
        assert_eq!(shown, expected);
    }

    #[test]
    fn numbers_have_as_many_digits_as_tell_something() {
        check(&rate(0.0), "0");
        check(&rate(0.001), "<0.01");
        check(&rate(0.25), "0.25");
        check(&rate(4.25), "4.2");
        check(&rate(1234.4), "1234");
        check(&rate(12_345.0), "12.3k");
        check(&ms(Some(12_345.0)), "12.3 s");
        check(&bytes(3.0 * 1_073_741_824.0), "3.00 GiB");
        check(&percent(0.25), "0.2 %");
        check(&time(59.0), "59 s");
        check(&time(61.0), "1 min 1 s");
        check(&time(90_061.0), "1 d 1 h");
    }
}
