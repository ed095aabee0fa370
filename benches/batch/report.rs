//! Prints the tables and compares the figures with their limits.

use std::thread;

use crate::{Peer, RECORDS, Row};

/// All figures.
pub(crate) struct Figures {
    pub(crate) noop: PerBatch,
    pub(crate) work: PerBatch,
    /// Microseconds of a batch whose records wait.
    pub(crate) wait: Row,
    /// Milliseconds to the first poll.
    pub(crate) start_up: Row,
    /// The size of the executable in MiB.
    pub(crate) size: Row,
}

/// The figures for each batch size, by the index of [`RECORDS`].
#[derive(Default)]
pub(crate) struct PerBatch {
    /// Microseconds.
    pub(crate) p50: [Row; RECORDS.len()],
    /// MiB.
    pub(crate) peak: [Row; RECORDS.len()],
}

pub(crate) fn print_machine() {
    let cores = thread::available_parallelism().map_or(0, usize::from);
    println!(
        "\ncores: {cores}; behind each figure its ratio to aws-example's; the last column is redrive's to the floor's"
    );
}

pub(crate) fn print_per_batch(handler: &str, figures: &PerBatch) {
    print_p50(handler, &figures.p50);
    print_head(&format!("peak memory in MiB, {handler}"));
    RECORDS.iter().zip(&figures.peak).for_each(|(records, row)| print_row(&format!("{records} records"), row));
}

pub(crate) fn print_p50(handler: &str, p50: &[Row; RECORDS.len()]) {
    print_head(&format!("p50 of a batch in us, {handler}"));
    RECORDS.iter().zip(p50).for_each(|(records, row)| print_row(&format!("{records} records"), row));
}

pub(crate) fn print_process(start_up: &Row, size: &Row, wait: &Row) {
    print_head("the process, and a batch of 10 records that each wait 50 ms (the floor waits once)");
    print_row("start-up, ms", start_up);
    print_row("binary, MiB", size);
    print_row("waiting, us", wait);
}

fn print_head(title: &str) {
    println!("\n{title}");
    println!("{:14}{:>18}{:>18}{:>18}{:>18}{:>10}", "", "redrive", "aws-example", "by-hand", "floor", "to floor");
}

fn print_row(label: &str, row: &Row) {
    let cells = Peer::ALL.map(|peer| format!("{:>11.1}{:>6.2}x", row[peer], row.ratio(peer, Peer::AwsExample)));
    println!("{label:14}{}{:>9.2}x", cells.concat(), row.ratio(Peer::Redrive, Peer::Floor));
}

impl Row {
    fn ratio(&self, peer: Peer, to: Peer) -> f64 {
        self[peer] / self[to]
    }

    /// Returns redrive's figure relative to that of AWS's example.
    fn to_aws_example(self) -> f64 {
        self.ratio(Peer::Redrive, Peer::AwsExample)
    }
}

/// Prints each limit with its figure. Returns whether all limits are met.
pub(crate) fn print_bars(figures: &Figures) -> bool {
    let mut bars = per_batch_bars("noop", &figures.noop);
    bars.extend(per_batch_bars("work", &figures.work));
    bars.push(Bar::ratio("start-up", &figures.start_up, 1.1));
    bars.push(Bar::ratio("binary", &figures.size, 1.25));
    bars.push(Bar::waiting(&figures.wait));

    println!("\nbars, against aws-example");
    for Bar { what, measured, at_most, met } in &bars {
        println!("{what:28}{measured:>22}   at most {at_most:28}{}", if *met { "ok" } else { "MISSED" });
    }
    bars.iter().all(|bar| bar.met)
}

fn per_batch_bars(handler: &str, PerBatch { p50, peak }: &PerBatch) -> Vec<Bar> {
    let [_, ten, _, thousand, six_thousand] = p50;
    let [.., six_thousand_peak] = peak;
    vec![
        Bar::ratio_or_overhead(format!("{handler}, 10 records"), ten),
        Bar::ratio(format!("{handler}, 1000 records"), thousand, 0.40),
        Bar::ratio(format!("{handler}, 6000 records"), six_thousand, 0.35),
        Bar::ratio(format!("{handler}, 6000 records, memory"), six_thousand_peak, 0.75),
    ]
}

struct Bar {
    what: String,
    measured: String,
    at_most: String,
    met: bool,
}

impl Bar {
    fn ratio(what: impl Into<String>, row: &Row, at_most: f64) -> Self {
        let ratio = row.to_aws_example();
        let (measured, bar) = (format!("{ratio:.3} x"), format!("{at_most:.2} x"));
        Self { what: what.into(), measured, at_most: bar, met: ratio <= at_most }
    }

    /// A limit on the ratio or on the overhead: a small batch is mostly round trip, where a few microseconds do not
    /// matter.
    fn ratio_or_overhead(what: String, row: &Row) -> Self {
        let (ratio, more_us) = (row.to_aws_example(), row[Peer::Redrive] - row[Peer::AwsExample]);
        let measured = format!("{ratio:.3} x, {more_us:+.0} us");
        Self { what, measured, at_most: "1.05 x, or +50 us".to_owned(), met: ratio <= 1.05 || more_us <= 50.0 }
    }

    /// A limit relative to the floor, which waits once while the others wait for each record.
    fn waiting(row: &Row) -> Self {
        let more_ms = (row[Peer::Redrive] - row[Peer::Floor]) / 1e3;
        let (measured, at_most) = (format!("{more_ms:+.2} ms"), "+1 ms, against the floor".to_owned());
        Self { what: "10 records that wait".to_owned(), measured, at_most, met: more_ms <= 1.0 }
    }
}
