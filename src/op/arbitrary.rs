//! Values of every type here as properties draw them: legal, and as odd as the types allow.

use super::mailbox::{Expunge, FlagChange, KeywordChange};
use super::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn text(bytes: std::ops::Range<usize>) -> impl Strategy<Value = String> {
    // Mail has all of Unicode in its names: quotes, controls, what takes four bytes.
    let odd = prop_oneof![Just('\0'), Just('\n'), Just('"'), Just('/'), Just('é'), Just('𝄞')];
    vec(prop_oneof![4 => proptest::char::range('!', '~'), 1 => odd], bytes).prop_map(String::from_iter)
}

pub(crate) fn mailbox_id() -> impl Strategy<Value = MailboxId> {
    (text(1..20), any::<[u8; 16]>()).prop_map(|(user, guid)| MailboxId {
        user: UserName(user),
        guid: Guid(guid),
    })
}

pub(crate) fn mailbox_name() -> impl Strategy<Value = MailboxName> {
    vec(text(0..12), 1..5).prop_map(MailboxName)
}

pub(crate) fn flags() -> impl Strategy<Value = Flags> {
    any::<u8>().prop_map(Flags::from_bits)
}

fn keyword() -> impl Strategy<Value = Keyword> {
    text(1..16).prop_map(Keyword)
}

fn numbers() -> impl Strategy<Value = (UidValidity, Uid, Modseq)> {
    (any::<u32>(), any::<u32>(), any::<u64>()).prop_map(|(v, u, m)| (UidValidity(v), Uid(u), Modseq(m)))
}

fn uid() -> impl Strategy<Value = Uid> {
    prop_oneof![1..200u32, 1..=u32::MAX].prop_map(Uid)
}

pub(crate) fn uid_ranges() -> impl Strategy<Value = Vec<UidRange>> {
    let range = (uid(), uid()).prop_map(|(a, b)| UidRange {
        first: a.min(b),
        last: a.max(b),
    });
    vec(range, 0..6)
}

pub(crate) fn position() -> impl Strategy<Value = SourcePosition> {
    let file = (any::<u32>(), any::<u32>(), any::<u32>(), any::<u64>());
    let doubts = (any::<u32>(), any::<bool>(), any::<bool>());
    (file, numbers(), any::<[u8; 8]>(), doubts, uid_ranges()).prop_map(|(file, numbers, fingerprint, doubts, open)| {
        SourcePosition {
            index_id: file.0,
            file_seq: file.1,
            create_stamp: file.2,
            offset: file.3,
            uidvalidity: numbers.0,
            uidnext: numbers.1,
            modseq: numbers.2,
            fingerprint,
            rebuild_count: doubts.0,
            repaired: doubts.1,
            unattested: doubts.2,
            open_requests: open,
        }
    })
}

pub(crate) fn append() -> impl Strategy<Value = Append> {
    let dates = (any::<i64>(), option::of(any::<i64>()));
    (
        uid(),
        text(0..40),
        option::of(any::<u64>()),
        dates,
        flags(),
        vec(keyword(), 0..4),
        any::<u64>(),
    )
        .prop_map(
            |(uid, guid, size, (internal_date, save_date), flags, keywords, modseq)| Append {
                uid,
                guid: MessageGuid(guid),
                size,
                internal_date,
                save_date,
                flags,
                keywords,
                modseq: Modseq(modseq),
            },
        )
}

fn keyword_change() -> impl Strategy<Value = KeywordChange> {
    (uid_ranges(), 1..=4u8, keyword(), any::<u64>()).prop_map(|(uids, verb, keyword, modseq)| {
        let verb = KeywordVerb::try_from(verb).unwrap();
        let keyword = if verb == KeywordVerb::Reset {
            Keyword::default()
        } else {
            keyword
        };
        KeywordChange {
            uids,
            verb,
            keyword,
            modseq: Modseq(modseq),
        }
    })
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    let flag_change =
        (uid_ranges(), flags(), flags(), any::<u64>()).prop_map(|(uids, add, remove, modseq)| FlagChange {
            uids,
            add,
            remove,
            modseq: Modseq(modseq),
        });
    let expunge = (uid_ranges(), any::<bool>(), any::<u64>()).prop_map(|(uids, requested, modseq)| Expunge {
        uids,
        requested,
        modseq: Modseq(modseq),
    });
    prop_oneof![
        append().prop_map(Op::Append),
        flag_change.prop_map(Op::Flags),
        keyword_change().prop_map(Op::Keywords),
        expunge.prop_map(Op::Expunge),
    ]
}

pub(crate) fn mailbox_txn() -> impl Strategy<Value = MailboxTxn> {
    (mailbox_id(), numbers(), vec(op(), 0..6), position()).prop_map(|(mailbox, numbers, ops, position)| MailboxTxn {
        mailbox,
        uidvalidity: numbers.0,
        ops,
        uidnext: numbers.1,
        highest_modseq: numbers.2,
        position,
    })
}

pub(crate) fn state_chunk() -> impl Strategy<Value = StateChunk> {
    let messages = vec(append(), 0..8).prop_map(|mut messages| {
        messages.sort_by_key(|message| message.uid);
        messages.dedup_by_key(|message| message.uid);
        messages
    });
    (mailbox_id(), numbers(), 1..=4u8, messages, position()).prop_map(
        |(mailbox, numbers, lineage, messages, position)| StateChunk {
            mailbox,
            uidvalidity: numbers.0,
            lineage: Lineage::try_from(lineage).unwrap(),
            messages,
            uidnext: numbers.1,
            highest_modseq: numbers.2,
            position,
        },
    )
}

pub(crate) fn unselectable() -> impl Strategy<Value = Unselectable> {
    let stale = (any::<[u8; 16]>(), any::<bool>()).prop_map(|(guid, nonexistent_code)| Stale {
        guid: Guid(guid),
        nonexistent_code,
    });
    prop_oneof![Just(Unselectable::Noselect), stale.prop_map(Unselectable::Stale)]
}

pub(crate) fn namespaces() -> impl Strategy<Value = Namespaces> {
    (prop::char::range('!', '~'), vec(text(0..10), 0..3))
        .prop_map(|(separator, prefixes)| Namespaces { separator, prefixes })
}

pub(crate) fn tree_change() -> impl Strategy<Value = TreeChange> {
    let gone = (1..=3u8).prop_map(|number| Err(Disappearance::try_from(number).unwrap()));
    let name = prop_oneof![mailbox_name().prop_map(Ok), gone];
    let mailbox =
        (any::<[u8; 16]>(), name, option::of(text(0..10))).prop_map(|(guid, name, special_use)| TreeMailbox {
            guid: Guid(guid),
            name,
            special_use,
        });
    let unselectable = vec((mailbox_name(), option::of(unselectable())), 0..4);
    let subscriptions = vec((mailbox_name(), any::<bool>()), 0..4);
    (
        text(1..20),
        (any::<bool>(), option::of(namespaces())),
        vec(mailbox, 0..5),
        unselectable,
        subscriptions,
    )
        .prop_map(
            |(user, (complete, namespaces), mailboxes, unselectable, subscriptions)| TreeChange {
                user: UserName(user),
                complete,
                namespaces,
                mailboxes,
                unselectable,
                subscriptions,
            },
        )
}

fn attributes_change() -> impl Strategy<Value = AttributesChange> {
    let here = vec(any::<u8>(), 0..40).prop_map(AttributeValue::Here);
    let body = (any::<[u8; 32]>(), 0..=crate::limits::ATTRIBUTE_BYTES_MAX).prop_map(|(hash, size)| {
        let hash = BodyHash(hash);
        AttributeValue::Body { hash, size }
    });
    let entries = vec((text(1..20), option::of(prop_oneof![here, body])), 0..5);
    let scope = (option::of(any::<[u8; 16]>()), 1..=3u8);
    let holders = option::of(vec(any::<[u8; 16]>(), 0..4));
    let last = (any::<[u8; 8]>(), holders);
    (text(1..20), scope, any::<bool>(), entries, last).prop_map(
        |(user, (mailbox, kind), complete, entries, (fingerprint, holders))| AttributesChange {
            user: UserName(user),
            scope: AttributeScope {
                mailbox: mailbox.map(Guid),
                kind: AttributeKind::try_from(kind).unwrap(),
            },
            complete,
            entries,
            fingerprint: AttributeFingerprint(fingerprint),
            holders: holders
                .filter(|_| mailbox.is_none())
                .map(|holders| holders.into_iter().map(Guid).collect()),
        },
    )
}

fn tree_digest() -> impl Strategy<Value = TreeDigest> {
    let kind =
        (1..=3u8, any::<u128>()).prop_map(|(kind, sum)| (AttributeKind::try_from(kind).unwrap(), digest::Sum(sum)));
    (
        text(1..20),
        any::<u32>(),
        any::<u128>(),
        vec(kind, 0..=AttributeKind::ALL.len()),
        any::<u64>(),
    )
        .prop_map(|(user, mailboxes, content, attributes, request)| TreeDigest {
            user: UserName(user),
            mailboxes,
            content: digest::Sum(content),
            attributes,
            request,
        })
}

fn mailbox_digest() -> impl Strategy<Value = MailboxDigest> {
    let sums = (any::<u128>(), option::of(any::<u128>()), option::of(any::<u128>()));
    (mailbox_id(), numbers(), any::<u32>(), sums, any::<u64>()).prop_map(
        |(mailbox, numbers, messages, (content, modseqs, bodies), request)| MailboxDigest {
            mailbox,
            uidvalidity: numbers.0,
            uidnext: numbers.1,
            highest_modseq: numbers.2,
            messages,
            content: digest::Sum(content),
            modseqs: modseqs.map(digest::Sum),
            bodies: bodies.map(digest::Sum),
            request,
        },
    )
}

fn epoch_start() -> impl Strategy<Value = EpochStart> {
    let leap = option::of((1..200_000u32, 1..1u64 << 33).prop_map(|(uids, modseqs)| Leap { uids, modseqs }));
    let fork = (any::<u64>(), any::<[u8; 32]>());
    (0..9u64, text(1..20), fork, leap).prop_map(|(previous, node, (fork_lsn, fork_hash), leap)| EpochStart {
        epoch: Epoch(previous + 1),
        node: NodeName(node),
        previous: Epoch(previous),
        fork_lsn: Lsn(fork_lsn),
        fork_hash: ChainHash(fork_hash),
        leap,
    })
}

fn merged() -> impl Strategy<Value = Merged> {
    let appended = vec((1..=u32::MAX, text(0..40)), 0..5);
    let tail = (any::<[u8; 16]>(), any::<u64>());
    (tail, mailbox_id(), any::<u32>(), appended).prop_map(|((stream, epoch), mailbox, uidvalidity, appended)| Merged {
        stream: StreamId(stream),
        epoch: Epoch(epoch),
        mailbox,
        uidvalidity: UidValidity(uidvalidity),
        expunged: appended.iter().map(|(uid, _)| UidRange::one(Uid(*uid))).collect(),
        appended: appended
            .into_iter()
            .map(|(uid, guid)| (Uid(uid), MessageGuid(guid)))
            .collect(),
    })
}

/// Every payload.
pub(crate) fn payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        epoch_start().prop_map(Payload::Epoch),
        text(0..50).prop_map(|reason| Payload::Base(BaseStart { reason })),
        (1..=u64::MAX).prop_map(|lsn| Payload::BaseEnd(Lsn(lsn))),
        mailbox_txn().prop_map(Payload::Mailbox),
        state_chunk().prop_map(Payload::State),
        tree_change().prop_map(Payload::Tree),
        mailbox_digest().prop_map(Payload::Digest),
        tree_digest().prop_map(Payload::TreeDigest),
        attributes_change().prop_map(Payload::Attributes),
        merged().prop_map(Payload::Merged),
    ]
}

/// A header that may stand before this payload.
pub(crate) fn header_for(payload: &Payload) -> impl Strategy<Value = FrameHeader> + use<> {
    let epoch = match payload {
        Payload::Epoch(start) => start.epoch,
        _ => Epoch(7),
    };
    let run = option::of((2..5000u32, any::<prop::sample::Index>()));
    let place = (any::<[u8; 16]>(), 1..u64::MAX / 2, any::<[u8; 32]>(), any::<u64>());
    (place, run, option::of(text(1..20))).prop_map(move |((stream, lsn, previous, captured_ms), run, peer)| {
        let run = run.map(|(parts, at)| {
            let parts = parts.min(crate::limits::RUN_PARTS_MAX);
            let most = u64::from(parts - 1).min(lsn - 1);
            let part = u32::try_from(at.index(usize::try_from(most).unwrap() + 1)).unwrap();
            Run {
                first: Lsn(lsn - u64::from(part)),
                part,
                parts,
            }
        });
        FrameHeader {
            stream: StreamId(stream),
            epoch,
            lsn: Lsn(lsn),
            previous: ChainHash(if lsn == 1 { [0; 32] } else { previous }),
            captured_ms,
            run,
            peer: peer.map(NodeName),
        }
    })
}
