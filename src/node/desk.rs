//! A thread that does blocking work in the order in which it is asked.

use super::NodeError;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// The thread and the way to it. It ends when every handle is gone, and leaves an `R`.
pub(super) struct Desk<T, R = ()> {
    work: Sender<T>,
    thread: JoinHandle<R>,
}

impl<T: Send + 'static, R: Send + 'static> Desk<T, R> {
    /// Starts it.
    pub(super) fn start(
        name: &str,
        work_on: impl FnOnce(Receiver<T>) -> R + Send + 'static,
    ) -> Result<Self, NodeError> {
        let (work, asked) = channel();
        let group = tracing::Span::current();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || group.in_scope(|| work_on(asked)))
            .map_err(|e| NodeError::Thread(e.to_string()))?;
        Ok(Self { work, thread })
    }

    /// Another way to it.
    pub(super) fn handle(&self) -> Sender<T> {
        self.work.clone()
    }

    /// Waits for the end, once nobody else can ask. A thread that panicked takes the daemon with it: restart is
    /// recovery.
    pub(super) fn stop(self) -> R {
        drop(self.work);
        self.thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}
