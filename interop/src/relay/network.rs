//! Everything between two ends: a link each way, what it does to packets, and a NAT. No clock and
//! no sockets; whoever drives it moves packets in and out and tells the time.

use std::time::{Duration, Instant};

use quic_core::util::Rng;

use super::impair::{Direction, Fate, Impairment};
use super::link::Link;
use super::nat::{Flow, Nat, NoMapping};
use super::packet::Packet;
use super::scenario::Scenario;

/// A simulated network that began at some time.
#[derive(Debug)]
pub(crate) struct Network {
    start: Instant,
    to_server: Way,
    to_client: Way,
    nat: Option<Nat>,
}

/// What packets of one direction go through.
#[derive(Debug)]
struct Way {
    link: Link,
    impairment: Impairment,
    rng: Rng,
}

/// Why a packet does not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The queue in front of the link was full.
    Queue,
    /// The NAT knows nobody by this address (any more), or no more flows.
    Mapping,
    /// The scenario dropped it.
    Scenario,
}

/// A packet at the other end of the link.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) direction: Direction,
    pub(crate) packet: Packet,
    pub(crate) outcome: Outcome,
}

/// Whether the packet reaches whom it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Delivered,
    DeliveredCorrupted,
    Lost(Loss),
}

impl Network {
    /// A network that does what `scenario` says, the same things for the same `seed`.
    pub(crate) fn new(start: Instant, scenario: &Scenario, seed: u64) -> Self {
        let mut rng = rng(seed);
        let mut way = |direction| Way {
            link: Link::new(scenario.link()),
            impairment: Impairment::new(scenario, direction),
            // Of its own, so that what goes one way does not decide about the other.
            rng: Rng::from_seed(rng.array()),
        };
        let [to_server, to_client] = [Direction::ToServer, Direction::ToClient].map(&mut way);
        let nat = match scenario {
            Scenario::Rebind { rebinds, .. } => {
                Some(Nat::new(*rebinds, Rng::from_seed(rng.array())))
            }
            Scenario::SimpleP2p(_)
            | Scenario::DropRate { .. }
            | Scenario::CorruptRate { .. }
            | Scenario::Droplist { .. }
            | Scenario::Blackhole { .. } => None,
        };
        Self { start, to_server, to_client, nat }
    }

    /// How long after the start `now` is.
    pub(crate) fn elapsed(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.start)
    }

    /// A packet of one end wants to go to the other.
    pub(crate) fn enter(
        &mut self,
        now: Instant,
        direction: Direction,
        packet: Packet,
    ) -> Result<(), Loss> {
        self.way(direction).link.enter(now, packet).map_err(|_| Loss::Queue)
    }

    /// The next packet that has come to the end of the link by now.
    pub(crate) fn poll_arrival(&mut self, now: Instant) -> Option<Arrival> {
        let (_, direction) = self.first_arrival()?;
        let elapsed = self.elapsed(now);
        let way = self.way(direction);
        let mut packet = way.link.poll_arrival(now)?;
        let mut outcome = match way.impairment.judge(elapsed, &mut packet, &mut way.rng) {
            Fate::Intact => Outcome::Delivered,
            Fate::Corrupted => Outcome::DeliveredCorrupted,
            Fate::Dropped => Outcome::Lost(Loss::Scenario),
        };
        if !matches!(outcome, Outcome::Lost(_)) && self.translate(direction, &mut packet).is_err() {
            outcome = Outcome::Lost(Loss::Mapping);
        }
        Some(Arrival { direction, packet, outcome })
    }

    /// The NAT, which is at both ends of the link: what is on its way to the server while mappings
    /// change has the new ones, so that a client that only answers does not fall silent.
    fn translate(&mut self, direction: Direction, packet: &mut Packet) -> Result<(), NoMapping> {
        match (direction, &mut self.nat) {
            (_, None) => Ok(()),
            (Direction::ToServer, Some(nat)) => nat.outbound(packet),
            (Direction::ToClient, Some(nat)) => nat.inbound(packet),
        }
    }

    /// Changes the mappings of the NAT if it is time to. Returns the new ones then.
    pub(crate) fn poll_rebind(&mut self, now: Instant) -> Option<&[Flow]> {
        let elapsed = self.elapsed(now);
        self.nat.as_mut()?.advance(elapsed)
    }

    /// When there is something to poll.
    pub(crate) fn next_event(&self) -> Option<Instant> {
        let rebind = self.nat.as_ref().and_then(Nat::next_change).map(|after| self.start + after);
        let arrival = self.first_arrival().map(|(at, _)| at);
        arrival.into_iter().chain(rebind).min()
    }

    fn first_arrival(&self) -> Option<(Instant, Direction)> {
        let to_server = self.to_server.link.next_arrival().map(|at| (at, Direction::ToServer));
        let to_client = self.to_client.link.next_arrival().map(|at| (at, Direction::ToClient));
        to_server.into_iter().chain(to_client).min_by_key(|(at, _)| *at)
    }

    fn way(&mut self, direction: Direction) -> &mut Way {
        match direction {
            Direction::ToServer => &mut self.to_server,
            Direction::ToClient => &mut self.to_client,
        }
    }
}

fn rng(seed: u64) -> Rng {
    let mut bytes = [0; 32];
    let (low, _) = bytes.split_at_mut(8);
    low.copy_from_slice(&seed.to_le_bytes());
    Rng::from_seed(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::packet::End;
    use super::super::packet::tests::datagram;
    use super::*;

    const LINK: &str = "--delay=15ms --bandwidth=10Mbps --queue=25";

    fn network(start: Instant, name: &str, options: &str, seed: u64) -> Network {
        Network::new(start, &format!("{name} {LINK} {options}").parse().unwrap(), seed)
    }

    fn answer_to(packet: &Packet) -> Packet {
        let [source, destination] = [End::Source, End::Destination].map(|end| packet.address(end));
        Packet::udp(destination, source, 0, b"answer").unwrap()
    }

    /// What arrives, if time passes from event to event.
    fn run(network: &mut Network) -> Vec<Arrival> {
        let mut arrivals = Vec::new();
        while let Some(now) = network.first_arrival().map(|(at, _)| at) {
            network.poll_rebind(now);
            arrivals.extend(network.poll_arrival(now));
        }
        arrivals
    }

    #[test]
    fn both_directions_carry_packets_at_once_and_keep_their_marks() {
        let start = Instant::now();
        let mut network = network(start, "simple-p2p", "", 0);
        let there = datagram(&[0; 1222]);
        let back = answer_to(&there);
        network.enter(start, Direction::ToServer, there.clone()).unwrap();
        network.enter(start, Direction::ToClient, back.clone()).unwrap();
        // The answer is shorter.
        let [first, second] = run(&mut network).try_into().unwrap();
        assert_eq!((first.direction, first.packet), (Direction::ToClient, back));
        assert_eq!((second.direction, second.outcome), (Direction::ToServer, Outcome::Delivered));
        assert_eq!(second.packet.ecn(), 0b10);
        assert_eq!(second.packet, there);
    }

    #[test]
    fn a_full_queue_loses_packets_before_the_link() {
        let start = Instant::now();
        let mut network = network(start, "simple-p2p", "", 0);
        for _ in 0..27 {
            network.enter(start, Direction::ToServer, datagram(&[0; 100])).unwrap();
        }
        let next = network.enter(start, Direction::ToServer, datagram(&[0; 100]));
        assert_eq!(next, Err(Loss::Queue));
        assert_eq!(run(&mut network).len(), 27);
    }

    #[test]
    fn a_dropped_packet_has_used_the_link() {
        let start = Instant::now();
        let mut network = network(start, "droplist", "--drops_to_server=1", 0);
        for _ in 0..2 {
            network.enter(start, Direction::ToServer, datagram(&[0; 1220])).unwrap();
        }
        assert_eq!(network.next_event(), Some(start + Duration::from_millis(16)));
        let arrival = network.poll_arrival(start + Duration::from_millis(16)).unwrap();
        assert_eq!(arrival.outcome, Outcome::Lost(Loss::Scenario));
        assert_eq!(network.next_event(), Some(start + Duration::from_millis(17)));
    }

    #[test]
    fn the_same_seed_is_the_same_run() {
        let outcomes = |seed| {
            let start = Instant::now();
            let rates = "--rate_to_client=30 --rate_to_server=30";
            let mut network = network(start, "corrupt-rate", rates, seed);
            for count in 0..200 {
                let now = start + Duration::from_millis(count);
                network.enter(now, Direction::ToServer, datagram(&[0x40; 60])).unwrap();
            }
            run(&mut network)
        };
        assert_eq!(outcomes(1), outcomes(1));
        assert_ne!(outcomes(1), outcomes(2));
    }

    #[test]
    fn an_answer_to_a_forgotten_mapping_is_lost_on_its_way() {
        let start = Instant::now();
        let mut network = network(start, "rebind", "--first-rebind=1s", 0);
        let just_before = start + Duration::from_millis(970);
        network.enter(just_before, Direction::ToServer, datagram(b"x")).unwrap();
        let seen = run(&mut network).remove(0).packet;
        assert_eq!(seen, datagram(b"x"));
        let sent = start + Duration::from_millis(990);
        network.enter(sent, Direction::ToClient, answer_to(&seen)).unwrap();
        assert_eq!(network.next_event(), Some(start + Duration::from_secs(1)));
        assert_eq!(run(&mut network).remove(0).outcome, Outcome::Lost(Loss::Mapping));

        // On its way while mappings changed.
        network.enter(sent, Direction::ToServer, datagram(b"x")).unwrap();
        let late = run(&mut network).remove(0).packet;
        assert_ne!(late.address(End::Source), datagram(b"x").address(End::Source));

        let after = start + Duration::from_millis(1010);
        network.enter(after, Direction::ToServer, datagram(b"x")).unwrap();
        let seen = run(&mut network).remove(0).packet;
        assert_ne!(seen.address(End::Source), datagram(b"x").address(End::Source));
        network.enter(after, Direction::ToClient, answer_to(&seen)).unwrap();
        let answer = run(&mut network).remove(0);
        assert_eq!(answer.outcome, Outcome::Delivered);
        assert_eq!(
            answer.packet.address(End::Destination),
            datagram(b"x").address(End::Source),
            "the client does not notice"
        );
    }
}
