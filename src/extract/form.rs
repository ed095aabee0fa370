//! Recognizes the format of a body, so that an error can name the right extractor.

use serde_json::Value;

/// A format of messages that AWS services send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    EventBridge,
    Sns,
    S3,
    CloudTrail,
}

/// Describes a body in another format than the wanted one, and names its extractor.
pub(super) fn misplaced(body: &str, wanted: Form) -> Option<String> {
    let body = serde_json::from_str(body).ok()?;
    let form = form_of(&body).filter(|form| *form != wanted)?;
    Some(match form {
        Form::EventBridge => {
            "it is an EventBridge event; extract it as `EventBridge<T>`, with a type of yours for its detail".to_owned()
        }
        Form::Sns => format!("it came through SNS; extract it as `Sns<{}>`", published(&body)),
        Form::S3 => "it is an S3 notification; extract it as `S3`".to_owned(),
        Form::CloudTrail => "it is a CloudTrail record; extract it as `Json<T>`, with a type of yours".to_owned(),
    })
}

fn form_of(body: &Value) -> Option<Form> {
    let record = body.get("Records").and_then(|records| records.get(0));
    let has =
        |value: &Value, keys: &[&str]| keys.iter().all(|key| value.get(key).is_some_and(|value| !value.is_null()));
    let is_test = body.get("Event").is_some_and(|event| event == "s3:TestEvent");
    if has(body, &["detail-type", "source", "detail"]) {
        Some(Form::EventBridge)
    } else if has(body, &["Type", "TopicArn", "Message"]) {
        Some(Form::Sns)
    } else if is_test || record.is_some_and(|record| has(record, &["s3"])) {
        Some(Form::S3)
    } else {
        let of_trail = |record: &Value| has(record, &["eventVersion", "eventSource", "eventName", "userIdentity"]);
        (of_trail(body) || record.is_some_and(of_trail)).then_some(Form::CloudTrail)
    }
}

/// Returns the type for a message that was published to a topic.
fn published(body: &Value) -> &'static str {
    let message = body.get("Message").and_then(Value::as_str).and_then(|message| serde_json::from_str(message).ok());
    match message.as_ref().and_then(form_of) {
        Some(Form::S3) => "S3Notification",
        Some(Form::EventBridge) => "EventBridge<T>",
        Some(Form::Sns | Form::CloudTrail) | None => "T",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn error_names_the_right_extractor() {
        let s3 = json!({"Records": [{"eventVersion": "2.1", "eventSource": "aws:s3", "s3": {}}]});
        let event = json!({"detail-type": "Object Created", "source": "aws.s3", "detail": {}});
        let sns = |message: &str| json!({"Type": "Notification", "TopicArn": "arn", "Message": message});
        let trail = json!({"eventVersion": "1.08", "eventSource": "s3.amazonaws.com", "eventName": "PutObject",
            "userIdentity": {}});
        for (body, expected) in [
            (event.clone(), "`EventBridge<T>`"),
            (sns("hello"), "`Sns<T>`"),
            (sns(&s3.to_string()), "`Sns<S3Notification>`"),
            (sns(&event.to_string()), "`Sns<EventBridge<T>>`"),
            (trail.clone(), "`Json<T>`"),
            (json!({"Records": [trail]}), "`Json<T>`"),
        ] {
            let said = misplaced(&body.to_string(), Form::S3).unwrap();
            assert!(said.contains(expected), "{body}: {said}");
        }
        assert!(misplaced(&s3.to_string(), Form::Sns).unwrap().contains("`S3`"));
        for body in ["", "{}", "[]", "1", "{\"Records\": {}}", "{\"Records\": []}", &s3.to_string()] {
            assert_eq!(misplaced(body, Form::S3), None, "{body}");
        }
    }
}
