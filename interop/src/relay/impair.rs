//! What happens to packets at the receiving end of a link, one direction at a time.

use std::time::Duration;

use quic_core::util::Rng;

use super::packet::Packet;
use super::scenario::{Corruption, Outage, OutageDirection, Rate, Scenario};

/// A corrupted byte is one of the first so many of the UDP payload.
const CORRUPTED_BYTES: u64 = 51;

/// Where packets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    ToServer,
    ToClient,
}

/// What became of a packet at the end of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It arrived as it was sent.
    Intact,
    /// It arrived with one byte changed.
    Corrupted,
    /// It did not arrive.
    Dropped,
}

/// What one direction of a link does to packets.
#[derive(Debug)]
pub(crate) struct Impairment(Kind);

#[derive(Debug)]
enum Kind {
    None,
    Random { rate: Rate, effect: Effect, chosen_in_a_row: u32 },
    List { datagrams: u64, drops: Vec<u64> },
    Outages(Outage),
}

#[derive(Debug, Clone, Copy)]
enum Effect {
    Drop,
    /// Version negotiation is left alone.
    Corrupt(Corruption),
}

impl Impairment {
    /// What `scenario` does to packets that go in `direction`.
    pub(crate) fn new(scenario: &Scenario, direction: Direction) -> Self {
        let random = |rates: &super::scenario::RateOptions, effect| {
            let rate = match direction {
                Direction::ToServer => rates.to_server(),
                Direction::ToClient => rates.to_client(),
            };
            Kind::Random { rate, effect, chosen_in_a_row: 0 }
        };
        Self(match scenario {
            Scenario::SimpleP2p(_) | Scenario::Rebind { .. } => Kind::None,
            Scenario::DropRate { rates, .. } => random(rates, Effect::Drop),
            Scenario::CorruptRate { rates, corruption, .. } => {
                random(rates, Effect::Corrupt(*corruption))
            }
            Scenario::Droplist { to_client, to_server, .. } => {
                let drops = match direction {
                    Direction::ToServer => to_server.clone(),
                    Direction::ToClient => to_client.clone(),
                };
                Kind::List { datagrams: 0, drops }
            }
            Scenario::Blackhole { outage, .. } => match (outage.direction, direction) {
                (OutageDirection::Both, _)
                | (OutageDirection::ToClient, Direction::ToClient)
                | (OutageDirection::ToServer, Direction::ToServer) => Kind::Outages(*outage),
                (OutageDirection::ToClient, Direction::ToServer)
                | (OutageDirection::ToServer, Direction::ToClient) => Kind::None,
            },
        })
    }

    /// Decides about a packet that arrives `elapsed` after the start, and does to it what it decides.
    pub(crate) fn judge(&mut self, elapsed: Duration, packet: &mut Packet, rng: &mut Rng) -> Fate {
        let is_dropped = match &mut self.0 {
            Kind::None => false,
            Kind::Outages(outage) => outage.covers(elapsed),
            Kind::Random { .. } | Kind::List { .. } if !packet.is_udp() => false,
            Kind::List { datagrams, drops } => {
                *datagrams += 1;
                drops.contains(datagrams)
            }
            Kind::Random { rate, effect, chosen_in_a_row } => {
                let is_left_alone =
                    matches!(effect, Effect::Corrupt(_)) && is_version_negotiation(packet);
                if is_left_alone || !is_chosen(*rate, *chosen_in_a_row, rng) {
                    *chosen_in_a_row = 0;
                    return Fate::Intact;
                }
                *chosen_in_a_row += 1;
                if let Effect::Corrupt(Corruption::Deliver) = effect {
                    return corrupt(packet, rng);
                }
                true
            }
        };
        if is_dropped { Fate::Dropped } else { Fate::Intact }
    }
}

impl Outage {
    fn covers(&self, elapsed: Duration) -> bool {
        let period = (self.on + self.off).as_nanos().max(1);
        let [round, into_round] = [elapsed.as_nanos() / period, elapsed.as_nanos() % period];
        round < u128::from(self.repeat) && into_round >= self.on.as_nanos()
    }
}

fn is_chosen(rate: Rate, chosen_in_a_row: u32, rng: &mut Rng) -> bool {
    if rate.burst.is_some_and(|burst| chosen_in_a_row >= burst) {
        return false;
    }
    rng.range(0..100) < u64::from(rate.percent)
}

fn corrupt(packet: &mut Packet, rng: &mut Rng) -> Fate {
    let payload = packet.udp_payload().unwrap_or_default();
    let offset = rng.range(0..CORRUPTED_BYTES.min(payload.len() as u64)) as usize;
    let Some(old) = payload.get(offset).copied() else { return Fate::Intact };
    let difference = rng.range(1..256) as u8;
    packet.set_udp_payload_byte(offset, old ^ difference);
    Fate::Corrupted
}

/// A long header with version 0.
fn is_version_negotiation(packet: &Packet) -> bool {
    let payload = packet.udp_payload().and_then(<[u8]>::first_chunk::<5>);
    matches!(payload, Some([first, 0, 0, 0, 0]) if first & 0x80 != 0)
}

#[cfg(test)]
mod tests {
    use super::super::packet::tests::{assert_checksums_are_right, datagram};
    use super::*;

    const SEED: [u8; 32] = [7; 32];

    /// The fates of `packets`, in the direction to the server.
    fn fates(scenario: &str, packets: impl IntoIterator<Item = (Duration, Packet)>) -> Vec<Fate> {
        let (name, options) = scenario.split_once(' ').unwrap();
        let link = "--delay=15ms --bandwidth=10Mbps --queue=25";
        let scenario = format!("{name} {link} {options}").parse().unwrap();
        let mut impairment = Impairment::new(&scenario, Direction::ToServer);
        let mut rng = Rng::from_seed(SEED);
        let judge = |(at, mut packet)| impairment.judge(at, &mut packet, &mut rng);
        packets.into_iter().map(judge).collect()
    }

    fn many(count: usize) -> impl Iterator<Item = (Duration, Packet)> {
        std::iter::repeat_n((Duration::ZERO, datagram(&[0x40; 60])), count)
    }

    fn longest_run(fates: &[Fate]) -> usize {
        fates.split(|fate| *fate == Fate::Intact).map(<[Fate]>::len).max().unwrap()
    }

    #[test]
    fn drops_have_their_rate() {
        let fates = fates("drop-rate --rate_to_client=0 --rate_to_server=30", many(10_000));
        let dropped = fates.iter().filter(|fate| **fate == Fate::Dropped).count();
        assert!((2_850..3_150).contains(&dropped), "{dropped} with seed {SEED:?}");
        assert!(longest_run(&fates) > 3);
    }

    #[test]
    fn a_burst_of_drops_ends_at_its_limit() {
        let always = "--rate_to_client=0 --rate_to_server=100 --burst_to_server=3";
        let fates = fates(&format!("drop-rate {always}"), many(8));
        use Fate::{Dropped, Intact};
        assert_eq!(
            fates,
            [Dropped, Dropped, Dropped, Intact, Dropped, Dropped, Dropped, Intact],
            "the burst begins again after a packet that passed"
        );
    }

    #[test]
    fn the_other_direction_has_its_own_rate() {
        let fates = fates("drop-rate --rate_to_client=100 --rate_to_server=0", many(100));
        assert!(fates.iter().all(|fate| *fate == Fate::Intact));
    }

    #[test]
    fn corruption_changes_one_of_the_first_bytes_under_a_right_checksum() {
        let scenario = "corrupt-rate --delay=15ms --bandwidth=10Mbps --queue=25 \
                        --rate_to_client=0 --rate_to_server=100";
        let mut impairment = Impairment::new(&scenario.parse().unwrap(), Direction::ToServer);
        let mut rng = Rng::from_seed(SEED);
        let original = datagram(&[0x40; 60]);
        let mut offsets = std::collections::BTreeSet::new();
        for _ in 0..2_000 {
            let mut packet = original.clone();
            assert_eq!(
                impairment.judge(Duration::ZERO, &mut packet, &mut rng),
                Fate::Corrupted,
                "seed {SEED:?}"
            );
            assert_checksums_are_right(&packet);
            let pairs = std::iter::zip(original.bytes(), packet.bytes()).enumerate();
            let payload = pairs.skip(28).filter(|(_, (old, new))| old != new);
            let changed: Vec<usize> = payload.map(|(at, _)| at - 28).collect();
            assert_eq!(changed.len(), 1);
            offsets.extend(changed);
        }
        assert_eq!(offsets, (0..51).collect());
    }

    #[test]
    fn corruption_can_mean_loss() {
        let rates = "--rate_to_client=0 --rate_to_server=100 --burst_to_server=1";
        let fates = fates(&format!("corrupt-rate {rates} --corruption=drop"), many(3));
        assert_eq!(fates, [Fate::Dropped, Fate::Intact, Fate::Dropped]);
    }

    #[test]
    fn version_negotiation_is_never_corrupted() {
        let negotiation = datagram(&[0xc0, 0, 0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]);
        let packets = std::iter::repeat_n((Duration::ZERO, negotiation), 100);
        let fates = fates("corrupt-rate --rate_to_client=0 --rate_to_server=100", packets);
        assert!(fates.iter().all(|fate| *fate == Fate::Intact));
    }

    #[test]
    fn an_empty_datagram_cannot_be_corrupted() {
        let packets = [(Duration::ZERO, datagram(b""))];
        let fates = fates("corrupt-rate --rate_to_client=0 --rate_to_server=100", packets);
        assert_eq!(fates, [Fate::Intact]);
    }

    #[test]
    fn a_list_counts_datagrams_from_one() {
        let fates = fates("droplist --drops_to_server=2,3,5", many(6));
        use Fate::{Dropped, Intact};
        assert_eq!(fates, [Intact, Dropped, Dropped, Intact, Dropped, Intact]);
    }

    #[test]
    fn an_outage_begins_and_ends_on_time_and_comes_again() {
        let at = |millis| (Duration::from_millis(millis), datagram(b"x"));
        let times = [0, 4_999, 5_000, 6_999, 7_000, 11_999, 12_000, 13_999, 14_000, 19_500];
        let fates = fates("blackhole --on=5s --off=2s --repeat=2", times.map(at));
        let dropped = times.iter().zip(fates).filter(|(_, fate)| *fate == Fate::Dropped);
        assert_eq!(dropped.map(|(at, _)| *at).collect::<Vec<_>>(), [5_000, 6_999, 12_000, 13_999]);
    }

    #[test]
    fn an_outage_can_have_a_direction() {
        let late = (Duration::from_secs(6), datagram(b"x"));
        let outage = "blackhole --on=5s --off=2s --direction";
        assert_eq!(fates(&format!("{outage}=toclient"), [late.clone()]), [Fate::Intact]);
        assert_eq!(fates(&format!("{outage}=toserver"), [late]), [Fate::Dropped]);
    }

    #[test]
    fn only_an_outage_touches_what_is_not_udp() {
        let mut bytes = datagram(&[0; 40]).bytes().to_vec();
        bytes[9] = 6;
        let tcp = (Duration::from_secs(5), Packet::parse(bytes).unwrap());
        for scenario in [
            "drop-rate --rate_to_client=100 --rate_to_server=100",
            "corrupt-rate --rate_to_client=100 --rate_to_server=100",
            "droplist --drops_to_server=1",
        ] {
            assert_eq!(fates(scenario, [tcp.clone()]), [Fate::Intact], "{scenario}");
        }
        assert_eq!(fates("blackhole --on=5s --off=2s", [tcp]), [Fate::Dropped]);
    }
}
