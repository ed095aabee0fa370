//! The order within the groups of a FIFO queue.

use super::book::Delivered;

/// How far each group is, and what of it runs.
pub(super) struct Groups(Vec<Group>);

#[derive(Clone, Default)]
struct Group {
    /// How many have been done, or are dead: the first ones, in their order.
    settled: usize,
    running: Vec<(usize, Delivered)>,
}

impl Groups {
    pub(super) fn new(groups: usize) -> Self {
        Self(vec![Group::default(); groups])
    }

    /// A message begins on that host.
    ///
    /// # Errors
    ///
    /// Where one of its group that came before it is not done, one that came after it is, or one runs on a host that still has it.
    pub(super) fn begin(
        &mut self,
        host: usize,
        delivered: &Delivered,
        was_a_mappings: bool,
        is_ours: impl Fn(usize, &str, &str) -> bool,
    ) -> Result<(), String> {
        let (group, position) = self.place(&delivered.body);
        let group = &mut self.0[group];
        let early = (position > group.settled).then(|| format!("and of its group {} are done", group.settled));
        // A worker's group waits for each delete. Of a mapping's batch, later ones may be deleted where this one is not.
        let late = position + 1 < group.settled && !was_a_mappings;
        let late = late.then(|| format!("though of its group {} are done", group.settled));
        let beside = group.running.iter().find(|(host, other)| is_ours(*host, &other.id, &other.receipt));
        let beside = beside.map(|(host, other)| format!("and {} runs on host {host}", other.body));
        group.running.push((host, delivered.clone()));
        early.or(late).or(beside).map_or(Ok(()), Err)
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

    /// The group of a body, and its place in it. Bodies are `GROUP-NUMBER`, dealt out to the groups in turn.
    fn place(&self, body: &str) -> (usize, usize) {
        let (group, number) = body.split_once('-').expect("a group and a number");
        let number: usize = number.parse().expect("a number");
        (group.parse().expect("the number of a group"), number / self.0.len())
    }
}
