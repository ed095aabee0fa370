//! The settings of a relay.

use std::time::Duration;

use redrive::Backoff;

use super::access::DATABASE_TIMEOUT;
use super::row_result::{Policy, WhenParked};

#[derive(Debug)]
pub(super) struct Settings {
    pub(super) lease: Duration,
    pub(super) rows: usize,
    pub(super) calls: usize,
    pub(super) policy: Policy,
    pub(super) has_send_id: bool,
    pub(super) poll_interval: Duration,
    pub(super) keep_sent: Duration,
    pub(super) drain_timeout: Duration,
    pub(super) database_timeout: Duration,
}

impl Settings {
    /// Returns the database's limit, which leaves time of a short lease for reading rows and writing their results.
    pub(super) fn database_limit(&self) -> Duration {
        self.database_timeout.min(self.lease / 3)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(60),
            rows: 1_000,
            calls: 10,
            policy: Policy {
                backoff: Backoff::exponential(Duration::from_secs(1)..Duration::from_secs(60)),
                park_after: 5,
                when_parked: WhenParked::default(),
            },
            has_send_id: true,
            poll_interval: Duration::from_secs(1),
            keep_sent: Duration::from_secs(3_600),
            // Kubernetes and ECS kill a process 30 s after the signal.
            drain_timeout: Duration::from_secs(25),
            database_timeout: DATABASE_TIMEOUT,
        }
    }
}

/// Whether a relay waits or ends when it has nothing to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WhenIdle {
    Wait,
    End,
}
