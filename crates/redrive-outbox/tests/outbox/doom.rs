//! The end of a process, at a step that is chosen beforehand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use crate::proxy::Gate;

/// Counts the steps of one relay that anybody outside of it can see, and says at which of them it dies.
///
/// A step is something that the relay asks of its database or of SQS, or an answer to that. Whoever passes it on asks here first.
#[derive(Clone, Debug)]
pub(crate) struct Doom(Arc<Inner>);

/// One by its name, and which one of that name it is, from 1 on.
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

/// The step is not taken: the relay is gone.
#[derive(Debug)]
pub(crate) struct Gone;

impl Doom {
    /// At that step, or nowhere.
    pub(crate) fn at(step: Option<Step>) -> Self {
        let (is_dying, is_dead) = (watch::Sender::new(false), watch::Sender::new(false));
        Self(Arc::new(Inner { at: step, passed: Mutex::default(), is_dying, is_dead }))
    }

    /// Returns once the step may be taken, or when the relay is no more: then nothing that it knew is there, and nobody hears an answer.
    pub(crate) async fn pass(&self, step: &str) -> Result<(), Gone> {
        if self.comes(step) {
            return Ok(());
        }
        self.0.is_dying.send_replace(true);
        let mut is_dead = self.0.is_dead.subscribe();
        // It is sent before `Inner` goes, which this has a part in.
        let _ = is_dead.wait_for(|is_so| *is_so).await;
        Err(Gone)
    }

    /// The same, on a thread that is nobody's runtime.
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

    /// Those that it has come to.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let steps = self.0.passed.lock().unwrap().steps.clone();
        steps.into_iter().flat_map(|(name, count)| (1..=count).map(move |number| (name.clone(), number))).collect()
    }

    /// Does some work in a runtime that ends with the work, or at that step; then there is nothing left of it, nor of what it spawned.
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
        // To make a plan changes nothing: it is part of the step that it is for.
        let is_step = !what.starts_with("a plan of") || self.has_died();
        Box::pin(async move { !is_step || Doom::pass(self, what).await.is_ok() })
    }
}

/// Steps to die at. What a relay asks of its database and of SQS at the same time has no order that could be counted on: so each
/// step is one by its name, and another life finds the next.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    known: BTreeSet<Step>,
    /// How often each was to be died at.
    tried: BTreeMap<Step, usize>,
    pub(crate) died_at: BTreeSet<String>,
}

/// Not each life comes to each step: some rows are marked together at one time, and one by one at another.
const TRIES: usize = 2;

impl Steps {
    /// One that nobody has died at yet, as long as there is any.
    pub(crate) fn next(&mut self) -> Option<Step> {
        let step = self.known.iter().find(|step| self.tried.get(*step).is_none_or(|&tries| tries < TRIES))?.clone();
        *self.tried.entry(step.clone()).or_default() += 1;
        Some(step)
    }

    /// What has come of a life that was to end there.
    pub(crate) fn learn(&mut self, step: Option<Step>, doom: &Doom) {
        self.known.extend(doom.steps());
        if let Some(step) = step.filter(|_| doom.has_died()) {
            self.tried.insert(step.clone(), TRIES);
            self.died_at.insert(step.0);
        }
    }
}
