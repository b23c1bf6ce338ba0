//! Bodies that a peer is to get, read at the source: many in one go, in a bounded number of threads.

use crate::limits::{READ_JOB_BODIES, READ_JOB_BYTES, READ_JOBS_MAX};
use crate::op::{BodyName, BodyPlace};
use crate::session::ship::ShipInput;
use crate::store::source::{Bodies, BodyAnswer};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::mpsc;

/// One body to be read.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) request: u64,
    pub(super) name: BodyName,
    pub(super) other_places: Vec<BodyPlace>,
}

/// Reads that wait for a thread.
pub(super) struct BodyReads {
    bodies: Arc<dyn Bodies>,
    completed: mpsc::Sender<ShipInput>,
    waiting: VecDeque<Read>,
    running: Arc<AtomicUsize>,
}

impl BodyReads {
    /// Answers go to `completed`.
    pub(super) fn new(bodies: Arc<dyn Bodies>, completed: mpsc::Sender<ShipInput>) -> Self {
        Self {
            bodies,
            completed,
            waiting: VecDeque::new(),
            running: Arc::default(),
        }
    }

    /// One more.
    pub(super) fn push(&mut self, read: Read) {
        self.waiting.push_back(read);
    }

    /// Forgets what no thread has begun with: nobody waits for it any more.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Starts reading what waits, as far as threads may. Call it again after each answer.
    pub(super) fn start(&mut self) {
        while !self.waiting.is_empty() && self.running.load(Ordering::Acquire) < READ_JOBS_MAX {
            let job = self.next_job();
            let (bodies, completed, running) = (
                Arc::clone(&self.bodies),
                self.completed.clone(),
                Arc::clone(&self.running),
            );
            running.fetch_add(1, Ordering::AcqRel);
            tokio::task::spawn_blocking(move || {
                let answers: Vec<_> = job.into_iter().map(|read| answer(&*bodies, read)).collect();
                // Before the last answer is fed, so that whoever takes it finds the thread free.
                running.fetch_sub(1, Ordering::AcqRel);
                for input in answers {
                    if completed.blocking_send(input).is_err() {
                        tracing::trace!("the session that asked is over");
                        return;
                    }
                }
            });
        }
    }

    fn next_job(&mut self) -> Vec<Read> {
        let (mut job, mut bytes) = (Vec::new(), 0u64);
        while job.len() < READ_JOB_BODIES && bytes < READ_JOB_BYTES {
            let Some(read) = self.waiting.pop_front() else { break };
            bytes = bytes.saturating_add(read.name.size.unwrap_or(READ_JOB_BYTES / 4));
            job.push(read);
        }
        job
    }
}

fn answer(bodies: &dyn Bodies, read: Read) -> ShipInput {
    let Read {
        request,
        name,
        other_places,
    } = read;
    let places: Vec<_> = std::iter::once(name.place).chain(other_places).collect();
    let answer = match bodies.read(&places, &name.guid, name.size) {
        BodyAnswer::Body(octets) => Ok(octets),
        BodyAnswer::Missing(missing) => Err(missing),
    };
    ShipInput::Body { request, answer }
}
