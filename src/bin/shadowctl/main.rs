//! The command that talks to the daemon. One file a verb.

mod cert;
mod check;
mod generate;
mod journal;
mod migrate;
mod moving;
mod output;
mod promote;
mod quarantine;
mod repair;
mod retained;
mod roles;
mod status;
mod verify;
mod wait;

use clap::{Parser, Subcommand};
use mailshadow::config::Config;
use output::{Failure, Output};
use std::path::PathBuf;
use std::process::ExitCode;

/// Looks at and steers mailshadow, the running standby for mail servers.
///
/// Exit status: 0 done, 1 failed, 2 usage or configuration, 3 refused because it would not be safe, 4 time ran out.
#[derive(Parser)]
#[command(name = "shadowctl", version, max_term_width = 100)]
struct Args {
    /// The node's configuration
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "MAILSHADOW_CONFIG",
        default_value = "/etc/mailshadow/shadowd.toml"
    )]
    config: PathBuf,
    /// Print one JSON document on standard output, and nothing else there
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Make the private CA and the nodes' certificates (reads no configuration)
    #[command(subcommand)]
    Cert(cert::Cert),
    /// Judge the configuration and the environment; works without a daemon
    ///
    /// Looks at files and rights, the state directory and its room, certificates, the clock, ports, the kernel's limits,
    /// passwords, the mail store and its settings, other agents, the running daemon, and the peers. Each finding says what
    /// it means and what to do. Exit status 1 where one of them is an error.
    Check(check::CheckArgs),
    /// Show this node's groups: role, positions, lag, and whether it could take over
    ///
    /// LSNs count the transactions of a group's stream: captured in the primary's journal, shipped to the standby, durable
    /// on its disk with every body, applied to its store. "-" is what this node can't know.
    Status(status::StatusArgs),
    /// Wait until every standby has applied what the source holds now
    ///
    /// Run it on the primary's node. Exit status 0: every change that the source's log held when it was called, the
    /// initial copy included, has been applied by every standby. 1: some of it was diverted to quarantine or lacks its
    /// body; each is named. 4: time ran out, also because no standby is connected.
    Wait(wait::WaitArgs),
    /// Compare source and copy, mailbox by mailbox
    ///
    /// Run it on the primary's node. Exit status 0: all that was compared is equal. 1: differences, each listed.
    Verify(verify::VerifyArgs),
    /// Read mailboxes at the source anew, list them to the standbys, and say what differed
    ///
    /// Run it on the primary's node. Nothing leaves a copy by it but what the source can attest. Exit status 0: all is
    /// equal now. 1: something differs still; each is listed. With --stream: after a divergence.
    Repair(repair::RepairArgs),
    /// Make this node primary: the old primary is gone
    ///
    /// Run it on a standby's node. Each step is shown as it is done, and what is lost at the end. Exit status 3, and nothing
    /// changed: the primary is alive, more would be lost than --max-loss says, or another epoch came first. Running it again
    /// finishes what was cut off.
    Promote(promote::PromoteArgs),
    /// Make the standby primary as planned: nothing is lost, or nothing changes
    ///
    /// Run it on either node. Clients are kept out of the primary, the standby applies everything, both are compared, and
    /// clients are led to the new primary.
    Switchover(promote::SwitchoverArgs),
    /// Move the whole server to another version, format or store, and back
    ///
    /// The old server is the primary of the group, the new one its standby. docs/migrate-debian-12-to-13.md leads through it.
    #[command(subcommand)]
    Migrate(migrate::Migrate),
    /// Move users, one by one, to the other node
    ///
    /// Run it on the node that has them. Each is kept out for a moment, what is his is applied, both sides are compared, and the
    /// other node writes for him from then on; this one keeps his copy. Going back is the same on the other node. Exit status
    /// 1: somebody was not moved; nothing has changed for him, or running it again goes on.
    Move(moving::MoveArgs),
    /// Make a fenced node a standby again
    ///
    /// Run it on the fenced node. What it holds that the new primary lacks is shown first.
    Rejoin(roles::GroupArgs),
    /// Go on after `pause`; with --alone: a restarted former primary that can reach nobody
    Resume(roles::ResumeArgs),
    /// Maintenance on a standby: what comes is kept, nothing is applied
    Pause(roles::GroupArgs),
    /// Ask whether the group's mail server may open its doors on this node: exit status 0 or 1
    ///
    /// For `ExecCondition=` of the mail server's unit: a rebooted old primary never opens its doors first. 0 on a confirmed
    /// primary and on a standby.
    MayServe(roles::MayServeArgs),
    /// What this copy has not applied, and why: list it, look at it, decide it
    ///
    /// Run it on a standby's node. Nothing that can't be right, or that nobody asked for, is applied by itself.
    #[command(subcommand)]
    Quarantine(quarantine::Quarantine),
    /// What was expunged, deleted or overwritten on this copy and is kept for a time
    ///
    /// Run it on a standby's node. How long it is kept is the group's `retain`.
    #[command(subcommand)]
    Retained(retained::Retained),
    /// Read the stream: what was captured, in order, without message content
    #[command(subcommand)]
    Journal(journal::Journal),
    /// Write man pages and completions into a folder
    #[command(hide = true)]
    Generate(generate::GenerateArgs),
}

fn main() -> ExitCode {
    let args = Args::parse();
    let output = Output::new(args.json);
    let config = || Config::load(&args.config).map_err(|error| Failure::usage(error.to_string()));
    let done = match args.verb {
        Verb::Cert(cert) => cert::run(&cert, &output),
        Verb::Check(check) => check::run(&args.config, &check, &output),
        Verb::Generate(generate) => generate::run(&generate, &output),
        Verb::Status(status) => config().and_then(|config| status::run(&config, status, &output)),
        Verb::Wait(wait) => config().and_then(|config| wait::run(&config, wait, &output)),
        Verb::Verify(verify) => config().and_then(|config| verify::run(&config, verify, &output)),
        Verb::Repair(repair) => config().and_then(|config| repair::run(&config, repair, &output)),
        Verb::Promote(args) => config().and_then(|config| promote::run(&config, args, &output)),
        Verb::Switchover(args) => config().and_then(|config| promote::switch_over(&config, args, &output)),
        Verb::Migrate(verb) => config().and_then(|config| migrate::run(&config, verb, &output)),
        Verb::Move(args) => config().and_then(|config| moving::run(&config, args, &output)),
        Verb::Rejoin(args) => config().and_then(|config| roles::rejoin(&config, args, &output)),
        Verb::Resume(args) => config().and_then(|config| roles::resume(&config, args, &output)),
        Verb::Pause(args) => config().and_then(|config| roles::pause(&config, args, &output)),
        Verb::MayServe(args) => config().and_then(|config| roles::may_serve(&config, &args, &output)),
        Verb::Quarantine(verb) => config().and_then(|config| quarantine::run(&config, verb, &output)),
        Verb::Retained(verb) => config().and_then(|config| retained::run(&config, verb, &output)),
        Verb::Journal(journal) => config().and_then(|config| journal::run(&config, journal, &output)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => output.fail(&failure),
    }
}
