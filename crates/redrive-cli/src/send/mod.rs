//! `redrive send`.

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
pub(super) use self::deliver::{Delivered, Fate, Queue};
use self::extras::Extras;
use self::flow::{End, flow};
use self::input::{Form, Input};
pub(super) use self::message::{Message, Place};
use self::report::{Progress, Report};
use super::Done;
use super::interrupt::interrupted;
use super::sqs::{Target, variable};

/// Send bodies, or the messages of a sample event, to a queue
///
/// What is one message: an input that begins as an SQS event does, {"Records": [...]} or [{"messageId": ...}], has a message a record,
/// with the record's body, message attributes, AWSTraceHeader (without its Lineage), MessageGroupId and, to a FIFO queue,
/// MessageDeduplicationId. Any other
/// input has a body a line: text or JSON, in UTF-8; empty lines are skipped, and counted. JSON that goes on over several
/// lines is refused: --whole takes all of the input as one body, to the last byte, and --lines takes lines, whatever they look
/// like. --body takes the body from the command line.
///
/// Messages go in tens and up to 1 MiB a call. On a FIFO queue those of a group go one after the other, in the order of the input. A
/// message that fails for no fault of its own is sent again for up to a minute. Every other failure is printed with its line or record
/// and its cause. The later messages of its group then follow without it.
///
/// Region and credentials are found as the AWS CLI finds them: from AWS_REGION, AWS_ACCESS_KEY_ID and so on, from AWS_PROFILE and
/// single sign-on, and from the role of a machine at AWS. An SQS on this machine needs none.
///
/// Exits with 0 where everything was sent, with 1 where a message failed or may not have arrived, or on Ctrl-C, and with 2
/// where nothing could be sent or the input could not be read to its end.
#[derive(Args)]
pub(super) struct Arguments {
    /// The queue's name, or its URL
    queue: String,
    /// What to send; without it, or where it is -, what comes from stdin
    file: Option<PathBuf>,
    /// The SQS that has the queue: without it that of the queue's URL, or AWS_ENDPOINT_URL_SQS, or http://127.0.0.1:9324, where
    /// `redrive dev` serves
    #[arg(long, value_name = "URL")]
    endpoint_url: Option<String>,
    /// Send this body, and read no input
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["file", "lines", "whole"])]
    body: Option<String>,
    /// Send all of the input as one body
    #[arg(long, conflicts_with = "lines")]
    whole: bool,
    /// Send each line as a body, though the input begins as an event
    #[arg(long)]
    lines: bool,
    /// A message attribute for every message, as text or of a type: weight:Number=1.5, or logo:Binary= and base64
    #[arg(short, long = "attribute", value_name = "NAME[:TYPE]=VALUE", value_parser = attribute)]
    attributes: Vec<Attribute>,
    /// The message group of every message: a FIFO queue needs one, a fair queue takes one
    #[arg(long, value_name = "ID")]
    group: Option<String>,
    /// The deduplication id of a body; of lines and records it is ID-1, ID-2 and so on. A FIFO queue drops a message whose id
    /// it has had in the last 5 minutes, and says that it was sent
    #[arg(long, value_name = "ID")]
    deduplication_id: Option<String>,
    /// How long every message stays hidden, in seconds up to 900; not on a FIFO queue
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
    let queue = Arc::new(Queue::from(target.find(variable).await?));
    let progress = Progress::new(input.length_bytes, input.read_bytes.clone());
    let mut report = Report::new(input.name.clone(), queue.name.clone(), progress);
    let items = input.start(arguments.form(), extras)?;
    let stop = async {
        let signal = interrupted().await;
        eprintln!("redrive: {signal}: what is under way comes to its end; once more ends it now");
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

/// `None`: somebody was in a hurry.
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
