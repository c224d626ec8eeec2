//! Initial keys, which anyone who has seen the first packet of a client can compute.

use smallvec::SmallVec;

use super::keys::LevelKeys;
use crate::wire::{ConnectionId, Side, Version};

/// The Initial keys of a connection. Its versions differ in their keys: while client and server
/// settle on one, packets of both may come (RFC 9369, section 4.1).
pub(super) struct InitialKeys {
    dcid: ConnectionId,
    side: Side,
    /// The version of what is sent.
    version: Version,
    /// No more than there are versions in [`Version::KNOWN`].
    keys: SmallVec<[(Version, LevelKeys); 1]>,
}

impl InitialKeys {
    /// Keys that follow from the Destination Connection ID of the client's first Initial packet.
    pub(super) fn new(version: Version, dcid: &ConnectionId, side: Side) -> Self {
        let keys = SmallVec::from_iter([(version, LevelKeys::initial(version, dcid, side))]);
        Self { dcid: *dcid, side, version, keys }
    }

    /// From now on packets of `version` are sent; those of all versions so far can still be opened.
    pub(super) fn switch_to(&mut self, version: Version) {
        self.version = version;
        self.of(version);
    }

    /// The version of what is sent.
    pub(super) fn version(&self) -> Version {
        self.version
    }

    /// The keys for packets of `version`, made the first time that there is one; `None` for
    /// versions that nobody here knows, but for the one that this side has begun with.
    pub(super) fn of(&mut self, version: Version) -> Option<&mut LevelKeys> {
        if !version.is_known() && version != self.version {
            return None;
        }
        let at = match self.keys.iter().position(|(known, _)| *known == version) {
            Some(at) => at,
            None => {
                let keys = LevelKeys::initial(version, &self.dcid, self.side);
                self.keys.push((version, keys));
                self.keys.len() - 1
            }
        };
        self.keys.get_mut(at).map(|(_, keys)| keys)
    }
}
