//! Speaks to a running Dovecot, of 2.3 or 2.4 and any format, as the deciding side of a dsync session.
//!
//! What it says is a [`Delta`] of one user; what comes back is a [`Report`]. Both are plain values. Everything between them
//! that needs no file, socket or clock is pure: bytes in, bytes out.
//!
//! | module | does |
//! |---|---|
//! | [`delta`] | the values: what to tell, what became of it, what was read |

pub mod delta;

pub use delta::*;
