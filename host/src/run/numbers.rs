//! What `/metrics` shows, for whoever asks in the host.

use std::sync::Arc;

use super::services::Seats;
use crate::{
    http::{HttpMetrics, Routes},
    telemetry::Metrics,
};

/// The host's metrics, and what brings them up to date. Cheap to clone.
#[derive(Clone)]
pub(super) struct Numbers {
    metrics: Metrics,
    http: HttpMetrics,
    routes: Arc<Routes>,
}

impl Numbers {
    pub(super) fn of(seats: &Seats) -> Self {
        Self {
            metrics: seats.metrics.clone(),
            http: seats.http_metrics.clone(),
            routes: Arc::clone(seats.gateway.routes()),
        }
    }

    /// All of them.
    pub(super) fn all(&self) -> String {
        self.http.observe(&self.routes.load());
        self.metrics.render()
    }

    /// Those of these families, as [`Metrics::render_only`].
    pub(super) fn only(&self, families: &[String]) -> String {
        self.http.observe(&self.routes.load());
        self.metrics.render_only(families)
    }
}
