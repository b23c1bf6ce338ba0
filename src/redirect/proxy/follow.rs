//! Whom a proxy follows: the primary of the highest epoch that any node has ever spoken of, and nobody else.

use crate::op::{Epoch, NodeName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An epoch as its two halves: equal numbers of different nodes are a fork.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Its number; 0 before anything was heard.
    pub number: Epoch,
    /// The node that took it, where that is known.
    pub node: Option<NodeName>,
}

impl Mark {
    /// True where both may be the same epoch.
    fn fits(&self, other: &Self) -> bool {
        let same_node = match (&self.node, &other.node) {
            (Some(one), Some(two)) => one == two,
            _ => true,
        };
        self.number == other.number && same_node
    }
}

/// What a node says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The primary, and clients may be sent there.
    Serves,
    /// The primary, but not for new clients just now: restarted and not confirmed yet, or being drained.
    Waits,
    /// Standby, or fenced.
    Stands,
}

/// What a node says of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// What it is.
    pub claim: Claim,
    /// The highest epoch that it knows.
    pub epoch: Mark,
}

/// Where clients go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Course {
    /// The node whose sessions live on; all others' are cut.
    pub keeps: Option<NodeName>,
    /// True where new clients may be sent to it; while false they are held.
    pub opens: bool,
    /// The highest epoch ever seen.
    pub epoch: Epoch,
}

/// The last word of a node.
#[derive(Clone, Debug)]
struct Heard {
    word: Word,
    /// False once it can't be asked any more.
    fresh: bool,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Follow {
    seen: Mark,
    heard: BTreeMap<NodeName, Heard>,
    course: Course,
}

impl Follow {
    /// `seen`: the highest epoch that was seen before.
    pub(super) fn new(seen: Mark) -> Self {
        let course = Course {
            epoch: seen.number,
            ..Course::default()
        };
        Self {
            seen,
            heard: BTreeMap::new(),
            course,
        }
    }

    /// The highest epoch ever seen.
    pub(super) fn seen(&self) -> &Mark {
        &self.seen
    }

    /// Where clients go now.
    pub(super) fn course(&self) -> Course {
        self.course.clone()
    }

    /// Takes in a node's word; none: it can't be asked. Answers with a fork, in words, where it shows one.
    pub(super) fn hear(&mut self, node: &NodeName, word: Option<Word>) -> Option<String> {
        let mut fork = None;
        match word {
            Some(word) => {
                fork = self.raise(node, &word);
                let fresh = true;
                self.heard.insert(node.clone(), Heard { word, fresh });
            }
            None => {
                if let Some(heard) = self.heard.get_mut(node) {
                    heard.fresh = false;
                }
            }
        }
        self.course = self.chart();
        fork
    }

    /// A standby that knows of a higher epoch counts as much as its primary: the older one is over.
    fn raise(&mut self, node: &NodeName, word: &Word) -> Option<String> {
        if word.epoch.number > self.seen.number {
            self.seen = word.epoch.clone();
        } else if word.epoch.fits(&self.seen) {
            // the same epoch, perhaps told in full for the first time
            self.seen.node = self.seen.node.take().or_else(|| word.epoch.node.clone());
        } else if word.epoch.number == self.seen.number && word.claim == Claim::Serves {
            let taker = |mark: &Mark| mark.node.as_ref().map_or("nobody", NodeName::as_str).to_owned();
            return Some(format!(
                "epoch {} was taken by {} before; {node} says by {}: it is not followed",
                self.seen.number,
                taker(&self.seen),
                taker(&word.epoch)
            ));
        }
        None
    }

    fn chart(&self) -> Course {
        let course = |keeps: Option<&NodeName>, opens| Course {
            keeps: keeps.cloned(),
            opens,
            epoch: self.seen.number,
        };
        // who took the epoch is its primary, nobody else; where that is unknown, one claim alone counts
        let rightful = |node: &NodeName| self.seen.node.as_ref().is_none_or(|taker| taker == node);
        let of_now = self
            .heard
            .iter()
            .filter(|(node, heard)| heard.word.epoch.fits(&self.seen) && rightful(node));
        let of_now: Vec<_> = of_now.collect();
        let current = self.course.keeps.as_ref();
        let held = current.and_then(|current| of_now.iter().find(|(node, _)| *node == current));
        match held.map(|(_, heard)| (heard.word.claim, heard.fresh)) {
            Some((Claim::Serves, true)) => return course(current, true),
            // the link to it broke, its mail service may be well: nothing changes before somebody says so
            Some((Claim::Serves, false)) => return course(current, self.course.opens),
            Some((Claim::Waits, _)) => return course(current, false),
            Some((Claim::Stands, _)) | None => {}
        }
        let mut serving = of_now
            .iter()
            .filter(|(_, heard)| heard.fresh && heard.word.claim == Claim::Serves);
        match (serving.next(), serving.next()) {
            (Some((node, _)), None) => course(Some(node), true),
            _ => course(None, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(claim: Claim, number: u64, taker: Option<&str>) -> Option<Word> {
        let node = taker.map(NodeName::from);
        let number = Epoch(number);
        let epoch = Mark { number, node };
        Some(Word { claim, epoch })
    }

    /// Who is followed, and whether new clients may go there, after each of these words.
    fn followed(words: &[(&str, Option<Word>)]) -> Vec<(Option<String>, bool)> {
        let mut follow = Follow::new(Mark::default());
        let mut courses = Vec::new();
        for (node, word) in words {
            drop(follow.hear(&NodeName::from(*node), word.clone()));
            let course = follow.course();
            courses.push((course.keeps.map(|node| node.to_string()), course.opens));
        }
        courses
    }

    fn to(node: &str, opens: bool) -> (Option<String>, bool) {
        (Some(node.to_owned()), opens)
    }

    const NOBODY: (Option<String>, bool) = (None, false);
    use Claim::{Serves, Stands, Waits};

    #[test]
    fn an_older_primary_that_comes_back_and_lies_is_not_followed() {
        let words = [
            ("a", word(Serves, 1, Some("a"))),
            ("b", word(Stands, 1, Some("a"))),
            ("b", word(Serves, 2, Some("b"))),
            ("a", word(Serves, 1, Some("a"))),
            ("b", None),
            ("a", word(Serves, 1, Some("a"))),
        ];
        let a = to("a", true);
        let b = || to("b", true);
        assert_eq!(followed(&words), [a.clone(), a, b(), b(), b(), b()]);
    }

    #[test]
    fn a_higher_epoch_ends_the_old_primary_before_the_new_one_serves() {
        let words = [
            ("a", word(Serves, 1, Some("a"))),
            // b takes epoch 2 and is not ready yet; a does not know
            ("b", word(Stands, 2, Some("b"))),
            ("a", word(Serves, 1, Some("a"))),
            ("b", word(Serves, 2, Some("b"))),
        ];
        assert_eq!(followed(&words), [to("a", true), NOBODY, NOBODY, to("b", true)]);
    }

    #[test]
    fn a_lost_control_link_does_not_end_mail_and_a_word_of_a_fence_does() {
        let words = [
            ("a", word(Serves, 1, None)),
            ("a", None),
            ("b", word(Stands, 1, None)),
            ("a", word(Stands, 1, None)),
            ("a", word(Serves, 1, None)),
        ];
        let a = || to("a", true);
        assert_eq!(followed(&words), [a(), a(), a(), NOBODY, a()]);
    }

    #[test]
    fn a_restarted_primary_that_nobody_confirmed_keeps_its_sessions_and_gets_no_new_ones() {
        let words = [
            ("a", word(Waits, 1, Some("a"))),
            ("a", word(Serves, 1, Some("a"))),
            ("a", None),
            ("a", word(Waits, 1, Some("a"))),
            ("a", None),
            ("a", word(Serves, 1, Some("a"))),
        ];
        let (open, shut) = (to("a", true), to("a", false));
        assert_eq!(
            followed(&words),
            [NOBODY, open.clone(), open.clone(), shut.clone(), shut, open]
        );
    }

    #[test]
    fn of_two_that_claim_one_epoch_only_the_one_that_took_it_is_followed_or_none() {
        let fork = [("a", word(Serves, 2, Some("a"))), ("b", word(Serves, 2, Some("b")))];
        assert_eq!(followed(&fork), [to("a", true), to("a", true)]);
        let mut follow = Follow::new(Mark::default());
        drop(follow.hear(&NodeName::from("a"), word(Serves, 2, Some("a"))));
        let told = follow.hear(&NodeName::from("b"), word(Serves, 2, Some("b")));
        assert!(told.is_some_and(|told| told.contains("taken by a before; b says by b")));
        // a thief of another's epoch
        assert_eq!(followed(&[("b", word(Serves, 2, Some("a")))]), [NOBODY]);
        // where nobody says who took it, two claims at the same time are one too many
        let unknown = [
            ("a", word(Stands, 2, None)),
            ("b", word(Serves, 2, None)),
            ("a", word(Serves, 2, None)),
            ("b", word(Stands, 2, None)),
        ];
        assert_eq!(
            followed(&unknown),
            [NOBODY, to("b", true), to("b", true), to("a", true)]
        );
    }

    #[test]
    fn what_was_seen_before_a_restart_still_counts() {
        let mark = Mark {
            number: Epoch(7),
            node: Some(NodeName::from("b")),
        };
        let mut follow = Follow::new(mark.clone());
        drop(follow.hear(&NodeName::from("a"), word(Serves, 6, Some("a"))));
        assert_eq!((follow.course().keeps, follow.seen()), (None, &mark));
    }
}
