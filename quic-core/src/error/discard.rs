//! The reasons to drop a packet without a word.

use std::fmt;

/// Defines [`Discard`] with a sentence for each reason.
macro_rules! discards {
    ($($name:ident $sentence:literal)+) => {
        /// Why a packet, or the rest of a datagram, was dropped; nothing else happens.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Discard {
            $(#[doc = concat!($sentence, ".")] $name,)+
        }

        impl Discard {
            /// All reasons, in the order of their declaration: `reason as usize` is the index.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The reason for a human.
            pub const fn sentence(self) -> &'static str {
                match self {
                    $(Self::$name => $sentence,)+
                }
            }
        }
    };
}

discards! {
    HeaderTruncated "the datagram ends inside the packet header"
    LengthBeyondDatagram "the packet is longer than its datagram"
    FixedBitZero "the fixed bit is zero"
    ConnectionIdTooLong "a connection ID is longer than 20 bytes"
    VersionsMissing "a Version Negotiation packet lists no whole version"
    RetryTokenEmpty "a Retry packet carries no token"
    TooShortToSample "the packet is too short to take the header protection sample"
    VersionUnsupported "the version is not supported"
    VersionUnexpected "the version is not that of the connection"
    VersionNegotiationListsOurs "a Version Negotiation packet lists the version in use"
    VersionNegotiationLate "a Version Negotiation packet after another packet was processed"
    VersionNegotiationAgain "a Version Negotiation packet for an attempt that follows another one"
    VersionNegotiationAtServer "a Version Negotiation packet was sent to a server"
    RetryLate "a Retry packet after another packet was processed"
    RetryAtServer "a Retry packet was sent to a server"
    RetryTagInvalid "the integrity tag of a Retry packet is wrong"
    RetrySourceUnchanged "a Retry packet does not change the connection ID"
    RetryTokenTooLong "the token of a Retry packet is too long to be repeated"
    TokenInvalid "the token of an Initial packet is not valid"
    InitialTooSmall "an Initial packet in a datagram of less than 1200 bytes"
    InitialConnectionIdTooShort "the first Initial packet has a connection ID below 8 bytes"
    TokenFromServer "an Initial packet with a token from a server"
    ConnectionIdUnknown "no connection has this connection ID"
    ConnectionIdMismatch "a connection ID differs from that of the first packet"
    SourceConnectionIdChanged "the source connection ID changed during the handshake"
    KeysMissing "the keys are not there yet"
    KeysDiscarded "the keys are not there any more"
    ZeroRttRejected "early data was not accepted"
    DecryptionFailed "the packet does not open with its keys"
    Duplicate "the packet number was already received"
    PacketNumberTooOld "the packet number is too old to tell whether it was already received"
    PathUnknown "the packet came over a path that is not allowed"
    AddressLeft "the packet was sent to an address that was left for the preferred one"
    ConnectionClosing "the connection is closing or draining"
    BufferFull "there is no room to keep the packet until it can be processed"
    ServerBusy "the server takes no new connection"
    NotAServer "the endpoint accepts no connections"
}

impl fmt::Display for Discard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_its_own_index() {
        for (index, reason) in Discard::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
    }
}
