//! LIST and LSUB (RFC 3501 sections 6.3.8 and 6.3.9), as Dovecot answers them: parents that are no mailboxes are
//! `\Noselect` (but stale names are not: [`crate::op::Stale`]), each name says whether it has children, special use is told.

use super::answer;
use super::mutf7::{self, SEPARATOR};
use super::session::{Reply, Session, Stop};
use crate::op::MailboxName;
use crate::store::embedded::view::Tree;
use std::collections::BTreeMap;

/// [`SEPARATOR`] for joining.
const LEVELS: &str = "/";

impl Session {
    pub(super) async fn list(&mut self, reference: &[u8], pattern: &[u8]) -> Result<Reply, Stop> {
        if pattern.is_empty() {
            self.wire.put("* LIST (\\Noselect) \"/\" ");
            let mut root = Vec::new();
            answer::astring(&mut root, reference);
            self.wire.put(root);
            self.wire.put("\r\n");
            return Reply::ok("List completed.");
        }
        let tree = self.tree().await?;
        if let Some(pattern) = Pattern::new(reference, pattern) {
            self.wire.put(list(&tree, &pattern));
        }
        Reply::ok("List completed.")
    }

    pub(super) async fn lsub(&mut self, reference: &[u8], pattern: &[u8]) -> Result<Reply, Stop> {
        let tree = self.tree().await?;
        if let Some(pattern) = Pattern::new(reference, pattern) {
            self.wire.put(lsub(&tree, &pattern));
        }
        Reply::ok("Lsub completed.")
    }

    async fn tree(&self) -> Result<Tree, Stop> {
        let user = self.user()?;
        self.read(move |view| view.tree(&user)).await
    }
}

/// What LIST says of a name.
#[derive(Default)]
struct Attributes {
    selectable: bool,
    children: bool,
    special_use: Option<String>,
}

/// The `* LIST` lines, INBOX first, then by name.
fn list(tree: &Tree, pattern: &Pattern) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, attributes) in attributes(tree) {
        if !pattern.matches(&name.join(LEVELS)) {
            continue;
        }
        let mut words = Vec::new();
        if !attributes.selectable {
            words.push("\\Noselect".to_owned());
        }
        words.push(
            if attributes.children {
                "\\HasChildren"
            } else {
                "\\HasNoChildren"
            }
            .to_owned(),
        );
        words.extend(attributes.special_use.map(|special| format!("\\{special}")));
        line(&mut out, "LIST", &words.join(" "), name);
    }
    out
}

/// Every name, each parent among them, whether the tree has it or not.
fn attributes(tree: &Tree) -> BTreeMap<&[String], Attributes> {
    let mut names: BTreeMap<&[String], Attributes> = BTreeMap::new();
    for row in &tree.rows {
        let levels = row.name.0.as_slice();
        let own = names.entry(levels).or_default();
        own.selectable = row.guid.is_some() || row.stale.is_some();
        own.special_use.clone_from(&row.special_use);
        for parent in parents(levels) {
            names.entry(parent).or_default().children = true;
        }
    }
    names
}

/// Names above `levels`, the nearest last.
fn parents(levels: &[String]) -> impl DoubleEndedIterator<Item = &[String]> {
    (1..levels.len()).filter_map(|n| levels.get(..n))
}

/// The `* LSUB` lines in the order of subscription. Where a subscribed name itself doesn't match, its nearest parent
/// that does is shown as `\Noselect`, once (RFC 3501: the `%` rule).
fn lsub(tree: &Tree, pattern: &Pattern) -> Vec<u8> {
    let mut out = Vec::new();
    let matches = |levels: &[String]| pattern.matches(&levels.join(LEVELS));
    let mut shown: Vec<&[String]> = Vec::new();
    for name in &tree.subscribed {
        if matches(&name.0) {
            line(&mut out, "LSUB", "", &name.0);
            shown.push(&name.0);
        }
    }
    for name in &tree.subscribed {
        if matches(&name.0) {
            continue;
        }
        if let Some(parent) = parents(&name.0)
            .rev()
            .find(|p| matches(p))
            .filter(|p| !shown.contains(p))
        {
            line(&mut out, "LSUB", "\\Noselect", parent);
            shown.push(parent);
        }
    }
    out
}

fn line(out: &mut Vec<u8>, verb: &str, attributes: &str, levels: &[String]) {
    out.extend_from_slice(format!("* {verb} ({attributes}) \"{SEPARATOR}\" ").as_bytes());
    out.extend_from_slice(&answer::name(&MailboxName(levels.to_vec())));
    out.extend_from_slice(b"\r\n");
}

/// A pattern with `*` (anything) and `%` (anything within a level).
struct Pattern(Vec<char>);

impl Pattern {
    /// None where reference and pattern are no modified UTF-7: such a pattern matches nothing.
    fn new(reference: &[u8], pattern: &[u8]) -> Option<Self> {
        let text = mutf7::decode(&[reference, pattern].concat())?;
        let mut chars: Vec<char> = text.chars().collect();
        chars.dedup_by(|a, b| a == b && *a == '*');
        let first: String = chars.iter().take(5).collect();
        if first.eq_ignore_ascii_case("INBOX") && matches!(chars.get(5), None | Some(&SEPARATOR)) {
            chars.splice(..5, "INBOX".chars());
        }
        Some(Self(chars))
    }

    /// Walks the name once and keeps every place of the pattern that fits so far: time is bounded by name times
    /// pattern, whatever the pattern.
    fn matches(&self, name: &str) -> bool {
        let size = self.0.len().saturating_add(1);
        let mut places = vec![false; size];
        self.reach(0, &mut places);
        for c in name.chars() {
            let mut next = vec![false; size];
            for (place, wanted) in self.0.iter().enumerate() {
                if !places.get(place).copied().unwrap_or_default() {
                    continue;
                }
                match wanted {
                    '*' => self.reach(place, &mut next),
                    '%' if c != SEPARATOR => self.reach(place, &mut next),
                    wanted if *wanted == c && c != '%' => self.reach(place.saturating_add(1), &mut next),
                    _ => {}
                }
            }
            places = next;
        }
        places.last().copied().unwrap_or_default()
    }

    /// Marks `place`, and those behind it that need nothing more.
    fn reach(&self, place: usize, places: &mut [bool]) {
        let mut place = place;
        while let Some(mark) = places.get_mut(place).filter(|mark| !**mark) {
            *mark = true;
            if !matches!(self.0.get(place), Some('*' | '%')) {
                return;
            }
            place = place.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::new(b"", pattern.as_bytes()).unwrap().matches(name)
    }

    #[test]
    fn wildcards_stop_where_rfc_3501_says() {
        for (pattern, name, expected) in [
            ("*", "a/b/c", true),
            ("%", "a", true),
            ("%", "a/b", false),
            ("a/%", "a/b", true),
            ("a/%", "a/b/c", false),
            ("a/*", "a", false),
            ("%/%", "a/b", true),
            ("*c", "a/b/c", true),
            ("%c", "a/c", false),
            ("a%c*e", "abc/de", true),
            ("inbox", "INBOX", true),
            ("inbox/x", "INBOX/x", true),
            ("inboxes", "INBOXes", false),
            ("", "", true),
            ("a", "ab", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_made_to_explode_does_not() {
        assert!(!matches(&format!("{}b", "%*".repeat(900)), &"a".repeat(4000)));
    }
}
