//! The daemon, the same on every node.

fn main() {}
