//! A panic ends the piece of work that met it, and not the task that has more to do.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

/// Does a piece of work. None when it panicked: whatever it had a hold of is then in no known state, and the caller drops it.
pub(crate) async fn caught<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
        Ok(polled) => polled.map(Some),
        Err(_) => Poll::Ready(None),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_no_answer() {
        let work = async |is_wrong: bool| {
            tokio::task::yield_now().await;
            assert!(!is_wrong, "meant to happen");
            7
        };
        assert_eq!(caught(work(true)).await, None);
        assert_eq!(caught(work(false)).await, Some(7));
    }
}
