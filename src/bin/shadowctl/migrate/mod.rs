//! `migrate`: a whole server to another version, format or store. One file a step.

mod cutover;
mod plan;
mod report;
mod run;
mod status;

use crate::output::{Failure, Output};
use clap::Subcommand;
use mailshadow::config::Config;
use mailshadow::control::client::call;
use mailshadow::control::migration::MigrateRequest;
use mailshadow::control::verbs::Request;
use serde::de::DeserializeOwned;

#[derive(Subcommand)]
pub(crate) enum Migrate {
    /// Look at both servers: what there is, what can't be carried, and how long it takes
    ///
    /// Exit status 1 where something must be put right before.
    Plan(GroupArgs),
    /// Show the copying until the new server has everything
    ///
    /// Run it on the old server's node. The copying itself begins when both daemons run and goes on by itself: end this
    /// with Ctrl-C and run it again whenever you like. Users work meanwhile.
    Run(run::RunArgs),
    /// Where it stands, with every user on both sides
    Status(GroupArgs),
    /// Compare both servers, user by user, as a page and as JSON
    ///
    /// Exit status 1 where something differs.
    Report(report::ReportArgs),
    /// All users to the new server: only when everything is equal, with nothing lost
    ///
    /// Exit status 3, and nothing changed: the copy is not complete, or users differ (they are named).
    Cutover(cutover::CutoverArgs),
    /// All users back to the old server, with everything that happened since
    Back(cutover::CutoverArgs),
}

#[derive(clap::Args)]
pub(crate) struct GroupArgs {
    /// The group; may be left out where this node has one only
    #[arg(long, value_name = "G")]
    group: Option<String>,
}

pub(crate) fn run(config: &Config, verb: Migrate, output: &Output) -> Result<(), Failure> {
    match verb {
        Migrate::Plan(args) => plan::run(config, args, output),
        Migrate::Run(args) => run::run(config, args, output),
        Migrate::Status(args) => status::run(config, args, output),
        Migrate::Report(args) => report::run(config, args, output),
        Migrate::Cutover(args) => cutover::run(config, args, false, output),
        Migrate::Back(args) => cutover::run(config, args, true, output),
    }
}

/// Asks the daemon, showing progress.
fn ask<T: DeserializeOwned>(config: &Config, request: MigrateRequest, output: &Output) -> Result<T, Failure> {
    let request = Request::Migrate(request);
    Ok(call(&config.node.control, &request, None, |line| output.interim(line))?)
}
