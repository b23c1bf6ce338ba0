//! The embedded store: SQLite for what a mailbox holds, packs for bodies.

pub mod view;
