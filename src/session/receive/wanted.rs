//! Bodies between the frame that names them and the disk.
//!
//! ```text
//! Unchecked ─► Checking ─► Lacking ─► Asked ──► Storing ─► done      Arriving (sent ahead) ─► Storing
//!                  │          └─ Behind (the same body is asked for under another place)
//!                  └─ not lacking: done
//! ```

use crate::codec::wire::NumberedNeed;
use crate::limits::{NEED_PLACES_MAX, NEEDS_OPEN_MAX, WIRE_MESSAGES_MAX, WIRE_NEED_PLACES_MAX, WIRE_NEEDS_MAX};
use crate::op::{BodyHash, BodyName, BodyPlace, MessageGuid, Missing, Need, UserName};
use crate::session::receive::ReceiveRequest;
use std::collections::{BTreeMap, VecDeque};

/// Questions to the body store that are open at once: the next one is asked while one is answered.
const CHECKS_OPEN_MAX: usize = 2;

/// Who waits for a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiter {
    /// A frame, by its ticket.
    Frame(u64),
    /// An offer, by its ticket.
    Offer(u64),
    /// Nobody: the message is body pending.
    Pending,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Unchecked,
    Checking,
    Lacking,
    Asked,
    Behind,
    Arriving,
    Storing,
}

#[derive(Debug)]
struct Body {
    step: Step,
    waiters: Vec<Waiter>,
    other_places: Vec<BodyPlace>,
    /// True once it came with another hash than was said.
    was_broken: bool,
    /// Bytes handed to the body store and not taken yet.
    storing_bytes: u64,
}

/// Two appends with equal keys have the same body (protocol 2), so it is asked for once.
type Key = (UserName, MessageGuid, u64);

/// All bodies under way.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    bodies: BTreeMap<BodyName, Body>,
    unchecked: VecDeque<BodyName>,
    checks: BTreeMap<u64, Vec<BodyName>>,
    /// What frames wait for, before what was only offered or is pending.
    urgent: VecDeque<BodyName>,
    later: VecDeque<BodyName>,
    asked: BTreeMap<u64, BodyName>,
    /// Key → who is asked for, and who waits behind it.
    leaders: BTreeMap<Key, (BodyName, Vec<BodyName>)>,
    storing_bytes: u64,
}

fn key(name: &BodyName) -> Option<Key> {
    match (&name.guid, name.size) {
        (guid, Some(size)) if !guid.is_unknown() => Some((name.place.mailbox.user.clone(), guid.clone(), size)),
        _ => None,
    }
}

impl Wanted {
    pub(super) fn len(&self) -> usize {
        self.bodies.len()
    }

    /// Bytes handed to the body store and not taken yet.
    pub(super) fn storing_bytes(&self) -> u64 {
        self.storing_bytes
    }

    fn insert(&mut self, name: BodyName, step: Step, waiter: Option<Waiter>) {
        let body = Body {
            step,
            waiters: waiter.into_iter().collect(),
            other_places: Vec::new(),
            was_broken: false,
            storing_bytes: 0,
        };
        self.bodies.insert(name, body);
    }

    /// Somebody waits for this body.
    pub(super) fn want(&mut self, name: BodyName, waiter: Waiter) {
        if let Some(body) = self.bodies.get_mut(&name) {
            body.waiters.push(waiter);
            return;
        }
        self.unchecked.push_back(name.clone());
        self.insert(name, Step::Unchecked, Some(waiter));
    }

    /// A message is body pending: ask for it once more, without asking the store, which knows it to be missing.
    pub(super) fn want_pending(&mut self, name: BodyName, mut places: Vec<BodyPlace>) {
        if self.bodies.contains_key(&name) {
            return;
        }
        places.truncate(NEED_PLACES_MAX);
        self.later.push_back(name.clone());
        self.insert(name.clone(), Step::Lacking, Some(Waiter::Pending));
        if let Some(body) = self.bodies.get_mut(&name) {
            body.other_places = places;
        }
    }

    /// Names to look up in the body store.
    pub(super) fn next_check(&mut self, request: u64) -> Option<Vec<BodyName>> {
        if self.unchecked.is_empty() || self.checks.len() >= CHECKS_OPEN_MAX {
            return None;
        }
        let many = self.unchecked.len().min(WIRE_MESSAGES_MAX);
        let mut names: Vec<BodyName> = self.unchecked.drain(..many).collect();
        names.retain(|name| self.step(name, Step::Unchecked, Step::Checking));
        if names.is_empty() {
            return None;
        }
        self.checks.insert(request, names.clone());
        Some(names)
    }

    /// Moves a body from one step to the next; false where it is elsewhere (it came ahead meanwhile, say).
    fn step(&mut self, name: &BodyName, from: Step, to: Step) -> bool {
        match self.bodies.get_mut(name) {
            Some(body) if body.step == from => {
                body.step = to;
                true
            }
            _ => false,
        }
    }

    /// The store's answer; who need not wait.
    pub(super) fn checked(&mut self, request: u64, mut lacking: BTreeMap<BodyName, Vec<BodyPlace>>) -> Vec<Waiter> {
        let mut done = Vec::new();
        for name in self.checks.remove(&request).unwrap_or_default() {
            if !self.bodies.get(&name).is_some_and(|body| body.step == Step::Checking) {
                continue;
            }
            match lacking.remove(&name) {
                Some(places) => self.lack(&name, places),
                None => self.finish(&name, &mut done),
            }
        }
        done
    }

    fn lack(&mut self, name: &BodyName, mut places: Vec<BodyPlace>) {
        places.truncate(NEED_PLACES_MAX);
        if let Some(key) = key(name) {
            let (leader, behind) = self.leaders.entry(key).or_insert_with(|| (name.clone(), Vec::new()));
            if leader != name {
                behind.push(name.clone());
                self.step(name, Step::Checking, Step::Behind);
                return;
            }
        }
        if let Some(body) = self.bodies.get_mut(name) {
            body.other_places = places;
            body.step = Step::Lacking;
            let urgent = body.waiters.iter().any(|waiter| matches!(waiter, Waiter::Frame(_)));
            let queue = if urgent { &mut self.urgent } else { &mut self.later };
            queue.push_back(name.clone());
        }
    }

    /// Needs for one message. `number` gives each its own.
    pub(super) fn next_needs(&mut self, mut number: impl FnMut() -> u64) -> Vec<NumberedNeed> {
        let (mut needs, mut places) = (Vec::new(), 0);
        // The next need may have the most places.
        let room =
            |needs: usize, places: usize| needs < WIRE_NEEDS_MAX && places + NEED_PLACES_MAX < WIRE_NEED_PLACES_MAX;
        while room(needs.len(), places) && self.asked.len() < NEEDS_OPEN_MAX {
            let Some(name) = self.urgent.pop_front().or_else(|| self.later.pop_front()) else {
                break;
            };
            if !self.step(&name, Step::Lacking, Step::Asked) {
                continue;
            }
            let id = number();
            self.asked.insert(id, name.clone());
            let other_places = self.bodies.get(&name).map(|body| body.other_places.clone());
            places += other_places.as_ref().map_or(1, |places| places.len() + 1);
            needs.push(NumberedNeed {
                id,
                need: Need {
                    name,
                    other_places: other_places.unwrap_or_default(),
                },
            });
        }
        needs
    }

    /// The body that a need asked for.
    pub(super) fn asked(&self, id: u64) -> Option<&BodyName> {
        self.asked.get(&id)
    }

    /// A body begins to arrive that nobody asked for.
    pub(super) fn arrives_ahead(&mut self, name: &BodyName) {
        match self.bodies.get_mut(name) {
            None => self.insert(name.clone(), Step::Arriving, None),
            Some(body) => {
                if matches!(
                    body.step,
                    Step::Unchecked | Step::Checking | Step::Lacking | Step::Behind
                ) {
                    body.step = Step::Arriving;
                }
            }
        }
    }

    /// A body is here, its hash is right.
    pub(super) fn arrived(
        &mut self,
        need: Option<u64>,
        name: BodyName,
        octets: Vec<u8>,
        hash: BodyHash,
    ) -> Option<ReceiveRequest> {
        let length = u64::try_from(octets.len()).unwrap_or(u64::MAX);
        if name.size.is_some_and(|size| size != length) {
            let size = name.size.unwrap_or_default();
            return self.missing(
                need,
                name,
                contradiction(format!("{length} bytes, its store says {size}")),
            );
        }
        if !self.store(need, &name, length) {
            return None;
        }
        Some(ReceiveRequest::StoreBody { name, octets, hash })
    }

    /// A body can't be had: that is stored in its place, unless it is known already. Sent ahead and wrong: asked for.
    pub(super) fn missing(&mut self, need: Option<u64>, name: BodyName, missing: Missing) -> Option<ReceiveRequest> {
        let Some(id) = need else {
            self.check_again(&name);
            return None;
        };
        self.asked.remove(&id);
        let body = self.bodies.get(&name)?;
        if body.step == Step::Asked && body.waiters.iter().all(|waiter| *waiter == Waiter::Pending) {
            self.finish(&name, &mut Vec::new());
            return None;
        }
        if !self.store(need, &name, 0) {
            return None;
        }
        Some(ReceiveRequest::StoreMissing { name, missing })
    }

    /// A body came with another hash than was said: once more, and then it counts as missing.
    pub(super) fn broken(&mut self, need: Option<u64>, name: BodyName) -> Option<ReceiveRequest> {
        let first_time = self.bodies.get(&name).is_some_and(|body| !body.was_broken);
        if need.is_some() && !first_time {
            return self.missing(
                need,
                name,
                contradiction("its hash was wrong twice on arrival".to_owned()),
            );
        }
        if let Some(id) = need {
            self.asked.remove(&id);
        }
        if let Some(body) = self.bodies.get_mut(&name) {
            body.was_broken = true;
        }
        if need.is_some() && self.step(&name, Step::Asked, Step::Lacking) {
            self.urgent.push_back(name);
        } else {
            self.check_again(&name);
        }
        None
    }

    /// What came ahead and is of no use: who waits for it goes the long way.
    fn check_again(&mut self, name: &BodyName) {
        let Some(body) = self.bodies.get_mut(name) else { return };
        if body.step != Step::Arriving {
            return;
        }
        if body.waiters.is_empty() {
            self.finish(name, &mut Vec::new());
        } else {
            body.step = Step::Unchecked;
            self.unchecked.push_back(name.clone());
        }
    }

    fn store(&mut self, need: Option<u64>, name: &BodyName, bytes: u64) -> bool {
        if let Some(id) = need {
            self.asked.remove(&id);
        }
        let Some(body) = self.bodies.get_mut(name) else {
            return false;
        };
        if !matches!(body.step, Step::Asked | Step::Arriving) {
            return false;
        }
        body.step = Step::Storing;
        body.storing_bytes = bytes;
        self.storing_bytes = self.storing_bytes.saturating_add(bytes);
        true
    }

    /// It is on disk, or durably missing; who need not wait any more.
    pub(super) fn stored(&mut self, names: Vec<BodyName>) -> Vec<Waiter> {
        let mut done = Vec::new();
        for name in names {
            let Some(body) = self.bodies.get(&name).filter(|body| body.step == Step::Storing) else {
                continue;
            };
            self.storing_bytes = self.storing_bytes.saturating_sub(body.storing_bytes);
            self.finish(&name, &mut done);
        }
        done
    }

    fn finish(&mut self, name: &BodyName, done: &mut Vec<Waiter>) {
        if let Some(body) = self.bodies.remove(name) {
            done.extend(body.waiters);
        }
        let Some(key) = key(name) else { return };
        if self.leaders.get(&key).is_none_or(|(leader, _)| leader != name) {
            return;
        }
        let (_, behind) = self.leaders.remove(&key).unwrap_or_else(|| (name.clone(), Vec::new()));
        for name in behind {
            if self.step(&name, Step::Behind, Step::Unchecked) {
                self.unchecked.push_back(name);
            }
        }
    }

    /// The connection is gone: what was asked for is asked for again, what was arriving is looked for.
    pub(super) fn lost(&mut self) {
        for name in std::mem::take(&mut self.asked).into_values() {
            if self.step(&name, Step::Asked, Step::Lacking) {
                self.urgent.push_back(name);
            }
        }
        let arriving = self.bodies.iter().filter(|(_, body)| body.step == Step::Arriving);
        for name in arriving.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.check_again(&name);
        }
    }
}

fn contradiction(why: String) -> Missing {
    Missing {
        gone: false,
        file: String::new(),
        offset: 0,
        why,
    }
}
