//! The cases of the QUIC interop runner: what each one runs, and what must have happened.
//!
//! [`ALL`] is the table. Whoever runs a case leaves behind a folder, which [`Evidence`] reads:
//!
//! ```text
//! client/keys.log  client/downloads/        server/keys.log  server/www/
//! sim/trace_node_left.pcap                  sim/trace_node_right.pcap
//! ```
//!
//! The left capture is made next to the client, the right one next to the server: a packet is in
//! one of them before and in the other after what the link did to it. [`Case::check`] judges by
//! nothing else, so it can be repeated at any time, for any pair of programs.

mod checks;
mod command;
mod evidence;
mod table;
mod verdict;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub(crate) use command::{Options, run};
pub(crate) use evidence::Evidence;
pub(crate) use table::ALL;
pub(crate) use verdict::{Objection, Success, Verdict};

/// One check: says in a few words what it found, or what is wrong.
pub(crate) type Check = fn(&Evidence) -> Result<String, Objection>;

/// One test case or measurement.
#[derive(Debug)]
pub(crate) struct Case {
    /// The name on the command line and in results, such as `longrtt`.
    pub(crate) name: &'static str,
    /// One to three characters for a cell of the matrix.
    pub(crate) abbreviation: &'static str,
    /// What is tried, in one sentence.
    pub(crate) about: &'static str,
    /// `TESTCASE` of the client.
    pub(crate) client: &'static str,
    /// `TESTCASE` of the server.
    pub(crate) server: &'static str,
    /// What the server has and the client is to fetch.
    pub(crate) files: Files,
    /// The host in the URLs.
    pub(crate) host: &'static str,
    /// What the link does: name and options of a scenario of the network simulator.
    pub(crate) scenario: &'static str,
    /// What the server shows as its certificate.
    pub(crate) chain: Chain,
    /// A run that takes longer has failed.
    pub(crate) timeout: Duration,
    /// A TCP flow competes on the link, from the server's side to the client's.
    pub(crate) cross_traffic: bool,
    /// How often to run it for one cell.
    pub(crate) repeat: u32,
    /// Whether the result is a number.
    pub(crate) measures: Option<Measure>,
    /// What must have happened, in the order in which it is looked at.
    pub(crate) checks: &'static [Check],
}

/// The number that a measurement is about, in kbit/s.
pub(crate) type Measure = fn(&Evidence) -> Result<f64, Objection>;

/// Files of random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Files {
    /// One file of each size, in bytes; the names are ten random letters.
    Sizes(&'static [u64]),
    /// Files of one size.
    Many {
        /// How many.
        count: usize,
        /// Bytes in each.
        size: u64,
        /// Random letters in each name.
        name_len: usize,
    },
}

impl Files {
    /// The size of each file, and the length of its name.
    pub(crate) fn sizes_and_name_lens(self) -> Vec<(u64, usize)> {
        match self {
            Self::Sizes(sizes) => sizes.iter().map(|size| (*size, 10)).collect(),
            Self::Many { count, size, name_len } => vec![(size, name_len); count],
        }
    }
}

/// A certificate chain: root and certificates are P-256 with SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    /// How many certificates `cert.pem` has.
    pub(crate) length: usize,
    /// How many random DNS names of 250 letters the leaf has beside those of the server.
    pub(crate) extra_names: usize,
}

impl Case {
    /// The case with this name or abbreviation.
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|case| case.name == name || case.abbreviation == name)
    }

    /// Judges a run. Exit statuses and timeouts are for whoever ran it.
    pub(crate) fn check(&self, evidence: &Evidence) -> Verdict {
        self.try_check(evidence).map_or_else(Verdict::from, Verdict::Succeeded)
    }

    fn try_check(&self, evidence: &Evidence) -> Result<Success, Objection> {
        let notes = self.checks.iter().map(|check| check(evidence)).collect::<Result<_, _>>()?;
        let kbit_per_second = self.measures.map(|measure| measure(evidence)).transpose()?;
        Ok(Success { notes, kbit_per_second })
    }
}
