//! Evaluates the functions that compute a value from values: `Fn::Base64`, `Fn::Cidr`, `Fn::GetAZs`, `Fn::Length` and
//! `Fn::ToJsonString`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde_json::{Map, Value as Json};

use super::intrinsics::{misused, unknown};
use super::node::{Node, NodeData};
use super::problem::{Place, Problem};
use super::scope::Scope;
use super::value::{Data, Property, Unknown, Value};

/// The limit for blocks of one call.
const MAX_CIDR_BLOCKS: usize = 256;

/// The zones of a region, as most regions have them. An account may see others.
const ZONES: [&str; 3] = ["a", "b", "c"];

impl Scope<'_> {
    pub(super) fn call_base64(&self, argument: &Node, place: Place) -> Result<Value, Problem> {
        let value = self.value(argument)?;
        match (value.text(), unknown(&value)) {
            (Some(text), _) => Ok(Value::of_text(place, BASE64.encode(text))),
            (None, Some(why)) => Ok(Value::unknown(place, why)),
            (None, None) => Err(misused("Fn::Base64", "a text", place)),
        }
    }

    pub(super) fn call_length(&self, argument: &Node, place: Place) -> Result<Value, Problem> {
        let value = self.value(argument)?;
        match &value.data {
            Data::List(items) => Ok(Value::of_text(place, items.len().to_string())),
            Data::Unknown(why) => Ok(Value::unknown(place, why.clone())),
            _ => Err(misused("Fn::Length", "a list", place)),
        }
    }

    pub(super) fn call_get_azs(&self, argument: &Node, place: Place) -> Result<Value, Problem> {
        let value = self.value(argument)?;
        let region = match (value.text(), unknown(&value)) {
            (Some(""), _) => self.inputs.region.as_str(),
            (Some(region), _) => region,
            (None, Some(why)) => return Ok(Value::unknown(place, why)),
            (None, None) => return Err(misused("Fn::GetAZs", "the name of a region, or an empty text", place)),
        };
        let zones = ZONES.iter().map(|zone| Value::of_text(place, format!("{region}{zone}"))).collect();
        Ok(Value::new(place, Data::List(zones)))
    }

    pub(super) fn call_cidr(&self, argument: &Node, place: Place) -> Result<Value, Problem> {
        let usage = "a block such as 10.0.0.0/16, the number of blocks from 1 to 256, and for IPv6 the host bits";
        let value = self.value(argument)?;
        if let Some(why) = unknown(&value).or_else(|| value.items().iter().find_map(unknown)) {
            return Ok(Value::unknown(place, why));
        }
        let texts: Vec<_> = value.items().iter().map(|item| item.text().unwrap_or_default()).collect();
        let blocks = match texts.as_slice() {
            [block, count] => blocks(block, count, None),
            [block, count, bits] => blocks(block, count, Some(bits)),
            _ => None,
        };
        let blocks = blocks.ok_or_else(|| misused("Fn::Cidr", usage, place))?;
        Ok(Value::new(place, Data::List(blocks.into_iter().map(|block| Value::of_text(place, block)).collect())))
    }

    pub(super) fn call_to_json_string(&self, argument: &Node, place: Place) -> Result<Value, Problem> {
        if !matches!(argument.data, NodeData::Map(_) | NodeData::List(_)) {
            return Err(misused("Fn::ToJsonString", "a map or a list", place));
        }
        match self.json(argument)? {
            Ok(json) => {
                let text = json.unwrap_or_default().to_string();
                self.spend(place, text.len())?;
                Ok(Value::of_text(place, text))
            }
            Err(why) => Ok(Value::unknown(place, why)),
        }
    }

    /// Returns a value as JSON, or nothing for `AWS::NoValue`. A number or boolean is one if it has no quotes in the
    /// template.
    fn json(&self, node: &Node) -> Result<Result<Option<Json>, Unknown>, Problem> {
        if node.call().is_some() {
            return Ok(json_of(&self.value(node)?));
        }
        self.deeper(node.place, || {
            self.spend(node.place, 1)?;
            Ok(Ok(Some(match &node.data {
                NodeData::Null => Json::Null,
                NodeData::Text(text) if node.is_plain => plain(text),
                NodeData::Text(_) => return Ok(json_of(&self.value(node)?)),
                NodeData::List(items) => {
                    let mut list = Vec::new();
                    for item in items {
                        match self.json(item)? {
                            Ok(json) => list.extend(json),
                            Err(why) => return Ok(Err(why)),
                        }
                    }
                    Json::Array(list)
                }
                NodeData::Map(entries) => {
                    let mut map = Map::new();
                    for entry in entries {
                        match self.json(&entry.value)? {
                            Ok(json) => map.extend(json.map(|json| (entry.key.clone(), json))),
                            Err(why) => return Ok(Err(why)),
                        }
                    }
                    Json::Object(map)
                }
            })))
        })
    }
}

fn plain(text: &str) -> Json {
    match text {
        "true" | "True" | "TRUE" => Json::Bool(true),
        "false" | "False" | "FALSE" => Json::Bool(false),
        _ => match serde_json::from_str(text) {
            Ok(number @ Json::Number(_)) => number,
            _ => Json::String(text.to_owned()),
        },
    }
}

fn json_of(value: &Value) -> Result<Option<Json>, Unknown> {
    Ok(Some(match &value.data {
        Data::Absent => return Ok(None),
        Data::Null => Json::Null,
        Data::Text(text) => Json::String(text.clone()),
        Data::List(items) => {
            Json::Array(items.iter().filter_map(|item| json_of(item).transpose()).collect::<Result<_, _>>()?)
        }
        Data::Map(properties) => {
            let entry = |property: &Property| Ok(json_of(&property.value)?.map(|json| (property.key.clone(), json)));
            Json::Object(
                properties.iter().filter_map(|property| entry(property).transpose()).collect::<Result<_, _>>()?,
            )
        }
        Data::Unknown(why) => return Err(why.clone()),
    }))
}

/// Returns so many blocks of the same size from a block. `host_bits` is the size; IPv4 has a default.
fn blocks(block: &str, count: &str, host_bits: Option<&str>) -> Option<Vec<String>> {
    let count: usize = count.parse().ok().filter(|count| (1..=MAX_CIDR_BLOCKS).contains(count))?;
    let bits: Option<u8> = host_bits.map(str::parse).transpose().ok()?;
    let blocks: Vec<String> = match block.parse::<IpNet>().ok()? {
        IpNet::V4(net) => {
            let prefix = 32_u8.checked_sub(bits.unwrap_or(8))?;
            net.trunc().subnets(prefix).ok()?.take(count).map(|net: Ipv4Net| net.to_string()).collect()
        }
        IpNet::V6(net) => {
            let prefix = 128_u8.checked_sub(bits?)?;
            net.trunc().subnets(prefix).ok()?.take(count).map(|net: Ipv6Net| net.to_string()).collect()
        }
    };
    (blocks.len() == count).then_some(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_follow_each_other() {
        let v4 = blocks("192.168.0.0/24", "3", Some("5")).unwrap();
        assert_eq!(v4, ["192.168.0.0/27", "192.168.0.32/27", "192.168.0.64/27"]);
        assert_eq!(blocks("10.0.0.0/16", "2", None).unwrap(), ["10.0.0.0/24", "10.0.1.0/24"]);
        let v6 = blocks("2001:db8::/56", "2", Some("64")).unwrap();
        assert_eq!(v6, ["2001:db8::/64", "2001:db8:0:1::/64"]);
    }

    #[test]
    fn impossible_blocks_are_refused() {
        for (block, count, bits) in [
            ("10.0.0.0/16", "0", None),
            ("10.0.0.0/16", "257", None),
            ("10.0.0.0/24", "2", Some("8")),
            ("10.0.0.0/24", "1", Some("16")),
            ("10.0.0.0/24", "1", Some("33")),
            ("2001:db8::/56", "1", None),
            ("10.0.0.0", "1", None),
        ] {
            assert_eq!(blocks(block, count, bits), None, "{block} {count} {bits:?}");
        }
    }
}
