//! SETTINGS (RFC 9114 section 7.2.4, RFC 9204 section 5): what each side tells the other once.

use bytes::{Buf, Bytes, BytesMut};

use super::error::{ConnectionFault, Violation};
use super::{frame, varint};

const QPACK_MAX_TABLE_CAPACITY: u64 = 0x01;
const MAX_FIELD_SECTION_SIZE: u64 = 0x06;
const QPACK_BLOCKED_STREAMS: u64 = 0x07;

/// One side's settings. The default is what holds before a SETTINGS frame arrives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// The largest dynamic table the sender keeps, in bytes.
    pub qpack_max_table_capacity: u64,
    /// The largest field section the sender takes, in bytes as RFC 9114 section 4.2.2 counts them;
    /// `None` is no limit.
    pub max_field_section_size: Option<u64>,
    /// How many streams may wait for dynamic table entries.
    pub qpack_blocked_streams: u64,
}

impl Settings {
    /// Appends these settings as a SETTINGS frame, defaults left out, with one setting of a
    /// reserved identifier chosen by `seed` that the receiver must ignore.
    // req 9114-7.2.4.2-182, 9114-7.2.4.1-169, 9114-7.2.4-166, 9114-7.2.4.1-171
    pub fn encode(&self, seed: u64, out: &mut BytesMut) {
        let mut payload = BytesMut::with_capacity(64);
        self.put_all(&mut payload);
        varint::put(varint::reserved(seed), &mut payload);
        varint::put(seed >> 32, &mut payload);
        frame::settings(&payload, out);
    }

    /// Reads the payload of a SETTINGS frame.
    // req 9114-7.2.4-167, 9114-7.2.4-168, 9114-7.2.4.1-170, 9114-7.2.4.1-171
    pub(crate) fn decode(mut payload: Bytes) -> Result<Self, ConnectionFault> {
        let mut settings = Self::default();
        let mut seen = Vec::new();
        while payload.has_remaining() {
            let identifier = take(&mut payload)?;
            let value = take(&mut payload)?;
            seen.push(identifier);
            match identifier {
                QPACK_MAX_TABLE_CAPACITY => settings.qpack_max_table_capacity = value,
                MAX_FIELD_SECTION_SIZE => settings.max_field_section_size = Some(value),
                QPACK_BLOCKED_STREAMS => settings.qpack_blocked_streams = value,
                0x02..=0x05 => return Err(Violation::Http2Setting.into()),
                _ => {}
            }
        }
        // Sorted once: a frame full of identifiers must not cost a comparison of all with all.
        seen.sort_unstable();
        if seen.array_windows().any(|[one, next]| one == next) {
            return Err(Violation::DuplicateSetting.into());
        }
        Ok(settings)
    }

    /// These settings in a form to be kept with a session ticket.
    // req 9114-7.2.4.2-176
    pub fn to_kept(&self) -> Bytes {
        let mut out = BytesMut::new();
        self.put_all(&mut out);
        out.freeze()
    }

    /// What [`to_kept`](Self::to_kept) gave; `None` for anything else.
    pub fn from_kept(kept: Bytes) -> Option<Self> {
        Self::decode(kept).ok()
    }

    /// All settings that differ from their defaults.
    fn put_all(&self, out: &mut BytesMut) {
        let mut put = |identifier: u64, value: u64| {
            varint::put(identifier, out);
            varint::put(value.min(varint::MAX), out);
        };
        if self.qpack_max_table_capacity > 0 {
            put(QPACK_MAX_TABLE_CAPACITY, self.qpack_max_table_capacity);
        }
        if let Some(size) = self.max_field_section_size {
            put(MAX_FIELD_SECTION_SIZE, size);
        }
        if self.qpack_blocked_streams > 0 {
            put(QPACK_BLOCKED_STREAMS, self.qpack_blocked_streams);
        }
    }

    /// Whether a client that sent early data under `remembered` may go on under these settings: no
    /// limit may have shrunk, and a table that was in use must have kept its size.
    // req 9114-7.2.4.2-183, 9114-7.2.4.2-184
    pub fn check_resumed(&self, remembered: &Self) -> Result<(), ConnectionFault> {
        let limit = |settings: &Self| settings.max_field_section_size.unwrap_or(u64::MAX);
        // What was limited before and is left out now changed a value that early data relied on.
        let is_omitted =
            remembered.max_field_section_size.is_some() && self.max_field_section_size.is_none();
        let is_compatible = !is_omitted
            && limit(self) >= limit(remembered)
            && self.qpack_blocked_streams >= remembered.qpack_blocked_streams;
        if !is_compatible {
            return Err(Violation::SettingsReduced.into());
        }
        let before = remembered.qpack_max_table_capacity;
        if before != 0 && before != self.qpack_max_table_capacity {
            return Err(Violation::CapacityNotKept.into());
        }
        Ok(())
    }
}

fn take(payload: &mut Bytes) -> Result<u64, ConnectionFault> {
    varint::take(payload).ok_or(Violation::FramePayloadLength.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::error::Code;

    // req-test 9114-7.2.4.2-176
    #[test]
    fn settings_come_back_from_where_they_were_kept() {
        let settings = Settings {
            qpack_max_table_capacity: 1,
            max_field_section_size: Some(0),
            qpack_blocked_streams: 300,
        };
        for settings in [settings, Settings::default()] {
            assert_eq!(Settings::from_kept(settings.to_kept()), Some(settings));
        }
        assert_eq!(Settings::from_kept(Bytes::from_static(&[0x06])), None);
    }

    /// The payload of an encoded frame whose header takes two bytes.
    fn payload(settings: &Settings, seed: u64) -> Bytes {
        let mut out = BytesMut::new();
        settings.encode(seed, &mut out);
        let payload = out.freeze().slice(2..);
        assert!(payload.len() < 64);
        payload
    }

    fn decode(pairs: &[(u64, u64)]) -> Result<Settings, ConnectionFault> {
        let mut payload = BytesMut::new();
        for (identifier, value) in pairs {
            varint::put(*identifier, &mut payload);
            varint::put(*value, &mut payload);
        }
        Settings::decode(payload.freeze())
    }

    // req-test 9114-7.2.4.1-169, 9114-7.2.4.1-170, 9114-7.2.4-166
    #[test]
    fn every_frame_has_one_reserved_setting_that_means_nothing() {
        for seed in [0, 1, u64::MAX] {
            let mut wire = payload(&Settings::default(), seed);
            assert_eq!(Settings::decode(wire.clone()), Ok(Settings::default()));
            let identifier = varint::take(&mut wire).unwrap();
            assert_eq!((identifier - 0x21) % 0x1f, 0);
            varint::take(&mut wire).unwrap();
            assert!(wire.is_empty());
        }
    }

    // req-test 9114-7.2.4-168
    #[test]
    fn unknown_settings_are_ignored() {
        let settings = decode(&[(0x4242, 1), (0x06, 9), (0x08, 1)]).unwrap();
        assert_eq!(settings, Settings { max_field_section_size: Some(9), ..Settings::default() });
    }

    // req-test 9114-7.2.4-167
    #[test]
    fn a_setting_that_occurs_twice_is_refused_known_or_not() {
        for identifier in [0x01, 0x06, 0x07, 0x21, 0x4242] {
            let fault = decode(&[(identifier, 1), (0x33, 1), (identifier, 1)]).unwrap_err();
            assert_eq!(fault, Violation::DuplicateSetting.into());
            assert_eq!(fault.code, Code::SETTINGS_ERROR);
        }
    }

    // req-test 9114-7.2.4.1-171
    #[test]
    fn settings_of_http2_are_refused() {
        for identifier in 0x02..=0x05 {
            let fault = decode(&[(identifier, 0)]).unwrap_err();
            assert_eq!(fault, Violation::Http2Setting.into());
            assert_eq!(fault.code, Code::SETTINGS_ERROR);
        }
    }

    // req-test 9114-7.1-147
    #[test]
    fn a_payload_cut_inside_a_setting_is_refused() {
        let mut payload = BytesMut::new();
        varint::put(0x4242, &mut payload);
        varint::put(0x4242, &mut payload);
        let payload = payload.freeze();
        for end in 1..payload.len() {
            let fault = Settings::decode(payload.slice(..end)).unwrap_err();
            assert_eq!(fault, Violation::FramePayloadLength.into(), "cut at {end}");
        }
    }

    // req-test 9114-7.2.4.2-183, 9114-7.2.4.2-184
    #[test]
    fn settings_may_not_fall_behind_what_early_data_relied_on() {
        let remembered = Settings {
            qpack_max_table_capacity: 10,
            max_field_section_size: Some(100),
            qpack_blocked_streams: 2,
        };
        let with = |change: fn(&mut Settings)| {
            let mut settings = remembered.clone();
            change(&mut settings);
            settings.check_resumed(&remembered)
        };
        assert_eq!(with(|_| {}), Ok(()));
        assert_eq!(with(|s| s.max_field_section_size = Some(101)), Ok(()));
        assert_eq!(with(|s| s.qpack_blocked_streams = 3), Ok(()));
        let reduced = Err(Violation::SettingsReduced.into());
        assert_eq!(with(|s| s.max_field_section_size = Some(99)), reduced);
        assert_eq!(with(|s| s.max_field_section_size = None), reduced);
        let capacities: [fn(&mut Settings); 2] =
            [|s| s.qpack_max_table_capacity = 11, |s| s.qpack_max_table_capacity = 0];
        for capacity in capacities {
            let fault = with(capacity).unwrap_err();
            assert_eq!(fault, Violation::CapacityNotKept.into());
            assert_eq!(fault.code, Code::QPACK_DECODER_STREAM_ERROR);
        }
        assert_eq!(with(|s| s.qpack_blocked_streams = 1), reduced);
        assert_eq!(Settings::default().check_resumed(&Settings::default()), Ok(()));
        assert_eq!(
            remembered
                .check_resumed(&Settings { max_field_section_size: None, ..remembered.clone() }),
            reduced
        );
    }

    proptest! {
        // req-test 9114-7.2.4.2-182
        #[test]
        fn any_settings_survive_a_round_trip(
            qpack_max_table_capacity in 0..=varint::MAX,
            max_field_section_size in proptest::option::of(0..=varint::MAX),
            qpack_blocked_streams in 0..=varint::MAX,
            seed: u64,
        ) {
            let settings =
                Settings { qpack_max_table_capacity, max_field_section_size, qpack_blocked_streams };
            prop_assert_eq!(Settings::decode(payload(&settings, seed)), Ok(settings));
        }
    }
}
