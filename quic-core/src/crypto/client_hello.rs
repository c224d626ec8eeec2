//! What a server wants to know of a ClientHello and TLS does not tell, or not in time.

use crate::wire::Reader;

/// Bytes of a ClientHello that are looked at. Longer ones are as good to TLS; the version stays what
/// it is, and the description of a failure suffers.
const MAX_KEPT: usize = 4096;

const CLIENT_HELLO: u8 = 1;
/// Message type, message length, legacy version, random.
const BEFORE_SESSION_ID: usize = 1 + 3 + 2 + 32;
const ALPN_EXTENSION: u16 = 16;
const PRE_SHARED_KEY_EXTENSION: u16 = 41;
const QUIC_PARAMETERS_EXTENSION: u16 = 57;

/// The first bytes that a client sent.
#[derive(Default)]
pub(crate) struct ClientHello(Vec<u8>);

impl ClientHello {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
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
        let mut body = self.extension(ALPN_EXTENSION)?;
        let mut list = vector16(&mut body)?;
        let mut names = Vec::new();
        while !list.is_empty() {
            names.push(vector8(&mut list)?.peek_rest().to_vec());
        }
        Some(names)
    }

    /// True if more bytes are needed, and are worth waiting for, before what it says can be found.
    pub(crate) fn is_incomplete(&self) -> bool {
        let mut reader = Reader::new(&self.0);
        let (Ok(ty), Ok(len)) = (reader.u8(), reader.bytes(3)) else { return self.0.len() < 4 };
        let len = len.iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
        ty == CLIENT_HELLO && 4 + len <= MAX_KEPT && self.0.len() < 4 + len
    }

    /// The transport parameters of the client, if they can be found.
    pub(crate) fn transport_parameters(&self) -> Option<&[u8]> {
        Some(self.extension(QUIC_PARAMETERS_EXTENSION)?.peek_rest())
    }

    /// True if the client wants to resume a session.
    pub(crate) fn resumes(&self) -> bool {
        self.extension(PRE_SHARED_KEY_EXTENSION).is_some()
    }

    /// The body of the first extension of type `wanted`.
    fn extension(&self, wanted: u16) -> Option<Reader<'_>> {
        let mut extensions = self.extensions()?;
        loop {
            let ty = extensions.u16().ok()?;
            let body = vector16(&mut extensions)?;
            if ty == wanted {
                return Some(body);
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
