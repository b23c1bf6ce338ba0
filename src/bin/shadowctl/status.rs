//! `status`.

use crate::output::{Failure, Output, table};
use crate::quarantine;
use clap::Args;
use mailshadow::config::Config;
use mailshadow::control::client::call;
use mailshadow::control::status::{GroupStatus, Lag, NotCarried, Positions, ProxyStatus, Role, Status, UserStatus};
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
    for (place, proxy) in status.proxies.iter().enumerate() {
        text.push_str(if place == 0 { "\n" } else { "" });
        text.push_str(&proxy_text(proxy));
    }
    text
}

fn proxy_text(proxy: &ProxyStatus) -> String {
    let to = match (&proxy.primary, proxy.opens) {
        (Some(node), true) => format!("to {node}"),
        (Some(node), false) => format!("to {node}, which takes no new clients now"),
        (None, _) => "to nobody".to_owned(),
    };
    format!(
        "proxy {} of group {}: {to}; epoch {}, {} connected, {} waiting, {} moved, {} turned away\n",
        proxy.listen,
        proxy.group,
        shown(proxy.epoch),
        proxy.connections,
        proxy.held,
        proxy.moved,
        proxy.refused
    )
}

/// The first thing that a tired reader wants to know.
fn verdict(status: &Status) -> String {
    match (status.open(), status.groups.iter().any(|group| group.building)) {
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
    text.push_str(&held_back(group));
    if group.role == Role::Standby {
        text.push_str(&promotable(group));
    }
    for NotCarried { what, users } in &group.not_carried {
        let of = users.map_or_else(String::new, |users| format!(", of {users} users"));
        text.push_str(&format!("  not carried{of}: {what}\n"));
    }
    text
}

/// What did not reach its mailbox, and what to do: named on the node that can decide it.
fn held_back(group: &GroupStatus) -> String {
    let mut text = String::new();
    let some = |count: Option<u64>| count.filter(|count| *count > 0);
    for peer in &group.peers {
        if let Some(open) = some(peer.quarantined) {
            let name = &peer.name;
            text.push_str(&format!(
                "  ! {name} holds back changes of {open} mailboxes: `shadowctl quarantine ls` there\n"
            ));
        }
    }
    if let Some(open) = some(group.quarantined).filter(|_| !group.quarantine.is_empty()) {
        text.push_str(&format!(
            "  ! changes of {open} mailboxes are held back; what was there is still served:\n"
        ));
        text.push_str(&quarantine::entries_table(&group.quarantine, "    "));
        let named = u64::try_from(group.quarantine.len()).unwrap_or(u64::MAX);
        if open > named {
            text.push_str(&format!("    and {} more: `shadowctl quarantine ls`\n", open - named));
        }
        text.push_str("    `shadowctl quarantine show ID` says what release and drop would do\n");
    }
    if let Some(pending) = some(group.bodies_pending) {
        text.push_str(&format!(
            "  ! {pending} messages lack their body; they are asked for until they come. The primary's log names the files\n"
        ));
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
    let loss = match (can.would_lose.operations, can.would_lose.seconds) {
        (None, _) => "what it would lose is not known".to_owned(),
        (Some(operations), None) => format!("would lose {operations} operations"),
        (Some(operations), Some(span)) => format!("would lose {operations} operations, {span:.1} s"),
    };
    let heard = match can.silent_seconds {
        None => "the source was not heard since this daemon started".to_owned(),
        Some(ago) => format!("source last heard {ago:.1} s ago"),
    };
    let mut text = format!(
        "  promotable now: {}; {loss}; {heard}\n",
        if can.now { "yes" } else { "no" }
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
            mailbox.held.as_ref().map(|why| format!("! {why}")).unwrap_or_default(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn group(more: serde_json::Value) -> GroupStatus {
        let mut group = json!({
            "name": "main", "role": "standby", "confirmed": true, "epoch": 1, "store": "embedded", "building": false,
            "peers": [{"name": "mail-a", "connected": true}], "lsn": {}, "lag": {},
            "promotable": {"now": true, "warnings": [], "would_lose": {}},
        });
        let fields = more.as_object().cloned().unwrap_or_default();
        fields.into_iter().for_each(|(key, value)| group[key] = value);
        serde_json::from_value(group).unwrap()
    }

    #[test]
    fn what_is_held_back_is_named_with_what_to_do() {
        let entry = json!({
            "id": 7, "user": "ann", "mailbox": "Work/2025", "guid": "00", "reason": "inferred",
            "why": "messages vanished without a request", "messages": 3, "diverted": 0,
        });
        let text = group_text(&group(
            json!({"quarantined": 12, "quarantine": [entry], "bodies_pending": 2}),
        ));
        for wanted in [
            "! changes of 12 mailboxes are held back",
            "7  ann   Work/2025  inferred         3  messages vanished",
            "and 11 more: `shadowctl quarantine ls`",
            "`shadowctl quarantine show ID`",
            "! 2 messages lack their body",
        ] {
            assert!(text.contains(wanted), "{wanted} is not in\n{text}");
        }
        let well = group_text(&group(json!({"quarantined": 0, "bodies_pending": 0})));
        assert!(!well.contains('!'), "{well}");
    }

    #[test]
    fn a_primary_says_what_its_standbys_hold_back_and_what_none_will_have() {
        let text = group_text(&group(json!({
            "role": "primary", "quarantined": 2, "peers": [{"name": "mail-b", "connected": true, "quarantined": 2}],
            "not_carried": [{"what": "public namespace Public/: not copied", "users": 40}],
        })));
        for wanted in [
            "! mail-b holds back changes of 2 mailboxes",
            "not carried, of 40 users: public namespace Public/",
        ] {
            assert!(text.contains(wanted), "{wanted} is not in\n{text}");
        }
    }
}
