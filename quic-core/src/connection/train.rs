//! Trains of datagrams in: 1-RTT packets are opened together, then processed.
//!
//! Packets are opened in place, and their data is lent to readers where it lies. But memory of which
//! something is lent must not be written. So a train is gone through twice: first every packet is
//! opened that can be, while the memory is nobody else's, then frames are processed. What one packet
//! says cannot change how the next 1-RTT packet is opened: whatever follows from an opened packet
//! for its keys and numbers is known at once.
//!
//! All other packets depend on what the one before them did: they are opened and processed one by
//! one, see `recv`, and nothing of them is lent. If something of their memory was lent before, they
//! are copied first.

use std::time::Instant;

use super::Connection;
use super::recv::{OpenPacket, trailing_token};
use crate::buffer::Train;
use crate::crypto::{OpenError, Opened};
use crate::path::DatagramMeta;
use crate::wire::header::{FirstByte, Header, PartialHeader};
use crate::wire::{PacketType, ResetToken, SpaceId};

/// Datagrams that are opened together: as many as the kernel puts into one train.
const MAX_RUN: usize = 64;

/// Datagrams with one 1-RTT packet each that were opened, in their order.
pub(super) type Run = Vec<Passenger>;

/// What became of a datagram with a 1-RTT packet that was to be opened.
pub(super) struct Passenger {
    len: usize,
    outcome: Result<(PartialHeader, Opened), Unopened>,
}

struct Unopened {
    why: OpenError,
    /// The last bytes of the datagram, which it may be a stateless reset by.
    token: Option<ResetToken>,
}

impl Connection {
    /// Processes UDP datagrams that belong to this connection and arrived together.
    ///
    /// They are decrypted in place; streams may keep leases of their memory, if it can be lent.
    /// Whatever cannot be understood is dropped and visible as an event; a protocol violation ends
    /// the connection, see [`Connection::poll_event`].
    pub fn recv(&mut self, now: Instant, meta: &DatagramMeta, mut train: Train<'_>) {
        let stride = train.stride();
        while !train.is_empty() {
            let Some(bytes) = train.bytes_mut() else {
                // Others read this memory by now.
                let mut copy = train.bytes().to_vec();
                return self.recv(now, meta, Train::unlent(&mut copy, stride));
            };
            let mut run = std::mem::take(&mut self.run);
            run.clear();
            self.open_run(now, meta, bytes, stride, &mut run);
            match run.len() {
                0 => {
                    let (datagram, _) = bytes.split_at_mut(stride.min(bytes.len()));
                    self.recv_datagram(now, meta, datagram);
                    train.split_front(1);
                }
                count => self.process_run(now, meta, &train.split_front(count), &run),
            }
            self.run = run;
        }
    }

    /// Opens the 1-RTT packets at the front of `datagrams`.
    fn open_run(
        &mut self,
        now: Instant,
        meta: &DatagramMeta,
        datagrams: &mut [u8],
        stride: usize,
        run: &mut Run,
    ) {
        if !self.state.is_open() || !self.path.carries(meta) || !self.keys.can_open(SpaceId::Data) {
            return;
        }
        let received = self.space(SpaceId::Data).map(|space| &space.received);
        let mut largest = received.and_then(|received| received.largest());
        for datagram in datagrams.chunks_mut(stride).take(MAX_RUN) {
            if datagram.first().is_none_or(|first| FirstByte(*first).is_long()) {
                return;
            }
            // Opening spoils it.
            let token = trailing_token(datagram);
            let header = match self.decode_header(datagram) {
                Ok(Header::Protected(header)) if header.kind == PacketType::OneRtt => Ok(header),
                Ok(_) => return,
                Err(discard) => Err(OpenError::Discard(discard)),
            };
            let opened = header.and_then(|header| {
                let opened = self.keys.open(now, &header, datagram, largest)?;
                Ok((header, opened))
            });
            if let Ok((_, opened)) = &opened {
                largest = largest.max(Some(opened.packet_number));
            }
            let is_end = matches!(opened, Err(OpenError::Transport(_)));
            let outcome = opened.map_err(|why| Unopened { why, token });
            run.push(Passenger { len: datagram.len(), outcome });
            if is_end {
                return;
            }
        }
    }

    /// Processes what [`open_run`](Self::open_run) has opened, as if one came after the other.
    fn process_run(&mut self, now: Instant, meta: &DatagramMeta, datagrams: &Train<'_>, run: &Run) {
        let mut lender = datagrams.lender();
        for (datagram, passenger) in datagrams.datagrams().zip(run) {
            let len = datagram.len();
            debug_assert_eq!(len, passenger.len);
            if !self.begin_datagram(now, meta, len) {
                continue;
            }
            let processed = match &passenger.outcome {
                Ok((header, opened)) => {
                    let packet =
                        OpenPacket { meta, header, packet: datagram, opened, datagram_size: len };
                    // As with any packet that can be opened, its datagram is no stateless reset.
                    self.on_packet_opened(now, packet, &mut lender).map_err(|why| (why, None))
                }
                Err(Unopened { why: OpenError::Discard(why), token }) => Err((*why, *token)),
                Err(Unopened { why: OpenError::Transport(error), .. }) => {
                    self.close_with_error(now, *error);
                    Ok(())
                }
            };
            if let Err((discard, token)) = processed {
                self.drop_unopened(now, discard, len, token);
            }
            self.tell_stream_states(now);
        }
    }
}
