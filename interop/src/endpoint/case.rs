//! The test cases by name.

use super::contract::Protocol;

/// What a side does differently from a plain transfer of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    /// Nothing.
    Transfer,
    /// A connection for each file.
    Multiconnect,
    /// HTTP/3 in place of HTTP/0.9.
    Http3,
    /// Only the cipher suite with ChaCha20.
    ChaCha20,
    /// The server asks all clients to prove their address with a Retry packet.
    Retry,
    /// A second connection resumes the session of the first.
    Resumption,
    /// The second connection sends its requests before the handshake is complete, too.
    ZeroRtt,
    /// The client changes the keys early in the transfer.
    KeyUpdate,
    /// The server has a second address, to which the client moves.
    ConnectionMigration,
    /// The client begins with version 1, the server moves it to version 2.
    Version2,
    /// A version that nobody has, to see which ones the server names.
    VersionNegotiation,
}

/// The names under which the runner asks for the cases, and the names of the cases that it runs
/// under those: they differ in the network, which is not our business.
const NAMES: [(&str, Case); 26] = [
    ("amplificationlimit", Case::Transfer),
    ("blackhole", Case::Transfer),
    ("chacha20", Case::ChaCha20),
    ("connectionmigration", Case::ConnectionMigration),
    ("crosstraffic", Case::Transfer),
    ("ecn", Case::Transfer),
    ("goodput", Case::Transfer),
    ("handshake", Case::Transfer),
    ("handshakecorruption", Case::Multiconnect),
    ("handshakeloss", Case::Multiconnect),
    ("http3", Case::Http3),
    ("ipv6", Case::Transfer),
    ("keyupdate", Case::KeyUpdate),
    ("longrtt", Case::Transfer),
    ("multiconnect", Case::Multiconnect),
    ("multiplexing", Case::Transfer),
    ("rebind-addr", Case::Transfer),
    ("rebind-port", Case::Transfer),
    ("resumption", Case::Resumption),
    ("retry", Case::Retry),
    ("transfer", Case::Transfer),
    ("transfercorruption", Case::Transfer),
    ("transferloss", Case::Transfer),
    ("v2", Case::Version2),
    ("versionnegotiation", Case::VersionNegotiation),
    ("zerortt", Case::ZeroRtt),
];

impl Case {
    /// The case of this name, if it is supported.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, case)| *case)
    }

    /// What both sides speak.
    pub(super) fn protocol(self) -> Protocol {
        match self {
            Self::Http3 => Protocol::H3,
            Self::Transfer
            | Self::Multiconnect
            | Self::ChaCha20
            | Self::Retry
            | Self::Resumption
            | Self::ZeroRtt
            | Self::KeyUpdate
            | Self::ConnectionMigration
            | Self::Version2
            | Self::VersionNegotiation => Protocol::Hq,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_exact() {
        assert_eq!(Case::from_name("transfer"), Some(Case::Transfer));
        assert_eq!(Case::from_name("http3"), Some(Case::Http3));
        for name in ["", "Transfer", "transfer ", " transfer", "transferx", "h3", "*"] {
            assert_eq!(Case::from_name(name), None, "{name:?}");
        }
    }

    #[test]
    fn names_are_sorted_and_given_once() {
        assert!(NAMES.is_sorted_by(|(a, _), (b, _)| a < b));
    }
}
