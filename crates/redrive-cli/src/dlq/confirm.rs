//! Whether somebody means it.

use std::io::{IsTerminal, Write};

use tokio::sync::oneshot;

use crate::interrupt::Stop;

/// Refuses to ask where nobody could answer.
pub(super) fn check_can_ask() -> Result<(), String> {
    if std::io::stdin().is_terminal() {
        Ok(())
    } else {
        Err("nothing is deleted without a yes, and nobody is there to say it; pass --yes".to_owned())
    }
}

/// Asks at the terminal. Whatever is no yes is a no.
pub(super) async fn is_confirmed(question: &str, stop: &Stop) -> bool {
    eprint!("{question} [y/N] ");
    let _ = std::io::stderr().flush();
    let (answered, answer) = oneshot::channel();
    // A thread of the runtime's would have it wait for the answer when nobody wants it any more.
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = std::io::stdin().read_line(&mut line);
        let _ = answered.send(read.is_ok() && is_yes(&line));
    });
    tokio::select! {
        answer = answer => answer.unwrap_or(false),
        () = stop.wanted() => false,
    }
}

fn is_yes(line: &str) -> bool {
    matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_no_yes_is_a_no() {
        assert!(is_yes("y\n") && is_yes(" YES \r\n"));
        assert!(!is_yes("\n") && !is_yes("") && !is_yes("n\n") && !is_yes("yep\n"));
    }
}
