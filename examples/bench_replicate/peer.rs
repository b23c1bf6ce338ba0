//! The peer: Dovecot's own dsync, as `doveadm backup` and as the replicator of 2.3.

use crate::setting::{Setting, USERS};
use anyhow::{Context, Result};
use std::path::Path;
use testbed::dovecot::{Dovecot, Format, Version};
use testbed::node::Pki;
use testbed::ports;
use testbed::process;

const SECRET: &str = "doveadm_password = of-the-benchmark\n";

/// A second Dovecot that is copied to.
pub(crate) struct Peer {
    /// The server.
    pub(crate) dovecot: Dovecot,
    port: u16,
    ca: String,
}

/// What the source's configuration needs so that it may talk to a peer.
pub(crate) const OF_THE_SOURCE: &str = SECRET;

impl Peer {
    /// A Dovecot that takes dsync over TLS.
    ///
    /// # Errors
    /// It doesn't start.
    pub(crate) fn start(setting: &Setting, folder: &Path, version: Version) -> Result<Peer> {
        let pki_folder = folder.join("peer-pki");
        let pki = Pki::new(&setting.programs, &pki_folder)?;
        pki.issue(&setting.programs, "localhost")?;
        let port = ports::free();
        let files = pki_folder.display();
        let certificate = match version {
            Version::V2_3 => format!("ssl_cert = <{files}/localhost.pem\nssl_key = <{files}/localhost.key\n"),
            Version::V2_4 => {
                format!("ssl_server_cert_file = {files}/localhost.pem\nssl_server_key_file = {files}/localhost.key\n")
            }
        };
        let extra = format!(
            "ssl = yes\n{certificate}{SECRET}service doveadm {{\n  inet_listener {} {{\n    port = {port}\n    ssl = yes\n  }}\n}}\n",
            if version == Version::V2_3 { "" } else { "doveadm-server" }
        );
        let mut dovecot = Dovecot::prepare(&folder.join("peer"), version, Format::Maildir, USERS, &extra)?;
        dovecot.start()?;
        let ca = format!("{files}/ca.pem");
        Ok(Peer { dovecot, port, ca })
    }

    /// `doveadm backup` of every user, one after another, as its manual has it.
    ///
    /// # Errors
    /// One of them failed.
    pub(crate) fn backup(&self, source: &Dovecot) -> Result<()> {
        let to = format!("tcps:localhost:{}", self.port);
        let ca = format!("ssl_client_ca_file={}", self.ca);
        for user in source.users() {
            source.doveadm(&["-o", &ca, "backup", "-u", user, &to])?;
        }
        Ok(())
    }

    /// Removes all of its mail.
    ///
    /// # Errors
    /// A folder can't be removed.
    pub(crate) fn wipe(&self) -> Result<()> {
        for user in self.dovecot.users() {
            let home = self.dovecot.home(user);
            if home.exists() {
                std::fs::remove_dir_all(home)?;
            }
        }
        Ok(())
    }
}

/// A Dovecot 2.3 whose replicator plugin copies every delivery to a second one.
pub(crate) struct Replicator {
    /// Where mail is delivered. The order of the fields is the order of their end.
    pub(crate) source: Dovecot,
    /// Where it appears.
    pub(crate) copy: Dovecot,
}

impl Replicator {
    /// Starts both.
    ///
    /// # Errors
    /// One of them doesn't start.
    pub(crate) fn start(folder: &Path) -> Result<Replicator> {
        let port = ports::free();
        let listener = format!("{SECRET}service doveadm {{\n  inet_listener {{\n    port = {port}\n  }}\n}}\n");
        let mut copy = Dovecot::prepare(
            &folder.join("replica"),
            Version::V2_3,
            Format::Maildir,
            USERS,
            &listener,
        )?;
        copy.start()?;
        let plugin = format!(
            "{SECRET}mail_plugins = $mail_plugins notify replication\n\
             replication_max_conns = 10\nreplication_dsync_parameters = -d -N -l 30 -U\n\
             service replicator {{\n  process_min_avail = 1\n  unix_listener replicator-doveadm {{\n    mode = 0600\n  }}\n}}\n\
             service aggregator {{\n  fifo_listener replication-notify-fifo {{\n    mode = 0666\n  }}\n  unix_listener \
             replication-notify {{\n    mode = 0666\n  }}\n}}\nplugin {{\n  mail_replica = tcp:127.0.0.1:{port}\n}}\n"
        );
        let mut source = Dovecot::prepare(
            &folder.join("replicated"),
            Version::V2_3,
            Format::Maildir,
            USERS,
            &plugin,
        )?;
        source.start()?;
        Ok(Replicator { source, copy })
    }

    /// Users with an INBOX on both sides, so that no run pays for making one.
    ///
    /// # Errors
    /// The replicator doesn't bring them over.
    pub(crate) fn settle(&self) -> Result<()> {
        let new = |user: &String| self.copy.home(user).join("Maildir/cur");
        process::until(
            "the replicator has begun with every user",
            std::time::Duration::from_secs(60),
            || Ok(self.copy.users().iter().all(|user| new(user).exists())),
        )
        .with_context(|| self.source.logs())
    }
}
