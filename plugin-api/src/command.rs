//! Commands: what `nself PLUGIN COMMAND` does, as rows of a constant table of a plugin.
//!
//! A command is one request to one of the plugin's routes that operators may call, which are theirs and those of services:
//! its arguments become the path, the query or the body, and its answer is printed as a table, or as it is with `--json`. It
//! does nothing that the route does not do. The answer of a [`Command::tail`] is a stream of events, printed line by line as
//! they come.

/// One command: `Command::get("users", "/auth/admin/users").columns(&[("ID", "id"), ("EMAIL", "email")])`.
///
/// The name is up to four words: `users suspend` is called as `nself auth users suspend ID`. Method and path are those of
/// one of the plugin's routes. An argument whose name stands in the path goes there; the others become the query of a GET
/// or DELETE, and fields of the JSON body of the rest.
///
/// ```
/// use nself_plugin_api::prelude::*;
///
/// const COMMANDS: &[Command] = &[
///     Command::get("notes", "/notes/admin")
///         .summary("List notes")
///         .arguments(&[Argument::text("query", "Part of a title")])
///         .columns(&[("ID", "id"), ("TITLE", "title")]),
///     Command::delete("notes remove", "/notes/admin/{id}")
///         .summary("Remove a note")
///         .arguments(&[Argument::text("id", "The note")])
///         .confirm("Remove the note {id}?"),
/// ];
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Command {
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) body: Option<&'static str>,
    pub(crate) arguments: &'static [Argument],
    pub(crate) rows: &'static str,
    pub(crate) columns: &'static [(&'static str, &'static str)],
    pub(crate) confirm: &'static str,
    pub(crate) is_tail: bool,
}

macro_rules! methods {
    ($($name:ident $method:literal),*) => {
        $(
            #[doc = concat!("A command that sends a `", $method, "`.")]
            pub const fn $name(name: &'static str, path: &'static str) -> Self {
                Self::new($method, name, path)
            }
        )*
    };
}

impl Command {
    methods!(get "GET", post "POST", put "PUT", patch "PATCH", delete "DELETE");

    /// A command that follows a `GET` route of server-sent events until the user or the host ends it. Each event whose data is
    /// JSON is a line of its columns, with `--json` the data itself; other data is printed as it is.
    pub const fn tail(name: &'static str, path: &'static str) -> Self {
        let mut command = Self::new("GET", name, path);
        command.is_tail = true;
        command
    }

    const fn new(method: &'static str, name: &'static str, path: &'static str) -> Self {
        Self {
            name,
            summary: "",
            method,
            path,
            body: None,
            arguments: &[],
            rows: "",
            columns: &[],
            confirm: "",
            is_tail: false,
        }
    }

    /// One line for the help.
    #[must_use]
    pub const fn summary(mut self, summary: &'static str) -> Self {
        self.summary = summary;
        self
    }

    /// Fields that the body always has, as the text of a JSON object.
    #[must_use]
    pub const fn body(mut self, json: &'static str) -> Self {
        self.body = Some(json);
        self
    }

    /// What stands after the name.
    #[must_use]
    pub const fn arguments(mut self, arguments: &'static [Argument]) -> Self {
        self.arguments = arguments;
        self
    }

    /// Where in the answer the rows of the table are, when the answer itself is not the list: `entries`.
    #[must_use]
    pub const fn rows(mut self, rows: &'static str) -> Self {
        self.rows = rows;
        self
    }

    /// Heads of the table and where in a row their cells are, such as `user.email`. Without columns every field is printed
    /// on a line of its own.
    #[must_use]
    pub const fn columns(mut self, columns: &'static [(&'static str, &'static str)]) -> Self {
        self.columns = columns;
        self
    }

    /// What is asked before; `{id}` stands for the argument of that name.
    #[must_use]
    pub const fn confirm(mut self, question: &'static str) -> Self {
        self.confirm = question;
        self
    }
}

/// An argument of a command.
#[derive(Debug, Clone, Copy)]
pub struct Argument {
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) required: bool,
}

impl Argument {
    /// A text: by its place when its name stands in the path, else `--name TEXT`. In a flag `_` is written `-`.
    pub const fn text(name: &'static str, summary: &'static str) -> Self {
        Self::new(name, summary, "text")
    }

    /// A whole number, `--name NUMBER`.
    pub const fn integer(name: &'static str, summary: &'static str) -> Self {
        Self::new(name, summary, "integer")
    }

    /// `--name`: true when it stands there, and left out when not.
    pub const fn flag(name: &'static str, summary: &'static str) -> Self {
        Self::new(name, summary, "flag")
    }

    /// JSON, `--name JSON`, or `--name @FILE` with a file that holds it; `@-` is standard input.
    pub const fn json(name: &'static str, summary: &'static str) -> Self {
        Self::new(name, summary, "json")
    }

    /// A file that becomes the whole body, streamed; `-` is standard input. The other arguments become the query then.
    pub const fn file(name: &'static str, summary: &'static str) -> Self {
        Self::new(name, summary, "file")
    }

    /// The command makes no sense without it. What stands in the path, and a file, always is.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    const fn new(name: &'static str, summary: &'static str, kind: &'static str) -> Self {
        Self {
            name,
            summary,
            kind,
            required: false,
        }
    }
}
