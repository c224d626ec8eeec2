//! A purse for what a peer may send although it moves nothing: padding, unknown frames, repeated
//! announcements. Each such item costs, progress refills.

use super::error::{ConnectionFault, Violation};

/// How much idle work is still tolerated.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    left: u32,
    full: u32,
}

impl Budget {
    pub(super) const fn new(full: u32) -> Self {
        Self { left: full, full }
    }

    /// Pays for one item that moves nothing.
    // req 9114-10.5-217, 9114-10.5-218
    pub(super) fn spend(&mut self) -> Result<(), ConnectionFault> {
        self.spend_many(1)
    }

    /// Pays for `count` such items.
    pub(super) fn spend_many(&mut self, count: u32) -> Result<(), ConnectionFault> {
        self.left = self.left.checked_sub(count).ok_or(Violation::TooManyIdleFrames)?;
        Ok(())
    }

    /// Something useful happened: `amount` comes back, up to the full purse.
    pub(super) fn earn(&mut self, amount: u32) {
        self.left = self.left.saturating_add(amount).min(self.full);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_refills_up_to_the_full_purse_and_no_further() {
        let mut budget = Budget::new(2);
        assert_eq!(budget.spend_many(2), Ok(()));
        assert_eq!(budget.spend(), Err(Violation::TooManyIdleFrames.into()));
        budget.earn(u32::MAX);
        assert_eq!(budget.spend_many(2), Ok(()));
        assert!(budget.spend().is_err());
    }
}
