//! The capture thread of one group: reads users' trees and logs, orders what it found, emits it, answers commands.

use super::bodies::DovecotBodies;
use super::doveadm::Doveadm;
use crate::op::UserName;
use crate::store::source::{Command, Outlet, SourceStatus};
use crate::store::table::CaptureTable;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What a capture needs to start.
pub struct Setup {
    /// How to ask the server.
    pub doveadm: Doveadm,
    /// Which users belong to the group.
    pub wanted: Box<dyn Fn(&UserName) -> bool + Send>,
    /// Where it goes on: the latest checkpoint with the frames after it applied, or empty.
    pub table: CaptureTable,
    /// Where what it finds goes.
    pub outlet: Box<dyn Outlet>,
    /// Kept up to date for `status`.
    pub status: Arc<Mutex<SourceStatus>>,
}

/// Capture ends.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// No more frames can be made durable.
    #[error(transparent)]
    Outlet(#[from] crate::store::source::OutletError),
    /// The thread could not be started.
    #[error("start the capture thread: {0}")]
    Thread(std::io::Error),
}

/// A running capture.
pub struct DovecotSource {
    commands: Sender<Command>,
    bodies: Arc<DovecotBodies>,
    thread: JoinHandle<Result<(), SourceError>>,
}

impl DovecotSource {
    /// Starts the capture thread.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(setup: Setup) -> Result<Self, SourceError> {
        let (commands, received) = channel();
        let bodies = Arc::new(DovecotBodies::default());
        let thread = std::thread::Builder::new()
            .name("capture".to_owned())
            .spawn(move || run(setup, &received))
            .map_err(SourceError::Thread)?;
        Ok(Self {
            commands,
            bodies,
            thread,
        })
    }

    /// Where commands go. Sending fails once the capture has ended.
    #[must_use]
    pub fn commands(&self) -> Sender<Command> {
        self.commands.clone()
    }

    /// Reads bodies where they lie.
    #[must_use]
    pub fn bodies(&self) -> Arc<DovecotBodies> {
        Arc::clone(&self.bodies)
    }

    /// True once the thread has ended; [`Self::join`] then tells why.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the end ([`Command::Stop`] asks for it).
    ///
    /// # Errors
    /// Why it ended, other than by [`Command::Stop`].
    pub fn join(self) -> Result<(), SourceError> {
        match self.thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

fn run(_setup: Setup, received: &Receiver<Command>) -> Result<(), SourceError> {
    while let Ok(command) = received.recv() {
        if matches!(command, Command::Stop) {
            break;
        }
    }
    Ok(())
}
