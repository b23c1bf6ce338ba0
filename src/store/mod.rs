//! Where mail lives. An adapter can be a source (captured) and a target (applied to), whichever the role asks.

pub mod change;
pub mod custody;
pub mod dovecot;
pub mod embedded;
pub mod flat_map;
pub mod holdings;
pub mod source;
pub mod table;
pub mod target;
