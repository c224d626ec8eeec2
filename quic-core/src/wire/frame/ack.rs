//! The frame that acknowledges packets (RFC 9000, section 19.3).
//!
//! Ranges stay in their encoded form: decoding walks over them once to check them, and whoever
//! wants them walks again, without a list in between.

use std::ops::{Range, RangeInclusive};

use super::FrameType;
use crate::error::Violation;
use crate::wire::cursor::{Reader, Writer};
use crate::wire::varint;

/// ACK: these packets have been received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack<'a> {
    /// The largest packet number that is acknowledged.
    pub largest_acknowledged: u64,
    /// How long the acknowledgement of the largest one was held back, as encoded: microseconds
    /// divided by 2 to the power of the sender's `ack_delay_exponent`.
    pub ack_delay: u64,
    /// All acknowledged packet numbers.
    pub ranges: AckRanges<'a>,
    /// How many packets came with each ECN mark, if the sender counts them.
    pub ecn: Option<EcnCounts>,
}

/// How many packets of a packet number space have been received with each ECN mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EcnCounts {
    /// Packets with ECT(0).
    pub ect0: u64,
    /// Packets with ECT(1).
    pub ect1: u64,
    /// Packets with ECN-CE.
    pub ce: u64,
}

impl EcnCounts {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Violation> {
        Ok(Self { ect0: reader.varint()?, ect1: reader.varint()?, ce: reader.varint()? })
    }

    fn size(&self) -> usize {
        varint::size(self.ect0) + varint::size(self.ect1) + varint::size(self.ce)
    }

    fn encode(&self, writer: &mut Writer<'_>) {
        writer.varint(self.ect0);
        writer.varint(self.ect1);
        writer.varint(self.ce);
    }
}

impl<'a> Ack<'a> {
    /// Reads an ACK frame without ECN counts.
    #[inline]
    pub(super) fn decode(reader: &mut Reader<'a>) -> Result<Self, Violation> {
        let largest_acknowledged = reader.varint()?;
        let ack_delay = reader.varint()?;
        let ranges = AckRanges::decode(largest_acknowledged, reader)?;
        Ok(Self { largest_acknowledged, ack_delay, ranges, ecn: None })
    }

    /// Reads an ACK frame with ECN counts.
    // req 9000-19.3-436
    #[inline]
    pub(super) fn decode_with_ecn(reader: &mut Reader<'a>) -> Result<Self, Violation> {
        let ack = Self::decode(reader)?;
        Ok(Self { ecn: Some(EcnCounts::decode(reader)?), ..ack })
    }

    /// The number of this form of the frame.
    pub const fn ty(&self) -> FrameType {
        ack_type(self.ecn)
    }

    /// The acknowledged packet numbers in descending order; ranges do not overlap or touch.
    #[inline]
    pub fn iter(&self) -> AckRanges<'a> {
        self.ranges.clone()
    }

    /// Length of the whole frame in bytes, encoded the shortest way.
    pub fn size(&self) -> usize {
        let Plan { size, .. } = plan(self.ack_delay, self.half_open(), self.ecn, usize::MAX);
        size
    }

    /// Writes the whole frame the shortest way.
    pub fn encode(&self, writer: &mut Writer<'_>) {
        encode_ack(writer, self.ack_delay, self.half_open(), self.ecn, usize::MAX);
    }

    fn half_open(&self) -> impl Iterator<Item = Range<u64>> + Clone {
        self.iter().map(|range| *range.start()..range.end().saturating_add(1))
    }
}

const fn ack_type(ecn: Option<EcnCounts>) -> FrameType {
    match ecn {
        None => FrameType::ACK,
        Some(_) => FrameType::ACK_ECN,
    }
}

/// The acknowledged packet numbers of an ACK frame, as an iterator over descending ranges.
///
/// The ranges have been checked when the frame was decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AckRanges<'a> {
    encoded: &'a [u8],
    /// Number of ranges to come.
    count: u64,
    /// Where the next range ends.
    next: Next,
}

/// Where the next range of an ACK frame ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// At this packet number.
    At(u64),
    /// At this packet number less a gap that is encoded before the range.
    GapBelow(u64),
}

impl<'a> AckRanges<'a> {
    /// Reads the count of ranges and steps over the ranges, checking them.
    fn decode(largest: u64, reader: &mut Reader<'a>) -> Result<Self, Violation> {
        let more = reader.varint()?;
        // Every range takes at least two bytes, which bounds the work by the size of the packet.
        if more > reader.remaining() as u64 / 2 {
            return Err(Violation::FrameTruncated);
        }
        let start = reader.peek_rest();
        let before = reader.position();
        let mut next = Next::At(largest);
        for _ in 0..=more {
            next = Next::GapBelow(*next.read_range(reader)?.start());
        }
        let encoded = start.get(..reader.position() - before).unwrap_or_default();
        Ok(Self { encoded, count: more + 1, next: Next::At(largest) })
    }
}

impl Next {
    /// Reads one range.
    // req 9000-19.3.1-437: a subtraction below zero is an error.
    #[inline]
    fn read_range(self, reader: &mut Reader<'_>) -> Result<RangeInclusive<u64>, Violation> {
        let largest = match self {
            Self::At(largest) => largest,
            Self::GapBelow(smallest) => {
                let gap = reader.varint()? + 2;
                smallest.checked_sub(gap).ok_or(Violation::AckRangeNegative)?
            }
        };
        let len = reader.varint()?;
        let smallest = largest.checked_sub(len).ok_or(Violation::AckRangeNegative)?;
        Ok(smallest..=largest)
    }
}

impl Iterator for AckRanges<'_> {
    type Item = RangeInclusive<u64>;

    #[inline]
    fn next(&mut self) -> Option<RangeInclusive<u64>> {
        self.count = self.count.checked_sub(1)?;
        let mut reader = Reader::new(self.encoded);
        let range = self.next.read_range(&mut reader).ok()?;
        self.encoded = reader.rest();
        self.next = Next::GapBelow(*range.start());
        Some(range)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let count = usize::try_from(self.count).unwrap_or(usize::MAX);
        (count, Some(count))
    }
}

impl ExactSizeIterator for AckRanges<'_> {}

/// What [`encode_ack`] put into a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodedAck {
    /// The largest packet number that is acknowledged.
    pub largest_acknowledged: u64,
    /// The smallest packet number that is acknowledged; smaller ones did not fit or were not given.
    pub smallest_acknowledged: u64,
    /// Length of the frame in bytes.
    pub size: usize,
}

/// Writes an ACK frame of the highest of `ranges` that fit into `budget` bytes.
///
/// `ranges` are half-open, descending, and neither overlap nor touch: what
/// [`RangeSet::iter`](crate::util::RangeSet::iter) gives when reversed. `ack_delay` is already
/// divided by the exponent. Returns `None` and writes nothing if there are no ranges, or if not
/// even the first one fits into the budget and the writer.
// req 9000-13.2.3-317, 9000-13.2.3-319, 9000-13.2.3-322: the highest ranges are the ones that stay.
pub fn encode_ack<I>(
    writer: &mut Writer<'_>,
    ack_delay: u64,
    ranges: I,
    ecn: Option<EcnCounts>,
    budget: usize,
) -> Option<EncodedAck>
where
    I: Iterator<Item = Range<u64>> + Clone,
{
    let plan = plan(ack_delay, ranges.clone(), ecn, budget.min(writer.remaining()));
    let count = plan.count.checked_sub(1)?;
    let mut ranges = ranges.take(plan.count);
    let first = ranges.next()?;
    let largest_acknowledged = first.end.saturating_sub(1);
    writer.varint(ack_type(ecn).0);
    writer.varint(largest_acknowledged);
    writer.varint(ack_delay);
    writer.varint(count as u64);
    writer.varint(largest_acknowledged - first.start);
    let mut smallest = first.start;
    for range in ranges {
        writer.varint(gap(smallest, &range));
        writer.varint(range.end - 1 - range.start);
        smallest = range.start;
    }
    if let Some(ecn) = ecn {
        ecn.encode(writer);
    }
    Some(EncodedAck { largest_acknowledged, smallest_acknowledged: smallest, size: plan.size })
}

/// The Gap field between the range that begins at `smallest` and the next lower one.
#[inline]
fn gap(smallest: u64, range: &Range<u64>) -> u64 {
    debug_assert!(range.start < range.end && range.end < smallest);
    smallest.wrapping_sub(range.end).wrapping_sub(1)
}

/// How many ranges fit, and how long the frame will be with them.
struct Plan {
    count: usize,
    size: usize,
}

fn plan<I>(ack_delay: u64, mut ranges: I, ecn: Option<EcnCounts>, budget: usize) -> Plan
where
    I: Iterator<Item = Range<u64>>,
{
    const NOTHING: Plan = Plan { count: 0, size: 0 };
    let Some(first) = ranges.next() else { return NOTHING };
    debug_assert!(!first.is_empty());
    let largest = first.end.saturating_sub(1);
    // Everything but the count of ranges, whose size grows with them.
    let mut fixed = 1
        + varint::size(largest)
        + varint::size(ack_delay)
        + varint::size(largest - first.start)
        + ecn.map_or(0, |ecn| ecn.size());
    let mut count = 1;
    if fixed + 1 > budget {
        return NOTHING;
    }
    let mut smallest = first.start;
    for range in ranges {
        let more = varint::size(gap(smallest, &range)) + varint::size(range.end - 1 - range.start);
        if fixed + more + varint::size(count as u64) > budget {
            break;
        }
        fixed += more;
        count += 1;
        smallest = range.start;
    }
    Plan { count, size: fixed + varint::size(count as u64 - 1) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::util::RangeSet;

    fn decode(bytes: &[u8]) -> Result<Ack<'_>, Violation> {
        Ack::decode(&mut Reader::new(bytes))
    }

    #[test]
    fn gaps_and_lengths_count_from_the_largest_down() {
        // 100..=90, five missing, 84..=84, one missing, 82..=80
        let ack = decode(&[0x40, 100, 7, 2, 10, 4, 0, 0, 2]).unwrap();
        assert_eq!(ack.iter().collect::<Vec<_>>(), [90..=100, 84..=84, 80..=82]);
        assert_eq!((ack.iter().len(), ack.ack_delay), (3, 7));
    }

    // req-test 9000-19.3.1-437
    #[test]
    fn negative_packet_numbers_are_refused() {
        assert_eq!(decode(&[5, 0, 0, 6]), Err(Violation::AckRangeNegative));
        assert_eq!(decode(&[5, 0, 1, 0, 4, 0]), Err(Violation::AckRangeNegative));
        assert_eq!(decode(&[5, 0, 1, 0, 3, 1]), Err(Violation::AckRangeNegative));
        assert!(decode(&[5, 0, 1, 0, 3, 0]).is_ok());
    }

    #[test]
    fn a_count_of_ranges_beyond_the_packet_is_refused_at_once() {
        let mut bytes = vec![63, 0];
        bytes.extend([0xff; 8]);
        bytes.extend([0; 30]);
        assert_eq!(decode(&bytes), Err(Violation::FrameTruncated));
    }

    // req-test 9000-19.3-436
    #[test]
    fn ecn_counts_follow_the_ranges() {
        let bytes = [9, 0, 0, 9, 1, 2, 3];
        let ack = Ack::decode_with_ecn(&mut Reader::new(&bytes)).unwrap();
        assert_eq!(ack.ecn, Some(EcnCounts { ect0: 1, ect1: 2, ce: 3 }));
        assert_eq!(ack.ty(), FrameType::ACK_ECN);
    }

    #[test]
    fn nothing_to_acknowledge_writes_nothing() {
        let mut buf = [0; 4];
        let mut writer = Writer::new(&mut buf);
        assert_eq!(encode_ack(&mut writer, 0, RangeSet::new().iter().rev(), None, 99), None);
        let mut set = RangeSet::new();
        set.insert_one(1 << 40);
        assert_eq!(encode_ack(&mut writer, 0, set.iter().rev(), None, 99), None);
        assert_eq!(writer.position(), 0);
    }

    proptest! {
        // req-test 9000-13.2.3-317, 9000-13.2.3-319, 9000-13.2.3-322
        #[test]
        fn the_highest_ranges_that_fit_the_budget_are_encoded(
            numbers in prop::collection::vec(0u64..5000, 1..200),
            base in prop_oneof![Just(0u64), Just(60), Just(1 << 40)],
            ack_delay in 0u64..1 << 20,
            ecn in prop::option::of((0u64..1 << 20, 0u64..9, 0u64..9)),
            budget in 0usize..600,
        ) {
            let mut set = RangeSet::new();
            for number in numbers {
                set.insert_one(base + number);
            }
            let ecn = ecn.map(|(ect0, ect1, ce)| EcnCounts { ect0, ect1, ce });
            let mut buf = [0; 600];
            let mut writer = Writer::new(&mut buf);
            let encoded = encode_ack(&mut writer, ack_delay, set.iter().rev(), ecn, budget);
            prop_assert_eq!(writer.position(), encoded.map_or(0, |ack| ack.size));
            prop_assert!(writer.position() <= budget);
            let Some(encoded) = encoded else {
                prop_assert!(budget < 27);
                return Ok(());
            };
            let mut reader = Reader::new(writer.written());
            let ty = FrameType(reader.varint().unwrap());
            let ack = match ecn {
                Some(_) => Ack::decode_with_ecn(&mut reader).unwrap(),
                None => Ack::decode(&mut reader).unwrap(),
            };
            prop_assert!(reader.is_empty());
            prop_assert_eq!(ty, ack.ty());
            prop_assert_eq!((ack.ack_delay, ack.ecn), (ack_delay, ecn));
            prop_assert_eq!(ack.size(), encoded.size);
            let all: Vec<_> = set.iter().rev().map(|r| r.start..=r.end - 1).collect();
            let sent: Vec<_> = ack.iter().collect();
            prop_assert_eq!(&sent[..], &all[..sent.len()]);
            prop_assert_eq!(Some(encoded.largest_acknowledged), set.max());
            prop_assert_eq!(encoded.smallest_acknowledged, *sent.last().unwrap().start());
            prop_assert!(sent.len() == all.len() || encoded.size + 16 + 2 > budget);
        }
    }
}
