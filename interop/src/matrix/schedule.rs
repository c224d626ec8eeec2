//! What is run, in which order, and how many runs at a time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Instant, SystemTime};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::folder::RunFolder;
use super::implementation::{Implementation, Role};
use super::results::{Cell, Mark, Position, Results};
use super::run::Run;
use crate::cases::{Case, Verdict};
use crate::failure::Failure;
use crate::relay::namespace::run_name;
use crate::relay::scenario::Corruption;

/// The bar; it is not drawn unless standard error is a terminal.
const TEMPLATE: &str = "{wide_bar} {pos}/{len} {elapsed_precise}  {msg}";

/// Everything that a matrix shall run.
#[derive(Debug)]
pub(crate) struct Schedule {
    pub(crate) clients: Vec<Implementation>,
    pub(crate) servers: Vec<Implementation>,
    pub(crate) cases: Vec<&'static Case>,
    /// An implementation that must be on one side.
    pub(crate) must_include: Option<String>,
    pub(crate) log_directory: PathBuf,
    /// How often measurements are run, if not as often as the case says.
    pub(crate) repeat: Option<u32>,
    pub(crate) jobs: u32,
    pub(crate) corruption: Corruption,
    pub(crate) seed: u64,
    pub(crate) keep: bool,
}

/// Runs are numbered, for names that nobody else has.
static RUNS: AtomicU32 = AtomicU32::new(0);

impl Schedule {
    /// Runs all of it. Whoever drops this ends everything.
    pub(crate) async fn run(mut self) -> Result<Results, Failure> {
        let start = SystemTime::now();
        self.leave_out_noncompliant().await?;
        let positions = self.positions();
        let style = ProgressStyle::with_template(TEMPLATE).expect("the template is valid");
        let bar = ProgressBar::new(positions.len() as u64).with_style(style);
        let permits = Arc::new(Semaphore::new(self.jobs as usize));
        let mut tasks = JoinSet::new();
        for position in positions {
            let job = self.job(position);
            let share = if job.case.measures.is_some() { self.jobs } else { 1 };
            // In order: a measurement waits for those before it, and those after wait for it.
            let permit = permits.clone().acquire_many_owned(share).await;
            bar.set_message(job.to_string());
            let bar = bar.clone();
            tasks.spawn(async move {
                let _permit = permit;
                let before = Instant::now();
                let cell = job.execute().await?;
                bar.inc(1);
                let line = line(&job, &cell, before.elapsed().as_secs_f64());
                bar.suspend(|| println!("{line}"));
                Ok::<_, Failure>((position, cell))
            });
        }
        let mut cells = BTreeMap::new();
        while let Some(done) = tasks.join_next().await {
            let (position, cell) = done.map_err(|_| Failure::new("a run panicked"))??;
            cells.insert(position, cell);
        }
        bar.finish_and_clear();
        Ok(Results {
            start,
            end: SystemTime::now(),
            log_directory: self.log_directory.display().to_string(),
            clients: self.clients,
            servers: self.servers,
            cases: self.cases,
            cells,
        })
    }

    /// Pairs one after the other, client by client.
    fn positions(&self) -> Vec<Position> {
        let mut positions = Vec::new();
        for (client_index, client) in self.clients.iter().enumerate() {
            for (server_index, server) in self.servers.iter().enumerate() {
                let is_wanted = |name: &String| client.name == *name || server.name == *name;
                if self.must_include.as_ref().is_none_or(is_wanted) {
                    let cases = 0..self.cases.len();
                    positions.extend(cases.map(|case| (client_index, server_index, case)));
                }
            }
        }
        positions
    }

    fn job(&self, (client, server, case): Position) -> Job {
        let expect = "positions are made from these lists";
        let (client, server) =
            (self.clients.get(client).expect(expect), self.servers.get(server).expect(expect));
        let case = *self.cases.get(case).expect(expect);
        let folder = self.log_directory.join(format!("{}_{}", server.name, client.name));
        let is_corrupting = case.scenario.starts_with("corrupt-rate");
        let scenario = match self.corruption {
            Corruption::Drop if is_corrupting => format!("{} --corruption=drop", case.scenario),
            Corruption::Drop | Corruption::Deliver => case.scenario.to_owned(),
        };
        Job {
            client: client.clone(),
            server: server.clone(),
            case,
            scenario,
            seed: self.seed,
            folder: folder.join(case.name),
            runs: match (case.measures, self.repeat) {
                (Some(_), Some(repeat)) => repeat.max(1),
                _ => case.repeat,
            },
            keep: self.keep,
        }
    }

    /// Whoever does not refuse a case that does not exist is not run at all.
    async fn leave_out_noncompliant(&mut self) -> Result<(), Failure> {
        let case = Case::find("handshake").expect("the first case");
        for (role, list) in [(Role::Client, &mut self.clients), (Role::Server, &mut self.servers)] {
            let mut compliant = Vec::new();
            for implementation in std::mem::take(list) {
                let name = format!("compliance_{}_{role}", implementation.name);
                let run = Run {
                    name: run_name(RUNS.fetch_add(1, Ordering::Relaxed)),
                    client: implementation.clone(),
                    server: implementation.clone(),
                    case,
                    scenario: case.scenario.to_owned(),
                    seed: self.seed,
                    folder: self.log_directory.join(&name),
                };
                if run.refuses_unknown(role).await? {
                    compliant.push(implementation);
                } else {
                    println!(
                        "{} as {role} is left out: it does not exit with 127 for a case that does \
                         not exist (see {name}/{role}/output.txt)",
                        implementation.name
                    );
                }
            }
            *list = compliant;
        }
        Ok(())
    }
}

/// All runs of one cell.
#[derive(Debug, Clone)]
struct Job {
    client: Implementation,
    server: Implementation,
    case: &'static Case,
    scenario: String,
    seed: u64,
    folder: PathBuf,
    runs: u32,
    keep: bool,
}

impl Job {
    async fn execute(&self) -> Result<Cell, Failure> {
        let mut verdicts = Vec::new();
        for number in 0..self.runs {
            let folder = match self.runs {
                1 => self.folder.clone(),
                _ => self.folder.join((number + 1).to_string()),
            };
            let run = Run {
                name: run_name(RUNS.fetch_add(1, Ordering::Relaxed)),
                client: self.client.clone(),
                server: self.server.clone(),
                case: self.case,
                scenario: self.scenario.clone(),
                seed: self.seed + u64::from(number),
                folder: folder.clone(),
            };
            let verdict = run.execute().await?;
            let succeeded = matches!(verdict, Verdict::Succeeded(_));
            verdicts.push(verdict);
            if !succeeded {
                break;
            }
            if !self.keep {
                RunFolder::shrink(&folder);
            }
        }
        Ok(Cell::of_runs(&verdicts))
    }
}

impl std::fmt::Display for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} → {}: {}", self.client.name, self.server.name, self.case.name)
    }
}

fn line(job: &Job, cell: &Cell, seconds: f64) -> String {
    let about = cell.measurement().unwrap_or_else(|| match cell.mark {
        Mark::Succeeded => String::new(),
        Mark::Failed | Mark::Unsupported => format!("{}: {}", cell.mark.word(), cell.detail),
    });
    let job = job.to_string();
    format!("{} {job:<40} {seconds:>6.1} s  {about}", cell.mark.sign()).trim_end().to_owned()
}
