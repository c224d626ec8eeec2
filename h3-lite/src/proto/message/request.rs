//! Requests: `:method`, `:scheme`, `:authority` and `:path` (RFC 9114 sections 4.3.1 and 4.4).

use bytes::Bytes;
use http::uri::{Authority, Parts, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, Uri, Version, header, request};

use super::EncodeError;
use super::fields::{self, Place, Sorted, Writer};
use crate::proto::error::{StreamFault, Violation};
use crate::qpack::FieldLine;

/// Reads a request header section. An authority that came only as a Host field stands in the URI
/// all the same.
pub fn decode_request(lines: Vec<FieldLine>) -> Result<Request<()>, StreamFault> {
    let Sorted { pseudo, headers } = fields::sort(lines, Place::Request)?;
    let pseudo = Pseudo::collect(pseudo)?;
    let method = pseudo.method.as_ref().ok_or(Violation::MissingPseudo)?;
    let method = Method::from_bytes(method).map_err(|_| Violation::Method)?;
    let uri = match method {
        Method::CONNECT => connect_target(&pseudo, &headers)?,
        _ => target(&method, &pseudo, &headers)?,
    };
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_3;
    *request.headers_mut() = headers;
    Ok(request)
}

#[derive(Default)]
struct Pseudo {
    method: Option<Bytes>,
    scheme: Option<Bytes>,
    authority: Option<Bytes>,
    path: Option<Bytes>,
}

impl Pseudo {
    // req 9114-4.3-063, 9114-4.3-065, 9114-4.3.1-073
    fn collect(fields: Vec<(Bytes, Bytes)>) -> Result<Self, StreamFault> {
        let mut pseudo = Self::default();
        for (name, value) in fields {
            let slot = match name.as_ref() {
                b":method" => &mut pseudo.method,
                b":scheme" => &mut pseudo.scheme,
                b":authority" => &mut pseudo.authority,
                b":path" => &mut pseudo.path,
                _ => return Err(Violation::UnknownPseudo.into()),
            };
            if slot.replace(value).is_some() {
                return Err(Violation::DuplicatePseudo.into());
            }
        }
        Ok(pseudo)
    }
}

/// The target of CONNECT: host and port, nothing else.
// req 9114-4.4-079
fn connect_target(pseudo: &Pseudo, headers: &HeaderMap) -> Result<Uri, StreamFault> {
    if pseudo.scheme.is_some() || pseudo.path.is_some() {
        return Err(Violation::ConnectTarget.into());
    }
    let authority = pseudo.authority.clone().ok_or(Violation::ConnectTarget)?;
    agree_on_authority(Some(&authority), host(headers)?.as_ref())?;
    let authority = parse_authority(authority).map_err(|_| Violation::ConnectTarget)?;
    if authority.port_u16().is_none() {
        return Err(Violation::ConnectTarget.into());
    }
    Ok(Uri::from(authority))
}

/// The target of every other method.
// req 9114-4.3.1-072, 9114-4.3.1-073, 9114-4.3.1-074
fn target(method: &Method, pseudo: &Pseudo, headers: &HeaderMap) -> Result<Uri, StreamFault> {
    let scheme = pseudo.scheme.as_ref().ok_or(Violation::MissingPseudo)?;
    let scheme = parse_scheme(scheme)?;
    let path = pseudo.path.clone().ok_or(Violation::MissingPseudo)?;
    let host = host(headers)?;
    agree_on_authority(pseudo.authority.as_ref(), host.as_ref())?;
    // `http::Uri` cannot hold a scheme without an authority, so other schemes need one as well.
    let authority = pseudo.authority.clone().or(host).ok_or(Violation::Authority)?;

    let mut parts = Parts::default();
    parts.scheme = Some(scheme);
    parts.authority = Some(parse_authority(authority)?);
    parts.path_and_query = Some(parse_path(method, path)?);
    Uri::from_parts(parts).map_err(|_| Violation::Path.into())
}

/// `http` takes an empty scheme and one that begins with a digit; RFC 3986 section 3.1 does not.
fn parse_scheme(scheme: &[u8]) -> Result<Scheme, StreamFault> {
    if !scheme.first().is_some_and(u8::is_ascii_alphabetic) {
        return Err(Violation::Scheme.into());
    }
    Scheme::try_from(scheme).map_err(|_| Violation::Scheme.into())
}

/// The Host field, of which there may be one.
fn host(headers: &HeaderMap) -> Result<Option<Bytes>, StreamFault> {
    let mut values = headers.get_all(header::HOST).iter();
    let first = values.next().map(|value| Bytes::copy_from_slice(value.as_bytes()));
    if values.next().is_some() { Err(Violation::HostMismatch.into()) } else { Ok(first) }
}

// req 9114-4.3.1-075, 9114-4.3.1-076
fn agree_on_authority(authority: Option<&Bytes>, host: Option<&Bytes>) -> Result<(), StreamFault> {
    if authority.is_some_and(Bytes::is_empty) || host.is_some_and(Bytes::is_empty) {
        return Err(Violation::Authority.into());
    }
    match (authority, host) {
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => {
            Err(Violation::HostMismatch.into())
        }
        _ => Ok(()),
    }
}

// req 9114-4.3.1-068
fn parse_authority(authority: Bytes) -> Result<Authority, StreamFault> {
    if authority.contains(&b'@') {
        return Err(Violation::Authority.into());
    }
    Authority::from_maybe_shared(authority).map_err(|_| Violation::Authority.into())
}

fn parse_path(method: &Method, path: Bytes) -> Result<PathAndQuery, StreamFault> {
    let is_asterisk = *method == Method::OPTIONS && path.as_ref() == b"*";
    // `http` would cut a fragment off in silence.
    let is_absolute = path.first() == Some(&b'/') && !path.contains(&b'#');
    if !is_asterisk && !is_absolute {
        return Err(Violation::Path.into());
    }
    PathAndQuery::from_maybe_shared(path).map_err(|_| Violation::Path.into())
}

/// Encodes the header section of a request for a peer that takes `limit` bytes.
///
/// The authority comes from the URI, or else from the Host field, and is sent as `:authority`; the
/// scheme is `https` if the URI has none. Fields that belong to an HTTP/1.1 connection are left
/// out.
// req 9114-4.3-062, 9114-4.3-066, 9114-4.3.1-068, 9114-4.3.1-070, 9114-4.3.1-072, 9114-4.3.1-073
// req 9114-4.3.1-074, 9114-4.3.1-075, 9114-4.3.1-076
pub fn encode_request(head: &request::Parts, limit: Option<u64>) -> Result<Vec<u8>, EncodeError> {
    let authority = authority_of(head)?;
    let mut writer = Writer::new();
    writer.pseudo(":method", head.method.as_str());
    if head.method == Method::CONNECT {
        if !has_port(authority) {
            return Err(EncodeError::ConnectTarget);
        }
        writer.pseudo(":authority", authority);
    } else {
        writer.pseudo(":scheme", head.uri.scheme_str().unwrap_or("https"));
        writer.pseudo(":authority", authority);
        writer.pseudo(":path", &path_of(&head.uri));
    }
    if head.headers.contains_key(header::HOST) {
        let mut headers = head.headers.clone();
        headers.remove(header::HOST);
        writer.headers(&headers, Place::Request);
    } else {
        writer.headers(&head.headers, Place::Request);
    }
    writer.finish(limit)
}

fn authority_of(head: &request::Parts) -> Result<&str, EncodeError> {
    let host = || head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = head.uri.authority().map(Authority::as_str).or_else(host);
    let authority = authority.ok_or(EncodeError::NoAuthority)?;
    if authority.is_empty() || authority.contains('@') {
        return Err(EncodeError::Authority);
    }
    Ok(authority)
}

// req 9114-4.4-079
fn has_port(authority: &str) -> bool {
    authority.parse::<Authority>().is_ok_and(|authority| authority.port_u16().is_some())
}

fn path_of(uri: &Uri) -> String {
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    if path.starts_with('/') || path == "*" { path.to_owned() } else { format!("/{path}") }
}
