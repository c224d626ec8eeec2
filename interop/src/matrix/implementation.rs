//! Which programs can be endpoints, and how they are started in a namespace.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tokio::process::Command as AsyncCommand;

use super::folder::RunFolder;
use crate::failure::Failure;
use crate::relay::namespace::{Namespace, host_names};

/// The name under which the matrix knows this program.
pub(crate) const OURS: &str = "ours";

/// Which side of a connection an endpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Client,
    Server,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Server => "server",
        })
    }
}

/// One implementation of QUIC.
#[derive(Debug, Clone)]
pub(crate) struct Implementation {
    pub(crate) name: String,
    pub(crate) version: String,
    program: Program,
    faults: Vec<Fault>,
}

/// A case that an implementation is known to fail at times, through no fault of its peer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    role: String,
    case: String,
    reason: String,
}

/// What is started.
#[derive(Debug, Clone)]
enum Program {
    /// A script of `interop/peers/matrix`, with the runner's folders in their places.
    Adapter(PathBuf),
    /// A container of this image, started by `interop/containers`.
    Image { starter: PathBuf, image: String },
}

/// What an endpoint is asked to do.
#[derive(Debug, Clone)]
pub(crate) struct Task<'a> {
    pub(crate) role: Role,
    pub(crate) testcase: &'a str,
    /// URLs, for a client.
    pub(crate) requests: &'a str,
}

impl Implementation {
    /// The implementations of `directory`, each a folder with `run` and `version` in it.
    pub(crate) fn find_all(directory: &Path) -> Result<Vec<Self>, Failure> {
        let entries = std::fs::read_dir(directory).map_err(|error| {
            let failure = Failure::with_file("read", directory, &error);
            Failure::new(format!("{failure} (run this at the root of the repository)"))
        })?;
        let folders = entries.filter_map(|entry| entry.ok()?.path().canonicalize().ok());
        let mut all: Vec<_> = folders.filter_map(|folder| Self::in_folder(&folder)).collect();
        // Ours first: it is what the matrix is about.
        all.sort_by_key(|found| (found.name != OURS, found.name.clone()));
        Ok(all)
    }

    fn in_folder(folder: &Path) -> Option<Self> {
        let run = folder.join("run");
        let name = folder.file_name()?.to_str()?.to_owned();
        run.is_file().then(|| Self {
            name,
            version: version(&folder.join("version")),
            program: Program::Adapter(run),
            faults: faults(&std::fs::read_to_string(folder.join("faults")).unwrap_or_default()),
        })
    }

    /// Why this implementation may fail a case, if that is known.
    pub(crate) fn known_fault(&self, role: Role, case: &str) -> Option<&str> {
        let role = role.to_string();
        let fault = self.faults.iter().find(|fault| fault.role == role && fault.case == case);
        fault.map(|fault| fault.reason.as_str())
    }

    /// The same implementation from a container image that `interop/containers` has built.
    pub(crate) fn in_image(&self, starter: &Path, image: &str) -> Self {
        let program = Program::Image { starter: starter.into(), image: image.into() };
        Self { program, ..self.clone() }
    }

    /// How to start it for a task, in a namespace, with what is in the folder of the run.
    pub(crate) fn command(
        &self,
        task: &Task<'_>,
        room: &Namespace,
        folder: &RunFolder,
    ) -> AsyncCommand {
        let role = task.role.to_string();
        let environment = [
            ("ROLE", role.as_str()),
            ("TESTCASE", task.testcase),
            ("REQUESTS", task.requests),
            ("SSLKEYLOGFILE", "/logs/keys.log"),
            ("QLOGDIR", "/logs/qlog/"),
            ("SERVER_PARAMS", ""),
            ("CLIENT_PARAMS", ""),
        ];
        let mounts = folder.mounts(task.role);
        let mut command = match &self.program {
            Program::Adapter(script) => {
                let mut command = in_namespace(room, &mounts);
                command.arg(script).envs(environment);
                if let Ok(this) = std::env::current_exe() {
                    command.env("INTEROP", this);
                }
                command
            }
            Program::Image { starter, image } => {
                let mut command = AsyncCommand::new(starter);
                command.env("IMAGE", image).args(["run", room.name(), "--name", room.name()]);
                for (host, address) in host_names() {
                    command.args(["--add-host", &format!("{host}:{address}")]);
                }
                for (outside, inside) in &mounts {
                    command.arg("--volume").arg(format!("{}:{inside}", outside.display()));
                }
                for (name, value) in environment {
                    command.args(["--env", &format!("{name}={value}")]);
                }
                command
            }
        };
        command.stdin(Stdio::null());
        command
    }

    /// How to make sure that nothing of it runs any more in a namespace.
    pub(crate) fn cleanup(&self, room: &Namespace) -> Option<Command> {
        match &self.program {
            Program::Adapter(_) => None,
            Program::Image { starter, .. } => {
                let mut command = Command::new(starter);
                command.args(["stop", room.name()]).stdin(Stdio::null());
                Some(command)
            }
        }
    }
}

#[cfg(test)]
impl Implementation {
    /// One that cannot be started.
    pub(crate) fn named(name: &str) -> Self {
        let program = Program::Adapter(PathBuf::new());
        let faults = faults(&format!("# of {name}\n\nserver handshake it {name}s\n"));
        Self { name: name.into(), version: "1".into(), program, faults }
    }
}

/// Begins a command whose program sees `mounts`: directories, under other names.
fn in_namespace(room: &Namespace, mounts: &[(PathBuf, &str)]) -> AsyncCommand {
    // `ip netns exec` has made a mount namespace of its own for the command.
    let script = "while [ \"$1\" != -- ]; do mount --bind \"$1\" \"$2\" || exit 1; shift 2; done; \
                  shift; exec \"$@\"";
    let mut command = AsyncCommand::new("ip");
    command.args(["netns", "exec", room.name(), "sh", "-c", script, "sh"]);
    for (outside, inside) in mounts {
        command.arg(outside).arg(inside);
    }
    command.arg("--");
    command
}

/// Reads lines of "role case reason".
fn faults(text: &str) -> Vec<Fault> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let fault = |line: &str| {
        let (role, rest) = line.split_once(' ')?;
        let (case, reason) = rest.split_once(' ')?;
        Some(Fault { role: role.into(), case: case.into(), reason: reason.into() })
    };
    lines.filter_map(fault).collect()
}

fn version(script: &Path) -> String {
    let mut command = Command::new(script);
    if let Ok(this) = std::env::current_exe() {
        command.env("INTEROP", this);
    }
    let output = command.stdin(Stdio::null()).output();
    let text = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    let text = String::from_utf8_lossy(&text.unwrap_or_default()).trim().to_owned();
    if text.is_empty() { "unknown version".into() } else { text }
}
