//! What all tasks of one HTTP/3 connection share.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use quic_core::error::ConnectionError as QuicError;
use quic_core::wire::{Side, VarInt};
use quic_tokio::EarlyData;
use tokio::sync::Notify;

use crate::error::ConnectionError;
use crate::proto::connection::Connection;
use crate::proto::error::{Code, ConnectionFault};
use crate::proto::settings::Settings;
use crate::qpack::decoder::SectionLimits;

/// One connection: QUIC below, the protocol's state, and the first fault that was found.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) quic: quic_tokio::Connection,
    proto: Mutex<Connection>,
    fault: OnceLock<ConnectionFault>,
    /// GOAWAY has arrived.
    pub(crate) goaway: Notify,
}

impl Shared {
    pub(crate) fn new(quic: quic_tokio::Connection, side: Side, limits: SectionLimits) -> Self {
        let proto = match quic.early_data() {
            EarlyData::Offered => {
                let kept = quic.session_state().and_then(Settings::from_kept);
                Connection::resume(kept.unwrap_or_default(), limits)
            }
            EarlyData::None | EarlyData::Accepted | EarlyData::Rejected => {
                Connection::new(side, limits)
            }
        };
        let proto = Mutex::new(proto);
        Self { quic, proto, fault: OnceLock::new(), goaway: Notify::new() }
    }

    /// The protocol's state. Never held across a wait.
    pub(crate) fn proto(&self) -> MutexGuard<'_, Connection> {
        self.proto.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the handshake is complete: from then on nothing is early data, and it is known
    /// what became of what was.
    pub(crate) async fn handshake(&self) -> Result<(), ConnectionError> {
        let decided = self.quic.early_data_accepted().await;
        if !decided.map_err(|error| self.error(error))? {
            self.proto().early_data_rejected();
        }
        self.quic.handshake_complete().await.map_err(|error| self.error(error))
    }

    /// Closes the connection because of what the peer did; the first fault counts.
    pub(crate) fn fail(&self, fault: ConnectionFault) -> ConnectionError {
        tracing::debug!(%fault, "HTTP/3 connection fails");
        let first = *self.fault.get_or_init(|| fault);
        self.quic.close(varint(fault.code), fault.reason.to_string().as_bytes());
        ConnectionError::Violation(first)
    }

    pub(crate) fn close(&self, code: Code) {
        self.quic.close(varint(code), b"");
    }

    pub(crate) fn error(&self, error: QuicError) -> ConnectionError {
        ConnectionError::new(error, self.fault.get().copied())
    }
}

pub(crate) fn varint(code: Code) -> VarInt {
    VarInt::new(code.value()).expect("codes are below 2^62")
}

/// Differs from call to call and from process to process. For padding and for reserved values: no
/// secret depends on it.
pub(crate) fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}
