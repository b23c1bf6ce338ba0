//! The status page: one self-contained HTML document that fetches itself anew every two seconds.

use super::status::{GroupStatus, Lag, PeerStatus, Positions, ProxyStatus, Role, Status};
use super::vitals::Vitals;
use crate::io::clock;
use std::fmt::Display;
use std::fmt::Write;

/// Of every page.
pub(super) const STYLE: &str = include_str!("page.css");

/// The whole document.
pub(super) fn render(status: &Status) -> String {
    let node = escape(status.node.as_str());
    let version = escape(&status.version);
    let groups: String = status.groups.iter().map(group).collect();
    let (own, vitals) = (own_problems(status), vitals(&status.vitals));
    let none = if status.groups.is_empty() {
        "<section>This node has no groups.</section>"
    } else {
        ""
    };
    let proxies: String = status.proxies.iter().map(proxy).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"2\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{node} · mailshadow</title>\
         <style>{STYLE}</style></head><body><main><header><h1>{node} <span>mailshadow {version}</span></h1>\
         {verdict}</header>{own}{groups}{none}{proxies}<footer>{vitals}</footer></main></body></html>\n",
        verdict = verdict(status)
    )
}

/// What somebody who passes by wants to see from afar.
fn verdict(status: &Status) -> String {
    match status.open() {
        0 => "<span class=\"verdict good\">all is well</span>".to_owned(),
        1 => "<span class=\"verdict bad\">1 thing to look at</span>".to_owned(),
        open => format!("<span class=\"verdict bad\">{open} things to look at</span>"),
    }
}

fn own_problems(status: &Status) -> String {
    if status.problems.is_empty() {
        return String::new();
    }
    let items: String = status
        .problems
        .iter()
        .map(|text| format!("<li class=\"bad\">{}</li>", escape(text)))
        .collect();
    format!("<section><ul>{items}</ul></section>")
}

/// One quiet line: room, certificates, memory.
fn vitals(vitals: &Vitals) -> String {
    let mut parts = Vec::new();
    if let (Some(free), Some(size)) = (vitals.state_free_bytes, vitals.state_size_bytes) {
        parts.push(format!(
            "{} of {} GiB free",
            number(Some(free >> 30)),
            number(Some(size >> 30))
        ));
    }
    let ends = vitals.certificates.iter().min_by_key(|end| end.until_seconds);
    if let Some(end) = ends {
        let days = end.days_left(clock::unix_seconds());
        parts.push(format!(
            "first certificate to end: {}, in {} days",
            escape(&end.certificate),
            number(Some(days))
        ));
    }
    if let Some(bytes) = vitals.resident_bytes {
        parts.push(format!("{} MiB of memory", bytes >> 20));
    }
    parts.push("renewed every 2 s".to_owned());
    parts.join(" · ")
}

fn group(group: &GroupStatus) -> String {
    let name = escape(&group.name);
    let tags = tags(group);
    let figures = figures(group);
    let positions = positions_table(group);
    let notes = notes(group);
    format!("<section><h2>{name} {tags}</h2>{figures}{positions}{notes}</section>")
}

fn proxy(proxy: &ProxyStatus) -> String {
    let (class, to) = match (&proxy.primary, proxy.opens) {
        (Some(node), true) => ("good", format!("to {node}")),
        (Some(node), false) => ("warn", format!("to {node}, new clients wait")),
        (None, _) => ("bad", "nobody is primary".to_owned()),
    };
    format!(
        "<section><h2>proxy {} of {} <span class=\"tag {class}\">{}</span></h2>{} connected, {} waiting, {} moved, {} turned \
         away</section>",
        escape(&proxy.listen),
        escape(&proxy.group),
        escape(&to),
        number(Some(proxy.connections)),
        number(Some(proxy.held)),
        number(Some(proxy.moved)),
        number(Some(proxy.refused))
    )
}

fn tags(group: &GroupStatus) -> String {
    let tag = |class: &str, text: &str| format!("<span class=\"tag {class}\">{}</span>", escape(text));
    let role = match group.role {
        Role::Primary => tag("blue", "primary"),
        Role::Standby => tag("blue", "standby"),
        Role::Fenced => tag("bad", "fenced"),
    };
    let mut tags = vec![role];
    if group.role == Role::Primary && !group.confirmed {
        tags.push(tag("warn", "not confirmed"));
    }
    if group.building {
        tags.push(tag("warn", "being built"));
    } else if group.role == Role::Standby {
        tags.push(if group.promotable.now {
            tag("good", "can take over")
        } else {
            tag("warn", "can't take over")
        });
    }
    if group.problems.is_empty() {
        tags.push(tag("good", "no problems"));
    } else {
        tags.push(tag("bad", &format!("{} to look at", group.problems.len())));
    }
    tags.join(" ")
}

fn figures(group: &GroupStatus) -> String {
    let mut all = vec![
        ("epoch", number(group.epoch)),
        ("mailboxes", number(group.mailboxes)),
        ("messages", number(group.messages)),
        ("yet to apply", number(group.lag.operations)),
        ("behind", seconds(group.lag.seconds)),
    ];
    for (name, count) in [
        ("held mailboxes", group.held_mailboxes),
        ("bodies pending", group.bodies_pending),
        ("quarantined", group.quarantined),
    ] {
        all.extend(
            count
                .filter(|count| *count > 0)
                .map(|count| (name, number(Some(count)))),
        );
    }
    if group.role == Role::Standby {
        all.push(("would lose", number(group.promotable.would_lose.operations)));
        all.push(("source last heard", seconds(group.promotable.silent_seconds)));
    }
    let cells: String = all
        .iter()
        .map(|(name, value)| format!("<div><dt>{name}</dt><dd>{value}</dd></div>"))
        .collect();
    format!("<dl>{cells}</dl>")
}

fn positions_table(group: &GroupStatus) -> String {
    let mut rows = row("this node", "", Some(&group.lsn), Some(&group.lag));
    for peer in &group.peers {
        let name = escape(peer.name.as_str());
        rows.push_str(&row(&name, &state(peer), peer.lsn.as_ref(), peer.lag.as_ref()));
    }
    format!(
        "<div class=\"scroll\"><table><tr><th>node</th><th></th><th class=\"n\">captured</th><th class=\"n\">shipped</th>\
         <th class=\"n\">durable</th><th class=\"n\">applied</th><th class=\"n\">behind</th></tr>{rows}</table></div>"
    )
}

fn state(peer: &PeerStatus) -> String {
    match (peer.connected, &peer.problem) {
        (true, _) => "<span class=\"good\">connected</span>".to_owned(),
        (false, None) => "<span class=\"bad\">not connected</span>".to_owned(),
        (false, Some(why)) => format!("<span class=\"bad\">not connected</span> {}", escape(why)),
    }
}

fn row(name: &str, state: &str, lsn: Option<&Positions>, lag: Option<&Lag>) -> String {
    let lsn = lsn.copied().unwrap_or_default();
    let mut row = format!("<tr><td>{name}</td><td>{state}</td>");
    for value in [lsn.captured, lsn.shipped, lsn.durable, lsn.applied] {
        cell(&mut row, &number(value));
    }
    cell(&mut row, &seconds(lag.and_then(|lag| lag.seconds)));
    row.push_str("</tr>");
    row
}

fn cell(row: &mut String, text: &str) {
    // writing to a string does not fail
    let _ = write!(row, "<td class=\"n\">{text}</td>");
}

fn notes(group: &GroupStatus) -> String {
    let item = |class: &str, text: &String| format!("<li class=\"{class}\">{}</li>", escape(text));
    let mut items: String = group.problems.iter().map(|text| item("bad", text)).collect();
    if group.role == Role::Standby {
        items.extend(group.promotable.warnings.iter().map(|text| item("warn", text)));
    }
    if items.is_empty() {
        items
    } else {
        format!("<ul>{items}</ul>")
    }
}

/// With a thin space between thousands; a dash where it isn't known.
fn number(value: Option<impl Display>) -> String {
    let Some(value) = value else { return "–".to_owned() };
    let digits = value.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{2009}');
        }
        text.push(digit);
    }
    text
}

fn seconds(value: Option<f64>) -> String {
    match value {
        None => "–".to_owned(),
        Some(seconds) if seconds < 120.0 => format!("{seconds:.1} s"),
        Some(seconds) if seconds < 7_200.0 => format!("{:.0} min", seconds / 60.0),
        Some(seconds) => format!("{:.1} h", seconds / 3_600.0),
    }
}

pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}
