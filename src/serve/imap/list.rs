//! LIST (RFC 9051 section 6.3.9, with LIST-EXTENDED and LIST-STATUS) and LSUB (RFC 3501 section 6.3.9), as Dovecot answers
//! them: parents that are no mailboxes are `\Noselect` (but stale names are not: [`crate::op::Stale`]), each name says
//! whether it has children, special use is told.

use super::answer;
use super::grammar::{List, StatusItem};
use super::mutf7::{self, Script};
use super::session::{Reply, Session, Stop};
use super::status::Looked;
use crate::op::MailboxName;
use crate::store::embedded::view::{Tree, TreeRow};
use std::collections::{BTreeMap, HashMap, HashSet};

impl Session {
    pub(super) async fn list(&mut self, list: &List) -> Result<Reply, Stop> {
        if !list.is_extended() && list.patterns.iter().all(Vec::is_empty) {
            let script = self.script();
            self.wire.put(root(&list.reference, script.separator));
            return Reply::ok("List completed.");
        }
        let (tree, script) = self.tree().await?;
        let patterns = patterns(&list.reference, &list.patterns, script);
        let names = names(&tree);
        let lines: Vec<(Vec<u8>, MailboxName, bool)> = selected(list, &names, &tree, &patterns)
            .into_iter()
            .map(|(levels, listed)| {
                let mut line = Vec::new();
                let name = MailboxName(levels.to_vec());
                listed.write(&mut line, list, &name, script);
                (line, name, listed.has_status(list))
            })
            .collect();
        let status = list.returns.as_ref().map(|r| r.status.as_slice()).unwrap_or_default();
        for (line, name, has_status) in &lines {
            self.wire.stream(line).await?;
            if has_status & !status.is_empty() {
                self.list_status(name, status).await?;
            }
        }
        Reply::ok("List completed.")
    }

    /// The STATUS of a listed name; nothing where it went meanwhile.
    async fn list_status(&mut self, name: &MailboxName, items: &[StatusItem]) -> Result<(), Stop> {
        if let Looked::Mailbox(row) = self.look(name).await? {
            let words = self.status_words(&row, items).await?;
            self.status_line(name, &words);
        }
        Ok(())
    }

    pub(super) async fn lsub(&mut self, reference: &[u8], pattern: &[u8]) -> Result<Reply, Stop> {
        let (tree, script) = self.tree().await?;
        let patterns = patterns(reference, &[pattern.to_vec()], script);
        let answer = lsub(&tree, &patterns, pattern.ends_with(b"%"), script);
        self.wire.put(answer);
        Reply::ok("Lsub completed.")
    }

    /// The tree, and how its names are written now.
    async fn tree(&mut self) -> Result<(Tree, Script), Stop> {
        let user = self.user()?;
        let mut tree = self.read(move |view| view.tree(&user)).await?;
        add_prefixes(&mut tree);
        self.separator = Some(tree.namespaces.separator);
        Ok((tree, self.script()))
    }
}

/// A namespace's prefix is a name that is listed, whether there is anything in the namespace or not.
fn add_prefixes(tree: &mut Tree) {
    let separator = tree.namespaces.separator;
    for prefix in &tree.namespaces.prefixes {
        let prefix = prefix.strip_suffix(separator).unwrap_or(prefix);
        let name = MailboxName::of(prefix.split(separator));
        if !prefix.is_empty() && tree.rows.iter().all(|row| row.name != name) {
            tree.rows.push(TreeRow {
                name,
                guid: None,
                stale: None,
                special_use: None,
            });
        }
    }
}

fn patterns(reference: &[u8], patterns: &[Vec<u8>], script: Script) -> Vec<Pattern> {
    let patterns = patterns.iter();
    patterns
        .filter_map(|pattern| Pattern::new(reference, pattern, script))
        .collect()
}

/// `LIST "" ""`: the separator, and what of the reference is a root.
fn root(reference: &[u8], separator: char) -> Vec<u8> {
    let mut line = format!("* LIST (\\Noselect) {} ", answer::separator(separator)).into_bytes();
    let end = reference.iter().position(|b| char::from(*b) == separator);
    let end = end.map(|at| at.saturating_add(1));
    answer::astring(&mut line, end.and_then(|end| reference.get(..end)).unwrap_or_default());
    line.extend_from_slice(b"\r\n");
    line
}

/// What LIST says of a name.
#[derive(Clone, Default)]
struct Listed {
    /// It is a mailbox, or stands above one.
    exists: bool,
    selectable: bool,
    children: bool,
    special_use: Option<String>,
    subscribed: bool,
    /// A name below, which is not listed itself, is subscribed.
    below_subscribed: bool,
    /// A name below, which is not listed itself, has a special use.
    below_special: bool,
}

impl Listed {
    fn write(&self, out: &mut Vec<u8>, list: &List, name: &MailboxName, script: Script) {
        let extended = list.is_extended();
        let returns = list.returns.clone().unwrap_or_default();
        let mut words = Vec::new();
        if !self.selectable {
            let nonexistent = extended && !self.exists;
            words.push(if nonexistent { "\\NonExistent" } else { "\\Noselect" }.to_owned());
        }
        if self.subscribed && (list.subscribed || returns.subscribed) {
            words.push("\\Subscribed".to_owned());
        }
        if !extended || returns.children {
            words.push(
                if self.children {
                    "\\HasChildren"
                } else {
                    "\\HasNoChildren"
                }
                .to_owned(),
            );
        }
        if !extended || list.special_use || returns.special_use {
            words.extend(self.special_use.iter().map(|special| format!("\\{special}")));
        }
        let separator = answer::separator(script.separator);
        out.extend_from_slice(format!("* LIST ({}) {separator} ", words.join(" ")).as_bytes());
        out.extend_from_slice(&answer::name(name, script));
        if list.recursive && self.below_subscribed {
            out.extend_from_slice(b" (CHILDINFO (\"SUBSCRIBED\"))");
        }
        if list.recursive && self.below_special {
            out.extend_from_slice(b" (CHILDINFO (\"SPECIAL-USE\"))");
        }
        out.extend_from_slice(b"\r\n");
    }

    /// True where RETURN (STATUS …) tells of it.
    fn has_status(&self, list: &List) -> bool {
        self.selectable && (self.subscribed || !list.subscribed)
    }
}

/// Every name, each parent among them, whether the tree has it or not; and names that are only subscribed.
fn names(tree: &Tree) -> BTreeMap<&[String], Listed> {
    let mut names: BTreeMap<&[String], Listed> = BTreeMap::new();
    for row in &tree.rows {
        let levels = row.name.0.as_slice();
        let own = names.entry(levels).or_default();
        own.exists = true;
        own.selectable = row.guid.is_some() || row.stale.is_some();
        own.special_use.clone_from(&row.special_use);
        for parent in parents(levels) {
            let above = names.entry(parent).or_default();
            (above.exists, above.children) = (true, true);
        }
    }
    for name in &tree.subscribed {
        if let Some(listed) = names.get_mut(name.0.as_slice()) {
            listed.subscribed = true;
        }
    }
    names
}

/// The names to list, INBOX first, then by name; subscriptions in the order of subscribing.
fn selected<'t>(
    list: &List,
    names: &BTreeMap<&'t [String], Listed>,
    tree: &'t Tree,
    patterns: &[Pattern],
) -> Vec<(&'t [String], Listed)> {
    let matches = |levels: &[String]| any_matches(patterns, levels);
    if !list.subscribed && !list.special_use {
        let fitting = names.iter().filter(|(levels, _)| matches(levels));
        return fitting.map(|(levels, listed)| (*levels, listed.clone())).collect();
    }
    let special = |levels: &[String]| names.get(levels).is_some_and(|listed| listed.special_use.is_some());
    let wanted: Vec<&[String]> = if list.subscribed {
        let subscribed = tree.subscribed.iter().map(|name| name.0.as_slice());
        subscribed
            .filter(|levels| !list.special_use || special(levels))
            .collect()
    } else {
        names.keys().copied().filter(|levels| special(levels)).collect()
    };
    let mut found: Vec<(&[String], Listed)> = Vec::new();
    for levels in &wanted {
        if matches(levels) {
            let mut listed = names.get(levels).cloned().unwrap_or_default();
            listed.subscribed |= list.subscribed;
            found.push((levels, listed));
        }
    }
    if list.recursive {
        add_parents(list, names, &wanted, patterns, &mut found);
    }
    found
}

/// RECURSIVEMATCH: what is listed and has a selected name below says so; where the selected name itself doesn't match,
/// the names above it that do are listed in its stead.
fn add_parents<'t>(
    list: &List,
    names: &BTreeMap<&'t [String], Listed>,
    wanted: &[&'t [String]],
    patterns: &[Pattern],
    found: &mut Vec<(&'t [String], Listed)>,
) {
    let mut places: HashMap<&[String], usize> = found.iter().enumerate().map(|(n, (levels, _))| (*levels, n)).collect();
    for levels in wanted {
        let listed_itself = any_matches(patterns, levels);
        for parent in parents(levels).filter(|parent| any_matches(patterns, parent)) {
            let place = match places.get(parent) {
                Some(place) => *place,
                None if listed_itself => continue,
                None => {
                    found.push((parent, names.get(parent).cloned().unwrap_or_default()));
                    let place = found.len().saturating_sub(1);
                    places.insert(parent, place);
                    place
                }
            };
            if let Some((_, listed)) = found.get_mut(place) {
                listed.below_subscribed |= list.subscribed;
                listed.below_special |= list.special_use;
            }
        }
    }
}

fn any_matches(patterns: &[Pattern], levels: &[String]) -> bool {
    patterns.iter().any(|pattern| pattern.matches(levels))
}

/// Names above `levels`, the nearest last.
fn parents(levels: &[String]) -> impl DoubleEndedIterator<Item = &[String]> {
    (1..levels.len()).filter_map(|n| levels.get(..n))
}

/// The `* LSUB` lines in the order of subscription. Where a subscribed name itself doesn't match and the pattern ends
/// with `%`, its nearest parent that does is shown as `\Noselect`, once (RFC 3501). Special use is told as in LIST.
fn lsub(tree: &Tree, patterns: &[Pattern], ends_with_percent: bool, script: Script) -> Vec<u8> {
    let mut out = Vec::new();
    let separator = answer::separator(script.separator);
    let mut line = |attributes: &str, levels: &[String]| {
        out.extend_from_slice(format!("* LSUB ({attributes}) {separator} ").as_bytes());
        out.extend_from_slice(&answer::name(&MailboxName(levels.to_vec()), script));
        out.extend_from_slice(b"\r\n");
    };
    let mut shown: HashSet<&[String]> = HashSet::new();
    let (matching, other): (Vec<_>, Vec<_>) = tree.subscribed.iter().partition(|name| any_matches(patterns, &name.0));
    let specials: Vec<_> = tree
        .rows
        .iter()
        .filter_map(|row| Some((&row.name, row.special_use.as_ref()?)))
        .collect();
    let special = |name: &MailboxName| {
        let found = specials.iter().find(|(special, _)| *special == name);
        found.map_or_else(String::new, |(_, special)| format!("\\{special}"))
    };
    for name in matching {
        line(&special(name), &name.0);
        shown.insert(&name.0);
    }
    for name in other.iter().filter(|_| ends_with_percent) {
        let parent = parents(&name.0).rev().find(|parent| any_matches(patterns, parent));
        if let Some(parent) = parent.filter(|parent| !shown.contains(parent)) {
            line("\\Noselect", parent);
            shown.insert(parent);
        }
    }
    out
}

/// A pattern with `*` (anything) and `%` (anything within a level).
struct Pattern {
    characters: Vec<char>,
    separator: char,
}

impl Pattern {
    /// None where reference and pattern are no modified UTF-7: such a pattern matches nothing.
    fn new(reference: &[u8], pattern: &[u8], script: Script) -> Option<Self> {
        let text = mutf7::text(&[reference, pattern].concat(), script.utf8)?;
        let separator = script.separator;
        let mut chars: Vec<char> = text.chars().collect();
        chars.dedup_by(|a, b| a == b && *a == '*');
        let first: String = chars.iter().take(5).collect();
        if first.eq_ignore_ascii_case("INBOX") && chars.get(5).is_none_or(|c| *c == separator) {
            chars.splice(..5, "INBOX".chars());
        }
        Some(Self {
            characters: chars,
            separator,
        })
    }

    /// Walks the name once and keeps every place of the pattern that fits so far: time is bounded by name times
    /// pattern, whatever the pattern.
    fn matches(&self, levels: &[String]) -> bool {
        let name = levels.join(self.separator.encode_utf8(&mut [0; 4]));
        let size = self.characters.len().saturating_add(1);
        let mut places = vec![false; size];
        self.reach(0, &mut places);
        for c in name.chars() {
            let mut next = vec![false; size];
            for (place, wanted) in self.characters.iter().enumerate() {
                if !places.get(place).copied().unwrap_or_default() {
                    continue;
                }
                match wanted {
                    '*' => self.reach(place, &mut next),
                    '%' if c != self.separator => self.reach(place, &mut next),
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
            if !matches!(self.characters.get(place), Some('*' | '%')) {
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
        let script = Script {
            separator: '/',
            utf8: false,
        };
        let levels: Vec<String> = name.split('/').map(str::to_owned).collect();
        Pattern::new(b"", pattern.as_bytes(), script).unwrap().matches(&levels)
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
