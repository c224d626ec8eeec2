//! One run of a test case: both endpoints with the link between them, until one of them ends.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use quic_core::util::Rng;

use super::cross_traffic::CrossTraffic;
use super::folder::RunFolder;
use super::implementation::{Implementation, Role, Task};
use super::process::Process;
use crate::cases::{Case, Evidence, Verdict};
use crate::failure::Failure;
use crate::relay::namespace::Rooms;
use crate::relay::run::{Plan, Relay, Stage};

/// The exit status of an endpoint that does not know a test case.
const UNSUPPORTED: i32 = 127;
/// How long a server may take until it answers.
const SERVER_PATIENCE: Duration = Duration::from_secs(20);
/// How long an endpoint may take to find out that it does not know a test case.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(20);

/// What is run, and where.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// Names namespaces and devices; no other run of the machine may have it.
    pub(crate) name: String,
    pub(crate) client: Implementation,
    pub(crate) server: Implementation,
    pub(crate) case: &'static Case,
    pub(crate) scenario: String,
    /// Decides about files and about the network.
    pub(crate) seed: u64,
    pub(crate) folder: PathBuf,
}

/// How a run came to its end.
enum Ending {
    /// An endpoint was the first to end.
    Ended(Role, ExitStatus),
    TimedOut,
    /// The server was there, but did not answer.
    NoAnswer(Failure),
}

impl Run {
    /// Runs it, and judges what it leaves behind.
    pub(crate) async fn execute(self) -> Result<Verdict, Failure> {
        let folder = RunFolder::create(&self.folder)?;
        let requests = folder.fill(self.case, &mut self.rng())?;
        let verdict = match self.until_the_end(&folder, &requests).await? {
            Ok(()) => {
                let (case, path) = (self.case, folder.path().to_owned());
                tokio::task::spawn_blocking(move || Evidence::read(&path).map(|e| case.check(&e)))
                    .await
                    .map_err(|_| Failure::new("a check panicked"))??
            }
            Err(verdict) => verdict,
        };
        folder.write("verdict.txt", format!("{}: {verdict}\n", self.case.name).as_bytes())?;
        Ok(verdict)
    }

    /// Runs both endpoints. Says whether there is something to check, or what is to be said without.
    async fn until_the_end(
        &self,
        folder: &RunFolder,
        requests: &str,
    ) -> Result<Result<(), Verdict>, Failure> {
        let rooms = Arc::new(Rooms::create(&self.name)?);
        let plan = Plan {
            scenario: self.scenario.clone(),
            seed: self.seed,
            directory: Some(folder.sim()),
            server_patience: Some(SERVER_PATIENCE),
        };
        let mut relay = Relay::start(&self.name, &rooms, plan);
        relay.reach(Stage::DevicesUp).await?;

        let mut server = self.start(Role::Server, "", &rooms, folder)?;
        let early = tokio::select! {
            ended = server.ended() => Some(Ending::Ended(Role::Server, ended?)),
            up = relay.reach(Stage::LinkUp) => up.err().map(Ending::NoAnswer),
        };
        let (ending, client) = match early {
            Some(ending) => (ending, None),
            None => {
                let _traffic = match self.case.cross_traffic {
                    true => Some(CrossTraffic::start(&rooms)?),
                    false => None,
                };
                let mut client = self.start(Role::Client, requests, &rooms, folder)?;
                let ending = tokio::select! {
                    ended = client.ended() => Ending::Ended(Role::Client, ended?),
                    ended = server.ended() => Ending::Ended(Role::Server, ended?),
                    () = tokio::time::sleep(self.case.timeout) => Ending::TimedOut,
                    failure = relay.failure() => return Err(failure),
                };
                (ending, Some(client))
            }
        };
        let server = server.stop().await?;
        let client = match client {
            Some(client) => Some(client.stop().await?),
            None => None,
        };
        if !matches!(ending, Ending::NoAnswer(_)) {
            relay.stop()?;
        }
        for (role, status) in [(Role::Server, Some(server)), (Role::Client, client)] {
            if let Some(status) = status {
                folder.write(&format!("{role}/exit"), format!("{status}\n").as_bytes())?;
            }
        }
        let refused = |status: ExitStatus| status.code() == Some(UNSUPPORTED);
        if refused(server) {
            return Ok(Err(Verdict::Unsupported("the server does not know the case".into())));
        }
        if client.is_some_and(refused) {
            return Ok(Err(Verdict::Unsupported("the client does not know the case".into())));
        }
        Ok(self.outcome(ending).map_err(Verdict::Failed))
    }

    /// The rule of the runner, but for this: the endpoint that ends first must have succeeded, and
    /// not just any of the two.
    fn outcome(&self, ending: Ending) -> Result<(), String> {
        match ending {
            Ending::Ended(_, status) if status.success() => Ok(()),
            Ending::Ended(role, status) => Err(format!("the {role} ended with {status}")),
            Ending::TimedOut => Err(format!("not done after {} s", self.case.timeout.as_secs())),
            Ending::NoAnswer(failure) => Err(failure.to_string()),
        }
    }

    /// Whether an endpoint says that it does not know a case that does not exist.
    pub(crate) async fn refuses_unknown(self, role: Role) -> Result<bool, Failure> {
        let folder = RunFolder::create(&self.folder)?;
        let mut rng = self.rng();
        folder.fill_certificates(self.case, &mut rng)?;
        let rooms = Arc::new(Rooms::create(&self.name)?);
        let plan = Plan {
            scenario: self.scenario.clone(),
            seed: self.seed,
            directory: None,
            server_patience: None,
        };
        let mut relay = Relay::start(&self.name, &rooms, plan);
        relay.reach(Stage::LinkUp).await?;
        let testcase = super::folder::letters(&mut rng, 10);
        let requests = match role {
            Role::Client => "https://server4:443/nothing",
            Role::Server => "",
        };
        let task = Task { role, testcase: &testcase, requests };
        let mut endpoint = self.start_task(&task, &rooms, &folder)?;
        let ended = tokio::time::timeout(REFUSAL_PATIENCE, endpoint.ended()).await;
        Ok(match ended {
            Ok(status) => status?.code() == Some(UNSUPPORTED),
            Err(_) => false,
        })
    }

    fn start(
        &self,
        role: Role,
        requests: &str,
        rooms: &Rooms,
        folder: &RunFolder,
    ) -> Result<Process, Failure> {
        let testcase = match role {
            Role::Client => self.case.client,
            Role::Server => self.case.server,
        };
        self.start_task(&Task { role, testcase, requests }, rooms, folder)
    }

    fn start_task(
        &self,
        task: &Task<'_>,
        rooms: &Rooms,
        folder: &RunFolder,
    ) -> Result<Process, Failure> {
        let (implementation, room) = match task.role {
            Role::Client => (&self.client, &rooms.client),
            Role::Server => (&self.server, &rooms.server),
        };
        let command = implementation.command(task, room, folder);
        Process::start(command, implementation.cleanup(room), &folder.output(task.role))
    }

    fn rng(&self) -> Rng {
        let mut seed = [0; 32];
        let (low, _) = seed.split_at_mut(8);
        low.copy_from_slice(&self.seed.to_le_bytes());
        Rng::from_seed(seed)
    }
}
