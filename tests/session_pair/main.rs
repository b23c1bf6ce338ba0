//! Both shipping machines in one process and in virtual time, under seeded schedules: cuts at every message, crashes that
//! lose what was not fsynced, disks that answer in any order, a slow peer, frames harmed on their way, trimmed journals.
//!
//! A failing schedule prints its seed; `SESSION_SEED=… cargo test --test session_pair one_seed` runs it alone.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test program: a wrong step is to stop it, and it says the seed"
)]

mod divergence;
mod link;
mod primary;
mod random;
mod standby;
mod world;

use world::{Faults, World};

/// Says the seed when a schedule fails.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("SESSION_SEED={}", self.0);
        }
    }
}

fn run(seed: u64, steps: u32, faults: Faults) -> World {
    let named = Named(seed);
    let mut world = World::new(named.0, faults);
    for _ in 0..steps {
        world.step();
    }
    world.settle();
    world
}

/// What the schedules together must have met; a harness that never gets there proves nothing.
#[derive(Debug, Default)]
struct Met {
    bases: u32,
    agains: u32,
    crashes: u32,
    missing: u32,
    ahead: u32,
    runs: u32,
    offers: u32,
    gone: u32,
}

fn meet(seeds: std::ops::Range<u64>, steps: u32, faults: Faults) -> Met {
    let mut met = Met::default();
    for seed in seeds {
        let world = run(seed, steps, faults);
        met.bases += u32::from(world.standby.joined > 0);
        met.agains += u32::from(world.agains > 0);
        met.crashes += world.crashes;
        met.missing += u32::from(world.standby.disk.bodies.values().any(Option::is_none));
        met.ahead += world.ahead;
        met.runs += world.primary.runs;
        met.offers += world.primary.offers_done;
        met.gone += world.standby.gone_answers;
    }
    println!("{met:?}");
    met
}

#[test]
fn any_cut_and_any_order_of_disk_answers_converges() {
    let met = meet(
        0..1_000,
        150,
        Faults {
            crashes: false,
            harm: false,
            trim: false,
        },
    );
    assert!(met.ahead > 0 && met.runs > 0 && met.offers > 0 && met.gone > 0 && met.missing > 0);
}

#[test]
fn a_crash_of_either_side_loses_nothing_that_was_acknowledged() {
    let met = meet(
        10_000..11_000,
        150,
        Faults {
            crashes: true,
            harm: false,
            trim: false,
        },
    );
    assert!(met.crashes > 500 && met.runs > 0);
}

#[test]
fn a_standby_that_lacks_trimmed_frames_joins_at_a_base() {
    let met = meet(
        20_000..20_500,
        200,
        Faults {
            crashes: true,
            harm: false,
            trim: true,
        },
    );
    assert!(met.bases > 50);
}

#[test]
fn a_frame_harmed_on_its_way_is_asked_for_again() {
    let met = meet(
        30_000..30_500,
        150,
        Faults {
            crashes: false,
            harm: true,
            trim: false,
        },
    );
    assert!(met.agains > 20);
}

#[test]
fn one_seed() {
    let Ok(seed) = std::env::var("SESSION_SEED") else {
        return;
    };
    let seed = seed.parse().unwrap();
    let faults = Faults {
        crashes: (10_000..30_000).contains(&seed),
        harm: seed >= 30_000,
        trim: (20_000..30_000).contains(&seed),
    };
    let steps = if (20_000..30_000).contains(&seed) { 200 } else { 150 };
    run(seed, steps, faults);
}
