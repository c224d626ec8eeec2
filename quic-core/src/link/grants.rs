//! How much applications may write ahead of the transport, on all streams of a connection together.

/// What a stream gets when it is opened, whatever the others have: so every stream makes progress.
pub(super) const LEAST: u64 = 16 * 1024;
/// What a single stream gets at most: enough for the driver to find work whenever it comes by.
const MOST: u64 = 512 * 1024;

/// The budget of a connection for data that was written and not yet taken by the transport.
///
/// Beyond the least share of each stream, no more than the budget is ever promised.
#[derive(Debug)]
pub(super) struct Grants {
    budget: u64,
    promised: u64,
}

impl Grants {
    /// For a transport that keeps up to `send_budget` bytes itself.
    pub(super) fn new(send_budget: u64) -> Self {
        Self { budget: (send_budget / 4).max(LEAST), promised: 0 }
    }

    /// What a new stream gets.
    pub(super) const fn first() -> u64 {
        LEAST
    }

    /// What all streams together may still write, or have written ahead of the transport.
    pub(super) fn promised(&self) -> u64 {
        self.promised
    }

    /// What a stream may get that has been promised `own` bytes: half of what is left for all.
    pub(super) fn share(&self, own: u64) -> u64 {
        let left = self.budget.saturating_sub(self.promised - own);
        (left / 2).clamp(LEAST, MOST)
    }

    /// A stream that was promised `before` bytes is now promised `after`.
    pub(super) fn replace(&mut self, before: u64, after: u64) {
        self.promised = self.promised - before + after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_stream_gets_much_and_many_streams_share() {
        let mut grants = Grants::new(16 << 20);
        assert_eq!(grants.share(0), MOST);
        let mut shares = Vec::new();
        for _ in 0..1000 {
            let share = grants.share(0);
            grants.replace(0, share);
            shares.push(share);
        }
        assert_eq!(*shares.last().unwrap(), LEAST);
        assert!(shares.is_sorted_by(|earlier, later| earlier >= later));
        let generous: u64 = shares.iter().filter(|share| **share > LEAST).sum();
        assert!(generous <= 4 << 20);
        for share in shares {
            grants.replace(share, 0);
        }
        assert_eq!(grants.promised(), 0);
    }
}
