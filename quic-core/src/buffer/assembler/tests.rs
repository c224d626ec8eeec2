use proptest::prelude::*;

use super::*;

fn stream_bytes(offset: u64, len: usize) -> Bytes {
    (offset..offset + len as u64).map(|n| (n * 31 % 251) as u8).collect()
}

fn insert(assembler: &mut Assembler, offset: u64, len: usize) {
    assembler.insert(offset, Arrival::Share(stream_bytes(offset, len)));
}

fn read_all(assembler: &mut Assembler) -> Vec<u8> {
    std::iter::from_fn(|| assembler.read()).flatten().collect()
}

// req-test 9000-2.2-002
#[test]
fn pieces_come_out_in_order_whatever_the_order_they_came_in() {
    let mut assembler = Assembler::new();
    for offset in [40, 20, 30, 10, 0] {
        assert_eq!(assembler.read(), None);
        insert(&mut assembler, offset, 10);
    }
    assert_eq!(read_all(&mut assembler), stream_bytes(0, 50));
    assert_eq!((assembler.read_offset(), assembler.contiguous_end()), (50, 50));
    assert_eq!(assembler.memory(), 0);
}

#[test]
fn the_first_copy_of_a_byte_wins() {
    let mut assembler = Assembler::new();
    assembler.insert(2, Arrival::Share(Bytes::from_static(b"cd")));
    assembler.insert(0, Arrival::Share(Bytes::from_static(b"abXXef")));
    assembler.insert(0, Arrival::Share(Bytes::from_static(b"YYYYYYg")));
    assert_eq!(read_all(&mut assembler), b"abcdefg");
    assembler.insert(0, Arrival::Share(Bytes::from_static(b"ZZZZZZZ")));
    assert!(!assembler.is_readable());
}

#[test]
fn large_data_in_order_is_shared_and_uses_no_tree() {
    let datagram = Bytes::from(vec![7; 1200]);
    let mut assembler = Assembler::new();
    assembler.insert(0, Arrival::Share(datagram.slice(100..1100)));
    assert!(assembler.ahead.is_empty());
    assert_eq!(assembler.read().unwrap().as_ptr(), datagram[100..].as_ptr());
}

#[test]
fn small_data_data_ahead_of_a_gap_and_data_not_to_be_shared_is_copied() {
    let datagram = Bytes::from(vec![7; 1200]);
    let memory = datagram.as_ptr_range();
    let mut assembler = Assembler::new();
    assembler.insert(0, Arrival::Share(datagram.slice(..LEND_FROM - 1)));
    assembler.insert(2000, Arrival::Share(datagram.slice(..)));
    assembler.insert(LEND_FROM as u64 - 1, Arrival::Copy(&datagram));
    assembler.insert(1000, Arrival::Share(datagram.slice(..LEND_FROM - 1)));
    assembler.insert(1000, Arrival::Copy(&datagram));
    let mut total = 0;
    while let Some(data) = assembler.read() {
        assert!(!memory.contains(&data.as_ptr()));
        total += data.len();
    }
    assert_eq!(total, 3200);
    assert!(datagram.is_unique());
}

#[test]
fn tiny_pieces_in_order_melt_together() {
    let mut assembler = Assembler::new();
    (0..10_000).for_each(|offset| insert(&mut assembler, offset, 1));
    assert!(assembler.ready.len() <= 2 && assembler.memory() < 40_000);
    assert_eq!(read_all(&mut assembler), stream_bytes(0, 10_000));
}

#[test]
fn neighbours_ahead_of_a_gap_melt_together_in_every_order_of_arrival() {
    for order in [
        |n| n,
        |n| 4999 - n,
        |n| n * 7 % 5000,
        |n| if n < 2500 { n * 2 } else { (n - 2500) * 2 + 1 },
    ] {
        let mut assembler = Assembler::new();
        (0..5000u64).for_each(|n| insert(&mut assembler, 1 + order(n), 1));
        assert!(assembler.memory() < 5000 * 3, "{}", assembler.memory());
        assert!(assembler.ahead.len() < 20, "{}", assembler.ahead.len());
        insert(&mut assembler, 0, 1);
        assert_eq!(read_all(&mut assembler), stream_bytes(0, 5001));
        assert_eq!(assembler.memory(), 0);
    }
}

#[test]
fn fragments_with_gaps_are_counted_with_what_they_cost() {
    let mut assembler = Assembler::new();
    (0..1000).for_each(|n| insert(&mut assembler, 1 + 2 * n, 1));
    assert!(assembler.memory() >= 1000 * OVERHEAD);
    assert_eq!(assembler.buffered(), 1000);
}

#[test]
fn a_large_window_with_every_second_packet_missing_costs_little_more_than_its_data() {
    let mut assembler = Assembler::new();
    let packets = 8 * 1024;
    (0..packets).for_each(|n| insert(&mut assembler, 1100 * (2 * n + 1), 1100));
    assert!(assembler.memory() < 1100 * packets as usize * 5 / 4, "{}", assembler.memory());
}

#[test]
fn clearing_gives_back_all_memory() {
    let mut assembler = Assembler::new();
    insert(&mut assembler, 0, 100);
    insert(&mut assembler, 200, 100);
    assembler.clear();
    assert_eq!((assembler.memory(), assembler.read(), assembler.buffered()), (0, None, 0));
    assert_eq!(assembler.contiguous_end(), 100);
}

proptest! {
    #[test]
    fn behaves_like_a_vector_of_known_bytes(
        ops in prop::collection::vec((0u64..4000, 0usize..1500, any::<bool>(), 0..4), 1..60),
    ) {
        let mut assembler = Assembler::new();
        let mut known = vec![false; 6000];
        let mut read = Vec::new();
        for (offset, len, share, reads) in ops {
            let data = stream_bytes(offset, len);
            let data = if share { Arrival::Share(data) } else { Arrival::Copy(&data) };
            assembler.insert(offset, data);
            known[offset as usize..offset as usize + len].fill(true);
            let contiguous = known.iter().position(|known| !known).unwrap_or(known.len());
            prop_assert_eq!(assembler.contiguous_end(), contiguous as u64);
            for _ in 0..reads {
                read.extend(assembler.read().into_iter().flatten());
            }
            prop_assert_eq!(assembler.read_offset(), read.len() as u64);
            let held = known[read.len()..].iter().filter(|known| **known).count();
            prop_assert_eq!(assembler.buffered(), held as u64);
            let pieces = || assembler.ready.iter().chain(assembler.ahead.values());
            let memory: usize = pieces().map(Piece::memory).sum();
            prop_assert_eq!(assembler.memory(), memory);
            prop_assert!(memory >= held && (held > 0) == (memory > 0));
        }
        read.extend(read_all(&mut assembler));
        prop_assert_eq!(&read[..], &stream_bytes(0, read.len())[..]);
    }
}
