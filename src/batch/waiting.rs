//! Records of a batch handler whose bodies are not here yet.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use super::bodies::{Bodies, Wanted, WithBody};
use super::crew::Crew;
use super::cut::CutOff;
use super::guard::guard;
use super::keeper::Keeper;
use super::lane::{Chunk, all_lost};
use super::report::Run;
use crate::record::Record;

/// The records that a lane has taken for a call. They become one chunk, or several where memory has no room for all of their bodies at a
/// time. Each has begun, so that its lease is kept while it waits.
pub(super) struct Waiting {
    crew: Arc<Crew>,
    /// In the order of the batch, each with its place in it.
    runs: Vec<(usize, Run)>,
    wanted: Vec<Wanted>,
}

impl Waiting {
    pub(super) fn begin(crew: &Arc<Crew>, records: Vec<(usize, Record)>) -> Self {
        let begin = |(index, record): (usize, Record)| {
            ((index, Run::begin(record.clone(), &crew.shared.options)), Wanted { record, bytes: None })
        };
        let (runs, wanted) = records.into_iter().map(begin).unzip();
        Self { crew: crew.clone(), runs, wanted }
    }

    /// The next records that a call can have. `None` where none is left.
    pub(super) async fn next_chunk(&mut self) -> Option<Chunk> {
        let crew = self.crew.clone();
        let Some(bodies) = &crew.shared.options.bodies else { return self.all() };
        while !self.runs.is_empty() {
            let fetched = self.fetch(&**bodies).await;
            let here = self.take(fetched).await;
            if !here.is_empty() {
                return Some(Chunk::of(&crew, here));
            }
        }
        None
    }

    fn all(&mut self) -> Option<Chunk> {
        let begun = self.runs.drain(..).zip(self.wanted.drain(..));
        let begun: Vec<_> = begun.map(|((index, run), wanted)| (index, run, Ok(wanted.record))).collect();
        (!begun.is_empty()).then(|| Chunk::of(&self.crew, begun))
    }

    /// What has come of each record that waits. Where the time is over while they wait, all of them have failed.
    async fn fetch(&mut self, bodies: &dyn Bodies) -> Vec<Option<WithBody>> {
        let indices: Vec<_> = self.runs.iter().map(|(index, _)| *index).collect();
        let lost = self.crew.shared.keeper.as_deref().map(|keeper| all_lost(keeper, indices, |_| true));
        let fetched = async {
            let mut fetch = bodies.fetch_some(&mut self.wanted);
            self.crew.cut_of_chunk(lost).limit(Pin::new(&mut fetch)).await
        };
        let fetched = guard(pin!(Some(fetched))).await;
        match fetched {
            Ok(Ok(fetched)) => fetched,
            Ok(Err(cut_off)) => self.runs.iter().map(|_| Some(Err(cut_off.into()))).collect(),
            Err(panicked) => self.runs.iter().map(|_| Some(Err(panicked.to_string().into()))).collect(),
        }
    }

    /// Takes those that wait no more.
    async fn take(&mut self, fetched: Vec<Option<WithBody>>) -> Vec<(usize, Run, WithBody)> {
        let mut here = Vec::new();
        let waiting = std::mem::take(&mut self.runs).into_iter().zip(std::mem::take(&mut self.wanted));
        for (((index, run), wanted), fetched) in waiting.zip(fetched) {
            match fetched {
                Some(_) if self.is_lost(index).await => here.push((index, run, Err(CutOff::Lost.into()))),
                Some(record) => here.push((index, run, record)),
                None => {
                    self.runs.push((index, run));
                    self.wanted.push(wanted);
                }
            }
        }
        here
    }

    /// Another consumer may have the record by now.
    async fn is_lost(&self, index: usize) -> bool {
        let Some(keeper) = self.crew.shared.keeper.as_deref() else { return false };
        let mut lost = Keeper::lost(keeper, index);
        poll_fn(|context| Poll::Ready(lost.as_mut().poll(context).is_ready())).await
    }
}
