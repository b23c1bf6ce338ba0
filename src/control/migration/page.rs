//! A report as a page for a browser: one file without scripts, everything out of the stores escaped.

use super::plan::{size, time};
use super::{Counts, Event, MigrationReport, Stage, StoreFacts, Totals, UserParity};
use crate::control::page::{STYLE, escape};
use crate::control::report::Difference;
use crate::op::NodeName;
use std::fmt::Write;

/// What this page has beside the status page's style.
const OWN_STYLE: &str = include_str!("page.css");

/// The whole document.
#[must_use]
pub fn render(report: &MigrationReport) -> String {
    let status = &report.status;
    let title = format!("{} → {}", status.old, status.new);
    let (title, group) = (escape(&title), escape(&status.group));
    let body = [
        summary(report),
        differences("What differs", &report.different),
        left_behind(&report.not_carried),
        users(&status.users),
        differences("Notes", &report.notes),
        servers(report),
        history(&status.history),
    ];
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Migration {title}</title><style>{STYLE}{OWN_STYLE}</style></head><body><main><header>\
         <h1>{title} <span>migration of group {group}</span></h1>{verdict}</header>{body}<footer>made {made} by mailshadow \
         {version}</footer></main></body></html>\n",
        verdict = verdict(report),
        body = body.concat(),
        made = date(report.made_ms),
        version = env!("CARGO_PKG_VERSION"),
    )
}

fn verdict(report: &MigrationReport) -> String {
    match report.is_equal() {
        true => "<span class=\"verdict good\">everything is equal</span>".to_owned(),
        false => format!(
            "<span class=\"verdict bad\">not equal: {}</span>",
            counted(report.mailboxes.saturating_sub(report.equal), "mailbox")
        ),
    }
}

fn summary(report: &MigrationReport) -> String {
    let status = &report.status;
    let class = match status.stage {
        Stage::CutOver | Stage::Following => "good",
        Stage::Back => "blue",
        Stage::New | Stage::Planned | Stage::Copying | Stage::Unclear => "warn",
    };
    let equal = status.users.iter().filter(|user| user.equal == Some(true)).count();
    let totals = totals(&status.users);
    let how = if report.deep { "bodies included" } else { "by digest" };
    let figures = [
        ("users equal", format!("{equal} of {}", status.users.len())),
        ("mailboxes equal", format!("{} of {}", report.equal, report.mailboxes)),
        ("messages", totals.messages.to_string()),
        ("size", size(totals.bytes)),
        ("compared", how.to_owned()),
        ("in", time(report.seconds)),
    ];
    let mut list = String::new();
    for (name, value) in figures {
        push(
            &mut list,
            format_args!("<div><dt>{name}</dt><dd>{}</dd></div>", escape(&value)),
        );
    }
    let problems = items(status.problems.iter().map(String::as_str), "bad");
    format!(
        "<section><h2><span class=\"tag {class}\">{}</span></h2><dl>{list}</dl>{problems}</section>",
        escape(&status.note)
    )
}

/// Of the old server's users.
fn totals(users: &[UserParity]) -> Totals {
    users
        .iter()
        .filter_map(|user| user.old)
        .fold(Totals::default(), |sum, one| Totals {
            users: sum.users.saturating_add(1),
            mailboxes: sum.mailboxes.saturating_add(one.mailboxes),
            messages: sum.messages.saturating_add(one.messages),
            bytes: sum.bytes.saturating_add(one.bytes),
        })
}

fn left_behind(not_carried: &[String]) -> String {
    if not_carried.is_empty() {
        return "<section><h2>Not carried</h2>Nothing: everything that users had is there.</section>".to_owned();
    }
    let list = items(not_carried.iter().map(String::as_str), "");
    format!("<section><h2>Not carried</h2>{list}</section>")
}

fn items<'t>(texts: impl Iterator<Item = &'t str>, class: &str) -> String {
    let mut list = String::new();
    for text in texts {
        push(&mut list, format_args!("<li class=\"{class}\">{}</li>", escape(text)));
    }
    match list.is_empty() {
        true => list,
        false => format!("<ul>{list}</ul>"),
    }
}

fn differences(title: &str, list: &[Difference]) -> String {
    if list.is_empty() {
        return String::new();
    }
    let mut rows = String::new();
    for one in list {
        let cells = format_args!(
            "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(one.user.as_str()),
            escape(&one.mailbox),
            escape(&one.why)
        );
        push(&mut rows, cells);
    }
    format!(
        "<section><h2>{title}</h2><div class=\"scroll\"><table><tr><th>user</th><th>mailbox</th><th>what</th></tr>{rows}\
         </table></div></section>"
    )
}

/// Who is not equal first.
fn users(users: &[UserParity]) -> String {
    let mut sorted: Vec<&UserParity> = users.iter().collect();
    sorted.sort_by_key(|user| (user.equal == Some(true), &user.user));
    let mut rows = String::new();
    for user in sorted {
        push(&mut rows, format_args!("{}", user_row(user)));
    }
    format!(
        "<section><h2>Users</h2><div class=\"scroll\"><table><tr><th>user</th><th></th><th class=\"n\">mailboxes</th>\
         <th class=\"n\">messages</th><th class=\"n\">size</th><th>figures on the new server</th></tr>{rows}</table></div></section>"
    )
}

fn user_row(user: &UserParity) -> String {
    let (class, word) = match user.equal {
        Some(true) => ("good", "equal".to_owned()),
        Some(false) => ("bad", counted(user.differences, "difference")),
        None => ("warn", "not compared".to_owned()),
    };
    let old = user.old.unwrap_or_default();
    let there = match (user.old, user.new) {
        (_, None) => "nobody of that name".to_owned(),
        (Some(old), Some(new)) if old == new => "the same".to_owned(),
        (_, Some(new)) => counts(new),
    };
    format!(
        "<tr><td>{}</td><td><span class=\"tag {class}\">{word}</span></td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
         <td class=\"n\">{}</td><td>{}</td></tr>",
        escape(user.user.as_str()),
        old.mailboxes,
        old.messages,
        size(old.bytes),
        escape(&there)
    )
}

/// `1 difference`, `2 mailboxes`.
fn counted(count: u64, what: &str) -> String {
    let ending = match (count, what.ends_with('x')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{count} {what}{ending}")
}

fn counts(counts: Counts) -> String {
    format!(
        "{} mailboxes, {} messages, {}",
        counts.mailboxes,
        counts.messages,
        size(counts.bytes)
    )
}

fn servers(report: &MigrationReport) -> String {
    let mut rows = String::new();
    let sides = |of: &dyn Fn(&StoreFacts) -> String| (of(&report.old), of(&report.new));
    let lines = [
        ("server", sides(&|facts| facts.server.clone())),
        ("format", sides(&|facts| facts.formats.join(", "))),
        ("separator", sides(&|facts| facts.separators.join(" "))),
        ("keeps", sides(&|facts| facts.features.join(", "))),
    ];
    for (what, (old, new)) in lines {
        let row = format_args!(
            "<tr><td class=\"soft\">{what}</td><td>{}</td><td>{}</td></tr>",
            escape(&old),
            escape(&new)
        );
        push(&mut rows, row);
    }
    let name = |node: &NodeName| escape(node.as_str());
    format!(
        "<section><h2>Servers</h2><div class=\"scroll\"><table><tr><th></th><th>{} (old)</th><th>{} (new)</th></tr>{rows}\
         </table></div></section>",
        name(&report.status.old),
        name(&report.status.new)
    )
}

fn history(events: &[Event]) -> String {
    if events.is_empty() {
        return String::new();
    }
    let mut rows = String::new();
    for event in events {
        let row = format_args!(
            "<tr><td class=\"soft\">{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            date(event.at_ms),
            escape(event.node.as_str()),
            escape(&event.what),
            escape(&event.more)
        );
        push(&mut rows, row);
    }
    format!("<section><h2>What happened</h2><div class=\"scroll\"><table>{rows}</table></div></section>")
}

/// Writing into a text can't fail.
fn push(text: &mut String, more: std::fmt::Arguments<'_>) {
    if text.write_fmt(more).is_err() {
        text.push('?');
    }
}

fn date(unix_ms: u64) -> String {
    let format = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    let seconds = i64::try_from(unix_ms / 1000).unwrap_or(i64::MAX);
    let moment = time::OffsetDateTime::from_unix_timestamp(seconds).ok();
    let shown = moment.and_then(|moment| moment.format(format).ok());
    shown.unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::migration::MigrationStatus;
    use crate::control::status::Lag;

    fn report() -> MigrationReport {
        let counts = Some(Counts {
            mailboxes: 2,
            messages: 30,
            bytes: 12_345,
        });
        let user = |name: &str, equal| UserParity {
            user: name.into(),
            old: counts,
            new: counts,
            equal,
            differences: u64::from(equal == Some(false)),
        };
        let evil = "<script>alert(1)</script>&\"'";
        MigrationReport {
            status: MigrationStatus {
                group: evil.to_owned(),
                stage: Stage::Following,
                note: Stage::Following.in_words().to_owned(),
                old: "mail-a".into(),
                new: "mail-b".into(),
                lag: Lag::default(),
                users: vec![user("ann", Some(true)), user(evil, Some(false)), user("cid", None)],
                history: vec![Event {
                    at_ms: 1_700_000_000_000,
                    what: evil.to_owned(),
                    node: "mail-a".into(),
                    more: evil.to_owned(),
                }],
                problems: vec![evil.to_owned()],
            },
            made_ms: 1_700_000_000_000,
            old: StoreFacts {
                server: evil.to_owned(),
                features: vec![evil.to_owned()],
                ..StoreFacts::default()
            },
            new: StoreFacts::default(),
            mailboxes: 3,
            equal: 2,
            deep: false,
            different: vec![Difference {
                user: evil.into(),
                mailbox: evil.to_owned(),
                why: evil.to_owned(),
                peer: None,
            }],
            notes: Vec::new(),
            not_carried: vec![evil.to_owned()],
            seconds: 1.5,
        }
    }

    #[test]
    fn a_mailbox_that_is_called_like_a_script_stays_a_name() {
        let page = render(&report());
        assert!(!page.contains("<script"), "{page}");
        assert_eq!(page.matches("&lt;script&gt;alert(1)&lt;/script&gt;&amp;").count(), 11);
    }

    #[test]
    fn who_differs_is_seen_first() {
        let page = render(&report());
        let (differs, equal) = (page.find("1 difference<").unwrap(), page.find(">equal<").unwrap());
        assert!(differs < equal);
        assert!(
            page.contains("not equal: 1 mailbox<") && page.contains("users equal</dt><dd>1 of 3"),
            "{page}"
        );
        assert!(page.contains("not compared"));
    }
}
