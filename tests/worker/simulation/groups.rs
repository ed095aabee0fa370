//! Checks the order within the groups of a FIFO queue.

use super::book::Delivered;

/// The progress of each group and its running messages.
pub(super) struct Groups(Vec<Group>);

#[derive(Clone, Default)]
struct Group {
    /// The number of messages that are done or dead: the first ones in their order.
    settled: usize,
    running: Vec<(usize, Delivered)>,
}

impl Groups {
    pub(super) fn new(groups: usize) -> Self {
        Self(vec![Group::default(); groups])
    }

    /// Records that a message begins on that host.
    ///
    /// # Errors
    ///
    /// Returns an error if an earlier message of the group is not done, a later one is done, or one runs on a host that
    /// still holds it.
    pub(super) fn begin(
        &mut self,
        host: usize,
        delivered: &Delivered,
        was_a_mappings: bool,
        is_ours: impl Fn(usize, &str, &str) -> bool,
    ) -> Result<(), String> {
        let (group, position) = self.place(&delivered.body);
        let group = &mut self.0[group];
        let early = (position > group.settled).then(|| format!("and only {} of its group are done", group.settled));
        // A worker waits for each delete before the next message of a group. In a mapping's batch, later messages may
        // be deleted although an earlier one is not.
        let late = position + 1 < group.settled && !was_a_mappings;
        let late = late.then(|| format!("although {} of its group are done", group.settled));
        let parallel = group.running.iter().find(|(host, other)| is_ours(*host, &other.id, &other.receipt));
        let parallel = parallel.map(|(host, other)| format!("and {} runs on host {host}", other.body));
        group.running.push((host, delivered.clone()));
        early.or(late).or(parallel).map_or(Ok(()), Err)
    }

    pub(super) fn end(&mut self, host: usize, delivered: &Delivered) {
        let (group, _) = self.place(&delivered.body);
        self.0[group].running.retain(|(other, running)| (*other, &running.receipt) != (host, &delivered.receipt));
    }

    pub(super) fn settled(&mut self, body: &str) {
        let (group, position) = self.place(body);
        let group = &mut self.0[group];
        group.settled += usize::from(group.settled == position);
    }

    /// Returns the group of a body and its position in the group. Bodies are `GROUP-NUMBER`, distributed over the
    /// groups in turn.
    fn place(&self, body: &str) -> (usize, usize) {
        let (group, number) = body.split_once('-').expect("bodies are GROUP-NUMBER");
        let number: usize = number.parse().expect("a number");
        (group.parse().expect("a group is a number"), number / self.0.len())
    }
}
