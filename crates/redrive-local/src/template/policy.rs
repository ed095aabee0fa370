//! Reads permissions of a template: IAM policies, roles, a SAM function's `Policies`, and queue policies.
//!
//! The reading is lenient. Policies concern more than queues, and IAM judges policies of an unexpected form.

use super::node::Node;
use super::problem::Place;
use super::value::{Data, Value};

/// The policy statements of one resource, and the managed policies that it names.
#[derive(Clone, Debug)]
pub struct PolicyResource {
    pub id: String,
    /// Whether it is a queue policy, which says who may use a queue.
    pub is_of_queue: bool,
    pub statements: Vec<Statement>,
    pub managed: Vec<Written>,
    /// The queues to which SAM's policy templates allow sending, by name.
    pub sends_to: Vec<Written>,
    /// The policies of the template that are attached to this resource.
    pub attaches: Vec<String>,
    /// The roles of the template to which this resource is attached.
    pub attached_to: Vec<String>,
}

/// A statement with the effect `Allow`.
#[derive(Clone, Debug)]
pub struct Statement {
    pub place: Place,
    pub actions: Vec<Written>,
    pub resources: Vec<Written>,
    pub is_for_anyone: bool,
    pub has_condition: bool,
}

/// A text with its place.
#[derive(Clone, Debug)]
pub struct Written {
    pub place: Place,
    pub text: String,
}

/// Resource types with policies inside.
const HOLDERS: [&str; 3] = ["AWS::IAM::Group", "AWS::IAM::Role", "AWS::IAM::User"];
/// Resource types that are policies.
const POLICIES: [&str; 6] = [
    "AWS::IAM::GroupPolicy",
    "AWS::IAM::ManagedPolicy",
    "AWS::IAM::Policy",
    "AWS::IAM::RolePolicy",
    "AWS::IAM::UserPolicy",
    OF_QUEUE,
];
const OF_QUEUE: &str = "AWS::SQS::QueuePolicy";

/// Returns whether a resource type only defines permissions. Functions also contain policies, but they are not such a
/// type.
pub(super) fn has_any(kind: &str) -> bool {
    HOLDERS.contains(&kind) || POLICIES.contains(&kind)
}

impl PolicyResource {
    /// Reads the policies of a resource.
    pub(super) fn of(id: &str, kind: &str, properties: &Value, written: Option<&Node>) -> Self {
        let policies = properties.get("Policies").map(Value::items).unwrap_or_default();
        let documents: Vec<&Value> = if HOLDERS.contains(&kind) {
            policies.iter().filter_map(|policy| policy.get("PolicyDocument")).collect()
        } else if POLICIES.contains(&kind) {
            properties.get("PolicyDocument").into_iter().collect()
        } else {
            // A function's policy is a document, a managed policy's name, or a narrow SAM policy template.
            policies.iter().collect()
        };
        let named = properties.get("ManagedPolicyArns").map(Value::items).unwrap_or_default();
        let named_by = |key| written.and_then(|written| written.get(key)).map(named_resources).unwrap_or_default();
        let statements = documents.iter().filter_map(|document| document.get("Statement"));
        Self {
            id: id.to_owned(),
            is_of_queue: kind == OF_QUEUE,
            statements: statements.flat_map(Value::items).filter_map(statement).collect(),
            managed: policies.iter().chain(named).filter_map(text_of).collect(),
            sends_to: policies.iter().filter_map(sends_to).collect(),
            attaches: ["ManagedPolicyArns", "Policies"].into_iter().flat_map(named_by).collect(),
            attached_to: ["Roles", "RoleName"].into_iter().flat_map(named_by).collect(),
        }
    }
}

fn statement(value: &Value) -> Option<Statement> {
    if value.get("Effect").and_then(Value::text) != Some("Allow") {
        return None;
    }
    let texts = |key: &str| value.get(key).map(Value::items).unwrap_or_default().iter().filter_map(text_of).collect();
    Some(Statement {
        place: value.place,
        actions: texts("Action"),
        resources: texts("Resource"),
        is_for_anyone: value.get("Principal").is_some_and(is_anyone),
        has_condition: value.get("Condition").is_some(),
    })
}

/// Returns whether a principal is `*`, alone or as an AWS account.
fn is_anyone(principal: &Value) -> bool {
    let named = match &principal.data {
        Data::Map(_) => principal.get("AWS").map(Value::items).unwrap_or_default(),
        _ => principal.items(),
    };
    named.iter().any(|named| named.text() == Some("*"))
}

/// Returns the queue of SAM's policy template for sending.
///
/// <https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/serverless-policy-template-list.html>
fn sends_to(policy: &Value) -> Option<Written> {
    policy.get("SQSSendMessagePolicy")?.get("QueueName").and_then(text_of)
}

/// Returns the resources that a node names with `Ref`, `Fn::GetAtt` or `Fn::Sub`, alone or in a list. It does not
/// resolve them.
pub(super) fn named_resources(node: &Node) -> Vec<String> {
    if let Some(items) = node.list() {
        return items.iter().flat_map(named_resources).collect();
    }
    let named = match node.call() {
        Some(("Ref", name)) => name.text(),
        Some(("Fn::GetAtt", argument)) => match argument.list() {
            Some(parts) => parts.first().and_then(Node::text),
            None => argument.text().and_then(|text| text.split('.').next()),
        },
        Some(("Fn::Sub", argument)) => argument.text().and_then(|text| {
            let name = text.trim().strip_prefix("${")?.strip_suffix('}')?;
            name.split('.').next()
        }),
        _ => None,
    };
    named.map(str::to_owned).into_iter().collect()
}

fn text_of(value: &Value) -> Option<Written> {
    value.text().map(|text| Written { place: value.place, text: text.to_owned() })
}
