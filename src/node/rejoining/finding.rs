//! Finds a lost tail: frames of this node's own journal behind the fork; of a Dovecot, too, what its logs say behind the
//! journal's last position. The store is read, no LSN is given out.

use super::super::NodeError;
use super::super::files::{NOWHERE, decode};
use super::super::group::{Group, Rest};
use super::super::outlet;
use super::super::primary::start_source;
use super::super::steward::Steward;
use crate::codec::EncodedFrame;
use crate::config::{DovecotConfig, GroupConfig, StoreConfig};
use crate::journal::{JournalError, JournalView};
use crate::limits::{TAIL_CAPTURE_SECONDS_MAX, TAIL_OPERATIONS_MAX};
use crate::op::{Epoch, Lsn, MailboxId, MessageGuid, Notice, Payload, StreamId, Uid, UidValidity, whole};
use crate::role::Fork;
use crate::role::merge::Net;
use crate::store::dovecot::engine::DovecotSource;
use crate::store::source::{Bodies, Captured, Command, Outlet, OutletError};
use crate::store::table::CaptureTable;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Bytes of frames that are read at once.
const READ_BYTES: usize = 2 << 20;

/// What a node has beyond a fork.
pub(in super::super) struct Tail {
    pub(super) stream: StreamId,
    /// That its last frame was written in.
    pub(super) epoch: Epoch,
    pub(super) fork: Fork,
    /// The journal's end.
    pub(super) last: Lsn,
    pub(super) net: Net,
    pub(super) bodies: Arc<dyn Bodies>,
    /// Reads a Dovecot's bodies while it is open.
    source: Option<DovecotSource>,
}

impl Tail {
    /// True where nothing is to be merged.
    pub(super) fn is_empty(&self) -> bool {
        self.net.items().is_empty()
    }

    /// Reads no more.
    pub(super) async fn close(self) {
        let Some(source) = self.source else { return };
        let ended = tokio::task::spawn_blocking(move || {
            if source.commands().send(Command::Stop).is_err() {
                tracing::debug!("the reading of the logs had ended before");
            }
            source.join()
        });
        if !matches!(ended.await, Ok(Ok(()))) {
            tracing::debug!("the reading of the logs ended with an error, after all was read");
        }
    }
}

/// What this node has beyond the fork.
pub(super) async fn find(steward: &mut Steward, fork: Fork) -> Result<Tail, NodeError> {
    steward.with_group(move |group| find_in(group, fork)).await
}

fn find_in(group: &mut Group, fork: Fork) -> Result<Tail, NodeError> {
    let config = Arc::clone(&group.config);
    // of a Dovecot that never wrote since it was a copy, its mirror's journal says all
    if let (StoreConfig::Dovecot(store), Rest::Dovecot(_)) = (&config.store, group.rest()?) {
        return of_dovecot(group, &config, store, fork);
    }
    let Some((view, bodies)) = group.kept() else {
        return Err(NodeError::Journal("no embedded store is open".to_owned()));
    };
    let mut net = Net::default();
    let last = behind(&view, fork.lsn, &mut net)?;
    Ok(tail(&view, fork, last, (net, bodies), None))
}

fn tail(
    view: &JournalView,
    fork: Fork,
    last: Lsn,
    (net, bodies): (Net, Arc<dyn Bodies>),
    source: Option<DovecotSource>,
) -> Tail {
    let head = view.head().unwrap_or(NOWHERE);
    Tail {
        stream: head.stream,
        epoch: head.epoch,
        fork,
        last,
        net,
        bodies,
        source,
    }
}

/// Takes in what the journal has behind an LSN, and says where it ends. What was trimmed was everywhere before.
pub(in super::super) fn behind(view: &JournalView, fork: Lsn, net: &mut Net) -> Result<Lsn, NodeError> {
    let head = view.head().unwrap_or(NOWHERE);
    let mut reader = view.reader(fork.next().max(super::super::files::oldest(view)));
    let mut open: Vec<Payload> = Vec::new();
    while reader.next_lsn() <= head.lsn {
        let batch: Vec<EncodedFrame> = reader
            .read_batch(READ_BYTES)
            .map_err(|e: JournalError| NodeError::journal(e))?;
        if batch.is_empty() {
            return Err(NodeError::Journal(format!("frame {} is missing", reader.next_lsn())));
        }
        for encoded in &batch {
            let frame = decode(encoded)?;
            if frame.header.peer.is_none() {
                open.push(frame.payload);
            }
            if encoded.ends_transaction() {
                whole(std::mem::take(&mut open))
                    .iter()
                    .for_each(|payload| net.fold(payload));
                bounded(net)?;
            }
        }
    }
    Ok(head.lsn)
}

fn bounded(net: &Net) -> Result<(), NodeError> {
    match net.operations() <= TAIL_OPERATIONS_MAX {
        true => Ok(()),
        false => Err(NodeError::Journal(format!(
            "the tail has more than {TAIL_OPERATIONS_MAX} operations: that is no tail, but another history"
        ))),
    }
}

/// The journal's part, then the logs behind it.
fn of_dovecot(group: &mut Group, config: &GroupConfig, store: &DovecotConfig, fork: Fork) -> Result<Tail, NodeError> {
    let table = group.captured()?;
    let view = group.rest()?.journal().view();
    let mut net = Net::default();
    let last = behind(&view, fork.lsn, &mut net)?;
    let net = Arc::new(Mutex::new(net));
    let source = sweep(config, store, table, &net)?;
    let net = net.lock().unwrap_or_else(PoisonError::into_inner).clone();
    bounded(&net)?;
    let bodies = source.bodies();
    Ok(tail(&view, fork, last, (net, bodies), Some(source)))
}

/// Reads every log to its end.
fn sweep(
    config: &GroupConfig,
    store: &DovecotConfig,
    table: CaptureTable,
    net: &Arc<Mutex<Net>>,
) -> Result<DovecotSource, NodeError> {
    let wrong = |why: String| NodeError::Group {
        group: config.name.clone(),
        why: format!("its Dovecot's logs can't be read for what they hold beyond the journal: {why}"),
    };
    let outlet = Box::new(TailOutlet(Arc::clone(net)));
    let source = start_source(config, store, table, outlet, Arc::default()).map_err(&wrong)?;
    let (done, swept) = std::sync::mpsc::channel();
    let reply = Box::new(move |result: Result<Lsn, String>| drop(done.send(result)));
    let sent = source.commands().send(Command::Sweep(reply));
    sent.map_err(|_| wrong("the reading ended at once".to_owned()))?;
    let limit = Duration::from_secs(TAIL_CAPTURE_SECONDS_MAX);
    match swept.recv_timeout(limit) {
        Ok(Ok(_)) => Ok(source),
        Ok(Err(why)) => Err(wrong(why)),
        Err(_) => Err(wrong(format!(
            "it was not done within {TAIL_CAPTURE_SECONDS_MAX} s; does the Dovecot run, and answer doveadm?"
        ))),
    }
}

/// Gathers what capture finds, and gives nothing a place in the stream.
struct TailOutlet(Arc<Mutex<Net>>);

impl Outlet for TailOutlet {
    fn notice(&mut self, _: Notice) {}

    fn emit(&mut self, captured: Vec<Captured>, table: &mut CaptureTable) -> Result<Lsn, OutletError> {
        let mut net = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for one in captured.iter().filter(|one| one.peer.is_none()) {
            for payload in whole(one.payloads.iter().cloned()) {
                net.fold(&news(table, payload));
            }
            one.payloads
                .iter()
                .for_each(|payload| outlet::fold(table, payload, Lsn(0), None));
        }
        Ok(Lsn(0))
    }

    fn offer(&mut self, _: &MailboxId, _: UidValidity, _: &[(Uid, MessageGuid, Option<u64>)]) {}

    fn is_offer_open(&mut self) -> bool {
        false
    }
}

/// Of a list those messages that were not captured before.
fn news(table: &CaptureTable, payload: Payload) -> Payload {
    let Payload::State(mut list) = payload else {
        return payload;
    };
    let known = table.mailbox(&list.mailbox).and_then(|row| row.position.as_ref());
    if let Some(position) = known.filter(|position| position.uidvalidity == list.uidvalidity) {
        list.messages.retain(|message| message.uid >= position.uidnext);
    }
    Payload::State(list)
}

impl Group {
    /// Of an embedded store that is open: its journal, and bodies.
    fn kept(&mut self) -> Option<(JournalView, Arc<dyn Bodies>)> {
        match self.rest().ok()? {
            Rest::Embedded(opened) => Some((opened.journal.view(), opened.embedded.origin())),
            Rest::Dovecot(_) => None,
        }
    }
}
