//! The command that talks to the daemon.

fn main() {}
