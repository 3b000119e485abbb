//! How a schedule behaves on the two nights of the year when local time is not a line.
//!
//! The model is Debian's cron. A schedule at **fixed times** (`30 2 * * *`) means "once a day at that time", and keeps to it
//! even when the clock jumps; what it does then is chosen by [`Gap`] and [`Overlap`]. A schedule that is an **interval**
//! (`*/30 * * * *`) means "every so often" and follows real time: all four half hours of a doubled hour, nothing invented in a
//! gap. A cron expression is an interval when its minute or its hour field begins with `*`, a rule of RFC 5545 when its
//! frequency is `HOURLY`, `MINUTELY` or `SECONDLY`.

/// What becomes of a fixed time that does not exist, because clocks were put forward over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Gap {
    /// It fires all the same. A cron expression fires at the first instant after the gap. A rule of RFC 5545 fires where section
    /// 3.3.5 of it puts such a time, as late after the gap as it stands within (02:30 becomes 03:30), so that the server agrees
    /// with the calendars that show the event.
    #[default]
    Run,
    /// It does not fire on that day.
    Skip,
}

/// What becomes of a fixed time that happens twice, because clocks were put back over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overlap {
    /// It fires at the first of the two.
    #[default]
    First,
    /// It fires at both.
    Both,
}

/// How local times become instants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Fixed times: see the module's page.
    Fixed {
        gap: Gap,
        overlap: Overlap,
        landing: Landing,
    },
    /// An interval: whenever the clock on the wall shows a time of the set.
    Interval,
}

/// Where [`Gap::Run`] puts a time that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Landing {
    /// The first instant after the gap.
    Edge,
    /// As late after the gap as the time stands within it: RFC 5545, 3.3.5.
    Shifted,
}
