//! What a node tells of itself beside its groups: room for its state, the ends of its certificates, its own process.

use crate::config::{Config, StoreConfig};
use crate::io::{cert, clock};
use crate::limits::{CERTIFICATE_DAYS_LOW, STATE_FREE_BYTES_LOW};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Seconds of a day.
pub const DAY_SECONDS: i64 = 86_400;

/// Figures of one moment; none where the system does not say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Vitals {
    /// Bytes that this node may still write where its state lies.
    pub state_free_bytes: Option<u64>,
    /// Size of that filesystem.
    pub state_size_bytes: Option<u64>,
    /// Files that may still be made there; none on a filesystem that doesn't count them.
    pub state_free_inodes: Option<u64>,
    /// Memory of the process that is in use.
    pub resident_bytes: Option<u64>,
    /// File descriptors in use.
    pub open_files: Option<u64>,
    /// File descriptors that the process may use.
    pub open_files_max: Option<u64>,
    /// Processor time used, seconds.
    pub cpu_seconds: Option<f64>,
    /// Until when each certificate in use is good.
    pub certificates: Vec<CertificateEnd>,
}

/// The end of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateEnd {
    /// `node`, `ca`, or `front-GROUP` where a front end has one of its own.
    pub certificate: String,
    /// UNIX seconds.
    pub until_seconds: i64,
}

impl CertificateEnd {
    /// Whole days that it is still good for; negative once it has ended.
    #[must_use]
    pub fn days_left(&self, now_seconds: i64) -> i64 {
        (self.until_seconds - now_seconds).div_euclid(DAY_SECONDS)
    }
}

impl Vitals {
    /// Reads them; costs some microseconds and a few small files.
    #[must_use]
    pub fn read(config: &Config) -> Self {
        let room = rustix::fs::statvfs(&config.node.state).ok();
        let process = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
        Self {
            state_free_bytes: room.as_ref().map(|room| room.f_bavail.saturating_mul(room.f_frsize)),
            state_size_bytes: room.as_ref().map(|room| room.f_blocks.saturating_mul(room.f_frsize)),
            state_free_inodes: room.as_ref().filter(|room| room.f_files > 0).map(|room| room.f_favail),
            resident_bytes: resident_bytes(&process),
            open_files: std::fs::read_dir("/proc/self/fd")
                .ok()
                .and_then(|entries| u64::try_from(entries.count()).ok()),
            open_files_max: open_files_max(&limits),
            cpu_seconds: Some(cpu_seconds()),
            certificates: certificates(config),
        }
    }

    /// What a human should look at, in words.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(free) = self.state_free_bytes.filter(|free| *free < STATE_FREE_BYTES_LOW) {
            problems.push(format!(
                "{} MiB free for the state directory: without room capture or applying pauses",
                free >> 20
            ));
        }
        let now = clock::unix_seconds();
        for end in &self.certificates {
            match end.days_left(now) {
                days if days < 0 => problems.push(format!("the certificate \"{}\" has ended", end.certificate)),
                days if days < CERTIFICATE_DAYS_LOW => {
                    problems.push(format!("the certificate \"{}\" ends in {days} days", end.certificate))
                }
                _ => {}
            }
        }
        problems
    }
}

fn certificates(config: &Config) -> Vec<CertificateEnd> {
    let mut files: Vec<(String, &Path)> =
        vec![("node".to_owned(), &config.tls.cert), ("ca".to_owned(), &config.tls.ca)];
    for group in &config.groups {
        if let StoreConfig::Embedded(embedded) = &group.store
            && let Some((cert, _)) = &embedded.certificate
        {
            files.push((format!("front-{}", group.name), cert));
        }
    }
    let end = |(certificate, path): (String, &Path)| {
        let until_seconds = cert::facts(path).ok()?.validity.until;
        Some(CertificateEnd {
            certificate,
            until_seconds,
        })
    };
    files.into_iter().filter_map(end).collect()
}

/// `VmRSS:   12345 kB` of `/proc/PID/status`.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib.saturating_mul(1024))
}

/// The soft limit in `Max open files   1024   524288   files` of `/proc/PID/limits`; none where it is unlimited.
#[must_use]
pub fn open_files_max(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[expect(
    clippy::cast_precision_loss,
    clippy::as_conversions,
    reason = "seconds of 285 million years are exact"
)]
fn cpu_seconds() -> f64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_the_process_are_found_in_what_the_kernel_writes() {
        let status = "Name:\tshadowd\nVmPeak:\t  200 kB\nVmRSS:\t   5120 kB\nThreads:\t4\n";
        assert_eq!(resident_bytes(status), Some(5_242_880));
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            1024                 524288               files\n";
        assert_eq!(open_files_max(limits), Some(1024));
        assert_eq!(open_files_max("Max open files unlimited unlimited files\n"), None);
        assert_eq!(resident_bytes("garbage"), None);
        assert!(cpu_seconds() > 0.0);
    }

    #[test]
    fn a_full_disk_and_an_old_certificate_are_problems_before_they_stop_anything() {
        let end = |days: i64| CertificateEnd {
            certificate: "node".to_owned(),
            until_seconds: clock::unix_seconds() + days * DAY_SECONDS + 60,
        };
        let vitals = |free, days| Vitals {
            state_free_bytes: Some(free),
            certificates: vec![end(days)],
            ..Vitals::default()
        };
        assert_eq!(vitals(50 << 30, 100).problems(), Vec::<String>::new());
        let low = vitals(100 << 20, 12).problems();
        assert!(
            low[0].starts_with("100 MiB free") && low[1].ends_with("ends in 12 days"),
            "{low:?}"
        );
        assert!(vitals(50 << 30, -3).problems()[0].ends_with("has ended"));
    }
}
