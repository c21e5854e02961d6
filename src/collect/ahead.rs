//! The pages of a walk, the next of which may be on its way while the last one is stored.
//!
//! ```text
//! page 1 --> sifted, compressed, committed --> page 2 --> sifted, compressed, committed --> ...
//!       \                                     ^      \
//!        +--ask--> a task of its own: HTTP, --+       +--ask--> ...
//!                  the answer taken apart
//! ```
//!
//! Nothing is skipped by this: a page is given out only when the one before it is durable, and at most one is under way. Dropping
//! the pages takes back the request.

use tokio::task::JoinSet;
use tokio_stream::StreamExt;

use super::pages::{Fetched, PageStream, Setback};

type Attempt = Option<Result<Fetched, Setback>>;

/// A walk's pages.
pub(super) struct PagesAhead {
    /// Here while nothing is asked.
    stream: Option<PageStream>,
    /// At most one task, which gives the stream back.
    asked: JoinSet<(PageStream, Attempt)>,
}

impl PagesAhead {
    pub(super) fn new(stream: PageStream) -> Self {
        Self { stream: Some(stream), asked: JoinSet::new() }
    }

    /// Makes the next attempt at once. Does nothing if one is under way.
    pub(super) fn ask(&mut self) {
        if let Some(mut stream) = self.stream.take() {
            self.asked.spawn(async move {
                let attempt = stream.next().await;
                (stream, attempt)
            });
        }
    }

    /// Whether an attempt is under way, or its answer waits.
    pub(super) fn is_asked(&self) -> bool {
        !self.asked.is_empty()
    }

    /// The answer to the attempt under way, or to a new one. `None` after the last page.
    pub(super) async fn next(&mut self) -> Attempt {
        self.ask();
        match self.asked.join_next().await? {
            Ok((stream, attempt)) => {
                self.stream = Some(stream);
                attempt
            }
            // Nobody takes the request back before the whole is dropped, so this is a panic, which goes on.
            Err(error) => std::panic::resume_unwind(error.try_into_panic().ok()?),
        }
    }
}
