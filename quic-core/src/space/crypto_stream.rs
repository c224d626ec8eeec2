//! The CRYPTO stream of one space: handshake bytes in order, both ways, without flow control.

use bytes::Bytes;

use crate::buffer::{Arrival, Assembler, SendBuffer};
use crate::error::{TransportError, Violation};
use crate::wire::cursor::Writer;
use crate::wire::frame::CryptoHeader;

/// Memory for handshake data that cannot be consumed yet, in each space. RFC 9000 section 7.5 asks
/// for 4096 bytes at least; a long certificate chain out of order needs more.
// req 9000-7.5-110
const MAX_MEMORY: usize = 64 * 1024;

/// Handshake bytes of one encryption level.
#[derive(Debug, Default)]
pub(crate) struct CryptoStream {
    incoming: Assembler,
    outgoing: SendBuffer,
}

impl CryptoStream {
    /// Takes in data of a CRYPTO frame, in whatever order it comes.
    ///
    /// # Errors
    ///
    /// CRYPTO_BUFFER_EXCEEDED if more would have to be kept than a handshake needs.
    // req 9000-7.5-112, 9000-19.6-441
    pub(crate) fn insert(&mut self, offset: u64, data: &[u8]) -> Result<(), TransportError> {
        let end = offset.saturating_add(data.len() as u64);
        if end.saturating_sub(self.incoming.read_offset()) > MAX_MEMORY as u64 {
            return Err(TransportError::new(Violation::CryptoBufferExceeded));
        }
        self.incoming.insert(offset, Arrival::Copy(data));
        if self.incoming.memory() > 2 * MAX_MEMORY {
            return Err(TransportError::new(Violation::CryptoBufferExceeded));
        }
        Ok(())
    }

    /// The next bytes in order.
    pub(crate) fn read(&mut self) -> Option<Bytes> {
        self.incoming.read()
    }

    /// Bytes handed to TLS so far.
    pub(crate) fn consumed(&self) -> u64 {
        self.incoming.read_offset()
    }

    /// True if data arrived that TLS was not given: it waits behind a gap.
    pub(crate) fn has_unread(&self) -> bool {
        self.incoming.buffered() > 0
    }

    /// Queues bytes that TLS wants sent.
    pub(crate) fn write(&mut self, data: Bytes) {
        self.outgoing.write(data);
    }

    /// True if bytes wait to be sent, for the first time or again.
    pub(crate) fn has_pending(&self) -> bool {
        self.outgoing.next(u64::MAX).is_some()
    }

    /// Writes one CRYPTO frame with as much as fits, and returns its offset and length.
    pub(crate) fn write_frame(&mut self, writer: &mut Writer<'_>) -> Option<(u64, u16)> {
        let range = self.outgoing.next(u64::MAX)?;
        let room = CryptoHeader::data_capacity(range.start, writer.remaining())?;
        let len = room.min((range.end - range.start) as usize).min(usize::from(u16::MAX));
        if len == 0 {
            return None;
        }
        let offset = range.start;
        CryptoHeader { offset, len }.encode(writer);
        self.outgoing.transmit(range, writer.take(len));
        Some((offset, len as u16))
    }

    pub(crate) fn on_acked(&mut self, offset: u64, len: u16) {
        self.outgoing.on_acked(offset..offset + u64::from(len));
    }

    pub(crate) fn on_lost(&mut self, offset: u64, len: u16) {
        self.outgoing.on_lost(offset..offset + u64::from(len));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // req-test 9000-7.5-110
    #[test]
    fn four_kilobytes_out_of_order_are_kept() {
        let mut stream = CryptoStream::default();
        for piece in (1..9u8).rev() {
            let data = vec![piece; 512];
            stream.insert(u64::from(piece) * 512, &data).expect("within what is buffered");
        }
        assert!(stream.read().is_none());
        assert!(stream.has_unread());
        stream.insert(0, &[0; 512]).expect("the missing piece");
        let mut read = Vec::new();
        while let Some(data) = stream.read() {
            read.extend_from_slice(&data);
        }
        let expected: Vec<u8> = (0..9u8).flat_map(|piece| [piece; 512]).collect();
        assert_eq!(read, expected);
        assert!(!stream.has_unread());
    }

    // req-test 9000-7.5-112, 9000-19.6-441
    #[test]
    fn endless_handshake_data_is_refused() {
        let mut stream = CryptoStream::default();
        let error = stream.insert(1 << 20, b"far away").unwrap_err();
        assert_eq!(error.reason, Violation::CryptoBufferExceeded);
        let mut stream = CryptoStream::default();
        let fragments = (0..).map(|n| 2 * n).map(|at| stream.insert(at, b"x"));
        let refused = fragments.take(40_000).find_map(Result::err).expect("tiny fragments count");
        assert_eq!(refused.reason, Violation::CryptoBufferExceeded);
    }

    #[test]
    fn lost_data_is_sent_again_with_the_same_bytes() {
        let mut stream = CryptoStream::default();
        stream.write(Bytes::from_static(b"client hello"));
        let mut buf = [0; 64];
        let mut writer = Writer::new(&mut buf);
        assert_eq!(stream.write_frame(&mut writer), Some((0, 12)));
        assert!(!stream.has_pending());
        stream.on_lost(0, 12);
        let mut again = [0; 64];
        let mut writer = Writer::new(&mut again);
        assert_eq!(stream.write_frame(&mut writer), Some((0, 12)));
        assert_eq!(buf, again);
        stream.on_acked(0, 12);
        stream.on_lost(0, 12);
        assert!(!stream.has_pending());
    }
}
