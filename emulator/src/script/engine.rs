//! The threads that run scripts.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use super::bytecode::Cache;
use super::host::SharedCollection;
use super::session::{Finished, Session};
use super::{Call, Collection, Outcome, failure};

/// Stack of a script thread: the scripts' own limit, and room for document operations on top of it.
const THREAD_STACK: usize = 16 << 20;

/// Runs one script on the thread it is called on, in the session if there is one, and gives back a session for the
/// next.
type Job = Box<dyn FnOnce(&Cache, Option<Session>) -> Option<Session> + Send>;

/// A pool of OS threads that run scripts.
///
/// Scripts are synchronous and CPU-bound, and their engine cannot change threads: this keeps them off the
/// async runtime. Threads start when there is work for them.
pub(crate) struct Engine {
    pool: Arc<Pool>,
    threads: usize,
}

#[derive(Default)]
struct Pool {
    state: Mutex<State>,
    changed: Condvar,
    cache: Cache,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    started: usize,
    idle: usize,
    closed: bool,
}

impl Engine {
    /// An engine of at most `threads` threads, at least one; none is started yet.
    pub(crate) fn new(threads: usize) -> Self {
        Self { pool: Arc::default(), threads: threads.max(1) }
    }

    /// Runs `call` on `collection` and gives it back. If the future is dropped, the run still ends, and the
    /// collection is dropped on the script's thread.
    pub(crate) async fn run<C: Collection + 'static>(&self, call: Call, collection: C) -> Outcome<C> {
        let (sender, receiver) = oneshot::channel();
        self.submit(Box::new(move |cache, session| {
            let (outcome, spent) = execute(cache, session, &call, collection);
            let _ = sender.send(outcome);
            // Nobody has to wait for this.
            spent.and_then(Session::renew)
        }));
        match receiver.await {
            Ok(outcome) => outcome,
            // The job sends in every case: panics inside a run are caught in `execute`.
            Err(_) => unreachable!("a script thread ended without an answer"),
        }
    }

    fn submit(&self, job: Job) {
        let mut state = self.pool.lock();
        state.jobs.push_back(job);
        let mut stranded = None;
        if state.jobs.len() > state.idle && state.started < self.threads {
            match self.start_thread(state.started) {
                Ok(()) => state.started += 1,
                Err(error) => {
                    tracing::warn!(%error, "cannot start a script thread");
                    // With no thread at all nobody else would ever run it.
                    if state.started == 0 {
                        stranded = state.jobs.pop_back();
                    }
                }
            }
        }
        drop(state);
        match stranded {
            Some(job) => drop(job(&self.pool.cache, None)),
            None => self.pool.changed.notify_one(),
        }
    }

    fn start_thread(&self, number: usize) -> std::io::Result<()> {
        let pool = Arc::clone(&self.pool);
        let thread = thread::Builder::new().name(format!("cosmos-script-{number}")).stack_size(THREAD_STACK);
        thread.spawn(move || pool.work()).map(drop)
    }
}

impl Drop for Engine {
    /// Threads end when they are idle; a script that still runs is not waited for.
    fn drop(&mut self) {
        self.pool.lock().closed = true;
        self.pool.changed.notify_all();
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("threads", &self.threads).finish_non_exhaustive()
    }
}

impl Pool {
    /// No code panics while it holds the lock, so a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut session = None;
        while let Some(job) = self.next() {
            session = job(&self.cache, session);
        }
    }

    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if state.closed {
                return None;
            }
            state.idle += 1;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }
}

fn execute<C: Collection + 'static>(
    cache: &Cache,
    session: Option<Session>,
    call: &Call,
    collection: C,
) -> (Outcome<C>, Option<Session>) {
    let shared = Rc::new(RefCell::new(collection));
    let view: SharedCollection = Rc::clone(&shared) as SharedCollection;
    // A panic of the engine's bindings must cost one call, not the thread and the transaction with it.
    let finished = catch_unwind(AssertUnwindSafe(|| {
        let session = session.map_or_else(|| Session::prepare(cache), Ok)?;
        let finished = session.run(cache, call, view);
        Ok::<_, rquickjs::Error>((finished, session))
    }));
    let broken =
        |detail: &str| Finished { result: Err(failure::internal(detail)), logs: None, cpu: Duration::ZERO };
    let (finished, spent) = match finished {
        Ok(Ok((finished, session))) => (finished, Some(session)),
        Ok(Err(error)) => (broken(&error.to_string()), None),
        Err(_) => (broken("the engine panicked"), None),
    };
    let Finished { result, logs, cpu } = finished;
    match Rc::into_inner(shared) {
        Some(cell) => (Outcome { collection: cell.into_inner(), result, logs, cpu }, spent),
        // The session let go of its share at the end of the run, and was dropped when it panicked.
        None => unreachable!("a finished run still holds its transaction"),
    }
}
