//! The pages: what a person sees of this plugin in a browser.
//!
//! Rendered on the server in the reader's language; a small script sends the forms as JSON to the same routes that every
//! other client uses. A GET shows and never does: programs that open the links in a mail use nothing up.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path as FilePath, PathBuf},
};

use minijinja::{Environment, UndefinedBehavior, context, value::Kwargs};
use nself_plugin_api::{
    http::{
        HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY},
    },
    prelude::*,
    serde_json::{self, Map, Value, json},
};
use serde::Deserialize;

use crate::{Auth, Config, SignUp, caller::Caller, provider::Providers};

/// Nothing but what this plugin serves itself; pictures also from where the operator's logo is.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: https:; \
    connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

/// Which page stands where.
const PAGES: &[(&str, &str)] = &[
    ("/auth/sign-in", "sign-in"),
    ("/auth/sign-up", "sign-up"),
    ("/auth/verify-email", "verify-email"),
    ("/auth/password/forgot", "forgot-password"),
    ("/auth/password/reset", "reset-password"),
    ("/auth/magic-link/verify", "magic-link"),
    ("/auth/email/confirm", "confirm-email"),
    ("/auth/second-factor", "second-factor"),
    ("/auth/device", "device"),
    ("/auth/invitations/accept", "invitation"),
    ("/auth/account", "account"),
];

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../pages/", $name)))),*]
    };
}

const TEMPLATES: &[(&str, &str)] = files![
    "layout.html",
    "parts.html",
    "sign-in.html",
    "sign-up.html",
    "verify-email.html",
    "forgot-password.html",
    "reset-password.html",
    "magic-link.html",
    "confirm-email.html",
    "second-factor.html",
    "device.html",
    "invitation.html",
    "account.html",
];

const MESSAGES: &[(&str, &str)] = &[
    ("en", include_str!("../pages/messages.en.json")),
    ("de", include_str!("../pages/messages.de.json")),
];

/// The language that has every text.
const LAST_LANGUAGE: &str = "en";

type Texts = BTreeMap<String, String>;

/// Everything that the pages are made of.
pub(crate) struct Pages {
    environment: Environment<'static>,
    languages: BTreeMap<String, Texts>,
    /// The operator's own style, after the built-in one.
    theme: Option<String>,
}

impl Pages {
    /// The built-in ones, and on top of them what the operator has in `pages_directory`: `messages.<language>.json` and
    /// `theme.css`.
    ///
    /// # Errors
    ///
    /// When a file cannot be read; it is named.
    pub(crate) fn load(config: &Config) -> Result<Self> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        for (name, text) in TEMPLATES {
            let added = environment.add_template(name, text);
            added.map_err(|error| refused(&format!("{name}: {error}")))?;
        }
        let mut this = Self {
            environment,
            languages: BTreeMap::new(),
            theme: None,
        };
        for (language, text) in MESSAGES {
            this.add_language(language, text)?;
        }
        if let Some(directory) = &config.pages_directory {
            this.add_directory(FilePath::new(directory))
                .map_err(|error| refused(&format!("{directory}: {error}")))?;
        }
        Ok(this)
    }

    fn add_language(&mut self, language: &str, text: &str) -> Result<()> {
        let texts: Texts = serde_json::from_str(text)
            .map_err(|error| refused(&format!("messages.{language}.json: {error}")))?;
        self.languages
            .entry(language.to_owned())
            .or_default()
            .extend(texts);
        Ok(())
    }

    fn add_directory(&mut self, directory: &FilePath) -> io::Result<()> {
        for entry in fs::read_dir(directory)? {
            let path: PathBuf = entry?.path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if name == "theme.css" {
                self.theme = Some(fs::read_to_string(&path)?);
            } else if let Some(language) = name
                .strip_prefix("messages.")
                .and_then(|rest| rest.strip_suffix(".json"))
            {
                let text = fs::read_to_string(&path)?;
                self.add_language(&language.to_lowercase(), &text)
                    .map_err(|error| {
                        io::Error::other(error.cause().unwrap_or_default().to_owned())
                    })?;
            }
        }
        Ok(())
    }

    /// The first of these languages that there is.
    fn language<'a>(&self, wanted: impl IntoIterator<Item = &'a str>) -> &str {
        wanted
            .into_iter()
            .find_map(|language| self.languages.get_key_value(language))
            .map_or(LAST_LANGUAGE, |(language, _)| language)
    }

    /// A text in a language, or in the one that has all.
    fn text(&self, language: &str, key: &str) -> Option<&str> {
        [language, LAST_LANGUAGE]
            .into_iter()
            .find_map(|language| self.languages.get(language)?.get(key))
            .map(String::as_str)
    }

    /// What the script says, by error code and name, as JSON that cannot end its element.
    fn script_messages(&self, language: &str) -> String {
        let mut messages = Map::new();
        for language in [LAST_LANGUAGE, language] {
            for (key, text) in self.languages.get(language).into_iter().flatten() {
                if let Some(name) = key.strip_prefix("script.") {
                    messages.insert(name.to_owned(), json!(text));
                }
            }
        }
        Value::Object(messages).to_string().replace('<', "\\u003c")
    }

    fn render(&self, config: &Config, providers: &Providers, asked: &Asked<'_>) -> Result<String> {
        let language = asked.language.to_owned();
        let texts: BTreeMap<String, String> = [LAST_LANGUAGE, asked.language]
            .into_iter()
            .filter_map(|language| self.languages.get(language))
            .flat_map(Clone::clone)
            .collect();
        let t = move |key: String, values: Kwargs| -> Result<String, minijinja::Error> {
            let mut text = texts.get(&key).cloned().ok_or_else(|| {
                minijinja::Error::new(
                    minijinja::ErrorKind::UndefinedError,
                    format!("no text {key}"),
                )
            })?;
            for name in values.args() {
                let value: minijinja::Value = values.get(name)?;
                text = text.replace(&format!("{{{name}}}"), &value.to_string());
            }
            Ok(text)
        };
        let template = self
            .environment
            .get_template(&format!("{}.html", asked.page))
            .map_err(Error::internal)?;
        template
            .render(context! {
                t => minijinja::Value::from_function(t),
                page => asked.page,
                language,
                languages => self.links(asked),
                app_name => &config.app_name,
                logo_url => &config.logo_url,
                has_theme => self.theme.is_some(),
                sign_up => match config.sign_up {
                    SignUp::Private => "private",
                    SignUp::Open => "open",
                    SignUp::Closed => "closed",
                },
                password_length_min => config.password_length_min,
                token => asked.token,
                providers => providers
                    .all()
                    .map(|one| context! { id => &one.slug, label => &one.label })
                    .collect::<Vec<_>>(),
                messages => self.script_messages(asked.language),
            })
            .map_err(Error::internal)
    }

    /// Links to the same page in the languages that there are; what else the address says stays.
    fn links(&self, asked: &Asked<'_>) -> Vec<minijinja::Value> {
        let kept: String = asked
            .query
            .split('&')
            .filter(|pair| !pair.is_empty() && !pair.starts_with("lang="))
            .flat_map(|pair| ["&", pair])
            .collect();
        self.languages
            .keys()
            .map(|tag| {
                let name = self.text(tag, "name").unwrap_or(tag);
                context! { tag, name, href => format!("{}?lang={tag}{kept}", asked.path) }
            })
            .collect()
    }
}

/// What is to be shown.
struct Asked<'a> {
    page: &'static str,
    path: &'a str,
    query: &'a str,
    language: &'a str,
    token: &'a str,
}

/// What a page's address may say.
#[derive(Debug, Deserialize, Schema)]
pub(crate) struct Parameters {
    /// The secret of a link that was mailed.
    #[serde(default)]
    pub token: String,
    /// Language to show the page in.
    #[serde(default)]
    pub lang: String,
}

/// Any of the pages.
pub(crate) async fn show(
    cx: Cx<Auth>,
    caller: Caller,
    request: RequestInfo,
    Query(parameters): Query<Parameters>,
) -> Result<Response> {
    let (_, page) = PAGES
        .iter()
        .find(|(path, _)| *path == request.path)
        .ok_or_else(|| Error::not_found("NOT_FOUND", "there is no such page"))?;
    let pages = &cx.plugin().pages;
    let language = pages.language([parameters.lang.as_str(), caller.language.as_str()]);
    let asked = Asked {
        page,
        path: &request.path,
        query: request.query.as_deref().unwrap_or_default(),
        language,
        token: &parameters.token,
    };
    let html = pages.render(&cx.plugin().config, &cx.plugin().providers, &asked)?;
    let language = HeaderValue::try_from(language).map_err(Error::internal)?;
    Ok(Response::new(StatusCode::OK, html)
        .content_type("text/html; charset=utf-8")
        .header(CACHE_CONTROL, HeaderValue::from_static("no-store"))
        .header(CONTENT_LANGUAGE, language)
        .header(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)))
}

/// Script and style of the pages.
pub(crate) async fn asset(cx: Cx<Auth>, Path(name): Path<String>) -> Result<Response> {
    let (kind, body) = match name.as_str() {
        "auth.css" => (
            "text/css; charset=utf-8",
            include_str!("../pages/auth.css").to_owned(),
        ),
        "auth.js" => (
            "text/javascript; charset=utf-8",
            include_str!("../pages/auth.js").to_owned(),
        ),
        "theme.css" => match &cx.plugin().pages.theme {
            Some(theme) => ("text/css; charset=utf-8", theme.clone()),
            None => return Err(no_asset()),
        },
        _ => return Err(no_asset()),
    };
    Ok(Response::new(StatusCode::OK, body)
        .content_type(kind)
        .header(
            CACHE_CONTROL,
            HeaderValue::from_static("public, max-age=300"),
        ))
}

fn no_asset() -> Error {
    Error::not_found("NOT_FOUND", "there is no such file")
}

fn refused(what: &str) -> Error {
    Error::new(500, "CONFIG_INVALID", "the pages cannot be made")
        .with_cause(format!("pages_directory: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html(pages: &Pages, page: &'static str, language: &str) -> String {
        let asked = Asked {
            page,
            path: "/auth/x",
            query: "next=%2Fhome&lang=en",
            language,
            token: "a\"><script>",
        };
        pages
            .render(&Config::default(), &Providers::default(), &asked)
            .expect("the page renders")
    }

    #[test]
    fn every_page_renders_in_every_language_without_a_script_of_its_own() {
        let pages = Pages::load(&Config::default()).expect("the built-in pages load");
        for (_, page) in PAGES {
            for (language, _) in MESSAGES {
                let html = html(&pages, page, language);
                assert!(html.contains(&format!("lang=\"{language}\"")), "{page}");
                assert_eq!(
                    html.matches("<script").count(),
                    2,
                    "{page}: the module and the messages"
                );
                assert!(
                    !html.contains("style="),
                    "{page}: the policy forbids inline style"
                );
                assert!(html.contains("?lang=de&amp;next=%2Fhome"), "{page}: {html}");
            }
        }
    }

    #[test]
    fn all_languages_have_the_same_texts() {
        let pages = Pages::load(&Config::default()).expect("the built-in pages load");
        let keys = |language: &str| pages.languages[language].keys().collect::<Vec<_>>();
        assert_eq!(keys("en"), keys("de"));
    }

    #[test]
    fn what_the_operator_adds_comes_on_top() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(
            directory.path().join("messages.en.json"),
            r#"{"sign-in.title": "Come in</script>"}"#,
        )
        .expect("a file");
        fs::write(
            directory.path().join("messages.fr.json"),
            r#"{"sign-in.title": "Entrez", "script.failed": "</script>"}"#,
        )
        .expect("a file");
        fs::write(
            directory.path().join("theme.css"),
            ":root { --accent: #070; }",
        )
        .expect("a file");
        let config = Config {
            pages_directory: Some(directory.path().display().to_string()),
            ..Config::default()
        };
        let pages = Pages::load(&config).expect("the operator's files load");
        assert!(html(&pages, "sign-in", "en").contains("Come in&lt;"));
        let french = html(&pages, "sign-in", "fr");
        assert!(
            french.contains("Entrez") && french.contains("Password"),
            "what is not said in French is English"
        );
        assert!(french.contains("theme.css") && french.contains("\\u003c/script>"));
        fs::write(directory.path().join("messages.it.json"), "{").expect("a file");
        let error = Pages::load(&config)
            .err()
            .expect("a broken file is refused");
        assert!(
            error
                .cause()
                .is_some_and(|cause| cause.contains("messages.it.json")),
            "{error:?}"
        );
    }
}
