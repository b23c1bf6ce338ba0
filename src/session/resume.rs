//! Where a stream goes on (guarantee 4): a pure decision on stream id, epoch, LSN and chain hash of both sides.

use crate::codec::wire::{Hello, PROTOCOL, Place, Welcome};
use crate::op::{ChainHash, Epoch, Lsn, StreamId};
use crate::session::SessionError;
use crate::session::ship::Standing;

/// What the sender does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Send everything from LSN 1 on.
    FromStart,
    /// Compare the chain hash of our frame at this place; equal: go on behind it.
    Compare(Place),
    /// The receiver must join at a base, for this reason.
    Base(String),
}

/// The sender's decision. `rebuilt`: its stream replaces older ones.
pub(super) fn decide(ours: &Standing, rebuilt: bool, theirs: &Welcome) -> Result<Next, SessionError> {
    same_protocol(theirs.protocol)?;
    if theirs.epoch > ours.epoch {
        return Err(SessionError::Epoch {
            ours: ours.epoch,
            theirs: theirs.epoch,
        });
    }
    if let Some(reason) = &theirs.need_base {
        return Ok(Next::Base(reason.clone()));
    }
    if theirs.stream != ours.stream && theirs.stream != StreamId::default() {
        return other_stream(ours.stream, rebuilt, theirs.stream);
    }
    compare(ours, theirs.head)
}

fn other_stream(ours: StreamId, rebuilt: bool, theirs: StreamId) -> Result<Next, SessionError> {
    if rebuilt {
        return Ok(Next::Base(format!("stream {theirs} was replaced by {ours}")));
    }
    Err(SessionError::Diverged(format!(
        "the stream is {ours} on the primary, {theirs} on the copy"
    )))
}

/// How to go on behind `place`, a place of the same stream that the receiver has.
pub(super) fn compare(ours: &Standing, place: Place) -> Result<Next, SessionError> {
    if place.lsn > ours.head.lsn {
        return Err(SessionError::Diverged(format!(
            "the copy has frames up to {}, the primary only up to {}: an old state directory was restored, or the \
             copy followed another primary",
            place.lsn, ours.head.lsn
        )));
    }
    if place.lsn.next() < ours.oldest {
        let reason = match place.lsn {
            Lsn(0) => "the copy is new",
            _ => "the copy is too far behind",
        };
        return Ok(Next::Base(format!(
            "{reason}: frames below {} are trimmed",
            ours.oldest
        )));
    }
    match place.lsn {
        Lsn(0) => Ok(Next::FromStart),
        lsn if lsn == ours.head.lsn => same_chain(place, ours.head.chain).map(|()| Next::Compare(place)),
        _ => Ok(Next::Compare(place)),
    }
}

/// Our hash at a place of the receiver's.
pub(super) fn same_chain(theirs: Place, ours: ChainHash) -> Result<(), SessionError> {
    if theirs.chain == ours {
        return Ok(());
    }
    Err(SessionError::Diverged(format!(
        "the histories differ at or before LSN {}: hash {ours} on this side, {} on the other",
        theirs.lsn, theirs.chain
    )))
}

/// The receiver's own comparison; what it can't see is compared by the sender, and by the first frame's hash.
pub(super) fn judge(
    ours: Place,
    stream: StreamId,
    epoch: Epoch,
    lost: bool,
    hello: &Hello,
) -> Result<(), SessionError> {
    same_protocol(hello.protocol)?;
    if hello.epoch < epoch {
        return Err(SessionError::Epoch {
            ours: epoch,
            theirs: hello.epoch,
        });
    }
    if lost || stream == StreamId::default() {
        return Ok(());
    }
    if hello.stream != stream {
        return other_stream(hello.stream, hello.rebuilt, stream).map(|_| ());
    }
    let standing = Standing {
        stream,
        epoch,
        head: hello.head,
        oldest: hello.oldest,
        rebuilt: hello.rebuilt,
    };
    compare(&standing, ours).map(|_| ())
}

/// True where a receiver with this head can't be gone on with, so that a base may follow.
pub(super) fn needs_base(ours: Place, stream: StreamId, lost: bool, hello: &Hello) -> bool {
    let other = stream != StreamId::default() && hello.stream != stream;
    lost || other || ours.lsn.next() < hello.oldest
}

fn same_protocol(theirs: u16) -> Result<(), SessionError> {
    match theirs {
        PROTOCOL => Ok(()),
        _ => Err(SessionError::Refused(format!(
            "protocol {theirs} is not spoken here, only {PROTOCOL}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Class;

    fn place(lsn: u64, hash: u8) -> Place {
        Place {
            lsn: Lsn(lsn),
            chain: ChainHash([hash; 32]),
        }
    }

    fn ours() -> Standing {
        Standing {
            stream: StreamId([1; 16]),
            epoch: Epoch(3),
            head: place(100, 9),
            oldest: Lsn(50),
            rebuilt: false,
        }
    }

    fn theirs(head: Place) -> Welcome {
        Welcome {
            protocol: PROTOCOL,
            node: "b".into(),
            stream: StreamId([1; 16]),
            epoch: Epoch(3),
            head,
            durable: Lsn(0),
            applied: Lsn(0),
            need_base: None,
        }
    }

    fn class(result: Result<Next, SessionError>) -> Option<Class> {
        result.err().map(|e| e.class())
    }

    #[test]
    fn a_receiver_that_is_ahead_is_a_divergence() {
        assert_eq!(
            class(decide(&ours(), false, &theirs(place(101, 9)))),
            Some(Class::Diverged)
        );
    }

    #[test]
    fn an_equal_lsn_with_another_hash_is_a_divergence() {
        assert_eq!(
            class(decide(&ours(), false, &theirs(place(100, 8)))),
            Some(Class::Diverged)
        );
        assert!(same_chain(place(70, 1), ChainHash([2; 32])).is_err());
    }

    #[test]
    fn another_stream_is_a_divergence_unless_it_was_replaced() {
        let mut foreign = theirs(place(60, 1));
        foreign.stream = StreamId([2; 16]);
        assert_eq!(class(decide(&ours(), false, &foreign)), Some(Class::Diverged));
        assert!(matches!(decide(&ours(), true, &foreign), Ok(Next::Base(_))));
    }

    #[test]
    fn a_higher_epoch_fences_the_sender() {
        let mut newer = theirs(place(60, 1));
        newer.epoch = Epoch(4);
        assert_eq!(class(decide(&ours(), false, &newer)), Some(Class::Fence));
    }

    #[test]
    fn whoever_lacks_trimmed_frames_joins_at_a_base() {
        assert!(matches!(
            decide(&ours(), false, &theirs(place(48, 1))),
            Ok(Next::Base(_))
        ));
        assert_eq!(
            decide(&ours(), false, &theirs(place(49, 1))),
            Ok(Next::Compare(place(49, 1)))
        );
        assert!(matches!(
            decide(&ours(), false, &theirs(Place::default())),
            Ok(Next::Base(_))
        ));
        let mut whole = ours();
        whole.oldest = Lsn(1);
        assert_eq!(decide(&whole, false, &theirs(Place::default())), Ok(Next::FromStart));
    }
}
