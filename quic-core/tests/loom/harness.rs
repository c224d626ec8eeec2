//! Runs a model, and shows that it has seen what it is about.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

// Outside of loom's world: a model runs on one thread of the system, whatever it spawns.
thread_local! {
    static SEEN: RefCell<BTreeMap<&'static str, usize>> = const { RefCell::new(BTreeMap::new()) };
}

/// Notes that something has happened in this iteration of the model.
pub(crate) fn saw(outcome: &'static str) {
    SEEN.with_borrow_mut(|seen| *seen.entry(outcome).or_default() += 1);
}

/// A model: which invariants it is about, and what must happen in some of its iterations.
pub(crate) struct Model {
    pub(crate) name: &'static str,
    pub(crate) invariants: &'static str,
    /// Fewer iterations than that mean that loom has not explored what it should.
    pub(crate) at_least: usize,
    pub(crate) outcomes: &'static [&'static str],
}

impl Model {
    /// Explores all interleavings of `story` within the bound of pre-emptions in `MODEL_BOUND`: a
    /// number, `none` for no bound, and 3 if it is not set.
    pub(crate) fn check(self, story: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        let given_up_early = builder.max_permutations.is_some() || builder.max_duration.is_some();
        assert!(!given_up_early, "loom reports success when it gives up: set neither limit");
        builder.preemption_bound = match std::env::var("MODEL_BOUND").as_deref() {
            Ok("none") => None,
            Ok(bound) => Some(bound.parse().expect("MODEL_BOUND is a number or none")),
            Err(_) => Some(3),
        };
        builder.max_branches = 20_000;
        let iterations = Arc::new(AtomicUsize::new(0));
        let start = Instant::now();
        SEEN.with_borrow_mut(BTreeMap::clear);
        let count = Arc::clone(&iterations);
        builder.check(move || {
            count.fetch_add(1, Ordering::Relaxed);
            story();
        });
        let iterations = iterations.load(Ordering::Relaxed);
        let seen = SEEN.take();
        println!(
            "model\t{}\t{}\t{iterations}\t{}\t{seen:?}",
            self.name,
            self.invariants,
            start.elapsed().as_millis()
        );
        assert!(iterations >= self.at_least, "only {iterations} iterations");
        for outcome in self.outcomes {
            assert!(seen.contains_key(outcome), "never seen: {outcome}");
        }
        for outcome in seen.keys() {
            assert!(self.outcomes.contains(outcome), "not announced: {outcome}");
        }
    }
}
