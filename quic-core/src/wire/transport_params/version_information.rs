//! What a side says about versions (RFC 9368, section 3).

use crate::error::Violation;
use crate::wire::cursor::{Reader, Writer};
use crate::wire::{Side, Version};

/// How many available versions of a peer are kept; those beyond are checked and forgotten.
const MAX_AVAILABLE: usize = 32;
const VERSION_LEN: usize = 4;

/// The version that a side has chosen for the connection, and those that it could have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionInformation {
    /// Of a client, the version of its first flight; of a server, the negotiated one.
    pub chosen: Version,
    /// Of a client, the versions that its first flight can be turned into, the preferred one first;
    /// of a server, all versions that every part of it has, in no order.
    pub available: Vec<Version>,
}

impl VersionInformation {
    /// Reads what the side `from` has sent.
    ///
    /// # Errors
    ///
    /// `VersionInformationMalformed` if it is not whole versions, if one of them is zero, or if a
    /// client has chosen what it does not name as available.
    pub(super) fn decode(value: &[u8], from: Side) -> Result<Self, Violation> {
        let malformed = Violation::VersionInformationMalformed;
        let mut reader = Reader::new(value);
        let mut next = || match reader.is_empty() {
            true => Ok(None),
            false => match reader.u32() {
                Ok(0) | Err(_) => Err(malformed),
                Ok(number) => Ok(Some(Version(number))),
            },
        };
        let chosen = next()?.ok_or(malformed)?;
        let mut available = Vec::new();
        let mut names_chosen = from.is_server();
        while let Some(version) = next()? {
            if available.len() < MAX_AVAILABLE {
                available.push(version);
            }
            if version == chosen && !names_chosen {
                names_chosen = true;
                // What is kept is as consistent as what was sent.
                if let Some(last) = available.last_mut() {
                    *last = version;
                }
            }
        }
        names_chosen.then_some(Self { chosen, available }).ok_or(malformed)
    }

    /// Length in bytes.
    pub(super) fn size(&self) -> usize {
        VERSION_LEN * (1 + self.available.len())
    }

    pub(super) fn encode(&self, writer: &mut Writer<'_>) {
        writer.u32(self.chosen.0);
        self.available.iter().for_each(|version| writer.u32(version.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(versions: &[u32]) -> Vec<u8> {
        versions.iter().flat_map(|version| version.to_be_bytes()).collect()
    }

    #[test]
    fn what_is_no_list_of_versions_is_refused() {
        let malformed = Err(Violation::VersionInformationMalformed);
        for wrong in [vec![], vec![0, 0, 0], bytes(&[0, 1]), bytes(&[1, 0]), bytes(&[1, 1, 0])] {
            for from in [Side::Client, Side::Server] {
                assert_eq!(VersionInformation::decode(&wrong, from), malformed, "{wrong:?}");
            }
        }
        let half = [&bytes(&[1, 1])[..], &[0, 0]].concat();
        assert_eq!(VersionInformation::decode(&half, Side::Server), malformed);
    }

    #[test]
    fn only_a_server_may_choose_what_it_does_not_name() {
        for value in [bytes(&[1]), bytes(&[1, 2])] {
            assert!(VersionInformation::decode(&value, Side::Client).is_err());
            assert!(VersionInformation::decode(&value, Side::Server).is_ok());
        }
    }

    #[test]
    fn long_lists_are_checked_and_not_kept() {
        let many: Vec<u32> = (1..1000).collect();
        let value = bytes(&[&[999][..], &many].concat());
        let read = VersionInformation::decode(&value, Side::Client).unwrap();
        assert_eq!(read.available.len(), MAX_AVAILABLE);
        assert!(read.available.contains(&Version(999)));
        let value = bytes(&[&[1000][..], &many].concat());
        assert!(VersionInformation::decode(&value, Side::Client).is_err());
    }
}
