//! Connections that are closed for what they said, or did not, in front of everything else.

use std::{
    io,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use prometheus::{IntCounterVec, Opts};
use tracing::{debug, warn};

use super::header::Malformed;

/// Between two lines of a kind at the level that everybody reads: strangers could fill the log.
const LINE_EVERY: Duration = Duration::from_secs(60);

/// Why a connection is closed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// Somebody says for whom he speaks whom nobody has asked.
    #[error("it is not in http.trusted_proxies, and sent a header of the PROXY protocol")]
    Stranger,
    /// One who has to say it does not.
    #[error(
        "it is in http.trusted_proxies, and began without a header of the PROXY protocol: let it send one (HAProxy: send-proxy-v2, nginx: proxy_protocol on), or name only the proxies that do"
    )]
    Absent,
    /// What it says cannot be read.
    #[error("its header of the PROXY protocol cannot be read: {0}")]
    Malformed(Malformed),
    /// It was too slow.
    #[error(
        "it is in http.trusted_proxies, and its header of the PROXY protocol did not come in time"
    )]
    Timeout,
    /// It went away, as who only looks whether a port is open does.
    #[error("it went away")]
    Gone(#[source] io::Error),
}

impl Refusal {
    fn reason(&self) -> Reason {
        match self {
            Self::Stranger => Reason::Stranger,
            Self::Absent => Reason::Absent,
            Self::Malformed(_) => Reason::Malformed,
            Self::Timeout => Reason::Timeout,
            Self::Gone(_) => Reason::Gone,
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::TimedOut => Self::Timeout,
            _ => Self::Gone(error),
        }
    }
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::Absent => Self::Absent,
            other => Self::Malformed(other),
        }
    }
}

/// The kinds, as they are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    Stranger,
    Absent,
    Malformed,
    Timeout,
    Gone,
}

impl Reason {
    const ALL: [Self; 5] = [
        Self::Stranger,
        Self::Absent,
        Self::Malformed,
        Self::Timeout,
        Self::Gone,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Stranger => "stranger",
            Self::Absent => "absent",
            Self::Malformed => "malformed",
            Self::Timeout => "timeout",
            Self::Gone => "gone",
        }
    }
}

/// Counts and tells them.
#[derive(Debug)]
pub(in crate::http) struct Refusals {
    counter: IntCounterVec,
    /// When each kind was told last.
    told: [Mutex<Option<Instant>>; Reason::ALL.len()],
}

impl Refusals {
    /// Counts on this counter, made by [`counter`](Self::counter).
    pub(in crate::http) fn new(counter: IntCounterVec) -> Self {
        Self {
            counter,
            told: Default::default(),
        }
    }

    /// What they are counted on.
    pub(in crate::http) fn counter() -> IntCounterVec {
        let counter = Opts::new(
            "nself_proxy_protocol_refusals_total",
            "Connections that were closed for their header of the PROXY protocol or the want of one, by reason",
        );
        let counter = IntCounterVec::new(counter, &["reason"]).expect("a name and a label");
        for reason in Reason::ALL {
            counter.with_label_values(&[reason.as_str()]);
        }
        counter
    }

    pub(super) fn tell(&self, peer: SocketAddr, refusal: &Refusal) {
        let reason = refusal.reason();
        self.counter.with_label_values(&[reason.as_str()]).inc();
        let why = refusal.to_string();
        let reason = reason.as_str();
        if self.is_due(refusal.reason(), Instant::now()) {
            warn!(%peer, reason, why, "a connection was closed before it began");
        } else {
            debug!(%peer, reason, why, "a connection was closed before it began");
        }
    }

    /// Whether it is worth a line that everybody reads. Balancers open connections only to see whether they can: that is none.
    fn is_due(&self, reason: Reason, now: Instant) -> bool {
        if reason == Reason::Gone {
            return false;
        }
        let mut told = self.told[reason as usize]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let is_due = told.is_none_or(|told| now.duration_since(told) >= LINE_EVERY);
        if is_due {
            *told = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_a_line_once_a_minute() {
        let refusals = Refusals::new(Refusals::counter());
        let start = Instant::now();
        for (seconds, reason, is_due) in [
            (0, Reason::Stranger, true),
            (0, Reason::Absent, true),
            (59, Reason::Stranger, false),
            (60, Reason::Stranger, true),
            (61, Reason::Stranger, false),
            (61, Reason::Gone, false),
        ] {
            let now = start + Duration::from_secs(seconds);
            assert_eq!(refusals.is_due(reason, now), is_due, "{seconds} {reason:?}");
        }
    }
}
