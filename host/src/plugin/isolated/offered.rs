//! What the host keeps for a plugin's process from the start: its capabilities by their ids, and a log whose spans come with each
//! event, as the threads that are in them are the other process's.

use std::sync::Arc;

use nself_plugin_api::abi::{
    bytes::Str,
    capability::log::Log,
    entry::Capability,
    wire::{Garbled, Object, Reader, Reply, Wire, Writer},
};

use crate::plugin::offer::Offer;

/// Functions of the host's root object.
pub(super) mod root {
    /// `capability(id) -> object?`
    pub(in super::super) const CAPABILITY: u16 = 0;
}

/// Functions of its log.
pub(super) mod log {
    /// `level() -> u32`
    pub(in super::super) const LEVEL: u16 = 0;
    /// `event(level, target, message, fields, spans)`
    pub(in super::super) const EVENT: u16 = 1;
    /// `panicked(message, location)`
    pub(in super::super) const PANICKED: u16 = 2;
}

/// Spans that an event of a plugin may stand in; of more, the outermost.
const SPANS_MAX: u32 = 32;

/// The capabilities of one plugin.
pub(super) struct Offered(pub(super) Arc<Offer>);

impl Object for Offered {
    fn serve(&self, method: u16, arguments: &mut Reader) -> Result<Reply, Garbled> {
        if method != root::CAPABILITY {
            return Err(Garbled);
        }
        let id = arguments.text()?;
        arguments.end()?;
        let out = Writer::new(arguments.link());
        let answer = match self.0.capability_of(&id) {
            None => out.with(0_u32),
            Some(Capability::log(log)) => out.with(1_u32).object(Box::new(PluginLog(log))),
            Some(capability) => out.with(1_u32).object(capability.into_object()),
        };
        Ok(Reply::Now(answer.seal()))
    }
}

/// The log of one plugin.
struct PluginLog(Log);

/// A span that an event stands in, opened for that event.
pub(super) struct SpanSent {
    pub(super) level: u32,
    pub(super) target: String,
    pub(super) name: String,
    pub(super) fields: String,
}

impl Wire for SpanSent {
    fn send(self, out: Writer) -> Writer {
        let out = out.with(self.level);
        [self.target, self.name, self.fields]
            .iter()
            .fold(out, |out, text| out.bytes(text.as_bytes()))
    }

    fn receive(input: &mut Reader) -> Result<Self, Garbled> {
        Ok(Self {
            level: Wire::receive(input)?,
            target: input.text()?,
            name: input.text()?,
            fields: input.text()?,
        })
    }
}

impl PluginLog {
    fn event(&self, arguments: &mut Reader) -> Result<(), Garbled> {
        let level = u32::receive(arguments)?;
        let (target, message, fields) = (arguments.text()?, arguments.text()?, arguments.text()?);
        let count = u32::receive(arguments)?.min(SPANS_MAX);
        let spans: Result<Vec<_>, _> = (0..count).map(|_| SpanSent::receive(arguments)).collect();
        let log = &self.0;
        let open = |span: SpanSent| {
            let (target, name) = (text(&span.target), text(&span.name));
            let number = log.open_span(span.level, target, name, text(&span.fields));
            log.enter_span(number);
            number
        };
        let entered: Vec<u64> = spans?.into_iter().map(open).collect();
        log.event(level, text(&target), text(&message), text(&fields));
        for number in entered.into_iter().rev() {
            log.exit_span(number);
            log.close_span(number);
        }
        Ok(())
    }
}

fn text(text: &str) -> Str<'_> {
    text.into()
}

impl Object for PluginLog {
    fn serve(&self, method: u16, arguments: &mut Reader) -> Result<Reply, Garbled> {
        match method {
            log::LEVEL => return Ok(Reply::now(arguments.link(), self.0.level())),
            log::EVENT => self.event(arguments)?,
            log::PANICKED => {
                let (message, location) = (arguments.text()?, arguments.text()?);
                self.0.panicked(text(&message), text(&location));
            }
            _ => return Err(Garbled),
        }
        Ok(Reply::Nothing)
    }
}
