//! Congestion controllers and the pacer.
//!
//! A controller decides how many bytes may be in flight and nothing else: which packets are lost,
//! when a recovery period begins and whether the window was used at all is found by `recovery`,
//! once for all controllers. Windows and sizes are in bytes of UDP payload.

mod cubic;
mod hystart;
mod new_reno;
mod pacer;

use std::fmt;
use std::time::{Duration, Instant};

pub use crate::observe::CongestionCause;
pub use cubic::Cubic;
pub use new_reno::NewReno;
pub use pacer::{PaceInput, Pacer};

/// The smallest window in datagrams of the maximum size (kMinimumWindow, RFC 9002 section 7.2).
const MINIMUM_WINDOW_DATAGRAMS: u64 = 2;
/// The window of a new path in datagrams of the maximum size (RFC 9002 section 7.2).
const INITIAL_WINDOW_DATAGRAMS: u64 = 10;
/// The limit of the initial window when datagrams are large.
const INITIAL_WINDOW_LIMIT: u64 = 14_720;

/// Which congestion controller a path uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CongestionAlgorithm {
    /// The controller of RFC 9002 section 7.
    NewReno,
    /// CUBIC (RFC 9438) with HyStart++ (RFC 9406).
    #[default]
    Cubic,
}

impl CongestionAlgorithm {
    /// A controller for a new path that begins with datagrams of `max_datagram_size` bytes.
    pub fn build(self, max_datagram_size: u16) -> Box<dyn Controller> {
        match self {
            Self::NewReno => Box::new(NewReno::new(max_datagram_size)),
            Self::Cubic => Box::new(Cubic::new(max_datagram_size)),
        }
    }
}

/// What one ACK frame newly acknowledged, as far as it counts for the window.
#[derive(Clone, Copy, Debug)]
pub struct AckedBatch {
    /// Bytes of newly acknowledged in-flight packets that were sent after the current recovery
    /// period began.
    pub bytes: u64,
    /// The RTT sample that this ACK frame gave, if it gave one.
    pub rtt_sample: Option<Duration>,
    /// The smoothed RTT with this ACK frame counted in.
    pub smoothed_rtt: Duration,
    /// The window was not used up for lack of data, so it must not grow.
    pub app_limited: bool,
    /// The place of this ACK frame in the packet number space of application data; `None` in the
    /// other spaces.
    pub position: Option<AckPosition>,
}

/// Where an ACK frame stands in the sequence of packet numbers; round trips are counted with it.
#[derive(Clone, Copy, Debug)]
pub struct AckPosition {
    /// The largest packet number acknowledged so far.
    pub largest_acknowledged: u64,
    /// The packet number that the next packet will have.
    pub next_packet_number: u64,
}

/// The phase a controller is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CongestionPhase {
    /// The window grows by all that is acknowledged.
    SlowStart,
    /// HyStart++ saw the delay grow: the window grows by a quarter of what is acknowledged.
    ConservativeSlowStart,
    /// The window probes slowly for more.
    CongestionAvoidance,
}

/// A window-based congestion controller of one path.
///
/// The caller applies the recovery period of RFC 9002 section 7.3.2: events and acknowledgements
/// that belong to packets sent before it began are not shown to the controller.
pub trait Controller: Send + fmt::Debug {
    /// A packet of `bytes` bytes was sent and is in flight.
    fn on_sent(&mut self, _now: Instant, _bytes: u64) {}

    /// Packets were acknowledged; called at most once per ACK frame.
    fn on_acked(&mut self, now: Instant, batch: &AckedBatch);

    /// A new recovery period begins.
    fn on_congestion_event(&mut self, now: Instant, cause: CongestionCause);

    /// All packets over a long time were lost (RFC 9002 section 7.6).
    fn on_persistent_congestion(&mut self, now: Instant);

    /// Packets that had been declared lost were acknowledged after all. The window may be
    /// restored; the default keeps it.
    fn on_spurious_loss(&mut self, _now: Instant, _packets: u32) {}

    /// The maximum datagram size of the path changed.
    fn on_mtu(&mut self, max_datagram_size: u16);

    /// How many bytes may be in flight.
    fn window(&self) -> u64;

    /// Slow start ends when the window reaches this; `None` before the first reduction.
    fn slow_start_threshold(&self) -> Option<u64>;

    /// The phase the controller is in.
    fn phase(&self) -> CongestionPhase;

    /// A short lower-case name for logs.
    fn name(&self) -> &'static str;

    /// A copy with all of its state, for a path that shares the bottleneck.
    fn clone_box(&self) -> Box<dyn Controller>;
}

impl Clone for Box<dyn Controller> {
    fn clone(&self) -> Self {
        self.clone_box()
    }
}

/// The window of a path that knows nothing yet.
pub(crate) fn initial_window(max_datagram_size: u16) -> u64 {
    // req 9002-7.2-053
    let size = u64::from(max_datagram_size);
    (INITIAL_WINDOW_DATAGRAMS * size).min(INITIAL_WINDOW_LIMIT.max(2 * size))
}

/// The window that no event pushes below.
pub(crate) fn minimum_window(max_datagram_size: u16) -> u64 {
    // req 9002-7.2-056
    MINIMUM_WINDOW_DATAGRAMS * u64::from(max_datagram_size)
}

#[cfg(test)]
mod tests {
    use super::*;

    // req-test 9002-7.2-053
    #[test]
    fn the_initial_window_is_ten_datagrams_unless_they_are_large() {
        assert_eq!(initial_window(1200), 12_000);
        assert_eq!(initial_window(1452), 14_520);
        assert_eq!(initial_window(1500), 14_720);
        assert_eq!(initial_window(9000), 18_000);
        assert_eq!(initial_window(65_527), 131_054);
    }

    #[test]
    fn a_cloned_controller_has_its_own_window() {
        for algorithm in [CongestionAlgorithm::NewReno, CongestionAlgorithm::Cubic] {
            let original = algorithm.build(1200);
            let mut copy = original.clone();
            copy.on_congestion_event(Instant::now(), CongestionCause::Loss);
            assert_eq!(original.window(), 12_000);
            assert!(copy.window() < original.window(), "{}", copy.name());
        }
    }
}
