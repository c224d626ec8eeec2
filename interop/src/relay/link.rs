//! One direction of a link: a queue, a wire of some bandwidth, and a distance.
//!
//! The times are those of the packets; who asks late is told late, and that moves nothing.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::packet::Packet;

/// Bytes that the framing of the link (PPP) adds to each packet.
const FRAMING: u64 = 2;
/// Packets that the device holds beside the one that it sends; the queue is in front of it.
const DEVICE_QUEUE: usize = 1;

/// What both directions of a link are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LinkSpec {
    /// From the last bit sent to the last bit received; half of the round trip.
    pub(crate) delay: Duration,
    /// Bits per second, each way.
    pub(crate) bandwidth: u64,
    /// Packets that can wait in front of the device.
    pub(crate) queue: usize,
}

/// A packet did not find room in the queue.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct QueueFull;

/// The packets between one end of the link and the other.
#[derive(Debug)]
pub(crate) struct Link {
    spec: LinkSpec,
    /// When the packets that wait, and the one that is being sent, will have left.
    departures: VecDeque<Instant>,
    /// What will arrive, and when.
    arrivals: VecDeque<(Instant, Packet)>,
}

impl Link {
    pub(crate) fn new(spec: LinkSpec) -> Self {
        Self { spec, departures: VecDeque::new(), arrivals: VecDeque::new() }
    }

    /// A packet wants to get to the other end.
    pub(crate) fn enter(&mut self, now: Instant, packet: Packet) -> Result<(), QueueFull> {
        while self.departures.front().is_some_and(|departure| *departure <= now) {
            self.departures.pop_front();
        }
        if self.departures.len() > self.spec.queue + DEVICE_QUEUE {
            return Err(QueueFull);
        }
        let start = self.departures.back().map_or(now, |last| now.max(*last));
        let departure = start + self.serialisation(&packet);
        self.departures.push_back(departure);
        self.arrivals.push_back((departure + self.spec.delay, packet));
        Ok(())
    }

    /// When the next packet arrives.
    pub(crate) fn next_arrival(&self) -> Option<Instant> {
        self.arrivals.front().map(|(at, _)| *at)
    }

    /// A packet that has arrived by now, in order.
    pub(crate) fn poll_arrival(&mut self, now: Instant) -> Option<Packet> {
        self.arrivals.pop_front_if(|(at, _)| *at <= now).map(|(_, packet)| packet)
    }

    fn serialisation(&self, packet: &Packet) -> Duration {
        let bits = (packet.len() as u64 + FRAMING) * 8;
        Duration::from_nanos(bits * 1_000_000_000 / self.spec.bandwidth.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::super::packet::tests::datagram;
    use super::*;

    const SPEC: LinkSpec =
        LinkSpec { delay: Duration::from_millis(15), bandwidth: 10_000_000, queue: 25 };
    /// On the link such a packet is 1,250 bytes, which take a millisecond.
    const MILLISECOND: usize = 1250 - 2 - 28;

    fn packet() -> Packet {
        datagram(&[0; MILLISECOND])
    }

    #[test]
    fn a_lone_packet_takes_its_length_and_the_delay() {
        let start = Instant::now();
        let mut link = Link::new(SPEC);
        link.enter(start, packet()).unwrap();
        assert_eq!(link.next_arrival(), Some(start + Duration::from_millis(16)));
        assert_eq!(link.poll_arrival(start + Duration::from_micros(15_999)), None);
        assert_eq!(link.poll_arrival(start + Duration::from_millis(16)), Some(packet()));
        assert_eq!(link.next_arrival(), None);
    }

    #[test]
    fn packets_leave_one_after_the_other() {
        let start = Instant::now();
        let mut link = Link::new(SPEC);
        for _ in 0..3 {
            link.enter(start, packet()).unwrap();
        }
        for millis in 16..19 {
            let arrival = start + Duration::from_millis(millis);
            assert_eq!(link.next_arrival(), Some(arrival));
            assert!(link.poll_arrival(arrival).is_some());
        }
        // The wire was idle meanwhile.
        let later = start + Duration::from_secs(1);
        link.enter(later, packet()).unwrap();
        assert_eq!(link.next_arrival(), Some(later + Duration::from_millis(16)));
    }

    #[test]
    fn one_is_sent_and_twenty_six_wait() {
        let start = Instant::now();
        let mut link = Link::new(SPEC);
        for _ in 0..1 + 25 + 1 {
            link.enter(start, packet()).unwrap();
        }
        assert_eq!(link.enter(start, packet()), Err(QueueFull));
        let first_has_left = start + Duration::from_millis(1);
        assert_eq!(link.enter(first_has_left - Duration::from_nanos(1), packet()), Err(QueueFull));
        link.enter(first_has_left, packet()).unwrap();
        assert_eq!(link.enter(first_has_left, packet()), Err(QueueFull));
    }

    #[test]
    fn a_sender_that_never_stops_gets_the_bandwidth() {
        let start = Instant::now();
        let mut link = Link::new(SPEC);
        let mut arrived = 0;
        for tick in 0..10_000 {
            let now = start + tick * Duration::from_micros(100);
            let _ = link.enter(now, packet());
            while link.poll_arrival(now).is_some() {
                arrived += 1;
            }
        }
        // A second less the first packet's way.
        assert_eq!(arrived, 984);
    }
}
