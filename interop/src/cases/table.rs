//! The table of all cases, in the order of the runner.

use std::time::Duration;

use super::checks::{
    amplification, chacha, ecn, files, goodput, handshakes, ipv6, key_phases, long_rtt, migration,
    resumption, retry, stream_limit, versions, zero_rtt,
};
use super::{Case, Chain, Check, Files};

const KB: u64 = 1024;
const MB: u64 = 1024 * KB;

const MINUTE: Duration = Duration::from_secs(60);
/// Fifty handshakes with loss take long, because what is lost first has a timeout of a second.
const MANY_HANDSHAKES: Duration = Duration::from_secs(300);

const ONE_CERTIFICATE: Chain = Chain { length: 1, extra_names: 0 };
/// So long that a server cannot send it before it has heard of the client again.
const LONG_CHAIN: Chain = Chain { length: 9, extra_names: 20 };

/// What most cases ask for in the end.
const ONE_HANDSHAKE: &[Check] = &[handshakes::exactly::<1>, versions::only_v1, files::arrived];
const FIFTY_HANDSHAKES: &[Check] = &[handshakes::exactly::<50>, versions::only_v1, files::arrived];

/// What the cases have in common; each row of [`ALL`] says what is different.
const PLAIN: Case = Case {
    name: "",
    abbreviation: "",
    about: "",
    client: "transfer",
    server: "transfer",
    files: Files::Sizes(&[]),
    host: "server4",
    scenario: "simple-p2p --delay=15ms --bandwidth=10Mbps --queue=25",
    chain: ONE_CERTIFICATE,
    timeout: MINUTE,
    cross_traffic: false,
    repeat: 1,
    measures: None,
    checks: ONE_HANDSHAKE,
};

const FIFTY_FILES: Files = Files::Many { count: 50, size: KB, name_len: 10 };

/// All cases: 22 tests, then two measurements.
pub(crate) static ALL: [Case; 24] = [
    Case {
        name: "handshake",
        abbreviation: "H",
        about: "One connection fetches one file.",
        client: "handshake",
        server: "handshake",
        files: Files::Sizes(&[KB]),
        checks: &[versions::only_v1, files::arrived, retry::none, handshakes::exactly::<1>],
        ..PLAIN
    },
    Case {
        name: "transfer",
        abbreviation: "DC",
        about: "Three large files arrive side by side, and flow control windows grow.",
        files: Files::Sizes(&[2 * MB, 3 * MB, 5 * MB]),
        ..PLAIN
    },
    Case {
        name: "longrtt",
        abbreviation: "LR",
        about: "The handshake completes though a round trip takes longer than the first timeout.",
        client: "handshake",
        server: "handshake",
        files: Files::Sizes(&[KB]),
        scenario: "simple-p2p --delay=750ms --bandwidth=10Mbps --queue=25",
        checks: &[
            handshakes::exactly::<1>,
            versions::only_v1,
            files::arrived,
            long_rtt::client_hello_repeated,
        ],
        ..PLAIN
    },
    Case {
        name: "chacha20",
        abbreviation: "C20",
        about: "ChaCha20-Poly1305 is the only cipher suite.",
        client: "chacha20",
        server: "chacha20",
        files: Files::Sizes(&[3 * MB]),
        checks: &[
            handshakes::exactly::<1>,
            chacha::only_suite_offered,
            versions::only_v1,
            files::arrived,
        ],
        ..PLAIN
    },
    Case {
        name: "multiplexing",
        abbreviation: "M",
        about: "Thousands of files on one connection, whose server raises its limit of streams.",
        files: Files::Many { count: 1999, size: 32, name_len: 10 },
        checks: &[
            handshakes::keys_logged,
            handshakes::exactly::<1>,
            versions::only_v1,
            files::arrived,
            stream_limit::at_most_1000,
        ],
        ..PLAIN
    },
    Case {
        name: "retry",
        abbreviation: "S",
        about: "The server asks for proof of the address before it goes on.",
        client: "retry",
        server: "retry",
        files: Files::Sizes(&[10 * KB]),
        checks: &[
            handshakes::exactly::<1>,
            versions::only_v1,
            files::arrived,
            retry::token_returned,
        ],
        ..PLAIN
    },
    Case {
        name: "resumption",
        abbreviation: "R",
        about: "A second connection goes on with the session of the first.",
        client: "resumption",
        server: "resumption",
        files: Files::Sizes(&[5 * KB, 10 * KB]),
        checks: &[
            handshakes::keys_logged,
            handshakes::exactly::<2>,
            resumption::second_without_certificate,
            versions::only_v1,
            files::arrived,
        ],
        ..PLAIN
    },
    Case {
        name: "zerortt",
        abbreviation: "Z",
        about: "A second connection sends its requests in the first flight.",
        client: "zerortt",
        server: "zerortt",
        files: Files::Many { count: 40, size: 32, name_len: 250 },
        checks: &[
            handshakes::exactly::<2>,
            versions::only_v1,
            files::arrived,
            zero_rtt::requests_are_early,
        ],
        ..PLAIN
    },
    Case {
        name: "http3",
        abbreviation: "3",
        about: "HTTP/3 requests side by side.",
        client: "http3",
        server: "http3",
        files: Files::Sizes(&[5 * KB, 10 * KB, 500 * KB]),
        ..PLAIN
    },
    Case {
        name: "blackhole",
        abbreviation: "B",
        about: "The transfer goes on after the network was silent for two seconds.",
        files: Files::Sizes(&[10 * MB]),
        scenario: "blackhole --delay=15ms --bandwidth=10Mbps --queue=25 --on=5s --off=2s",
        ..PLAIN
    },
    Case {
        name: "keyupdate",
        abbreviation: "U",
        about: "One side changes its keys, and the other follows.",
        client: "keyupdate",
        files: Files::Sizes(&[3 * MB]),
        checks: &[
            handshakes::keys_logged,
            handshakes::exactly::<1>,
            versions::only_v1,
            files::arrived,
            key_phases::both_updated,
        ],
        ..PLAIN
    },
    Case {
        name: "ecn",
        abbreviation: "E",
        about: "Both sides mark packets for ECN, and report what marks arrived.",
        client: "ecn",
        server: "ecn",
        files: Files::Sizes(&[100 * KB]),
        checks: &[
            handshakes::keys_logged,
            versions::only_v1,
            files::arrived,
            retry::none,
            handshakes::exactly::<1>,
            ecn::marked_and_reported,
        ],
        ..PLAIN
    },
    Case {
        name: "amplificationlimit",
        abbreviation: "A",
        about: "The server sends at most three times as much as an unproven client.",
        files: Files::Sizes(&[5 * KB]),
        scenario: "droplist --delay=15ms --bandwidth=10Mbps --queue=25 \
                   --drops_to_server=2,3,4,5,6,7",
        chain: LONG_CHAIN,
        checks: &[
            handshakes::keys_logged,
            handshakes::exactly::<1>,
            versions::only_v1,
            files::arrived,
            amplification::long_chain_sent,
            amplification::limit_kept,
        ],
        ..PLAIN
    },
    Case {
        name: "handshakeloss",
        abbreviation: "L1",
        about: "Handshakes complete though every third packet is lost.",
        client: "multiconnect",
        server: "multiconnect",
        files: FIFTY_FILES,
        scenario: "drop-rate --delay=15ms --bandwidth=10Mbps --queue=25 --rate_to_server=30 \
                   --rate_to_client=30 --burst_to_server=3 --burst_to_client=3",
        timeout: MANY_HANDSHAKES,
        checks: FIFTY_HANDSHAKES,
        ..PLAIN
    },
    Case {
        name: "transferloss",
        abbreviation: "L2",
        about: "A file arrives though some packets are lost.",
        files: Files::Sizes(&[2 * MB]),
        scenario: "drop-rate --delay=15ms --bandwidth=10Mbps --queue=25 --rate_to_server=2 \
                   --rate_to_client=2 --burst_to_server=3 --burst_to_client=3",
        ..PLAIN
    },
    Case {
        name: "handshakecorruption",
        abbreviation: "C1",
        about: "Handshakes complete though every third packet is damaged.",
        client: "multiconnect",
        server: "multiconnect",
        files: FIFTY_FILES,
        scenario: "corrupt-rate --delay=15ms --bandwidth=10Mbps --queue=25 --rate_to_server=30 \
                   --rate_to_client=30 --burst_to_server=3 --burst_to_client=3",
        timeout: MANY_HANDSHAKES,
        checks: FIFTY_HANDSHAKES,
        ..PLAIN
    },
    Case {
        name: "transfercorruption",
        abbreviation: "C2",
        about: "A file arrives though some packets are damaged.",
        files: Files::Sizes(&[2 * MB]),
        scenario: "corrupt-rate --delay=15ms --bandwidth=10Mbps --queue=25 --rate_to_server=2 \
                   --rate_to_client=2 --burst_to_server=3 --burst_to_client=3",
        ..PLAIN
    },
    Case {
        name: "ipv6",
        abbreviation: "6",
        about: "A transfer over IPv6.",
        files: Files::Sizes(&[5 * KB, 10 * KB]),
        host: "server6",
        checks: &[
            handshakes::exactly::<1>,
            versions::only_v1,
            files::arrived,
            ipv6::server_uses_nothing_else,
        ],
        ..PLAIN
    },
    Case {
        name: "v2",
        abbreviation: "V2",
        about: "The server moves a connection from version 1 to version 2.",
        client: "v2",
        server: "v2",
        files: Files::Sizes(&[KB]),
        checks: &[versions::moved_to_v2, files::arrived],
        ..PLAIN
    },
    Case {
        name: "rebind-port",
        abbreviation: "BP",
        about: "The transfer goes on while a NAT gives the client other ports.",
        files: Files::Sizes(&[10 * MB]),
        scenario: "rebind --delay=15ms --bandwidth=10Mbps --queue=25 --first-rebind=1s \
                   --rebind-freq=5s",
        checks: &[
            handshakes::keys_logged,
            handshakes::exactly::<1>,
            versions::only_v1,
            files::arrived,
            migration::new_paths_are_validated,
        ],
        ..PLAIN
    },
    Case {
        name: "rebind-addr",
        abbreviation: "BA",
        about: "The transfer goes on while a NAT gives the client other addresses and ports.",
        files: Files::Sizes(&[10 * MB]),
        scenario: "rebind --delay=15ms --bandwidth=10Mbps --queue=25 --first-rebind=1s \
                   --rebind-freq=5s --rebind-addr",
        checks: &[
            handshakes::keys_logged,
            migration::several_client_addresses,
            handshakes::exactly::<1>,
            versions::only_v1,
            files::arrived,
            migration::new_paths_are_validated,
        ],
        ..PLAIN
    },
    Case {
        name: "connectionmigration",
        abbreviation: "CM",
        about: "The client moves to the address that the server prefers.",
        server: "connectionmigration",
        files: Files::Sizes(&[2 * MB]),
        host: "server46",
        checks: &[
            handshakes::keys_logged,
            handshakes::exactly::<1>,
            versions::only_v1,
            files::arrived,
            migration::new_paths_are_validated,
            migration::new_paths_get_new_connection_ids,
        ],
        ..PLAIN
    },
    Case {
        name: "goodput",
        abbreviation: "G",
        about: "How fast a file goes over a link of 10 Mbit/s.",
        files: Files::Sizes(&[10 * MB]),
        repeat: 5,
        measures: Some(goodput::of_file),
        ..PLAIN
    },
    Case {
        name: "crosstraffic",
        abbreviation: "C",
        about: "How fast a file goes over a link of 10 Mbit/s beside a TCP connection.",
        files: Files::Sizes(&[25 * MB]),
        timeout: Duration::from_secs(180),
        cross_traffic: true,
        repeat: 5,
        measures: Some(goodput::of_file),
        ..PLAIN
    },
];
