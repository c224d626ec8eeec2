//! An endpoint at work: a process with its children, which does not outlive the value.

use std::fs::File;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command as AsyncCommand};

use crate::failure::Failure;

/// How long an endpoint has for an orderly end.
const GRACE: Duration = Duration::from_secs(10);

/// A running endpoint.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    group: Pid,
    /// What must be done for nothing to stay behind.
    cleanup: Option<Command>,
}

impl Process {
    /// Starts `command` in a process group of its own; `output` gets what it prints.
    pub(crate) fn start(
        mut command: AsyncCommand,
        cleanup: Option<Command>,
        output: &Path,
    ) -> Result<Self, Failure> {
        let file = File::create(output)
            .and_then(|file| Ok((file.try_clone()?, file)))
            .map_err(|error| Failure::with_file("write", output, &error))?;
        let (stdout, stderr) = file;
        let started = command.stdout(stdout).stderr(stderr).process_group(0).spawn();
        let failed = |error| Failure::new(format!("cannot start an endpoint: {error}"));
        let child = started.map_err(failed)?;
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        let group = id.ok_or_else(|| Failure::new("an endpoint without a process"))?;
        Ok(Self { child, group: Pid::from_raw(group), cleanup })
    }

    /// Waits until it has ended. May be dropped and called again.
    pub(crate) async fn ended(&mut self) -> Result<ExitStatus, Failure> {
        let failed = |error| Failure::new(format!("cannot wait for an endpoint: {error}"));
        self.child.wait().await.map_err(failed)
    }

    /// Asks it to end, and makes it after some time. Returns how it did.
    pub(crate) async fn stop(mut self) -> Result<ExitStatus, Failure> {
        self.signal(Signal::SIGTERM);
        match tokio::time::timeout(GRACE, self.ended()).await {
            Ok(ended) => ended,
            Err(_) => {
                self.signal(Signal::SIGKILL);
                self.ended().await
            }
        }
    }

    fn signal(&self, signal: Signal) {
        // A group that has gone needs none.
        let _ = killpg(self.group, signal);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Children may be left of a process that has ended.
        self.signal(Signal::SIGKILL);
        if let Some(cleanup) = &mut self.cleanup {
            // What this cannot stop, nothing can.
            let _ = cleanup.status();
        }
    }
}
