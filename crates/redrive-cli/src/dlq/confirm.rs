//! Asks for confirmation.

use std::io::{IsTerminal, Write};

use tokio::sync::oneshot;

use crate::interrupt::Stop;

/// Returns an error if nobody can answer.
pub(super) fn check_can_ask() -> Result<(), String> {
    if std::io::stdin().is_terminal() {
        Ok(())
    } else {
        Err("a deletion needs a confirmation, and there is no terminal to ask at; pass --yes".to_owned())
    }
}

/// Asks at the terminal. Every answer but yes means no.
pub(super) async fn is_confirmed(question: &str, stop: &Stop) -> bool {
    eprint!("{question} [y/N] ");
    let _ = std::io::stderr().flush();
    let (answered, answer) = oneshot::channel();
    // A blocking thread of the runtime would make it wait for an answer that is no longer needed.
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
    fn every_other_answer_means_no() {
        assert!(is_yes("y\n") && is_yes(" YES \r\n"));
        assert!(!is_yes("\n") && !is_yes("") && !is_yes("n\n") && !is_yes("yep\n"));
    }
}
