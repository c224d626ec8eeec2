//! The peer's control stream (RFC 9114 sections 6.2.1 and 7.2): SETTINGS first, then a few frames
//! that concern the whole connection.

use bytes::Bytes;

use super::budget::Budget;
use super::error::{ConnectionFault, Violation};
use super::frame::{FrameDecoder, FrameEvent, FrameKind};
use super::id::Side;
use super::settings::Settings;

/// What the control stream says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ControlEvent {
    Settings(Settings),
    Goaway(u64),
}

/// Reads the control stream of the peer.
#[derive(Debug)]
pub(super) struct ControlStream {
    frames: FrameDecoder,
    phase: Phase,
    /// The largest push ID a client allows; ours are never used, but its rules are the peer's duty.
    max_push_id: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    AwaitSettings,
    Running,
}

impl ControlStream {
    pub(super) fn new() -> Self {
        // No field section is allowed here.
        Self { frames: FrameDecoder::new(0), phase: Phase::AwaitSettings, max_push_id: None }
    }

    /// The next thing `chunk` says; `None` once it is used up. `side` is ours.
    pub(super) fn next(
        &mut self,
        side: Side,
        chunk: &mut Bytes,
        budget: &mut Budget,
    ) -> Result<Option<ControlEvent>, ConnectionFault> {
        while let Some(event) = self.frames.next(chunk)? {
            match event {
                FrameEvent::Start(header) => self.on_start(side, header.kind, budget)?,
                FrameEvent::Settings(settings) => {
                    return Ok(Some(ControlEvent::Settings(settings)));
                }
                FrameEvent::Goaway(id) => return Ok(Some(ControlEvent::Goaway(id))),
                FrameEvent::CancelPush(_) => return Err(cancel_of_nothing(side)),
                FrameEvent::MaxPushId(id) => self.on_max_push_id(id)?,
                // `on_start` has refused these frames.
                FrameEvent::Data(_) | FrameEvent::Headers(_) | FrameEvent::HeadersTooLarge => {
                    return Err(Violation::FrameOnControlStream.into());
                }
            }
        }
        Ok(None)
    }

    // req 9114-6.2.1-133, 9114-7.2.4-163, 9114-7.2.1-151, 9114-7.2.2-152, 9114-7.2.5-193
    // req 9114-7.2.7-200, 9114-9-210
    fn on_start(
        &mut self,
        side: Side,
        kind: FrameKind,
        budget: &mut Budget,
    ) -> Result<(), ConnectionFault> {
        if self.phase == Phase::AwaitSettings {
            if kind != FrameKind::Settings {
                return Err(Violation::MissingSettings.into());
            }
            self.phase = Phase::Running;
            return Ok(());
        }
        match kind {
            FrameKind::Settings => Err(Violation::SecondSettings.into()),
            FrameKind::Data | FrameKind::Headers | FrameKind::PushPromise => {
                Err(Violation::FrameOnControlStream.into())
            }
            FrameKind::MaxPushId if side == Side::Client => {
                Err(Violation::MaxPushIdFromServer.into())
            }
            FrameKind::MaxPushId
            | FrameKind::Goaway
            | FrameKind::CancelPush
            | FrameKind::Unknown => budget.spend(),
        }
    }

    // req 9114-7.2.7-201
    fn on_max_push_id(&mut self, id: u64) -> Result<(), ConnectionFault> {
        if self.max_push_id.is_some_and(|before| id < before) {
            return Err(Violation::MaxPushIdReduced.into());
        }
        self.max_push_id = Some(id);
        Ok(())
    }
}

/// As a server we never promise a push, as a client we never allow one.
// req 9114-7.2.3-160, 9114-7.2.3-161
fn cancel_of_nothing(side: Side) -> ConnectionFault {
    match side {
        Side::Server => Violation::UnknownPushId.into(),
        Side::Client => Violation::PushNotAllowed.into(),
    }
}
