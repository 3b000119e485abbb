//! `nself mail ..`: the queue on the command line.

use nself_plugin_api::prelude::*;

/// All of them.
pub(crate) const ALL: &[Command] = &[
    Command::get("status", "/mail/status")
        .summary("Show how mails are delivered, and how long the queue is"),
    Command::get("list", "/mail/messages")
        .summary("List mails, the newest first, without what they say")
        .arguments(&[
            Argument::text("status", "queued, sending, sent, failed or suppressed"),
            Argument::text("to", "To this address"),
            Argument::text("before", "The last id of the page before"),
            Argument::integer("limit", "Rows, at most 200"),
        ])
        .columns(&[
            ("ID", "id"),
            ("STATUS", "status"),
            ("TO", "to"),
            ("TEMPLATE", "template"),
            ("ATTEMPTS", "attempts"),
            ("HANDED IN", "created_at"),
            ("DUE", "due_at"),
            ("LAST ERROR", "last_error"),
        ]),
    Command::post("retry", "/mail/messages/{id}/retry")
        .summary("Try a mail again that failed or waits")
        .arguments(&[Argument::text("id", "The mail's id, see `list`")]),
    Command::post("test", "/mail/test")
        .summary("Send a test mail")
        .arguments(&[
            Argument::text("to", "Who gets it").required(),
            Argument::text("language", "In which language, such as de"),
        ]),
];
