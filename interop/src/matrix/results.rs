//! What a matrix has found out.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::implementation::{Implementation, OURS, Role};
use crate::cases::{Case, Success, Verdict};

/// What became of a test case between a client and a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    Succeeded,
    Failed,
    Unsupported,
}

impl Mark {
    pub(crate) const ALL: [Self; 3] = [Self::Succeeded, Self::Unsupported, Self::Failed];

    /// The word for it in the runner's results.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Unsupported => "unsupported",
        }
    }

    /// The sign for it in the runner's matrix.
    pub(crate) fn sign(self) -> char {
        match self {
            Self::Succeeded => '✓',
            Self::Failed => '✕',
            Self::Unsupported => '?',
        }
    }
}

/// One case between one client and one server, however often it was run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cell {
    pub(crate) mark: Mark,
    /// What was found, or why not.
    pub(crate) detail: String,
    /// What was measured, in kbit/s.
    pub(crate) rates: Vec<f64>,
}

impl Cell {
    /// The result of all runs of a case; the last one decides, as none comes after a failed one.
    pub(crate) fn of_runs(verdicts: &[Verdict]) -> Self {
        let rate = |verdict: &Verdict| match verdict {
            Verdict::Succeeded(success) => success.kbit_per_second,
            Verdict::Failed(_) | Verdict::Unsupported(_) => None,
        };
        let rates = verdicts.iter().filter_map(rate).collect();
        let (mark, detail) = match verdicts.last() {
            Some(Verdict::Succeeded(Success { notes, .. })) => (Mark::Succeeded, notes.join("; ")),
            Some(Verdict::Failed(why)) => (Mark::Failed, why.clone()),
            Some(Verdict::Unsupported(why)) => (Mark::Unsupported, why.clone()),
            None => (Mark::Unsupported, "not run".into()),
        };
        Self { mark, detail, rates }
    }

    /// Mean and sample standard deviation of what was measured, if all runs succeeded.
    pub(crate) fn measurement(&self) -> Option<String> {
        if self.mark != Mark::Succeeded || self.rates.is_empty() {
            return None;
        }
        let count = self.rates.len() as f64;
        let mean = self.rates.iter().sum::<f64>() / count;
        let squares: f64 = self.rates.iter().map(|rate| (rate - mean).powi(2)).sum();
        let deviation = if count > 1.0 { (squares / (count - 1.0)).sqrt() } else { 0.0 };
        Some(format!("{mean:.0} (± {deviation:.0}) kbps"))
    }
}

/// Where a cell is: client, server and case, by their positions in the lists of the results.
pub(crate) type Position = (usize, usize, usize);

/// All cells of a matrix, and what it was made of.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) start: SystemTime,
    pub(crate) end: SystemTime,
    pub(crate) log_directory: String,
    pub(crate) clients: Vec<Implementation>,
    pub(crate) servers: Vec<Implementation>,
    pub(crate) cases: Vec<&'static Case>,
    pub(crate) cells: BTreeMap<Position, Cell>,
}

impl Results {
    /// The cell of a client, a server and a case, if it was run.
    pub(crate) fn cell(&self, client: usize, server: usize, case: usize) -> Option<&Cell> {
        self.cells.get(&(client, server, case))
    }

    /// The cases of a pair that have a mark, with their cells.
    pub(crate) fn marked(
        &self,
        client: usize,
        server: usize,
        mark: Mark,
    ) -> impl Iterator<Item = (&'static Case, &Cell)> {
        let cells = self.cases.iter().enumerate();
        cells
            .filter_map(move |(index, case)| Some((*case, self.cell(client, server, index)?)))
            .filter(move |(_, cell)| cell.mark == mark)
    }

    /// Whom a cell is about.
    pub(crate) fn names(&self, position: Position) -> (&str, &str, &'static str) {
        let (client, server, case) = position;
        let case = self.cases.get(case).map_or("", |case| case.name);
        (name(&self.clients, client), name(&self.servers, server), case)
    }

    /// What is known about an implementation that makes a cell fail at times, except ours.
    pub(crate) fn known_fault(&self, position: Position) -> Option<String> {
        let (client, server, case) = position;
        let case = self.cases.get(case)?;
        let sides =
            [(Role::Client, self.clients.get(client)?), (Role::Server, self.servers.get(server)?)];
        let mut others =
            sides.into_iter().filter(|(_, implementation)| implementation.name != OURS);
        others.find_map(|(role, implementation)| {
            let reason = implementation.known_fault(role, case.name)?;
            Some(format!("{} as {role}: {reason}", implementation.name))
        })
    }

    /// The rule of the runner for a case that fails with everybody: whoever has no success in it,
    /// of several peers, is taken not to have it. Ours is held to it all the same.
    pub(crate) fn forgive(&mut self) {
        let hopeless: Vec<Position> =
            self.cells.keys().copied().filter(|position| self.is_hopeless(*position)).collect();
        for position in hopeless {
            let cell = self.cells.get_mut(&position).filter(|cell| cell.mark == Mark::Failed);
            if let Some(cell) = cell {
                cell.mark = Mark::Unsupported;
                cell.detail = format!("fails with everybody: {}", cell.detail);
            }
        }
    }

    fn is_hopeless(&self, (client, server, case): Position) -> bool {
        let is_ours = |list: &[Implementation], index: usize| {
            list.get(index).is_some_and(|implementation| implementation.name == OURS)
        };
        let of_client = self.cells.iter().filter(|((c, _, t), _)| (*c, *t) == (client, case));
        let of_server = self.cells.iter().filter(|((_, s, t), _)| (*s, *t) == (server, case));
        let fails_always = |cells: Vec<(&Position, &Cell)>| {
            cells.len() > 1 && cells.iter().all(|(_, cell)| cell.mark != Mark::Succeeded)
        };
        !is_ours(&self.clients, client) && fails_always(of_client.collect())
            || !is_ours(&self.servers, server) && fails_always(of_server.collect())
    }
}

fn name(list: &[Implementation], index: usize) -> &str {
    list.get(index).map_or("", |implementation| &implementation.name)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::time::Duration;

    /// Results of two clients, two servers and two cases: a test and a measurement.
    pub(crate) fn results(marks: impl Fn(Position) -> Mark) -> Results {
        let cases = ["handshake", "goodput"].map(|name| Case::find(name).unwrap());
        let implementations = ["ours", "other"].map(Implementation::named);
        let mut cells = BTreeMap::new();
        for client in 0..2 {
            for server in 0..2 {
                for (case, rates) in [(0, vec![]), (1, vec![9300.0, 9400.0])] {
                    let mark = marks((client, server, case));
                    let cell = Cell { mark, detail: "<why>".into(), rates };
                    cells.insert((client, server, case), cell);
                }
            }
        }
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(86_400);
        Results {
            start,
            end: start + Duration::from_secs(60),
            log_directory: "logs".into(),
            clients: implementations.to_vec(),
            servers: implementations.to_vec(),
            cases: cases.to_vec(),
            cells,
        }
    }

    #[test]
    fn a_measurement_is_mean_and_deviation_of_runs_that_all_succeed() {
        let success = |rate| {
            Verdict::Succeeded(Success { notes: vec!["fine".into()], kbit_per_second: Some(rate) })
        };
        let cell = Cell::of_runs(&[success(9300.0), success(9400.0)]);
        assert_eq!(cell.measurement().unwrap(), "9350 (± 71) kbps");
        assert_eq!(Cell::of_runs(&[success(9300.0)]).measurement().unwrap(), "9300 (± 0) kbps");
        let failed = Cell::of_runs(&[success(9300.0), Verdict::Failed("late".into())]);
        assert_eq!((failed.mark, failed.measurement()), (Mark::Failed, None));
        assert_eq!(failed.detail, "late");
    }

    #[test]
    fn who_fails_with_everybody_does_not_have_the_case_unless_it_is_ours() {
        let mut results = results(|(client, _, case)| match (client, case) {
            (1, 0) | (0, 1) => Mark::Failed,
            _ => Mark::Succeeded,
        });
        results.forgive();
        let mark = |position| results.cells[&position].mark;
        assert_eq!(mark((1, 0, 0)), Mark::Unsupported);
        assert_eq!(mark((1, 1, 0)), Mark::Unsupported);
        assert_eq!(mark((0, 0, 1)), Mark::Failed);
        assert_eq!(mark((0, 1, 1)), Mark::Failed);
    }

    #[test]
    fn faults_are_those_of_the_side_that_has_them_and_never_ours() {
        let results = results(|_| Mark::Failed);
        let known = "other as server: it others";
        assert_eq!(results.known_fault((0, 1, 0)).as_deref(), Some(known));
        assert_eq!(results.known_fault((1, 0, 0)), None);
        assert_eq!(results.known_fault((0, 1, 1)), None, "another case");
    }

    #[test]
    fn a_failure_with_one_peer_stays_a_failure() {
        let mut results = results(|position| match position {
            (1, 0, 0) => Mark::Failed,
            _ => Mark::Succeeded,
        });
        results.forgive();
        assert_eq!(results.cells[&(1, 0, 0)].mark, Mark::Failed);
    }
}
