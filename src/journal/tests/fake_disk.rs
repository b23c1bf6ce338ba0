//! A directory in memory that forgets what was not flushed, as a power cut makes it, and fails when told to.
//!
//! Allowed faults, all of which the journal must survive: on a crash each write since the file's last flush is there,
//! absent, or there in some of its 16-byte sectors, in no order; of the directory's changes since its last flush a
//! prefix is there. A write may fail with a part of it done. A flush may fail: what it should have made durable then
//! stays readable, but no later flush makes it durable unless it is written again.

use crate::journal::Disk;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

const SECTOR: usize = 16;

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Truncate(u64),
}

#[derive(Clone, Debug, Default)]
struct Content {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Not flushed yet.
    changes: Vec<Change>,
}

type Names = BTreeMap<String, usize>;

#[derive(Clone, Debug, Default)]
struct World {
    contents: Vec<Content>,
    names: Names,
    /// The directory after each change since its last flush, the flushed one first.
    history: Vec<Names>,
    /// Bytes that may still be written before the disk is full.
    room: Option<usize>,
    /// Flushes (of files and of the directory) until one fails.
    sync_fails_in: Option<u32>,
    syncs: u32,
    reads: u32,
}

#[derive(Debug, Default)]
pub(super) struct FakeDisk(Mutex<World>);

/// Numbers without a pattern, the same for the same seed (xorshift).
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % bound
    }
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Truncate(size) => bytes.resize(usize::try_from(*size).unwrap(), 0),
        Change::Write(offset, written) => {
            let (from, to) = (usize::try_from(*offset).unwrap(), *offset as usize + written.len());
            if bytes.len() < to {
                bytes.resize(to, 0);
            }
            bytes[from..to].copy_from_slice(written);
        }
    }
}

/// What a crash leaves of a change.
fn torn(change: &Change, dice: &mut Dice) -> Vec<Change> {
    let Change::Write(offset, bytes) = change else {
        return if dice.below(2) == 0 {
            vec![change.clone()]
        } else {
            vec![]
        };
    };
    match dice.below(4) {
        0 => vec![],
        1 => vec![change.clone()],
        2 => vec![Change::Write(*offset, bytes[..dice.below(bytes.len() + 1)].to_vec())],
        _ => bytes
            .chunks(SECTOR)
            .enumerate()
            .filter(|_| dice.below(2) == 0)
            .map(|(at, sector)| Change::Write(offset + (at * SECTOR) as u64, sector.to_vec()))
            .collect(),
    }
}

impl FakeDisk {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(World {
            history: vec![Names::new()],
            ..World::default()
        })))
    }

    /// A disk that has exactly these files, durably.
    pub(super) fn of(files: &[(String, Vec<u8>)]) -> Arc<Self> {
        let disk = Self::new();
        {
            let mut world = disk.0.lock().unwrap();
            for (at, (name, bytes)) in files.iter().enumerate() {
                world.contents.push(Content {
                    live: bytes.clone(),
                    durable: bytes.clone(),
                    changes: Vec::new(),
                });
                world.names.insert(name.clone(), at);
            }
            world.history = vec![world.names.clone()];
        }
        disk
    }

    /// The files as a reader sees them now.
    pub(super) fn files(&self) -> Vec<(String, Vec<u8>)> {
        let world = self.0.lock().unwrap();
        let file = |(name, at): (&String, &usize)| (name.clone(), world.contents[*at].live.clone());
        world.names.iter().map(file).collect()
    }

    /// The same disk after the power came back.
    pub(super) fn crashed(&self, seed: u64) -> Arc<Self> {
        let mut dice = Dice::new(seed);
        let mut world = self.0.lock().unwrap().clone();
        for content in &mut world.contents {
            for change in std::mem::take(&mut content.changes) {
                torn(&change, &mut dice)
                    .iter()
                    .for_each(|left| apply(&mut content.durable, left));
            }
            content.live = content.durable.clone();
        }
        world.names = world.history[dice.below(world.history.len())].clone();
        world.history = vec![world.names.clone()];
        (world.room, world.sync_fails_in) = (None, None);
        Arc::new(Self(Mutex::new(world)))
    }

    /// Everything the kernel still had was lost, nothing more: the worst crash.
    pub(super) fn powered_off(&self) -> Arc<Self> {
        let mut world = self.0.lock().unwrap().clone();
        for content in &mut world.contents {
            content.changes.clear();
            content.live = content.durable.clone();
        }
        world.names = world.history[0].clone();
        world.history.truncate(1);
        (world.room, world.sync_fails_in) = (None, None);
        Arc::new(Self(Mutex::new(world)))
    }

    pub(super) fn leave_room(&self, room: Option<usize>) {
        self.0.lock().unwrap().room = room;
    }

    pub(super) fn fail_sync_in(&self, flushes: Option<u32>) {
        self.0.lock().unwrap().sync_fails_in = flushes;
    }

    /// How often anything was read.
    pub(super) fn reads(&self) -> u32 {
        self.0.lock().unwrap().reads
    }

    pub(super) fn syncs(&self) -> u32 {
        self.0.lock().unwrap().syncs
    }
}

impl World {
    fn at(&self, name: &str) -> io::Result<usize> {
        self.names
            .get(name)
            .copied()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn change(&mut self, name: &str, change: Change) -> io::Result<()> {
        let at = self.at(name)?;
        apply(&mut self.contents[at].live, &change);
        self.contents[at].changes.push(change);
        Ok(())
    }

    fn renamed(&mut self) {
        self.history.push(self.names.clone());
    }

    fn sync_fails(&mut self) -> bool {
        self.syncs += 1;
        match self.sync_fails_in.take() {
            Some(0) => true,
            left => {
                self.sync_fails_in = left.map(|left| left - 1);
                false
            }
        }
    }
}

impl Disk for FakeDisk {
    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let size = |(name, bytes): (String, Vec<u8>)| (name, bytes.len() as u64);
        Ok(self.files().into_iter().map(size).collect())
    }

    fn create(&self, name: &str) -> io::Result<()> {
        let mut world = self.0.lock().unwrap();
        world.contents.push(Content::default());
        let at = world.contents.len() - 1;
        world.names.insert(name.to_owned(), at);
        world.renamed();
        Ok(())
    }

    fn read_at(&self, name: &str, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut world = self.0.lock().unwrap();
        world.reads += 1;
        let bytes = &world.contents[world.at(name)?].live;
        let from = bytes.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        let size = from.len().min(into.len());
        into[..size].copy_from_slice(&from[..size]);
        Ok(size)
    }

    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut world = self.0.lock().unwrap();
        let room = world.room.unwrap_or(usize::MAX);
        let fits = bytes.len().min(room);
        world.change(name, Change::Write(offset, bytes[..fits].to_vec()))?;
        world.room = world.room.map(|room| room - fits);
        if fits < bytes.len() {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            Ok(())
        }
    }

    fn truncate(&self, name: &str, size: u64) -> io::Result<()> {
        self.0.lock().unwrap().change(name, Change::Truncate(size))
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        let mut world = self.0.lock().unwrap();
        let fails = world.sync_fails();
        let at = world.at(name)?;
        let content = &mut world.contents[at];
        let changes = std::mem::take(&mut content.changes);
        if fails {
            return Err(io::Error::other("the disk lost its cache"));
        }
        changes.iter().for_each(|change| apply(&mut content.durable, change));
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut world = self.0.lock().unwrap();
        let at = world.at(from)?;
        world.names.remove(from);
        world.names.insert(to.to_owned(), at);
        world.renamed();
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut world = self.0.lock().unwrap();
        world.at(name)?;
        world.names.remove(name);
        world.renamed();
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut world = self.0.lock().unwrap();
        if world.sync_fails() {
            return Err(io::Error::other("the disk lost its cache"));
        }
        world.history = vec![world.names.clone()];
        Ok(())
    }
}
