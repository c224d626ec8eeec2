//! Readers of the two QPACK instruction streams (RFC 9204 sections 4.3 and 4.4), for an endpoint
//! whose dynamic tables have no room: what a peer may still say is read and counted, everything
//! else breaks a rule.
//!
//! Neither reader buffers: an instruction that is allowed here is one integer.

use super::prefix_int::{self, Partial, Step};
use crate::proto::error::{ConnectionFault, Violation};

/// An instruction stream between two chunks.
#[derive(Debug, Clone, Copy, Default)]
enum State {
    #[default]
    Idle,
    /// Inside the integer of the only instruction that is allowed.
    Integer(Partial),
}

/// Reads the peer's encoder stream, which would fill our dynamic table.
#[derive(Debug, Clone, Copy, Default)]
pub struct EncoderStream(State);

impl EncoderStream {
    /// Reads instructions, and returns how many ended in `bytes`.
    pub fn read(&mut self, bytes: &[u8]) -> Result<u32, ConnectionFault> {
        let mut count = 0;
        for byte in bytes {
            let step = match self.0 {
                State::Idle => Self::start(*byte)?,
                State::Integer(partial) => {
                    partial.push(*byte).map_err(|_| Violation::EncoderInteger)?
                }
            };
            self.0 = match step {
                Step::More(partial) => State::Integer(partial),
                Step::Done(capacity) => {
                    check_capacity(capacity)?;
                    count += 1;
                    State::Idle
                }
            };
        }
        Ok(count)
    }

    /// Inserts (`1…`, `01…`) and duplicates (`000…`) need room that the table does not have.
    // req 9204-3.2.2-017, 9204-3.1-014
    fn start(first: u8) -> Result<Step, ConnectionFault> {
        match first {
            0x20..=0x3f => Ok(prefix_int::start(first, 5)),
            0x00..=0x1f | 0x40..=0xff => Err(Violation::InsertWithoutRoom.into()),
        }
    }
}

/// We never allow a capacity above zero.
// req 9204-4.3.1-031
fn check_capacity(capacity: u64) -> Result<(), ConnectionFault> {
    if capacity > 0 { Err(Violation::CapacityOverLimit.into()) } else { Ok(()) }
}

/// Reads the peer's decoder stream, which talks about our use of its dynamic table: there is none.
#[derive(Debug, Clone, Copy, Default)]
pub struct DecoderStream(State);

impl DecoderStream {
    /// Reads instructions, and returns how many ended in `bytes`. Stream Cancellation concerns
    /// nothing we keep and has no further effect.
    pub fn read(&mut self, bytes: &[u8]) -> Result<u32, ConnectionFault> {
        let mut count = 0;
        for byte in bytes {
            let step = match self.0 {
                State::Idle => Self::start(*byte)?,
                State::Integer(partial) => {
                    partial.push(*byte).map_err(|_| Violation::DecoderInteger)?
                }
            };
            self.0 = match step {
                Step::More(partial) => State::Integer(partial),
                Step::Done(_stream_id) => {
                    count += 1;
                    State::Idle
                }
            };
        }
        Ok(count)
    }

    // req 9204-4.4.1-033, 9204-4.4.3-034
    fn start(first: u8) -> Result<Step, ConnectionFault> {
        match first {
            0x80..=0xff => Err(Violation::NothingToAcknowledge.into()),
            0x40..=0x7f => Ok(prefix_int::start(first, 6)),
            0x00..=0x3f => Err(Violation::IncrementBeyondInserts.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::error::Code;

    fn encoder_fault(bytes: &[u8]) -> Violation {
        let fault = EncoderStream::default().read(bytes).unwrap_err();
        assert_eq!(fault.code, Code::QPACK_ENCODER_STREAM_ERROR);
        fault.reason
    }

    fn decoder_fault(bytes: &[u8]) -> Violation {
        let fault = DecoderStream::default().read(bytes).unwrap_err();
        assert_eq!(fault.code, Code::QPACK_DECODER_STREAM_ERROR);
        fault.reason
    }

    // req-test 9204-4.3.1-031
    #[test]
    fn only_capacity_zero_is_accepted() {
        assert_eq!(EncoderStream::default().read(&[0x20, 0x20]), Ok(2));
        assert_eq!(encoder_fault(&[0x21]), Violation::CapacityOverLimit);
        assert_eq!(encoder_fault(&[0x3f, 0xbd, 0x01]), Violation::CapacityOverLimit);
    }

    // req-test 9204-3.2.2-017, 9204-3.1-014
    #[test]
    fn insertions_of_every_kind_are_refused() {
        for first in [0x00, 0x1f, 0x40, 0x7f, 0x80, 0xc0, 0xff] {
            assert_eq!(encoder_fault(&[first]), Violation::InsertWithoutRoom, "{first:#x}");
        }
    }

    // req-test 9204-4.4.1-033
    #[test]
    fn a_section_acknowledgement_is_refused() {
        assert_eq!(decoder_fault(&[0x84]), Violation::NothingToAcknowledge);
    }

    // req-test 9204-4.4.3-034
    #[test]
    fn an_insert_count_increment_is_refused_zero_or_not() {
        assert_eq!(decoder_fault(&[0x00]), Violation::IncrementBeyondInserts);
        assert_eq!(decoder_fault(&[0x01]), Violation::IncrementBeyondInserts);
    }

    #[test]
    fn stream_cancellation_is_accepted_in_any_chunks() {
        let wire = [0x48, 0x7f, 0x80, 0x01, 0x40];
        assert_eq!(DecoderStream::default().read(&wire), Ok(3));
        let mut stream = DecoderStream::default();
        let count: u32 = wire.iter().map(|byte| stream.read(&[*byte]).unwrap()).sum();
        assert_eq!(count, 3);
    }

    // req-test 9204-7.4-044
    #[test]
    fn integers_past_62_bits_are_refused_with_the_code_of_their_stream() {
        let mut wire = [0xff_u8; 12];
        wire[0] = 0x3f;
        assert_eq!(encoder_fault(&wire), Violation::EncoderInteger);
        wire[0] = 0x7f;
        assert_eq!(decoder_fault(&wire), Violation::DecoderInteger);
    }
}
