//! Implements `redrive send`.

mod attribute;
mod batch;
mod deliver;
mod extras;
mod flow;
mod input;
mod message;
mod report;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use self::attribute::{Attribute, attribute};
pub(super) use self::deliver::{Delivered, Destination, SendOutcome};
use self::extras::Extras;
use self::flow::{End, flow};
use self::input::{Form, Input};
pub(super) use self::message::{InputPosition, Message};
use self::report::{Progress, Report};
use super::Done;
use super::interrupt::interrupted;
use super::sqs::{Target, variable};

/// Send message bodies or the records of a sample event to a queue
///
/// An input that begins as an SQS event, {"Records": [...]} or [{"messageId": ...}], sends one message for each record.
/// The message keeps the record's body, message attributes, AWSTraceHeader (without its Lineage) and MessageGroupId.
/// For a FIFO queue it also keeps MessageDeduplicationId.
///
/// Any other input sends each line as a body. A body is text or JSON in UTF-8. Empty lines are skipped and counted.
/// JSON that spans several lines is refused: pass --whole to send the input as one body, byte for byte, or --lines to
/// send each line as a body. --body takes the body from the command line.
///
/// A call sends at most ten messages and 1 MiB. On a FIFO queue the messages of a group are sent one after the other,
/// in input order. Temporary failures are retried for up to a minute. Every other failure is printed with its line or
/// record and its cause, and the later messages of its group are still sent.
///
/// Region and credentials are found as the AWS CLI finds them: in AWS_REGION, AWS_ACCESS_KEY_ID and related variables,
/// in AWS_PROFILE and single sign-on, and from the role of an AWS machine. An SQS on this machine needs none.
///
/// Exits with 0 if everything was sent. Exits with 1 if a message failed or its outcome is unknown, or on Ctrl-C. Exits
/// with 2 if nothing could be sent or the input could not be read to its end.
#[derive(Args)]
pub(super) struct Arguments {
    /// The queue's name, or its URL
    queue: String,
    /// The file to send; without it, or with -, the input is stdin
    file: Option<PathBuf>,
    /// The URL of the SQS endpoint. The default is the endpoint of the queue's URL, then AWS_ENDPOINT_URL_SQS, then
    /// http://127.0.0.1:9324, where `redrive dev` serves
    #[arg(long, value_name = "URL")]
    endpoint_url: Option<String>,
    /// Send this body instead of an input
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["file", "lines", "whole"])]
    body: Option<String>,
    /// Send the whole input as one body
    #[arg(long, conflicts_with = "lines")]
    whole: bool,
    /// Send each line as a body, even if the input begins as an event
    #[arg(long)]
    lines: bool,
    /// A message attribute for every message. The default type is String. Write weight:Number=1.5, or logo:Binary= and
    /// base64
    #[arg(short, long = "attribute", value_name = "NAME[:TYPE]=VALUE", value_parser = attribute)]
    attributes: Vec<Attribute>,
    /// The message group of every message. A FIFO queue requires one; on a standard queue it is for fair queues
    #[arg(long, value_name = "ID")]
    group: Option<String>,
    /// The deduplication id of a body. Lines and records get ID-1, ID-2 and so on. A FIFO queue drops a message with an
    /// id of the last 5 minutes and answers that it was sent
    #[arg(long, value_name = "ID")]
    deduplication_id: Option<String>,
    /// How long each message stays hidden, in seconds from 0 to 900. Not for a FIFO queue
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=900))]
    delay: Option<u64>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Done, String> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| format!("cannot start: {error}"))?;
    runtime.block_on(send(arguments))
}

async fn send(arguments: &Arguments) -> Result<Done, String> {
    let target = Target::of(&arguments.queue, arguments.endpoint_url.as_deref(), variable)?;
    let extras = arguments.extras(&target)?;
    let input = arguments.input()?;
    let queue = Arc::new(Destination::from(target.find(variable).await?));
    let progress = Progress::new(input.length_bytes, input.read_bytes.clone());
    let mut report = Report::new(input.name.clone(), queue.name.clone(), progress);
    let items = input.start(arguments.form(), extras)?;
    let stop = async {
        let signal = interrupted().await;
        eprintln!("redrive: {signal}: waiting for the calls under way; a second signal ends the command now");
    };
    let twice = async {
        interrupted().await;
        interrupted().await;
    };
    let end = tokio::select! {
        end = flow(queue, items, &mut report, stop) => Some(end),
        () = twice => None,
    };
    if end.is_none() {
        report.abandon();
    }
    report.end();
    finished(&report, end)
}

/// Returns the result of the command. `end` is `None` if a second signal ended it.
fn finished(report: &Report, end: Option<End>) -> Result<Done, String> {
    match end {
        Some(End::Complete) => Ok(Done { output: format!("{}\n", report.summary()), is_good: report.is_good() }),
        Some(End::Interrupted) | None => {
            Ok(Done { output: format!("{}\n", report.summary_and_rest()), is_good: false })
        }
        Some(End::Broken(problem) | End::Hopeless(problem)) if report.is_empty() => Err(problem),
        Some(End::Broken(problem)) => Err(format!("{problem}; {}", report.summary())),
        Some(End::Hopeless(problem)) => Err(format!("{problem}; {}", report.summary_and_rest())),
    }
}

impl Arguments {
    fn extras(&self, target: &Target) -> Result<Extras, String> {
        let extras = Extras {
            attributes: self.attributes.clone(),
            group: self.group.clone(),
            deduplication_id: self.deduplication_id.clone(),
            delay: self.delay.map(Duration::from_secs),
            is_fifo: target.is_fifo(),
        };
        extras.check(&target.name)?;
        Ok(extras)
    }

    fn input(&self) -> Result<Input, String> {
        match (&self.body, &self.file) {
            (Some(body), _) => Ok(Input::text("--body", body)),
            (None, Some(file)) if file != Path::new("-") => Input::file(file),
            (None, _) => Ok(Input::stdin()),
        }
    }

    fn form(&self) -> Form {
        match (self.whole || self.body.is_some(), self.lines) {
            (true, _) => Form::Whole,
            (false, true) => Form::Lines,
            (false, false) => Form::AsItIs,
        }
    }
}
