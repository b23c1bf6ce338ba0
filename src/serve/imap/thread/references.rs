//! REFERENCES (RFC 5256 section 3) and REFS (draft-ietf-morg-inthread): threads by what messages say they answer.

use super::Threaded;
use super::forest::Forest;
use std::collections::{HashMap, HashSet};

/// The answer. With `subjects` (REFERENCES) threads of the same subject are one, and threads stand by their first
/// message's date; without (REFS) by their newest one's.
pub(super) fn by_references(messages: &[Threaded], subjects: bool) -> String {
    let mut threads = Threads::new(messages);
    threads.link();
    threads.prune();
    threads.sort();
    if subjects {
        threads.join_subjects();
        threads.sort();
    } else {
        threads.sort_by_newest();
    }
    threads.forest.write()
}

struct Threads<'m> {
    messages: &'m [Threaded],
    forest: Forest,
    /// The node of each id.
    by_id: HashMap<&'m [u8], usize>,
}

impl<'m> Threads<'m> {
    /// A node for each message. An id that comes twice belongs to the first.
    fn new(messages: &'m [Threaded]) -> Self {
        let mut by_id: HashMap<&[u8], usize> = HashMap::new();
        for (node, message) in messages.iter().enumerate() {
            if let Some(id) = &message.id {
                by_id.entry(id).or_insert(node);
            }
        }
        Self {
            messages,
            forest: Forest::new(messages.iter().map(|m| Some(m.number))),
            by_id,
        }
    }

    fn node(&mut self, id: &'m [u8]) -> usize {
        match self.by_id.get(id) {
            Some(node) => *node,
            None => {
                let node = self.forest.add_dummy();
                self.by_id.insert(id, node);
                node
            }
        }
    }

    /// Each message goes below the last that it refers to, and these below each other where they have no parent yet.
    /// What would close a circle is left out.
    fn link(&mut self) {
        for (node, message) in self.messages.iter().enumerate() {
            let mut before: Option<usize> = None;
            for id in &message.references {
                let at = self.node(id);
                if let Some(parent) = before
                    && self.forest.parent(at).is_none()
                    && !self.forest.is_below(parent, at)
                {
                    self.forest.adopt(parent, at);
                }
                before = Some(at);
            }
            // what a message says of itself counts more than what others say of it
            self.forest.orphan(node);
            if let Some(parent) = before
                && !self.forest.is_below(parent, node)
            {
                self.forest.adopt(parent, node);
            }
        }
    }

    /// Takes out nodes that stand for no message: their children go up, but become roots only one by one.
    fn prune(&mut self) {
        let roots = (0..self.forest.len()).filter(|node| self.forest.parent(*node).is_none());
        let roots: Vec<usize> = roots.collect();
        self.forest.replant(roots);
        let mut bottom_up = self.forest.walk();
        bottom_up.reverse();
        let mut gone = HashSet::new();
        for node in bottom_up {
            if self.forest.message(node).is_some() {
                continue;
            }
            let parent = self.forest.parent(node);
            if parent.is_none() && self.forest.children(node).len() > 1 {
                continue;
            }
            let children = self.forest.take_children(node);
            self.forest.orphan(node);
            gone.insert(node);
            for child in children {
                match parent {
                    Some(parent) => self.forest.adopt(parent, child),
                    None => self.forest.plant(child),
                }
            }
        }
        let roots = self.forest.roots().iter().filter(|node| !gone.contains(node));
        let roots = roots.copied().collect();
        self.forest.replant(roots);
    }

    /// A node's date: its message's, else that of its first child.
    fn sent(&self, node: usize) -> (i64, u32) {
        let message = |node: usize| self.messages.get(node).map(|m| (m.sent, m.number));
        let own = message(node);
        let first = || {
            self.forest
                .children(node)
                .iter()
                .filter_map(|child| message(*child))
                .min()
        };
        own.or_else(first).unwrap_or_default()
    }

    /// Siblings and roots by date.
    fn sort(&mut self) {
        let sent: Vec<(i64, u32)> = (0..self.forest.len()).map(|node| self.sent(node)).collect();
        let key = |node: usize| sent.get(node).copied().unwrap_or_default();
        self.forest.sort_children(key);
        let mut roots = self.forest.roots().to_vec();
        roots.sort_by_key(|root| key(*root));
        self.forest.replant(roots);
    }

    fn sort_by_newest(&mut self) {
        let mut newest = vec![(i64::MIN, 0); self.forest.len()];
        let mut bottom_up = self.forest.walk();
        bottom_up.reverse();
        for node in bottom_up {
            let own = self.messages.get(node).map(|m| (m.sent, m.number));
            let below = self
                .forest
                .children(node)
                .iter()
                .filter_map(|c| newest.get(*c).copied());
            let latest = below.chain(own).max().unwrap_or((i64::MIN, 0));
            if let Some(slot) = newest.get_mut(node) {
                *slot = latest;
            }
        }
        let mut roots = self.forest.roots().to_vec();
        roots.sort_by_key(|root| newest.get(*root).copied());
        self.forest.replant(roots);
    }

    /// The subject of a thread: its root's, else that of the root's first child.
    fn subject(&self, root: usize) -> Option<&'m super::Subject> {
        let first = || self.forest.children(root).first().copied();
        let node = if self.forest.message(root).is_some() {
            Some(root)
        } else {
            first()
        };
        self.messages.get(node?).map(|message| &message.subject)
    }

    fn is_reply(&self, root: usize) -> bool {
        self.subject(root).is_some_and(|subject| subject.is_reply)
    }

    /// Threads of the same base subject become one.
    fn join_subjects(&mut self) {
        let roots = self.forest.roots().to_vec();
        let mut chosen: HashMap<&str, usize> = HashMap::new();
        for root in &roots {
            let Some(subject) = self.subject(*root).filter(|s| !s.base.is_empty()) else {
                continue;
            };
            let better = chosen.get(subject.base.as_str()).is_none_or(|other| {
                let dummy = self.forest.message(*root).is_none() && self.forest.message(*other).is_some();
                dummy || (self.is_reply(*other) && !self.is_reply(*root) && self.forest.message(*other).is_some())
            });
            if better {
                chosen.insert(&subject.base, *root);
            }
        }
        let mut standing = Vec::new();
        let mut replaced: HashMap<usize, usize> = HashMap::new();
        for root in roots {
            let other = self.subject(root).and_then(|s| chosen.get(s.base.as_str())).copied();
            match other.filter(|other| *other != root) {
                Some(other) => {
                    let other = replaced.get(&other).copied().unwrap_or(other);
                    self.join(other, root, &mut replaced);
                }
                None => standing.push(root),
            }
        }
        let standing = standing
            .into_iter()
            .map(|root| replaced.get(&root).copied().unwrap_or(root))
            .collect();
        self.forest.replant(standing);
    }

    /// Puts the thread `root` to the thread `other` of the same subject.
    fn join(&mut self, other: usize, root: usize, replaced: &mut HashMap<usize, usize>) {
        let is_dummy = |threads: &Self, node| threads.forest.message(node).is_none();
        match (is_dummy(self, other), is_dummy(self, root)) {
            (true, true) => {
                for child in self.forest.take_children(root) {
                    self.forest.adopt(other, child);
                }
            }
            (true, false) => self.forest.adopt(other, root),
            (false, _) if self.is_reply(root) && !self.is_reply(other) => self.forest.adopt(other, root),
            (false, _) => {
                let both = self.forest.add_dummy();
                self.forest.adopt(both, other);
                self.forest.adopt(both, root);
                replaced.insert(other, both);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::imap::letter::Subject;

    fn message(number: u32, id: &str, references: &[&str], subject: &str) -> Threaded {
        Threaded {
            number,
            sent: i64::from(number),
            subject: Subject::of(subject),
            id: (!id.is_empty()).then(|| id.as_bytes().to_vec()),
            references: references.iter().map(|r| r.as_bytes().to_vec()).collect(),
        }
    }

    #[test]
    fn answers_stand_below_what_they_answer() {
        let messages = [
            message(1, "a", &[], "one"),
            message(2, "b", &["a"], "Re: one"),
            message(3, "c", &["a", "b"], "Re: one"),
            message(4, "d", &["a"], "Re: one"),
            message(5, "e", &[], "two"),
        ];
        assert_eq!(by_references(&messages, true), "(1 (2 3)(4))(5)");
        assert_eq!(by_references(&messages, false), "(1 (2 3)(4))(5)");
    }

    #[test]
    fn a_missing_parent_of_several_is_kept_and_of_one_is_not() {
        let messages = [
            message(1, "b", &["a"], "x"),
            message(2, "c", &["a"], "y"),
            message(3, "e", &["d"], "z"),
        ];
        assert_eq!(by_references(&messages, false), "((1)(2))(3)");
    }

    #[test]
    fn references_that_close_a_circle_don_t() {
        let messages = [
            message(1, "a", &["b"], "x"),
            message(2, "b", &["a"], "y"),
            message(3, "c", &["c"], "z"),
            message(4, "a", &["b", "a", "b"], "w"),
        ];
        let answer = by_references(&messages, true);
        for number in ["1", "2", "3", "4"] {
            assert_eq!(answer.matches(number).count(), 1, "{answer}");
        }
    }

    #[test]
    fn threads_of_one_subject_are_joined() {
        let messages = [
            message(1, "a", &[], "one"),
            message(2, "b", &[], "Re: one"),
            message(3, "c", &[], "two"),
            message(4, "d", &[], "two"),
            message(5, "", &[], ""),
            message(6, "", &[], ""),
        ];
        assert_eq!(by_references(&messages, true), "(1 2)((3)(4))(5)(6)");
        assert_eq!(by_references(&messages, false), "(1)(2)(3)(4)(5)(6)");
    }

    proptest::proptest! {
        #[test]
        fn each_message_stands_in_the_answer_once(
            links in proptest::collection::vec((0_u8..20, proptest::collection::vec(0_u8..20, 0..5), 0_u8..6), 0..25),
        ) {
            let messages: Vec<Threaded> = (1..).zip(&links).map(|(number, (id, references, subject))| {
                let references: Vec<String> = references.iter().map(|r| format!("i{r}")).collect();
                let references: Vec<&str> = references.iter().map(String::as_str).collect();
                let subject = ["", "a", "Re: a", "b", "Re: b", "[x] a (fwd)"][usize::from(*subject)];
                message(number, &format!("i{id}"), &references, subject)
            }).collect();
            for subjects in [true, false] {
                let answer = by_references(&messages, subjects);
                let mut numbers: Vec<u32> = answer
                    .split(|c: char| !c.is_ascii_digit())
                    .filter_map(|n| n.parse().ok())
                    .collect();
                numbers.sort_unstable();
                proptest::prop_assert_eq!(numbers, (1..=u32::try_from(messages.len()).unwrap()).collect::<Vec<_>>(), "{}", answer);
            }
        }
    }
}
