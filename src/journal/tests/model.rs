//! The journal against a plain list, through random histories of calls, full disks, failed flushes, kills and crashes.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Action {
    Append(u64),
    /// Only the first parts of a run.
    AppendOpen(u64),
    Commit,
    Checkpoint(u8),
    Trim(prop::sample::Index),
    RollBack,
    Restart,
    LeaveRoom(Option<u16>),
    FailSync(u8),
    /// The daemon is killed and starts again; the machine goes on.
    Kill,
    Crash(u64),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        8 => (1..4u64).prop_map(Action::Append),
        1 => (2..4u64).prop_map(Action::AppendOpen),
        8 => Just(Action::Commit),
        2 => (0..4u8).prop_map(Action::Checkpoint),
        2 => any::<prop::sample::Index>().prop_map(Action::Trim),
        1 => Just(Action::RollBack),
        1 => Just(Action::Restart),
        2 => prop::option::of(0..900u16).prop_map(Action::LeaveRoom),
        1 => (0..6u8).prop_map(Action::FailSync),
        1 => Just(Action::Kill),
        2 => any::<u64>().prop_map(Action::Crash),
    ]
}

type Checkpointed = Option<(Lsn, Vec<Vec<u8>>)>;

struct World {
    disk: Arc<FakeDisk>,
    journal: Journal,
    /// Every frame that was ever taken into the current history; trimmed ones stay.
    taken: Vec<EncodedFrame>,
    /// How many of them were committed.
    committed: usize,
    /// A new beginning that failed half-way: it may have come to pass.
    maybe_restarted: Option<Vec<EncodedFrame>>,
    streams: u8,
    checkpoint: Checkpointed,
    checkpoints_taken: Vec<Checkpointed>,
}

impl World {
    fn new() -> Self {
        let disk = FakeDisk::new();
        let journal = open(&disk).unwrap().0;
        Self {
            disk,
            journal,
            taken: Vec::new(),
            committed: 0,
            maybe_restarted: None,
            streams: 0,
            checkpoint: None,
            checkpoints_taken: vec![None],
        }
    }

    fn sealer(&mut self) -> Sealer {
        match self.taken.last() {
            Some(last) => Sealer::resume(head_of(last)),
            None => {
                self.streams += 1;
                Sealer::begin(StreamId([self.streams; 16]), Epoch(1))
            }
        }
    }

    fn run_is_open(&self) -> bool {
        self.taken.last().is_some_and(|frame| !frame.ends_transaction())
    }

    fn append(&mut self, parts: u64, all_of_it: bool) {
        if self.run_is_open() {
            return;
        }
        let mut frames = transaction(&mut self.sealer(), parts);
        if !all_of_it {
            frames.pop();
        }
        if self.journal.append(&frames).is_ok() {
            self.taken.extend(frames);
        }
    }

    fn commit(&mut self) {
        if let Ok(head) = self.journal.commit() {
            let whole = self.taken.iter().rposition(EncodedFrame::ends_transaction);
            self.committed = whole.map_or(0, |at| at + 1);
            assert_eq!(head, self.taken[..self.committed].last().map(head_of));
            self.checkpoint = self.checkpoints_taken.last().unwrap().clone();
            self.checkpoints_taken = vec![self.checkpoint.clone()];
        }
    }

    fn checkpoint(&mut self, parts: u8) {
        let Some(head) = self.journal.appended() else { return };
        let parts: Vec<Vec<u8>> = (0..parts).map(|part| vec![part; 30]).collect();
        if self
            .journal
            .append_checkpoint(head.lsn, parts.iter().cloned().map(Ok))
            .is_ok()
        {
            self.checkpoints_taken.push(Some((head.lsn, parts)));
        }
    }

    fn trim(&mut self, at: prop::sample::Index) {
        let upto = Lsn(at.index(self.taken.len() + 2) as u64 + self.taken.first().map_or(0, |frame| frame.lsn.0));
        let before = self.journal.oldest();
        if let Ok(oldest) = self.journal.trim(upto) {
            assert!(oldest <= before.max(Some(upto.next())) && oldest >= before);
        }
    }

    fn restart(&mut self) {
        self.streams += 1;
        let mut sealer = Sealer::resume(Head {
            lsn: Lsn(u64::from(self.streams)),
            ..head_of(&transaction(&mut sealer(), 1)[0])
        });
        let base = base(&mut sealer);
        match self.journal.restart_at(&base) {
            Ok(_) => {
                (self.taken, self.committed, self.maybe_restarted) = (vec![base], 1, None);
                (self.checkpoint, self.checkpoints_taken) = (None, vec![None]);
            }
            // It may have come to pass all the same.
            Err(JournalError::Flush { .. }) => self.maybe_restarted = Some(vec![base]),
            Err(_) => {}
        }
    }

    fn reopen(&mut self, disk: Arc<FakeDisk>) {
        disk.leave_room(None);
        disk.fail_sync_in(None);
        let (journal, recovered) = open(&disk).unwrap();
        (self.disk, self.journal) = (disk, journal);
        if let Some(base) = self.maybe_restarted.take()
            && recovered.head == base.last().map(head_of)
        {
            (self.taken, self.checkpoints_taken) = (base, vec![None]);
        } else {
            let count = self
                .taken
                .iter()
                .position(|frame| recovered.head == Some(head_of(frame)));
            let count = count.map_or(0, |at| at + 1);
            assert!(
                count >= self.committed,
                "{count} frames are left of {} committed ones",
                self.committed
            );
            self.taken.truncate(count);
        }
        self.committed = self.taken.len();
        assert!(!self.run_is_open());
        let found = recovered
            .checkpoint
            .map(|checkpoint| (checkpoint.covers, checkpoint.parts));
        assert!(self.checkpoints_taken.contains(&found), "another checkpoint: {found:?}");
        (self.checkpoint, self.checkpoints_taken) = (found.clone(), vec![found]);
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Append(parts) => self.append(parts, true),
            Action::AppendOpen(parts) => self.append(parts, false),
            Action::Commit => self.commit(),
            Action::Checkpoint(parts) => self.checkpoint(parts),
            Action::Trim(at) => self.trim(at),
            Action::RollBack => {
                if self.journal.roll_back().is_ok() {
                    self.taken.truncate(self.committed);
                    self.checkpoints_taken = vec![self.checkpoint.clone()];
                }
            }
            Action::Restart => self.restart(),
            Action::LeaveRoom(room) => self.disk.leave_room(room.map(usize::from)),
            Action::FailSync(flushes) => self.disk.fail_sync_in(Some(u32::from(flushes))),
            Action::Kill => self.reopen(Arc::clone(&self.disk)),
            Action::Crash(seed) => {
                let disk = self.disk.crashed(seed);
                self.reopen(disk);
            }
        }
        self.check();
    }

    /// Readers see exactly what is committed and not trimmed.
    fn check(&self) {
        if self.maybe_restarted.is_some() {
            assert_eq!((self.journal.head(), all(&self.journal)), (None, vec![]));
            return;
        }
        let seen = all(&self.journal);
        let committed = &self.taken[..self.committed];
        assert!(
            committed.ends_with(&seen),
            "{} frames seen, {} committed",
            seen.len(),
            committed.len()
        );
        assert_eq!(self.journal.head(), committed.last().map(head_of));
        let oldest = self.journal.oldest();
        assert!(seen.is_empty() || oldest == Some(seen[0].lsn));
        assert!(!seen.is_empty() || oldest == self.journal.head().map(|head| head.lsn.next()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_history_loses_a_committed_frame_or_shows_another_one(actions in prop::collection::vec(action(), 1..80)) {
        let mut world = World::new();
        actions.into_iter().for_each(|action| world.act(action));
        world.reopen(world.disk.powered_off());
        world.check();
    }
}

/// What was cut came back behind the frames that were written in its place.
#[test]
fn a_cut_whose_flush_failed_is_cut_again_at_the_next_start() {
    use Action::{Append, AppendOpen, Commit, FailSync, Kill, RollBack};
    let mut world = World::new();
    let actions = [
        Append(1),
        AppendOpen(3),
        Commit,
        FailSync(0),
        RollBack,
        Kill,
        Append(1),
        Commit,
    ];
    actions.into_iter().for_each(|action| world.act(action));
    world.reopen(world.disk.powered_off());
    world.check();
}
