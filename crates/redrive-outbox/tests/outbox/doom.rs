//! Ends a process at a chosen step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use crate::proxy::Gate;

/// Counts the externally visible steps of one relay, and decides at which of them it dies.
///
/// A step is a request of the relay to its database or to SQS, or an answer to one. Each one asks here before it
/// passes.
#[derive(Clone, Debug)]
pub(crate) struct Doom(Arc<Inner>);

/// A step's name, and its number among the steps of that name, from 1 on.
pub(crate) type Step = (String, usize);

#[derive(Debug)]
struct Inner {
    at: Option<Step>,
    passed: Mutex<Passed>,
    is_dying: watch::Sender<bool>,
    is_dead: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Passed {
    steps: BTreeMap<String, usize>,
    has_died: bool,
}

/// The step is not taken, because the relay is dead.
#[derive(Debug)]
pub(crate) struct Gone;

impl Doom {
    /// Creates a relay's end at that step, or none.
    pub(crate) fn at(step: Option<Step>) -> Self {
        let (is_dying, is_dead) = (watch::Sender::new(false), watch::Sender::new(false));
        Self(Arc::new(Inner { at: step, passed: Mutex::default(), is_dying, is_dead }))
    }

    /// Returns when the step may be taken, or after the relay's death. By then all its memory is gone, and no answer
    /// reaches it.
    pub(crate) async fn pass(&self, step: &str) -> Result<(), Gone> {
        if self.comes(step) {
            return Ok(());
        }
        self.0.is_dying.send_replace(true);
        let mut is_dead = self.0.is_dead.subscribe();
        // The death is sent before `Inner` is dropped, and this shares `Inner`.
        let _ = is_dead.wait_for(|is_so| *is_so).await;
        Err(Gone)
    }

    /// Does the same on a thread outside a runtime.
    pub(crate) fn pass_blocking(&self, step: &str) -> Result<(), Gone> {
        Builder::new_current_thread().build().unwrap().block_on(self.pass(step))
    }

    fn comes(&self, step: &str) -> bool {
        let mut passed = self.0.passed.lock().unwrap();
        let number = passed.steps.entry(step.to_owned()).or_default();
        *number += 1;
        let dies = self.0.at.as_ref().is_some_and(|(name, at)| (name.as_str(), *at) == (step, *number));
        passed.has_died |= dies;
        !passed.has_died
    }

    pub(crate) fn has_died(&self) -> bool {
        self.0.passed.lock().unwrap().has_died
    }

    /// Returns the steps that the relay has reached.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let steps = self.0.passed.lock().unwrap().steps.clone();
        steps.into_iter().flat_map(|(name, count)| (1..=count).map(move |number| (name.clone(), number))).collect()
    }

    /// Runs the work in a runtime of its own that ends with the work or at that step, together with every task it
    /// spawned.
    pub(crate) async fn live<F: Future<Output = ()>>(&self, work: impl FnOnce() -> F + Send + 'static) {
        let doom = self.clone();
        let life = move || {
            let runtime: Runtime = Builder::new_current_thread().enable_all().build().unwrap();
            let mut is_dying = doom.0.is_dying.subscribe();
            runtime.block_on(async {
                tokio::select! {
                    biased;
                    _ = is_dying.wait_for(|is_so| *is_so) => {}
                    () = work() => {}
                }
            });
            drop(runtime);
            doom.0.is_dead.send_replace(true);
        };
        tokio::task::spawn_blocking(life).await.unwrap();
    }
}

impl Gate for Doom {
    fn pass<'a>(&'a self, what: &'a str) -> BoxFuture<'a, bool> {
        // Planning a statement changes nothing, so it is part of the statement's own step.
        let is_step = !what.starts_with("a plan of") || self.has_died();
        Box::pin(async move { !is_step || Doom::pass(self, what).await.is_ok() })
    }
}

/// The steps to die at. Concurrent requests to the database and to SQS have no stable order, so a step is identified by
/// its name.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    known: BTreeSet<Step>,
    /// How often each step was tried.
    tried: BTreeMap<Step, usize>,
    pub(crate) died_at: BTreeSet<String>,
}

/// The limit of tries for a step. A life may miss a step, because rows are marked together in one life and one by one
/// in another.
const TRIES: usize = 2;

impl Steps {
    /// Returns a step that no life has ended at yet, if one is left.
    pub(crate) fn next(&mut self) -> Option<Step> {
        let step = self.known.iter().find(|step| self.tried.get(*step).is_none_or(|&tries| tries < TRIES))?.clone();
        *self.tried.entry(step.clone()).or_default() += 1;
        Some(step)
    }

    /// Adds the steps of a life that was to end at that step.
    pub(crate) fn learn(&mut self, step: Option<Step>, doom: &Doom) {
        self.known.extend(doom.steps());
        if let Some(step) = step.filter(|_| doom.has_died()) {
            self.tried.insert(step.clone(), TRIES);
            self.died_at.insert(step.0);
        }
    }
}
