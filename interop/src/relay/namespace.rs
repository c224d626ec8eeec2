//! Two rooms with a network of their own each, connected by nothing but the relay: network
//! namespaces, with the names and addresses of the interop runner.

use std::fs::File;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, setns};

use crate::failure::Failure;

/// What every namespace calls its network device.
const DEVICE: &str = "eth0";
/// No packet on the link is longer.
const MTU: usize = 1500;

/// The client's addresses.
pub(crate) const CLIENT: Addresses = Addresses {
    v4: Ipv4Addr::new(193, 167, 0, 100),
    v6: Ipv6Addr::new(0xfd00, 0xcafe, 0xcafe, 0, 0, 0, 0, 0x100),
};
/// The server's addresses.
pub(crate) const SERVER: Addresses = Addresses {
    v4: Ipv4Addr::new(193, 167, 100, 100),
    v6: Ipv6Addr::new(0xfd00, 0xcafe, 0xcafe, 0x100, 0, 0, 0, 0x100),
};
/// Neighbours of client and server, between which other traffic flows.
pub(crate) const CLIENT_NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(193, 167, 0, 90);
pub(crate) const SERVER_NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(193, 167, 100, 110);
/// The relay itself, in the server's network.
pub(crate) const RELAY: Ipv4Addr = Ipv4Addr::new(193, 167, 100, 2);

/// An address of each family.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses {
    pub(crate) v4: Ipv4Addr,
    pub(crate) v6: Ipv6Addr,
}

/// Whether the relay takes packets for this address to the other side. What stays on a link, such
/// as multicast, it does not.
pub(crate) fn is_routed(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.octets().starts_with(&[193, 167]),
        IpAddr::V6(v6) => v6.segments().starts_with(&[0xfd00, 0xcafe, 0xcafe]),
    }
}

/// The names that programs in both namespaces know.
pub(crate) fn host_names() -> Vec<(String, IpAddr)> {
    let mut names = vec![];
    for (name, Addresses { v4, v6 }) in [("client", CLIENT), ("server", SERVER)] {
        names.extend(["4", "46", ""].map(|family| (format!("{name}{family}"), v4.into())));
        names.extend(["6", "46"].map(|family| (format!("{name}{family}"), v6.into())));
    }
    names
}

/// What `/etc/hosts` says in both namespaces.
fn hosts() -> String {
    let line = |(name, address)| format!("{address} {name}\n");
    let others: String = host_names().into_iter().map(line).collect();
    format!("127.0.0.1 localhost\n::1 localhost\n{others}")
}

/// A network namespace, which is removed with the value.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes a namespace of this name, as `ip netns add` does, with its own `/etc/hosts`.
    pub(crate) fn create(name: String) -> Result<Self, Failure> {
        ip(&["netns", "add", &name], "")?;
        let namespace = Self { name };
        let etc = namespace.etc();
        let hosts_file = etc.join("hosts");
        std::fs::create_dir_all(&etc)
            .and_then(|()| std::fs::write(&hosts_file, hosts()))
            .map_err(|error| Failure::with_file("write", &hosts_file, &error))?;
        Ok(namespace)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Where the namespace is in the file system.
    fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// Takes a device of this namespace, makes it the `eth0` of that one, and gives it addresses.
    pub(crate) fn adopt(&self, device: &str, addresses: Addresses) -> Result<(), Failure> {
        ip(&["link", "set", device, "netns", &self.name, "name", DEVICE], "")?;
        let Addresses { v4, v6 } = addresses;
        let commands = format!(
            "link set lo up\n\
             link set {DEVICE} mtu {MTU} addrgenmode none\n\
             link set {DEVICE} up\n\
             addr add {v4}/24 dev {DEVICE}\n\
             addr add {v6}/64 dev {DEVICE} nodad\n\
             route add default dev {DEVICE}\n\
             route add ::/0 dev {DEVICE}\n"
        );
        ip(&["-n", &self.name, "-batch", "-"], &commands)
    }

    /// Gives the device a further address.
    pub(crate) fn add_address(&self, address: Ipv4Addr) -> Result<(), Failure> {
        ip(&["-n", &self.name, "addr", "add", &format!("{address}/24"), "dev", DEVICE], "")
    }

    /// Does something, such as opening a socket, in the namespace.
    pub(crate) fn enter<T: Send>(
        &self,
        action: impl FnOnce() -> io::Result<T> + Send,
    ) -> io::Result<T> {
        // A thread of its own, which takes the namespace with it when it ends.
        let inside = || {
            setns(File::open(self.path())?, CloneFlags::CLONE_NEWNET)?;
            action()
        };
        std::thread::scope(|scope| scope.spawn(inside).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    fn etc(&self) -> PathBuf {
        PathBuf::from("/etc/netns").join(&self.name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(failure) = ip(&["netns", "del", &self.name], "") {
            eprintln!("interop: {failure}");
        }
        // It holds what `create` has put there.
        let _ = std::fs::remove_dir_all(self.etc());
    }
}

/// The client's namespace and the server's.
#[derive(Debug)]
pub(crate) struct Rooms {
    pub(crate) client: Namespace,
    pub(crate) server: Namespace,
}

impl Rooms {
    /// Makes `NAME-client` and `NAME-server`.
    pub(crate) fn create(name: &str) -> Result<Self, Failure> {
        Ok(Self {
            client: Namespace::create(format!("{name}-client"))?,
            server: Namespace::create(format!("{name}-server"))?,
        })
    }
}

/// A name for the namespaces and devices of a run of this process: short, as devices want it.
pub(crate) fn run_name(number: u32) -> String {
    format!("q{}x{number}", std::process::id())
}

/// Removes namespaces whose process was killed before it could do that.
pub(crate) fn remove_abandoned() {
    let Ok(namespaces) = std::fs::read_dir("/run/netns") else { return };
    for entry in namespaces.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if owner(&name).is_some_and(|id| !std::path::Path::new(&format!("/proc/{id}")).exists()) {
            drop(Namespace { name });
        }
    }
}

/// The process that made the namespace, if it is one of a run.
fn owner(namespace: &str) -> Option<u32> {
    let (id, rest) = namespace.strip_prefix('q')?.split_once('x')?;
    let (number, side) = rest.split_once('-')?;
    number.parse::<u32>().ok().filter(|_| matches!(side, "client" | "server"))?;
    id.parse().ok()
}

/// Runs `ip` with these arguments and this input.
fn ip(arguments: &[&str], input: &str) -> Result<(), Failure> {
    let failed = |why: &dyn std::fmt::Display| {
        let command = arguments.join(" ");
        Failure::new(format!("`ip {command}` failed ({why}); it needs root and iproute2"))
    };
    let mut child = Command::new("ip")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(&error))?;
    // Dropped at the end of the statement, which ends the input.
    let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().map_err(|error| failed(&error))?;
    if !output.status.success() {
        return Err(failed(&String::from_utf8_lossy(&output.stderr).trim()));
    }
    written.map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_of_runs_tell_whose_they_are() {
        let name = run_name(7);
        assert_eq!(owner(&format!("{name}-client")), Some(std::process::id()));
        assert!(format!("{}c", "q4194304x9999").len() < 16, "too long for a device");
        for other in ["quic-client", "q1x2", "q1x2-other", "qx1-client", "q1xx-client", "cni-1"] {
            assert_eq!(owner(other), None, "{other}");
        }
    }

    #[test]
    fn only_what_has_another_side_is_routed() {
        for address in [IpAddr::from(CLIENT.v4), SERVER.v6.into(), SERVER_NEIGHBOUR.into()] {
            assert!(is_routed(address));
        }
        for address in ["224.0.0.22", "255.255.255.255", "ff02::16", "fe80::1", "10.0.0.1"] {
            assert!(!is_routed(address.parse().unwrap()), "{address}");
        }
    }
}
