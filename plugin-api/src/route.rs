//! Routes, tasks, subscriptions, schedules and provided capabilities: rows of the constant tables of a plugin.

use std::{future::Future, marker::PhantomData, pin::Pin, time::Duration};

use crate::{
    abi::zst::Item,
    cx::Cx,
    error::{Error, Result},
    event::Event,
    handler::{Erased, Handler},
    job::JobRun,
    manifest::{Access, Role},
    schema::Shape,
};

/// A boxed future of a callback.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// One HTTP route: `Route::get("/notes/{id}", routes::show).roles(Role::PEOPLE)`.
///
/// Method, path and handler first, then who may call. The schemas of parameters, query, body and answer come from the handler's types.
pub struct Route<P: 'static> {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    pub(crate) summary: &'static str,
    pub(crate) body_bytes_max: Option<u64>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) rate_per_minute: Option<u32>,
    pub(crate) params: Option<&'static Shape>,
    pub(crate) request: Option<&'static Shape>,
    pub(crate) query: Option<&'static Shape>,
    pub(crate) response: Option<&'static Shape>,
    pub(crate) kind: &'static str,
    pub(crate) graphql: &'static str,
    pub(crate) handler: &'static dyn Erased<P>,
}

macro_rules! methods {
    ($($name:ident $method:literal),*) => {
        $(
            #[doc = concat!("A route for `", $method, "`.")]
            pub const fn $name<F, A>(path: &'static str, handler: F) -> Self
            where
                F: Handler<P, A>,
                A: 'static,
            {
                Self::new($method, path, handler)
            }
        )*
    };
}

impl<P: Send + Sync + 'static> Route<P> {
    methods!(get "GET", post "POST", put "PUT", patch "PATCH", delete "DELETE");

    /// A route for any method.
    pub const fn new<F, A>(method: &'static str, path: &'static str, handler: F) -> Self
    where
        F: Handler<P, A>,
        A: 'static,
    {
        Self {
            method,
            path,
            access: Access::Unstated,
            summary: "",
            body_bytes_max: None,
            timeout: None,
            rate_per_minute: None,
            params: F::PATH,
            request: F::REQUEST,
            query: F::QUERY,
            response: F::RESPONSE,
            kind: F::KIND,
            graphql: "",
            handler: Item::<F, A>::of(handler),
        }
    }

    /// Anybody may call, without a token.
    #[must_use]
    pub const fn public(mut self) -> Self {
        self.access = Access::Public;
        self
    }

    /// Any authenticated principal may call.
    #[must_use]
    pub const fn authenticated(mut self) -> Self {
        self.access = Access::Authenticated;
        self
    }

    /// Principals with one of these roles in their active family may call.
    #[must_use]
    pub const fn roles(mut self, roles: &'static [Role]) -> Self {
        self.access = Access::Roles(roles);
        self
    }

    /// Principals whose role may do `action` by the host's policy may call: `member.manage`.
    #[must_use]
    pub const fn action(mut self, action: &'static str) -> Self {
        self.access = Access::action(action);
        self
    }

    /// Services with this scope may call, and operators of the host, who could give any service that scope.
    #[must_use]
    pub const fn service(mut self, scope: &'static str) -> Self {
        self.access = Access::Service(scope);
        self
    }

    /// Operators of the host may call.
    #[must_use]
    pub const fn operator(mut self) -> Self {
        self.access = Access::Operator;
        self
    }

    /// One line for the API reference.
    #[must_use]
    pub const fn summary(mut self, summary: &'static str) -> Self {
        self.summary = summary;
        self
    }

    /// GraphQL clients reach it too, as the root field `<plugin>_<name>` (an action of Hasura): a query for `GET`, else a
    /// mutation. Parameters of path and query are its arguments, the body is the argument `input`, and whoever may call the
    /// route may ask for the field. For routes that answer `Data` or `Created` with an object or a list of objects.
    #[must_use]
    pub const fn graphql(mut self, name: &'static str) -> Self {
        self.graphql = name;
        self
    }

    /// Largest request body, instead of the host's default.
    #[must_use]
    pub const fn body_bytes_max(mut self, bytes: u64) -> Self {
        self.body_bytes_max = Some(bytes);
        self
    }

    /// Time for the handler to answer, instead of the host's default.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Requests per minute and caller, instead of the host's default.
    #[must_use]
    pub const fn rate_per_minute(mut self, rate: u32) -> Self {
        self.rate_per_minute = Some(rate);
        self
    }
}

/// An asynchronous callback of a plugin with one input; function items such as `async fn sweep(cx: Cx<Notes>) -> Result<()>`.
pub trait Callback<P, I, O>: Copy + Send + Sync + 'static {
    /// Calls it.
    fn call(self, cx: Cx<P>, input: I) -> impl Future<Output = Result<O>> + Send + 'static;
}

/// Tells a callback without input from one with input.
pub struct NoInput;

impl<P, O, F, Fut> Callback<P, NoInput, O> for F
where
    F: Fn(Cx<P>) -> Fut + Copy + Send + Sync + 'static,
    Fut: Future<Output = Result<O>> + Send + 'static,
{
    fn call(self, cx: Cx<P>, _: NoInput) -> impl Future<Output = Result<O>> + Send + 'static {
        self(cx)
    }
}

macro_rules! callbacks {
    ($($Input:ty),*) => {
        $(
            impl<P, O, F, Fut> Callback<P, $Input, O> for F
            where
                F: Fn(Cx<P>, $Input) -> Fut + Copy + Send + Sync + 'static,
                Fut: Future<Output = Result<O>> + Send + 'static,
            {
                fn call(self, cx: Cx<P>, input: $Input) -> impl Future<Output = Result<O>> + Send + 'static {
                    self(cx, input)
                }
            }
        )*
    };
}

callbacks!(Event, Scheduled, CapabilityCall, JobRun);

/// A callback with its type forgotten.
pub(crate) trait ErasedCallback<P, I, O>: Send + Sync {
    fn call(&self, cx: Cx<P>, input: I) -> BoxFuture<Result<O>>;
}

impl<P: 'static, I: 'static, O: 'static, F: Callback<P, I, O>> ErasedCallback<P, I, O>
    for Item<F, PhantomData<(I, O)>>
{
    fn call(&self, cx: Cx<P>, input: I) -> BoxFuture<Result<O>> {
        Box::pin(self.get().call(cx, input))
    }
}

/// A background task: the host runs it, with a pause between two runs, and again sooner after a failure's backoff.
pub struct Task<P: 'static> {
    pub(crate) name: &'static str,
    pub(crate) every: Duration,
    pub(crate) singleton: bool,
    pub(crate) run: &'static dyn ErasedCallback<P, NoInput, ()>,
}

impl<P: 'static> Task<P> {
    /// A task that every replica runs.
    pub const fn every<F: Callback<P, NoInput, ()>>(
        every: Duration,
        name: &'static str,
        run: F,
    ) -> Self {
        Self {
            name,
            every,
            singleton: false,
            run: Item::<F, PhantomData<(NoInput, ())>>::of(run),
        }
    }

    /// Only one replica runs it at a time: the holder of its lease.
    #[must_use]
    pub const fn singleton(mut self) -> Self {
        self.singleton = true;
        self
    }
}

/// A subscription to the event log with a durable cursor: at least once, in order.
pub struct Subscription<P: 'static> {
    pub(crate) name: &'static str,
    pub(crate) types: &'static [&'static str],
    pub(crate) handle: &'static dyn ErasedCallback<P, Event, ()>,
}

impl<P: 'static> Subscription<P> {
    /// Calls `handle` with every event whose type matches one of `types` (`family.*`); an error means "again later".
    pub const fn new<F: Callback<P, Event, ()>>(
        name: &'static str,
        types: &'static [&'static str],
        handle: F,
    ) -> Self {
        Self {
            name,
            types,
            handle: Item::<F, PhantomData<(Event, ())>>::of(handle),
        }
    }
}

/// When a schedule fired.
#[derive(Debug, Clone)]
pub struct Scheduled {
    /// The time that the expression named, which is earlier than now.
    pub scheduled_at: jiff::Timestamp,
}

/// A cron schedule that a scheduler plugin runs.
pub struct Schedule<P: 'static> {
    pub(crate) name: &'static str,
    pub(crate) cron: &'static str,
    pub(crate) timezone: &'static str,
    pub(crate) run: &'static dyn ErasedCallback<P, Scheduled, ()>,
}

impl<P: 'static> Schedule<P> {
    /// Runs at the times of a five or six field cron expression, in UTC.
    pub const fn new<F: Callback<P, Scheduled, ()>>(
        name: &'static str,
        cron: &'static str,
        run: F,
    ) -> Self {
        Self {
            name,
            cron,
            timezone: "UTC",
            run: Item::<F, PhantomData<(Scheduled, ())>>::of(run),
        }
    }

    /// Reads the expression in an IANA time zone.
    #[must_use]
    pub const fn timezone(mut self, timezone: &'static str) -> Self {
        self.timezone = timezone;
        self
    }
}

/// A call of a capability that this plugin provides.
#[derive(Debug)]
pub struct CapabilityCall {
    /// The method that the caller named.
    pub method: String,
    /// JSON or bytes, as the capability says.
    pub payload: bytes::Bytes,
}

impl CapabilityCall {
    /// The payload read as JSON.
    ///
    /// # Errors
    ///
    /// `CAPABILITY_PAYLOAD` with what is wrong and where.
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.payload).map_err(|error| {
            Error::invalid("CAPABILITY_PAYLOAD", format!("{}: {error}", self.method))
        })
    }
}

/// A capability such as `mail.send/1` that this plugin offers to others.
pub struct Provided<P: 'static> {
    pub(crate) id: &'static str,
    pub(crate) functions: &'static [&'static str],
    pub(crate) call: &'static dyn ErasedCallback<P, CapabilityCall, Vec<u8>>,
}

impl<P: 'static> Provided<P> {
    /// Answers calls of the capability `id`.
    pub const fn new<F: Callback<P, CapabilityCall, Vec<u8>>>(id: &'static str, call: F) -> Self {
        Self {
            id,
            functions: &[],
            call: Item::<F, PhantomData<(CapabilityCall, Vec<u8>)>>::of(call),
        }
    }

    /// SQL functions that come with it, such as `jobs.enqueue(text,jsonb)`: in the plugin's schema, made by its migrations,
    /// `SECURITY DEFINER` with a `search_path` of their own. Whoever is granted the capability may call them, in a
    /// transaction of its own, and nothing else of the schema.
    #[must_use]
    pub const fn functions(mut self, functions: &'static [&'static str]) -> Self {
        self.functions = functions;
        self
    }
}
