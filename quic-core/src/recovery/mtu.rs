//! Finds the largest datagram that the path carries (DPLPMTUD, RFC 8899 as RFC 9000 section 14.3
//! uses it).
//!
//! Sizes are of the UDP payload. The search tries the upper bound first, which most paths carry,
//! then halves the interval. One probe is in flight at a time, and a size is given up after three
//! losses. There is no timer: when it is time to search again, the next packet to be sent finds
//! out.

use std::time::{Duration, Instant};

/// The size that every path must carry (BASE_PLPMTU).
// req 9000-14.3-368
pub const BASE_DATAGRAM_SIZE: u16 = 1200;
/// The upper bound of the search unless configured: an Ethernet frame with IPv6 and UDP headers.
pub const DEFAULT_UPPER_BOUND: u16 = 1452;
/// The largest UDP payload.
pub const MAX_DATAGRAM_SIZE: u16 = 65_527;

/// Losses after which a size counts as too large (MAX_PROBES).
const MAX_PROBES: u8 = 3;
/// The search ends when it could win less than this.
const PRECISION: u16 = 16;
/// After this time the search begins again (PMTU_RAISE_TIMER).
const RAISE_INTERVAL: Duration = Duration::from_secs(600);
/// After a black hole, which an outage of the network can look like, it begins again earlier.
const BLACK_HOLE_INTERVAL: Duration = Duration::from_secs(60);
/// Losses in a row of datagrams above the base, with smaller ones arriving, that mean a black hole.
const BLACK_HOLE_LOSSES: u8 = 3;

/// How a path looks for its datagram size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MtuConfig {
    /// The size used before anything is known; at least 1200 bytes.
    pub initial: u16,
    /// The largest size to try; no search if it is not above `initial`.
    pub upper_bound: u16,
}

impl Default for MtuConfig {
    fn default() -> Self {
        Self { initial: BASE_DATAGRAM_SIZE, upper_bound: DEFAULT_UPPER_BOUND }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Search {
    /// `size` is to be tried; `failures` probes of it were lost.
    Ready {
        size: u16,
        failures: u8,
    },
    InFlight {
        size: u16,
        failures: u8,
    },
    /// Nothing more to try before this time, if ever.
    Complete {
        again_at: Option<Instant>,
    },
}

/// The datagram size of one path and the search for a larger one.
// req 9000-14.2-354, 9000-14.2-355
#[derive(Clone, Debug)]
pub struct MtuDiscovery {
    current: u16,
    /// No size above this will be tried: configuration and the peer's limit.
    limit: u16,
    /// The smallest size that is known not to work, less one.
    ceiling: u16,
    search: Search,
    large_losses: u8,
}

impl MtuDiscovery {
    /// Starts with `config.initial`.
    pub fn new(config: &MtuConfig) -> Self {
        let current = config.initial.clamp(BASE_DATAGRAM_SIZE, MAX_DATAGRAM_SIZE);
        let limit = config.upper_bound.clamp(current, MAX_DATAGRAM_SIZE);
        let mut this = Self {
            current,
            limit,
            ceiling: limit,
            search: Search::Complete { again_at: None },
            large_losses: 0,
        };
        this.restart();
        this
    }

    /// The maximum datagram size: nothing larger is sent except probes.
    // req 9000-14.2-356, 9000-14.2-359
    pub fn current(&self) -> u16 {
        self.current
    }

    /// The peer does not take datagrams above `max_udp_payload_size`. Returns the new maximum
    /// datagram size if that lowers it.
    pub fn on_peer_limit(&mut self, max_udp_payload_size: u64) -> Option<u16> {
        let limit = u16::try_from(max_udp_payload_size).unwrap_or(MAX_DATAGRAM_SIZE);
        self.limit = self.limit.min(limit.max(BASE_DATAGRAM_SIZE));
        let lowered = self.current > self.limit;
        self.current = self.current.min(self.limit);
        self.restart();
        lowered.then_some(self.current)
    }

    /// The size of the probe to send now, if one is due. To be asked once the handshake is
    /// complete and when packets are sent anyway.
    pub fn poll_probe(&mut self, now: Instant) -> Option<u16> {
        if let Search::Complete { again_at: Some(at) } = self.search
            && at <= now
        {
            self.restart();
        }
        match self.search {
            Search::Ready { size, .. } => Some(size),
            Search::InFlight { .. } | Search::Complete { .. } => None,
        }
    }

    pub(super) fn on_probe_sent(&mut self) {
        if let Search::Ready { size, failures } = self.search {
            self.search = Search::InFlight { size, failures };
        }
    }

    /// Returns the new maximum datagram size if a probe proved it.
    pub(super) fn on_probe_acked(&mut self, now: Instant, acked: u16) -> Option<u16> {
        let Search::InFlight { size, .. } = self.search else { return None };
        if size != acked {
            return None;
        }
        self.current = size;
        self.large_losses = 0;
        self.next_size(now);
        Some(size)
    }

    pub(super) fn on_probe_lost(&mut self, now: Instant, lost: u16) {
        let Search::InFlight { size, failures } = self.search else { return };
        if size != lost {
            return;
        }
        if failures + 1 < MAX_PROBES {
            self.search = Search::Ready { size, failures: failures + 1 };
        } else {
            self.ceiling = size - 1;
            self.next_size(now);
        }
    }

    /// Nobody will tell what becomes of the probe in flight: its path is not the one in use. It
    /// counts neither as an arrival nor as a loss.
    pub(super) fn on_probe_forgotten(&mut self) {
        if let Search::InFlight { size, failures } = self.search {
            self.search = Search::Ready { size, failures };
        }
    }

    /// A packet of ordinary content arrived.
    pub(super) fn on_acked(&mut self, size: u16) {
        if size > BASE_DATAGRAM_SIZE {
            self.large_losses = 0;
        }
    }

    /// An ACK frame showed the loss of packets above the base size and the arrival of smaller
    /// ones only, or nothing at all arrived for several probe timeouts. Returns the new maximum
    /// datagram size if that is a black hole.
    pub(super) fn on_suspicion(&mut self, now: Instant) -> Option<u16> {
        if self.current == BASE_DATAGRAM_SIZE {
            return None;
        }
        self.large_losses += 1;
        if self.large_losses < BLACK_HOLE_LOSSES {
            return None;
        }
        self.large_losses = 0;
        self.current = BASE_DATAGRAM_SIZE;
        self.search = Search::Complete { again_at: Some(now + BLACK_HOLE_INTERVAL) };
        Some(self.current)
    }

    fn restart(&mut self) {
        self.ceiling = self.limit;
        self.search = match self.limit > self.current {
            true => Search::Ready { size: self.limit, failures: 0 },
            false => Search::Complete { again_at: None },
        };
    }

    fn next_size(&mut self, now: Instant) {
        let room = self.ceiling.saturating_sub(self.current);
        self.search = if room >= PRECISION {
            Search::Ready { size: self.current + room.div_ceil(2), failures: 0 }
        } else if self.ceiling < self.limit {
            Search::Complete { again_at: Some(now + RAISE_INTERVAL) }
        } else {
            Search::Complete { again_at: None }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(upper_bound: u16) -> MtuConfig {
        MtuConfig { upper_bound, ..MtuConfig::default() }
    }

    /// Runs the search over a path that carries up to `carries`; returns the number of probes.
    fn search(mtu: &mut MtuDiscovery, now: Instant, carries: u16) -> u32 {
        let mut probes = 0;
        while let Some(size) = mtu.poll_probe(now) {
            probes += 1;
            mtu.on_probe_sent();
            assert_eq!(mtu.poll_probe(now), None, "one probe at a time");
            match size <= carries {
                true => assert_eq!(mtu.on_probe_acked(now, size), Some(size)),
                false => mtu.on_probe_lost(now, size),
            }
        }
        probes
    }

    // req-test 9000-14.3-368
    #[test]
    fn starts_at_the_base_and_reaches_the_upper_bound_with_one_probe() {
        let now = Instant::now();
        let mut mtu = MtuDiscovery::new(&config(1452));
        assert_eq!(mtu.current(), 1200);
        assert_eq!(search(&mut mtu, now, 1500), 1);
        assert_eq!(mtu.current(), 1452);
        assert_eq!(mtu.poll_probe(now + 10 * RAISE_INTERVAL), None);
    }

    #[test]
    fn a_limited_path_is_found_to_within_the_precision() {
        for carries in [1200, 1230, 1300, 1400, 1451, 9000, 40_000] {
            for upper in [1452, 9000, 65_527] {
                let mut mtu = MtuDiscovery::new(&config(upper));
                let probes = search(&mut mtu, Instant::now(), carries);
                let best = carries.min(upper);
                assert!(mtu.current() <= best && mtu.current() + PRECISION >= best, "{mtu:?}");
                assert!(probes < 45, "{probes} probes");
            }
        }
    }

    #[test]
    fn a_size_is_given_up_after_three_losses_only() {
        let now = Instant::now();
        let mut mtu = MtuDiscovery::new(&config(1452));
        for _ in 0..2 {
            assert_eq!(mtu.poll_probe(now), Some(1452));
            mtu.on_probe_sent();
            mtu.on_probe_lost(now, 1452);
        }
        assert_eq!(mtu.poll_probe(now), Some(1452));
        mtu.on_probe_sent();
        mtu.on_probe_lost(now, 1452);
        assert_eq!(mtu.poll_probe(now), Some(1326));
    }

    #[test]
    fn the_search_is_repeated_after_ten_minutes() {
        let now = Instant::now();
        let mut mtu = MtuDiscovery::new(&config(1452));
        search(&mut mtu, now, 1300);
        assert_eq!(mtu.poll_probe(now + RAISE_INTERVAL - Duration::from_secs(1)), None);
        assert_eq!(mtu.poll_probe(now + RAISE_INTERVAL), Some(1452));
    }

    #[test]
    fn the_peers_limit_binds_the_search_and_the_current_size() {
        let mut mtu = MtuDiscovery::new(&MtuConfig { initial: 1400, upper_bound: 9000 });
        assert_eq!(mtu.on_peer_limit(65_527), None);
        assert_eq!(mtu.on_peer_limit(1350), Some(1350));
        assert_eq!(mtu.poll_probe(Instant::now()), None);
        assert_eq!(mtu.on_peer_limit(0), Some(1200), "a limit below the base is no limit");
    }

    #[test]
    fn three_suspicions_without_a_large_arrival_fall_back_to_the_base() {
        let now = Instant::now();
        let mut mtu = MtuDiscovery::new(&config(1452));
        search(&mut mtu, now, 1452);
        mtu.on_suspicion(now);
        mtu.on_suspicion(now);
        mtu.on_acked(1452);
        assert_eq!((mtu.on_suspicion(now), mtu.on_suspicion(now)), (None, None));
        mtu.on_acked(900);
        assert_eq!(mtu.on_suspicion(now), Some(1200));
        assert_eq!(mtu.poll_probe(now), None);
        assert_eq!(mtu.poll_probe(now + BLACK_HOLE_INTERVAL), Some(1452));
    }
}
