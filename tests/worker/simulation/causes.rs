//! Finds the cause of each repeated run.

use std::time::Duration;

use super::book::{Ask, Event, Hosts, What};

/// The cause of a repeated run: an event between it and the run before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    /// The handler failed.
    Failed,
    /// The host of the earlier run crashed before SQS confirmed a delete.
    Crash,
    /// SQS handed the message out twice.
    Duplicate,
    /// SQS had handed the message out twice, and the holder of the other copy changed its visibility.
    ChangedByCopy,
    /// The lease was lost because heartbeats failed.
    LostLease,
    /// The message reached its worker so late that the worker expected the lease to end later, and heartbeats failed.
    ArrivedLate,
    /// The handler panicked or was cut off, by its function's timeout or at its worker's end.
    CutOff,
    /// The message was to become a dead letter, and SQS did not confirm it or did not return the queue's URL.
    LetterNotConfirmed,
    /// A delete was tried, and SQS did not confirm it while the message was hidden.
    DeleteNotConfirmed,
    /// Its host kept it for longer than it was hidden. The host is a mapping, or a worker whose heartbeats failed to
    /// the end.
    NotHidden,
}

/// Returns why the message runs on that host with that receipt, or `None` for its first run.
///
/// # Errors
///
/// Returns an error if there is no cause.
pub(super) fn cause(story: &[Event], hosts: &Hosts, host: usize, receipt: &str) -> Result<Option<Cause>, &'static str> {
    let Some(last) = story.iter().rfind(|event| event.what == What::Begun) else { return Ok(None) };
    if !hosts.mappings.contains(&host) && was_done_by(story, host) {
        return Err("although that host had processed it before");
    }
    let received = |host, receipt: &str| {
        let is_it = |event: &Event| event.host == host && &*event.receipt == receipt && event.what == What::Received;
        story.iter().rposition(is_it).unwrap_or(story.len())
    };
    let (since, until) = (received(last.host, &last.receipt), received(host, receipt));
    let of_last = |events: &[Event], what| {
        events.iter().any(|event| event.host == last.host && event.receipt == last.receipt && event.what == what)
    };
    let window = &story[since.min(story.len())..];
    let letters = |what| window.iter().any(|event| event.host == last.host && event.what == what);
    // Calls that reached SQS after it handed the message out again came too late.
    let in_time = &story[since.min(until)..until];
    // The answer to another receive may have been lost. Its receipt is the only one that deletes the message.
    let hidden = hidden_until(story, hosts, last);
    let was_hidden = in_time.iter().take_while(|event| event.after < hidden).count();
    let is_deleted = of_last(&in_time[..was_hidden], What::Confirmed(Ask::Delete));
    let cause = if of_last(window, What::Failed) {
        Cause::Failed
    } else if hosts.crashed.contains(&last.host) && !is_deleted {
        Cause::Crash
    } else if is_double(story, since.min(until)) || is_copy(story, until) {
        Cause::Duplicate
    } else if is_changed_by_copy(story, window, last) {
        Cause::ChangedByCopy
    } else if window.iter().any(|event| event.what == What::Lost) {
        Cause::LostLease
    } else if story.get(until).is_some_and(|again| late_lease_end(window, hosts, last) <= again.after) {
        Cause::ArrivedLate
    } else if of_last(window, What::CutOff) {
        Cause::CutOff
    } else if of_last(window, What::Dead)
        && !letters(What::Confirmed(Ask::Letter))
        && (letters(What::Tried(Ask::Letter)) || !knew_where_letters_go(window, hosts, last))
    {
        Cause::LetterNotConfirmed
    } else if of_last(in_time, What::Tried(Ask::Delete)) && !is_deleted {
        Cause::DeleteNotConfirmed
    } else if story.get(until).is_some_and(|again| hidden <= again.after) && may_outlive_its_lease(story, hosts, last) {
        Cause::NotHidden
    } else {
        return Err("and no event in between explains it");
    };
    Ok(Some(cause))
}

/// Returns whether SQS has left the message visible since that receive. Such an event is recorded right before the
/// receive.
fn is_double(story: &[Event], since: usize) -> bool {
    let before = story[..since].iter().rev().take_while(|event| event.what == What::Duplicated);
    before.chain(&story[since..]).any(|event| event.what == What::Duplicated)
}

/// Returns whether that receive got a copy of a message that SQS had left visible at the receive before.
fn is_copy(story: &[Event], received: usize) -> bool {
    let is_receive = |event: &Event| event.what == What::Received;
    let earlier = story.get(..received).and_then(|events| events.iter().rposition(is_receive));
    earlier.is_some_and(|earlier| {
        let before = story[..earlier].last();
        before.is_some_and(|event| event.what == What::Duplicated)
    })
}

/// Returns whether the visibility of that run's message was changed with an earlier receipt, which was valid because
/// the message existed twice.
fn is_changed_by_copy(story: &[Event], window: &[Event], run: &Event) -> bool {
    let is_copy = |event: &&Event| event.receipt != run.receipt && event.what == What::Tried(Ask::Visibility);
    let received =
        |copy: &Event| story.iter().position(|event| event.receipt == copy.receipt && event.what == What::Received);
    let was_double = |since: usize| story[..since].iter().rev().any(|event| event.what == What::Duplicated);
    window.iter().filter(is_copy).filter_map(received).any(was_double)
}

/// Returns whether the host knew the dead-letter queue's URL early enough to send the message of that run there. The
/// window begins with the run's receive.
fn knew_where_letters_go(window: &[Event], hosts: &Hosts, run: &Event) -> bool {
    let lease = hosts.leases[&run.host];
    let received = window.first().map_or(Duration::ZERO, |received| received.after);
    let told = hosts.dead_letter_queues.get(&run.host);
    // A worker assumes that a lease begins up to a sixth earlier, and gives up an effect before the lease ends.
    told.is_some_and(|told| *told < received + lease * 3 / 4)
}

/// Returns when the lease of that run's message ended, if the message arrived so late that its worker expected a later
/// end, and no heartbeat corrected it. Otherwise the worker knows the end or an earlier time.
fn late_lease_end(window: &[Event], hosts: &Hosts, run: &Event) -> Duration {
    let of_run = |what| {
        let is_it = move |event: &&Event| event.host == run.host && event.receipt == run.receipt && event.what == what;
        window.iter().find(is_it).map(|event| event.after)
    };
    let lease = hosts.leases[&run.host];
    let (Some(received), Some(arrived)) = (of_run(What::Received), of_run(What::Arrived)) else { return Duration::MAX };
    let is_extended = of_run(What::Confirmed(Ask::Visibility)).is_some();
    // A worker expects that an answer travels for a sixth of a lease.
    if arrived - received <= lease / 6 || is_extended { Duration::MAX } else { received + lease }
}

/// Returns until when the message of that run was hidden, as SQS has confirmed it.
fn hidden_until(story: &[Event], hosts: &Hosts, run: &Event) -> Duration {
    let lease = hosts.leases[&run.host];
    let (mut hidden, mut tried) = (Duration::MAX, None);
    for event in story.iter().filter(|event| is_of(run, event)) {
        match event.what {
            What::Received => hidden = event.after + lease,
            What::Tried(Ask::Visibility) => tried = Some(event.after),
            What::Confirmed(Ask::Visibility) => hidden = tried.take().map_or(hidden, |tried| tried + lease),
            _ => {}
        }
    }
    hidden
}

/// Returns whether a run may last longer than its message is hidden. A mapping does not extend leases. A worker cancels
/// a run whose lease has ended, and logs the lost lease; it cannot cancel a run that ends at that moment.
fn may_outlive_its_lease(story: &[Event], hosts: &Hosts, run: &Event) -> bool {
    let of_run = || story.iter().filter(|event| is_of(run, event));
    let last_call =
        of_run().rfind(|event| matches!(event.what, What::Tried(Ask::Visibility) | What::Confirmed(Ask::Visibility)));
    let is_unanswered = last_call.is_some_and(|event| event.what == What::Tried(Ask::Visibility));
    let has_ended = of_run().any(|event| matches!(event.what, What::Done | What::Dead));
    hosts.mappings.contains(&run.host) || (is_unanswered && has_ended)
}

/// Returns whether an event belongs to the receive of that run.
fn is_of(run: &Event, event: &Event) -> bool {
    event.host == run.host && event.receipt == run.receipt
}

/// Returns whether that host processed the message. A worker remembers that even if SQS confirmed no delete.
fn was_done_by(story: &[Event], host: usize) -> bool {
    let mut ours = story.iter().filter(|event| event.host == host);
    let is_done = ours.clone().any(|event| event.what == What::Done);
    let died = ours.any(|event| event.what == What::Dead);
    is_done || (died && ours.any(|event| event.what == What::Confirmed(Ask::Letter)))
}

/// Returns whether another host still holds the message of a run.
pub(super) fn is_ours(story: &[Event], hosts: &Hosts, host: usize, receipt: &str, now: Duration) -> bool {
    let of_it = |what| {
        let is_it = move |event: &&Event| event.host == host && &*event.receipt == receipt && event.what == what;
        story.iter().rposition(move |event| is_it(&event))
    };
    let Some(begun) = of_it(What::Begun) else { return false };
    let is_lost = story[begun..].iter().any(|event| event.what == What::Lost);
    let received = of_it(What::Received).unwrap_or(0);
    let ends = match hosts.mappings.contains(&host) {
        true => story[received].after + hosts.leases[&host],
        false => late_lease_end(&story[received..], hosts, &story[begun]),
    };
    let is_hidden = now < ends;
    !hosts.crashed.contains(&host) && !is_lost && is_hidden
}

/// Returns whether a lease is lost now without a failed heartbeat. The log does not name the worker that lost it, which
/// need not be the last one that ran the message. So a failed heartbeat of any holder counts.
pub(super) fn lost_for_nothing(story: &[Event]) -> bool {
    let Some(run) = story.iter().rfind(|event| event.what == What::Begun) else { return false };
    let count =
        |receipt: &str, what| story.iter().filter(|event| &*event.receipt == receipt && event.what == what).count();
    let has_ended = |receipt: &str| {
        [What::Done, What::Dead, What::Failed, What::CutOff].into_iter().any(|what| count(receipt, what) > 0)
    };
    let has_failed =
        |receipt: &str| count(receipt, What::Tried(Ask::Visibility)) > count(receipt, What::Confirmed(Ask::Visibility));
    let mut holders = story.iter().filter(|event| event.what == What::Received && !has_ended(&event.receipt));
    let is_double = story.iter().any(|event| event.what == What::Duplicated);
    !is_double && !has_ended(&run.receipt) && !holders.any(|holder| has_failed(&holder.receipt))
}
