//! Requests and responses between processes: the head as a whole, the body as it comes.

use super::{Garbled, Reader, Wire, Writer};
use crate::abi::{
    bytes::{Bytes, Str},
    request::{Principal, Request, RequestProvider},
    response::{Body, Response, Upgrade},
    stream::Stream,
};

impl Wire for Request {
    fn send(mut self, out: Writer) -> Writer {
        let body = self.take_body();
        let text = |out: Writer, text: &str| out.bytes(text.as_bytes());
        let out = text(out, self.method());
        let out = text(out, self.path());
        let out = out.optional(self.query().map(str::as_bytes));
        let out = [self.peer(), self.request_id(), self.traceparent()]
            .into_iter()
            .fold(out, text);
        let headers: Vec<_> = (0..).map_while(|at| self.header_at(at)).collect();
        let out = pairs(out, headers.into_iter());
        let params = (0..).map_while(|at| self.param(at));
        let params: Vec<_> = params
            .map(|(name, value)| (name, value.as_bytes()))
            .collect();
        let out = pairs(out, params.into_iter());
        let out = match self.principal() {
            None => out.raw(&[0]),
            Some(principal) => send_principal(&principal, out.raw(&[1])),
        };
        out.with(body)
    }

    fn receive(input: &mut Reader) -> Result<Self, Garbled> {
        let head = Head {
            method: input.text()?,
            path: input.text()?,
            query: input.optional()?.map(text).transpose()?,
            peer: input.text()?,
            request_id: input.text()?,
            traceparent: input.text()?,
            headers: read_pairs(input)?,
            params: read_pairs(input)?
                .into_iter()
                .map(|(name, value)| Ok((name, text(value)?)))
                .collect::<Result<_, _>>()?,
            caller: match input.raw()? {
                [0] => None,
                [1] => Some(Caller::receive(input)?),
                _ => return Err(Garbled),
            },
        };
        let body = Stream::receive(input)?;
        Ok(Self::new(Box::new(head), body))
    }
}

fn text(bytes: ::bytes::Bytes) -> Result<String, Garbled> {
    String::from_utf8(bytes.into()).map_err(|_| Garbled)
}

fn pairs<'a>(out: Writer, pairs: impl ExactSizeIterator<Item = (&'a str, &'a [u8])>) -> Writer {
    let out = out.with(u32::try_from(pairs.len()).unwrap_or(u32::MAX));
    pairs.fold(out, |out, (name, value)| {
        out.bytes(name.as_bytes()).bytes(value)
    })
}

fn read_pairs(input: &mut Reader) -> Result<Vec<(String, ::bytes::Bytes)>, Garbled> {
    let count = input.count()?;
    (0..count)
        .map(|_| Ok((input.text()?, input.bytes()?)))
        .collect()
}

fn send_principal(principal: &Principal<'_>, out: Writer) -> Writer {
    let out = out
        .with(principal.kind)
        .with(principal.role)
        .with(principal.aal)
        .with(principal.elevated)
        .with(principal.expires_at);
    let ids = [
        principal.user_id,
        principal.session_id,
        principal.family_id,
        principal.member_id,
        principal.device_id,
    ];
    let out = ids.iter().fold(out, |out, id| out.raw(id));
    out.optional(principal.subject.bytes())
        .optional(principal.scopes.bytes())
}

/// Who calls, with the texts that a principal borrows.
struct Caller {
    principal: Principal<'static>,
    subject: Option<String>,
    scopes: Option<String>,
}

impl Caller {
    fn receive(input: &mut Reader) -> Result<Self, Garbled> {
        let principal = Principal {
            kind: Wire::receive(input)?,
            role: Wire::receive(input)?,
            aal: Wire::receive(input)?,
            elevated: Wire::receive(input)?,
            expires_at: Wire::receive(input)?,
            user_id: input.raw()?,
            session_id: input.raw()?,
            family_id: input.raw()?,
            member_id: input.raw()?,
            device_id: input.raw()?,
            ..Principal::default()
        };
        Ok(Self {
            principal,
            subject: input.optional()?.map(text).transpose()?,
            scopes: input.optional()?.map(text).transpose()?,
        })
    }
}

/// The head of a request that came in a message.
struct Head {
    method: String,
    path: String,
    query: Option<String>,
    peer: String,
    request_id: String,
    traceparent: String,
    headers: Vec<(String, ::bytes::Bytes)>,
    params: Vec<(String, String)>,
    caller: Option<Caller>,
}

impl RequestProvider for Head {
    fn method(&self) -> &str {
        &self.method
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    fn header(&self, name: &str) -> Option<&[u8]> {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| &**value)
    }

    fn header_at(&self, index: usize) -> Option<(&str, &[u8])> {
        let (name, value) = self.headers.get(index)?;
        Some((name, value))
    }

    fn param(&self, index: usize) -> Option<(&str, &str)> {
        let (name, value) = self.params.get(index)?;
        Some((name, value))
    }

    fn principal(&self) -> Option<Principal<'_>> {
        let Caller {
            principal,
            subject,
            scopes,
        } = self.caller.as_ref()?;
        Some(Principal {
            subject: Str::from(subject.as_deref()),
            scopes: Str::from(scopes.as_deref()),
            ..*principal
        })
    }

    fn peer(&self) -> &str {
        &self.peer
    }

    fn request_id(&self) -> &str {
        &self.request_id
    }

    fn traceparent(&self) -> &str {
        &self.traceparent
    }
}

/// How the body of a response is written.
mod form {
    pub(super) const BYTES: u8 = 0;
    pub(super) const STREAM: u8 = 1;
    pub(super) const UPGRADE: u8 = 2;
}

impl Wire for Response {
    fn send(self, out: Writer) -> Writer {
        let (status, headers, body) = self.into_parts();
        let out = out.with(status).with(headers);
        match body {
            Body::Bytes(bytes) => out.raw(&[form::BYTES]).with(bytes),
            Body::Stream(stream) => out.raw(&[form::STREAM]).with(stream),
            Body::Upgrade(upgrade) => out.raw(&[form::UPGRADE]).with(upgrade),
        }
    }

    fn receive(input: &mut Reader) -> Result<Self, Garbled> {
        let status = u16::receive(input)?;
        let headers = input.bytes()?.into();
        let body = match input.raw()? {
            [form::BYTES] => Body::Bytes(Bytes::receive(input)?),
            [form::STREAM] => Body::Stream(Stream::receive(input)?),
            [form::UPGRADE] => Body::Upgrade(Upgrade::receive(input)?),
            _ => return Err(Garbled),
        };
        Ok(Self::new(status, headers, body))
    }
}
