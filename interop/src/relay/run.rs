//! A relay at work, on a thread of its own: whoever starts it is not held up, and does not hold up
//! packets either.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};

use super::carrier::Carrier;
use super::carry::Devices;
use super::namespace::Rooms;
use super::network::Network;
use super::record::{Counts, Recorder};
use super::scenario::Scenario;
use crate::failure::Failure;

/// The highest priority but that of the system's own.
const NICENESS: &str = "-15";

/// What a relay shall do.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// A scenario of the network simulator.
    pub(crate) scenario: String,
    /// Decides what is drawn by lot.
    pub(crate) seed: u64,
    /// Where captures and the log go.
    pub(crate) directory: Option<PathBuf>,
    /// How long the link waits for a server that answers; not at all without it.
    pub(crate) server_patience: Option<Duration>,
}

impl Plan {
    /// The network that is planned, and who writes down what happens in it, from `start`.
    pub(crate) fn carrier(&self, start: Instant) -> Result<Carrier, Failure> {
        let scenario: Scenario = self.scenario.parse()?;
        let recorder = self.directory.as_deref().map(|directory| {
            Recorder::create(directory, start, &self.scenario, self.seed)
                .map_err(|error| Failure::with_file("write captures into", directory, &error))
        });
        Ok(Carrier::new(Network::new(start, &scenario, self.seed), recorder.transpose()?))
    }
}

/// How far a relay has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Nothing is there yet.
    Starting,
    /// Both namespaces have their device.
    DevicesUp,
    /// The link carries packets; its time runs.
    LinkUp,
}

/// A relay that runs until it is stopped or dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    stage: watch::Receiver<Stage>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<Counts, Failure>>>,
}

impl Relay {
    /// Connects `rooms`. `name` names devices for a moment: it must be the run's own, and short.
    pub(crate) fn start(name: &str, rooms: &std::sync::Arc<Rooms>, plan: Plan) -> Self {
        let (stage_sender, stage) = watch::channel(Stage::Starting);
        let (stop, stopped) = oneshot::channel();
        let (name, rooms) = (name.to_owned(), rooms.clone());
        let thread = std::thread::spawn(move || {
            go_first();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| Failure::new(format!("no relay: {error}")))?;
            runtime.block_on(relay(&name, &rooms, &plan, &stage_sender, stopped))
        });
        Self { stage, stop: Some(stop), thread: Some(thread) }
    }

    /// Waits until the relay has come to `stage`, or tells why it cannot.
    pub(crate) async fn reach(&mut self, stage: Stage) -> Result<(), Failure> {
        if self.stage.wait_for(|reached| *reached >= stage).await.is_ok() {
            return Ok(());
        }
        match self.join() {
            Err(failure) => Err(failure),
            Ok(_) => Err(Failure::new("the relay has ended early")),
        }
    }

    /// Waits for an end that it should not come to.
    pub(crate) async fn failure(&mut self) -> Failure {
        while self.stage.changed().await.is_ok() {}
        match self.join() {
            Err(failure) => failure,
            Ok(_) => Failure::new("the relay has ended early"),
        }
    }

    /// Ends the relay and completes what it has recorded.
    pub(crate) fn stop(mut self) -> Result<Counts, Failure> {
        self.join()
    }

    fn join(&mut self) -> Result<Counts, Failure> {
        drop(self.stop.take());
        let gone = || Failure::new("the relay has ended before");
        let thread = self.thread.take().ok_or_else(gone)?;
        thread.join().unwrap_or_else(|_| Err(Failure::new("the relay panicked")))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // Whoever wants to know the outcome calls `stop`.
        let _ = self.join();
    }
}

/// Asks the scheduler to prefer this thread: packets should leave on time, however busy endpoints
/// are. It needs little time itself.
fn go_first() {
    let thread = nix::unistd::gettid().to_string();
    let mut command = Command::new("renice");
    command.args(["-n", NICENESS, "-p", &thread]).stdout(Stdio::null()).stderr(Stdio::null());
    // Where that is not possible, the link is somewhat less precise.
    let _ = command.status();
}

async fn relay(
    name: &str,
    rooms: &Rooms,
    plan: &Plan,
    stage: &watch::Sender<Stage>,
    mut stopped: oneshot::Receiver<()>,
) -> Result<Counts, Failure> {
    let devices = Devices::create(name, rooms)?;
    stage.send_replace(Stage::DevicesUp);
    let failed = |error| Failure::new(format!("the relay cannot go on: {error}"));

    if let Some(patience) = plan.server_patience {
        tokio::select! {
            _ = &mut stopped => return Ok(Counts::default()),
            answered = devices.await_server() => answered.map_err(failed)?,
            () = tokio::time::sleep(patience) => {
                let seconds = patience.as_secs();
                return Err(Failure::new(format!(
                    "no server answered a version that it does not know, for {seconds} s"
                )));
            }
        }
    }

    let mut carrier = plan.carrier(Instant::now())?;
    stage.send_replace(Stage::LinkUp);
    tokio::select! {
        _ = &mut stopped => {}
        carried = devices.carry(&mut carrier) => carried.map_err(failed)?,
    }
    carrier.finish(Instant::now()).map_err(failed)
}
