//! Function items as types: how a handler named in a constant table is called later without storing it.

use std::marker::PhantomData;

/// A zero-sized function item `F`, kept as a type. `A` tells apart the traits through which `F` may be called.
pub struct Item<F, A>(PhantomData<fn() -> (F, A)>);

impl<F: Copy + 'static, A: 'static> Item<F, A> {
    /// Keeps `item`. Fails to compile when it carries data, as a capturing closure does.
    pub const fn of(_item: F) -> &'static Self {
        const {
            assert!(
                size_of::<F>() == 0,
                "a handler must be a function item: a closure may not capture"
            );
        };
        &Self(PhantomData)
    }

    /// The function item again.
    pub fn get(&self) -> F {
        // SAFETY: `of` is the only constructor: it was shown a value of the zero-sized, `Copy` type, so a copy of it
        // may be made, and reading no bytes needs only an aligned pointer.
        unsafe { std::ptr::NonNull::<F>::dangling().read() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_item_that_was_kept_is_the_one_that_is_called() {
        fn call<F: Copy + Fn(u32) -> u32 + 'static>(f: F) -> u32 {
            Item::<F, ()>::of(f).get()(20)
        }
        assert_eq!(call(|n| n + 1), 21);
    }
}
