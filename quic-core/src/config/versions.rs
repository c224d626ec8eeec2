//! Which versions of QUIC a client begins with, and which it offers.

use std::sync::Arc;

use super::error::ConfigError;
use crate::wire::Version;

/// The versions of a client's connections; see
/// [`ClientConfig::with_versions`](super::ClientConfig::with_versions).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientVersions {
    first: Version,
    offered: Arc<[Version]>,
}

impl Default for ClientVersions {
    fn default() -> Self {
        Self { first: Version::V1, offered: Arc::new([Version::V1]) }
    }
}

impl ClientVersions {
    pub(super) fn new(first: Version, offered: &[Version]) -> Result<Self, ConfigError> {
        let mut all = Vec::with_capacity(offered.len() + 1);
        for version in offered.iter().chain([&first]) {
            if !version.is_known() && !version.is_reserved() {
                return Err(ConfigError::VersionUnknown);
            }
            if !all.contains(version) {
                all.push(*version);
            }
        }
        if !all.iter().any(|version| version.is_known()) {
            return Err(ConfigError::NoVersion);
        }
        Ok(Self { first, offered: all.into() })
    }

    /// The version that connections begin with.
    pub fn first(&self) -> Version {
        self.first
    }

    /// All versions that connections may end up with, the preferred one first.
    pub fn offered(&self) -> &Arc<[Version]> {
        &self.offered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_begun_with_is_offered() {
        let versions = ClientVersions::new(Version::V1, &[Version::V2]).unwrap();
        assert_eq!(versions.first(), Version::V1);
        assert_eq!(versions.offered()[..], [Version::V2, Version::V1]);
    }

    #[test]
    fn versions_that_nobody_here_speaks_are_refused() {
        let reserved = Version::reserved(7);
        let refused = ClientVersions::new(Version(2), &[Version::V1]);
        assert_eq!(refused, Err(ConfigError::VersionUnknown));
        assert_eq!(ClientVersions::new(reserved, &[]), Err(ConfigError::NoVersion));
        assert!(ClientVersions::new(reserved, &[Version::V1]).is_ok());
    }
}
