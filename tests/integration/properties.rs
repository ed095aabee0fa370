//! Property tests with odd and damaged events. A failure prints its seed.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::invariants::check;
use crate::kit::{fifo_record, on_paused_clock, record};

/// Any JSON of limited depth.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(".{0,6}", inner, 0..4)
                .prop_map(|map| map.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

/// A record whose parts may be replaced by other JSON or removed.
fn odd_record() -> impl Strategy<Value = Value> {
    let keys =
        ["messageId", "body", "attributes", "messageAttributes", "eventSource", "eventSourceARN", "receiptHandle"];
    let base = prop_oneof![
        ("[ab]{0,2}", ".{0,8}").prop_map(|(id, body)| record(&id, &body)),
        ("[ab]{0,2}", "[xy]", ".{0,8}").prop_map(|(id, group, body)| fifo_record(&id, &group, &body)),
    ];
    let change = (prop::sample::select(keys.to_vec()), prop::option::of(any_json()));
    (base, prop::collection::vec(change, 0..3)).prop_map(|(mut record, changes)| {
        for (key, value) in changes {
            let fields = record.as_object_mut().expect("a record is an object");
            match value {
                Some(value) => fields.insert(key.to_owned(), value),
                None => fields.remove(key),
            };
        }
        record
    })
}

fn odd_event() -> impl Strategy<Value = Value> {
    let records = prop::collection::vec(prop_oneof![8 => odd_record(), 1 => any_json()], 0..6);
    let event =
        |(records, is_bare): (Vec<Value>, bool)| if is_bare { json!(records) } else { json!({ "Records": records }) };
    prop_oneof![9 => (records, prop::bool::weighted(0.2)).prop_map(event), 1 => any_json()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn odd_event_is_answered(event in odd_event()) {
        on_paused_clock(check(event.to_string().as_bytes()));
    }

    #[test]
    fn damaged_event_is_answered(event in odd_event(), damages in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut bytes = event.to_string().into_bytes();
        for (place, byte) in damages {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        on_paused_clock(check(&bytes));
    }
}
