//! The admin socket: a unix socket of mode 0600, one request a connection, answered line by line.

use super::lines::{Answer, read_request};
use super::report::Decision;
use super::verbs::{JournalRequest, ProgressSink, Request, VerbError, Verbs};
use crate::limits::{
    CONTROL_CLIENTS_MAX, CONTROL_PROGRESS_LINES_MAX, CONTROL_REQUEST_SECONDS_MAX, CONTROL_WRITE_SECONDS_MAX,
    JOURNAL_CAT_FRAMES_MAX,
};
use serde::Serialize;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncWriteExt, BufReader, Interest};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

/// The socket can't be had.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Another daemon answers there.
    #[error("another shadowd answers on {}", .0.display())]
    Taken(PathBuf),
    /// It can't be made.
    #[error("make the control socket {}: {error}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What came of it.
        error: std::io::Error,
    },
}

/// The listening socket; its file goes when this is dropped.
#[derive(Debug)]
pub struct ControlServer {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(socket = %self.path.display(), %error, "the control socket was gone already");
        }
    }
}

impl ControlServer {
    /// Makes the socket, in place of one that nobody answers on. It is never open to others, not even for a moment: it
    /// is bound inside a folder of mode 0700 and moved to its place.
    ///
    /// # Errors
    /// Somebody answers there, or it can't be made.
    pub fn bind(path: &Path) -> Result<Self, ControlError> {
        let failed = |error| ControlError::Io {
            path: path.to_owned(),
            error,
        };
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(ControlError::Taken(path.to_owned()));
        }
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let folder = path.with_file_name(name);
        if folder.is_dir() {
            std::fs::remove_dir_all(&folder).map_err(failed)?;
        }
        std::fs::DirBuilder::new().mode(0o700).create(&folder).map_err(failed)?;
        let inside = folder.join("s");
        let listener = UnixListener::bind(&inside).map_err(failed)?;
        let owner_only = std::fs::Permissions::from_mode(0o600);
        let moved = std::fs::set_permissions(&inside, owner_only).and_then(|()| std::fs::rename(&inside, path));
        let cleared = moved.and_then(|()| std::fs::remove_dir(&folder));
        cleared.map_err(failed)?;
        let path = path.to_owned();
        Ok(Self { listener, path })
    }

    /// Answers until `stop` says true; verbs that run then are dropped.
    pub async fn serve<V: Verbs>(self, verbs: Arc<V>, mut stop: watch::Receiver<bool>) {
        let clients = Arc::new(Semaphore::new(CONTROL_CLIENTS_MAX));
        let mut running = tokio::task::JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            while running.try_join_next().is_some() {}
            match accepted {
                Ok((stream, _)) => {
                    let permit = Arc::clone(&clients).try_acquire_owned().ok();
                    running.spawn(client(stream, Arc::clone(&verbs), permit));
                }
                Err(error) => {
                    tracing::warn!(%error, "the control socket can't accept; trying again");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }
        }
        running.shutdown().await;
    }
}

/// One client: read its request, run the verb, tell it the end. A client that goes away ends its verb.
async fn client<V: Verbs>(stream: UnixStream, verbs: Arc<V>, permit: Option<OwnedSemaphorePermit>) {
    let (reader, writer) = stream.into_split();
    let mut out = Out(writer);
    let answer = match permit {
        Some(_permit) => answer(reader, &*verbs, &mut out).await,
        None => Ok(Some(Answer::Error(VerbError::failed(format!(
            "{CONTROL_CLIENTS_MAX} commands run already: wait for one to end"
        ))))),
    };
    let told = match answer {
        Ok(Some(answer)) => out.line(&answer).await,
        Ok(None) => Ok(()),
        Err(gone) => Err(gone),
    };
    if told.is_err() {
        tracing::debug!("a control client went away before its answer");
    }
}

/// None where the client asked nothing.
async fn answer<V: Verbs>(reader: OwnedReadHalf, verbs: &V, out: &mut Out) -> Result<Option<Answer>, Gone> {
    match request(reader).await {
        Ok(Some(request)) => run(verbs, request, out).await.map(Some),
        Ok(None) => Ok(None),
        Err(message) => Ok(Some(Answer::Error(VerbError::usage(message)))),
    }
}

/// The request, within a bound of time: an idle connection must not keep its place.
async fn request(reader: OwnedReadHalf) -> Result<Option<Request>, String> {
    let mut reader = BufReader::new(reader);
    let limit = Duration::from_secs(CONTROL_REQUEST_SECONDS_MAX);
    let read = tokio::time::timeout(limit, read_request(&mut reader)).await;
    read.unwrap_or_else(|_| Err("no request came".to_owned()))
}

/// The client is gone.
struct Gone;

struct Out(OwnedWriteHalf);

impl Out {
    async fn line(&mut self, answer: &Answer) -> Result<(), Gone> {
        let limit = Duration::from_secs(CONTROL_WRITE_SECONDS_MAX);
        let written = tokio::time::timeout(limit, self.0.write_all(&answer.to_line())).await;
        written.map_err(|_| Gone)?.map_err(|_| Gone)
    }

    /// Returns when the client has closed its side wholly (closing the sending half only is legal: `socat` does it).
    async fn closed(&self) {
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            match self.0.ready(Interest::WRITABLE).await {
                Ok(ready) if !ready.is_write_closed() => {}
                _ => return,
            }
        }
    }

    /// Runs a verb to its end, passing on its progress.
    async fn attend<T: Serialize>(
        &mut self,
        verb: impl Future<Output = Result<T, VerbError>>,
        mut progress: mpsc::Receiver<super::verbs::Progress>,
    ) -> Result<Answer, Gone> {
        tokio::pin!(verb);
        loop {
            tokio::select! {
                biased;
                Some(told) = progress.recv() => self.line(&Answer::Progress(told)).await?,
                ended = &mut verb => return Ok(ended.map_or_else(Answer::Error, done)),
                () = self.closed() => return Err(Gone),
            }
        }
    }
}

fn done<T: Serialize>(value: T) -> Answer {
    match serde_json::to_value(value) {
        Ok(value) => Answer::Ok(value),
        Err(error) => Answer::Error(VerbError::failed(format!("the answer has no JSON form: {error}"))),
    }
}

async fn run<V: Verbs>(verbs: &V, request: Request, out: &mut Out) -> Result<Answer, Gone> {
    let (sender, progress) = mpsc::channel(CONTROL_PROGRESS_LINES_MAX);
    let sink = ProgressSink::new(sender);
    match request {
        Request::Status { user: None } => out.attend(async { Ok(verbs.status().await) }, progress).await,
        Request::Status { user: Some(user) } => out.attend(verbs.user_status(user), progress).await,
        Request::Wait(wait) => out.attend(verbs.wait(wait, sink), progress).await,
        Request::Verify(verify) => out.attend(verbs.verify(verify, sink), progress).await,
        Request::Repair(repair) => out.attend(verbs.repair(repair, sink), progress).await,
        Request::RepairStream { group } => out.attend(verbs.repair_stream(group), progress).await,
        Request::Promote(promote) => out.attend(verbs.promote(promote, sink), progress).await,
        Request::Switchover(switchover) => out.attend(verbs.switchover(switchover, sink), progress).await,
        Request::Move(users) => out.attend(verbs.move_users(users, sink), progress).await,
        Request::Rejoin(of) => out.attend(verbs.rejoin(of, sink), progress).await,
        Request::ResumeAlone(of) => out.attend(verbs.resume_alone(of), progress).await,
        Request::Pause(of) => out.attend(verbs.pause(of, true), progress).await,
        Request::Resume(of) => out.attend(verbs.pause(of, false), progress).await,
        Request::MayServe { group } => out.attend(verbs.may_serve(group), progress).await,
        Request::QuarantineLs(of) => out.attend(verbs.quarantine(of), progress).await,
        Request::QuarantineShow(entry) => out.attend(verbs.quarantine_entry(entry), progress).await,
        Request::QuarantineRelease(entry) => {
            out.attend(verbs.quarantine_decide(entry, Decision::Release), progress)
                .await
        }
        Request::QuarantineDrop(entry) => {
            out.attend(verbs.quarantine_decide(entry, Decision::Drop), progress)
                .await
        }
        Request::RetainedLs(of) => out.attend(verbs.retained(of), progress).await,
        Request::RetainedRelease(entry) => out.attend(verbs.retained_release(entry), progress).await,
        Request::RetainedRestore(entry) => out.attend(verbs.retained_restore(entry), progress).await,
        Request::JournalLs { group } => out.attend(verbs.journal_list(group), progress).await,
        Request::Migrate(request) => out.attend(verbs.migrate(request, sink), progress).await,
        Request::JournalCat(cat) => journal_cat(verbs, cat, out).await,
    }
}

/// Frames in pieces, each asked for when the one before has been read: a slow reader costs no memory.
async fn journal_cat<V: Verbs>(verbs: &V, request: JournalRequest, out: &mut Out) -> Result<Answer, Gone> {
    let mut left = request.most.unwrap_or(u64::MAX);
    let mut next = request.from;
    let mut frames: u64 = 0;
    while left > 0 {
        let piece = JournalRequest {
            group: request.group.clone(),
            from: next,
            most: Some(left.min(JOURNAL_CAT_FRAMES_MAX)),
        };
        let piece = match verbs.journal_frames(piece).await {
            Ok(piece) => piece,
            Err(error) => return Ok(Answer::Error(error)),
        };
        let Some(last) = piece.last() else { break };
        next = Some(last.lsn.next());
        for frame in piece {
            let item = serde_json::to_value(frame).unwrap_or_default();
            out.line(&Answer::Item(item)).await?;
            frames += 1;
            left -= 1;
        }
    }
    Ok(done(serde_json::json!({ "frames": frames })))
}
