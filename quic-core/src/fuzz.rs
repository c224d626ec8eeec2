//! Entry points for fuzzing: each takes any bytes, and panics only if the code is wrong.
//!
//! What decodes is encoded again and must decode to the same value. The corpus is replayed by
//! ordinary tests.

mod endpoints;

pub use endpoints::connection;

use bytes::Bytes;

use crate::buffer::{Arrival, Assembler};
use crate::stream::{StreamConfig, Streams};
use crate::util::Rng;
use crate::wire::header::{Header, LongHeader, LongType, RetryPacket, VersionNegotiationPacket};
use crate::wire::{
    Dir, Frame, Frames, PacketNumber, PacketType, Reader, Side, TransportParameters, Truncated,
    Writer,
};

/// Reads `payload` as the frames of packets of every kind.
pub fn frames(payload: &[u8]) {
    for packet in [PacketType::Initial, PacketType::ZeroRtt, PacketType::Handshake] {
        Frames::new(payload, packet).for_each(drop);
    }
    for frame in Frames::new(payload, PacketType::OneRtt).flatten() {
        let mut bytes = vec![0; frame.size()];
        let mut writer = Writer::new(&mut bytes);
        frame.encode(&mut writer);
        assert_eq!(writer.remaining(), 0, "size of {frame:?}");
        let mut reader = Reader::new(&bytes);
        match (Frame::decode(&mut reader), frame) {
            // Ranges compare by their bytes, and the peer need not have used the shortest ones.
            (Ok(Frame::Ack(again)), Frame::Ack(ack)) => {
                assert!(again.iter().eq(ack.iter()));
                assert_eq!(again.ranges.len(), ack.ranges.len());
                assert_eq!((again.ack_delay, again.ecn), (ack.ack_delay, ack.ecn));
            }
            (again, frame) => assert_eq!(again, Ok(frame)),
        }
        assert!(reader.is_empty());
    }
}

/// Reads a datagram as the headers of coalesced packets; its first byte chooses the length of the
/// connection IDs of short headers.
pub fn header(input: &[u8]) {
    let Some((cid_len, mut datagram)) = input.split_first() else { return };
    let cid_len = usize::from(cid_len % 21);
    while let Ok(header) = Header::decode(datagram, cid_len) {
        let mut encoded = vec![0; datagram.len() + 32];
        let len = encode_header(&header, datagram, &mut Writer::new(&mut encoded));
        let again = Header::decode(encoded.get(..len).unwrap_or_default(), cid_len);
        let Header::Protected(partial) = header else {
            assert_eq!(again, Ok(header));
            return;
        };
        assert!(partial.token.end <= partial.pn_offset);
        assert!(partial.pn_offset <= partial.packet_len && partial.packet_len <= datagram.len());
        if partial.kind != PacketType::OneRtt {
            let Ok(Header::Protected(again)) = again else { panic!("{again:?}") };
            assert_eq!(again.kind, partial.kind);
            assert_eq!((again.dcid, again.scid), (partial.dcid, partial.scid));
            assert_eq!(encoded.get(again.token), datagram.get(partial.token));
        }
        datagram = datagram.get(partial.packet_len..).unwrap_or_default();
    }
}

/// Encodes a header like `header` and returns how long the packet is.
fn encode_header(header: &Header<'_>, datagram: &[u8], writer: &mut Writer<'_>) -> usize {
    match header {
        Header::Protected(header) => {
            let ty = match header.kind {
                PacketType::Initial => LongType::Initial { token: &datagram[header.token.clone()] },
                PacketType::ZeroRtt => LongType::ZeroRtt,
                PacketType::Handshake => LongType::Handshake,
                PacketType::OneRtt | PacketType::Retry | PacketType::VersionNegotiation => {
                    return 0;
                }
            };
            let long = LongHeader {
                ty,
                version: header.version,
                dcid: header.dcid,
                scid: header.scid,
                packet_number: Truncated::shorten(PacketNumber::new(0), None),
            };
            let encoded = long.encode(writer);
            assert_eq!(writer.position(), long.size());
            assert_eq!(writer.position(), encoded.payload_offset());
            let end = writer.position();
            encoded.finish_length(writer.written_mut(), end);
        }
        Header::Retry(header) => {
            let unused = datagram[0];
            let (version, dcid, scid) = (header.version, header.dcid, header.scid);
            let retry = RetryPacket { version, dcid, scid, token: header.token, unused };
            retry.encode(writer);
            assert_eq!(writer.position(), retry.size());
            assert_eq!(writer.written(), header.without_tag);
            writer.bytes(&header.tag);
        }
        Header::VersionNegotiation(header) => {
            let versions: Vec<_> = header.versions.clone().collect();
            let (dcid, scid) = (header.dcid, header.scid);
            let packet = VersionNegotiationPacket { dcid, scid, versions: &versions, unused: 0 };
            packet.encode(writer);
            assert_eq!(writer.position(), packet.size());
        }
        Header::UnknownVersion(_) => writer.bytes(datagram),
    }
    writer.position()
}

/// Reads `bytes` as the transport parameters of both sides.
pub fn transport_parameters(bytes: &[u8]) {
    for side in [Side::Client, Side::Server] {
        if let Ok(parameters) = TransportParameters::decode(bytes, side) {
            let mut encoded = Vec::new();
            parameters.encode(side, None, &mut encoded);
            assert_eq!(TransportParameters::decode(&encoded, side), Ok(parameters));
        }
    }
}

/// Takes each three bytes of `input` as the offset and length of a piece of a stream, in any order.
pub fn assembler(input: &[u8]) {
    let stream: Bytes = (0..=u8::MAX).cycle().take(1 << 12).collect();
    let mut assembler = Assembler::new();
    let mut read = 0;
    for piece in input.chunks_exact(3) {
        let start = usize::from(u16::from_be_bytes([piece[0], piece[1]]) & 0x7ff);
        let end = start + usize::from(piece[2]) * 4;
        let data = match piece[0] & 0x80 {
            0 => Arrival::Share(stream.slice(start..end)),
            _ => Arrival::Copy(&stream[start..end]),
        };
        assembler.insert(start as u64, data);
        assert!(assembler.memory() as u64 >= assembler.buffered());
        if piece[0] & 0x40 == 0 {
            while let Some(data) = assembler.read() {
                assert_eq!(data, stream[read..read + data.len()]);
                read += data.len();
            }
        }
    }
}

/// Hands the frames in `payload` to the streams of a server, whose application gives up on all.
pub fn streams(payload: &[u8]) {
    let payload = Bytes::copy_from_slice(payload);
    let config = StreamConfig { receive_memory: 1 << 16, ..StreamConfig::default() };
    let mut streams = Streams::new(Side::Server, &config, &mut Rng::from_seed([0; 32]));
    streams.set_peer_params(&TransportParameters::default());
    for frame in Frames::new(&payload, PacketType::OneRtt).flatten() {
        let result = match frame {
            Frame::Stream(frame) => {
                streams.on_stream(&frame, Arrival::Share(payload.slice_ref(frame.data)))
            }
            Frame::ResetStream(frame) => streams.on_reset_stream(&frame),
            Frame::StopSending(frame) => streams.on_stop_sending(&frame),
            Frame::MaxData(frame) => streams.on_max_data(&frame),
            Frame::MaxStreamData(frame) => streams.on_max_stream_data(&frame),
            Frame::MaxStreams(frame) => streams.on_max_streams(&frame),
            Frame::DataBlocked(frame) => streams.on_data_blocked(&frame),
            Frame::StreamDataBlocked(frame) => streams.on_stream_data_blocked(&frame),
            Frame::StreamsBlocked(frame) => streams.on_streams_blocked(&frame),
            Frame::Padding(_)
            | Frame::Ping
            | Frame::Ack(_)
            | Frame::Crypto(_)
            | Frame::NewToken(_)
            | Frame::NewConnectionId(_)
            | Frame::RetireConnectionId(_)
            | Frame::PathChallenge(_)
            | Frame::PathResponse(_)
            | Frame::ConnectionClose(_)
            | Frame::HandshakeDone => Ok(()),
        };
        if result.is_err() {
            return;
        }
        assert!(streams.audit().receive_memory <= config.receive_memory);
    }
    for dir in Dir::ALL {
        while let Some(id) = streams.accept(dir) {
            streams.release(id);
        }
    }
    let audit = streams.audit();
    assert_eq!((audit.receive_memory, audit.data_returned), (0, audit.data_received));
}
