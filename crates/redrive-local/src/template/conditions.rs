//! Evaluates conditions as true, false or unknown.

use super::intrinsics::{arguments, misused, unknown};
use super::node::{Node, NodeData};
use super::problem::{Place, Problem};
use super::scope::{Declared, Scope};
use super::value::{Unknown, Value};

pub(super) type Truth = Result<bool, Unknown>;

impl Scope<'_> {
    /// Returns whether a condition holds.
    pub(super) fn condition(&self, name: &str, place: Place) -> Result<Truth, Problem> {
        let Some(&node) = self.conditions.get(name) else {
            return Err(Problem::new(place, format!("there is no condition `{name}`; declare it under `Conditions`")));
        };
        self.once(&format!("condition {name}"), place, || self.truth(node))
    }

    /// Returns the false condition of a resource. A resource with an unknown condition stays in the template, because a
    /// deployment may create it.
    pub(super) fn left_out(&self, declared: &Declared<'_>) -> Result<Option<String>, Problem> {
        let Some(condition) = declared.condition else { return Ok(None) };
        let Some(name) = condition.text() else {
            let problem = format!("a resource's `Condition` has to be a condition's name, but is {}", condition.kind());
            return Err(Problem::new(condition.place, problem));
        };
        Ok(match self.condition(name, condition.place)? {
            Ok(false) => Some(name.to_owned()),
            Ok(true) | Err(_) => None,
        })
    }

    fn truth(&self, node: &Node) -> Result<Truth, Problem> {
        self.spend(node.place, 1)?;
        self.deeper(node.place, || {
            if let Some(named) = node.get("Condition") {
                let usage = "the name of a condition";
                let name = named.text().ok_or_else(|| misused("Condition", usage, named.place))?;
                return self.condition(name, named.place);
            }
            match node.call() {
                Some((name @ ("Fn::And" | "Fn::Or" | "Fn::Not" | "Fn::Equals"), argument)) => {
                    self.logic(name, argument, node.place)
                }
                _ => Err(Problem::new(
                    node.place,
                    "a condition consists of `Fn::Equals`, `Fn::And`, `Fn::Or` and `Fn::Not`",
                )),
            }
        })
    }

    pub(super) fn logic(&self, name: &str, argument: &Node, place: Place) -> Result<Truth, Problem> {
        match name {
            "Fn::Equals" => {
                let [left, right] = arguments(argument, name, "two values")?;
                let (left, right) = (self.value(left)?, self.value(right)?);
                Ok(unknown(&left).or_else(|| unknown(&right)).map_or_else(|| Ok(same(&left, &right)), Err))
            }
            "Fn::Not" => {
                let [node] = arguments(argument, name, "a list of one condition")?;
                Ok(self.truth(node)?.map(|truth| !truth))
            }
            // A deciding condition gives the result even if others are unknown.
            _ => {
                let NodeData::List(nodes) = &argument.data else {
                    return Err(misused(name, "a list of conditions", place));
                };
                let decides = name == "Fn::Or";
                let mut result = Ok(!decides);
                for node in nodes {
                    match self.truth(node)? {
                        Ok(truth) if truth == decides => return Ok(Ok(decides)),
                        Ok(_) => {}
                        Err(why) => result = Err(why),
                    }
                }
                Ok(result)
            }
        }
    }
}

/// Returns whether two values are equal, regardless of their places.
fn same(left: &Value, right: &Value) -> bool {
    match (left.text(), right.text()) {
        (Some(left), Some(right)) => left == right,
        (None, None) => {
            let (left, right) = (left.items(), right.items());
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| left.text() == right.text())
        }
        _ => false,
    }
}
