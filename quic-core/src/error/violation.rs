//! The rules a peer can break, each with its error code and a sentence, in one table.

use std::fmt;

use crate::wire::TransportErrorCode;

/// Defines [`Violation`] from the table below.
macro_rules! violations {
    ($($code:ident { $($name:ident $sentence:literal)+ })+) => {
        /// What exactly ends a connection with a transport error.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Violation {
            $($(#[doc = concat!($sentence, ".")] $name,)+)+
            /// The TLS handshake failed; the error code tells the alert.
            TlsAlert,
        }

        impl Violation {
            /// All violations.
            pub const ALL: &[Self] = &[$($(Self::$name,)+)+ Self::TlsAlert];

            /// The error code that the peer is told.
            // req 9000-11-269
            pub const fn code(self) -> TransportErrorCode {
                match self {
                    $($(Self::$name)|+ => TransportErrorCode::$code,)+
                    Self::TlsAlert => TransportErrorCode::crypto(INTERNAL_ERROR_ALERT),
                }
            }

            /// What happened, for a human; also the reason phrase that the peer is told.
            pub const fn sentence(self) -> &'static str {
                match self {
                    $($(Self::$name => $sentence,)+)+
                    Self::TlsAlert => "the TLS handshake failed",
                }
            }
        }
    };
}

/// The alert of a [`Violation::TlsAlert`] whose alert nobody knows.
const INTERNAL_ERROR_ALERT: u8 = 80;

violations! {
    INTERNAL_ERROR {
        Internal "something failed on this side"
        MemoryLimit "the connection needs more memory than it may use"
    }
    CONNECTION_REFUSED {
        ConnectionRefused "the server takes no new connection"
    }
    FLOW_CONTROL_ERROR {
        ConnectionDataLimit "more data on the connection than its limit allows"
        StreamDataLimit "more data on a stream than its limit allows"
    }
    STREAM_LIMIT_ERROR {
        StreamLimit "more streams than the limit allows"
    }
    STREAM_STATE_ERROR {
        FrameForSendOnlyStream "a frame of a sender for a stream that only this side sends on"
        FrameForReceiveOnlyStream "a frame of a receiver for a stream that only the peer sends on"
        FrameForUnopenedStream "a frame for a stream of this side that is not open yet"
    }
    FINAL_SIZE_ERROR {
        FinalSizeChanged "the final size of a stream changed"
        FinalSizeBelowReceived "the final size of a stream is smaller than what was received"
        DataBeyondFinalSize "data beyond the final size of a stream"
    }
    FRAME_ENCODING_ERROR {
        FrameTruncated "a frame ends before its last field"
        FrameUnknown "a frame of unknown type"
        AckRangeNegative "an ACK range reaches below packet number zero"
        StreamDataBeyondMaximum "stream data beyond the largest possible offset"
        CryptoDataBeyondMaximum "handshake data beyond the largest possible offset"
        StreamCountTooLarge "a number of streams beyond the largest possible stream ID"
        NewTokenEmpty "a NEW_TOKEN frame with an empty token"
        NewConnectionIdLength "a new connection ID that is not 1 to 20 bytes long"
        RetirePriorToAboveSequence "a connection ID asks for its own retirement"
    }
    TRANSPORT_PARAMETER_ERROR {
        ParametersMalformed "the transport parameters are malformed"
        ParameterDuplicate "a transport parameter is there twice"
        ParameterOutOfRange "a transport parameter has a forbidden value"
        ParameterFromClient "a client sent a transport parameter that only servers may send"
        ParametersMissing "the handshake carried no transport parameters"
        PreferredAddressInvalid "the preferred address has no connection ID"
        PreferredAddressWithoutConnectionId "a preferred address without connection IDs in use"
        OriginalDestinationMissing "original_destination_connection_id is missing"
        OriginalDestinationMismatch "original_destination_connection_id is not what the client sent to"
        InitialSourceMissing "initial_source_connection_id is missing"
        InitialSourceMismatch "initial_source_connection_id is not what the packets carried"
        RetrySourceMissing "retry_source_connection_id is missing after a Retry packet"
        RetrySourceMismatch "retry_source_connection_id is not what the Retry packet carried"
        VersionInformationMalformed "version_information is no list of versions, or contradicts itself"
        RetrySourceUnexpected "retry_source_connection_id is there although there was no Retry packet"
    }
    CONNECTION_ID_LIMIT_ERROR {
        ConnectionIdLimit "more connection IDs than the limit allows"
        TooManyRetirements "more connection IDs wait for their retirement than can be tracked"
    }
    PROTOCOL_VIOLATION {
        PacketEmpty "a packet without frames"
        ReservedBitsSet "a packet with reserved bits set"
        FrameTypeNotShortest "a frame type that is not encoded the shortest way"
        FrameNotAllowedInPacket "a frame in a packet that must not carry it"
        AckOfUnsentPacket "an acknowledgement of a packet that was never sent"
        AckOfSkippedPacket "an acknowledgement of a packet number that was left out on purpose"
        NewTokenAtServer "a NEW_TOKEN frame from a client"
        HandshakeDoneAtServer "a HANDSHAKE_DONE frame from a client"
        TokenFromServer "an Initial packet with a token from a server"
        InitialTooSmall "an Initial packet in a datagram of less than 1200 bytes"
        NewConnectionIdUnwanted "a new connection ID although packets to the peer carry none"
        NewConnectionIdConflict "a connection ID was issued again with other values"
        ResetTokenReused "the same stateless reset token for two connection IDs"
        RetirementOfUnissued "retirement of a connection ID that was never issued"
        RetirementOfCurrent "retirement of the connection ID that the same packet was sent to"
        RetirementUnwanted "retirement of a connection ID although none are issued"
        PathResponseUnknown "a path response that answers no challenge"
        CryptoDataAtWrongLevel "handshake data at the wrong encryption level"
        CryptoDataLeftOver "handshake data is left over when its keys are no longer needed"
        AckOfRejectedEarlyData "an acknowledgement of early data that was rejected"
        ZeroRttLimitsReduced "a server accepted early data but reduced remembered limits"
        MigrationForbidden "the peer moved to another address although that is not allowed"
        RetryAfterRetry "a second Retry packet"
        NothingButIdlePackets "too many packets that brought nothing"
        TlsCompatibilityMode "a ClientHello that asks for the TLS compatibility mode"
        TlsCertificateRequest "a request for a certificate after the handshake"
        TlsEarlyDataSize "a session ticket that limits the amount of early data"
    }
    INVALID_TOKEN {
        TokenInvalid "the token of an Initial packet is not valid"
    }
    APPLICATION_ERROR {
        ApplicationClosedEarly "the application closed the connection during the handshake"
    }
    CRYPTO_BUFFER_EXCEEDED {
        CryptoBufferExceeded "more handshake data than can be buffered"
    }
    KEY_UPDATE_ERROR {
        KeyUpdateTooEarly "a key update before the last one was acknowledged"
        KeyUpdateBackwards "a packet with old keys follows packets with new ones"
        KeyUpdateNotFollowed "an acknowledgement with old keys for a packet with new ones"
        TlsKeyUpdate "a TLS KeyUpdate message, which QUIC does not use"
    }
    AEAD_LIMIT_REACHED {
        ConfidentialityLimit "the keys have protected as many packets as is safe"
        IntegrityLimit "too many packets failed to open"
    }
    NO_VIABLE_PATH {
        NoViablePath "no network path works any more"
    }
    VERSION_NEGOTIATION_ERROR {
        VersionNegotiationDowngrade "the negotiated version is not the one both sides prefer"
        VersionChosenMismatch "the chosen version is not that of the packets"
        VersionNotOffered "the chosen version was not offered"
        VersionInformationMissing "version_information is missing after Version Negotiation"
        VersionChanged "handshake data in another version than the negotiated one"
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_violation_has_its_own_sentence() {
        let sentences: HashSet<_> = Violation::ALL.iter().map(|v| v.sentence()).collect();
        assert_eq!(sentences.len(), Violation::ALL.len());
        for sentence in sentences {
            assert!(sentence.len() < 100 && !sentence.ends_with('.'), "{sentence}");
        }
    }

    // req-test 9000-11-269
    #[test]
    fn codes_are_those_of_the_table() {
        assert_eq!(Violation::StreamLimit.code(), TransportErrorCode::STREAM_LIMIT_ERROR);
        assert_eq!(Violation::FrameUnknown.code(), TransportErrorCode::FRAME_ENCODING_ERROR);
        assert_eq!(Violation::PacketEmpty.code(), TransportErrorCode::PROTOCOL_VIOLATION);
        assert_eq!(Violation::TlsAlert.code(), TransportErrorCode::crypto(80));
    }
}
