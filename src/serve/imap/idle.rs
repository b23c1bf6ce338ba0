//! IDLE (RFC 2177): news of the selected mailbox as it comes.

use super::line::Event;
use super::session::{Reply, Session, Stop};
use std::time::Duration;

/// How often an idle client hears that we are there, so that no router between forgets the connection.
const STILL_HERE: Duration = Duration::from_secs(120);

impl Session {
    pub(super) async fn idle(&mut self) -> Result<Reply, Stop> {
        self.wire.put("+ idling\r\n");
        let deadline = tokio::time::Instant::now() + self.front.limits.idle;
        loop {
            self.refresh().await?;
            self.wire.flush().await?;
            let mut changes = self.selected().ok().map(|selected| selected.changes.clone());
            let changed = async {
                match &mut changes {
                    Some(changes) => changes.changed().await.is_ok(),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                event = self.wait() => return done(event?),
                true = changed => {}
                () = tokio::time::sleep(STILL_HERE) => self.wire.put("* OK Still here\r\n"),
                () = tokio::time::sleep_until(deadline) => {
                    self.front.counts.cut_off.inc();
                    let text = "Disconnected for inactivity.".to_owned();
                    return Err(super::wire::Ended::Bye(text).into());
                }
            }
        }
    }
}

fn done(event: Event) -> Result<Reply, Stop> {
    match event {
        Event::Command(line) if line.eq_ignore_ascii_case(b"DONE") => Reply::ok("Idle completed."),
        _ => Reply::bad("Expected DONE."),
    }
}
