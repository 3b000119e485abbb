//! Templates: what a mail says in each language (`messages/<language>.json`), and what it looks like (`templates/`).
//!
//! A mail exists when a language has texts for its name. Its look is `templates/<name>.html` and `.txt` when they are there,
//! else `notice`, which suits every mail that has a few sentences and a button or a code. The texts are templates themselves:
//! variables in them are escaped in HTML and not in plain text.

mod source;

use std::collections::{BTreeMap, BTreeSet};

use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value as Cell, value::Serde};
use nself_plugin_api::{
    Result,
    serde_json::{self, Map, Value},
};
use serde::Deserialize;

use crate::{
    config::{Settings, refused},
    error::MailError,
    letter::Content,
};

/// The look of a mail that has none of its own.
const NOTICE: &str = "notice";

/// The language that has texts for every built-in mail.
const LAST_LANGUAGE: &str = "en";

/// Variables that are empty when they are not given.
const OPTIONAL: [&str; 3] = ["name", "when", "ip"];

/// A text, several in a row, or whether something is shown.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Words {
    One(String),
    Many(Vec<String>),
    Flag(bool),
}

/// The texts of one mail by their names; `subject` is one of them.
type Texts = BTreeMap<String, Words>;

/// A language.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Language {
    /// Texts of all mails.
    #[serde(default)]
    common: Texts,
    /// Texts of each mail.
    #[serde(default)]
    templates: BTreeMap<String, Texts>,
}

/// Everything that mails are made of.
pub(crate) struct Templates {
    environment: Environment<'static>,
    languages: BTreeMap<String, Language>,
    default_language: String,
    app_name: String,
}

impl Templates {
    /// The built-in ones, and on top of them the operator's.
    ///
    /// # Errors
    ///
    /// When a file cannot be read or has a mistake; it is named.
    pub(crate) fn load(settings: &Settings) -> Result<Self> {
        let mut this = Self {
            environment: Environment::new(),
            languages: BTreeMap::new(),
            default_language: settings.config.default_language.to_lowercase(),
            app_name: settings.config.app_name.clone(),
        };
        this.environment
            .set_undefined_behavior(UndefinedBehavior::Strict);
        for (name, text) in source::LOOKS {
            this.add_look(name, (*text).to_owned())?;
        }
        for (language, text) in source::LANGUAGES {
            this.add_language(language, text)?;
        }
        if let Some(directory) = &settings.templates_directory {
            let found = source::read(directory)?;
            for (name, text) in found.looks {
                this.add_look(&name, text)?;
            }
            for (language, text) in found.languages {
                this.add_language(&language, &text)?;
            }
        }
        Ok(this)
    }

    fn add_look(&mut self, name: &str, text: String) -> Result<()> {
        self.environment
            .add_template_owned(name.to_owned(), text)
            .map_err(|error| refused(&format!("templates_directory: {name}: {error}")))
    }

    fn add_language(&mut self, name: &str, text: &str) -> Result<()> {
        let added: Language = serde_json::from_str(text).map_err(|error| {
            refused(&format!(
                "templates_directory: messages/{name}.json: {error}"
            ))
        })?;
        let language = self.languages.entry(name.to_lowercase()).or_default();
        language.common.extend(added.common);
        for (template, texts) in added.templates {
            language
                .templates
                .entry(template)
                .or_default()
                .extend(texts);
        }
        Ok(())
    }

    /// Renders a mail in the wanted language, or the nearest one that has it.
    ///
    /// # Errors
    ///
    /// [`MailError`] when there is no such template, or a variable is missing.
    pub(crate) fn render(
        &self,
        template: &str,
        language: Option<&str>,
        variables: &Map<String, Value>,
    ) -> Result<Content, MailError> {
        let (language, texts) = self.texts(template, language)?;
        if let Some(link) = variables.get("link") {
            check_link(link)?;
        }
        let given = self.given(variables);
        self.check_variables(template, &texts, &given)?;
        let page = Page {
            templates: self,
            template,
            language,
            texts: &texts,
            given: &given,
        };
        let subject = match texts.get("subject") {
            Some(Words::One(subject)) => page.words("subject.txt", subject)?,
            _ => return Err(broken(template, "it has no subject")),
        };
        Ok(Content {
            subject,
            text: page.render("txt")?,
            html: Some(page.render("html")?),
        })
    }

    /// The texts of a mail in the nearest language: the wanted one, that without its region, the default, English.
    fn texts(&self, template: &str, wanted: Option<&str>) -> Result<(&str, Texts), MailError> {
        let wanted = wanted.unwrap_or(&self.default_language);
        let wanted = wanted.to_lowercase().replace('_', "-");
        let base = wanted.split('-').next().unwrap_or_default();
        for name in [&*wanted, base, &self.default_language, LAST_LANGUAGE] {
            let Some((name, language)) = self.languages.get_key_value(name) else {
                continue;
            };
            if let Some(texts) = language.templates.get(template) {
                let mut whole = language.common.clone();
                whole.extend(texts.clone());
                return Ok((name, whole));
            }
        }
        let template = template.to_owned();
        Err(MailError::TemplateUnknown { template })
    }

    fn given(&self, variables: &Map<String, Value>) -> BTreeMap<String, Cell> {
        let mut given: BTreeMap<String, Cell> = OPTIONAL
            .iter()
            .map(|name| ((*name).to_owned(), Cell::from("")))
            .collect();
        given.insert("app".to_owned(), Cell::from(self.app_name.clone()));
        let variables = variables.iter().filter(|(_, value)| !value.is_null());
        given.extend(variables.map(|(name, value)| (name.clone(), Cell::from(Serde(value)))));
        given
    }

    /// Names every variable that the texts need and that was not given.
    fn check_variables(
        &self,
        template: &str,
        texts: &Texts,
        given: &BTreeMap<String, Cell>,
    ) -> Result<(), MailError> {
        let mut needed = BTreeSet::new();
        for (name, stated) in texts {
            let words = match stated {
                Words::One(words) => std::slice::from_ref(words),
                Words::Many(words) => words,
                Words::Flag(_) => &[],
            };
            for words in words {
                let parsed = self.environment.template_from_named_str("text.txt", words);
                let parsed =
                    parsed.map_err(|error| broken(template, &format!("{name}: {error}")))?;
                needed.extend(parsed.undeclared_variables(false));
            }
            // The look puts these in where the texts ask for them.
            match (name.as_str(), stated) {
                ("action", Words::One(_)) => _ = needed.insert("link".to_owned()),
                ("code", Words::Flag(true)) => _ = needed.insert("code".to_owned()),
                _ => {}
            }
        }
        needed.retain(|name| !given.contains_key(name));
        if needed.is_empty() {
            return Ok(());
        }
        Err(MailError::VariableMissing {
            template: template.to_owned(),
            missing: needed.into_iter().collect(),
        })
    }
}

/// A mail that is being rendered.
struct Page<'a> {
    templates: &'a Templates,
    template: &'a str,
    language: &'a str,
    texts: &'a Texts,
    given: &'a BTreeMap<String, Cell>,
}

impl Page<'_> {
    /// Renders the whole as `txt` or `html`.
    fn render(&self, kind: &str) -> Result<String, MailError> {
        let name = format!("text.{kind}");
        let mut texts = BTreeMap::new();
        for (key, words) in self.texts {
            let one = |words: &String| {
                let text = self.words(&name, words)?;
                Ok(match kind {
                    "html" => Cell::from_safe_string(text),
                    _ => Cell::from(text),
                })
            };
            let value = match words {
                Words::One(words) => one(words)?,
                Words::Many(words) => {
                    Cell::from(words.iter().map(one).collect::<Result<Vec<_>, _>>()?)
                }
                Words::Flag(flag) => Cell::from(*flag),
            };
            texts.insert(key.clone(), value);
        }
        let mut context = self.given.clone();
        context.insert("text".to_owned(), Cell::from(texts));
        context.insert("language".to_owned(), Cell::from(self.language));
        let environment = &self.templates.environment;
        let own = environment.get_template(&format!("{}.{kind}", self.template));
        let look = own.or_else(|_| environment.get_template(&format!("{NOTICE}.{kind}")));
        let rendered = look.and_then(|look| look.render(context));
        rendered.map_err(|error| self.fault(&error))
    }

    /// Renders one text; `name` says by its ending how variables are escaped.
    fn words(&self, name: &str, words: &str) -> Result<String, MailError> {
        let rendered = self
            .templates
            .environment
            .render_named_str(name, words, self.given.clone());
        rendered.map_err(|error| self.fault(&error))
    }

    fn fault(&self, error: &minijinja::Error) -> MailError {
        if error.kind() != ErrorKind::UndefinedError {
            return broken(self.template, &error.to_string());
        }
        // A look of the operator's that uses what neither the texts nor the caller know.
        let place = error.name().unwrap_or("its look").to_owned();
        MailError::VariableMissing {
            template: self.template.to_owned(),
            missing: vec![format!("a variable of {place}")],
        }
    }
}

fn broken(template: &str, reason: &str) -> MailError {
    MailError::TemplateBroken {
        template: template.to_owned(),
        reason: reason.to_owned(),
    }
}

/// Escaping keeps a link from leaving its attribute; only this keeps it from being a script.
fn check_link(link: &Value) -> Result<(), MailError> {
    let link = link.as_str().unwrap_or_default();
    let is_web = link.starts_with("https://") || link.starts_with("http://");
    if is_web && !link.chars().any(|c| c.is_control() || c.is_whitespace()) {
        Ok(())
    } else {
        Err(MailError::Link)
    }
}

#[cfg(test)]
mod tests;
