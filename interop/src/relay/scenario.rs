//! What a link does to packets, written the way of the public network simulator:
//! `drop-rate --delay=15ms --bandwidth=10Mbps --queue=25 --rate_to_client=30 …`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::link::LinkSpec;
use crate::failure::Failure;

/// The link of most test cases of the interop runner.
pub(crate) const DEFAULT: &str = "simple-p2p --delay=15ms --bandwidth=10Mbps --queue=25";

/// A link and what happens on it.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(crate) enum Scenario {
    /// A link that only delays packets, and drops what does not fit into its queue.
    #[command(name = "simple-p2p")]
    SimpleP2p(LinkOptions),
    /// UDP datagrams are dropped at random.
    DropRate {
        #[command(flatten)]
        link: LinkOptions,
        #[command(flatten)]
        rates: RateOptions,
    },
    /// A byte of random UDP datagrams is changed.
    CorruptRate {
        #[command(flatten)]
        link: LinkOptions,
        #[command(flatten)]
        rates: RateOptions,
        /// What becomes of a chosen datagram.
        #[arg(long, value_enum, default_value_t = Corruption::Deliver)]
        corruption: Corruption,
    },
    /// The datagrams of a list are dropped.
    Droplist {
        #[command(flatten)]
        link: LinkOptions,
        /// Numbers of UDP datagrams, from 1.
        #[arg(long = "drops_to_client", value_delimiter = ',')]
        to_client: Vec<u64>,
        /// Numbers of UDP datagrams, from 1.
        #[arg(long = "drops_to_server", value_delimiter = ',')]
        to_server: Vec<u64>,
    },
    /// Nothing passes for a while.
    Blackhole {
        #[command(flatten)]
        link: LinkOptions,
        #[command(flatten)]
        outage: Outage,
    },
    /// A NAT in front of the client changes its mind.
    Rebind {
        #[command(flatten)]
        link: LinkOptions,
        #[command(flatten)]
        rebinds: Rebinds,
    },
}

/// What every scenario wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub(crate) struct LinkOptions {
    /// How long a packet travels one way.
    #[arg(long, value_parser = duration)]
    delay: Duration,
    /// How much the link carries each way, for instance 10Mbps.
    #[arg(long, value_parser = bandwidth)]
    bandwidth: u64,
    /// Packets that wait in front of the link, each way.
    #[arg(long)]
    queue: usize,
}

/// How many datagrams are chosen, in each direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub(crate) struct RateOptions {
    /// Per cent of the datagrams to the client.
    #[arg(long = "rate_to_client", value_parser = percentage())]
    to_client: u8,
    /// Per cent of the datagrams to the server.
    #[arg(long = "rate_to_server", value_parser = percentage())]
    to_server: u8,
    /// No more than so many one after the other, to the client.
    #[arg(long = "burst_to_client")]
    burst_to_client: Option<u32>,
    /// No more than so many one after the other, to the server.
    #[arg(long = "burst_to_server")]
    burst_to_server: Option<u32>,
}

/// What becomes of a datagram that is corrupted. The public simulator once delivered it; its newer
/// versions seem to drop it, which the default is harder than.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Corruption {
    /// It arrives with a wrong byte under a right checksum.
    Deliver,
    /// It does not arrive.
    Drop,
}

/// How often a datagram is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Per cent.
    pub(crate) percent: u8,
    /// No more than so many one after the other.
    pub(crate) burst: Option<u32>,
}

impl RateOptions {
    pub(crate) fn to_client(self) -> Rate {
        Rate { percent: self.to_client, burst: self.burst_to_client }
    }

    pub(crate) fn to_server(self) -> Rate {
        Rate { percent: self.to_server, burst: self.burst_to_server }
    }
}

/// When nothing passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub(crate) struct Outage {
    /// How long packets pass before.
    #[arg(long, value_parser = duration)]
    pub(crate) on: Duration,
    /// How long nothing passes.
    #[arg(long, value_parser = duration)]
    pub(crate) off: Duration,
    /// How often; then packets pass for ever.
    #[arg(long, default_value_t = 1)]
    pub(crate) repeat: u32,
    /// Which packets do not pass.
    #[arg(long, value_enum, default_value_t = OutageDirection::Both)]
    pub(crate) direction: OutageDirection,
}

/// Where packets go that an outage takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutageDirection {
    Both,
    #[value(name = "toclient")]
    ToClient,
    #[value(name = "toserver")]
    ToServer,
}

/// When the NAT gives every flow another port, and perhaps another address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub(crate) struct Rebinds {
    /// When it does so first.
    #[arg(long = "first-rebind", value_parser = duration)]
    pub(crate) first: Duration,
    /// The time between further ones; there are none without it.
    #[arg(long = "rebind-freq", value_parser = duration)]
    pub(crate) every: Option<Duration>,
    /// The address changes as well as the port.
    #[arg(long = "rebind-addr")]
    pub(crate) address: bool,
}

impl Scenario {
    /// What the link itself is like.
    pub(crate) fn link(&self) -> LinkSpec {
        let (Self::SimpleP2p(link)
        | Self::DropRate { link, .. }
        | Self::CorruptRate { link, .. }
        | Self::Droplist { link, .. }
        | Self::Blackhole { link, .. }
        | Self::Rebind { link, .. }) = self;
        LinkSpec { delay: link.delay, bandwidth: link.bandwidth, queue: link.queue }
    }
}

impl Default for Scenario {
    fn default() -> Self {
        DEFAULT.parse().expect("the default is a scenario")
    }
}

impl FromStr for Scenario {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        #[derive(Debug, Parser)]
        #[command(multicall = true)]
        struct Words {
            #[command(subcommand)]
            scenario: Scenario,
        }
        let words = Words::try_parse_from(text.split_whitespace());
        words.map(|words| words.scenario).map_err(|error| {
            let what = error.to_string();
            Failure::new(format!("'{text}' is no scenario: {}", what.trim_end()))
        })
    }
}

/// A number that is wrong, and what would be right.
#[derive(Debug)]
struct Unreadable(&'static str);

impl std::error::Error for Unreadable {}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}", self.0)
    }
}

fn percentage() -> clap::builder::RangedI64ValueParser<u8> {
    clap::value_parser!(u8).range(0..=100)
}

fn duration(text: &str) -> Result<Duration, Unreadable> {
    let (number, unit) = number_and_unit(text);
    let nanos_per_unit = match unit {
        "s" => 1e9,
        "ms" => 1e6,
        "us" => 1e3,
        "ns" => 1.0,
        _ => return Err(Unreadable("a time with its unit, such as 15ms or 2s")),
    };
    let seconds = number.map(|number| number * nanos_per_unit / 1e9);
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or(Unreadable("a time that is not negative"))
}

fn bandwidth(text: &str) -> Result<u64, Unreadable> {
    let (number, unit) = number_and_unit(text);
    let factor = match unit {
        "Gbps" => 1e9,
        "Mbps" => 1e6,
        "Kbps" | "kbps" => 1e3,
        "bps" => 1.0,
        _ => return Err(Unreadable("a rate with its unit, such as 10Mbps")),
    };
    match number.map(|number| number * factor) {
        Some(rate) if (1.0..1e15).contains(&rate) => Ok(rate as u64),
        Some(_) | None => Err(Unreadable("a rate of at least 1bps")),
    }
}

fn number_and_unit(text: &str) -> (Option<f64>, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number.parse().ok(), unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: LinkSpec =
        LinkSpec { delay: Duration::from_millis(15), bandwidth: 10_000_000, queue: 25 };

    fn scenario(text: &str) -> Scenario {
        text.parse().unwrap_or_else(|failure: Failure| panic!("{failure}"))
    }

    fn with_link(words: &str) -> Scenario {
        let (name, rest) = words.split_once(' ').unwrap_or((words, ""));
        scenario(&format!("{name} --delay=15ms --bandwidth=10Mbps --queue=25 {rest}"))
    }

    #[test]
    fn the_strings_of_the_runner_are_understood() {
        assert_eq!(Scenario::default().link(), LINK);
        let Scenario::DropRate { rates, .. } = with_link(
            "drop-rate --rate_to_client=30 --rate_to_server=20 --burst_to_client=3 --burst_to_server=2",
        ) else {
            panic!("another scenario")
        };
        assert_eq!(rates.to_client(), Rate { percent: 30, burst: Some(3) });
        assert_eq!(rates.to_server(), Rate { percent: 20, burst: Some(2) });

        let Scenario::Droplist { to_client, to_server, .. } =
            with_link("droplist --drops_to_server=2,3,4,5,6,7")
        else {
            panic!("another scenario")
        };
        assert_eq!((to_client, to_server), (vec![], vec![2, 3, 4, 5, 6, 7]));

        let Scenario::Blackhole { outage, .. } = with_link("blackhole --on=5s --off=2s") else {
            panic!("another scenario")
        };
        assert_eq!((outage.on, outage.off), (Duration::from_secs(5), Duration::from_secs(2)));
        assert_eq!((outage.repeat, outage.direction), (1, OutageDirection::Both));

        let Scenario::Rebind { rebinds, .. } =
            with_link("rebind --first-rebind=1s --rebind-freq=5s --rebind-addr")
        else {
            panic!("another scenario")
        };
        assert_eq!(rebinds.first, Duration::from_secs(1));
        assert_eq!((rebinds.every, rebinds.address), (Some(Duration::from_secs(5)), true));

        assert_eq!(
            scenario("simple-p2p --delay=750ms --bandwidth=2Kbps --queue=1").link(),
            LinkSpec { delay: Duration::from_millis(750), bandwidth: 2000, queue: 1 }
        );
    }

    #[test]
    fn both_ways_to_corrupt_have_names() {
        let corruption = |words: &str| match with_link(words) {
            Scenario::CorruptRate { corruption, .. } => corruption,
            other => panic!("{other:?}"),
        };
        let rates = "corrupt-rate --rate_to_client=2 --rate_to_server=2";
        assert_eq!(corruption(rates), Corruption::Deliver);
        assert_eq!(corruption(&format!("{rates} --corruption=drop")), Corruption::Drop);
    }

    #[test]
    fn what_is_no_scenario_is_refused_with_a_reason() {
        for (text, reason) in [
            ("nonsense", "nonsense"),
            ("simple-p2p --delay=15ms --bandwidth=10Mbps", "--queue"),
            ("simple-p2p --delay=15 --bandwidth=10Mbps --queue=25", "15ms"),
            ("simple-p2p --delay=15ms --bandwidth=0Mbps --queue=25", "1bps"),
            ("simple-p2p --delay=ms --bandwidth=1Mbps --queue=25", "not negative"),
            (
                "drop-rate --delay=15ms --bandwidth=1Mbps --queue=25 --rate_to_client=101 --rate_to_server=1",
                "101",
            ),
        ] {
            let failure = text.parse::<Scenario>().unwrap_err().to_string();
            assert!(failure.contains(reason), "{text}: {failure}");
        }
    }
}
