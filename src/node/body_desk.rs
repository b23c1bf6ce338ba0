//! The standby's bodies: looks up what is lacking, stores what came, flushes once for all that has gathered.

use super::NodeError;
use super::desk::Desk;
use crate::op::{BodyName, Missing};
use crate::session::receive::ReceiveInput;
use crate::store::target::{BodyStore, TargetError};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;
use tokio::sync::mpsc;

/// What the body store is asked to do.
pub(super) enum BodyWork {
    Check {
        request: u64,
        names: Vec<BodyName>,
    },
    Store {
        name: BodyName,
        octets: Vec<u8>,
    },
    Missing {
        name: BodyName,
        missing: Missing,
    },
    Commit,
    ListPending {
        most: usize,
    },
    /// Nothing more comes.
    Stop,
}

/// The thread that fills the body store.
pub(super) struct BodyDesk(Desk<BodyWork>);

impl BodyDesk {
    pub(super) fn start(bodies: Arc<dyn BodyStore>, fed: mpsc::Sender<ReceiveInput>) -> Result<Self, NodeError> {
        Desk::start("bodies", move |asked| run(&*bodies, &asked, &fed)).map(Self)
    }

    pub(super) fn handle(&self) -> Sender<BodyWork> {
        self.0.handle()
    }

    pub(super) fn stop(self) {
        if self.handle().send(BodyWork::Stop).is_err() {
            tracing::debug!("the bodies' thread had ended before");
        }
        self.0.stop();
    }
}

fn run(bodies: &dyn BodyStore, asked: &Receiver<BodyWork>, fed: &mpsc::Sender<ReceiveInput>) {
    while let Ok(work) = asked.recv() {
        let done = match work {
            BodyWork::Stop => return,
            BodyWork::Check { request, names } => {
                patiently(|| bodies.lacking(&names)).map(|lacking| Some(ReceiveInput::Checked { request, lacking }))
            }
            BodyWork::Store { name, octets } => store(bodies, name, &octets),
            BodyWork::Missing { name, missing } => {
                patiently(|| bodies.put_missing(&name, &missing)).map(|()| Some(ReceiveInput::Stored(name)))
            }
            BodyWork::Commit => patiently(|| bodies.commit()).map(|()| Some(ReceiveInput::BodiesCommitted)),
            BodyWork::ListPending { most } => {
                patiently(|| bodies.pending(most)).map(|p| Some(ReceiveInput::Pending(p)))
            }
        };
        let Some(input) = done else { return };
        if let Some(input) = input
            && fed.blocking_send(input).is_err()
        {
            return;
        }
    }
}

/// A body that contradicts what its name says of it (its size) is not stored: it counts as damaged at the source.
fn store(bodies: &dyn BodyStore, name: BodyName, octets: &[u8]) -> Option<Option<ReceiveInput>> {
    match patiently_or(|| bodies.put(&name, octets)) {
        Ok(()) => Some(Some(ReceiveInput::Stored(name))),
        Err(TargetError::Broken(why)) => {
            tracing::warn!(mailbox = %name.place.mailbox.guid, uid = %name.place.uid, why, "a body was refused");
            let missing = Missing {
                gone: false,
                file: String::new(),
                offset: 0,
                why,
            };
            patiently(|| bodies.put_missing(&name, &missing)).map(|()| Some(ReceiveInput::Stored(name)))
        }
        Err(error) => {
            tracing::error!(%error, "the body store has stopped: nothing more is received");
            None
        }
    }
}

fn patiently<T>(deed: impl FnMut() -> Result<T, TargetError>) -> Option<T> {
    patiently_or(deed)
        .inspect_err(|error| tracing::error!(%error, "the body store has stopped: nothing more is received"))
        .ok()
}

/// Repeats while the disk is full or the database is busy.
fn patiently_or<T>(mut deed: impl FnMut() -> Result<T, TargetError>) -> Result<T, TargetError> {
    let mut said = false;
    loop {
        match deed() {
            Err(TargetError::Retry(why)) => {
                if !said {
                    tracing::error!(why, "the body store can't be written: receiving waits");
                }
                said = true;
                super::pause(Duration::from_secs(1));
            }
            other => return other,
        }
    }
}
