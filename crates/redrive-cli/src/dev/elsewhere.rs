//! The queues of a template at another SQS.
//!
//! At an SQS on this machine, missing queues are created as the template describes them. Elsewhere somebody may depend
//! on the queues. So nothing is created or changed there, and a missing queue is an error. Existing queues are left as
//! they are in both cases.

use std::time::Duration;

use redrive::internals::source::Source;
use redrive_local::mapping::config::FunctionTimeout;
use redrive_local::plan::PlannedQueue;

use super::plan::Plan;
use super::screen::Screen;
use crate::sqs::{CallError, Elsewhere, Trouble};

/// The queues of a plan at the other SQS.
pub(super) struct ActualQueues(Vec<ActualQueue>);

/// A queue with its actual settings, which may differ from the template's.
struct ActualQueue {
    name: String,
    url: String,
    arn: String,
    visibility_timeout: Duration,
    is_new: bool,
}

/// This policy names queues that must exist first, as a RedrivePolicy does.
const ALLOW: &str = "RedriveAllowPolicy";

/// Finds the queues of the plan, or creates them on this machine. Elsewhere it looks only for queues that a function
/// reads from.
pub(super) async fn find_or_make(there: &Elsewhere, plan: &Plan) -> Result<ActualQueues, String> {
    let is_safe = there.endpoint.is_loopback();
    let is_read = |queue: &&PlannedQueue| plan.mappings.iter().any(|mapping| mapping.queue == queue.name);
    let (mut queues, mut missing) = (Vec::new(), Vec::new());
    for queue in plan.queues.iter().filter(|queue| is_safe || is_read(queue)) {
        match find(there, &queue.name).await? {
            Some(url) => queues.push(described(there, &queue.name, url, false).await?),
            None if is_safe => {
                let url = make(there, queue).await?;
                queues.push(described(there, &queue.name, url, true).await?);
            }
            None => missing.push(queue.name.as_str()),
        }
    }
    match missing[..] {
        [] => Ok(ActualQueues(queues)),
        _ => Err(format!(
            "{} has no queue {}, and nothing is created at an SQS on another machine; deploy the template, or pass the \
             --stack-name, --parameter and AWS_REGION that it was deployed with",
            there.endpoint.url(),
            missing.join(", ")
        )),
    }
}

async fn find(there: &Elsewhere, name: &str) -> Result<Option<String>, String> {
    match there.client.get_queue_url().queue_name(name).send().await.map_err(CallError::from) {
        Ok(answer) => Ok(answer.queue_url),
        Err(error) if error.trouble == Trouble::NoQueue => Ok(None),
        Err(error) => Err(there.explained(error, &format!("cannot find the queue {name}"))),
    }
}

async fn make(there: &Elsewhere, queue: &PlannedQueue) -> Result<String, String> {
    let mut create = there.client.create_queue().queue_name(&queue.name);
    for (&name, value) in queue.attributes.iter().filter(|(name, _)| **name != ALLOW) {
        create = create.attributes(name.into(), value);
    }
    let made =
        create.send().await.map_err(|error| there.explained(error, &format!("cannot create the queue {}", queue.name)));
    Ok(made?.queue_url.unwrap_or_default())
}

async fn described(there: &Elsewhere, name: &str, url: String, is_new: bool) -> Result<ActualQueue, String> {
    let get = there.client.get_queue_attributes().queue_url(&url);
    let get = get.attribute_names("QueueArn".into()).attribute_names("VisibilityTimeout".into());
    let attributes =
        get.send().await.map_err(|error| there.explained(error, &format!("cannot read the attributes of {name}")));
    let attributes = attributes?.attributes.unwrap_or_default();
    let attribute = |key: &str| {
        let value = attributes.get(&key.into());
        value.ok_or_else(|| format!("{} returned no {key} for {name}, so it is not an SQS", there.endpoint.url()))
    };
    let seconds = attribute("VisibilityTimeout")?;
    let seconds =
        seconds.parse().map_err(|_| format!("the VisibilityTimeout of {name} is {seconds:?}, not a number"))?;
    let arn = attribute("QueueArn")?.clone();
    Ok(ActualQueue { name: name.to_owned(), url, arn, visibility_timeout: Duration::from_secs(seconds), is_new })
}

impl ActualQueues {
    /// Returns the account of the queues. The template is read for this account, so that its ARNs and URLs are correct.
    pub(super) fn account(&self) -> Option<&str> {
        self.0.first()?.arn.split(':').nth(4)
    }

    /// Connects new queues with each other by the policies of the plan.
    pub(super) async fn connect(&self, there: &Elsewhere, plan: &Plan) -> Result<(), String> {
        for queue in self.0.iter().filter(|queue| queue.is_new) {
            let Some(planned) = plan.queues.iter().find(|planned| planned.name == queue.name) else { continue };
            let redrive = planned.redrive_policy.as_ref().map(|policy| ("RedrivePolicy", policy));
            let allow = planned.attributes.get(ALLOW).map(|policy| (ALLOW, policy));
            for (name, policy) in redrive.into_iter().chain(allow) {
                let set = there.client.set_queue_attributes().queue_url(&queue.url).attributes(name.into(), policy);
                set.send().await.map_err(|error| {
                    let what = format!("cannot set the {name} of {}", queue.name);
                    there.explained(error, &what)
                })?;
            }
        }
        Ok(())
    }

    /// Makes the plan's mappings read from the actual queues.
    pub(super) fn put_into(&self, plan: &mut Plan) -> Result<(), String> {
        for mapping in &mut plan.mappings {
            let Some(queue) = self.0.iter().find(|queue| queue.name == mapping.queue) else { continue };
            let refused = |error: &dyn std::fmt::Display| format!("cannot read from {}: {error}", queue.url);
            mapping.source = Source::from_arn(&queue.arn).map_err(|error| refused(&error))?;
            mapping.timeout = FunctionTimeout::new(mapping.timeout.get(), queue.visibility_timeout)
                .map_err(|error| refused(&error))?;
            mapping.queue_url.clone_from(&queue.url);
            mapping.visibility_timeout = queue.visibility_timeout;
        }
        Ok(())
    }

    pub(super) fn show(&self, screen: &Screen) {
        for queue in &self.0 {
            let made = if queue.is_new { ", a new queue" } else { ", an existing queue" };
            screen.say(&format!("queue {}{made}", queue.url));
        }
    }
}
