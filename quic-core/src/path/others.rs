//! The paths of a connection beside the one in use, bounded in number and in how fast they come.

use std::time::{Duration, Instant};

use super::{DatagramMeta, Path};

/// Paths beside the one in use. An honest peer has two or three.
const MAX_OTHER_PATHS: usize = 4;
/// So many paths may come at once ...
const NEW_PATHS_BURST: u32 = 8;
/// ... and one more each time this has passed: whoever copies packets from ever new addresses makes
/// us send no more challenges than that.
const NEW_PATH_INTERVAL: Duration = Duration::from_secs(1);

/// Why a path beside the one in use is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It was left, or the peer has been seen there and may move there: kept until then, and as
    /// long as its validation runs.
    Kept(Instant),
    /// The connection moves there once the path is validated.
    MoveTo,
    /// The last validated path, as long as the one in use is not validated.
    Fallback,
}

/// A path beside the one in use.
#[derive(Debug)]
pub struct OtherPath {
    /// The path.
    pub path: Path,
    /// Why it is kept.
    pub purpose: Purpose,
}

/// All paths beside the one in use.
#[derive(Debug)]
pub struct OtherPaths {
    paths: Vec<OtherPath>,
    budget: u32,
    refilled: Instant,
    next_id: u64,
}

impl OtherPaths {
    /// None yet.
    pub fn new(now: Instant) -> Self {
        Self { paths: Vec::new(), budget: NEW_PATHS_BURST, refilled: now, next_id: 1 }
    }

    /// A number that no path of the connection had before.
    pub fn new_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    /// Asks for leave to follow the peer to a path that is not validated. With `true` it is used up.
    pub fn may_follow(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.refilled);
        let refill = passed.as_millis() / NEW_PATH_INTERVAL.as_millis();
        if refill > 0 {
            let refill = u32::try_from(refill).unwrap_or(NEW_PATHS_BURST);
            self.budget = self.budget.saturating_add(refill).min(NEW_PATHS_BURST);
            self.refilled = now;
        }
        match self.budget.checked_sub(1) {
            Some(left) => {
                self.budget = left;
                true
            }
            None => false,
        }
    }

    /// Adds a path. Where there are too many, the least useful of them makes room and is returned.
    pub fn add(&mut self, path: Path, purpose: Purpose) -> Option<OtherPath> {
        self.paths.push(OtherPath { path, purpose });
        if self.paths.len() <= MAX_OTHER_PATHS {
            return None;
        }
        let last = self.paths.len() - 1;
        Some(self.paths.remove(self.least_useful().unwrap_or(last)))
    }

    /// The one that would be forgotten first.
    fn least_useful(&self) -> Option<usize> {
        let kept = self.paths.iter().enumerate().filter_map(|(index, other)| match other.purpose {
            Purpose::Kept(until) => Some((until, index)),
            Purpose::MoveTo | Purpose::Fallback => None,
        });
        kept.min().map(|(_, index)| index)
    }

    /// Where the path stands that the datagram came over.
    pub fn position(&self, datagram: &DatagramMeta) -> Option<usize> {
        self.paths.iter().position(|other| other.path.carries(datagram))
    }

    /// The path at a place that [`OtherPaths::position`] gave.
    pub fn get_mut(&mut self, index: usize) -> Option<&mut OtherPath> {
        self.paths.get_mut(index)
    }

    /// The path that the datagram came over.
    pub fn at(&mut self, datagram: &DatagramMeta) -> Option<&mut OtherPath> {
        self.paths.iter_mut().find(|other| other.path.carries(datagram))
    }

    /// The path with this number.
    pub fn by_id(&mut self, id: u64) -> Option<&mut OtherPath> {
        self.paths.iter_mut().find(|other| other.path.id() == id)
    }

    /// The path to fall back to is not needed any more.
    pub fn leave_fallback(&mut self, until: Instant) {
        for other in self.paths.iter_mut().filter(|other| other.purpose == Purpose::Fallback) {
            other.purpose = Purpose::Kept(until);
        }
    }

    /// Paths that share the connection ID of the path in use keep it, which is number `sequence`,
    /// when that path is left.
    pub fn pin_remote_id(&mut self, sequence: u64) {
        for other in &mut self.paths {
            other.path.remote_id.get_or_insert(sequence);
        }
    }

    /// Paths that used connection ID number `old` use `new` from now on.
    pub fn replace_remote_id(&mut self, old: u64, new: u64) {
        for other in self.paths.iter_mut().filter(|other| other.path.remote_id == Some(old)) {
            other.path.remote_id = Some(new);
        }
    }

    /// Takes a path out.
    pub fn remove(&mut self, index: usize) -> OtherPath {
        self.paths.remove(index)
    }

    /// Takes the first path out that is kept for `purpose`.
    pub fn take(&mut self, purpose: Purpose) -> Option<Path> {
        let index = self.paths.iter().position(|other| other.purpose == purpose)?;
        Some(self.paths.remove(index).path)
    }

    /// All of them, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &OtherPath> {
        self.paths.iter()
    }

    /// All of them, the oldest first.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut OtherPath> {
        self.paths.iter_mut()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    /// True if the connection has one path only.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// When to look at them again.
    pub fn deadline(&self) -> Option<Instant> {
        let each = |other: &OtherPath| {
            let kept = match other.purpose {
                Purpose::Kept(until) if !other.path.own_validation.is_running() => Some(until),
                Purpose::Kept(_) | Purpose::MoveTo | Purpose::Fallback => None,
            };
            [kept, other.path.validation_deadline()].into_iter().flatten().min()
        };
        self.paths.iter().filter_map(each).min()
    }
}
