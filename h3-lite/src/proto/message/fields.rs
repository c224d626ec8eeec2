//! Regular fields: what may stand in a section, apart from pseudo-header fields.

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::EncodeError;
use crate::proto::error::{StreamFault, Violation};
use crate::qpack::encoder::SectionEncoder;
use crate::qpack::{self, FieldLine, Sensitivity};

/// Which section a field stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Request,
    Response,
    Trailers,
}

/// A section taken apart: pseudo-header fields as they came, and the rest.
pub(super) struct Sorted {
    pub(super) pseudo: Vec<(Bytes, Bytes)>,
    pub(super) headers: HeaderMap,
}

/// Takes a section apart and checks every regular field.
// req 9114-4.3-066, 9114-4.3-067
pub(super) fn sort(lines: Vec<FieldLine>, place: Place) -> Result<Sorted, StreamFault> {
    let mut sorted = Sorted { pseudo: Vec::new(), headers: HeaderMap::new() };
    let mut cookies = Cookies::default();
    let mut pseudo_may_follow = true;
    for line in lines {
        if line.name.first() == Some(&b':') {
            if !pseudo_may_follow {
                return Err(Violation::PseudoAfterField.into());
            }
            sorted.pseudo.push((line.name, line.value));
            continue;
        }
        pseudo_may_follow = false;
        let name = name(&line.name)?;
        let value = value(line)?;
        check(&name, &value, place)?;
        if name == header::COOKIE {
            cookies.push(value);
            continue;
        }
        sorted.headers.try_append(name, value).map_err(|_| Violation::TooManyFields)?;
    }
    if let Some(cookie) = cookies.joined()? {
        sorted.headers.try_insert(header::COOKIE, cookie).map_err(|_| Violation::TooManyFields)?;
    }
    Ok(sorted)
}

// req 9114-4.2-054, 9114-10.3-213
fn name(name: &Bytes) -> Result<HeaderName, StreamFault> {
    HeaderName::from_lowercase(name).map_err(|_| Violation::FieldName.into())
}

/// The N bit becomes the sensitivity of the value, which sets the N bit again where it is sent on.
// req 9114-10.3-214, 9204-7.1.3-040, 9204-7.1.3-041
fn value(line: FieldLine) -> Result<HeaderValue, StreamFault> {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    if is_space(line.value.first()) || is_space(line.value.last()) {
        return Err(Violation::FieldValue.into());
    }
    let mut value =
        HeaderValue::from_maybe_shared(line.value).map_err(|_| Violation::FieldValue)?;
    value.set_sensitive(line.sensitivity == Sensitivity::NeverIndexed);
    Ok(value)
}

// req 9114-4.1-026, 9114-4.2-055, 9114-4.2-056
fn check(name: &HeaderName, value: &HeaderValue, place: Place) -> Result<(), StreamFault> {
    if is_connection_specific(name) {
        return Err(Violation::ConnectionSpecificField.into());
    }
    if *name == header::TE && !te_is_allowed(value, place) {
        return Err(Violation::TeNotTrailers.into());
    }
    Ok(())
}

fn te_is_allowed(value: &HeaderValue, place: Place) -> bool {
    place == Place::Request && value.as_bytes().eq_ignore_ascii_case(b"trailers")
}

/// Fields that speak about one HTTP/1.1 connection and mean nothing here.
fn is_connection_specific(name: &HeaderName) -> bool {
    const OTHERS: [&str; 2] = ["keep-alive", "proxy-connection"];
    [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE].contains(name)
        || OTHERS.contains(&name.as_str())
}

/// Cookie fields, which a peer may have split for better compression.
#[derive(Default)]
struct Cookies {
    crumbs: Vec<HeaderValue>,
}

impl Cookies {
    fn push(&mut self, crumb: HeaderValue) {
        self.crumbs.push(crumb);
    }

    /// All crumbs as the one field that the rest of the world expects.
    // req 9114-4.2.1-059
    fn joined(mut self) -> Result<Option<HeaderValue>, StreamFault> {
        if self.crumbs.len() <= 1 {
            return Ok(self.crumbs.pop());
        }
        let mut whole = BytesMut::new();
        for crumb in &self.crumbs {
            if !whole.is_empty() {
                whole.extend_from_slice(b"; ");
            }
            whole.extend_from_slice(crumb.as_bytes());
        }
        let mut cookie =
            HeaderValue::from_maybe_shared(whole.freeze()).map_err(|_| Violation::FieldValue)?;
        cookie.set_sensitive(self.crumbs.iter().any(HeaderValue::is_sensitive));
        Ok(Some(cookie))
    }
}

/// Writes a field section and measures it as the peer will.
pub(super) struct Writer {
    section: SectionEncoder,
    size: u64,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self { section: SectionEncoder::new(), size: 0 }
    }

    pub(super) fn pseudo(&mut self, name: &str, value: &str) {
        self.field(name, value.as_bytes(), Sensitivity::Public);
    }

    /// All regular fields but those that HTTP/3 has no place for: they belong to the HTTP/1.1
    /// connection they came from, and are left out.
    // req 9114-4.2-053, 9114-4.2-055, 9114-4.2-056, 9114-4.2-057, 9114-4.1-026
    pub(super) fn headers(&mut self, headers: &HeaderMap, place: Place) {
        for (name, value) in headers {
            if check(name, value, place).is_ok() {
                self.field(name.as_str(), trim(value.as_bytes()), sensitivity(name, value));
            }
        }
    }

    // req 9114-4.2.2-061
    pub(super) fn finish(self, limit: Option<u64>) -> Result<Vec<u8>, EncodeError> {
        match limit {
            Some(limit) if self.size > limit => Err(EncodeError::TooLargeForPeer),
            _ => Ok(self.section.finish()),
        }
    }

    fn field(&mut self, name: &str, value: &[u8], sensitivity: Sensitivity) {
        self.size += qpack::size(name.as_bytes(), value);
        self.section.field(name.as_bytes(), value, sensitivity);
    }
}

/// White space around a value is not part of it, and a receiver would refuse it.
fn trim(value: &[u8]) -> &[u8] {
    value.trim_ascii()
}

/// Credentials stay out of every compression table, whether or not the program said so.
fn sensitivity(name: &HeaderName, value: &HeaderValue) -> Sensitivity {
    let is_credential = [header::AUTHORIZATION, header::PROXY_AUTHORIZATION].contains(name);
    if value.is_sensitive() || is_credential {
        Sensitivity::NeverIndexed
    } else {
        Sensitivity::Public
    }
}
