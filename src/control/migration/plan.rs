//! What a plan says of two sides that were looked at: what to know and to do before, and how long the copying takes.

use super::{Estimate, Holding, Holdings, MailboxSize, NodeStanding, PlanSide, StoreFacts};
use crate::control::check::{Finding, target};
use crate::control::status::StoreKind;
use crate::limits::{LARGEST_NAMED_MAX, USERS_NAMED_MAX};
use crate::op::{NodeName, UserName};
use crate::store::source::NotCarried;
use std::collections::BTreeSet;

/// Room that a copy needs beyond the octets of its mail: indexes, files that end within a block.
const ROOM_PERCENT: u64 = 120;

/// One side, with everything that was asked of it.
#[derive(Clone, Copy, Debug)]
pub struct Looked<'l> {
    /// How it stands.
    pub standing: &'l NodeStanding,
    /// What its store is.
    pub facts: &'l StoreFacts,
    /// What its users have.
    pub holdings: &'l Holdings,
}

impl Looked<'_> {
    /// As a plan shows it.
    #[must_use]
    pub fn side(&self) -> PlanSide {
        PlanSide {
            node: self.standing.node.clone(),
            role: self.standing.status.role,
            store: self.standing.status.store,
            facts: self.facts.clone(),
        }
    }
}

/// What to know and to do before, the worst first.
#[must_use]
pub fn findings(source: Looked<'_>, target: Option<Looked<'_>>, bytes_left: u64) -> Vec<Finding> {
    let mut found = of_source(source);
    if let Some(target) = target {
        found.extend(unknown_users(source, target));
        found.extend(unfit_names(source, target));
        found.extend(lacking(source.facts, target));
        found.extend(room(target, bytes_left));
        found.extend(separators(source.facts, target.facts));
        found.extend(of_target(target));
    }
    found.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    found
}

fn of_source(source: Looked<'_>) -> Vec<Finding> {
    let topic = format!("{} as the source", source.standing.node);
    let mut found = Vec::new();
    if let Some(why) = &source.facts.problem {
        found.push(Finding::error(&topic, why, "shadowctl check on that node says more"));
    }
    if source.facts.refused_users > 0 {
        let named = named(source.facts.refused.iter().map(|(user, why)| format!("{user}: {why}")));
        let what = format!("{} users can't be captured: {named}", source.facts.refused_users);
        found.push(Finding::error(
            &topic,
            what,
            "shadowctl check on that node says what to do; they stay where they are",
        ));
    }
    let status = &source.standing.status;
    for problem in &status.problems {
        found.push(Finding::warning(&topic, problem, "look at it before the cutover"));
    }
    for not_carried in &source.facts.not_carried {
        let what = format!("not carried: {}", told(not_carried));
        found.push(Finding::warning(
            &topic,
            what,
            "docs/carried.md says what to do instead",
        ));
    }
    found
}

fn of_target(target: Looked<'_>) -> Vec<Finding> {
    let topic = format!("{} as the target", target.standing.node);
    let mut found = Vec::new();
    if let Some(why) = &target.facts.problem {
        found.push(Finding::error(&topic, why, "shadowctl check on that node says more"));
    }
    let status = &target.standing.status;
    for problem in &status.problems {
        found.push(Finding::warning(&topic, problem, "look at it before the cutover"));
    }
    let is_embedded = target.standing.status.store == StoreKind::Embedded;
    for not_carried in target.facts.not_carried.iter().filter(|_| is_embedded) {
        let what = format!("not there: {}", not_carried.what);
        found.push(Finding::warning(
            &topic,
            what,
            "tell those who use it, or take a Dovecot as the target",
        ));
    }
    if target.standing.redirects.is_empty() {
        let todo = "configure a [[group.redirect]] on both nodes (docs/redirects.md), or change the clients' name or address by \
                    hand at the cutover";
        found.push(Finding::warning(&topic, "no redirect leads clients there", todo));
    }
    found
}

/// Users that the target's user database does not have.
fn unknown_users(source: Looked<'_>, target: Looked<'_>) -> Option<Finding> {
    let unknown = unknown(source.holdings, target.facts, target.holdings);
    if unknown.is_empty() {
        return None;
    }
    let what = format!(
        "{} of {} users are not in its user database: {}",
        unknown.len(),
        source.holdings.len(),
        named(unknown.iter().map(|user| user.to_string()))
    );
    let topic = format!("{} as the target", target.standing.node);
    let todo = "add them there under the same names, with their passwords";
    let why = match target.standing.status.store {
        StoreKind::Dovecot => "their mail is not told to it; the cutover is refused while they are missing",
        StoreKind::Embedded => {
            "their mail is copied, but they can't log in there; the cutover is refused while they are missing"
        }
    };
    Some(Finding::error(topic, what, todo).because(why))
}

/// Users of the source whom the target does not know; nobody where it can't tell.
#[must_use]
pub fn unknown<'s>(source: &'s Holdings, facts: &StoreFacts, target: &Holdings) -> Vec<&'s UserName> {
    let can_tell = !facts.users_open && facts.problem.is_none();
    let unknown = |user: &&UserName| can_tell && !target.get(*user).is_some_and(|holding| holding.known);
    source.keys().filter(unknown).collect()
}

fn unfit_names(source: Looked<'_>, target: Looked<'_>) -> Option<Finding> {
    let count: u64 = source.holdings.values().map(|holding| holding.unfit_count).sum();
    if count == 0 {
        return None;
    }
    let names = source.holdings.values().flat_map(|holding| {
        let of = |name: &String| format!("{}: {name}", holding.user);
        holding.unfit.iter().map(of)
    });
    let what = format!(
        "{count} mailboxes have names that it can't have as they are: {}",
        named(names)
    );
    let topic = format!("{} as the target", target.standing.node);
    let todo = "rename them, or see docs/dovecot-standby.md for what becomes of them; verify says \"in the mail server: names\"";
    Some(Finding::warning(topic, what, todo))
}

/// What the source is configured to keep and the target is not.
fn lacking(source: &StoreFacts, target: Looked<'_>) -> Vec<Finding> {
    if target.standing.status.store == StoreKind::Embedded || target.facts.problem.is_some() {
        return Vec::new();
    }
    let has: BTreeSet<&String> = target.facts.features.iter().collect();
    let topic = format!("{} as the target", target.standing.node);
    let missing = source.features.iter().filter(|feature| !has.contains(feature));
    let told = missing.filter_map(|feature| {
        let (what, todo) = target::lacking(feature)?;
        Some(Finding::warning(&topic, what, todo))
    });
    told.collect()
}

/// Room for what is still to come. A mirror beside the mail is compressed, but may need as much.
fn room(target: Looked<'_>, bytes_left: u64) -> Vec<Finding> {
    let topic = format!("{} as the target", target.standing.node);
    let mut found = Vec::new();
    for room in &target.facts.room {
        let shared = target
            .facts
            .room
            .iter()
            .filter(|other| other.filesystem == room.filesystem)
            .count();
        let copies = u64::try_from(shared).unwrap_or(1);
        let need = bytes_left.saturating_mul(copies).saturating_mul(ROOM_PERCENT) / 100;
        let what = format!(
            "{} free for the {} ({}); what is still to come may need {}",
            size(room.free_bytes),
            room.what,
            room.path,
            size(need)
        );
        let todo = "make room there first";
        found.push(if room.free_bytes < bytes_left.saturating_mul(copies) {
            Finding::error(&topic, what, todo)
        } else if room.free_bytes < need {
            Finding::warning(&topic, what, todo)
        } else {
            Finding::ok(&topic, what)
        });
    }
    found
}

fn separators(source: &StoreFacts, target: &StoreFacts) -> Option<Finding> {
    let differ =
        !source.separators.is_empty() && !target.separators.is_empty() && source.separators != target.separators;
    let what = format!(
        "clients see \"{}\" between the levels of a name now, and will see \"{}\"",
        source.separators.join("\", \""),
        target.separators.join("\", \"")
    );
    let todo = "set the same separator there, unless you mean it: clients ask for it when they log in, but Sieve scripts and \
                some clients' settings hold whole names";
    differ.then(|| Finding::warning("hierarchy separators", what, todo))
}

/// What users had on the old side and have not on the new one, in words.
#[must_use]
pub fn not_carried(source: Looked<'_>, target: Looked<'_>) -> Vec<String> {
    let lacking = lacking(source.facts, target).into_iter().map(|finding| finding.what);
    let unknown = unknown_users(source, target).map(|finding| finding.what);
    let unfit = unfit_names(source, target).map(|finding| finding.what);
    let is_embedded = target.standing.status.store == StoreKind::Embedded;
    let there = target.facts.not_carried.iter().filter(|_| is_embedded).map(told);
    let refused = source
        .facts
        .refused
        .iter()
        .map(|(user, why)| format!("{user} is not captured: {why}"));
    let left = source.facts.not_carried.iter().map(told);
    left.chain(there)
        .chain(lacking)
        .chain(unknown)
        .chain(unfit)
        .chain(refused)
        .collect()
}

fn told(not_carried: &NotCarried) -> String {
    let of = not_carried
        .users
        .map_or(String::new(), |users| format!(" ({users} users)"));
    format!("{}{of}", not_carried.what)
}

/// The target does not answer.
#[must_use]
pub fn unanswered(node: &NodeName, why: String, todo: &str) -> Finding {
    Finding::error(format!("{node} as the target"), why, todo)
}

/// The first of them, and how many more there are.
#[must_use]
pub fn named(names: impl Iterator<Item = String>) -> String {
    let all: Vec<String> = names.collect();
    let shown = all.iter().take(USERS_NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
    match all.len().checked_sub(USERS_NAMED_MAX).filter(|more| *more > 0) {
        Some(more) => format!("{shown} and {more} more"),
        None => shown,
    }
}

/// Who has most octets.
#[must_use]
pub fn largest_users(holdings: &Holdings) -> Vec<Holding> {
    let mut all: Vec<&Holding> = holdings.values().filter(|holding| holding.bytes > 0).collect();
    all.sort_by_key(|holding| std::cmp::Reverse(holding.bytes));
    all.into_iter().take(LARGEST_NAMED_MAX).cloned().collect()
}

/// Among each user's largest mailbox, those with most octets.
#[must_use]
pub fn largest_mailboxes(holdings: &Holdings) -> Vec<(UserName, MailboxSize)> {
    let of = |holding: &Holding| Some((holding.user.clone(), holding.largest.clone()?));
    let mut all: Vec<_> = holdings.values().filter_map(of).collect();
    all.retain(|(_, mailbox)| mailbox.bytes > 0);
    all.sort_by_key(|(_, mailbox)| std::cmp::Reverse(mailbox.bytes));
    all.truncate(LARGEST_NAMED_MAX);
    all
}

/// How long `bytes_left` take at `rate` (octets, seconds), where something was measured.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    clippy::as_conversions,
    reason = "an estimate of octets below 2^53 loses nothing that anybody could see"
)]
pub fn estimate(bytes_left: u64, rate: Option<(u64, f64)>, basis: String) -> Estimate {
    let rate = rate.filter(|(bytes, seconds)| *bytes > 0 && *seconds > 0.0);
    let bytes_per_second = rate.map(|(bytes, seconds)| bytes as f64 / seconds);
    Estimate {
        bytes_left,
        bytes_per_second,
        seconds: match bytes_left {
            0 => Some(0.0),
            _ => bytes_per_second.map(|rate| bytes_left as f64 / rate),
        },
        basis,
    }
}

/// Octets for people: `1.4 GB`.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    clippy::as_conversions,
    reason = "one decimal place is shown"
)]
pub fn size(bytes: u64) -> String {
    let units = ["kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut shown = format!("{bytes} B");
    for unit in units {
        if value < 1000.0 {
            break;
        }
        value /= 1000.0;
        shown = format!("{value:.1} {unit}");
    }
    shown
}

/// A time for people: `3 min 20 s`.
#[must_use]
pub fn time(seconds: f64) -> String {
    if seconds < 10.0 {
        return format!("{seconds:.1} s");
    }
    let whole = std::time::Duration::try_from_secs_f64(seconds).map_or(u64::MAX, |time| time.as_secs());
    let (hours, minutes, seconds) = (whole / 3_600, whole / 60 % 60, whole % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds} s"),
        (0, _) => format!("{minutes} min {seconds} s"),
        _ => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::check::Level;
    use crate::control::migration::{NameRules, Room, standing_for_tests};
    use crate::control::status::Role;
    use crate::op::MailboxName;

    struct Server {
        standing: NodeStanding,
        facts: StoreFacts,
        holdings: Holdings,
    }

    impl Server {
        fn new(node: &str, role: Role, users: &[&str]) -> Self {
            let mut standing = standing_for_tests(node, role);
            standing.status.store = StoreKind::Dovecot;
            let rules = NameRules {
                without: ".".to_owned(),
            };
            let holding = |user: &&str| {
                let user = UserName::from(*user);
                let mut holding = Holding {
                    user: user.clone(),
                    known: true,
                    ..Holding::default()
                };
                holding.add(&MailboxName(vec!["INBOX".to_owned()]), 10, 1_000, &rules);
                (user, holding)
            };
            Self {
                standing,
                facts: StoreFacts {
                    separators: vec!["/".to_owned()],
                    features: vec!["Sieve".to_owned(), "ACL".to_owned()],
                    ..StoreFacts::default()
                },
                holdings: users.iter().map(holding).collect(),
            }
        }

        fn looked(&self) -> Looked<'_> {
            Looked {
                standing: &self.standing,
                facts: &self.facts,
                holdings: &self.holdings,
            }
        }
    }

    fn pair() -> (Server, Server) {
        let users = ["ann", "bob"];
        (
            Server::new("mail-a", Role::Primary, &users),
            Server::new("mail-b", Role::Standby, &users),
        )
    }

    fn told(old: &Server, new: &Server, bytes_left: u64) -> Vec<(Level, String)> {
        let found = findings(old.looked(), Some(new.looked()), bytes_left);
        found.into_iter().map(|finding| (finding.level, finding.what)).collect()
    }

    #[test]
    fn two_servers_that_fit_give_nothing_to_do() {
        let (old, new) = pair();
        assert_eq!(told(&old, &new, 2_000), []);
    }

    #[test]
    fn a_user_whom_the_new_server_does_not_know_stops_the_plan() {
        let (old, mut new) = pair();
        new.holdings.remove(&UserName::from("bob"));
        let found = told(&old, &new, 0);
        assert_eq!(found.len(), 1);
        assert!(
            found[0].0 == Level::Error && found[0].1.contains("1 of 2 users are not in its user database: bob"),
            "{found:?}"
        );
        // a copy in an embedded store is no login
        new.holdings.insert(UserName::from("bob"), Holding::default());
        assert_eq!(told(&old, &new, 0), found);
        assert_eq!(not_carried(old.looked(), new.looked()).len(), 1);
        new.facts.users_open = true;
        assert_eq!(told(&old, &new, 0), [], "a program may know him");
    }

    #[test]
    fn what_the_new_server_lacks_is_said_before_it_is_missed() {
        let (mut old, mut new) = pair();
        let bob = old.holdings.get_mut(&UserName::from("bob")).unwrap();
        let rules = NameRules {
            without: ".".to_owned(),
        };
        bob.add(&MailboxName(vec!["a.b".to_owned()]), 0, 0, &rules);
        new.facts.features.clear();
        new.facts.separators = vec![".".to_owned()];
        new.standing.redirects.clear();
        let found = told(&old, &new, 0);
        for what in [
            "runs no Sieve",
            "keeps no ACLs",
            "bob: a.b",
            "clients see \"/\"",
            "no redirect",
        ] {
            assert_eq!(
                found.iter().filter(|(_, found)| found.contains(what)).count(),
                1,
                "{what}: {found:?}"
            );
        }
        assert_eq!(found.len(), 5);
    }

    #[test]
    fn mail_and_its_mirror_on_one_disk_need_room_for_both() {
        let (old, mut new) = pair();
        let room = |what: &str, filesystem| Room {
            what: what.to_owned(),
            path: "/".to_owned(),
            free_bytes: 3_000,
            filesystem,
        };
        let levels = |new: &Server, left| {
            told(&old, new, left)
                .into_iter()
                .map(|(level, _)| level)
                .collect::<Vec<_>>()
        };
        new.facts.room = vec![room("mail", 1), room("mirror", 2)];
        assert_eq!(levels(&new, 2_400), [Level::Ok; 2]);
        assert_eq!(levels(&new, 2_800), [Level::Warning; 2]);
        new.facts.room = vec![room("mail", 1), room("mirror", 1)];
        assert_eq!(levels(&new, 2_400), [Level::Error; 2]);
    }

    #[test]
    fn what_was_not_measured_is_not_said() {
        let none = estimate(5_000, None, "not measured: no mail".to_owned());
        assert_eq!((none.seconds, none.bytes_per_second), (None, None));
        assert_eq!(
            estimate(5_000, Some((0, 2.0)), String::new()).seconds,
            None,
            "nothing came"
        );
        assert_eq!(estimate(5_000, Some((1_000, 2.0)), String::new()).seconds, Some(10.0));
        assert_eq!(estimate(0, None, String::new()).seconds, Some(0.0));
        assert_eq!(
            (size(999), size(1_250_000), time(7_260.0), time(0.34)),
            ("999 B".into(), "1.2 MB".into(), "2 h 1 min".into(), "0.3 s".into())
        );
    }
}
