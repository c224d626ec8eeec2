//! A second address of the server, to which it would rather have its clients move.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};

use quic_core::config::PreferredAddresses;

/// Where the runner has its clients, for each family: the way there tells who we are.
const CLIENTS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(193, 167, 0, 100)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xcafe, 0xcafe, 0, 0, 0, 0, 0x100)),
];

/// Another port of this machine.
pub(super) struct Preferred {
    pub(super) socket: UdpSocket,
    pub(super) addresses: PreferredAddresses,
}

impl Preferred {
    /// Any free port, at the addresses that clients find this machine by.
    pub(super) fn bind() -> io::Result<Self> {
        let any = |ip: IpAddr| UdpSocket::bind((ip, 0));
        let socket =
            any(Ipv6Addr::UNSPECIFIED.into()).or_else(|_| any(Ipv4Addr::UNSPECIFIED.into()))?;
        let port = socket.local_addr()?.port();
        let mut addresses = PreferredAddresses::default();
        for client in CLIENTS {
            match own_address(client) {
                Ok(IpAddr::V4(v4)) => addresses.ipv4 = Some(SocketAddrV4::new(v4, port)),
                Ok(IpAddr::V6(v6)) => addresses.ipv6 = Some(SocketAddrV6::new(v6, port, 0, 0)),
                // There is no way there: nobody comes from there either.
                Err(_) => {}
            }
        }
        Ok(Self { socket, addresses })
    }
}

/// The address from which packets to `peer` are sent. Sends none.
fn own_address(peer: IpAddr) -> io::Result<IpAddr> {
    let any: IpAddr = match peer {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    // Any port does.
    socket.connect(SocketAddr::new(peer, 443))?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_found_at_the_address_that_leads_to_the_peer() {
        let localhost = Ipv4Addr::LOCALHOST.into();
        assert_eq!(own_address(localhost).unwrap(), localhost);
    }

    #[test]
    fn addresses_have_the_port_of_the_socket() {
        let Preferred { socket, addresses } = Preferred::bind().unwrap();
        let port = socket.local_addr().unwrap().port();
        assert!(addresses.ipv4.is_none_or(|ipv4| ipv4.port() == port));
        assert!(addresses.ipv6.is_none_or(|ipv6| ipv6.port() == port));
    }
}
