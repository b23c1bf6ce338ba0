//! `status`.

use crate::output::{Failure, Output, table};
use clap::Args;
use mailshadow::config::Config;
use mailshadow::control::client::call;
use mailshadow::control::status::{GroupStatus, Lag, Positions, Role, Status, UserStatus};
use mailshadow::control::verbs::Request;
use mailshadow::op::UserName;
use std::fmt::Display;
use std::time::Duration;

const SILENCE_MAX: Duration = Duration::from_secs(10);

#[derive(Args)]
pub(crate) struct StatusArgs {
    /// Show one user's mailboxes instead
    #[arg(long, value_name = "U")]
    user: Option<String>,
}

pub(crate) fn run(config: &Config, args: StatusArgs, output: &Output) -> Result<(), Failure> {
    let user = args.user.map(UserName);
    let socket = &config.node.control;
    if user.is_some() {
        let status: UserStatus = call(socket, &Request::Status { user }, Some(SILENCE_MAX), |_| {})?;
        return output.answer(&status, user_text);
    }
    let status: Status = call(socket, &Request::Status { user }, Some(SILENCE_MAX), |_| {})?;
    output.answer(&status, text)
}

fn text(status: &Status) -> String {
    let mut text = format!("{} (mailshadow {}): {}\n", status.node, status.version, verdict(status));
    for problem in &status.problems {
        text.push_str(&format!("  ! {problem}\n"));
    }
    for group in &status.groups {
        text.push('\n');
        text.push_str(&group_text(group));
    }
    text
}

/// The first thing that a tired reader wants to know.
fn verdict(status: &Status) -> String {
    let of_group =
        |group: &GroupStatus| group.problems.len() + group.peers.iter().filter(|peer| !peer.connected).count();
    let open = status.problems.len() + status.groups.iter().map(of_group).sum::<usize>();
    match (open, status.groups.iter().any(|group| group.building)) {
        (0, false) => "all is well".to_owned(),
        (0, true) => "all is well; a copy is being built".to_owned(),
        (1, _) => "1 thing to look at".to_owned(),
        (open, _) => format!("{open} things to look at"),
    }
}

fn group_text(group: &GroupStatus) -> String {
    let mut text = format!(
        "group {}: {}{}, epoch {}, store ",
        group.name,
        group.role,
        doubts(group),
        shown(group.epoch)
    );
    text.push_str(match group.store {
        mailshadow::control::status::StoreKind::Dovecot => "dovecot\n",
        mailshadow::control::status::StoreKind::Embedded => "embedded\n",
    });
    let mut rows = vec![
        ["", "", "captured", "shipped", "durable", "applied", "behind", "bytes"]
            .map(str::to_owned)
            .to_vec(),
        row("this node", "", Some(&group.lsn), Some(&group.lag)),
    ];
    for peer in &group.peers {
        let state = if peer.connected { "connected" } else { "not connected" };
        rows.push(row(peer.name.as_str(), state, peer.lsn.as_ref(), peer.lag.as_ref()));
    }
    text.push_str(&table(&rows, &[false, false, true, true, true, true, true, true]));
    text.push_str(&counts(group));
    for peer in &group.peers {
        if let Some(problem) = &peer.problem {
            text.push_str(&format!("  {}: {problem}\n", peer.name));
        }
    }
    for problem in &group.problems {
        text.push_str(&format!("  ! {problem}\n"));
    }
    if group.role == Role::Standby {
        text.push_str(&promotable(group));
    }
    text
}

fn doubts(group: &GroupStatus) -> &'static str {
    match (group.role, group.confirmed, group.building) {
        (Role::Primary, false, _) => " (not confirmed)",
        (_, _, true) => " (being built)",
        _ => "",
    }
}

fn row(name: &str, state: &str, lsn: Option<&Positions>, lag: Option<&Lag>) -> Vec<String> {
    let lsn = lsn.copied().unwrap_or_default();
    let lag = lag.copied().unwrap_or_default();
    vec![
        name.to_owned(),
        state.to_owned(),
        shown(lsn.captured),
        shown(lsn.shipped),
        shown(lsn.durable),
        shown(lsn.applied),
        seconds(lag.seconds),
        shown(lag.bytes),
    ]
}

fn counts(group: &GroupStatus) -> String {
    let mut text = format!("  {} mailboxes", shown(group.mailboxes));
    if let Some(messages) = group.messages {
        text.push_str(&format!(", {messages} messages"));
    }
    let ill = [
        ("held mailboxes", group.held_mailboxes),
        ("bodies pending", group.bodies_pending),
        ("quarantined", group.quarantined),
    ];
    let ill: Vec<String> = ill
        .iter()
        .filter_map(|(what, count)| Some(format!("{what}: {}", count.filter(|count| *count > 0)?)))
        .collect();
    if ill.is_empty() {
        text.push_str("; nothing held, pending or quarantined\n");
    } else {
        text.push_str(&format!("; {}\n", ill.join(", ")));
    }
    text
}

fn promotable(group: &GroupStatus) -> String {
    let can = &group.promotable;
    let mut text = format!(
        "  promotable now: {}; would lose {} operations, {}; source last heard {} ago\n",
        if can.now { "yes" } else { "no" },
        shown(can.would_lose.operations),
        seconds(can.would_lose.seconds),
        seconds(can.silent_seconds)
    );
    for warning in &can.warnings {
        text.push_str(&format!("  ! {warning}\n"));
    }
    text
}

fn user_text(status: &UserStatus) -> String {
    let head = [
        "mailbox",
        "messages",
        "uidvalidity",
        "uidnext",
        "highestmodseq",
        "guid",
        "",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for mailbox in &status.mailboxes {
        rows.push(vec![
            mailbox.name.clone(),
            shown(mailbox.messages),
            shown(mailbox.uidvalidity),
            shown(mailbox.uidnext),
            shown(mailbox.highest_modseq),
            mailbox.guid.clone(),
            mailbox
                .held
                .as_ref()
                .map(|why| format!("held: {why}"))
                .unwrap_or_default(),
        ]);
    }
    let count = status.mailboxes.len();
    let head = format!(
        "{} in group {} on {}: {count} mailboxes\n",
        status.user, status.group, status.node
    );
    head + &table(&rows, &[false, true, true, true, true, false, false])
}

fn shown(value: Option<impl Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn seconds(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.1} s"))
}
