//! The built-in redirector: clients connect here, their bytes go to whoever is primary. Any protocol, for nothing is read
//! of it: TLS stays between client and mail server.
//!
//! | file | what it does |
//! |---|---|
//! | `follow` | whom to follow, out of what the nodes say: a state machine without I/O |
//! | `memory` | the highest epoch ever seen, on disk |
//! | `door` | takes clients in, holds them while nobody is primary, cuts them off when the primary changes |
//! | `carry` | bytes both ways, without buffers where nothing moves |
//! | `header` | the PROXY v2 header |
//!
//! Who asks the nodes stands above this room and tells [`Leader::hear`]; the doors of a group obey its [`Course`].

mod carry;
mod door;
mod follow;
mod header;
mod memory;

pub use door::{Door, ProxyStatus};
pub use follow::{Claim, Course, Mark, Word};
pub use memory::MemoryError;

use crate::op::NodeName;
use follow::Follow;
use memory::Memory;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use tokio::sync::watch;

/// Whom the proxies of one group follow.
pub struct Leader {
    group: String,
    follow: Mutex<(Follow, Memory)>,
    course: watch::Sender<Course>,
}

impl Leader {
    /// Follows nobody yet, and nobody below the highest epoch that was seen before, as `state` remembers it.
    ///
    /// # Errors
    /// The memory can't be read: without it an older primary might be followed.
    pub fn recall(state: &Path, group: &str) -> Result<Self, MemoryError> {
        let memory = Memory::open(state, group)?;
        let follow = Follow::new(memory.mark().clone());
        let course = watch::Sender::new(follow.course());
        Ok(Self {
            group: group.to_owned(),
            follow: Mutex::new((follow, memory)),
            course,
        })
    }

    /// Takes in what `node` said last; none: it can't be asked just now. A higher epoch is on disk before anybody is sent
    /// to its primary. Blocks for that one write.
    pub fn hear(&self, node: &NodeName, word: Option<Word>) {
        let mut held = self.follow.lock().unwrap_or_else(PoisonError::into_inner);
        let (follow, memory) = &mut *held;
        if let Some(fork) = follow.hear(node, word) {
            tracing::error!(group = self.group, %node, fork, "two nodes claim one epoch");
        }
        let mut course = follow.course();
        // whoever is of an older epoch is cut off before the disk is waited for
        self.steer(Course {
            opens: course.opens && memory.mark() == follow.seen(),
            ..course.clone()
        });
        if let Err(error) = memory.keep(follow.seen()) {
            tracing::error!(group = self.group, %error, "no new client is let in before the epoch is on disk");
            course.opens = false;
        }
        self.steer(course);
    }

    fn steer(&self, course: Course) {
        let changed = self.course.send_if_modified(|held| {
            let changed = *held != course;
            held.clone_from(&course);
            changed
        });
        if changed {
            let to = course.keeps.as_ref().map_or("nobody", NodeName::as_str);
            tracing::info!(group = self.group, primary = to, opens = course.opens, epoch = %course.epoch, "proxy follows");
        }
    }

    /// Where clients go, and when that changes.
    #[must_use]
    pub fn course(&self) -> watch::Receiver<Course> {
        self.course.subscribe()
    }
}

#[cfg(test)]
mod tests;
