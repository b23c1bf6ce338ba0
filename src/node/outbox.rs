//! What is said to a peer and not written yet: little of it, so that what is said last is not said late.

use crate::codec::wire::Message;
use crate::limits::OUTBOX_BYTES;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Messages between whoever drives a session and the task that writes. That it is full is the back-pressure.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    state: Mutex<State>,
    filled: Notify,
    emptied: Notify,
}

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<Message>,
    bytes: usize,
    closed: bool,
}

impl Outbox {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True while the writer wants more.
    pub(super) fn has_room(&self) -> bool {
        let state = self.state();
        !state.closed && state.bytes < OUTBOX_BYTES
    }

    /// Returns once the writer wants more: never, where it has ended.
    pub(super) async fn room(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.has_room() {
                return;
            }
            emptied.await;
        }
    }

    /// True once nothing more is written.
    pub(super) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// Takes a message, also beyond the bound: ask [`Self::has_room`] first. One that comes after the end is dropped.
    pub(super) fn say(&self, message: Message) {
        let mut state = self.state();
        if !state.closed {
            state.bytes = state.bytes.saturating_add(message.weight());
            state.messages.push_back(message);
            drop(state);
            self.filled.notify_one();
        }
    }

    /// Everything that is to be written, at least one message; none once all was said and the box is closed.
    pub(super) async fn take(&self) -> Option<VecDeque<Message>> {
        loop {
            {
                let mut state = self.state();
                if !state.messages.is_empty() {
                    state.bytes = 0;
                    let taken = std::mem::take(&mut state.messages);
                    drop(state);
                    self.emptied.notify_one();
                    return Some(taken);
                }
                if state.closed {
                    return None;
                }
            }
            self.filled.notified().await;
        }
    }

    /// Nothing more is said; what was, is still written.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.filled.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn a_full_box_takes_no_more_until_the_writer_came_and_never_where_it_has_ended() {
        let outbox = Outbox::default();
        let long = || Message::Ask {
            id: 1,
            json: "x".repeat(OUTBOX_BYTES),
        };
        outbox.say(long());
        assert!(!outbox.has_room());
        let soon = Duration::from_millis(20);
        tokio::time::timeout(soon, outbox.room()).await.unwrap_err();
        assert_eq!(outbox.take().await.unwrap().len(), 1);
        tokio::time::timeout(soon, outbox.room()).await.unwrap();
        outbox.say(Message::Ping);
        outbox.close();
        outbox.say(Message::Ping);
        assert_eq!(
            outbox.take().await.unwrap().len(),
            1,
            "what was said before is still written"
        );
        assert!(outbox.take().await.is_none());
        tokio::time::timeout(soon, outbox.room()).await.unwrap_err();
    }
}
