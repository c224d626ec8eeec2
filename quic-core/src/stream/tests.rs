//! The island from outside: frames and calls in, frames and events out.

mod app;
mod lessons;
mod random;
mod violations;

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::buffer::Arrival;
use crate::error::TransportError;
use crate::wire::{ApplicationErrorCode, Frame, Frames, PacketType, Writer as PacketWriter, frame};

const RTT: Duration = Duration::from_millis(50);

fn config() -> StreamConfig {
    StreamConfig {
        initial_max_data: 15_000,
        initial_max_stream_data_bidi_local: 10_000,
        initial_max_stream_data_bidi_remote: 10_000,
        initial_max_stream_data_uni: 10_000,
        initial_max_streams_bidi: 4,
        initial_max_streams_uni: 4,
        max_stream_window: 10_000,
        max_connection_window: 15_000,
        receive_memory: 100_000,
        stream_send_window: 20_000,
        send_budget: 50_000,
    }
}

fn params(config: &StreamConfig) -> TransportParameters {
    TransportParameters {
        initial_max_data: config.initial_max_data,
        initial_max_stream_data_bidi_local: config.initial_max_stream_data_bidi_local,
        initial_max_stream_data_bidi_remote: config.initial_max_stream_data_bidi_remote,
        initial_max_stream_data_uni: config.initial_max_stream_data_uni,
        initial_max_streams_bidi: config.initial_max_streams_bidi,
        initial_max_streams_uni: config.initial_max_streams_uni,
        ..TransportParameters::default()
    }
}

fn code(code: u32) -> ApplicationErrorCode {
    code.into()
}

fn id(initiator: Side, dir: Dir, index: u64) -> StreamId {
    StreamId::new(initiator, dir, index)
}

/// What a stream carries at an offset, different for each stream.
fn content(id: StreamId, offset: u64, len: usize) -> Bytes {
    let seed = id.into_inner() * 7919;
    (offset..offset + len as u64).map(|n| ((n + seed) % 251) as u8).collect()
}

#[derive(Debug, Clone)]
struct Packet {
    payload: Bytes,
    frames: Vec<SentStreamFrame>,
}

/// One end of a connection, with just enough around its streams to exchange packets.
struct End {
    streams: Streams,
    now: Instant,
}

impl End {
    fn new(side: Side, ours: &StreamConfig, theirs: &StreamConfig) -> Self {
        let mut streams = Streams::new(side, ours, &mut Rng::from_seed([3; 32]));
        streams.set_peer_params(&params(theirs));
        Self { streams, now: Instant::now() }
    }

    fn has_pending(&self) -> bool {
        self.streams.has_control_pending() || self.streams.has_data_pending()
    }

    fn packet(&mut self) -> Option<Packet> {
        self.packet_of(1200)
    }

    fn packet_of(&mut self, size: usize) -> Option<Packet> {
        let pending = self.has_pending();
        let mut payload = vec![0; size];
        let mut frames = Vec::new();
        let mut writer = PacketWriter::new(&mut payload);
        self.streams.write_control(self.now, RTT, &mut writer, &mut |frame| frames.push(frame));
        self.streams.write_data(&mut writer, &mut |frame| frames.push(frame));
        let len = writer.position();
        payload.truncate(len);
        assert_eq!(frames.is_empty(), len == 0);
        if size >= 64 {
            assert_eq!(pending, len > 0, "what is pending can be written, and nothing else");
        }
        (len > 0).then(|| Packet { payload: payload.into(), frames })
    }

    fn receive(&mut self, packet: &Packet) -> Result<(), TransportError> {
        for frame in Frames::new(&packet.payload, PacketType::OneRtt) {
            let streams = &mut self.streams;
            match frame? {
                Frame::Stream(frame) => {
                    let data = packet.payload.slice_ref(frame.data);
                    streams.on_stream(&frame, Arrival::Share(data))?;
                }
                Frame::ResetStream(frame) => streams.on_reset_stream(&frame)?,
                Frame::StopSending(frame) => streams.on_stop_sending(&frame)?,
                Frame::MaxData(frame) => streams.on_max_data(&frame)?,
                Frame::MaxStreamData(frame) => streams.on_max_stream_data(&frame)?,
                Frame::MaxStreams(frame) => streams.on_max_streams(&frame)?,
                Frame::DataBlocked(frame) => streams.on_data_blocked(&frame)?,
                Frame::StreamDataBlocked(frame) => streams.on_stream_data_blocked(&frame)?,
                Frame::StreamsBlocked(frame) => streams.on_streams_blocked(&frame)?,
                other => panic!("unexpected {other:?}"),
            }
        }
        Ok(())
    }

    fn acked(&mut self, packet: &Packet) {
        packet.frames.iter().for_each(|frame| self.streams.on_acked(*frame));
    }

    fn lost(&mut self, packet: &Packet) {
        packet.frames.iter().for_each(|frame| self.streams.on_lost(*frame));
    }

    fn events(&mut self) -> Vec<StreamEvent> {
        std::iter::from_fn(|| self.streams.poll_event()).collect()
    }

    /// Reads what is there, gives the credit back, and says how the reading ended.
    fn read_all(&mut self, id: StreamId) -> (Vec<u8>, Result<Read, ReadError>) {
        let mut data = Vec::new();
        loop {
            match self.streams.read(id) {
                Ok(Read::Chunk(chunk)) => {
                    self.streams.release_credit(id, chunk.len() as u64);
                    data.extend(chunk);
                }
                end => return (data, end),
            }
        }
    }

    fn write(&mut self, id: StreamId, offset: u64, len: usize) {
        assert_eq!(self.streams.write(id, content(id, offset, len)), Ok(len));
    }
}

/// A client and a server with nothing but memory between them.
struct Pair {
    client: End,
    server: End,
}

impl Pair {
    fn new() -> Self {
        Self::with(&config(), &config())
    }

    fn with(client: &StreamConfig, server: &StreamConfig) -> Self {
        Self {
            client: End::new(Side::Client, client, server),
            server: End::new(Side::Server, server, client),
        }
    }

    /// Exchanges packets without loss until nobody has anything to say.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            let mut quiet = true;
            for _ in 0..2 {
                let Self { client: from, server: to } = self;
                if let Some(packet) = from.packet() {
                    to.receive(&packet).unwrap();
                    from.acked(&packet);
                    quiet = false;
                }
                std::mem::swap(from, to);
            }
            if quiet {
                return;
            }
        }
        panic!("the ends never fall silent");
    }

    fn assert_all_returned(&self) {
        for (end, other) in [(&self.client, &self.server), (&self.server, &self.client)] {
            let (audit, other) = (end.streams.audit(), other.streams.audit());
            assert_eq!(other.data_sent, audit.data_received);
            let expected = StreamAudit {
                data_sent: audit.data_sent,
                data_received: audit.data_received,
                data_returned: audit.data_received,
                ..StreamAudit::default()
            };
            assert_eq!(audit, expected);
        }
    }
}

fn stream_frame(id: StreamId, offset: u64, data: &[u8], fin: bool) -> frame::Stream<'_> {
    frame::Stream { stream_id: id, offset, fin, data }
}

fn receive(end: &mut End, frame: frame::Stream<'_>) -> Result<(), TransportError> {
    end.streams.on_stream(&frame, Arrival::Copy(frame.data))
}
