//! Why a standby has stopped taking or applying, for `status`: it then keeps what it has, and says so until a restart.

use std::sync::{Mutex, PoisonError};

/// Empty while all is well.
#[derive(Debug, Default)]
pub(super) struct Halted(Mutex<Option<String>>);

impl Halted {
    /// Notes and logs why; the first reason stays.
    pub(super) fn because(&self, why: String) {
        tracing::error!(
            why,
            "this copy has stopped; it keeps what it has until the daemon is started again"
        );
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
    }

    /// Why, where it has.
    pub(super) fn why(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
