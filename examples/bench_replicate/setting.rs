//! How much is measured, with which programs, on which machine.

use anyhow::Result;
use std::time::Duration;
use testbed::dovecot::{Format, Version};
use testbed::node::Programs;
use testbed::pair::{Pair, Plan};

/// The users of every server here.
pub(crate) const USERS: usize = 20;

/// What one call of the benchmark measures.
pub(crate) struct Setting {
    /// How often each.
    pub(crate) runs: usize,
    /// What is measured.
    pub(crate) programs: Programs,
    shrink: usize,
}

impl Setting {
    /// Finds the programs beside this one.
    ///
    /// # Errors
    /// They were not built.
    pub(crate) fn new(runs: usize, quick: bool) -> Result<Setting> {
        Ok(Setting {
            runs,
            programs: Programs::beside_this_example()?,
            shrink: if quick { 100 } else { 1 },
        })
    }

    /// A size, or a hundredth of it.
    pub(crate) fn size(&self, full: usize) -> usize {
        (full / self.shrink).max(1)
    }

    /// How long a load is.
    pub(crate) fn span(&self, seconds: u64) -> Duration {
        Duration::from_secs(if self.shrink > 1 { 2 } else { seconds })
    }

    /// One line on the machine.
    pub(crate) fn describe(&self) -> String {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let folder = std::env::var("MAILSHADOW_TEST_DIR").unwrap_or_else(|_| "/tmp".to_owned());
        format!(
            "{cores} cores, load {}, stores in {folder}, {} runs each",
            load.split(' ').next().unwrap_or("?"),
            self.runs
        )
    }

    /// A Dovecot 2.3 with maildir, its node and a standby; nothing but the Dovecot runs yet.
    ///
    /// # Errors
    /// It doesn't start.
    pub(crate) fn pair(&self, format: Format, users: usize, extra: &str) -> Result<Pair> {
        let plan = Plan {
            programs: &self.programs,
            version: Version::V2_3,
            format,
            users,
            standbys: 1,
            extra,
        };
        plan.build()
    }
}
