//! Texts of failed calls, without what the calls carried.
//!
//! The SDK's own error text ends with debug output that contains the raw answer: messages with bodies and receipt
//! handles. Services also quote what they refuse. None of that may appear in a log or an error.

use std::error::Error;

use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};

const REDACTED: &str = "[redacted]";

/// The longest quotation of a service's text.
const MAX_TEXT_CHARS: usize = 1_000;

/// This much of a payload suffices to recognize it. The rest may be cut off or written in another way.
const MARK_CHARS: usize = 16;

/// A shorter payload is not searched for, because it would be found inside words.
const MIN_MARK_CHARS: usize = 4;

/// A longer word is not a word. Receipt handles have more than a hundred characters.
const MAX_WORD_CHARS: usize = 32;

/// Returns the text of a failed call.
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
        // These errors contain nothing of an answer.
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

/// Describes an answer that is not the service's, or that ends early. The text after the unreadable position is
/// payload.
fn unreadable(answer: &HttpResponse, cause: Option<&std::io::Error>) -> String {
    let status = answer.status().as_u16();
    let content_type = answer.headers().get("content-type").filter(|text| is_code(text)).unwrap_or("unknown");
    let bytes =
        answer.body().bytes().map_or_else(|| "an unknown number of".to_owned(), |bytes| bytes.len().to_string());
    let cause = cause.map(|error| format!(": {}", error.kind())).unwrap_or_default();
    format!("the answer cannot be read{cause} (HTTP status {status}, content type {content_type}, {bytes} bytes)")
}

/// Joins the texts of an error and of its causes, which must not contain an answer.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    redacted(&causes.map(ToString::to_string).collect::<Vec<_>>().join(": "))
}

fn io_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a std::io::Error> {
    std::iter::successors(Some(error), |&error| error.source()).find_map(|cause| cause.downcast_ref())
}

/// Returns the text without anything like a receipt handle, and without values that a service quotes.
pub fn redacted(text: &str) -> String {
    let text = without_quoted_value(text);
    let words = text.split(' ').map(|word| if is_a_secret(word) { REDACTED } else { word });
    words.collect::<Vec<_>>().join(" ").chars().take(MAX_TEXT_CHARS).collect()
}

/// Returns the text up to the point where it quotes any of these, which the call carried.
pub fn hiding<'a>(text: &str, carried: impl IntoIterator<Item = &'a str>) -> String {
    let found = carried.into_iter().filter_map(|payload| {
        let mark: String = payload.chars().take(MARK_CHARS).collect();
        let is_long = mark.chars().count() >= MIN_MARK_CHARS;
        // The text may quote it directly, or as JSON.
        let escaped = serde_json::to_string(&mark).unwrap_or_default();
        let places = [text.find(&mark), text.find(escaped.trim_matches('"'))];
        places.into_iter().flatten().min().filter(|_| is_long)
    });
    match found.min() {
        Some(place) => format!("{}{REDACTED}", &text[..place]),
        None => text.to_owned(),
    }
}

/// Removes the value in SQS's `Value X for parameter Y is invalid`.
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

/// Returns whether a word is a secret: it is too long, and not a name of AWS, a path, a host, or a message id.
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

/// Returns whether this is an error code, or a content type.
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
    fn receipt_handles_are_hidden_and_names_are_shown() {
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
    fn value_that_sqs_quotes_is_hidden() {
        let text = redacted("Value an order of Jane Doe for parameter MessageBody is invalid. Reason: it is.");
        assert_eq!(text, "Value [redacted] for parameter MessageBody is invalid. Reason: it is.");
    }

    #[test]
    fn carried_payload_is_hidden_even_if_escaped_or_cut_off() {
        let body = "{\"card\": \"4111 1111 1111 1111\"}";
        for quoted in [body.to_owned(), serde_json::to_string(body).unwrap(), body[..20].to_owned()] {
            let text = hiding(&format!("the body {quoted} is not allowed"), ["other", body]);
            assert!(text.starts_with("the body ") && text.ends_with(REDACTED) && !text.contains("card"), "{text}");
        }
        assert_eq!(hiding("short", ["s", ""]), "short");
    }

    #[test]
    fn unreadable_answer_is_hidden() {
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
    fn refusal_is_shown_with_its_code_and_message() {
        let meta = ErrorMetadata::builder().code("AccessDenied").message("You may not do this.").build();
        let error = SdkError::service_error(
            ReceiveMessageError::generic(meta),
            HttpResponse::new(403.try_into().unwrap(), "".into()),
        );
        assert_eq!(text_of(&error), "AccessDenied: You may not do this.");
    }
}
