//! The list index (`dovecot.list.index`): the tree of mailboxes as Dovecot remembers it.
//!
//! The files are those of any index; its "messages" are nodes of the tree. Their flag bytes have meanings of their own.
//! Header of the extension `list`: one octet, then names `{u32 id, octets, NUL}` by ascending id up to id 0 or the end;
//! each is one level, spelled as directories are ([`Spelling`]). Its record: `{u32 name id, u32 parent node (0: none), GUID, u32 UIDVALIDITY}`.
//!
//! With the layout index this is the tree; with Maildir++ and fs a cache that may be behind the directories. There it
//! matters because Dovecot answers from
//! it: LIST shows as `\Noselect` what the flags say, and STATUS (X-GUID) alone answers the GUID that stands here.

use super::chain::{Chain, SnapshotError, SnapshotFiles, parse_index, retry};
use super::exts::ExtTable;
use super::index::RawIndex;
use super::le::{array_at, u8_at, u32_at};
use super::mail_root::Spelling;
use super::mutf7::Undecodable;
use super::payload::{Change, FlagEntry, Intro, ext_records, parse};
use super::ranges::UidSet;
use super::record::Record;
use crate::limits::NAME_LEVELS_MAX;
use crate::op::{Guid, Uid};
use std::collections::{BTreeMap, BTreeSet};

const LIST: &str = "list";
/// The header's octet before the names.
const NAMES_AT: usize = 1;
/// The node is only there for its children.
const NONEXISTENT: u8 = 0x04;
/// The name has a directory that is no mailbox.
const NOSELECT: u8 = 0x10;

/// One name of the tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListNode {
    /// What LIST says of it.
    pub flags: u8,
    /// The mailbox's GUID, zeros where none is known.
    pub guid: Guid,
    name_id: u32,
    /// UID 0: the name is at the first level.
    parent: Uid,
}

impl ListNode {
    /// True where LIST shows it without `\Noselect`.
    #[must_use]
    pub fn is_selectable(&self) -> bool {
        self.flags & (NONEXISTENT | NOSELECT) == 0
    }

    fn learn(&mut self, ext: &str, data: &[u8]) {
        if ext != LIST {
            return;
        }
        if let (Some(name_id), Some(parent), Some(guid)) = (u32_at(data, 0), u32_at(data, 4), array_at(data, 8)) {
            (self.name_id, self.parent, self.guid) = (name_id, Uid(parent), Guid(guid));
        }
    }
}

/// A user's tree as Dovecot remembers it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListIndex {
    nodes: BTreeMap<Uid, ListNode>,
    names: BTreeMap<u32, String>,
    undecodable: Vec<Undecodable>,
}

impl ListIndex {
    /// Reads the tree from its files.
    ///
    /// # Errors
    /// [`SnapshotError`]
    pub fn snapshot(files: &SnapshotFiles<'_>, spelling: Spelling) -> Result<Self, SnapshotError> {
        let chain = Chain::of(files)?;
        let index = parse_index(files, &chain)?;
        let place = index.as_ref().and_then(|index| chain.place_of(index));
        let (mut fold, place) = match (index, place) {
            (Some(index), Some(place)) => (Fold::of_index(files.index.unwrap_or_default(), index.exts), place),
            _ if chain.oldest()?.header.starts_empty() => (Fold::default(), (0, 0)),
            _ => {
                return Err(retry(
                    "no list index fits, and its logs don't reach back to the beginning",
                ));
            }
        };
        chain.each_record(place, |record| fold.record(record))?;
        Ok(fold.finish(spelling))
    }

    /// Every node that has a whole name, with the name's levels; parents too.
    pub fn walk(&self) -> impl Iterator<Item = (Vec<String>, &ListNode)> {
        let named = |node: &ListNode| self.levels(node);
        self.nodes.values().filter_map(move |node| Some((named(node)?, node)))
    }

    /// Names that no one can read: the nodes below them are left out.
    #[must_use]
    pub fn undecodable(&self) -> &[Undecodable] {
        &self.undecodable
    }

    /// None: a level has no name, or the parents make a circle.
    fn levels(&self, node: &ListNode) -> Option<Vec<String>> {
        let mut levels = vec![self.names.get(&node.name_id)?.clone()];
        let mut parent = node.parent;
        while parent != Uid(0) {
            let above = self.nodes.get(&parent).filter(|_| levels.len() < NAME_LEVELS_MAX)?;
            levels.push(self.names.get(&above.name_id)?.clone());
            parent = above.parent;
        }
        levels.reverse();
        Some(levels)
    }
}

/// A tree in the making.
#[derive(Default)]
struct Fold {
    nodes: BTreeMap<Uid, ListNode>,
    exts: ExtTable,
    /// How many octets of the extension's header are in force: it may have become shorter.
    header_bytes: usize,
}

impl Fold {
    fn of_index(bytes: &[u8], exts: ExtTable) -> Self {
        let mut fold = Self {
            header_bytes: exts.get(LIST).map_or(0, |ext| ext.header.len()),
            exts,
            ..Self::default()
        };
        // The index was read once already, so there is nothing left to go wrong.
        let Ok(index) = RawIndex::parse(bytes) else {
            return fold;
        };
        for (uid, record) in index.records {
            let node = fold.nodes.entry(uid).or_default();
            node.flags = u8_at(record, 4).unwrap_or_default();
            for column in &index.columns {
                if let Some(data) = column.of(record) {
                    node.learn(&column.ext.name, data);
                }
            }
        }
        fold
    }

    fn record(&mut self, record: &Record<'_>) -> Result<(), String> {
        match parse(record)? {
            Change::Append(nodes) => {
                for (uid, flags) in nodes {
                    let node = ListNode {
                        flags,
                        ..ListNode::default()
                    };
                    self.nodes.insert(uid, node);
                }
            }
            Change::Expunge(uids) if record.external => {
                let gone = UidSet::of(&uids);
                self.nodes.retain(|uid, _| !gone.contains(*uid));
            }
            Change::Flags(entries) => entries.iter().for_each(|entry| self.flags(entry)),
            Change::Intro(intros) => intros.iter().try_for_each(|intro| self.introduce(intro))?,
            Change::ExtReset { reset_id, preserve } => self.exts.reset(reset_id, preserve)?,
            Change::ExtHeader(patches) => {
                self.exts.patch_header(&patches)?;
            }
            Change::ExtRecords(payload) => self.ext_records(payload)?,
            Change::Keywords { .. } => self.exts.note_keywords()?,
            _ => {}
        }
        Ok(())
    }

    fn flags(&mut self, entry: &FlagEntry) {
        for (_, node) in self.nodes.range_mut(entry.uids.first..=entry.uids.last) {
            node.flags = (node.flags & !entry.remove) | entry.add;
        }
    }

    fn introduce(&mut self, intro: &Intro<'_>) -> Result<(), String> {
        self.exts.introduce(intro)?;
        if self.exts.current()?.is_some_and(|(name, _)| &*name == LIST) {
            let bytes = super::le::index(intro.header_bytes);
            self.header_bytes = if intro.no_shrink {
                self.header_bytes.max(bytes)
            } else {
                bytes
            };
        }
        Ok(())
    }

    fn ext_records(&mut self, payload: &[u8]) -> Result<(), String> {
        let Some((name, record_bytes)) = self.exts.current()? else {
            return Ok(());
        };
        for (uid, data) in ext_records(payload, record_bytes)? {
            if let Some(node) = self.nodes.get_mut(&uid) {
                node.learn(&name, data);
            }
        }
        Ok(())
    }

    fn finish(self, spelling: Spelling) -> ListIndex {
        let header = self.exts.get(LIST).map(|ext| ext.header.as_slice()).unwrap_or_default();
        let mut list = ListIndex {
            nodes: self.nodes,
            ..ListIndex::default()
        };
        let used: BTreeSet<u32> = list.nodes.values().map(|node| node.name_id).collect();
        for (id, octets) in names(header.get(..self.header_bytes).unwrap_or(header)) {
            match spelling.decode(octets) {
                Ok(name) => drop(list.names.insert(id, name)),
                // Names are kept for a while after nobody has them any more.
                Err(_) if !used.contains(&id) => {}
                Err(undecodable) => list.undecodable.push(undecodable),
            }
        }
        list
    }
}

/// The names of an extension header, by their ids.
fn names(header: &[u8]) -> Vec<(u32, &[u8])> {
    let mut names = Vec::new();
    let mut rest = header.get(NAMES_AT..).unwrap_or_default();
    let mut last = 0;
    while let Some((id, after)) = rest.split_first_chunk::<4>() {
        let id = u32::from_le_bytes(*id);
        // Behind id 0, or an id that does not ascend, is what a longer header left.
        let end = after.iter().position(|octet| *octet == 0);
        let Some((name, tail)) = end.and_then(|end| after.split_at_checked(end)).filter(|_| id > last) else {
            break;
        };
        names.push((id, name));
        last = id;
        rest = tail.get(1..).unwrap_or_default();
    }
    names
}

/// Entry point for fuzzing: the octets are cut into an index and a log by their first two.
pub fn fuzz_list_index(bytes: &[u8]) {
    let Some((cut, rest)) = bytes.split_first_chunk::<2>() else {
        return;
    };
    let (index, log) = rest.split_at(usize::from(u16::from_le_bytes(*cut)).min(rest.len()));
    for (index, log2) in [(Some(index), None), (None, Some(index))] {
        if let Ok(tree) = ListIndex::snapshot(&SnapshotFiles { index, log, log2 }, Spelling::default()) {
            let _ = tree.walk().count();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::forge::{LogForge, append, expunge, flags, list_names, list_node};
    use super::*;

    fn read(log: &LogForge) -> ListIndex {
        ListIndex::snapshot(
            &SnapshotFiles {
                index: None,
                log: &log.0,
                log2: None,
            },
            Spelling::default(),
        )
        .unwrap()
    }

    fn find(list: &ListIndex, levels: &[&str]) -> Option<(bool, u8)> {
        list.walk()
            .find(|(name, _)| name == levels)
            .map(|(_, node)| (node.is_selectable(), node.guid.0[0]))
    }

    #[test]
    fn a_level_counts_only_below_its_own_parent() {
        let [intro, names] = list_names(&[(1, "A"), (2, "&AOk-"), (5, "B")]);
        let log = LogForge::first().commit(&[
            append(&[(1, 0), (2, 4), (3, 0x10), (4, 0)]),
            intro,
            names,
            list_node(1, 1, 0, 11),
            list_node(2, 2, 1, 12),
            list_node(3, 5, 0, 13),
            list_node(4, 2, 3, 14),
        ]);
        let list = read(&log);
        assert_eq!(find(&list, &["A"]), Some((true, 11)));
        assert_eq!(find(&list, &["A", "é"]), Some((false, 12)));
        assert_eq!(find(&list, &["B"]), Some((false, 13)));
        assert_eq!(find(&list, &["B", "é"]), Some((true, 14)));
        assert_eq!(find(&list, &["é"]), None);
        assert_eq!(find(&list, &[]), None);
    }

    #[test]
    fn a_name_under_a_second_id_is_found_and_an_old_one_is_not() {
        let [intro, names] = list_names(&[(1, "old"), (2, "kept")]);
        let log = LogForge::first().commit(&[
            append(&[(1, 0), (2, 0)]),
            intro,
            names,
            list_node(1, 1, 0, 11),
            list_node(2, 2, 0, 12),
        ]);
        // Shorter than the one before, whose end must not be read on.
        let [intro, names] = list_names(&[(2, "kept"), (3, "k")]);
        let log = log.commit(&[intro, names, list_node(1, 3, 0, 11)]);
        let list = read(&log);
        assert_eq!(find(&list, &["k"]), Some((true, 11)));
        assert_eq!(find(&list, &["old"]), None);
        assert_eq!(find(&list, &["kept"]), Some((true, 12)));
        let log = log.commit(&[flags(1, 2, 0x10, 0)]).commit(&[expunge(&[1], false)]);
        assert_eq!(find(&read(&log), &["k"]), Some((false, 11)));
        let log = log.commit(&[flags(1, 1, 0, 0x10)]).commit(&[expunge(&[2], true)]);
        assert_eq!(find(&read(&log), &["k"]), Some((true, 11)));
        assert_eq!(find(&read(&log), &["kept"]), None);
    }

    #[test]
    fn nodes_in_a_circle_and_names_without_an_end_are_no_names() {
        let [intro, names] = list_names(&[(1, "A"), (2, "B")]);
        let log = LogForge::first().commit(&[
            append(&[(1, 0), (2, 0)]),
            intro,
            names,
            list_node(1, 1, 2, 1),
            list_node(2, 2, 1, 2),
        ]);
        assert_eq!(find(&read(&log), &["A"]), None);
        assert_eq!(find(&read(&log), &["A", "B", "A", "B"]), None);
        assert_eq!(names_of(&[0, 1, 0, 0, 0, b'A']), []);
        assert_eq!(names_of(&[]), []);
        let descending = b"\0\x02\0\0\0B\0\x01\0\0\0A\0";
        assert_eq!(names_of(descending), [(2, &b"B"[..])]);
    }

    fn names_of(header: &[u8]) -> Vec<(u32, &[u8])> {
        names(header)
    }
}
