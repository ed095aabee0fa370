//! What templates allow to whom: IAM policies, roles, a SAM function's `Policies`, and queue policies.
//!
//! Reading is lenient. There is more in policies than concerns a queue, and what has another form than expected is left to
//! IAM to judge.

use super::problem::Place;
use super::value::{Data, Value};

/// The policy statements of one resource, and the managed policies that it names.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) id: String,
    /// Whether it hangs on a queue, and says who may come, rather than on who comes.
    pub(crate) is_of_queue: bool,
    pub(crate) statements: Vec<Statement>,
    pub(crate) managed: Vec<Written>,
}

/// A statement that allows something.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    pub(crate) place: Place,
    pub(crate) actions: Vec<Written>,
    pub(crate) resources: Vec<Written>,
    pub(crate) is_for_anyone: bool,
    pub(crate) has_condition: bool,
}

/// A text, and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) place: Place,
    pub(crate) text: String,
}

impl Policy {
    /// The policies in a resource of a kind; nothing where the kind has none.
    pub(super) fn of(id: &str, kind: &str, properties: &Value) -> Option<Self> {
        let policies = properties.get("Policies").map(Value::items).unwrap_or_default();
        let documents: Vec<&Value> = match kind {
            "AWS::IAM::Role" | "AWS::IAM::User" | "AWS::IAM::Group" => {
                policies.iter().filter_map(|policy| policy.get("PolicyDocument")).collect()
            }
            // A policy here is a document, the name of a managed one, or one of SAM's own, which are as narrow as can be.
            "AWS::Serverless::Function" => policies.iter().collect(),
            "AWS::IAM::ManagedPolicy" | "AWS::IAM::Policy" | "AWS::SQS::QueuePolicy" => {
                properties.get("PolicyDocument").into_iter().collect()
            }
            _ => return None,
        };
        let named = properties.get("ManagedPolicyArns").map(Value::items).unwrap_or_default();
        let statements = documents.iter().filter_map(|document| document.get("Statement"));
        Some(Self {
            id: id.to_owned(),
            is_of_queue: kind == "AWS::SQS::QueuePolicy",
            statements: statements.flat_map(Value::items).filter_map(statement).collect(),
            managed: policies.iter().chain(named).filter_map(written).collect(),
        })
    }
}

fn statement(value: &Value) -> Option<Statement> {
    if value.get("Effect").and_then(Value::text) != Some("Allow") {
        return None;
    }
    let texts = |key: &str| value.get(key).map(Value::items).unwrap_or_default().iter().filter_map(written).collect();
    Some(Statement {
        place: value.place,
        actions: texts("Action"),
        resources: texts("Resource"),
        is_for_anyone: value.get("Principal").is_some_and(is_anyone),
        has_condition: value.get("Condition").is_some(),
    })
}

/// `*`, alone or as an AWS account.
fn is_anyone(principal: &Value) -> bool {
    let named = match &principal.data {
        Data::Map(_) => principal.get("AWS").map(Value::items).unwrap_or_default(),
        _ => principal.items(),
    };
    named.iter().any(|named| named.text() == Some("*"))
}

fn written(value: &Value) -> Option<Written> {
    value.text().map(|text| Written { place: value.place, text: text.to_owned() })
}
