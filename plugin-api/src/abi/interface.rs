//! One declaration makes an interface: the `repr(C)` table, the trait that the providing side implements, and the safe
//! handle that the calling side holds.

/// Declares an interface of the boundary.
///
/// ```ignore
/// interface! {
///     /// What it is for.
///     pub interface Kv: KvProvider / KvTable = "nself.kv/1" {
///         /// What it does.
///         async fn get(key: Str<'_>) -> OptBytes;
///         sync fn length() -> u64;
///     }
/// }
/// ```
///
/// makes `struct Kv` (owned handle: `Kv::new(provider)`, `kv.get(..)`), `trait KvProvider` and the table `KvTable`, whose
/// order of fields is the order of the declaration. Methods are only ever appended. The handle and the trait also cross to
/// another process ([`wire`](crate::abi::wire)), where a function is named by its place in the declaration.
///
/// Each function: **Called** from any thread, concurrently. **Blocks** never (an `async fn` returns its future at once).
/// **Owns** what its types say: `Str` and `Slice` are lent for the call, all else is passed on. **Fails** as an `Outcome`;
/// a `sync fn` whose provider panics answers its type's default.
macro_rules! interface {
    (
        $(#[$meta:meta])*
        pub interface $Name:ident : $Provider:ident / $Table:ident = $id:literal {
            $( $(#[$method_meta:meta])* $kind:ident fn $method:ident ( $($arg:ident : $Arg:ty),* $(,)? ) $(-> $Ret:ty)? ; )*
        }
    ) => {
        $(#[$meta])*
        #[repr(C)]
        pub struct $Name {
            context: *const (),
            table: *const $Table,
        }

        #[doc = concat!("Function table of `", $id, "`.")]
        #[repr(C)]
        pub struct $Table {
            size: usize,
            release: unsafe extern "C" fn(*const ()),
            $( $method: $crate::abi::interface::pointer!($kind ($($Arg),*) $($Ret)?), )*
        }

        #[doc = concat!("What the side that provides `", $id, "` implements.")]
        pub trait $Provider: Send + Sync + 'static {
            $( $crate::abi::interface::declare!($(#[$method_meta])* $kind $method ($($arg: $Arg),*) $($Ret)?); )*
        }

        // SAFETY: the context is an `Arc` of a `Send + Sync` provider, the table a constant.
        unsafe impl Send for $Name {}
        // SAFETY: as above.
        unsafe impl Sync for $Name {}

        impl $Name {
            #[doc = concat!("The interface's id, `", $id, "`.")]
            pub const ID: &'static str = $id;

            /// Size of the table, places and signatures of its functions: what the golden file of the layout holds.
            pub const LAYOUT: $crate::abi::layout::Layout = $crate::abi::layout::Layout {
                name: $id,
                size: size_of::<$Table>(),
                fields: &[
                    $crate::abi::layout::Field {
                        name: "release",
                        offset: std::mem::offset_of!($Table, release),
                        kind: "fn()",
                    },
                    $( $crate::abi::layout::Field {
                        name: stringify!($method),
                        offset: std::mem::offset_of!($Table, $method),
                        kind: concat!(
                            stringify!($kind), " fn(", $( stringify!($arg), ": ", stringify!($Arg), ", ", )* ")",
                            $( " -> ", stringify!($Ret) )?
                        ),
                    }, )*
                ],
            };

            /// Hands out `provider`; it is dropped with the last handle.
            pub fn new<P: $Provider>(provider: std::sync::Arc<P>) -> Self {
                struct Statics<P>(std::marker::PhantomData<P>);
                impl<P: $Provider> Statics<P> {
                    const TABLE: $Table = $Table {
                        size: size_of::<$Table>(),
                        release: {
                            unsafe extern "C" fn release<P>(context: *const ()) {
                                // SAFETY: the context is the `Arc` that `new` leaked, given up once per handle.
                                let provider = unsafe { std::sync::Arc::from_raw(context.cast::<P>()) };
                                $crate::abi::panic::guard_drop(|| drop(provider));
                            }
                            release::<P>
                        },
                        $( $method: {
                            $crate::abi::interface::provide!($kind $Provider $method ($($arg: $Arg),*) $($Ret)?);
                            $method::<P>
                        }, )*
                    };
                }
                Self {
                    context: std::sync::Arc::into_raw(provider).cast(),
                    table: const { &Statics::<P>::TABLE },
                }
            }

            /// Gives the handle up as the pair that crosses.
            pub fn into_raw(self) -> $crate::abi::entry::RawHandle {
                let this = std::mem::ManuallyDrop::new(self);
                $crate::abi::entry::RawHandle { context: this.context, table: this.table.cast() }
            }

            /// The handle behind the pair, if it is one and its table is at least as long as this side knows it.
            ///
            /// # Safety
            ///
            /// The pair was made by `into_raw` of the interface with this id, and is used once.
            pub unsafe fn from_raw(raw: $crate::abi::entry::RawHandle) -> Option<Self> {
                if raw.table.is_null() {
                    return None;
                }
                let this = Self { context: raw.context, table: raw.table.cast() };
                // SAFETY: every table starts with its size, a `usize`.
                let size = unsafe { *raw.table.cast::<usize>() };
                (size >= size_of::<$Table>()).then_some(this)
            }

            $( $crate::abi::interface::call!($(#[$method_meta])* $Table $kind $method ($($arg: $Arg),*) $($Ret)?); )*
        }

        const _: () = {
            /// Places of the functions, by which another process names them.
            #[expect(non_camel_case_types, reason = "they are named as the functions are")]
            #[repr(u16)]
            enum Number { $( $method, )* }

            impl $crate::abi::wire::Object for $Name {
                fn serve(
                    &self, method: u16, arguments: &mut $crate::abi::wire::Reader,
                ) -> Result<$crate::abi::wire::Reply, $crate::abi::wire::Garbled> {
                    $( if method == Number::$method as u16 {
                        $( let mut $arg = <$Arg as $crate::abi::wire::Argument<'_>>::keep(arguments)?; )*
                        arguments.end()?;
                        return Ok($crate::abi::interface::serve!($kind self arguments $method ($($arg: $Arg),*) $($Ret)?));
                    } )*
                    Err($crate::abi::wire::Garbled)
                }
            }

            impl $Provider for $crate::abi::wire::Remote<$Name> {
                $( $crate::abi::interface::remote!($kind Number $method ($($arg: $Arg),*) $($Ret)?); )*
            }

            impl $crate::abi::wire::Wire for $Name {
                fn send(self, out: $crate::abi::wire::Writer) -> $crate::abi::wire::Writer {
                    out.object(Box::new(self))
                }

                fn receive(input: &mut $crate::abi::wire::Reader) -> Result<Self, $crate::abi::wire::Garbled> {
                    let remote = $crate::abi::wire::Remote::<Self>::new(input.object()?);
                    Ok(Self::new(std::sync::Arc::new(remote)))
                }
            }
        };

        impl Drop for $Name {
            fn drop(&mut self) {
                // SAFETY: `release` is among the first fields, which every table has.
                let release = unsafe { (*self.table).release };
                // SAFETY: this handle gives up its reference, once.
                unsafe { release(self.context) };
            }
        }
    };
}

macro_rules! pointer {
    (async ($($Arg:ty),*) $Ret:ty) => { unsafe extern "C" fn(*const (), $($Arg),*) -> $crate::abi::future::Fut<$Ret> };
    (async ($($Arg:ty),*)) => { unsafe extern "C" fn(*const (), $($Arg),*) -> $crate::abi::future::Fut<()> };
    (sync ($($Arg:ty),*) $Ret:ty) => { unsafe extern "C" fn(*const (), $($Arg),*) -> $Ret };
    (sync ($($Arg:ty),*)) => { unsafe extern "C" fn(*const (), $($Arg),*) };
}

macro_rules! declare {
    ($(#[$meta:meta])* async $method:ident ($($arg:ident: $Arg:ty),*)) => {
        $crate::abi::interface::declare!($(#[$meta])* async $method ($($arg: $Arg),*) ());
    };
    ($(#[$meta:meta])* async $method:ident ($($arg:ident: $Arg:ty),*) $Ret:ty) => {
        $(#[$meta])*
        fn $method(&self, $($arg: $Arg),*) -> impl Future<Output = Result<$Ret, $crate::abi::error::Error>> + Send + 'static;
    };
    ($(#[$meta:meta])* sync $method:ident ($($arg:ident: $Arg:ty),*) $($Ret:ty)?) => {
        $(#[$meta])*
        fn $method(&self, $($arg: $Arg),*) $(-> $Ret)?;
    };
}

macro_rules! provide {
    (async $Provider:ident $method:ident ($($arg:ident: $Arg:ty),*)) => {
        $crate::abi::interface::provide!(async $Provider $method ($($arg: $Arg),*) ());
    };
    (async $Provider:ident $method:ident ($($arg:ident: $Arg:ty),*) $Ret:ty) => {
        unsafe extern "C" fn $method<P: $Provider>(context: *const (), $($arg: $Arg),*) -> $crate::abi::future::Fut<$Ret> {
            // SAFETY: the context is the live provider that `new` leaked.
            let provider = unsafe { &*context.cast::<P>() };
            $crate::abi::panic::guard(|| $crate::abi::future::Fut::new(provider.$method($($arg),*)))
                .unwrap_or_else($crate::abi::future::Fut::failed)
        }
    };
    (sync $Provider:ident $method:ident ($($arg:ident: $Arg:ty),*) $($Ret:ty)?) => {
        unsafe extern "C" fn $method<P: $Provider>(context: *const (), $($arg: $Arg),*) $(-> $Ret)? {
            // SAFETY: the context is the live provider that `new` leaked.
            let provider = unsafe { &*context.cast::<P>() };
            $crate::abi::panic::guard(|| provider.$method($($arg),*)).unwrap_or_default()
        }
    };
}

macro_rules! call {
    ($(#[$meta:meta])* $Table:ident async $method:ident ($($arg:ident: $Arg:ty),*) $($Ret:ty)?) => {
        $(#[$meta])*
        pub fn $method(&self, $($arg: $Arg),*) -> $crate::abi::interface::future!($($Ret)?) {
            // SAFETY: `from_raw` has checked that the table reaches this far; `new` makes a whole one.
            let function = unsafe { (*self.table).$method };
            // SAFETY: context and table belong together, and the handle keeps the context alive.
            unsafe { function(self.context, $($arg),*) }
        }
    };
    ($(#[$meta:meta])* $Table:ident sync $method:ident ($($arg:ident: $Arg:ty),*) $($Ret:ty)?) => {
        $(#[$meta])*
        pub fn $method(&self, $($arg: $Arg),*) $(-> $Ret)? {
            // SAFETY: `from_raw` has checked that the table reaches this far; `new` makes a whole one.
            let function = unsafe { (*self.table).$method };
            // SAFETY: context and table belong together, and the handle keeps the context alive.
            unsafe { function(self.context, $($arg),*) }
        }
    };
}

macro_rules! future {
    ($Ret:ty) => { $crate::abi::future::Fut<$Ret> };
    () => { $crate::abi::future::Fut<()> };
}

/// A call that came from another process.
macro_rules! serve {
    (async $self:ident $arguments:ident $method:ident ($($arg:ident: $Arg:ty),*) $($Ret:ty)?) => {
        $crate::abi::wire::Reply::later(
            $arguments.link(),
            $self.$method($(<$Arg as $crate::abi::wire::Argument<'_>>::lend(&mut $arg)),*),
        )
    };
    (sync $self:ident $arguments:ident $method:ident ($($arg:ident: $Arg:ty),*) $Ret:ty) => {
        $crate::abi::wire::Reply::now(
            $arguments.link(),
            $self.$method($(<$Arg as $crate::abi::wire::Argument<'_>>::lend(&mut $arg)),*),
        )
    };
    (sync $self:ident $arguments:ident $method:ident ($($arg:ident: $Arg:ty),*)) => {{
        $self.$method($(<$Arg as $crate::abi::wire::Argument<'_>>::lend(&mut $arg)),*);
        $crate::abi::wire::Reply::Nothing
    }};
}

/// A call of what is in another process.
macro_rules! remote {
    (async $Number:ident $method:ident ($($arg:ident: $Arg:ty),*)) => {
        $crate::abi::interface::remote!(async $Number $method ($($arg: $Arg),*) ());
    };
    (async $Number:ident $method:ident ($($arg:ident: $Arg:ty),*) $Ret:ty) => {
        fn $method(&self, $($arg: $Arg),*) -> impl Future<Output = Result<$Ret, $crate::abi::error::Error>> + Send + 'static {
            let arguments = self.object().arguments();
            $( let arguments = $crate::abi::wire::Argument::pass($arg, arguments); )*
            self.object().call($Number::$method as u16, arguments)
        }
    };
    (sync $Number:ident $method:ident ($($arg:ident: $Arg:ty),*) $Ret:ty) => {
        fn $method(&self, $($arg: $Arg),*) -> $Ret {
            let arguments = self.object().arguments();
            $( let arguments = $crate::abi::wire::Argument::pass($arg, arguments); )*
            self.object()
                .ask($Number::$method as u16, arguments)
                .unwrap_or_else(<$Ret as $crate::abi::wire::Answer>::failed)
        }
    };
    (sync $Number:ident $method:ident ($($arg:ident: $Arg:ty),*)) => {
        fn $method(&self, $($arg: $Arg),*) {
            let arguments = self.object().arguments();
            $( let arguments = $crate::abi::wire::Argument::pass($arg, arguments); )*
            self.object().tell($Number::$method as u16, arguments);
        }
    };
}

pub(crate) use {call, declare, future, interface, pointer, provide, remote, serve};
