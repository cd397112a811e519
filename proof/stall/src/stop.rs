//! Stopping a thread: at a named step, where it waits for a condition; or wherever a signal meets it, where its handler waits
//! for a byte.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Nothing here takes longer, on however busy a machine: who is not there then waits for ever.
pub const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The thread has not come by yet.
    Awaited,
    Stopped,
    /// It was stopped, and has been let go on; and has done what it had to do.
    Resumed,
    Ended,
    /// It ended without having come by.
    Missed,
}

/// One thread is to be stopped once, at one step.
pub struct Stop {
    step: &'static str,
    state: Mutex<State>,
    changed: Condvar,
}

thread_local!(static ARMED: Cell<Option<&'static Stop>> = const { Cell::new(None) });

#[cfg(conntab_mutate)]
fn passing(step: &'static str) {
    if let Some(stop) = ARMED.get()
        && stop.step == step
    {
        ARMED.set(None);
        stop.hold();
    }
}

/// Makes threads stop at steps. `false`: this was compiled without steps.
pub fn install() -> bool {
    #[cfg(conntab_mutate)]
    conntab::on_step(passing);
    cfg!(conntab_mutate)
}

impl Stop {
    /// (A few hundred are made: they are never freed, so that threads can name them.)
    pub fn new(step: &'static str) -> &'static Self {
        Box::leak(Box::new(Self { step, state: Mutex::new(State::Awaited), changed: Condvar::new() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This thread is the one, from here on.
    pub fn arm(&'static self) {
        ARMED.set(Some(self));
    }

    /// This thread has done what it had to do.
    pub fn disarm(&self) {
        ARMED.set(None);
        let mut state = self.state();
        *state = if *state == State::Awaited { State::Missed } else { State::Ended };
        self.changed.notify_all();
    }

    #[cfg(conntab_mutate)]
    fn hold(&self) {
        let mut state = self.state();
        if *state == State::Awaited {
            *state = State::Stopped;
        }
        self.changed.notify_all();
        while *state == State::Stopped {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until the thread has stopped. `false`: it ended without having come by.
    pub fn stopped(&self) -> Result<bool, String> {
        let awaited = |state: &mut State| *state == State::Awaited;
        let waited = self.changed.wait_timeout_while(self.state(), PATIENCE, awaited);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match *state {
            State::Awaited => Err(format!("{} is never reached, and the thread never ends", self.step)),
            state => Ok(state == State::Stopped),
        }
    }

    /// Lets it go on; or not stop at all.
    pub fn resume(&self) {
        let mut state = self.state();
        if matches!(*state, State::Awaited | State::Stopped) {
            *state = State::Resumed;
        }
        self.changed.notify_all();
    }

    pub fn is_over(&self) -> bool {
        matches!(*self.state(), State::Resumed | State::Ended)
    }

    /// Waits until it has done what it had to do.
    pub fn ended(&self) -> Result<(), String> {
        let working = |state: &mut State| matches!(state, State::Awaited | State::Stopped | State::Resumed);
        let waited = self.changed.wait_timeout_while(self.state(), PATIENCE, working);
        let (_state, result) = waited.unwrap_or_else(PoisonError::into_inner);
        match result.timed_out() {
            true => Err(format!("a thread that was stopped at {} waits for ever", self.step)),
            false => Ok(()),
        }
    }
}

/// Calls of the system's allocator, which has locks that are none of the table's. A thread whose signal comes inside stops when it
/// is outside again.
struct Allocator;

thread_local! {
    static ALLOCATING: Cell<bool> = const { Cell::new(false) };
    static LATE: Cell<bool> = const { Cell::new(false) };
    /// Whether this thread is inside a call of the table's.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

fn allocating<R>(call: impl FnOnce() -> R) -> R {
    ALLOCATING.set(true);
    let done = call();
    ALLOCATING.set(false);
    if LATE.replace(false) {
        hold_here();
    }
    done
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is passed on.
        allocating(|| unsafe { System.alloc(layout) })
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        allocating(|| unsafe { System.dealloc(at, layout) });
    }
}

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// The pipe that a stopped thread reads from; how many have stopped; whether the last one was inside a call.
static PIPE: [AtomicI32; 2] = [AtomicI32::new(-1), AtomicI32::new(-1)];
static STOPS: AtomicU32 = AtomicU32::new(0);
static WAS_INSIDE: AtomicBool = AtomicBool::new(false);

/// Tells that it has stopped, and waits for a byte. Async-signal-safe: atomics, `read`, and errno as it was.
fn hold_here() {
    // SAFETY: it always succeeds.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: errno of this thread.
    let before = unsafe { *errno };
    WAS_INSIDE.store(INSIDE.get(), SeqCst);
    STOPS.fetch_add(1, SeqCst);
    let mut byte = 0_u8;
    // SAFETY: reads one byte into a variable of ours.
    while unsafe { libc::read(PIPE[0].load(SeqCst), (&raw mut byte).cast(), 1) } != 1 {}
    // SAFETY: as above.
    unsafe { *errno = before };
}

extern "C" fn handler(_: libc::c_int) {
    if ALLOCATING.get() {
        LATE.set(true);
    } else {
        hold_here();
    }
}

/// Makes signals stop threads.
pub fn install_signal() -> Result<(), String> {
    let mut ends = [0; 2];
    // SAFETY: it writes two descriptors.
    if unsafe { libc::pipe(ends.as_mut_ptr()) } != 0 {
        return Err("no pipe".into());
    }
    for (end, place) in ends.into_iter().zip(&PIPE) {
        place.store(end, SeqCst);
    }
    // SAFETY: all zeroes are a valid value: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as extern "C" fn(libc::c_int) as libc::sighandler_t;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the handler is async-signal-safe.
    match unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err("no handler".into()),
    }
}

/// A thread that a signal is to stop.
#[derive(Default)]
pub struct Anywhere {
    thread: AtomicU64,
    enough: AtomicBool,
}

impl Anywhere {
    /// This thread is the one. It must not end before `is_enough`.
    pub fn here(&self) {
        // SAFETY: it always succeeds.
        self.thread.store(unsafe { libc::pthread_self() }, SeqCst);
    }

    /// It may end.
    pub fn is_enough(&self) -> bool {
        self.enough.load(SeqCst)
    }

    /// Runs a call of the table's.
    pub fn inside<R>(call: impl FnOnce() -> R) -> R {
        INSIDE.set(true);
        let done = call();
        INSIDE.set(false);
        done
    }

    /// Stops it wherever it is; returns when it has stopped, and whether it was inside a call.
    pub fn stop(&self) -> bool {
        let before = STOPS.load(SeqCst);
        // SAFETY: the thread is there, and stays until it is told that it is enough.
        unsafe { libc::pthread_kill(self.thread.load(SeqCst), libc::SIGUSR1) };
        while STOPS.load(SeqCst) == before {
            std::thread::yield_now();
        }
        WAS_INSIDE.load(SeqCst)
    }

    /// Lets it go on and come to its end.
    pub fn resume(&self) {
        self.enough.store(true, SeqCst);
        // SAFETY: writes a byte of a constant.
        while unsafe { libc::write(PIPE[1].load(SeqCst), c"!".as_ptr().cast(), 1) } != 1 {}
    }
}

/// How often this thread has given up the processor of its own accord: slept.
pub fn sleeps() -> u64 {
    // SAFETY: all zeroes are a valid value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: it writes the struct that is lent to it.
    unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
    usage.ru_nvcsw as u64
}
