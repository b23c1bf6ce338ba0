//! Who is connected: bounds in all, for an address, and for a user.

use super::server::ServeLimits;
use crate::op::UserName;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The connections of one front end, over all its listeners.
#[derive(Debug, Default)]
pub struct Census(Mutex<Seats>);

#[derive(Debug, Default)]
struct Seats {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
    by_user: HashMap<UserName, usize>,
}

/// Where a client counts: an IPv6 network of 64 bits is one customer's, and has more addresses than seats.
fn place(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        v4 => v4,
    }
}

impl Census {
    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A seat for a new connection, if there is one. Loopback (proxies, webmail) has only the bound of all.
    #[must_use]
    pub fn admit(self: &Arc<Self>, address: IpAddr, limits: &ServeLimits) -> Option<Seat> {
        let loopback = address.to_canonical().is_loopback();
        let address = place(address);
        let mut seats = self.seats();
        let here = seats.by_address.get(&address).copied().unwrap_or_default();
        if seats.all >= limits.connections || (here >= limits.per_address && !loopback) {
            return None;
        }
        seats.all = seats.all.saturating_add(1);
        seats.by_address.insert(address, here.saturating_add(1));
        Some(Seat {
            census: Arc::clone(self),
            address: Some(address),
            user: None,
        })
    }
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
pub struct Seat {
    census: Arc<Census>,
    /// None once it counts for a user: behind a proxy's address may be all of them.
    address: Option<IpAddr>,
    user: Option<UserName>,
}

impl Seat {
    /// Counts for this user from now on, and no longer for its address; false where the user has too many connections already.
    pub fn take_for(&mut self, user: &UserName, limits: &ServeLimits) -> bool {
        let mut seats = self.census.seats();
        let mine = seats.by_user.entry(user.clone()).or_default();
        if *mine >= limits.per_user {
            return false;
        }
        *mine = mine.saturating_add(1);
        self.user = Some(user.clone());
        if let Some(address) = self.address.take() {
            give_back(&mut seats.by_address, &address);
        }
        true
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.census.seats();
        seats.all = seats.all.saturating_sub(1);
        if let Some(address) = &self.address {
            give_back(&mut seats.by_address, address);
        }
        if let Some(user) = &self.user {
            give_back(&mut seats.by_user, user);
        }
    }
}

fn give_back<K: Hash + Eq>(seats: &mut HashMap<K, usize>, key: &K) {
    if let Some(taken) = seats.get_mut(key) {
        *taken = taken.saturating_sub(1);
        if *taken == 0 {
            seats.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_an_address_nor_a_user_can_take_all_seats() {
        let census = Arc::new(Census::default());
        let limits = ServeLimits {
            connections: 4,
            per_address: 1,
            per_user: 1,
            ..ServeLimits::default()
        };
        let (a, b): (IpAddr, IpAddr) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let mut first = census.admit(a, &limits).unwrap();
        assert!(census.admit(a, &limits).is_none());
        let mut second = census.admit(b, &limits).unwrap();
        assert!(first.take_for(&"ann".into(), &limits) && !second.take_for(&"ann".into(), &limits));
        assert!(second.take_for(&"bob".into(), &limits));
        drop(census.admit(a, &limits).expect("who has logged in counts for the user"));
        let local: IpAddr = [127, 0, 0, 1].into();
        let third = census.admit(local, &limits).unwrap();
        let fourth = census.admit(local, &limits).unwrap();
        assert!(census.admit(local, &limits).is_none());
        drop(first);
        let mut again = census.admit(a, &limits).unwrap();
        assert!(again.take_for(&"ann".into(), &limits));
        drop((second, third, fourth, again));
        let seats = census.seats();
        assert!(seats.all == 0 && seats.by_address.is_empty() && seats.by_user.is_empty());
    }

    #[test]
    fn a_customer_s_network_counts_as_one_address() {
        let census = Arc::new(Census::default());
        let limits = ServeLimits {
            per_address: 1,
            ..ServeLimits::default()
        };
        let (one, two): (IpAddr, IpAddr) = ("2001:db8::1".parse().unwrap(), "2001:db8::ffff:1".parse().unwrap());
        let seat = census.admit(one, &limits);
        assert!(seat.is_some() && census.admit(two, &limits).is_none());
        assert!(census.admit("2001:db8:0:1::1".parse().unwrap(), &limits).is_some());
    }
}
