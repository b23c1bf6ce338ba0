//! What becomes of one message of a tail, of a change of flags, of an expunge.

use crate::op::Modseq;

/// What the new primary knows of a message that a tail brings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// It was settled when this tail was brought before.
    pub settled: bool,
    /// The tail only lists it: it may be as old as the mailbox, and no append of it was seen.
    pub listed: bool,
    /// Its mailbox has it under its own UID.
    pub in_place: bool,
    /// Its mailbox had its UID, and expunged it.
    pub expunged: bool,
    /// The mailbox that it goes to has its GUID.
    pub in_mailbox: bool,
    /// The user has its GUID in some mailbox, with its octets.
    pub owned: bool,
}

/// What is known of a message's octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Octets {
    /// They were not asked for yet.
    Unasked,
    /// Nobody has them any more.
    Gone,
    /// They are here. `arrived`: the user got the very same ones since the fork, and not from this tail. (Message-ID and size
    /// are the same then, too.)
    Here {
        /// See above.
        arrived: bool,
    },
}

/// Why a message of a tail needs nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It is here already.
    Known,
    /// It was expunged here meanwhile.
    Deleted,
    /// No octets of it are left.
    Lost,
}

/// What becomes of a message that a tail brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Nothing.
    Nothing(Settled),
    /// Its octets must be asked for.
    Ask,
    /// It is appended, with the octets of the user's own message of that GUID.
    Copied,
    /// It is appended, with the octets that came.
    New,
}

/// What becomes of a message that a tail brings.
#[must_use]
pub fn arrival(known: Known, octets: Octets) -> Arrival {
    if known.settled || known.in_mailbox || (known.listed && known.in_place) {
        return Arrival::Nothing(Settled::Known);
    }
    if known.listed && known.expunged {
        return Arrival::Nothing(Settled::Deleted);
    }
    if known.owned {
        return Arrival::Copied;
    }
    match octets {
        Octets::Unasked => Arrival::Ask,
        Octets::Gone => Arrival::Nothing(Settled::Lost),
        Octets::Here { arrived: true } => Arrival::Nothing(Settled::Known),
        Octets::Here { arrived: false } => Arrival::New,
    }
}

/// What becomes of a change of flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeFate {
    /// It is made.
    Made,
    /// Something else changed the message since the fork: that stays.
    Kept,
    /// The message is not there any more.
    Gone,
}

/// `message`: the MODSEQ of the last change of the message at the new primary; none: it is not there. `before`: every MODSEQ
/// that its mailbox had at the fork is below. (Those of a new epoch are above whatever the tail used.)
#[must_use]
pub fn change(message: Option<Modseq>, before: Modseq) -> ChangeFate {
    match message {
        None => ChangeFate::Gone,
        Some(modseq) if modseq < before => ChangeFate::Made,
        Some(_) => ChangeFate::Kept,
    }
}

/// What becomes of an expunge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpungeFate {
    /// The message goes: the tail brought it to another mailbox.
    Moved,
    /// The message stays until an operator decides.
    Quarantined,
    /// The message is not there, or this was settled before.
    Gone,
}

/// As [`change`]. `moved`: this tail brought a message of the same GUID to some mailbox.
#[must_use]
pub fn expunge(message: Option<Modseq>, before: Modseq, moved: bool, settled: bool) -> ExpungeFate {
    match change(message, before) {
        ChangeFate::Gone => ExpungeFate::Gone,
        _ if settled => ExpungeFate::Gone,
        ChangeFate::Made if moved => ExpungeFate::Moved,
        ChangeFate::Made | ChangeFate::Kept => ExpungeFate::Quarantined,
    }
}
