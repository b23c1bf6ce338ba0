//! Two histories that differ: nothing flows, and both sides say so (guarantee 4).

use crate::primary::{Primary, start};
use crate::standby::{Disk, Standby};
use crate::world::{Faults, World};
use mailshadow::codec::wire::{Message, Place};
use mailshadow::op::{ChainHash, Epoch, Lsn, StreamId};
use mailshadow::session::{Class, Receive, ReceiveInput, ReceiveStart, SessionError, Ship, ShipInput, ShipRequest};

/// A pair after some work, everything on both disks.
fn settled() -> (Primary, Disk) {
    let calm = Faults {
        crashes: false,
        harm: false,
        trim: false,
    };
    let world = crate::run(77, 200, calm);
    let World { primary, standby, .. } = world;
    (primary, standby.disk)
}

/// Lets both machines talk until one ends the session; both errors, none where that side is content.
fn talk(primary: &mut Primary, receive: &mut Receive) -> (Option<SessionError>, Option<SessionError>) {
    let (mut ended_a, mut ended_b) = (None, None);
    primary.ship = Ship::new(start());
    ended_b = ended_b.or(receive.handle(0, ReceiveInput::Connected).err());
    let standing = primary.standing();
    ended_a = ended_a.or(primary.ship.handle(0, ShipInput::Connected(standing)).err());
    for _ in 0..50 {
        while let Some(message) = primary.ship.message() {
            assert!(!matches!(message, Message::Frames(_)), "frames flow");
            let input = ReceiveInput::Received(message);
            ended_b = ended_b.or(receive.handle(0, input).err());
        }
        while let Some(message) = receive.message() {
            ended_a = ended_a.or(primary.ship.handle(0, ShipInput::Received(message)).err());
        }
        while let Some(request) = primary.ship.request() {
            if let ShipRequest::ChainAt { lsn } = request {
                let chain = Some(primary.place(usize::try_from(lsn.0).unwrap()).chain);
                ended_a = ended_a.or(primary.ship.handle(0, ShipInput::ChainAt { lsn, chain }).err());
            }
        }
        while let Some(request) = receive.request() {
            assert!(!matches!(request, ReceiveRequest::Journal(_)), "frames are taken");
        }
    }
    (ended_a, ended_b)
}

use mailshadow::session::ReceiveRequest;

fn class(error: Option<SessionError>) -> Option<Class> {
    error.map(|error| error.class())
}

#[test]
fn an_old_state_directory_of_the_primary_is_found_and_said_on_both_sides() {
    let (mut primary, disk) = settled();
    primary.committed -= 3;
    let mut standby = Standby::on(disk);
    let (a, b) = talk(&mut primary, &mut standby.receive);
    assert_eq!((class(a), class(b)), (Some(Class::Diverged), Some(Class::Diverged)));
}

#[test]
fn a_fork_with_equal_lsns_is_found_and_said_on_both_sides() {
    let (mut primary, disk) = settled();
    let common = primary.frames.len() - 2;
    primary.frames.truncate(common);
    let mut random = crate::random::Random(1);
    while primary.frames.len() < common + 20 {
        primary.capture(&mut random);
    }
    primary.commit();
    let mut standby = Standby::on(disk);
    let (a, b) = talk(&mut primary, &mut standby.receive);
    assert_eq!((class(a), class(b)), (Some(Class::Diverged), Some(Class::Diverged)));
}

fn receive(stream: StreamId, epoch: u64, head: Place) -> Receive {
    Receive::new(ReceiveStart {
        group: "main".to_owned(),
        node: "b".into(),
        stream,
        epoch: Epoch(epoch),
        head,
        oldest: Lsn(1),
        applied: Lsn(0),
        shown: Lsn(0),
        lost: None,
    })
}

#[test]
fn another_stream_is_not_taken_for_ours() {
    let (mut primary, _) = settled();
    let head = Place {
        lsn: Lsn(2),
        chain: ChainHash([3; 32]),
    };
    let mut other = receive(StreamId([9; 16]), 1, head);
    let (a, b) = talk(&mut primary, &mut other);
    assert_eq!((class(a), class(b)), (Some(Class::Diverged), Some(Class::Diverged)));
}

#[test]
fn a_primary_of_an_old_epoch_learns_that_it_is_over() {
    let (mut primary, disk) = settled();
    let mut newer = receive(crate::primary::STREAM, 2, disk.head());
    let (a, b) = talk(&mut primary, &mut newer);
    assert_eq!(class(a), Some(Class::Fence), "the sender is fenced");
    assert_eq!(class(b), Some(Class::Retry), "the receiver waits for another primary");
}

#[test]
fn a_frame_that_is_broken_twice_halts_and_names_the_place() {
    let (primary, disk) = settled();
    let last = disk.frames.len() - 1;
    let mut before = disk.clone();
    while before.frames.len() > last || !before.frames.last().unwrap().ends_transaction() {
        before.frames.pop();
    }
    before.committed = before.frames.len();
    before.applied = before.applied.min(before.head().lsn);
    let next = disk.frames[before.committed].clone();
    let mut broken = next.bytes.to_vec();
    *broken.last_mut().unwrap() ^= 1;
    let mut standby = Standby::on(before);
    let receive = &mut standby.receive;
    receive.handle(0, ReceiveInput::Connected).unwrap();
    let mut ship = Ship::new(start());
    ship.handle(0, ShipInput::Connected(primary.standing())).unwrap();
    receive
        .handle(0, ReceiveInput::Received(ship.message().unwrap()))
        .unwrap();
    let frames = || ReceiveInput::Received(Message::Frames(vec![broken.clone().into()]));
    receive.handle(0, frames()).unwrap();
    let again = loop {
        match receive.message().unwrap() {
            Message::Again(place) => break place,
            _ => continue,
        }
    };
    assert_eq!(again.lsn.next(), next.lsn);
    // What was on its way is passed over until the sender's echo.
    receive.handle(0, frames()).unwrap();
    receive
        .handle(0, ReceiveInput::Received(Message::Again(again)))
        .unwrap();
    let error = receive.handle(0, frames()).unwrap_err();
    assert_eq!(error.class(), Class::Halt);
    assert!(
        error.to_string().starts_with(&format!("frame {}:", next.lsn)),
        "{error}"
    );
}
