//! A network in virtual time: two directions, each with its own delay, loss, reordering,
//! duplication, corruption, rate, queue, MTU and congestion marks. The same seed is the same run.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use quic_core::path::Ecn;
use quic_core::util::rng::Rng;

/// One chance in a million is the unit of every probability here.
const MILLION: u64 = 1_000_000;
/// Ethernet, IP and UDP bytes that a datagram costs on a link with a rate.
const OVERHEAD: usize = 42;

/// What one direction does to the datagrams that cross it.
#[derive(Debug, Clone)]
pub struct Link {
    /// One-way delay of every datagram.
    pub delay: Duration,
    /// Each datagram is held back by up to this much more, in the order sent.
    pub jitter: Duration,
    /// Lost datagrams in a million.
    pub loss_ppm: u64,
    /// Datagrams in a million that overtake: they skip the queue and half of the delay.
    pub reorder_ppm: u64,
    /// Datagrams in a million that arrive twice.
    pub duplicate_ppm: u64,
    /// Datagrams in a million of which one byte is changed.
    pub corrupt_ppm: u64,
    /// Datagrams in a million that arrive marked Congestion Experienced, if they were ECT.
    pub mark_ppm: u64,
    /// True if the ECN field is erased on the way.
    pub bleaches_ecn: bool,
    /// Bytes a second, with an overhead of 42 bytes a datagram; `None` is unlimited.
    pub rate: Option<u64>,
    /// Bytes that wait in front of a limited rate at most; what does not fit is lost.
    pub queue: usize,
    /// Larger datagrams are lost.
    pub mtu: usize,
    /// Everything is lost while true.
    pub blackhole: bool,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(5),
            jitter: Duration::ZERO,
            loss_ppm: 0,
            reorder_ppm: 0,
            duplicate_ppm: 0,
            corrupt_ppm: 0,
            mark_ppm: 0,
            bleaches_ecn: false,
            rate: None,
            queue: 256 * 1024,
            mtu: 65_535,
            blackhole: false,
        }
    }
}

/// A datagram on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// The address it comes from, as the receiver sees it.
    pub from: SocketAddr,
    /// The address it goes to.
    pub to: SocketAddr,
    /// The ECN field.
    pub ecn: Option<Ecn>,
    /// The UDP payload.
    pub payload: Vec<u8>,
}

/// What became of datagrams, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NetworkCounts {
    /// Handed to the network.
    pub sent: u64,
    /// Taken out at the other side, duplicates included.
    pub delivered: u64,
    /// Lost by chance, a full queue, the MTU or a black hole.
    pub lost: u64,
    /// Changed on the way.
    pub corrupted: u64,
}

/// Both directions between the client's side and the server's side.
#[derive(Debug)]
pub struct Network {
    /// Toward the server.
    pub up: Link,
    /// Toward the client.
    pub down: Link,
    /// What happened so far.
    pub counts: NetworkCounts,
    rng: Rng,
    in_flight: BTreeMap<(Instant, u64), Datagram>,
    sequence: u64,
    up_state: Direction,
    down_state: Direction,
}

/// Where a direction stands in time.
#[derive(Debug, Default)]
struct Direction {
    /// When the last queued byte will have left.
    busy_until: Option<Instant>,
    /// Arrival of the last datagram in order: jitter does not reorder.
    last_arrival: Option<Instant>,
}

impl Network {
    /// A network with these links, whose every choice follows from `rng`.
    pub fn new(up: Link, down: Link, rng: Rng) -> Self {
        Self {
            up,
            down,
            counts: NetworkCounts::default(),
            rng,
            in_flight: BTreeMap::new(),
            sequence: 0,
            up_state: Direction::default(),
            down_state: Direction::default(),
        }
    }

    /// Sends a datagram toward the server (`to_server`) or the client.
    pub fn send(&mut self, now: Instant, to_server: bool, mut datagram: Datagram) {
        self.counts.sent += 1;
        let Self { rng, up, down, up_state, down_state, .. } = self;
        let (link, state) = if to_server { (up, up_state) } else { (down, down_state) };
        let Some(arrival) = schedule(now, link, state, rng, datagram.payload.len()) else {
            self.counts.lost += 1;
            return;
        };
        mark(link, rng, &mut datagram);
        let corrupted = chance(rng, link.corrupt_ppm) && corrupt(rng, &mut datagram.payload);
        let duplicate = chance(rng, link.duplicate_ppm)
            .then(|| arrival + Duration::from_micros(rng.range(0..2_000)));
        self.counts.corrupted += u64::from(corrupted);
        if let Some(again) = duplicate {
            self.enqueue(again, datagram.clone());
        }
        self.enqueue(arrival, datagram);
    }

    /// When the next datagram arrives.
    pub fn next_arrival(&self) -> Option<Instant> {
        self.in_flight.first_key_value().map(|((at, _), _)| *at)
    }

    /// The next datagram that has arrived by `now`.
    pub fn receive(&mut self, now: Instant) -> Option<Datagram> {
        if self.next_arrival()? > now {
            return None;
        }
        let (_, datagram) = self.in_flight.pop_first()?;
        self.counts.delivered += 1;
        Some(datagram)
    }

    fn enqueue(&mut self, at: Instant, datagram: Datagram) {
        self.sequence += 1;
        self.in_flight.insert((at, self.sequence), datagram);
    }
}

/// When a datagram sent now arrives, or `None` if it is lost.
fn schedule(
    now: Instant,
    link: &Link,
    state: &mut Direction,
    rng: &mut Rng,
    len: usize,
) -> Option<Instant> {
    // Every draw is made in every case, so that one setting does not shift the others' luck.
    let (lost, overtakes) = (chance(rng, link.loss_ppm), chance(rng, link.reorder_ppm));
    let jitter = match link.jitter.as_micros() as u64 {
        0 => Duration::ZERO,
        most => Duration::from_micros(rng.range(0..most)),
    };
    if lost || link.blackhole || len > link.mtu {
        return None;
    }
    if overtakes {
        return Some(now + link.delay / 2);
    }
    let departure = match link.rate {
        None => now,
        Some(rate) => {
            let start = state.busy_until.unwrap_or(now).max(now);
            let waiting = (start - now).as_secs_f64() * rate as f64;
            if waiting > link.queue as f64 {
                return None;
            }
            let airtime = Duration::from_secs_f64((len + OVERHEAD) as f64 / rate as f64);
            state.busy_until = Some(start + airtime);
            start + airtime
        }
    };
    let arrival = departure + link.delay + jitter;
    let arrival = state.last_arrival.map_or(arrival, |last| arrival.max(last));
    state.last_arrival = Some(arrival);
    Some(arrival)
}

fn mark(link: &Link, rng: &mut Rng, datagram: &mut Datagram) {
    let marked = chance(rng, link.mark_ppm);
    datagram.ecn = match datagram.ecn {
        _ if link.bleaches_ecn => None,
        Some(_) if marked => Some(Ecn::Ce),
        other => other,
    };
}

fn corrupt(rng: &mut Rng, payload: &mut [u8]) -> bool {
    if payload.is_empty() {
        return false;
    }
    let at = rng.range(0..payload.len() as u64) as usize;
    payload[at] ^= 1 << rng.range(0..8);
    true
}

fn chance(rng: &mut Rng, ppm: u64) -> bool {
    rng.range(0..MILLION) < ppm
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(payload: &[u8]) -> Datagram {
        Datagram {
            from: ([127, 0, 0, 1], 1).into(),
            to: ([127, 0, 0, 1], 2).into(),
            ecn: Some(Ecn::Ect0),
            payload: payload.to_vec(),
        }
    }

    fn run(link: Link, count: usize) -> (Vec<(Duration, Datagram)>, NetworkCounts) {
        let start = Instant::now();
        let mut network = Network::new(link.clone(), link, Rng::from_seed([7; 32]));
        for n in 0..count {
            network.send(start, true, datagram(&(n as u32).to_be_bytes()));
        }
        let mut arrived = Vec::new();
        while let Some(at) = network.next_arrival() {
            let datagram = network.receive(at).expect("it has arrived");
            arrived.push((at - start, datagram));
        }
        (arrived, network.counts)
    }

    #[test]
    fn a_plain_link_keeps_order_and_delay() {
        let (arrived, counts) = run(Link::default(), 100);
        assert_eq!(counts.delivered, 100);
        for (n, (at, datagram)) in arrived.iter().enumerate() {
            assert_eq!(*at, Duration::from_millis(5));
            assert_eq!(datagram.payload, (n as u32).to_be_bytes());
        }
    }

    #[test]
    fn the_same_seed_is_the_same_run() {
        let wild = Link {
            jitter: Duration::from_millis(3),
            loss_ppm: 100_000,
            reorder_ppm: 100_000,
            duplicate_ppm: 100_000,
            corrupt_ppm: 100_000,
            mark_ppm: 100_000,
            ..Link::default()
        };
        let (first, counts) = run(wild.clone(), 1000);
        let (second, _) = run(wild, 1000);
        assert_eq!(first, second);
        assert!((50..200).contains(&counts.lost), "{counts:?}");
        assert!((50..200).contains(&counts.corrupted), "{counts:?}");
        assert!(counts.delivered > 900, "{counts:?}");
        assert!(first.iter().any(|(_, datagram)| datagram.ecn == Some(Ecn::Ce)));
    }

    #[test]
    fn a_rate_spreads_datagrams_and_a_full_queue_drops_them() {
        let link = Link { rate: Some(46_000), queue: 4_600, ..Link::default() };
        let (arrived, counts) = run(link, 1000);
        assert!((90..=110).contains(&arrived.len()), "{}", arrived.len());
        assert_eq!(counts.lost as usize, 1000 - arrived.len());
        assert_eq!(arrived[1].0 - arrived[0].0, Duration::from_millis(1));
    }

    #[test]
    fn large_datagrams_and_black_holes_are_lost() {
        let (arrived, _) = run(Link { mtu: 3, ..Link::default() }, 10);
        assert!(arrived.is_empty());
        let (arrived, _) = run(Link { blackhole: true, ..Link::default() }, 10);
        assert!(arrived.is_empty());
    }
}
