//! The standby's bodies: looks up what is lacking, stores what came, flushes once for all that has gathered.

use super::NodeError;
use super::desk::Desk;
use super::health::Health;
use crate::op::{BodyName, Missing};
use crate::session::receive::ReceiveInput;
use crate::store::target::{BodyStore, TargetError};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use tokio::sync::mpsc;

const STORING: &str = "storing bodies";

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
    pub(super) fn start(
        bodies: Arc<dyn BodyStore>,
        fed: mpsc::Sender<ReceiveInput>,
        health: Arc<Health>,
    ) -> Result<Self, NodeError> {
        Desk::start("bodies", move |asked| {
            if let Err(error) = run(&*bodies, &asked, &fed, &health) {
                health.stop(format!("the body store: {error}"));
            }
        })
        .map(Self)
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

/// After an error nothing more becomes durable, and the primary keeps what is not.
fn run(
    bodies: &dyn BodyStore,
    asked: &Receiver<BodyWork>,
    fed: &mpsc::Sender<ReceiveInput>,
    health: &Health,
) -> Result<(), TargetError> {
    while let Ok(work) = asked.recv() {
        let input = match work {
            BodyWork::Stop => return Ok(()),
            BodyWork::Check { request, names } => ReceiveInput::Checked {
                request,
                lacking: health.patiently(STORING, || bodies.lacking(&names))?,
            },
            BodyWork::Store { name, octets } => store(bodies, name, &octets, health)?,
            BodyWork::Missing { name, missing } => {
                health.patiently(STORING, || bodies.put_missing(&name, &missing))?;
                ReceiveInput::Stored(name)
            }
            BodyWork::Commit => {
                health.patiently(STORING, || bodies.commit())?;
                ReceiveInput::BodiesCommitted
            }
            BodyWork::ListPending { most } => {
                ReceiveInput::Pending(health.patiently(STORING, || bodies.pending(most))?)
            }
        };
        if fed.blocking_send(input).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// A body that contradicts what its name says of it (its size) is not stored: it counts as damaged at the source.
fn store(bodies: &dyn BodyStore, name: BodyName, octets: &[u8], health: &Health) -> Result<ReceiveInput, TargetError> {
    match health.patiently(STORING, || bodies.put(&name, octets)) {
        Err(TargetError::Broken(why)) => {
            tracing::warn!(mailbox = %name.place.mailbox.guid, uid = %name.place.uid, why, "a body was refused");
            let missing = Missing {
                gone: false,
                file: String::new(),
                offset: 0,
                why,
            };
            health.patiently(STORING, || bodies.put_missing(&name, &missing))?;
        }
        other => other?,
    }
    Ok(ReceiveInput::Stored(name))
}
