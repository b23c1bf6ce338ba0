//! One client's session: its state, and the loop that turns commands into answers.
//!
//! States are RFC 9051's (section 3). A command is read, answered and, where a mailbox is selected, followed by what
//! changed in it meanwhile. Every read of the store runs on a blocking thread.

use super::append::Intake;
use super::change::Trust;
use super::grammar::{self, Bad, Command};
use super::line::{self, Event};
use super::mutf7::Script;
use super::selected::Selected;
use super::wire::{Ended, Wire};
use crate::op::{Namespaces, UserName};
use crate::serve::census::Seat;
use crate::serve::server::{Client, FrontEnd, raised};
use crate::store::embedded::view::{View, ViewError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Commands that can't be read, before which a client that has not logged in must go: it is no mail client.
const BAD_COMMANDS_MAX: u32 = 10;
/// How often a waiting session asks whether it may go on: a fence or a promotion ends it within this time.
const ACCESS_CHECK: Duration = Duration::from_millis(500);
/// What writers are told.
pub(super) const STANDBY: &str = "[NOPERM] Read-only: this is a standby; writes go to the primary";

/// Where a session stands.
pub(super) enum State {
    /// Nobody yet.
    NotAuthenticated,
    /// A user.
    Authenticated(UserName),
    /// A user in a mailbox.
    Selected(UserName, Selected),
    /// Saying goodbye.
    Logout,
}

/// How a command ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Ok(String),
    No(String),
    Bad(String),
}

impl Reply {
    pub(super) fn ok<T>(text: impl Into<String>) -> Result<Self, T> {
        Ok(Self::Ok(text.into()))
    }

    pub(super) fn no<T>(text: impl Into<String>) -> Result<Self, T> {
        Ok(Self::No(text.into()))
    }

    pub(super) fn bad<T>(text: impl Into<String>) -> Result<Self, T> {
        Ok(Self::Bad(text.into()))
    }
}

/// Why a command stops early.
#[derive(Debug)]
pub(super) enum Stop {
    /// The connection is over.
    Ended(Ended),
    /// The command is: with this reply.
    Reply(Reply),
    /// The command is, and its last line was sent.
    Answered,
}

impl From<Ended> for Stop {
    fn from(ended: Ended) -> Self {
        Self::Ended(ended)
    }
}

/// What the client has shown that it knows (RFC 5161, RFC 7162 section 3.1). None of it is taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Enabled {
    /// MODSEQs.
    pub(super) condstore: bool,
    /// VANISHED instead of EXPUNGE.
    pub(super) qresync: bool,
    /// Answers of IMAP4rev2.
    pub(super) rev2: bool,
    /// Names and quoted strings in UTF-8.
    pub(super) utf8: bool,
}

/// One connection's session.
pub struct Session {
    pub(super) front: Arc<FrontEnd>,
    pub(super) client: Client,
    pub(super) wire: Wire,
    pub(super) state: State,
    pub(super) enabled: Enabled,
    /// Between the levels of the user's names, once it is known.
    pub(super) separator: Option<char>,
    pub(super) failed_logins: u32,
    pub(super) shutdown: watch::Receiver<bool>,
    pub(super) seat: Seat,
    pub(super) trust: Trust,
    pub(super) intake: Intake,
    bad_commands: u32,
    since: Instant,
}

impl Session {
    /// A session that has not greeted yet, of a client that has been connected since then.
    #[must_use]
    pub fn new(
        front: Arc<FrontEnd>,
        (client, seat): (Client, Seat),
        wire: Wire,
        (since, shutdown): (Instant, watch::Receiver<bool>),
    ) -> Self {
        Self {
            front,
            client,
            wire,
            state: State::NotAuthenticated,
            enabled: Enabled::default(),
            separator: None,
            failed_logins: 0,
            shutdown,
            seat,
            trust: Trust::default(),
            intake: Intake::default(),
            bad_commands: 0,
            since,
        }
    }

    /// Greets and serves until either side ends it.
    pub async fn run(mut self) {
        match self.serve().await {
            Err(Ended::Bye(text)) => self.wire.put(format!("* BYE {text}\r\n")),
            Err(Ended::Flood) => {
                self.front.counts.cut_off.inc();
                self.wire.put("* BYE Literal too large\r\n");
            }
            Ok(()) | Err(Ended::Gone) => {}
        }
        self.wire.close().await;
    }

    async fn serve(&mut self) -> Result<(), Ended> {
        self.check_access()?;
        let offered = self.offered();
        let role = if self.is_primary() { "" } else { "standby " };
        self.wire
            .put(format!("* OK [CAPABILITY {offered}] mailshadow {role}ready.\r\n"));
        self.wire.flush().await?;
        while !matches!(self.state, State::Logout) {
            let event = self.wait().await?;
            self.check_access()?;
            self.handle(event).await?;
            self.wire.flush().await?;
        }
        Ok(())
    }

    /// The next event from the client, while time, role and daemon allow it. Cancel safe.
    pub(super) async fn wait(&mut self) -> Result<Event, Ended> {
        let deadline = match self.state {
            State::NotAuthenticated => self.since + self.front.limits.login,
            _ => Instant::now() + self.front.limits.idle,
        };
        loop {
            tokio::select! {
                event = self.wire.event() => return event,
                () = raised(&mut self.shutdown) => return Err(Ended::Bye("Server shutting down.".to_owned())),
                () = tokio::time::sleep_until(deadline) => {
                    self.front.counts.cut_off.inc();
                    return Err(Ended::Bye("Disconnected for inactivity.".to_owned()));
                }
                () = tokio::time::sleep(ACCESS_CHECK) => self.check_access()?,
            }
        }
    }

    async fn handle(&mut self, event: Event) -> Result<(), Ended> {
        let (bytes, whole) = match event {
            Event::WantsLiteral => {
                self.wire.put("+ OK\r\n");
                return Ok(());
            }
            Event::Announced { before, octets } => return self.announced(&before, octets).await,
            Event::TooLong(start) => return self.finish(line::tag_of(&start), Reply::Bad("Line too long".to_owned())),
            Event::Refused(start) => (start, false),
            Event::Command(bytes) => (bytes, true),
        };
        let Some(tag) = line::tag_of(&bytes) else {
            return self.finish(None, Reply::Bad("Invalid tag".to_owned()));
        };
        let command = bytes.get(tag.len().saturating_add(1)..).unwrap_or_default();
        let answered = self.answer(tag, command, whole).await;
        self.intake.clear();
        let reply = match answered {
            Ok(reply) | Err(Stop::Reply(reply)) => reply,
            Err(Stop::Answered) => return Ok(()),
            Err(Stop::Ended(ended)) => return Err(ended),
        };
        self.finish(Some(tag), reply)
    }

    /// Writes the line that ends a command.
    fn finish(&mut self, tag: Option<&str>, reply: Reply) -> Result<(), Ended> {
        let (word, text) = match &reply {
            Reply::Ok(text) => ("OK", text),
            Reply::No(text) => ("NO", text),
            Reply::Bad(text) => ("BAD", text),
        };
        self.wire.put(format!("{} {word} {text}\r\n", tag.unwrap_or("*")));
        if matches!(reply, Reply::Bad(_)) && matches!(self.state, State::NotAuthenticated) {
            self.bad_commands = self.bad_commands.saturating_add(1);
            if self.bad_commands >= BAD_COMMANDS_MAX {
                return Err(Ended::Bye("Too many invalid IMAP commands.".to_owned()));
            }
        }
        Ok(())
    }

    async fn answer(&mut self, tag: &str, bytes: &[u8], whole: bool) -> Result<Reply, Stop> {
        let verb = grammar::verb(bytes);
        if !whole {
            let reply = self.intake.refusal();
            return Ok(reply.unwrap_or_else(|| Reply::Bad("Literal too large".to_owned())));
        }
        let known = !matches!(self.state, State::NotAuthenticated);
        if known && grammar::is_write(&verb) && !self.is_primary() {
            return Reply::no(STANDBY);
        }
        match grammar::parse(bytes) {
            Ok(command) => Box::pin(self.obey(tag, command)).await,
            Err(Bad(why)) => Reply::bad(format!("Error in IMAP command {verb}: {why}")),
        }
    }

    async fn obey(&mut self, tag: &str, command: Command) -> Result<Reply, Stop> {
        match (command, &self.state) {
            (Command::Capability, _) => self.capability(),
            (Command::Noop, _) => self.noop("NOOP completed.").await,
            (Command::Id, _) => {
                self.wire.put(super::capability::ID);
                Reply::ok("ID completed.")
            }
            (Command::Logout, _) => {
                self.wire.put("* BYE Logging out\r\n");
                self.state = State::Logout;
                Reply::ok("Logout completed.")
            }
            (Command::StartTls, State::NotAuthenticated) => self.start_tls(tag).await,
            (Command::Login { name, password }, State::NotAuthenticated) => self.login(&name, &password).await,
            (Command::Authenticate { mechanism, initial }, State::NotAuthenticated) => {
                self.authenticate(&mechanism, initial).await
            }
            (_, State::NotAuthenticated) => Reply::bad("Log in first"),
            (Command::StartTls | Command::Login { .. } | Command::Authenticate { .. }, _) => {
                Reply::bad("Already logged in")
            }
            (command, _) => self.obey_user(tag, command).await,
        }
    }

    async fn obey_user(&mut self, tag: &str, command: Command) -> Result<Reply, Stop> {
        self.know_separator().await?;
        match command {
            Command::Enable(names) => self.enable(&names),
            Command::Namespace => self.namespace().await,
            Command::Select(select) => self.select(select).await,
            Command::List(list) => self.list(&list).await,
            Command::Lsub { reference, pattern } => self.lsub(&reference, &pattern).await,
            Command::Status { mailbox, items } => self.status(&mailbox, &items).await,
            Command::GetMetadata(command) => self.get_metadata(&command).await,
            Command::GetAcl(mailbox) => self.get_acl(&mailbox).await,
            Command::MyRights(mailbox) => self.my_rights(&mailbox).await,
            Command::ListRights { mailbox, whom } => self.list_rights(&mailbox, &whom),
            Command::Idle => self.idle().await,
            Command::Compress(mechanism) => self.compress(tag, &mechanism).await,
            Command::GetQuota(_) => self.quota(),
            Command::GetQuotaRoot(mailbox) => self.quota_root(&mailbox).await,
            command => self.obey_writer(tag, command).await,
        }
    }

    async fn obey_writer(&mut self, tag: &str, command: Command) -> Result<Reply, Stop> {
        match command {
            Command::Append(append) => {
                let messages = self.wire.messages();
                self.append(append, messages).await
            }
            Command::Create { mailbox, special_use } => self.create(&mailbox, special_use).await,
            Command::Delete(mailbox) => self.delete(&mailbox).await,
            Command::Rename { from, to } => self.rename(&from, &to).await,
            Command::Subscribe { mailbox, subscribed } => self.subscribe(&mailbox, subscribed).await,
            Command::SetMetadata(command) => self.set_metadata(command).await,
            Command::SetAcl(command) => self.set_acl(&command).await,
            Command::DeleteAcl { mailbox, whom } => self.delete_acl(&mailbox, &whom).await,
            command => {
                if !matches!(self.state, State::Selected(..)) {
                    return Reply::bad("No mailbox selected");
                }
                self.obey_selected(tag, command).await
            }
        }
    }

    async fn obey_selected(&mut self, tag: &str, command: Command) -> Result<Reply, Stop> {
        self.arrive().await?;
        match command {
            Command::Check => self.noop("Check completed.").await,
            Command::Close => self.close().await,
            Command::Store(store) => self.store(store).await,
            Command::Expunge(set) => self.expunge(set.as_ref()).await,
            Command::Copy(copy) => self.copy(copy).await,
            Command::Replace(replace) => {
                let messages = self.wire.messages();
                self.replace(replace, messages).await
            }
            Command::Unselect => self.leave("Unselect completed."),
            Command::Fetch(fetch) => self.fetch(fetch).await,
            Command::Search(search) => self.search(tag, search).await,
            Command::Sort(sort) => self.sort(tag, sort).await,
            Command::Thread(thread) => self.thread(thread).await,
            _ => Reply::bad("Unknown command"),
        }
    }

    pub(super) fn leave(&mut self, text: &str) -> Result<Reply, Stop> {
        if let State::Selected(user, _) = &self.state {
            self.state = State::Authenticated(user.clone());
        }
        Reply::ok(text)
    }

    async fn noop(&mut self, text: &str) -> Result<Reply, Stop> {
        self.refresh().await?;
        Reply::ok(text)
    }

    /// Learns how the user's names are written. A primary's user who has no mail yet gets an INBOX.
    pub(super) async fn know_separator(&mut self) -> Result<(), Stop> {
        if self.separator.is_some() {
            return Ok(());
        }
        self.separator = self.namespaces().await?.map(|namespaces| namespaces.separator);
        if self.separator.is_none() && self.is_primary() {
            self.make_inbox().await?;
            self.separator = Some(Namespaces::default().separator);
        }
        Ok(())
    }

    /// How names are written in this session.
    pub(super) fn script(&self) -> Script {
        Script {
            separator: self.separator.unwrap_or_else(|| Namespaces::default().separator),
            utf8: self.enabled.utf8,
        }
    }

    /// How the user's names are written at the source; none before the first tree came from there.
    pub(super) async fn namespaces(&self) -> Result<Option<Namespaces>, Stop> {
        let user = self.user()?;
        self.read(move |view| view.namespaces(&user)).await
    }

    /// The user; commands that need one are refused before.
    pub(super) fn user(&self) -> Result<UserName, Stop> {
        match &self.state {
            State::Authenticated(user) | State::Selected(user, _) => Ok(user.clone()),
            _ => Err(Stop::Reply(Reply::Bad("Log in first".to_owned()))),
        }
    }

    /// The selected mailbox; commands that need one are refused before.
    pub(super) fn selected(&self) -> Result<&Selected, Stop> {
        match &self.state {
            State::Selected(_, selected) => Ok(selected),
            _ => Err(Stop::Reply(Reply::Bad("No mailbox selected".to_owned()))),
        }
    }

    /// As [`Self::selected`], to change it.
    pub(super) fn selected_mut(&mut self) -> Result<&mut Selected, Stop> {
        match &mut self.state {
            State::Selected(_, selected) => Ok(selected),
            _ => Err(Stop::Reply(Reply::Bad("No mailbox selected".to_owned()))),
        }
    }

    /// Reads the store on a blocking thread.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn View) -> Result<T, ViewError> + Send + 'static,
    ) -> Result<T, Stop> {
        self.reading(read).await
    }

    /// Begins to read the store on a blocking thread.
    pub(super) fn reading<T, R>(&self, read: R) -> impl Future<Output = Result<T, Stop>> + Send + use<T, R>
    where
        T: Send + 'static,
        R: FnOnce(&dyn View) -> Result<T, ViewError> + Send + 'static,
    {
        let view = Arc::clone(&self.front.view);
        let peer = self.client.peer;
        let task = tokio::task::spawn_blocking(move || read(view.as_ref()));
        async move {
            let result = task.await.unwrap_or_else(|error| Err(ViewError(error.to_string())));
            result.map_err(|error| {
                tracing::error!(%error, %peer, "an IMAP command could not be answered");
                Stop::Reply(Reply::No("[UNAVAILABLE] The store can't be read just now".to_owned()))
            })
        }
    }
}
