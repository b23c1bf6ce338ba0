//! How a front end has a change made.

use crate::store::change::{Change, Changed, Changer, Reason, Refused};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Waits for the changer, which may hold a thread for a while. Durable when this returns.
pub(super) async fn make(changer: Arc<dyn Changer>, change: Change) -> Result<Changed, Refused> {
    let (tell, told) = oneshot::channel();
    let asked = tokio::task::spawn_blocking(move || {
        let answer = Box::new(move |changed| {
            // a session that ended meanwhile doesn't hear it
            drop(tell.send(changed));
        });
        changer.change(change, answer);
    });
    let lost = |why: &str| Refused {
        reason: Reason::Unavailable,
        why: why.to_owned(),
    };
    asked.await.map_err(|_| lost("The change could not be made"))?;
    told.await.unwrap_or_else(|_| Err(lost("The change was lost")))
}
