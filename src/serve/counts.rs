//! What the front end counts, for the metrics.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

/// Counts of one node's front ends. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Connections now.
    pub connections: Gauge,
    /// Connections refused: too many, in all or from one address.
    pub refused: Counter,
    /// Logins.
    pub logins: Counter,
    /// Logins refused: a wrong name or password, or too many sessions of the user.
    pub logins_failed: Counter,
    /// Connections ended for a bound: time, length of a line or literal, failed logins.
    pub cut_off: Counter,
}
