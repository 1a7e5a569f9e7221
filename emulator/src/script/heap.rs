//! Memory of one JavaScript engine, which can be put back to how it was.
//!
//! Making an engine and taking it apart costs more than a typical procedure does in it. So every script thread
//! makes one: [`Heap::keep`] copies its memory, and [`Heap::restore`] copies that back after each run. All that
//! JavaScript can reach or change lies in here: objects, prototypes, pending jobs, counters, limits. What a run
//! left behind is therefore not cleaned up but never was.
//!
//! Small blocks come from chunks, by size class; large ones from the process. Only the first chunk is kept.
#![allow(unsafe_code)]

use std::alloc::{self, Layout};
use std::cell::RefCell;
use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};
use std::rc::Rc;

use rquickjs::allocator::Allocator;

/// What everything is aligned to.
type Unit = MaybeUninit<u128>;
const UNIT: usize = size_of::<Unit>();
/// Before each payload lies its length in bytes.
const HEADER: usize = size_of::<usize>();
/// An engine at rest takes about a third of it.
const CHUNK: usize = 1 << 20;
/// Blocks are a multiple of this. The engine asks for pages which it divides itself, and for what does not fit.
const STEP: usize = 256;
/// Larger blocks are the process's.
const LARGEST: usize = 64 << 10;
const CLASSES: usize = LARGEST / STEP;

/// Memory of one engine. To be kept until the engine is dropped, which the engine's own [`Lease`] sees to.
pub(super) struct Heap(RefCell<State>);

/// What an engine allocates from.
pub(super) struct Lease(pub(super) Rc<Heap>);

struct State {
    chunks: Vec<NonNull<Unit>>,
    large: HashMap<NonNull<u8>, Layout>,
    small: Small,
    most_chunks: usize,
    kept: Option<Kept>,
}

/// What is free in the chunks.
#[derive(Clone, Copy)]
struct Small {
    /// Bytes of the last chunk that were given out.
    used: usize,
    /// By class, the first free payload; it begins with the address of the next.
    free: [*mut u8; CLASSES],
}

struct Kept {
    bytes: Box<[Unit]>,
    small: Small,
}

impl Heap {
    pub(super) fn new() -> Rc<Self> {
        let small = Small { used: CHUNK, free: [ptr::null_mut(); CLASSES] };
        Rc::new(Self(RefCell::new(State {
            chunks: Vec::new(),
            large: HashMap::new(),
            small,
            most_chunks: usize::MAX,
            kept: None,
        })))
    }

    /// Sets how many bytes of small blocks there may be, until the next `restore`. The engine's own limit counts
    /// what is in use; what was freed in one class is not available to others.
    pub(super) fn limit(&self, bytes: usize) {
        self.0.borrow_mut().most_chunks = bytes.div_ceil(CHUNK);
    }

    /// Remembers the memory as it is. False if there is too much of it.
    pub(super) fn keep(&self) -> bool {
        let mut state = self.0.borrow_mut();
        let small = state.small;
        let &[first] = state.chunks.as_slice() else { return false };
        if !state.large.is_empty() {
            return false;
        }
        let mut bytes = Box::new_uninit_slice(small.used.div_ceil(UNIT));
        // SAFETY: both are at least that long, and the copy is not part of the chunk.
        unsafe { ptr::copy_nonoverlapping(first.as_ptr(), bytes.as_mut_ptr().cast(), bytes.len()) };
        // SAFETY: a `Unit` needs no initialization.
        let bytes = unsafe { bytes.assume_init() };
        state.kept = Some(Kept { bytes, small });
        true
    }

    /// Makes the memory what it was when it was kept; without effect if it was not.
    ///
    /// # Safety
    /// No code of the engine may be running. No value that the engine handed out since `keep` may be used, or
    /// dropped, afterwards; what it handed out before must still be there.
    pub(super) unsafe fn restore(&self) {
        let mut state = self.0.borrow_mut();
        let state = &mut *state;
        let (Some(kept), Some(first)) = (&state.kept, state.chunks.first()) else { return };
        // SAFETY: the copy came from this chunk. The caller promises that nobody looks.
        unsafe { ptr::copy_nonoverlapping(kept.bytes.as_ptr(), first.as_ptr(), kept.bytes.len()) };
        state.small = kept.small;
        state.most_chunks = usize::MAX;
        free_all(&mut state.chunks, 1, &mut state.large);
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        let state = self.0.get_mut();
        free_all(&mut state.chunks, 0, &mut state.large);
    }
}

/// Gives back all but the first `but` chunks.
fn free_all(chunks: &mut Vec<NonNull<Unit>>, but: usize, large: &mut HashMap<NonNull<u8>, Layout>) {
    for chunk in chunks.drain(but.min(chunks.len())..) {
        // SAFETY: allocated with this layout, and given up here.
        unsafe { alloc::dealloc(chunk.as_ptr().cast(), CHUNK_LAYOUT) };
    }
    for (block, layout) in large.drain() {
        // SAFETY: as above.
        unsafe { alloc::dealloc(block.as_ptr(), layout) };
    }
}

const CHUNK_LAYOUT: Layout = Layout::new::<[Unit; CHUNK / UNIT]>();

/// Class and length of the block for a payload, unless it is a large one.
fn class_of(payload: usize) -> Option<(usize, usize)> {
    let block = payload.checked_add(HEADER)?.checked_next_multiple_of(STEP)?;
    (block <= LARGEST).then_some((block / STEP - 1, block))
}

impl State {
    fn allocate(&mut self, payload: usize) -> *mut u8 {
        let Some((class, block)) = class_of(payload) else { return self.allocate_large(payload) };
        let free = self.small.free[class];
        if !free.is_null() {
            // SAFETY: a free payload holds the address of the next one.
            self.small.free[class] = unsafe { free.cast::<*mut u8>().read() };
            return free;
        }
        // The first header lies in the upper half of a unit, so that payloads are aligned.
        if self.small.used + block > CHUNK && !self.grow() {
            return ptr::null_mut();
        }
        let Some(chunk) = self.chunks.last() else { return ptr::null_mut() };
        // SAFETY: `used` and the block behind it are inside of the chunk, and nobody else's.
        let payload = unsafe {
            let header = chunk.as_ptr().cast::<u8>().add(self.small.used);
            header.cast::<usize>().write(block - HEADER);
            header.add(HEADER)
        };
        self.small.used += block;
        payload
    }

    fn grow(&mut self) -> bool {
        if self.chunks.len() >= self.most_chunks {
            return false;
        }
        // SAFETY: the layout is not empty.
        let Some(chunk) = NonNull::new(unsafe { alloc::alloc(CHUNK_LAYOUT) }) else { return false };
        self.chunks.push(chunk.cast());
        self.small.used = UNIT - HEADER;
        true
    }

    fn allocate_large(&mut self, payload: usize) -> *mut u8 {
        let Some(layout) = large_layout(payload) else { return ptr::null_mut() };
        // SAFETY: the layout is not empty.
        self.adopt_large(unsafe { alloc::alloc(layout) }, layout)
    }

    /// Writes the header and remembers the block.
    fn adopt_large(&mut self, block: *mut u8, layout: Layout) -> *mut u8 {
        let Some(start) = NonNull::new(block) else { return ptr::null_mut() };
        self.large.insert(start, layout);
        // SAFETY: the block begins with a unit for the header.
        unsafe {
            let payload = block.add(UNIT);
            payload.sub(HEADER).cast::<usize>().write(layout.size() - UNIT);
            payload
        }
    }

    /// # Safety
    /// `payload` must be in use.
    unsafe fn release(&mut self, payload: *mut u8) {
        // SAFETY: promised by the caller; what it pointed to is not used any more.
        unsafe {
            match class_of(usable(payload)) {
                Some((class, _)) => {
                    payload.cast::<*mut u8>().write(self.small.free[class]);
                    self.small.free[class] = payload;
                }
                None => {
                    if let Some((start, layout)) = self.forget_large(payload) {
                        alloc::dealloc(start, layout);
                    }
                }
            }
        }
    }

    /// # Safety
    /// `payload` must be in use.
    unsafe fn resize(&mut self, payload: *mut u8, length: usize) -> *mut u8 {
        // SAFETY: promised by the caller. The blocks of a copy are different ones, both in use.
        unsafe {
            let before = usable(payload);
            match (class_of(before), class_of(length)) {
                (Some(old), Some(new)) if old == new => return payload,
                (None, None) => {
                    let Some(new) = large_layout(length) else { return ptr::null_mut() };
                    let Some((start, old)) = self.forget_large(payload) else { return ptr::null_mut() };
                    let moved = alloc::realloc(start, old, new.size());
                    if moved.is_null() {
                        self.adopt_large(start, old);
                    }
                    return self.adopt_large(moved, new);
                }
                _ => {}
            }
            let moved = self.allocate(length);
            if !moved.is_null() {
                ptr::copy_nonoverlapping(payload, moved, before.min(length));
                self.release(payload);
            }
            moved
        }
    }

    fn forget_large(&mut self, payload: *mut u8) -> Option<(*mut u8, Layout)> {
        let start = payload.wrapping_sub(UNIT);
        Some((start, self.large.remove(&NonNull::new(start)?)?))
    }
}

fn large_layout(payload: usize) -> Option<Layout> {
    Layout::from_size_align(payload.checked_add(UNIT)?, UNIT).ok()
}

/// # Safety
/// `payload` must be in use.
unsafe fn usable(payload: *mut u8) -> usize {
    // SAFETY: promised by the caller; every payload has a header.
    unsafe { payload.sub(HEADER).cast::<usize>().read() }
}

// SAFETY: blocks are at least as long as asked for, aligned to `UNIT`, and nobody else's until they are freed.
// Their length is in the header.
unsafe impl Allocator for Lease {
    fn alloc(&mut self, size: usize) -> *mut u8 {
        self.0.0.borrow_mut().allocate(size)
    }

    fn calloc(&mut self, count: usize, size: usize) -> *mut u8 {
        let Some(length) = count.checked_mul(size) else { return ptr::null_mut() };
        let payload = self.alloc(length);
        if !payload.is_null() {
            // SAFETY: the block is that long.
            unsafe { payload.write_bytes(0, length) };
        }
        payload
    }

    unsafe fn dealloc(&mut self, payload: *mut u8) {
        // SAFETY: promised by the caller.
        unsafe { self.0.0.borrow_mut().release(payload) }
    }

    unsafe fn realloc(&mut self, payload: *mut u8, length: usize) -> *mut u8 {
        if payload.is_null() {
            return self.alloc(length);
        }
        // SAFETY: promised by the caller.
        unsafe { self.0.0.borrow_mut().resize(payload, length) }
    }

    unsafe fn usable_size(payload: *mut u8) -> usize {
        // SAFETY: promised by the caller.
        unsafe { usable(payload) }
    }
}
