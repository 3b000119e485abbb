//! What the operator lets a plugin run: the words of `plugins.<id>.run`.

use super::wanted::{LANGUAGES, language};

/// One word of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    Shell,
    /// Scripts in one language, or in all.
    Script(Option<&'static str>),
    /// Containers of one image, or of all whose name begins so, or of all.
    Container {
        image: String,
        is_prefix: bool,
    },
    /// A path of this machine that containers may see.
    Volume(String),
    Program(String),
}

/// The list of one plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed {
    words: Vec<String>,
    rules: Vec<Rule>,
}

/// A word that is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} cannot be run: write shell, script:js, script:python, container, container:IMAGE, container:IMAGE*, volume:/PATH or program:/PATH"
)]
pub struct AllowedError(String);

impl Allowed {
    /// Reads the list.
    ///
    /// # Errors
    ///
    /// When one of its words is none.
    pub fn parse(words: &[String]) -> Result<Self, AllowedError> {
        let rules = words
            .iter()
            .map(|word| rule(word).ok_or_else(|| AllowedError(word.clone())));
        Ok(Self {
            words: words.to_vec(),
            rules: rules.collect::<Result<_, _>>()?,
        })
    }

    /// The list, as it was written.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// Whether something may be run that is called so.
    pub(super) fn allows(&self, word: &str) -> bool {
        let (kind, what) = word.split_once(':').unwrap_or((word, ""));
        self.rules.iter().any(|rule| match rule {
            Rule::Shell => word == "shell",
            Rule::Script(only) => {
                kind == "script" && only.is_none_or(|only| language(what) == Some(only))
            }
            Rule::Container { image, is_prefix } => {
                let fits = if *is_prefix {
                    what.starts_with(&**image)
                } else {
                    what == image
                };
                kind == "container" && fits
            }
            Rule::Program(path) => kind == "program" && what == path,
            Rule::Volume(_) => false,
        })
    }

    /// Whether containers of any image may be run.
    pub(super) fn allows_containers(&self) -> bool {
        self.rules
            .iter()
            .any(|rule| matches!(rule, Rule::Container { .. }))
    }

    /// Whether a container may see this path of the machine. Nothing below a path that is listed: a container that writes there
    /// could make a link to anywhere.
    pub(super) fn allows_volume(&self, path: &str) -> bool {
        self.rules
            .iter()
            .any(|rule| matches!(rule, Rule::Volume(listed) if listed == path))
    }
}

fn rule(word: &str) -> Option<Rule> {
    let (kind, what) = match word.split_once(':') {
        Some((kind, what)) => (kind, Some(what)),
        None => (word, None),
    };
    let path = || what.filter(|path| path.starts_with('/')).map(str::to_owned);
    match (kind, what) {
        ("shell", None) => Some(Rule::Shell),
        ("script", None) => Some(Rule::Script(None)),
        ("script", Some(what)) => {
            let known = LANGUAGES
                .iter()
                .find(|(name, ..)| language(what) == Some(name));
            known.map(|(name, ..)| Rule::Script(Some(name)))
        }
        ("container", None) => Some(Rule::Container {
            image: String::new(),
            is_prefix: true,
        }),
        ("container", Some(what)) if !what.is_empty() => Some(Rule::Container {
            image: what.trim_end_matches('*').to_owned(),
            is_prefix: what.ends_with('*'),
        }),
        ("volume", Some(_)) => path().map(Rule::Volume),
        ("program", Some(_)) => path().map(Rule::Program),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(words: &[&str]) -> Result<Allowed, AllowedError> {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        Allowed::parse(&words)
    }

    #[track_caller]
    fn check(listed: &[&str], word: &str, expected: bool) {
        let allowed = allowed(listed).expect("the list reads");
        assert_eq!(allowed.allows(word), expected, "{word} by {listed:?}");
    }

    #[test]
    fn nothing_is_run_that_is_not_listed() {
        for word in ["shell", "script:js", "container:alpine", "program:/bin/ls"] {
            check(&[], word, false);
        }
        check(&["shell"], "shell", true);
        check(&["shell"], "script:python", false);
        check(&["script"], "script:python", true);
        check(&["script:python"], "script:python", true);
        check(&["script:python"], "script:js", false);
        // The standard's words for the same language.
        check(&["script:js"], "script:javascript", true);
        check(&["container"], "container:alpine:3", true);
        check(&["container:alpine:3"], "container:alpine:3", true);
        check(&["container:alpine:3"], "container:alpine:33", false);
        check(
            &["container:example.org/home/*"],
            "container:example.org/home/tea:1",
            true,
        );
        check(
            &["container:example.org/home/*"],
            "container:example.org/homes",
            false,
        );
        check(
            &["program:/usr/bin/ffmpeg"],
            "program:/usr/bin/ffmpeg",
            true,
        );
        check(&["program:/usr/bin/ffmpeg"], "program:/usr/bin/env", false);
        check(&["volume:/srv"], "volume:/srv", false);
    }

    #[test]
    fn a_container_sees_the_paths_that_are_listed_and_none_below() {
        let allowed = allowed(&["container", "volume:/srv/tea"]).expect("the list reads");
        assert!(allowed.allows_containers() && allowed.allows_volume("/srv/tea"));
        for path in ["/srv", "/srv/tea/x", "/srv/tea/", "/"] {
            assert!(!allowed.allows_volume(path), "{path}");
        }
    }

    #[test]
    fn a_word_that_is_none_is_told_with_those_that_are() {
        for word in [
            "",
            "Shell",
            "shell:x",
            "script:perl",
            "container:",
            "volume:srv",
            "program:ls",
        ] {
            let error = allowed(&[word]).expect_err(word).to_string();
            assert!(error.contains("script:python"), "{error}");
        }
    }
}
