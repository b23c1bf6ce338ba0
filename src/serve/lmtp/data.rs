//! Taking a message in, and delivering it to each recipient.

use super::input::Dots;
use super::recipient::Place;
use super::session::{Over, Recipient, Session, Transaction};
use super::trace::{self, Delivery};
use crate::limits::{IMAP_SKIP_BYTES_MAX, INTAKE_MESSAGE_BYTES_MAX, LMTP_DELIVERIES_AT_ONCE};
use crate::op::Flags;
use crate::serve::change::make;
use crate::serve::room::{Room, Taken};
use crate::serve::server::Access;
use crate::store::change::{Change, NewMessage, Reason, Refused};
use crate::store::dovecot::crlf;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::task::JoinHandle;

/// The message is durable.
const SAVED: &str = "250 2.0.0";
/// Nobody knows what came of it: the sender tries again, and there may be two.
const LOST: &str = "451 4.3.0";

/// Octets for which room is taken at a time, where the sender doesn't say how many will come.
const ROOM: u64 = 1 << 20;

/// A reply's code, and its text.
type Refusal = (&'static str, &'static str);

/// A message on its way in.
#[derive(Debug, Default)]
pub(super) struct Intake {
    octets: Vec<u8>,
    /// Room that was taken, and for how many octets.
    rooms: Vec<Taken>,
    room: u64,
    /// Octets that came, kept or not.
    came: u64,
    /// Why it is not kept any more.
    refusal: Option<Refusal>,
}

impl Intake {
    /// Of which nothing is kept.
    fn refused(why: Refusal) -> Self {
        Self {
            refusal: Some(why),
            ..Self::default()
        }
    }

    /// Takes octets in while there is room for them.
    async fn keep(&mut self, fresh: &[u8], room: &Room) -> Result<(), Over> {
        let n = u64::try_from(fresh.len()).unwrap_or(u64::MAX);
        self.came = self.came.saturating_add(n);
        if self.came > IMAP_SKIP_BYTES_MAX {
            return Err(Over::Bye("421 4.3.4 Message too big".to_owned()));
        }
        if self.came > INTAKE_MESSAGE_BYTES_MAX {
            self.refuse(("552 5.3.4", "Message too big"));
        }
        if self.refusal.is_none() && self.came > self.room {
            self.reserve(ROOM.max(n), room).await;
        }
        if self.refusal.is_none() {
            self.octets.extend_from_slice(fresh);
        }
        Ok(())
    }

    async fn reserve(&mut self, octets: u64, room: &Room) {
        match room.take(octets).await {
            Some(taken) => {
                self.rooms.push(taken);
                self.room = self.room.saturating_add(octets);
            }
            None => self.refuse(("452 4.3.1", "Too much mail is coming in just now")),
        }
    }

    fn refuse(&mut self, why: Refusal) {
        self.refusal = self.refusal.or(Some(why));
        self.octets = Vec::new();
        self.rooms.clear();
    }
}

impl Session {
    /// DATA.
    pub(super) async fn data(&mut self) -> Result<(), Over> {
        let Some(transaction) = &mut self.transaction else {
            self.reply("503 5.5.0 MAIL needed first");
            return Ok(());
        };
        if transaction.chunks.is_some() {
            self.reply("503 5.5.0 BDAT was used before");
            return Ok(());
        }
        if transaction.recipients.is_empty() {
            self.reply("503 5.5.0 No valid recipients");
            return Ok(());
        }
        let mut intake = Intake::default();
        let announced = transaction.parameters.size.unwrap_or(ROOM);
        intake.reserve(announced, &self.front.room).await;
        if let Some((code, text)) = intake.refusal {
            self.reply(&format!("{code} {text}"));
            return Ok(());
        }
        self.reply("354 OK");
        self.take_data(&mut intake).await?;
        self.deliver(intake).await;
        Ok(())
    }

    async fn take_data(&mut self, intake: &mut Intake) -> Result<(), Over> {
        let mut dots = Dots::default();
        loop {
            let mut fresh = Vec::new();
            let ended = self.input.data(&mut dots, &mut fresh);
            intake.keep(&fresh, &self.front.room).await?;
            if ended {
                return Ok(());
            }
            self.more().await?;
        }
    }

    /// BDAT (RFC 3030). Its octets come whatever the answer will be.
    pub(super) async fn chunks(&mut self, octets: u64, last: bool) -> Result<(), Over> {
        let mut intake = match &mut self.transaction {
            None => Intake::refused(("503 5.5.0", "MAIL needed first")),
            Some(transaction) if transaction.recipients.is_empty() => {
                Intake::refused(("503 5.5.0", "No valid recipients"))
            }
            Some(transaction) => transaction.chunks.take().unwrap_or_default(),
        };
        let mut left = octets;
        while left > 0 {
            let fresh = self.input.octets(left);
            left = left.saturating_sub(u64::try_from(fresh.len()).unwrap_or(u64::MAX));
            intake.keep(&fresh, &self.front.room).await?;
            if left > 0 && self.input.is_empty() {
                self.more().await?;
            }
        }
        match (&mut self.transaction, intake.refusal) {
            (Some(transaction), _) if last && !transaction.recipients.is_empty() => self.deliver(intake).await,
            (_, Some((code, text))) => {
                self.transaction = None;
                self.reply(&format!("{code} {text}"));
            }
            (Some(transaction), None) => {
                transaction.chunks = Some(intake);
                self.reply(&format!("250 2.0.0 Added {octets} octets"));
            }
            (None, None) => self.reply("503 5.5.0 MAIL needed first"),
        }
        Ok(())
    }

    /// Delivers, and answers for each recipient in order. Somebody who was named twice gets one message.
    async fn deliver(&mut self, intake: Intake) {
        let Some(transaction) = self.transaction.take() else {
            return;
        };
        self.transactions = self.transactions.saturating_add(1);
        let id = format!("{}:T{}", self.id, self.transactions);
        if let Some((code, text)) = intake.refusal {
            for recipient in &transaction.recipients {
                self.reply(&format!("{code} <{}> {text}", recipient.address.text));
            }
            return;
        }
        let message = self.message(intake.octets, &transaction, &id);
        let mut codes: HashMap<Place, &'static str> = HashMap::new();
        for recipients in transaction.recipients.chunks(LMTP_DELIVERIES_AT_ONCE) {
            let mut running: Vec<(Place, JoinHandle<Result<(), Refused>>)> = Vec::new();
            for Recipient { place, .. } in recipients {
                if !codes.contains_key(place) && !running.iter().any(|(other, _)| other == place) {
                    let delivery = self.delivery(place.clone(), message.clone());
                    running.push((place.clone(), tokio::spawn(delivery)));
                }
            }
            for (place, delivery) in running {
                let code = match delivery.await {
                    Ok(Ok(())) => SAVED,
                    Ok(Err(refused)) => code(&refused),
                    Err(_) => LOST,
                };
                codes.insert(place, code);
            }
            for Recipient { address, place } in recipients {
                let code = codes.get(place).copied().unwrap_or(LOST);
                let text = if code == SAVED { "Saved" } else { "Not saved" };
                self.reply(&format!("{code} <{}> {id} {text}", address.text));
            }
        }
    }

    fn delivery(
        &self,
        Place { user, mailbox }: Place,
        message: NewMessage,
    ) -> impl Future<Output = Result<(), Refused>> + Send + use<> {
        let access = (self.front.access)();
        async move {
            let Access::ReadWrite(changer) = access else {
                let (reason, why) = (Reason::NotPrimary, "not the primary".to_owned());
                return Err(Refused { reason, why });
            };
            let change = Change::Deliver { user, mailbox, message };
            let delivered = make(changer, change).await;
            if let Err(refused) = &delivered {
                tracing::warn!(reason = ?refused.reason, why = %refused.why, "a message was not delivered");
            }
            delivered.map(drop)
        }
    }

    fn message(&self, octets: Vec<u8>, transaction: &Transaction, id: &str) -> NewMessage {
        let alone = match transaction.recipients.as_slice() {
            [only] => Some(&only.address),
            _ => None,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let fields = trace::fields(&Delivery {
            helo: &self.helo,
            peer: self.peer.ip(),
            host: &self.host,
            id,
            from: &transaction.from,
            to: alone,
            at: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
        });
        let mut whole = fields.into_bytes();
        whole.extend_from_slice(&crlf::into_crlf(octets));
        NewMessage {
            octets: Arc::from(whole),
            flags: Flags::NONE,
            keywords: Vec::new(),
            internal_date: None,
        }
    }
}

/// The code of a refusal. All but a bound that was met are worth another try, here or at the next primary.
fn code(refused: &Refused) -> &'static str {
    match refused.reason {
        Reason::Limit => "552 5.2.2",
        Reason::NoPermission => "450 4.2.0",
        Reason::NotPrimary => "451 4.3.2",
        Reason::Nonexistent | Reason::TryCreate | Reason::AlreadyExists | Reason::Cannot => "451 4.2.0",
        Reason::Unavailable => "451 4.3.0",
    }
}
