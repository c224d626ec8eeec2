//! What a server wants to know of a ClientHello and TLS does not tell.

use crate::wire::Reader;

/// Bytes of a ClientHello that are looked at. Longer ones are as good to TLS, and only the
/// description of a failure suffers.
const MAX_KEPT: usize = 4096;

const CLIENT_HELLO: u8 = 1;
/// Message type, message length, legacy version, random.
const BEFORE_SESSION_ID: usize = 1 + 3 + 2 + 32;
const ALPN_EXTENSION: u16 = 16;

/// The first bytes that a client sent.
#[derive(Default)]
pub(super) struct ClientHello(Vec<u8>);

impl ClientHello {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let room = MAX_KEPT - self.0.len().min(MAX_KEPT);
        self.0.extend(bytes.iter().take(room));
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.0 = Vec::new();
    }

    /// True if the client asks for the compatibility mode of TLS 1.3, which QUIC has no use for.
    pub(super) fn asks_for_compatibility_mode(&self) -> bool {
        self.0.first() == Some(&CLIENT_HELLO)
            && self.0.get(BEFORE_SESSION_ID).is_some_and(|len| *len != 0)
    }

    /// The application protocols that the client offers, if they can be found.
    pub(super) fn alpn(&self) -> Option<Vec<Vec<u8>>> {
        let mut extensions = self.extensions()?;
        loop {
            let ty = extensions.u16().ok()?;
            let mut body = vector16(&mut extensions)?;
            if ty == ALPN_EXTENSION {
                let mut list = vector16(&mut body)?;
                let mut names = Vec::new();
                while !list.is_empty() {
                    names.push(vector8(&mut list)?.peek_rest().to_vec());
                }
                return Some(names);
            }
        }
    }

    fn extensions(&self) -> Option<Reader<'_>> {
        let mut reader = Reader::new(&self.0);
        reader.bytes(BEFORE_SESSION_ID).ok()?;
        vector8(&mut reader)?; // legacy session ID
        vector16(&mut reader)?; // cipher suites
        vector8(&mut reader)?; // compression methods
        vector16(&mut reader)
    }
}

/// A list whose length in bytes comes first, in one byte.
fn vector8<'a>(reader: &mut Reader<'a>) -> Option<Reader<'a>> {
    let len = reader.u8().ok()?;
    reader.bytes(len.into()).ok().map(Reader::new)
}

/// A list whose length in bytes comes first, in two bytes.
fn vector16<'a>(reader: &mut Reader<'a>) -> Option<Reader<'a>> {
    let len = reader.u16().ok()?;
    reader.bytes(len.into()).ok().map(Reader::new)
}
