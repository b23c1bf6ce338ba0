//! How people and scripts talk to the daemon: the admin socket (`schema/control.md`), HTTP for metrics, health and the
//! status page.
//!
//! [`status`] and [`report`] are the JSON that `shadowctl --json` prints; [`verbs::Verbs`] is what the node implements;
//! [`server`] and [`client`] carry requests over the socket; [`http`] shows the same to monitoring and browsers.

pub mod about;
pub mod check;
pub mod client;
pub mod event;
pub mod http;
mod lines;
pub mod metrics;
pub mod migration;
pub mod moving;
mod page;
pub mod promotion;
pub mod report;
pub mod roles;
#[cfg(test)]
mod round_trip;
pub mod server;
pub mod status;
pub mod tail;
pub mod verbs;
pub mod vitals;
