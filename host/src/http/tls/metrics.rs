//! Numbers of TLS. Where the host speaks none they are not there, so that no alert takes a missing certificate for one that has ended.

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

use super::Validity;

/// Why no conversation came of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// It spoke HTTP without TLS.
    PlainHttp,
    /// It was too slow.
    Timeout,
    /// One side refused what the other offered: versions, protocols, the certificate, or no TLS at all.
    Refused,
    /// It went away.
    Gone,
}

impl Failure {
    const ALL: [Self; 4] = [Self::PlainHttp, Self::Timeout, Self::Refused, Self::Gone];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::PlainHttp => "plain_http",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Gone => "gone",
        }
    }
}

#[derive(Debug)]
pub(super) struct TlsMetrics {
    failures: IntCounterVec,
    until: IntGauge,
    reloaded: IntGauge,
}

impl TlsMetrics {
    pub(super) fn new() -> Self {
        let failures = Opts::new(
            "nself_tls_handshake_failures_total",
            "Connections that did not get through the TLS handshake, by reason",
        );
        let failures = IntCounterVec::new(failures, &["reason"]).expect("a name and a label");
        for failure in Failure::ALL {
            failures.with_label_values(&[failure.as_str()]);
        }
        let until = IntGauge::new(
            "nself_tls_certificate_expiration_timestamp_seconds",
            "When the certificate in use ends, in seconds since 1970",
        );
        let reloaded = IntGauge::new(
            "nself_tls_certificate_last_reload_successful",
            "Whether the files of the certificate could be used when they were last read; 0: the one before is shown",
        );
        let reloaded = reloaded.expect("a name");
        reloaded.set(1);
        Self {
            failures,
            until: until.expect("a name"),
            reloaded,
        }
    }

    pub(super) fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        registry.register(Box::new(self.failures.clone()))?;
        registry.register(Box::new(self.until.clone()))?;
        registry.register(Box::new(self.reloaded.clone()))
    }

    pub(super) fn failed(&self, failure: Failure) {
        self.failures.with_label_values(&[failure.as_str()]).inc();
    }

    pub(super) fn reloaded(&self, is_done: bool) {
        self.reloaded.set(is_done.into());
    }

    pub(super) fn uses(&self, validity: Validity) {
        self.until.set(validity.until.as_second());
    }
}
