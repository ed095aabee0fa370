//! Formats dead letters for people and for programs.

use std::fmt::Write;

use serde_json::{Value, json};

use super::dead_letter::DeadLetter;
use super::target::name_in;

/// Formats a line for each message. Only the last column contains spaces. On request the lines of the body follow.
pub(super) fn text(dead_letters: &[DeadLetter], now_ms: u64, with_heading: bool, with_bodies: bool) -> String {
    const HEADING: [&str; 6] = ["ID", "AGE", "RECEIVED", "SOURCE", "GROUP", "REASON"];
    let heading = with_heading.then(|| (HEADING.map(str::to_owned), None));
    let rows =
        dead_letters.iter().map(|dead_letter| (cells(dead_letter, now_ms), with_bodies.then_some(&dead_letter.body)));
    let rows: Vec<_> = heading.into_iter().chain(rows).collect();
    let width = |column: usize| rows.iter().map(|(cells, _)| cells[column].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2), width(3), width(4)];
    let mut text = String::new();
    for (cells, body) in &rows {
        for (cell, width) in cells.iter().zip(widths) {
            // Writing into a `String` cannot fail.
            let _ = write!(text, "{cell:width$}  ");
        }
        text = text + &cells[5] + "\n";
        for line in body.iter().flat_map(|body| body.lines()) {
            text = text + "    " + &harmless(line) + "\n";
        }
    }
    text
}

fn cells(dead_letter: &DeadLetter, now_ms: u64) -> [String; 6] {
    let or_none = |text: Option<&str>| text.map_or("-".to_owned(), harmless);
    [
        harmless(&dead_letter.id),
        age_ms(dead_letter, now_ms).map_or("-".to_owned(), age),
        dead_letter.receive_count().to_string(),
        or_none(dead_letter.source().map(name_in)),
        or_none(dead_letter.group()),
        why(dead_letter),
    ]
}

/// Joins the reason and the error. The error is left out if it repeats the reason.
fn why(dead_letter: &DeadLetter) -> String {
    let noted = match (dead_letter.reason(), dead_letter.error()) {
        (Some(reason), Some(error)) if error.starts_with(reason) => harmless(error),
        (Some(reason), Some(error)) => format!("{} ({})", harmless(reason), harmless(error)),
        (Some(said), None) | (None, Some(said)) => harmless(said),
        (None, None) if dead_letter.is_moved_by_sqs() => return "moved by the RedrivePolicy".to_owned(),
        (None, None) => return "-".to_owned(),
    };
    if dead_letter.is_moved_by_sqs() { format!("moved by the RedrivePolicy; before that: {noted}") } else { noted }
}

/// Formats a JSON object for each message, on a line each.
pub(super) fn json_lines(dead_letters: &[DeadLetter], now_ms: u64, with_bodies: bool) -> String {
    dead_letters.iter().map(|dead_letter| format!("{}\n", object(dead_letter, now_ms, with_bodies))).collect()
}

fn object(dead_letter: &DeadLetter, now_ms: u64, with_body: bool) -> Value {
    let mut object = json!({
        "id": dead_letter.id,
        "original_id": dead_letter.original_id(),
        "moved_by_redrive_policy": dead_letter.is_moved_by_sqs(),
        "reason": dead_letter.reason(),
        "error": dead_letter.error(),
        "receive_count": dead_letter.receive_count(),
        "source": dead_letter.source(),
        "group": dead_letter.group(),
        "function": dead_letter.function(),
        "sent_timestamp": dead_letter.sent_timestamp(),
        "age_seconds": age_ms(dead_letter, now_ms).map(|age| age / 1_000),
    });
    if with_body {
        object["body"] = json!(dead_letter.body);
    }
    object
}

/// Returns the age, which is zero if the queue's clock is ahead of ours.
fn age_ms(dead_letter: &DeadLetter, now_ms: u64) -> Option<u64> {
    dead_letter.sent_timestamp().map(|sent| now_ms.saturating_sub(sent))
}

/// Formats an age in its largest unit.
fn age(age_ms: u64) -> String {
    match age_ms / 1_000 {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3_600 => format!("{}m", seconds / 60),
        seconds @ 3_600..86_400 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// Returns the text on one line without terminal control characters, because anybody who may send a message determines
/// it.
fn harmless(text: &str) -> String {
    text.chars().fold(String::new(), |mut harmless, character| {
        if character.is_control() {
            harmless.extend(character.escape_default());
        } else {
            harmless.push(character);
        }
        harmless
    })
}

#[cfg(test)]
mod tests {
    use redrive::internals::note;

    use super::*;
    use crate::dlq::dead_letter::tests::dead_letter;

    const BY_SQS: (&str, &str) = ("DeadLetterQueueSourceArn", "arn:aws:sqs:us-east-1:1:orders");

    #[test]
    fn columns_are_as_wide_as_needed() {
        let noted = dead_letter(&[("SentTimestamp", "0"), ("MessageGroupId", "customer-a")], &[(note::REASON, "bad")]);
        let moved = dead_letter(&[("SentTimestamp", "7000000"), ("ApproximateReceiveCount", "6"), BY_SQS], &[]);
        let lines = text(&[noted, moved], 7_200_000, true, true);
        let expected = "\
ID    AGE  RECEIVED  SOURCE  GROUP       REASON
here  2h   0         -       customer-a  bad
    {}
here  3m   6         orders  -           moved by the RedrivePolicy
    {}
";
        assert_eq!(lines, expected);
    }

    #[test]
    fn reason_appears_once_and_an_earlier_one_is_marked() {
        let why = |system: &[(&str, &str)], attributes: &[(&str, &str)]| why(&dead_letter(system, attributes));
        assert_eq!(why(&[], &[(note::REASON, "a"), (note::ERROR, "a: b")]), "a: b");
        assert_eq!(why(&[], &[(note::REASON, "a"), (note::ERROR, "b")]), "a (b)");
        assert_eq!(why(&[BY_SQS], &[(note::REASON, "a")]), "moved by the RedrivePolicy; before that: a");
        assert_eq!(why(&[], &[]), "-");
    }

    #[test]
    fn terminal_control_characters_are_removed() {
        assert_eq!(harmless("a\u{1b}[2J\r\nb\tc\u{9b}é"), "a\\u{1b}[2J\\r\\nb\\tc\\u{9b}é");
    }

    #[test]
    fn age_has_one_unit() {
        assert_eq!([59_999, 60_000, 3_600_000, 86_400_000].map(age), ["59s", "1m", "1h", "1d"]);
    }
}
