//! A simulated network with somebody who writes down what happens in it.

use std::io;
use std::time::Instant;

use super::impair::Direction;
use super::network::{Arrival, Network, Outcome};
use super::packet::Packet;
use super::record::{Counts, Recorder, Side};

/// Takes packets at one end and gives them out at the other.
#[derive(Debug)]
pub(crate) struct Carrier {
    network: Network,
    recorder: Option<Recorder>,
    has_rebound: bool,
}

impl Carrier {
    pub(crate) fn new(network: Network, recorder: Option<Recorder>) -> Self {
        Self { network, recorder, has_rebound: false }
    }

    /// A packet has come to one end.
    pub(crate) fn enter(
        &mut self,
        now: Instant,
        direction: Direction,
        packet: Packet,
    ) -> io::Result<()> {
        let seen_at = match direction {
            Direction::ToServer => Side::Left,
            Direction::ToClient => Side::Right,
        };
        self.rebind(now)?;
        let Some(recorder) = &mut self.recorder else {
            // Losses are the recorder's business.
            let _ = self.network.enter(now, direction, packet);
            return Ok(());
        };
        recorder.packet(now, seen_at, &packet)?;
        match self.network.enter(now, direction, packet.clone()) {
            Ok(()) => Ok(()),
            Err(loss) => recorder.outcome(now, direction, &packet, Outcome::Lost(loss)),
        }
    }

    /// The next packet that shall leave at the other end by now.
    pub(crate) fn poll_delivery(
        &mut self,
        now: Instant,
    ) -> io::Result<Option<(Direction, Packet)>> {
        self.rebind(now)?;
        while let Some(Arrival { direction, packet, outcome }) = self.network.poll_arrival(now) {
            if let Some(recorder) = &mut self.recorder {
                recorder.outcome(now, direction, &packet, outcome)?;
            }
            if let Outcome::Lost(_) = outcome {
                continue;
            }
            let seen_at = match direction {
                Direction::ToServer => Side::Right,
                Direction::ToClient => Side::Left,
            };
            if let Some(recorder) = &mut self.recorder {
                recorder.packet(now, seen_at, &packet)?;
            }
            return Ok(Some((direction, packet)));
        }
        Ok(None)
    }

    /// When there may be something to deliver.
    pub(crate) fn next_event(&self) -> Option<Instant> {
        self.network.next_event()
    }

    /// Whether the NAT has changed its mappings since the last time that this was asked.
    pub(crate) fn take_rebound(&mut self) -> bool {
        std::mem::take(&mut self.has_rebound)
    }

    /// Completes what was written down.
    pub(crate) fn finish(self, now: Instant) -> io::Result<Counts> {
        self.recorder.map_or(Ok(Counts::default()), |recorder| recorder.finish(now))
    }

    fn rebind(&mut self, now: Instant) -> io::Result<()> {
        let Some(flows) = self.network.poll_rebind(now) else { return Ok(()) };
        self.has_rebound = true;
        self.recorder.as_mut().map_or(Ok(()), |recorder| recorder.rebind(now, flows))
    }
}
