//! Entry points for fuzzing: each takes any bytes and checks what must hold for all of them.

use bytes::Bytes;
use http::Method;
use quic_core::wire::Dir;

use crate::proto::connection::Connection;
use crate::proto::error::Fault;
use crate::proto::frame::{FrameDecoder, FrameEvent};
use crate::proto::id::{Side, StreamId};
use crate::proto::receive::{Event, MessageReceiver, RequestReceiver, ResponseReceiver, Rules};
use crate::qpack::decoder::{SectionLimits, decode};
use crate::qpack::encoder::SectionEncoder;
use crate::qpack::instructions::{DecoderStream, EncoderStream};
use crate::qpack::{FieldLine, huffman};

const LIMITS: SectionLimits = SectionLimits { max_size: 2048, max_fields: 16 };

/// A field section: what decodes is within the limits, and survives being encoded again.
pub fn qpack(data: &[u8]) {
    let _ = EncoderStream::default().read(data);
    let _ = DecoderStream::default().read(data);
    if let Ok(plain) = huffman::decode(data) {
        let mut coded = Vec::new();
        huffman::encode(&plain, &mut coded);
        assert_eq!(coded, data, "a string has one Huffman code");
    }
    let Ok(lines) = decode(Bytes::copy_from_slice(data), &LIMITS) else { return };
    assert!(lines.len() <= LIMITS.max_fields);
    assert!(lines.iter().map(FieldLine::size).sum::<u64>() <= LIMITS.max_size);
    let mut encoder = SectionEncoder::new();
    for line in &lines {
        encoder.field(&line.name, &line.value, line.sensitivity);
    }
    assert_eq!(decode(Bytes::from(encoder.finish()), &LIMITS), Ok(lines));
}

/// A stream of frames: whole or in small chunks, the result is the same.
pub fn frames(data: &[u8]) {
    let whole = frame_events(data, data.len());
    for step in [1, 2, 5] {
        assert_eq!(frame_events(data, step), whole);
    }
}

fn frame_events(data: &[u8], step: usize) -> (Vec<FrameEvent>, Option<Fault>) {
    let mut decoder = FrameDecoder::new(LIMITS.max_size);
    let mut events = Vec::new();
    for chunk in data.chunks(step.max(1)) {
        let mut chunk = Bytes::copy_from_slice(chunk);
        loop {
            match decoder.next(&mut chunk) {
                // How content is cut follows the chunks: only its bytes count.
                Ok(Some(FrameEvent::Data(piece))) => {
                    let single = |byte: &u8| FrameEvent::Data(Bytes::copy_from_slice(&[*byte]));
                    events.extend(piece.iter().map(single));
                }
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(fault) => return (events, Some(fault.into())),
            }
        }
    }
    (events, decoder.finish().err().map(Fault::from))
}

/// A request stream, read as a server and as a client.
pub fn request_stream(data: &[u8]) {
    message(|| RequestReceiver::new(LIMITS), data);
    message(|| ResponseReceiver::new(Method::GET, LIMITS), data);
    message(|| ResponseReceiver::new(Method::CONNECT, LIMITS), data);
}

fn message<R: Rules>(new: impl Fn() -> MessageReceiver<R>, data: &[u8]) {
    let whole = message_end(new(), data, data.len());
    for step in [1, 3] {
        assert_eq!(message_end(new(), data, step), whole);
    }
}

/// How a message ends: with its number of content bytes, or with a fault.
fn message_end<R: Rules>(
    mut stream: MessageReceiver<R>,
    data: &[u8],
    step: usize,
) -> Result<Option<usize>, Fault> {
    let mut content = 0;
    for chunk in data.chunks(step.max(1)) {
        stream.feed(Bytes::copy_from_slice(chunk));
        while let Some(event) = stream.next()? {
            if let Event::Data(piece) = event {
                content += piece.len();
            }
        }
    }
    stream.finish();
    match stream.next()? {
        Some(Event::End) => Ok(Some(content)),
        _ => Ok(None),
    }
}

/// A unidirectional stream: whole or in small chunks, both ends come to the same result.
pub fn control_stream(data: &[u8]) {
    for side in [Side::Client, Side::Server] {
        let whole = uni_stream(side, data, data.len());
        for step in [1, 3] {
            assert_eq!(uni_stream(side, data, step), whole);
        }
    }
}

fn uni_stream(
    side: Side,
    data: &[u8],
    step: usize,
) -> Result<Vec<crate::proto::connection::Outcome>, Fault> {
    let id = StreamId::new(!side, Dir::Uni, 0);
    let mut connection = Connection::new(side, LIMITS);
    connection.uni_stream_opened(id)?;
    let mut outcomes = Vec::new();
    for chunk in data.chunks(step.max(1)) {
        outcomes.extend(connection.uni_stream_data(id, Bytes::copy_from_slice(chunk))?);
    }
    connection.uni_stream_closed(id)?;
    Ok(outcomes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_break_an_entry_point(data in proptest::collection::vec(any::<u8>(), 0..80)) {
            super::qpack(&data);
            super::frames(&data);
            super::request_stream(&data);
            super::control_stream(&data);
        }

        #[test]
        fn small_bytes_reach_deeper(data in proptest::collection::vec(0_u8..16, 0..80)) {
            super::frames(&data);
            super::request_stream(&data);
            super::control_stream(&[&[0, 4, 0], &data[..]].concat());
        }
    }
}
