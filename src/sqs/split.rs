//! Splits batch calls that are refused as a whole because of one entry.

use std::future::Future;

use super::call_error::CallError;
use super::entries::EntryError;

/// A batch call without retries.
pub(super) trait Once<E>: Sync {
    /// The IAM action, for errors.
    const ACTION: &'static str;

    /// Makes the call. The results are by position.
    ///
    /// # Errors
    ///
    /// Returns an error if the whole call failed.
    fn once(&self, entries: &[E]) -> impl Future<Output = Result<Vec<Result<(), EntryError>>, CallError>> + Send;
}

/// Makes the call. If it is refused as a whole, each entry gets its own call, so that one does not fail the others.
pub(super) async fn split<C: Once<E>, E: Sync>(call: &C, entries: &[E]) -> Vec<Result<(), EntryError>> {
    let failed = |error: &CallError| Err(EntryError::MayPass(format!("{}: {}", C::ACTION, error.text())));
    let error = match call.once(entries).await {
        Ok(results) => return results,
        Err(error) => error,
    };
    if entries.len() < 2 || !error.may_be_for_one_entry() {
        return vec![failed(&error); entries.len()];
    }
    let mut results = Vec::with_capacity(entries.len());
    for entry in entries.chunks(1) {
        results.extend(call.once(entry).await.unwrap_or_else(|error| vec![failed(&error)]));
    }
    results
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Refuses calls that contain a 7 with that status.
    struct Proxy {
        status: u16,
        code: Option<&'static str>,
        calls: Mutex<Vec<Vec<u32>>>,
    }

    impl Proxy {
        fn with(status: u16, code: Option<&'static str>) -> Self {
            Self { status, code, calls: Mutex::default() }
        }

        fn calls(&self) -> Vec<usize> {
            self.calls.lock().unwrap().iter().map(Vec::len).collect()
        }
    }

    impl Once<u32> for Proxy {
        const ACTION: &'static str = "sqs:DeleteMessage";

        async fn once(&self, entries: &[u32]) -> Result<Vec<Result<(), EntryError>>, CallError> {
            self.calls.lock().unwrap().push(entries.to_vec());
            if entries.contains(&7) {
                Err(CallError::of(self.status, self.code))
            } else {
                Ok(vec![Ok(()); entries.len()])
            }
        }
    }

    #[tokio::test]
    async fn entry_that_fails_its_call_costs_no_other_entry() {
        for (status, code) in [(413, None), (400, None), (403, None), (400, Some("InvalidParameterValue"))] {
            let proxy = Proxy::with(status, code);
            let results = split(&proxy, &(0..10).collect::<Vec<_>>()).await;
            let failed: Vec<_> = (0..10).filter(|&n| results[n].is_err()).collect();
            assert_eq!((failed, results.len()), (vec![7], 10), "{status} {code:?}");
            assert_eq!(proxy.calls(), [10, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
        }
    }

    #[tokio::test]
    async fn call_that_fails_for_another_reason_is_not_split() {
        for (status, code) in [(503, None), (429, None), (403, Some("AccessDenied"))] {
            let proxy = Proxy::with(status, code);
            let results = split(&proxy, &[6, 7]).await;
            assert!(results.iter().all(|result| matches!(result, Err(EntryError::MayPass(_)))), "{results:?}");
            assert_eq!(proxy.calls(), [2], "{status} {code:?}");
        }
    }
}
