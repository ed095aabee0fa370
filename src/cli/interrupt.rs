//! Whether somebody wants to go home.

/// Waits for Ctrl-C, or for what a process manager sends in its place.
pub(super) async fn interrupted() -> &'static str {
    #[cfg(unix)]
    if let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        return tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = tokio::signal::ctrl_c() => "Ctrl-C",
        };
    }
    // Without a handler for it the signal ends the process, which is as good.
    let _ = tokio::signal::ctrl_c().await;
    "Ctrl-C"
}
