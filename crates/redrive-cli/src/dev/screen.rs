//! Prints events as lines.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anstyle::AnsiColor as Colour;
use redrive_local::mapping::answer::problem::Severity;
use redrive_local::plan::LeftOut;
use redrive_local::poller::{BatchNews, News};
use redrive_local::queue::Happening;
use serde_json::{Value, json};

use super::output::Output;
use crate::function::LogLine;

/// Prints lines one at a time, each as a whole.
pub(super) struct Screen {
    json: bool,
    colours: bool,
    output: Output,
    /// The output of functions by invocation, until their batch is shown.
    logs: Mutex<Logs>,
}

/// The limit of lines that wait for their batch. A function with more output has its first lines shown earlier.
const MAX_WAITING_LINES: usize = 10_000;

/// How many shown batches are remembered, for output that arrives after a function's answer.
const MAX_SHOWN: usize = 1_000;

#[derive(Default)]
struct Logs {
    /// Invocations with their output.
    waiting: VecDeque<(String, String)>,
    shown: VecDeque<String>,
}

/// The names of a queue and its function for output.
pub(super) struct Told {
    pub(super) queue: String,
    pub(super) function: String,
    pub(super) visibility_timeout: Duration,
}

impl Screen {
    pub(super) fn new(json: bool, colours: bool) -> Self {
        let note: fn(u64) -> String =
            if json { |lines| not_shown(lines, "lines").1.to_string() } else { |lines| not_shown(lines, "lines").0 };
        Self { json, colours, output: Output::new(note), logs: Mutex::default() }
    }

    /// Prints a message of the command itself.
    pub(super) fn say(&self, text: &str) {
        self.print(text, &json!({"event": "info", "message": text}));
    }

    /// Reports events that could not be shown because they came too fast. Their messages have been handled.
    pub(super) fn dropped(&self, events: u64) {
        let (text, json) = not_shown(events, "events");
        self.print(&self.paint(Colour::Yellow, &text), &json);
    }

    /// Reports a function that is not run. The messages of its queues stay there.
    pub(super) fn left_out(&self, left_out: &LeftOut) {
        let LeftOut { function, why, queues } = left_out;
        let json = json!({"event": "left_out", "function": function, "reason": why, "queues": queues});
        self.print(&self.paint(Colour::Yellow, &left_out.to_string()), &json);
    }

    /// Reports a function that was rebuilt and runs from now on.
    pub(super) fn rebuilt(&self, function: &str) {
        let text = self.paint(Colour::Green, &format!("{function} was rebuilt, and runs from now on"));
        self.print(&text, &json!({"event": "rebuilt", "function": function}));
    }

    /// Reports a function that could not be rebuilt or does not start.
    pub(super) fn not_rebuilt(&self, function: &str, error: &str) {
        let json = json!({"event": "rebuild_failed", "function": function, "error": error});
        self.print(&self.paint(Colour::Red, error), &json);
    }

    /// Keeps a line of a function's log for its batch.
    pub(super) fn log(&self, line: LogLine) {
        let Some(request_id) = line.request_id else { return self.print_log("", &line.line) };
        let overflow = {
            let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
            if logs.shown.contains(&request_id) {
                Some((request_id, line.line))
            } else {
                logs.waiting.push_back((request_id, line.line));
                if logs.waiting.len() > MAX_WAITING_LINES { logs.waiting.pop_front() } else { None }
            }
        };
        if let Some((request_id, line)) = overflow {
            self.print_log(&request_id, &line);
        }
    }

    pub(super) fn news(&self, of: &Told, news: &News) {
        match news {
            News::Batch(batch) => self.batch(of, batch),
            News::Filtered { message_ids } => {
                let text = format!("{}: {} matched no filter and are deleted", of.queue, messages(message_ids.len()));
                self.print(&text, &json!({"event": "filtered", "queue": of.queue, "message_ids": message_ids}));
            }
            News::NotReady { error, attempts } => {
                let text = format!("{}: {} is not ready, so its messages wait: {error}", of.queue, of.function);
                let json = json!({
                    "event": "not_ready", "queue": of.queue, "function": of.function, "error": error,
                    "attempts": attempts,
                });
                self.print(&self.paint(Colour::Red, &text), &json);
            }
            News::PollFailed { error } => {
                let text = self.paint(Colour::Red, &format!("{}: cannot be polled: {error}", of.queue));
                self.print(&text, &json!({"event": "poll_failed", "queue": of.queue, "error": error}));
            }
            News::DeleteFailed { message_id, error } => {
                let text =
                    format!("{}: {message_id} is done but could not be deleted, so it runs again: {error}", of.queue);
                let json =
                    json!({"event": "delete_failed", "queue": of.queue, "message_id": message_id, "error": error});
                self.print(&self.paint(Colour::Red, &text), &json);
            }
        }
    }

    fn batch(&self, of: &Told, batch: &BatchNews) {
        let logs = self.take_logs(&batch.request_id);
        let back = batch.messages.iter().filter(|message| !message.is_deleted).count();
        let (done, took) = (batch.messages.len() - back, batch.took);
        let outcome = match (done, back) {
            (_, 0) => self.paint(Colour::Green, &format!("{done} done")),
            (0, _) => self.paint(Colour::Red, &format!("{back} failed")),
            _ => format!(
                "{}, {}",
                self.paint(Colour::Green, &format!("{done} done")),
                self.paint(Colour::Red, &format!("{back} failed"))
            ),
        };
        let text =
            format!("{} -> {}: {}, {outcome} in {took:.0?}", of.queue, of.function, messages(batch.messages.len()));
        self.print(&text, &batch_json(of, batch));
        let ids: Vec<_> = batch.messages.iter().map(|message| message.message_id.as_str()).collect();
        let mut lines: HashMap<Option<&str>, Vec<&String>> = HashMap::new();
        for line in &logs {
            lines.entry(named(line, &ids)).or_default().push(line);
        }
        for message in &batch.messages {
            if !message.is_deleted {
                let (id, count, after) = (&message.message_id, message.receive_count, of.visibility_timeout);
                self.print_text(&format!("  {id} failed at receive {count}; visible again after {after:?}"));
            } else if message.receive_count > 1 {
                let (id, count) = (&message.message_id, message.receive_count);
                self.print_text(&self.paint(Colour::Green, &format!("  {id} done at receive {count}")));
            }
            let of_message = lines.remove(&Some(message.message_id.as_str())).unwrap_or_default();
            of_message.into_iter().for_each(|line| self.print_log(&batch.request_id, line));
        }
        let of_none = lines.remove(&None).unwrap_or_default();
        of_none.into_iter().for_each(|line| self.print_log(&batch.request_id, line));
        for (severity, problem) in &batch.problems {
            let colour = if *severity == Severity::Odd { Colour::Yellow } else { Colour::Red };
            self.print_text(&self.paint(colour, &format!("  {problem}")));
        }
    }

    fn take_logs(&self, request_id: &str) -> Vec<String> {
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.shown.push_back(request_id.to_owned());
        if logs.shown.len() > MAX_SHOWN {
            logs.shown.pop_front();
        }
        let (taken, waiting): (VecDeque<_>, VecDeque<_>) = logs.waiting.drain(..).partition(|(id, _)| id == request_id);
        logs.waiting = waiting;
        taken.into_iter().map(|(_, line)| line).collect()
    }

    pub(super) fn happening(&self, happening: &Happening, why: Option<&str>) {
        match happening {
            Happening::DeadLettered { from, to, message_id, receive_count } => {
                let because = why.map(|why| format!(": {why}")).unwrap_or_default();
                let text =
                    format!("{from} -> {to}: {message_id} is dead-lettered after {receive_count} receives{because}");
                let json = json!({
                    "event": "dead_lettered", "from": from, "to": to, "message_id": message_id,
                    "receive_count": receive_count, "reason": why,
                });
                self.print(&self.paint(Colour::Red, &text), &json);
            }
            Happening::Expired { from, message_id, receive_count } => {
                let text =
                    format!("{from}: {message_id} expired after {receive_count} receives, at the end of its retention");
                let json = json!({
                    "event": "expired", "from": from, "message_id": message_id, "receive_count": receive_count,
                });
                self.print(&self.paint(Colour::Red, &text), &json);
            }
        }
    }

    /// Prints the last line of a demo.
    pub(super) fn summary(&self, text: &str, is_good: bool, json: &Value) {
        self.print(&self.paint(if is_good { Colour::Green } else { Colour::Red }, text), json);
    }

    fn print_log(&self, request_id: &str, line: &str) {
        let text = self.paint(Colour::BrightBlack, &format!("    | {}", readable(line)));
        self.print(&text, &json!({"event": "log", "request_id": request_id, "line": line}));
    }

    /// Prints a line for people. Programs get the same information from another line.
    fn print_text(&self, text: &str) {
        if !self.json {
            self.print(text, &Value::Null);
        }
    }

    fn print(&self, text: &str, json: &Value) {
        let line = if self.json { json.to_string() } else { text.to_owned() };
        self.output.line(line);
    }

    fn paint(&self, colour: Colour, text: &str) -> String {
        let style = colour.on_default();
        if self.colours && !self.json { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

/// Formats a note about lines or events that were dropped, as text and as JSON.
fn not_shown(count: u64, what: &str) -> (String, Value) {
    let text = format!(
        "{count} {what} are not shown, because they came faster than they were read; all messages were handled"
    );
    (text, json!({"event": "not_shown", "count": count, "what": what}))
}

fn messages(count: usize) -> String {
    if count == 1 { "1 message".to_owned() } else { format!("{count} messages") }
}

fn batch_json(of: &Told, batch: &BatchNews) -> Value {
    let messages = batch.messages.iter().map(|message| {
        json!({
            "message_id": message.message_id, "group": message.group, "receive_count": message.receive_count,
            "done": message.is_deleted,
        })
    });
    let problems: Vec<_> = batch.problems.iter().map(|(_, problem)| problem).collect();
    json!({
        "event": "batch", "queue": of.queue, "function": of.function, "request_id": batch.request_id,
        "took_ms": batch.took.as_secs_f64() * 1e3, "messages": messages.collect::<Vec<_>>(), "problems": problems,
        "visible_again_after_s": of.visibility_timeout.as_secs(),
    })
}

/// Returns which of the messages a line is about. A JSON log also has the invocation's id, which may contain a
/// message's id.
fn named<'a>(line: &str, ids: &[&'a str]) -> Option<&'a str> {
    let log = serde_json::from_str::<Value>(line);
    let is_named = |id: &&&'a str| match &log {
        Ok(log) => log.pointer("/fields/message_id").and_then(Value::as_str) == Some(**id),
        Err(_) => line.contains(**id),
    };
    ids.iter().find(is_named).copied()
}

/// Converts a function's JSON log line into text: the level, the message, and the other fields.
pub(super) fn readable(line: &str) -> String {
    let parsed = serde_json::from_str::<Value>(line).ok();
    let Some(fields) = parsed.as_ref().and_then(|log| log.get("fields")).and_then(Value::as_object) else {
        return line.to_owned();
    };
    let level = parsed.as_ref().and_then(|log| log.get("level")).and_then(Value::as_str).unwrap_or_default();
    let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let message = fields.get("message").map(shown).unwrap_or_default();
    let others =
        fields.iter().filter(|(key, _)| *key != "message").map(|(key, value)| format!(" {key}={}", shown(value)));
    format!("{level} {message}{}", others.collect::<String>())
}

/// Returns the message and the error in a log line of a redrive function.
pub(super) fn error_in(line: &str) -> Option<(String, String)> {
    let log: Value = serde_json::from_str(line).ok()?;
    let field = |name| log.get("fields")?.get(name)?.as_str().map(str::to_owned);
    Some((field("message_id")?, field("error")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str =
        r#"{"level":"ERROR","fields":{"message":"record failed","message_id":"b","error":"no"},"span":{"id":"a-1"}}"#;

    #[test]
    fn line_belongs_to_the_message_that_it_names() {
        assert_eq!(named(LINE, &["a", "b"]), Some("b"));
        assert_eq!(named(LINE, &["a"]), None);
        assert_eq!((named("b is bad", &["b"]), named("good", &["b"])), (Some("b"), None));
    }

    #[test]
    fn json_line_becomes_readable_and_other_lines_stay() {
        assert_eq!(readable(LINE), "ERROR record failed error=no message_id=b");
        assert_eq!(readable("plain"), "plain");
        assert_eq!(readable("{}"), "{}");
    }

    #[test]
    fn error_of_a_message_is_found() {
        assert_eq!(error_in(LINE), Some(("b".to_owned(), "no".to_owned())));
        assert_eq!(error_in("plain"), None);
    }
}
