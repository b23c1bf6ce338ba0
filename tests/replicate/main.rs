//! Real Dovecots of both versions and all formats, real nodes, `kill -9`: what a client sees on both sides is equal.
//!
//! They need root and the Dovecots that `./check` installs; without them they fail and say so.

mod answers;
mod attributes;
mod bodies;
mod deeds;
mod dovecot_tails;
mod faults;
mod folders;
mod layouts;
mod link;
mod live;
mod names;
mod onto_dovecot;
mod outage;
mod peers;
mod public;
mod repairs;
mod room;
mod rotation;
mod sequences;
mod streams;
mod users;
mod verify;

use std::time::Duration;
use testbed::Result;
use testbed::dovecot::{Format, Version};
use testbed::node::Programs;
use testbed::pair::{Pair, Plan};

fn programs() -> Programs {
    Programs {
        shadowd: env!("CARGO_BIN_EXE_shadowd").into(),
        shadowctl: env!("CARGO_BIN_EXE_shadowctl").into(),
    }
}

/// A pair with two users; the source runs, the nodes don't yet.
fn pair(version: Version, format: Format, standbys: usize) -> Result<Pair> {
    Plan {
        programs: &programs(),
        version,
        format,
        users: 2,
        standbys,
        extra: "",
    }
    .build()
}

/// A pair of one user and one standby, with settings of the source's own.
fn pair_with(programs: &Programs, version: Version, format: Format, extra: &str) -> Result<Pair> {
    Plan {
        programs,
        version,
        format,
        users: 1,
        standbys: 1,
        extra,
    }
    .build()
}

/// No wait between the operations of a load.
const AT_ONCE: Duration = Duration::ZERO;
