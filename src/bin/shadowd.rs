//! The daemon, the same on every node.

use clap::{CommandFactory, Parser, ValueEnum};
use mailshadow::config::Config;
use mailshadow::io::lifecycle::Signals;
use mailshadow::io::renewal::Renewal;
use mailshadow::telemetry::{self, LogForm};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// SIGTERM to exit: systemd's and an operator's patience; what isn't done then is recovered at the next start.
const STOP_MAX: Duration = Duration::from_millis(4_500);

/// Captures a mail store's changes, ships them to its standby, applies what comes from its primary. Runs in the
/// foreground and logs to standard error.
#[derive(Parser)]
#[command(name = "shadowd", version)]
struct Args {
    /// The node's configuration
    #[arg(
        long,
        value_name = "FILE",
        env = "MAILSHADOW_CONFIG",
        default_value = "/etc/mailshadow/shadowd.toml"
    )]
    config: PathBuf,
    /// Form of the log
    #[arg(long, value_enum, default_value_t = Log::Text)]
    log: Log,
    /// Print this program's man page, for the package's build
    #[arg(long, hide = true)]
    man_page: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Log {
    Text,
    Json,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.man_page {
        return man_page();
    }
    let config = Config::load(&args.config);
    let config = match config {
        Ok(config) => config,
        Err(error) => return ended(2, &error.to_string()),
    };
    let form = match args.log {
        Log::Text => LogForm::Text,
        Log::Json => LogForm::Json,
    };
    if let Err(error) = telemetry::start(form, config.node.log_users) {
        return ended(2, &error);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return ended(1, &format!("start the runtime: {error}")),
    };
    let code = runtime.block_on(run(config));
    // threads that hang in a system call don't keep the process
    runtime.shutdown_timeout(Duration::from_millis(200));
    code
}

fn man_page() -> ExitCode {
    let page = clap_mangen::Man::new(Args::command()).section("8");
    match page.render(&mut std::io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ended(1, &format!("print the man page: {error}")),
    }
}

fn ended(code: u8, message: &str) -> ExitCode {
    eprintln!("shadowd: {message}");
    ExitCode::from(code)
}

async fn run(config: Config) -> ExitCode {
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return ended(1, &format!("listen to signals: {error}")),
    };
    let mut renewal = Renewal::of(config.certificate_files());
    let node = tokio::spawn(mailshadow::node::run(config, signals.lifecycle()));
    tokio::pin!(node);
    let ended_by_itself = tokio::select! {
        ended = &mut node => Some(ended),
        () = signals.pass_on(&mut renewal) => None,
    };
    let outcome = match ended_by_itself {
        Some(outcome) => outcome,
        None => match tokio::time::timeout(STOP_MAX, node).await {
            Ok(outcome) => outcome,
            Err(_) => {
                tracing::error!("did not stop within {STOP_MAX:?}; ending anyway, the next start recovers");
                return ExitCode::from(1);
            }
        },
    };
    match outcome {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            tracing::error!(%error, "shadowd ends");
            ExitCode::from(1)
        }
        Err(error) => {
            tracing::error!(%error, "shadowd ends: a broken invariant");
            ExitCode::from(1)
        }
    }
}
