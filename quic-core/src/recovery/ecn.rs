//! Whether a path carries ECN marks (RFC 9000 section 13.4.2).
//!
//! Counts are kept per packet number space ([`EcnLedger`]), the decision to mark per path
//! ([`EcnValidator`]).

pub use crate::observe::EcnChange;
use crate::wire::frame::EcnCounts;

/// How many packets are marked before the first answer is awaited.
const TESTING_PACKETS: u32 = 10;
/// After this many probe timeouts in a row no more packets are marked: the marks may be the cause.
const TESTING_PTOS: u32 = 2;

/// What an ACK frame says about ECN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EcnFinding {
    /// Nothing that was marked was acknowledged.
    Nothing,
    /// Marks were lost or changed on the way, or the peer does not report them.
    Invalid,
    /// All marks are accounted for; so many more came with ECN-CE.
    Valid { newly_ce: u64 },
}

/// Marks sent and reported in one packet number space.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct EcnLedger {
    sent_ect0: u64,
    reported: EcnCounts,
}

impl EcnLedger {
    pub(super) fn on_sent_ect0(&mut self) {
        self.sent_ect0 += 1;
    }

    /// Compares the counts of an ACK frame that raised the largest acknowledged packet number
    /// with those of the last one; `newly_acked` marked packets are acknowledged by it.
    pub(super) fn judge(&mut self, counts: Option<EcnCounts>, newly_acked: u64) -> EcnFinding {
        let Some(counts) = counts else {
            return if newly_acked > 0 { EcnFinding::Invalid } else { EcnFinding::Nothing };
        };
        let before = std::mem::replace(&mut self.reported, counts);
        let (Some(ect0), Some(ce)) =
            (counts.ect0.checked_sub(before.ect0), counts.ce.checked_sub(before.ce))
        else {
            return EcnFinding::Invalid;
        };
        // ECT(1) is never sent, and no mark can be reported more often than it was sent.
        let invented = counts.ect1 > 0 || counts.ect0 > self.sent_ect0;
        if invented || ect0.saturating_add(ce) < newly_acked {
            return EcnFinding::Invalid;
        }
        if newly_acked == 0 && ce == 0 {
            return EcnFinding::Nothing;
        }
        EcnFinding::Valid { newly_ce: ce }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Marking the first packets.
    Testing {
        marked: u32,
    },
    /// Waiting for what becomes of them, `lost` of the `marked` being lost.
    Unknown {
        marked: u32,
        lost: u32,
    },
    Capable,
    Failed,
    Disabled,
}

/// Decides whether packets of a path are marked ECT(0).
#[derive(Clone, Debug)]
pub struct EcnValidator {
    state: State,
}

impl EcnValidator {
    /// Begins to test the path.
    pub fn new() -> Self {
        Self { state: State::Testing { marked: 0 } }
    }

    /// Never marks.
    pub fn disabled() -> Self {
        Self { state: State::Disabled }
    }

    /// The next datagram is to be marked ECT(0).
    pub fn marks_ect0(&self) -> bool {
        match self.state {
            State::Testing { .. } | State::Capable => true,
            State::Unknown { .. } | State::Failed | State::Disabled => false,
        }
    }

    /// The path is known to carry marks.
    pub fn is_capable(&self) -> bool {
        self.state == State::Capable
    }

    pub(super) fn on_sent_ect0(&mut self) {
        match &mut self.state {
            State::Testing { marked } if *marked + 1 < TESTING_PACKETS => *marked += 1,
            State::Testing { marked } => {
                self.state = State::Unknown { marked: *marked + 1, lost: 0 };
            }
            // The rest of a train that was begun with marks.
            State::Unknown { marked, .. } => *marked = marked.saturating_add(1),
            State::Capable | State::Failed | State::Disabled => {}
        }
    }

    pub(super) fn on_lost_ect0(&mut self) -> Option<EcnChange> {
        let State::Unknown { marked, lost } = self.state else { return None };
        if lost + 1 < marked {
            self.state = State::Unknown { marked, lost: lost + 1 };
            return None;
        }
        // Not one of the marked packets arrived.
        self.fail()
    }

    /// Nobody will tell what became of marks that were sent: a test that waits for them begins anew.
    pub(super) fn on_marks_forgotten(&mut self) {
        if let State::Unknown { .. } = self.state {
            self.state = State::Testing { marked: 0 };
        }
    }

    pub(super) fn on_pto(&mut self, pto_count: u32) {
        if let State::Testing { marked } = self.state
            && pto_count >= TESTING_PTOS
        {
            self.state = State::Unknown { marked, lost: 0 };
        }
    }

    /// Takes in what an ACK frame says; also returns whether it reports congestion.
    pub(super) fn on_finding(&mut self, finding: EcnFinding) -> (Option<EcnChange>, bool) {
        match (self.state, finding) {
            (State::Failed | State::Disabled, _) | (_, EcnFinding::Nothing) => (None, false),
            // req 9000-13.4.2.2-340, 9000-13.4.2.2-343
            (
                State::Testing { .. } | State::Unknown { .. } | State::Capable,
                EcnFinding::Invalid,
            ) => (self.fail(), false),
            (State::Capable, EcnFinding::Valid { newly_ce }) => (None, newly_ce > 0),
            // req 9000-13.4.2.2-342
            (State::Testing { .. } | State::Unknown { .. }, EcnFinding::Valid { newly_ce }) => {
                self.state = State::Capable;
                (Some(EcnChange::Validated), newly_ce > 0)
            }
        }
    }

    fn fail(&mut self) -> Option<EcnChange> {
        self.state = State::Failed;
        Some(EcnChange::Failed)
    }
}

impl Default for EcnValidator {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(ect0: u64, ect1: u64, ce: u64) -> Option<EcnCounts> {
        Some(EcnCounts { ect0, ect1, ce })
    }

    fn sent(count: u64) -> EcnLedger {
        EcnLedger { sent_ect0: count, ..EcnLedger::default() }
    }

    // req-test 9000-13.4.2.2-342
    #[test]
    fn a_path_that_reports_every_mark_is_capable() {
        let mut path = EcnValidator::new();
        let mut ledger = EcnLedger::default();
        for _ in 0..TESTING_PACKETS {
            assert!(path.marks_ect0());
            ledger.on_sent_ect0();
            path.on_sent_ect0();
        }
        assert!(!path.marks_ect0(), "waits for an answer");
        let finding = ledger.judge(counts(3, 0, 0), 3);
        assert_eq!(path.on_finding(finding), (Some(EcnChange::Validated), false));
        assert!(path.marks_ect0() && path.is_capable());
    }

    #[test]
    fn congestion_is_reported_once_per_increase() {
        let mut path = EcnValidator { state: State::Capable };
        let mut ledger = sent(10);
        assert_eq!(path.on_finding(ledger.judge(counts(2, 0, 1), 3)), (None, true));
        assert_eq!(path.on_finding(ledger.judge(counts(4, 0, 1), 2)), (None, false));
    }

    // req-test 9000-13.4.2.2-340, 9000-13.4.2.2-343
    #[test]
    fn each_contradiction_disables_ecn_for_good() {
        let contradictions = [
            (None, 1),             // marked packets acknowledged without counts
            (counts(1, 0, 0), 2),  // a mark was cleared on the way
            (counts(11, 0, 0), 1), // more marks than were sent
            (counts(2, 1, 0), 2),  // a mark that was never sent
        ];
        for (reported, newly_acked) in contradictions {
            for state in [State::Testing { marked: 3 }, State::Capable] {
                let mut path = EcnValidator { state };
                let finding = sent(10).judge(reported, newly_acked);
                assert_eq!(path.on_finding(finding), (Some(EcnChange::Failed), false));
                assert!(!path.marks_ect0());
                let valid = EcnFinding::Valid { newly_ce: 3 };
                assert_eq!(path.on_finding(valid), (None, false));
                assert!(!path.marks_ect0());
            }
        }
    }

    #[test]
    fn counts_that_go_backwards_are_invalid() {
        let mut ledger = sent(10);
        assert_eq!(ledger.judge(counts(5, 0, 0), 5), EcnFinding::Valid { newly_ce: 0 });
        assert_eq!(ledger.judge(counts(4, 0, 2), 1), EcnFinding::Invalid);
    }

    #[test]
    fn lost_ack_frames_let_counts_grow_by_more_than_is_acknowledged() {
        assert_eq!(sent(10).judge(counts(7, 0, 1), 2), EcnFinding::Valid { newly_ce: 1 });
    }

    #[test]
    fn a_path_that_swallows_all_marked_packets_fails() {
        let mut path = EcnValidator::new();
        (0..TESTING_PACKETS).for_each(|_| path.on_sent_ect0());
        for _ in 1..TESTING_PACKETS {
            assert_eq!(path.on_lost_ect0(), None);
        }
        assert_eq!(path.on_lost_ect0(), Some(EcnChange::Failed));
    }

    #[test]
    fn repeated_timeouts_stop_marking() {
        let mut path = EcnValidator::new();
        path.on_sent_ect0();
        path.on_pto(1);
        assert!(path.marks_ect0());
        path.on_pto(2);
        assert!(!path.marks_ect0());
    }
}
