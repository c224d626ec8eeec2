//! Handshake messages, as far as the checks ask for them (RFC 8446 section 4).

use std::collections::BTreeMap;

use quic_core::wire::{Reader, UnexpectedEnd};

use super::key_log::ClientRandom;

/// More handshake data than this is not kept.
const MAX_HANDSHAKE: u64 = 1 << 20;
/// The extension that carries the transport parameters of QUIC (RFC 9001 section 8.2).
const TRANSPORT_PARAMETERS: u16 = 0x39;

/// The types of messages that are looked at.
pub(super) mod message_type {
    pub(crate) const CLIENT_HELLO: u8 = 1;
    pub(crate) const SERVER_HELLO: u8 = 2;
    pub(crate) const ENCRYPTED_EXTENSIONS: u8 = 8;
    pub(crate) const CERTIFICATE: u8 = 11;
    pub(crate) const FINISHED: u8 = 20;
}

/// The handshake data that one side sends in one packet number space, put in order.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    /// What came ahead of its place.
    pieces: BTreeMap<u64, Vec<u8>>,
    /// What is complete from the start on.
    data: Vec<u8>,
    /// How much of `data` has been given out as messages.
    parsed: usize,
}

impl Assembler {
    /// Takes the data of a CRYPTO frame.
    pub(super) fn add(&mut self, offset: u64, data: &[u8]) {
        let end = offset.saturating_add(data.len() as u64);
        if end > MAX_HANDSHAKE {
            return;
        }
        let piece = self.pieces.entry(offset).or_default();
        if piece.len() < data.len() {
            *piece = data.to_vec();
        }
        while let Some(first) = self.pieces.first_entry() {
            let Some(known) = (self.data.len() as u64).checked_sub(*first.key()) else { break };
            let piece = first.remove();
            self.data.extend(piece.iter().skip(known as usize));
        }
    }

    /// The next complete message: its type and its body.
    pub(super) fn next_message(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut reader = Reader::new(self.data.get(self.parsed..)?);
        let message = message(&mut reader).ok()?;
        self.parsed += reader.position();
        Some(message)
    }
}

fn message(reader: &mut Reader<'_>) -> Result<(u8, Vec<u8>), UnexpectedEnd> {
    let kind = reader.u8()?;
    let [high, middle, low] = reader.array()?;
    let len = u32::from_be_bytes([0, high, middle, low]);
    Ok((kind, reader.bytes(len as usize)?.to_vec()))
}

/// What a client offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientHello {
    /// Tells the connection in key logs.
    pub(crate) random: ClientRandom,
    /// The numbers of the cipher suites.
    pub(crate) cipher_suites: Vec<u16>,
}

impl ClientHello {
    pub(super) fn decode(body: &[u8]) -> Result<Self, UnexpectedEnd> {
        let mut reader = Reader::new(body);
        let _version = reader.u16()?;
        let random = reader.array()?;
        let _session = short_vector(&mut reader)?;
        let mut suites = Reader::new(vector(&mut reader)?);
        let mut cipher_suites = Vec::new();
        while !suites.is_empty() {
            cipher_suites.push(suites.u16()?);
        }
        Ok(Self { random, cipher_suites })
    }
}

/// The cipher suite that a ServerHello selects.
pub(super) fn selected_suite(server_hello: &[u8]) -> Result<u16, UnexpectedEnd> {
    let mut reader = Reader::new(server_hello);
    let _version = reader.u16()?;
    let _random = reader.bytes(32)?;
    let _session = short_vector(&mut reader)?;
    reader.u16()
}

/// The transport parameters in EncryptedExtensions, still encoded.
pub(super) fn transport_parameters(
    encrypted_extensions: &[u8],
) -> Result<Option<&[u8]>, UnexpectedEnd> {
    let mut extensions = Reader::new(vector(&mut Reader::new(encrypted_extensions))?);
    while !extensions.is_empty() {
        let kind = extensions.u16()?;
        let body = vector(&mut extensions)?;
        if kind == TRANSPORT_PARAMETERS {
            return Ok(Some(body));
        }
    }
    Ok(None)
}

fn short_vector<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], UnexpectedEnd> {
    let len = reader.u8()?;
    reader.bytes(len.into())
}

fn vector<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], UnexpectedEnd> {
    let len = reader.u16()?;
    reader.bytes(len.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_whole_whatever_order_their_pieces_come_in() {
        let messages = [&[11, 0, 0, 3, 1, 2, 3][..], &[20, 0, 0, 1, 9]].concat();
        let mut assembler = Assembler::default();
        assembler.add(8, &messages[8..]);
        assembler.add(5, &messages[5..9]);
        assert_eq!(assembler.next_message(), None);
        assembler.add(0, &messages[..4]);
        assert_eq!(assembler.next_message(), None);
        assembler.add(0, &messages[..6]);
        assert_eq!(assembler.next_message(), Some((11, vec![1, 2, 3])));
        assert_eq!(assembler.next_message(), Some((20, vec![9])));
        assembler.add(0, &messages);
        assert_eq!(assembler.next_message(), None);
    }
}
