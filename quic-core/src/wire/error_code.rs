//! The numbers that tell why a connection or a stream ended (RFC 9000, section 20).

use std::fmt;

use super::varint::VarInt;

/// Why a connection is closed, in the numbers of the transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransportErrorCode(pub u64);

macro_rules! transport_error_codes {
    ($($value:literal $name:ident $doc:literal)*) => {
        impl TransportErrorCode {
            $(#[doc = $doc] pub const $name: Self = Self($value);)*

            fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

transport_error_codes! {
    0x00 NO_ERROR "The connection closes without an error."
    0x01 INTERNAL_ERROR "The sender cannot go on, through no fault of the receiver."
    0x02 CONNECTION_REFUSED "The server takes no new connection."
    0x03 FLOW_CONTROL_ERROR "More data came than was allowed."
    0x04 STREAM_LIMIT_ERROR "More streams were opened than were allowed."
    0x05 STREAM_STATE_ERROR "A frame does not fit the state or the direction of its stream."
    0x06 FINAL_SIZE_ERROR "The final size of a stream changed or was exceeded."
    0x07 FRAME_ENCODING_ERROR "A frame is malformed."
    0x08 TRANSPORT_PARAMETER_ERROR "The transport parameters are malformed or wrong."
    0x09 CONNECTION_ID_LIMIT_ERROR "More connection IDs came than were allowed."
    0x0a PROTOCOL_VIOLATION "A rule was broken that has no code of its own."
    0x0b INVALID_TOKEN "The token of a client Initial packet is not valid."
    0x0c APPLICATION_ERROR "The application closed the connection before 1-RTT keys."
    0x0d CRYPTO_BUFFER_EXCEEDED "More handshake data came than can be buffered."
    0x0e KEY_UPDATE_ERROR "A key update broke the rules."
    0x0f AEAD_LIMIT_REACHED "The keys have protected or failed to open too many packets."
    0x10 NO_VIABLE_PATH "No network path can carry the connection."
    0x11 VERSION_NEGOTIATION_ERROR "The negotiated version does not match what was sent."
}

impl TransportErrorCode {
    const CRYPTO_FIRST: u64 = 0x0100;
    const CRYPTO_LAST: u64 = 0x01ff;

    /// CRYPTO_ERROR: the TLS handshake failed with this alert.
    pub const fn crypto(alert: u8) -> Self {
        Self(Self::CRYPTO_FIRST | alert as u64)
    }

    /// The TLS alert that a CRYPTO_ERROR stands for.
    pub fn tls_alert(self) -> Option<u8> {
        match self.0 {
            Self::CRYPTO_FIRST..=Self::CRYPTO_LAST => {
                u8::try_from(self.0 - Self::CRYPTO_FIRST).ok()
            }
            _ => None,
        }
    }
}

impl From<TransportErrorCode> for u64 {
    fn from(code: TransportErrorCode) -> Self {
        code.0
    }
}

impl fmt::Display for TransportErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name(), self.tls_alert()) {
            (Some(name), _) => f.write_str(name),
            (None, Some(alert)) => match tls_alert_name(alert) {
                Some(name) => write!(f, "CRYPTO_ERROR (TLS alert {alert}, {name})"),
                None => write!(f, "CRYPTO_ERROR (TLS alert {alert})"),
            },
            (None, None) => write!(f, "unknown error {:#x}", self.0),
        }
    }
}

/// The name of a TLS alert (RFC 8446, section 6), `None` for numbers without one.
pub const fn tls_alert_name(alert: u8) -> Option<&'static str> {
    Some(match alert {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        22 => "record_overflow",
        40 => "handshake_failure",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        109 => "missing_extension",
        110 => "unsupported_extension",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        120 => "no_application_protocol",
        _ => return None,
    })
}

/// Why a stream or a connection ended, in the numbers of the application protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ApplicationErrorCode(pub VarInt);

impl ApplicationErrorCode {
    /// The number as a plain integer.
    pub const fn into_inner(self) -> u64 {
        self.0.into_inner()
    }
}

impl From<VarInt> for ApplicationErrorCode {
    fn from(code: VarInt) -> Self {
        Self(code)
    }
}

impl From<u32> for ApplicationErrorCode {
    fn from(code: u32) -> Self {
        Self(VarInt::from_u32(code))
    }
}

impl From<ApplicationErrorCode> for VarInt {
    fn from(code: ApplicationErrorCode) -> Self {
        code.0
    }
}

impl From<ApplicationErrorCode> for u64 {
    fn from(code: ApplicationErrorCode) -> Self {
        code.into_inner()
    }
}

impl fmt::Display for ApplicationErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::test_support::csv_rows;

    #[test]
    fn codes_and_names_match_the_registry() {
        let table = include_str!("../../../tests/vectors/error_codes.csv");
        let mut checked = 0;
        for row in csv_rows(table) {
            let [value, name, space] = [&row[0], &row[1], &row[2]];
            let Ok(value) = u64::from_str_radix(value.trim_start_matches("0x"), 16) else {
                continue;
            };
            let code = TransportErrorCode(value);
            match space.as_str() {
                "transport" => assert_eq!(code.to_string(), *name),
                "tls alert" => {
                    let alert = code.tls_alert().unwrap();
                    assert_eq!(code, TransportErrorCode::crypto(alert));
                    let alert_name = name.strip_prefix("CRYPTO_ERROR ").unwrap();
                    assert_eq!(tls_alert_name(alert), Some(alert_name));
                }
                _ => continue,
            }
            checked += 1;
        }
        assert_eq!(checked, 18 + 27);
    }

    #[test]
    fn crypto_errors_tell_the_alert() {
        assert_eq!(
            TransportErrorCode::crypto(120).to_string(),
            "CRYPTO_ERROR (TLS alert 120, no_application_protocol)"
        );
        assert_eq!(TransportErrorCode::crypto(255).to_string(), "CRYPTO_ERROR (TLS alert 255)");
        assert_eq!(TransportErrorCode(0x200).tls_alert(), None);
        assert_eq!(TransportErrorCode(0x200).to_string(), "unknown error 0x200");
    }
}
