#![allow(clippy::single_range_in_vec_init)]

use proptest::prelude::*;

use super::*;

fn transmit(buffer: &mut SendBuffer, max: usize) -> Option<(Range<u64>, Vec<u8>)> {
    let range = buffer.next(u64::MAX)?;
    let len = max.min((range.end - range.start) as usize);
    let mut out = vec![0; len];
    buffer.transmit(range.clone(), &mut out);
    Some((range.start..range.start + len as u64, out))
}

fn buffer(chunks: &[&'static [u8]]) -> SendBuffer {
    let mut buffer = SendBuffer::new();
    chunks.iter().for_each(|chunk| buffer.write(Bytes::from_static(chunk)));
    buffer
}

#[test]
fn a_transmission_spans_chunks() {
    let mut buffer = buffer(&[b"ab", b"", b"cde", b"f"]);
    assert_eq!(transmit(&mut buffer, 4), Some((0..4, b"abcd".to_vec())));
    assert_eq!(transmit(&mut buffer, 4), Some((4..6, b"ef".to_vec())));
    assert_eq!(transmit(&mut buffer, 4), None);
    assert_eq!((buffer.sent(), buffer.unsent(), buffer.outstanding()), (6, 0, 6));
}

// req-test 9000-2.2-004
#[test]
fn what_was_lost_goes_before_what_is_new() {
    let mut buffer = buffer(&[b"abcdefgh"]);
    transmit(&mut buffer, 4);
    buffer.on_lost(1..3);
    assert_eq!(transmit(&mut buffer, 8), Some((1..3, b"bc".to_vec())));
    assert_eq!(transmit(&mut buffer, 8), Some((4..8, b"efgh".to_vec())));
}

#[test]
fn new_data_ends_at_the_limit_and_lost_data_does_not() {
    let mut buffer = buffer(&[b"abcdefgh"]);
    assert_eq!(buffer.next(3), Some(0..3));
    transmit(&mut buffer, 3);
    assert_eq!(buffer.next(3), None);
    buffer.on_lost(0..3);
    assert_eq!(buffer.next(0), Some(0..3));
}

// lesson 2
#[test]
fn a_chunk_is_held_until_all_of_it_is_acknowledged_and_no_longer() {
    let chunk = Bytes::from(vec![1; 100]);
    let mut buffer = SendBuffer::new();
    for _ in 0..3 {
        buffer.write(chunk.clone());
    }
    let alone =
        |buffer: &SendBuffer| buffer.chunks.iter().filter(|held| !held.data.is_empty()).count();
    while transmit(&mut buffer, 50).is_some() {}
    assert_eq!(buffer.on_acked(100..150), 0);
    buffer.on_lost(50..150);
    assert_eq!(alone(&buffer), 3, "half a chunk is needed whole");
    assert_eq!(buffer.on_acked(150..200), 0);
    assert_eq!(alone(&buffer), 2, "the one in the middle is complete");
    assert_eq!(transmit(&mut buffer, 100), Some((50..100, vec![1; 50])));
    assert_eq!(buffer.on_acked(50..100), 0);
    assert_eq!(buffer.on_acked(0..50), 200);
    assert_eq!((alone(&buffer), buffer.outstanding()), (1, 100));
    assert_eq!(buffer.on_acked(200..300), 100);
    assert!(buffer.is_acked() && chunk.is_unique());
}

#[test]
fn data_that_was_acknowledged_after_all_is_not_sent_again() {
    let mut buffer = buffer(&[b"abcdefgh"]);
    transmit(&mut buffer, 8);
    buffer.on_acked(2..4);
    buffer.on_lost(0..8);
    buffer.on_acked(5..6);
    let resent: Vec<_> = std::iter::from_fn(|| transmit(&mut buffer, 8)).map(|(r, _)| r).collect();
    assert_eq!(resent, [0..2, 4..5, 6..8]);
}

#[test]
fn abandoning_gives_back_all_chunks_and_keeps_what_was_sent() {
    let chunk = Bytes::from(vec![1; 100]);
    let mut buffer = SendBuffer::new();
    buffer.write(chunk.clone());
    transmit(&mut buffer, 60);
    buffer.on_acked(0..10);
    buffer.on_lost(20..30);
    assert_eq!(buffer.abandon(), 90);
    assert!(chunk.is_unique());
    assert_eq!((buffer.sent(), buffer.unsent(), buffer.has_lost()), (60, 0, false));
    assert_eq!((buffer.next(u64::MAX), buffer.outstanding()), (None, 0));
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Fate {
    Unsent,
    InFlight,
    Lost,
    Acked,
}

proptest! {
    // req-test 9000-2.2-004
    #[test]
    fn behaves_like_a_vector_of_fates(
        ops in prop::collection::vec((0..5, 0usize..200, any::<prop::sample::Index>()), 1..150),
    ) {
        let mut buffer = SendBuffer::new();
        let mut model: Vec<(u8, Fate)> = Vec::new();
        let mut packets: Vec<Range<u64>> = Vec::new();
        for (op, len, pick) in ops {
            match op {
                0 => {
                    let data: Vec<u8> = (0..len).map(|n| (n + model.len()) as u8).collect();
                    model.extend(data.iter().map(|byte| (*byte, Fate::Unsent)));
                    buffer.write(data.into());
                }
                1 | 2 => {
                    let lost = model.iter().position(|(_, fate)| *fate == Fate::Lost);
                    let first = lost.or(model.iter().position(|(_, f)| *f == Fate::Unsent));
                    let sent = transmit(&mut buffer, len);
                    prop_assert_eq!(sent.is_some(), first.is_some());
                    let Some((range, data)) = sent else { continue };
                    prop_assert_eq!(Some(range.start as usize), first);
                    let part = &mut model[range.start as usize..range.end as usize];
                    prop_assert!(part.iter().map(|(byte, _)| *byte).eq(data));
                    let same = part.first().map(|(_, fate)| *fate);
                    prop_assert!(part.iter().all(|(_, fate)| Some(*fate) == same));
                    part.iter_mut().for_each(|(_, fate)| *fate = Fate::InFlight);
                    packets.push(range);
                }
                _ if packets.is_empty() => {}
                // A packet stays known: what was declared lost may be acknowledged later.
                3 => {
                    let range = packets[pick.index(packets.len())].clone();
                    buffer.on_lost(range.clone());
                    for (_, fate) in &mut model[range.start as usize..range.end as usize] {
                        if *fate != Fate::Acked {
                            *fate = Fate::Lost;
                        }
                    }
                }
                _ => {
                    let range = packets[pick.index(packets.len())].clone();
                    let before = buffer.outstanding();
                    let freed = buffer.on_acked(range.clone());
                    prop_assert_eq!(before - freed, buffer.outstanding());
                    for (_, fate) in &mut model[range.start as usize..range.end as usize] {
                        *fate = Fate::Acked;
                    }
                }
            }
            let acked = model.iter().take_while(|(_, fate)| *fate == Fate::Acked).count();
            prop_assert_eq!(buffer.outstanding(), (model.len() - acked) as u64);
            let unsent = model.iter().filter(|(_, fate)| *fate == Fate::Unsent).count();
            prop_assert_eq!(buffer.unsent(), unsent as u64);
            prop_assert_eq!(buffer.is_acked(), acked == model.len());
            prop_assert_eq!(buffer.has_lost(), model.iter().any(|(_, f)| *f == Fate::Lost));
        }
    }
}
