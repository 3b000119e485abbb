//! Handlers: async functions of the plugin's context and up to six extractors.

use std::future::Future;

use crate::{
    abi::{future::Fut, response, zst::Item},
    cx::Cx,
    error::Result,
    extract::{Extract, Request},
    respond::{Respond, Response},
    schema::Shape,
};

/// An async function that answers a route: `async fn show(cx: Cx<Notes>, Path(id): Path<Uuid>) -> Result<Data<Note>>`.
///
/// `A` is the tuple of the extractors' types.
pub trait Handler<P, A>: Copy + Send + Sync + 'static {
    /// Shape of the path's parameters.
    const PATH: Option<&'static Shape>;
    /// Shape of the request body.
    const REQUEST: Option<&'static Shape>;
    /// Shape of the query.
    const QUERY: Option<&'static Shape>;
    /// Shape of the answer.
    const RESPONSE: Option<&'static Shape>;
    /// What the answer is: `json`, `stream`, `sse`, `websocket` or `raw`.
    const KIND: &'static str;

    /// Extracts, calls, answers.
    fn call(self, cx: Cx<P>, request: Request) -> impl Future<Output = Result<Response>> + Send;
}

/// A handler with its type forgotten.
pub(crate) trait Erased<P>: Send + Sync {
    /// As the future that crosses: it is boxed once.
    fn call(&self, cx: Cx<P>, request: Request) -> Fut<response::Response>;
}

impl<P, F, A> Erased<P> for Item<F, A>
where
    P: Send + Sync + 'static,
    F: Handler<P, A>,
    A: 'static,
{
    fn call(&self, cx: Cx<P>, request: Request) -> Fut<response::Response> {
        let handler = self.get();
        Fut::new(async move { Ok(handler.call(cx, request).await?.into_abi()) })
    }
}

const fn first(shapes: &[Option<&'static Shape>]) -> Option<&'static Shape> {
    let mut at = 0;
    while at < shapes.len() {
        if shapes[at].is_some() {
            return shapes[at];
        }
        at += 1;
    }
    None
}

impl<P, F, Fut, R> Handler<P, ()> for F
where
    P: Send + Sync + 'static,
    F: Fn(Cx<P>) -> Fut + Copy + Send + Sync + 'static,
    Fut: Future<Output = Result<R>> + Send,
    R: Respond,
{
    const PATH: Option<&'static Shape> = None;
    const REQUEST: Option<&'static Shape> = None;
    const QUERY: Option<&'static Shape> = None;
    const RESPONSE: Option<&'static Shape> = R::SHAPE;
    const KIND: &'static str = R::KIND;

    async fn call(self, cx: Cx<P>, _: Request) -> Result<Response> {
        self(cx).await?.respond()
    }
}

macro_rules! handler {
    ($($T:ident $value:ident),*) => {
        impl<P, F, Fut, R, $($T),*> Handler<P, ($($T,)*)> for F
        where
            P: Send + Sync + 'static,
            F: Fn(Cx<P>, $($T),*) -> Fut + Copy + Send + Sync + 'static,
            Fut: Future<Output = Result<R>> + Send,
            R: Respond,
            $($T: Extract,)*
        {
            const PATH: Option<&'static Shape> = first(&[$($T::PATH),*]);
            const REQUEST: Option<&'static Shape> = first(&[$($T::BODY),*]);
            const QUERY: Option<&'static Shape> = first(&[$($T::QUERY),*]);
            const RESPONSE: Option<&'static Shape> = R::SHAPE;
            const KIND: &'static str = R::KIND;

            async fn call(self, cx: Cx<P>, mut request: Request) -> Result<Response> {
                $( let $value = $T::extract(&mut request).await?; )*
                self(cx, $($value),*).await?.respond()
            }
        }
    };
}

handler!(A a);
handler!(A a, B b);
handler!(A a, B b, C c);
handler!(A a, B b, C c, D d);
handler!(A a, B b, C c, D d, E e);
handler!(A a, B b, C c, D d, E e, G g);
