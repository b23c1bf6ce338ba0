//! How people and scripts talk to the daemon: the admin socket (`schema/control.md`), HTTP for metrics, health and the
//! status page.
//!
//! [`status`] and [`report`] are the JSON that `shadowctl --json` prints; [`verbs::Verbs`] is what the node implements;
//! [`server`] and [`client`] carry requests over the socket.

pub mod report;
pub mod status;
pub mod verbs;
