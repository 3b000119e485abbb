//! From the text of an expression to a filter that is bounded.

use std::{collections::BTreeSet, sync::LazyLock};

use jaq_core::{
    Compiler, Ctx, Filter, Vars,
    data::JustLut,
    load::{
        self, Arena, File, Loader,
        lex::StrPart,
        parse::{BinaryOp, Def, Pattern, Term},
    },
    ops::Math,
    path::{Part, Path},
    unwrap_valr,
};
use jaq_json::Val;
use serde_json::Value;

use super::{
    Lookup,
    convert::{from_jq, into_jq},
    guard::{self, Bounds, within},
};

/// What an expression may not call: the host's environment, its end, its standard error, its inputs, its time zone.
const FORBIDDEN: [&str; 9] = [
    "env",
    "halt",
    "now",
    "input",
    "inputs",
    "stderr_empty",
    "debug_empty",
    "localtime",
    "strflocaltime",
];
/// Definitions of the library that call these.
const FORBIDDEN_DEFINITIONS: [&str; 6] = [
    "halt",
    "halt_error",
    "stderr",
    "debug",
    "input_line_number",
    "localtime",
];

type Kind = JustLut<Val>;

/// An expression that can be evaluated.
pub(super) struct Compiled {
    filter: Filter<Kind>,
    /// The variables that it names, without the dollar, in the order of its arguments.
    variables: Vec<String>,
}

impl Compiled {
    pub(super) fn run(
        &self,
        input: &Value,
        variables: Lookup<'_>,
        bounds: Bounds,
    ) -> Result<Value, String> {
        let mut values = Vec::new();
        for name in &self.variables {
            let value = variables(name).ok_or_else(|| format!("${name} is not available here"))?;
            values.push(into_jq(&value));
        }
        let input = into_jq(input);
        within(bounds, || {
            let context = Ctx::<Kind>::new(&self.filter.lut, Vars::new(values));
            let first = self.filter.id.run((context, input)).map(unwrap_valr).next();
            match first.transpose().map_err(|error| error.to_string())? {
                Some(value) => {
                    guard::look(&value);
                    Ok(from_jq(&value))
                }
                None => Ok(Value::Null),
            }
        })?
    }
}

/// The library, with its steps counted.
static LIBRARY: LazyLock<Vec<Def<&'static str>>> = LazyLock::new(|| {
    let library = jaq_core::defs()
        .chain(jaq_std::defs())
        .chain(jaq_json::defs())
        .filter(|def| !FORBIDDEN_DEFINITIONS.contains(&def.name));
    let range = load::parse(RANGE, |parser| parser.defs()).expect("the definition reads");
    range.into_iter().chain(library).map(guarded_def).collect()
});

/// The library's own `range` counts nothing; this one does.
const RANGE: &str = "def range($from; $to; $by):
    def up: if . < $to then ., (. + $by | up) else ({}[] as $x | .) end;
    def down: if . > $to then ., (. + $by | down) else ({}[] as $x | .) end;
    def on: if . != $to then ., (. + $by | on) else ({}[] as $x | .) end;
    $from | if $by > 0 then up elif $by < 0 then down else on end;";

/// Compiles an expression.
pub(super) fn compile(code: &str) -> Result<Compiled, String> {
    let Some(term) = load::parse(code, |parser| parser.term()) else {
        return Err(syntax(code));
    };
    let mut names = BTreeSet::new();
    free_variables(&term, &mut Vec::new(), &mut names);
    let variables: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let arguments: Vec<&str> = names.into_iter().collect();
    let call = if arguments.is_empty() {
        "__main".to_owned()
    } else {
        format!("__main({})", arguments.join("; "))
    };
    let main = Def {
        name: "__main",
        args: arguments.clone(),
        body: guarded(term),
    };
    let arena = Arena::default();
    let loader = Loader::new(LIBRARY.iter().cloned().map(shorten).chain([main]));
    let modules = loader
        .load(
            &arena,
            File {
                code: call.as_str(),
                path: (),
            },
        )
        .map_err(|_| syntax(code))?;
    let allowed = |name: &str| !FORBIDDEN.contains(&name);
    let natives = jaq_core::funs::<Kind>()
        .chain(jaq_std::funs())
        .chain(jaq_json::funs())
        .filter(|(name, arguments, _)| allowed(name) && !(*name == "range" && arguments.len() == 3))
        .chain(guard::natives());
    let filter = Compiler::default()
        .with_funs(natives)
        .with_global_vars(arguments.iter().copied())
        .compile(modules)
        .map_err(|errors| undefined(&errors))?;
    let variables = variables
        .iter()
        .map(|name| name.trim_start_matches('$').to_owned())
        .collect();
    Ok(Compiled { filter, variables })
}

/// A definition of the library where one of the expression's lifetime is wanted.
fn shorten<'a>(def: Def<&'static str>) -> Def<&'a str> {
    def
}

fn undefined(errors: &load::Errors<&str, (), Vec<(&str, jaq_core::compile::Undefined)>>) -> String {
    let unknown: Vec<String> = errors
        .iter()
        .flat_map(|(_, found)| {
            found
                .iter()
                .map(|(name, kind)| format!("no {} named {name}", kind.as_str()))
        })
        .collect();
    unknown.join(", ")
}

/// What is wrong with the syntax.
fn syntax(code: &str) -> String {
    let arena = Arena::default();
    let Err(errors) = Loader::new(Vec::new()).load(&arena, File { code, path: () }) else {
        return "it is not an expression of jq".to_owned();
    };
    let place = |part: &str| {
        let at = load::span(code, part).start;
        if at >= code.len() {
            "at its end".to_owned()
        } else {
            format!("at \"{}\"", super::short(&code[at..]))
        }
    };
    for (_, error) in &errors {
        match error {
            load::Error::Lex(found) => {
                if let Some((expected, part)) = found.first() {
                    return format!("{} expected {}", expected.as_str(), place(part));
                }
            }
            load::Error::Parse(found) => {
                if let Some((expected, part)) = found.first() {
                    return format!("{} expected {}", expected.as_str(), place(part));
                }
            }
            load::Error::Io(_) => {}
        }
    }
    "it is not an expression of jq".to_owned()
}

fn guarded_def(def: Def<&str>) -> Def<&str> {
    let step = Term::Call("__step", Vec::new());
    let body = guarded(def.body);
    // As a binding, not as a pipe: a definition that is a path stays one.
    let body = Term::BinOp(
        Box::new(step),
        BinaryOp::Pipe(Some(Pattern::Var("$__step"))),
        Box::new(body),
    );
    Def { body, ..def }
}

fn looked_at<'a>(term: Term<&'a str>, filter: &'a str) -> Term<&'a str> {
    Term::BinOp(
        Box::new(term),
        BinaryOp::Pipe(None),
        Box::new(Term::Call(filter, Vec::new())),
    )
}

/// A term whose every definition counts its steps and whose every growing value is looked at.
fn guarded<'a>(term: Term<&'a str>) -> Term<&'a str> {
    let boxed = |term: Box<Term<&'a str>>| Box::new(guarded(*term));
    let all = |terms: Vec<Term<&'a str>>| terms.into_iter().map(guarded).collect::<Vec<_>>();
    match term {
        Term::Arr(Some(items)) => looked_at(Term::Arr(Some(boxed(items))), "__look"),
        Term::Obj(fields) if !fields.is_empty() => {
            let field = |(name, value): (Term<&'a str>, Option<Term<&'a str>>)| {
                (guarded(name), value.map(guarded))
            };
            looked_at(Term::Obj(fields.into_iter().map(field).collect()), "__look")
        }
        Term::Str(format, parts) => {
            let grows = parts.iter().any(|part| matches!(part, StrPart::Term(_)));
            let part = |part| match part {
                StrPart::Term(term) => StrPart::Term(guarded(term)),
                other => other,
            };
            let text = Term::Str(format, parts.into_iter().map(part).collect());
            if grows {
                looked_at(text, "__look")
            } else {
                text
            }
        }
        Term::Neg(term) => Term::Neg(boxed(term)),
        Term::BinOp(left, operator, right) => binary(guarded(*left), operator, guarded(*right)),
        Term::Label(name, term) => Term::Label(name, boxed(term)),
        Term::Fold(name, term, pattern, terms) => {
            Term::Fold(name, boxed(term), self::pattern(pattern), all(terms))
        }
        Term::TryCatch(term, catch) => Term::TryCatch(boxed(term), catch.map(boxed)),
        Term::IfThenElse(cases, otherwise) => {
            let case = |(when, then)| (guarded(when), guarded(then));
            Term::IfThenElse(cases.into_iter().map(case).collect(), otherwise.map(boxed))
        }
        Term::Def(defs, term) => {
            Term::Def(defs.into_iter().map(guarded_def).collect(), boxed(term))
        }
        Term::Call(name, arguments) => Term::Call(name, all(arguments)),
        Term::Path(term, Path(parts)) => {
            let part = |(part, optional)| {
                let part = match part {
                    Part::Index(index) => Part::Index(guarded(index)),
                    Part::Range(from, to) => Part::Range(from.map(guarded), to.map(guarded)),
                };
                (part, optional)
            };
            Term::Path(boxed(term), Path(parts.into_iter().map(part).collect()))
        }
        // `..` as the library defines it, so that its steps are counted.
        Term::Recurse => Term::Call("recurse", Vec::new()),
        other => other,
    }
}

fn pattern(of: Pattern<&str>) -> Pattern<&str> {
    match of {
        Pattern::Arr(items) => Pattern::Arr(items.into_iter().map(pattern).collect()),
        Pattern::Obj(fields) => Pattern::Obj(
            fields
                .into_iter()
                .map(|(name, field)| (guarded(name), pattern(field)))
                .collect(),
        ),
        other @ Pattern::Var(_) => other,
    }
}

fn binary<'a>(
    left: Term<&'a str>,
    operator: BinaryOp<&'a str>,
    right: Term<&'a str>,
) -> Term<&'a str> {
    match operator {
        BinaryOp::Math(Math::Mul) => Term::Call("__multiply", vec![left, right]),
        BinaryOp::Math(Math::Add) => looked_at(
            Term::BinOp(Box::new(left), BinaryOp::Math(Math::Add), Box::new(right)),
            "__length",
        ),
        // `l += r` is `r as $x | l |= . + $x`.
        BinaryOp::UpdateMath(operator @ (Math::Add | Math::Mul)) => {
            let grown = binary(Term::Id, BinaryOp::Math(operator), Term::Var("$__right"));
            let update = Term::BinOp(Box::new(left), BinaryOp::Update, Box::new(grown));
            Term::BinOp(
                Box::new(right),
                BinaryOp::Pipe(Some(Pattern::Var("$__right"))),
                Box::new(update),
            )
        }
        BinaryOp::Pipe(of) => Term::BinOp(
            Box::new(left),
            BinaryOp::Pipe(of.map(pattern)),
            Box::new(right),
        ),
        other => Term::BinOp(Box::new(left), other, Box::new(right)),
    }
}

/// The variables that a term takes from outside, with the dollar.
fn free_variables<'a>(
    term: &Term<&'a str>,
    bound: &mut Vec<&'a str>,
    free: &mut BTreeSet<&'a str>,
) {
    match term {
        Term::Var(name) if !bound.contains(name) => {
            free.insert(name);
        }
        Term::Arr(Some(term)) | Term::Neg(term) | Term::Label(_, term) => {
            free_variables(term, bound, free);
        }
        Term::Str(_, parts) => {
            for part in parts {
                if let StrPart::Term(term) = part {
                    free_variables(term, bound, free);
                }
            }
        }
        Term::Obj(fields) => {
            for (name, field) in fields {
                free_variables(name, bound, free);
                if let Some(field) = field {
                    free_variables(field, bound, free);
                }
            }
        }
        Term::BinOp(left, operator, right) => {
            free_variables(left, bound, free);
            let before = bound.len();
            if let BinaryOp::Pipe(Some(pattern)) = operator {
                bind(pattern, bound, free);
            }
            free_variables(right, bound, free);
            bound.truncate(before);
        }
        Term::Fold(_, term, pattern, terms) => {
            free_variables(term, bound, free);
            let before = bound.len();
            bind(pattern, bound, free);
            for term in terms {
                free_variables(term, bound, free);
            }
            bound.truncate(before);
        }
        Term::TryCatch(term, catch) => {
            free_variables(term, bound, free);
            if let Some(catch) = catch {
                free_variables(catch, bound, free);
            }
        }
        Term::IfThenElse(cases, otherwise) => {
            for (when, then) in cases {
                free_variables(when, bound, free);
                free_variables(then, bound, free);
            }
            if let Some(otherwise) = otherwise {
                free_variables(otherwise, bound, free);
            }
        }
        Term::Def(defs, term) => {
            for def in defs {
                let before = bound.len();
                bound.extend(def.args.iter().copied());
                free_variables(&def.body, bound, free);
                bound.truncate(before);
            }
            free_variables(term, bound, free);
        }
        Term::Call(_, terms) => terms
            .iter()
            .for_each(|term| free_variables(term, bound, free)),
        Term::Path(term, Path(parts)) => {
            free_variables(term, bound, free);
            for (part, _) in parts {
                match part {
                    Part::Index(index) => free_variables(index, bound, free),
                    Part::Range(from, to) => {
                        from.iter()
                            .chain(to)
                            .for_each(|term| free_variables(term, bound, free));
                    }
                }
            }
        }
        _ => {}
    }
}

fn bind<'a>(pattern: &Pattern<&'a str>, bound: &mut Vec<&'a str>, free: &mut BTreeSet<&'a str>) {
    match pattern {
        Pattern::Var(name) => bound.push(name),
        Pattern::Arr(items) => items.iter().for_each(|item| bind(item, bound, free)),
        Pattern::Obj(fields) => {
            for (name, field) in fields {
                if let Term::Var(name) = name {
                    bound.push(name);
                } else {
                    free_variables(name, bound, free);
                }
                bind(field, bound, free);
            }
        }
    }
}
