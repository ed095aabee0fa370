//! What a failed call says, without what it carried.
//!
//! The SDK's own text of an error ends with its debug output, and that has the raw answer in it: the messages of a receive, bodies and
//! receipt handles included. Services quote what they refuse, too. Nothing of that belongs into a log or an error.

use std::error::Error;

use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};

const REDACTED: &str = "[redacted]";

/// The longest text that is shown of what a service says.
const MAX_TEXT_CHARS: usize = 1_000;

/// So much of a payload is enough to know it by: what follows may be cut off, or written in another way.
const MARK_CHARS: usize = 16;

/// A shorter payload is not looked for. It would be found in the middle of words.
const MIN_MARK_CHARS: usize = 4;

/// A word of this length is no word. Receipt handles have more than a hundred characters.
const MAX_WORD_CHARS: usize = 32;

/// Returns what a failed call says.
pub fn text_of<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error {
        SdkError::ServiceError(answer) if !answer.raw().status().is_success() => {
            service_text(answer.err().code(), answer.err().message(), answer.raw())
        }
        SdkError::ServiceError(answer) => unreadable(answer.raw(), None),
        SdkError::ResponseError(answer) => unreadable(answer.raw(), io_error(error)),
        // Nothing in these comes from an answer to the call.
        _ => chain(error),
    }
}

fn service_text(code: Option<&str>, message: Option<&str>, answer: &HttpResponse) -> String {
    match (code.filter(|code| is_code(code)), message) {
        (Some(code), Some(message)) => format!("{code}: {}", redacted(message)),
        (Some(code), None) => code.to_owned(),
        (None, _) => format!("HTTP status {} without an error code", answer.status().as_u16()),
    }
}

/// An answer that is none of the service's, or breaks off. How it goes on from where it cannot be read is the payload.
fn unreadable(answer: &HttpResponse, cause: Option<&std::io::Error>) -> String {
    let status = answer.status().as_u16();
    let content_type = answer.headers().get("content-type").filter(|text| is_code(text)).unwrap_or("unknown");
    let bytes =
        answer.body().bytes().map_or_else(|| "an unknown number of".to_owned(), |bytes| bytes.len().to_string());
    let cause = cause.map(|error| format!(": {}", error.kind())).unwrap_or_default();
    format!("the answer cannot be read{cause} (HTTP status {status}, content type {content_type}, {bytes} bytes)")
}

/// The texts of an error and of its causes, none of which is an answer.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    redacted(&causes.map(ToString::to_string).collect::<Vec<_>>().join(": "))
}

fn io_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a std::io::Error> {
    std::iter::successors(Some(error), |&error| error.source()).find_map(|cause| cause.downcast_ref())
}

/// Returns the text without what looks like a receipt handle, and without values that a service quotes.
pub fn redacted(text: &str) -> String {
    let text = without_quoted_value(text);
    let words = text.split(' ').map(|word| if is_a_secret(word) { REDACTED } else { word });
    words.collect::<Vec<_>>().join(" ").chars().take(MAX_TEXT_CHARS).collect()
}

/// Returns the text up to where it quotes any of these, which is what the call carried.
pub fn hiding<'a>(text: &str, carried: impl IntoIterator<Item = &'a str>) -> String {
    let found = carried.into_iter().filter_map(|payload| {
        let mark: String = payload.chars().take(MARK_CHARS).collect();
        let is_long = mark.chars().count() >= MIN_MARK_CHARS;
        // As it is, or as JSON would have it.
        let escaped = serde_json::to_string(&mark).unwrap_or_default();
        let places = [text.find(&mark), text.find(escaped.trim_matches('"'))];
        places.into_iter().flatten().min().filter(|_| is_long)
    });
    match found.min() {
        Some(place) => format!("{}{REDACTED}", &text[..place]),
        None => text.to_owned(),
    }
}

/// SQS says `Value X for parameter Y is invalid`.
fn without_quoted_value(text: &str) -> String {
    const BEFORE: &str = "Value ";
    let quoted = text.find(BEFORE).map(|start| start + BEFORE.len()).zip(text.rfind(" for parameter "));
    match quoted.filter(|(start, end)| start < end) {
        Some((start, end)) if !text[start..end].bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') => {
            format!("{}{REDACTED}{}", &text[..start], &text[end..])
        }
        _ => text.to_owned(),
    }
}

/// Whether a word is none: too long, and neither a name of AWS's, nor a path, a host, or the id of a message.
fn is_a_secret(word: &str) -> bool {
    let word = word.trim_matches(|char: char| !char.is_ascii_alphanumeric() && char != '/');
    if word.chars().count() < MAX_WORD_CHARS {
        return false;
    }
    let is_path = |byte: u8| byte.is_ascii_alphanumeric() || b"./:_-".contains(&byte);
    let is_name = word.starts_with("arn:") || word.starts_with("http://") || word.starts_with("https://");
    let is_dotted = word.contains('.') && word.bytes().all(is_path) && !word.starts_with("eyJ");
    let is_uuid = word.len() == 36 && word.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    !is_name && !is_dotted && !is_uuid
}

/// Whether this is what services call their errors by, or what they say a body is.
fn is_code(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b".:_#-/+".contains(&byte);
    text.len() <= 100 && text.bytes().all(is_part)
}

#[cfg(test)]
mod tests {
    use aws_sdk_sqs::error::ErrorMetadata;
    use aws_sdk_sqs::operation::receive_message::ReceiveMessageError;

    use super::*;

    const HANDLE: &str = "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a/AHrgDtyoSDCZNxqLkS2mn+CA9sZ1PbWQ==";

    #[test]
    fn receipt_handles_are_not_shown_and_names_are() {
        for quoted in [HANDLE, &format!("\"{HANDLE}\""), &format!("{HANDLE}."), &format!("ReceiptHandle={HANDLE}")] {
            let text = redacted(&format!("The input receipt handle {quoted} is not valid"));
            assert!(!text.contains("AQEB") && text.ends_with("is not valid"), "{text}");
        }
        for kept in [
            "User: arn:aws:sts::123456789012:assumed-role/orders-worker-production/i-0123456789abcdef0 is not authorized to perform: sqs:deletemessage",
            "no host at vpce-0a1b2c3d4e5f6a7b8-abcdefgh.sqs.us-east-2.vpce.amazonaws.com",
            "cannot open /var/run/secrets/eks.amazonaws.com/serviceaccount/token",
            "Request id: 059f36b4-87a3-44ab-83d2-661975830a7d",
            "AWS.SimpleQueueService.NonExistentQueue: The specified queue does not exist.",
            "Value 21 for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided.",
        ] {
            assert_eq!(redacted(kept), kept);
        }
    }

    #[test]
    fn a_value_that_sqs_quotes_is_not_shown() {
        let text = redacted("Value an order of Jane Doe for parameter MessageBody is invalid. Reason: it is.");
        assert_eq!(text, "Value [redacted] for parameter MessageBody is invalid. Reason: it is.");
    }

    #[test]
    fn what_a_call_carried_is_not_shown_as_it_is_escaped_or_cut_off() {
        let body = "{\"card\": \"4111 1111 1111 1111\"}";
        for quoted in [body.to_owned(), serde_json::to_string(body).unwrap(), body[..20].to_owned()] {
            let text = hiding(&format!("the body {quoted} is not allowed"), ["other", body]);
            assert!(text.starts_with("the body ") && text.ends_with(REDACTED) && !text.contains("card"), "{text}");
        }
        assert_eq!(hiding("short", ["s", ""]), "short");
    }

    #[test]
    fn an_answer_that_cannot_be_read_is_not_shown() {
        let body = format!(r#"{{"Messages": [{{"Body": "an order", "ReceiptHandle": "{HANDLE}""#);
        for (status, expected) in [(200, "the answer cannot be read"), (500, "HTTP status 500 without an error code")] {
            let response = |body: &str| {
                let mut response = HttpResponse::new(status.try_into().unwrap(), body.to_owned().into());
                response.headers_mut().insert("content-type", "application/json");
                response
            };
            let unhandled = || ReceiveMessageError::unhandled(body.clone());
            let of_service = text_of(&SdkError::service_error(unhandled(), response(&body)));
            assert!(of_service.starts_with(expected), "{of_service}");
            let of_response =
                text_of(&SdkError::<ReceiveMessageError, _>::response_error(unhandled(), response(&body)));
            assert!(of_response.starts_with("the answer cannot be read"), "{of_response}");
            for text in [of_service, of_response] {
                assert!(!text.contains("order") && !text.contains("AQEB"), "{text}");
            }
        }
    }

    #[test]
    fn a_refusal_is_shown_with_its_code_and_its_message() {
        let meta = ErrorMetadata::builder().code("AccessDenied").message("You may not do this.").build();
        let error = SdkError::service_error(
            ReceiveMessageError::generic(meta),
            HttpResponse::new(403.try_into().unwrap(), "".into()),
        );
        assert_eq!(text_of(&error), "AccessDenied: You may not do this.");
    }
}
